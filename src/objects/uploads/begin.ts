import { fromHex } from '../../base/bytes.ts'
import { Conflict } from '../../base/errors.ts'
import type { BucketRow } from '../buckets/bucket-row.ts'
import { changeObject } from '../change-object.ts'
import { placeIn } from '../commit.ts'
import type { ObjectName } from '../index.ts'
import { checkKey } from '../names.ts'
import { type ObjectRow, withoutPending, withPending } from '../object-row.ts'
import type { ObjectParts } from '../ports.ts'
import { attributesIn, checkOptions } from '../put.ts'
import type { Version } from '../versions/version.ts'
import { checkChecksum } from './checksums.ts'
import { eraseHead, eraseRows } from './erase.ts'
import { NoSuchUpload } from './errors.ts'
import type { CreateUploadOptions, UploadPage } from './index.ts'
import { listUploads } from './listing.ts'
import { pendingIn, type UploadParts } from './open-upload.ts'
import { encodeUploadRow, headKey, uploadAddress, type UploadHead } from './upload-row.ts'

/** The version into `pending` of its object's row, then the head, then a look at the bucket: a removal that began meanwhile has not seen this upload. */
export async function beginUpload ({ parts, buckets }: UploadParts, target: ObjectName, options: CreateUploadOptions): Promise<UploadHead> {
  checkKey(target.key)
  checkChecksum(options.checksum)
  const bucket = await buckets.active(target.bucket)
  checkOptions(options, bucket, parts.clock.wallMs())
  const nowMs = await parts.dates.present({ signal: options.signal })
  const head = headOf({ bucket, key: target.key, version: parts.versions.fresh(), nowMs }, options)
  await changePending(parts, bucket, target.key, (row) => withPending(row, { ...head.version, isMultipart: true }), options)
  try {
    await parts.registers.change<void>(uploadAddress(head.bucketId, headKey(head.key, head.version.id)), () => ({ kind: 'write', value: encodeUploadRow(head), result: undefined }), options)
    if (await buckets.isActive(bucket)) return head
  } catch (error) {
    await giveUp(parts, bucket, head)
    throw error
  }
  await giveUp(parts, bucket, head)
  throw new Conflict(`bucket "${bucket.name}" is being removed, or was meanwhile`)
}

/** What has been begun and was told to nobody. If it cannot be taken back it is given up in a week, and its head swept after that. */
async function giveUp (parts: ObjectParts, bucket: BucketRow, head: UploadHead): Promise<void> {
  try {
    await dropPending(parts, bucket, head.key, head.version)
    await eraseHead(parts, { bucketId: head.bucketId, id: head.version.id, target: { bucket: bucket.name, key: head.key } })
  } catch (error) {
    parts.warn(`an upload of ${bucket.name} could not be begun, and stays pending`, error)
  }
}

/** The upload is over, and what it stored may go. @throws NoSuchUpload if it is not in `pending` */
export async function dropUpload (parts: ObjectParts, bucket: BucketRow, key: string, id: Uint8Array, wait: { signal?: AbortSignal } = {}): Promise<void> {
  await changePending(parts, bucket, key, (row) => {
    const pending = pendingIn(row, id)
    if (pending === undefined) throw new NoSuchUpload()
    return withoutPending(row, pending)
  }, wait)
}

/** All that are under way in a bucket that is being removed, and was found empty. @throws Unavailable */
export async function dropUploadsIn (parts: ObjectParts, bucket: BucketRow, wait: { signal?: AbortSignal }): Promise<void> {
  let after: UploadPage['next']
  do {
    const page = await listUploads(parts, bucket, { ...wait, after })
    for (const { key, uploadId } of page.uploads) {
      const id = fromHex(uploadId)
      await dropUpload(parts, bucket, key, id, wait).catch((error: unknown) => { if (!(error instanceof NoSuchUpload)) throw error })
      await eraseRows(parts, { bucketId: fromHex(bucket.id), id, target: { bucket: bucket.name, key } })
    }
    after = page.next
  } while (after !== undefined)
}

async function dropPending (parts: ObjectParts, bucket: BucketRow, key: string, version: Version): Promise<void> {
  await changePending(parts, bucket, key, (row) => withoutPending(row, version), {})
}

async function changePending (parts: ObjectParts, bucket: BucketRow, key: string, next: (row: ObjectRow) => ObjectRow, { signal }: { signal?: AbortSignal }): Promise<void> {
  await changeObject<void>(parts, placeIn(bucket, key), (row) => ({ kind: 'move', to: { row: next(row) }, result: undefined }), { signal })
}

function headOf ({ bucket, key, version, nowMs }: { bucket: BucketRow, key: string, version: Version, nowMs: number }, options: CreateUploadOptions): UploadHead {
  const { copies, shards } = bucket
  const { contentType, metadata = {}, wantsMd5 = false, checksum } = options
  // the bucket's default retention counts from the completion
  const attributes = attributesIn(options, { ...bucket, settings: undefined }, nowMs)
  return { kind: 'head', bucketId: fromHex(bucket.id), key, version, initiatedMs: nowMs, copies, ...(shards === undefined ? {} : { shards }), contentType, metadata, attributes, wantsMd5, checksum }
}
