import type { Cid } from '../base/cid.ts'
import { type Clock, deadline, DeadlineExceeded } from '../base/clock.ts'
import { StoreFull } from '../base/errors.ts'
import type { PeerId } from '../base/peer-id.ts'
import { BlockCorrupt, BlockMissing, type Blocks } from '../blockstore/index.ts'
import { type BlockPeers, type Holder, presenceLimits, type Reference } from './index.ts'
import type { RepairAccount } from './repair-account.ts'
import { repairLimits } from './repair-limits.ts'
import type { BlockPlan } from './repair-plan.ts'

export interface BlockMendingParts {
  readonly self: PeerId
  readonly holder: Pick<Holder, 'references' | 'store'> & { release (cid: Cid, confirm: (references: number) => Promise<boolean>): Promise<'released' | 'kept'> }
  /** What `holder` holds. */
  readonly local: Pick<Blocks, 'get'>
  readonly peers: Pick<BlockPeers, 'store' | 'fetch' | 'tell'>
  readonly clock: Clock
  readonly account: RepairAccount
  /** What should be here was found rotten, or gone. */
  readonly onDamage: (cid: Cid) => void
  readonly warn: (message: string, cause: unknown) => void
}

/** Does what repair-plan.ts says of whole copies. */
export class BlockMending {
  readonly #parts: BlockMendingParts

  constructor (parts: BlockMendingParts) { this.#parts = parts }

  /** Gives how many copies there are more: here, from those who have it, or at those who lack it. */
  async bring (cid: Cid, plan: BlockPlan, { signal }: { signal: AbortSignal }): Promise<number> {
    if (plan.fetchFrom.length > 0) return await this.#fetch(cid, plan.fetchFrom, signal)
    return plan.push.length > 0 ? await this.#push(cid, plan, signal) : 0
  }

  /** Every reference of here, to a peer that says it has the block; it is brought where it is wanted then, for what was there was rotten. True only if it keeps the block for each. */
  async tell (peer: PeerId, cid: Cid, { signal }: { signal: AbortSignal }): Promise<boolean> {
    const told = await this.#tell(peer, cid, { from: 0, signal })
    return told === 'wanted' ? await this.#bring(peer, cid, signal) : told === 'kept'
  }

  /** Gives up the block, once those that should have it promise it with every reference: those for which the plan was made, for one that came since may want more copies. */
  async release (cid: Cid, { references: planned, releaseTo: to }: BlockPlan, { isStill, signal }: { isStill: () => boolean, signal: AbortSignal }): Promise<boolean> {
    const outcome = await this.#parts.holder.release(cid, async (references) => {
      if (references !== planned) return false
      const promised = await Promise.all(to.map(async (peer) => this.#bring(peer, cid, signal)))
      return promised.every(Boolean) && isStill()
    })
    return outcome === 'released'
  }

  async #fetch (cid: Cid, from: readonly PeerId[], signal: AbortSignal): Promise<number> {
    const { self, peers, holder, clock, account, warn } = this.#parts
    if (!account.hasRoom(self)) return 0
    for (const peer of from) {
      using limit = deadline(clock, repairLimits.bringMs, { signal, what: 'fetching a block' })
      try {
        const bytes = await peers.fetch(peer, cid, { signal: limit.signal })
        if (bytes === 'not here') continue
        for await (const reference of this.#references(cid)) {
          await holder.store(cid, bytes, reference)
          account.fetched(bytes.byteLength)
          return 1
        }
        return 0
      } catch (error) {
        signal.throwIfAborted()
        if (error instanceof StoreFull) { account.fill(self); return 0 }
        // wrong bytes, or none: the next may have them
        warn('a block could not be fetched to repair it', error)
      }
    }
    account.failed()
    return 0
  }

  async #push (cid: Cid, plan: BlockPlan, signal: AbortSignal): Promise<number> {
    const { account } = this.#parts
    const substitutes = plan.substitutes.filter((peer) => !account.isFull(peer))
    let more = 0
    const bring = async (peer: PeerId): Promise<void> => {
      if (await this.#bring(peer, cid, signal)) more++
    }
    await Promise.all(plan.push.filter((peer) => account.hasRoom(peer)).map(bring))
    // a holder without room: the copy must be somewhere
    while (plan.surviving + more < plan.wanted && plan.push.some((peer) => account.isFull(peer))) {
      const substitute = substitutes.shift()
      if (substitute === undefined) break
      await bring(substitute)
    }
    return more
  }

  /** The block, with every reference of here, on that peer's disk for good: true only if it says so. */
  async #bring (peer: PeerId, cid: Cid, signal: AbortSignal): Promise<boolean> {
    const { local, peers, clock, account, onDamage } = this.#parts
    using limit = deadline(clock, repairLimits.bringMs, { signal, what: 'bringing a block' })
    try {
      const bytes = await local.get(cid)
      for await (const reference of this.#references(cid)) {
        const outcome = await peers.store(peer, { cid, bytes, reference }, { signal: limit.signal, isBackground: true })
        account.offered(outcome, peer, bytes.byteLength)
        if (outcome !== 'stored' && outcome !== 'had') return false
        const isKept = await this.#tell(peer, cid, { from: 1, signal: limit.signal }) === 'kept'
        // it may know of a death that is not known here yet: what it was brought alone is no reason to look at all again at once
        if (!isKept) account.failed()
        return isKept
      }
      return false
    } catch (error) {
      signal.throwIfAborted()
      if (error instanceof DeadlineExceeded) account.silent(peer)
      // rotten or gone here: it has been set aside, and is fetched
      if (error instanceof BlockCorrupt || error instanceof BlockMissing) onDamage(cid)
      else account.failed(error)
      return false
    }
  }

  /** All references of here but the first few. */
  async #tell (peer: PeerId, cid: Cid, { from, signal }: { from: number, signal: AbortSignal }): Promise<'kept' | 'wanted' | 'not kept'> {
    let batch: Array<{ cid: Cid, reference: Reference }> = []
    let at = 0
    const send = async (): Promise<'kept' | 'wanted' | 'not kept'> => {
      if (batch.length === 0) return 'kept'
      const outcomes = await this.#parts.peers.tell(peer, batch, { signal })
      batch = []
      return outcomes.includes('want') ? 'wanted' : outcomes.every((outcome) => outcome === 'had') ? 'kept' : 'not kept'
    }
    for await (const reference of this.#references(cid)) {
      if (at++ < from) continue
      batch.push({ cid, reference })
      if (batch.length < presenceLimits.maxTold) continue
      const sent = await send()
      if (sent !== 'kept') return sent
    }
    return await send()
  }

  /** Those that want whole copies. */
  async * #references (cid: Cid): AsyncIterable<Reference> {
    for await (const reference of this.#parts.holder.references(cid)) if (reference.redundancy.k === 1) yield reference
  }
}
