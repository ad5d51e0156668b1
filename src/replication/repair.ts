import type { Cid } from '../base/cid.ts'
import { type Clock, deadline } from '../base/clock.ts'
import { StoreFull } from '../base/errors.ts'
import type { PeerId } from '../base/peer-id.ts'
import { BlockCorrupt, BlockMissing, type Blocks, type Shards } from '../blockstore/index.ts'
import type { Inventory, InventoryItem } from '../blockstore/inventory.ts'
import type { ShardName } from '../blockstore/shard.ts'
import { type BlockPeers, type Holder, type Placement, type Presence, presenceLimits, type Reference, type ShardPresence, type StoreOutcome } from './index.ts'
import { type Listed, RepairList, VersionsAtRisk } from './repair-list.ts'
import { type BlockPlan, isWork, planFor } from './repair-plan.ts'
import { ShardMending, type ShardMendingParts } from './shard-mending.ts'
import { asCopies, isShardWork, type ShardPlan, shardPlanFor } from './shard-plan.ts'

/**
 * Full redundancy returns by itself. Each holder walks what it holds or should (a *survey*), asks the others what they have of it, and lists what it can better;
 * then it works through the list, fewest surviving copies first, looking at each block afresh before it touches it. Survey and work together are a *sweep*. One is
 * due when who holds blocks has changed (a layout, a member gone for longer than a suspicion, one that is back), and now and then without a reason.
 *
 * Nobody is in charge: what each does follows from what it sees (repair-plan.ts). Copies are brought before any is given up, and a question that was not
 * answered counts for nothing.
 */
export interface RepairParts {
  readonly self: PeerId
  readonly holder: RepairHolder
  readonly inventory: Inventory
  /** What `holder` holds. */
  readonly local: Pick<Blocks, 'get'>
  readonly shards: Pick<Shards, 'get' | 'of'>
  /** A block that is kept in shards, from any k of them. */
  readonly read: ShardMendingParts['read']
  readonly peers: Pick<BlockPeers, 'store' | 'storeShard' | 'fetch' | 'presence' | 'shardPresence' | 'tell' | 'reachable'>
  readonly placement: RepairPlacement
  readonly clock: Clock
  readonly warn: (message: string, cause: unknown) => void
  /** Blocks worked on side by side: fewer while users wait. */
  readonly atOnce?: () => number
}

export interface RepairHolder extends Holder {
  release (cid: Cid, confirm: () => Promise<boolean>): Promise<'released' | 'kept'>
  releaseShard (name: ShardName, confirm: () => Promise<boolean>): Promise<'released' | 'kept'>
}

export interface RepairPlacement extends Placement {
  /** Of the layout. */
  version (): bigint
  /** A change of the layout is under way: nothing is given up until it is finished. */
  isMoving (): boolean
  /** Everybody who holds blocks, this node too. */
  members (): readonly PeerId[]
}

export const repairLimits = {
  /** Blocks looked at in one step of a survey, and asked of each peer at once. */
  page: 500,
  /** Blocks worked on side by side: as many are in memory. */
  atOnce: 4,
  /** Somebody who is gone for less is not missed. */
  suspicionMs: 10_000,
  /** Since a sweep began or ended, until the next begins, unless a person asks or the last one has bettered something. */
  leastRestMs: 30_000,
  /** A sweep without any reason. */
  everyMs: 600_000,
  /** What could not be brought, for a disk is full or a peer did not take it, is tried again. */
  retryMs: 60_000,
  askMs: 10_000,
  bringMs: 120_000,
  /** Blocks that were reported one by one; with more a sweep finds them. */
  maxReported: 10_000,
  /** Of one block, that are told as at risk by their ids. */
  versionsOfBlock: 1000,
} as const

export interface RepairStatus {
  readonly phase: 'waiting' | 'surveying' | 'repairing'
  /** Why the sweep under way, or the last one, was made. */
  readonly why: string | undefined
  /** Of the survey or of the work. */
  readonly doneShare: number
  readonly doneBytes: number
  readonly totalBytes: number
  /** What the last whole survey found, less what was mended since; undefined: there was none since the start. */
  readonly found: RepairFound | undefined
  /** Since the start. */
  readonly total: { readonly broughtBlocks: number, readonly fetchedBlocks: number, readonly releasedBlocks: number, readonly movedBytes: number, readonly failures: number }
  /** Peers that had no room when they were last offered a block. */
  readonly full: readonly PeerId[]
}

