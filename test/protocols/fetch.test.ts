import { describe, expect, test } from 'vitest'
import { Budget } from '../../src/base/budget.ts'
import { concat, empty, utf8 } from '../../src/base/bytes.ts'
import { cidOf, digestOf } from '../../src/base/cid.ts'
import { Corrupt } from '../../src/base/errors.ts'
import { hash } from '../../src/base/hash.ts'
import { peerIdOf } from '../../src/base/peer-id.ts'
import { BlockCorrupt, type Blocks } from '../../src/blockstore/index.ts'
import { memoryBlocks } from '../../src/blockstore/memory-blocks.ts'
import { memoryShards } from '../../src/blockstore/memory-shards.ts'
import { encodeShard } from '../../src/blockstore/shard.ts'
import { RequestRefused } from '../../src/network/index.ts'
import { fetchFrom, fetchLimits, fetchProtocol, serveFetch } from '../../src/protocols/fetch.ts'
import { fetchShardFrom } from '../../src/protocols/fetch-shard.ts'
import type { WantedShard } from '../../src/replication/index.ts'
import { shardsOf } from '../../src/replication/shards.ts'
import { memoryNetwork } from '../support/memory-requests.ts'

const [asker, answerer] = [peerIdOf(hash(utf8('asker'))), peerIdOf(hash(utf8('answerer')))]
const block = Uint8Array.from({ length: 100 }, (_, i) => i)
const cid = cidOf(block)

async function serving (...sources: Array<Pick<Blocks, 'get'>>) {
  const [network, shards] = [memoryNetwork(), memoryShards()]
  const budget = new Budget(100_000_000)
  await serveFetch(network.of(answerer), { sources, shards, budget })
  const requests = network.of(asker)
  return {
    budget, shards,
    fetchShard: async (wanted: Partial<WantedShard> = {}) => fetchShardFrom(requests, answerer, { cid, redundancy: { k: 2, m: 1 }, index: 0, not: [], ...wanted }, {}),
    fetch: async () => fetchFrom(requests, answerer, cid, {}),
    raw: async (...body: Uint8Array[]) => requests.request(answerer, fetchProtocol, body, { timeoutMs: 1000, maxAnswerBytes: fetchLimits.maxAnswerBytes }),
  }
}

async function stored (): Promise<Blocks> {
  const blocks = memoryBlocks()
  await blocks.put(cid, block)
  return blocks
}

const failing = (error: Error): Pick<Blocks, 'get'> => ({ get: async () => { throw error } })
const u32s = (...values: number[]): Uint8Array => concat(values.map((value) => { const bytes = new Uint8Array(4); new DataView(bytes.buffer).setUint32(0, value); return bytes }))
const here = 1

describe('fetching a block from a peer', () => {
  test('gives the block, from its disk or its cache', async () => {
    expect(await (await serving(await stored(), memoryBlocks())).fetch()).toEqual(block)
    expect(await (await serving(memoryBlocks(), await stored())).fetch()).toEqual(block)
  })

  test('says when it is not there', async () => { expect(await (await serving(memoryBlocks(), memoryBlocks())).fetch()).toBe('not here') })

  test('never gives a rotten copy: it is not there, or in the cache', async () => {
    expect(await (await serving(failing(new BlockCorrupt(cid)))).fetch()).toBe('not here')
    expect(await (await serving(failing(new BlockCorrupt(cid)), await stored())).fetch()).toEqual(block)
  })

  test('takes "not here" with bytes behind it for a lie', async () => {
    const network = memoryNetwork()
    await network.of(answerer).handle(fetchProtocol, async () => [Uint8Array.of(0), block], fetchLimits)
    await expect(fetchFrom(network.of(asker), answerer, cid, {})).rejects.toThrow(BlockCorrupt)
  })

  test('does not call a disk that fails "not here"', async () => {
    await expect((await serving(failing(new Error('EIO')), memoryBlocks())).fetch()).rejects.toThrow(RequestRefused)
  })
})

describe('a range of a block', () => {
  test.each([[0, 100], [10, 20], [99, 1], [0, 0]])('from %i, of %i bytes, is that part of it', async (offset, length) => {
    const { raw } = await serving(await stored())
    expect(await raw(digestOf(cid), u32s(offset, length))).toEqual(Uint8Array.of(here, ...block.subarray(offset, offset + length)))
  })

  test.each([[90, 100, 10], [100, 1, 0], [0xffffffff, 0xffffffff, 0]])('from %i, of %i bytes, ends with the block', async (offset, length, expected) => {
    const { raw } = await serving(await stored())
    expect(await raw(digestOf(cid), u32s(offset, length))).toHaveLength(1 + expected)
  })
})

