import { fromHex, hexOf } from '../../base/bytes.ts'
import { NotFound } from '../../base/errors.ts'
import type { BucketRow } from '../buckets/bucket-row.ts'
import type { Buckets } from '../buckets/buckets.ts'
import { changeObject, nextEdition, type ObjectPlace, versionAddress } from '../change-object.ts'
import { placeIn } from '../commit.ts'
import { DeletedObject } from '../errors.ts'
import { type AttributesChange, type ObjectInfo, type ObjectName, type OfVersion } from '../index.ts'
import { checkAttributes } from './attributes.ts'
import { byAgreedDate } from './lock-dates.ts'
import { changedAttributes, checkLocks } from './locks.ts'
import { checkKey } from '../names.ts'
import { type CurrentVersion, type KeptVersion, keptOf } from '../object-row.ts'
import type { ObjectParts } from '../ports.ts'
import { foundIn, infoOf } from '../reading.ts'
import { isSameVersion } from './version.ts'
import { decodeVersionRow, encodeVersionRow, type VersionRow } from './version-row.ts'

/** Tags and locks of one version; of the current one they stand in the object's row, of a kept one in its own, whose edition the object's row then names. */
export async function setAttributes (parts: ObjectParts, buckets: Buckets, { versionId, ...target }: ObjectName & OfVersion, change: AttributesChange, { signal, mayBypassGovernance }: { signal?: AbortSignal, mayBypassGovernance?: boolean } = {}): Promise<ObjectInfo> {
  checkKey(target.key)
  const bucket = await buckets.active(target.bucket)
  checkLocks(change, bucket, parts.clock.wallMs())
  return byAgreedDate(parts, async (nowMs) => setBy(parts, bucket, { ...target, versionId }, change, { nowMs, mayBypassGovernance, signal }), { signal })
}

async function setBy (parts: ObjectParts, bucket: BucketRow, { versionId, ...target }: ObjectName & OfVersion, change: AttributesChange, { signal, ...leave }: { nowMs: number, mayBypassGovernance: boolean | undefined, signal: AbortSignal | undefined }): Promise<ObjectInfo> {
  const changed = <V extends CurrentVersion>(version: V): V => {
    const { attributes = {}, ...rest } = version
    const next = changedAttributes(attributes, change, leave)
    checkAttributes(next)
    return { ...rest, ...(Object.keys(next).length === 0 ? {} : { attributes: next }) } as V
  }
  const place = placeIn(bucket, target.key)
  for (;;) {
    const outcome = await changeObject<CurrentVersion | Kept>(parts, place, (row, details) => {
      const found = foundIn(row, versionId, parts.versions)
      if (found === undefined) throw new NotFound(`there is no ${versionId === undefined ? '' : 'such version of '}object "${target.key}" in bucket "${target.bucket}"`)
      if ('content' in found) {
        const current = changed(found)
        return { kind: 'move', to: { row: { ...row, current } }, result: current }
      }
      if (found.isDeleteMarker) throw new DeletedObject(`version of "${target.key}" is a delete marker`, { versionId: hexOf(parts.versions.idOf(found)), isNullVersion: found.isNull, wasNamed: versionId !== undefined })
      const known = details(found)
      return known === undefined ? { kind: 'ask', about: found } : { kind: 'keep', result: { kept: found, details: known } }
    }, { signal })
    if (!('kept' in outcome)) return infoOf(target, outcome)
    const version = await changeKept(parts, place, { ...outcome, version: changed(outcome.details.version) }, { signal })
    if (version !== undefined) return infoOf(target, version)
  }
}

interface Kept { readonly kept: KeptVersion, readonly details: VersionRow }

/** Details first, then what names them. Undefined: something else came in between, so it must be looked at anew. */
async function changeKept (parts: ObjectParts, place: ObjectPlace, { kept, details, version }: Kept & { version: VersionRow['version'] }, wait: { signal?: AbortSignal }): Promise<CurrentVersion | undefined> {
  const edition = nextEdition(details.edition)
  const isWritten = await parts.registers.change<boolean>(versionAddress(place, kept), (value) => {
    if (value === undefined || decodeVersionRow(value).edition !== details.edition) return { kind: 'keep', result: false }
    return { kind: 'write', value: encodeVersionRow({ ...details, bucketId: fromHex(place.bucketId), edition, version }), result: true }
  }, wait)
  if (!isWritten) return undefined
  const isNamed = await changeObject<boolean>(parts, place, (row) => {
    const now = keptOf(row).find((other) => isSameVersion(other, kept))
    if (now?.edition !== kept.edition) return { kind: 'keep', result: false }
    return { kind: 'move', to: { row: { ...row, kept: keptOf(row).map((other) => other === now ? { ...other, edition } : other) } }, result: true }
  }, wait)
  return isNamed ? version : undefined
}
