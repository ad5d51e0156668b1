import { partitionCount } from '../base/bytes.ts'
import { type Describe, isSelfProving, type OpenedRow, PartitionLost, type RowCodec, type RowStore } from '../tables/index.ts'
import type { IndexedRow, ListingIndex } from '../tables/listing-index.ts'
import { openRecord } from '../tables/opened-record.ts'

export interface RebuildParts {
  readonly rows: RowStore
  readonly codec: RowCodec
  readonly index: ListingIndex
  readonly describe: Describe
  /** Shown each row too, as it was a moment ago. */
  readonly found?: (row: OpenedRow) => void
  readonly warn: (message: string, cause: unknown) => void
}

/** Shows every accepted row of the store to the index. Partitions that are lost, which the store has told, are left out: they answer no listing either. */
export async function rebuildIndex (parts: RebuildParts): Promise<void> {
  const { rows, warn } = parts
  for (let partition = 0; partition < partitionCount; partition++) {
    if (rows.lostPartitions().has(partition)) continue
    try {
      await indexPartition(parts, partition)
    } catch (error) {
      if (!(error instanceof PartitionLost)) throw error
      warn('a partition of rows is lost and left out of listings', error)
    }
  }
}

/** Shows every accepted row of one partition to the index. @throws PartitionLost */
export async function indexPartition (parts: Omit<RebuildParts, 'warn'>, partition: number): Promise<void> {
  const rows = await listedIn(parts, partition, parts.found)
  if (rows.length > 0) await parts.index.update(rows)
}

/** Takes what a partition has out of the index again; of one that is lost the index is not believed anyway. */
export async function forgetPartition (parts: Omit<RebuildParts, 'warn'>, partition: number): Promise<void> {
  const known = await listedIn(parts, partition).catch((error: unknown) => { if (error instanceof PartitionLost) return []; throw error })
  const rows = known.flatMap(({ listed, ...row }) => listed === undefined ? [] : [{ ...row, name: listed.name, scope: listed.scope }])
  if (rows.length > 0) await parts.index.forget(rows)
}

async function listedIn ({ rows, codec, describe }: Omit<RebuildParts, 'warn'>, partition: number, found?: RebuildParts['found']): Promise<readonly IndexedRow[]> {
  const listed: IndexedRow[] = []
  for await (const { table, rowKey, accepted: record } of rows.rows(partition)) {
    if (record === undefined || isSelfProving(table)) continue
    const { ballot, value, erased } = openRecord(codec, { table, rowKey, record })
    found?.({ table, rowKey, value, erased })
    listed.push({ table, rowKey, ballot, listed: value === undefined ? erased === undefined ? undefined : { name: erased.key, scope: erased.scope, summary: undefined } : describe(table, value) })
  }
  return listed
}
