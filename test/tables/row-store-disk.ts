import { equals } from '../../src/base/bytes.ts'
import { hash } from '../../src/base/hash.ts'
import { seededRandom } from '../../src/base/random.ts'
import type { KeyValue } from '../../src/disk/index.ts'
import { type MemoryFiles, memoryFiles } from '../../src/disk/memory-files.ts'
import { type MemoryKeyValue, memoryKeyValue } from '../../src/disk/memory-key-value.ts'
import type { Ballot, RowStore, StoredRow, TableNumber } from '../../src/tables/index.ts'
import { openRowStore, type RowStoreOptions } from '../../src/tables/row-store.ts'

/** Rows, and disks to keep them on, for the tests of the row store. */
const proposer = new Uint8Array(32).fill(5)
export const rowKey = (n: number): Uint8Array => hash(Uint8Array.of(n, n >> 8))

/** Of the records here the first byte is the counter of their ballot. */
export const ballotOf = (_: TableNumber, record: Uint8Array): Ballot => ({ counter: BigInt(record[0] ?? 0), proposer })

/** A row that was accepted under `counter`. */
export const row = (n: number, counter: number, sizeBytes = 4): StoredRow =>
  ({ ...promise(n, counter), accepted: Uint8Array.from([counter, n, ...new Uint8Array(sizeBytes - 2)]) })

/** A row for which `counter` was promised and nothing accepted. */
export const promise = (n: number, counter: number): StoredRow => ({ table: 1, rowKey: rowKey(n), promised: { counter: BigInt(counter), proposer }, accepted: undefined })

export interface Disk { readonly files: MemoryFiles, readonly index: MemoryKeyValue }
export const newDisk = (): Disk => ({ files: memoryFiles(), index: memoryKeyValue() })

export const openOn = (disk: Pick<RowStoreOptions, 'files' | 'index'>, { seed = 1, onLost = () => {}, named }: { seed?: number } & Partial<Pick<RowStoreOptions, 'onLost' | 'named'>> = {}): Promise<RowStore> =>
  openRowStore({ ...disk, folder: 'rows', random: seededRandom(seed), ballotOf, onLost, ...(named === undefined ? {} : { named }) })

/** The disk as it may be found after the power failed now. */
export const afterPowerFailure = ({ files, index }: Disk, random = seededRandom(3)): Disk => ({ files: files.crash(random), index: index.crash(random) })

/** A disk on which each of the rows was saved. Nothing was closed: the saves stand in the journal. */
export async function diskInUse (rows: readonly StoredRow[]): Promise<Disk> {
  const disk = newDisk()
  const store = await openOn(disk)
  for (const one of rows) await store.save([one])
  return disk
}

/** The same, closed: the rows stand in the index, and the journal is cut. */
export async function diskAtRest (rows: readonly StoredRow[]): Promise<Disk> {
  const disk = await diskInUse(rows)
  await (await openOn(disk))[Symbol.asyncDispose]()
  return disk
}

export const journalsOf = ({ files }: Disk): string[] => files.paths.filter((path) => path.includes('/journal/'))

/** What the index has of the first row with this number, or key. */
export async function indexedRow ({ index }: { readonly index: KeyValue }, row: number | Uint8Array): Promise<{ key: Uint8Array, value: Uint8Array }> {
  const meant = typeof row === 'number' ? rowKey(row) : row
  for await (const [key, value] of index.entries({ to: Uint8Array.of(0xff) })) if (equals(key.subarray(2, 34), meant)) return { key, value }
  throw new Error('the index has no such row')
}

export const flipped = (bytes: Uint8Array, bit: number): Uint8Array => bytes.map((byte, i) => (i === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte))
