import { fromHex } from '../base/bytes.ts'
import type { Cid } from '../base/cid.ts'
import { Conflict, InvalidInput, Unavailable, UnknownOutcome } from '../base/errors.ts'
import type { Redundancy, Replication } from '../replication/index.ts'
import { type RowAddress, tables } from '../tables/index.ts'
import type { BucketRow } from './bucket-row.ts'
import type { Buckets } from './buckets.ts'
import type { ObjectName, PutOptions } from './index.ts'
import { checkKey } from './names.ts'
import { checkPrecondition, type CurrentVersion, decodeObjectRow, emptyRow, encodeObjectRow, isVacant, type ObjectRow, withCurrent, withHeartbeat, withoutCurrent, withoutPending, withPending } from './object-row.ts'
import type { BlockKind, ObjectParts, StoredObject, WrittenContent } from './ports.ts'
import { redundancyOf } from './redundancy.ts'
import { isSameVersion, type Version } from './version.ts'

/**
 * The life of a put. The version id stands in the row's `pending` before any block is offered; blocks are at their write quorum before the
 * manifest above them, all of them before the commit; the bucket is looked at once more after the commit, before the ack. Content of 4 KiB or less takes
 * none of that: one write of the row.
 */
const heartbeatMs = 60 * 60 * 1000

export interface Put {
  readonly target: ObjectName
  readonly source: AsyncIterable<Uint8Array>
  readonly options: PutOptions
}

/** What is acknowledged; the caller announces it, once it has told whoever waits. @throws as `Objects.put` */
export async function putObject (parts: ObjectParts, buckets: Buckets, put: Put): Promise<{ version: CurrentVersion, stored: StoredObject }> {
  checkKey(put.target.key)
  checkMetadata(put.options)
  const bucket = await buckets.active(put.target.bucket)
  const upload = new Upload(parts, bucket, put)
  try {
    const { version, stored } = await upload.store()
    await upload.confirmBucket(buckets, version)
    return { version, stored }
  } catch (error) {
    await upload.abandon(error)
    throw error
  }
}

export const addressOf = (bucket: Pick<BucketRow, 'id'>, key: string): RowAddress => ({ table: tables.objects, scope: fromHex(bucket.id), key: checkKey(key) })

/** The row with a value to write, or as a tombstone when nothing in it is owed any more. */
export const written = <T>(row: ObjectRow, result: T): { kind: 'write', value: Uint8Array, result: T } | { kind: 'erase', result: T } =>
  isVacant(row) ? { kind: 'erase', result } : { kind: 'write', value: encodeObjectRow(row), result }

class Upload {
  readonly #parts: ObjectParts
  readonly #bucket: BucketRow
  readonly #put: Put
  readonly #version: Version
  readonly #writers: Readonly<Record<'whole' | 'large', ReturnType<Replication['writer']>>>
  #isSpread = false
  #pending: Promise<void> | undefined
  #stopHeartbeat = (): void => {}

