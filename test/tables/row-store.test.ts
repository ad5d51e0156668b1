import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { partitionOf } from '../../src/base/bytes.ts'
import { StoreFull } from '../../src/base/errors.ts'
import { seededRandom } from '../../src/base/random.ts'
import { StoreReadOnly } from '../../src/blockstore/index.ts'
import { levelKeyValue } from '../../src/disk/level-key-value.ts'
import { nodeFiles } from '../../src/disk/node-files.ts'
import { clearPartition } from '../../src/tables/clear-rows.ts'
import { PartitionLost, type RowStore, type StoredRow } from '../../src/tables/index.ts'
import { memoryRowDisk, MemoryRowStore } from '../../src/tables/memory-row-store.ts'
import { recentRowsLimits } from '../../src/tables/recent-rows.ts'
import { rowGroupLimits } from '../../src/tables/row-groups.ts'
import { canMount, smallDisk } from '../support/small-disk.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { afterPowerFailure, ballotOf, type Disk, diskAtRest, diskInUse, flipped, indexedRow, newDisk, openOn, promise, row, rowKey } from './row-store-disk.ts'

const isMounting = await canMount()

async function all<T> (items: AsyncIterable<T>): Promise<T[]> { const found = []; for await (const one of items) found.push(one); return found }

