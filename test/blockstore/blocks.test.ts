import { describe, expect, test } from 'vitest'
import { concat, utf8 } from '../../src/base/bytes.ts'
import { type Cid, cidOf, digestOf } from '../../src/base/cid.ts'
import { StoreFull } from '../../src/base/errors.ts'
import { seededRandom } from '../../src/base/random.ts'
import { openBlockCache } from '../../src/blockstore/cached-blocks.ts'
import { type DiskBlocks, openDiskBlocks } from '../../src/blockstore/disk-blocks.ts'
import { type BlockHolder, blockHolder } from '../../src/blockstore/holder.ts'
import { BlockCorrupt, BlockMissing, type Blocks, StoreReadOnly } from '../../src/blockstore/index.ts'
import { memoryBlocks } from '../../src/blockstore/memory-blocks.ts'
import { type KeyValue, SyncFailed } from '../../src/disk/index.ts'
import { levelKeyValue } from '../../src/disk/level-key-value.ts'
import { type MemoryFiles, memoryFiles } from '../../src/disk/memory-files.ts'
import { type MemoryKeyValue, memoryKeyValue } from '../../src/disk/memory-key-value.ts'
import { nodeFiles } from '../../src/disk/node-files.ts'
import { shardsOf } from '../../src/replication/shards.ts'
import { noiseBytes } from '../support/file-world.ts'
import { temporaryFolder } from '../support/temporary.ts'

const small = noiseBytes(1000, 1)
const large = noiseBytes(100_000, 2)
const other = noiseBytes(100_000, 3)
const reference = { versionId: new Uint8Array(32).fill(9), redundancy: { k: 1, m: 1 } }

interface Disk { files: MemoryFiles, index: MemoryKeyValue }
const newDisk = (): Disk => ({ files: memoryFiles(), index: memoryKeyValue() })
const openOn = async ({ files, index }: Disk, options: { quotaBytes?: number, reserveBytes?: number } = {}): Promise<DiskBlocks & { corrupt: Cid[] }> => {
  const corrupt: Cid[] = []
  const store = await openDiskBlocks({ files, index, quotaBytes: options.quotaBytes, reserveBytes: options.reserveBytes ?? 0, onCorrupt: (cid) => { corrupt.push(cid) } })
  return Object.assign(store, { corrupt })
}
const reopenedOn = async (disk: Disk): Promise<DiskBlocks> => {
  await disk.index[Symbol.asyncDispose]()
  return openOn(disk)
}

async function rot (disk: Disk, cid: Cid): Promise<void> {
  const path = disk.files.paths.find((name) => name.startsWith('blocks/large/') && name.endsWith(cid))
  if (path !== undefined) { disk.files.flip(path, 12_345); return }
  const key = concat([Uint8Array.of(1), digestOf(cid)])
  const rotten = (await disk.index.get(key) ?? new Uint8Array(0)).slice()
  rotten[7] = (rotten[7] ?? 0) ^ 1
  disk.index.damage(key, rotten)
}

async function listed (blocks: Blocks): Promise<Set<Cid>> { const found = new Set<Cid>(); for await (const cid of blocks.list()) found.add(cid); return found }

const implementations: ReadonlyArray<readonly [string, (use: (blocks: Blocks) => Promise<void>) => Promise<void>]> = [
  ['in memory', async (use) => use(memoryBlocks())],
  ['on a disk in memory', async (use) => use(await openOn(newDisk()))],
  ['in the cache', async (use) => use(await openBlockCache({ files: memoryFiles(), limitBytes: 10_000_000 }))],
  ['on the real disk', async (use) => {
    await using folder = await temporaryFolder()
    const files = nodeFiles(folder.path)
    await using index = await levelKeyValue(`${folder.path}/index`)
    await use(await openDiskBlocks({ files, index, quotaBytes: undefined, reserveBytes: 0, onCorrupt: () => {} }))
  }],
]

