import type { Clock } from '../../base/clock.ts'
import { NotFound, Refused } from '../../base/errors.ts'
import type { UserActivity } from './user-activity.ts'
import { workShareLimits } from './work-share.ts'

/** One shape for all work that nobody waits for: a small unit at a time, resting in proportion to what it took. */
export interface BackgroundTask {
  readonly name: string
  /** One unit. Idle: nothing to do now. */
  readonly step: (options: { signal: AbortSignal }) => Promise<'busy' | 'idle'>
  /**
   * What this is, if it may take long: it gives way to users, is shown in the status, and can be paused. Without it the work is what users themselves wait for,
   * or takes nothing: it rests little.
   */
  readonly long?: LongTask
}

export interface LongTask {
  readonly progress: () => TaskProgress
  /** Begins all of it now, whenever it is due. */
  readonly now: () => void
  /** What it works on has one copy left: it takes a greater share while users wait. Default: it has not. */
  readonly isUrgent?: () => boolean
}

export interface TaskProgress {
  /** In a few words, e.g. "waiting". */
  readonly phase: string
  /** 0 to 1. */
  readonly doneShare: number
  readonly doneBytes?: number
  readonly totalBytes?: number
}

export interface TaskStatus extends TaskProgress {
  readonly name: string
  readonly state: 'busy' | 'idle' | 'paused'
  /** Undefined: it is not busy, or it is too early to say. */
  readonly etaMs: number | undefined
  /** Why the last unit failed, if it did. */
  readonly failure: string | undefined
}

export interface Background extends AsyncDisposable {
  /** The long ones. */
  tasks (): readonly TaskStatus[]
  /** Until `resume`, or the next start: what was forgotten must not stay off. @throws NotFound, Refused */
  pause (name: string): void
  resume (name: string): void
  /** @throws NotFound; Refused while paused */
  now (name: string): void
}

export const backgroundLimits = {
  /** Rest, in units of the time the work took: of what users wait for; of long work while no user does. While one does: work-share.ts. */
  restShare: 1,
  quietRestShare: 0.25,
  idleMs: 250,
  /** Until the next try after a failure. */
  failureMs: 2000,
  /** The same failure, time after time, is logged again. */
  toldAgainMs: 60_000,
} as const

/** A task that begins anew every so often, the first time one such span after it was made. */
export function regularly ({ name, everyMs, clock, begin, step, long }: BackgroundTask & { everyMs: number, clock: Clock, begin: () => void }): BackgroundTask {
  let lastMs = clock.monotonicMs()
  return {
    name,
    ...long === undefined ? {} : { long },
    step: async (wait) => {
      if (clock.monotonicMs() - lastMs > everyMs) {
        lastMs = clock.monotonicMs()
        begin()
      }
      return step(wait)
    },
  }
}

/** Runs tasks side by side until disposed; each failure is told and none ends a task. */
export function runInBackground (tasks: readonly BackgroundTask[], options: { clock: Clock, warn: (message: string, cause: unknown) => void, users?: Users }): Background {
  const stop = new AbortController()
  const loops = tasks.map((task) => new Loop(task, { ...options, signal: stop.signal }))
  const running = Promise.all(loops.map(async (loop) => loop.run()))
  const find = (name: string): Loop => {
    const loop = loops.find(({ task }) => task.name === name && task.long !== undefined)
    if (loop === undefined) throw new NotFound(`there is no background task "${name}"`)
    return loop
  }
  return {
    tasks: () => loops.flatMap((loop) => loop.status() ?? []),
    pause: (name) => { find(name).pause() },
    resume: (name) => { find(name).resume() },
    now: (name) => { find(name).now() },
    async [Symbol.asyncDispose] () {
      stop.abort(new Error('the node is stopping'))
      await running
    },
  }
}

type Users = Pick<UserActivity, 'isWaiting' | 'share'>
interface LoopParts { readonly clock: Clock, readonly warn: (message: string, cause: unknown) => void, readonly users?: Users, readonly signal: AbortSignal }

