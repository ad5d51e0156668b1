import { Budget } from '../base/budget.ts'
import { hexOf } from '../base/bytes.ts'
import { type Cid, cidOfDigest } from '../base/cid.ts'
import { Corrupt, NotFound, Refused, StoreFull } from '../base/errors.ts'
import { KeyedQueue } from '../base/keyed-queue.ts'
import type { KeyValue } from '../disk/index.ts'
import type { DiskBlocks } from './disk-blocks.ts'
import { condemnedKeyOf, deadKeyOf, forget, isAnyAside, longDeadKeyOf } from './condemned.ts'
import { orUnseen } from './index.ts'
import { asideKeyOf, type BlockReference, digestOfCode, isSameSum, isUnchecked, referenceKeyOf, referenceOf, referencesTo, referenceValueOf, sumOfReferences } from './references.ts'
import { type Shard, type ShardKey, shardKeyOf, type ShardName } from './shard.ts'

export type { BlockReference } from './references.ts'

/**
 * Blocks, and shards of blocks, with the versions that need them: both on disk before an answer, for what is not referenced may one day be collected. The references
 * of a block stand for all of it that is here, whole or in shards.
 */
export interface BlockHolder {
  /**
   * 'kept': the block is here, durable and right, or a shard if the reference wants shards of that code; and the reference is recorded. `isReadAgain`: its bytes are read, though they have been right
   * since the start; without it that is enough.
   */
  keep (cid: Cid, reference: BlockReference, options?: { isReadAgain?: boolean }): Promise<'kept' | 'want'>
  /** @throws StoreFull, StoreReadOnly, BlockCorrupt */
  store (cid: Cid, block: Uint8Array, reference: BlockReference): Promise<void>
  /** As `keep`, of one shard. */
  keepShard (name: ShardName, reference: BlockReference, options?: { isReadAgain?: boolean }): Promise<'kept' | 'want'>
  /** @throws StoreFull, StoreReadOnly; Refused when more than may be of one block is here */
  storeShard (shard: Shard, reference: BlockReference): Promise<void>
  /** Those that live. */
  references (cid: Cid): AsyncIterable<BlockReference>
  /** Of each block some references that live, and whether there are more: what others ask before they take theirs away. */
  living (cids: readonly Cid[]): Promise<ReadonlyArray<{ versionIds: readonly Uint8Array[], redundancies: ReadonlyArray<BlockReference['redundancy']>, isMore: boolean }>>
  /** For each block whether it is here for good, and what its references come to. A question promises nothing and records nothing. @throws StoreReadOnly: nothing is certain */
  presence (cids: readonly Cid[]): Promise<readonly BlockPresence[]>
  /**
   * Deletes the block here, and its references, once `confirm` says that enough others have it, for the references whose digest it is given. Who was told
   * meanwhile that it is kept here, or recorded a reference, keeps it here: two nodes that each give a block up because the other has it must not both succeed.
   * 'kept' is no failure.
   */
  release (cid: Cid, confirm: (references: number) => Promise<boolean>): Promise<'released' | 'kept'>
  /** As `release`, of one shard. */
  releaseShard (name: ShardName, confirm: () => Promise<boolean>): Promise<'released' | 'kept'>
  /** Its bytes have just been read from the disk, and were right: `presence` says so from then on. */
  sawRight (name: Cid | ShardName): void
  /** Looks at one reference again, by its key in the index: what is not what was written is set aside, and what has no check yet gets it. */
  mendReference (key: Uint8Array): Promise<void>
  /** As `presence`, of shards of one code: their indexes, and the digest of the references that want them. */
  shardPresence (wanted: ReadonlyArray<{ cid: Cid, redundancy: BlockReference['redundancy'] }>): Promise<ReadonlyArray<{ indexes: ReadonlySet<number>, references: number }>>
}

export interface BlockPresence {
  /** held: on disk for good; verified: and its bytes were right when they were last looked at, since the start. */
  readonly state: 'absent' | 'held' | 'verified'
  /** The digest of its references (references.ts): whether two holders have recorded the same. */
  readonly references: number
}

