import { Budget } from '../base/budget.ts'
import type { Cid } from '../base/cid.ts'
import { type Clock, deadline } from '../base/clock.ts'
import { DfsError, Unavailable } from '../base/errors.ts'
import type { PeerId } from '../base/peer-id.ts'
import { type BlockPeers, type Holder, type Placement, type Reference, writeQuorumOf } from './index.ts'
import { hedgeAfterMs, type Pace, paceAfter, unknownPace } from './pace.ts'

/**
 * A block to its holders (design §8): all of them at once; whoever fails, is full, does not answer or answers late is replaced by the next in the
 * placement, a substitute. Acknowledged at the write quorum of distinct holders, each with the block and its reference on disk; the rest goes on behind.
 */
export interface WriterParts {
  readonly self: PeerId
  readonly holder: Holder
  readonly peers: BlockPeers
  readonly placement: Placement
  readonly clock: Clock
  /** A block ended with fewer copies than its redundancy asks. */
  readonly onShort: (shortage: { cid: Cid, have: number, want: number }) => void
}

export const writeLimits = {
  /** One block to its quorum. */
  timeoutMs: 30_000,
  /** Bytes of blocks whose remaining copies are still under way; then puts wait. */
  backgroundBytes: 64 * 1024 * 1024,
  /** A substitute is asked no sooner: it costs a copy that nobody needs. */
  leastSubstituteMs: 500,
  /** Behind the quorum a late holder is replaced only now: longer than a stopped one takes to be noticed (4 s), so that busy disks are not given more to do. */
  lostMs: 5000,
} as const

export class Writer {
  readonly #parts: WriterParts
  readonly #background = new Budget(writeLimits.backgroundBytes)
  readonly #running = new Set<Promise<void>>()
  #pace: Pace = unknownPace

