import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { concat, fromHex, hexOf, MalformedBytes, utf8 } from '../../src/base/bytes.ts'
import { cidOf } from '../../src/base/cid.ts'
import { Unavailable } from '../../src/base/errors.ts'
import { hash } from '../../src/base/hash.ts'
import { decodeShard, encodeShard, listOf, type Shard } from '../../src/blockstore/shard.ts'
import { erasureCode } from '../../src/erasure/index.ts'
import { fetchProtocol } from '../../src/protocols/fetch.ts'
import type { Redundancy, Reference } from '../../src/replication/index.ts'
import { readPatience } from '../../src/replication/reader.ts'
import { Gathering, gatherLimits, shardsOf } from '../../src/replication/shards.ts'
import { writePatience } from '../../src/replication/writer.ts'
import { noiseBytes } from '../support/file-world.ts'
import { Wrong } from '../support/reference/bytes.ts'
import { listName, openShardRecord, shardRecords } from '../support/reference/shard.ts'
import { type BlockNode, type BlockNodes, blockNodes, emptyReport } from '../support/replication-nodes.ts'

// loads the kernel: what comes from a file comes under no clock of tests
await erasureCode({ k: 1, m: 1 })

const code: Redundancy = { k: 4, m: 2 }
const bytes = noiseBytes(1001)
const cid = cidOf(bytes)
const reference: Reference = { versionId: hash(utf8('version')), redundancy: code }
const shards = await shardsOf(cid, bytes, code)
/** Right by their own hashes, and of another block than they say. */
const forged = await shardsOf(cid, noiseBytes(1001, 5), code)

/** Which shards of the block each node has. */
async function placed (world: BlockNodes): Promise<number[][]> {
  return Promise.all(world.nodes.map(async (node) => {
    const found = []
    for await (const { index } of node.shards.of(cid)) found.push(index)
    return found
  }))
}

async function put (world: BlockNodes, { signal }: { signal?: AbortSignal } = {}): Promise<{ atMs: number, placed: number[][] }> {
  return world.until((world.nodes[0] as BlockNode).engine.writer(reference).put(cid, bytes, { signal }).then(async () => ({ atMs: world.time.nowMs, placed: await placed(world) })))
}

const settled = async (world: BlockNodes): Promise<void> => { await world.until((world.nodes[0] as BlockNode).engine.settled()) }

/** Six holders of a shard each, then a reader that holds nothing. */
async function stored (): Promise<{ world: BlockNodes, holders: BlockNode[], reader: BlockNode }> {
  const world = await blockNodes(7)
  const holders = world.nodes.slice(0, 6)
  world.placed = holders.map(({ self }) => self)
  for (const [i, shard] of shards.entries()) await (holders[i] as BlockNode).shards.put(shard)
  return { world, holders, reader: world.nodes[6] as BlockNode }
}

async function get (world: BlockNodes, reader: BlockNode, of: Parameters<BlockNode['engine']['reader']>[0] = { redundancy: code }): Promise<{ bytes: Uint8Array, tookMs: number }> {
  const startMs = world.time.nowMs
  return world.until(reader.engine.reader(of).get(cid).then((found) => ({ bytes: found, tookMs: world.time.nowMs - startMs })))
}

describe('shards of a block', () => {
  const vectors = JSON.parse(readFileSync(new URL('../vectors/shard-vectors.json', import.meta.url), 'utf8')) as ReadonlyArray<{ block: string, k: number, m: number, index: number, list: string, record: string }>

  test.each(vectors)('$k+$m, shard $index: these bytes, and no others', async ({ block, k, m, index, list, record }) => {
    const shard = (await shardsOf(cidOf(fromHex(block)), fromHex(block), { k, m }))[index] as Shard
    expect(hexOf(concat(encodeShard(shard)))).toBe(record)
    expect(decodeShard(fromHex(record))).toEqual({ ...shard, list })
  })

  test('are what the second implementation makes, and reads', async () => {
    for (const [length, k, m] of [[1, 1, 1], [100, 4, 2], [33, 31, 1], [64, 5, 3]] as const) {
      const block = noiseBytes(length)
      const records = (await shardsOf(cidOf(block), block, { k, m })).map((shard) => concat(encodeShard(shard)))
      expect(records).toEqual(shardRecords(block, k, m))
      for (const [i, record] of records.entries()) expect(hexOf(listName(openShardRecord(record)))).toBe(decodeShard(records[(i + 1) % records.length] as Uint8Array).list)
    }
  })

  test('with a bit flipped are refused by both', () => {
    const record = fromHex(vectors[0]?.record ?? '')
    for (let bit = 0; bit < record.byteLength * 8; bit += 3) {
      const wrong = record.slice()
      wrong[bit >> 3] = (wrong[bit >> 3] as number) ^ (1 << (bit & 7))
      expect(() => decodeShard(wrong)).toThrow(MalformedBytes)
      expect(() => openShardRecord(wrong)).toThrow(Wrong)
    }
  })
})

