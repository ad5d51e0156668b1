export { type Attributes, attributeLimits, type Checksum, type ChecksumAlgorithm, checksumAlgorithms, checksumBytes, type Parts, type Retention, type SystemHeaders, systemHeaderNames, type Tags } from './versions/attributes.ts'
export { type BucketSettings, type CorsRule, type LifecycleRule, type ObjectLock, type SettingsChange, settingsLimits, type Website } from './buckets/bucket-settings.ts'
export { type Lifecycle, lifecycleLimits, type LifecycleParts } from './work/lifecycle.ts'
export { DeletedObject, DigestMismatch, LockedVersion, NoSuchBucket, NoSuchRange, NothingToMatch, QuotaExceeded, TooManyPuts, WithoutLocks } from './errors.ts'
export { expiring, objectStore, sweepingRemoved } from './store.ts'
export { accessKeys, type AccessKeys, type NewAccessKey } from './access/access-keys.ts'
export { type AccessAction, accessActions, type AccessKey, accessKeyLimits, type AccessRight, isAllowed, isExpired, mayEnter, type SecretAccessKey } from './access/access-key.ts'
export { endOf, type Share } from './access/share.ts'
export { type FoundShare, type NewShare, shareLimits, type ShareLink, shares, type Shares } from './access/shares.ts'
export { Announcing, announcingLimits } from './work/announcing.ts'
export { Conversion, conversionLimits, type ConversionStatus } from './work/conversion.ts'
export { describeRow } from './describe.ts'
export type { ContentCodec, ObjectParts, StoredObject, WrittenContent } from './ports.ts'
export { redundancyLimits, redundancyOf, redundancyText } from './buckets/redundancy.ts'
export * from './uploads/index.ts'
export type { RemovedSweepParts } from './buckets/removed-sweep.ts'
export { UploadSweep } from './uploads/sweep.ts'
export type { Version, Versions } from './versions/version.ts'

import type { Digesting } from '../base/checksums.ts'
import type { Attributes, ChecksumAlgorithm, Retention, SystemHeaders, Tags } from './versions/attributes.ts'
import type { BucketSettings, SettingsChange } from './buckets/bucket-settings.ts'
import type { Uploads } from './uploads/index.ts'

/**
 * Buckets and objects: the life of a put, a get, a delete and a listing, over rows, files and replicated blocks.
 * This is the door that faces translate to.
 */
export interface Objects {
  /** @throws Conflict if the name is taken, InvalidInput, Refused, Unavailable */
  createBucket (name: string, options?: Partial<BucketOptions> & { readonly settings?: BucketSettings }, wait?: { signal?: AbortSignal }): Promise<Bucket>
  /**
   * For what is put from now on, and, in the background, for what is there (conversion.ts). One of the two: the other no longer holds.
   * @throws NotFound, Conflict while it is being removed, InvalidInput, Refused if fewer nodes hold blocks than there are shards
   */
  setRedundancy (name: string, redundancy: { readonly copies: number } | { readonly shards: string }, wait?: { signal?: AbortSignal }): Promise<Bucket>
  /** Changes what is named, by compare-and-set. @throws NotFound, Conflict while it is being removed, InvalidInput naming the setting */
  setBucketSettings (name: string, change: SettingsChange, wait?: { signal?: AbortSignal }): Promise<Bucket>
  /** Without their settings. */
  listBuckets (wait?: { signal?: AbortSignal }): Promise<readonly Bucket[]>
  /** @throws NotFound */
  bucket (name: string, wait?: { signal?: AbortSignal }): Promise<Bucket>
  /** Uploads under way go with it. @throws NotFound, Conflict if it is not empty: objects and kept versions count */
  removeBucket (name: string, wait?: { signal?: AbortSignal }): Promise<void>

