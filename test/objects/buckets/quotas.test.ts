import { describe, expect, test } from 'vitest'
import { utf8 } from '../../../src/base/bytes.ts'
import { NotFound } from '../../../src/base/errors.ts'
import { type Objects, objectStore, QuotaExceeded, type SettingsChange } from '../../../src/objects/index.ts'
import { quotaLimits } from '../../../src/objects/buckets/quotas.ts'
import { tables } from '../../../src/tables/index.ts'
import { objectWorld } from '../../support/object-parts.ts'
import { registersWith } from '../../support/other-registers.ts'

async function * bytesOf (text: string): AsyncIterable<Uint8Array> { await Promise.resolve(); yield utf8(text) }
const put = async (store: Objects, key: string, sizeBytes: number, options: Parameters<Objects['put']>[2] = {}) => store.put({ bucket: 'photos', key }, bytesOf('x'.repeat(sizeBytes)), options)

async function worldOf (settings: SettingsChange) {
  const world = objectWorld()
  const time = { monotonicMs: 0 }
  const nodeOf = (parts = world.parts): Objects => objectStore({ ...parts, clock: { ...parts.clock, monotonicMs: () => time.monotonicMs } })
  const store = nodeOf()
  await store.createBucket('photos')
  await store.setBucketSettings('photos', settings)
  return { world, store, time, nodeOf }
}

