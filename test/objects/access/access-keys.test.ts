import { readFileSync } from 'node:fs'
import { encode } from 'cborg'
import { beforeEach, describe, expect, test } from 'vitest'
import { fromHex, hexOf, MalformedBytes } from '../../../src/base/bytes.ts'
import { type Clock, systemClock } from '../../../src/base/clock.ts'
import { seededRandom } from '../../../src/base/random.ts'
import { type AccessKey, decodeAccessKey, encodeAccessKey, isAllowed, isExpired, mayEnter, type SecretAccessKey, summaryOfAccessKey } from '../../../src/objects/access/access-key.ts'
import { type AccessKeys, accessKeys, describeRow } from '../../../src/objects/index.ts'
import type { Registers } from '../../../src/tables/index.ts'
import { tables } from '../../../src/tables/index.ts'
import { memoryRegisters, type MemoryRegisters } from '../../support/memory-registers.ts'

const vectors = JSON.parse(readFileSync(new URL('../../vectors/access-keys.json', import.meta.url), 'utf8')) as ReadonlyArray<{ name: string, key: SecretAccessKey, bytes: string }>

describe('rows of access keys', () => {
  test.each(vectors)('$name: these bytes, and no others', ({ key, bytes }) => {
    expect(decodeAccessKey(fromHex(bytes))).toEqual(key)
    expect(hexOf(encodeAccessKey(key))).toBe(bytes)
  })

  test('of a version to come are not guessed at', () => {
    expect(() => decodeAccessKey(encode([2, 'DFS']))).toThrow(MalformedBytes)
  })

  test('a listing never has the secret', () => {
    const [first] = vectors
    expect(decodeAccessKey(summaryOfAccessKey(fromHex(first?.bytes ?? ''))).secret).toBe('')
    expect(describeRow(tables.accessKeys, fromHex(first?.bytes ?? ''))?.summary).toEqual(summaryOfAccessKey(fromHex(first?.bytes ?? '')))
  })
})

