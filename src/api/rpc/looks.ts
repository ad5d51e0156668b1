import type { Clock } from '../../base/clock.ts'
import { InvalidInput } from '../../base/errors.ts'

export const lookLimits = { leastMs: 100, mostMs: 60_000, defaultMs: 1000 } as const

/** How it is now, and again whenever `sameness` of it differs from what was told last. Ends with the signal. @throws InvalidInput */
export async function * looks<T> (everyMs: number, { clock, signal, look, sameness }: {
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly look: () => Promise<T>
  readonly sameness: (value: T) => unknown
}): AsyncIterable<T> {
  const { leastMs, mostMs, defaultMs } = lookLimits
  if (everyMs !== 0 && (everyMs < leastMs || everyMs > mostMs)) throw new InvalidInput('every_ms', `every_ms is ${everyMs}; it takes ${leastMs} to ${mostMs}, or 0 for ${defaultMs}`)
  let told: string | undefined
  while (!signal.aborted) {
    const value = await look()
    const text = JSON.stringify(sameness(value))
    if (text !== told) yield value
    told = text
    await clock.sleep(everyMs === 0 ? defaultMs : everyMs, { signal }).catch(() => {}) // the only failure is the end, which ends the loop
  }
}
