import { type Cid, digestOf } from '../base/cid.ts'
import type { Clock } from '../base/clock.ts'
import { Corrupt, NotFound, Unavailable } from '../base/errors.ts'
import { giveBack, hold } from '../base/lease.ts'
import { Paces, type Patience } from '../base/pace.ts'
import type { PeerId } from '../base/peer-id.ts'
import { BlockMissing, type Blocks, type Shards } from '../blockstore/index.ts'
import type { BlockPeers, Placement, Providers, Redundancy, TransferReport } from './index.ts'
import { Gathering } from './shards.ts'
import { type ShardQuestion, ShardSearch } from './shard-search.ts'

/**
 * A block from wherever it is: this node's disk, its cache, the holders nearest first, whoever announced the object, everybody else that answers, whoever
 * Kademlia names; or from shards of it, any k, found alike (shard-search.ts). How its version was written says which is looked for first; the other is found
 * too, for a block may have been stored for several versions, and what a bucket asks may have changed. The next is asked as soon as one says no or is late; the first right answer wins and the others are stopped. So a dead, stopped or
 * slow peer costs a hedge delay, never its timeout.
 */
export interface ReaderParts {
  readonly self: PeerId
  readonly local: Pick<Blocks, 'get'>
  readonly localShards: Pick<Shards, 'get' | 'of'>
  readonly cache: Pick<Blocks, 'get' | 'put'>
  readonly peers: BlockPeers
  readonly placement: Placement
  readonly providers: Providers
  /** Who announced a version, most recent first. */
  readonly hints: (versionId: Uint8Array) => readonly PeerId[]
  readonly clock: Clock
  readonly warn: (message: string, cause: unknown) => void
}

export interface ReadOf {
  readonly versionId?: Uint8Array
  readonly root?: Cid
  readonly report?: TransferReport
  /** How the version was written; undefined: in whole copies, as far as is known. */
  readonly redundancy?: Redundancy
  /** Not worth a place in the cache. */
  readonly isPassing?: boolean
  readonly signal?: AbortSignal
}

/** How long a holder may take before the next is asked as well. */
export const readPatience: Patience = { leastMs: 30, mostMs: 1000, firstMs: 150 }

type Found = { readonly bytes: Uint8Array } & (
  | { readonly from: 'local' | 'cache' }
  | { readonly from: 'peer', readonly peer: PeerId }
  | { readonly from: 'shards', readonly localBytes: number, readonly peers: ReadonlyMap<PeerId, number> })

export class Reader {
  readonly #parts: ReaderParts
  readonly #paces: Paces
  /** A shard is a part of a block, and comes sooner. */
  readonly #shardPaces: Paces
  readonly #flights = new Map<Cid, Flight>()

  constructor (parts: ReaderParts) {
    this.#parts = parts
    this.#paces = new Paces(parts.clock, readPatience)
    this.#shardPaces = new Paces(parts.clock, readPatience)
  }

  async get (cid: Cid, of: ReadOf): Promise<Uint8Array> {
    of.signal?.throwIfAborted()
    let flight = this.#flights.get(cid)
    if (flight === undefined) {
      const started: Flight = new Flight((signal) => this.#find(cid, of, signal), () => { if (this.#flights.get(cid) === started) this.#flights.delete(cid) })
      this.#flights.set(cid, flight = started)
    }
    const found = await flight.join(of.signal)
    count(of.report, found)
    return found.bytes
  }

  async #find (cid: Cid, of: ReadOf, signal: AbortSignal): Promise<Found> {
    const { local, cache, warn } = this.#parts
    const own = await local.get(cid, { signal }).catch(orElsewhere(warn))
    if (own !== undefined) return { bytes: own, from: 'local' }
    const kept = await cache.get(cid, { signal }).catch(orElsewhere(warn))
    if (kept !== undefined) return { bytes: kept, from: 'cache' }
    const found = await this.#fromElsewhere(cid, of, signal)
    if (of.isPassing === true) return found
    hold(found.bytes)
    // not awaited: the reader has its bytes, the cache bounds what waits
    cache.put(cid, found.bytes).catch((error: unknown) => { warn('a fetched block could not be cached', error) }).finally(() => { giveBack(found.bytes) })
    return found
  }