describe('a block that is put in shards', () => {
  test('goes shard by shard to the holders by position, and no node has all of it', async () => {
    const world = await blockNodes(8)
    world.placed = [3, 1, 0, 2, 7, 6, 5, 4].map((i) => (world.nodes[i] as BlockNode).self)
    await put(world)
    await settled(world)
    expect(await placed(world)).toEqual([[2], [1], [3], [0], [], [], [5], [4]])
    for (const { blocks, holder, shortages } of world.nodes) {
      expect(await blocks.has(cid)).toBe(false)
      expect(shortages).toEqual([])
      const references = []
      for await (const found of holder.references(cid)) references.push(found)
      expect([[], [reference]]).toContainEqual(references)
    }
  })

  test('is acknowledged at five of six distinct holders, and the last shard follows behind', async () => {
    const world = await blockNodes(6)
    const late = world.nodes[4] as BlockNode
    late.holder.writeMs = 400
    expect((await put(world)).placed).toEqual([[0], [1], [2], [3], [], [5]])
    await settled(world)
    expect(await placed(world)).toEqual([[0], [1], [2], [3], [4], [5]])
  })

  test('with one of six gone is acknowledged and told as short; with two gone it is not, for the death of two more would lose it', async () => {
    const world = await blockNodes(6)
    world.network.kill((world.nodes[2] as BlockNode).self)
    await put(world)
    await settled(world)
    expect(world.nodes[0]?.shortages).toEqual([{ cid, have: 5, want: 6 }])
    world.network.kill((world.nodes[5] as BlockNode).self)
    await expect(put(world)).rejects.toThrow(/reached 4 of the 5 holders/)
  })

  test('in a cluster that has become too small says so', async () => {
    const world = await blockNodes(4)
    await expect(put(world)).rejects.toThrow(/reached 4 of the 5 holders it needs, and only 4 nodes hold blocks/)
  })

  test.each(['dead', 'full', 'gone'] as const)('gives the shard of a holder that is %s to the next of the placement', async (ailment) => {
    const world = await blockNodes(8)
    for (const i of [1, 4]) {
      const node = world.nodes[i] as BlockNode
      if (ailment === 'dead') world.network.kill(node.self)
      else if (ailment === 'full') node.holder.isFull = true
      else { world.distant.add(node.self); world.network.kill(node.self) }
    }
    await put(world)
    await settled(world)
    const now = await placed(world)
    expect([now[0], now[2], now[3], now[5]]).toEqual([[0], [2], [3], [5]])
    expect([now[1], now[4]]).toEqual([[], []])
    expect([...now[6] ?? [], ...now[7] ?? []].toSorted((a, b) => a - b)).toEqual([1, 4])
    expect(world.nodes[0]?.shortages).toEqual([])
  })

  test('gives the shard of a holder that the layout left out meanwhile to one that has just come', async () => {
    const world = await blockNodes(7)
    const at = (of: readonly number[]): void => { world.placed = of.map((i) => (world.nodes[i] as BlockNode).self) }
    at([0, 1, 2, 3, 4, 5])
    ;(world.nodes[4] as BlockNode).holder.writeMs = 400
    world.time.after(200, () => { at([0, 1, 2, 3, 6, 5]) })
    await put(world)
    await settled(world)
    expect((await placed(world))[6]).toEqual([4])
    expect(world.nodes[0]?.shortages).toEqual([])
  })

  test('is not acknowledged because two have the same shard', async () => {
    const world = await blockNodes(7)
    const [writer, late, silent, alsoSilent] = world.nodes as [BlockNode, BlockNode, BlockNode, BlockNode]
    // the shard of the late one goes to the only substitute too, so five nodes have four shards
    late.holder.writeMs = 2 * writePatience.firstMs
    for (const node of [silent, alsoSilent]) world.silence(writer, node)
    await expect(put(world)).rejects.toThrow(/reached 4 of the 5 holders/)
    expect(await placed(world)).toEqual([[0], [1], [], [], [4], [5], [1]])
  })

  test('gives a holder that was late its shard when it answers again, made once more from what others have', async () => {
    const world = await blockNodes(6)
    const [writer, , late] = world.nodes as [BlockNode, BlockNode, BlockNode]
    late.holder.writeMs = 25_000
    await put(world)
    const before = world.network.sent.length
    await settled(world)
    // one of the four is on this node; the late one is asked too, and has none
    expect(world.network.sent.slice(before).filter(({ protocol }) => protocol === fetchProtocol)).toHaveLength(4)
    expect(await placed(world)).toEqual([[0], [1], [2], [3], [4], [5]])
    expect(await late.shards.get(shards[2] as Shard)).toEqual(shards[2])
    expect(writer.shortages).toEqual([])
  })

  test('of which a holder has the shard already is not sent there again', async () => {
    const world = await blockNodes(6)
    const large = noiseBytes(600_000)
    const write = async (): Promise<void> => { await world.until((world.nodes[0] as BlockNode).engine.writer(reference).put(cidOf(large), large)); await settled(world) }
    await write()
    const before = world.network.sent.length
    await write()
    expect(Math.max(...world.network.sent.slice(before).map((message) => message.bytes))).toBeLessThan(200)
  })
})

