import { describe, expect, test } from 'vitest'
import { Budget } from '../../src/base/budget.ts'
import { concat, empty, utf8 } from '../../src/base/bytes.ts'
import { cidOf, digestOf } from '../../src/base/cid.ts'
import { hash } from '../../src/base/hash.ts'
import { peerIdOf } from '../../src/base/peer-id.ts'
import { BlockCorrupt, type Blocks } from '../../src/blockstore/index.ts'
import { memoryBlocks } from '../../src/blockstore/memory-blocks.ts'
import { RequestRefused } from '../../src/network/index.ts'
import { fetchFrom, fetchLimits, fetchProtocol, serveFetch } from '../../src/protocols/fetch.ts'
import { memoryNetwork } from '../support/memory-requests.ts'

const [asker, answerer] = [peerIdOf(hash(utf8('asker'))), peerIdOf(hash(utf8('answerer')))]
const block = Uint8Array.from({ length: 100 }, (_, i) => i)
const cid = cidOf(block)

async function serving (...sources: Array<Pick<Blocks, 'get'>>) {
  const network = memoryNetwork()
  const budget = new Budget(100_000_000)
  await serveFetch(network.of(answerer), { sources, budget })
  const requests = network.of(asker)
  return {
    budget,
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
