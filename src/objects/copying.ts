import { Conflict, InvalidInput } from '../base/errors.ts'
import { type Attributes, checkAttributes } from './versions/attributes.ts'
import type { BucketRow } from './buckets/bucket-row.ts'
import type { Buckets } from './buckets/buckets.ts'
import { changeObject } from './change-object.ts'
import { placeIn } from './commit.ts'
import { keepsVersions } from './versions/history.ts'
import type { CopyOptions, ObjectInfo, ObjectName, OfVersion, PutOptions } from './index.ts'
import { checkPrecondition, type CurrentVersion, etagOf } from './object-row.ts'
import type { ObjectParts, StoredObject } from './ports.ts'
import { attributesIn, checkOptions, putObject, type Put } from './put.ts'
import { blocksReader, type FoundVersion, infoOf, readVersion, versionOf } from './reading.ts'
import { redundancyLimits, redundancyOf } from './buckets/redundancy.ts'
import { spreadOf } from './versions/stored.ts'
import { isSameVersion } from './versions/version.ts'

/**
 * A copy on the server. Where source and target seal equal content alike and keep it alike, the new version has the very blocks of the old one, for which their
 * holders record it; else the content is read here and put. A copy onto itself in a bucket that keeps no versions changes what is beside the content, and no more.
 */
export async function copyObject (parts: ObjectParts, buckets: Buckets, source: ObjectName & OfVersion, target: ObjectName, options: CopyOptions = {}): Promise<{ info: ObjectInfo, stored: StoredObject | undefined }> {
  const { signal } = options
  const found = await versionOf(parts, buckets, source, { signal })
  checkSource(found.version, options)
  const isOntoItself = source.bucket === target.bucket && source.key === target.key && source.versionId === undefined
  if (isOntoItself && !changesAnything(options)) throw new InvalidInput('copy', 'a copy of an object onto itself changes nothing unless it replaces its metadata, tags or checksum')
  const carried = carriedOf(found.version, options)
  const put = optionsOf(found.version, options)
  if (isOntoItself && carried !== undefined) {
    const info = await changeInPlace(parts, found, target, { carried, options })
    if (info !== undefined) return { info, stored: undefined }
  }
  const bucket = await buckets.active(target.bucket)
  const { version, stored } = await putObject(parts, buckets, { target, ...sourceFor(parts, found, { bucket, carried, put, options }) })
  return { info: infoOf(target, version), stored }
}

function checkSource (version: CurrentVersion, { sourceIfMatch, sourceIfNoneMatch }: CopyOptions): void {
  const etag = etagOf(version)
  if (sourceIfMatch !== undefined && sourceIfMatch !== '*' && sourceIfMatch !== etag) throw new Conflict(`the source has changed: its etag is ${etag}`)
  if (sourceIfNoneMatch !== undefined && (sourceIfNoneMatch === '*' || sourceIfNoneMatch === etag)) throw new Conflict(`the source has this very etag: ${etag}`)
}

const changesAnything = ({ replace, redirect, tags, retention, isHeld, checksum, wantsMd5 }: CopyOptions): boolean => [replace, redirect ?? undefined, tags, retention, isHeld, checksum, wantsMd5].some((option) => option !== undefined)

/** Digests of the source that are the copy's too; undefined: one is wanted that it has not, so its bytes must be read. */
function carriedOf ({ attributes: { md5, parts, checksum } = {} }: CurrentVersion, { wantsMd5 = false, checksum: wanted }: CopyOptions): Attributes | undefined {
  if ((wantsMd5 && md5 === undefined && parts?.md5 === undefined) || (wanted !== undefined && wanted !== checksum?.algorithm)) return undefined
  return { ...(md5 === undefined ? {} : { md5 }), ...(parts === undefined ? {} : { parts }), ...(checksum === undefined ? {} : { checksum }) }
}

function optionsOf ({ contentType, metadata, attributes = {} }: CurrentVersion, { signal, ifMatch, ifNoneMatch, replace, redirect, tags = attributes.tags, retention, isHeld }: CopyOptions): PutOptions {
  const { 'website-redirect-location': ofSource, ...headers } = attributes.headers ?? {}
  const location = redirect === undefined ? ofSource : redirect ?? undefined
  const beside = replace ?? { contentType, metadata, headers: { ...headers, ...(location === undefined ? {} : { 'website-redirect-location': location }) } }
  return { signal, ifMatch, ifNoneMatch, ...beside, tags, retention, isHeld }
}

function sourceFor (parts: ObjectParts, found: FoundVersion, { bucket, carried, put, options: { wantsMd5, checksum } }: { bucket: BucketRow, carried: Attributes | undefined, put: PutOptions, options: CopyOptions }): Omit<Put, 'target'> {
  const { version } = found
  const options = { ...put, sizeBytes: version.sizeBytes }
  if (carried !== undefined && isSharable(found, bucket)) return { source: { version, get: blocksReader(parts, found).get }, options, carried }
  const { body } = readVersion(parts, found, { range: { first: 0, end: version.sizeBytes }, signal: put.signal })
  return { source: body, options: { ...options, ...(carried === undefined ? { wantsMd5, checksum } : {}) }, carried }
}

/** Equal content must be equal blocks, and kept in as many pieces: else it is sealed anew. Private buckets promise that no two versions share anything. */
function isSharable ({ bucket: from, version }: FoundVersion, to: BucketRow): boolean {
  const isOneDomain = from.id === to.id || (from.dedup === 'cluster' && to.dedup === 'cluster')
  if (!version.hasBlocks) return true
  const { large } = redundancyOf(to)
  const isSpread = large.k > 1 && version.sizeBytes >= redundancyLimits.spreadFromBytes
  const spread = spreadOf(version)
  const isKeptAlike = spread === undefined ? !isSpread : spread.k === large.k && spread.m === large.m
  return isOneDomain && isKeptAlike && !from.isPrivate && !to.isPrivate
}

/** Undefined: versions are kept, or it is another one by now; then it is put like any copy. What is not named stays as it is then, not as it was read: its blocks may have been converted since, or its tags changed. */
async function changeInPlace (parts: ObjectParts, { bucket, version }: FoundVersion, target: ObjectName, { carried, options }: { carried: Attributes, options: CopyOptions }): Promise<ObjectInfo | undefined> {
  checkOptions(optionsOf(version, options), bucket, parts.clock.wallMs())
  const nowMs = await parts.dates.present({ signal: options.signal })
  const changed = await changeObject<CurrentVersion | undefined>(parts, placeIn(bucket, target.key), (row) => {
    if (row.current === undefined || !isSameVersion(row.current, version) || keepsVersions(row, bucket.settings?.versioning)) return { kind: 'keep', result: undefined }
    checkPrecondition(row, options)
    const put = optionsOf(row.current, options)
    const attributes = { ...attributesIn(put, bucket, nowMs), ...carried }
    checkAttributes(attributes)
    const { attributes: _, ...rest } = row.current
    const current = { ...rest, contentType: put.contentType, metadata: put.metadata ?? {}, modifiedMs: nowMs, ...(Object.keys(attributes).length === 0 ? {} : { attributes }) }
    return { kind: 'move', to: { row: { ...row, current } }, result: current }
  }, { signal: options.signal })
  return changed === undefined ? undefined : infoOf(target, changed)
}