class Loop {
  readonly task: BackgroundTask
  readonly #parts: LoopParts
  #state: TaskStatus['state'] = 'idle'
  #failure: string | undefined
  #toldMs = 0
  #isPaused = false
  #wake: () => void = () => {}
  /** Where the phase under way began. */
  #phase = { name: '', sinceMs: 0, share: 0 }

  constructor (task: BackgroundTask, parts: LoopParts) {
    this.task = task
    this.#parts = parts
  }

  pause (): void { this.#isPaused = true }
  resume (): void { this.#isPaused = false; this.#wake() }

  now (): void {
    if (this.#isPaused) throw new Refused(`${this.task.name} is paused; resume it first`)
    this.task.long?.now()
    this.#wake()
  }

  status (): TaskStatus | undefined {
    if (this.task.long === undefined) return undefined
    const progress = this.task.long.progress()
    const state = this.#isPaused ? 'paused' : this.#state
    return { name: this.task.name, state, ...progress, etaMs: state === 'busy' ? this.#etaMs(progress) : undefined, failure: this.#failure }
  }

  async run (): Promise<void> {
    const { signal } = this.#parts
    while (!signal.aborted) {
      const restMs = this.#isPaused ? backgroundLimits.idleMs : await this.#unit()
      await this.#rest(restMs)
    }
  }

  async #rest (durationMs: number): Promise<void> {
    const { clock, signal } = this.#parts
    const end = new AbortController()
    this.#wake = () => { end.abort() }
    signal.addEventListener('abort', this.#wake, { once: true })
    if (signal.aborted) end.abort()
    await clock.sleep(durationMs, { signal: end.signal }).catch(() => {}) // the only failures are being woken and the stop, which ends the loop
    signal.removeEventListener('abort', this.#wake)
  }

  async #unit (): Promise<number> {
    const { clock, warn, signal } = this.#parts
    const start = clock.monotonicMs()
    try {
      this.#state = await this.#step()
      this.#failure = undefined
      this.#notePhase()
      if (this.#state === 'idle') return backgroundLimits.idleMs
      return this.#restMsAfter(clock.monotonicMs() - start)
    } catch (error) {
      const failure = error instanceof Error ? error.message : String(error)
      if (!signal.aborted && (failure !== this.#failure || clock.monotonicMs() - this.#toldMs >= backgroundLimits.toldAgainMs)) {
        this.#toldMs = clock.monotonicMs()
        warn(`background work failed: ${this.task.name}`, error)
      }
      this.#failure = failure
      return backgroundLimits.failureMs
    }
  }

  async #step (): Promise<'busy' | 'idle'> {
    using _unit = this.task.long === undefined ? undefined : this.#parts.users?.share.unit()
    return await this.task.step({ signal: this.#parts.signal })
  }

  #restMsAfter (tookMs: number): number {
    const [{ long }, { users }] = [this.task, this.#parts]
    if (long === undefined) return tookMs * backgroundLimits.restShare
    if (users?.isWaiting() === true) return users.share.restMsAfter(tookMs, { isUrgent: long.isUrgent?.() === true })
    return Math.min(workShareLimits.mostRestMs, tookMs * backgroundLimits.quietRestShare)
  }

  #notePhase (): void {
    const progress = this.task.long?.progress()
    if (progress === undefined) return
    if (progress.phase !== this.#phase.name || progress.doneShare < this.#phase.share) this.#phase = { name: progress.phase, sinceMs: this.#parts.clock.monotonicMs(), share: progress.doneShare }
  }

  #etaMs ({ phase, doneShare }: TaskProgress): number | undefined {
    const { name, sinceMs, share } = this.#phase
    const tookMs = this.#parts.clock.monotonicMs() - sinceMs
    return phase !== name || doneShare <= share || tookMs <= 0 ? undefined : Math.round(tookMs * (1 - doneShare) / (doneShare - share))
  }
}
