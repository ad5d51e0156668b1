import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { partitionOf } from '../../src/base/bytes.ts'
import { StoreFull } from '../../src/base/errors.ts'
import { hash } from '../../src/base/hash.ts'
import { seededRandom } from '../../src/base/random.ts'
import { StoreReadOnly } from '../../src/blockstore/index.ts'
import { levelKeyValue } from '../../src/disk/level-key-value.ts'
import { type MemoryFiles, memoryFiles } from '../../src/disk/memory-files.ts'
import { type MemoryKeyValue, memoryKeyValue } from '../../src/disk/memory-key-value.ts'
import { nodeFiles } from '../../src/disk/node-files.ts'
import { PartitionLost, type RowStore, type StoredRow } from '../../src/tables/index.ts'
import { MemoryRowStore } from '../../src/tables/memory-row-store.ts'
import { openRowStore } from '../../src/tables/row-store.ts'
import { temporaryFolder } from '../support/temporary.ts'

const rowKey = (n: number): Uint8Array => hash(Uint8Array.of(n, n >> 8))
const proposer = new Uint8Array(32).fill(5)
// of these records the first byte stands for the ballot's counter
const ballotOf = (_table: number, record: Uint8Array) => ({ counter: BigInt(record[0] ?? 0), proposer })
const row = (n: number, counter: number, accepted = true): StoredRow =>
  ({ table: 1, rowKey: rowKey(n), promised: { counter: BigInt(counter), proposer }, accepted: accepted ? Uint8Array.of(counter, n, 1, 2, 3) : undefined })

interface Disk { files: MemoryFiles, index: MemoryKeyValue }
const newDisk = (): Disk => ({ files: memoryFiles(), index: memoryKeyValue() })
const losses: string[] = []
const openOn = (disk: Disk, seed = 1): Promise<RowStore> => openRowStore({ ...disk, folder: 'rows', random: seededRandom(seed), ballotOf, onLost: ({ reason }) => { losses.push(reason) } })

async function all (rows: AsyncIterable<StoredRow>): Promise<StoredRow[]> { const found = []; for await (const one of rows) found.push(one); return found }

describe.each([
  ['on a disk in memory', async (use: (store: RowStore) => Promise<void>) => use(await openOn(newDisk()))],
  ['in memory', async (use: (store: RowStore) => Promise<void>) => use(new MemoryRowStore({ ballotOf }))],
  ['on the real disk', async (use: (store: RowStore) => Promise<void>) => {
    await using folder = await temporaryFolder()
    await using store = await openRowStore({ files: nodeFiles(folder.path), index: await levelKeyValue(join(folder.path, 'index')), folder: 'rows', random: seededRandom(1), ballotOf, onLost: () => {} })
    await use(store)
  }],
] as const)('a row store %s', (_name, withStore) => {
  test('remembers promises and accepts, row by row', async () => withStore(async (store) => {
    expect(await store.get(1, rowKey(1))).toBeUndefined()
    await store.save([row(1, 3, false), row(2, 4)])
    expect(await store.get(1, rowKey(1))).toEqual(row(1, 3, false))
    expect(await store.get(1, rowKey(2))).toEqual(row(2, 4))
    await store.save([row(1, 9)])
    expect(await store.get(1, rowKey(1))).toEqual(row(1, 9))
  }))

  test('walks the rows of a partition, and sums up what is accepted in it', async () => withStore(async (store) => {
    const partition = partitionOf(rowKey(1))
    await store.save(Array.from({ length: 300 }, (_, n) => row(n, 2)))
    expect((await all(store.rows(partition))).some((found) => found.rowKey.every((byte, i) => byte === rowKey(1)[i]))).toBe(true)
    expect(await all(store.rows(partition, { after: new Uint8Array(32).fill(0xff) }))).toEqual([])
    const before = await store.digest(partition)
    await store.save([row(1, 7, false)].map((promise) => ({ ...promise, accepted: row(1, 2).accepted })))
    expect(await store.digest(partition)).toEqual(before)
    await store.save([row(1, 8)])
    expect(await store.digest(partition)).not.toEqual(before)
  }))

  test('gives no counter twice', async () => withStore(async (store) => {
    const counters = []
    for (let i = 0; i < 50; i++) counters.push(await store.nextCounter(BigInt(i % 7)))
    expect(new Set(counters).size).toBe(50)
    expect(await store.nextCounter(10_000n)).toBe(10_001n)
  }))
})

