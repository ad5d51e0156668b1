import { decode, encode } from 'cborg'
import { ByteReader, ByteWriter, concat, hexOf, MalformedBytes, textOf, utf8 } from '../base/bytes.ts'
import { Conflict, Refused } from '../base/errors.ts'
import type { Redundancy } from '../replication/index.ts'
import { type Attributes, decodeAttributes, encodeAttributes, listedAttributes } from './versions/attributes.ts'
import { NothingToMatch } from './errors.ts'
import { blocksOf, encodeStored, readStored, type Stored, storedLength } from './versions/stored.ts'
import { isSameVersion, type Version } from './versions/version.ts'

/**
 * What an object's row says, and the only ways it may change. `pending` are uploads under way, `current` is what a reader gets, `dropped` are versions
 * whose blocks may go once they are proven dead. Every version with blocks stands in exactly one of the three, in this row and no other, from before its
 * first block is offered: so a reference that names a version in `dropped`, and only that, is garbage.
 */
export interface ObjectRow {
  /** The bucket's id, 16 bytes: a row names its own place, so that the listing index can be rebuilt from rows alone. */
  readonly bucketId: Uint8Array
  /** UTF-8, 1-1,024 bytes. */
  readonly key: string
  readonly pending: readonly PendingVersion[]
  readonly current: CurrentVersion | undefined
  readonly dropped: ReadonlyArray<Pick<Version, 'salt' | 'epoch'>>
  /** Of a bucket with versions: those that are not current, and delete markers, newest first. Undefined: none. */
  readonly kept?: readonly KeptVersion[]
}

export interface PendingVersion extends Version {
  /** Raised hourly by the writer; an upload whose count stands still for a day is given up. */
  readonly heartbeat: number
  /** In parts, by a client that may take its time between them: its count is raised by what it does, and may stand still for seven days. */
  readonly isMultipart?: true
  /** No upload: blocks of a version that stands here, by its salt and epoch, in another form. Whoever converts it goes on with this one. */
  readonly converts?: Stored
}

/** What decides about a version that is not current; its details stand in a row of their own (version-row.ts). */
export interface KeptVersion extends Pick<Version, 'salt' | 'epoch'> {
  /** Higher than of any version before it. */
  readonly sequence: number
  /** Of its details: they are those of a row of this edition or a later one. */
  readonly edition: number
  /** Says that there was no object from here on; has no content. */
  readonly isDeleteMarker: boolean
  /** Made while the bucket kept no versions: of those there is one at most. */
  readonly isNull: boolean
  readonly hasBlocks: boolean
  /** Undefined: under its own id, as its details say. */
  readonly stored?: Stored
}

export interface CurrentVersion extends Version {
  readonly sizeBytes: number
  readonly modifiedMs: number
  readonly contentType: string | undefined
  readonly metadata: Readonly<Record<string, string>>
  /** file/'s encoding: the bytes themselves, a few chunks, or the root of a manifest. */
  readonly content: Uint8Array
  /** What its chunks were first written with, if that is shards; undefined: whole copies. */
  readonly redundancy?: Redundancy
  /** What they are kept as and for now; undefined: under its own id, as they were written. */
  readonly stored?: Stored
  /** Whether blocks exist for it; without, nothing needs to be dropped. */
  readonly hasBlocks: boolean
  /** Undefined: none. */
  readonly attributes?: Attributes
  /** As of kept versions; undefined: put while the bucket had never kept versions, which also makes it the null version. */
  readonly sequence?: number
  readonly isNull?: true
}

export interface Precondition {
  /** A visible etag, or '*'. */
  readonly ifMatch?: string
  readonly ifNoneMatch?: string
}

export const objectRowLimits = {
  /** 20 bytes each: with the rest of the row they fit a record of 64 KiB. */
  maxDropped: 1800,
  maxKept: 1000,
  /** Of dropped (20 bytes each) and kept (29) versions together. */
  maxHistoryBytes: 36_000,
  /** Uploads of one key under way at once. */
  maxPending: 64,
} as const

