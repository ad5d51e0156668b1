import { equals, hexOf } from '../../base/bytes.ts'
import { digesters } from '../../base/checksums.ts'
import { InvalidInput, Unavailable } from '../../base/errors.ts'
import { type Parts, sizeRuns } from '../versions/attributes.ts'
import type { BucketRow } from '../buckets/bucket-row.ts'
import { commitVersion, confirmBucket, settingsAtCommit } from '../commit.ts'
import type { ObjectName, Preconditions } from '../index.ts'
import type { CurrentVersion } from '../object-row.ts'
import type { StoredObject, WrittenContent } from '../ports.ts'
import { attributesIn } from '../put.ts'
import { redundancyOf } from '../buckets/redundancy.ts'
import { storedAs } from '../versions/stored.ts'
import { checksumOfParts, demandChecksum, type SummedPart } from './checksums.ts'
import { NoSuchUpload, PartTooSmall, WrongOffset, WrongPart, WrongPartOrder } from './errors.ts'
import { type CompleteOptions, type FinishOptions, type NamedPart, uploadLimits } from './index.ts'
import { blockWriter, demandOpen, findUpload, type FoundUpload, type OpenUpload, type UploadParts } from './open-upload.ts'
import { partRows, streamedParts } from './part-rows.ts'
import { checkPartNumber, partEtag } from './store-part.ts'
import type { PartRow } from './upload-row.ts'

/**
 * The end of an upload. One pass over the rows of its parts makes one manifest over the chunks of all; nothing else is written but its nodes. Then, as for any
 * object, the row of the object decides, by compare-and-set: `complete` moves the version from `pending` to `current`, `abort` to `dropped`, and only one of
 * them finds it in `pending`. A `complete` that is repeated finds it in `current`, and answers as the first one did.
 */
export interface Completed {
  readonly upload: FoundUpload
  readonly version: CurrentVersion
  /** To be announced; undefined: it was completed before. */
  readonly stored?: StoredObject
}

/** @throws as `Uploads.complete` */
export async function completeUpload (of: UploadParts, target: ObjectName, uploadId: string, parts: readonly NamedPart[], options: CompleteOptions): Promise<Completed> {
  checkOrder(parts)
  const found = await findUpload(of, target, uploadId, options)
  const done = await doneBefore(of, found)
  if (done !== undefined) return done
  const upload = demandOpen(found)
  const rows = checkedParts(partRows(of.parts.registers, upload, parts.map(({ partNumber }) => partNumber), options), parts, of.minPartBytes)
  return seal(of, upload, rows, options, (sums) => {
    const checksum = upload.head.checksum === undefined ? undefined : checksumOfParts(upload.head.checksum, sums.checksums)
    demandChecksum(options.checksum, checksum)
    const sizes = sizeRuns(sums.sizes)
    const listed: Parts = { count: parts.length, ...(upload.head.wantsMd5 ? { md5: sums.md5() } : {}), ...(sizes === undefined ? {} : { sizes }) }
    if (options.sizeBytes !== undefined && options.sizeBytes !== sums.sizeBytes) throw new InvalidInput('size', `${options.sizeBytes} bytes were announced, and the parts have ${sums.sizeBytes}`)
    return { parts: listed, ...(checksum === undefined ? {} : { checksum }) }
  })
}

/** @throws as `Uploads.finish` */
export async function finishUpload (of: UploadParts, target: ObjectName, uploadId: string, options: FinishOptions): Promise<Completed> {
  const found = await findUpload(of, target, uploadId, options)
  const done = await doneBefore(of, found)
  if (done !== undefined) return done
  const upload = demandOpen(found)
  const numbers: number[] = []
  let sizeBytes = 0
  for await (const part of streamedParts(of.parts.registers, upload, options)) { numbers.push(part.number); sizeBytes += part.sizeBytes }
  if (options.sizeBytes !== undefined && options.sizeBytes !== sizeBytes) throw new WrongOffset(sizeBytes)
  return seal(of, upload, partRows(of.parts.registers, upload, numbers, options), options, () => ({}))
}

/** Whoever committed it may have died before it looked at the bucket again. */
async function doneBefore ({ parts, buckets }: UploadParts, upload: FoundUpload): Promise<Completed | undefined> {
  const { row, id, bucket, target } = upload
  if (row?.current === undefined || !equals(row.current.id, id)) return undefined
  await confirmBucket(parts, buckets, { bucket, key: target.key }, row.current)
  return { upload, version: row.current }
}

async function seal (of: UploadParts, upload: OpenUpload, rows: AsyncIterable<PartRow>, options: Preconditions & { signal?: AbortSignal }, attributesOf: (sums: Sums) => CurrentVersion['attributes']): Promise<Completed> {
  const { parts, buckets, heartbeats } = of
  const { bucket, target } = upload
  using _alive = heartbeats.during(upload)
  const sums = new Sums()
  const content = await joined(of, upload, sums.of(rows), options)
  const made = attributesOf(sums)
  const now = await settingsAtCommit(parts, buckets, upload)
  const version = await versionOf(of, upload, content, { bucket: now, made, signal: options.signal })
  options.signal?.throwIfAborted()
  // its bytes were counted as those of parts
  const place = { bucket: now, key: target.key, claimBytes: 0 }
  let committed: CurrentVersion
  try {
    committed = await commitVersion(parts, place, version, options)
  } catch (error) {
    // not found in `pending`: aborted meanwhile, or given up
    if (error instanceof Unavailable && await isOver(of, upload)) throw new NoSuchUpload()
    throw error
  }
  await confirmBucket(parts, buckets, place, committed)
  return { upload, version: committed, stored: { bucket, key: target.key, version, root: content.root, chunks: content.chunks } }
}