  /**
   * Stores `source` under `key` (1-1,024 bytes of UTF-8). When it resolves the version is on disk at its write quorum, and its row at a majority.
   * @throws NotFound (bucket), Conflict (precondition), Unavailable, UnknownOutcome, StoreFull, InvalidInput, DigestMismatch: nothing was stored
   */
  put (target: ObjectName, source: AsyncIterable<Uint8Array>, options?: PutOptions): Promise<ObjectInfo>
  /** Opens one version for reading; bytes come in order, verified, a window ahead. @throws NotFound (DeletedObject), Unavailable, InvalidInput (range), Conflict (if-match) */
  get (target: ObjectName, options?: GetOptions): Promise<ObjectReading>
  /** @throws NotFound (DeletedObject) */
  head (target: ObjectName, options?: { signal?: AbortSignal } & OfVersion): Promise<ObjectInfo>
  /**
   * Without a version id: nothing is current any more; in a bucket that keeps versions a delete marker says so, on top of them. With one: that version, or
   * marker, is gone for good. Absent is fine. @throws Conflict (if-match), LockedVersion
   */
  remove (target: ObjectName, options?: RemoveOptions): Promise<Removal>
  /**
   * A new object with the content of another, which does not pass through the caller. Onto itself it changes what is beside the content.
   * @throws as `get` and `put`; InvalidInput for a copy onto itself that changes nothing
   */
  copy (source: ObjectName & OfVersion, target: ObjectName, options?: CopyOptions): Promise<ObjectInfo>
  /** What is beside the content and may change without it; atomic. @throws NotFound (DeletedObject), LockedVersion for a lock that is to be loosened, InvalidInput */
  setAttributes (target: ObjectName & OfVersion, change: AttributesChange, options?: { signal?: AbortSignal, mayBypassGovernance?: boolean }): Promise<ObjectInfo>
  /** Byte order of keys. */
  list (bucket: string, options?: ListOptions): Promise<ObjectPage>
  /** Byte order of keys, the newest version of each first; delete markers too. */
  listVersions (bucket: string, options?: ListVersionsOptions): Promise<VersionPage>

  readonly uploads: Uploads
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
  /** Undefined: none; a listing of buckets has them not. */
  readonly settings?: BucketSettings
  /** What its redundancy was when it was made, if that was changed since: what says nothing else was put with that. */
  readonly original?: Pick<BucketOptions, 'copies' | 'shards'>
}

export interface ObjectInfo extends ObjectName {
  readonly sizeBytes: number
  /** Strong, without quotes: the MD5 of the content, or `md5OfMd5s-parts`, where the version has them; else it differs for every version, and ends in "-1". */
  readonly etag: string
  /** Version id, 32 bytes hexadecimal. */
  readonly versionId: string
  /** Put while the bucket kept no versions: faces call it "null". */
  readonly isNullVersion: boolean
  /** ISO 8601, by the clocks of a majority of voters as the writer's node has last heard them. */
  readonly modified: string
  readonly contentType: string | undefined
  readonly metadata: Readonly<Record<string, string>>
  /** In a listing only digests, and of parts their number. */
  readonly attributes: Attributes
}

/** One version, by its id in hexadecimal or "null" for the one put while the bucket kept none. Undefined: the current one. */
export interface OfVersion { readonly versionId?: string }

/** Compared with the current version's visible etag. Of two that race for one state exactly one wins, wherever they come in. */
export interface Preconditions {
  /** An etag, or '*' for "only if it exists". */
  readonly ifMatch?: string
  /** '*': only if it does not exist; or an etag that it must not have. */
  readonly ifNoneMatch?: string
}

export type DigestAlgorithm = ChecksumAlgorithm | 'md5'
export type Digests = { readonly [algorithm in DigestAlgorithm]?: Uint8Array }

