import { Budget } from '../base/budget.ts'
import type { Cid } from '../base/cid.ts'
import { type Clock, deadline } from '../base/clock.ts'
import { Refused, StoreFull, Unavailable } from '../base/errors.ts'
import { giveBack } from '../base/lease.ts'
import { Paces, type Patience } from '../base/pace.ts'
import type { PeerId } from '../base/peer-id.ts'
import type { Blocks } from '../blockstore/index.ts'
import type { Shard } from '../blockstore/shard.ts'
import { type BlockPeers, type Holder, type Placement, type Reference, type WriteOptions, writeQuorumOf } from './index.ts'
import { shardsOf } from './shards.ts'
import { type Read, Stragglers } from './stragglers.ts'

/**
 * A block to its holders, whole copies or shards, of which the i-th goes to the i-th of them: all at once; whoever fails, is full, does not answer or answers
 * late is replaced by the next in the placement, a substitute, which takes the same piece. Acknowledged at the write quorum of distinct holders, each with the block and its reference on disk; the rest goes on behind.
 * A holder that is late then gets its copy from this node's disk, or its shard from the block as it is read back, when it answers again: memory does not wait
 * for it.
 */
export interface WriterParts {
  readonly self: PeerId
  readonly holder: Holder
  /** What `holder` holds. */
  readonly local: Pick<Blocks, 'get'>
  readonly peers: BlockPeers
  readonly placement: Placement
  readonly clock: Clock
  /** A block ended with fewer copies than its redundancy asks. */
  readonly onShort: (shortage: { cid: Cid, have: number, want: number }) => void
}

/** How long a holder may take before a substitute is asked, which costs a copy that nobody needs. */
export const writePatience: Patience = { leastMs: 500, mostMs: 10_000, firstMs: 1500 }

export const writeLimits = {
  /** One block to its quorum, over however slow a link; a holder that is silent is given up long before. */
  timeoutMs: 300_000,
  /** Bytes of blocks whose remaining copies are still under way; then puts wait. */
  backgroundBytes: 32 * 1024 * 1024,
} as const

export class Writer {
  readonly #parts: WriterParts
  readonly #background = new Budget(writeLimits.backgroundBytes)
  readonly #running = new Set<Promise<void>>()
  readonly #paces: Paces
  readonly #stragglers: Stragglers

  /** `read`: a block that was written in shards, from wherever it is. */
  constructor (parts: WriterParts, read: Read) {
    this.#parts = parts
    this.#paces = new Paces(parts.clock, writePatience)
    this.#stragglers = new Stragglers({ ...parts, read, onShort: ({ cid, reference: { redundancy: { k, m } } }) => { parts.onShort({ cid, have: k + m - 1, want: k + m }) } })
  }

  /** Bytes that are lent are given back when no copy of them is under way any more. */
  async put (block: Block, signal: AbortSignal | undefined): Promise<void> {
    const { k, m } = block.reference.redundancy
    const claim = await this.#background.claim(block.bytes.byteLength * (k === 1 ? 1 : (k + m) / k), { signal })
    const shards = k === 1 ? undefined : await shardsOf(block.cid, block.bytes, { k, m }).catch((error: unknown) => { claim[Symbol.dispose](); throw error })
    const write = new BlockWrite(this.#parts, { ...block, shards }, { paces: this.#paces, stragglers: this.#stragglers })
    const whole = write.run(signal).finally(() => {
      claim[Symbol.dispose]()
      this.#running.delete(whole)
      if (write.isDoneWithBytes) giveBack(block.bytes)
    })
    this.#running.add(whole)
    await write.quorum
  }

  /** Resolves when every copy that was under way is done or has failed. */
  async settled (): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running)
    await this.#stragglers.settled()
  }
}

/** A piece of a block on its way: a whole copy, or a shard, that the holder at its position should have. */
interface Slot { readonly position: number, isStored: boolean }

interface Block extends WriteOptions { readonly cid: Cid, readonly bytes: Uint8Array, readonly reference: Reference, readonly shards?: readonly Shard[] | undefined }

class BlockWrite {
  readonly #parts: WriterParts
  readonly #block: Block
  readonly #paces: Paces
  readonly #stragglers: Stragglers
  readonly #quorum = Promise.withResolvers<void>()
  /** Who has not been tried, in order. */
  readonly #candidates: PeerId[]
  readonly #placed: readonly PeerId[]
  /** Those, and who has come since. */
  readonly #known: Set<PeerId>
  readonly #slots: readonly Slot[]
  readonly #want: number
  readonly #needed: number
  readonly #failures: string[] = []
  readonly #full: string[] = []
  readonly #stop = new AbortController()
  #begun = 0
  #stored = 0
  #owed = 0
  #isHere = false
  readonly #attempts = new Map<PeerId, AbortController>()
  #copies: Array<Promise<void>> = []

