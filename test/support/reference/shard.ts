import { cat, demand, fieldsOf, same, text, u32, u8, zeros } from './bytes.ts'
import { referenceShard } from './erasure.ts'
import { H } from './keys.ts'

/** docs/FORMAT.md, "Shards". */
export interface ShardRecord { readonly k: number, readonly m: number, readonly index: number, readonly blockLength: number, readonly digest: Uint8Array, readonly hashes: readonly Uint8Array[], readonly bytes: Uint8Array }

/** The records of all shards of a block. */
export function shardRecords (block: Uint8Array, k: number, m: number): Uint8Array[] {
  const length = Math.ceil(block.length / k)
  const pieces = Array.from({ length: k }, (_, i) => cat(block.slice(i * length, (i + 1) * length), zeros(length)).slice(0, length))
  const shards = Array.from({ length: k + m }, (_, i) => i < k ? pieces[i] as Uint8Array : referenceShard(pieces, i))
  return shards.map((bytes, index) => {
    const head = headOf({ k, m, index, blockLength: block.length, digest: H(block), hashes: shards.map((shard) => H(shard)), bytes })
    return cat(head, H(head), bytes)
  })
}

export const listName = (record: ShardRecord): Uint8Array => H(headOf({ ...record, index: 0 })).slice(0, 16)

const headOf = ({ k, m, index, blockLength, digest, hashes }: ShardRecord): Uint8Array => cat(text('DFSS'), u8(1), u8(k), u8(m), u8(index), u32(blockLength), digest, ...hashes)

export function openShardRecord (record: Uint8Array): ShardRecord {
  const fields = fieldsOf(record)
  demand(same(fields.take(4), text('DFSS')), 'magic')
  demand(fields.u8() === 1, 'version')
  const [k, m, index, blockLength] = [fields.u8(), fields.u8(), fields.u8(), fields.u32()]
  demand(k >= 1 && m >= 1 && k + m <= 32 && index < k + m, 'code')
  demand(blockLength <= 2 * 1024 * 1024 + 1024, 'block length')
  const digest = fields.take(32)
  const hashes = Array.from({ length: k + m }, () => fields.take(32))
  demand(same(H(record.slice(0, fields.at())), fields.take(32)), 'head')
  const bytes = fields.rest()
  demand(bytes.length === Math.ceil(blockLength / k), 'length')
  demand(same(H(bytes), hashes[index] as Uint8Array), 'bytes')
  return { k, m, index, blockLength, digest, hashes, bytes }
}
