import { equals, fromHex } from '../../base/bytes.ts'
import type { Cid } from '../../base/cid.ts'
import type { Clock } from '../../base/clock.ts'
import type { BucketRow } from '../buckets/bucket-row.ts'
import type { Buckets } from '../buckets/buckets.ts'
import { changeObject, objectAddress } from '../change-object.ts'
import { placeIn } from '../commit.ts'
import type { ObjectName } from '../index.ts'
import { checkKey } from '../names.ts'
import { decodeObjectRow, type ObjectRow, type PendingVersion, withHeartbeat } from '../object-row.ts'
import type { BlockKind, ObjectParts } from '../ports.ts'
import { redundancyOf, writeOptionsOf } from '../buckets/redundancy.ts'
import { NoSuchUpload } from './errors.ts'
import { decodeHead, headKey, uploadAddress, type UploadHead } from './upload-row.ts'

/** What every operation on uploads is given. */
export interface UploadParts {
  readonly parts: ObjectParts
  readonly buckets: Buckets
  readonly heartbeats: Heartbeats
  /** Least bytes of a part that others follow. */
  readonly minPartBytes: number
  /** Bytes of the parts that a stream is cut into, as long as there is little of it. */
  readonly leastAppendedBytes: number
}

/** What is known of an upload, which may be over. */
export interface FoundUpload {
  readonly bucket: BucketRow
  /** When the bucket began to be read, by the monotonic clock: it is no older. */
  readonly readMs: number
  readonly bucketId: Uint8Array
  readonly target: ObjectName
  readonly id: Uint8Array
  readonly head: UploadHead | undefined
  /** The object's row. */
  readonly row: ObjectRow | undefined
}

/** One that is under way, as of some moment after the call. */
export interface OpenUpload extends FoundUpload {
  readonly head: UploadHead
  readonly pending: PendingVersion
}

/** @throws NoSuchUpload for what is no id, NotFound (bucket) */
export async function findUpload ({ parts, buckets }: UploadParts, target: ObjectName, uploadId: string, wait: { signal?: AbortSignal }): Promise<FoundUpload> {
  checkKey(target.key)
  const id = idIn(uploadId)
  const readMs = parts.clock.monotonicMs()
  const guess = await buckets.recent(target.bucket)
  const [bucket, found] = await Promise.all([buckets.active(target.bucket), rowsIn(parts, guess, target.key, id, wait)])
  const rows = bucket.id === guess.id ? found : await rowsIn(parts, bucket, target.key, id, wait)
  return { bucket, bucketId: fromHex(bucket.id), target, id, readMs, ...rows }
}

async function rowsIn ({ registers }: ObjectParts, bucket: BucketRow, key: string, id: Uint8Array, wait: { signal?: AbortSignal }): Promise<Pick<FoundUpload, 'head' | 'row'>> {
  const [head, row] = await Promise.all([registers.read(uploadAddress(fromHex(bucket.id), headKey(key, id)), wait), registers.read(objectAddress(placeIn(bucket, key)), wait)])
  return { head: head === undefined ? undefined : decodeHead(head), row: row === undefined ? undefined : decodeObjectRow(row) }
}

/** @throws NoSuchUpload */
export async function openUpload (upload: UploadParts, target: ObjectName, uploadId: string, wait: { signal?: AbortSignal }): Promise<OpenUpload> {
  const found = await findUpload(upload, target, uploadId, wait)
  return demandOpen(found)
}

/** @throws NoSuchUpload */
export function demandOpen (found: FoundUpload): OpenUpload {
  const { head, row, id } = found
  const pending = pendingIn(row, id)
  if (head === undefined || pending === undefined) throw new NoSuchUpload()
  return { ...found, head, pending }
}

export const pendingIn = (row: ObjectRow | undefined, id: Uint8Array): PendingVersion | undefined => row?.pending.find((version) => equals(version.id, id))

/** @throws NoSuchUpload */
export function idIn (uploadId: string): Uint8Array {
  if (!/^[0-9a-f]{64}$/.test(uploadId)) throw new NoSuchUpload()
  return fromHex(uploadId)
}

export interface BlockWriter {
  put (cid: Cid, block: Uint8Array, of: BlockKind & { signal?: AbortSignal }): Promise<void>
  /** Of chunks: those that are there already, now for this version too. */
  adopt (cids: readonly Cid[], wait: { signal?: AbortSignal }): Promise<ReadonlySet<Cid>>
}

/** Puts blocks for the version of an upload, with the redundancy that it was begun with. */
export function blockWriter ({ replication }: ObjectParts, { bucket, head }: OpenUpload): BlockWriter {
  const { whole, large } = redundancyOf(head)
  const writerOf = (redundancy: typeof whole): ReturnType<typeof replication.writer> => replication.writer({ versionId: head.version.id, redundancy }, writeOptionsOf(bucket))
  const writers = { whole: writerOf(whole), large: writerOf(large) }
  return {
    put: async (cid, block, { mayBeSpread, signal }) => writers[mayBeSpread ? 'large' : 'whole'].put(cid, block, { signal }),
    adopt: async (cids, wait) => writers.large.adopt(cids, wait),
  }
}

/** The bucket as it was when the upload was begun: its chunks are kept alike. */
export const bucketOf = ({ bucket: { shards: _, ...bucket }, head: { copies, shards } }: OpenUpload): BucketRow => ({ ...bucket, copies, ...(shards === undefined ? {} : { shards }) })

export const heartbeatLimits = {
  everyMs: 60 * 60 * 1000,
  /** Uploads of which it is remembered when this node last raised their count; above it all are forgotten, which costs a write each. */
  maxRemembered: 10_000,
} as const

/**
 * An upload counts as alive while the count in its pending entry rises. Whoever takes a part raises it, each node at most once an hour; what it has not seen
 * yet, if by the clocks it was begun longer ago than that: a small upload costs no write for it, and clocks that are wrong cost one.
 */
export class Heartbeats {
  readonly #parts: Pick<ObjectParts, 'registers' | 'warn'> & { readonly clock: Clock }
  readonly #lastMs = new Map<string, number>()

  constructor (parts: Pick<ObjectParts, 'registers' | 'warn' | 'clock'>) { this.#parts = parts }

  /** Beats now if it is time, and every hour until disposed. */
  during (upload: OpenUpload): Disposable {
    const { clock } = this.#parts
    this.#beat(upload)
    const again = (): () => void => clock.after(heartbeatLimits.everyMs, () => { this.#beat(upload); cancel = again() })
    let cancel = again()
    return { [Symbol.dispose]: () => { cancel() } }
  }

  #beat (upload: OpenUpload): void {
    const { clock, warn } = this.#parts
    const name = upload.head.version.id.join(' ')
    const isNew = Math.abs(clock.wallMs() - upload.head.initiatedMs) < heartbeatLimits.everyMs
    const lastMs = this.#lastMs.get(name) ?? (isNew ? clock.monotonicMs() : -Infinity)
    const isTime = clock.monotonicMs() - lastMs >= heartbeatLimits.everyMs
    if (this.#lastMs.size >= heartbeatLimits.maxRemembered) this.#lastMs.clear()
    this.#lastMs.set(name, isTime ? clock.monotonicMs() : lastMs)
    if (!isTime) return
    changeObject<void>(this.#parts, placeIn(upload.bucket, upload.target.key), (row) => {
      const next = withHeartbeat(row, upload.head.version)
      return next === undefined ? { kind: 'keep', result: undefined } : { kind: 'move', to: { row: next }, result: undefined }
    }).catch((error: unknown) => { warn('an upload in parts could not show that it is alive', error) })
  }
}