export interface RepairFound {
  readonly layoutVersion: bigint
  readonly versionsAtRisk: number
  /** There are more. */
  readonly isAtLeast: boolean
  readonly shortBlocks: number
  /** Of those, blocks of which no copy is known to live: those who have one are away, or it is lost. */
  readonly goneBlocks: number
  /** Here, and to be given up: the layout has moved, or this node was a substitute. */
  readonly misplacedBlocks: number
  readonly misplacedBytes: number
}

interface Found { layoutVersion: bigint, atRisk: VersionsAtRisk, shortBlocks: number, goneBlocks: number, misplacedBlocks: number, misplacedBytes: number }

/** What is to be done about one block, as whole copies and as shards of each code that a version wants. */
interface Seen { readonly cid: Cid, readonly plan: BlockPlan | undefined, readonly shardPlans: readonly ShardPlan[] }

export class Repair {
  readonly #parts: RepairParts
  readonly #shards: ShardMending
  readonly #reported = new Set<Cid>()
  readonly #fullUntilMs = new Map<PeerId, number>()
  readonly #total = { broughtBlocks: 0, fetchedBlocks: 0, releasedBlocks: 0, movedBytes: 0, failures: 0 }
  #survey: { after: Uint8Array | undefined, found: Found } | undefined
  #found: Found | undefined
  #list = new RepairList()
  #work = { doneBlocks: 0, totalBlocks: 0, doneBytes: 0, totalBytes: 0, failures: 0, isWorth: false }
  #isSweeping = false
  #why: string | undefined
  #asked: string | undefined
  #lastSweepMs = -Infinity
  #retryAtMs = Infinity
  #arrivals = 0
  #world = { now: '', sinceMs: 0, swept: '' }

  constructor (parts: RepairParts) {
    this.#parts = parts
    this.#shards = new ShardMending({ ...parts, onOutcome: (peer, outcome, bytes) => { this.#brought(peer, outcome, bytes) } })
  }

  /** A sweep as soon as possible, whatever is being done. */
  now (why = 'asked for'): void {
    this.#asked = why
    this.#survey = undefined
  }

