import type { Clock } from '../../base/clock.ts'
import { keyOf, type PeerId } from '../../base/peer-id.ts'
import { nameOfRole, roles } from '../../cluster/index.ts'
import { addressTexts } from '../../network/addresses.ts'
import type { Network } from '../../network/libp2p-network.ts'
import type { Greeting, Hello } from '../../protocols/hello.ts'
import { epochIn } from './sessions.ts'
import type { ClusterState } from '../state.ts'
import type { StorePositions } from '../layout/store-positions.ts'

export interface GreetingsParts {
  readonly state: ClusterState
  readonly clock: Clock
  readonly positions: StorePositions
  /** Given when they are there: greetings come over the network, and the network asks who has greeted. */
  readonly network: () => Network
  readonly hello: () => Hello
  /** A peer goes by a newer layout. @throws if it cannot be had */
  readonly adoptLayout: (version: bigint, from: PeerId) => Promise<void>
  readonly saveKnown: () => Promise<void>
  /** Makes sure that the row of this member is known here. */
  readonly readMemberRow: (key: Uint8Array) => Promise<unknown>
  readonly log: { info (fields: object, message: string): void }
  readonly warn: (message: string, cause: unknown) => void
}

export const greetingTiming = {
  everyMs: 10_000,
  /** Of whom it is not known whether its store has forgotten. */
  doubtedMs: 1_000,
  /** That a layout cannot be had is logged again. */
  toldAgainMs: 60_000,
} as const

/** Whom this node has met in this session, what each said last, and saying it again: what was said on connecting grows old. */
export class Greetings {
  readonly #parts: GreetingsParts
  readonly #heard = new Map<PeerId, Greeting>()
  readonly #heardMs = new Map<PeerId, number>()
  /** When it was logged of each that a layout it goes by could not be had. */
  readonly #toldMs = new Map<PeerId, number>()

  constructor (parts: GreetingsParts) { this.#parts = parts }

  /** By peer; sessions that end are taken out by whoever ends them. */
  get all (): Map<PeerId, Greeting> { return this.#heard }

  /** A peer has proven itself, for the first time or again: what either remembers of the other's store comes before any question to it. */
  heard (greeting: Greeting): void {
    const { state, positions, clock, adoptLayout, warn } = this.#parts
    if (greeting.layoutVersion > state.layout.version) {
      void adoptLayout(greeting.layoutVersion, greeting.peer).catch((error: unknown) => {
        // it may greet without end, and name what there is not
        if (clock.monotonicMs() - (this.#toldMs.get(greeting.peer) ?? -Infinity) < greetingTiming.toldAgainMs) return
        this.#toldMs.set(greeting.peer, clock.monotonicMs())
        warn('a newer layout could not be had', error)
      })
    }
    void positions.compare(greeting)
    // when it was met there may have been no majority to ask; what it proposes is not taken before its row is known
    if (this.#heard.has(greeting.peer) && !state.belongs(greeting.peer)) this.#readRow(greeting.peer)
    this.#heard.set(greeting.peer, greeting)
    this.#heardMs.set(greeting.peer, clock.monotonicMs())
  }

  /** A peer is met: its addresses are kept, and a newer layout it goes by is asked for. */
  met (greeting: Greeting): void {
    const { network, log, warn, saveKnown } = this.#parts
    network().know(greeting.peer, addressTexts(greeting.addresses))
    void saveKnown().catch((error: unknown) => { warn('known peers could not be saved', error) })
    log.info({ peer: greeting.peer, role: nameOfRole(greeting.role), zone: greeting.zone }, 'met a member')
    this.#readRow(greeting.peer)
  }

  #readRow (peer: PeerId): void {
    const { readMemberRow, warn } = this.#parts
    void readMemberRow(keyOf(peer)).catch((error: unknown) => { warn('a member\'s row could not be read', error) })
  }

  /** Members that are connected, and the newest epoch that each has keys for. */
  members (): ReadonlyArray<{ peer: PeerId, epoch: number }> {
    return this.#parts.network().reachable().flatMap((peer) => {
      const greeting = this.#heard.get(peer)
      return greeting?.role === roles.member ? [{ peer, epoch: epochIn(greeting) }] : []
    })
  }

  /** Whoever does not answer hears of it when it greets. */
  async greetAll (): Promise<void> {
    const { network, hello } = this.#parts
    await Promise.allSettled(network().reachable().map(async (peer) => { this.heard(await hello().greet(peer)) }))
  }

  /** One unit of work: how far stores have come, free space. One of two greets, and both hear; whoever doubts the other's store asks at once. */
  async step (wait: { signal: AbortSignal }): Promise<'busy' | 'idle'> {
    const { network, hello, clock, positions } = this.#parts
    const now = clock.monotonicMs()
    const sinceMs = (peer: PeerId): number => now - (this.#heardMs.get(peer) ?? now)
    // who has waited longest: one that takes its whole time for an answer is due again by then
    const [due] = network().reachable()
      .filter((peer) => (network().peerId < peer && sinceMs(peer) > greetingTiming.everyMs) || (sinceMs(peer) > greetingTiming.doubtedMs && positions.doubts(peer)))
      .toSorted((a, b) => sinceMs(b) - sinceMs(a))
    if (due === undefined) return 'idle'
    this.#heardMs.set(due, now)
    this.heard(await hello().greet(due, wait))
    return 'busy'
  }
}
