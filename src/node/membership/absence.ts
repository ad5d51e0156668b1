import type { Clock } from '../../base/clock.ts'
import type { PeerId } from '../../base/peer-id.ts'

/** Who was last reached when, by this node's monotonic clock: a restart begins to count anew, so that nobody is missed for a time that nobody looked. */
export class Absence {
  readonly #clock: Clock
  readonly #reachable: () => Iterable<PeerId>
  readonly #sinceMs: number
  readonly #lastMs = new Map<PeerId, number>()

  constructor (clock: Clock, reachable: () => Iterable<PeerId>) {
    this.#clock = clock
    this.#reachable = reachable
    this.#sinceMs = clock.monotonicMs()
  }

  /** Who can be reached now. To be called every so often: an absence counts from the last look before it. */
  look (): ReadonlySet<PeerId> {
    const now = new Set(this.#reachable())
    for (const peer of now) this.#lastMs.set(peer, this.#clock.monotonicMs())
    return now
  }

  /** Whole seconds since each of these was reached, for those that cannot be reached now. */
  of (peers: ReadonlySet<PeerId>): ReadonlyMap<PeerId, number> {
    const now = this.look()
    const nowMs = this.#clock.monotonicMs()
    return new Map([...peers].filter((peer) => !now.has(peer)).map((peer) => [peer, Math.floor((nowMs - (this.#lastMs.get(peer) ?? this.#sinceMs)) / 1000)]))
  }
}
