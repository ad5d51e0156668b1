import { fromHex, hexOf } from '../base/bytes.ts'
import type { Cid } from '../base/cid.ts'
import { type Clock, deadline } from '../base/clock.ts'
import { StoreFull } from '../base/errors.ts'
import type { PeerId } from '../base/peer-id.ts'
import { type CondemnedBlocks, isSameRun, type Since } from '../blockstore/condemned.ts'
import type { Inventory } from '../blockstore/inventory.ts'
import { type BlockPeers, type Placement, presenceLimits } from './index.ts'

/**
 * Space of what nobody needs comes back. Every holder collects its own, and needs no key: it walks its references, asks which of their versions are dead, and
 * condemns each block of which every known one is (blockstore/condemned.ts). A condemned block waits for the grace; then the holder reads the references that
 * a majority of those have where the block may lie, and takes it away only if all of them are proven dead too.
 *
 * The order is what makes it safe. A version that comes to need the block meets the mark, wherever it comes from, and takes it away. One that came before was
 * recorded before anybody was told that the block is here. One that this disk has forgotten is known to others: a missing reference proves nothing, so a
 * block without any is never collected, and who was not asked, or did not answer, is taken to need it. Deaths are facts, and may be believed of anybody.
 */
export interface CollectorParts {
  readonly self: PeerId
  readonly condemned: CondemnedBlocks
  readonly inventory: Pick<Inventory, 'page' | 'sizeOf'>
  readonly peers: Pick<BlockPeers, 'living' | 'reachable'>
  readonly placement: Placement & {
    /** A change of the layout is under way: what is where it is to be is not known, so nothing is taken away. */
    isMoving (): boolean
  }
  /** The proofs of those versions that are dead, checked, by id in hexadecimal. With each `turn` others are asked. */
  readonly deathsOf: (versionIds: readonly Uint8Array[], options: { turn: number, signal: AbortSignal }) => Promise<ReadonlyMap<string, Uint8Array>>
  /** How long a condemned block is kept, by the monotonic clock of one run. */
  readonly collectAfterMs: number
  /** 16 random bytes of this run. */
  readonly run: Uint8Array
  readonly clock: Clock
  readonly warn: (message: string, cause: unknown) => void
}

export const collectorLimits = {
  /** Blocks looked at in one step. */
  page: 500,
  /** Versions of one block that are asked about in one walk; while one of them lives the block is kept. */
  versionsOfBlock: 256,
  /** Condemned blocks looked at in one step, and asked of each peer at once. */
  condemnedPage: presenceLimits.maxAskedLiving,
  askMs: 10_000,
  /** Between two walks: so many in the grace, within these bounds. */
  walksInGrace: 24,
  leastEveryMs: 500,
  mostEveryMs: 3_600_000,
} as const

export interface CollectorStatus {
  readonly phase: 'waiting' | 'walking' | 'collecting'
  readonly doneShare: number
  /** Since the start. */
  readonly total: { readonly collectedBlocks: number, readonly collectedBytes: number, readonly sparedBlocks: number }
  /** As the last whole walk found; undefined: there was none since the start. */
  readonly found: CollectorFound | undefined
}

export interface CollectorFound {
  /** Waiting for the grace. */
  readonly condemnedBlocks: number
  readonly condemnedBytes: number
  /** Here, and recorded for no version: never collected. */
  readonly unreferencedBlocks: number
  readonly unreferencedBytes: number
  /** The grace is over, and too few of those that may need them answer. */
  readonly heldUpBlocks: number
}

type Found = { -readonly [K in keyof CollectorFound]: number }

export class Collector {
  readonly #parts: CollectorParts
  readonly #total = { collectedBlocks: 0, collectedBytes: 0, sparedBlocks: 0 }
  #pass: { phase: 'walking' | 'collecting', after: Uint8Array | undefined, readonly found: Found } | undefined
  #found: Found | undefined
  #turn = 0
  #nextMs = -Infinity