  constructor (parts: WriterParts) { this.#parts = parts }

  async put (cid: Cid, bytes: Uint8Array, reference: Reference, signal: AbortSignal | undefined): Promise<void> {
    const claim = await this.#background.claim(bytes.byteLength, { signal })
    const write = new BlockWrite(this.#parts, { cid, bytes, reference }, { substituteMs: Math.max(writeLimits.leastSubstituteMs, 2 * hedgeAfterMs(this.#pace)), onStored: (tookMs) => { this.#pace = paceAfter(this.#pace, tookMs) } })
    const whole = write.run(signal).finally(() => { claim[Symbol.dispose](); this.#running.delete(whole) })
    this.#running.add(whole)
    await write.quorum
  }

  /** Resolves when every copy that was under way is done or has failed. */
  async settled (): Promise<void> { while (this.#running.size > 0) await Promise.all(this.#running) }
}

interface Block { readonly cid: Cid, readonly bytes: Uint8Array, readonly reference: Reference }

class BlockWrite {
  readonly #parts: WriterParts
  readonly #block: Block
  readonly #substituteMs: number
  readonly #onStored: (tookMs: number) => void
  readonly #quorum = Promise.withResolvers<void>()
  readonly #candidates: PeerId[]
  readonly #want: number
  readonly #needed: number
  readonly #failures: string[] = []
  readonly #stop = new AbortController()
  #stored = 0
  #copies: Array<Promise<void>> = []

  constructor (parts: WriterParts, block: Block, { substituteMs, onStored }: { substituteMs: number, onStored: (tookMs: number) => void }) {
    this.#parts = parts
    this.#block = block
    this.#substituteMs = substituteMs
    this.#onStored = onStored
    const { k, m } = block.reference.redundancy
    const placed = [...new Set(parts.placement.holdersOf(block.cid))]
    // fewer nodes than copies count as copies of those nodes
    this.#want = Math.min(k + m, placed.length)
    this.#needed = Math.min(writeQuorumOf({ k, m: Math.max(0, this.#want - k) }), this.#want)
    this.#candidates = ordered(placed, this.#want, parts)
    this.#quorum.promise.catch(() => {}) // whoever put it hears of it; the background must not be an unhandled rejection
  }

  get quorum (): Promise<void> { return this.#quorum.promise }

  /** Never rejects: its outcome is the quorum, and the report of a shortage. */
  async run (signal: AbortSignal | undefined): Promise<void> {
    using limit = deadline(this.#parts.clock, writeLimits.timeoutMs, { signal: this.#stop.signal, what: 'storing a block' })
    using _caller = this.#heed(signal)
    if (this.#want === 0) { this.#fail(); return }
    for (let i = 0; i < this.#want; i++) this.#tryNext(limit.signal)
    while (this.#copies.length > 0) {
      const copies = this.#copies
      this.#copies = []
      await Promise.all(copies)
    }
    if (this.#stored < this.#needed) this.#fail()
    if (this.#stored < this.#want) this.#parts.onShort({ cid: this.#block.cid, have: this.#stored, want: this.#want })
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

  #tryNext (signal: AbortSignal): void {
    const peer = this.#candidates.shift()
    if (peer !== undefined) this.#copies.push(this.#tryOne(peer, signal))
  }

  async #tryOne (peer: PeerId, signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts
    const start = clock.monotonicMs()
    const lost = new AbortController()
    let isReplaced = false
    const replace = (): void => {
      if (isReplaced || signal.aborted) return
      isReplaced = true
      this.#tryNext(signal)
    }
    const watch = (): () => void => clock.after(this.#substituteMs, () => {
      const isAcknowledged = this.#stored >= this.#needed
      // a late holder may still make it; its substitute is asked as well
      if (!isAcknowledged || clock.monotonicMs() - start >= writeLimits.lostMs) replace()
      // one that seems gone would hold its bytes of the background until the time limit, and puts would wait for them
      if (isAcknowledged && this.#isGone(peer)) lost.abort(new Error('it does not answer'))
      else cancelWatch = watch()
    })
    let cancelWatch = watch()
    try {
      await this.#store(peer, AbortSignal.any([signal, lost.signal]))
      this.#stored++
      if (peer !== this.#parts.self) this.#onStored(clock.monotonicMs() - start)
      if (this.#stored >= this.#needed) this.#quorum.resolve()
      if (this.#stored >= this.#want) this.#stop.abort(new Error('every copy is stored'))
    } catch (error) {
      this.#failures.push(`${peer === this.#parts.self ? 'this node' : peer}: ${error instanceof Error ? error.message : String(error)}`)
      replace()
    } finally {
      cancelWatch()
    }
  }

  #isGone (peer: PeerId): boolean {
    const { self, peers } = this.#parts
    return peer !== self && !peers.reachable().includes(peer)
  }

  async #store (peer: PeerId, signal: AbortSignal): Promise<void> {
    const { self, holder, peers } = this.#parts
    const { cid, bytes, reference } = this.#block
    if (peer === self) {
      if (await holder.keep(cid, reference) === 'want') await holder.store(cid, bytes, reference)
      return
    }
    const outcome = await peers.store(peer, { cid, bytes, reference }, { signal })
    if (outcome === 'full' || outcome === 'refused') throw new NotStored(outcome)
  }

  #fail (): void {
    const why = this.#failures.length === 0 ? 'no node holds blocks' : this.#failures.join('; ')
    this.#quorum.reject(new Unavailable(`a block reached ${this.#stored} of the ${this.#needed} holders it needs (${why})`))
  }
}

class NotStored extends DfsError {
  override name = 'NotStored'
  readonly code = 'full'
  constructor (outcome: 'full' | 'refused') { super(outcome === 'full' ? 'its disk is full' : 'it refused the block') }
}

/** The holders of the placement that answer now, then its substitutes, then those that seem gone: they may be back by then. */
function ordered (placed: readonly PeerId[], want: number, { self, peers }: Pick<WriterParts, 'self' | 'peers'>): PeerId[] {
  const reachable = new Set([self, ...peers.reachable()])
  const [up, down] = [placed.filter((peer) => reachable.has(peer)), placed.filter((peer) => !reachable.has(peer))]
  const holders = placed.slice(0, want)
  return [...up.filter((peer) => holders.includes(peer)), ...up.filter((peer) => !holders.includes(peer)), ...down]
}
