export { NoSuchUpload, PartTooSmall, WrongOffset, WrongPart, WrongPartOrder } from './errors.ts'

import type { Digesting } from '../../base/checksums.ts'
import type { Checksum, ChecksumAlgorithm, Retention, SystemHeaders, Tags } from '../versions/attributes.ts'
import type { ByteRange, DigestAlgorithm, Digests, ObjectInfo, ObjectName, OfVersion, Preconditions } from '../index.ts'

/**
 * Objects that come in pieces, through any nodes, over days. Parts may come at once, in any order and again: the last put of a number counts. Nothing of it is
 * seen by readers before `complete`, which writes no byte of the content again. Every call names the object that the upload was begun for.
 */
export interface Uploads {
  /** @throws NotFound (bucket), InvalidInput, Refused if 64 uploads of this key are under way, Unavailable */
  create (target: ObjectName, options?: CreateUploadOptions): Promise<Upload>
  /**
   * When it resolves the part is on disk at its write quorum, and any node's `complete` finds it.
   * @throws NoSuchUpload, InvalidInput, DigestMismatch, Unavailable, StoreFull: the part is as it was before; UnknownOutcome (put it again)
   */
  putPart (target: ObjectName, uploadId: string, partNumber: number, source: AsyncIterable<Uint8Array>, options?: PutPartOptions): Promise<PartInfo>
  /** A part from another object; its bytes do not pass through the caller. @throws as `get` and `putPart` */
  copyPart (target: ObjectName, uploadId: string, partNumber: number, source: ObjectName & OfVersion, options?: CopyPartOptions): Promise<CopiedPart>
  /** In order of their numbers. @throws NoSuchUpload */
  listParts (target: ObjectName, uploadId: string, options?: ListPartsOptions): Promise<PartPage>
  /** In byte order of keys; of one key in any order that stays. @throws NotFound (bucket), InvalidInput */
  list (bucket: string, options?: ListUploadsOptions): Promise<UploadPage>
  /**
   * The object is these parts, in this order; parts that are not named are forgotten. To repeat it is fine: as long as the object is current the answer is the same.
   * @throws NoSuchUpload, WrongPart, WrongPartOrder, PartTooSmall, InvalidInput, DigestMismatch (checksum), Conflict (precondition), Unavailable, UnknownOutcome (repeat it)
   */
  complete (target: ObjectName, uploadId: string, parts: readonly NamedPart[], options?: CompleteOptions): Promise<ObjectInfo>
  /** Nothing of it is left. Parts still under way fail. @throws NoSuchUpload */
  abort (target: ObjectName, uploadId: string, options?: { signal?: AbortSignal }): Promise<void>

  /**
   * For one stream in several requests: goes on at `offset`, which must be where the upload is. What came is kept when the source fails (for a client that goes
   * away, let the source fail; `signal` gives up the part under way). Of several at once one goes on. Resolves to where the upload is then.
   * @throws NoSuchUpload, WrongOffset, Unavailable, StoreFull, UnknownOutcome (ask for `offset`), what the source throws
   */
  append (target: ObjectName, uploadId: string, offset: number, source: AsyncIterable<Uint8Array>, options?: { signal?: AbortSignal, askedBy?: string }): Promise<{ readonly offset: number }>
  /** Where it goes on. @throws NoSuchUpload */
  offset (target: ObjectName, uploadId: string, options?: { signal?: AbortSignal }): Promise<{ readonly offset: number }>
  /** The object is all that was appended. @throws as `complete`; WrongOffset if `sizeBytes` is not what is there */
  finish (target: ObjectName, uploadId: string, options?: FinishOptions): Promise<ObjectInfo>
}

