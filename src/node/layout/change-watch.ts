import type { Clock } from '../../base/clock.ts'
import type { ChangeProgress } from '../../node.ts'
import type { Changes } from './changes.ts'
import type { ClusterState } from '../state.ts'

export const changeWatchLimits = {
  /** While something moves. */
  everyMs: 10_000,
  /** When all is in its place. */
  atRestMs: 60_000,
} as const

/** How far the last change of the layout is, looked at now and then, for those who ask how the node is. */
export class ChangeWatch {
  readonly #parts: { readonly changes: Pick<Changes, 'progress'>, readonly state: Pick<ClusterState, 'layout'>, readonly clock: Clock }
  #last: { readonly progress: ChangeProgress, readonly version: bigint } | undefined
  #askedMs = -Infinity

  constructor (parts: { readonly changes: Pick<Changes, 'progress'>, readonly state: Pick<ClusterState, 'layout'>, readonly clock: Clock }) { this.#parts = parts }

  /** Undefined: not looked at yet. */
  get last (): ChangeProgress | undefined { return this.#last?.progress }

  async step (wait: { signal?: AbortSignal }): Promise<'busy' | 'idle'> {
    const { changes, state, clock } = this.#parts
    const { version, state: now } = state.layout
    // until the first bucket nothing is held
    if (now === 'open' || now === 'closing') return 'idle'
    const isAtRest = this.#last?.version === version && this.#last.progress.isDone
    if (clock.monotonicMs() - this.#askedMs < (isAtRest ? changeWatchLimits.atRestMs : changeWatchLimits.everyMs)) return 'idle'
    this.#askedMs = clock.monotonicMs()
    this.#last = { progress: await changes.progress(wait), version }
    return 'busy'
  }
}
