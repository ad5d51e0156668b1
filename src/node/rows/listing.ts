import { partitionCount } from '../../base/bytes.ts'
import { KeyedQueue } from '../../base/keyed-queue.ts'
import { type Describe, isSelfProving, type OpenedRow, PartitionLost, type RowCodec, type RowStore } from '../../tables/index.ts'
import type { IndexedRow, ListingIndex } from '../../tables/listing-index.ts'
import { openRecord } from '../../tables/opened-record.ts'

export interface RebuildParts {
  readonly rows: RowStore
  readonly codec: RowCodec
  readonly index: ListingIndex
  readonly describe: Describe
  /** Shown each row too, as it was a moment ago. */
  readonly found?: (row: OpenedRow) => void
  readonly warn: (message: string, cause: unknown) => void
}

export const indexRebuildLimits = {
  /** Before the node serves: as long as it has no more rows, its listings are whole from the first one on. */
  rowsBeforeServing: 10_000,
} as const

/**
 * The listing index of a node that starts: from rows, for no name stands on a disk. A million of them take minutes, in which all else can be had; so the most is done
 * behind, and a partition whose rows the index does not have yet counts as lost in listings, which are answered by the others meanwhile.
 */
export class IndexRebuild {
  readonly #parts: RebuildParts
  readonly #left = new Set(Array.from({ length: partitionCount }, (_, partition) => partition))
  readonly #returning = new Set<number>()
  /** Rows of one partition are shown, or taken out, one after the other. */
  readonly #queue = new KeyedQueue()
  readonly #whenWhole: () => void

  /** `whenWhole`: all rows have been shown, once. */
  constructor (parts: RebuildParts, { whenWhole = () => {} }: { whenWhole?: () => void } = {}) {
    this.#parts = parts
    this.#whenWhole = whenWhole
  }

  /** Partitions of which the index may lack rows. */
  get left (): ReadonlySet<number> { return this.#returning.size === 0 ? this.#left : this.#left.union(this.#returning) }

  /** Of the partitions; 1: the index is whole. */
  get doneShare (): number { return 1 - this.#left.size / partitionCount }

  /** As much of it as a start may wait for. */
  async begin ({ rows = indexRebuildLimits.rowsBeforeServing }: { rows?: number } = {}): Promise<void> {
    for (let shown = 0; shown < rows && this.#left.size > 0;) shown += await this.#next()
  }

  /** One partition. Those that are lost, which the store has told, are left out: they answer no listing either. */
  async step (): Promise<'busy' | 'idle'> {
    if (this.#left.size === 0) return 'idle'
    await this.#next()
    return 'busy'
  }

  /** These partitions come back into service, filled behind the index: until each has been shown it counts as lost in listings. */
  returning (partitions: readonly number[]): void { for (const partition of partitions) this.#returning.add(partition) }

  /** Shows a partition that comes back into service. @throws PartitionLost */
  async restored (partition: number): Promise<void> {
    await this.#show(partition)
    this.#returning.delete(partition)
  }

  /** Takes what a partition has out of the index again; of one that is lost the index is not believed anyway. What is saved from now on is shown as it is saved. */
  async forget (partition: number): Promise<void> {
    await this.#queue.run(String(partition), async () => {
      const known = await listedIn(this.#parts, partition).catch((error: unknown) => { if (error instanceof PartitionLost) return []; throw error })
      const rows = known.flatMap(({ listed, ...row }) => listed === undefined ? [] : [{ ...row, name: listed.name, scope: listed.scope }])
      if (rows.length > 0) await this.#parts.index.forget(rows)
      this.#done(partition)
    })
  }

  async #next (): Promise<number> {
    const [partition] = this.#left
    if (partition === undefined) return 0
    try {
      return await this.#show(partition)
    } catch (error) {
      if (!(error instanceof PartitionLost)) throw error
      this.#parts.warn('a partition of rows is lost and left out of listings', error)
      this.#done(partition)
      return 0
    }
  }

  /** Gives how many rows were shown. @throws PartitionLost */
  async #show (partition: number): Promise<number> {
    return await this.#queue.run(String(partition), async () => {
      const { index, rows } = this.#parts
      const listed = rows.lostPartitions().has(partition) ? [] : await listedIn(this.#parts, partition, this.#parts.found)
      if (listed.length > 0) await index.update(listed)
      for (const { table, rowKey, ballot, listed: name } of listed) {
        // buried since it was read, when the index did not have it
        const isGone = name !== undefined && name.summary === undefined && await rows.get(table, rowKey) === undefined
        if (isGone) await index.forget([{ table, rowKey, ballot, name: name.name, scope: name.scope }])
      }
      this.#done(partition)
      return listed.length
    })
  }

  #done (partition: number): void {
    if (this.#left.delete(partition) && this.#left.size === 0) this.#whenWhole()
  }
}

async function listedIn ({ rows, codec, describe }: Omit<RebuildParts, 'warn'>, partition: number, found?: RebuildParts['found']): Promise<readonly IndexedRow[]> {
  const listed: IndexedRow[] = []
  for await (const { table, rowKey, accepted: record } of rows.rows(partition)) {
    if (record === undefined || isSelfProving(table)) continue
    const { ballot, value, erased } = openRecord(codec.ofOwn ?? codec, { table, rowKey, record })
    found?.({ table, rowKey, value, erased })
    listed.push({ table, rowKey, ballot, listed: value === undefined ? erased === undefined ? undefined : { name: erased.key, scope: erased.scope, summary: undefined } : describe(table, value) })
  }
  return listed
}
