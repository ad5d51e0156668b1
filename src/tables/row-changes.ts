import { partitionOf } from '../base/bytes.ts'
import type { KeyValue, KeyValueChange } from '../disk/index.ts'
import { type Ballot, isClear, type StoredRow, type TableNumber } from './index.ts'
import type { ProvenPartition } from './proven-partitions.ts'
import { nameOf } from './recent-rows.ts'
import type { PartitionProof, RowProof } from './row-proof.ts'
import { rowHash } from './row-sum.ts'
import { indexDeleteOf, indexPutOf, isIntact, rangeOf, tableOfIndexKey } from './stored-row-format.ts'

/**
 * What the journal of a row store tells: each change together with what it makes of the proof, so that a start carries the proof forward without looking
 * at the index, which is what the proof is for.
 */
export type RowChange =
  /** The row takes the place of the one with the hash `before`, or of none. `old`: that one, where it is at hand. */
  | { readonly kind: 'saved', readonly row: StoredRow, readonly before: Uint8Array | undefined, readonly old?: StoredRow }
  /** Into a lost partition: what the row was is not known, and nothing proves it yet. */
  | { readonly kind: 'filled', readonly row: StoredRow }
  | { readonly kind: 'buried', readonly table: TableNumber, readonly rowKey: Uint8Array, readonly before: Uint8Array, readonly old?: StoredRow }
  | { readonly kind: 'floor', readonly partition: number, readonly floor: Ballot }
  /** Rows and floor are gone; `remains` is what is left, `left` the same where it is at hand. */
  | { readonly kind: 'cleared', readonly partition: number, readonly what: Cleared, readonly remains: PartitionProof, readonly left?: ProvenPartition }
  /** A lost partition is whole again, with what the index has of it. */
  | { readonly kind: 'restored', readonly partition: number, readonly found: PartitionProof }

export type Cleared = 'sealed' | 'everything'

export const rowChangesLimits = {
  /** Rows of a cleared partition that are deleted at once. */
  deletedAtOnce: 1024,
} as const

export function applyToProof (proof: RowProof, change: RowChange): void {
  switch (change.kind) {
    case 'saved': proof.replace(change.row.rowKey, { before: change.before, after: rowHash(change.row) }); break
    case 'filled': proof.lose(partitionOf(change.row.rowKey)); break
    case 'buried': proof.replace(change.rowKey, { before: change.before, after: undefined }); break
    case 'floor': proof.raiseFloor(change.partition, change.floor); break
    case 'cleared':
      proof.set(change.partition, change.remains)
      proof.removeFloor(change.partition)
      break
    case 'restored': proof.set(change.partition, change.found); break
    default: change satisfies never
  }
}

/**
 * Does to the index what the changes say, oldest first. Idempotent, so the index may have any part of it already: what a partition lost when it was cleared
 * is deleted once more, and all that it was given since is among the changes.
 */
export async function applyToIndex (index: KeyValue, changes: readonly RowChange[], { mark, sync }: { mark: readonly KeyValueChange[], sync: false | 'all' }): Promise<void> {
  const cleared = new Map<number, Cleared>()
  const last = new Map<number, Map<string, { readonly table: TableNumber, readonly change: KeyValueChange }>>()
  for (const change of changes) {
    switch (change.kind) {
      case 'saved': case 'filled': put(change.row, indexPutOf(change.row)); break
      case 'buried': put(change, indexDeleteOf(change)); break
      case 'cleared':
        for (const [name, { table }] of last.get(change.partition) ?? []) if (isCleared(table, change.what)) last.get(change.partition)?.delete(name)
        if (cleared.get(change.partition) !== 'everything') cleared.set(change.partition, change.what)
        break
      case 'floor': case 'restored': break
      default: change satisfies never
    }
  }
  for (const [partition, what] of cleared) await deleteRows(index, partition, what)
  const ofRows = [...last.values()].flatMap((rows) => [...rows.values()].map(({ change }) => change))
  if (ofRows.length > 0 || mark.length > 0) await index.batch([...ofRows, ...mark], { sync })

  function put (row: { readonly table: TableNumber, readonly rowKey: Uint8Array }, change: KeyValueChange): void {
    const partition = partitionOf(row.rowKey)
    let rows = last.get(partition)
    if (rows === undefined) last.set(partition, rows = new Map())
    rows.set(nameOf(row), { table: row.table, change })
  }
}

export function partitionOfChange (change: RowChange): number {
  if ('partition' in change) return change.partition
  return partitionOf(change.kind === 'buried' ? change.rowKey : change.row.rowKey)
}

export const isCleared = (table: TableNumber, what: Cleared): boolean => what === 'everything' || !isClear(table)

/** By keys alone: a damaged record goes like any other. */
async function deleteRows (index: KeyValue, partition: number, what: Cleared): Promise<void> {
  await deleteKeys(index, keysOf(index, partition, what))
}

async function * keysOf (index: KeyValue, partition: number, what: Cleared): AsyncIterable<Uint8Array> {
  for await (const key of index.keys(rangeOf(partition))) if (isCleared(tableOfIndexKey(key), what)) yield key
}

/** What of a partition no longer is what was written. */
export async function * damagedKeys (index: KeyValue, partition: number): AsyncIterable<Uint8Array> {
  for await (const [key, value] of index.entries(rangeOf(partition))) if (!isIntact(key, value)) yield key
}

export async function deleteKeys (index: KeyValue, keys: AsyncIterable<Uint8Array>): Promise<void> {
  let batch: KeyValueChange[] = []
  const flush = async (): Promise<void> => {
    if (batch.length > 0) await index.batch(batch, { sync: false })
    batch = []
  }
  for await (const key of keys) {
    batch.push({ type: 'delete', key })
    if (batch.length >= rowChangesLimits.deletedAtOnce) await flush()
  }
  await flush()
}
