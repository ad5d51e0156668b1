import type { Clock } from '../../base/clock.ts'
import type { NodeStatus } from '../../node.ts'
import { hasLooked } from './looked.ts'

export interface RedundancyLogParts {
  readonly status: () => Pick<NodeStatus, 'isDegraded' | 'health' | 'atRisk' | 'repair' | 'layout'>
  readonly clock: Clock
  readonly log: { warn (fields: object, message: string): void, info (fields: object, message: string): void }
}

export const redundancyLogLimits = {
  everyMs: 1000,
  /** A node that is back within this was not missed. */
  settleMs: 5000,
} as const

/** Whoever reads nothing but the log learns that redundancy is below what it should be, when that begins, when there is a further reason, and when it is over; `dfs status` says the same with its exit code. */
export class RedundancyLog {
  readonly #parts: RedundancyLogParts
  #lookedMs = -Infinity
  /** Undefined: all is as it should be. */
  #told: ReadonlySet<string> | undefined
  /** Since when it is not as it was told. */
  #otherMs: number | undefined

  constructor (parts: RedundancyLogParts) { this.#parts = parts }

  step (): 'busy' | 'idle' {
    const { status, clock, log } = this.#parts
    const nowMs = clock.monotonicMs()
    if (nowMs - this.#lookedMs < redundancyLogLimits.everyMs) return 'idle'
    this.#lookedMs = nowMs
    const { isDegraded, health, atRisk, ...looked } = status()
    // that it is over is not told of what nobody has looked at, or not all have told
    if (!isDegraded && this.#told !== undefined && (atRisk.isAtLeast || !hasLooked(looked))) { this.#otherMs = undefined; return 'idle' }
    const kinds = isDegraded ? new Set(health.map(kindOf)) : undefined
    this.#otherMs = isNews(kinds, this.#told) ? this.#otherMs ?? nowMs : undefined
    if (this.#otherMs === undefined || nowMs - this.#otherMs < redundancyLogLimits.settleMs) return 'idle'
    this.#told = kinds
    this.#otherMs = undefined
    if (isDegraded) log.warn({ health, objectsAtRisk: atRisk.objects }, 'redundancy is below what it should be')
    else log.info({ health }, 'redundancy is what it should be again')
    return 'busy'
  }
}

/** A line of health without its counts, which change with each look, and without the words of an error. How many members are away is news each time. */
const kindOf = (line: string): string => line.includes('members do not answer') ? line : line.replace(/fails:.*/s, 'fails').replaceAll(/\b\d+\b/g, 'N')

/** It begins, it ends, or something is said that was not when it was last told. */
const isNews = (kinds: ReadonlySet<string> | undefined, told: ReadonlySet<string> | undefined): boolean =>
  (kinds === undefined) !== (told === undefined) || (kinds !== undefined && told !== undefined && [...kinds].some((kind) => !told.has(kind)))