describe('a block is read from shards', () => {
  test('whichever two of the six holders are dead; with one more, the error names what is missing', async () => {
    for (let a = 0; a < 6; a++) {
      for (let b = a + 1; b < 6; b++) {
        const { world, holders, reader } = await stored()
        for (const i of [a, b]) world.network.kill((holders[i] as BlockNode).self)
        expect((await get(world, reader)).bytes).toEqual(bytes)
        // afterwards the block is here whole
        expect(await reader.cache.get(cid)).toEqual(bytes)
        await reader.cache.delete(cid)
        const third = [0, 1, 2, 3, 4, 5].find((i) => i !== a && i !== b) ?? 0
        world.network.kill((holders[third] as BlockNode).self)
        const lost = [a, b, third].toSorted((x, y) => x - y)
        await expect(get(world, reader)).rejects.toThrow(`needs 4 of its 6 shards and 3 could be read; missing: ${lost.join(', ')}`)
      }
    }
  })

  test('by asking four, not six, while they are well; and it is told whence it came', async () => {
    const { world, reader } = await stored()
    const report = emptyReport()
    await get(world, reader, { redundancy: code, report })
    expect(world.network.sent).toHaveLength(4)
    expect([...report.peers.values()]).toEqual([251, 251, 251, 251])
  })

  test('of which this node has one', async () => {
    const { world, holders } = await stored()
    const report = emptyReport()
    await get(world, holders[1] as BlockNode, { redundancy: code, report })
    expect(world.network.sent).toHaveLength(3)
    expect(report.local).toBe(251)
  })

  test('a silent holder costs a hedge delay, and is asked last from then on', async () => {
    const { world, holders, reader } = await stored()
    for (const silent of holders.slice(0, 2)) world.silence(reader, silent)
    const first = await get(world, reader)
    expect(first.bytes).toEqual(bytes)
    expect(first.tookMs).toBeLessThanOrEqual(2 * readPatience.firstMs)
    await reader.cache.delete(cid)
    expect((await get(world, reader)).tookMs).toBe(0)
  })

  test('wherever they are, if they are not where they should be', async () => {
    const { world, holders, reader } = await stored()
    world.placed = [...world.placed.slice(3), ...world.placed.slice(0, 3)].map((peer, i) => i === 0 ? reader.self : peer)
    for (const [i, holder] of holders.entries()) if (i > 3) await holder.shards.delete(shards[i] as Shard)
    expect((await get(world, reader)).bytes).toEqual(bytes)
  })

  test('several of which one node has', async () => {
    const { world, holders, reader } = await stored()
    for (const [i, holder] of holders.entries()) await holder.shards.delete(shards[i] as Shard)
    for (const i of [1, 3, 4]) await (holders[2] as BlockNode).shards.put(shards[i] as Shard)
    await (holders[5] as BlockNode).shards.put(shards[0] as Shard)
    expect((await get(world, reader)).bytes).toEqual(bytes)
  })

  test('or from a whole copy where the version says shards, and from shards where it says copies', async () => {
    const { world, holders, reader } = await stored()
    expect((await get(world, reader, {})).bytes).toEqual(bytes)
    await reader.cache.delete(cid)
    for (const [i, holder] of holders.entries()) if (i > 2) await holder.shards.delete(shards[i] as Shard)
    await (holders[5] as BlockNode).blocks.put(cid, bytes)
    expect((await get(world, reader)).bytes).toEqual(bytes)
  })

  test('of another code than the version says, if those are the ones there are', async () => {
    const { world, holders, reader } = await stored()
    expect((await get(world, reader, { redundancy: { k: 2, m: 1 } })).bytes).toEqual(bytes)
    expect(holders).toHaveLength(6)
  })
})