test('two stores with the same rows have the same digests, whatever the order', async () => {
  const [a, b] = [await openOn(newDisk()), new MemoryRowStore({ ballotOf })]
  const rows = Array.from({ length: 200 }, (_, n) => row(n, 1 + n % 5))
  for (const one of rows) await a.save([one])
  await b.save(rows.toReversed())
  for (const one of rows) expect(await a.digest(partitionOf(one.rowKey))).toEqual(await b.digest(partitionOf(one.rowKey)))
})

describe('a row store through crashes', () => {
  test('forgets nothing that was acknowledged, promises included, wherever the power fails', async () => {
    for (let seed = 0; seed < 200; seed++) {
      const random = seededRandom(seed)
      const disk = newDisk()
      const store = await openOn(disk)
      const acknowledged = new Map<number, number>()
      const saves = Array.from({ length: 30 }, async (_, i) => {
        for (let wait = Math.floor(random.fraction() * 20); wait > 0; wait--) await Promise.resolve()
        const n = i % 11
        const saved = row(n, i + 1, i % 3 !== 0)
        await store.save([saved])
        acknowledged.set(n, Math.max(acknowledged.get(n) ?? 0, i + 1))
      })
      for (let steps = Math.floor(random.fraction() * 300); steps > 0; steps--) await Promise.resolve()
      const before = new Map(acknowledged)
      const after: Disk = { files: disk.files.crash(random), index: disk.index.crash(random) }
      await Promise.allSettled(saves)
      const again = await openOn(after, seed + 2)
      expect(again.lostPartitions().size, `seed ${seed}: ${losses.at(-1)}`).toBe(0)
      for (const [n] of before) expect(await again.get(1, rowKey(n)), `seed ${seed}`).toBeDefined()
      expect(again.storeId).toEqual(store.storeId)
    }
  })

  test('goes on where it was, counters too, after many starts', async () => {
    const disk = newDisk()
    let last = 0n
    for (let start = 1; start <= 6; start++) {
      const store = await openOn(disk)
      const counter = await store.nextCounter(0n)
      expect(counter).toBeGreaterThan(last)
      last = counter
      await store.save([row(start, start)])
      for (let n = 1; n <= start; n++) expect(await store.get(1, rowKey(n))).toEqual(row(n, n))
      if (start % 2 === 0) await store[Symbol.asyncDispose]()
    }
  })
})

