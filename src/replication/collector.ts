import { ByteWriter, fromHex, hexOf } from '../base/bytes.ts'
import type { Cid } from '../base/cid.ts'
import { type Clock, deadline } from '../base/clock.ts'
import { StoreFull } from '../base/errors.ts'
import type { PeerId } from '../base/peer-id.ts'
import { isReadFault } from '../disk/index.ts'
import { type CondemnedBlocks, isSameRun, type Since } from '../blockstore/condemned.ts'
import { formsHere, type Inventory, type InventoryItem } from '../blockstore/inventory.ts'
import { type FormName, formNameOf, isWanted } from '../blockstore/references.ts'
import { isCode } from '../blockstore/shard.ts'
import { type BlockPeers, type Placement, presenceLimits, type Redundancy } from './index.ts'

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
  readonly inventory: Pick<Inventory, 'page' | 'find' | 'sizeOf'>
  readonly peers: Pick<BlockPeers, 'living' | 'reachable'>
  /** With which pieces of other forms are counted; undefined: no form makes room for another. */
  readonly pieces?: Pick<BlockPeers, 'presence' | 'shardPresence'>
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
  /** Versions of one block that are asked about in one walk; while one of them lives the block is kept. Of more others come with each walk. */
  versionsOfBlock: 256,
  /** Condemned blocks looked at in one step, and asked of each peer at once. */
  condemnedPage: presenceLimits.maxAskedLiving,
  askMs: 10_000,
  /** Blocks kept in a form that nobody wants any more, whose grace is counted in memory; with more of them some wait until others are gone. */
  maxSuperseded: 100_000,
  /**
   * Of blocks that live: what is dead is forgotten with the second walk that comes so long after the one before it, or after the grace if that is longer. By then others have walked too: of two
   * that have forgotten each would be told by the other.
   */
  forgetDeadMs: 2 * 3_600_000,
  /** Between two walks: so many in the grace, within these bounds. */
  walksInGrace: 24,
  leastEveryMs: 500,
  mostEveryMs: 3_600_000,
} as const

export interface CollectorStatus {
  readonly phase: 'waiting' | 'walking' | 'collecting'
  readonly doneShare: number
  /** Of what is condemned: while walking, as far as it is known by then; while collecting, what has been looked at. */
  readonly doneBytes: number
  readonly totalBytes: number
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
interface Pass { phase: 'walking' | 'collecting', after: Uint8Array | undefined, superseded: readonly Cid[] | undefined, readonly isForgetting: boolean, readonly found: Found }

export class Collector {
  readonly #parts: CollectorParts
  readonly #total = { collectedBlocks: 0, collectedBytes: 0, sparedBlocks: 0 }
  #pass: Pass | undefined
  readonly #superseded = new Map<Cid, { readonly sinceMs: number, turn: number }>()
  #found: Found | undefined
  #bytes = { done: 0, total: 0 }
  #turn = 0
  #nextMs = -Infinity
  #forgotMs: number

  constructor (parts: CollectorParts) {
    this.#parts = parts
    this.#forgotMs = parts.clock.monotonicMs()
  }

