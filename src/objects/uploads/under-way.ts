import { fromHex } from '../../base/bytes.ts'
import type { BucketRow } from '../buckets/bucket-row.ts'
import { objectAddress } from '../change-object.ts'
import { placeIn } from '../commit.ts'
import { decodeObjectRow } from '../object-row.ts'
import type { ObjectParts } from '../ports.ts'
import type { Upload, UploadPage } from './index.ts'
import { listUploads } from './listing.ts'
import { pendingIn } from './open-upload.ts'
import { allPartsOf } from './part-rows.ts'

/** Uploads looked at at once. */
const concurrentReads = 16

/** Bytes of all parts of uploads that are under way in a bucket; what a dead one has left is not among them. */
export async function bytesUnderWay (parts: Pick<ObjectParts, 'registers'>, bucket: BucketRow): Promise<number> {
  let sizeBytes = 0
  let after: UploadPage['next']
  do {
    const page = await listUploads(parts, bucket, { after })
    for (let at = 0; at < page.uploads.length; at += concurrentReads) {
      const sizes = await Promise.all(page.uploads.slice(at, at + concurrentReads).map(async (upload) => bytesOf(parts, bucket, upload)))
      sizeBytes += sizes.reduce((sum, size) => sum + size, 0)
    }
    after = page.next
  } while (after !== undefined)
  return sizeBytes
}

async function bytesOf ({ registers }: Pick<ObjectParts, 'registers'>, bucket: BucketRow, { key, uploadId }: Upload): Promise<number> {
  const [row, id] = [await registers.read(objectAddress(placeIn(bucket, key))), fromHex(uploadId)]
  if (row === undefined || pendingIn(decodeObjectRow(row), id) === undefined) return 0
  let sizeBytes = 0
  for await (const part of allPartsOf(registers, { bucketId: fromHex(bucket.id), id }, {})) sizeBytes += part.sizeBytes
  return sizeBytes
}
