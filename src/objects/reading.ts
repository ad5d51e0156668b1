import { hexOf } from '../base/bytes.ts'
import type { Cid } from '../base/cid.ts'
import { Conflict, InvalidInput, NotFound } from '../base/errors.ts'
import type { TransferReport } from '../replication/index.ts'
import type { BucketRow } from './buckets/bucket-row.ts'
import type { Buckets } from './buckets/buckets.ts'
import { detailsOf, objectAddress } from './change-object.ts'
import { placeIn } from './commit.ts'
import { DeletedObject } from './errors.ts'
import { withStored } from './versions/history.ts'
import type { GetOptions, ObjectInfo, ObjectName, ObjectReading, OfVersion } from './index.ts'
import { checkKey } from './names.ts'
import { type CurrentVersion, decodeObjectRow, etagOf, isNullVersion, type KeptVersion, type ObjectRow, type ObjectSummary } from './object-row.ts'
import type { BlockKind, ObjectParts } from './ports.ts'
import { resolveRange } from './range.ts'
import { formOf } from './versions/stored.ts'
import type { Versions } from './versions/version.ts'

export interface FoundVersion {
  readonly bucket: BucketRow
  readonly version: CurrentVersion
}

export async function getObject (parts: ObjectParts, buckets: Buckets, target: ObjectName, { range, ifMatch, signal, versionId }: GetOptions): Promise<ObjectReading> {
  const { bucket, version } = await versionOf(parts, buckets, { ...target, versionId }, { signal })
  if (ifMatch !== undefined && ifMatch !== etagOf(version)) throw new Conflict(`the object has changed: its etag is ${etagOf(version)}`)
  const resolved = resolveRange(range, version.sizeBytes)
  const { body, sources } = readVersion(parts, { bucket, version }, { range: resolved, signal })
  return { info: infoOf(target, version), range: resolved, body, sources }
}

export function readVersion (parts: ObjectParts, { bucket, version }: FoundVersion, { range, signal }: { range: { first: number, end: number }, signal: AbortSignal | undefined }): Pick<ObjectReading, 'body' | 'sources'> {
  const { get, sources } = blocksReader(parts, { bucket, version })
  return { body: parts.content.read(version.content, { bucket, range, signal, get }), sources }
}

/** Gets blocks of a version; `sources` fills as they come. Each is asked for as it is kept, copies too: whoever counts them knows how many there should be. */
export function blocksReader (parts: ObjectParts, { bucket, version }: FoundVersion): { get: (cid: Cid, options: BlockKind & { signal?: AbortSignal }) => Promise<Uint8Array>, sources: TransferReport } {
  const sources: TransferReport = { local: 0, cache: 0, peers: new Map() }
  const of = { report: sources, versionId: version.id, root: parts.content.rootOf(version.content) }
  const form = formOf(version, bucket)
  const copies = { k: 1, m: form.copies - 1 }
  const [whole, spread] = [parts.replication.reader({ ...of, redundancy: copies }), parts.replication.reader({ ...of, redundancy: form.redundancy ?? copies })]
  return { get: async (cid, { mayBeSpread, ...options }) => (mayBeSpread ? spread : whole).get(cid, options), sources }
}

/** The current version, or the one that is named. @throws NotFound, DeletedObject where it is a delete marker */
export async function versionOf (parts: ObjectParts, buckets: Buckets, { versionId, ...target }: ObjectName & OfVersion, wait: { signal?: AbortSignal }): Promise<FoundVersion> {
  const { bucket, row } = await rowOf(parts, buckets, target, wait)
  const found = row === undefined ? undefined : foundIn(row, versionId, parts.versions)
  if (found === undefined) throw new NotFound(`there is no ${versionId === undefined ? '' : 'such version of '}object "${target.key}" in bucket "${target.bucket}"`)
  if ('content' in found) return { bucket, version: found }
  if (found.isDeleteMarker) {
    throw new DeletedObject(`object "${target.key}" of bucket "${target.bucket}" is deleted: ${versionId === undefined ? 'its newest version' : 'this version'} is a delete marker`, {
      versionId: hexOf(parts.versions.idOf(found)), isNullVersion: found.isNull, wasNamed: versionId !== undefined,
    })
  }
  const details = await detailsOf(parts, placeIn(bucket, target.key), found, wait)
  // removed since; what is asked for by its name may be another by now
  return details === undefined ? versionOf(parts, buckets, { versionId, ...target }, wait) : { bucket, version: withStored(details.version, found.stored) }
}

/** Of a row, the version that is meant: what readers get, a delete marker in its place, or the one that is named. */
export function foundIn ({ current, kept = [] }: Pick<ObjectRow, 'current' | 'kept'>, versionId: string | undefined, versions: Pick<Versions, 'idOf'>): CurrentVersion | KeptVersion | undefined {
  if (versionId === undefined) return current ?? kept[0]
  if (versionId === 'null') return current !== undefined && isNullVersion(current) ? current : kept.find(({ isNull }) => isNull)
  if (!/^[0-9a-f]{64}$/.test(versionId)) throw new InvalidInput('version', 'a version is named by 64 hexadecimal digits, or "null"')
  if (current !== undefined && hexOf(current.id) === versionId) return current
  return kept.find((version) => hexOf(versions.idOf(version)) === versionId)
}

export async function rowOf (parts: ObjectParts, buckets: Buckets, target: ObjectName, wait: { signal?: AbortSignal }): Promise<{ bucket: BucketRow, row: ObjectRow | undefined }> {
  checkKey(target.key)
  const read = async ({ id }: BucketRow): Promise<Uint8Array | undefined> => parts.registers.read(objectAddress({ bucketId: id, key: target.key }), wait)
  const guess = await buckets.recent(target.bucket)
  // both at once: the guess is nearly always right, and the row it names is then as fresh as the bucket
  const [bucket, value] = await Promise.all([buckets.active(target.bucket), read(guess)])
  const current = bucket.id === guess.id ? value : await read(bucket)
  return { bucket, row: current === undefined ? undefined : decodeObjectRow(current) }
}

export function infoOf ({ bucket, key }: ObjectName, version: ObjectSummary): ObjectInfo {
  const { sizeBytes, modifiedMs, contentType, metadata, id, attributes = {} } = version
  return {
    bucket, key, sizeBytes, contentType, metadata, attributes,
    etag: etagOf(version), versionId: hexOf(id), isNullVersion: isNullVersion(version), modified: new Date(modifiedMs).toISOString(),
  }
}