  /** Somebody has connected, perhaps with less than they had: a sweep follows. */
  met (): void { this.#arrivals++ }

  /** This block is short or was found rotten: it is looked at before all else. */
  report (cid: Cid): void {
    if (this.#reported.size < repairLimits.maxReported) this.#reported.add(cid)
    else this.#asked ??= 'many blocks were reported'
  }

  /** One page of the survey, or a few blocks of the work. */
  async step ({ signal }: { signal: AbortSignal }): Promise<'busy' | 'idle'> {
    if (this.#reported.size > 0) {
      const cids = [...this.#reported].slice(0, this.#parts.atOnce?.() ?? repairLimits.atOnce)
      for (const cid of cids) this.#reported.delete(cid)
      await this.#mend(cids.map((cid) => ({ cid, bytes: 0, isShort: false, isReported: true })), signal)
      return 'busy'
    }
    if (this.#survey === undefined && this.#list.count > 0) this.#asked ??= this.#change()
    if (this.#survey === undefined && this.#asked === undefined && this.#list.count > 0) {
      await this.#mend(this.#list.take(this.#parts.atOnce?.() ?? repairLimits.atOnce), signal)
      return 'busy'
    }
    if (this.#survey === undefined) {
      this.#endSweep()
      const why = this.#occasion()
      if (why === undefined) return 'idle'
      this.#begin(why)
    }
    await this.#surveyPage(signal)
    return 'busy'
  }

  status (): RepairStatus {
    const { clock } = this.#parts
    const { doneBlocks, totalBlocks, doneBytes, totalBytes } = this.#work
    const phase = this.#survey !== undefined ? 'surveying' : this.#list.count > 0 ? 'repairing' : 'waiting'
    return {
      phase,
      why: this.#why,
      doneShare: this.#survey !== undefined ? shareOf(this.#survey.after) : totalBlocks === 0 ? 1 : doneBlocks / totalBlocks,
      doneBytes, totalBytes,
      found: this.#found === undefined ? undefined : toldOf(this.#found),
      total: { ...this.#total },
      full: [...this.#fullUntilMs].filter(([, untilMs]) => untilMs > clock.monotonicMs()).map(([peer]) => peer),
    }
  }

  /** Version ids of objects at risk, so that what several nodes see can be put together. */
  versionsAtRisk (most: number): readonly string[] { return this.#found?.atRisk.ids(most) ?? [] }

  #occasion (): string | undefined {
    const nowMs = this.#parts.clock.monotonicMs()
    const change = this.#change()
    if (this.#asked !== undefined) return this.#asked
    if (change !== undefined) return change
    if (nowMs - this.#lastSweepMs < repairLimits.leastRestMs) return undefined
    if (nowMs >= this.#retryAtMs) return 'not everything is whole yet'
    return nowMs - this.#lastSweepMs >= repairLimits.everyMs && this.#world.swept !== '' ? 'it is time' : undefined
  }

  /** That who holds blocks is no more what it was when the last sweep began, and has not been for a while. */
  #change (): string | undefined {
    const { placement, peers, clock } = this.#parts
    const nowMs = clock.monotonicMs()
    const reachable = new Set(peers.reachable())
    const now = [String(placement.version()), String(placement.isMoving()), String(this.#arrivals), ...placement.members().filter((member) => reachable.has(member)).toSorted()].join(' ')
    if (now !== this.#world.now) this.#world = { ...this.#world, now, sinceMs: nowMs }
    const { swept, sinceMs } = this.#world
    if (now === swept || nowMs - sinceMs < repairLimits.suspicionMs || nowMs - this.#lastSweepMs < repairLimits.leastRestMs) return undefined
    return swept === '' ? 'the node has started' : 'who holds blocks has changed'
  }

  #begin (why: string): void {
    this.#why = why
    this.#asked = undefined
    this.#lastSweepMs = this.#parts.clock.monotonicMs()
    this.#isSweeping = true
    this.#retryAtMs = Infinity
    this.#world = { ...this.#world, swept: this.#world.now }
    this.#list = new RepairList()
    this.#work = { doneBlocks: 0, totalBlocks: 0, doneBytes: 0, totalBytes: 0, failures: 0, isWorth: false }
    this.#survey = { after: undefined, found: { layoutVersion: this.#parts.placement.version(), atRisk: new VersionsAtRisk(), shortBlocks: 0, goneBlocks: 0, misplacedBlocks: 0, misplacedBytes: 0 } }
  }

  // what was bettered is looked at once more; what could not be is tried later
  #endSweep (): void {
    if (!this.#isSweeping) return
    this.#isSweeping = false
    const nowMs = this.#parts.clock.monotonicMs()
    const tookMs = nowMs - this.#lastSweepMs
    this.#lastSweepMs = nowMs
    if (this.#work.failures > 0) this.#retryAtMs = nowMs + repairLimits.retryMs
    else if (this.#work.isWorth || this.#list.isFull) this.#asked ??= 'to see that all is well'
    // others may have mended what was short: it must not be told as short for longer than that takes to see
    else if ((this.#found?.shortBlocks ?? 0) > 0) this.#retryAtMs = nowMs + Math.max(repairLimits.retryMs, shortRestShare * tookMs)
  }

  async #surveyPage (signal: AbortSignal): Promise<void> {
    const survey = this.#survey
    if (survey === undefined) return
    const { inventory } = this.#parts
    const { items, next } = await inventory.page({ after: survey.after, limit: repairLimits.page })
    for (const seen of await this.#see(items, signal)) await this.#note(seen, survey.found)
    // a person, or a change, may have begun another meanwhile
    if (this.#survey !== survey) return
    survey.after = next
    if (next !== undefined) return
    this.#survey = undefined
    this.#found = survey.found
    this.#work = { ...this.#work, totalBlocks: this.#list.count }
  }

  async #note ({ cid, plan, shardPlans }: Seen, found: Found): Promise<void> {
    if (plan !== undefined) await this.#noteBlock(cid, plan, found)
    for (const shardPlan of shardPlans) await this.#noteShards(cid, shardPlan, found)
  }

  async #noteShards (cid: Cid, plan: ShardPlan, found: Found): Promise<void> {
    const { inventory, holder, placement } = this.#parts
    const { surviving, wanted, redundancy: { k, m }, isMine } = plan
    const isShort = surviving < Math.min(wanted, new Set(placement.holdersOf(cid)).size) && (surviving > 0 || isMine)
    if (isShort) {
      found.shortBlocks++
      if (surviving < k) found.goneBlocks++
      let read = 0
      for await (const { versionId, redundancy } of holder.references(cid)) {
        if (redundancy.k === k && redundancy.m === m) found.atRisk.add(versionId)
        if (++read === repairLimits.versionsOfBlock) break
      }
    }
    if (!isShardWork(plan) && plan.misplaced === 0) return
    const bytes = await inventory.sizeOf(cid)
    if (plan.misplaced > 0) { found.misplacedBlocks++; found.misplacedBytes += bytes }
    if (!isShardWork(plan)) return
    this.#list.add({ cid, bytes, isShort }, asCopies(plan))
    this.#work.totalBytes += bytes
  }

  async #noteBlock (cid: Cid, plan: BlockPlan, found: Found): Promise<void> {
    const { inventory, holder, placement } = this.#parts
    const isShort = plan.surviving < plan.wanted && (plan.surviving > 0 || plan.isMine)
    if (isShort) {
      found.shortBlocks++
      if (plan.surviving === 0) found.goneBlocks++
      const places = new Set(placement.holdersOf(cid)).size
      let read = 0
      for await (const { versionId, redundancy: { k, m } } of holder.references(cid)) {
        if (k === 1 && plan.surviving < Math.min(k + m, places)) found.atRisk.add(versionId)
        if (++read === repairLimits.versionsOfBlock) break
      }
    }
    if (!isWork(plan) && !plan.isMisplaced) return
    const bytes = await inventory.sizeOf(cid)
    if (plan.isMisplaced) { found.misplacedBlocks++; found.misplacedBytes += bytes }
    if (!isWork(plan)) return
    this.#list.add({ cid, bytes, isShort }, plan.surviving)
    this.#work.totalBytes += bytes
  }

  /** Asks those where these blocks may lie what they have of them. Who does not answer is left out. */
  async #see (items: readonly InventoryItem[], signal: AbortSignal): Promise<readonly Seen[]> {
    const { self, peers, placement, clock } = this.#parts
    const blocks = items.map(({ cid, isHere, shards, references }) => ({
      cid, isHere, references, placed: [...new Set(placement.holdersOf(cid))], answers: new Map<PeerId, Presence>(),
      codes: references.codes.map(({ redundancy, digest }) => ({
        cid, redundancy, references: digest, answers: new Map<PeerId, ShardPresence>(),
        indexes: new Set(shards.filter(({ k, m }) => k === redundancy.k && m === redundancy.m).map(({ index }) => index)),
      })),
    }))
    await Promise.all(peers.reachable().filter((peer) => peer !== self).map(async (peer) => {
      const asked = blocks.filter(({ placed }) => placed.includes(peer))
      if (asked.length === 0) return
      using limit = deadline(clock, repairLimits.askMs, { signal, what: 'asking what a peer holds' })
      try {
        const whole = asked.filter(({ references }) => references.redundancy !== undefined)
        const answers = whole.length === 0 ? [] : await peers.presence(peer, whole.map(({ cid }) => cid), { signal: limit.signal })
        for (const [i, block] of whole.entries()) block.answers.set(peer, answers[i] as Presence)
        for (const codes = asked.flatMap((block) => block.codes); codes.length > 0;) {
          const page = codes.splice(0, presenceLimits.maxAsked)
          const found = await peers.shardPresence(peer, page, { signal: limit.signal })
          for (const [i, code] of page.entries()) code.answers.set(peer, found[i] as ShardPresence)
        }
      } catch (error) {
        signal.throwIfAborted()
        this.#parts.warn(`${peer} did not say what it holds: its copies count for nothing until it does`, error)
      }
    }))
    const isMoving = placement.isMoving()
    return blocks.map(({ cid, isHere, references: { redundancy, digest }, placed, answers, codes }) => ({
      cid,
      // nobody has said how many copies there should be: it is kept, and that is all
      plan: redundancy === undefined ? undefined : planFor({ self, placed, redundancy, isHere, references: digest, answers, isMoving }),
      shardPlans: codes.map((code) => shardPlanFor({ self, placed, isMoving, ...code })),
    }))
  }

  async #mend (listed: readonly Listed[], signal: AbortSignal): Promise<void> {
    const items = await Promise.all(listed.map(async ({ cid }) => this.#parts.inventory.find(cid)))
    const plans = new Map((await this.#see(items, signal)).map((seen) => [seen.cid, seen]))
    await Promise.all(listed.map(async ({ cid, isShort, isReported }) => {
      const seen = plans.get(cid)
      if (seen === undefined) return
      const isWhole = await this.#do(seen, signal).catch((error: unknown) => { signal.throwIfAborted(); this.#failed(error); return false })
      if (isWhole && isShort) await this.#mended(cid)
      // it will be told as short by a sweep, for nobody else may know
      if (!isWhole && isReported === true) this.#retryAtMs = Math.min(this.#retryAtMs, this.#parts.clock.monotonicMs())
    }))
    this.#work.doneBlocks += listed.length
    this.#work.doneBytes += listed.reduce((sum, { bytes }) => sum + bytes, 0)
  }

  /** Whether afterwards there are as many as there should be. */
  async #do ({ cid, plan, shardPlans }: Seen, signal: AbortSignal): Promise<boolean> {
    let isWhole = plan === undefined || plan.surviving + await this.#doBlock(cid, plan, signal) >= plan.wanted
    for (const shardPlan of shardPlans) if (shardPlan.surviving + await this.#doShards(cid, shardPlan, signal) < shardPlan.wanted) isWhole = false
    return isWhole
  }

  /** Gives how many shards are where they belong that were not. */
  async #doShards (cid: Cid, plan: ShardPlan, outer: AbortSignal): Promise<number> {
    const { placement, clock } = this.#parts
    using limit = deadline(clock, repairLimits.bringMs, { signal: outer, what: 'bringing shards' })
    const { signal } = limit
    const { redundancy } = plan
    const more = await this.#shards.push(cid, { ...plan, push: plan.push.filter(({ peer }) => !this.#isFull(peer)) }, { signal })
    for (const peer of plan.tell) await this.#shards.tell(peer, cid, { redundancy, signal })
    const version = placement.version()
    for (const { index, to } of plan.release) {
      if (!await this.#shards.release(cid, { redundancy, index, to, signal, isStill: () => placement.version() === version && !placement.isMoving() })) continue
      this.#work.isWorth = true
      this.#total.releasedBlocks++
      if (this.#found !== undefined) this.#found.misplacedBlocks = Math.max(0, this.#found.misplacedBlocks - 1)
    }
    return more
  }

  /** Gives how many copies there are more. */
  async #doBlock (cid: Cid, plan: BlockPlan, signal: AbortSignal): Promise<number> {
    const more = plan.fetchFrom.length > 0 ? await this.#fetch(cid, plan.fetchFrom, signal) : plan.push.length > 0 ? await this.#push(cid, plan, signal) : 0
    for (const peer of plan.tell) await this.#tell(peer, cid, { from: 0, signal })
    if (plan.releaseTo.length > 0) await this.#release(cid, plan.releaseTo, signal)
    return more
  }

  async #fetch (cid: Cid, from: readonly PeerId[], signal: AbortSignal): Promise<number> {
    const { self, peers, holder, clock, warn } = this.#parts
    if (this.#isFull(self)) return 0
    for (const peer of from) {
      using limit = deadline(clock, repairLimits.bringMs, { signal, what: 'fetching a block' })
      try {
        const bytes = await peers.fetch(peer, cid, { signal: limit.signal })
        if (bytes === 'not here') continue
        for await (const reference of wantingCopies(holder.references(cid))) {
          await holder.store(cid, bytes, reference)
          this.#total.fetchedBlocks++
          this.#total.movedBytes += bytes.byteLength
          this.#work.isWorth = true
          return 1
        }
        return 0
      } catch (error) {
        signal.throwIfAborted()
        if (error instanceof StoreFull) { this.#fill(self); return 0 }
        // wrong bytes, or none: the next may have them
        warn('a block could not be fetched to repair it', error)
      }
    }
    this.#failed(undefined)
    return 0
  }

  async #push (cid: Cid, plan: BlockPlan, signal: AbortSignal): Promise<number> {
    const targets = plan.push.filter((peer) => !this.#isFull(peer))
    const substitutes = plan.substitutes.filter((peer) => !this.#isFull(peer))
    let more = 0
    const bring = async (peer: PeerId): Promise<void> => {
      if (await this.#bring(peer, cid, signal)) more++
    }
    await Promise.all(targets.map(bring))
    // a holder without room: the copy must be somewhere
    while (plan.surviving + more < plan.wanted && plan.push.some((peer) => this.#isFull(peer))) {
      const substitute = substitutes.shift()
      if (substitute === undefined) break
      await bring(substitute)
    }
    return more
  }

  async #release (cid: Cid, to: readonly PeerId[], signal: AbortSignal): Promise<void> {
    const { holder, inventory, placement } = this.#parts
    const bytes = await inventory.sizeOf(cid)
    const version = placement.version()
    const outcome = await holder.release(cid, async () => {
      const promised = await Promise.all(to.map(async (peer) => this.#bring(peer, cid, signal)))
      return promised.every(Boolean) && placement.version() === version && !placement.isMoving()
    })
    if (outcome === 'kept') return
    this.#work.isWorth = true
    this.#total.releasedBlocks++
    if (this.#found !== undefined) {
      this.#found.misplacedBlocks = Math.max(0, this.#found.misplacedBlocks - 1)
      this.#found.misplacedBytes = Math.max(0, this.#found.misplacedBytes - bytes)
    }
  }

  /** The block, with every reference of here, on that peer's disk for good: true only if it says so. */
  async #bring (peer: PeerId, cid: Cid, signal: AbortSignal): Promise<boolean> {
    const { local, peers, holder, clock } = this.#parts
    using limit = deadline(clock, repairLimits.bringMs, { signal, what: 'bringing a block' })
    try {
      const bytes = await local.get(cid)
      for await (const reference of wantingCopies(holder.references(cid))) {
        const outcome = await peers.store(peer, { cid, bytes, reference }, { signal: limit.signal, isBackground: true })
        if (outcome === 'full') this.#fill(peer)
        if (outcome !== 'stored' && outcome !== 'had') { this.#failed(undefined); return false }
        if (outcome === 'stored') {
          this.#total.broughtBlocks++
          this.#total.movedBytes += bytes.byteLength
          this.#work.isWorth = true
        }
        return await this.#tell(peer, cid, { from: 1, signal: limit.signal })
      }
      return false
    } catch (error) {
      signal.throwIfAborted()
      // rotten or gone here: it has been set aside, and is fetched
      if (error instanceof BlockCorrupt || error instanceof BlockMissing) this.report(cid)
      else this.#failed(error)
      return false
    }
  }

  /** All references of here but the first few. True only if that peer keeps the block for each. */
  async #tell (peer: PeerId, cid: Cid, { from, signal }: { from: number, signal: AbortSignal }): Promise<boolean> {
    const { holder, peers } = this.#parts
    let batch: Array<{ cid: Cid, reference: Reference }> = []
    let at = 0
    const send = async (): Promise<boolean> => {
      if (batch.length === 0) return true
      const outcomes = await peers.tell(peer, batch, { signal })
      batch = []
      return outcomes.every((outcome) => outcome === 'had')
    }
    for await (const reference of wantingCopies(holder.references(cid))) {
      if (at++ < from) continue
      batch.push({ cid, reference })
      if (batch.length === presenceLimits.maxTold && !await send()) return false
    }
    return send()
  }

  async #mended (cid: Cid): Promise<void> {
    if (this.#found === undefined) return
    this.#found.shortBlocks = Math.max(0, this.#found.shortBlocks - 1)
    for await (const { versionId } of this.#parts.holder.references(cid)) this.#found.atRisk.mended(versionId)
  }

  #brought (peer: PeerId, outcome: StoreOutcome, bytes: number): void {
    if (outcome === 'full') this.#fill(peer)
    else if (outcome === 'refused') this.#failed(undefined)
    else if (outcome === 'stored') {
      this.#total[peer === this.#parts.self ? 'fetchedBlocks' : 'broughtBlocks']++
      this.#total.movedBytes += bytes
      this.#work.isWorth = true
    }
  }

  #failed (error: unknown): void {
    this.#total.failures++
    this.#work.failures++
    if (error !== undefined) this.#parts.warn('a block could not be repaired now', error)
  }

  #isFull (peer: PeerId): boolean { return (this.#fullUntilMs.get(peer) ?? -Infinity) > this.#parts.clock.monotonicMs() }
  #fill (peer: PeerId): void {
    this.#work.failures++
    this.#fullUntilMs.set(peer, this.#parts.clock.monotonicMs() + repairLimits.retryMs)
  }
}

/** While something stays short, a sweep follows a sweep, but takes at most a fifth of the time. */
const shortRestShare = 4

async function * wantingCopies (references: AsyncIterable<Reference>): AsyncIterable<Reference> {
  for await (const reference of references) if (reference.redundancy.k === 1) yield reference
}

/** Digests are as good as random, so how far a walk has come is read off the last one. */
const shareOf = (digest: Uint8Array | undefined): number => digest === undefined ? 0 : ((digest[0] ?? 0) * 256 + (digest[1] ?? 0)) / 65_536

const toldOf = ({ atRisk, ...found }: Found): RepairFound => ({ ...found, versionsAtRisk: atRisk.count, isAtLeast: atRisk.isTruncated })
