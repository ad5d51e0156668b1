import { describe, expect, test } from 'vitest'
import { concat, equals, MalformedBytes } from '../../src/base/bytes.ts'
import { type Cid, cidOf, digestOf } from '../../src/base/cid.ts'
import { hash } from '../../src/base/hash.ts'
import { seededRandom } from '../../src/base/random.ts'
import { Refused, StoreFull } from '../../src/base/errors.ts'
import { type DiskBlocks, openDiskBlocks } from '../../src/blockstore/disk-blocks.ts'
import { type BlockHolder, blockHolder, holderLimits } from '../../src/blockstore/holder.ts'
import { ShardCorrupt, ShardMissing, type Shards, StoreReadOnly } from '../../src/blockstore/index.ts'
import { memoryShards } from '../../src/blockstore/memory-shards.ts'
import { decodeShard, encodeShard, listOf, maxShardHeadBytes, parseShardKey, type Shard, shardKeyOf, shardLimits, type ShardName } from '../../src/blockstore/shard.ts'
import { levelKeyValue } from '../../src/disk/level-key-value.ts'
import { type MemoryFiles, memoryFiles } from '../../src/disk/memory-files.ts'
import { type MemoryKeyValue, memoryKeyValue } from '../../src/disk/memory-key-value.ts'
import { nodeFiles } from '../../src/disk/node-files.ts'
import { maxShards } from '../../src/erasure/index.ts'
import { noiseBytes } from '../support/file-world.ts'
import { temporaryFolder } from '../support/temporary.ts'

/** Shards in form; what they are of does not matter to who keeps them. */
function shardsOf (block: Uint8Array, { k, m }: { k: number, m: number }, seed = 0): Shard[] {
  const length = Math.ceil(block.byteLength / k)
  const pieces = Array.from({ length: k + m }, (_, i) => i < k ? concat([block.subarray(i * length, (i + 1) * length), new Uint8Array(length)]).subarray(0, length) : noiseBytes(length, i + seed))
  const shared = { cid: cidOf(block), k, m, blockLength: block.byteLength, hashes: pieces.map((bytes) => hash(bytes)) }
  return pieces.map((bytes, index) => ({ ...shared, index, bytes, list: listOf(shared) }))
}

const [smallBlock, largeBlock] = [noiseBytes(1000, 1), noiseBytes(200_001, 2)]
const [small, large] = [shardsOf(smallBlock, { k: 4, m: 2 })[1] as Shard, shardsOf(largeBlock, { k: 4, m: 2 })[5] as Shard]
const recordOf = (shard: Shard): Uint8Array => concat(encodeShard(shard))
const nameOf = ({ cid, k, m, index, list }: ShardName): ShardName => ({ cid, k, m, index, list })

interface Disk { files: MemoryFiles, index: MemoryKeyValue }
const newDisk = (): Disk => ({ files: memoryFiles(), index: memoryKeyValue() })
const openOn = async ({ files, index }: Disk, { quotaBytes, corrupt = [] }: { quotaBytes?: number, corrupt?: ShardName[] } = {}): Promise<DiskBlocks> =>
  openDiskBlocks({ files, index, quotaBytes, reserveBytes: 0, onCorrupt: () => {}, onCorruptShard: (name) => { corrupt.push(name) } })
async function all (names: AsyncIterable<ShardName>): Promise<Set<string>> { const found = new Set<string>(); for await (const name of names) found.add(shardKeyOf(name)); return found }

