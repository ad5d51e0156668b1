import { compareBytes, partitionCount, partitionOf } from '../base/bytes.ts'
import { compareBallots, highestBallot } from './ballot.ts'
import { type Ballot, isClear, PartitionLost, type RowStore, type SaveOptions, type StoredRow, type TableNumber } from './index.ts'
import { nameOf } from './recent-rows.ts'
import { isCleared } from './row-changes.ts'
import { added, agreedTerm, sumBytes } from './row-sum.ts'

/** What survives a crash of memory row stores: rows synced, and the ceiling of the counters handed out. */
export interface MemoryRowDisk {
  readonly storeId: Uint8Array
  readonly rows: Map<string, StoredRow>
  readonly floors: Map<number, Ballot>
  counter: bigint
  position: bigint
}

export const memoryRowDisk = (storeId: Uint8Array = new Uint8Array(16)): MemoryRowDisk => ({ storeId, rows: new Map(), floors: new Map(), counter: 0n, position: 0n })

/** Counters are reserved this many at once; a crash loses the rest of a reservation, which only makes them jump. */
const reservedCounters = 64n

/**
 * Rows in memory over a disk that outlives them. `sync` stands for the fdatasync: until it resolves a save is not on disk, and a crash in between
 * (the sync never resolves, or rejects) loses it. Rows are visible only once they are on disk, as nothing may be answered earlier.
 */
export class MemoryRowStore implements RowStore {
  readonly #disk: MemoryRowDisk
  readonly #ballotOf: (table: TableNumber, record: Uint8Array) => Ballot
  readonly #sync: () => Promise<void>
  readonly #lost = new Set<number>()
  #grouped: { readonly position: bigint, readonly size: number, readonly rows: ReadonlyMap<number, readonly StoredRow[]> } = { position: -1n, size: 0, rows: new Map() }
  #next = 0n
  /** Counters up to here are on disk as given out. */
  #reserved = 0n
  #reserving: Promise<void> | undefined

  constructor ({ disk = memoryRowDisk(), ballotOf, sync = async () => {} }: { disk?: MemoryRowDisk, ballotOf: (table: TableNumber, record: Uint8Array) => Ballot, sync?: () => Promise<void> }) {
    this.#disk = disk
    this.#ballotOf = ballotOf
    this.#sync = sync
  }