export const emptyRow = ({ bucketId, key }: Pick<ObjectRow, 'bucketId' | 'key'>): ObjectRow => ({ bucketId, key, pending: [], current: undefined, dropped: [] })

/**
 * Strong, the same on every node. What clients of S3 expect where it was asked for: the MD5 of the content, or of the parts' MD5s, and their number. Otherwise
 * it follows from the version's id, different for every version.
 */
export function etagOf ({ id, attributes: { md5, parts } = {} }: Pick<Version, 'id'> & { readonly attributes?: Attributes }): string {
  if (parts?.md5 !== undefined) return `${hexOf(parts.md5)}-${parts.count}`
  // 32 hexadecimal digits alone are an MD5 to clients of S3, and what they downloaded damaged if it has another
  return md5 === undefined ? `${hexOf(id.subarray(0, 16))}-1` : hexOf(md5)
}

export const isNullVersion = ({ sequence, isNull = false }: { readonly sequence?: number, readonly isNull?: boolean }): boolean => sequence === undefined || isNull

/** @throws Conflict if the precondition does not hold for the current version */
export function checkPrecondition (row: ObjectRow | undefined, { ifMatch, ifNoneMatch }: Precondition): void {
  const current = row?.current
  if (ifNoneMatch !== undefined && current !== undefined && (ifNoneMatch === '*' || ifNoneMatch === etagOf(current))) throw new Conflict(ifNoneMatch === '*' ? 'the object exists already' : `the object has this very etag: ${ifNoneMatch}`)
  if (ifMatch === undefined) return
  if (current === undefined) throw new NothingToMatch()
  if (ifMatch !== '*' && ifMatch !== etagOf(current)) throw new Conflict('the object has changed: its etag is another')
}

/** An upload begins. @throws Refused when the row is full */
export function withPending (row: ObjectRow, version: Version & Pick<PendingVersion, 'isMultipart' | 'converts'>): ObjectRow {
  if (row.pending.some((other) => isSameVersion(other, version))) return row
  if (row.pending.length >= objectRowLimits.maxPending) throw new Refused(`${row.pending.length} uploads of this key are under way already`)
  const { id, salt, epoch, isMultipart, converts } = version
  return { ...row, pending: [...row.pending, { id, salt, epoch, heartbeat: 0, ...(isMultipart === undefined ? {} : { isMultipart }), ...(converts === undefined ? {} : { converts }) }] }
}

/** The writer is still there; undefined if its upload was given up. */
export function withHeartbeat (row: ObjectRow, version: Version): ObjectRow | undefined {
  if (!row.pending.some((other) => isSameVersion(other, version))) return undefined
  return { ...row, pending: row.pending.map((other) => isSameVersion(other, version) ? { ...other, heartbeat: other.heartbeat + 1 } : other) }
}

/** The commit: the version becomes what readers get. Undefined if its upload was given up meanwhile (never for a version without blocks). */
export function withCurrent (row: ObjectRow, version: CurrentVersion): ObjectRow | undefined {
  if (row.current !== undefined && isSameVersion(row.current, version)) return row
  if (version.hasBlocks && !row.pending.some((other) => isSameVersion(other, version))) return undefined
  const pending = row.pending.filter((other) => !isSameVersion(other, version))
  return { ...row, pending, current: version, dropped: droppedWith(row, row.current) }
}

/** Nothing is current any more. */
export const withoutCurrent = (row: ObjectRow): ObjectRow => ({ ...row, current: undefined, dropped: droppedWith(row, row.current) })

/** The upload has failed: what it stored may go. */
export function withoutPending (row: ObjectRow, version: Version): ObjectRow {
  if (!row.pending.some((other) => isSameVersion(other, version))) return row
  const pending = row.pending.filter((other) => !isSameVersion(other, version))
  return { ...row, pending, dropped: droppedWith(row, { ...version, hasBlocks: true }) }
}

