import { setAttributes } from './versions/attribute-changes.ts'
import { publicBucket } from './buckets/bucket-row.ts'
import { Buckets } from './buckets/buckets.ts'
import { RemovedSweep, type RemovedSweepParts } from './buckets/removed-sweep.ts'
import { copyObject } from './copying.ts'
import type { Objects } from './index.ts'
import { type Lifecycle, lifecycleOf, type LifecycleParts } from './work/lifecycle.ts'
import { isEmpty, listObjects } from './listing.ts'
import type { ObjectParts } from './ports.ts'
import { putObject } from './put.ts'
import { Quotas } from './buckets/quotas.ts'
import { getObject, infoOf, versionOf } from './reading.ts'
import { removeObject } from './removing.ts'
import { dropUploadsIn } from './uploads/begin.ts'
import { uploadsOf } from './uploads/uploads.ts'
import { listVersions } from './versions/version-listing.ts'

/** What makes things expire by the rules of their buckets: for the background of a node. */
export function expiring (parts: LifecycleParts): Lifecycle {
  const buckets = bucketsOver(parts)
  return lifecycleOf(parts, buckets, uploadsOf(parts, buckets))
}

/** What takes away objects that were left in removed buckets: for the background of a node. */
export function sweepingRemoved (parts: RemovedSweepParts): RemovedSweep { return new RemovedSweep(parts, bucketsOver(parts)) }

const bucketsOver = (parts: ObjectParts): Buckets =>
  new Buckets({ ...parts, isEmpty: async (bucket, wait) => isEmpty(parts, bucket, wait), dropUploads: async (bucket, wait) => dropUploadsIn(parts, bucket, wait) })

/** Objects over registers, replication and content: the implementation of the door in index.ts. */
export function objectStore (given: ObjectParts, limits: Parameters<typeof uploadsOf>[2] = {}): Objects {
  const parts = { ...given, quotas: new Quotas(given) }
  const buckets = bucketsOver(parts)
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
    async head (target, { signal, versionId } = {}) {
      const { version } = await versionOf(parts, buckets, { ...target, versionId }, { signal })
      return infoOf(target, version)
    },
    remove: async (target, options) => removeObject(parts, buckets, target, options),
    async copy (source, target, options) {
      const { info, stored } = await copyObject(parts, buckets, source, target, options)
      if (stored !== undefined) parts.clock.after(0, () => { parts.announce(stored) })
      return info
    },
    setAttributes: async (target, change, options) => setAttributes(parts, buckets, target, change, options),
    uploads: uploadsOf(parts, buckets, limits),
    list: async (bucket, options = {}) => listObjects(parts, await buckets.active(bucket), options),
    listVersions: async (bucket, options = {}) => listVersions(parts, await buckets.active(bucket), options),
  }
}
