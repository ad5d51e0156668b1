import { Conflict, Unavailable, UnknownOutcome } from '../base/errors.ts'
import type { BucketRow } from './buckets/bucket-row.ts'
import type { Buckets } from './buckets/buckets.ts'
import { changeObject, type ObjectPlace } from './change-object.ts'
import { heirOf, withNewest, withoutCurrentVersion, withoutKept } from './versions/history.ts'
import { keepingOf } from './versions/keeping.ts'
import { checkPrecondition, type CurrentVersion, keptOf, type Precondition } from './object-row.ts'
import type { ObjectParts } from './ports.ts'
import { isSameVersion } from './versions/version.ts'

export const placeIn = (bucket: Pick<BucketRow, 'id'>, key: string): ObjectPlace => ({ bucketId: bucket.id, key })

/**
 * Moves a version from `pending` to `current`; what was current is dropped, or kept where the bucket keeps versions. Gives the version as it stands in the row.
 * `claimBytes`: what its bucket's quota does not have yet; by default all of it.
 * @throws Conflict (precondition), QuotaExceeded, Unavailable if the upload was given up, Refused if no more versions fit, UnknownOutcome
 */
export async function commitVersion (parts: ObjectParts, { bucket, key, claimBytes }: { bucket: BucketRow, key: string, claimBytes?: number }, version: CurrentVersion, precondition: Precondition): Promise<CurrentVersion> {
  using claim = await parts.quotas?.claim(bucket, claimBytes ?? version.sizeBytes)
  const committed = await changeObject<CurrentVersion | undefined>(parts, placeIn(bucket, key), (row, details) => {
    const isOurs = row.current !== undefined && isSameVersion(row.current, version)
    if (!isOurs) checkPrecondition(row, precondition)
    const keeping = keepingOf(row, bucket.settings?.versioning, details)
    if ('about' in keeping) return { kind: 'ask', about: keeping.about }
    const to = withNewest(row, version, keeping.versioning)
    return to === undefined ? { kind: 'keep', result: undefined } : { kind: 'move', to, result: to.row.current }
  })
  if (committed === undefined) throw new Unavailable('the upload was given up before it finished; put the object again')
  claim?.keep()
  return committed
}

export const commitLimits = {
  /** A bucket that was read longer ago is read once more before a version is committed into it. */
  settingsMs: 1000,
} as const

/**
 * What the bucket says when a version is committed, not when its put began, which may be hours ago: whether what it replaces is kept, for how long it is itself locked, its
 * quota. A put that takes less than a second goes by what it read first, as if the change had come after it. A bucket that is removed meanwhile is `confirmBucket`'s.
 */
export async function settingsAtCommit ({ clock }: Pick<ObjectParts, 'clock'>, buckets: Buckets, { bucket, readMs }: { bucket: BucketRow, readMs: number }): Promise<BucketRow> {
  if (clock.monotonicMs() - readMs < commitLimits.settingsMs) return bucket
  return await buckets.again(bucket) ?? bucket
}

/**
 * After the commit, before the ack: a bucket that was removed meanwhile takes the object with it, and the writer is told. A removal under way ends here: it is not empty.
 * @throws Conflict, UnknownOutcome: the object is stored
 */
export async function confirmBucket (parts: ObjectParts, buckets: Buckets, { bucket, key }: { bucket: BucketRow, key: string }, version: CurrentVersion): Promise<void> {
  try {
    if (await buckets.isActive(bucket) || await buckets.keep(bucket)) return
    await takeBack(parts, placeIn(bucket, key), version)
  } catch (cause) {
    throw new UnknownOutcome('the object is stored, but whether its bucket still stands could not be found out; look before putting it again', { cause })
  }
  throw new Conflict(`bucket "${bucket.name}" was removed meanwhile, and perhaps made again; put the object again`)
}

async function takeBack (parts: ObjectParts, place: ObjectPlace, version: CurrentVersion): Promise<void> {
  await changeObject<void>(parts, place, (row, details) => {
    const kept = keptOf(row).find((other) => isSameVersion(other, version))
    const isCurrent = row.current !== undefined && isSameVersion(row.current, version)
    if (!isCurrent && kept === undefined) return { kind: 'keep', result: undefined }
    const heir = heirOf(row, kept ?? 'current')
    const next = heir === undefined ? undefined : details(heir)
    if (heir !== undefined && next === undefined) return { kind: 'ask', about: heir }
    return { kind: 'move', to: kept === undefined ? withoutCurrentVersion(row, next?.version) : withoutKept(row, kept, next?.version), result: undefined }
  })
}