/** The upload has stood still for too long: its late commit will find it gone. Undefined if its count has moved since, or it is there no more. */
export function withAbandoned (row: ObjectRow, version: Version & Pick<PendingVersion, 'heartbeat'>): ObjectRow | undefined {
  if (!row.pending.some((other) => isSameVersion(other, version) && other.heartbeat === version.heartbeat)) return undefined
  return withoutPending(row, version)
}

/** The deaths of these versions are published: the row owes them nothing any more. */
export function withoutDropped (row: ObjectRow, published: ReadonlyArray<Pick<Version, 'salt'>>): ObjectRow {
  const dropped = row.dropped.filter((version) => !published.some((other) => isSameVersion(other, version)))
  return dropped.length === row.dropped.length ? row : { ...row, dropped }
}

/** Only such a row may become a tombstone: nothing in it is still owed a proof of death. */
export const isVacant = (row: ObjectRow): boolean => row.current === undefined && row.pending.length === 0 && row.dropped.length === 0 && keptOf(row).length === 0

export const keptOf = (row: Pick<ObjectRow, 'kept'>): readonly KeptVersion[] => row.kept ?? []

/** What holders know its blocks under is what dies. */
export function droppedWith (row: ObjectRow, version: (Pick<Version, 'salt' | 'epoch'> & { hasBlocks: boolean, stored?: Stored }) | undefined): ObjectRow['dropped'] {
  if (version === undefined || !version.hasBlocks) return row.dropped
  if (isFull(row)) {
    throw new Refused(`this key has ${row.dropped.length} earlier versions whose space has not been collected; use another key`)
  }
  const { salt, epoch } = blocksOf(version)
  return [...row.dropped, { salt, epoch }]
}

const isFull = (row: ObjectRow): boolean => row.dropped.length >= objectRowLimits.maxDropped || historyBytes(row) + droppedLength > objectRowLimits.maxHistoryBytes

/** What was begun for a version that stands here no more can end in nothing, and whoever began it may be gone: what was stored for it may go. In a full row it stays until it is given up. */
export function withoutOrphans (row: ObjectRow): ObjectRow {
  const standing = [...row.current === undefined ? [] : [row.current], ...keptOf(row)]
  return row.pending
    .filter(({ converts }) => converts !== undefined && !standing.some((version) => isSameVersion(version, converts)))
    .reduce((left, orphan) => isFull(left) ? left : withoutPending(left, orphan), row)
}

/**
 * A version's blocks have been written for `pending` too, in another form: from now on they are kept for that, and what they were kept for dies. Undefined if they are
 * not kept any more as they were read, or that was given up: then nothing may change.
 */
export function withConverted (row: ObjectRow, version: Pick<Version, 'salt'>, { from, to, pending }: { readonly from: Pick<Stored, 'salt'>, readonly to: Stored, readonly pending: Version }): ObjectRow | undefined {
  const isIt = (other: Pick<Version, 'salt' | 'epoch'> & { readonly stored?: Stored }): boolean => isSameVersion(other, version) && isSameVersion(blocksOf(other), from)
  const [current, kept] = [row.current !== undefined && isIt(row.current) ? row.current : undefined, keptOf(row).find(isIt)]
  const found = current ?? kept
  if (found === undefined || !row.pending.some((other) => isSameVersion(other, pending))) return undefined
  const next: ObjectRow = {
    ...row, pending: row.pending.filter((other) => !isSameVersion(other, pending)), dropped: droppedWith(row, found),
    ...(current === undefined ? {} : { current: { ...current, stored: to } }),
    ...(row.kept === undefined ? {} : { kept: row.kept.map((other) => other === kept ? { ...other, stored: to } : other) }),
  }
  if (historyBytes(next) > objectRowLimits.maxHistoryBytes) throw new Refused(`this key has ${keptOf(row).length} earlier versions, and the row has no room to say how more of them are kept`)
  return next
}

const saltLength = 16
const droppedLength = saltLength + 4
const keptLength = saltLength + 4 + 6 + 2 + 1

export const historyBytes = (row: Pick<ObjectRow, 'dropped' | 'kept'>): number =>
  row.dropped.length * droppedLength + keptOf(row).reduce((bytes, { stored }) => bytes + keptLength + (stored === undefined ? 0 : storedLength), 0)

