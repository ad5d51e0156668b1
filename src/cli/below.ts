import type { Clock } from '../base/clock.ts'
import type { NodeStatus } from '../node.ts'
import { Degraded } from './degraded.ts'

export const belowLimits = {
  /** What others told before all was in its place passes within this. */
  settleMs: 20_000,
  everyMs: 1000,
} as const

/** Whether redundancy is below what it should be though all is done that these nodes can do. */
const isNarrow = ({ isDegraded, repair }: Pick<NodeStatus, 'isDegraded' | 'repair'>): boolean => isDegraded && (repair?.found === undefined || repair.found.narrowBlocks > 0)

/** Looks, when a change has been waited for, whether that is less than there should be; undefined: it is not. Others tell how they are now and then, so it looks for a while. */
export async function stillBelow (look: () => Promise<Pick<NodeStatus, 'isDegraded' | 'repair'>>, { clock, signal }: { clock: Clock, signal: AbortSignal }): Promise<Degraded | undefined> {
  for (const untilMs = clock.monotonicMs() + belowLimits.settleMs; isNarrow(await look()); await clock.sleep(belowLimits.everyMs, { signal })) {
    if (clock.monotonicMs() >= untilMs) return new Degraded('there is as much as these nodes can have, and that is below what it should be: "dfs status" says why')
  }
  return undefined
}
