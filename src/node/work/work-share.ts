import type { Clock } from '../../base/clock.ts'

/**
 * How much of the time long work takes while users wait: as much as they hardly feel, and never less than ends it.
 *
 * What they feel is measured. Every few seconds all long work stands still for a moment, on all nodes at once, and what a step that a user waits for (a round of
 * rows, a question of a peer whose user waits) took then is held against what it took in between. If it took much longer the share is halved, if hardly longer
 * it grows a little: additive increase, multiplicative decrease, as TCP (RFC 5681) finds what a path carries. The wall clock only says when to stand still: where
 * clocks differ the others' work is in both sides of the comparison, and it becomes blunter.
 *
 * Simpler ways that failed: a fixed share is a fortnight's repair on a disk that had room to spare, for the sake of one that has not. To compare with the best ever
 * seen takes more users for too much work. To compare with one's own rests does not see what ten nodes do together.
 */
export class WorkShare {
  readonly #clock: Clock
  #share: number = workShareLimits.first
  #running = 0
  /** Work that rests meanwhile is still felt. */
  #workUntilMs = -Infinity
  #changedMs = -Infinity
  #period = -1
  #cameWhileStill = true
  readonly #steps = new Map<string, Steps>()

  constructor (clock: Clock) { this.#clock = clock }

  /** Of the time, while users wait; 1 would be all. */
  get value (): number { return this.#share }

  /** A unit of long work is under way until it is disposed. */
  unit (): Disposable {
    this.#running++
    return { [Symbol.dispose]: () => { this.#running-- } }
  }

  /** How long to rest after a unit, in ms. `isUrgent`: what is being saved has one copy left. */
  restMsAfter (tookMs: number, { isUrgent }: { isUrgent: boolean }): number {
    this.#judge()
    const share = isUrgent ? Math.max(this.#share, workShareLimits.urgent) : this.#share
    const restMs = Math.min(workShareLimits.mostRestMs, tookMs * (1 - share) / share)
    const nowMs = this.#clock.monotonicMs()
    this.#workUntilMs = Math.max(this.#workUntilMs, nowMs + restMs + tookMs)
    const { intoMs } = momentOf(this.#clock.wallMs() + restMs)
    return intoMs < workShareLimits.stillMs ? restMs + workShareLimits.stillMs - intoMs : restMs
  }

  /** Somebody has waited for one step of this kind, which ends now. Steps of a kind are alike: what differs by size is told apart by it. */
  waited (kind: string, tookMs: number): void {
    const startedMs = this.#clock.monotonicMs() - tookMs
    const { intoMs } = momentOf(this.#clock.wallMs() - tookMs)
    const { settleMs, stillMs, mostKinds } = workShareLimits
    const isStill = intoMs >= settleMs && intoMs < stillMs
    if (isStill) this.#cameWhileStill = true
    if (!this.#steps.has(kind) && this.#steps.size >= mostKinds) return
    const steps = this.#steps.get(kind) ?? new Steps()
    this.#steps.set(kind, steps)
    if (isStill) steps.addStill({ startedMs, tookMs })
    else if (intoMs >= stillMs && startedMs >= this.#changedMs && (this.#running > 0 || startedMs <= this.#workUntilMs)) steps.addBusy(tookMs)
  }

  /** Once a period: more, less, or as it is. */
  #judge (): void {
    const { floor, most, more, fewer, comfortable, tooMuch } = workShareLimits
    const { period, intoMs } = momentOf(this.#clock.wallMs())
    if (period === this.#period || intoMs < workShareLimits.stillMs) return
    const isFirst = this.#period === -1
    this.#period = period
    const ratio = ratioOf([...this.#steps.values()].map((steps) => steps.compared(this.#clock.monotonicMs())))
    const isNobodyThere = ratio === undefined && !this.#cameWhileStill && !isFirst
    this.#cameWhileStill = false
    if (ratio !== undefined && ratio > tooMuch) this.#set(Math.max(floor, this.#share * fewer))
    else if (isNobodyThere || (ratio !== undefined && ratio < comfortable)) this.#set(Math.min(most, this.#share + more))
  }

  #set (share: number): void {
    this.#share = share
    this.#changedMs = this.#clock.monotonicMs()
    for (const steps of this.#steps.values()) steps.begin()
  }
}

export const workShareLimits = {
  /** Before anything was measured. */
  first: 0.25,
  /** Whatever users feel: so that it ends. */
  floor: 0.05,
  /** Of blocks with one copy left. */
  urgent: 0.25,
  most: 0.8,
  more: 0.1,
  fewer: 0.5,
  /** The slowest tenth of steps took so many times what they take while work stands still: no more work; less. The 99th percentile is to stay below three times. */
  comfortable: 1.5,
  tooMuch: 2,
  /** So many ms do not count: what takes less than one is doubled by nothing. */
  slackMs: 2,
  /** Every so often long work stands still for so long; what was under way ends in the first part of it. */
  periodMs: 5000,
  stillMs: 600,
  settleMs: 100,
  /** Steps of a kind on each side, below which it does not count; of all kinds, below which nothing is concluded; of a kind, that are kept; periods after which those without work are too old. */
  leastOfKind: 5,
  leastSteps: 20,
  mostSteps: 500,
  mostPeriods: 24,
  mostKinds: 64,
  /** No rest is longer: a unit that was held up by others must not hold up all that follows. */
  mostRestMs: 5000,
} as const

/** What steps of one kind took: while work stood still, and since the share last changed. */
class Steps {
  #still: StillStep[] = []
  #busy: number[] = []

  addStill (step: StillStep): void {
    this.#still.push(step)
    if (this.#still.length > workShareLimits.mostSteps) this.#still.shift()
  }

  addBusy (tookMs: number): void {
    this.#busy.push(tookMs)
    if (this.#busy.length > workShareLimits.mostSteps) this.#busy.shift()
  }

  begin (): void { this.#busy = [] }

  /** What the slowest tenth takes, without work and beside it. */
  compared (nowMs: number): Compared {
    const { mostPeriods, periodMs } = workShareLimits
    this.#still = this.#still.filter(({ startedMs }) => startedMs > nowMs - mostPeriods * periodMs)
    return { stillSteps: this.#still.length, busySteps: this.#busy.length, stillMs: slowOf(this.#still.map(({ tookMs }) => tookMs)), busyMs: slowOf(this.#busy) }
  }
}

/** When it began is told by the monotonic clock: of a wall clock that went back all earlier ones would be of the future, and count for ever. */
interface StillStep { readonly startedMs: number, readonly tookMs: number }

interface Compared { readonly stillSteps: number, readonly busySteps: number, readonly stillMs: number, readonly busyMs: number }

/**
 * How many times longer the slow ones take beside work; undefined: too little is known. All kinds together, each by the time that is waited for it: a short step that takes three
 * times as long is a small part of what a user waits, and of few steps of each kind one kind always looks bad by chance.
 */
function ratioOf (kinds: readonly Compared[]): number | undefined {
  const { leastOfKind, leastSteps, slackMs } = workShareLimits
  const counted = kinds.filter(({ stillSteps, busySteps }) => stillSteps >= leastOfKind && busySteps >= leastOfKind)
  const sum = (of: (kind: Compared) => number): number => counted.reduce((total, kind) => total + of(kind), 0)
  if (sum(({ stillSteps }) => stillSteps) < leastSteps || sum(({ busySteps }) => busySteps) < leastSteps) return undefined
  return sum(({ busySteps, busyMs }) => busySteps * (busyMs + slackMs)) / sum(({ busySteps, stillMs }) => busySteps * (stillMs + slackMs))
}

/** The mean of the slowest tenth: work that holds up few, and those for long, is not seen at the edge of it. */
function slowOf (times: readonly number[]): number {
  const slowest = times.toSorted((a, b) => b - a).slice(0, Math.ceil(times.length / 10))
  return slowest.reduce((sum, ms) => sum + ms, 0) / Math.max(1, slowest.length)
}

function momentOf (wallMs: number): { readonly period: number, readonly intoMs: number } {
  const period = Math.floor(wallMs / workShareLimits.periodMs)
  return { period, intoMs: wallMs - period * workShareLimits.periodMs }
}