  async #fromElsewhere (cid: Cid, of: ReadOf, signal: AbortSignal): Promise<Found> {
    const { redundancy: { k, m } = { k: 1, m: 0 } } = of
    const whole = async (): Promise<Found> => this.#fromPeers(cid, of, signal)
    const ways = k === 1 ? [whole, async () => this.#fromShards(cid, of, { signal })] : [async () => this.#fromShards(cid, of, { code: { k, m }, signal }), whole, async () => this.#fromShards(cid, of, { signal })]
    let failure: unknown
    for (const way of ways) {
      try {
        return await way()
      } catch (error) {
        signal.throwIfAborted()
        // what the version says should be there, is what is missing
        failure ??= error
      }
    }
    throw failure
  }

  /** Any k shards, those here first. */
  async #fromShards (cid: Cid, of: ReadOf, { code, signal }: { code?: Redundancy, signal: AbortSignal }): Promise<Found> {
    const gathering = new Gathering(cid)
    const localBytes = await this.#gatherLocal(cid, { code, gathering })
    const search = new ShardSearch({ cid, redundancy: code, gathering, questions: this.#shardQuestions(cid, of, code), paces: this.#shardPaces, signal, parts: this.#parts })
    const bytes = await search.run()
    if (bytes !== undefined) return { bytes, from: 'shards', localBytes, peers: search.bytesFrom }
    signal.throwIfAborted()
    const { indexes, redundancy = code } = gathering
    if (redundancy === undefined) throw new Unavailable(`no shard of block ${cid} was found`)
    const missing = Array.from({ length: redundancy.k + redundancy.m }, (_, i) => i).filter((i) => !indexes.has(i))
    const reasons = [...search.failures, ...search.absent > 0 ? [`not on ${search.absent} nodes that answer`] : []]
    throw new Unavailable(`block ${cid} needs ${redundancy.k} of its ${redundancy.k + redundancy.m} shards and ${indexes.size} could be read; missing: ${missing.join(', ')}${reasons.length > 0 ? ` (${reasons.join('; ')})` : ''}`)
  }

  async #gatherLocal (cid: Cid, { code, gathering }: { code: Redundancy | undefined, gathering: Gathering }): Promise<number> {
    const { localShards, warn } = this.#parts
    let bytes = 0
    for await (const name of localShards.of(cid)) {
      if (code !== undefined && (name.k !== code.k || name.m !== code.m)) continue
      const shard = await localShards.get(name).catch(orElsewhere(warn))
      if (shard !== undefined && gathering.add(shard)) bytes += shard.bytes.byteLength
    }
    return bytes
  }