describe('a row store that was damaged notices it and does not answer', () => {
  async function filled (): Promise<Disk> {
    const disk = newDisk()
    const store = await openOn(disk)
    for (let n = 0; n < 40; n++) await store.save([row(n, 2)])
    return disk
  }
  const ask = async (disk: Disk): Promise<{ lost: number, wrong: number }> => {
    const store = await openOn(disk, 99)
    let [lost, wrong] = [0, 0]
    for (let n = 0; n < 40; n++) {
      try {
        const found = await store.get(1, rowKey(n))
        if (found === undefined || found.promised.counter !== 2n || found.accepted?.[1] !== n) wrong++
      } catch (error) {
        if (!(error instanceof PartitionLost)) throw error
        lost++
      }
    }
    return { lost, wrong }
  }

  test('when a record of the index changed, was dropped, or was put back to what it had been', async () => {
    for (const change of ['flip', 'drop', 'revert'] as const) {
      const disk = await filled()
      const store = await openOn(disk)
      const keys = []
      for await (const key of disk.index.keys({ to: Uint8Array.of(0xff) })) keys.push(key)
      const key = keys[7] as Uint8Array
      const old = await disk.index.get(key) as Uint8Array
      if (change === 'revert') {
        const n = old[old.byteLength - 4] as number
        await store.save([row(n, 3)])
        await store[Symbol.asyncDispose]()
      } else await store[Symbol.asyncDispose]()
      const flipped = old.slice()
      flipped[20] = (flipped[20] ?? 0) ^ 4
      disk.index.damage(key, change === 'flip' ? flipped : change === 'drop' ? undefined : old)
      const { lost, wrong } = await ask(disk)
      expect(lost, change).toBeGreaterThan(0)
      expect(wrong, change).toBe(0)
    }
  })

  test('when the index is gone', async () => {
    const disk = await filled()
    await (await openOn(disk))[Symbol.asyncDispose]()
    expect(await ask({ files: disk.files, index: memoryKeyValue() })).toMatchObject({ lost: 40, wrong: 0 })
  })

  test('when any bit of the journal, or of the proof, is flipped', async () => {
    const disk = await filled()
    for (const path of disk.files.paths) {
      const { byteLength } = await disk.files.read(path)
      const random = seededRandom(byteLength)
      for (let i = 0; i < (path.includes('journal') ? 120 : 8); i++) {
        const bit = Math.floor(random.fraction() * byteLength * 8)
        const copy: Disk = { files: disk.files.crash(seededRandom(1)), index: disk.index.crash(seededRandom(1)) }
        copy.files.flip(path, bit)
        expect((await ask(copy)).wrong, `${path} bit ${bit}`).toBe(0)
      }
    }
  })

  test('and takes a partition back when it was filled afresh', async () => {
    const disk = await filled()
    await (await openOn(disk))[Symbol.asyncDispose]()
    const store = await openOn({ files: disk.files, index: memoryKeyValue() })
    const partition = partitionOf(rowKey(3))
    await expect(store.get(1, rowKey(3))).rejects.toThrow(PartitionLost)
    await expect(store.save([row(3, 5)])).rejects.toThrow(PartitionLost)
    await store.restore(partition)
    await store.save([row(3, 5)])
    expect(await store.get(1, rowKey(3))).toEqual(row(3, 5))
  })

  test('whatever bit of a real LevelDB is flipped, no answer is wrong', async () => {
    await using folder = await temporaryFolder()
    const open = async (path: string): Promise<RowStore> => openRowStore({ files: nodeFiles(path), index: await levelKeyValue(join(path, 'index')), folder: 'rows', random: seededRandom(1), ballotOf, onLost: () => {} })
    const template = join(folder.path, 'template')
    await mkdir(template)
    {
      await using store = await open(template)
      for (let n = 0; n < 200; n++) await store.save([row(n, 2)])
    }
    const random = seededRandom(4)
    let noticed = 0
    for (let round = 0; round < 20; round++) {
      const copy = join(folder.path, `copy-${round}`)
      await cp(template, copy, { recursive: true })
      const names = (await readdir(join(copy, 'index'))).filter((name) => /\.(ldb|log)$/.test(name))
      const path = join(copy, 'index', names[Math.floor(random.fraction() * names.length)] as string)
      const bytes = await readFile(path)
      if (bytes.byteLength === 0) continue
      const bit = Math.floor(random.fraction() * bytes.byteLength * 8)
      bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      await writeFile(path, bytes)
      noticed += await lossesIn(copy)
    }
    expect(noticed).toBeGreaterThan(0)

    async function lossesIn (path: string): Promise<number> {
      let store: RowStore
      try { store = await open(path) } catch (error) {
        // LevelDB itself may refuse to open: that is no wrong answer
        expect(String((error as Error).cause ?? error)).toMatch(/corrupt|checksum|not open/i)
        return 1
      }
      await using _store = store
      let lost = 0
      for (let n = 0; n < 200; n++) {
        try { expect(await store.get(1, rowKey(n))).toEqual(row(n, 2)) } catch (error) { if (!(error instanceof PartitionLost)) throw error; lost++ }
      }
      return lost
    }
  })
})

describe('a row store on a failing disk', () => {
  test('takes no more writes after a failed fsync', async () => {
    const disk = newDisk()
    const store = await openOn(disk)
    await store.save([row(1, 1)])
    disk.files.fail('sync')
    await expect(store.save([row(2, 1)])).rejects.toThrow(StoreReadOnly)
    await expect(store.save([row(3, 1)])).rejects.toThrow(StoreReadOnly)
    expect(await store.get(1, rowKey(1))).toEqual(row(1, 1))
  })

  test('says that it is full, loses nothing, and goes on when there is room', async () => {
    const disk = newDisk()
    const store = await openOn(disk)
    await store.save([row(1, 1)])
    disk.files.fail('write')
    await expect(store.save([row(2, 1)])).rejects.toThrow(StoreFull)
    await store.save([row(3, 1)])
    const again = await openOn(disk)
    expect(await again.get(1, rowKey(1))).toEqual(row(1, 1))
    expect(await again.get(1, rowKey(2))).toBeUndefined()
    expect(await again.get(1, rowKey(3))).toEqual(row(3, 1))
  })
})
