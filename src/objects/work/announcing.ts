import { partitionCount, partitionOf } from '../../base/bytes.ts'
import type { Cid } from '../../base/cid.ts'
import type { Clock } from '../../base/clock.ts'
import type { Random } from '../../base/random.ts'
import type { ContentCodec } from '../ports.ts'
import { type HeldRow, OwnRows, type OwnRowsParts, type RowWalk } from './own-rows.ts'

/**
 * What was announced lives in the memory of those who heard it, and who provides a root in that of its neighbours in Kademlia, for two days: both are gone once nodes have been started anew. So
 * each member says it again, after its start and twice a day: by gossip the objects whose rows it looks after (own-rows.ts), so that each is announced once; to Kademlia the roots that lie here, of the rows that
 * lie here. Nothing depends on it: blocks are found by the layout, and this is where to look when that fails.
 *
 * A pass begins at a partition of its own, and ends when it has said so much as others remember: what a cluster with more objects leaves out this time, another pass says.
 */
export interface AnnouncingParts extends OwnRowsParts {
  readonly content: Pick<ContentCodec, 'namesOf'>
  /** A copy of it, or a shard, lies on this node's disk. */
  readonly isHeld: (cid: Cid) => Promise<boolean>
  readonly announce: (of: Named) => void
  /** Resolves when those who are to know have been sent word. */
  readonly provide: (root: Cid, wait: { signal: AbortSignal }) => Promise<void>
  readonly clock: Clock
  readonly random: Random
  /** Default: `announcingLimits`. */
  readonly maxAPass?: number
}

export const announcingLimits = {
  /** After the first other node has answered: the others are met meanwhile, and the mesh of gossip grows. */
  settleMs: 10_000,
  /** From the end of a pass to the next: a quarter of the time that a record of Kademlia's lives. */
  everyMs: 12 * 60 * 60 * 1000,
  /** Objects announced, and roots provided, in one pass: as many as a node remembers of others. */
  maxAPass: 10_000,
} as const

export interface AnnouncingStatus {
  readonly phase: 'waiting' | 'announcing'
  readonly doneShare: number
  /** Since the start. */
  readonly total: { readonly announcedObjects: number, readonly providedRoots: number, readonly failures: number }
}

/** What an announcement says. */
interface Named { readonly rowKey: Uint8Array, readonly versionId: Uint8Array, readonly root: Cid | undefined, readonly blocks: readonly Cid[] }
interface Pass extends RowWalk { readonly start: number, isRoundTheEnd: boolean, said: number, readonly queue: Named[] }

export class Announcing {
  readonly #parts: AnnouncingParts
  readonly #rows: OwnRows
  readonly #total = { announcedObjects: 0, providedRoots: 0, failures: 0 }
  #pass: Pass | undefined
  #isAsked = false
  #metMs: number | undefined
  #endedMs = -Infinity

  constructor (parts: AnnouncingParts) {
    this.#parts = parts
    this.#rows = new OwnRows(parts)
  }

  /** All of it is said again as soon as possible. */
  now (): void { this.#isAsked = true }

  /** One object, or a page of rows that are looked at. */
  async step ({ signal }: { signal: AbortSignal }): Promise<'busy' | 'idle'> {
    if (this.#pass === undefined && !this.#isDue()) return 'idle'
    const pass = this.#pass ??= this.#begin()
    const next = pass.queue.shift()
    if (next !== undefined) await this.#say(next, pass, signal)
    else await this.#page(pass, signal)
    return 'busy'
  }

  status (): AnnouncingStatus {
    const { partition = 0, start = 0, isRoundTheEnd = false } = this.#pass ?? {}
    const walked = isRoundTheEnd ? partitionCount - start + Math.min(partition, start) : partition - start
    return { phase: this.#pass === undefined ? 'waiting' : 'announcing', doneShare: this.#pass === undefined ? 1 : walked / partitionCount, total: { ...this.#total } }
  }

  #isDue (): boolean {
    const { clock, reachable } = this.#parts
    const nowMs = clock.monotonicMs()
    if (reachable().size === 0) { this.#metMs = undefined; return false }
    this.#metMs ??= nowMs
    return this.#isAsked || (nowMs - this.#metMs >= announcingLimits.settleMs && nowMs - this.#endedMs >= announcingLimits.everyMs)
  }

  #begin (): Pass {
    this.#isAsked = false
    const [high = 0, low = 0] = this.#parts.random.bytes(2)
    const start = (high * 256 + low) % partitionCount
    return { partition: start, after: undefined, start, isRoundTheEnd: false, said: 0, queue: [] }
  }

  async #page (pass: Pass, signal: AbortSignal): Promise<void> {
    const isAtEnd = await this.#rows.step(pass, async (row) => {
      // a page that goes round the end may reach beyond where the pass began
      if (!(pass.isRoundTheEnd && partitionOf(row.rowKey) >= pass.start)) pass.queue.push(...this.#namedIn(row))
    }, { signal })
    if (isAtEnd && !pass.isRoundTheEnd) Object.assign(pass, { partition: 0, after: undefined, isRoundTheEnd: true })
    const isRound = pass.isRoundTheEnd && pass.partition >= pass.start
    if (isRound && pass.queue.length === 0) this.#end()
  }

  #namedIn (row: HeldRow): readonly Named[] {
    const current = this.#rows.opened(row)?.current
    if (current === undefined || !current.hasBlocks) return []
    const { root, chunks } = this.#parts.content.namesOf(current.content)
    return [{ rowKey: row.rowKey, versionId: current.id, root, blocks: chunks }]
  }

  async #say (named: Named, pass: Pass, signal: AbortSignal): Promise<void> {
    const { isHeld, announce, provide, warn, maxAPass = announcingLimits.maxAPass } = this.#parts
    const provided = named.root ?? named.blocks[0]
    if (provided === undefined) return
    const [isOwn, isHere] = [this.#rows.isOwn(named.rowKey), await isHeld(provided)]
    if (isOwn) {
      announce(named)
      this.#total.announcedObjects++
    }
    if (isHere) {
      try {
        await provide(provided, { signal })
        this.#total.providedRoots++
      } catch (error) {
        signal.throwIfAborted()
        this.#total.failures++
        warn('a root could not be provided', error)
      }
    }
    if ((isOwn || isHere) && ++pass.said >= maxAPass) this.#end()
  }

  #end (): void {
    this.#pass = undefined
    this.#endedMs = this.#parts.clock.monotonicMs()
  }
}
