import { equals, partitionCount, partitionOf } from '../base/bytes.ts'
import { Corrupt, StoreFull } from '../base/errors.ts'
import type { KeyValue } from '../disk/index.ts'
import { highestBallot } from './ballot.ts'
import { type Ballot, PartitionLost, type StoredRow, type TableNumber } from './index.ts'
import { markOf, ProvenRows } from './proven-rows.ts'
import { RecentRows } from './recent-rows.ts'
import { applyToProof, isCleared, type RowChange } from './row-changes.ts'
import type { PartitionProof, RowProof } from './row-proof.ts'
import type { RowStoreHealth } from './row-store-health.ts'
import { added, agreedTerm, rowHash, subtracted, termOf } from './row-sum.ts'
import { decodeIndexed, indexKeyOf, rangeOf } from './stored-row-format.ts'

export interface ProvenPartitionsParts {
  readonly index: KeyValue
  readonly proof: RowProof
  readonly health: RowStoreHealth
  readonly ballotOf: (table: TableNumber, record: Uint8Array) => Ballot
  readonly onLost: (loss: { partitions: number, reason: string }) => void
}

/**
 * The rows of a store as far as they are proven. A partition of the index is held against the proof before its first answer, once after each start, and
 * every later look against what was found then. One that does not add up is lost: it gives no row any more.
 */
export class ProvenPartitions {
  readonly #parts: ProvenPartitionsParts
  readonly #lost = new Set<number>()
  readonly #proving = new Map<number, Promise<void>>()
  readonly #proven = new Map<number, ProvenPartition>()
  readonly #recent = new RecentRows()
  #timesLost = 0

  constructor (parts: ProvenPartitionsParts) {
    this.#parts = parts
    for (let partition = 0; partition < partitionCount; partition++) if (parts.proof.isLost(partition)) this.#lost.add(partition)
  }

