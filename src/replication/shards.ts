import { type Cid, cidOf } from '../base/cid.ts'
import { hash } from '../base/hash.ts'
import { listOf, type Shard } from '../blockstore/shard.ts'
import { erasureCode } from '../erasure/index.ts'
import type { Redundancy } from './index.ts'

/** All k + m shards of a block, each with the hashes of all. */
export async function shardsOf (cid: Cid, block: Uint8Array, { k, m }: Redundancy): Promise<readonly Shard[]> {
  const pieces = (await erasureCode({ k, m })).shardsOf(block)
  const shared = { cid, k, m, blockLength: block.byteLength, hashes: pieces.map((piece) => hash(piece)) }
  const list = listOf(shared)
  return pieces.map((bytes, index) => ({ ...shared, index, bytes, list }))
}

export const gatherLimits = {
  /** Lists of hashes that turned out false, of one block: above it nobody who gave one is asked again. */
  maxFalseLists: 4,
  /** Choices of k shards under one list that are tried before all of it is taken for false. */
  maxChoices: 16,
} as const

/**
 * Shards of one block as they come in, each right by its own hash, until k of one list make the block. The block's CID decides: a list that does not lead to it
 * is false, whoever gave it, and what others say under another list is heard. If more than k shards of it are there, each is left out in turn before that.
 */
export class Gathering {
  readonly #cid: Cid
  readonly #lists = new Map<string, Map<number, Shard>>()
  readonly #false = new Set<string>()

  constructor (cid: Cid) { this.#cid = cid }

  /** False lists, 16 bytes hexadecimal each. */
  get falseLists (): ReadonlySet<string> { return this.#false }

  /** Indexes that are there, of the list that has most. */
  get indexes (): ReadonlySet<number> { return new Set(this.#best()?.keys()) }

  /** The code of the list that has most, once there is one. */
  get redundancy (): Redundancy | undefined {
    const [shard] = this.#best()?.values() ?? []
    return shard === undefined ? undefined : { k: shard.k, m: shard.m }
  }

  /** Whether it is one more than before. */
  add (shard: Shard): boolean {
    if (this.#false.has(shard.list)) return false
    const list = this.#lists.get(shard.list) ?? new Map<number, Shard>()
    this.#lists.set(shard.list, list)
    if (list.has(shard.index)) return false
    list.set(shard.index, shard)
    return true
  }

  /** The block, if some list has enough. Lists that lead elsewhere are forgotten, and remembered as false. */
  async block (): Promise<Uint8Array | undefined> {
    for (const [name, shards] of this.#lists) {
      const [first] = shards.values()
      if (first === undefined || shards.size < first.k) continue
      const block = await this.#blockOf(shards, first)
      if (block !== undefined) return block
      this.#lists.delete(name)
      this.#false.add(name)
    }
    return undefined
  }

  async #blockOf (shards: ReadonlyMap<number, Shard>, { k, m, blockLength }: Shard): Promise<Uint8Array | undefined> {
    const code = await erasureCode({ k, m })
    for (const choice of choicesOf([...shards.keys()].sort((a, b) => a - b), k)) {
      const block = code.dataOf(new Map(choice.map((index) => [index, (shards.get(index) as Shard).bytes])), blockLength)
      if (cidOf(block) === this.#cid) return block
    }
    return undefined
  }

  #best (): ReadonlyMap<number, Shard> | undefined {
    return [...this.#lists.values()].reduce<ReadonlyMap<number, Shard> | undefined>((best, list) => best === undefined || list.size > best.size ? list : best, undefined)
  }
}

/** k of the indexes: the first ones, which are mostly the data itself; then without each in turn, while there are more than k. */
function * choicesOf (indexes: readonly number[], k: number): Iterable<readonly number[]> {
  yield indexes.slice(0, k)
  if (indexes.length === k) return
  for (const suspect of indexes.slice(0, Math.min(k, gatherLimits.maxChoices - 1))) yield indexes.filter((index) => index !== suspect).slice(0, k)
}
