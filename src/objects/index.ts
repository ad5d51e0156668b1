export { objectStore } from './store.ts'
export { describeRow } from './describe.ts'
export type { ContentCodec, ObjectParts, StoredObject, WrittenContent } from './ports.ts'
export { redundancyLimits, redundancyText } from './redundancy.ts'
export type { Version, Versions } from './version.ts'

/**
 * Buckets and objects: the life of a put, a get, a delete and a listing, over rows, files and replicated blocks.
 * This is the door that faces translate to.
 */
export interface Objects {
  /** @throws Conflict if the name is taken, InvalidInput, Refused, Unavailable */
  createBucket (name: string, options?: Partial<BucketOptions>, wait?: { signal?: AbortSignal }): Promise<Bucket>
  /**
   * For what is put from now on; what is there stays as it was stored. One of the two: the other no longer holds.
   * @throws NotFound, Conflict while it is being removed, InvalidInput, Refused if fewer nodes hold blocks than there are shards
   */
  setRedundancy (name: string, redundancy: { readonly copies: number } | { readonly shards: string }, wait?: { signal?: AbortSignal }): Promise<Bucket>
  listBuckets (wait?: { signal?: AbortSignal }): Promise<readonly Bucket[]>
  /** @throws NotFound */
  bucket (name: string, wait?: { signal?: AbortSignal }): Promise<Bucket>
  /** @throws NotFound, Conflict if it is not empty */
  removeBucket (name: string, wait?: { signal?: AbortSignal }): Promise<void>

  /**
   * Stores `source` under `key` (1-1,024 bytes of UTF-8). When it resolves the version is on disk at its write quorum, and its row at a majority.
   * @throws NotFound (bucket), Conflict (precondition), Unavailable, UnknownOutcome, StoreFull, InvalidInput
   */
  put (target: ObjectName, source: AsyncIterable<Uint8Array>, options?: PutOptions): Promise<ObjectInfo>
  /** Opens one version for reading; bytes come in order, verified, a window ahead. @throws NotFound, Unavailable, InvalidInput (range) */
  get (target: ObjectName, options?: GetOptions): Promise<ObjectReading>
  /** @throws NotFound */
  head (target: ObjectName, options?: { signal?: AbortSignal }): Promise<ObjectInfo>
  /** Absent is fine: resolves to whether there was one. @throws Conflict (if-match) */
  remove (target: ObjectName, options?: { signal?: AbortSignal, ifMatch?: string }): Promise<boolean>
  /** Byte order of keys. */
  list (bucket: string, options?: ListOptions): Promise<ObjectPage>
}

export interface ObjectName {
  readonly bucket: string
  readonly key: string
}

export interface BucketOptions {
  /** Copies of each block: 1 to 3 ("rf:n"). Default 3, counted as the number of nodes when there are fewer. With `shards` it follows from them. */
  readonly copies: number
  /** "k+m" ("rs:k+m"): blocks of objects of 256 KiB and more are kept in k + m Reed-Solomon shards, of which any k suffice; k from 2, k + m ≤ 8. */
  readonly shards?: string
  /** Random keys, fixed chunks, padding, no compression, no deduplication. */
  readonly isPrivate: boolean
  readonly compression: 'auto' | 'off'
  /** 'content' (default), 'fixed', or 'content-small' for data edited in place. */
  readonly chunking: 'content' | 'content-small' | 'fixed'
  /** Where equal content is one block: within the bucket (default) or over the cluster. */
  readonly dedup: 'bucket' | 'cluster'
  /** 'allow': where only two nodes hold blocks, one copy acknowledges, so that the death of one leaves writes going. 'refuse' (default): it takes both. */
  readonly degraded?: 'refuse' | 'allow'
}

export interface Bucket extends BucketOptions {
  readonly name: string
  /** 16 bytes, hexadecimal. */
  readonly id: string
  /** ISO 8601, by the clock of the node that made it. */
  readonly created: string
}

export interface ObjectInfo extends ObjectName {
  readonly sizeBytes: number
  /** Strong, without quotes; differs for every version. */
  readonly etag: string
  /** Version id, 32 bytes hexadecimal. */
  readonly versionId: string
  /** ISO 8601, by the clock of the writer's node. */
  readonly modified: string
  readonly contentType: string | undefined
  readonly metadata: Readonly<Record<string, string>>
}

export interface PutOptions {
  readonly signal?: AbortSignal
  readonly contentType?: string
  /** At most 2 KiB in all. */
  readonly metadata?: Readonly<Record<string, string>>
  /** An etag, or '*' for "only if it exists". */
  readonly ifMatch?: string
  /** '*': only if it does not exist. */
  readonly ifNoneMatch?: '*'
  /** If known, checked against what came: a source that ends early stores nothing. */
  readonly sizeBytes?: number
}

/** First byte and, inclusive, last; undefined last: to the end. A negative first counts from the end ("the last n bytes"). */
export interface ByteRange { readonly first: number, readonly last?: number }

export interface GetOptions {
  readonly signal?: AbortSignal
  readonly range?: ByteRange
  /** Conflict unless the current version's etag is this one: for resuming. */
  readonly ifMatch?: string
}

export interface ObjectReading {
  readonly info: ObjectInfo
  /** Resolved against the size: first and, exclusive, end. */
  readonly range: { readonly first: number, readonly end: number }
  readonly body: AsyncIterable<Uint8Array>
  /** Fills as the body is read: where the blocks came from, in bytes. */
  readonly sources: { readonly local: number, readonly cache: number, readonly peers: ReadonlyMap<string, number> }
}

export interface ListOptions {
  readonly signal?: AbortSignal
  readonly prefix?: string
  readonly delimiter?: string
  /** Only keys above this one (byte order). */
  readonly after?: string
  /** 1 to 1,000 (default). */
  readonly limit?: number
}

export interface ObjectPage {
  readonly objects: readonly ObjectInfo[]
  readonly prefixes: readonly string[]
  /** Pass as `after`; undefined: nothing more. */
  readonly next: string | undefined
}
