import type { Cid } from '../base/cid.ts'
import { DeadlineExceeded } from '../base/clock.ts'
import { Corrupt, NotFound, StoreFull } from '../base/errors.ts'
import type { PeerId } from '../base/peer-id.ts'
import type { Shards } from '../blockstore/index.ts'
import type { Shard, ShardName } from '../blockstore/shard.ts'
import { type BlockPeers, type Holder, presenceLimits, type Redundancy, type Reference } from './index.ts'
import type { RepairAccount } from './repair-account.ts'
import type { ShardPlan } from './shard-plan.ts'
import { shardsOf } from './shards.ts'

export interface ShardMendingParts {
  readonly self: PeerId
  readonly holder: Pick<Holder, 'references' | 'storeShard'> & { releaseShard (name: ShardName, confirm: () => Promise<boolean>): Promise<'released' | 'kept'> }
  readonly shards: Pick<Shards, 'get' | 'of'>
  readonly peers: Pick<BlockPeers, 'storeShard' | 'tell'>
  /** A block that is kept in shards, from any k of them. */
  readonly read: (cid: Cid, redundancy: Redundancy, options: { signal: AbortSignal }) => Promise<Uint8Array>
  readonly account: RepairAccount
}

/** Does what shard-plan.ts says: a shard that is here is sent as it is, one that nobody has is made once for all that lack it. */
export class ShardMending {
  readonly #parts: ShardMendingParts

  constructor (parts: ShardMendingParts) { this.#parts = parts }

  /** How many shards are where they should be that were not. */
  async push (cid: Cid, { redundancy, push }: ShardPlan, { signal }: { signal: AbortSignal }): Promise<number> {
    if (push.length === 0) return 0
    const here = await this.#here(cid, redundancy)
    let made: readonly Shard[] | undefined
    let more = 0
    // those that are here first: of the others perhaps none can be made
    for (const { peer, index } of push.toSorted((a, b) => Number(here.has(b.index)) - Number(here.has(a.index)))) {
      const shard = here.get(index) ?? (made ??= await this.#made(cid, redundancy, signal))[index]
      if (shard !== undefined && await this.#bring(peer, shard, signal)) more++
    }
    return more
  }

  /** All references of here that want shards of this code. True only if that peer keeps its shards for each. */
  async tell (peer: PeerId, cid: Cid, { redundancy, signal }: { redundancy: Redundancy, signal: AbortSignal }): Promise<boolean> {
    let batch: Array<{ cid: Cid, reference: Reference }> = []
    const send = async (): Promise<boolean> => {
      if (batch.length === 0) return true
      const outcomes = await this.#parts.peers.tell(peer, batch, { signal })
      batch = []
      // what it said that it has was rotten: the next look finds what is to be made anew
      if (outcomes.includes('want')) this.#parts.account.failed()
      return outcomes.every((outcome) => outcome === 'had')
    }
    for await (const reference of this.#references(cid, redundancy)) {
      batch.push({ cid, reference })
      if (batch.length === presenceLimits.maxTold && !await send()) return false
    }
    return send()
  }

  /** Gives up a shard that its holder has, once that promises it with every reference. */
  async release (cid: Cid, { redundancy, index, to, isStill, signal }: { redundancy: Redundancy, index: number, to: PeerId, isStill: () => boolean, signal: AbortSignal }): Promise<boolean> {
    const shard = (await this.#here(cid, redundancy)).get(index)
    if (shard === undefined) return false
    return await this.#parts.holder.releaseShard(shard, async () => await this.#bring(to, shard, signal) && isStill()) === 'released'
  }

  /** All shards, or none where too few can be read: what else there is to do for the block must not wait for that. */
  async #made (cid: Cid, redundancy: Redundancy, signal: AbortSignal): Promise<readonly Shard[]> {
    const { read, account } = this.#parts
    try {
      return await shardsOf(cid, await read(cid, redundancy, { signal }), redundancy)
    } catch (error) {
      signal.throwIfAborted()
      account.failed(error)
      return []
    }
  }

  /** The shard, with every reference of here that wants shards of its code, on that peer's disk for good: true only if it says so. The others must not wait for one that fails. */
  async #bring (peer: PeerId, shard: Shard, signal: AbortSignal): Promise<boolean> {
    const { self, account } = this.#parts
    try {
      return await this.#give(peer, shard, signal)
    } catch (error) {
      signal.throwIfAborted()
      if (error instanceof DeadlineExceeded) account.silent(peer)
      if (peer === self && error instanceof StoreFull) account.fill(self)
      else account.failed(error)
      return false
    }
  }

  async #give (peer: PeerId, shard: Shard, signal: AbortSignal): Promise<boolean> {
    const { self, holder, peers, account } = this.#parts
    for await (const reference of this.#references(shard.cid, shard)) {
      if (peer === self) {
        // its references are here already
        await holder.storeShard(shard, reference)
        account.fetched(shard.bytes.byteLength)
        return true
      }
      const outcome = await peers.storeShard(peer, { shard, reference }, { signal, isBackground: true })
      account.offered(outcome, peer, shard.bytes.byteLength)
      if (outcome !== 'stored' && outcome !== 'had') return false
      const isKept = await this.tell(peer, shard.cid, { redundancy: { k: shard.k, m: shard.m }, signal })
      if (!isKept) account.failed()
      return isKept
    }
    return false
  }

  async #here (cid: Cid, { k, m }: Redundancy): Promise<ReadonlyMap<number, Shard>> {
    const found = new Map<number, Shard>()
    for await (const name of this.#parts.shards.of(cid)) {
      if (name.k !== k || name.m !== m || found.has(name.index)) continue
      const shard = await this.#parts.shards.get(name).catch(orMade)
      if (shard !== undefined) found.set(name.index, shard)
    }
    return found
  }

  async * #references (cid: Cid, { k, m }: Redundancy): AsyncIterable<Reference> {
    for await (const reference of this.#parts.holder.references(cid)) if (reference.redundancy.k === k && reference.redundancy.m === m) yield reference
  }
}

/** One that is rotten, or listed without its file, is made anew as others are: the rest of the block must not wait for it. */
function orMade (error: unknown): undefined {
  if (!(error instanceof NotFound) && !(error instanceof Corrupt)) throw error
}
