import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { partitionOf } from '../../src/base/bytes.ts'
import { hash } from '../../src/base/hash.ts'
import { keyOf as keyOfPeer, peerIdOf } from '../../src/base/peer-id.ts'
import { seededRandom } from '../../src/base/random.ts'
import { StoreReadOnly } from '../../src/blockstore/index.ts'
import { levelKeyValue } from '../../src/disk/level-key-value.ts'
import { nodeFiles } from '../../src/disk/node-files.ts'
import { clearPartition } from '../../src/tables/clear-rows.ts'
import { type Ballot, PartitionLost, type RowStore, type StoredRow, tables } from '../../src/tables/index.ts'
import { MemoryRowStore } from '../../src/tables/memory-row-store.ts'
import { votersBy } from '../../src/tables/electorate.ts'
import { tableReplica } from '../../src/tables/replica.ts'
import { plainCodec } from '../support/table-plain-codec.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { afterPowerFailure, ballotOf, type Disk, diskAtRest, flipped, indexedRow, newDisk, openOn, promise, row, rowKey } from './row-store-disk.ts'

/** Everything here happens in one partition; the row of another one must never notice. */
const keyOf = (n: number): Uint8Array => Uint8Array.from([7, 0x10, ...hash(Uint8Array.of(n)).subarray(2)])
const partition = partitionOf(keyOf(0))
const sealed = (n: number, counter: number, sizeBytes?: number): StoredRow => ({ ...row(n, counter, sizeBytes), rowKey: keyOf(n) })
const promised = (n: number, counter: number): StoredRow => ({ ...promise(n, counter), rowKey: keyOf(n) })
const clear = (n: number, counter: number): StoredRow => ({ ...sealed(n, counter), table: tables.members })
const elsewhere = row(1, 2)
const ballot = (counter: number): Ballot => row(0, counter).promised
const grave = (n: number, counter: number) => ({ table: tables.objects, rowKey: keyOf(n), ballot: ballot(counter) })

async function all<T> (items: AsyncIterable<T>): Promise<T[]> { const found = []; for await (const one of items) found.push(one); return found }
const found = async (store: RowStore): Promise<Array<[number, number]>> =>
  (await all(store.rows(partition))).map(({ table, accepted, promised: { counter } }): [number, number] => [accepted?.[1] ?? -1, table >= 16 ? -Number(counter) : Number(counter)]).toSorted(([a], [b]) => a - b)

/** As if the partition had been found damaged. */
async function damagedDisk (rows: readonly StoredRow[]): Promise<Disk> {
  const disk = await diskAtRest([elsewhere, ...rows])
  const { key, value } = await indexedRow(disk, rows[0]?.rowKey as Uint8Array)
  disk.index.damage(key, flipped(value, 0))
  return disk
}

const lost = async (store: RowStore): Promise<RowStore> => { await expect(store.get(1, keyOf(1))).rejects.toThrow(PartitionLost); return store }

interface Stores { readonly whole: (rows: readonly StoredRow[]) => Promise<RowStore>, readonly lost: (rows: readonly StoredRow[]) => Promise<RowStore> }

