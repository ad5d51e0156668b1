import { decode, encode } from 'cborg'
import { concat, MalformedBytes, textOf, utf8 } from '../base/bytes.ts'
import { Conflict, Refused } from '../base/errors.ts'
import type { Redundancy } from '../replication/index.ts'
import { isSameVersion, type Version } from './version.ts'

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
}

export interface PendingVersion extends Version {
  /** Raised hourly by the writer; an upload whose count stands still for a day is given up. */
  readonly heartbeat: number
}

export interface CurrentVersion extends Version {
  readonly sizeBytes: number
  readonly modifiedMs: number
  readonly contentType: string | undefined
  readonly metadata: Readonly<Record<string, string>>
  /** file/'s encoding: the bytes themselves, a few chunks, or the root of a manifest. */
  readonly content: Uint8Array
  /** What its chunks were written with, if that is shards; undefined: whole copies. */
  readonly redundancy?: Redundancy
  /** Whether blocks exist for it; without, nothing needs to be dropped. */
  readonly hasBlocks: boolean
}

export interface Precondition {
  readonly ifMatch?: string
  readonly ifNoneMatch?: '*'
}

export const objectRowLimits = {
  /** 20 bytes each: with the rest of the row they fit a record of 64 KiB. */
  maxDropped: 2048,
  /** Uploads of one key under way at once. */
  maxPending: 64,
} as const

export const emptyRow = ({ bucketId, key }: Pick<ObjectRow, 'bucketId' | 'key'>): ObjectRow => ({ bucketId, key, pending: [], current: undefined, dropped: [] })

/** Strong, the same on every node, different for every version. */
export const etagOf = (version: Pick<Version, 'id'>): string => Buffer.from(version.id.subarray(0, 16)).toString('hex')

/** @throws Conflict if the precondition does not hold for the current version */
export function checkPrecondition (row: ObjectRow | undefined, { ifMatch, ifNoneMatch }: Precondition): void {
  const current = row?.current
  if (ifNoneMatch === '*' && current !== undefined) throw new Conflict('the object exists already')
  if (ifMatch === undefined) return
  if (current === undefined) throw new Conflict('the object does not exist')
  if (ifMatch !== '*' && ifMatch !== etagOf(current)) throw new Conflict(`the object has changed: its etag is ${etagOf(current)}`)
}

/** An upload begins. @throws Refused when the row is full */
export function withPending (row: ObjectRow, version: Version): ObjectRow {
  if (row.pending.some((other) => isSameVersion(other, version))) return row
  if (row.pending.length >= objectRowLimits.maxPending) throw new Refused(`${row.pending.length} uploads of this key are under way already`)
  return { ...row, pending: [...row.pending, { ...version, heartbeat: 0 }] }
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

/** Only such a row may become a tombstone: nothing in it is still owed a proof of death. */
export const isVacant = (row: ObjectRow): boolean => row.current === undefined && row.pending.length === 0 && row.dropped.length === 0

function droppedWith (row: ObjectRow, version: (Pick<Version, 'salt' | 'epoch'> & { hasBlocks: boolean }) | undefined): ObjectRow['dropped'] {
  if (version === undefined || !version.hasBlocks) return row.dropped
  if (row.dropped.length >= objectRowLimits.maxDropped) {
    throw new Refused(`this key has ${row.dropped.length} earlier versions whose space has not been collected; use another key`)
  }
  return [...row.dropped, { salt: version.salt, epoch: version.epoch }]
}

// a row is written in the first version that can say it: the first knew no shards
const versions = { plain: 1, withShards: 2 } as const
const saltLength = 16
const droppedLength = saltLength + 4

export function encodeObjectRow (row: ObjectRow): Uint8Array {
  const current = row.current === undefined ? null : encodeCurrent(row.current)
  const pending = row.pending.map((version) => [version.id, version.salt, version.epoch, version.heartbeat])
  const version = row.current?.redundancy === undefined ? versions.plain : versions.withShards
  return encode([version, row.bucketId, utf8(row.key), pending, current, concat(row.dropped.flatMap(({ salt, epoch }) => [salt, u32(epoch)]))])
}

/** @throws MalformedBytes: a member wrote a row that this version cannot read */
export function decodeObjectRow (value: Uint8Array): ObjectRow {
  try {
    const [version, bucketId, key, pending, current, dropped] = decode(value) as [number, Uint8Array, Uint8Array, Array<[Uint8Array, Uint8Array, number, number]>, unknown[] | null, Uint8Array]
    if (version !== versions.plain && version !== versions.withShards) throw new MalformedBytes(`object row of version ${version}`)
    return {
      bucketId,
      key: textOf(key),
      pending: pending.map(([id, salt, epoch, heartbeat]) => ({ id, salt, epoch, heartbeat })),
      current: current === null ? undefined : decodeCurrent(current),
      dropped: Array.from({ length: dropped.byteLength / droppedLength }, (_, i) => decodeDropped(dropped.subarray(i * droppedLength, (i + 1) * droppedLength))),
    }
  } catch (cause) {
    throw new MalformedBytes('an object row could not be read', { cause })
  }
}

function encodeCurrent (version: CurrentVersion): unknown[] {
  const shards = version.redundancy === undefined ? [] : [[version.redundancy.k, version.redundancy.m]]
  return [version.id, version.salt, version.epoch, version.sizeBytes, version.modifiedMs, version.contentType ?? null, version.metadata, version.hasBlocks, version.content, ...shards]
}

function decodeCurrent (fields: unknown[]): CurrentVersion {
  const [id, salt, epoch, sizeBytes, modifiedMs, contentType, metadata, hasBlocks, content, shards] = fields as
    [Uint8Array, Uint8Array, number, number, number, string | null, Record<string, string>, boolean, Uint8Array, [number, number] | undefined]
  return {
    id, salt, epoch, sizeBytes, modifiedMs, contentType: contentType ?? undefined, metadata, hasBlocks, content,
    ...(shards === undefined ? {} : { redundancy: { k: shards[0], m: shards[1] } }),
  }
}

function decodeDropped (bytes: Uint8Array): Pick<Version, 'salt' | 'epoch'> {
  return { salt: bytes.subarray(0, saltLength), epoch: new DataView(bytes.buffer, bytes.byteOffset).getUint32(saltLength) }
}

function u32 (value: number): Uint8Array {
  const bytes = new Uint8Array(4)
  new DataView(bytes.buffer).setUint32(0, value)
  return bytes
}

/** What a listing shows, without the content. */
export type ObjectSummary = Omit<CurrentVersion, 'content' | 'hasBlocks' | 'redundancy'>

export const encodeSummary = (version: CurrentVersion): Uint8Array => encode(encodeCurrent({ ...version, content: new Uint8Array(0) }))
export const decodeSummary = (summary: Uint8Array): ObjectSummary => decodeCurrent(decode(summary) as unknown[])