test.each([
  ['nothing', [empty]],
  ['half a digest', [digestOf(cid).subarray(0, 16)]],
  ['half a range', [digestOf(cid), u32s(1)]],
  ['something behind the range', [digestOf(cid), u32s(1, 2), Uint8Array.of(0)]],
  ['more than a request is long', [new Uint8Array(fetchLimits.maxRequestBytes + 1)]],
] as const)('a request of %s is refused, and leaves no claim on the budget', async (_, body) => {
  const { raw, budget } = await serving(await stored())
  await expect(raw(...body)).rejects.toThrow(RequestRefused)
  expect(budget.used).toBe(0)
})

describe('fetching a shard from a peer', () => {
  const of = async (k: number, m: number) => shardsOf(cid, block, { k, m })

  test('gives the one that was wished for, another of the code if it is not there, and says which are', async () => {
    const { shards, fetchShard } = await serving()
    const [first, , third] = await of(2, 1)
    if (first === undefined || third === undefined) throw new Error('there are three')
    expect(await fetchShard()).toBe('not here')
    await shards.put(third)
    expect(await fetchShard()).toEqual({ shard: third, others: [2] })
    expect(await fetchShard({ redundancy: undefined, index: undefined })).toEqual({ shard: third, others: [2] })
    expect(await fetchShard({ redundancy: { k: 3, m: 1 } })).toBe('not here')
    await shards.put(first)
    expect(await fetchShard()).toEqual({ shard: first, others: [0, 2] })
    expect(await fetchShard({ index: 2 })).toEqual({ shard: third, others: [0, 2] })
  })

  test('gives none under a list that the asker knows to be false', async () => {
    const { shards, fetchShard } = await serving()
    const [forged] = await shardsOf(cid, block.map((byte) => byte ^ 1), { k: 2, m: 1 })
    const [right] = await of(2, 1)
    if (forged === undefined || right === undefined) throw new Error('there are three')
    await shards.put(forged)
    expect(await fetchShard({ not: [forged.list] })).toBe('not here')
    await shards.put(right)
    expect(await fetchShard({ not: [forged.list] })).toEqual({ shard: right, others: [0] })
    expect(await fetchShard({ not: [right.list] })).toEqual({ shard: forged, others: [0] })
  })

  test('takes nothing that is not right by its own hash, of another block, code or list', async () => {
    const other = block.map((byte) => byte ^ 1)
    const [right, ofOther, ofCode] = [(await of(2, 1))[0], (await shardsOf(cidOf(other), other, { k: 2, m: 1 }))[0], (await of(3, 1))[0]]
    if (right === undefined || ofOther === undefined || ofCode === undefined) throw new Error('there are some')
    const bits = u32s(1)
    const rotten = concat(encodeShard(right)).map((byte, i) => i === 200 ? byte ^ 1 : byte)
    for (const answer of [concat([Uint8Array.of(1), bits, ...encodeShard(ofOther)]), concat([Uint8Array.of(1), bits, ...encodeShard(ofCode)]), concat([Uint8Array.of(1), bits, rotten]), concat([Uint8Array.of(2), bits, ...encodeShard(right)]), Uint8Array.of(1), empty]) {
      const network = memoryNetwork()
      await network.of(answerer).handle(fetchProtocol, async () => [answer], { maxRequestBytes: 1000, maxConcurrent: 1 })
      await expect(fetchShardFrom(network.of(asker), answerer, { cid, redundancy: { k: 2, m: 1 }, index: 0, not: [] }, {})).rejects.toThrow(Corrupt)
    }
  })

  test('is refused when the question names too many lists, or a part of one', async () => {
    const { raw } = await serving()
    const ask = concat([digestOf(cid), Uint8Array.of(2, 1, 0)])
    await expect(raw(ask, new Uint8Array(16 * 5))).rejects.toThrow(RequestRefused)
    await expect(raw(ask, new Uint8Array(15))).rejects.toThrow(RequestRefused)
    expect(await raw(ask, new Uint8Array(16 * 4))).toEqual(Uint8Array.of(0))
  })
})
