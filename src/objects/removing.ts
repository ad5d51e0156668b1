import { hexOf } from '../base/bytes.ts'
import type { BucketRow } from './buckets/bucket-row.ts'
import type { Buckets } from './buckets/buckets.ts'
import { changeObject, type KnownDetails, type ObjectStep } from './change-object.ts'
import { placeIn } from './commit.ts'
import { heirOf, withDeleted, withoutCurrentVersion, withoutKept } from './versions/history.ts'
import type { ObjectName, Removal, RemoveOptions } from './index.ts'
import { keepingOf } from './versions/keeping.ts'
import { byAgreedDate } from './versions/lock-dates.ts'
import { demandUnlocked } from './versions/locks.ts'
import { checkPrecondition, type CurrentVersion, isNullVersion, type KeptVersion, type ObjectRow } from './object-row.ts'
import type { ObjectParts } from './ports.ts'
import { foundIn, rowOf } from './reading.ts'
import type { Versions } from './versions/version.ts'

export async function removeObject (parts: ObjectParts, buckets: Buckets, target: ObjectName, options: RemoveOptions = {}): Promise<Removal> {
  const { versionId, ifMatch, signal } = options
  const { bucket, row } = await rowOf(parts, buckets, target, { signal })
  // a change that finds no row, and makes none, would leave its promise with a majority for good
  if (row === undefined && versionId !== undefined) { foundIn({ current: undefined }, versionId, parts.versions); return notThere(versionId) }
  if (row === undefined && bucket.settings?.versioning === undefined) { checkPrecondition(row, { ifMatch }); return notThere() }
  return versionId === undefined ? removeCurrent(parts, bucket, target, options) : removeVersion(parts, bucket, target, { ...options, versionId })
}

const notThere = (versionId?: string): Removal => ({ wasThere: false, ...(versionId === undefined ? {} : { versionId, isNullVersion: versionId === 'null' }), isDeleteMarker: false })

/** Nothing is current any more. */
async function removeCurrent (parts: ObjectParts, bucket: BucketRow, { key }: ObjectName, { ifMatch, signal }: RemoveOptions): Promise<Removal> {
  const marker = { ...parts.versions.fresh(), modifiedMs: await parts.dates.present({ signal }) }
  return changeObject<Removal>(parts, placeIn(bucket, key), (row, details) => {
    checkPrecondition(row, { ifMatch })
    const wasThere = row.current !== undefined
    const keeping = keepingOf(row, bucket.settings?.versioning, details)
    if ('about' in keeping) return { kind: 'ask', about: keeping.about }
    const { marker: stub, ...to } = withDeleted(row, marker, keeping.versioning)
    if (stub !== undefined) return { kind: 'move', to, result: { wasThere, versionId: hexOf(parts.versions.idOf(stub)), isNullVersion: stub.isNull, isDeleteMarker: true } }
    return wasThere ? { kind: 'move', to, result: { wasThere, isDeleteMarker: false } } : { kind: 'keep', result: notThere() }
  }, { signal })
}

/** That version is gone for good; if it was the newest, the one before it is current again. */
async function removeVersion (parts: ObjectParts, bucket: BucketRow, { key }: ObjectName, { versionId, ifMatch, signal, mayBypassGovernance }: RemoveOptions & { versionId: string }): Promise<Removal> {
  return byAgreedDate(parts, async (nowMs) => changeObject<Removal>(parts, placeIn(bucket, key), (row, details) => {
    const found = foundIn(row, versionId, parts.versions)
    if (found === undefined) return { kind: 'keep', result: notThere(versionId) }
    if (ifMatch !== undefined) checkPrecondition(row, { ifMatch })
    return stepWithout(row, found, details, { ...parts, check: (attributes) => { demandUnlocked(attributes, { nowMs, mayBypassGovernance }) } })
  }, { signal }), { signal })
}

/** A row without one of its versions, whose locks have been looked at. */
export function stepWithout (row: ObjectRow, leaving: CurrentVersion | KeptVersion, details: KnownDetails, { versions, check }: { versions: Pick<Versions, 'idOf'>, check: (attributes: NonNullable<CurrentVersion['attributes']>) => void }): ObjectStep<Removal> {
  const isCurrent = 'content' in leaving
  if (!isCurrent && !leaving.isDeleteMarker) {
    const own = details(leaving)
    if (own === undefined) return { kind: 'ask', about: leaving }
    check(own.version.attributes ?? {})
  }
  if (isCurrent) check(leaving.attributes ?? {})
  const heir = heirOf(row, isCurrent ? 'current' : leaving)
  const next = heir === undefined ? undefined : details(heir)
  if (heir !== undefined && next === undefined) return { kind: 'ask', about: heir }
  const to = isCurrent ? withoutCurrentVersion(row, next?.version) : withoutKept(row, leaving, next?.version)
  const isNull = isCurrent ? isNullVersion(leaving) : leaving.isNull
  return { kind: 'move', to, result: { wasThere: true, versionId: hexOf(versions.idOf(leaving)), isNullVersion: isNull, isDeleteMarker: !isCurrent && leaving.isDeleteMarker } }
}