  get lost (): ReadonlySet<number> { return this.#lost }

  /** Once for each partition, before it is believed. @throws PartitionLost */
  async prove (partition: number): Promise<void> {
    if (this.#lost.has(partition)) throw new PartitionLost(partition)
    if (this.#proven.has(partition)) return
    if (this.#parts.health.behind !== undefined) throw this.#parts.health.behind
    let proving = this.#proving.get(partition)
    if (proving === undefined) this.#proving.set(partition, proving = this.#provenOrLost(partition).finally(() => { this.#proving.delete(partition) }))
    await proving
    if (this.#lost.has(partition)) throw new PartitionLost(partition)
  }

  /** A row of a partition that is proven. @throws PartitionLost */
  async current (table: TableNumber, rowKey: Uint8Array): Promise<StoredRow | undefined> {
    const partition = partitionOf(rowKey)
    for (;;) {
      const recent = this.#recent.get({ table, rowKey })
      if (recent !== undefined) return recent
      const { rows } = this.#provenAs(partition)
      if (!rows.mayHave(rowKey)) return undefined
      const { changes } = rows
      const found = await this.#lookUp(table, rowKey)
      // saved meanwhile: what was found may be what the row was before
      if (rows.changes !== changes || this.#proven.get(partition)?.rows !== rows) continue
      if ('alike' in found) {
        if (this.#areOthers(rows.marksAlike(rowKey), found.alike)) return undefined
        throw this.#lostTo(new Corrupt('the index lacks a row that it was proven to have'), partition)
      }
      if (rows.has(rowKey, rowHash(found))) return found
      throw this.#lostTo(new Corrupt('the index has another row than it was proven to have'), partition)
    }
  }

  /** Whether each of these marks is another row's, which the index has, or will have. */
  #areOthers (marks: readonly number[], indexed: ReadonlySet<number>): boolean {
    const left = new Set(marks.filter((mark) => !indexed.has(mark)))
    if (left.size > 0) for (const row of this.#recent.values()) left.delete(markOf(row.rowKey, rowHash(row)))
    return left.size === 0
  }

  /** All of a partition that is proven, as the index has them. @throws PartitionLost, StoreFull while the index lacks what the journal has */
  async * rows (partition: number, after: Uint8Array | undefined): AsyncIterable<StoredRow> {
    if (this.#parts.health.behind !== undefined) throw this.#parts.health.behind
    try {
      yield * this.#indexed(partition, after)
    } catch (error) {
      throw this.#lostTo(error, partition)
    }
  }

  /** What replicas compare. @throws PartitionLost unless it is proven */
  agreed (partition: number): Agreed { return this.#provenAs(partition).agreed }

  /** The most that a row of it has promised. @throws PartitionLost unless it is proven */
  promised (partition: number): Ballot | undefined { return this.#provenAs(partition).promised }

  /** How often everything was lost: what was found out before says nothing after it. */
  get timesLost (): number { return this.#timesLost }

  /** What a partition has left when its sealed rows are gone. @throws PartitionLost */
  async withoutSealed (partition: number): Promise<{ left: ProvenPartition, remains: PartitionProof, gone: number }> {
    await this.prove(partition)
    const rows = new ProvenRows()
    let [agreed, remains, gone]: [Agreed, PartitionProof, number] = [nothing, nothing, 0]
    let promised: Ballot | undefined
    for await (const row of this.rows(partition, undefined)) {
      if (isCleared(row.table, 'sealed')) { gone++; continue }
      const hash = rowHash(row)
      rows.replace(row.rowKey, { before: undefined, after: hash })
      agreed = plus(agreed, agreedTerm(row, this.#parts.ballotOf))
      promised = highestBallot([promised, row.promised])
      remains = plus(remains, termOf(hash))
    }
    return { left: { rows, agreed, promised }, remains, gone }
  }

  /** What the index has of a lost partition, summed up. @throws Corrupt */
  async found (partition: number): Promise<PartitionProof> { return await this.#summed(partition, (row) => termOf(rowHash(row))) }

  /** The same as `prove`, though it has been proven: the disk may have rotted since. While nothing is being written. Gives how many rows there are. */
  async reread (partition: number): Promise<number> {
    if (this.#parts.health.behind !== undefined) throw this.#parts.health.behind
    try {
      const found = await this.#summed(partition, (row) => termOf(rowHash(row)))
      if (!this.#parts.proof.holds(partition, found)) this.lose(partition, 'the index does not hold any more what was saved')
      return found.count
    } catch (error) {
      if (!(error instanceof Corrupt)) throw error
      this.lose(partition, error.message)
      return 0
    }
  }

  /** A change that is in the journal, and on its way into the index. */
  apply (change: RowChange): void {
    applyToProof(this.#parts.proof, change)
    switch (change.kind) {
      case 'saved': {
        const { row, old, before } = change
        this.#replaceProven(row, { old, before, fresh: row })
        this.#recent.set(row)
        break
      }
      case 'buried':
        this.#replaceProven(change, { old: change.old, before: change.before, fresh: undefined })
        this.#recent.delete(change)
        break
      case 'filled': case 'floor': break
      case 'cleared':
        this.#recent.forget(change.partition, ({ table }) => isCleared(table, change.what))
        // at once: while the index still has what is gone, it would not add up
        if (change.left === undefined) this.#proven.delete(change.partition)
        else if (!this.#lost.has(change.partition)) this.#proven.set(change.partition, change.left)
        break
      case 'restored':
        this.#lost.delete(change.partition)
        this.#proven.delete(change.partition)
        break
      default: change satisfies never
    }
  }

  lose (partition: number, reason: string): void {
    if (this.#lost.has(partition)) return
    this.#lost.add(partition)
    this.#proven.delete(partition)
    this.#recent.forget(partition)
    this.#parts.onLost({ partitions: 1, reason })
  }

  /** For good, once the proof is on disk. */
  loseAll (): void {
    for (let partition = 0; partition < partitionCount; partition++) {
      this.#parts.proof.lose(partition)
      this.#lost.add(partition)
      this.#proven.delete(partition)
    }
    this.#recent.clear()
    this.#timesLost++
  }

  /** `alike`: it is not there; the marks of all that the partition has. */
  async #lookUp (table: TableNumber, rowKey: Uint8Array): Promise<StoredRow | { readonly alike: ReadonlySet<number> }> {
    const key = indexKeyOf({ table, rowKey })
    try {
      const value = await this.#parts.index.get(key)
      if (value !== undefined) return decodeIndexed(key, value)
      // most likely it is another row's key that looks the same: the way of the proof tells
      const alike = new Set<number>()
      for await (const row of this.#indexed(partitionOf(rowKey))) {
        if (row.table === table && equals(row.rowKey, rowKey)) throw new Corrupt('the index does not find a row that it has')
        alike.add(markOf(row.rowKey, rowHash(row)))
      }
      return { alike }
    } catch (error) {
      throw this.#lostTo(error, partitionOf(rowKey))
    }
  }

  #lostTo (error: unknown, partition: number): unknown {
    if (!(error instanceof Corrupt)) return error
    if (this.#parts.health.behind !== undefined) return this.#parts.health.behind
    this.lose(partition, error.message)
    return new PartitionLost(partition, { cause: error })
  }

  #replaceProven ({ rowKey }: Pick<StoredRow, 'rowKey'>, { old, before, fresh }: { old: StoredRow | undefined, before: Uint8Array | undefined, fresh: StoredRow | undefined }): void {
    const proven = this.#proven.get(partitionOf(rowKey))
    if (proven === undefined) return
    const { ballotOf } = this.#parts
    proven.rows.replace(rowKey, { before, after: fresh === undefined ? undefined : rowHash(fresh) })
    if (fresh !== undefined) {
      proven.agreed = plus(proven.agreed, agreedTerm(fresh, ballotOf))
      proven.promised = highestBallot([proven.promised, fresh.promised])
    }
    const gone = old === undefined ? undefined : agreedTerm(old, ballotOf)
    if (gone !== undefined) proven.agreed = { count: proven.agreed.count - 1, sum: subtracted(proven.agreed.sum, gone) }
  }

  #provenAs (partition: number): ProvenPartition {
    const proven = this.#proven.get(partition)
    if (proven === undefined) throw new PartitionLost(partition)
    return proven
  }

  async #provenOrLost (partition: number): Promise<void> {
    const { ballotOf, proof } = this.#parts
    const rows = new ProvenRows()
    let agreed: Agreed = nothing
    let promised: Ballot | undefined
    try {
      const found = await this.#summed(partition, (row) => {
        const hash = rowHash(row)
        rows.replace(row.rowKey, { before: undefined, after: hash })
        agreed = plus(agreed, agreedTerm(row, ballotOf))
        promised = highestBallot([promised, row.promised])
        return termOf(hash)
      })
      if (proof.holds(partition, found)) this.#proven.set(partition, { rows, agreed, promised })
      else this.lose(partition, 'the index does not hold what was saved')
    } catch (error) {
      if (error instanceof StoreFull) throw error
      // whatever the index says instead of its rows, it is not what was saved
      this.lose(partition, error instanceof Error ? error.message : String(error))
    }
  }

  async #summed (partition: number, termFor: (row: StoredRow) => bigint): Promise<PartitionProof> {
    let found: PartitionProof = nothing
    for await (const row of this.#indexed(partition)) found = plus(found, termFor(row))
    return found
  }

  async * #indexed (partition: number, after?: Uint8Array): AsyncIterable<StoredRow> {
    for await (const [key, value] of this.#parts.index.entries(rangeOf(partition, after))) yield decodeIndexed(key, value)
  }
}

interface Agreed { readonly count: number, readonly sum: bigint }
export interface ProvenPartition { readonly rows: ProvenRows, agreed: Agreed, promised: Ballot | undefined }

const nothing: PartitionProof & Agreed = { count: 0, sum: 0n }
const plus = ({ count, sum }: Agreed, term: bigint | undefined): Agreed => (term === undefined ? { count, sum } : { count: count + 1, sum: added(sum, term) })
