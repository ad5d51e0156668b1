import { empty } from '../../base/bytes.ts'
import { Refused } from '../../base/errors.ts'
import type { BucketSettings } from '../buckets/bucket-settings.ts'
import { isLocked } from './locks.ts'
import { type CurrentVersion, droppedWith, historyBytes, isNullVersion, keptOf, type KeptVersion, objectRowLimits, type ObjectRow } from '../object-row.ts'
import type { Stored } from './stored.ts'
import { isSameVersion, type Version } from './version.ts'
import type { VersionRow } from './version-row.ts'

/**
 * What becomes of an object's versions: pure, from one row to the next. Without `current` the newest kept version is a delete marker, or there is none; among
 * all of them there is at most one null version; their sequences fall. What is moved from `current` to `kept` must have its details in a row of their own
 * before the change is written (`Moved.details`), and so must a marker's; what moves back brings them along.
 */
export type Versioning = BucketSettings['versioning']

export interface Moved {
  readonly row: ObjectRow
  /** These must stand in rows of their own before this is written, of the edition that the stub then has. */
  readonly details?: readonly Details[]
  /** Not kept any more: its own row may go once this is written. */
  readonly gone?: KeptVersion | ArchivedVersion
}

export type ArchivedVersion = CurrentVersion & { readonly sequence: number }

export type Details = Pick<VersionRow, 'isDeleteMarker' | 'version'>

/** A row in which versions are kept, or one is locked, says so itself: whoever read the bucket before that was enabled must not forget them. */
const effective = ({ current, kept = [] }: ObjectRow, versioning: Versioning): Versioning =>
  isLocked(current?.attributes) ? 'enabled' : versioning ?? (kept.length > 0 || current?.sequence !== undefined ? 'enabled' : undefined)

/** The earlier null version that a new one takes the place of. */
export function replacedNull (row: ObjectRow, versioning: Versioning): KeptVersion | undefined {
  if (effective(row, versioning) !== 'suspended' || (row.current !== undefined && isNullVersion(row.current))) return undefined
  return keptOf(row).find(({ isNull, isDeleteMarker }) => isNull && !isDeleteMarker)
}

export const keepsVersions = (row: ObjectRow, versioning: Versioning): boolean => effective(row, versioning) !== undefined

/** The version from before versions were kept is the first. */
export const sequenceOf = ({ sequence = 1 }: { readonly sequence?: number }): number => sequence

const nextSequence = (row: ObjectRow): number => Math.max(row.current === undefined ? 0 : sequenceOf(row.current), keptOf(row)[0]?.sequence ?? 0) + 1

/** The commit: the version becomes what readers get. Undefined if its upload was given up meanwhile (never for a version without blocks). @throws Refused if the row is full */
export function withNewest (row: ObjectRow, version: CurrentVersion, versioning: Versioning): Moved | undefined {
  if (row.current !== undefined && isSameVersion(row.current, version)) return { row }
  if (version.hasBlocks && !row.pending.some((other) => isSameVersion(other, version))) return undefined
  const uploaded = { ...row, pending: row.pending.filter((other) => !isSameVersion(other, version)) }
  const mode = effective(row, versioning)
  if (mode === undefined) return { row: { ...uploaded, current: version, dropped: droppedWith(row, row.current) } }
  const sequence = nextSequence(row)
  const { row: below, ...rest } = pushedDown(mode === 'suspended' ? withoutNull(uploaded) : { row: uploaded })
  return { ...rest, row: { ...below, current: { ...version, sequence, ...(mode === 'suspended' ? { isNull: true } : {}) } } }
}

/** Nothing is current any more; where versions are kept a marker says so, the given one unless one is there already. @throws Refused if the row is full */
export function withDeleted (row: ObjectRow, marker: Version & { readonly modifiedMs: number }, versioning: Versioning): Moved & { readonly marker?: KeptVersion } {
  const mode = effective(row, versioning)
  if (mode === undefined) return { row: { ...row, current: undefined, dropped: droppedWith(row, row.current) } }
  const newest = row.current === undefined ? keptOf(row)[0] : undefined
  if (newest !== undefined && (mode === 'enabled' || newest.isNull)) return { row, marker: newest }
  const { row: below, details = [], ...rest } = pushedDown(mode === 'suspended' ? withoutNull(row) : { row })
  const version = { ...marker, ...emptyContent, sequence: nextSequence(row), ...(mode === 'suspended' ? { isNull: true as const } : {}) }
  const stub = { ...stubOf(version), isDeleteMarker: true }
  return { ...rest, details: [...details, { isDeleteMarker: true, version }], row: withKept(below, [stub, ...keptOf(below)]), marker: stub }
}