describe('holders that lie', () => {
  /** That node answers every question for a shard with this one. */
  const lying = async (world: BlockNodes, liar: BlockNode, answer: (shard: Shard) => Shard): Promise<void> => {
    for await (const name of liar.shards.of(cid)) {
      const shard = await liar.shards.get(name)
      await liar.shards.delete(name)
      await liar.shards.put(answer(shard))
    }
    expect(world.nodes).toContain(liar)
  }

  test('two of six cost time, not the block: their list does not lead to it', async () => {
    for (const liars of [[0, 1], [2, 5], [3, 4]]) {
      const { world, holders, reader } = await stored()
      for (const i of liars) await lying(world, holders[i] as BlockNode, ({ index }) => forged[index] as Shard)
      expect((await get(world, reader)).bytes).toEqual(bytes)
    }
  })

  test('a list of their own with enough shards under it is found out, and named', async () => {
    const world = await blockNodes(11)
    const reader = world.nodes[10] as BlockNode
    world.placed = world.nodes.slice(0, 6).map(({ self }) => self)
    for (const [i, shard] of forged.entries()) await (world.nodes[i] as BlockNode).shards.put(shard)
    for (const i of [0, 1, 2, 3]) await (world.nodes[i + 6] as BlockNode).shards.put(shards[i + 1] as Shard)
    expect((await get(world, reader)).bytes).toEqual(bytes)
    expect(reader.warnings).toContain('shards of a block were given under a false list of hashes')
  })

  test('an honest holder that was given a false shard beside the true one is asked for the true one', async () => {
    const { world, holders, reader } = await stored()
    for (const [i, holder] of holders.entries()) {
      await holder.shards.delete(shards[i] as Shard)
      await holder.shards.put(forged[i] as Shard)
      await holder.shards.put(shards[i] as Shard)
    }
    expect((await get(world, reader)).bytes).toEqual(bytes)
  })

  test('that answer with anything else count as not having answered', async () => {
    const { world, holders, reader } = await stored()
    for (const liar of holders.slice(0, 2)) await world.network.of(liar.self).handle(fetchProtocol, async () => [Uint8Array.of(1), noiseBytes(700)], { maxRequestBytes: 1000, maxConcurrent: 9 }).catch(() => {})
    expect((await get(world, reader)).bytes).toEqual(bytes)
  })

  test('more of them than may fail: the block is not read, and no wrong byte comes out', async () => {
    const { world, holders, reader } = await stored()
    for (const i of [0, 2, 4]) await lying(world, holders[i] as BlockNode, ({ index }) => forged[index] as Shard)
    await expect(get(world, reader)).rejects.toThrow(Unavailable)
  })

  test('a list of which some hashes are true leads to the block without those that are not', async () => {
    const pieces = shards.map((shard, i) => i === 0 ? forged[0] as Shard : shard)
    const list = shardsUnder(pieces.map((shard) => shard.bytes))
    const gathering = new Gathering(cid)
    for (const shard of list.slice(0, 5)) gathering.add(shard)
    expect(await gathering.block()).toEqual(bytes)
    const fewer = new Gathering(cid)
    for (const shard of list.slice(0, 4)) fewer.add(shard)
    expect(await fewer.block()).toBeUndefined()
    expect(fewer.falseLists.size).toBe(1)
    expect(fewer.add(list[5] as Shard)).toBe(false)
  })

  test('lists made up without end are not listened to without end', async () => {
    const world = await blockNodes(2)
    const [liar, reader] = world.nodes as [BlockNode, BlockNode]
    let made = 0
    const endless = { k: 1, m: 1 }
    const reads = liar.shards
    reads.of = async function * () { for (let i = 0; i < 2; i++) yield (await shardsOf(cid, noiseBytes(1001, 100 + ++made), endless))[0] as Shard }
    reads.get = async (name) => { for (let seed = made; seed > 0; seed--) { const shard = (await shardsOf(cid, noiseBytes(1001, 100 + seed), endless))[0] as Shard; if (shard.list === name.list) return shard } throw new Error('it was just made') }
    world.placed = [liar.self]
    await expect(get(world, reader, { redundancy: undefined })).rejects.toThrow(Unavailable)
    expect(made).toBeLessThan(4 * (gatherLimits.maxFalseLists + 2))
  })

  function shardsUnder (pieces: readonly Uint8Array[]): Shard[] {
    const shared = { cid, ...code, blockLength: bytes.byteLength, hashes: pieces.map((piece) => hash(piece)) }
    return pieces.map((piece, index) => ({ ...shared, index, bytes: piece, list: listOf(shared) }))
  }
})