  get storeId (): Uint8Array { return this.#disk.storeId }
  get position (): bigint { return this.#disk.position }

  get readOnlyReason (): undefined { return undefined }
  async recover (): Promise<void> {}

  async get (table: TableNumber, rowKey: Uint8Array): Promise<StoredRow | undefined> {
    this.#demand(partitionOf(rowKey))
    return this.#disk.rows.get(nameOf({ table, rowKey }))
  }

  async save (rows: readonly StoredRow[], { isInPlace = false }: SaveOptions = {}): Promise<void> {
    for (const { rowKey } of rows) this.#demand(partitionOf(rowKey))
    await this.#sync()
    for (const row of rows) if (!isInPlace || this.#disk.rows.has(nameOf(row))) this.#disk.rows.set(nameOf(row), row)
    this.#disk.position += BigInt(rows.length)
  }

  async * rows (partition: number, { after }: { after?: Uint8Array } = {}): AsyncIterable<StoredRow> {
    this.#demand(partition)
    yield * this.#sorted(partition).filter(({ rowKey }) => after === undefined || compareBytes(rowKey, after) > 0)
  }

  lostPartitions (): ReadonlySet<number> { return this.#lost }
  async disown (): Promise<void> { for (let partition = 0; partition < partitionCount; partition++) this.#lost.add(partition) }
  async restore (...partitions: readonly number[]): Promise<void> { for (const partition of partitions) this.#lost.delete(partition) }

  async clear (...partitions: readonly number[]): Promise<void> {
    if (partitions.length === 0) return
    await this.#sync()
    const cleared = new Set(partitions)
    for (const [name, { table, rowKey }] of this.#disk.rows) {
      const partition = partitionOf(rowKey)
      if (cleared.has(partition) && isCleared(table, this.#lost.has(partition) ? 'everything' : 'sealed')) this.#disk.rows.delete(name)
    }
    for (const partition of cleared) this.#disk.floors.delete(partition)
    this.#disk.position++
  }

  async fill (rows: readonly StoredRow[]): Promise<void> {
    for (const { rowKey } of rows) if (!this.#lost.has(partitionOf(rowKey))) throw new RangeError('a partition that is not lost')
    await this.#sync()
    for (const row of rows) this.#disk.rows.set(nameOf(row), row)
    this.#disk.position++
  }

  floor (partition: number): Ballot | undefined { return this.#disk.floors.get(partition) }

  async raiseFloor (...floors: ReadonlyArray<readonly [partition: number, floor: Ballot]>): Promise<void> {
    await this.#sync()
    for (const [partition, floor] of floors) this.#raise(partition, floor)
    this.#disk.position++
  }

  async bury (rows: ReadonlyArray<Pick<StoredRow, 'table' | 'rowKey'> & { readonly ballot: Ballot }>): Promise<void> {
    if (rows.some(({ table }) => isClear(table))) throw new RangeError('a clear row')
    for (const { rowKey } of rows) this.#demand(partitionOf(rowKey))
    await this.#sync()
    for (const { table, rowKey, ballot } of rows) {
      const promised = this.#disk.rows.get(nameOf({ table, rowKey }))?.promised
      this.#disk.rows.delete(nameOf({ table, rowKey }))
      for (const known of [ballot, ...(promised === undefined ? [] : [promised])]) this.#raise(partitionOf(rowKey), known)
    }
    this.#disk.position++
  }

  /** Pretends that the partition's memory was found damaged. */
  lose (partition: number): void { this.#lost.add(partition) }

  async promised (partition: number): Promise<Ballot | undefined> {
    this.#demand(partition)
    return highestBallot(this.#sorted(partition).map(({ promised }) => promised))
  }

  async digest (partition: number): Promise<{ count: number, digest: Uint8Array }> {
    this.#demand(partition)
    let [sum, count] = [0n, 0]
    for (const row of this.#sorted(partition)) {
      const term = agreedTerm(row, this.#ballotOf)
      if (term === undefined) continue
      count++
      sum = added(sum, term)
    }
    return { count, digest: sumBytes(sum) }
  }

  async nextCounter (atLeast: bigint): Promise<bigint> {
    const floor = this.#next === 0n ? this.#disk.counter : this.#next
    const counter = this.#next = (atLeast > floor ? atLeast : floor) + 1n
    while (counter > this.#reserved) await (this.#reserving ??= this.#reserve().finally(() => { this.#reserving = undefined }))
    return counter
  }

  async [Symbol.asyncDispose] (): Promise<void> {}

  #raise (partition: number, floor: Ballot): void {
    const before = this.#disk.floors.get(partition)
    if (before === undefined || compareBallots(floor, before) > 0) this.#disk.floors.set(partition, floor)
  }

  async #reserve (): Promise<void> {
    const ceiling = this.#next + reservedCounters
    await this.#sync()
    if (ceiling > this.#disk.counter) this.#disk.counter = ceiling
    this.#reserved = ceiling
  }

  #sorted (partition: number): readonly StoredRow[] {
    const { position, rows } = this.#disk
    // walks over all partitions are many, and changes few
    if (this.#grouped.position !== position || this.#grouped.size !== rows.size) this.#grouped = { position, size: rows.size, rows: Map.groupBy(rows.values(), ({ rowKey }) => partitionOf(rowKey)) }
    return (this.#grouped.rows.get(partition) ?? []).toSorted((a, b) => compareBytes(a.rowKey, b.rowKey) || a.table - b.table)
  }

  #demand (partition: number): void {
    if (this.#lost.has(partition)) throw new PartitionLost(partition)
  }
}
