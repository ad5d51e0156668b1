import type { Cid } from '../base/cid.ts'
import { InvalidInput, UnknownOutcome } from '../base/errors.ts'
import type { Redundancy, Replication } from '../replication/index.ts'
import { type Attributes, checkAttributes } from './versions/attributes.ts'
import type { BucketRow } from './buckets/bucket-row.ts'
import type { Buckets } from './buckets/buckets.ts'
import { changeObject } from './change-object.ts'
import { commitVersion, confirmBucket, placeIn, settingsAtCommit } from './commit.ts'
import { PutDigests } from './digests.ts'
import type { ObjectName, PutOptions } from './index.ts'
import { checkLocks, defaultRetention } from './versions/locks.ts'
import { checkKey } from './names.ts'
import { checkPrecondition, type CurrentVersion, type ObjectRow, withHeartbeat, withoutPending, withPending } from './object-row.ts'
import type { BlockKind, ObjectParts, StoredObject, WrittenContent } from './ports.ts'
import { redundancyOf, writeOptionsOf } from './buckets/redundancy.ts'
import { spreadOf, storedAs } from './versions/stored.ts'
import type { Version } from './versions/version.ts'

/**
 * The life of a put. The version id stands in the row's `pending` before any block is offered; blocks are at their write quorum before the
 * manifest above them, all of them before the commit; the bucket is looked at once more after the commit, before the ack. Content of 4 KiB or less takes
 * none of that: one write of the row.
 */
const heartbeatMs = 60 * 60 * 1000

export interface Put {
  readonly target: ObjectName
  /** The bytes; or a version whose blocks are to be this one's too. */
  readonly source: AsyncIterable<Uint8Array> | SharedSource
  readonly options: PutOptions
  /** Digests that are known already. */
  readonly carried?: Attributes
}

export interface SharedSource {
  readonly version: CurrentVersion
  /** Reads a block of it. */
  readonly get: (cid: Cid, options: BlockKind & { signal?: AbortSignal }) => Promise<Uint8Array>
}

/** What is acknowledged; the caller announces it, once it has told whoever waits. @throws as `Objects.put` */
export async function putObject (parts: ObjectParts, buckets: Buckets, put: Put): Promise<{ version: CurrentVersion, stored: StoredObject }> {
  checkKey(put.target.key)
  const readMs = parts.clock.monotonicMs()
  const bucket = await buckets.active(put.target.bucket)
  checkOptions(put.options, bucket, parts.clock.wallMs())
  await parts.quotas?.demandRoom(bucket, put.options.sizeBytes ?? 0)
  const upload = new Upload(parts, bucket, { ...put, bucketNow: async () => settingsAtCommit(parts, buckets, { bucket, readMs }) })
  try {
    const { version, stored } = await upload.store()
    await confirmBucket(parts, buckets, { bucket, key: put.target.key }, version)
    return { version, stored }
  } catch (error) {
    await upload.abandon(error)
    throw error
  }
}

interface BucketNow { readonly bucketNow: () => Promise<BucketRow> }

class Upload {
  readonly #parts: ObjectParts
  readonly #bucket: BucketRow
  readonly #put: Put & BucketNow
  readonly #version: Version
  readonly #writers: Readonly<Record<'whole' | 'large', ReturnType<Replication['writer']>>>
  #isSpread = false
  #pending: Promise<void> | undefined
  #stopHeartbeat = (): void => {}