  /** A walk as soon as possible. It does not shorten the grace. */
  now (): void { this.#nextMs = -Infinity }

  /** One page of the walk over what is here, then of the one over what is condemned. */
  async step ({ signal }: { signal: AbortSignal }): Promise<'busy' | 'idle'> {
    const nowMs = this.#parts.clock.monotonicMs()
    if (this.#pass === undefined) {
      if (nowMs < this.#nextMs) return 'idle'
      this.#turn++
      const isForgetting = nowMs - this.#forgotMs >= Math.max(this.#parts.collectAfterMs, collectorLimits.forgetDeadMs)
      if (isForgetting) this.#forgotMs = nowMs
      this.#pass = { phase: 'walking', isForgetting, after: undefined, superseded: undefined, found: { condemnedBlocks: 0, condemnedBytes: 0, unreferencedBlocks: 0, unreferencedBytes: 0, heldUpBlocks: 0 } }
      this.#bytes = { done: 0, total: 0 }
    }
    const pass = this.#pass
    if (pass.superseded === undefined) {
      const next = pass.phase === 'walking' ? await this.#walkPage(pass, signal) : await this.#collectPage(pass.after, pass.found, signal)
      pass.after = next
      if (next !== undefined) return 'busy'
      if (pass.phase === 'walking') { pass.phase = 'collecting'; return 'busy' }
      pass.superseded = this.#dueSuperseded()
    }
    if (pass.superseded.length > 0) {
      const some = pass.superseded.slice(0, collectorLimits.condemnedPage)
      pass.superseded = pass.superseded.slice(some.length)
      await this.#stripPage(some, pass.found, signal)
      return 'busy'
    }
    this.#pass = undefined
    this.#found = pass.found
    this.#nextMs = this.#parts.clock.monotonicMs() + everyMs(this.#parts.collectAfterMs)
    return 'idle'
  }

  status (): CollectorStatus {
    const [{ phase = 'waiting', after }, { done, total }] = [this.#pass ?? {}, this.#bytes]
    return { phase, doneShare: this.#pass === undefined ? 1 : shareOf(after), doneBytes: done, totalBytes: Math.max(done, total), total: { ...this.#total }, found: this.#found === undefined ? undefined : { ...this.#found } }
  }

  /** Learns what is dead, and condemns. */
  async #walkPage ({ after, found, isForgetting }: Pass, signal: AbortSignal): Promise<Uint8Array | undefined> {
    const { inventory, condemned } = this.#parts
    const { items, next } = await inventory.page({ after, limit: collectorLimits.page })
    const living = new Map<Cid, readonly Uint8Array[]>()
    for (const item of items) {
      const { cid, isHere, shards, references: { count, damaged }, dead } = item
      if (count > 0 && damaged === 0 && dead > 0 && supersededIn(item).size > 0) await this.#noteSuperseded(item, found)
      if (count > 0 && dead > 0 && isForgetting) await this.#unlessFull(async () => condemned.forgetDead(cid))
      if (count > 0 || dead > 0) living.set(cid, await condemned.living(cid, collectorLimits.versionsOfBlock, versionsFrom(this.#turn)))
      else if (damaged === 0 && (isHere || shards.length > 0)) { found.unreferencedBlocks++; found.unreferencedBytes += await inventory.sizeOf(cid) }
    }
    const deaths = await this.#deathsOf([...living.values()].flat(), signal)
    const allDead: Cid[] = []
    for (const [cid, versionIds] of living) {
      const dead = versionIds.flatMap((versionId) => deaths.get(hexOf(versionId)) ?? [])
      if (dead.length > 0 && await this.#unlessFull(async () => condemned.died(cid, dead)) === 'full') continue
      if (dead.length === versionIds.length) allDead.push(cid)
    }
    await this.#condemn(allDead, signal)
    for (const cid of allDead) if (await condemned.isCondemned(cid)) this.#bytes.total += await inventory.sizeOf(cid)
    return next
  }

  /** What others are known to need is not condemned in the first place: it would be counted as missing here, and be brought. */
  async #condemn (allDead: readonly Cid[], signal: AbortSignal): Promise<void> {
    const cids: Cid[] = []
    for (const cid of allDead) if (!await this.#parts.condemned.isCondemned(cid)) cids.push(cid)
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
      this.#bytes.done += bytes
      const judged = elsewhere.get(cid)
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

  /** A form of a block that only dead versions wanted, while others live: it waits for the grace as what is condemned does. */
  async #noteSuperseded (item: InventoryItem, found: Found): Promise<void> {
    const { inventory, clock, pieces } = this.#parts
    if (pieces === undefined) return
    const known = this.#superseded.get(item.cid)
    if (known !== undefined) known.turn = this.#turn
    else if (this.#superseded.size < collectorLimits.maxSuperseded) this.#superseded.set(item.cid, { sinceMs: clock.monotonicMs(), turn: this.#turn })
    found.condemnedBlocks++
    found.condemnedBytes += await inventory.sizeOf(item.cid, supersededIn(item))
  }

  /** Those that are for long enough; what was not found so in this walk is wanted again. */
  #dueSuperseded (): readonly Cid[] {
    const { clock, collectAfterMs, placement } = this.#parts
    for (const [cid, { turn }] of this.#superseded) if (turn !== this.#turn) this.#superseded.delete(cid)
    return placement.isMoving() ? [] : [...this.#superseded].filter(([, { sinceMs }]) => clock.monotonicMs() - sinceMs >= collectAfterMs).map(([cid]) => cid)
  }

  /** Takes away forms that nobody wants, of blocks that are whole in those that are wanted. */
  async #stripPage (cids: readonly Cid[], found: Found, signal: AbortSignal): Promise<void> {
    const { condemned, inventory, placement } = this.#parts
    const forms = new Map<Cid, ReadonlySet<FormName>>()
    for (const cid of cids) forms.set(cid, supersededIn(await inventory.find(cid)))
    const elsewhere = await this.#elsewhere(cids, signal, forms)
    for (const cid of cids) {
      const going = forms.get(cid) ?? new Set()
      if (elsewhere.get(cid) === 'unknown') found.heldUpBlocks++
      if (elsewhere.get(cid) !== 'dead' || placement.isMoving()) continue
      const bytes = await inventory.sizeOf(cid, going)
      const outcome = await this.#unlessFull(async () => condemned.strip(cid, going))
      if (outcome === 'full') continue
      this.#superseded.delete(cid)
      found.condemnedBlocks--
      found.condemnedBytes -= bytes
      if (outcome === 'kept') { this.#total.sparedBlocks++; continue }
      this.#total.collectedBlocks++
      this.#total.collectedBytes += bytes
    }
  }

  /**
   * Whether somebody else may need these blocks in the forms in which they are here: a version that is not proven dead, at anybody who answers, unless it wants another form, in which
   * the block is whole, or is whole without this node, to which it does not belong; 'unknown' where fewer than a majority of those have answered where the block may lie. `forms`: all that is here, unless they are given.
   */
  async #elsewhere (cids: readonly Cid[], signal: AbortSignal, forms?: ReadonlyMap<Cid, ReadonlySet<FormName>>): Promise<ReadonlyMap<Cid, Elsewhere>> {
    const { self, peers, placement, clock, warn, inventory } = this.#parts
    const blocks = cids.map((cid): Asked => ({ cid, places: [...new Set(placement.holdersOf(cid))], answered: new Set([self]), wanted: new Map(), isMore: false }))
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
          for (const [at, versionId] of answer.versionIds.entries()) noteWant(block, hexOf(versionId), answer.redundancies?.[at])
        }
      } catch (error) {
        signal.throwIfAborted()
        warn(`${peer} did not say which blocks are needed: nothing is collected that it may need`, error)
      }
    }))
    const deaths = await this.#deathsOf(blocks.flatMap(({ wanted }) => [...wanted.keys()].map(fromHex)), signal)
    const judged = new Map<Cid, Elsewhere>()
    const otherwise: Array<{ readonly cid: Cid, readonly places: readonly PeerId[], readonly wants: readonly Redundancy[], readonly isElsewhere: boolean, readonly outcome: Elsewhere }> = []
    for (const { cid, places, answered, wanted, isMore } of blocks) {
      const living = [...wanted].filter(([versionId]) => !deaths.has(versionId)).flatMap(([, wants]) => wants)
      const outcome = places.filter((peer) => answered.has(peer)).length > places.length / 2 ? 'dead' : 'unknown'
      if (isMore || living.includes(undefined)) { judged.set(cid, 'needed'); continue }
      if (living.length === 0 && forms === undefined) { judged.set(cid, outcome); continue }
      const item = await inventory.find(cid)
      const here = forms?.get(cid) ?? formsHere(item)
      const wants = [...living as Redundancy[], ...item.references.redundancy === undefined ? [] : [item.references.redundancy], ...item.references.codes.map(({ redundancy }) => redundancy)]
      const isElsewhere = forms === undefined && item.references.count === 0 && !places.includes(self)
      if (item.references.damaged > 0 || (!isElsewhere && wants.some((redundancy) => here.has(formNameOf(redundancy))))) judged.set(cid, 'needed')
      else otherwise.push({ cid, places, wants, isElsewhere, outcome })
    }
    const whole = await this.#wholeIn(otherwise, signal)
    for (const { cid, outcome } of otherwise) judged.set(cid, whole.has(cid) ? outcome : 'needed')
    return judged
  }

  /** Those of which every piece is known to be where it may lie, in each form that is wanted. `isElsewhere`: what is here counts for nothing. */
  async #wholeIn (blocks: ReadonlyArray<{ readonly cid: Cid, readonly places: readonly PeerId[], readonly wants: readonly Redundancy[], readonly isElsewhere: boolean }>, signal: AbortSignal): Promise<ReadonlySet<Cid>> {
    const { pieces, self, peers, inventory, clock } = this.#parts
    if (pieces === undefined || blocks.length === 0) return new Set()
    const seen = new Map<Cid, { readonly whole: Set<PeerId>, readonly shards: Map<FormName, Set<number>> }>()
    for (const { cid, isElsewhere } of blocks) {
      const { isHere, shards } = isElsewhere ? nothingHere : await inventory.find(cid)
      const indexes = new Map<FormName, Set<number>>()
      for (const shard of shards) indexes.set(formNameOf(shard), (indexes.get(formNameOf(shard)) ?? new Set()).add(shard.index))
      seen.set(cid, { whole: new Set(isHere ? [self] : []), shards: indexes })
    }
    await Promise.all(peers.reachable().filter((peer) => peer !== self).map(async (peer) => {
      const asked = blocks.filter(({ places }) => places.includes(peer))
      const codes = asked.flatMap(({ cid, wants }) => distinct(wants).filter((redundancy) => redundancy.k > 1 && isCode(redundancy)).map((redundancy) => ({ cid, redundancy })))
      if (asked.length === 0) return
      using limit = deadline(clock, collectorLimits.askMs, { signal, what: 'asking what a peer holds' })
      try {
        const wholes = await pieces.presence(peer, asked.map(({ cid }) => cid), { signal: limit.signal })
        for (const [i, { cid }] of asked.entries()) if (wholes[i] !== undefined && wholes[i].state !== 'absent') seen.get(cid)?.whole.add(peer)
        for (let at = 0; at < codes.length; at += presenceLimits.maxAsked) {
          const page = codes.slice(at, at + presenceLimits.maxAsked)
          for (const [i, { indexes }] of (await pieces.shardPresence(peer, page, { signal: limit.signal })).entries()) {
            const { cid, redundancy } = page[i] as typeof page[number]
            const shards = seen.get(cid)?.shards
            const name = formNameOf(redundancy)
            shards?.set(name, new Set([...shards.get(name) ?? [], ...indexes]))
          }
        }
      } catch (error) {
        signal.throwIfAborted()
        this.#parts.warn(`${peer} did not say what it holds: its copies count for nothing until it does`, error)
      }
    }))
    return new Set(blocks.filter(({ cid, places, wants }) => wants.every((redundancy) => {
      const { k, m } = redundancy
      const found = k === 1 ? seen.get(cid)?.whole.size : seen.get(cid)?.shards.get(formNameOf(redundancy))?.size
      // copies are as many as there can be; of shards fewer than all, and be it for want of nodes, may be fewer than suffice
      return (found ?? 0) >= (k === 1 ? Math.max(1, Math.min(k + m, places.length)) : k + m)
    })).map(({ cid }) => cid))
  }

  async #deathsOf (versionIds: readonly Uint8Array[], signal: AbortSignal): Promise<ReadonlyMap<string, Uint8Array>> {
    const each = new Map(versionIds.map((versionId) => [hexOf(versionId), versionId]))
    return each.size === 0 ? new Map() : this.#parts.deathsOf([...each.values()], { turn: this.#turn, signal })
  }

  /** A disk without room for a mark, or with a file that it does not let go, must not keep the others from being taken away, which is what makes room. */
  async #unlessFull<T> (change: () => Promise<T>): Promise<T | 'full'> {
    try {
      return await change()
    } catch (error) {
      if (!(error instanceof StoreFull) && !isReadFault(error)) throw error
      this.#parts.warn(error instanceof StoreFull ? 'what is dead could not be marked now: the disk is full' : 'what is dead could not be taken away: the disk does not let it go', error)
      return 'full'
    }
  }

