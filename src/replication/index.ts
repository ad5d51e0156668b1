export { replication } from './replication.ts'
export { writeLimits, type WriterParts } from './writer.ts'
export { type ReaderParts } from './reader.ts'

import type { Cid } from '../base/cid.ts'
import type { PeerId } from '../base/peer-id.ts'
import type { Blocks } from '../blockstore/index.ts'
import type { Shard, ShardName } from '../blockstore/shard.ts'

/** rf:n is k = 1, m = n - 1, whole copies; rs:k+m, k from 2, is Reed-Solomon shards, of which any k make the block. */
export interface Redundancy {
  /** Shards (or copies) needed to read. */
  readonly k: number
  /** Shards (or copies) that may be lost. */
  readonly m: number
}

/** Distinct holders that must have a block on disk before a put is acknowledged: k + ⌈m/2⌉. */
export const writeQuorumOf = ({ k, m }: Redundancy): number => k + Math.ceil(m / 2)

/** Why a block is kept: recorded by its holder before it answers, so that collection can prove death later. */
export interface Reference {
  /** 32 bytes; a version of an object. */
  readonly versionId: Uint8Array
  readonly redundancy: Redundancy
}

export interface WriteOptions {
  /** Where only two nodes hold blocks, one of them may acknowledge alone: the death of one leaves writes going, and of both the last ones may be lost. */
  readonly isDegradedAllowed?: boolean
  /** Acknowledged with every copy, or shard, on disk, not at the write quorum: for what may go elsewhere once it is. */
  readonly isAllNeeded?: boolean
  /** No user waits for it: peers' own long work need not give way. */
  readonly isBackground?: boolean
}

/** What the engine asks of peers; protocols/ implements it over /dfs/store and /dfs/fetch, tests in memory. */
export interface BlockPeers {
  /**
   * Offers a block and sends it if wanted. Resolves when it is on that peer's disk with the reference (or was there already), or with why not.
   * Rejects if the peer cannot be asked. `isBackground`: no user waits for it, so the peer's own long work need not give way.
   */
  store (peer: PeerId, block: { cid: Cid, bytes: Uint8Array, reference: Reference }, options: { signal?: AbortSignal, isBackground?: boolean }): Promise<StoreOutcome>
  /** The block, checked against its CID, or 'not here'. Rejects on a peer that cannot be asked or lies (BlockCorrupt). */
  fetch (peer: PeerId, cid: Cid, options: { signal?: AbortSignal }): Promise<Uint8Array | 'not here'>
  /** As `store`, of one shard. */
  storeShard (peer: PeerId, offer: { shard: Shard, reference: Reference }, options: { signal?: AbortSignal, isBackground?: boolean }): Promise<StoreOutcome>
  /** A shard of a block, right by its own hash and of that block, or 'not here'. Rejects on a peer that cannot be asked or lies (Corrupt). */
  fetchShard (peer: PeerId, wanted: WantedShard, options: { signal?: AbortSignal }): Promise<FoundShard | 'not here'>
  /** What that peer has of these blocks, in their order, at most `presenceLimits.maxAsked`. It promises nothing. Rejects if the peer cannot be asked: then nothing is known, which is not "absent". */
  presence (peer: PeerId, cids: readonly Cid[], options: { signal?: AbortSignal }): Promise<readonly Presence[]>
  /** As `presence`, of shards of one code each. */
  shardPresence (peer: PeerId, wanted: ReadonlyArray<{ cid: Cid, redundancy: Redundancy }>, options: { signal?: AbortSignal }): Promise<readonly ShardPresence[]>
  /** Offers blocks with references, without their bytes, at most `presenceLimits.maxTold`. 'had': that peer keeps the block, or a shard if the reference wants shards of that code, and has recorded the reference. */
  tell (peer: PeerId, references: ReadonlyArray<{ cid: Cid, reference: Reference }>, options: { signal?: AbortSignal }): Promise<ReadonlyArray<StoreOutcome | 'want'>>
  /** What that peer has recorded of who needs these blocks, in their order, at most `presenceLimits.maxAskedLiving`. Rejects if the peer cannot be asked: then nothing is known. */
  living (peer: PeerId, cids: readonly Cid[], options: { signal?: AbortSignal }): Promise<readonly Living[]>
  /** Peers that answer now, nearest first. Never waits. */
  reachable (): readonly PeerId[]
}

export interface WantedShard {
  readonly cid: Cid
  /** Undefined: of any code. */
  readonly redundancy: Redundancy | undefined
  /** If it is not there, another of the same code will do. Undefined: whichever. */
  readonly index: number | undefined
  /** Lists of hashes that are known to be false: a shard under another one, if there is one. */
  readonly not: readonly string[]
}

