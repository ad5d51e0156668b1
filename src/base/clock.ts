/**
 * Time as an argument. Nothing outside `base/` names `Date`, `performance` or a timer (the architecture test keeps it),
 * so that engines run under a virtual clock and a simulation repeats to the byte.
 */
export interface Clock {
  /** Milliseconds since the Unix epoch by the wall clock. It may step either way: it may refuse, never decide. */
  wallMs (): number
  /** Milliseconds from an arbitrary origin; never goes back within a process. Graces and deadlines count this. */
  monotonicMs (): number
  /** Resolves after `durationMs`; rejects with the signal's reason as soon as it aborts. */
  sleep (durationMs: number, options?: { signal?: AbortSignal }): Promise<void>
  /** Runs `action` once after `durationMs`. The returned function cancels it; cancelling twice is harmless. */
  after (durationMs: number, action: () => void): () => void
}

export const systemClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  sleep (durationMs, { signal } = {}) {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) { reject(signal.reason as Error); return }
      const onAbort = (): void => { clearTimeout(timer); reject(signal?.reason as Error) }
      const timer = setTimeout(() => { signal?.removeEventListener('abort', onAbort); resolve() }, durationMs)
      signal?.addEventListener('abort', onAbort, { once: true })
    })
  },
  after (durationMs, action) {
    const timer = setTimeout(action, durationMs)
    return () => { clearTimeout(timer) }
  },
}

/** Runs `action` when the event loop has done what there is to do now: gathers what one turn brings forth. For batches of I/O; nothing may depend on when. */
export const afterThisTurn = (action: () => void): void => { setImmediate(action) }

/** Thrown (as an abort reason) when a wait's time is up. What to do: ask another peer, or retry. */
export class DeadlineExceeded extends Error {
  override name = 'DeadlineExceeded'
}

/** A signal with a time limit. Dispose it (`using`) when the wait is over, or its timer lives on until it fires. */
export interface Deadline extends Disposable {
  readonly signal: AbortSignal
}

/**
 * A signal that aborts after `durationMs` (with DeadlineExceeded), or as soon as `signal` does (with its reason). `extraMs`, asked when the time is up, is
 * what has been earned meanwhile: a transfer may last as long as it moves.
 */
export function deadline (clock: Clock, durationMs: number, { signal, what = 'operation', extraMs = () => 0 }: { signal?: AbortSignal, what?: string, extraMs?: () => number } = {}): Deadline {
  const controller = new AbortController()
  const onAbort = (): void => { controller.abort(signal?.reason) }
  const startMs = clock.monotonicMs()
  const onTime = (): void => {
    const grantedMs = durationMs + extraMs()
    const leftMs = grantedMs - (clock.monotonicMs() - startMs)
    if (leftMs >= 1) cancel = clock.after(leftMs, onTime)
    else controller.abort(new DeadlineExceeded(`${what} took longer than ${Math.round(grantedMs)} ms`))
  }
  let cancel = clock.after(durationMs, onTime)
  if (signal?.aborted === true) onAbort()
  signal?.addEventListener('abort', onAbort, { once: true })
  return {
    signal: controller.signal,
    [Symbol.dispose] () { cancel(); signal?.removeEventListener('abort', onAbort) },
  }
}
