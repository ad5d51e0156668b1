import { Conflict, InvalidInput } from '../../base/errors.ts'
import type { Buckets } from '../buckets/buckets.ts'
import type { ObjectParts } from '../ports.ts'
import { resolveRange } from '../range.ts'
import { infoOf, readVersion, versionOf } from '../reading.ts'
import type { ObjectInfo } from '../index.ts'
import { appendLimits, appendTo, extentOf } from './append.ts'
import { beginUpload, dropUpload } from './begin.ts'
import { type Completed, completeUpload, finishUpload } from './complete.ts'
import { eraseRows } from './erase.ts'
import { NoSuchUpload } from './errors.ts'
import { type CopyPartOptions, type Uploads, uploadLimits } from './index.ts'
import { checkPageLimit, listUploads, uploadInfo, uploadListingLimits } from './listing.ts'
import { findUpload, Heartbeats, openUpload, pendingIn, type UploadParts } from './open-upload.ts'
import { partPage } from './part-rows.ts'
import { isSharable, type PartSource } from './share-part.ts'
import { checkPartNumber, partInfo, storePart } from './store-part.ts'
import type { PartRow, UploadHead } from './upload-row.ts'

/** Uploads over registers, replication and content: the implementation of the door in index.ts. */
export function uploadsOf (parts: ObjectParts, buckets: Buckets, { minPartBytes = uploadLimits.minPartBytes, leastAppendedBytes = appendLimits.leastPartBytes }: Partial<Pick<UploadParts, 'minPartBytes' | 'leastAppendedBytes'>> = {}): Uploads {
  const of: UploadParts = { parts, buckets, heartbeats: new Heartbeats(parts), minPartBytes, leastAppendedBytes }
  return {
    async create (target, options = {}) {
      const head = await beginUpload(of, target, options)
      return uploadInfo(target, summaryOf(head))
    },
    async putPart (target, uploadId, partNumber, source, options = {}) {
      checkPartNumber(partNumber)
      const upload = await openUpload(of, target, uploadId, options)
      return partInfo(await storePart(of, upload, { number: partNumber, source }, options) as PartRow)
    },
    async copyPart (target, uploadId, partNumber, source, { signal, range, ...conditions } = {}) {
      checkPartNumber(partNumber)
      const upload = await openUpload(of, target, uploadId, { signal })
      const found = await versionOf(parts, buckets, source, { signal })
      const info = infoOf(source, found.version)
      demandSource(info, conditions)
      // cut at the end, as a range that is read is, the part would have fewer bytes than its client counts on
      if (range?.last !== undefined && (range.last < range.first || range.last >= info.sizeBytes)) throw new InvalidInput('part range', `bytes ${range.first} to ${range.last} are not within an object of ${info.sizeBytes} bytes`)
      const from: PartSource = { ...found, range: resolveRange(range, info.sizeBytes) }
      const { body } = readVersion(parts, found, { range: from.range, signal })
      const copied = await storePart(of, upload, { number: partNumber, source: body, ...(isSharable(from, upload) ? { shared: from } : {}) }, { signal, sizeBytes: from.range.end - from.range.first })
      return { ...partInfo(copied as PartRow), source: info }
    },
    async listParts (target, uploadId, { signal, after, limit = uploadListingLimits.maxPage } = {}) {
      checkPageLimit(limit)
      const upload = await openUpload(of, target, uploadId, { signal })
      const page = await partPage(parts.registers, upload, { after, limit, signal })
      return { upload: uploadInfo(target, summaryOf(upload.head)), parts: page.parts.map(partInfo), next: page.next }
    },
    list: async (bucket, options = {}) => listUploads(parts, await buckets.active(bucket), options),
    complete: async (target, uploadId, named, options = {}) => done(parts, await completeUpload(of, target, uploadId, named, options)),
    async abort (target, uploadId, { signal } = {}) {
      const upload = await findUpload(of, target, uploadId, { signal })
      // of one that is over, whoever ended it may have died before its rows were gone
      const isOver = pendingIn(upload.row, upload.id) === undefined
      if (!isOver) await dropUpload(parts, upload.bucket, target.key, upload.id, { signal })
      if (!isOver || upload.head !== undefined) await eraseRows(parts, upload)
      if (isOver) throw new NoSuchUpload()
    },
    async append (target, uploadId, offset, source, { signal, askedBy } = {}) {
      return appendTo(of, await openUpload(of, target, uploadId, { signal }), offset, source, { signal, askedBy })
    },
    async offset (target, uploadId, { signal } = {}) {
      const { offset } = await extentOf(of, await openUpload(of, target, uploadId, { signal }), { signal })
      return { offset }
    },
    finish: async (target, uploadId, options = {}) => done(parts, await finishUpload(of, target, uploadId, options)),
  }
}

const summaryOf = ({ version: { id }, initiatedMs, checksum }: UploadHead): Parameters<typeof uploadInfo>[1] => ({ id, initiatedMs, checksum })

async function done (parts: ObjectParts, { upload, version, stored }: Completed): Promise<ObjectInfo> {
  if (upload.head !== undefined) await eraseRows(parts, upload)
  // when whoever waits for this has been told
  if (stored !== undefined) parts.clock.after(0, () => { parts.announce(stored) })
  return infoOf(upload.target, version)
}

/** @throws Conflict */
function demandSource ({ etag }: ObjectInfo, { sourceIfMatch, sourceIfNoneMatch }: Pick<CopyPartOptions, 'sourceIfMatch' | 'sourceIfNoneMatch'>): void {
  if (sourceIfMatch !== undefined && sourceIfMatch !== '*' && sourceIfMatch !== etag) throw new Conflict(`the source has changed: its etag is ${etag}`)
  if (sourceIfNoneMatch !== undefined && (sourceIfNoneMatch === '*' || sourceIfNoneMatch === etag)) throw new Conflict(`the source has this very etag: ${etag}`)
}
