import { rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { concat, equals, partitionOf } from '../../../src/base/bytes.ts'
import { type Cid, cidOf, digestOf } from '../../../src/base/cid.ts'
import { seededRandom } from '../../../src/base/random.ts'
import { type DiskBlocks, openDiskBlocks } from '../../../src/blockstore/disk-blocks.ts'
import { type BlockHolder, blockHolder } from '../../../src/blockstore/holder.ts'
import { pieceFolderAt } from '../../../src/blockstore/piece-disk.ts'
import { blockInventory } from '../../../src/blockstore/inventory.ts'
import { asideReferenceKind, referenceKeyOf } from '../../../src/blockstore/references.ts'
import { levelFilesIn } from '../../../src/disk/level-damage.ts'
import { levelKeyValue } from '../../../src/disk/level-key-value.ts'
import { nodeFiles } from '../../../src/disk/node-files.ts'
import type { Config } from '../../../src/config.ts'
import { Scrub, scrubLimits, type ScrubStatus } from '../../../src/node/work/scrub.ts'
import { type BlockStores, openBlocks } from '../../../src/node/stores.ts'
import { PartitionLost } from '../../../src/tables/index.ts'
import { openRowStore } from '../../../src/tables/row-store.ts'
import { shardsOf } from '../../../src/replication/shards.ts'
import { VirtualTime } from '../../simulation/virtual-time.ts'
import { noiseBytes } from '../../support/file-world.ts'
import { type Disk, indexedRow, newDisk, ballotOf, flipped, journalsOf, row, rowKey } from '../../tables/row-store-disk.ts'
import { temporaryFolder } from '../../support/temporary.ts'

const day = 86_400_000
const [small, large, other] = [noiseBytes(5000, 1), noiseBytes(100_000, 2), noiseBytes(90_000, 3)]
const redundancy = { k: 1, m: 2 }
const reference = { versionId: new Uint8Array(32).fill(9), redundancy }

interface World {
  /** Of blocks. */
  readonly disk: Disk
  readonly rowsDisk: Disk
  readonly time: VirtualTime
  readonly blocks: DiskBlocks
  readonly holder: BlockHolder
  readonly rows: Awaited<ReturnType<typeof openRowStore>>
  readonly reported: Cid[]
  readonly losses: string[]
  readonly warnings: string[]
  scrub (options?: { damage?: string }): Promise<Scrub>
  /** Runs until nothing is to do now. */
  run (scrub: Scrub): Promise<number>
}

async function world ({ everyMs = 30 * day }: { everyMs?: number } = {}): Promise<World> {
  const [disk, { index: rowsIndex }] = [newDisk(), newDisk()]
  const { files, index } = disk
  const rowsDisk = { files, index: rowsIndex }
  const time = new VirtualTime()
  const blocks = await openDiskBlocks({ files, index, quotaBytes: undefined, reserveBytes: 0, onCorrupt: () => {} })
  const holder = blockHolder({ blocks, index })
  const rows = await openRowStore({ ...rowsDisk, folder: 'rows', random: seededRandom(1), ballotOf, onLost: () => {} })
  const [reported, losses, warnings]: [Cid[], string[], string[]] = [[], [], []]
  return {
    disk, rowsDisk, time, blocks, holder, rows, reported, losses, warnings,
    scrub: async ({ damage } = {}) => Scrub.open({
      files, rows, clock: time.clock(), everyMs,
      blocks: { blocks, holder, inventory: blockInventory({ blocks, index }), index, report: (cid) => { reported.push(cid) } },
      onLoss: (why) => { losses.push(why) }, warn: (message) => { warnings.push(message) },
    }, { damage }),
    async run (scrub) {
      let steps = 0
      while (await scrub.step({ signal: new AbortController().signal }) === 'busy') steps++
      return steps
    },
  }
}

/** A whole pass, as fast as can be. */
async function passOf (of: World): Promise<ScrubStatus> {
  const scrub = await of.scrub()
  scrub.now()
  await of.run(scrub)
  expect(scrub.status().phase).toBe('waiting')
  return scrub.status()
}

const wait = async (time: VirtualTime, ms: number): Promise<void> => { let over = false; time.after(ms, () => { over = true }); await time.run(() => over) }

describe('scrub', () => {
  test('reads every block, shard, reference and row, and finds nothing wrong where nothing is', async () => {
    const of = await world()
    for (const bytes of [small, large]) await of.holder.store(cidOf(bytes), bytes, reference)
    for (const shard of await shardsOf(cidOf(other), other, { k: 2, m: 1 })) await of.holder.storeShard(shard, { ...reference, redundancy: { k: 2, m: 1 } })
    for (let n = 0; n < 20; n++) await of.rows.save([row(n, 2)])
    const { last } = await passOf(of)
    expect(last?.found).toEqual({ pieces: 5, wrongPieces: 0, wrongReferences: 0, enteredFiles: 0, rows: 20, lostPartitions: 0, damagedFiles: 0 })
    expect(last?.bytes).toBeGreaterThan(5000 + 100_000 + 3 * 45_000)
    expect([of.reported, of.losses, of.warnings]).toEqual([[], [], []])
    // what was read right need not be read again to be promised
    expect(await of.holder.presence([cidOf(large)])).toMatchObject([{ state: 'verified' }])
  })

  test('sets aside a rotten block, small or large, and a rotten shard, and reports each to repair', async () => {
    const of = await world()
    const { files, index } = of.disk
    for (const bytes of [small, large]) await of.holder.store(cidOf(bytes), bytes, reference)
    const shards = await shardsOf(cidOf(other), other, { k: 2, m: 1 })
    for (const shard of shards) await of.holder.storeShard(shard, { ...reference, redundancy: { k: 2, m: 1 } })
    index.damage(concat([Uint8Array.of(1), digestOf(cidOf(small))]), small.map((byte, i) => i === 7 ? byte ^ 1 : byte))
    for (const path of files.paths.filter((name) => name.includes(cidOf(large)) || name.includes(`${cidOf(other)}.2.1.0`))) files.flip(path, 12_345)
    const { found } = await passOf(of)
    expect(found).toMatchObject({ pieces: 5, wrongPieces: 3 })
    expect(new Set(of.reported)).toEqual(new Set([small, large, other].map(cidOf)))
    expect(files.paths.filter((path) => path.startsWith('blocks/corrupt/'))).toHaveLength(2)
    expect(of.blocks.stats()).toMatchObject({ corrupt: 3, count: 2 })
  })

  test('goes on behind a file that cannot be read, and reports it to repair (it tried that one for ever, and read nothing behind it)', async () => {
    const of = await world()
    for (const bytes of [small, large, other]) await of.holder.store(cidOf(bytes), bytes, reference)
    const { files } = of.disk
    const read = files.read.bind(files)
    files.read = async (path) => {
      if (path.startsWith('blocks/large/') && path.endsWith(cidOf(large))) throw Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO' })
      return read(path)
    }
    const scrub = await of.scrub()
    scrub.now()
    let failures = 0
    for (let phase = ''; phase !== 'waiting' && failures < 5; phase = scrub.status().phase) await of.run(scrub).catch(() => { failures++ })
    expect([failures, scrub.status().last?.found]).toMatchObject([1, { wrongPieces: 1 }])
    expect(of.reported).toEqual([cidOf(large)])
    expect(await of.blocks.has(cidOf(large))).toBe(false)
  })

  test('goes on behind a file of which the disk tells nothing at all, and behind a folder that cannot be listed (the pass stood at it for ever)', async () => {
    const of = await world()
    for (const bytes of [small, large, other]) await of.holder.store(cidOf(bytes), bytes, reference)
    const { files } = of.disk
    const fault = (): never => { throw Object.assign(new Error('EUCLEAN: structure needs cleaning'), { code: 'EUCLEAN' }) }
    const before = { ...files }
    const isRotten = (path: string): boolean => path.endsWith(cidOf(large))
    files.read = async (path) => isRotten(path) ? fault() : before.read(path)
    files.size = async (path) => isRotten(path) ? fault() : before.size(path)
    files.rename = async (from, to) => isRotten(from) ? fault() : before.rename(from, to)
    files.list = (path) => path === pieceFolderAt(7) ? fault() : before.list(path)
    const { found } = await passOf(of)
    // the one of which nothing is told is missing, and repair's
    expect(found).toMatchObject({ pieces: 2, wrongPieces: 0, damagedFiles: 1 })
    expect(of.warnings).toContain('a folder of blocks cannot be read')
  })

  test('enters files that the index has lost, so that they are counted, listed and looked at', async () => {
    const of = await world()
    await of.holder.store(cidOf(large), large, reference)
    const [shard] = await shardsOf(cidOf(other), other, { k: 2, m: 1 })
    if (shard === undefined) throw new Error('no shard')
    await of.holder.storeShard(shard, { ...reference, redundancy: { k: 2, m: 1 } })
    for (const kind of [2, 9, 3]) for await (const key of of.disk.index.keys({ from: Uint8Array.of(kind), to: Uint8Array.of(kind + 1) })) of.disk.index.damage(key, undefined)
    const { found } = await passOf(of)
    expect(found).toMatchObject({ enteredFiles: 2, pieces: 2, wrongPieces: 0 })
    expect((await passOf(of)).found).toMatchObject({ enteredFiles: 0, pieces: 2 })
  })

  test('sets aside a reference with a flipped bit, and gives one from before they had a check its own', async () => {
    const of = await world()
    const { index } = of.disk
    await of.holder.store(cidOf(large), large, reference)
    await of.holder.store(cidOf(large), large, { ...reference, versionId: new Uint8Array(32).fill(8) })
    const [old, rotten] = [referenceKeyOf(cidOf(large), reference), referenceKeyOf(cidOf(large), { versionId: new Uint8Array(32).fill(8) })]
    index.damage(old, Uint8Array.of(1, 2))
    const value = await index.get(rotten) as Uint8Array
    index.damage(rotten, undefined)
    // another version, as it seems
    const flippedKey = flipped(rotten, 8 * 40)
    index.damage(flippedKey, value)
    const read = async (): Promise<number> => { let count = 0; for await (const _ of of.holder.references(cidOf(large))) count++; return count }
    expect(await read()).toBe(1)
    // what it may have kept does not go
    expect(await of.holder.release(cidOf(large), async () => true)).toBe('kept')
    expect((await passOf(of)).found).toMatchObject({ wrongReferences: 1 })
    expect(of.reported).toEqual([cidOf(large)])
    expect(await index.get(concat([Uint8Array.of(asideReferenceKind), flippedKey]))).toEqual(value)
    expect((await index.get(old))?.byteLength).toBe(10)
    expect(await read()).toBe(1)
    expect((await passOf(of)).found).toMatchObject({ wrongReferences: 0 })
  })

  test('takes a partition of rows out of service that is not any more what was saved, though it was proven at the start', async () => {
    const of = await world()
    for (let n = 0; n < 40; n++) await of.rows.save([row(n, 2)])
    expect(await of.rows.get(1, rowKey(7))).toEqual(row(7, 2))
    const { key, value } = await indexedRow(of.rowsDisk, 7)
    of.rowsDisk.index.damage(key, flipped(value, 300))
    const { found } = await passOf(of)
    expect(found).toMatchObject({ lostPartitions: 1 })
    await expect(of.rows.get(1, rowKey(7))).rejects.toThrow(PartitionLost)
    expect(of.rows.lostPartitions()).toEqual(new Set([partitionOf(rowKey(7))]))
  })

  test('writes journal and proof of the rows anew if they are not what was written, and keeps copies', async () => {
    const of = await world()
    const { files } = of.disk
    for (let n = 0; n < 5; n++) await of.rows.save([row(n, 2)])
    for (const path of [...journalsOf(of.rowsDisk), 'rows/proof']) {
      files.flip(path, 8 * 100)
      const damaged = await files.read(path)
      expect((await passOf(of)).found, path).toMatchObject({ damagedFiles: 1, lostPartitions: 0 })
      const kept = await Promise.all(files.paths.filter((name) => name.startsWith(`evidence/${path.replaceAll('/', '-')}`)).map(async (name) => files.read(name)))
      expect(kept.some((bytes) => equals(bytes, damaged))).toBe(true)
      expect((await passOf(of)).found, path).toMatchObject({ damagedFiles: 0 })
    }
    const again = await openRowStore({ ...of.rowsDisk, folder: 'rows', random: seededRandom(1), ballotOf, onLost: () => {} })
    expect(again.lostPartitions().size).toBe(0)
    for (let n = 0; n < 5; n++) expect(await again.get(1, rowKey(n))).toEqual(row(n, 2))
  })

  test('goes on after a restart where it was, and begins anew when that was damaged', async () => {
    const of = await world()
    for (let i = 0; i < 200; i++) await of.holder.store(cidOf(noiseBytes(1000, 100 + i)), noiseBytes(1000, 100 + i), reference)
    const scrub = await of.scrub()
    scrub.now()
    const wait = { signal: new AbortController().signal }
    while (scrub.status().found.pieces < 64) await scrub.step(wait)
    await scrub.save()
    const again = await of.scrub()
    expect(again.status()).toMatchObject({ phase: 'blocks', found: { pieces: 64 } })
    await of.run(again)
    expect(again.status().last?.found.pieces).toBe(200)
    of.disk.files.flip('scrub', 77)
    expect((await of.scrub()).status()).toMatchObject({ phase: 'waiting', last: undefined })
    expect(of.warnings.join()).toContain('damaged')
  })

  test('takes about half of the time until the next pass, and no pass begins before it is due by the time that the node has run', async () => {
    const of = await world({ everyMs: 100_000 })
    const { time } = of
    for (let i = 0; i < 20; i++) await of.holder.store(cidOf(noiseBytes(32_000, 100 + i)), noiseBytes(32_000, 100 + i), reference)
    const scrub = await of.scrub()
    const bytesAt = async (ms: number): Promise<void> => {
      await wait(time, ms)
      await of.run(scrub)
    }
    await bytesAt(scrubLimits.startMs - 1000)
    expect(scrub.status().phase).toBe('waiting')
    let took = 0
    for (; scrub.status().last === undefined; took += 100) await bytesAt(100)
    // so little is read at once
    expect(took).toBeLessThan(5000)
    await bytesAt(90_000)
    expect(scrub.status()).toMatchObject({ phase: 'waiting' })
    const { finishedMs } = scrub.status().last ?? {}
    // a restart begins no count anew
    await scrub.save()
    expect((await of.scrub()).status().last?.finishedMs).toBe(finishedMs)
    for (let second = 0; second < 20; second++) await bytesAt(1000)
    expect(scrub.status().last?.finishedMs).toBeGreaterThan(finishedMs ?? Infinity)
  })

  test('of much reads no faster than a pass that takes half of the time, unless a person asks', async () => {
    const of = await world({ everyMs: 4000 })
    const { time } = of
    for (let i = 0; i < 30; i++) await of.holder.store(cidOf(noiseBytes(1_000_000, i)), noiseBytes(1_000_000, i), reference)
    const scrub = await of.scrub()
    await wait(time, scrubLimits.startMs)
    const share = async (ms: number): Promise<number> => { for (let i = 0; i < ms / 50; i++) { await wait(time, 50); await of.run(scrub) } return scrub.status().doneShare }
    expect(await share(200)).toBeLessThan(0.95)
    expect(scrub.status().phase).toBe('blocks')
    expect(scrub.status().etaMs).toBeGreaterThan(100)
    scrub.now()
    expect(await share(50)).toBe(1)
    expect(scrub.status().phase).toBe('waiting')
  })

  test('begins at once, and has repair look at everything, when the index of blocks was damaged', async () => {
    const of = await world()
    const scrub = await of.scrub({ damage: 'its log has rotted' })
    expect(of.losses).toEqual(['its log has rotted'])
    await of.run(scrub)
    expect(scrub.status().last).toBeDefined()
  })
})

test('a bit that flips in the log of the block index: LevelDB drops small blocks in silence, and we know (they were missed by nobody)', async () => {
  await using folder = await temporaryFolder()
  const files = nodeFiles(folder.path)
  const config = { data: folder.path, capacityBytes: undefined, reserveBytes: 0, cacheBytes: 0 } as Config
  const open = async (): Promise<BlockStores> => openBlocks({ config, files, onCorrupt: () => {} })
  const cids: Cid[] = []
  {
    await using stores = await open()
    for (let i = 0; i < 300; i++) {
      const bytes = noiseBytes(2000, i)
      cids.push(cidOf(bytes))
      await stores.holder.store(cidOf(bytes), bytes, reference)
    }
  }
  const name = (await levelFilesIn(files, 'blocks/index')).find((file) => file.name.endsWith('.log'))?.name ?? ''
  const log = await files.read(`blocks/index/${name}`)
  await writeFile(join(folder.path, 'blocks/index', name), flipped(log, log.byteLength * 4))
  await using stores = await open()
  const here = await Promise.all(cids.map(async (cid) => stores.blocks.has(cid)))
  expect(here.filter((isHere) => !isHere).length).toBeGreaterThan(0)
  expect(stores.damage.map(({ file }) => file)).toEqual([`blocks/index/${name}`])
  expect(await files.size(`evidence/blocks-index-${name}`)).toBe(log.byteLength)
})

test('an index of blocks that was moved away, as the node itself says to do, counts as damaged while there are blocks: they are entered at once (and not in a month)', async () => {
  await using folder = await temporaryFolder()
  const config = { data: folder.path, capacityBytes: undefined, reserveBytes: 0, cacheBytes: 0 } as Config
  const open = async (): Promise<BlockStores> => openBlocks({ config, files: nodeFiles(folder.path), onCorrupt: () => {} })
  const damageAfter = async (change: (stores: BlockStores) => Promise<void> = async () => {}): Promise<BlockStores['damage']> => {
    await using stores = await open()
    await change(stores)
    return stores.damage
  }
  expect(await damageAfter()).toEqual([])
  await rm(join(folder.path, 'blocks/index'), { recursive: true })
  expect(await damageAfter(async ({ holder }) => holder.store(cidOf(large), large, reference))).toEqual([])
  expect(await damageAfter()).toEqual([])
  await rename(join(folder.path, 'blocks/index'), join(folder.path, 'moved'))
  expect(await damageAfter()).toMatchObject([{ file: 'blocks/index' }])
})

test('a table of the block index with a flipped bit is found, and what it may have lost is looked for', async () => {
  const of = await world()
  await using folder = await temporaryFolder()
  const level = await levelKeyValue(join(folder.path, 'index'))
  await level.batch(Array.from({ length: 100 }, (_, i) => ({ type: 'put' as const, key: Uint8Array.of(i), value: noiseBytes(100, i) })), { sync: true })
  await level.batch([], { sync: 'all' })
  await level[Symbol.asyncDispose]()
  const files = nodeFiles(folder.path)
  const table = (await levelFilesIn(files, 'index')).find(({ name }) => name.endsWith('.ldb'))?.name ?? ''
  const bytes = await files.read(`index/${table}`)
  for (const [path, content] of [['blocks/index/000001.ldb', bytes], ['blocks/index/000002.ldb', flipped(bytes, 4000)], ['rows/index/000002.ldb', flipped(bytes, 4000)]] as const) await of.disk.files.writeDurable(path, [content])
  expect((await passOf(of)).found).toMatchObject({ damagedFiles: 2 })
  expect(of.losses).toHaveLength(1)
  expect(of.losses[0]).toContain('blocks/index/000002.ldb')
  expect(await of.disk.files.read('evidence/blocks-index-000002.ldb')).toEqual(flipped(bytes, 4000))
})

test('a table of an index that cannot be read is counted and told, and what comes behind it is read (the pass stood at it for ever)', async () => {
  const of = await world()
  await of.holder.store(cidOf(large), large, reference)
  const { files } = of.disk
  await files.writeDurable('blocks/index/000001.ldb', [new Uint8Array(5000)])
  const read = files.read.bind(files)
  files.read = async (path) => {
    if (path === 'blocks/index/000001.ldb') throw Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO' })
    return read(path)
  }
  expect((await passOf(of)).found).toMatchObject({ damagedFiles: 1, pieces: 1 })
  expect(of.losses).toEqual([expect.stringContaining('blocks/index/000001.ldb')])
  expect(of.warnings).toEqual([expect.stringContaining('cannot be read')])
})
