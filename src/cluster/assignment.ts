import { assignGreedily } from './assignment-1.ts'
import { assignLevelly } from './assignment-2.ts'
import { assignNested } from './nested/index.ts'

/** One that can hold partitions. */
export interface Holder {
  /** What stands in the lists. */
  readonly index: number
  readonly zone: string
  /** Shares are in proportion to it; above 0. */
  readonly weight: number
  /** Breaks ties, so that who sits beside whom does not follow a pattern. */
  readonly key: Uint8Array
}

export interface AssignmentRequest {
  /** The outcome does not depend on their order, only on `index`. */
  readonly holders: readonly Holder[]
  /** Distinct holders in each list; at most as many as there are. */
  readonly positions: number
  /** The first so many positions serve by themselves: as the default redundancy uses three. Ascending; of these too as few copies move as can be. */
  readonly widths: readonly number[]
  /** Who sat where before, by partition and position; undefined: somebody who is no holder any more, or nobody. */
  readonly previous: ReadonlyArray<ReadonlyArray<number | undefined>>
}

/**
 * The algorithm is part of what a layout says (its row names it): all nodes must make the same tables of it, whatever their version. An algorithm that a
 * release has used is never changed, a better one gets the next number.
 */
export const assignmentAlgorithms = { greedy: 1, level: 2, nested: 3 } as const
export type AssignmentAlgorithm = typeof assignmentAlgorithms[keyof typeof assignmentAlgorithms]
export const newestAlgorithm: AssignmentAlgorithm = assignmentAlgorithms.nested

/** An ordered list of distinct holders for every partition of `previous`. Pure. */
export function assign (request: AssignmentRequest, algorithm: AssignmentAlgorithm): ReadonlyArray<readonly number[]> {
  switch (algorithm) {
    case assignmentAlgorithms.greedy: return assignGreedily(request)
    case assignmentAlgorithms.level: return assignLevelly(request)
    case assignmentAlgorithms.nested: return assignNested(request)
    default: return algorithm satisfies never
  }
}