describe('the record of a shard', () => {
  test('says of itself what it was made with, in as many bytes as the format says', () => {
    for (const shard of [small, large, ...shardsOf(noiseBytes(33, 3), { k: 31, m: 1 }), ...shardsOf(new Uint8Array(0), { k: 2, m: 1 })]) {
      const record = recordOf(shard)
      expect(decodeShard(record)).toEqual(shard)
      expect(record.byteLength).toBe(4 + 4 + 4 + 32 + 32 * (shard.k + shard.m) + 32 + Math.ceil(shard.blockLength / shard.k))
      expect(record.byteLength - shard.bytes.byteLength).toBeLessThanOrEqual(maxShardHeadBytes)
    }
  })

  test('with any bit flipped, cut or lengthened, is none', () => {
    const record = recordOf(small)
    for (let bit = 0; bit < record.byteLength * 8; bit++) {
      const wrong = record.slice()
      wrong[bit >> 3] = (wrong[bit >> 3] as number) ^ (1 << (bit & 7))
      expect(() => decodeShard(wrong), `bit ${bit}`).toThrow(MalformedBytes)
    }
    for (const wrong of [record.subarray(1), record.subarray(0, -1), concat([record, Uint8Array.of(0)]), new Uint8Array(0)]) expect(() => decodeShard(wrong)).toThrow(MalformedBytes)
  })

  test('of a code that cannot be, an index beyond it or a block that is too long is none, though its hashes are right', () => {
    const made = (change: Partial<Shard>): Uint8Array => recordOf({ ...small, ...change })
    for (const change of [{ k: 0 }, { m: 0, hashes: small.hashes.slice(0, 4) }, { k: 31, m: 2, hashes: Array.from({ length: 33 }, () => small.hashes[0] as Uint8Array) }, { index: 6 }, { blockLength: shardLimits.maxBlockBytes + 1 }, { blockLength: 996 }]) {
      expect(() => decodeShard(made(change)), JSON.stringify(Object.keys(change))).toThrow(MalformedBytes)
    }
  })

  test('has the name of its list: the same for all shards of one, another for every other', () => {
    const shards = shardsOf(largeBlock, { k: 4, m: 2 })
    expect(new Set(shards.map(({ list }) => list)).size).toBe(1)
    const others = [...shardsOf(largeBlock, { k: 4, m: 2 }, 7), ...shardsOf(largeBlock, { k: 4, m: 3 }), ...shardsOf(largeBlock, { k: 3, m: 3 }), small]
    expect(others.map(({ list }) => list)).not.toContain(large.list)
  })

  test('has a name that is a file name, and read back is the same or refused', () => {
    expect(parseShardKey(shardKeyOf(large))).toEqual(nameOf(large))
    const key = shardKeyOf(large)
    for (const wrong of ['', large.cid, `${key}.1`, `../${key}`, key.toUpperCase(), key.replace('.4.', '.04.'), key.replace('.5.', '.6.'), key.slice(0, -1), key.replace('.4.', '.0.'), key.replace('.5.', '.-1.')]) {
      expect(() => parseShardKey(wrong), wrong).toThrow(MalformedBytes)
    }
  })

  test('goes to as many shards as there may be of a block', () => { expect(shardLimits.maxShards).toBe(maxShards) })
})

const implementations: ReadonlyArray<readonly [string, (use: (shards: Shards) => Promise<void>) => Promise<void>]> = [
  ['in memory', async (use) => use(memoryShards())],
  ['on a disk in memory', async (use) => use((await openOn(newDisk())).shards)],
  ['on the real disk', async (use) => {
    await using folder = await temporaryFolder()
    await using index = await levelKeyValue(`${folder.path}/index`)
    await use((await openDiskBlocks({ files: nodeFiles(folder.path), index, quotaBytes: undefined, reserveBytes: 0, onCorrupt: () => {} })).shards)
  }],
]