async function isOver (of: UploadParts, { target, id, head }: OpenUpload): Promise<boolean> {
  const now = await findUpload(of, target, hexOf(id), {})
  return !(now.row?.pending ?? []).some((version) => equals(version.id, head.version.id))
}

async function joined ({ parts }: UploadParts, upload: OpenUpload, rows: AsyncIterable<PartRow>, { signal }: { signal?: AbortSignal }): Promise<WrittenContent> {
  const writer = blockWriter(parts, upload)
  const reader = parts.replication.reader({ versionId: upload.id, isPassing: true })
  return parts.content.join(contentsOf(rows), {
    signal,
    put: async (cid, block, of) => { await writer.put(cid, block, { ...of, signal }) },
    get: async (cid, wait) => reader.get(cid, wait),
  })
}

async function * contentsOf (rows: AsyncIterable<PartRow>): AsyncIterable<Uint8Array> { for await (const { content } of rows) yield content }

async function versionOf ({ parts: { dates } }: UploadParts, { bucket: before, head }: OpenUpload, { sizeBytes, content }: WrittenContent, { bucket, made, signal }: { bucket: BucketRow, made: CurrentVersion['attributes'], signal: AbortSignal | undefined }): Promise<CurrentVersion> {
  const nowMs = await dates.present({ signal })
  const { large } = redundancyOf(head)
  const attributes = { ...attributesIn(head.attributes, bucket, nowMs), ...made }
  const spread = large.k > 1 ? { redundancy: large } : {}
  return {
    ...head.version, ...spread, ...storedAs(head.version, before, { copies: head.copies, ...spread }), sizeBytes, modifiedMs: nowMs, contentType: head.contentType, metadata: head.metadata, content,
    // even without a byte in it: parts that are not named may have stored some
    hasBlocks: true,
    ...(Object.keys(attributes).length === 0 ? {} : { attributes }),
  }
}

/** What is added up while the rows pass. */
class Sums {
  readonly sizes: number[] = []
  readonly checksums: SummedPart[] = []
  readonly #md5 = digesters.md5()
  sizeBytes = 0

  async * of (rows: AsyncIterable<PartRow>): AsyncIterable<PartRow> {
    for await (const row of rows) {
      this.sizes.push(row.sizeBytes)
      this.sizeBytes += row.sizeBytes
      if (row.md5 !== undefined) this.#md5.update(row.md5)
      if (row.checksum !== undefined) this.checksums.push({ value: row.checksum.value, sizeBytes: row.sizeBytes })
      yield row
    }
  }

  /** Of the parts' MD5s. To be asked once. */
  md5 (): Uint8Array { return this.#md5.digest() }
}

/** @throws WrongPartOrder, InvalidInput */
function checkOrder (parts: readonly NamedPart[]): void {
  if (parts.length < 1 || parts.length > uploadLimits.maxParts) throw new InvalidInput('parts', `an upload is completed with 1 to ${uploadLimits.maxParts} parts, not ${parts.length}`)
  for (const [i, { partNumber }] of parts.entries()) {
    checkPartNumber(partNumber)
    const before = parts[i - 1]?.partNumber ?? 0
    if (partNumber <= before) throw new WrongPartOrder(`part ${partNumber} is named after part ${before}; parts are named once each, in ascending order`)
  }
}

/** The rows as they were named. @throws WrongPart, PartTooSmall */
async function * checkedParts (rows: AsyncIterable<PartRow>, named: readonly NamedPart[], leastBytes: number): AsyncIterable<PartRow> {
  let at = 0
  for await (const row of rows) {
    const { partNumber, etag, checksum } = named[at++] as NamedPart
    if (etag.replace(/^"(.*)"$/, '$1') !== partEtag(row)) throw new WrongPart(partNumber, `part ${partNumber} has another etag: it was put again, or never as it is named`)
    // an upload that was begun without checksums has none to compare: then it is the etag that names a part
    if (checksum !== undefined && row.checksum !== undefined && !hasChecksum(row, checksum)) throw new WrongPart(partNumber, `part ${partNumber} has another ${checksum.algorithm}, or none`)
    if (at < named.length && row.sizeBytes < leastBytes) throw new PartTooSmall({ partNumber, sizeBytes: row.sizeBytes, leastBytes })
    yield row
  }
}

const hasChecksum = ({ checksum: own }: PartRow, { algorithm, value }: NonNullable<NamedPart['checksum']>): boolean => own?.algorithm === algorithm && equals(own.value, value)
