/** How the supervisor goes about a peer that it wants to be connected to: the arithmetic, without a timer. */
export interface Attempts {
  readonly failures: number
  /** Monotonic ms before which it is left alone. */
  readonly notBeforeMs: number
}

export const backoffLimits = {
  firstMs: 250,
  /** It goes on for ever, this far apart at most: a node that was off for a week is found within half a minute. */
  mostMs: 30_000,
} as const

export const untried: Attempts = { failures: 0, notBeforeMs: 0 }

/** Doubling, with jitter of a quarter either way so that nodes that lost each other do not all come back at once. `fraction` is in [0, 1). */
export function afterFailure ({ failures }: Attempts, nowMs: number, fraction: number): Attempts {
  const waitMs = Math.min(backoffLimits.mostMs, backoffLimits.firstMs * 2 ** Math.min(failures, 20))
  return { failures: failures + 1, notBeforeMs: nowMs + waitMs * (0.75 + fraction / 2) }
}

export const isDue = ({ notBeforeMs }: Attempts, nowMs: number): boolean => nowMs >= notBeforeMs
