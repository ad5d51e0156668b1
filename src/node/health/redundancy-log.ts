import type { Clock } from '../../base/clock.ts'
import type { NodeStatus } from '../../node.ts'

export interface RedundancyLogParts {
  readonly status: () => Pick<NodeStatus, 'isDegraded' | 'health' | 'atRisk'>
  readonly clock: Clock
  readonly log: { warn (fields: object, message: string): void, info (fields: object, message: string): void }
}

export const redundancyLogLimits = {
  everyMs: 1000,
  /** A node that is back within this was not missed. */
  settleMs: 5000,
} as const

/** Whoever reads nothing but the log learns that redundancy is below what it should be, when that begins and when it is over; `dfs status` says the same with its exit code. */
export class RedundancyLog {
  readonly #parts: RedundancyLogParts
  #lookedMs = -Infinity
  #told = false
  /** Since when it is not as it was told. */
  #otherMs: number | undefined

  constructor (parts: RedundancyLogParts) { this.#parts = parts }

  step (): 'busy' | 'idle' {
    const { status, clock, log } = this.#parts
    const nowMs = clock.monotonicMs()
    if (nowMs - this.#lookedMs < redundancyLogLimits.everyMs) return 'idle'
    this.#lookedMs = nowMs
    const { isDegraded, health, atRisk } = status()
    this.#otherMs = isDegraded === this.#told ? undefined : this.#otherMs ?? nowMs
    if (this.#otherMs === undefined || nowMs - this.#otherMs < redundancyLogLimits.settleMs) return 'idle'
    this.#told = isDegraded
    this.#otherMs = undefined
    if (isDegraded) log.warn({ health, objectsAtRisk: atRisk.objects }, 'redundancy is below what it should be')
    else log.info({ health }, 'redundancy is what it should be again')
    return 'busy'
  }
}