describe.each(implementations)('shards %s', (_name, withShards) => {
  test('are got as they were put, large and small, found by their block and listed; then deleted', async () => withShards(async (shards) => {
    const others = shardsOf(largeBlock, { k: 2, m: 1 })
    for (const shard of [small, large, ...others]) {
      expect(await shards.has(shard)).toBe(false)
      await expect(shards.get(shard)).rejects.toThrow(ShardMissing)
      await shards.put(shard)
      await shards.put(shard)
      expect(await shards.get(nameOf(shard))).toEqual(shard)
      expect(await shards.has(shard)).toBe(true)
    }
    expect(await all(shards.of(cidOf(largeBlock)))).toEqual(new Set([large, ...others].map(shardKeyOf)))
    expect(await all(shards.of(cidOf(smallBlock)))).toEqual(new Set([shardKeyOf(small)]))
    expect(await all(shards.list())).toEqual(new Set([small, large, ...others].map(shardKeyOf)))
    for (const shard of [small, large]) await shards.delete(shard)
    await shards.delete(small)
    await expect(shards.get(large)).rejects.toThrow(ShardMissing)
    expect(await all(shards.list())).toEqual(new Set(others.map(shardKeyOf)))
    expect(await all(shards.of(cidOf(largeBlock)))).toEqual(new Set(others.map(shardKeyOf)))
  }))

  test('under another list are other shards: who makes one up replaces none', async () => withShards(async (shards) => {
    const forged = shardsOf(largeBlock, { k: 4, m: 2 }, 99)[5] as Shard
    await shards.put(forged)
    expect(await shards.has(large)).toBe(false)
    await shards.put(large)
    expect(await shards.get(large)).toEqual(large)
    expect(await shards.get(forged)).toEqual(forged)
  }))
})

