import { concat, fromHex, hexOf, MalformedBytes } from '../base/bytes.ts'
import { type Cid, cidOf, cidOfDigest, digestOf, parseCid } from '../base/cid.ts'
import { DiskPieces, type PieceStats, type Shelf } from './disk-pieces.ts'
import { BlockCorrupt, BlockMissing, type Blocks, ShardCorrupt, ShardMissing, type Shards } from './index.ts'
import { PieceDisk, type PieceDiskOptions } from './piece-disk.ts'
import { checkCode, decodeShard, encodeShard, listLength, parseShardKey, type ShardKey, shardKeyOf, type ShardName } from './shard.ts'

/**
 * Blocks and shards of blocks on this node's disk, with one quota, one reserve and one fate: what each of them is on disk is told in disk-pieces.ts. A large
 * block is `blocks/large/a/b/<cid>`, a large shard `blocks/large/a/b/<cid>.<k>.<m>.<index>.<list>`.
 *
 * The index also lists large pieces with their sizes. Of a block that is for counting at the start alone, and an entry may be missing after a crash; but
 * which shards of a block are here is asked of the index, so a shard's entry is synced before the shard counts as stored.
 */
export interface DiskBlocks extends Blocks {
  readonly shards: DiskShards
  stats (): BlockStats
  /** Takes writes again if the disk, which its index found full, has room again. The next write does so too. */
  recover (): Promise<void>
  /**
   * What was seen of a block before the call is on disk for good when it resolves: a file can be seen as soon as it is renamed, while its folder is still
   * being synced, or never was by a process that was killed. @throws StoreReadOnly: nothing is certain any more; what a put under way says
   */
  settled (cid: Cid): Promise<void>
  /** What lies in one folder of files (of `pieceFolders`, from 0) and is not in the index is entered; gives how many. For a walk over all of them. */
  enterFolder (at: number): Promise<number>
}

export interface DiskShards extends Shards {
  /** As of blocks. */
  settled (name: ShardName): Promise<void>
}

export interface BlockStats extends PieceStats {
  /** Shards among them. */
  readonly shards: number
  readonly isReadOnly: boolean
  /** What failed, if it is, and when that ends. */
  readonly readOnlyReason?: string
}

export interface DiskBlocksOptions extends PieceDiskOptions {
  readonly onCorrupt: (cid: Cid) => void
  readonly onCorruptShard?: (name: ShardName) => void
}

export async function openDiskBlocks (options: DiskBlocksOptions): Promise<DiskBlocks> {
  const disk = await PieceDisk.open(options)
  const blocks = await DiskPieces.open(disk, blockShelf(options.onCorrupt))
  const shards = await DiskPieces.open(disk, shardShelf(options.onCorruptShard ?? (({ cid }) => { options.onCorrupt(cid) })))
  return {
    shards: shardsOver(shards),
    stats () {
      const [ofBlocks, ofShards, reason] = [blocks.stats, shards.stats, disk.readOnlyReason]
      return {
        count: ofBlocks.count + ofShards.count, bytes: ofBlocks.bytes + ofShards.bytes, corrupt: ofBlocks.corrupt + ofShards.corrupt, shards: ofShards.count,
        isReadOnly: reason !== undefined, ...(reason === undefined ? {} : { readOnlyReason: reason }),
      }
    },
    recover: async () => disk.recover(),
    get: async (cid) => blocks.get(parseCid(cid)),
    async put (cid, block) {
      if (cidOf(block) !== parseCid(cid)) throw new BlockCorrupt(cid)
      await blocks.put(cid, block)
    },
    settled: async (cid) => blocks.settled(cid),
    has: async (cid) => blocks.has(parseCid(cid)),
    delete: async (cid) => blocks.delete(parseCid(cid)),
    list: () => blocks.list(),
    enterFolder: async (at) => await blocks.enterFolder(at) + await shards.enterFolder(at),
  }
}

/** The last characters of a CID are as good as random; the first are the same for all. */
const spreadBy = (cid: string): string => cid.slice(-1) + cid.slice(-2, -1)

const blockShelf = (onCorrupt: (cid: Cid) => void): Shelf<Cid> => ({
  kinds: { small: 1, large: 2, setAside: 4 },
  keyOf: digestOf,
  nameOf: cidOfDigest,
  parse: (text) => text.includes('.') ? undefined : parseCid(text),
  spreadBy,
  isRight: (cid, block) => cidOf(block) === cid,
  missing: (cid, options) => new BlockMissing(cid, options),
  corrupt: (cid) => new BlockCorrupt(cid),
  onCorrupt,
  isFoundByIndex: false,
})

const shardShelf = (onCorrupt: (name: ShardName) => void): Shelf<ShardKey> => ({
  kinds: { small: 8, large: 9, setAside: 10 },
  /** digest(32) | k | m | index | list(16) */
  keyOf (key) {
    const { cid, k, m, index, list } = parseShardKey(key)
    return concat([digestOf(cid), Uint8Array.of(k, m, index), fromHex(list)])
  },
  nameOf (bytes) {
    const [k = 0, m = 0, index = 0] = bytes.subarray(32)
    checkCode({ k, m })
    if (index >= k + m || bytes.byteLength !== 32 + 3 + listLength) throw new MalformedBytes('a key of no shard')
    return shardKeyOf({ cid: cidOfDigest(bytes.subarray(0, 32)), k, m, index, list: hexOf(bytes.subarray(32 + 3)) })
  },
  parse: (text) => text.includes('.') ? shardKeyOf(parseShardKey(text)) : undefined,
  spreadBy: (key) => spreadBy(parseShardKey(key).cid),
  isRight (key, record) {
    try {
      return shardKeyOf(decodeShard(record)) === key
    } catch (error) {
      if (error instanceof MalformedBytes) return false
      throw error
    }
  },
  missing: (key, options) => new ShardMissing(parseShardKey(key), options),
  corrupt: (key) => new ShardCorrupt(parseShardKey(key)),
  onCorrupt: (key) => { onCorrupt(parseShardKey(key)) },
  isFoundByIndex: true,
})

const shardsOver = (pieces: DiskPieces<ShardKey>): DiskShards => ({
  get: async (name) => decodeShard(await pieces.get(shardKeyOf(name))),
  put: async (shard) => pieces.put(shardKeyOf(shard), concat(encodeShard(shard))),
  has: async (name) => pieces.has(shardKeyOf(name)),
  delete: async (name) => pieces.delete(shardKeyOf(name)),
  async * of (cid) { for await (const key of pieces.under(digestOf(parseCid(cid)))) yield parseShardKey(key) },
  async * list () { for await (const key of pieces.list()) yield parseShardKey(key) },
  settled: async (name) => pieces.settled(shardKeyOf(name)),
})
