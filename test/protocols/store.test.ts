import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Budget } from '../../src/base/budget.ts'
import { concat, empty, utf8 } from '../../src/base/bytes.ts'
import { digestOf } from '../../src/base/cid.ts'
import { Corrupt, StoreFull } from '../../src/base/errors.ts'
import { hash } from '../../src/base/hash.ts'
import { peerIdOf } from '../../src/base/peer-id.ts'
import { StoreReadOnly } from '../../src/blockstore/index.ts'
import { encodeShard, type Shard } from '../../src/blockstore/shard.ts'
import { RequestRefused } from '../../src/network/index.ts'
import { livingAt, serveStore, shardPresenceAt, storeAt, storeLimits, storeProtocol, storeShardAt } from '../../src/protocols/store.ts'
import type { Holder, Reference } from '../../src/replication/index.ts'
import { shardsOf } from '../../src/replication/shards.ts'
import { memoryNetwork } from '../support/memory-requests.ts'
import { blockOf, referenceTo } from '../support/replication-nodes.ts'

const [asker, answerer] = [peerIdOf(hash(utf8('asker'))), peerIdOf(hash(utf8('answerer')))]
const reference = referenceTo(3)
const small = blockOf('small')
const large = blockOf('large', storeLimits.unofferedBytes + 1)

/** A holder that does as it is told and notes what it was asked. */
async function holding ({ kept = 'want', failure }: { kept?: 'kept' | 'want', failure?: Error } = {}) {
  const network = memoryNetwork()
  const calls: string[] = []
  const references: Reference[] = []
  const warnings: string[] = []
  const holder: Holder = {
    async keep (_cid, given) { calls.push('keep'); references.push(given); return kept },
    async store (_cid, _block, given) { calls.push('store'); references.push(given); if (failure !== undefined) throw failure },
    async keepShard (name, given) { calls.push(`keep shard ${name.index}`); references.push(given); return kept },
    async storeShard (shard, given) { calls.push(`store shard ${shard.index}`); references.push(given); if (failure !== undefined) throw failure },
    async * references () { yield * references },
    living: async (cids) => cids.map((_, i) => ({ versionIds: Array.from({ length: i }, (__, at) => hash(Uint8Array.of(at))), isMore: i === 16 })),
    presence: async (cids) => cids.map(() => ({ state: 'held', references: 7 })),
    shardPresence: async (wanted) => wanted.map(() => ({ indexes: new Set([0, 2]), references: 9 })),
  }
  const budget = new Budget(10_000_000)
  const steps = new Set<string>()
  const users = { begin: (kind: string) => { steps.add(kind); return { [Symbol.dispose]: () => { /* nobody measures */ } } } }
  await serveStore(network.of(answerer), { holder, budget, warn: (message) => { warnings.push(message) }, users })
  const requests = network.of(asker)
  return {
    network, steps, calls, references, warnings, budget,
    store: async (block = small, of: Reference = reference) => storeAt(requests, answerer, { ...block, reference: of }, {}),
    storeShard: async (shard: Shard, of: Reference) => storeShardAt(requests, answerer, { shard, reference: of }, {}),
    raw: async (...body: Uint8Array[]) => requests.request(answerer, storeProtocol, body, { timeoutMs: 1000, maxAnswerBytes: 16 }),
  }
}

const head = (digest: Uint8Array, { k = 1, m = 2 } = {}): Uint8Array => concat([digest, reference.versionId, Uint8Array.of(k, m)])
const [offer, payload] = [Uint8Array.of(1), Uint8Array.of(2)]
const lengthOf = (length: number): Uint8Array => { const bytes = new Uint8Array(4); new DataView(bytes.buffer).setUint32(0, length); return bytes }
const answers = { want: 0, had: 1, stored: 2, full: 3, refused: 4, corrupt: 5 }

