import type { Digesting } from '../base/checksums.ts'
import type { Cid } from '../base/cid.ts'
import type { Clock } from '../base/clock.ts'
import type { Random } from '../base/random.ts'
import type { Replication } from '../replication/index.ts'
import type { Registers } from '../tables/index.ts'
import type { BucketRow } from './buckets/bucket-row.ts'
import type { BucketsParts } from './buckets/buckets.ts'
import type { Quotas } from './buckets/quotas.ts'
import type { Version, Versions } from './versions/version.ts'

/** What the engine is given by the node. */
export interface ObjectParts {
  readonly registers: Registers
  readonly replication: Replication
  readonly content: ContentCodec
  readonly versions: Versions
  readonly clock: Clock
  readonly random: Random
  /** Dates that a majority of voters' clocks stand for: of what is written now, and what is past where that deletes (tables/agreed-date.ts). */
  readonly dates: {
    /** @throws Unavailable */
    present (wait?: { signal?: AbortSignal }): Promise<number>
    /** @throws Unavailable */
    past (wait?: { signal?: AbortSignal }): Promise<number>
  }
  /** How often an upload shows that it goes on. Default: an hour, of the day that it may stand still. */
  readonly heartbeatMs?: number
  readonly settleLayout: BucketsParts['settleLayout']
  readonly blockPlaces: BucketsParts['blockPlaces']
  /** Where digests are taken. Default: on this thread. */
  readonly digesting?: Digesting
  /** Made by the engine itself. */
  readonly quotas?: Quotas
  /** Told after the ack; must not throw. */
  readonly announce: (stored: StoredObject) => void
  /** A version's blocks may be garbage: kept for the log. */
  readonly warn: (message: string, cause: unknown) => void
}

/** Bytes to blocks and back; file/ over encryption/. */
export interface ContentCodec {
  /**
   * Cuts, seals and hands over every block to `put`, a bounded number at once. Small content (≤ 4 KiB) never calls `put`.
   * Rejects with the first failure, having stopped the source. `sizeBytes`: what was announced, if anything; `askedBy`: as of a put. @throws TooManyPuts before a byte is read, or from a source that stands still
   */
  write (source: AsyncIterable<Uint8Array>, options: { bucket: BucketRow, sizeBytes?: number, askedBy?: string, signal?: AbortSignal, put: (cid: Cid, block: Uint8Array, of: BlockKind) => Promise<void> }): Promise<WrittenContent>
  /** As `write`, of a part of an object: whatever there is of it is sealed, and may be spread; only nothing has no block. */
  writePart (source: AsyncIterable<Uint8Array>, options: { bucket: BucketRow, sizeBytes?: number, askedBy?: string, signal?: AbortSignal, put: (cid: Cid, block: Uint8Array, of: BlockKind) => Promise<void> }): Promise<WrittenContent>
  /** Parts as one, in their order: a manifest over the chunks of all. Reads and puts nodes of manifests alone. @throws Corrupt, Unavailable */
  join (parts: AsyncIterable<Uint8Array>, options: { signal?: AbortSignal, put: (cid: Cid, block: Uint8Array, of: BlockKind) => Promise<void>, get: (cid: Cid, options: BlockKind & { signal?: AbortSignal }) => Promise<Uint8Array> }): Promise<WrittenContent>
  /**
   * Part of a content, which is not inline, as a part of an object in the same domain: chunks that lie whole in the range are given to `share`, hundreds at once,
   * which resolves when they are kept as if they had been put. @throws Corrupt, Unavailable
   */
  excerpt (content: Uint8Array, options: {
    bucket: BucketRow, range: { first: number, end: number }, signal?: AbortSignal, share: (cids: readonly Cid[]) => Promise<void>
    put: (cid: Cid, block: Uint8Array, of: BlockKind) => Promise<void>, get: (cid: Cid, options: BlockKind & { signal?: AbortSignal }) => Promise<Uint8Array>
  }): Promise<WrittenContent>
  /** Bytes first ≤ i < end in order, verified. @throws Corrupt, Unavailable */
  read (content: Uint8Array, options: { bucket: BucketRow, range: { first: number, end: number }, signal?: AbortSignal, get: (cid: Cid, options: BlockKind & { signal?: AbortSignal }) => Promise<Uint8Array> }): AsyncIterable<Uint8Array>
  /** Every block of it: chunks, and nodes of its manifest, which are read for that. @throws Corrupt, Unavailable */
  blocksOf (content: Uint8Array, options: { signal?: AbortSignal, get: (cid: Cid, options: BlockKind & { signal?: AbortSignal }) => Promise<Uint8Array> }): AsyncIterable<BlockKind & { readonly cid: Cid }>
  /** What an announcement names of it. */
  namesOf (content: Uint8Array): Pick<WrittenContent, 'root' | 'chunks'>
  /** The block that stands for the whole object: what its providers are found by. Undefined without blocks. */
  rootOf (content: Uint8Array): Cid | undefined
}

export interface BlockKind {
  /** May be kept in shards: not a manifest node, nor, when it is written, a chunk of a small object. */
  readonly mayBeSpread: boolean
}

export interface WrittenContent {
  readonly sizeBytes: number
  /** For the row. */
  readonly content: Uint8Array
  readonly hasBlocks: boolean
  /** Root of the manifest, if there is one. */
  readonly root: Cid | undefined
  /** The chunks the row lists, if it lists them (at most 8). */
  readonly chunks: readonly Cid[]
}

export interface StoredObject {
  readonly bucket: BucketRow
  readonly key: string
  readonly version: Version
  readonly root: Cid | undefined
  readonly chunks: readonly Cid[]
}
