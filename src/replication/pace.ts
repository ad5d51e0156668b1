/** How long peers take to answer, and so how long to wait before another is asked as well. Pure: numbers in, numbers out. */
export interface Pace {
  /** Smoothed time and deviation in ms, as TCP estimates its round trips (RFC 6298). */
  readonly meanMs: number
  readonly deviationMs: number
}

export const paceLimits = { leastMs: 30, mostMs: 1000, firstMs: 150 } as const

export const unknownPace: Pace = { meanMs: 0, deviationMs: 0 }

export function paceAfter (pace: Pace, tookMs: number): Pace {
  if (pace === unknownPace) return { meanMs: tookMs, deviationMs: tookMs / 2 }
  return { meanMs: pace.meanMs * 7 / 8 + tookMs / 8, deviationMs: pace.deviationMs * 3 / 4 + Math.abs(tookMs - pace.meanMs) / 4 }
}

/** After so long an answer is late: few are, unless something is wrong with the peer. */
export function hedgeAfterMs (pace: Pace): number {
  if (pace === unknownPace) return paceLimits.firstMs
  return Math.min(paceLimits.mostMs, Math.max(paceLimits.leastMs, pace.meanMs + 4 * pace.deviationMs))
}
