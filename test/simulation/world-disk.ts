import { partitionOf } from '../../src/base/bytes.ts'
import type { Random } from '../../src/base/random.ts'
import { memoryFiles, type MemoryFiles } from '../../src/disk/memory-files.ts'
import { memoryKeyValue, type MemoryKeyValue } from '../../src/disk/memory-key-value.ts'
import type { SaveOptions, StoredRow } from '../../src/tables/index.ts'
import { type MemoryRowDisk, memoryRowDisk, MemoryRowStore } from '../../src/tables/memory-row-store.ts'

/** What a machine keeps when its process dies, and all that may befall it. */
export class WorldDisk {
  files: MemoryFiles = memoryFiles()
  index: MemoryKeyValue = memoryKeyValue()
  readonly rows: MemoryRowDisk
  /** Partitions that are damaged. */
  readonly lost = new Set<number>()
  isFull = false
  hangsUntilMs = 0
  rowsHang = false
  /** Its wall clock, before the right one. */
  aheadMs = 0

  constructor (storeId: Uint8Array | undefined) { this.rows = memoryRowDisk(storeId) }

  /** What was not synced is gone, or some of it. */
  crash (random: Random): void {
    this.files = this.files.crash(random)
    this.index = this.index.crash(random)
  }

  /** There is no room, or there is again. */
  fill (isFull: boolean): void {
    this.isFull = isFull
    this.files.fail('write', { times: isFull ? Infinity : 0, error: 'ENOSPC' })
    this.index.fail('write', isFull ? Infinity : 0)
  }

  /** Nothing is left of a partition, and the disk says so. */
  rot (partition: number, { isSilent }: { isSilent: boolean }): void {
    for (const [key, { rowKey }] of this.rows.rows) if (partitionOf(rowKey) === partition) this.rows.rows.delete(key)
    if (!isSilent) this.lost.add(partition)
  }

  /** Of the rows as they are now: what it gives puts it in the place of what there is then. */
  copyOfRows (): () => void {
    const { rows } = this
    const { counter, position } = rows
    const [copied, floors] = [new Map(rows.rows), new Map(rows.floors)]
    return () => {
      rows.rows.clear()
      rows.floors.clear()
      for (const [key, row] of copied) rows.rows.set(key, row)
      for (const [partition, floor] of floors) rows.floors.set(partition, floor)
      Object.assign(rows, { counter, position })
    }
  }

  /** A bit of a file of blocks, or of a record of the index, is not what was written. Which. */
  flip (random: Random): string | undefined {
    const paths = this.files.paths.filter((path) => path.startsWith('blocks/large/')).toSorted()
    if (paths.length > 0 && random.fraction() < 0.6) {
      const path = paths[Math.floor(random.fraction() * paths.length)] as string
      this.files.flip(path, Math.floor(random.fraction() * 500))
      return path
    }
    const record = this.index.record(random)
    if (record === undefined) return undefined
    const [key, value] = record
    const wrong = value.slice()
    const at = Math.floor(random.fraction() * wrong.byteLength)
    if (wrong.byteLength > 0) wrong[at] = (wrong[at] ?? 0) ^ (1 << Math.floor(random.fraction() * 8))
    this.index.damage(key, wrong)
    return `a record of kind ${key[0]}`
  }

  /** A record of the index is gone without a word. Its key. */
  forgetRecord (random: Random): Uint8Array | undefined {
    const record = this.index.record(random)
    if (record === undefined) return undefined
    this.index.damage(record[0], undefined)
    return record[0]
  }
}

/** Partitions that no row of the run falls into are empty, and not looked through. */
export class SparseRowStore extends MemoryRowStore {
  readonly #used: Set<number>
  /** Outlives the process. */
  readonly #lostOnDisk: Set<number>
  constructor ({ used, lost }: { used: Set<number>, lost: Set<number> }, parts: ConstructorParameters<typeof MemoryRowStore>[0]) {
    super(parts)
    this.#used = used
    this.#lostOnDisk = lost
    for (const partition of lost) this.lose(partition)
  }

  override async save (rows: readonly StoredRow[], options?: SaveOptions): Promise<void> { await super.save(rows, options); for (const { rowKey } of rows) this.#used.add(partitionOf(rowKey)) }
  override async fill (rows: readonly StoredRow[]): Promise<void> { await super.fill(rows); for (const { rowKey } of rows) this.#used.add(partitionOf(rowKey)) }
  override async disown (): Promise<void> { await super.disown(); for (const partition of this.lostPartitions()) this.#lostOnDisk.add(partition) }
  override async restore (...partitions: readonly number[]): Promise<void> {
    for (const partition of partitions) this.#lostOnDisk.delete(partition)
    await super.restore(...partitions)
  }

  override async clear (...partitions: readonly number[]): Promise<void> { await super.clear(...partitions.filter((partition) => this.#used.has(partition) || this.lostPartitions().has(partition))) }
  override async digest (partition: number): Promise<{ count: number, digest: Uint8Array }> { return this.#used.has(partition) || this.lostPartitions().has(partition) ? await super.digest(partition) : nothing }
  override async promised (partition: number): ReturnType<MemoryRowStore['promised']> { return this.#used.has(partition) || this.lostPartitions().has(partition) ? await super.promised(partition) : undefined }
  override rows (partition: number, options?: { after?: Uint8Array }): AsyncIterable<StoredRow> { return this.#used.has(partition) || this.lostPartitions().has(partition) ? super.rows(partition, options) : noRows() }
}

const nothing = await new MemoryRowStore({ ballotOf: () => { throw new Error('no rows') } }).digest(0)
async function * noRows (): AsyncIterable<StoredRow> { /* none */ }