export interface FoundShard {
  readonly shard: Shard
  /** Indexes of the shards of this code that are there. */
  readonly others: readonly number[]
}

export type StoreOutcome = 'stored' | 'had' | 'full' | 'refused'

/** What a holder has of a block, as it says. */
export interface Presence {
  /** held: on its disk for good, and not condemned; verified: its bytes too were right when they were last looked at. */
  readonly state: 'absent' | 'held' | 'verified'
  /** 32 bits of what it has recorded of references: equal if two have recorded the same. */
  readonly references: number
}

/** What a holder has of a block's shards of one code, as it says. */
export interface ShardPresence {
  readonly indexes: ReadonlySet<number>
  /** 32 bits of what it has recorded of references that want shards of this code. */
  readonly references: number
}

/** Who needs a block, as a holder has recorded it. */
export interface Living {
  /** Versions that this holder does not know to be dead, at most `presenceLimits.maxLiving`. */
  readonly versionIds: readonly Uint8Array[]
  /** How each of them wants it to be kept, in their order; undefined: a node that does not tell. */
  readonly redundancies?: readonly Redundancy[]
  readonly isMore: boolean
}

export const presenceLimits = {
  /** Blocks in a question who needs them. */
  maxAskedLiving: 200,
  /** Versions told of one of them. */
  maxLiving: 16,
  /** Blocks in one question. */
  maxAsked: 1000,
  /** References in one offer. */
  maxTold: 1000,
} as const

/** What this node holds for others and itself: blocks with their references, both durable before an answer. */
export interface Holder {
  /** Whether the block is here, fsynced, verified (`isReadAgain`: now, and not some time since the start) and not condemned; then the reference is recorded, durably, before it resolves. */
  keep (cid: Cid, reference: Reference, options?: { isReadAgain?: boolean }): Promise<'kept' | 'want'>
  /** @throws StoreFull, StoreReadOnly, BlockCorrupt */
  store (cid: Cid, block: Uint8Array, reference: Reference): Promise<void>
  /** As `keep` and `store`, of one shard. A block's references stand for all of it that is here. */
  keepShard (name: ShardName, reference: Reference, options?: { isReadAgain?: boolean }): Promise<'kept' | 'want'>
  storeShard (shard: Shard, reference: Reference): Promise<void>
  /** Those whose versions are not known to be dead. */
  references (cid: Cid): AsyncIterable<Reference>
  /** In the order of the question; some of them for each. */
  living (cids: readonly Cid[]): Promise<readonly Living[]>
  /** In the order of the question. @throws StoreReadOnly: nothing is certain */
  presence (cids: readonly Cid[]): Promise<readonly Presence[]>
  shardPresence (wanted: ReadonlyArray<{ cid: Cid, redundancy: Redundancy }>): Promise<readonly ShardPresence[]>
}

/** Where blocks belong now; from the layout, asked afresh for each block. Its length may exceed what a redundancy needs: the rest are substitutes. */
export interface Placement {
  holdersOf (cid: Cid): readonly PeerId[]
}

/** Finds other holders when those of the layout fail: whoever announced the object, found by gossip or over Kademlia. */
export interface Providers {
  find (cid: Cid, options: { signal: AbortSignal }): AsyncIterable<PeerId>
}

/** Where a read's bytes came from, in bytes of blocks. */
export interface TransferReport {
  local: number
  cache: number
  readonly peers: Map<PeerId, number>
}

/** Blocks of the whole cluster, bound to what one put or get needs. */
export interface Replication {
  /** For writing one version: `put` resolves at the write quorum; the remaining copies, or shards, follow in the background. */
  writer (reference: Reference, options?: WriteOptions): Pick<Blocks, 'put'> & {
    settled (): Promise<void>
    /** Those of the blocks that are there already, at their write quorum, now for this version too; no bytes move. At most `presenceLimits.maxTold`. The rest is to be put. */
    adopt (cids: readonly Cid[], options?: { signal?: AbortSignal }): Promise<ReadonlySet<Cid>>
  }
  /**
   * For one read: local disk, cache, holders nearest first (hedged when slow), then whoever announced it. `versionId`: whose announcements help; `root`: what
   * Kademlia is asked for; `redundancy`: how the version was written, so what is looked for first, whole copies or shards; the other is found too. `isPassing`:
   * nobody will read it again soon, so it is not cached.
   */
  reader (options?: { report?: TransferReport, versionId?: Uint8Array, root?: Cid, redundancy?: Redundancy, isPassing?: boolean }): Pick<Blocks, 'get'>
}
