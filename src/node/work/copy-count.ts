import type { Cid } from '../../base/cid.ts'
import { type Clock, deadline } from '../../base/clock.ts'
import { Corrupt, NotFound } from '../../base/errors.ts'
import type { PeerId } from '../../base/peer-id.ts'
import type { Blocks, Shards } from '../../blockstore/index.ts'
import { type BlockPeers, type Holder, type Placement, presenceLimits, type Redundancy } from '../../replication/index.ts'

/** How many copies, or shards, of blocks there are at those who should hold them, as they say; or, looked at deep, as their bytes prove. */
export interface CopyCountParts {
  readonly self: PeerId
  readonly holder: Pick<Holder, 'presence' | 'shardPresence'>
  readonly local: Pick<Blocks, 'get'>
  readonly shards: Pick<Shards, 'get' | 'of'>
  readonly peers: Pick<BlockPeers, 'presence' | 'shardPresence' | 'fetch' | 'fetchShard' | 'reachable'>
  readonly placement: Placement
  readonly clock: Clock
}

export const copyCountLimits = {
  askMs: 10_000,
  fetchMs: 120_000,
  /** Copies read at once. */
  readAtOnce: 4,
  /** Damaged copies that are named; more are counted. */
  maxNamed: 10,
} as const

export interface NotedBlock {
  readonly cid: Cid
  /** Undefined: whole copies, as many as the object's bucket says. */
  readonly redundancy: Redundancy | undefined
}

const isWhole = ({ redundancy }: NotedBlock): boolean => redundancy === undefined || redundancy.k === 1

/** What a holder has of a block: a whole copy, or the shards with these indexes. */
type Held = ReadonlySet<number> | 'whole' | 'nothing'

/** Of the blocks of one object. */
export class CopyCount {
  readonly #parts: CopyCountParts
  readonly #options: { readonly copies: number, readonly isDeep: boolean, readonly signal: AbortSignal | undefined }
  #damaged: string[] = []
  #damagedCount = 0
  #short = { blocks: 0, found: Infinity, wanted: 0, unknown: 0, places: Infinity }

  /** `copies`: of a block that is kept whole. */
  constructor (parts: CopyCountParts, options: { readonly copies: number, readonly isDeep: boolean, readonly signal: AbortSignal | undefined }) {
    this.#parts = parts
    this.#options = options
  }

