import type { Cid } from '../base/cid.ts'
import { Corrupt, NotFound, Refused } from '../base/errors.ts'
import { isReadFault } from '../disk/index.ts'
import type { Shard, ShardName } from './shard.ts'

/**
 * The waist. On disk, in memory, with a quota, cached, replicated over the cluster: all are `Blocks`,
 * and who reads or writes cannot tell which it was given. One contract suite runs on every implementation.
 */
export interface Blocks {
  /** The whole block, its bytes checked against `cid`. @throws BlockMissing, BlockCorrupt, or what the disk said */
  get (cid: Cid, options?: { signal?: AbortSignal }): Promise<Uint8Array>
  /** Durable when it resolves. Storing what is there already is fine. @throws BlockCorrupt if the bytes are not `cid`'s; StoreFull; StoreReadOnly */
  put (cid: Cid, block: Uint8Array, options?: { signal?: AbortSignal }): Promise<void>
  /** Whether `get` would find it, without reading all of it. An error of the disk is thrown, never false. */
  has (cid: Cid, options?: { signal?: AbortSignal }): Promise<boolean>
  /** Absent is fine. */
  delete (cid: Cid): Promise<void>
  list (): AsyncIterable<Cid>
}

/** For who looks at many: one file of which the disk tells nothing, not even that it is there, is a copy that cannot be had, and holds up none of the others. */
export function orUnseen (error: unknown): false {
  if (!isReadFault(error)) throw error
  return false
}

/** Shards of blocks. One contract suite runs on every implementation. */
export interface Shards {
  /** Its bytes checked against its own hash. @throws ShardMissing, ShardCorrupt, or what the disk said */
  get (name: ShardName): Promise<Shard>
  /** Durable when it resolves. Of a shard that `decodeShard` gave, or that was just made. @throws StoreFull, StoreReadOnly */
  put (shard: Shard): Promise<void>
  has (name: ShardName): Promise<boolean>
  /** Absent is fine. */
  delete (name: ShardName): Promise<void>
  /** Which shards of a block are here. */
  of (cid: Cid): AsyncIterable<ShardName>
  list (): AsyncIterable<ShardName>
}

/** Not in this store. Ask another holder. */
export class BlockMissing extends NotFound {
  override name = 'BlockMissing'
  readonly cid: Cid
  constructor (cid: Cid, options?: ErrorOptions) { super(`block ${cid} is not here`, options); this.cid = cid }
}

/** The bytes do not hash to the CID. Ask another holder; report to repair. */
export class BlockCorrupt extends Corrupt {
  override name = 'BlockCorrupt'
  readonly cid: Cid
  constructor (cid: Cid, options?: ErrorOptions) { super(`block ${cid} is not what its address says`, options); this.cid = cid }
}

/** A failed fsync put the store out of writing until it is opened afresh. */
export class StoreReadOnly extends Refused {
  override name = 'StoreReadOnly'
}

const nameIn = ({ cid, k, m, index }: ShardName): string => `shard ${index} (of ${k}+${m}) of block ${cid}`

/** Ask another holder, for this shard or another. */
export class ShardMissing extends NotFound {
  override name = 'ShardMissing'
  readonly shard: ShardName
  constructor (shard: ShardName, options?: ErrorOptions) { super(`${nameIn(shard)} is not here`, options); this.shard = shard }
}

/** Not what it says of itself. Ask another holder, for this shard or another; report to repair. */
export class ShardCorrupt extends Corrupt {
  override name = 'ShardCorrupt'
  readonly shard: ShardName
  constructor (shard: ShardName, options?: ErrorOptions) { super(`${nameIn(shard)} is not what it was`, options); this.shard = shard }
}