describe('shards on disk', () => {
  test('that rot are set aside, counted and reported, and never given out; a good copy may come back', async () => {
    const [disk, corrupt] = [newDisk(), [] as ShardName[]]
    const blocks = await openOn(disk, { corrupt })
    for (const shard of [small, large]) await blocks.shards.put(shard)
    const path = disk.files.paths.find((name) => name.endsWith(shardKeyOf(large))) ?? ''
    disk.files.flip(path, 12_345)
    const key = concat([Uint8Array.of(8), digestOf(small.cid), Uint8Array.of(4, 2, 1), Buffer.from(small.list, 'hex')])
    disk.index.damage(key, recordOf(small).map((byte, i) => i === 60 ? byte ^ 1 : byte))
    for (const shard of [small, large]) {
      await expect(blocks.shards.get(shard)).rejects.toThrow(ShardCorrupt)
      await expect(blocks.shards.get(shard)).rejects.toThrow(ShardMissing)
    }
    expect(corrupt.map(shardKeyOf)).toEqual([small, large].map(shardKeyOf))
    expect(blocks.stats()).toMatchObject({ count: 0, shards: 0, bytes: 0, corrupt: 2 })
    expect(disk.files.paths).toContain(`blocks/corrupt/${shardKeyOf(large)}`)
    await blocks.shards.put(large)
    expect(await blocks.shards.get(large)).toEqual(large)
  })

  test('count in the quota with the blocks, before and after a restart', async () => {
    const disk = newDisk()
    const bytes = recordOf(large).byteLength + recordOf(small).byteLength + smallBlock.byteLength
    const blocks = await openOn(disk, { quotaBytes: bytes })
    await Promise.all([blocks.shards.put(large), blocks.shards.put(small), blocks.put(cidOf(smallBlock), smallBlock)])
    await expect(blocks.shards.put(shardsOf(smallBlock, { k: 4, m: 2 })[0] as Shard)).rejects.toThrow(StoreFull)
    await expect(blocks.put(cidOf(largeBlock), largeBlock)).rejects.toThrow(StoreFull)
    expect(blocks.stats()).toMatchObject({ count: 3, shards: 2, bytes })
    await disk.index[Symbol.asyncDispose]()
    expect((await openOn(disk)).stats()).toMatchObject({ count: 3, shards: 2, bytes })
  })

  test('and blocks are taken for nothing else when they are listed', async () => {
    const blocks = await openOn(newDisk())
    for (const block of [smallBlock, largeBlock]) await blocks.put(cidOf(block), block)
    for (const shard of [small, large]) await blocks.shards.put(shard)
    const cids: Cid[] = []
    for await (const cid of blocks.list()) cids.push(cid)
    expect(new Set(cids)).toEqual(new Set([smallBlock, largeBlock].map(cidOf)))
    expect(await all(blocks.shards.list())).toEqual(new Set([small, large].map(shardKeyOf)))
  })

  test('whose entry the index has lost are entered again when they are listed', async () => {
    const disk = newDisk()
    await (await openOn(disk)).shards.put(large)
    const again = await openOn({ files: disk.files, index: memoryKeyValue() })
    expect(await all(again.shards.of(large.cid))).toEqual(new Set())
    expect(await all(again.shards.list())).toEqual(new Set([shardKeyOf(large)]))
    expect(await all(again.shards.of(large.cid))).toEqual(new Set([shardKeyOf(large)]))
    expect(again.stats()).toMatchObject({ shards: 1, bytes: recordOf(large).byteLength })
  })

  test('for which the disk had no room are not counted, after a restart neither', async () => {
    const disk = newDisk()
    const blocks = await openOn(disk)
    disk.files.fail('write', { times: 1, error: 'ENOSPC' })
    await expect(blocks.shards.put(large)).rejects.toThrow(StoreFull)
    expect((await openOn(disk)).stats()).toMatchObject({ shards: 0, bytes: 0 })
    disk.index.fail('write', 1)
    await expect(blocks.shards.put(large)).rejects.toThrow(StoreFull)
    expect(disk.files.paths).toEqual([])
    await blocks.shards.put(large)
    for (const one of [blocks, await openOn(disk)]) expect(one.stats()).toMatchObject({ shards: 1, bytes: recordOf(large).byteLength })
  })

  test('are not written after a failed fsync of a block, nor blocks after that of a shard', async () => {
    const disk = newDisk()
    const blocks = await openOn(disk)
    disk.files.fail('sync')
    await expect(blocks.shards.put(large)).rejects.toThrow('fsync failed')
    await expect(blocks.put(cidOf(smallBlock), smallBlock)).rejects.toThrow(StoreReadOnly)
    await expect(blocks.shards.put(small)).rejects.toThrow(StoreReadOnly)
    expect(await blocks.shards.has(large)).toBe(false)
  })

  test('a dying disk is not an empty one', async () => {
    for (const ask of [async (shards: Shards) => shards.get(large), async (shards: Shards) => shards.has(large), async (shards: Shards) => all(shards.of(large.cid)), async (shards: Shards) => all(shards.list())]) {
      const disk = newDisk()
      const { shards } = await openOn(disk)
      await shards.put(large)
      disk.index.fail('read')
      await expect(ask(shards)).rejects.toThrow('EIO')
    }
  })

  test('after a power failure at any point: every acknowledged one is there and found by its block, the others whole or not at all', async () => {
    for (let seed = 0; seed < 60; seed++) {
      const random = seededRandom(seed)
      const disk = newDisk()
      const { shards } = await openOn(disk)
      const acknowledged: Shard[] = []
      const putting = [...shardsOf(noiseBytes(200_000, seed), { k: 4, m: 2 }).slice(2), ...shardsOf(noiseBytes(3000, seed), { k: 2, m: 1 })].map(async (shard) => {
        await shards.put(shard)
        acknowledged.push(shard)
      })
      for (let steps = Math.floor(random.fraction() * 40); steps > 0; steps--) await Promise.resolve()
      const before = [...acknowledged]
      const after = await openOn({ files: disk.files.crash(random), index: disk.index.crash(random) })
      await Promise.allSettled(putting)
      for (const shard of before) {
        expect(equals(recordOf(await after.shards.get(shard)), recordOf(shard))).toBe(true)
        expect(await all(after.shards.of(shard.cid))).toContain(shardKeyOf(shard))
      }
      for await (const name of after.shards.list()) expect(shardKeyOf(await after.shards.get(name))).toBe(shardKeyOf(name))
    }
  })
})