// a row is written in the first version that can say it: the first knew no shards, the second neither attributes nor kept versions nor uploads in parts, the third
// no other id for a version's blocks than its own
const versions = { plain: 1, withShards: 2, withHistory: 3, withStored: 4 } as const

function versionOf ({ current, pending, kept = [] }: ObjectRow): number {
  if (current?.stored !== undefined || kept.some(({ stored }) => stored !== undefined) || pending.some(({ converts }) => converts !== undefined)) return versions.withStored
  if (kept.length > 0 || pending.some(({ isMultipart }) => isMultipart) || (current !== undefined && isExtended(current))) return versions.withHistory
  return current?.redundancy === undefined ? versions.plain : versions.withShards
}

const isExtended = ({ attributes = {}, sequence, stored }: CurrentVersion): boolean => sequence !== undefined || stored !== undefined || Object.keys(encodeAttributes(attributes)).length > 0

export function encodeObjectRow (row: ObjectRow): Uint8Array {
  const current = row.current === undefined ? null : encodeCurrent(row.current)
  const pending = row.pending.map(({ id, salt, epoch, heartbeat, isMultipart, converts }) => [id, salt, epoch, heartbeat, ...(converts !== undefined ? [false, encodeStored(converts)] : isMultipart === undefined ? [] : [true])])
  const version = versionOf(row)
  const history = version >= versions.withHistory ? [concat(keptOf(row).map(encodeKept))] : []
  return encode([version, row.bucketId, utf8(row.key), pending, current, concat(row.dropped.map(encodeDropped)), ...history])
}

/** @throws MalformedBytes: a member wrote a row that this version cannot read */
export function decodeObjectRow (value: Uint8Array): ObjectRow {
  try {
    const [version, bucketId, key, pending, current, dropped, kept] = decode(value) as
      [number, Uint8Array, Uint8Array, Array<[Uint8Array, Uint8Array, number, number, boolean?, Uint8Array?]>, unknown[] | null, Uint8Array, Uint8Array?]
    if (!Object.values<number>(versions).includes(version)) throw new MalformedBytes(`object row of version ${version}`)
    return {
      bucketId,
      key: textOf(key),
      pending: pending.map(([id, salt, epoch, heartbeat, isMultipart, converts]) => ({ id, salt, epoch, heartbeat, ...(isMultipart === true ? { isMultipart } : {}), ...(converts === undefined ? {} : { converts: decodeStored(converts) }) })),
      current: current === null ? undefined : decodeCurrent(current),
      dropped: recordsIn(dropped, droppedLength).map(decodeDropped),
      ...(kept === undefined || kept.byteLength === 0 ? {} : { kept: decodeAllKept(kept) }),
    }
  } catch (cause) {
    throw new MalformedBytes('an object row could not be read', { cause })
  }
}

function recordsIn (bytes: Uint8Array, length: number): Uint8Array[] {
  if (bytes.byteLength % length !== 0) throw new MalformedBytes(`${bytes.byteLength} bytes are no records of ${length}`)
  return Array.from({ length: bytes.byteLength / length }, (_, i) => bytes.subarray(i * length, (i + 1) * length))
}

/** With everything that `decodeCurrent` reads; fields at the end are left out as long as nothing is in them. */
export function encodeCurrent (version: CurrentVersion): unknown[] {
  const { redundancy, attributes = {}, sequence, isNull = false, stored } = version
  const shards = redundancy === undefined ? null : [redundancy.k, redundancy.m]
  const fields = [version.id, version.salt, version.epoch, version.sizeBytes, version.modifiedMs, version.contentType ?? null, version.metadata, version.hasBlocks, version.content]
  if (isExtended(version)) return [...fields, shards, encodeAttributes(attributes), sequence ?? null, isNull, ...(stored === undefined ? [] : [encodeStored(stored)])]
  return shards === null ? fields : [...fields, shards]
}