describe.each([
  ['on a disk in memory', async (use: (stores: Stores) => Promise<void>) => use({
    whole: async (rows) => { const store = await openOn(newDisk()); await store.save(rows); return store },
    lost: async (rows) => await lost(await openOn(await damagedDisk(rows))),
  })],
  ['in memory', async (use: (stores: Stores) => Promise<void>) => {
    const whole = async (rows: readonly StoredRow[]): Promise<MemoryRowStore> => { const store = new MemoryRowStore({ ballotOf }); await store.save(rows); return store }
    await use({ whole, lost: async (rows) => { const store = await whole([elsewhere, ...rows]); store.lose(partition); return await lost(store) } })
  }],
  ['on the real disk', async (use: (stores: Stores) => Promise<void>) => {
    await using folder = await temporaryFolder()
    await using open = new AsyncDisposableStack()
    await use({
      whole: async (rows) => { const store = open.use(await openOn({ files: nodeFiles(folder.path), index: await levelKeyValue(join(folder.path, 'index')) })); await store.save(rows); return store },
      lost: async (rows) => {
        { await using store = await openOn({ files: nodeFiles(folder.path), index: await levelKeyValue(join(folder.path, 'index')) }); await store.save([elsewhere, ...rows]) }
        {
          await using index = await levelKeyValue(join(folder.path, 'index'))
          const { key, value } = await indexedRow({ index }, rows[0]?.rowKey as Uint8Array)
          await index.batch([{ type: 'put', key, value: flipped(value, 0) }], { sync: 'all' })
        }
        return await lost(open.use(await openOn({ files: nodeFiles(folder.path), index: await levelKeyValue(join(folder.path, 'index')) })))
      },
    })
  }],
] as const)('a row store %s', (_name, withStores) => {
  test('clears a partition of its sealed rows and its floor; clear rows, and other partitions, stay', async () => withStores(async ({ whole }) => {
    const store = await whole([elsewhere, sealed(1, 2), promised(2, 3), clear(3, 4), sealed(4, 9)])
    await store.bury([grave(4, 9)])
    await store.clear(partition)
    expect(await found(store)).toEqual([[3, -4]])
    expect(await store.get(1, keyOf(1))).toBeUndefined()
    expect(await store.get(tables.members, keyOf(3))).toEqual(clear(3, 4))
    expect(store.floor(partition)).toBeUndefined()
    expect((await store.digest(partition)).count).toBe(1)
    expect(await store.get(1, elsewhere.rowKey)).toEqual(elsewhere)
    await store.save([sealed(1, 1)])
    expect(await found(store)).toEqual([[1, 1], [3, -4]])
  }))

  test('clears a lost partition of everything, and it stays lost until it is filled and restored', async () => withStores(async ({ lost: made }) => {
    const store = await made([sealed(1, 2), clear(3, 4)])
    await store.clear(partition)
    await lost(store)
    await expect(store.save([sealed(1, 3)])).rejects.toThrow(PartitionLost)
    await store.fill([sealed(5, 6), clear(7, 8)])
    await store.fill([promised(6, 6), sealed(5, 7)])
    await store.raiseFloor([partition, ballot(5)])
    await lost(store)
    await store.restore(partition)
    expect(await found(store)).toEqual([[-1, 6], [5, 7], [7, -8]])
    expect(store.floor(partition)).toEqual(ballot(5))
    expect((await store.digest(partition)).count).toBe(2)
    await store.save([sealed(5, 9)])
    expect(await store.get(1, keyOf(5))).toEqual(sealed(5, 9))
    expect(await store.get(1, elsewhere.rowKey)).toEqual(elsewhere)
  }))

  test('fills no partition that is whole: there a save says what the row was', async () => withStores(async ({ whole }) => {
    await expect((await whole([])).fill([sealed(1, 2)])).rejects.toThrow(RangeError)
  }))

  test('buries rows and raises the floor to all that they promised or accepted, never lowering it', async () => withStores(async ({ whole }) => {
    const store = await whole([sealed(1, 5), { ...sealed(2, 3), promised: ballot(8) }, sealed(3, 1)])
    expect(store.floor(partition)).toBeUndefined()
    const before = await store.digest(partition)
    await store.bury([grave(1, 5), grave(1, 5)])
    expect(store.floor(partition)).toEqual(ballot(5))
    expect(await store.get(1, keyOf(1))).toBeUndefined()
    expect((await store.digest(partition)).count).toBe(before.count - 1)
    await store.bury([grave(2, 3)])
    expect(store.floor(partition)).toEqual(ballot(8))
    await store.bury([grave(9, 4)])
    await store.raiseFloor([partition, ballot(6)])
    expect(store.floor(partition)).toEqual(ballot(8))
    await store.raiseFloor([partition, ballot(9)])
    expect(store.floor(partition)).toEqual(ballot(9))
    expect(await found(store)).toEqual([[3, 1]])
    expect(store.floor(partitionOf(elsewhere.rowKey))).toBeUndefined()
    expect(store.floor(clearPartition)).toBeUndefined()
    await store.raiseFloor([clearPartition, ballot(7)], [clearPartition, ballot(3)])
    await store.clear(partition)
    expect([store.floor(clearPartition), store.floor(partition)]).toEqual([ballot(7), undefined])
    await store.save([sealed(1, 12)])
    expect(await store.get(1, keyOf(1))).toEqual(sealed(1, 12))
  }))

  test('has no row back that is written in another way while its partition is cleared', async () => withStores(async ({ whole }) => {
    const store = await whole([sealed(1, 5), sealed(2, 5)])
    const peer = peerIdOf(hash(Uint8Array.of(1)))
    const replica = tableReplica({
      self: peer, store, codec: { ...plainCodec, ballotOf }, voters: votersBy({ version: () => 1n, groupsOf: () => [[peer]] }), isMember: () => true,
      layout: { version: 1n, encoded: () => new Uint8Array(0), adopt: async () => {} },
    })
    const tagged = (record: Uint8Array): Uint8Array => record.with(-1, 9)
    await replica.restate(sealed(2, 5), tagged)
    expect((await store.get(1, keyOf(2)))?.accepted?.at(-1)).toBe(9)
    let clearing: Promise<void> | undefined
    await replica.restate(sealed(1, 5), (record) => {
      clearing = store.clear(partition)
      return tagged(record)
    })
    await clearing
    expect(await found(store)).toEqual([])
    await store.save([sealed(1, 6)])
    expect(await store.get(1, keyOf(1))).toEqual(sealed(1, 6))
  }))

  test('has no row back that is answered for while its partition is cleared: what was begun has ended, and what comes is told that it is lost', async () => withStores(async ({ whole }) => {
    const store = await whole([sealed(1, 5), sealed(2, 5)])
    const peer = peerIdOf(hash(Uint8Array.of(1)))
    let version = 1n
    const replica = tableReplica({
      self: peer, store, codec: { ...plainCodec, ballotOf }, voters: votersBy({ version: () => version, groupsOf: () => [[peer]] }), isMember: () => true,
      layout: { get version () { return version }, encoded: () => new Uint8Array(0), adopt: async () => {} },
    })
    const prepare = async (n: number): Promise<string> => (await replica.answer(peer, { version, kind: 'prepare', table: 1, rowKey: keyOf(n), ballot: { counter: 9n, proposer: keyOfPeer(peer) } })).kind
    const begun = prepare(1)
    await replica.leave([partition])
    const clearing = store.clear(partition)
    expect(await Promise.all([begun, prepare(2)])).toEqual(['promised', 'lost'])
    await clearing
    expect(await found(store)).toEqual([])
    expect((await replica.answer(peer, { version, kind: 'digest', partitions: [partition] }))).toEqual({ kind: 'digests', digests: [undefined] })
    version = 2n
    expect(await prepare(2)).toBe('promised')
  }))

  test('buries no clear row', async () => withStores(async ({ whole }) => {
    const store = await whole([clear(3, 4)])
    await expect(store.bury([{ ...grave(3, 4), table: tables.members }])).rejects.toThrow(RangeError)
  }))
})