  /** The holders that answer, each for the shard at its position; who announced it and everybody else, for any; then holders that seem gone: they may be back. */
  * #shardQuestions (cid: Cid, { versionId }: ReadOf, code: Redundancy | undefined): Iterable<ShardQuestion> {
    const { self, peers, placement, hints } = this.#parts
    const [reachable, placed] = [peers.reachable(), placement.holdersOf(cid)]
    const holders = code === undefined ? placed : placed.slice(0, code.k + code.m)
    const questionTo = (peer: PeerId): ShardQuestion => ({ peer, index: code !== undefined && holders.includes(peer) ? holders.indexOf(peer) : undefined })
    const near = reachable.filter((peer) => holders.includes(peer))
    const turn = near.length === 0 ? 0 : (digestOf(cid)[31] ?? 0) % near.length
    const seen = new Set<PeerId>([self])
    for (const peer of [
      ...this.#shardPaces.inOrder([...near.slice(turn), ...near.slice(0, turn)]), ...reachable.filter((other) => placed.includes(other)),
      ...versionId === undefined ? [] : hints(versionId).filter((other) => reachable.includes(other)), ...reachable, ...placed,
    ]) {
      if (seen.has(peer)) continue
      seen.add(peer)
      yield questionTo(peer)
    }
  }

  /** Asks candidates one after the other, faster than they fail. */
  async #fromPeers (cid: Cid, of: ReadOf, signal: AbortSignal): Promise<Found> {
    const race = new Race({ cid, parts: this.#parts, paces: this.#paces, signal })
    const result = await race.run(this.#candidates(cid, of, race.signal))
    if (result.found !== undefined) return result.found
    signal.throwIfAborted()
    const { absent, failures } = result
    if (failures.length === 0 && absent > 0) throw new Unavailable(`block ${cid} is on none of the ${absent} nodes that answer`, { cause: new BlockMissing(cid) })
    throw new Unavailable(`block ${cid} could not be read: ${failures.length === 0 ? 'no other node answers' : failures.join('; ')}${absent > 0 ? `; not on ${absent} others` : ''}`)
  }

  async * #candidates (cid: Cid, { versionId, root }: ReadOf, signal: AbortSignal): AsyncIterable<PeerId> {
    const { self, peers, placement, providers, hints } = this.#parts
    const seen = new Set<PeerId>([self])
    const fresh = (list: readonly PeerId[]): PeerId[] => list.filter((peer) => { if (seen.has(peer)) return false; seen.add(peer); return true })
    const reachable = peers.reachable()
    const holders = placement.holdersOf(cid)
    yield * fresh(this.#paces.inOrder(spread(reachable.filter((peer) => holders.includes(peer)), cid)))
    if (versionId !== undefined) yield * fresh(hints(versionId).filter((peer) => reachable.includes(peer)))
    yield * fresh(reachable)
    yield * fresh(holders)
    if (root === undefined) return
    try {
      for await (const peer of providers.find(root, { signal })) yield * fresh([peer])
    } catch (error) {
      if (!signal.aborted) this.#parts.warn('Kademlia could not be asked', error)
    }
  }
}

/** Neighbours that are about equally near take turns by the block's address, so that a large file is read from all of them. */
function spread (peers: readonly PeerId[], cid: Cid): readonly PeerId[] {
  if (peers.length < 2) return peers
  const turn = (digestOf(cid)[31] ?? 0) % Math.min(peers.length, spreadOver)
  return [...peers.slice(turn), ...peers.slice(0, turn)]
}
const spreadOver = 3

const maxFailuresTold = 8

class Race {
  readonly #cid: Cid
  readonly #parts: ReaderParts
  readonly #paces: Paces
  /** Aborts when the reader goes, and when the race is over. */
  readonly signal: AbortSignal
  readonly #stop = new AbortController()
  readonly #running = new Set<Promise<void>>()
  readonly #failures: string[] = []
  #absent = 0
  #found: Found | undefined

  constructor ({ cid, parts, paces, signal }: { cid: Cid, parts: ReaderParts, paces: Paces, signal: AbortSignal }) {
    this.#cid = cid
    this.#parts = parts
    this.#paces = paces
    this.signal = AbortSignal.any([signal, this.#stop.signal])
  }

  async run (candidates: AsyncIterable<PeerId>): Promise<{ found: Found | undefined, absent: number, failures: readonly string[] }> {
    const from = candidates[Symbol.asyncIterator]()
    let next: Promise<IteratorResult<PeerId>> | undefined = from.next()
    try {
      while (this.#found === undefined && !this.signal.aborted && (next !== undefined || this.#running.size > 0)) {
        // an answer may come while the next candidate is still being looked for, which takes Kademlia seconds
        const step: IteratorResult<PeerId> | void = await Promise.race([...this.#running, ...(next === undefined ? [] : [next])])
        if (step === undefined) continue
        if (step.done === true) { next = undefined; continue }
        await this.#begin(step.value)
        next = from.next()
      }
    } finally {
      this.#stop.abort(new Error('another holder was faster'))
      // not awaited: the reader need not wait for a search that nobody needs to end
      from.return?.().catch((error: unknown) => { this.#parts.warn('looking for holders did not end well', error) })
    }
    return { found: this.#found, absent: this.#absent, failures: this.#failures.slice(0, maxFailuresTold) }
  }

  /** Resolves when this peer has answered, or is late: then the next may be asked as well. */
  async #begin (peer: PeerId): Promise<void> {
    const ask = this.#ask(peer).finally(() => { this.#running.delete(ask) })
    this.#running.add(ask)
    const late = Promise.withResolvers<void>()
    const cancel = this.#parts.clock.after(this.#paces.lateAfterMs(peer), () => { this.#paces.suspect(peer); late.resolve() })
    // any that is over, not this one alone, is reason to look again
    await Promise.race([late.promise, ...this.#running])
    cancel()
  }

  // never rejects: what happened is recorded
  async #ask (peer: PeerId): Promise<void> {
    const { clock, peers } = this.#parts
    const start = clock.monotonicMs()
    try {
      const bytes = await peers.fetch(peer, this.#cid, { signal: this.signal })
      if (bytes === 'not here') { this.#absent++; return }
      this.#found ??= { bytes, from: 'peer', peer }
      this.#paces.answered(peer, clock.monotonicMs() - start)
    } catch (error) {
      if (this.signal.aborted) { this.#paces.gaveUp(peer, clock.monotonicMs() - start); return }
      this.#failures.push(`${peer}: ${error instanceof Error ? error.message : String(error)}`)
      if (error instanceof Corrupt) this.#parts.warn('a peer sent wrong bytes for a block', error)
    }
  }
}

/** One fetch that several readers share; it stops when the last of them has gone. */
class Flight {
  readonly #controller = new AbortController()
  readonly #result: Promise<Found>
  readonly #end: () => void
  #readers = 0
  #joined = 0

  constructor (begin: (signal: AbortSignal) => Promise<Found>, end: () => void) {
    this.#end = end
    this.#result = begin(this.#controller.signal).then((found) => {
      // from here on nobody joins, and as many may give it back as hold it
      end()
      for (let i = 1; i < this.#joined; i++) hold(found.bytes)
      return found
    }, (error: unknown) => { end(); throw error })
    this.#result.catch(() => {}) // told to whoever joined
  }

  async join (signal: AbortSignal | undefined): Promise<Found> {
    this.#readers++
    this.#joined++
    try {
      return await abortable(this.#result, signal)
    } finally {
      if (--this.#readers === 0) {
        // who comes now must not share in the end of those who left
        this.#end()
        this.#controller.abort(signal?.reason ?? new Error('nobody reads any more'))
      }
    }
  }
}

// a long read has one signal for thousands of blocks: each wait takes its listener away again
function abortable<T> (result: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return result
  return new Promise((resolve, reject) => {
    const onAbort = (): void => { reject(signal.reason as Error) }
    if (signal.aborted) onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    result.then(resolve, reject).finally(() => { signal.removeEventListener('abort', onAbort) })
  })
}

// a block that is missing or rotten here is looked for elsewhere; so is one that the disk will not give, but that is said
function orElsewhere (warn: ReaderParts['warn']): (error: unknown) => undefined {
  return (error) => {
    if (error instanceof NotFound) return undefined
    warn(error instanceof Corrupt ? 'a block here is corrupt and read from a peer' : 'a block could not be read here and is read from a peer', error)
    return undefined
  }
}

function count (report: TransferReport | undefined, found: Found): void {
  if (report === undefined) return
  const { byteLength } = found.bytes
  if (found.from === 'peer') report.peers.set(found.peer, (report.peers.get(found.peer) ?? 0) + byteLength)
  else if (found.from === 'shards') {
    report.local += found.localBytes
    for (const [peer, bytes] of found.peers) report.peers.set(peer, (report.peers.get(peer) ?? 0) + bytes)
  } else report[found.from] += byteLength
}
