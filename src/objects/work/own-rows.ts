import { partitionCount } from '../../base/bytes.ts'
import type { PeerId } from '../../base/peer-id.ts'
import { PartitionLost, type RowCodec, type RowStore, tables, type Voters } from '../../tables/index.ts'
import { openRecord } from '../../tables/opened-record.ts'
import { decodeObjectRow, type ObjectRow } from '../object-row.ts'

export interface OwnRowsParts {
  readonly self: PeerId
  readonly store: Pick<RowStore, 'rows'>
  readonly codec: RowCodec
  readonly voters: Voters
  readonly isMember: (peer: PeerId) => boolean
  readonly reachable: () => ReadonlySet<PeerId>
  readonly warn: (message: string, cause: unknown) => void
}

export const ownRowsLimits = {
  /** Rows, and partitions, looked at in one step of a walk. */
  page: 256,
  partitionsAStep: 64,
} as const

/** How far a walk over all rows has come. `isPartial`: there were partitions of which nothing is known here now. */
export interface RowWalk { partition: number, after: Uint8Array | undefined, isPartial?: boolean }

/** A row of the table of objects, as it is on this replica's disk. */
export interface HeldRow { readonly rowKey: Uint8Array, readonly record: Uint8Array }

/** The rows of objects that this replica has. Each has one member that looks after it, the first of its replicas that answers; two who both think they are it do the same, twice. */
export class OwnRows {
  readonly #parts: OwnRowsParts
  constructor (parts: OwnRowsParts) { this.#parts = parts }

  /** Whether this node looks after the row. */
  isOwn (rowKey: Uint8Array): boolean {
    const { self, voters, isMember, reachable } = this.#parts
    const answering = reachable()
    return voters.of(tables.objects, rowKey).find((peer) => isMember(peer) && (peer === self || answering.has(peer))) === self
  }

  /** Undefined: it says nothing, or cannot be read, which is warned of. */
  opened ({ rowKey, record }: HeldRow): ObjectRow | undefined {
    try {
      const { value } = openRecord(this.#parts.codec, { table: tables.objects, rowKey, record })
      return value === undefined ? undefined : decodeObjectRow(value)
    } catch (error) {
      this.#parts.warn('a row cannot be read: it is not looked after', error)
      return undefined
    }
  }

  /** One step of a walk over all of them. Whether it is over. */
  async step (walk: RowWalk, look: (row: HeldRow) => Promise<unknown>, { signal }: { signal: AbortSignal }): Promise<boolean> {
    const { page, partitionsAStep } = ownRowsLimits
    const { voters, self } = this.#parts
    for (let [rows, partitions] = [0, 0]; rows < page && partitions < partitionsAStep && walk.partition < partitionCount;) {
      if (voters.ofPartition(walk.partition).includes(self)) {
        partitions++
        rows += await this.#partition(walk, look, { limit: page - rows, signal })
        if (rows >= page) return false
      }
      walk.partition++
      walk.after = undefined
    }
    return walk.partition >= partitionCount
  }

  /** Gives how many rows were looked at; as many as `limit`: there may be more. */
  async #partition (walk: RowWalk, look: (row: HeldRow) => Promise<unknown>, { limit, signal }: { limit: number, signal: AbortSignal }): Promise<number> {
    let rows = 0
    try {
      for await (const { table, rowKey, accepted } of this.#parts.store.rows(walk.partition, { after: walk.after })) {
        signal.throwIfAborted()
        walk.after = rowKey
        if (table === tables.objects && accepted !== undefined) await look({ rowKey, record: accepted })
        if (++rows === limit) break
      }
    } catch (error) {
      // it comes back with a hand-over, and others look after its rows meanwhile
      if (!(error instanceof PartitionLost)) throw error
      walk.isPartial = true
    }
    return rows
  }
}
