import { compareBytes, partitionCount, partitionOf } from '../base/bytes.ts'
import { highestBallot } from './ballot.ts'
import { type Ballot, isClear, PartitionLost, type RowCodec, type RowStore, type StoredRow } from './index.ts'
import type { PartitionDigest } from './messages.ts'
import { nameOf } from './recent-rows.ts'
import { added, agreedTerm, sumBytes } from './row-sum.ts'

/**
 * Clear rows live on all voters, never in a partition, though their keys fall into one: a voter that is no replica of it would never be
 * compared with about them. So where replicas compare, the clear rows count as one partition more.
 */
export const clearPartition: number = partitionCount

/** Whose electorate decides about a row. */
export const partitionOfTable = ({ table, rowKey }: Pick<StoredRow, 'table' | 'rowKey'>): number => isClear(table) ? clearPartition : partitionOf(rowKey)

type Name = Pick<StoredRow, 'table' | 'rowKey'>

/**
 * The clear rows of a store that say something, a few hundred at most: looked for once, when somebody asks, and followed from then on. Rows only promised
 * are left out: there is nothing to agree on, and there may be one for every key that somebody made up.
 */
export class ClearRows {
  readonly #store: RowStore
  readonly #codec: Pick<RowCodec, 'ballotOf'>
  readonly #names = new Map<string, Name>()
  /** Partitions that have not been looked into, or were filled since. */
  readonly #unknown = new Set(Array.from({ length: partitionCount }, (_, partition) => partition))
  #gathering: Promise<void> | undefined
  #promised: Ballot | undefined

  constructor ({ store, codec }: { store: RowStore, codec: Pick<RowCodec, 'ballotOf'> }) {
    this.#store = store
    this.#codec = codec
  }

  /** A row that the store has from now on. */
  saved ({ table, rowKey, promised, accepted }: Name & { readonly promised: Ballot, readonly accepted: unknown }): void {
    if (!isClear(table)) return
    this.#promised = highestBallot([this.#promised, promised])
    if (accepted !== undefined) this.#names.set(nameOf({ table, rowKey }), { table, rowKey })
  }

  /** Lost partitions that are filled without this being told of each row; before they are in service again. */
  refilled (partitions: readonly number[]): void { for (const partition of partitions) this.#unknown.add(partition) }

  /** No clear row has promised more; once the rows have been asked for. */
  get promised (): Ballot | undefined { return this.#promised }

  /** In order of row key, from `after` (exclusive). @throws PartitionLost while any partition is: what is missing there may be one of them */
  async * rows ({ after }: { after?: Uint8Array } = {}): AsyncIterable<StoredRow> {
    for (const lost of this.#store.lostPartitions()) throw new PartitionLost(lost)
    // the one that is being looked into is not among the unknown any more
    while (this.#unknown.size > 0 || this.#gathering !== undefined) await (this.#gathering ??= this.#gather().finally(() => { this.#gathering = undefined }))
    const names = [...this.#names.values()].toSorted((a, b) => compareBytes(a.rowKey, b.rowKey))
    for (const { table, rowKey } of names) {
      if (after !== undefined && compareBytes(rowKey, after) <= 0) continue
      const row = await this.#store.get(table, rowKey)
      if (row !== undefined) yield row
    }
  }

  /** As the store's of a partition. */
  async digest (): Promise<PartitionDigest> {
    let [sum, count] = [0n, 0]
    for await (const row of this.rows()) {
      const term = agreedTerm(row, (table, record) => this.#codec.ballotOf(table, record))
      if (term === undefined) continue
      count++
      sum = added(sum, term)
    }
    return { count, digest: sumBytes(sum) }
  }

  async #gather (): Promise<void> {
    for (const partition of this.#unknown) {
      this.#unknown.delete(partition)
      try {
        for await (const row of this.#store.rows(partition)) this.saved(row)
      } catch (error) {
        this.#unknown.add(partition)
        throw error
      }
    }
  }
}