export const holderLimits = {
  /** Blocks lately stored or read right, which need not be read again to say that they are here. */
  maxProven: 65_536,
  /** Read at once to say so; each is in memory, and one question may be about a thousand. */
  readsAtOnce: 4,
  /** Shards of one block: of two codes, and some under false lists. */
  maxShardsOfBlock: 64,
  /** Of one block, code and index, under different lists: all but one are false, and which one only k shards together tell. */
  maxListsOfShard: 4,
  /** Versions told of one block to who asks who needs it: any one of them keeps it. */
  maxLivingTold: 16,
} as const

type HeldBlocks = Pick<DiskBlocks, 'get' | 'has' | 'put' | 'settled' | 'delete' | 'shards'>

/** `locks`: shared with whoever else changes what is kept (condemned.ts). */
export function blockHolder ({ blocks, index, locks = new KeyedQueue() }: { blocks: HeldBlocks, index: KeyValue, locks?: KeyedQueue }): BlockHolder {
  return new Holder(blocks, index, locks)
}

class Holder implements BlockHolder {
  readonly #blocks: HeldBlocks
  readonly #index: KeyValue
  readonly #proven = new Set<Cid | ShardKey>()
  readonly #reads = new Budget(holderLimits.readsAtOnce)
  /** One after the other for one block: what is promised, and what is given up. */
  readonly #locks: KeyedQueue
  /** Being given up, and whether it was promised to anybody since that began. */
  readonly #releasing = new Map<Cid, { isWanted: boolean }>()

  constructor (blocks: HeldBlocks, index: KeyValue, locks: KeyedQueue) {
    this.#blocks = blocks
    this.#index = index
    this.#locks = locks
  }

  async keep (cid: Cid, reference: BlockReference, { isReadAgain = false }: { isReadAgain?: boolean } = {}): Promise<'kept' | 'want'> {
    return this.#promising(cid, async () => {
      await this.#demandAlive(cid, reference)
      if (await this.#isCondemned(cid)) return 'want'
      const isHere = this.#proven.has(cid) && !isReadAgain ? await this.#blocks.has(cid) : await this.#isReadable(async () => this.#blocks.get(cid))
      await this.#blocks.settled(cid)
      if (!isHere) {
        this.#proven.delete(cid)
        if (!await this.#keepsShards(cid, reference)) return 'want'
      } else this.#prove(cid)
      await this.#record(cid, reference)
      return 'kept'
    })
  }