describe('storing a block at a peer', () => {
  test('is a few kinds of steps that users wait for, whatever a peer sends (each byte in the place of a kind was one, of each length)', async () => {
    const { raw, steps } = await holding()
    const lengths = Array.from({ length: 22 }, (_, exponent) => 2 ** exponent)
    for (let kind = 0; kind < 256; kind++) for (const length of kind > 0 && kind < 6 ? lengths : [40]) await raw(Uint8Array.of(kind), new Uint8Array(length)).catch(() => { /* refused */ })
    expect(steps.size).toBeLessThanOrEqual(24)
    expect([...steps]).toEqual(expect.arrayContaining(['store 1', 'store 4', 'store 2 12', 'store 5 21']))
  })

  test('sends a small one at once, with the version and redundancy it is for', async () => {
    const { store, calls, references, network } = await holding()
    expect(await store(small, { versionId: reference.versionId, redundancy: { k: 4, m: 2 } })).toBe('stored')
    expect(calls).toEqual(['store'])
    expect(references).toEqual([{ versionId: reference.versionId, redundancy: { k: 4, m: 2 } }])
    expect(network.sent).toHaveLength(1)
  })

  test('offers a large one first, and sends it if it is wanted', async () => {
    const { store, calls } = await holding()
    expect(await store(large)).toBe('stored')
    expect(calls).toEqual(['keep', 'store'])
  })

  test('does not send a large one that is there', async () => {
    const { store, calls, network } = await holding({ kept: 'kept' })
    expect(await store(large)).toBe('had')
    expect(calls).toEqual(['keep'])
    expect(network.sent.map(({ bytes }) => bytes)).toEqual([71])
  })

  test('tells a full disk and a disk that takes no writes apart', async () => {
    expect(await (await holding({ failure: new StoreFull('full') })).store()).toBe('full')
    expect(await (await holding({ failure: new StoreReadOnly('an fsync failed') })).store()).toBe('refused')
  })

  test('does not make an answer of an unknown error: it is a refusal, and told here', async () => {
    const { store, warnings } = await holding({ failure: new Error('EIO') })
    await expect(store()).rejects.toThrow(RequestRefused)
    expect(warnings).toEqual(['a block could not be stored'])
  })

  test('of other bytes than the address says is corrupt, and reaches no disk', async () => {
    const { store, calls } = await holding()
    await expect(store({ cid: small.cid, bytes: large.bytes.subarray(0, 50) })).rejects.toThrow(Corrupt)
    expect(calls).toEqual([])
  })

  test.each([[empty], [Uint8Array.of(99)], [Uint8Array.of(answers.stored, answers.stored)], [Uint8Array.of(answers.want)]])('does not believe an answer of %o', async (answer) => {
    const { store, network } = await holding()
    await network.of(answerer).handle(storeProtocol, async () => [answer], storeLimits)
    await expect(store()).rejects.toThrow(Corrupt)
  })
})

describe('what a peer may send', () => {
  test('an offer of a block longer than any is refused before it can be sent', async () => {
    const { raw, calls } = await holding()
    expect(await raw(offer, head(digestOf(small.cid)), lengthOf(storeLimits.maxBlockBytes + 1))).toEqual(Uint8Array.of(answers.refused))
    expect(calls).toEqual([])
  })

  test('a block longer than any is refused', async () => {
    const { raw, calls } = await holding()
    const tooLong = blockOf('long', storeLimits.maxBlockBytes + 1)
    expect(await raw(payload, head(digestOf(tooLong.cid)), tooLong.bytes)).toEqual(Uint8Array.of(answers.refused))
    expect(calls).toEqual([])
    await expect(raw(new Uint8Array(storeLimits.maxRequestBytes + 1))).rejects.toThrow(RequestRefused)
  })

  test.each([
    ['nothing', [empty]],
    ['a kind that is none', [Uint8Array.of(3), head(digestOf(small.cid)), small.bytes]],
    ['half a reference', [offer, head(digestOf(small.cid)).subarray(0, 40)]],
    ['an offer without a length', [offer, head(digestOf(small.cid))]],
    ['an offer with something behind it', [offer, head(digestOf(small.cid)), lengthOf(100), Uint8Array.of(0)]],
    ['a redundancy that nothing could be read from', [payload, head(digestOf(small.cid), { k: 0 }), small.bytes]],
  ] as const)('%s is malformed, and reaches no disk', async (_, body) => {
    const { raw, calls, warnings } = await holding()
    await expect(raw(...body)).rejects.toThrow(RequestRefused)
    expect(calls).toEqual([])
    expect(warnings).toEqual([])
  })

  test('no bytes whatever reach the disk under an address that is not theirs, and no claim is left', async () => {
    const { raw, calls, budget } = await holding()
    await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), async (body) => {
      await raw(payload, body).catch((error: unknown) => { if (!(error instanceof RequestRefused)) throw error })
      await raw(body).catch((error: unknown) => { if (!(error instanceof RequestRefused)) throw error })
      expect(calls).not.toContain('store')
      expect(budget.used).toBe(0)
    }))
  })

  test('a peer tells who needs each block, and whether there are more', async () => {
    const { network } = await holding()
    const cids = Array.from({ length: 18 }, (_, i) => blockOf(`block ${i}`).cid)
    const living = await livingAt(network.of(asker), answerer, cids, {})
    expect(living.map(({ versionIds }) => versionIds.length)).toEqual([...cids.keys()].map((i) => Math.min(i, 16)))
    expect(living.map(({ isMore }, i) => isMore ? i : undefined).filter((i) => i !== undefined)).toEqual([16, 17])
    expect(living[2]?.versionIds[1]).toEqual(hash(Uint8Array.of(1)))
  })

  test('all peers together hold no more than the budget: the next waits', async () => {
    const network = memoryNetwork()
    const held: Array<() => void> = []
    let running = 0
    const holder: Holder = {
      keep: async () => 'want',
      async store () { running++; await new Promise<void>((resolve) => { held.push(resolve) }) },
      keepShard: async () => 'want',
      async storeShard () {},
      async * references () { yield reference },
      living: async () => [],
      presence: async () => [],
      shardPresence: async () => [],
    }
    await serveStore(network.of(answerer), { holder, budget: new Budget(2 * 170), warn: () => {} })
    const stores = ['a', 'b', 'c'].map(async (name) => storeAt(network.of(asker), answerer, { ...blockOf(name), reference }, {}))
    while (running < 2) await Promise.resolve()
    expect(running).toBe(2)
    held.shift()?.()
    while (running < 3) await Promise.resolve()
    for (const free of held) free()
    expect(await Promise.all(stores)).toEqual(['stored', 'stored', 'stored'])
  })
})