describe('what is cleared, filled, restored and buried', () => {
  test('is so after a restart, and after many', async () => {
    const disk = await damagedDisk([sealed(1, 2), sealed(2, 2)])
    for (const [step, expected] of [
      [async (store: RowStore) => { await lost(store); await store.clear(partition); await store.fill([sealed(3, 4)]) }, undefined],
      [async (store: RowStore) => { await store.fill([sealed(4, 4)]); await store.raiseFloor([partition, ballot(2)]) }, undefined],
      [async (store: RowStore) => { await store.restore(partition) }, [[3, 4], [4, 4]]],
      [async (store: RowStore) => { await store.bury([grave(4, 4)]) }, [[3, 4]]],
      [async (store: RowStore) => { await store.save([sealed(5, 6), sealed(4, 6)]) }, [[3, 4], [4, 6], [5, 6]]],
      [async (store: RowStore) => { await store.clear(partition); await store.save([sealed(6, 1)]) }, [[6, 1]]],
    ] as const) {
      await step(await openOn(disk))
      for (const isClosed of [false, true]) {
        const store = await openOn(disk)
        if (expected === undefined) await lost(store)
        else expect(await found(store)).toEqual(expected)
        expect(await store.get(1, elsewhere.rowKey)).toEqual(elsewhere)
        if (isClosed) await store[Symbol.asyncDispose]()
      }
    }
    expect((await openOn(disk)).floor(partition)).toBeUndefined()
  })

  /** Of each step: what must be so before it, and after it. Whatever the power failed in is one or the other. */
  const steps = [
    ['clears', async (store: RowStore) => { await store.clear(partition) }],
    ['buries', async (store: RowStore) => { await store.bury([grave(1, 2), grave(2, 2)]) }],
    ['raises the floor', async (store: RowStore) => { await store.raiseFloor([partition, ballot(7)]) }],
    ['raises the floor of the clear rows', async (store: RowStore) => { await store.raiseFloor([clearPartition, ballot(8)]) }],
  ] as const

  const stateOf = async (store: RowStore): Promise<unknown> => [await found(store), store.floor(partition)?.counter, store.floor(clearPartition)?.counter, (await store.digest(partition)).count]

  test.each(steps)('%s as a whole or not at all, wherever the power fails, and what was saved since is there', async (_name, step) => {
    for (let seed = 0; seed < 100; seed++) {
      const random = seededRandom(seed)
      const disk = seed % 2 === 0 ? await diskAtRest([elsewhere]) : newDisk()
      const store = await openOn(disk)
      await store.save([elsewhere, ...Array.from({ length: 12 }, (_, n) => sealed(n, 2)), clear(20, 2)])
      const before = await stateOf(store)
      let [isDone, isSaved] = [false, false]
      const doing = step(store).then(() => { isDone = true })
      const saving = store.save([sealed(1, 5)]).then(() => { isSaved = true })
      for (let steps = Math.floor(random.fraction() * 120); steps > 0; steps--) await Promise.resolve()
      const [after, wasDone, wasSaved] = [afterPowerFailure(disk, random), isDone, isSaved]
      await Promise.all([doing, saving])
      const again = await openOn(after)
      expect(again.lostPartitions().size, `seed ${seed}`).toBe(0)
      const reference = await openOn(newDisk())
      await reference.save([elsewhere, ...Array.from({ length: 12 }, (_, n) => sealed(n, 2)), clear(20, 2)])
      const allowed = wasDone ? [] : [before]
      await step(reference)
      if (!wasSaved) allowed.push(await stateOf(reference))
      await reference.save([sealed(1, 5)])
      allowed.push(await stateOf(reference))
      expect(allowed, `seed ${seed}`).toContainEqual(await stateOf(again))
      expect(await again.get(1, elsewhere.rowKey)).toEqual(elsewhere)
    }
  })

  test('brings a lost partition back as a whole or not at all, wherever the power fails', async () => {
    let [timesLost, timesWhole] = [0, 0]
    for (let seed = 0; seed < 150; seed++) {
      const random = seededRandom(seed)
      const disk = await damagedDisk([sealed(1, 2), sealed(2, 2), clear(20, 2)])
      const store = await lost(await openOn(disk))
      let isDone = false
      const doing = (async () => {
        await store.clear(partition)
        await store.fill([sealed(3, 4), sealed(4, 4)])
        await store.fill([sealed(5, 4)])
        await store.restore(partition)
        isDone = true
        await store.save([sealed(3, 6)])
      })()
      for (let steps = Math.floor(random.fraction() * 300); steps > 0; steps--) await Promise.resolve()
      const [after, wasDone] = [afterPowerFailure(disk, random), isDone]
      await doing
      const again = await openOn(after, { seed })
      expect(again.storeId).toEqual(store.storeId)
      if (await again.get(1, keyOf(3)).then(() => true, () => false)) {
        timesWhole++
        expect([[[3, 4], [4, 4], [5, 4]], [[3, 6], [4, 4], [5, 4]]], `seed ${seed}`).toContainEqual(await found(again))
      } else {
        timesLost++
        expect(wasDone, `seed ${seed}`).toBe(false)
        // begun again it comes to the same
        await again.clear(partition)
        await again.fill([sealed(3, 4), sealed(4, 4), sealed(5, 4)])
        await again.restore(partition)
        expect(await found(again)).toEqual([[3, 4], [4, 4], [5, 4]])
      }
      expect(await again.get(1, elsewhere.rowKey)).toEqual(elsewhere)
    }
    expect(Math.min(timesLost, timesWhole)).toBeGreaterThan(20)
  })

  test('is cleared a thousand rows at a time, however many there are', async () => {
    const disk = newDisk()
    const store = await openOn(disk)
    for (let n = 0; n < 3000; n += 100) await store.save(Array.from({ length: 100 }, (_, i) => ({ ...sealed(0, 2, 300), rowKey: Uint8Array.from([7, 0x10, ...hash(Uint8Array.of((n + i) >> 8, (n + i) & 255)).subarray(2)]) })))
    let largest = 0
    const index: typeof disk.index = { ...disk.index, async batch (changes, options) { largest = Math.max(largest, changes.length); await disk.index.batch(changes, options) } }
    await store[Symbol.asyncDispose]()
    const again = await openOn({ files: disk.files, index })
    await again.clear(partition)
    expect(await found(again)).toEqual([])
    expect(largest).toBeLessThanOrEqual(1024)
    expect(largest).toBeGreaterThan(900)
  })

  test('waits while the index finds the disk full, and is made up for', async () => {
    const disk = newDisk()
    const store = await openOn(disk)
    await store.save([sealed(1, 2), sealed(2, 2), clear(3, 2)])
    disk.index.fail('write')
    await store.clear(partition)
    expect(store.readOnlyReason).toContain('full')
    expect(await store.get(1, keyOf(1))).toBeUndefined()
    await store.recover()
    expect(store.readOnlyReason).toBeUndefined()
    expect(await found(store)).toEqual([[3, -2]])
    disk.index.fail('write')
    await store.bury([grave(9, 3)])
    await store.save([sealed(4, 4)])
    expect(await found(store)).toEqual([[3, -2], [4, 4]])
    expect(store.floor(partition)).toEqual(ballot(3))
  })

  test('stops when the index fails: the journal has it, and the next start does it', async () => {
    const disk = newDisk()
    const store = await openOn(disk)
    await store.save([sealed(1, 2), clear(3, 2)])
    disk.index.fail('write error')
    await expect(store.clear(partition)).rejects.toThrow(StoreReadOnly)
    await lost(store)
    await store[Symbol.asyncDispose]()
    expect(await found(await openOn(disk))).toEqual([[3, -2]])
  })

  test('is not believed of a store that is disowned meanwhile', async () => {
    for (let steps = 0; steps < 60; steps++) {
      const store = await lost(await openOn(await damagedDisk([sealed(1, 2)])))
      const restoring = store.restore(partition).catch((error: unknown) => { expect(error).toBeInstanceOf(PartitionLost) })
      for (let step = 0; step < steps; step++) await Promise.resolve()
      await Promise.all([restoring, store.disown('a copy was put back')])
      expect(store.lostPartitions().size).toBe(4096)
    }
  })

  test('a damaged journal loses what was restored too', async () => {
    const disk = await damagedDisk([sealed(1, 2)])
    const store = await lost(await openOn(disk))
    await store.clear(partition)
    await store.restore(partition)
    await store.save([sealed(2, 2)])
    const path = disk.files.paths.filter((name) => name.includes('/journal/')).at(-1) as string
    disk.files.flip(path, ((await disk.files.size(path) as number) - 1) * 8)
    expect((await openOn(disk)).lostPartitions().size).toBe(4096)
  })
})