export interface PutOptions extends Preconditions {
  readonly signal?: AbortSignal
  /** The access key that puts, of which many share the node's memory. Undefined: whoever has the node's own token. */
  readonly askedBy?: string
  readonly contentType?: string
  /** At most 2 KiB in all. */
  readonly metadata?: Readonly<Record<string, string>>
  readonly headers?: SystemHeaders
  readonly tags?: Tags
  /** Undefined: the bucket's default. */
  readonly retention?: Retention
  readonly isHeld?: boolean
  /** If known, checked against what came: a source that ends early stores nothing. */
  readonly sizeBytes?: number
  /** The etag is the MD5 of the content. It costs 1.2 s of a core a GB, on a thread of its own. */
  readonly wantsMd5?: boolean
  /** Of the whole content; kept with the version. */
  readonly checksum?: ChecksumAlgorithm
  /** What the content's digests must be; a function is asked once the source has ended. One that differs stores nothing (DigestMismatch). */
  readonly expected?: Digests | (() => Digests | Promise<Digests>)
  /** Algorithms that a function `expected` may name, beside `checksum` and MD5 where that is wanted. */
  readonly digests?: readonly DigestAlgorithm[]
  /** Who takes digests of the very bytes of the source; undefined: the node does. */
  readonly digesting?: Digesting | undefined
}

export interface CopyOptions extends Preconditions {
  readonly signal?: AbortSignal
  /** Of the source. */
  readonly sourceIfMatch?: string
  readonly sourceIfNoneMatch?: string
  /** Instead of the source's. */
  readonly replace?: { readonly contentType?: string, readonly metadata?: Readonly<Record<string, string>>, readonly headers?: SystemHeaders }
  /** Where a website sends whoever asks for the copy, instead of the source's; null: nowhere. */
  readonly redirect?: string | null
  readonly tags?: Tags
  /** Locks are not copied. */
  readonly retention?: Retention
  readonly isHeld?: boolean
  /** As of a put: where the source has none, the content is read for it. */
  readonly wantsMd5?: boolean
  readonly checksum?: ChecksumAlgorithm
}

export interface AttributesChange {
  readonly tags?: Tags
  /** null: none any more, which only governance allows, and only with leave to bypass it. */
  readonly retention?: Retention | null
  readonly isHeld?: boolean
}

export interface RemoveOptions extends OfVersion {
  readonly signal?: AbortSignal
  readonly ifMatch?: string
  /** Retention in governance mode does not hold. */
  readonly mayBypassGovernance?: boolean
}

export interface Removal {
  /** Whether there was such an object, or version. */
  readonly wasThere: boolean
  /** What was made (a delete marker) or, with a version id, removed. Undefined in a bucket that never kept versions. */
  readonly versionId?: string
  readonly isNullVersion?: boolean
  /** Whether that is a delete marker. */
  readonly isDeleteMarker: boolean
}

/** First byte and, inclusive, last; undefined last: to the end. A negative first counts from the end ("the last n bytes"). */
export interface ByteRange { readonly first: number, readonly last?: number }

export interface GetOptions extends OfVersion {
  readonly signal?: AbortSignal
  readonly range?: ByteRange
  /** Conflict unless the version's etag is this one: for resuming. */
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

export interface ListVersionsOptions {
  readonly signal?: AbortSignal
  readonly prefix?: string
  readonly delimiter?: string
  /** Only what comes after this key, or after this version of it. */
  readonly after?: { readonly key: string, readonly versionId?: string }
  /** 1 to 1,000 (default). */
  readonly limit?: number
  /** The row of each object is read, one by one: what it names and is lost is told also where no other version of it is kept. Default: only where one is. */
  readonly areRowsRead?: boolean
}

export interface VersionPage {
  /** Attributes as in `ObjectPage`. */
  readonly versions: ReadonlyArray<ObjectInfo & { readonly isLatest: boolean, readonly isDeleteMarker: boolean }>
  /** Versions that their objects' rows name, and of which nothing else is there, as after the loss of a majority: all of those whose rows were read (`areRowsRead`). Undefined: none. */
  readonly lost?: ReadonlyArray<LostVersion>
  readonly prefixes: readonly string[]
  /** Pass as `after`; undefined: nothing more. */
  readonly next: { readonly key: string, readonly versionId?: string } | undefined
}

export interface LostVersion { readonly key: string, readonly versionId: string }