  async store (cid: Cid, block: Uint8Array, reference: BlockReference): Promise<void> {
    await this.#promising(cid, async () => {
      await this.#demandAlive(cid, reference)
      const isNew = !this.#proven.has(cid) && !await this.#blocks.has(cid)
      await this.#withReference(this.#blocks.put(cid, block), cid, reference, async () => { if (isNew) await this.#blocks.delete(cid) })
      this.#prove(cid)
    })
  }

  async keepShard (name: ShardName, reference: BlockReference, { isReadAgain = false }: { isReadAgain?: boolean } = {}): Promise<'kept' | 'want'> {
    return this.#promising(name.cid, async () => {
      await this.#demandAlive(name.cid, reference)
      if (await this.#isCondemned(name.cid)) return 'want'
      const [key, { shards }] = [shardKeyOf(name), this.#blocks]
      const isHere = this.#proven.has(key) && !isReadAgain ? await shards.has(name) : await this.#isReadable(async () => shards.get(name))
      if (!isHere) { this.#proven.delete(key); return 'want' }
      await shards.settled(name)
      this.#prove(key)
      await this.#record(name.cid, reference)
      return 'kept'
    })
  }

  async storeShard (shard: Shard, reference: BlockReference): Promise<void> {
    await this.#promising(shard.cid, async () => {
      await this.#demandAlive(shard.cid, reference)
      await this.#demandPlace(shard)
      const isNew = !this.#proven.has(shardKeyOf(shard)) && !await this.#blocks.shards.has(shard)
      await this.#withReference(this.#blocks.shards.put(shard), shard.cid, reference, async () => { if (isNew) await this.#blocks.shards.delete(shard) })
      this.#prove(shardKeyOf(shard))
    })
  }

  async * references (cid: Cid): AsyncIterable<BlockReference> {
    for await (const [key, value] of this.#index.entries(referencesTo(cid))) {
      const reference = referenceOf(key, value)
      // scrub sets it aside, and repair has the others tell what they know
      if (reference !== 'damaged') yield reference
    }
  }

  async living (cids: readonly Cid[]): ReturnType<BlockHolder['living']> {
    return Promise.all(cids.map(async (cid) => {
      const versionIds: Uint8Array[] = []
      const redundancies: Array<BlockReference['redundancy']> = []
      for await (const [key, value] of this.#index.entries(referencesTo(cid))) {
        const reference = referenceOf(key, value)
        // one that cannot be read may be of anybody
        if (reference === 'damaged' || versionIds.length === holderLimits.maxLivingTold) return { versionIds, redundancies, isMore: true }
        versionIds.push(reference.versionId)
        redundancies.push(reference.redundancy)
      }
      return { versionIds, redundancies, isMore: false }
    }))
  }

  async presence (cids: readonly Cid[]): Promise<readonly BlockPresence[]> {
    return Promise.all(cids.map(async (cid) => {
      const [isHere, isCondemned, { digest: references }] = await Promise.all([this.#blocks.has(cid).catch(orUnseen), this.#isCondemned(cid), sumOfReferences(this.#index, cid)])
      if (!isHere || isCondemned) return { state: 'absent', references }
      await this.#blocks.settled(cid)
      return { state: this.#proven.has(cid) ? 'verified' : 'held', references }
    }))
  }

  async release (cid: Cid, confirm: (references: number) => Promise<boolean>): Promise<'released' | 'kept'> {
    if (this.#releasing.has(cid)) return 'kept'
    const release = { isWanted: false }
    this.#releasing.set(cid, release)
    try {
      const before = await this.#locks.run(cid, async () => sumOfReferences(this.#index, cid))
      if (before.damaged > 0 || await isAnyAside(this.#index, cid) || !await confirm(before.digest)) return 'kept'
      return await this.#locks.run(cid, async () => {
        if (release.isWanted || !isSameSum(before, await sumOfReferences(this.#index, cid))) return 'kept'
        this.#proven.delete(cid)
        await this.#blocks.delete(cid)
        if (!await this.#hasShards(cid)) await forget(this.#index, cid)
        return 'released'
      })
    } finally {
      this.#releasing.delete(cid)
    }
  }

  async releaseShard (name: ShardName, confirm: () => Promise<boolean>): Promise<'released' | 'kept'> {
    const { cid } = name
    if (this.#releasing.has(cid)) return 'kept'
    const release = { isWanted: false }
    this.#releasing.set(cid, release)
    try {
      const before = await this.#locks.run(cid, async () => sumOfReferences(this.#index, cid))
      if (before.damaged > 0 || await isAnyAside(this.#index, cid) || !await confirm()) return 'kept'
      return await this.#locks.run(cid, async () => {
        if (release.isWanted || !isSameSum(before, await sumOfReferences(this.#index, cid))) return 'kept'
        this.#proven.delete(shardKeyOf(name))
        await this.#blocks.shards.delete(name)
        if (!await this.#hasShards(cid) && !await this.#blocks.has(cid)) await forget(this.#index, cid)
        return 'released'
      })
    } finally {
      this.#releasing.delete(cid)
    }
  }

  async shardPresence (wanted: ReadonlyArray<{ cid: Cid, redundancy: BlockReference['redundancy'] }>): Promise<ReadonlyArray<{ indexes: ReadonlySet<number>, references: number }>> {
    return Promise.all(wanted.map(async ({ cid, redundancy: { k, m } }) => {
      const indexes = new Set<number>()
      const references = digestOfCode(await sumOfReferences(this.#index, cid), { k, m })
      if (await this.#isCondemned(cid)) return { indexes, references }
      for await (const name of this.#blocks.shards.of(cid)) {
        if (name.k !== k || name.m !== m || !await this.#blocks.shards.has(name).catch(orUnseen)) continue
        await this.#blocks.shards.settled(name)
        indexes.add(name.index)
      }
      return { indexes, references }
    }))
  }

  sawRight (name: Cid | ShardName): void { this.#prove(typeof name === 'string' ? name : shardKeyOf(name)) }

  async mendReference (key: Uint8Array): Promise<void> {
    // in turn with what is recorded: else a reference that was written meanwhile would go, or be what it was before
    await this.#locks.run(key.byteLength > 32 ? cidOfDigest(key.slice(1, 33)) : hexOf(key), async () => {
      const value = await this.#index.get(key)
      if (value === undefined) return
      const reference = referenceOf(key, value)
      if (reference === 'damaged') await this.#index.batch([{ type: 'put', key: asideKeyOf(key), value }, { type: 'delete', key }], { sync: true })
      else if (isUnchecked(value)) await this.#index.batch([{ type: 'put', key, value: referenceValueOf(key, reference) }], { sync: true })
    })
  }

  async #promising<T> (cid: Cid, promise: () => Promise<T>): Promise<T> {
    const note = (): void => {
      const release = this.#releasing.get(cid)
      if (release !== undefined) release.isWanted = true
    }
    note()
    return this.#locks.run(cid, async () => { note(); return await promise() })
  }

  /**
   * A reference without its block is harmless, so neither waits for the other. What came and there was no room to say for whom goes again, as far as it can: nothing
   * would refer to it, so it would stay for ever.
   */
  async #withReference (putting: Promise<void>, cid: Cid, reference: BlockReference, takeBack: () => Promise<void>): Promise<void> {
    const [put, recorded] = await Promise.allSettled([putting, this.#record(cid, reference)])
    if (put.status === 'fulfilled' && recorded.status === 'rejected' && recorded.reason instanceof StoreFull) await takeBack().catch(() => {}) // what failed first is what is told
    for (const done of [put, recorded]) if (done.status === 'rejected') throw done.reason
  }

  /** What wants shards is kept by any shard of its code, for which the reference then stands. */
  async #keepsShards (cid: Cid, { redundancy: { k, m } }: BlockReference): Promise<boolean> {
    if (k === 1) return false
    const { shards } = this.#blocks
    for await (const name of shards.of(cid)) {
      if (name.k !== k || name.m !== m || !await this.#isReadable(async () => shards.get(name))) continue
      await shards.settled(name)
      return true
    }
    return false
  }

  /** An error of the disk is thrown, never false. */
  async #isReadable (read: () => Promise<unknown>): Promise<boolean> {
    using _turn = await this.#reads.claim(1)
    try {
      await read()
      return true
    } catch (error) {
      if (error instanceof NotFound || error instanceof Corrupt) return false
      throw error
    }
  }

  async #hasShards (cid: Cid): Promise<boolean> {
    for await (const _ of this.#blocks.shards.of(cid)) return true
    return false
  }

  async #demandPlace (shard: ShardName): Promise<void> {
    const { maxShardsOfBlock, maxListsOfShard } = holderLimits
    let [shards, lists] = [0, 0]
    for await (const other of this.#blocks.shards.of(shard.cid)) {
      if (shardKeyOf(other) === shardKeyOf(shard)) return
      shards++
      if (other.k === shard.k && other.m === shard.m && other.index === shard.index) lists++
    }
    if (shards >= maxShardsOfBlock || lists >= maxListsOfShard) throw new Refused(`this node has ${shards} shards of block ${shard.cid}, ${lists} of them in this very place`)
  }

  async #record (cid: Cid, reference: BlockReference): Promise<void> {
    const key = referenceKeyOf(cid, reference)
    await this.#index.batch([{ type: 'put', key, value: referenceValueOf(key, reference) }, { type: 'delete', key: condemnedKeyOf(cid) }], { sync: true })
  }

  async #isCondemned (cid: Cid): Promise<boolean> { return await this.#index.get(condemnedKeyOf(cid)) !== undefined }

  /** A version that is proven dead needs nothing, whoever has not heard of it: recorded afresh, it would keep its blocks. */
  async #demandAlive (cid: Cid, reference: BlockReference): Promise<void> {
    const proofs = await Promise.all([this.#index.get(deadKeyOf(cid, reference)), this.#index.get(longDeadKeyOf(cid, reference))])
    if (proofs.some((proof) => proof !== undefined)) throw new Refused(`the version that wants block ${cid} was given up or replaced`)
  }

  #prove (cid: Cid | ShardKey): void {
    if (this.#proven.size >= holderLimits.maxProven) this.#proven.clear()
    this.#proven.add(cid)
  }
}
