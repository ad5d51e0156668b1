import type { Cid } from '../base/cid.ts'
import { type Clock, deadline } from '../base/clock.ts'
import type { PeerId } from '../base/peer-id.ts'
import type { Blocks, Shards } from '../blockstore/index.ts'
import type { Inventory } from '../blockstore/inventory.ts'
import type { ShardName } from '../blockstore/shard.ts'
import { BlockMending } from './block-mending.ts'
import type { BlockPeers, Holder, Placement } from './index.ts'
import { RepairAccount, type RepairTotal } from './repair-account.ts'
import { Findings, type RepairFound } from './repair-findings.ts'
import { repairLimits } from './repair-limits.ts'
import { type Listed, RepairList } from './repair-list.ts'
import type { BlockPlan } from './repair-plan.ts'
import { type Seen, viewOf } from './repair-view.ts'
import { ShardMending, type ShardMendingParts } from './shard-mending.ts'
import { enoughOf, type ShardPlan, withOwn } from './shard-plan.ts'

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
  release (cid: Cid, confirm: (references: number) => Promise<boolean>): Promise<'released' | 'kept'>
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
  readonly total: RepairTotal
  /** Peers that had no room when they were last offered a block. */
  readonly full: readonly PeerId[]
}

export class Repair {
  readonly #parts: RepairParts
  readonly #account: RepairAccount
  readonly #blocks: BlockMending
  readonly #shards: ShardMending
  readonly #reported = new Set<Cid>()
  /** The last step was for some of them: the next one is for the rest, which must not wait until nothing is reported any more. */
  #wasReported = false
  #survey: { after: Uint8Array | undefined, found: Findings } | undefined
  #found: Findings | undefined
  #list = new RepairList()
  #work = { doneBlocks: 0, totalBlocks: 0, doneBytes: 0, totalBytes: 0 }
  #isSweeping = false
  #why: string | undefined
  #asked: string | undefined
  #lastSweepMs = -Infinity
  readonly #startMs: number
  /** Until then what the last survey listed is worked on, whatever changes: where members come and go all the time one survey would else follow another. */
  #workUntilMs = -Infinity
  /** The last one, until its end. */
  #tookMs = 0
  /** What this sweep finds short, or here in the place of another, was so in the one before. */
  #isOverdue = false
  /** Blocks, when it was looked whether they still are, a retry ago or more, since who holds blocks has changed. */
  #leftBefore = unknownBefore
  #retryAtMs = Infinity
  #arrivals = 0
  #world = { now: '', sinceMs: 0, swept: '' }

  constructor (parts: RepairParts) {
    this.#parts = parts
    this.#startMs = parts.clock.monotonicMs()
    const account = this.#account = new RepairAccount(parts)
    this.#blocks = new BlockMending({ ...parts, account, onDamage: (cid) => { this.report(cid) } })
    this.#shards = new ShardMending({ ...parts, account })
  }

  /** A sweep as soon as possible, whatever is being done. */
  now (why = 'asked for'): void {
    this.#asked = why
    this.#survey = undefined
  }

