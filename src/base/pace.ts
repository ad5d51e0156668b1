import type { Clock } from './clock.ts'
import type { PeerId } from './peer-id.ts'

/** How long a peer takes to answer, and so how long to wait before another is asked as well. Pure: numbers in, numbers out. */
export interface Pace {
  /** Smoothed time and deviation in ms, as TCP estimates its round trips (RFC 6298). */
  readonly meanMs: number
  readonly deviationMs: number
}

export interface Patience {
  readonly leastMs: number
  readonly mostMs: number
  /** While nothing was measured. */
  readonly firstMs: number
}

export const unknownPace: Pace = { meanMs: 0, deviationMs: 0 }

export function paceAfter (pace: Pace, tookMs: number): Pace {
  if (pace === unknownPace) return { meanMs: tookMs, deviationMs: tookMs / 2 }
  return { meanMs: pace.meanMs * 7 / 8 + tookMs / 8, deviationMs: pace.deviationMs * 3 / 4 + Math.abs(tookMs - pace.meanMs) / 4 }
}

/** After so long an answer is late: few are, unless something is wrong with the peer. */
export function lateAfterMs (pace: Pace, { leastMs, mostMs, firstMs }: Patience): number {
  if (pace === unknownPace) return firstMs
  return Math.min(mostMs, Math.max(leastMs, pace.meanMs + 4 * pace.deviationMs))
}

/** A peer that was late is asked last for so long, or until it answers: longer than a stopped one takes to be noticed (4 s). */
export const suspicionMs = 5000

/**
 * What one engine has seen of the peers it asks. One that is late is asked after the others for a while, so that a stopped one costs a wait now and then, not
 * one for each block.
 */
export class Paces {
  readonly #clock: Clock
  readonly #patience: Patience
  readonly #paces = new Map<PeerId, Pace>()
  readonly #suspectedAtMs = new Map<PeerId, number>()

  constructor (clock: Clock, patience: Patience) {
    this.#clock = clock
    this.#patience = patience
  }

  lateAfterMs (peer: PeerId): number { return lateAfterMs(this.#paces.get(peer) ?? unknownPace, this.#patience) }

  isSuspect (peer: PeerId): boolean {
    const atMs = this.#suspectedAtMs.get(peer)
    return atMs !== undefined && this.#clock.monotonicMs() - atMs < suspicionMs
  }

  answered (peer: PeerId, tookMs: number): void {
    this.#suspectedAtMs.delete(peer)
    this.#took(peer, tookMs)
  }

  /** It was given up after so long: if it was late then, what is known of its pace is that it is no faster. */
  gaveUp (peer: PeerId, afterMs: number): void { if (afterMs > this.lateAfterMs(peer)) this.#took(peer, afterMs) }
  suspect (peer: PeerId): void { this.#suspectedAtMs.set(peer, this.#clock.monotonicMs()) }

  /** Those of whom nothing bad is known first, otherwise in the order given. */
  inOrder (peers: readonly PeerId[]): readonly PeerId[] {
    return [...peers.filter((peer) => !this.isSuspect(peer)), ...peers.filter((peer) => this.isSuspect(peer))]
  }

  #took (peer: PeerId, ms: number): void { this.#paces.set(peer, paceAfter(this.#paces.get(peer) ?? unknownPace, ms)) }
}