describe.each([
  ['on a disk in memory', async (use: (store: RowStore) => Promise<void>) => use(await openOn(newDisk()))],
  ['in memory', async (use: (store: RowStore) => Promise<void>) => use(new MemoryRowStore({ ballotOf }))],
  ['on the real disk', async (use: (store: RowStore) => Promise<void>) => {
    await using folder = await temporaryFolder()
    await using store = await openOn({ files: nodeFiles(folder.path), index: await levelKeyValue(join(folder.path, 'index')) })
    await use(store)
  }],
] as const)('a row store %s', (_name, withStore) => {
  test('remembers promises and accepts, row by row', async () => withStore(async (store) => {
    expect(await store.get(1, rowKey(1))).toBeUndefined()
    await store.save([promise(1, 3), row(2, 4)])
    expect(await store.get(1, rowKey(1))).toEqual(promise(1, 3))
    expect(await store.get(1, rowKey(2))).toEqual(row(2, 4))
    await store.save([row(1, 9)])
    expect(await store.get(1, rowKey(1))).toEqual(row(1, 9))
  }))

  test('goes by the order of the calls when a row is saved again before the first save is done', async () => withStore(async (store) => {
    // a partition is proven before it is first written to: the first save has two to wait for, the others one
    await Promise.all([store.save([row(2, 2), row(1, 2)]), store.save([row(1, 3)]), store.save([row(1, 4)])])
    expect(await store.get(1, rowKey(1))).toEqual(row(1, 4))
  }))

  test('walks the rows of a partition, and sums up what is accepted in it', async () => withStore(async (store) => {
    const partition = partitionOf(rowKey(1))
    await store.save(Array.from({ length: 300 }, (_, n) => row(n, 2)))
    expect(await all(store.rows(partition))).toContainEqual(row(1, 2))
    expect(await all(store.rows(partition, { after: new Uint8Array(32).fill(0xff) }))).toEqual([])
    const before = await store.digest(partition)
    await store.save([{ ...row(1, 2), promised: promise(1, 7).promised }])
    expect(await store.digest(partition)).toEqual(before)
    await store.save([row(1, 8)])
    expect(await store.digest(partition)).not.toEqual(before)
  }))

  test('tells the most that a row of a partition has promised, be anything accepted in it or not', async () => withStore(async (store) => {
    const partition = partitionOf(rowKey(1))
    expect(await store.promised(partition)).toBeUndefined()
    await store.save([row(1, 2)])
    expect(await store.promised(partition)).toEqual(row(1, 2).promised)
    await store.save([{ ...row(1, 2), promised: promise(1, 7).promised }])
    expect(await store.promised(partition)).toEqual(promise(1, 7).promised)
    await store.save([promise(1, 8)])
    expect(await store.promised(partition)).toEqual(promise(1, 8).promised)
  }))

  test('begins to walk right above a row key', async () => withStore(async (store) => {
    const keys = [1, 2, 3].map((last) => Uint8Array.from([7, ...new Uint8Array(30), last]))
    for (const key of keys) await store.save([{ ...row(1, 2), rowKey: key }, { ...row(1, 2), table: 2, rowKey: key }])
    const found = await all(store.rows(7 << 4, { after: keys[0] as Uint8Array }))
    expect(found.map(({ rowKey: key, table }) => [key[31], table])).toEqual([[2, 1], [2, 2], [3, 1], [3, 2]])
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

describe('a save', () => {
  test('is answered at whatever step of the one before it comes', { timeout: 10_000 }, async () => {
    for (let steps = 0; steps < 60; steps++) {
      const store = await openOn(newDisk())
      await store.save([row(1, 1), row(2, 1)])
      const first = store.save([row(1, 2)])
      for (let step = 0; step < steps; step++) await Promise.resolve()
      await Promise.all([first, store.save([row(2, 2)])])
    }
  })

  test('larger than a frame comes back whole', async () => {
    const disk = newDisk()
    await (await openOn(disk)).save(Array.from({ length: 400 }, (_, n) => row(n, 2, 60_000)))
    const again = await openOn(disk)
    for (const n of [0, 128, 399]) expect(await again.get(1, rowKey(n))).toEqual(row(n, 2, 60_000))
  })

  test('of what could not be read back is refused before anything is written', async () => {
    const disk = newDisk()
    const store = await openOn(disk)
    await expect(store.save([row(1, 2), row(2, 2, 64 * 1024 + 1)])).rejects.toThrow(RangeError)
    await expect(store.save([row(1, 2), { ...row(2, 2), accepted: new Uint8Array(0) }])).rejects.toThrow(RangeError)
    expect(await (await openOn(disk)).get(1, rowKey(1))).toBeUndefined()
  })
})

test('of rows saved lately no more is kept than two groups of saves take, so that none is let go before the index has it', () => {
  const group = rowGroupLimits.maxBytes + rowGroupLimits.maxRows * recentRowsLimits.bytesEach
  expect(recentRowsLimits.maxBytes).toBeGreaterThan(2 * group)
  expect(recentRowsLimits.maxBytes).toBeLessThan(3 * group)
})

test('a row that is new costs no look into the index (it cost two)', async () => {
  const disk = newDisk()
  let looks = 0
  const store = await openOn({ ...disk, index: { ...disk.index, async get (key) { looks++; return disk.index.get(key) } } })
  await store.save([row(1, 1)])
  looks = 0
  for (let n = 2; n < 50; n++) {
    expect(await store.get(1, rowKey(n))).toBeUndefined()
    await store.save([row(n, 1)])
  }
  expect(looks).toBe(0)
})

describe('a row store through crashes', () => {
  test('forgets nothing that was acknowledged, promises included, wherever the power fails', async () => {
    for (let seed = 0; seed < 200; seed++) {
      const random = seededRandom(seed)
      const disk = newDisk()
      const store = await openOn(disk)
      const calls: Array<{ readonly n: number, readonly saved: StoredRow, isAcknowledged: boolean }> = []
      const saves = Array.from({ length: 30 }, async (_, i) => {
        for (let wait = Math.floor(random.fraction() * 20); wait > 0; wait--) await Promise.resolve()
        const n = i % 11
        const call = { n, saved: i % 3 === 0 ? promise(n, i + 1) : row(n, i + 1), isAcknowledged: false }
        calls.push(call)
        await store.save([call.saved])
        call.isAcknowledged = true
      })
      for (let steps = Math.floor(random.fraction() * 300); steps > 0; steps--) await Promise.resolve()
      const after = afterPowerFailure(disk, random)
      const before = calls.map((call) => ({ ...call }))
      await Promise.allSettled(saves)
      const losses: string[] = []
      const again = await openOn(after, { seed: seed + 2, onLost: ({ reason }) => { losses.push(reason) } })
      expect(losses, `seed ${seed}`).toEqual([])
      expect(again.storeId).toEqual(store.storeId)
      for (let n = 0; n < 11; n++) {
        const ofRow = before.filter((call) => call.n === n)
        const last = ofRow.findLastIndex(({ isAcknowledged }) => isAcknowledged)
        // nobody was told of what came after it, so that may be there or not
        const allowed = [...(last < 0 ? [undefined] : []), ...ofRow.slice(Math.max(0, last)).map(({ saved }) => saved)]
        expect(allowed, `seed ${seed}, row ${n}`).toContainEqual(await again.get(1, rowKey(n)))
      }
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

  test('is whole wherever the power fails while it is opened, for the first time or later', async () => {
    for (let seed = 0; seed < 120; seed++) {
      const random = seededRandom(seed)
      const isFirst = seed % 2 === 0
      const disk = isFirst ? newDisk() : afterPowerFailure(await diskInUse([row(1, 2)]), random)
      const opening = openOn(disk)
      for (let steps = Math.floor(random.fraction() * 80); steps > 0; steps--) await Promise.resolve()
      const after = afterPowerFailure(disk, random)
      await opening
      const store = await openOn(after, { seed })
      expect(store.lostPartitions().size, `seed ${seed}`).toBe(0)
      expect(await store.get(1, rowKey(1)), `seed ${seed}`).toEqual(isFirst ? undefined : row(1, 2))
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

  test('says that it takes no saves while its journal finds the disk full', async () => {
    const disk = newDisk()
    let freeBytes = 0
    const store = await openOn({ ...disk, files: { ...disk.files, freeBytes: async () => freeBytes } })
    disk.files.fail('write')
    await expect(store.save([row(1, 1)])).rejects.toThrow(StoreFull)
    expect(store.readOnlyReason).toContain('full')
    await store.recover()
    expect(store.readOnlyReason).toContain('full')
    freeBytes = 1e9
    await store.recover()
    expect(store.readOnlyReason).toBeUndefined()
  })

  test('fails no save because a checkpoint finds it full, and makes up for the checkpoint', async () => {
    const disk = newDisk()
    let fullTimes = 0
    const files: typeof disk.files = { ...disk.files, paths: [], async writeDurable (path, parts) { if (fullTimes-- > 0) throw new StoreFull('full'); await disk.files.writeDurable(path, parts) } }
    const store = await openOn({ files, index: disk.index })
    fullTimes = 2
    for (let n = 0; n < 20; n++) await store.save(Array.from({ length: 32 }, (_, i) => row(n * 32 + i, 2, 60_000)))
    expect(fullTimes).toBeLessThan(0)
    await store[Symbol.asyncDispose]()
    const again = await openOn(disk)
    expect(again.lostPartitions().size).toBe(0)
    for (const n of [0, 300, 639]) expect(await again.get(1, rowKey(n))).toEqual(row(n, 2, 60_000))
  })

  test('stops when its index takes no write: the rows are in the journal, and the next start has them', async () => {
    const disk = await diskInUse([row(1, 2)])
    const store = await openOn(disk)
    disk.index.fail('write error')
    await expect(store.save([row(1, 3)])).rejects.toThrow(StoreReadOnly)
    // the index would say 2, the journal says 3: neither is an answer
    await expect(store.get(1, rowKey(1))).rejects.toThrow(PartitionLost)
    await expect(store.save([row(2, 3)])).rejects.toThrow(StoreReadOnly)
    expect(store.readOnlyReason).toContain('start the node again')
    await store.recover()
    await expect(store.save([row(2, 3)])).rejects.toThrow(StoreReadOnly)
    await store[Symbol.asyncDispose]()
    const again = await openOn(disk)
    expect(await again.get(1, rowKey(1))).toEqual(row(1, 3))
    expect(again.lostPartitions().size).toBe(0)
  })

  test('forgets nothing where its index does not take that a floor was raised, which is in the journal alone', async () => {
    const disk = await diskInUse([row(1, 2)])
    const store = await openOn(disk)
    disk.index.fail('write error')
    await expect(store.raiseFloor([partitionOf(rowKey(1)), row(1, 3).promised], [clearPartition, row(1, 4).promised])).rejects.toThrow(StoreReadOnly)
    expect(store.lostPartitions().size).toBe(0)
    await store[Symbol.asyncDispose]()
    const again = await openOn(disk)
    expect([partitionOf(rowKey(1)), clearPartition].map((partition) => again.floor(partition)?.counter)).toEqual([3n, 4n])
  })
})

describe('a row store whose index finds the disk full (it took no writes until the next start, and said that memory was lost)', () => {
  /** Saved again and again: what an index that lost its unsynced batches has of them is old. */
  const busy = async (): Promise<{ disk: Disk, store: RowStore }> => {
    const disk = newDisk()
    const store = await openOn(disk)
    for (const counter of [1, 2, 3]) for (let n = 0; n < 30; n++) await store.save([row(n, counter)])
    return { disk, store }
  }

  test('answers, but takes no saves; when there is room again it goes on, with all that it ever acknowledged', async () => {
    const { disk, store } = await busy()
    disk.index.fail('write', 3)
    // in the journal, so on disk
    await store.save([row(1, 4), row(100, 4)])
    expect(store.readOnlyReason).toContain('full')
    expect(await store.get(1, rowKey(1))).toEqual(row(1, 4))
    expect(await store.get(1, rowKey(2))).toEqual(row(2, 3))
    await expect(store.save([row(2, 5)])).rejects.toThrow(StoreFull)
    await expect(all(store.rows(partitionOf(rowKey(1))))).rejects.toThrow(StoreFull)
    await store.recover()
    expect(store.readOnlyReason).toBeDefined()
    await store.recover()
    expect(store.readOnlyReason).toBeUndefined()
    await store.save([row(2, 6)])
    expect(store.lostPartitions().size).toBe(0)
    for (const [n, counter] of [[0, 3], [1, 4], [2, 6], [29, 3], [100, 4]] as const) expect(await store.get(1, rowKey(n))).toEqual(row(n, counter))
    expect(await all(store.rows(partitionOf(rowKey(1))))).toContainEqual(row(1, 4))
  })

  test('goes on with the next save, without being asked whether it can', async () => {
    const { disk, store } = await busy()
    disk.index.fail('write')
    await store.save([row(1, 4)])
    await store.save([row(2, 4)])
    for (const [n, counter] of [[1, 4], [2, 4], [3, 3]] as const) expect(await store.get(1, rowKey(n))).toEqual(row(n, counter))
  })

  test('is not lost when the index, opened afresh, is full again before it has what it lacks', async () => {
    const { disk, store } = await busy()
    let isAfresh = false
    const index: typeof disk.index = { ...disk.index, get failure () { return disk.index.failure }, async batch (changes, options) {
      // the first after it was opened afresh, which is the one with the rows
      if (isAfresh && disk.index.failure === undefined) { isAfresh = false; disk.index.fail('write') }
      await disk.index.batch(changes, options)
    } }
    await store[Symbol.asyncDispose]()
    const again = await openOn({ files: disk.files, index })
    for (let n = 0; n < 30; n++) await again.save([row(n, 4)])
    // more than is kept of what was saved lately
    for (let n = 100; n < 500; n++) await again.save([row(n, 4, 60_000)])
    disk.index.fail('write')
    await again.save([row(1, 5)])
    isAfresh = true
    await again.recover()
    expect(isAfresh).toBe(false)
    expect(again.readOnlyReason).toBeDefined()
    // the index has them as they had been
    for (let n = 0; n < 30; n++) await again.get(1, rowKey(n)).then((found) => { expect(found).toEqual(row(n, n === 1 ? 5 : 4)) }, (error: unknown) => { expect(error).toBeInstanceOf(StoreFull) })
    await again.recover()
    for (let n = 0; n < 30; n++) expect(await again.get(1, rowKey(n))).toEqual(row(n, n === 1 ? 5 : 4))
    expect(again.lostPartitions().size).toBe(0)
  })

  test('has all that it acknowledged too where that was found while a partition came back (what the index lacked then was lost at the next start)', async () => {
    const disk = await diskAtRest(Array.from({ length: 30 }, (_, n) => row(n, 1)))
    const { key, value } = await indexedRow(disk, 0)
    disk.index.damage(key, flipped(value, 100))
    const store = await openOn(disk)
    await expect(store.get(1, rowKey(0))).rejects.toThrow(PartitionLost)
    for (let n = 1; n < 30; n++) await store.save([row(n, 2)])
    disk.index.fail('write')
    await expect(store.restore(partitionOf(rowKey(0)))).rejects.toThrow(StoreFull)
    await store.save([row(1, 3)])
    await store[Symbol.asyncDispose]()
    const again = await openOn(disk)
    for (let n = 1; n < 30; n++) expect(await again.get(1, rowKey(n))).toEqual(row(n, n === 1 ? 3 : 2))
  })

  test('has of a partition that was cleared nothing that an index lets come back as it is opened afresh behind a batch that is synced', async () => {
    const disk = newDisk()
    let isFullAgain = false
    // as LevelDB, which tells such a batch nothing of it
    const index: typeof disk.index = { ...disk.index, get failure () { return disk.index.failure }, async batch (changes, options) {
      if (isFullAgain && changes.length > 0 && options.sync !== false) { isFullAgain = false; disk.index.fail('write') }
      await disk.index.batch(changes, options).catch(async (error: unknown) => {
        if (!(error instanceof StoreFull) || options.sync !== true) throw error
        await disk.index.batch(changes, options)
      })
    } }
    const store = await openOn({ files: disk.files, index })
    for (let n = 0; n < 30; n++) await store.save([row(n, 1)])
    await store[Symbol.asyncDispose]()
    const again = await openOn({ files: disk.files, index })
    disk.index.fail('write')
    await again.clear(partitionOf(rowKey(1)))
    isFullAgain = true
    await again.save([row(2, 2), row(3, 2)]).catch((error: unknown) => { expect(error).toBeInstanceOf(StoreFull) })
    expect(isFullAgain).toBe(false)
    await again.save([row(2, 3)])
    await again[Symbol.asyncDispose]()
    const last = await openOn({ files: disk.files, index })
    expect(await last.get(1, rowKey(1))).toBeUndefined()
    expect(await last.get(1, rowKey(2))).toEqual(row(2, 3))
    expect(last.lostPartitions().size).toBe(0)
  })

  test.skipIf(!isMounting)('goes on when a real one has room again, time after time', async () => {
    await using folder = await temporaryFolder()
    await using disk = await smallDisk(64 * 1024 ** 2)
    const open = async (): Promise<RowStore> => openOn({ files: nodeFiles(folder.path), index: await levelKeyValue(join(disk.path, 'index')) })
    const saved = new Map<number, StoredRow>()
    {
      await using store = await open()
      for (let round = 0; round < 3; round++) {
        await disk.fill(round * 50_000)
        for (let n = 0; store.readOnlyReason === undefined; n++) {
          await store.save([row(n % 20, round + 1, 3000)])
          saved.set(n % 20, row(n % 20, round + 1, 3000))
        }
        await expect(store.save([row(0, 9)])).rejects.toThrow(StoreFull)
        for (const [n, one] of saved) expect(await store.get(1, rowKey(n))).toEqual(one)
        await store.recover()
        expect(store.readOnlyReason).toBeDefined()
        await disk.free()
        await store.recover()
        expect(store.readOnlyReason).toBeUndefined()
        for (const [n, one] of saved) expect(await store.get(1, rowKey(n))).toEqual(one)
      }
      await disk.fill()
      while (store.readOnlyReason === undefined) { await store.save([row(5, 8)]); saved.set(5, row(5, 8)) }
      await disk.free()
    }
    await using again = await open()
    for (const [n, one] of saved) expect(await again.get(1, rowKey(n))).toEqual(one)
    expect(again.lostPartitions().size).toBe(0)
  })

  test('has everything after a power failure at any moment of it', async () => {
    for (let seed = 0; seed < 80; seed++) {
      const random = seededRandom(seed)
      const { disk, store } = await busy()
      disk.index.fail('write', 1 + seed % 3)
      const acknowledged = new Map<number, number>()
      const saving = (async () => {
        for (let counter = 4; counter < 8; counter++) for (let n = 0; n < 3; n++) await store.save([row(n, counter)]).then(() => { acknowledged.set(n, counter) }, () => {})
      })()
      for (let steps = Math.floor(random.fraction() * 400); steps > 0; steps--) await Promise.resolve()
      const [after, before] = [afterPowerFailure(disk, random), new Map(acknowledged)]
      await saving
      const again = await openOn(after)
      expect(again.lostPartitions().size, `seed ${seed}`).toBe(0)
      for (let n = 0; n < 30; n++) expect((await again.get(1, rowKey(n)))?.accepted?.[0], `seed ${seed} row ${n}`).toBeGreaterThanOrEqual(before.get(n) ?? 3)
      expect(again.lostPartitions().size, `seed ${seed}`).toBe(0)
    }
  })
})

describe.each([
  ['on disk', async () => {
    const disk = newDisk()
    return { store: await openOn(disk), again: async () => openOn(afterPowerFailure(disk)), fail: () => { disk.files.fail('write') } }
  }],
  ['in memory', async () => {
    let isFailing = false
    const disk = memoryRowDisk()
    const sync = async (): Promise<void> => { if (isFailing) { isFailing = false; throw new StoreFull('full') } await Promise.resolve() }
    return { store: new MemoryRowStore({ disk, ballotOf, sync }), again: async () => new MemoryRowStore({ disk: { ...disk }, ballotOf }), fail: () => { isFailing = true } }
  }],
] as const)('ballot counters of a store %s', (_name, made) => {
  test('are on disk before any of them is given, to callers at once too', async () => {
    const { store, again } = await made()
    let highest = 0n
    const given = Array.from({ length: 10 }, async () => {
      const counter = await store.nextCounter(0n)
      if (counter > highest) highest = counter
    })
    while (highest === 0n) await Promise.resolve()
    const seen = highest
    expect(await (await again()).nextCounter(0n)).toBeGreaterThan(seen)
    await Promise.all(given)
  })

  test('are not given after a reservation that failed', async () => {
    const { store, again, fail } = await made()
    fail()
    await expect(store.nextCounter(0n)).rejects.toThrow(StoreFull)
    const counter = await store.nextCounter(0n)
    expect(await (await again()).nextCounter(0n)).toBeGreaterThan(counter)
  })
})
