import { ShardMissing, type Shards } from './index.ts'
import { type Shard, type ShardKey, shardKeyOf } from './shard.ts'

/** Shards in a map: for tests, and wherever nothing needs to last. */
export function memoryShards (): Shards {
  const shards = new Map<ShardKey, Shard>()
  return {
    async get (name) {
      const shard = shards.get(shardKeyOf(name))
      if (shard === undefined) throw new ShardMissing(name)
      return shard
    },
    put: async (shard) => { shards.set(shardKeyOf(shard), shard) },
    has: async (name) => shards.has(shardKeyOf(name)),
    delete: async (name) => { shards.delete(shardKeyOf(name)) },
    async * of (cid) { yield * [...shards.values()].filter((shard) => shard.cid === cid) },
    async * list () { yield * shards.values() },
  }
}