test('many partitions are cleared with few syncs of the disk', async () => {
  const disk = newDisk()
  let syncs = 0
  const files = { ...disk.files, openAppend: async (path: string) => {
    const file = await disk.files.openAppend(path)
    return { ...file, get sizeBytes () { return file.sizeBytes }, sync: async () => { syncs++; await file.sync() } }
  } }
  const store = await openOn({ files, index: disk.index })
  const rows = Array.from({ length: 500 }, (_, i) => row(i, 1))
  const partitions = [...new Set(rows.map((of) => partitionOf(of.rowKey)))]
  await store.save(rows)
  syncs = 0
  await store.clear(...partitions)
  expect(partitions.length).toBeGreaterThan(400)
  expect(syncs).toBeLessThanOrEqual(2)
  for (const of of rows) expect(await store.get(of.table, of.rowKey)).toBeUndefined()
  const again = await openOn(afterPowerFailure(disk))
  for (const of of rows) expect(await again.get(of.table, of.rowKey)).toBeUndefined()
})

test('while a partition is cleared no look finds a part of it', async () => {
  for (let steps = 0; steps < 60; steps++) {
    const store = await openOn(newDisk())
    await store.save([sealed(1, 2), sealed(2, 2), clear(3, 2)])
    const clearing = store.clear(partition)
    for (let step = 0; step < steps; step++) await Promise.resolve()
    const seen = [await store.get(1, keyOf(1)), await store.get(1, keyOf(2))].map((one) => one !== undefined)
    expect(seen, `step ${steps}`).not.toEqual([false, true])
    await clearing
    expect(await store.get(1, rowKey(1))).toBeUndefined()
    expect(store.lostPartitions().size).toBe(0)
  }
})