export function decodeCurrent (fields: unknown[]): CurrentVersion {
  const [id, salt, epoch, sizeBytes, modifiedMs, contentType, metadata, hasBlocks, content, shards = null, encoded = {}, sequence = null, isNull = false, stored = null] = fields as
    [Uint8Array, Uint8Array, number, number, number, string | null, Record<string, string>, boolean, Uint8Array, ([number, number] | null)?, unknown?, (number | null)?, boolean?, Uint8Array?]
  const attributes = decodeAttributes(encoded)
  return {
    id, salt, epoch, sizeBytes, modifiedMs, contentType: contentType ?? undefined, metadata, hasBlocks, content,
    ...(shards === null ? {} : { redundancy: { k: shards[0], m: shards[1] } }),
    ...(Object.keys(attributes).length === 0 ? {} : { attributes }),
    ...(sequence === null ? {} : { sequence }),
    ...(isNull ? { isNull } : {}),
    ...(stored === null ? {} : { stored: decodeStored(stored) }),
  }
}

const encodeDropped = ({ salt, epoch }: Pick<Version, 'salt' | 'epoch'>): Uint8Array => new ByteWriter().raw(salt).u32(epoch).finish()

function decodeDropped (bytes: Uint8Array): Pick<Version, 'salt' | 'epoch'> {
  const reader = new ByteReader(bytes)
  return { salt: reader.raw(saltLength), epoch: reader.u32() }
}

function decodeStored (bytes: Uint8Array): Stored {
  const reader = new ByteReader(bytes)
  const stored = readStored(reader)
  reader.end()
  return stored
}

const keptFlags = { isDeleteMarker: 1, isNull: 2, hasBlocks: 4, isStored: 8 } as const
const sequenceHigh = 2 ** 32

function encodeKept ({ salt, epoch, sequence, edition, isDeleteMarker, isNull, hasBlocks, stored }: KeptVersion): Uint8Array {
  const flags = (isDeleteMarker ? keptFlags.isDeleteMarker : 0) | (isNull ? keptFlags.isNull : 0) | (hasBlocks ? keptFlags.hasBlocks : 0) | (stored === undefined ? 0 : keptFlags.isStored)
  const writer = new ByteWriter().raw(salt).u32(epoch).u16(Math.floor(sequence / sequenceHigh)).u32(sequence % sequenceHigh).u16(edition).u8(flags)
  return (stored === undefined ? writer : writer.raw(encodeStored(stored))).finish()
}

function decodeAllKept (bytes: Uint8Array): KeptVersion[] {
  const reader = new ByteReader(bytes)
  const found: KeptVersion[] = []
  while (reader.offset < bytes.byteLength) found.push(readKept(reader))
  return found
}

function readKept (reader: ByteReader): KeptVersion {
  const [salt, epoch, high, low, edition, flags] = [reader.raw(saltLength), reader.u32(), reader.u16(), reader.u32(), reader.u16(), reader.u8()]
  if (flags > 15) throw new MalformedBytes(`a kept version with flags ${flags}`)
  const has = (flag: number): boolean => (flags & flag) !== 0
  const kept = { salt, epoch, sequence: high * sequenceHigh + low, edition, isDeleteMarker: has(keptFlags.isDeleteMarker), isNull: has(keptFlags.isNull), hasBlocks: has(keptFlags.hasBlocks) }
  return has(keptFlags.isStored) ? { ...kept, stored: readStored(reader) } : kept
}

/** What a listing shows, without the content and without what has no bound to speak of. */
export type ObjectSummary = Omit<CurrentVersion, 'content' | 'hasBlocks' | 'redundancy' | 'stored'>

export const encodeSummary = (version: CurrentVersion): Uint8Array => {
  const { attributes, stored: _, ...rest } = version
  return encode(encodeCurrent({ ...rest, ...(attributes === undefined ? {} : { attributes: listedAttributes(attributes) }), content: new Uint8Array(0) }))
}

export const decodeSummary = (summary: Uint8Array): ObjectSummary => decodeCurrent(decode(summary) as unknown[])