  constructor (parts: WriterParts, block: Block, { paces, stragglers }: { paces: Paces, stragglers: Stragglers }) {
    this.#parts = parts
    this.#block = block
    this.#paces = paces
    this.#stragglers = stragglers
    const { k, m } = block.reference.redundancy
    const placed = [...new Set(parts.placement.holdersOf(block.cid))]
    this.#placed = placed
    this.#known = new Set(placed)
    // fewer nodes than copies count as copies of those nodes; fewer shards are fewer
    this.#want = block.shards === undefined ? Math.min(k + m, placed.length) : k + m
    const quorum = Math.min(writeQuorumOf({ k, m: Math.max(0, this.#want - k) }), this.#want)
    if (block.isAllNeeded === true) this.#needed = this.#want
    else this.#needed = block.isDegradedAllowed === true && placed.length === 2 ? Math.min(k, quorum) : quorum
    this.#slots = Array.from({ length: this.#want }, (_, position) => ({ position, isStored: false }))
    this.#candidates = ordered(placed, this.#want, parts, paces)
    this.#quorum.promise.catch(() => {}) // whoever put it hears of it; the background must not be an unhandled rejection
  }

  get quorum (): Promise<void> { return this.#quorum.promise }

  /** Every copy that was begun is stored: what failed, or was left to stragglers, may still be on its way out, and shards may lie in the block's memory. */
  get isDoneWithBytes (): boolean { return this.#block.shards === undefined && this.#stored === this.#begun }

  /** Never rejects: its outcome is the quorum, and the report of a shortage. */
  async run (signal: AbortSignal | undefined): Promise<void> {
    using limit = deadline(this.#parts.clock, writeLimits.timeoutMs, { signal: this.#stop.signal, what: 'storing a block' })
    using _caller = this.#heed(signal)
    if (this.#want === 0) { this.#fail(); return }
    for (const slot of this.#slots) this.#tryNext(slot, limit.signal)
    while (this.#copies.length > 0) {
      const copies = this.#copies
      this.#copies = []
      await Promise.all(copies)
    }
    if (this.#stored < this.#needed) this.#fail()
    if (this.#stored + this.#owed < this.#want) this.#parts.onShort({ cid: this.#block.cid, have: this.#stored + this.#owed, want: this.#want })
  }

  // the caller's signal ends what it waits for; once that is acknowledged the remaining copies are no longer the caller's to stop
  #heed (signal: AbortSignal | undefined): Disposable {
    const onAbort = (): void => {
      if (this.#stored >= this.#needed) return
      this.#quorum.reject(signal?.reason as Error)
      this.#stop.abort(signal?.reason)
    }
    if (signal?.aborted === true) onAbort()
    signal?.addEventListener('abort', onAbort, { once: true })
    return { [Symbol.dispose]: () => { signal?.removeEventListener('abort', onAbort) } }
  }

  #tryNext (slot: Slot, signal: AbortSignal): void {
    const peer = this.#block.shards === undefined ? this.#candidates[0] : this.#holderFor(slot)
    if (peer === undefined) return
    this.#candidates.splice(this.#candidates.indexOf(peer), 1)
    this.#begun++
    this.#copies.push(this.#tryOne(peer, slot, signal))
  }

  /** Of a shard: its own holder, if nothing is wrong with it; a substitute; its own holder all the same. The places of others are left to them. */
  #holderFor ({ position }: Slot): PeerId | undefined {
    const own = this.#candidates.find((peer) => peer === this.#placed[position])
    if (own !== undefined && this.#isUp(own)) return own
    const substitutes = this.#candidates.filter((peer) => !this.#placed.slice(0, this.#want).includes(peer))
    return substitutes.find((peer) => this.#isUp(peer)) ?? own ?? substitutes[0]
  }

  async #tryOne (peer: PeerId, slot: Slot, signal: AbortSignal): Promise<void> {
    const { clock, self } = this.#parts
    const start = clock.monotonicMs()
    const attempt = new AbortController()
    this.#attempts.set(peer, attempt)
    let isReplaced = false
    const replace = (): void => {
      if (isReplaced || signal.aborted) return
      isReplaced = true
      this.#tryNext(slot, signal)
    }
    const watch = (): () => void => clock.after(this.#paces.lateAfterMs(peer), () => {
      if (peer !== self) this.#paces.suspect(peer)
      // a late holder may still make it; until the quorum is reached its substitute is asked as well
      if (this.#stored < this.#needed) replace()
      else if (this.#isGone(peer) && !this.#canBeReadBack) attempt.abort(new Error('it does not answer'))
      this.#oweSuspects()
      cancelWatch = watch()
    })
    let cancelWatch = watch()
    try {
      await this.#store(peer, slot, AbortSignal.any([signal, attempt.signal]))
      this.#demandPlace(peer)
      // two that have the same shard are one shard; two that have the block are two copies
      if (this.#block.shards === undefined || !slot.isStored) this.#stored++
      slot.isStored = true
      if (peer === self) this.#isHere = true
      else this.#paces.answered(peer, clock.monotonicMs() - start)
      if (this.#stored >= this.#needed) this.#quorum.resolve()
      this.#oweSuspects()
      if (this.#stored >= this.#want) this.#stop.abort(new Error('every copy is stored'))
    } catch (error) {
      if (error instanceof Owed) { this.#owe(peer, slot, isReplaced); return }
      const name = peer === self ? 'this node' : peer
      this.#failures.push(`${name}: ${error instanceof Error ? error.message : String(error)}`)
      if (error instanceof StoreFull) this.#full.push(name)
      replace()
    } finally {
      cancelWatch()
      this.#attempts.delete(peer)
    }
  }

  /** Whom the layout has left out meanwhile may have looked for the last time at what lies there, and be switched off: it counts for nothing, and those who have come are asked as well. */
  #demandPlace (peer: PeerId): void {
    const placed = this.#parts.placement.holdersOf(this.#block.cid)
    if (placed.includes(peer)) return
    const come = placed.filter((other) => !this.#known.has(other))
    for (const other of come) this.#known.add(other)
    this.#candidates.push(...come)
    throw new Refused('it was left out of the layout meanwhile')
  }

  /** What is acknowledged and here waits for nobody who is late. */
  #oweSuspects (): void {
    if (!this.#canBeReadBack || this.#stored < this.#needed) return
    for (const [peer, attempt] of this.#attempts) if (peer !== this.#parts.self && this.#paces.isSuspect(peer)) attempt.abort(new Owed())
  }

  // a copy whose substitute is under way is owed to nobody
  #owe (peer: PeerId, { position, isStored }: Slot, isReplaced: boolean): void {
    if (isReplaced || (this.#block.shards !== undefined && isStored)) return
    this.#owed++
    const { cid, reference, shards } = this.#block
    this.#stragglers.owe(peer, { cid, reference, shard: shards === undefined ? undefined : position, substitutes: this.#candidates })
  }

  /** Of a copy that is owed, the bytes must be on this disk; of a shard, enough others are, once the block is acknowledged. */
  get #canBeReadBack (): boolean { return this.#isHere || this.#block.shards !== undefined }

  #isUp (peer: PeerId): boolean { return !this.#isGone(peer) && !(peer !== this.#parts.self && this.#paces.isSuspect(peer)) }

  #isGone (peer: PeerId): boolean {
    const { self, peers } = this.#parts
    return peer !== self && !peers.reachable().includes(peer)
  }

  async #store (peer: PeerId, { position }: Slot, signal: AbortSignal): Promise<void> {
    const { self, holder, peers } = this.#parts
    const { cid, bytes, reference, shards, isBackground } = this.#block
    const options = { signal, ...(isBackground === undefined ? {} : { isBackground }) }
    const shard = shards?.[position]
    if (peer === self) {
      if (shard !== undefined) { if (await holder.keepShard(shard, reference) === 'want') await holder.storeShard(shard, reference) }
      else if (await holder.keep(cid, reference) === 'want') await holder.store(cid, bytes, reference)
      return
    }
    const outcome = await (shard === undefined ? peers.store(peer, { cid, bytes, reference }, options) : peers.storeShard(peer, { shard, reference }, options))
    if (outcome === 'full') throw new StoreFull('its disk is full')
    if (outcome === 'refused') throw new Refused('it refused the block')
  }

  #fail (): void {
    const what = `a block reached ${this.#stored} of the ${this.#needed} holders it needs${this.#placed.length < this.#needed ? `, and only ${this.#placed.length} nodes hold blocks` : ''}`
    // trying again helps as long as enough of the others may still take it; else only room does
    const isFull = this.#full.length > 0 && this.#placed.length - this.#full.length < this.#needed
    if (isFull) this.#quorum.reject(new StoreFull(`${what}; full: ${this.#full.join(', ')}`))
    else this.#quorum.reject(new Unavailable(`${what} (${this.#failures.length === 0 ? 'no node holds blocks' : this.#failures.join('; ')})`))
  }
}

/** The copy is left to the stragglers. */
class Owed extends Error {
  override name = 'Owed'
}

/** The holders of the placement that answer now, then its substitutes, then holders that have been late, then those that seem gone: they may be back by then. */
function ordered (placed: readonly PeerId[], want: number, { self, peers }: Pick<WriterParts, 'self' | 'peers'>, paces: Paces): PeerId[] {
  const reachable = new Set([self, ...peers.reachable()])
  const [up, down] = [placed.filter((peer) => reachable.has(peer)), placed.filter((peer) => !reachable.has(peer))]
  const holders = placed.slice(0, want)
  return [...paces.inOrder([...up.filter((peer) => holders.includes(peer)), ...up.filter((peer) => !holders.includes(peer))]), ...down]
}