const emptyContent = { sizeBytes: 0, contentType: undefined, metadata: {}, hasBlocks: false, content: empty } as const

const stubOf = (version: ArchivedVersion): KeptVersion => {
  const { salt, epoch, sequence, hasBlocks, stored } = version
  return { salt, epoch, sequence, edition: 0, isDeleteMarker: false, isNull: isNullVersion(version), hasBlocks, ...(stored === undefined ? {} : { stored }) }
}

/** Of what is current. `next`: the details of the newest kept version, if that is an object: it becomes current. */
export function withoutCurrentVersion (row: ObjectRow, next: ArchivedVersion | undefined): Moved {
  const { current } = row
  return { ...goneWith(current), row: withDropped(promoted({ ...row, current: undefined }, next), current) }
}

/** What has been kept once has a row of its own, and so may what was only about to be. */
const goneWith = (current: CurrentVersion | undefined): Pick<Moved, 'gone'> => current === undefined ? {} : { gone: archived(current) }

/** Of one that is kept. `next` as above, needed where it is the delete marker on top. */
export function withoutKept (row: ObjectRow, gone: KeptVersion, next: ArchivedVersion | undefined): Moved {
  const kept = keptOf(row).filter((other) => !isSameVersion(other, gone))
  return { gone, row: withDropped(promoted(withKept(row, kept), next), gone) }
}

/** Which version would become current if this one went: undefined if none does. */
export function heirOf (row: ObjectRow, leaving: 'current' | KeptVersion): KeptVersion | undefined {
  const kept = keptOf(row)
  if (leaving === 'current') return kept[0]?.isDeleteMarker === false ? kept[0] : undefined
  const isOnTop = row.current === undefined && kept[0] !== undefined && isSameVersion(kept[0], leaving)
  return isOnTop && kept[1]?.isDeleteMarker === false ? kept[1] : undefined
}

function promoted (row: ObjectRow, next: ArchivedVersion | undefined): ObjectRow {
  if (next === undefined || row.current !== undefined) return row
  const stored = keptOf(row).find((other) => isSameVersion(other, next))?.stored
  return withKept({ ...row, current: withStored(next, stored) }, keptOf(row).filter((other) => !isSameVersion(other, next)))
}

/** As it is kept: with a place among the others. What its blocks are kept as is said by the object's row alone. */
export const archived = (version: CurrentVersion): ArchivedVersion => ({ ...withStored(version, undefined), sequence: sequenceOf(version), ...(isNullVersion(version) ? { isNull: true as const } : {}) })

/** What the object's row says of a version's blocks, whatever its details do. */
export function withStored<V extends CurrentVersion> ({ stored: _, ...version }: V, stored: Stored | undefined): Omit<V, 'stored'> & { stored?: Stored } {
  return stored === undefined ? version : { ...version, stored }
}

/** What is current goes on top of what is kept. */
function pushedDown ({ row, ...rest }: Pick<Moved, 'row' | 'gone'>): Moved {
  const { current } = row
  if (current === undefined) return { row, ...rest }
  const version = archived(current)
  return { ...rest, details: [{ isDeleteMarker: false, version }], row: withKept({ ...row, current: undefined }, [stubOf(withStored(version, current.stored)), ...keptOf(row)]) }
}

/** There is one null version: a new one takes the place of the one before. */
function withoutNull (row: ObjectRow): Pick<Moved, 'row' | 'gone'> {
  if (row.current !== undefined && isNullVersion(row.current)) return { ...goneWith(row.current), row: { ...row, current: undefined, dropped: droppedWith(row, row.current) } }
  const gone = keptOf(row).find(({ isNull }) => isNull)
  return gone === undefined ? { row } : { row: withDropped(withKept(row, keptOf(row).filter((other) => other !== gone)), gone), gone }
}

/** Of a row that has left it out already: what goes makes room for what is said of it. */
const withDropped = (row: ObjectRow, gone: CurrentVersion | KeptVersion | undefined): ObjectRow => ({ ...row, dropped: droppedWith(row, gone) })

function withKept (row: ObjectRow, kept: readonly KeptVersion[]): ObjectRow {
  const { kept: before = [], ...rest } = row
  const isMore = kept.length > before.length
  if (isMore && (kept.length > objectRowLimits.maxKept || historyBytes({ ...row, kept }) > objectRowLimits.maxHistoryBytes)) {
    throw new Refused(`this key has ${before.length} earlier versions, and no more fit; remove some of them, or have the bucket's lifecycle do so`)
  }
  return kept.length === 0 ? rest : { ...rest, kept }
}
