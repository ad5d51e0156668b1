import { LockedVersion } from '../errors.ts'
import type { ObjectParts } from '../ports.ts'

/**
 * A retention that has ended frees for deletion, so it is a majority of the voters' clocks that says so, and this node's own: the clock of one node, set forward,
 * would otherwise open every lock. Most versions have no retention: at first none is taken for ended, and only one that by this node's clock is has the voters asked.
 * @throws what `act` throws; Unavailable if too few voters tell the date
 */
export async function byAgreedDate<T> ({ clock, dates }: Pick<ObjectParts, 'clock' | 'dates'>, act: (nowMs: number) => Promise<T>, wait: { signal?: AbortSignal }): Promise<T> {
  try {
    return await act(-Infinity)
  } catch (error) {
    if (!(error instanceof LockedVersion) || error.endsMs === undefined || error.endsMs > clock.wallMs()) throw error
  }
  return act(Math.min(clock.wallMs(), await dates.past(wait)))
}