describe.each(implementations)('blocks %s', (_name, withBlocks) => {
  test('are got as they were put, large and small', async () => withBlocks(async (blocks) => {
    for (const block of [small, large, new Uint8Array(0)]) {
      await blocks.put(cidOf(block), block)
      await blocks.put(cidOf(block), block)
      expect(await blocks.get(cidOf(block))).toEqual(block)
      expect(await blocks.has(cidOf(block))).toBe(true)
    }
    expect(await listed(blocks)).toEqual(new Set([small, large, new Uint8Array(0)].map(cidOf)))
  }))

  test('that are not there are missing', async () => withBlocks(async (blocks) => {
    await expect(blocks.get(cidOf(small))).rejects.toThrow(BlockMissing)
    expect(await blocks.has(cidOf(small))).toBe(false)
    await blocks.delete(cidOf(small))
  }))

  test('are deleted', async () => withBlocks(async (blocks) => {
    for (const block of [small, large]) {
      await blocks.put(cidOf(block), block)
      await blocks.delete(cidOf(block))
      await expect(blocks.get(cidOf(block))).rejects.toThrow(BlockMissing)
    }
    expect(await listed(blocks)).toEqual(new Set())
  }))

  test('are refused when the bytes are not what the address says', async () => withBlocks(async (blocks) => {
    await expect(blocks.put(cidOf(small), large)).rejects.toThrow(BlockCorrupt)
    expect(await blocks.has(cidOf(small))).toBe(false)
  }))

  test('have addresses that name no path', async () => withBlocks(async (blocks) => {
    for (const wrong of ['../../x', '/etc/passwd', '', 'bafkr4i', `${cidOf(small)}/..`, cidOf(small).toUpperCase()]) {
      await expect(blocks.get(wrong as Cid)).rejects.toThrow()
      await expect(blocks.put(wrong as Cid, small)).rejects.toThrow()
    }
  }))

  test('put at once by many are one block', async () => withBlocks(async (blocks) => {
    await Promise.all(Array.from({ length: 20 }, async () => blocks.put(cidOf(large), large)))
    expect(await blocks.get(cidOf(large))).toEqual(large)
    expect((await listed(blocks)).size).toBe(1)
  }))
})

