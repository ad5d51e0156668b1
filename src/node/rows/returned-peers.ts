import type { PeerId } from '../../base/peer-id.ts'

/** Who answers again, each time it does: also after a silence too short for its connection to end, in which it may have missed as much. */
export class ReturnedPeers {
  readonly #reachable: () => readonly PeerId[]
  #answering: ReadonlySet<PeerId> = new Set()

  constructor (reachable: () => readonly PeerId[]) { this.#reachable = reachable }

  /** Since the last look. */
  look (): readonly PeerId[] {
    const [before, now] = [this.#answering, this.#reachable()]
    this.#answering = new Set(now)
    return now.filter((peer) => !before.has(peer))
  }
}
