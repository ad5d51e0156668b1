import type { Clock } from '../../base/clock.ts'
import type { PeerId } from '../../base/peer-id.ts'

/** Who was last reached when, by this node's monotonic clock: a restart begins to count anew, so that nobody is missed for a time that nobody looked. */
export class Absence {
  readonly #clock: Clock
  readonly #sinceMs: number
  readonly #lastMs = new Map<PeerId, number>()

  constructor (clock: Clock) {
    this.#clock = clock
    this.#sinceMs = clock.monotonicMs()
  }

  /** These can be reached now, and nobody else. */
  seen (reachable: Iterable<PeerId>): void {
    this.#now = new Set(reachable)
    for (const peer of this.#now) this.#lastMs.set(peer, this.#clock.monotonicMs())
  }

  #now: ReadonlySet<PeerId> = new Set()

  /** Whole seconds since each of these was reached, for those that cannot be reached now. */
  of (peers: ReadonlySet<PeerId>): ReadonlyMap<PeerId, number> {
    const nowMs = this.#clock.monotonicMs()
    return new Map([...peers].filter((peer) => !this.#now.has(peer)).map((peer) => [peer, Math.floor((nowMs - (this.#lastMs.get(peer) ?? this.#sinceMs)) / 1000)]))
  }
}