describe('access keys', () => {
  let registers: MemoryRegisters
  let nowMs: number
  let reads: number
  let settled: number
  const nodeKeys = (): AccessKeys => {
    const clock: Clock = { ...systemClock, monotonicMs: () => nowMs, wallMs: () => nowMs }
    const counted: Registers = { ...registers, read: async (address, options) => { reads++; return registers.read(address, options) }, list: async (request, options) => {
      const page = await registers.list(request, options)
      return { ...page, entries: page.entries.map(({ name, summary }) => ({ name, summary: summaryOfAccessKey(summary) })) }
    } }
    return accessKeys({ registers: counted, clock, random: seededRandom(nowMs), settleLayout: async () => { settled++ } })
  }
  const rights = [{ bucket: 'photos', prefix: 'cats/', actions: ['read', 'list'] as const }]

  beforeEach(() => { registers = memoryRegisters(); nowMs = 1000; reads = 0; settled = 0 })

  test('have an id of 20 characters and a secret of 32 random bytes, told once', async () => {
    const keys = nodeKeys()
    const made = await keys.create({ name: 'laptop', rights })
    expect(made.id).toMatch(/^DFS[A-Z2-7]{17}$/)
    expect(Buffer.from(made.secret, 'base64url').byteLength).toBe(32)
    expect(settled).toBe(1)
    expect(JSON.stringify(await keys.list())).not.toContain(made.secret)
    expect(await keys.list()).toEqual([{ id: made.id, name: 'laptop', rights, notAfterMs: undefined, createdMs: 1000 }])
    expect(await keys.find(made.id)).toEqual(made)
  })

  test('one that is removed here is refused here from then on, though it is being read meanwhile (what was read before was remembered)', async () => {
    const begun = Promise.withResolvers<void>()
    const goOn = Promise.withResolvers<void>()
    const made = await nodeKeys().create({ name: 'laptop', rights })
    const slow: Registers = { ...registers, async read (address, options) { const value = await registers.read(address, options); begun.resolve(); await goOn.promise; return value } }
    const keys = accessKeys({ registers: slow, clock: { ...systemClock, monotonicMs: () => nowMs }, random: seededRandom(1), settleLayout: async () => {} })
    const before = keys.find(made.id)
    await begun.promise
    await keys.remove(made.id)
    goOn.resolve()
    expect(await before).toEqual(made)
    expect(await keys.find(made.id)).toBeUndefined()
  })

  test('one that is removed through one node is refused by another within five seconds, and not read meanwhile', async () => {
    const [one, other] = [nodeKeys(), nodeKeys()]
    const { id } = await one.create({ name: 'laptop', rights })
    expect(await other.find(id)).toBeDefined()
    await one.remove(id)
    expect(await one.find(id)).toBeUndefined()
    const before = reads
    nowMs += 4999
    expect(await other.find(id)).toBeDefined()
    expect(reads).toBe(before)
    nowMs += 1
    expect(await other.find(id)).toBeUndefined()
  })

  test('one that is made is known everywhere at once, though it was looked for before', async () => {
    const [one, other] = [nodeKeys(), nodeKeys()]
    const { id } = await one.create({ name: 'laptop', rights })
    await one.remove(id)
    expect(await other.find(id)).toBeUndefined()
    registers.put({ table: tables.accessKeys, scope: new Uint8Array(16), key: Buffer.from(id) }, encodeAccessKey({ id, secret: 's', name: 'again', rights, notAfterMs: undefined, createdMs: 1 }))
    expect(await other.find(id)).toMatchObject({ name: 'again' })
  })

  test('without a majority nobody is let in for longer than that', async () => {
    const keys = nodeKeys()
    const { id } = await keys.create({ name: 'laptop', rights })
    await keys.find(id)
    registers.isUnavailable = true
    expect(await keys.find(id)).toBeDefined()
    nowMs += 5000
    await expect(keys.find(id)).rejects.toThrow('majority')
  })

  test('what has not the form of an id costs no majority', async () => {
    expect(await nodeKeys().find('AKIAIOSFODNN7EXAMPLE')).toBeUndefined()
    expect(reads).toBe(0)
  })

  test('a right takes the place of that for the same bucket and prefix, and none takes it away', async () => {
    const keys = nodeKeys()
    const { id } = await keys.create({ name: 'laptop', rights })
    await keys.grant(id, [{ bucket: 'photos', prefix: 'cats/', actions: ['write'] }, { bucket: '*', prefix: '', actions: ['list'] }])
    expect((await keys.find(id))?.rights).toEqual([{ bucket: 'photos', prefix: 'cats/', actions: ['write'] }, { bucket: '*', prefix: '', actions: ['list'] }])
    expect((await keys.grant(id, [{ bucket: '*', prefix: '', actions: [] }])).rights).toHaveLength(1)
    await expect(keys.grant('DFSAAAAAAAAAAAAAAAAA', rights)).rejects.toThrow('no access key')
    await expect(keys.grant(id, [{ bucket: 'UPPER', prefix: '', actions: ['read'] }])).rejects.toThrow('bucket name')
    await expect(keys.grant(id, [{ bucket: '*', prefix: '', actions: ['fly' as never] }])).rejects.toThrow('none of them')
  })

  test.each([
    ['read', 'photos', 'cats/a', true], ['read', 'photos', 'dogs/a', false], ['write', 'photos', 'cats/a', false], ['read', 'other', 'cats/a', false],
    ['list', 'photos', 'cats/', true], ['list', 'photos', 'cat', false], ['list', 'photos', undefined, false],
  ] as const)('may %s %s/%s: %s', (action, bucket, key, allowed) => {
    const accessKey: AccessKey = { id: '', name: '', rights, notAfterMs: 2000, createdMs: 0 }
    expect(isAllowed(accessKey, { action, bucket, key })).toBe(allowed)
    expect([mayEnter(accessKey, 'photos'), mayEnter(accessKey, 'other')]).toEqual([true, false])
    expect([isExpired(accessKey, 2000), isExpired(accessKey, 2001)]).toEqual([false, true])
  })
})