describe('a bucket with a quota', () => {
  test('takes so many bytes, and no more; what is refused is stored nowhere', async () => {
    const { world, store } = await worldOf({ quotaBytes: 40 })
    await put(store, 'a', 20)
    await put(store, 'b', 20)
    await expect(put(store, 'c', 1)).rejects.toThrow(QuotaExceeded)
    await expect(put(store, 'c', 1)).rejects.toThrow('it has 40 bytes in 2 objects, and may have 40 bytes; nothing was stored')
    await expect(put(store, 'd', 50)).rejects.toThrow(QuotaExceeded)
    await expect(store.head({ bucket: 'photos', key: 'c' })).rejects.toThrow(NotFound)
    expect(world.rowOf('d')).toMatchObject({ pending: [], current: undefined, dropped: [expect.anything()] })
    await store.setBucketSettings('photos', { quotaBytes: null })
    await put(store, 'c', 100)
  })

  test('takes no more of many puts at once than of one after the other, and gives back what a failed one had', async () => {
    const { world, store } = await worldOf({ quotaBytes: 45 })
    await put(store, 'a', 5)
    const outcomes = await Promise.allSettled(Array.from({ length: 12 }, async (_, i) => put(store, `b${i}`, 10)))
    expect(outcomes.filter(({ status }) => status === 'fulfilled').length).toBe(4)
    expect(outcomes.filter((outcome) => outcome.status === 'rejected' && outcome.reason instanceof QuotaExceeded).length).toBe(8)
    await store.setBucketSettings('photos', { quotaBytes: 65 })
    const failing = objectStore({ ...world.parts, registers: registersWith(world.parts.registers, { list: () => Promise.reject(new Error('no count')) }) })
    for (let i = 0; i < 9; i++) await expect(put(failing, 'a', 10, { ifNoneMatch: '*' })).rejects.toThrow('exists')
    await put(failing, 'c', 20)
  })

  test('refuses what is announced as too much before a byte of it is read', async () => {
    const { store } = await worldOf({ quotaBytes: 40 })
    let isRead = false
    const source = (async function * () { isRead = true; yield * bytesOf('x'.repeat(50)) })()
    await expect(store.put({ bucket: 'photos', key: 'a' }, source, { sizeBytes: 50 })).rejects.toThrow(QuotaExceeded)
    expect(isRead).toBe(false)
  })

  test('takes so many objects, versions that are kept among them, and delete markers not', async () => {
    const { store } = await worldOf({ quotaObjects: 2, versioning: 'enabled' })
    const { versionId } = await put(store, 'a', 1)
    await put(store, 'a', 1)
    await store.remove({ bucket: 'photos', key: 'a' })
    await expect(put(store, 'b', 1)).rejects.toThrow('may have 2 objects')
    await store.remove({ bucket: 'photos', key: 'a' }, { versionId })
    await put(store, 'b', 1)
  })

  test('has room again as soon as something is removed, and an overwrite counts once', async () => {
    const { store } = await worldOf({ quotaBytes: 40 })
    await put(store, 'a', 30)
    await put(store, 'a', 10)
    await put(store, 'b', 30)
    await store.remove({ bucket: 'photos', key: 'b' })
    await put(store, 'c', 25)
  })

  test('has room again for who comes after something is removed, though it is just being counted with that', async () => {
    const { world, nodeOf } = await worldOf({ quotaObjects: 1 })
    let held: Promise<void> | undefined
    const counted = Promise.withResolvers<void>()
    const store = nodeOf({ ...world.parts, registers: registersWith(world.parts.registers, { list: async (request, options) => {
      const page = await world.parts.registers.list(request, options)
      if (request.table === tables.objects) { counted.resolve(); await held }
      return page
    } }) })
    await put(store, 'a', 1)
    const gate = Promise.withResolvers<void>()
    held = gate.promise
    const refused = put(store, 'b', 1)
    const refusal = expect(refused).rejects.toThrow(QuotaExceeded)
    await counted.promise
    await store.remove({ bucket: 'photos', key: 'a' })
    const next = put(store, 'c', 1)
    await new Promise((resolve) => { setImmediate(resolve) })
    gate.resolve()
    await refusal
    await next
  })

  test('is counted anew for what other nodes put, though not for every put', async () => {
    const { world, time, nodeOf } = await worldOf({ quotaBytes: 100 })
    let lists = 0
    const counting = nodeOf({ ...world.parts, registers: registersWith(world.parts.registers, { list: async (...args) => { lists++; return world.parts.registers.list(...args) } }) })
    await put(counting, 'a', 10)
    const once = lists
    for (let i = 0; i < 5; i++) await put(counting, `b${i}`, 1)
    expect(lists).toBe(once)
    const other = nodeOf()
    await put(other, 'c', 60)
    // as far as this node knows there is room
    await put(counting, 'd', 30)
    time.monotonicMs += quotaLimits.everyMs
    await expect.poll(async () => put(counting, 'e', 1).then(() => 'stored', (error: unknown) => error instanceof QuotaExceeded)).toBe(true)
  })

  test('takes no copy, nor a part that is one, which is too much, before anything is stored for it: what a part has stored stays until its upload is over', async () => {
    const { world, store } = await worldOf({ quotaBytes: 50 })
    await store.createBucket('from')
    await put(store, 'a', 40)
    await store.put({ bucket: 'from', key: 'b' }, bytesOf('x'.repeat(45)))
    const { uploadId } = await store.uploads.create({ bucket: 'photos', key: 'c' })
    const before = [...world.events]
    for (const source of [{ bucket: 'photos', key: 'a' }, { bucket: 'from', key: 'b' }]) {
      await expect(store.uploads.copyPart({ bucket: 'photos', key: 'c' }, uploadId, 1, source)).rejects.toThrow(QuotaExceeded)
      await expect(store.copy(source, { bucket: 'photos', key: 'd' })).rejects.toThrow(QuotaExceeded)
    }
    expect(world.events).toEqual(before)
    await store.uploads.copyPart({ bucket: 'photos', key: 'c' }, uploadId, 1, { bucket: 'photos', key: 'a' }, { range: { first: 0, last: 9 } })
  })

  test('costs one without a quota nothing', async () => {
    const { world, nodeOf } = await worldOf({})
    const blind = nodeOf({ ...world.parts, registers: registersWith(world.parts.registers, { list: () => Promise.reject(new Error('listed')) }) })
    await put(blind, 'a', 10)
  })
})
