/**
 * What the promise gives, or the signal's reason as soon as that aborts. What is under way goes on: others may wait for it too. Not a race with a promise of the signal's own,
 * which would be held as long as the signal lives.
 */
export function unlessAborted<T> (promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  return new Promise((resolve, reject) => {
    const onAbort = (): void => { reject(signal.reason as Error) }
    const over = (settle: () => void): void => { signal.removeEventListener('abort', onAbort); settle() }
    promise.then((value) => { over(() => { resolve(value) }) }, (error: unknown) => { over(() => { reject(error as Error) }) })
    if (signal.aborted) onAbort()
    else signal.addEventListener('abort', onAbort, { once: true })
  })
}
