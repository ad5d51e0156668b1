import { hexOf } from '../../base/bytes.ts'
import type { Objects } from '../../objects/index.ts'
import { decodeObjectRow } from '../../objects/object-row.ts'
import { PartitionLost, type RowCodec, type RowStore, tables } from '../../tables/index.ts'
import { openRecord } from '../../tables/opened-record.ts'

export interface RowNamesParts {
  readonly rows: RowStore
  readonly codec: RowCodec
  readonly objects: Pick<Objects, 'listBuckets'>
}

/** Bucket and key of an object's row that this node holds, and can read; undefined: it holds none. */
export async function nameOfRow ({ rows, codec, objects }: RowNamesParts, rowKey: Uint8Array): Promise<{ bucket: string, key: string } | undefined> {
  try {
    const row = await rows.get(tables.objects, rowKey)
    if (row?.accepted === undefined) return undefined
    const { value } = openRecord(codec, { table: tables.objects, rowKey, record: row.accepted })
    if (value === undefined) return undefined
    const { bucketId, key } = decodeObjectRow(value)
    const bucket = (await objects.listBuckets()).find(({ id }) => id === hexOf(bucketId))
    return bucket === undefined ? undefined : { bucket: bucket.name, key }
  } catch (error) {
    if (error instanceof PartitionLost) return undefined
    throw error
  }
}