describe('blocks on disk', () => {
  test.each([['small', small], ['large', large]] as const)('is told of when it is here no more, for whoever mends it looks at once (%s)', async (_, block) => {
    const disk = newDisk()
    const here: Array<Promise<boolean>> = []
    const blocks = await openDiskBlocks({ ...disk, quotaBytes: undefined, reserveBytes: 0, onCorrupt: (cid) => { here.push(blocks.has(cid)) } })
    await blocks.put(cidOf(block), block)
    await rot(disk, cidOf(block))
    await expect(blocks.get(cidOf(block))).rejects.toThrow(BlockCorrupt)
    expect(await Promise.all(here)).toEqual([false])
  })

  test('that rot are set aside, kept as evidence, counted and reported; never given out', async () => {
    const disk = newDisk()
    const blocks = await openOn(disk)
    for (const block of [small, large]) await blocks.put(cidOf(block), block)
    for (const block of [small, large]) await rot(disk, cidOf(block))
    for (const block of [small, large]) {
      await expect(blocks.get(cidOf(block))).rejects.toThrow(BlockCorrupt)
      await expect(blocks.get(cidOf(block))).rejects.toThrow(BlockMissing)
    }
    expect(blocks.corrupt).toEqual([cidOf(small), cidOf(large)])
    expect(blocks.stats()).toMatchObject({ corrupt: 2, count: 0, bytes: 0 })
    expect(disk.files.paths.some((name) => name === `blocks/corrupt/${cidOf(large)}`)).toBe(true)
    // and a good copy may come back
    await blocks.put(cidOf(large), large)
    expect(await blocks.get(cidOf(large))).toEqual(large)
  })

  test('a rotten copy is replaced when the block is put again', async () => {
    const disk = newDisk()
    const blocks = await openOn(disk)
    await blocks.put(cidOf(large), large)
    disk.files.flip(disk.files.paths.find((name) => name.endsWith(cidOf(large))) ?? '', 99)
    await blocks.put(cidOf(large), large)
    expect(await blocks.get(cidOf(large))).toEqual(large)
  })

  test.each([
    ['small', 'has read', small], ['small', 'moves', small], ['large', 'has read', large], ['large', 'moves', large],
  ] as const)('a good copy put while a reader sets the rotten one aside stays (the reader took it away, acknowledged as it was): %s, it %s', async (_size, step, block) => {
    const disk = newDisk()
    await (await openOn(disk)).put(cidOf(block), block)
    await rot(disk, cidOf(block))
    const [isThere, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    let isHeld = false
    const hold = async (at: typeof step, found?: unknown): Promise<void> => {
      if (isHeld || at !== step || (at === 'has read' && found === undefined)) return
      isHeld = true
      isThere.resolve()
      await goOn.promise
    }
    const files: MemoryFiles = { ...disk.files, paths: [],
      async read (path) { const found = await disk.files.read(path); await hold('has read', found); return found },
      async rename (from, to) { await hold('moves'); await disk.files.rename(from, to) } }
    const index: MemoryKeyValue = { ...disk.index,
      async get (key) { const found = await disk.index.get(key); await hold('has read', found); return found },
      async batch (changes, options) { await hold('moves'); await disk.index.batch(changes, options) } }
    const blocks = await openOn({ files, index })
    const reading = blocks.get(cidOf(block)).catch((error: unknown) => error)
    await isThere.promise
    const putting = blocks.put(cidOf(block), block)
    for (let steps = 0; steps < 200; steps++) await Promise.resolve()
    goOn.resolve()
    await putting
    const answer = await reading
    if (step === 'has read') expect(answer).toEqual(block)
    else expect(answer).toBeInstanceOf(BlockCorrupt)
    expect(await blocks.get(cidOf(block))).toEqual(block)
    expect(blocks.corrupt).toEqual([cidOf(block)])
    expect(blocks.stats()).toMatchObject({ corrupt: 1, count: 1, bytes: block.byteLength })
  })

  test.each([
    ['read', async (blocks: DiskBlocks, cid: Cid) => blocks.get(cid)],
    ['deleted', async (blocks: DiskBlocks, cid: Cid) => blocks.delete(cid)],
  ] as const)('a rotten block that is read and %s at once is one lost (it was counted twice: -1 blocks)', async (_name, act) => {
    for (const block of [small, large]) {
      const disk = newDisk()
      const blocks = await openOn(disk)
      await blocks.put(cidOf(block), block)
      await rot(disk, cidOf(block))
      await Promise.allSettled([blocks.get(cidOf(block)), act(blocks, cidOf(block))])
      expect(blocks.stats()).toMatchObject({ count: 0, bytes: 0 })
      if (_name === 'read') expect(blocks.corrupt).toEqual([cidOf(block)])
      expect(await blocks.has(cidOf(block))).toBe(false)
    }
  })

  test('take no more writes after a failed fsync, until they are opened afresh', async () => {
    for (const block of [small, large]) {
      const disk = newDisk()
      const blocks = await openOn(disk)
      if (block === small) disk.index.fail('sync')
      else disk.files.fail('sync')
      await expect(blocks.put(cidOf(block), block)).rejects.toThrow('fsync failed')
      await expect(blocks.put(cidOf(small), small)).rejects.toThrow(StoreReadOnly)
      expect(blocks.stats().isReadOnly).toBe(true)
      await (await reopenedOn(disk)).put(cidOf(small), small)
    }
  })

  test.each([
    ['a small block', 'sync', async (holder: BlockHolder) => holder.store(cidOf(small), small, reference)],
    ['a reference', 'sync', async (holder: BlockHolder) => holder.keep(cidOf(large), reference)],
    ['the size of a large block', 'write error', async (_: BlockHolder, blocks: DiskBlocks) => blocks.put(cidOf(other), other)],
  ] as const)('take no more writes when their index could not write %s (it never went read-only, and wrote on behind a torn log)', async (_name, failure, write) => {
    const disk = newDisk()
    const blocks = await openOn(disk)
    await blocks.put(cidOf(large), large)
    disk.index.fail(failure)
    const holder = blockHolder({ blocks, index: disk.index })
    await expect(write(holder, blocks)).rejects.toThrow(SyncFailed)
    expect(blocks.stats().isReadOnly).toBe(true)
    await expect(blocks.put(cidOf(other), other)).rejects.toThrow(StoreReadOnly)
    await expect(blocks.delete(cidOf(large))).rejects.toThrow(StoreReadOnly)
    await expect(holder.keep(cidOf(large), reference)).rejects.toThrow(StoreReadOnly)
    expect(await blocks.get(cidOf(large))).toEqual(large)
    await (await reopenedOn(disk)).put(cidOf(small), small)
  })

  test('a full disk is an answer, leaves nothing half-written, and ends when there is room', async () => {
    const disk = newDisk()
    const blocks = await openOn(disk)
    disk.files.fail('write')
    await expect(blocks.put(cidOf(large), large)).rejects.toThrow(StoreFull)
    expect(await blocks.has(cidOf(large))).toBe(false)
    await blocks.put(cidOf(large), large)
  })

  test('an index that finds the disk full takes writes again when there is room, with all that was acknowledged', async () => {
    const disk = newDisk()
    const blocks = await openOn(disk)
    const holder = blockHolder({ blocks, index: disk.index })
    await holder.store(cidOf(small), small, reference)
    // the reference, the size, taking it back, and the first recovery
    disk.index.fail('write', 4)
    await expect(holder.store(cidOf(large), large, reference)).rejects.toThrow(StoreFull)
    await blocks.recover()
    expect(blocks.stats()).toMatchObject({ isReadOnly: true, readOnlyReason: expect.stringContaining('full') as string })
    expect(await blocks.get(cidOf(small))).toEqual(small)
    await blocks.recover()
    expect(blocks.stats().isReadOnly).toBe(false)
    await holder.store(cidOf(large), large, reference)
    for (const block of [small, large]) {
      expect(await blocks.get(cidOf(block))).toEqual(block)
      expect((await holder.references(cidOf(block))[Symbol.asyncIterator]().next()).value).toEqual(reference)
    }
  })

  test('a quota and a reserve are kept', async () => {
    const blocks = await openOn(newDisk(), { quotaBytes: 100_500 })
    await blocks.put(cidOf(large), large)
    await expect(blocks.put(cidOf(small), small)).rejects.toThrow('may hold 100500')
    await expect((await openOn(newDisk(), { reserveBytes: 2 ** 41 })).put(cidOf(small), small)).rejects.toThrow('reserve')
  })

  test('a quota and a reserve hold for what is being written too (5 MiB of quota let a put of 9.5 MiB in)', async () => {
    const blocksAtOnce = Array.from({ length: 8 }, (_, seed) => noiseBytes(seed % 2 === 0 ? 100_000 : 20_000, seed))
    const freeBytes = 1e6
    for (const [limits, most] of [[{ quotaBytes: 250_000 }, 250_000], [{ reserveBytes: freeBytes - 250_000 }, 250_000]] as const) {
      const disk = newDisk()
      let written = 0
      const files: MemoryFiles = { ...disk.files, paths: [], freeBytes: async () => freeBytes - written, async writeDurable (path, parts) {
        await disk.files.writeDurable(path, parts)
        written += parts[0]?.byteLength ?? 0
      } }
      const blocks = await openOn({ files, index: disk.index }, limits)
      const puts = await Promise.allSettled(blocksAtOnce.map(async (block) => blocks.put(cidOf(block), block)))
      for (const put of puts) if (put.status === 'rejected') expect(put.reason).toBeInstanceOf(StoreFull)
      expect(blocks.stats().bytes).toBeGreaterThan(0)
      expect(blocks.stats().bytes).toBeLessThanOrEqual(most)
    }
  })

  test.each([['lacked', 'deleted'], ['lacked', 'set aside'], ['had wrong', 'deleted'], ['had wrong', 'set aside']] as const)('what the index %s at the start, as after a power failure, or rotten, is not taken from what is held when it is %s (a node came to hold less than nothing, and could tell nobody what it holds)', async (what, how) => {
    const disk = newDisk()
    const [kept, lacking] = [noiseBytes(50_000, 8), noiseBytes(60_000, 9)]
    for (const bytes of [kept, lacking]) await (await openOn(disk)).put(cidOf(bytes), bytes)
    disk.index.damage(concat([Uint8Array.of(2), digestOf(cidOf(lacking))]), what === 'lacked' ? undefined : new Uint8Array(4))
    const blocks = await openOn(disk, { quotaBytes: 100_000 })
    expect(blocks.stats()).toMatchObject({ count: what === 'lacked' ? 1 : 2, bytes: 50_000 })
    if (how === 'deleted') await blocks.delete(cidOf(lacking))
    else {
      disk.files.flip(disk.files.paths.find((path) => path.endsWith(cidOf(lacking))) ?? '', 800)
      await expect(blocks.get(cidOf(lacking))).rejects.toThrow(BlockCorrupt)
    }
    expect(blocks.stats()).toMatchObject({ count: 1, bytes: 50_000 })
    await expect(blocks.put(cidOf(lacking), lacking)).rejects.toThrow(StoreFull)
    await blocks.delete(cidOf(kept))
    expect(blocks.stats()).toMatchObject({ count: 0, bytes: 0 })
  })

  test('a put that failed gives its room back', async () => {
    const disk = newDisk()
    const blocks = await openOn(disk, { quotaBytes: 150_000 })
    disk.files.fail('write')
    await expect(blocks.put(cidOf(large), large)).rejects.toThrow(StoreFull)
    await blocks.put(cidOf(large), large)
  })

  test.each([
    ['get', async (blocks: DiskBlocks, cid: Cid) => blocks.get(cid)],
    ['has', async (blocks: DiskBlocks, cid: Cid) => blocks.has(cid)],
    ['delete', async (blocks: DiskBlocks, cid: Cid) => blocks.delete(cid)],
    ['keep', async (blocks: DiskBlocks, cid: Cid, index: MemoryKeyValue) => blockHolder({ blocks, index }).keep(cid, reference)],
    ['references', async (blocks: DiskBlocks, cid: Cid, index: MemoryKeyValue) => blockHolder({ blocks, index }).references(cid)[Symbol.asyncIterator]().next()],
    ['list', async (blocks: DiskBlocks) => listed(blocks)],
    ['count', async (_: DiskBlocks, _cid: Cid, index: MemoryKeyValue) => openOn({ files: memoryFiles(), index })],
  ] as const)('a dying disk is not an empty one: its error is neither "missing" nor "no", nor "none" (%s)', async (_name, ask) => {
    for (const part of ['files', 'index'] as const) {
      const disk = newDisk()
      const blocks = await openOn(disk)
      await blocks.put(cidOf(large), large)
      disk[part].fail('read')
      const answer = await ask(blocks, cidOf(large), disk.index).then(() => 'an answer', (error: unknown) => String(error))
      // who does not look there cannot know
      const isAsked = part === 'index' || !['references', 'list', 'count'].includes(_name)
      expect(answer, part).toBe(isAsked ? 'Error: EIO: i/o error' : 'an answer')
    }
  })

  /** As of a bad sector: the file is there, and reading it fails each time; the rest of the disk is well. */
  function badSectorAt (disk: Disk, cid: Cid): Disk {
    const files: MemoryFiles = { ...disk.files, read: async (path) => {
      if (path.startsWith('blocks/large/') && path.endsWith(cid)) throw Object.assign(new Error('EIO: i/o error, read'), { code: 'EIO' })
      return disk.files.read(path)
    } }
    return { ...disk, files }
  }

  test('a file that cannot be read again and again is set aside and reported, as a rotten one is (it counted as held for ever, and nobody brought another)', async () => {
    const disk = newDisk()
    await (await openOn(disk)).put(cidOf(large), large)
    const blocks = await openOn(badSectorAt(disk, cidOf(large)))
    const { count } = blocks.stats()
    await expect(blocks.get(cidOf(large))).rejects.toThrow('EIO')
    expect(await blocks.has(cidOf(large))).toBe(true)
    await expect(blocks.get(cidOf(large))).rejects.toThrow(BlockCorrupt)
    expect(blocks.corrupt).toEqual([cidOf(large)])
    expect(await blocks.has(cidOf(large))).toBe(false)
    expect(blocks.stats()).toMatchObject({ corrupt: 1, count: count - 1, bytes: 0, isReadOnly: false })
    expect(disk.files.paths).toContain(`blocks/corrupt/${cidOf(large)}`)
  })

  test('a good copy takes the place of a file that cannot be read, which is kept', async () => {
    const disk = newDisk()
    await (await openOn(disk)).put(cidOf(large), large)
    const blocks = await openOn(badSectorAt(disk, cidOf(large)))
    await blocks.put(cidOf(large), large)
    expect(disk.files.paths).toContain(`blocks/corrupt/${cidOf(large)}`)
    expect(await (await openOn(disk)).get(cidOf(large))).toEqual(large)
  })

  test('a disk that does nothing any more, as a file system that has shut itself down, is told as that: no block is called rotten', async () => {
    const disk = newDisk()
    await (await openOn(disk)).put(cidOf(large), large)
    const dead = badSectorAt(disk, cidOf(large))
    const blocks = await openOn({ ...dead, files: { ...dead.files, rename: async () => Promise.reject(Object.assign(new Error('EIO: i/o error, rename'), { code: 'EIO' })) } })
    for (let i = 0; i < 3; i++) await expect(blocks.get(cidOf(large))).rejects.toThrow('EIO')
    expect(blocks.corrupt).toEqual([])
    expect(blocks.stats()).toMatchObject({ corrupt: 0, count: 1 })
  })

  test('a read that fails once proves nothing: the next may do', async () => {
    const disk = newDisk()
    const blocks = await openOn(disk)
    await blocks.put(cidOf(large), large)
    for (let i = 0; i < 3; i++) {
      disk.files.fail('read')
      await expect(blocks.get(cidOf(large))).rejects.toThrow('EIO')
      expect(await blocks.get(cidOf(large))).toEqual(large)
    }
    expect(blocks.corrupt).toEqual([])
  })

  test('after a power failure at any point hold every acknowledged block with its reference, the others whole or not at all', async () => {
    for (let seed = 0; seed < 150; seed++) {
      const random = seededRandom(seed)
      const disk = newDisk()
      const holder = blockHolder({ blocks: await openOn(disk), index: disk.index })
      const acknowledged: Cid[] = []
      const stored = Array.from({ length: 6 }, (_, i) => noiseBytes(i % 2 === 0 ? 500 : 40_000, seed * 10 + i)).map(async (block) => {
        await holder.store(cidOf(block), block, reference)
        acknowledged.push(cidOf(block))
      })
      // the power fails after so many steps, wherever the writes are then
      for (let steps = Math.floor(random.fraction() * 30); steps > 0; steps--) await Promise.resolve()
      const before = [...acknowledged]
      const after: Disk = { files: disk.files.crash(random), index: disk.index.crash(random) }
      await Promise.allSettled(stored)
      const blocks = await openOn(after)
      const held = blockHolder({ blocks, index: after.index })
      for (const cid of before) {
        expect(cidOf(await blocks.get(cid))).toBe(cid)
        const references = []
        for await (const found of held.references(cid)) references.push(found)
        expect(references).toEqual([reference])
      }
      for (const cid of await listed(blocks)) expect(cidOf(await blocks.get(cid))).toBe(cid)
      expect(after.files.paths.filter((path) => path.startsWith('blocks/tmp/'))).toEqual([])
    }
  })
})

describe('a holder', () => {
  test('keeps nothing for which there was no room to record whom it is for: it would stay for ever', async () => {
    const disk = newDisk()
    const index = { ...disk.index, batch: async (...[changes, options]: Parameters<KeyValue['batch']>) => { if (isFull && changes.some(({ key }) => key[0] === 3)) throw new StoreFull('the disk is full'); return disk.index.batch(changes, options) } }
    let isFull = false
    const blocks = await openOn(disk)
    const holder = blockHolder({ blocks, index })
    const [known, fresh] = [noiseBytes(100_000, 1), noiseBytes(100_000, 2)]
    await holder.store(cidOf(known), known, reference)
    isFull = true
    await expect(holder.store(cidOf(fresh), fresh, reference)).rejects.toThrow(StoreFull)
    await expect(holder.store(cidOf(known), known, { ...reference, versionId: new Uint8Array(32).fill(8) })).rejects.toThrow(StoreFull)
    expect([await blocks.has(cidOf(fresh)), await blocks.has(cidOf(known))]).toEqual([false, true])
    expect(blocks.stats()).toMatchObject({ count: 1, bytes: 100_000 })
  })

  test('keeps what it has and wants what it has not, or has rotten', async () => {
    const disk = newDisk()
    const holder = blockHolder({ blocks: await openOn(disk), index: disk.index })
    expect(await holder.keep(cidOf(large), reference)).toBe('want')
    await holder.store(cidOf(large), large, reference)
    const other = { ...reference, versionId: utf8('x'.repeat(32)) }
    expect(await holder.keep(cidOf(large), other)).toBe('kept')
    const references = []
    for await (const found of holder.references(cidOf(large))) references.push(found)
    expect(references).toHaveLength(2)
    disk.files.flip(disk.files.paths.find((name) => name.endsWith(cidOf(large))) ?? '', 5)
    const fresh = blockHolder({ blocks: await openOn(disk), index: disk.index })
    expect(await fresh.keep(cidOf(large), reference)).toBe('want')
  })

  test('that is told of hundreds of blocks at once reads few at a time to see that they are right (after a restart a copy of a large object had it take as much memory)', async () => {
    const disk = newDisk()
    const blocks = await openOn(disk)
    const all = Array.from({ length: 100 }, (_, i) => noiseBytes(40_000, 100 + i))
    for (const bytes of all) await blocks.put(cidOf(bytes), bytes)
    const shards = await shardsOf(cidOf(large), large, { k: 2, m: 30 })
    for (const shard of shards) await blocks.shards.put(shard)
    let [reading, most] = [0, 0]
    const counted = async <T>(read: Promise<T>): Promise<T> => {
      most = Math.max(most, ++reading)
      try { return await read } finally { reading-- }
    }
    const holder = blockHolder({ index: disk.index, blocks: { ...blocks, get: async (cid) => counted(blocks.get(cid)), shards: { ...blocks.shards, get: async (name) => counted(blocks.shards.get(name)) } } })
    const kept = await Promise.all([...all.map(async (bytes) => holder.keep(cidOf(bytes), reference)), ...shards.map(async (shard) => holder.keepShard(shard, { ...reference, redundancy: { k: 2, m: 30 } }))])
    expect(new Set(kept)).toEqual(new Set(['kept']))
    expect(most).toBeLessThanOrEqual(4)
  })
})

describe('a block that can be seen is kept only once it is on disk (a file was answered for whose folder was still being synced)', () => {
  const pathOfLarge = async (): Promise<string> => {
    const disk = newDisk()
    await (await openOn(disk)).put(cidOf(large), large)
    return disk.files.paths.find((path) => path.endsWith(cidOf(large))) ?? ''
  }

  test('while it is being put', async () => {
    const disk = newDisk()
    const [isSeen, folder] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const files: MemoryFiles = { ...disk.files, paths: [], async writeDurable (path, parts) {
      await disk.files.write(path, large)
      isSeen.resolve()
      await folder.promise
      await disk.files.writeDurable(path, parts)
    } }
    const blocks = await openOn({ files, index: disk.index })
    const holder = blockHolder({ blocks, index: disk.index })
    const putting = blocks.put(cidOf(large), large)
    await isSeen.promise
    let answer: string | undefined
    const keeping = holder.keep(cidOf(large), reference).then((kept) => { answer = kept })
    for (let steps = 0; steps < 100; steps++) await Promise.resolve()
    expect(answer).toBeUndefined()
    folder.resolve()
    await Promise.all([putting, keeping])
    expect(answer).toBe('kept')
  })

  test('never, when its folder could not be synced: it is gone, and so is whatever was being put then', async () => {
    const disk = newDisk()
    const isFailed = Promise.withResolvers<void>()
    const files: MemoryFiles = { ...disk.files, paths: [], async writeDurable (path, parts) {
      if (path.endsWith(cidOf(other))) await isFailed.promise
      await disk.files.writeDurable(path, parts)
    } }
    const blocks = await openOn({ files, index: disk.index })
    const holder = blockHolder({ blocks, index: disk.index })
    const later = expect(blocks.put(cidOf(other), other)).rejects.toThrow(StoreReadOnly)
    disk.files.fail('sync', { after: 1 })
    const keeping = blocks.put(cidOf(large), large)
    await expect(Promise.all([keeping, holder.keep(cidOf(large), reference)])).rejects.toThrow(SyncFailed)
    isFailed.resolve()
    await later
    await expect(holder.keep(cidOf(large), reference)).rejects.toThrow(StoreReadOnly)
    const again = await reopenedOn(disk)
    for (const cid of [cidOf(large), cidOf(other)]) expect(await again.has(cid)).toBe(false)
  })

  test.each([
    ['kept', async (blocks: DiskBlocks, disk: Disk) => { await blockHolder({ blocks, index: disk.index }).keep(cidOf(large), reference) }],
    ['put again', async (blocks: DiskBlocks) => blocks.put(cidOf(large), large)],
  ] as const)('when the process was killed between the renaming and the syncing, and it is %s', async (_name, act) => {
    for (let seed = 0; seed < 20; seed++) {
      const disk = newDisk()
      disk.files.fail('sync', { after: 1 })
      await expect(disk.files.writeDurable(await pathOfLarge(), [large])).rejects.toThrow(SyncFailed)
      await act(await openOn(disk), disk)
      const random = seededRandom(seed)
      const after = await openOn({ files: disk.files.crash(random), index: disk.index.crash(random) })
      expect(await after.has(cidOf(large)), `seed ${seed}`).toBe(true)
    }
  })
})

describe('the cache', () => {
  test('keeps to its bound, the least lately used going first', async () => {
    const cache = await openBlockCache({ files: memoryFiles(), limitBytes: 3000 })
    const blocks = [1, 2, 3].map((seed) => noiseBytes(1000, seed))
    for (const block of blocks) await cache.put(cidOf(block), block)
    await cache.get(cidOf(blocks[0] as Uint8Array))
    await cache.put(cidOf(noiseBytes(1000, 4)), noiseBytes(1000, 4))
    expect(await Promise.all(blocks.map(async (block) => cache.has(cidOf(block))))).toEqual([true, false, true])
    expect(cache.bytes).toBe(3000)
    expect(await cache.empty()).toBe(3000)
    await expect(cache.get(cidOf(blocks[0] as Uint8Array))).rejects.toThrow(BlockMissing)
  })

  test('has nothing of what it cannot read, and keeps it anew (it was tried, and told, each time)', async () => {
    const files = memoryFiles()
    const cache = await openBlockCache({ files, limitBytes: 1e6 })
    await cache.put(cidOf(large), large)
    files.fail('read')
    await expect(cache.get(cidOf(large))).rejects.toThrow(BlockMissing)
    expect([cache.bytes, files.paths]).toEqual([0, []])
    await cache.put(cidOf(large), large)
    expect(await cache.get(cidOf(large))).toEqual(large)
  })

  test('leaves the disk its reserve, and gives way where others have taken of it (reads alone filled the disk, and rows were written no more)', async () => {
    const files = memoryFiles()
    let othersBytes = 0
    const held = async (): Promise<number> => { let sum = 0; for (const path of files.paths) sum += await files.size(path) ?? 0; return sum }
    const small = { ...files, paths: files.paths, freeBytes: async () => 10_000 - othersBytes - await held() }
    const cache = await openBlockCache({ files: small, limitBytes: 1e6, reserveBytes: 5000 })
    const blocks = Array.from({ length: 8 }, (_, i) => noiseBytes(1000, 50 + i))
    for (const block of blocks) await cache.put(cidOf(block), block)
    expect(await held()).toBe(5000)
    expect(await Promise.all(blocks.map(async (block) => cache.has(cidOf(block))))).toEqual([false, false, false, true, true, true, true, true])
    othersBytes = 4500
    await cache.put(cidOf(blocks[0] as Uint8Array), blocks[0] as Uint8Array)
    expect(await held()).toBe(0)
    othersBytes = 9000
    await cache.put(cidOf(blocks[1] as Uint8Array), blocks[1] as Uint8Array)
    expect([await held(), cache.bytes]).toEqual([0, 0])
  })

  test('has nothing of a folder that cannot be listed, nor is the debris of a crash that cannot be removed in the way (the node did not start for it)', async () => {
    const files = memoryFiles()
    await (await openBlockCache({ files, limitBytes: 1e6 })).put(cidOf(large), large)
    await files.write('blocks/tmp/1-1', large)
    const fault = (): never => { throw Object.assign(new Error('EUCLEAN: structure needs cleaning'), { code: 'EUCLEAN' }) }
    const failing = { ...files, list: (path: string) => path.startsWith('cache/') ? fault() : files.list(path), remove: async (path: string) => path === 'blocks/tmp/1-1' ? fault() : files.remove(path) }
    const again = await openBlockCache({ files: failing, limitBytes: 1e6 })
    await expect(again.get(cidOf(large))).rejects.toThrow(BlockMissing)
    await again.put(cidOf(large), large)
    expect(await again.get(cidOf(large))).toEqual(large)
    await (await openOn({ ...newDisk(), files: failing })).put(cidOf(large), large)
  })

  test('finds its blocks again after a restart, and takes a rotten one for a missing one', async () => {
    const files = memoryFiles()
    await (await openBlockCache({ files, limitBytes: 1e6 })).put(cidOf(large), large)
    const again = await openBlockCache({ files, limitBytes: 1e6 })
    expect(await again.get(cidOf(large))).toEqual(large)
    files.flip(files.paths[0] ?? '', 8)
    await expect(again.get(cidOf(large))).rejects.toThrow(BlockMissing)
    expect(again.bytes).toBe(0)
  })
})
