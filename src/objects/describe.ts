import { fromHex, utf8 } from '../base/bytes.ts'
import { type Describe, tables } from '../tables/index.ts'
import { decodeAccessKey, summaryOfAccessKey } from './access/access-key.ts'
import { decodeBucketRow, encodeBucketSummary } from './buckets/bucket-row.ts'
import { decodeObjectRow, encodeSummary } from './object-row.ts'
import { decodeShareRow, summaryOfShare } from './access/share.ts'
import { decodeUploadRow, keyOfUploadRow, summaryOfUploadRow } from './uploads/upload-row.ts'
import { decodeVersionRow, encodeVersionSummary, versionRowKey } from './versions/version-row.ts'

/** The scope of rows that stand in no bucket. */
export const clusterScope: Uint8Array = new Uint8Array(16)
/** The key of what a bucket says of itself in its own scope, that it was removed. */
export const removedKey: Uint8Array = utf8('removed')

/** What the listing index keeps of a row: objects by key within their bucket, versions too, buckets by name, access keys and shares by id and without their secrets. */
export const describeRow: Describe = (table, value) => {
  if (table === tables.buckets) {
    const bucket = decodeBucketRow(value)
    if (bucket.state === 'removed') return { name: removedKey, scope: fromHex(bucket.id), summary: undefined }
    return { name: utf8(bucket.name), scope: clusterScope, summary: encodeBucketSummary(bucket) }
  }
  if (table === tables.accessKeys) return { name: utf8(decodeAccessKey(value).id), scope: clusterScope, summary: summaryOfAccessKey(value) }
  if (table === tables.versions) {
    const row = decodeVersionRow(value)
    return { name: versionRowKey(row.key, row.version), scope: row.bucketId, summary: encodeVersionSummary(row) }
  }
  if (table === tables.shares) return { name: utf8(decodeShareRow(value).id), scope: clusterScope, summary: summaryOfShare(value) }
  if (table === tables.uploads) {
    const row = decodeUploadRow(value)
    return { name: keyOfUploadRow(row), scope: row.bucketId, summary: summaryOfUploadRow(row) }
  }
  if (table !== tables.objects) return undefined
  const { bucketId, key, current } = decodeObjectRow(value)
  return { name: utf8(key), scope: bucketId, summary: current === undefined ? undefined : encodeSummary(current) }
}
