import type { Clock } from '../base/clock.ts'

/** One shape for all work that nobody waits for: a small unit at a time, resting in proportion to what it took. */
export interface BackgroundTask {
  readonly name: string
  /** One unit. Idle: nothing to do now. */
  readonly step: (options: { signal: AbortSignal }) => Promise<'busy' | 'idle'>
}

export const backgroundLimits = {
  /** Of the time a unit took: users come first. */
  restShare: 1,
  idleMs: 250,
  /** After a failure, which is logged. */
  failureMs: 2000,
} as const

/** Runs tasks side by side until disposed; each failure is told and none ends a task. */
export function runInBackground (tasks: readonly BackgroundTask[], { clock, warn }: { clock: Clock, warn: (message: string, cause: unknown) => void }): AsyncDisposable {
  const stop = new AbortController()
  const running = Promise.all(tasks.map(async (task) => run(task, { clock, warn, signal: stop.signal })))
  return {
    async [Symbol.asyncDispose] () {
      stop.abort(new Error('the node is stopping'))
      await running
    },
  }
}

async function run ({ name, step }: BackgroundTask, { clock, warn, signal }: { clock: Clock, warn: (message: string, cause: unknown) => void, signal: AbortSignal }): Promise<void> {
  while (!signal.aborted) {
    const start = clock.monotonicMs()
    let restMs: number = backgroundLimits.idleMs
    try {
      if (await step({ signal }) === 'busy') restMs = (clock.monotonicMs() - start) * backgroundLimits.restShare
    } catch (error) {
      restMs = backgroundLimits.failureMs
      if (!signal.aborted) warn(`background work failed: ${name}`, error)
    }
    await clock.sleep(restMs, { signal }).catch(() => {}) // the only failure is the stop, which ends the loop
  }
}
