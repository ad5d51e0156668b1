import { describe, expect, test } from 'vitest'
import { utf8 } from '../../src/base/bytes.ts'
import { WrongOffset } from '../../src/objects/index.ts'
import { appendLimits, partBytesAt } from '../../src/objects/uploads/append.ts'
import { uploadLimits } from '../../src/objects/uploads/index.ts'
import { tables } from '../../src/tables/index.ts'
import { registersWith } from '../support/other-registers.ts'
import { bytesOf, leastAppendedBytes, target, textOf, uploadWorld } from '../support/upload-nodes.ts'

async function begun () {
  const world = await uploadWorld()
  const node = world.node()
  const { uploadId } = await node.uploads.create(target)
  return { world, node, uploadId }
}

async function * broken (...texts: string[]): AsyncIterable<Uint8Array> { yield * bytesOf(...texts); throw new Error('the client went away') }

describe('one stream in several requests', () => {
  test('goes on where it is, on any node, and is an object when it is finished', async () => {
    const { world, node, uploadId } = await begun()
    expect(await node.uploads.offset(target, uploadId)).toEqual({ offset: 0 })
    expect(await node.uploads.append(target, uploadId, 0, bytesOf('one ', 'two '))).toEqual({ offset: 8 })
    expect(await world.node().uploads.append(target, uploadId, 8, bytesOf('three'))).toEqual({ offset: 13 })
    expect(await world.node().uploads.offset(target, uploadId)).toEqual({ offset: 13 })
    const info = await node.uploads.finish(target, uploadId, { sizeBytes: 13 })
    expect(await textOf(node)).toBe('one two three')
    expect(info).toMatchObject({ sizeBytes: 13, versionId: uploadId, attributes: {} })
    expect(await world.node().uploads.finish(target, uploadId)).toEqual(info)
  })

  test('what came before a client went away is kept, to the last byte', async () => {
    const { node, uploadId } = await begun()
    await expect(node.uploads.append(target, uploadId, 0, broken('one ', 'two'))).rejects.toThrow('the client went away')
    expect(await node.uploads.offset(target, uploadId)).toEqual({ offset: 7 })
    await expect(node.uploads.append(target, uploadId, 7, broken())).rejects.toThrow('the client went away')
    await node.uploads.append(target, uploadId, 7, bytesOf(' three'))
    await node.uploads.finish(target, uploadId)
    expect(await textOf(node)).toBe('one two three')
  })

  test('from another place is refused, and told where it goes on', async () => {
    const { node, uploadId } = await begun()
    await node.uploads.append(target, uploadId, 0, bytesOf('one'))
    for (const offset of [0, 2, 4]) await expect(node.uploads.append(target, uploadId, offset, bytesOf('x'))).rejects.toMatchObject({ constructor: WrongOffset, offset: 3 })
    await expect(node.uploads.finish(target, uploadId, { sizeBytes: 4 })).rejects.toMatchObject({ constructor: WrongOffset, offset: 3 })
    await node.uploads.finish(target, uploadId, { sizeBytes: 3 })
  })

  test('of requests that go on at one place, at once, one does; the others are told where it is then', async () => {
    const { world, node, uploadId } = await begun()
    await node.uploads.append(target, uploadId, 0, bytesOf('one '))
    const texts = ['two', 'three', 'four', 'fivefive']
    const race = await Promise.allSettled(texts.map(async (text) => world.node().uploads.append(target, uploadId, 4, bytesOf(text))))
    const winner = race.findIndex(({ status }) => status === 'fulfilled')
    const offset = 4 + (texts[winner] as string).length
    expect(race.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    for (const outcome of race) if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ constructor: WrongOffset, offset })
    await node.uploads.finish(target, uploadId, { sizeBytes: offset })
    expect(await textOf(node)).toBe(`one ${texts[winner]}`)
  })

  test('is whole up to where it is told and finished, though a listing has a part and not the one that came before it', async () => {
    let hidden = 0
    const world = await uploadWorld({ wrap: (registers) => registersWith(registers, { list: async (request, options) => {
      const page = await registers.list(request, options)
      return { ...page, entries: page.entries.filter(({ name }) => request.table !== tables.uploads || name.at(-1) !== hidden) }
    } }) })
    const node = world.node()
    const { uploadId } = await node.uploads.create(target)
    const texts = ['one ', 'two ', 'three']
    let offset = 0
    for (const text of texts) ({ offset } = await node.uploads.append(target, uploadId, offset, bytesOf(text)))
    hidden = 2
    expect(await node.uploads.offset(target, uploadId)).toEqual({ offset })
    await node.uploads.finish(target, uploadId)
    expect(await textOf(node)).toBe(texts.join(''))
  })

  test('one that lingers stores no byte behind what another has appended', async () => {
    const { world, node, uploadId } = await begun()
    const goOn = Promise.withResolvers<void>()
    async function * lingering (): AsyncIterable<Uint8Array> { yield utf8('lingering'); await goOn.promise; yield utf8('more') }
    const late = node.uploads.append(target, uploadId, 0, lingering())
    await world.node().uploads.append(target, uploadId, 0, bytesOf('taken over'))
    goOn.resolve()
    await expect(late).rejects.toMatchObject({ constructor: WrongOffset, offset: 10 })
    await node.uploads.finish(target, uploadId)
    expect(await textOf(node)).toBe('taken over')
  })

  test('nothing at all is an empty object', async () => {
    const { node, uploadId } = await begun()
    expect(await node.uploads.append(target, uploadId, 0, bytesOf())).toEqual({ offset: 0 })
    await node.uploads.finish(target, uploadId)
    expect(await textOf(node)).toBe('')
  })

  test('a long one is cut into parts that grow, so that 5 TiB are a fifth of the parts there may be', async () => {
    const { world, node, uploadId } = await begun()
    const text = '0123456789'.repeat(300)
    expect(await node.uploads.append(target, uploadId, 0, bytesOf(text.slice(0, 55), text.slice(55)))).toEqual({ offset: 3000 })
    const sizes = world.uploadRows().flatMap((row) => row.kind === 'part' ? [row.sizeBytes] : [])
    expect(sizes.slice(0, 65)).toEqual(Array.from({ length: 65 }, () => leastAppendedBytes))
    expect(Math.max(...sizes)).toBeGreaterThan(2 * leastAppendedBytes)
    await node.uploads.finish(target, uploadId)
    expect(await textOf(node)).toBe(text)
    let [count, offset] = [0, 0]
    for (; offset < 5 * 1024 ** 4; count++) offset += partBytesAt(offset, appendLimits.leastPartBytes)
    expect(count).toBeLessThan(uploadLimits.maxParts / 5)
  })
})