  /** Somebody has connected, perhaps with less than they had: a sweep follows. */
  met (): void { this.#arrivals++ }

  /** This block is short or was found rotten: it is looked at at once, in turn with all else. */
  report (cid: Cid): void {
    if (this.#reported.size < repairLimits.maxReported) this.#reported.add(cid)
    else this.#asked ??= 'many blocks were reported'
  }

  /** The next loss of a node may be that of a block. */
  get isUrgent (): boolean { return this.#survey === undefined && this.#list.isUrgent }

  /** One page of the survey, or a few blocks of the work. */
  async step ({ signal }: { signal: AbortSignal }): Promise<'busy' | 'idle'> {
    if (this.#reported.size > 0 && !this.#wasReported) {
      this.#wasReported = true
      const cids = [...this.#reported].slice(0, this.#parts.atOnce?.() ?? repairLimits.atOnce)
      for (const cid of cids) this.#reported.delete(cid)
      await this.#mend(cids.map((cid) => ({ cid, bytes: 0, isShort: false, isReported: true })), signal)
      return 'busy'
    }
    this.#wasReported = false
    if (this.#survey === undefined && this.#list.count > 0) {
      const change = this.#change()
      if (this.#parts.clock.monotonicMs() >= this.#workUntilMs) this.#asked ??= change
    }
    if (this.#survey === undefined && this.#asked === undefined && this.#list.count > 0) {
      await this.#mend(this.#list.take(this.#parts.atOnce?.() ?? repairLimits.atOnce), signal)
      return 'busy'
    }
    if (this.#survey === undefined) {
      this.#endSweep()
      const why = this.#occasion()
      if (why === undefined) return this.#reported.size > 0 ? 'busy' : 'idle'
      this.#begin(why)
    }
    await this.#surveyPage(signal)
    return 'busy'
  }

  status (): RepairStatus {
    const { doneBlocks, totalBlocks, doneBytes, totalBytes } = this.#work
    const phase = this.#survey !== undefined ? 'surveying' : this.#list.count > 0 ? 'repairing' : 'waiting'
    return {
      phase,
      why: this.#why,
      doneShare: this.#survey !== undefined ? shareOf(this.#survey.after) : totalBlocks === 0 ? 1 : doneBlocks / totalBlocks,
      doneBytes, totalBytes,
      found: this.#found?.told(),
      total: this.#account.total,
      full: this.#account.full,
    }
  }

  /** Version ids of objects at risk, so that what several nodes see can be put together. */
  versionsAtRisk (most: number): readonly string[] { return this.#found?.atRisk.ids(most) ?? [] }

  #occasion (): string | undefined {
    const nowMs = this.#parts.clock.monotonicMs()
    const change = this.#change()
    if (this.#asked !== undefined) return this.#asked
    if (change !== undefined) return change
    if (nowMs - this.#lastSweepMs < this.#leastRestMs()) return undefined
    if (nowMs >= this.#retryAtMs) return notWhole
    return nowMs - Math.max(this.#lastSweepMs, this.#startMs) >= Math.max(repairLimits.everyMs, repairLimits.everyShare * this.#tookMs) ? 'it is time' : undefined
  }

  /** Between two sweeps: what takes little may be done again soon. */
  #leastRestMs (): number { return Math.min(repairLimits.mostLeastRestMs, Math.max(repairLimits.leastRestMs, shortRestShare * this.#tookMs)) }

  /** That who holds blocks is no more what it was when the last sweep began, and has not been for a while. */
  #change (): string | undefined {
    const { self, placement, peers, clock } = this.#parts
    const nowMs = clock.monotonicMs()
    const reachable = new Set([self, ...peers.reachable()])
    const now = [String(placement.version()), String(placement.isMoving()), String(this.#arrivals), ...placement.members().filter((member) => reachable.has(member)).toSorted()].join(' ')
    if (now !== this.#world.now) this.#world = { ...this.#world, now, sinceMs: nowMs }
    const { swept, sinceMs } = this.#world
    const isAllThere = placement.members().every((member) => reachable.has(member))
    if (now === swept || nowMs - sinceMs < (isAllThere ? repairLimits.arrivalMs : repairLimits.suspicionMs) || nowMs - this.#lastSweepMs < this.#leastRestMs()) return undefined
    return swept === '' ? 'the node has started' : changed
  }

  #begin (why: string): void {
    this.#why = why
    // of many somebody is at it, as long as they become fewer; of what is only on too few nodes nothing is missing; and where nothing is short a copy here may stand for one that its holder was never brought
    const left = (this.#found?.shortBlocks ?? 0) || (this.#found?.misplacedBlocks ?? 0)
    const nowMs = this.#parts.clock.monotonicMs()
    // for what is reported it is looked sooner, and whoever is at it has done nothing by then
    const isRetry = why === notWhole && nowMs - this.#leftBefore.atMs >= repairLimits.retryMs
    this.#isOverdue = why === notWhole && left > 0 && (left <= repairLimits.fewShort || (isRetry && left >= this.#leftBefore.blocks))
    if (isRetry) this.#leftBefore = { blocks: left, atMs: nowMs }
    else if (why === changed) this.#leftBefore = unknownBefore
    this.#asked = undefined
    this.#lastSweepMs = nowMs
    this.#isSweeping = true
    this.#retryAtMs = Infinity
    this.#world = { ...this.#world, swept: this.#world.now }
    this.#list = new RepairList()
    this.#work = { doneBlocks: 0, totalBlocks: 0, doneBytes: 0, totalBytes: 0 }
    this.#account.begin()
    this.#survey = { after: undefined, found: new Findings(this.#parts) }
  }

  // what was bettered is looked at once more; what could not be is tried later
  #endSweep (): void {
    if (!this.#isSweeping) return
    this.#isSweeping = false
    const nowMs = this.#parts.clock.monotonicMs()
    const tookMs = this.#tookMs = nowMs - this.#lastSweepMs
    this.#lastSweepMs = nowMs
    const laterMs = nowMs + Math.max(repairLimits.retryMs, shortRestShare * tookMs)
    if (this.#account.hasFailed) this.#retryAtMs = laterMs
    else if (this.#account.isWorth || this.#list.isFull) this.#asked ??= 'to see that all is well'
    // others may have mended what was short: it must not be told as short for longer than that takes to see
    else if ((this.#found?.shortBlocks ?? 0) > 0) this.#retryAtMs = laterMs
    // a bucket may have been set to less, and what belongs elsewhere be there by now, which nobody here is told; as often as it may be looked at without a reason
    else if ((this.#found?.narrowBlocks ?? 0) + (this.#found?.misplacedBlocks ?? 0) > 0) this.#retryAtMs = nowMs + Math.max(repairLimits.retryMs, repairLimits.everyShare * tookMs)
  }

  async #surveyPage (signal: AbortSignal): Promise<void> {
    const survey = this.#survey
    if (survey === undefined) return
    const { inventory } = this.#parts
    const { items, next } = await inventory.page({ after: survey.after, limit: repairLimits.page })
    for (const seen of await this.#view(items, signal)) {
      for (const { item, surviving } of await survey.found.note(seen)) {
        this.#list.add(item, surviving)
        this.#work.totalBytes += item.bytes
      }
    }
    // a person, or a change, may have begun another meanwhile
    if (this.#survey !== survey) return
    survey.after = next
    if (next !== undefined) return
    this.#survey = undefined
    const nowMs = this.#parts.clock.monotonicMs()
    this.#workUntilMs = nowMs + nowMs - this.#lastSweepMs
    this.#found = survey.found
    this.#work = { ...this.#work, totalBlocks: this.#list.count }
  }

  async #mend (listed: readonly Listed[], signal: AbortSignal): Promise<void> {
    const items = await Promise.all(listed.map(async ({ cid }) => this.#parts.inventory.find(cid)))
    const plans = new Map((await this.#view(items, signal)).map((seen) => [seen.cid, seen]))
    await Promise.all(listed.map(async ({ cid, isShort, isAtRisk, isReported }) => {
      const seen = plans.get(cid)
      if (seen === undefined) return
      const { self } = this.#parts
      const mended = isReported === true ? { ...seen, shardPlans: seen.shardPlans.map((plan) => withOwn(plan, self)) } : seen
      const isWhole = await this.#do(mended, signal).catch((error: unknown) => { signal.throwIfAborted(); this.#account.failed(error); return false })
      if (isWhole && isShort && isAtRisk !== undefined) await this.#found?.mended(cid, isAtRisk)
      // it will be told as short by a sweep, for nobody else may know; that there are too few nodes, if that is not known yet
      const isNews = !isWhole || ((this.#found?.narrowBlocks ?? 0) === 0 && mended.shardPlans.some(({ wanted }) => wanted > this.#placesOf(cid)))
      if (isNews && isReported === true) this.#retryAtMs = Math.min(this.#retryAtMs, this.#parts.clock.monotonicMs())
    }))
    this.#work.doneBlocks += listed.length
    this.#work.doneBytes += listed.reduce((sum, { bytes }) => sum + bytes, 0)
  }

  /** Whether afterwards there are as many as there should be, or as there are places for. */
  async #do ({ cid, plan, shardPlans }: Seen, signal: AbortSignal): Promise<boolean> {
    let isWhole = plan === undefined || plan.surviving + await this.#doBlock(cid, plan, signal) >= plan.wanted
    for (const shardPlan of shardPlans) if (shardPlan.surviving + await this.#doShards(cid, shardPlan, signal) < enoughOf(shardPlan, this.#placesOf(cid))) isWhole = false
    return isWhole
  }

  #placesOf (cid: Cid): number { return new Set(this.#parts.placement.holdersOf(cid)).size }

  /** Gives how many shards are where they belong that were not. */
  async #doShards (cid: Cid, plan: ShardPlan, outer: AbortSignal): Promise<number> {
    using limit = deadline(this.#parts.clock, repairLimits.bringMs, { signal: outer, what: 'bringing shards' })
    const { signal } = limit
    const { redundancy } = plan
    const more = await this.#shards.push(cid, { ...plan, push: plan.push.filter(({ peer }) => this.#account.hasRoom(peer)) }, { signal })
    for (const peer of plan.tell) await this.#told(this.#shards.tell(peer, cid, { redundancy, signal }), signal)
    const isStill = this.#sameLayout()
    for (const { index, to } of plan.release) if (await this.#shards.release(cid, { redundancy, index, to, signal, isStill })) this.#released(0)
    return more
  }

  /** Gives how many copies there are more. */
  async #doBlock (cid: Cid, plan: BlockPlan, signal: AbortSignal): Promise<number> {
    const more = await this.#blocks.bring(cid, plan, { signal })
    for (const peer of plan.tell) await this.#told(this.#blocks.tell(peer, cid, { signal }), signal)
    if (plan.releaseTo.length === 0) return more
    const bytes = await this.#parts.inventory.sizeOf(cid)
    if (await this.#blocks.release(cid, plan, { isStill: this.#sameLayout(), signal })) this.#released(bytes)
    return more
  }

  /** Who can be told nothing keeps nobody from the rest. */
  async #told (telling: Promise<boolean>, signal: AbortSignal): Promise<void> {
    await telling.catch((error: unknown) => { signal.throwIfAborted(); this.#account.failed(error) })
  }

  /** Nothing is given up by a layout that is no more. */
  #sameLayout (): () => boolean {
    const { placement } = this.#parts
    const version = placement.version()
    return () => placement.version() === version && !placement.isMoving()
  }

  #released (bytes: number): void {
    this.#account.released()
    this.#found?.released(bytes)
  }

  async #view (items: Parameters<typeof viewOf>[0], signal: AbortSignal): Promise<readonly Seen[]> { return await viewOf(items, { ...this.#parts, account: this.#account }, { signal, isOverdue: this.#isOverdue }) }
}

const notWhole = 'not everything is whole yet'
const changed = 'who holds blocks has changed'
const unknownBefore = { blocks: Infinity, atMs: -Infinity }

/** While something stays short, a sweep follows a sweep, but takes at most a fifth of the time. */
const shortRestShare = 4

/** Digests are as good as random, so how far a walk has come is read off the last one. */
const shareOf = (digest: Uint8Array | undefined): number => digest === undefined ? 0 : ((digest[0] ?? 0) * 256 + (digest[1] ?? 0)) / 65_536
