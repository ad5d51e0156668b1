import { concat, equals, hexOf } from '../../base/bytes.ts'
import { hash } from '../../base/hash.ts'
import { InvalidInput, UnknownOutcome } from '../../base/errors.ts'
import { objectAddress } from '../change-object.ts'
import { placeIn } from '../commit.ts'
import { PutDigests } from '../digests.ts'
import { decodeObjectRow } from '../object-row.ts'
import type { WrittenContent } from '../ports.ts'
import { NoSuchUpload } from './errors.ts'
import { type PartInfo, type PutPartOptions, uploadLimits } from './index.ts'
import { blockWriter, bucketOf, type OpenUpload, pendingIn, type UploadParts } from './open-upload.ts'
import { type PartSource, sharePart } from './share-part.ts'
import { encodeUploadRow, partKey, type PartRow, type PartSummary, uploadAddress } from './upload-row.ts'

export interface NewPart {
  readonly number: number
  readonly source: AsyncIterable<Uint8Array>
  /** The source is this range of an object, whose blocks the part may have; then it is read for its digests alone, and not if there are none. */
  readonly shared?: PartSource
  /** Only if there is none of this number. */
  readonly isFirst?: boolean
}

/**
 * A part's blocks to their write quorum, then its row, then a look whether the upload is still under way: one that was completed or aborted meanwhile was not
 * told of this part, so it has failed, and takes its row with it. (Looking before alone would leave rows of a dead upload that nobody looks for.) Undefined:
 * there is one of this number, and this was to be the first. @throws NoSuchUpload, as `Uploads.putPart`
 */
export async function storePart (of: UploadParts, upload: OpenUpload, { number, source, shared, isFirst = false }: NewPart, options: PutPartOptions): Promise<PartRow | undefined> {
  const { parts, heartbeats } = of
  const { head, bucketId, id, target } = upload
  const { signal, askedBy, sizeBytes: announced, expected, digests: more } = options
  await parts.quotas?.demandRoom(upload.bucket, announced ?? 0, { objects: 0 })
  using _alive = heartbeats.during(upload)
  using digests = new PutDigests({ wantsMd5: head.wantsMd5, checksum: head.checksum?.algorithm, expected, digests: more }, options.digesting ?? parts.digesting)
  const { content, sizeBytes } = shared === undefined
    ? await writePart(of, upload, digests.of(bounded(source)), { sizeBytes: announced, askedBy, signal })
    : await sharedPart(of, upload, shared, { read: head.wantsMd5 || head.checksum !== undefined ? digests.of(source) : undefined, signal })
  if (announced !== undefined && announced !== sizeBytes) throw new InvalidInput('size', `${announced} bytes were announced, ${sizeBytes} came; the part was not stored`)
  const { md5, checksum } = await digests.attributes()
  const row: PartRow = {
    kind: 'part', bucketId, key: target.key, id, number, sizeBytes, modifiedMs: parts.clock.wallMs(), md5,
    checksum: checksum === undefined ? undefined : { algorithm: checksum.algorithm, value: checksum.value }, content,
  }
  using claim = await parts.quotas?.claim(upload.bucket, sizeBytes, { objects: 0 })
  const address = uploadAddress(bucketId, partKey(id, number))
  const isStored = await parts.registers.change<boolean>(address, (current) => {
    if (isFirst && current !== undefined && !equals(current, encodeUploadRow(row))) return { kind: 'keep', result: false }
    return { kind: 'write', value: encodeUploadRow(row), result: true }
  }, { signal })
  if (!isStored) return undefined
  const isOpen = await isUnderWay(parts, upload).catch((cause: unknown) => {
    throw new UnknownOutcome('the part is stored, but whether its upload is still under way could not be found out', { cause })
  })
  if (isOpen) {
    claim?.keep()
    return row
  }
  await parts.registers.change<void>(address, (current) => ({ kind: current === undefined ? 'keep' : 'erase', result: undefined }))
  throw new NoSuchUpload()
}

async function writePart ({ parts }: UploadParts, upload: OpenUpload, source: AsyncIterable<Uint8Array>, { sizeBytes, askedBy, signal }: { sizeBytes?: number, askedBy?: string, signal?: AbortSignal }): Promise<WrittenContent> {
  const writer = blockWriter(parts, upload)
  return parts.content.writePart(source, { bucket: bucketOf(upload), sizeBytes, askedBy, signal, put: async (cid, block, of) => { await writer.put(cid, block, { ...of, signal }) } })
}

/** Shared and read at once; neither goes on when the other has failed. */
async function sharedPart (of: UploadParts, upload: OpenUpload, shared: PartSource, { read, signal }: { read: AsyncIterable<Uint8Array> | undefined, signal?: AbortSignal }): Promise<WrittenContent> {
  const stop = new AbortController()
  const orStop = async <T>(work: Promise<T>): Promise<T> => work.catch((error: unknown) => { stop.abort(error); throw error })
  const sharing = orStop(sharePart(of, upload, shared, { signal: signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]) }))
  const reading = orStop(drained(read, stop.signal))
  await Promise.allSettled([sharing, reading])
  stop.signal.throwIfAborted()
  return sharing
}

async function drained (source: AsyncIterable<Uint8Array> | undefined, signal: AbortSignal): Promise<void> {
  if (source !== undefined) for await (const _ of source) if (signal.aborted) return
}

async function isUnderWay ({ registers }: UploadParts['parts'], { bucket, target, id }: OpenUpload): Promise<boolean> {
  const value = await registers.read(objectAddress(placeIn(bucket, target.key)))
  return value !== undefined && pendingIn(decodeObjectRow(value), id) !== undefined
}

async function * bounded (source: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  let sizeBytes = 0
  for await (const bytes of source) {
    sizeBytes += bytes.byteLength
    if (sizeBytes > uploadLimits.maxPartBytes) throw new InvalidInput('size', `a part has at most ${uploadLimits.maxPartBytes} bytes`)
    yield bytes
  }
}

/** @throws InvalidInput */
export function checkPartNumber (number: number): void {
  if (!Number.isInteger(number) || number < 1 || number > uploadLimits.maxParts) throw new InvalidInput('part number', `parts are numbered 1 to ${uploadLimits.maxParts}, not ${number}`)
}

export function partInfo ({ number, sizeBytes, checksum, modifiedMs, ...part }: PartSummary): PartInfo {
  return { partNumber: number, sizeBytes, etag: partEtag({ number, sizeBytes, checksum, modifiedMs, ...part }), checksum, modified: new Date(modifiedMs).toISOString() }
}

/** The MD5 of the content; without one it only tells puts apart. */
export function partEtag ({ md5, number, sizeBytes, modifiedMs }: PartSummary): string {
  return hexOf(md5 ?? hash(concat([Buffer.from(`${number} ${sizeBytes} ${modifiedMs}`)])).subarray(0, 16))
}