  #since (): Since { return { run: this.#parts.run, monotonicMs: this.#parts.clock.monotonicMs() } }
}

type Elsewhere = 'dead' | 'needed' | 'unknown'

const nothingHere: Pick<InventoryItem, 'isHere' | 'shards'> = { isHere: false, shards: [] }

interface Asked {
  readonly cid: Cid
  readonly places: readonly PeerId[]
  readonly answered: Set<PeerId>
  /** Version ids, hexadecimal, and how each wants the block to be kept; undefined: somebody does not tell. */
  readonly wanted: Map<string, Array<Redundancy | undefined>>
  isMore: boolean
}

function noteWant ({ wanted }: Asked, versionId: string, redundancy: Redundancy | undefined): void { wanted.set(versionId, [...wanted.get(versionId) ?? [], redundancy]) }

const distinct = (redundancies: readonly Redundancy[]): readonly Redundancy[] => [...new Map(redundancies.map((redundancy) => [`${redundancy.k}+${redundancy.m}`, redundancy])).values()]

/** Forms in which a block is here, and no reference that lives wants it. */
const supersededIn = (item: InventoryItem): ReadonlySet<FormName> => new Set([...formsHere(item)].filter((form) => !isWanted(item.references, form)))

/** Where a walk begins among the versions of a block: by the golden ratio, so that a few walks have begun everywhere. */
const versionsFrom = (turn: number): Uint8Array => new ByteWriter().u16(turn * 40_503 % 65_536).finish()

const everyMs = (collectAfterMs: number): number => Math.min(collectorLimits.mostEveryMs, Math.max(collectorLimits.leastEveryMs, collectAfterMs / collectorLimits.walksInGrace))

/** Digests are as good as random, so how far a walk has come is read off the last one. */
const shareOf = (digest: Uint8Array | undefined): number => digest === undefined ? 0 : ((digest[0] ?? 0) * 256 + (digest[1] ?? 0)) / 65_536