  constructor (parts: ObjectParts, bucket: BucketRow, put: Put & BucketNow) {
    this.#parts = parts
    this.#bucket = bucket
    this.#put = put
    this.#version = parts.versions.fresh()
    const { whole, large } = redundancyOf(bucket)
    const writerOf = (redundancy: Redundancy): ReturnType<Replication['writer']> => parts.replication.writer({ versionId: this.#version.id, redundancy }, writeOptionsOf(bucket))
    this.#writers = { whole: writerOf(whole), large: writerOf(large) }
  }

  async store (): Promise<{ version: CurrentVersion, stored: StoredObject }> {
    const { source, options, carried = {}, target: { key } } = this.#put
    using digests = new PutDigests(options, options.digesting ?? this.#parts.digesting)
    try {
      const content = 'get' in source ? await this.#share(source) : await this.#write(digests.of(source))
      this.#checkSize(content.sizeBytes)
      const attributes = { ...carried, ...await digests.attributes() }
      const bucket = await this.#put.bucketNow()
      const made = await this.#versionOf(content, { bucket, attributes })
      options.signal?.throwIfAborted()
      const version = await commitVersion(this.#parts, { bucket, key }, made, options)
      this.#pending = undefined
      return { version, stored: { bucket: this.#bucket, key, version: this.#version, root: content.root, chunks: content.chunks } }
    } finally {
      this.#stopHeartbeat()
    }
  }

  /** Moves what was stored to `dropped`, if it can; otherwise the upload stands in `pending` until it is given up. */
  async abandon (reason: unknown): Promise<void> {
    if (this.#pending === undefined) return
    const refusal: unknown = await this.#pending.then(() => undefined, (error: unknown) => error)
    // nothing happened; after an unknown outcome it may be there all the same
    if (refusal !== undefined && !(refusal instanceof UnknownOutcome)) return
    try {
      await this.#change((row) => withoutPending(row, this.#version))
    } catch (error) {
      this.#parts.warn(`an upload of ${this.#put.target.bucket} failed (${String(reason)}) and stays pending`, error)
    }
  }

  async #write (source: AsyncIterable<Uint8Array>): Promise<WrittenContent> {
    const { signal, sizeBytes, askedBy } = this.#put.options
    return this.#parts.content.write(source, { bucket: this.#bucket, sizeBytes, askedBy, signal, put: async (cid, block, { mayBeSpread }) => { await this.#store(cid, block, { mayBeSpread, signal }) } })
  }

  /** Holders record that they keep the blocks for this version too; what too few of them have is read and put. */
  async #share ({ version, get }: SharedSource): Promise<WrittenContent> {
    const { signal } = this.#put.options
    const [{ content, sizeBytes }, redundancy] = [version, spreadOf(version)]
    const chunks: Cid[] = []
    let isTree = false
    for await (const batch of batches(this.#parts.content.blocksOf(content, { get, signal }))) {
      this.#pending ??= this.#begin()
      await this.#pending
      for (const kind of ['whole', 'large'] as const) {
        const cids = batch.filter(({ mayBeSpread }) => (kind === 'large') === (mayBeSpread && redundancy !== undefined)).map(({ cid }) => cid)
        const adopted = cids.length === 0 ? new Set() : await this.#writers[kind].adopt(cids, { signal })
        for (const cid of cids) if (!adopted.has(cid)) await this.#writers[kind].put(cid, await get(cid, { mayBeSpread: kind === 'large', signal }), { signal })
      }
      chunks.push(...batch.filter(({ mayBeSpread }) => mayBeSpread).map(({ cid }) => cid))
      isTree ||= batch.some(({ mayBeSpread }) => !mayBeSpread)
    }
    this.#isSpread = redundancy !== undefined
    // one that came in parts of no bytes has none, whatever its row says: then nothing is in `pending`
    return { sizeBytes, content, hasBlocks: this.#pending !== undefined, root: isTree ? this.#parts.content.rootOf(content) : undefined, chunks: isTree ? [] : chunks }
  }

  async #store (cid: Cid, block: Uint8Array, { mayBeSpread, signal }: BlockKind & { signal: AbortSignal | undefined }): Promise<void> {
    this.#pending ??= this.#begin()
    await this.#pending
    if (mayBeSpread) this.#isSpread = true
    await this.#writers[mayBeSpread ? 'large' : 'whole'].put(cid, block, { signal })
  }

  async #begin (): Promise<void> {
    await this.#change((row) => {
      checkPrecondition(row, this.#put.options)
      return withPending(row, this.#version)
    })
    this.#beat()
  }

  // the pending entry counts as alive while its count rises; the clock that matters is each observer's own, monotonic
  #beat (): void {
    this.#stopHeartbeat = this.#parts.clock.after(this.#parts.heartbeatMs ?? heartbeatMs, () => {
      this.#change((row) => withHeartbeat(row, this.#version))
        .catch((error: unknown) => { this.#parts.warn('an upload could not show that it is alive', error) })
      this.#beat()
    })
  }

  async #change (next: (row: ObjectRow) => ObjectRow | undefined): Promise<void> {
    await changeObject<void>(this.#parts, placeIn(this.#bucket, this.#put.target.key), (row) => {
      const changed = next(row)
      return changed === undefined ? { kind: 'keep', result: undefined } : { kind: 'move', to: { row: changed }, result: undefined }
    })
  }

  #checkSize (sizeBytes: number): void {
    const { sizeBytes: expected } = this.#put.options
    if (expected !== undefined && expected !== sizeBytes) throw new InvalidInput('size', `${expected} bytes were announced, ${sizeBytes} came; nothing was stored`)
  }

  /** `bucket`: what it says now; how blocks are kept is what it said when they were. */
  async #versionOf ({ sizeBytes, content, hasBlocks }: WrittenContent, { bucket, attributes: digests }: { bucket: BucketRow, attributes: Attributes }): Promise<CurrentVersion> {
    const { contentType, metadata = {} } = this.#put.options
    const { large } = redundancyOf(this.#bucket)
    const nowMs = await this.#parts.dates.present({ signal: this.#put.options.signal })
    const attributes = { ...attributesIn(this.#put.options, bucket, nowMs), ...digests }
    const spread = this.#isSpread && large.k > 1 ? { redundancy: large } : {}
    return {
      ...this.#version, ...spread, ...(hasBlocks ? storedAs(this.#version, this.#bucket, { copies: this.#bucket.copies, ...spread }) : {}), sizeBytes, modifiedMs: nowMs, contentType, metadata, content, hasBlocks,
      ...(Object.keys(attributes).length === 0 ? {} : { attributes }),
    }
  }
}

/** What a put's options say of a version beside its content. */
export function attributesIn ({ headers, tags, retention, isHeld = false }: Pick<PutOptions, 'headers' | 'tags' | 'retention' | 'isHeld'>, bucket: BucketRow, nowMs: number): Attributes {
  const locked = retention ?? defaultRetention(bucket, nowMs)
  return {
    ...(headers === undefined || Object.keys(headers).length === 0 ? {} : { headers }),
    ...(tags === undefined || tags.length === 0 ? {} : { tags }),
    ...(locked === undefined ? {} : { retention: locked }),
    ...(isHeld ? { isHeld } : {}),
  }
}

const metadataLimits = { maxBytes: 2048, maxContentTypeBytes: 256 } as const

/** @throws InvalidInput */
export function checkOptions (options: Pick<PutOptions, 'metadata' | 'contentType' | 'headers' | 'tags' | 'retention' | 'isHeld'>, bucket: BucketRow, nowMs: number): void {
  const { metadata = {}, contentType = '' } = options
  const bytes = Object.entries(metadata).reduce((sum, [name, value]) => sum + Buffer.byteLength(name) + Buffer.byteLength(value), 0)
  if (bytes > metadataLimits.maxBytes) throw new InvalidInput('metadata', `metadata has at most ${metadataLimits.maxBytes} bytes of names and values; this has ${bytes}`)
  if (Buffer.byteLength(contentType) > metadataLimits.maxContentTypeBytes) throw new InvalidInput('content type', `a content type has at most ${metadataLimits.maxContentTypeBytes} bytes`)
  checkAttributes(attributesIn(options, bucket, nowMs))
  checkLocks({ retention: options.retention, ...(options.isHeld === true ? { isHeld: true } : {}) }, bucket, nowMs)
}

/** Blocks told of at once. */
const batchSize = 500

async function * batches<T> (items: AsyncIterable<T>): AsyncIterable<readonly T[]> {
  let batch: T[] = []
  for await (const item of items) {
    batch.push(item)
    if (batch.length < batchSize) continue
    yield batch
    batch = []
  }
  if (batch.length > 0) yield batch
}