describe('a holder of shards', () => {
  const reference = { versionId: new Uint8Array(32).fill(9), redundancy: { k: 4, m: 2 } }
  const holding = async (disk: Disk): Promise<{ holder: BlockHolder, blocks: DiskBlocks }> => {
    const blocks = await openOn(disk)
    return { blocks, holder: blockHolder({ blocks, index: disk.index }) }
  }
  async function referencesOf (holder: BlockHolder, cid: Cid): Promise<unknown[]> { const found = []; for await (const one of holder.references(cid)) found.push(one); return found }

  test('keeps what it has and wants what it has not, has rotten, or has under another list', async () => {
    const disk = newDisk()
    const { holder } = await holding(disk)
    expect(await holder.keepShard(large, reference)).toBe('want')
    await holder.storeShard(large, reference)
    expect(await holder.keepShard(large, reference)).toBe('kept')
    expect(await holder.keepShard({ ...large, list: small.list }, reference)).toBe('want')
    expect(await holder.keepShard({ ...large, index: 4 }, reference)).toBe('want')
    expect(await referencesOf(holder, large.cid)).toEqual([reference])
    disk.files.flip(disk.files.paths.find((name) => name.endsWith(shardKeyOf(large))) ?? '', 700)
    expect(await (await holding(disk)).holder.keepShard(large, reference)).toBe('want')
  })

  test('promises no shard that it would not find again: one whose entry the index has not, as after a crash, is entered first', async () => {
    const disk = newDisk()
    await (await holding(disk)).holder.storeShard(large, reference)
    const { holder, blocks } = await holding({ files: disk.files, index: memoryKeyValue() })
    expect(await holder.keepShard(large, reference)).toBe('kept')
    expect(await all(blocks.shards.of(large.cid))).toEqual(new Set([shardKeyOf(large)]))
    expect((await holder.shardPresence([{ cid: large.cid, redundancy: reference.redundancy }]))[0]?.indexes).toEqual(new Set([large.index]))
    expect(blocks.stats()).toMatchObject({ shards: 1, bytes: recordOf(large).byteLength })
    await holder.storeShard(large, reference)
    expect(blocks.stats()).toMatchObject({ shards: 1, bytes: recordOf(large).byteLength })
    // the entry is as durable as the promise
    for (let seed = 0; seed < 10; seed++) {
      const before = { files: disk.files, index: memoryKeyValue() }
      expect(await (await holding(before)).holder.keepShard(large, reference)).toBe('kept')
      const after = await openOn({ files: disk.files, index: before.index.crash(seededRandom(seed)) })
      expect(await all(after.shards.of(large.cid))).toEqual(new Set([shardKeyOf(large)]))
    }
  })

  test('takes a bounded number of one block, and of lists for one place: the first ones stay', async () => {
    const { holder, blocks } = await holding(newDisk())
    const forged = Array.from({ length: holderLimits.maxListsOfShard }, (_, seed) => shardsOf(smallBlock, { k: 4, m: 2 }, 50 + seed * 10)[5] as Shard)
    for (const shard of forged) await holder.storeShard(shard, reference)
    await expect(holder.storeShard(shardsOf(smallBlock, { k: 4, m: 2 })[5] as Shard, reference)).rejects.toThrow(Refused)
    await holder.storeShard(forged[0] as Shard, reference)
    const many = Array.from({ length: 4 }, (_, m) => shardsOf(smallBlock, { k: 16, m: 10 + m })).flat()
    const outcomes = await Promise.allSettled(many.map(async (shard) => holder.storeShard(shard, reference)))
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(holderLimits.maxShardsOfBlock - forged.length)
    expect((await all(blocks.shards.of(cidOf(smallBlock)))).size).toBe(holderLimits.maxShardsOfBlock)
  })

  test('that gives up a whole block keeps the references while it has a shard of it', async () => {
    const { holder, blocks } = await holding(newDisk())
    await holder.store(cidOf(largeBlock), largeBlock, { ...reference, redundancy: { k: 1, m: 2 } })
    await holder.storeShard(large, { ...reference, versionId: new Uint8Array(32).fill(8) })
    expect(await holder.release(cidOf(largeBlock), async () => true)).toBe('released')
    expect(await blocks.has(cidOf(largeBlock))).toBe(false)
    expect(await referencesOf(holder, cidOf(largeBlock))).toHaveLength(2)
    expect(await holder.keepShard(large, reference)).toBe('kept')
  })

  test('gives up a shard only if nobody was promised it meanwhile; with the last one go the references', async () => {
    const { holder, blocks } = await holding(newDisk())
    await holder.storeShard(large, reference)
    const other = { ...reference, versionId: new Uint8Array(32).fill(7) }
    expect(await holder.releaseShard(large, async () => false)).toBe('kept')
    expect(await holder.releaseShard(large, async () => { await holder.keepShard(large, reference); return true })).toBe('kept')
    expect(await holder.releaseShard(large, async () => { await holder.keep(large.cid, other); return true })).toBe('kept')
    expect(await referencesOf(holder, large.cid)).toHaveLength(2)
    expect(await holder.releaseShard(large, async () => true)).toBe('released')
    expect(await blocks.shards.has(large)).toBe(false)
    expect(await referencesOf(holder, large.cid)).toEqual([])
  })

  test('says which shards of a code are here, and keeps a reference for any of them', async () => {
    const { holder } = await holding(newDisk())
    const { cid } = large
    expect(await holder.keep(cid, reference)).toBe('want')
    for (const shard of [large, shardsOf(largeBlock, { k: 4, m: 2 })[0] as Shard, shardsOf(largeBlock, { k: 2, m: 1 })[1] as Shard]) await holder.storeShard(shard, { ...reference, redundancy: { k: shard.k, m: shard.m } })
    const [four, two, three] = await holder.shardPresence([{ k: 4, m: 2 }, { k: 2, m: 1 }, { k: 3, m: 1 }].map((redundancy) => ({ cid, redundancy })))
    expect([four?.indexes, two?.indexes, three?.indexes]).toEqual([new Set([5, 0]), new Set([1]), new Set()])
    expect(await holder.keep(cid, reference)).toBe('kept')
    expect(await holder.keep(cid, { ...reference, redundancy: { k: 3, m: 1 } })).toBe('want')
    expect(await holder.keep(cid, { ...reference, redundancy: { k: 1, m: 2 } })).toBe('want')
  })

  test('after a power failure has every acknowledged shard with its reference', async () => {
    for (let seed = 0; seed < 40; seed++) {
      const random = seededRandom(seed)
      const disk = newDisk()
      const { holder } = await holding(disk)
      const acknowledged: Shard[] = []
      const storing = [...shardsOf(noiseBytes(200_000, seed), { k: 4, m: 2 }).slice(3), ...shardsOf(noiseBytes(3000, seed), { k: 2, m: 1 })].map(async (shard) => {
        await holder.storeShard(shard, { ...reference, redundancy: shard })
        acknowledged.push(shard)
      })
      for (let steps = Math.floor(random.fraction() * 60); steps > 0; steps--) await Promise.resolve()
      const before = [...acknowledged]
      const after = await holding({ files: disk.files.crash(random), index: disk.index.crash(random) })
      await Promise.allSettled(storing)
      for (const shard of before) {
        expect(equals(recordOf(await after.blocks.shards.get(shard)), recordOf(shard))).toBe(true)
        expect(await referencesOf(after.holder, shard.cid)).toEqual([{ ...reference, redundancy: { k: shard.k, m: shard.m } }])
      }
    }
  })
})