describe('storing a shard at a peer', () => {
  const coded: Reference = { ...reference, redundancy: { k: 2, m: 1 } }
  const shardOf = async ({ bytes, cid } = large, index = 1): Promise<Shard> => (await shardsOf(cid, bytes.length === 0 ? empty : bytes, coded.redundancy))[index] as Shard
  const huge = blockOf('huge', 3 * storeLimits.unofferedBytes)

  test('a small one is sent at once; a large one is offered first, and sent only if it is wanted', async () => {
    const small = await holding()
    expect(await small.storeShard(await shardOf(), coded)).toBe('stored')
    expect(small.calls).toEqual(['store shard 1'])
    const wanted = await holding()
    expect(await wanted.storeShard(await shardOf(huge), coded)).toBe('stored')
    expect(wanted.calls).toEqual(['keep shard 1', 'store shard 1'])
    expect(wanted.references).toEqual([coded, coded])
    const had = await holding({ kept: 'kept' })
    expect(await had.storeShard(await shardOf(huge), coded)).toBe('had')
    expect(had.calls).toEqual(['keep shard 1'])
  })

  test('a full disk and a refusal are answers', async () => {
    expect(await (await holding({ failure: new StoreFull('full') })).storeShard(await shardOf(), coded)).toBe('full')
    expect(await (await holding({ failure: new StoreReadOnly('read-only') })).storeShard(await shardOf(), coded)).toBe('refused')
  })

  test('what is there of many is asked at once', async () => {
    const { network, raw } = await holding()
    const wanted = [large.cid, small.cid].map((cid) => ({ cid, redundancy: coded.redundancy }))
    expect(await shardPresenceAt(network.of(asker), answerer, wanted, {})).toEqual(wanted.map(() => ({ indexes: new Set([0, 2]), references: 9 })))
    await expect(raw(Uint8Array.of(3, 2, 0, 1), digestOf(small.cid), Uint8Array.of(31, 2))).rejects.toThrow(RequestRefused)
    await expect(raw(Uint8Array.of(3, 2, 0, 1), digestOf(small.cid), Uint8Array.of(2))).rejects.toThrow(RequestRefused)
  })

  test('wrong bytes reach no disk, nor does a shard of another block or code than its reference', async () => {
    const { calls, raw } = await holding()
    const shard = await shardOf()
    const [recordHead, bytes] = encodeShard(shard)
    const reference = head(digestOf(shard.cid), coded.redundancy)
    expect(await raw(Uint8Array.of(5), reference, recordHead, bytes.map((byte) => byte ^ 1))).toEqual(Uint8Array.of(5))
    expect(await raw(Uint8Array.of(5), reference, recordHead)).toEqual(Uint8Array.of(5))
    await expect(raw(Uint8Array.of(5), head(digestOf(small.cid), coded.redundancy), recordHead, bytes)).rejects.toThrow(RequestRefused)
    await expect(raw(Uint8Array.of(5), head(digestOf(shard.cid), { k: 3, m: 1 }), recordHead, bytes)).rejects.toThrow(RequestRefused)
    for (const wrong of [[Uint8Array.of(3), new Uint8Array(16)], [Uint8Array.of(0), new Uint8Array(15)], [Uint8Array.of(0), new Uint8Array(17)]]) await expect(raw(Uint8Array.of(4), reference, ...wrong)).rejects.toThrow(RequestRefused)
    await expect(raw(Uint8Array.of(4), head(digestOf(shard.cid), { k: 31, m: 2 }), Uint8Array.of(0), new Uint8Array(16))).rejects.toThrow(RequestRefused)
    expect(calls).toEqual([])
  })
})