export interface CreateUploadOptions {
  readonly signal?: AbortSignal
  readonly contentType?: string
  /** At most 2 KiB in all. */
  readonly metadata?: Readonly<Record<string, string>>
  readonly headers?: SystemHeaders
  readonly tags?: Tags
  /** Undefined: the bucket's default when it is completed. */
  readonly retention?: Retention
  readonly isHeld?: boolean
  /** Parts have MD5s and the etag is made of them, as clients of S3 expect. */
  readonly wantsMd5?: boolean
  /** Of each part; the object's is made of them: of all bytes (FULL_OBJECT, CRCs alone), or of the parts' checksums (COMPOSITE, not crc64nvme). */
  readonly checksum?: Pick<Checksum, 'algorithm' | 'type'>
}

export interface Upload extends ObjectName {
  /** Hexadecimal, 64 characters: the id that the object's version will have. */
  readonly uploadId: string
  /** ISO 8601, by the clock of the node that began it. */
  readonly initiated: string
  readonly checksum: Pick<Checksum, 'algorithm' | 'type'> | undefined
}

export interface PutPartOptions {
  readonly signal?: AbortSignal
  /** As of a put. */
  readonly askedBy?: string
  /** If known, checked against what came. */
  readonly sizeBytes?: number
  /** As of a put. */
  readonly expected?: Digests | (() => Digests | Promise<Digests>)
  readonly digests?: readonly DigestAlgorithm[]
  /** As of a put. */
  readonly digesting?: Digesting | undefined
}

export interface PartInfo {
  readonly partNumber: number
  readonly sizeBytes: number
  /** Without quotes: the MD5 where the upload wants it, else of the content in some other way. */
  readonly etag: string
  readonly checksum: Pick<Checksum, 'algorithm' | 'value'> | undefined
  /** ISO 8601, by the clock of the node that took it. */
  readonly modified: string
}

export interface CopyPartOptions {
  readonly signal?: AbortSignal
  readonly range?: ByteRange
  readonly sourceIfMatch?: string
  readonly sourceIfNoneMatch?: string
}

export interface CopiedPart extends PartInfo {
  readonly source: ObjectInfo
}

export interface ListPartsOptions {
  readonly signal?: AbortSignal
  /** Only numbers above this one. */
  readonly after?: number
  /** 1 to 1,000 (default). */
  readonly limit?: number
}

export interface PartPage {
  readonly upload: Upload
  readonly parts: readonly PartInfo[]
  /** Pass as `after`; undefined: nothing more. */
  readonly next: number | undefined
}

export interface ListUploadsOptions {
  readonly signal?: AbortSignal
  readonly prefix?: string
  readonly delimiter?: string
  /** Only what comes after this key, or after this upload of it. */
  readonly after?: { readonly key: string, readonly uploadId?: string }
  /** 1 to 1,000 (default). */
  readonly limit?: number
}

export interface UploadPage {
  readonly uploads: readonly Upload[]
  readonly prefixes: readonly string[]
  /** Pass as `after`; undefined: nothing more. */
  readonly next: { readonly key: string, readonly uploadId?: string } | undefined
}

export interface NamedPart {
  readonly partNumber: number
  /** As `putPart` gave it, with or without quotes. */
  readonly etag: string
  /** If it is told, and the upload was begun with checksums, it must be the part's. */
  readonly checksum?: { readonly algorithm: ChecksumAlgorithm, readonly value: Uint8Array }
}

export interface CompleteOptions extends Preconditions {
  readonly signal?: AbortSignal
  /** If known, checked against the sum of the parts. */
  readonly sizeBytes?: number
  /** What the object's checksum must be; of COMPOSITE the digest alone, without the number of parts. */
  readonly checksum?: Checksum
}

export interface FinishOptions extends Preconditions {
  readonly signal?: AbortSignal
  readonly sizeBytes?: number
}

export const uploadLimits = {
  maxParts: 10_000,
  /** Of a part; the last may have fewer. */
  minPartBytes: 5 * 1024 * 1024,
  maxPartBytes: 5 * 1024 * 1024 * 1024,
} as const