  constructor (parts: CollectorParts) { this.#parts = parts }

  /** A walk as soon as possible. It does not shorten the grace. */
  now (): void { this.#nextMs = -Infinity }

  /** One page of the walk over what is here, then of the one over what is condemned. */
  async step ({ signal }: { signal: AbortSignal }): Promise<'busy' | 'idle'> {
    const nowMs = this.#parts.clock.monotonicMs()
    if (this.#pass === undefined) {
      if (nowMs < this.#nextMs) return 'idle'
      this.#turn++
      this.#pass = { phase: 'walking', after: undefined, found: { condemnedBlocks: 0, condemnedBytes: 0, unreferencedBlocks: 0, unreferencedBytes: 0, heldUpBlocks: 0 } }
    }
    const pass = this.#pass
    const next = pass.phase === 'walking' ? await this.#walkPage(pass.after, pass.found, signal) : await this.#collectPage(pass.after, pass.found, signal)
    pass.after = next
    if (next !== undefined) return 'busy'
    if (pass.phase === 'walking') { pass.phase = 'collecting'; return 'busy' }
    this.#pass = undefined
    this.#found = pass.found
    this.#nextMs = this.#parts.clock.monotonicMs() + everyMs(this.#parts.collectAfterMs)
    return 'idle'
  }

  status (): CollectorStatus {
    const { phase = 'waiting', after } = this.#pass ?? {}
    return { phase, doneShare: this.#pass === undefined ? 1 : shareOf(after), total: { ...this.#total }, found: this.#found === undefined ? undefined : { ...this.#found } }
  }

  /** Learns what is dead, and condemns. */
  async #walkPage (after: Uint8Array | undefined, found: Found, signal: AbortSignal): Promise<Uint8Array | undefined> {
    const { inventory, condemned } = this.#parts
    const { items, next } = await inventory.page({ after, limit: collectorLimits.page })
    const living = new Map<Cid, readonly Uint8Array[]>()
    for (const { cid, isHere, shards, references: { count, damaged }, dead } of items) {
      if (count > 0) living.set(cid, await condemned.living(cid, collectorLimits.versionsOfBlock))
      else if (dead > 0) living.set(cid, [])
      else if (damaged === 0 && (isHere || shards.length > 0)) { found.unreferencedBlocks++; found.unreferencedBytes += await inventory.sizeOf(cid) }
    }
    const deaths = await this.#deathsOf([...living.values()].flat(), signal)
    const candidates: Cid[] = []
    for (const [cid, versionIds] of living) {
      const dead = versionIds.flatMap((versionId) => deaths.get(hexOf(versionId)) ?? [])
      if (dead.length > 0 && await this.#unlessFull(async () => condemned.died(cid, dead)) === 'full') continue
      if (dead.length === versionIds.length && !await condemned.isCondemned(cid)) candidates.push(cid)
    }
    await this.#condemn(candidates, signal)
    return next
  }

  /** What others are known to need is not condemned in the first place: it would be counted as missing here, and be brought. */
  async #condemn (cids: readonly Cid[], signal: AbortSignal): Promise<void> {
    for (let at = 0; at < cids.length; at += collectorLimits.condemnedPage) {
      const some = cids.slice(at, at + collectorLimits.condemnedPage)
      const elsewhere = await this.#elsewhere(some, signal)
      for (const cid of some) if (elsewhere.get(cid) !== 'needed') await this.#unlessFull(async () => this.#parts.condemned.condemn(cid, this.#since()))
    }
  }

  /** Takes away what is condemned for long enough, and nobody needs. */
  async #collectPage (after: Uint8Array | undefined, found: Found, signal: AbortSignal): Promise<Uint8Array | undefined> {
    const { condemned, inventory, collectAfterMs, clock, placement } = this.#parts
    const { items, next } = await condemned.page({ after, limit: collectorLimits.condemnedPage })
    const due: Cid[] = []
    for (const { cid, since } of items) {
      // what the clock of another run said means nothing now
      if (!isSameRun(since, this.#parts)) await this.#unlessFull(async () => condemned.restart(cid, this.#since()))
      else if (clock.monotonicMs() - since.monotonicMs >= collectAfterMs) due.push(cid)
    }
    const elsewhere = due.length === 0 || placement.isMoving() ? new Map<Cid, Elsewhere>() : await this.#elsewhere(due, signal)
    for (const { cid } of items) {
      const bytes = await inventory.sizeOf(cid)
      const judged = due.includes(cid) ? elsewhere.get(cid) ?? 'unknown' : undefined
      if (judged === 'dead' && !placement.isMoving()) {
        const outcome = await this.#unlessFull(async () => condemned.collect(cid))
        if (outcome === 'kept') { this.#total.sparedBlocks++; continue }
        // its bytes are gone, if they were a file; what was recorded of it goes when there is room
        if (outcome === 'full') { found.condemnedBlocks++; continue }
        this.#total.collectedBlocks++
        this.#total.collectedBytes += bytes
      } else if (judged === 'needed') {
        await this.#unlessFull(async () => condemned.spare(cid))
        this.#total.sparedBlocks++
      } else {
        found.condemnedBlocks++
        found.condemnedBytes += bytes
        if (judged === 'unknown') found.heldUpBlocks++
      }
    }
    return next
  }

  /**
   * Whether somebody else may need these blocks: a version that is not proven dead, at anybody who answers; 'unknown' where fewer than a majority of those
   * have answered where the block may lie.
   */
  async #elsewhere (cids: readonly Cid[], signal: AbortSignal): Promise<ReadonlyMap<Cid, Elsewhere>> {
    const { self, peers, placement, clock, warn } = this.#parts
    const blocks = cids.map((cid) => ({ cid, places: [...new Set(placement.holdersOf(cid))], answered: new Set([self]), versionIds: new Set<string>(), isMore: false }))
    await Promise.all(peers.reachable().filter((peer) => peer !== self).map(async (peer) => {
      const asked = blocks.filter(({ places }) => places.includes(peer))
      if (asked.length === 0) return
      using limit = deadline(clock, collectorLimits.askMs, { signal, what: 'asking who needs blocks' })
      try {
        const answers = await peers.living(peer, asked.map(({ cid }) => cid), { signal: limit.signal })
        for (const [i, block] of asked.entries()) {
          const answer = answers[i]
          if (answer === undefined) continue
          block.answered.add(peer)
          if (answer.isMore) block.isMore = true
          for (const versionId of answer.versionIds) block.versionIds.add(hexOf(versionId))
        }
      } catch (error) {
        signal.throwIfAborted()
        warn(`${peer} did not say which blocks are needed: nothing is collected that it may need`, error)
      }
    }))
    const deaths = await this.#deathsOf(blocks.flatMap(({ versionIds }) => [...versionIds].map(fromHex)), signal)
    return new Map(blocks.map(({ cid, places, answered, versionIds, isMore }): [Cid, Elsewhere] => {
      if (isMore || [...versionIds].some((versionId) => !deaths.has(versionId))) return [cid, 'needed']
      return [cid, places.filter((peer) => answered.has(peer)).length > places.length / 2 ? 'dead' : 'unknown']
    }))
  }

  async #deathsOf (versionIds: readonly Uint8Array[], signal: AbortSignal): Promise<ReadonlyMap<string, Uint8Array>> {
    const each = new Map(versionIds.map((versionId) => [hexOf(versionId), versionId]))
    return each.size === 0 ? new Map() : this.#parts.deathsOf([...each.values()], { turn: this.#turn, signal })
  }

  /** A disk without room for a mark must not keep the others from being taken away, which is what makes room. */
  async #unlessFull<T> (change: () => Promise<T>): Promise<T | 'full'> {
    try {
      return await change()
    } catch (error) {
      if (!(error instanceof StoreFull)) throw error
      this.#parts.warn('what is dead could not be marked now: the disk is full', error)
      return 'full'
    }
  }

  #since (): Since { return { run: this.#parts.run, monotonicMs: this.#parts.clock.monotonicMs() } }
}

type Elsewhere = 'dead' | 'needed' | 'unknown'

const everyMs = (collectAfterMs: number): number => Math.min(collectorLimits.mostEveryMs, Math.max(collectorLimits.leastEveryMs, collectAfterMs / collectorLimits.walksInGrace))

/** Digests are as good as random, so how far a walk has come is read off the last one. */
const shareOf = (digest: Uint8Array | undefined): number => digest === undefined ? 0 : ((digest[0] ?? 0) * 256 + (digest[1] ?? 0)) / 65_536
