import type { Cid } from '../base/cid.ts'
import type { Clock } from '../base/clock.ts'
import { Corrupt } from '../base/errors.ts'
import type { Paces } from '../base/pace.ts'
import type { PeerId } from '../base/peer-id.ts'
import type { BlockPeers, FoundShard, Redundancy } from './index.ts'
import { gatherLimits, type Gathering } from './shards.ts'

export interface ShardSearchParts {
  readonly peers: Pick<BlockPeers, 'fetchShard'>
  readonly clock: Clock
  readonly warn: (message: string, cause: unknown) => void
}

/** Whom to ask, and for which shard; without an index for whichever there is. */
export interface ShardQuestion {
  readonly peer: PeerId
  readonly index: number | undefined
}

/**
 * Shards of one block from many peers, until some list of them makes the block. As many questions are under way as shards are missing; one that is late is not
 * waited for but another one is asked as well, and so is one for each that says no. Who has more than the one it sent is asked for those too, before others
 * who may have none. After a false list whoever sent it is asked once more, for what it has under another one; but only when nobody else is left: it may make up lists without end.
 */
export class ShardSearch {
  readonly #cid: Cid
  readonly #redundancy: Redundancy | undefined
  readonly #gathering: Gathering
  readonly #parts: ShardSearchParts
  readonly #paces: Paces
  readonly #questions: Iterator<ShardQuestion>
  /** Known to have something: asked before the other questions. */
  #promising: ShardQuestion[] = []
  /** For what is there already, under a list that may be false: asked when no other question is left. */
  #spare: ShardQuestion[] = []
  /** Who sent something under a false list, and what they are still to be asked. */
  readonly #givers = new Set<PeerId>()
  readonly #doubted: ShardQuestion[] = []
  readonly #asked = new Set<string>()
  readonly #signal: AbortSignal
  readonly #stop = new AbortController()
  readonly #givenUnder = new Map<string, PeerId[]>()
  readonly #bytesFrom = new Map<PeerId, number>()
  readonly #failures: string[] = []
  /** Under way, and not late. */
  #awaited = 0
  #running = 0
  #absent = 0
  #wake = Promise.withResolvers<void>()

  constructor ({ cid, redundancy, gathering, questions, paces, signal, parts }: { cid: Cid, redundancy: Redundancy | undefined, gathering: Gathering, questions: Iterable<ShardQuestion>, paces: Paces, signal: AbortSignal, parts: ShardSearchParts }) {
    this.#cid = cid
    this.#redundancy = redundancy
    this.#gathering = gathering
    this.#questions = questions[Symbol.iterator]()
    this.#paces = paces
    this.#parts = parts
    this.#signal = AbortSignal.any([signal, this.#stop.signal])
  }

  get bytesFrom (): ReadonlyMap<PeerId, number> { return this.#bytesFrom }
  get failures (): readonly string[] { return this.#failures.slice(0, maxFailuresTold) }
  /** Nodes that answered that they have none, or no other. */
  get absent (): number { return this.#absent }

  /** The block; undefined when nobody is left to ask. */
  async run (): Promise<Uint8Array | undefined> {
    using _rest = { [Symbol.dispose]: () => { this.#stop.abort(new Error('enough shards are there')) } }
    for (;;) {
      const block = await this.#gathering.block()
      if (block !== undefined) return block
      this.#signal.throwIfAborted()
      this.#askAgain()
      while (this.#awaited < this.#missing() && this.#askNext());
      if (this.#running === 0) return undefined
      await this.#wake.promise
      this.#wake = Promise.withResolvers<void>()
    }
  }

  // of a block of which nothing is known, one shard tells how many it takes
  #missing (): number {
    const { redundancy = this.#redundancy, indexes } = this.#gathering
    return redundancy === undefined ? 1 : redundancy.k - indexes.size
  }

  #askNext (): boolean {
    for (;;) {
      const first = this.#promising.shift() ?? this.#nextQuestion()
      const next = first ?? this.#spare.shift() ?? this.#doubted.shift()
      if (next === undefined) return false
      const name = `${next.peer} ${next.index}`
      if (this.#asked.has(name)) continue
      if (first?.index !== undefined && this.#gathering.indexes.has(first.index)) { this.#spare.push(first); continue }
      this.#asked.add(name)
      void this.#ask(next)
      return true
    }
  }

  #nextQuestion (): ShardQuestion | undefined {
    const next = this.#questions.next()
    return next.done === true ? undefined : next.value
  }

  // never rejects: what happened is recorded
  async #ask ({ peer, index }: ShardQuestion): Promise<void> {
    const { clock, peers } = this.#parts
    const start = clock.monotonicMs()
    let isLate = false
    this.#awaited++
    this.#running++
    const cancel = clock.after(this.#paces.lateAfterMs(peer), () => {
      isLate = true
      this.#awaited--
      this.#paces.suspect(peer)
      this.#wake.resolve()
    })
    try {
      const found = await peers.fetchShard(peer, { cid: this.#cid, redundancy: this.#redundancy, index, not: [...this.#gathering.falseLists] }, { signal: this.#signal })
      if (found === 'not here') { this.#absent++; return }
      this.#paces.answered(peer, clock.monotonicMs() - start)
      this.#take(peer, found)
    } catch (error) {
      if (this.#signal.aborted) { this.#paces.gaveUp(peer, clock.monotonicMs() - start); return }
      this.#failures.push(`${peer}: ${error instanceof Error ? error.message : String(error)}`)
      if (error instanceof Corrupt) this.#parts.warn('a peer sent a wrong shard of a block', error)
    } finally {
      cancel()
      if (!isLate) this.#awaited--
      this.#running--
      this.#wake.resolve()
    }
  }

  #take (peer: PeerId, { shard, others }: FoundShard): void {
    this.#bytesFrom.set(peer, (this.#bytesFrom.get(peer) ?? 0) + shard.bytes.byteLength)
    this.#givenUnder.set(shard.list, [...this.#givenUnder.get(shard.list) ?? [], peer])
    this.#gathering.add(shard)
    for (const index of others) if (index !== shard.index) this.#promise({ peer, index })
  }

  #promise (question: ShardQuestion): void {
    if (!this.#givers.has(question.peer)) this.#promising.push(question)
    else if (this.#gathering.falseLists.size <= gatherLimits.maxFalseLists) this.#doubted.push(question)
  }

  /** When too many lists were false somebody makes them up faster than they are found out: nobody who gave one is asked again, and those who are asked already are heard. */
  #askAgain (): void {
    const { falseLists } = this.#gathering
    for (const list of falseLists) {
      const givers = this.#givenUnder.get(list) ?? []
      this.#givenUnder.delete(list)
      for (const peer of givers) {
        this.#failures.push(`${peer}: sent a shard under a list of hashes that does not lead to the block`)
        this.#parts.warn('shards of a block were given under a false list of hashes', new Error(`block ${this.#cid}, list ${list}, from ${peer}`))
        for (const name of this.#asked) if (name.startsWith(`${peer} `)) this.#asked.delete(name)
        this.#givers.add(peer)
        const isOfAnother = (question: ShardQuestion): boolean => question.peer !== peer
        this.#promising = this.#promising.filter(isOfAnother)
        this.#spare = this.#spare.filter(isOfAnother)
        this.#promise({ peer, index: undefined })
      }
    }
  }
}

const maxFailuresTold = 8
