import { ByteReader, ByteWriter, concat, equals, hexOf, MalformedBytes, utf8 } from '../base/bytes.ts'
import { type Cid, cidOfDigest, digestOf, parseCid } from '../base/cid.ts'
import { hash, hashLength } from '../base/hash.ts'

/**
 * A Reed-Solomon piece of a block, as it is stored and sent. It proves itself but not its block: its head names the block and the hashes of all k + m shards,
 * and only k shards under one and the same list make a block, which its CID then judges. Whoever made up a list can fill it with anything, so lists
 * have a name, and what is said under one says nothing about another.
 *
 * record = head | H(head)(32) | bytes
 * head   = "DFSS" | 01 | k u8 | m u8 | index u8 | u32 block length | H(block)(32) | (k + m) × H(bytes of shard)(32)
 */
export interface Shard extends ShardName {
  readonly blockLength: number
  /** Of all k + m shards, in order; 32 bytes each. */
  readonly hashes: readonly Uint8Array[]
  readonly bytes: Uint8Array
}

/** Which shard. */
export interface ShardName {
  readonly cid: Cid
  readonly k: number
  readonly m: number
  /** Below k + m. */
  readonly index: number
  /** The list of hashes it belongs to: first 16 bytes of a hash over all that the heads of one list share, hexadecimal. */
  readonly list: string
}

export const shardLimits = {
  /** k and m together. */
  maxShards: 32,
  /** The longest block of which there are shards: 2 MiB and its overhead. */
  maxBlockBytes: 2 * 1024 * 1024 + 1024,
} as const

/** Longer than any shard's head with its hash. */
export const maxShardHeadBytes = 12 + hashLength * (shardLimits.maxShards + 2)

const [magic, version] = [utf8('DFSS'), 1]
export const listLength = 16

export const shardBytesOf = ({ blockLength, k }: { blockLength: number, k: number }): number => Math.ceil(blockLength / k)

/** The head of a shard under a list that is being made: its list's name, and the record around its bytes. */
export function listOf ({ cid, k, m, blockLength, hashes }: Omit<Shard, 'index' | 'list' | 'bytes'>): string {
  return hexOf(hash(headOf({ cid, k, m, blockLength, hashes, index: 0 })).subarray(0, listLength))
}

/** The record, in parts: its head, and the shard's bytes as they are. */
export function encodeShard (shard: Omit<Shard, 'list'>): [head: Uint8Array, bytes: Uint8Array] {
  const head = headOf(shard)
  return [concat([head, hash(head)]), shard.bytes]
}

function headOf ({ cid, k, m, index, blockLength, hashes }: Omit<Shard, 'list' | 'bytes'>): Uint8Array {
  return new ByteWriter().raw(magic).u8(version).u8(k).u8(m).u8(index).u32(blockLength).raw(digestOf(cid)).raw(concat([...hashes])).finish()
}

/** What the bytes say of themselves, with every hash checked; views of them. @throws MalformedBytes */
export function decodeShard (record: Uint8Array): Shard {
  const reader = new ByteReader(record)
  if (!equals(reader.raw(magic.byteLength), magic)) throw new MalformedBytes('not a shard')
  const is = reader.u8()
  if (is !== version) throw new MalformedBytes(`a shard of version ${is}`)
  const [k, m, index] = [reader.u8(), reader.u8(), reader.u8()]
  checkCode({ k, m })
  if (index >= k + m) throw new MalformedBytes(`shard ${index} of ${k}+${m}`)
  const blockLength = reader.u32()
  if (blockLength > shardLimits.maxBlockBytes) throw new MalformedBytes(`a shard of a block of ${blockLength} bytes`)
  const cid = cidOfDigest(reader.raw(hashLength))
  const hashes = Array.from({ length: k + m }, () => reader.raw(hashLength))
  const head = record.subarray(0, reader.offset)
  if (!equals(hash(head), reader.raw(hashLength))) throw new MalformedBytes('the head of a shard is damaged')
  const bytes = reader.rest()
  if (bytes.byteLength !== shardBytesOf({ blockLength, k })) throw new MalformedBytes(`a shard of ${bytes.byteLength} bytes of a block of ${blockLength}`)
  if (!equals(hash(bytes), hashes[index] as Uint8Array)) throw new MalformedBytes('the bytes of a shard are damaged')
  return { cid, k, m, index, blockLength, hashes, bytes, list: listOf({ cid, k, m, blockLength, hashes }) }
}

/** @throws MalformedBytes */
export function checkCode ({ k, m }: { readonly k: number, readonly m: number }): void {
  if (!isCode({ k, m })) throw new MalformedBytes(`there are no shards of ${k}+${m}`)
}

/** Whether there can be shards of this code. */
export const isCode = ({ k, m }: { readonly k: number, readonly m: number }): boolean => k >= 1 && m >= 1 && k + m <= shardLimits.maxShards

/** A shard's name in one word: a key of maps, and the name of its file. */
export type ShardKey = string & { readonly __brand: 'ShardKey' }

export const shardKeyOf = ({ cid, k, m, index, list }: ShardName): ShardKey => [cid, k, m, index, list].join('.') as ShardKey

/** @throws MalformedBytes */
export function parseShardKey (text: string): ShardName {
  const [cid = '', k, m, index, list = ''] = text.split('.')
  const name = { cid: parseCid(cid), k: Number(k), m: Number(m), index: Number(index), list }
  checkCode(name)
  if (shardKeyOf(name) !== text || !(name.index >= 0 && name.index < name.k + name.m) || !/^[0-9a-f]{32}$/.test(list)) throw new MalformedBytes(`not a shard's name: ${text.slice(0, 120)}`)
  return name
}
