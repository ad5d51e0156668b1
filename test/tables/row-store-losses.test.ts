import { cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { equals, hexOf, partitionCount, partitionOf } from '../../src/base/bytes.ts'
import { seededRandom } from '../../src/base/random.ts'
import { levelKeyValue } from '../../src/disk/level-key-value.ts'
import { memoryKeyValue } from '../../src/disk/memory-key-value.ts'
import { nodeFiles } from '../../src/disk/node-files.ts'
import { ballotLimits } from '../../src/tables/ballot.ts'
import { PartitionLost, type RowStore } from '../../src/tables/index.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { afterPowerFailure, type Disk, diskAtRest, diskInUse, flipped, indexedRow, journalsOf, newDisk, openOn, row, rowKey } from './row-store-disk.ts'

/** What a disk may do to rows that were on it: the store must notice, never answer from it, and never cry wolf. Most of these were defects once. */
const numbers = Array.from({ length: 40 }, (_, n) => n)
const rows = numbers.map((n) => row(n, 2))

/** Rows about which the store says that they are lost. @throws if any answer is not what was saved */
async function lostOf (store: RowStore, expected = rows, what = ''): Promise<number> {
  let lost = 0
  for (const one of expected) {
    try {
      expect(await store.get(1, one.rowKey), what).toEqual(one)
    } catch (error) {
      if (!(error instanceof PartitionLost)) throw error
      lost++
    }
  }
  return lost
}

describe('a loss is noticed', () => {
  test.each([
    ['changed', async (disk: Disk) => { const { key, value } = await indexedRow(disk, 7); disk.index.damage(key, flipped(value, 162)) }],
    ['was dropped', async (disk: Disk) => { disk.index.damage((await indexedRow(disk, 7)).key, undefined) }],
    ['was put back to what it had been', async (disk: Disk) => {
      const { key, value } = await indexedRow(disk, 7)
      const store = await openOn(disk)
      await store.save([row(7, 3)])
      await store[Symbol.asyncDispose]()
      disk.index.damage(key, value)
    }],
  ])('when a row of the index %s', async (_name, damage) => {
    const disk = await diskAtRest(rows)
    await damage(disk)
    const store = await openOn(disk)
    await expect(store.get(1, rowKey(7))).rejects.toThrow(PartitionLost)
    expect(await lostOf(store)).toBe(numbers.filter((n) => partitionOf(rowKey(n)) === partitionOf(rowKey(7))).length)
  })

  test.each([
    ['does not find a row that it has', () => undefined],
    ['finds what a row had been', (old: Uint8Array) => old],
  ] as const)('when the index, proven whole, %s (a bit flipped in a filter of LevelDB does that, and the answer was believed)', async (_name, answer) => {
    const disk = await diskAtRest([row(7, 1)])
    const { key, value } = await indexedRow(disk, 7)
    const store = await openOn(disk)
    for (const one of rows) await store.save([one])
    await store[Symbol.asyncDispose]()
    const again = await openOn({ ...disk, index: { ...disk.index, get: async (asked) => (equals(asked, key) ? answer(value) : disk.index.get(asked)) } })
    await expect(again.get(1, rowKey(7))).rejects.toThrow(PartitionLost)
    expect(await lostOf(again)).toBe(numbers.filter((n) => partitionOf(rowKey(n)) === partitionOf(rowKey(7))).length)
  })

  test('when the index, proven whole, has a row no more (a bit flipped in a table of LevelDB makes one deleted, and it was answered that there never was one)', async () => {
    const disk = await diskAtRest(rows)
    const store = await openOn(disk)
    for (const one of rows) await store.get(1, one.rowKey)
    disk.index.damage((await indexedRow(disk, 7)).key, undefined)
    await expect(store.get(1, rowKey(7))).rejects.toThrow(PartitionLost)
    expect(await lostOf(store)).toBe(numbers.filter((n) => partitionOf(rowKey(n)) === partitionOf(rowKey(7))).length)
  })

  test('when the index is gone', async () => {
    const { files } = await diskAtRest(rows)
    expect(await lostOf(await openOn({ files, index: memoryKeyValue() }))).toBe(40)
  })

  test('when any bit of the journal, or of the proof, is flipped', async () => {
    const disk = await diskInUse(rows)
    for (const path of disk.files.paths) {
      const { byteLength } = await disk.files.read(path)
      const random = seededRandom(byteLength)
      for (let i = 0; i < (path.includes('journal') ? 120 : 8); i++) {
        const bit = Math.floor(random.fraction() * byteLength * 8)
        const copy = afterPowerFailure(disk)
        copy.files.flip(path, bit)
        expect(await lostOf(await openOn(copy), rows, `${path} bit ${bit}`), `${path} bit ${bit}`).toBe(40)
      }
    }
  })

  test('when a bit of the last frame flips, though its rows are full of zeros', async () => {
    const disk = await diskInUse([row(1, 2, 900), row(1, 3, 900)])
    const path = journalsOf(disk).at(-1) as string
    disk.files.flip(path, ((await disk.files.size(path) as number) - 1) * 8)
    await expect((await openOn(disk)).get(1, rowKey(1))).rejects.toThrow(PartitionLost)
  })

  test('when a block of the journal reads as zeros, with or without other frames behind it', async () => {
    for (const hit of [0, 1, 2]) {
      // every frame is of one row, saved again and again: replaying only the first would put an old promise back
      const disk = await diskInUse([row(1, 2, 900), row(1, 3, 900), row(1, 4, 900)])
      const path = journalsOf(disk).at(-1) as string
      const bytes = await disk.files.read(path)
      const frame = (bytes.byteLength - 29) / 3
      bytes.fill(0, 29 + Math.round(frame * hit), 29 + Math.round(frame * hit) + 512)
      await disk.files.writeDurable(path, [bytes])
      await expect((await openOn(disk)).get(1, rowKey(1)), `frame ${hit}`).rejects.toThrow(PartitionLost)
    }
  })

  test('when the journal is gone and the index did not get what stood in it', async () => {
    const disk = await diskInUse([row(1, 2)])
    const { storeId } = await openOn(afterPowerFailure(disk))
    for (const path of journalsOf(disk)) await disk.files.remove(path)
    const store = await openOn({ files: disk.files, index: memoryKeyValue() }, { seed: 9 })
    await expect(store.get(1, rowKey(1))).rejects.toThrow(PartitionLost)
    expect(store.storeId).not.toEqual(storeId)
  })

  test('when the newest segment of the journal is gone and an older one is back', async () => {
    const disk = newDisk()
    const store = await openOn(disk)
    const [first = ''] = journalsOf(disk)
    const old = await disk.files.read(first)
    await store.save([row(1, 2)])
    await store[Symbol.asyncDispose]()
    for (const path of journalsOf(disk)) await disk.files.remove(path)
    await disk.files.writeDurable(first, [old])
    await expect((await openOn(disk)).get(1, rowKey(1))).rejects.toThrow(PartitionLost)
  })

  test('whatever bit of a real LevelDB is flipped: no answer is wrong', async () => {
    await using folder = await temporaryFolder()
    const open = async (path: string): Promise<RowStore> => openOn({ files: nodeFiles(path), index: await levelKeyValue(join(path, 'index')) })
    const many = Array.from({ length: 200 }, (_, n) => row(n, 2))
    const template = join(folder.path, 'template')
    await mkdir(template)
    {
      await using store = await open(template)
      for (const one of many) await store.save([one])
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
      await writeFile(path, flipped(bytes, Math.floor(random.fraction() * bytes.byteLength * 8)))
      // LevelDB itself may refuse to open: that is no wrong answer
      await using store = await open(copy).catch((error: unknown) => { expect(String((error as Error).cause ?? error)).toMatch(/corrupt|checksum|not open/i); return undefined })
      noticed += store === undefined ? 1 : await lostOf(store, many)
    }
    expect(noticed).toBeGreaterThan(0)
  })

  test.each([
    ['not proven yet', [], () => undefined],
    ['proven whole before', [1, 2], (value: Uint8Array) => flipped(value, 0)],
  ] as const)('by a save that waits in line for a partition %s: it is refused, it alone', async (_name, proven, damaged) => {
    const disk = await diskAtRest([row(1, 2), row(2, 2)])
    const store = await openOn(disk)
    for (const n of proven) await store.get(1, rowKey(n))
    const { key, value } = await indexedRow(disk, 1)
    disk.index.damage(key, damaged(value))
    const saves = await Promise.allSettled([store.save([row(3, 1)]), store.save([row(1, 3)]), store.save([row(2, 3)])])
    expect(saves.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    await store[Symbol.asyncDispose]()
    const again = await openOn(disk)
    expect(await again.get(1, rowKey(2))).toEqual(row(2, 3))
    await expect(again.get(1, rowKey(1))).rejects.toThrow(PartitionLost)
  })
})

describe('a store that the cluster does not know forgets everything: it would vote from nothing (a folder that was emptied did)', () => {
  const named = new Uint8Array(16).fill(7)

  test.each([
    ['a new one', async () => newDisk()],
    ['another node\'s', async () => diskInUse(rows)],
  ] as const)('%s, once: then it keeps its id, over restarts', async (_name, made) => {
    const disk = await made()
    const counter = await (await openOn(disk)).nextCounter(0n)
    const ids: string[] = []
    let last = 0n
    for (let start = 0; start < 4; start++) {
      const losses: string[] = []
      const store = await openOn(disk, { seed: 30 + start, named, onLost: ({ reason }) => { losses.push(reason) } })
      expect(losses).toHaveLength(1)
      if (start === 0) expect(losses[0]).toContain('not the store that the cluster knows')
      expect(store.lostPartitions().size).toBe(partitionCount)
      expect(store.storeId).not.toEqual(named)
      await expect(store.save([row(1, 2)])).rejects.toThrow(PartitionLost)
      expect(await lostOf(store)).toBe(40)
      ids.push(hexOf(store.storeId))
      const next = await store.nextCounter(0n)
      // above all that the store before it may have given, but not once more with each start: peers would refuse them
      expect(next).toBeGreaterThan(start === 0 ? counter + 1_000_000n : last)
      expect(next).toBeLessThan(counter + ballotLimits.maxCounterJump)
      last = next
      if (start % 2 === 0) await store[Symbol.asyncDispose]()
    }
    expect(new Set(ids).size).toBe(1)
  })

  test('but the one that it knows does not', async () => {
    const disk = await diskInUse(rows)
    const { storeId } = await openOn(disk)
    const store = await openOn(disk, { named: storeId })
    expect(await lostOf(store)).toBe(0)
    expect(store.storeId).toEqual(storeId)
  })
})

describe('a store that is disowned, for its peers have seen more of it', () => {
  test('forgets everything at once, gets a new id, jumps with its counters, and stays so over restarts and power failures', async () => {
    for (let seed = 0; seed < 20; seed++) {
      const disk = await diskInUse(rows)
      const losses: string[] = []
      const store = await openOn(disk, { seed: 40, onLost: ({ reason }) => { losses.push(reason) } })
      const [named, counter] = [store.storeId, await store.nextCounter(0n)]
      await store.get(1, rowKey(1))
      const disowned = store.disown('a copy was put back')
      await expect(store.get(1, rowKey(1))).rejects.toThrow(PartitionLost)
      await expect(store.save([row(1, 3)])).rejects.toThrow(PartitionLost)
      expect(store.storeId).not.toEqual(named)
      await disowned
      expect(losses).toEqual(['a copy was put back'])
      if (seed % 2 === 0) await store[Symbol.asyncDispose]()
      const again = await openOn(seed % 2 === 0 ? disk : afterPowerFailure(disk, seededRandom(seed)), { seed: 5, named })
      expect(again.lostPartitions().size).toBe(partitionCount)
      expect(again.storeId).toEqual(store.storeId)
      expect(await again.nextCounter(0n)).toBeGreaterThan(counter + 1_000_000n)
    }
  })

  test('in the middle of a save: nothing is answered from it any more', async () => {
    for (let steps = 0; steps < 40; steps++) {
      const store = await openOn(await diskInUse(rows))
      const saving = store.save([row(1, 3)]).catch(() => {})
      for (let step = 0; step < steps; step++) await Promise.resolve()
      await Promise.all([saving, store.disown('a copy was put back')])
      expect(await lostOf(store, [row(1, 3)])).toBe(1)
      expect(store.lostPartitions().size).toBe(partitionCount)
    }
  })
})

describe('a loss is not forgotten', () => {
  test('over restarts, also of partitions in which no row is left', async () => {
    const disk: Disk = { files: (await diskInUse([row(1, 2)])).files, index: memoryKeyValue() }
    await disk.files.remove('rows/proof')
    for (const path of journalsOf(disk)) await disk.files.remove(path)
    await disk.index.batch([{ type: 'put', key: new Uint8Array(35), value: new Uint8Array(60) }], { sync: true })
    for (let start = 0; start < 3; start++) {
      const store = await openOn(disk, { seed: 20 + start })
      expect(store.lostPartitions().size, `start ${start}`).toBe(partitionCount)
      await expect(store.get(1, rowKey(1))).rejects.toThrow(PartitionLost)
      await expect(store.save([row(1, 2)])).rejects.toThrow(PartitionLost)
      if (start === 1) await store[Symbol.asyncDispose]()
    }
  })

  test('by the neighbours of a partition that was handed over and taken back', async () => {
    const disk = await diskInUse([row(1, 2)])
    await disk.files.remove('rows/proof')
    const store = await openOn(disk)
    await store.restore(partitionOf(rowKey(2)))
    await store.save([row(2, 2)])
    await store[Symbol.asyncDispose]()
    const again = await openOn(disk)
    expect(await again.get(1, rowKey(2))).toEqual(row(2, 2))
    await expect(again.get(1, rowKey(1))).rejects.toThrow(PartitionLost)
  })

  test('until the partition is taken back, though a record in it is damaged', async () => {
    const disk = await diskAtRest([row(1, 2)])
    const { key, value } = await indexedRow(disk, 1)
    disk.index.damage(key, flipped(value, 0))
    const store = await openOn(disk)
    await expect(store.get(1, rowKey(1))).rejects.toThrow(PartitionLost)
    await store.restore(partitionOf(rowKey(1)))
    expect(await store.get(1, rowKey(1))).toBeUndefined()
    await store.save([row(1, 5)])
    expect(await store.get(1, rowKey(1))).toEqual(row(1, 5))
  })

  test('by its counters: none is given that may have been given before', async () => {
    const disk = newDisk()
    const store = await openOn(disk)
    let last = 0n
    for (let i = 0; i < 5000; i++) last = await store.nextCounter(0n)
    await disk.files.remove('rows/proof')
    for (const path of journalsOf(disk)) await disk.files.remove(path)
    expect(await (await openOn(disk)).nextCounter(0n)).toBeGreaterThan(last)
  })
})

test('nothing is lost of a store at rest when the power fails, though LevelDB may have closed a log unsynced (a checkpoint believed the sync of the log after it)', async () => {
  for (let seed = 0; seed < 60; seed++) {
    const disk = newDisk()
    const store = await openOn(disk)
    for (const one of rows) await store.save([one])
    await store[Symbol.asyncDispose]()
    expect(await lostOf(await openOn(afterPowerFailure(disk, seededRandom(seed))), rows), `seed ${seed}`).toBe(0)
  }
})

test('no loss is made up when a segment of the journal from before the last checkpoint comes back', async () => {
  const disk = await diskInUse([row(1, 2)])
  const old = await Promise.all(journalsOf(disk).map(async (path) => [path, await disk.files.read(path)] as const))
  for (let start = 0; start < 3; start++) await (await openOn(disk)).save([row(2, 2 + start)])
  for (const [path, bytes] of old) if (await disk.files.size(path) === undefined) await disk.files.writeDurable(path, [bytes])
  const again = await openOn(disk)
  expect(again.lostPartitions().size).toBe(0)
  expect(await again.get(1, rowKey(1))).toEqual(row(1, 2))
})
