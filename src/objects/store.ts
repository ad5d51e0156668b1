import { fromHex, hexOf, textOf, utf8 } from '../base/bytes.ts'
import { Conflict, InvalidInput, NotFound, Refused } from '../base/errors.ts'
import type { TransferReport } from '../replication/index.ts'
import { tables } from '../tables/index.ts'
import { type BucketRow, publicBucket } from './bucket-row.ts'
import { Buckets } from './buckets.ts'
import type { GetOptions, ListOptions, ObjectInfo, ObjectName, ObjectPage, ObjectReading, Objects, Removal, RemoveOptions } from './index.ts'
import { checkKey } from './names.ts'
import { checkPrecondition, type CurrentVersion, decodeObjectRow, decodeSummary, etagOf, isNullVersion, type ObjectSummary, withoutCurrent } from './object-row.ts'
import type { ObjectParts } from './ports.ts'
import { addressOf, putObject, written } from './put.ts'
import { resolveRange } from './range.ts'
import { uploadsOf } from './uploads/uploads.ts'

/** Objects over registers, replication and content: the implementation of the door in index.ts. */
export function objectStore (parts: ObjectParts): Objects {
  const buckets = new Buckets({ ...parts, isEmpty: async (bucket, wait) => isEmpty(parts, bucket, wait) })
  return {
    createBucket: async (name, options, wait) => buckets.create(name, options, wait),
    setBucketSettings: async (name, change, wait) => buckets.setSettings(name, change, wait),
    setRedundancy: async (name, redundancy, wait) => buckets.setRedundancy(name, redundancy, wait),
    listBuckets: async (wait) => buckets.list(wait),
    bucket: async (name) => publicBucket(await buckets.active(name)),
    removeBucket: async (name, wait) => { await buckets.remove(name, wait) },
    async put (target, source, options = {}) {
      const { version, stored } = await putObject(parts, buckets, { target, source, options })
      // when whoever waits for this has been told
      parts.clock.after(0, () => { parts.announce(stored) })
      return infoOf(target, version)
    },
    get: async (target, options = {}) => getObject(parts, buckets, target, options),
    async head (target, { signal } = {}) {
      const { version } = await currentOf(parts, buckets, target, { signal })
      return infoOf(target, version)
    },
    remove: async (target, options) => removeObject(parts, buckets, target, options),
    copy: () => { throw new Refused('this version of dfs does not copy yet') },
    setAttributes: () => { throw new Refused('this version of dfs does not change attributes yet') },
    listVersions: () => { throw new Refused('this version of dfs keeps no versions yet') },
    uploads: uploadsOf(parts, buckets),
    list: async (bucket, options = {}) => listObjects(parts, await buckets.active(bucket), options),
  }
}

async function getObject (parts: ObjectParts, buckets: Buckets, target: ObjectName, { range, ifMatch, signal }: GetOptions): Promise<ObjectReading> {
  const { bucket, version } = await currentOf(parts, buckets, target, { signal })
  if (ifMatch !== undefined && ifMatch !== etagOf(version)) throw new Conflict(`the object has changed: its etag is ${etagOf(version)}`)
  const resolved = resolveRange(range, version.sizeBytes)
  const report: TransferReport = { local: 0, cache: 0, peers: new Map() }
  const of = { report, versionId: version.id, root: parts.content.rootOf(version.content) }
  const [whole, spread] = [parts.replication.reader(of), parts.replication.reader({ ...of, redundancy: version.redundancy })]
  const body = parts.content.read(version.content, { bucket, range: resolved, signal, get: async (cid, { mayBeSpread, ...options }) => (mayBeSpread ? spread : whole).get(cid, options) })
  return { info: infoOf(target, version), range: resolved, body, sources: report }
}

async function currentOf (parts: ObjectParts, buckets: Buckets, target: ObjectName, wait: { signal?: AbortSignal }): Promise<{ bucket: BucketRow, version: CurrentVersion }> {
  checkKey(target.key)
  const guess = await buckets.recent(target.bucket)
  // both at once: the guess is nearly always right, and the row it names is then as fresh as the bucket
  const [bucket, value] = await Promise.all([buckets.active(target.bucket), parts.registers.read(addressOf(guess, target.key), wait)])
  const current = bucket.id === guess.id ? value : await parts.registers.read(addressOf(bucket, target.key), wait)
  const version = current === undefined ? undefined : decodeObjectRow(current).current
  if (version === undefined) throw new NotFound(`there is no object "${target.key}" in bucket "${target.bucket}"`)
  return { bucket, version }
}

async function removeObject (parts: ObjectParts, buckets: Buckets, target: ObjectName, { signal, ifMatch }: RemoveOptions = {}): Promise<Removal> {
  checkKey(target.key)
  const bucket = await buckets.active(target.bucket)
  const wasThere = await parts.registers.change<boolean>(addressOf(bucket, target.key), (value) => {
    const row = value === undefined ? undefined : decodeObjectRow(value)
    checkPrecondition(row, { ifMatch })
    return row?.current === undefined ? { kind: 'keep', result: false } : written(withoutCurrent(row), true)
  }, { signal })
  return { wasThere, isDeleteMarker: false }
}

const listLimits = { maxPage: 1000 } as const

async function listObjects (parts: ObjectParts, bucket: BucketRow, { prefix = '', delimiter, after, limit = listLimits.maxPage, signal }: ListOptions): Promise<ObjectPage> {
  if (!Number.isInteger(limit) || limit < 1 || limit > listLimits.maxPage) throw new InvalidInput('limit', `a page has 1-${listLimits.maxPage} entries, not ${limit}`)
  const page = await parts.registers.list({
    table: tables.objects,
    scope: fromHex(bucket.id),
    prefix: utf8(prefix),
    after: after === undefined ? undefined : utf8(after),
    delimiter: delimiter === undefined || delimiter === '' ? undefined : utf8(delimiter),
    limit,
  }, { signal })
  return {
    objects: page.entries.map(({ name, summary }) => infoOf({ bucket: bucket.name, key: textOf(name) }, decodeSummary(summary))),
    prefixes: page.prefixes.map(textOf),
    next: page.next === undefined ? undefined : textOf(page.next),
  }
}

async function isEmpty (parts: ObjectParts, bucket: BucketRow, { signal }: { signal?: AbortSignal }): Promise<boolean> {
  const page = await listObjects(parts, bucket, { limit: 1, signal })
  return page.objects.length === 0
}

function infoOf ({ bucket, key }: ObjectName, version: ObjectSummary): ObjectInfo {
  const { sizeBytes, modifiedMs, contentType, metadata, id, attributes = {} } = version
  return {
    bucket, key, sizeBytes, contentType, metadata, attributes,
    etag: etagOf(version), versionId: hexOf(id), isNullVersion: isNullVersion(version), modified: new Date(modifiedMs).toISOString(),
  }
}