  /** `damaged`: copies whose bytes are not what they should be. `below`: what is missing, for people. */
  result (): { readonly damaged: readonly string[], readonly below: string | undefined } {
    const { blocks, found, wanted, unknown, places } = this.#short
    const more = this.#damagedCount - this.#damaged.length
    return {
      damaged: [...this.#damaged, ...more > 0 ? [`and ${more} more`] : []],
      below: blocks === 0 ? undefined : `${blocks} blocks are short: of the shortest ${found} of ${wanted} copies or shards are there${unknown > 0 ? `, and ${unknown} nodes that may have one do not answer` : ''}${places < wanted ? `, and only ${places} nodes hold blocks` : ''}`,
    }
  }

  async add (blocks: readonly NotedBlock[]): Promise<void> {
    const places = new Map(blocks.map(({ cid }) => [cid, [...new Set(this.#parts.placement.holdersOf(cid))]]))
    const answers = new Map(blocks.map(({ cid }) => [cid, new Map<PeerId, Held>()]))
    await Promise.all([...new Set([...places.values()].flat())].map(async (peer) => {
      const asked = blocks.filter(({ cid }) => places.get(cid)?.includes(peer) === true)
      for (const [cid, held] of await this.#askedOf(peer, asked)) answers.get(cid)?.set(peer, held)
    }))
    for (const block of blocks) {
      const held = answers.get(block.cid) ?? new Map<PeerId, Held>()
      if (this.#options.isDeep) await this.#read(block, held)
      this.#note(block, held, places.get(block.cid) ?? [])
    }
  }

  #note (block: NotedBlock, held: ReadonlyMap<PeerId, Held>, placed: readonly PeerId[]): void {
    const { redundancy } = block
    const wanted = redundancy === undefined ? this.#options.copies : redundancy.k + redundancy.m
    const found = isWhole(block) ? [...held.values()].filter((what) => what === 'whole').length : new Set([...held.values()].flatMap((what) => typeof what === 'string' ? [] : [...what])).size
    if (found >= wanted) return
    this.#short.blocks++
    if (found < this.#short.found) this.#short = { ...this.#short, found, wanted, unknown: placed.filter((peer) => !held.has(peer)).length, places: placed.length }
  }

  /** Whoever does not answer is in no answer: that is not "nothing". */
  async #askedOf (peer: PeerId, blocks: readonly NotedBlock[]): Promise<ReadonlyMap<Cid, Held>> {
    const { self, holder, peers, clock } = this.#parts
    const found = new Map<Cid, Held>()
    if (peer !== self && !peers.reachable().includes(peer)) return found
    using limit = deadline(clock, copyCountLimits.askMs, { signal: this.#options.signal, what: 'asking what a peer holds' })
    const whole = blocks.filter(isWhole).map(({ cid }) => cid)
    const spread = blocks.flatMap((block) => block.redundancy === undefined || isWhole(block) ? [] : [{ cid: block.cid, redundancy: block.redundancy }])
    try {
      for (let at = 0; at < whole.length; at += presenceLimits.maxAsked) {
        const page = whole.slice(at, at + presenceLimits.maxAsked)
        const answers = peer === self ? await holder.presence(page) : await peers.presence(peer, page, { signal: limit.signal })
        for (const [i, cid] of page.entries()) found.set(cid, answers[i]?.state === 'absent' ? 'nothing' : 'whole')
      }
      for (let at = 0; at < spread.length; at += presenceLimits.maxAsked) {
        const page = spread.slice(at, at + presenceLimits.maxAsked)
        const answers = peer === self ? await holder.shardPresence(page) : await peers.shardPresence(peer, page, { signal: limit.signal })
        for (const [i, { cid }] of page.entries()) found.set(cid, answers[i]?.indexes ?? new Set<number>())
      }
    } catch (error) {
      this.#options.signal?.throwIfAborted()
      // of this node's own disk it is told; a peer that fails has not answered
      if (peer === self) throw error
    }
    return found
  }

  /** Reads each copy at each holder; what is not right there counts as nothing, and is named; who does not answer now has not answered. */
  async #read ({ cid, redundancy }: NotedBlock, held: Map<PeerId, Held>): Promise<void> {
    const waiting = [...held].flatMap(([peer, what]): Array<{ peer: PeerId, index: number | undefined }> => what === 'nothing' ? [] : what === 'whole' ? [{ peer, index: undefined }] : [...what].map((index) => ({ peer, index }))).values()
    await Promise.all(Array.from({ length: copyCountLimits.readAtOnce }, async () => {
      for (let next = waiting.next(); next.done !== true; next = waiting.next()) {
        const { peer, index } = next.value
        const fault = await this.#faultAt(peer, { cid, redundancy, index })
        if (fault === undefined) continue
        if (fault === 'silent') { held.delete(peer); continue }
        const what = held.get(peer)
        if (what === undefined) continue
        if (typeof what === 'string') held.set(peer, 'nothing')
        else held.set(peer, new Set([...what].filter((other) => other !== index)))
        this.#damagedCount++
        if (this.#damaged.length < copyCountLimits.maxNamed) this.#damaged.push(`${index === undefined ? 'the copy' : `shard ${index}`} of block ${cid} at ${peer === this.#parts.self ? 'this node' : peer}: ${fault}`)
      }
    }))
  }

  /** Undefined: it is right. 'silent': a peer did not give it now, which says nothing of it. */
  async #faultAt (peer: PeerId, { cid, redundancy, index }: NotedBlock & { readonly index: number | undefined }): Promise<string | undefined> {
    const { self, local, shards, peers, clock } = this.#parts
    using limit = deadline(clock, copyCountLimits.fetchMs, { signal: this.#options.signal, what: 'reading a copy' })
    const { signal } = limit
    try {
      if (index === undefined) {
        if (peer === self) await local.get(cid)
        else if (await peers.fetch(peer, cid, { signal }) === 'not here') return 'it is not there any more, though it was said to be'
        return undefined
      }
      if (peer !== self) {
        const found = await peers.fetchShard(peer, { cid, redundancy, index, not: [] }, { signal })
        return found === 'not here' || found.shard.index !== index ? 'it is not there any more, though it was said to be' : undefined
      }
      for await (const name of shards.of(cid)) if (name.index === index && name.k === redundancy?.k && name.m === redundancy.m) await shards.get(name)
      return undefined
    } catch (error) {
      this.#options.signal?.throwIfAborted()
      if (error instanceof Corrupt || error instanceof NotFound) return error.message
      if (peer !== self) return 'silent'
      // of this node's own disk it is told
      return `it could not be read now (${error instanceof Error ? error.message : String(error)})`
    }
  }
}