  constructor (parts: ObjectParts, bucket: BucketRow, put: Put) {
    this.#parts = parts
    this.#bucket = bucket
    this.#put = put
    this.#version = parts.versions.fresh()
    const { whole, large } = redundancyOf(bucket)
    const writerOf = (redundancy: Redundancy): ReturnType<Replication['writer']> => parts.replication.writer({ versionId: this.#version.id, redundancy }, { isDegradedAllowed: bucket.degraded === 'allow' })
    this.#writers = { whole: writerOf(whole), large: writerOf(large) }
  }

  async store (): Promise<{ version: CurrentVersion, stored: StoredObject }> {
    const { source, options: { signal } } = this.#put
    try {
      const content = await this.#parts.content.write(source, { bucket: this.#bucket, signal, put: async (cid, block, { mayBeSpread }) => { await this.#store(cid, block, { mayBeSpread, signal }) } })
      this.#checkSize(content.sizeBytes)
      const version = this.#versionOf(content)
      await this.#commit(version)
      return { version, stored: { bucket: this.#bucket, key: this.#put.target.key, version: this.#version, root: content.root, chunks: content.chunks } }
    } finally {
      this.#stopHeartbeat()
    }
  }

  /** A bucket that was removed meanwhile takes the object with it, and the writer is told. A removal under way ends here: it is not empty. */
  async confirmBucket (buckets: Buckets, version: CurrentVersion): Promise<void> {
    const { bucket: name } = this.#put.target
    try {
      if (await buckets.isActive(this.#bucket) || await buckets.keep(this.#bucket)) return
      await this.#takeBack(version)
    } catch (cause) {
      throw new UnknownOutcome(`the object is stored, but whether bucket "${name}" still stands could not be found out; look before putting it again`, { cause })
    }
    throw new Conflict(`bucket "${name}" was removed meanwhile, and perhaps made again; put the object again`)
  }

  async #takeBack (version: CurrentVersion): Promise<void> {
    await this.#parts.registers.change<void>(addressOf(this.#bucket, this.#put.target.key), (value) => {
      const row = value === undefined ? undefined : decodeObjectRow(value)
      if (row?.current === undefined || !isSameVersion(row.current, version)) return { kind: 'keep', result: undefined }
      return written(withoutCurrent(row), undefined)
    })
  }

  /** Moves what was stored to `dropped`, if it can; otherwise the upload stands in `pending` until it is given up. */
  async abandon (reason: unknown): Promise<void> {
    if (this.#pending === undefined) return
    try {
      await this.#pending
      await this.#change<void>((row) => row === undefined ? undefined : withoutPending(row, this.#version))
    } catch (error) {
      this.#parts.warn(`an upload of ${this.#put.target.bucket} failed (${String(reason)}) and stays pending`, error)
    }
  }

  async #store (cid: Cid, block: Uint8Array, { mayBeSpread, signal }: BlockKind & { signal: AbortSignal | undefined }): Promise<void> {
    this.#pending ??= this.#begin()
    await this.#pending
    if (mayBeSpread) this.#isSpread = true
    await this.#writers[mayBeSpread ? 'large' : 'whole'].put(cid, block, { signal })
  }

  async #begin (): Promise<void> {
    await this.#change<void>((row, fresh) => {
      checkPrecondition(row, this.#put.options)
      return withPending(row ?? fresh, this.#version)
    })
    this.#beat()
  }

  // the pending entry counts as alive while its count rises; the clock that matters is each observer's own, monotonic
  #beat (): void {
    this.#stopHeartbeat = this.#parts.clock.after(heartbeatMs, () => {
      this.#change<void>((row) => row === undefined ? undefined : withHeartbeat(row, this.#version))
        .catch((error: unknown) => { this.#parts.warn('an upload could not show that it is alive', error) })
      this.#beat()
    })
  }

  async #commit (version: CurrentVersion): Promise<void> {
    const outcome = await this.#change<'committed'>((row, fresh) => {
      const isOurs = row?.current !== undefined && isSameVersion(row.current, version)
      if (!isOurs) checkPrecondition(row, this.#put.options)
      return withCurrent(row ?? fresh, version)
    }, 'committed')
    if (outcome === undefined) throw new Unavailable('the upload was given up before it finished; put the object again')
    this.#pending = undefined
  }

  // a precondition that fails throws out of the change only after the value it saw is chosen: 'keep' with the error as result
  async #change<T> (next: (row: ObjectRow | undefined, fresh: ObjectRow) => ObjectRow | undefined, result?: T): Promise<T | undefined> {
    const fresh = emptyRow({ bucketId: fromHex(this.#bucket.id), key: this.#put.target.key })
    const outcome = await this.#parts.registers.change<{ error?: unknown, result?: T }>(addressOf(this.#bucket, this.#put.target.key), (value) => {
      try {
        const row = next(value === undefined ? undefined : decodeObjectRow(value), fresh)
        return row === undefined ? { kind: 'keep', result: {} } : written(row, { result })
      } catch (error) {
        return { kind: 'keep', result: { error } }
      }
    })
    if (outcome.error !== undefined) throw outcome.error
    return outcome.result
  }

  #checkSize (sizeBytes: number): void {
    const { sizeBytes: expected } = this.#put.options
    if (expected !== undefined && expected !== sizeBytes) throw new InvalidInput('size', `${expected} bytes were announced, ${sizeBytes} came; nothing was stored`)
  }

  #versionOf ({ sizeBytes, content, hasBlocks }: WrittenContent): CurrentVersion {
    const { contentType, metadata = {} } = this.#put.options
    const { large } = redundancyOf(this.#bucket)
    return { ...this.#version, ...(this.#isSpread && large.k > 1 ? { redundancy: large } : {}), sizeBytes, modifiedMs: this.#parts.clock.wallMs(), contentType, metadata, content, hasBlocks }
  }
}

const metadataLimits = { maxBytes: 2048, maxContentTypeBytes: 256 } as const

function checkMetadata ({ metadata = {}, contentType = '' }: PutOptions): void {
  const bytes = Object.entries(metadata).reduce((sum, [name, value]) => sum + Buffer.byteLength(name) + Buffer.byteLength(value), 0)
  if (bytes > metadataLimits.maxBytes) throw new InvalidInput('metadata', `metadata has at most ${metadataLimits.maxBytes} bytes of names and values; this has ${bytes}`)
  if (Buffer.byteLength(contentType) > metadataLimits.maxContentTypeBytes) throw new InvalidInput('content type', `a content type has at most ${metadataLimits.maxContentTypeBytes} bytes`)
}
