import type { Clock } from '../../src/base/clock.ts'

interface Event { readonly atMs: number, readonly order: number, action: (() => void) | undefined }

/**
 * Time that passes only between events. Events at one moment run in the order they were set. After each, everything that follows from it without
 * waiting is run to its end, so a run repeats to the byte: a tick set from a microtask comes when no settled promise is left to follow.
 */
export class VirtualTime {
  nowMs = 0
  #order = 0
  readonly #heap: Event[] = []

  /** Runs `action` after `durationMs`; the returned function cancels it. */
  after (durationMs: number, action: () => void): () => void {
    const event: Event = { atMs: this.nowMs + Math.max(0, durationMs), order: this.#order++, action }
    this.#push(event)
    return () => { event.action = undefined }
  }

  sleep (durationMs: number): Promise<void> { return new Promise((resolve) => { this.after(durationMs, resolve) }) }

  /** Runs events until there are none, or `isOver`. */
  run (isOver: () => boolean = () => false): Promise<void> {
    return new Promise((resolve, reject) => {
      const next = (): void => {
        try {
          const event = isOver() ? undefined : this.#pop()
          if (event === undefined) { resolve(); return }
          this.nowMs = event.atMs
          event.action?.()
          queueMicrotask(() => { process.nextTick(next) })
        } catch (error) { reject(error as Error) }
      }
      process.nextTick(next)
    })
  }

  /** A clock that stops for ever when `isAlive` turns false, as that of a killed process does. */
  clock (isAlive: () => boolean = () => true): Clock {
    const guarded = (action: () => void) => (): void => { if (isAlive()) action() }
    return {
      wallMs: () => this.nowMs,
      monotonicMs: () => this.nowMs,
      after: (durationMs, action) => this.after(durationMs, guarded(action)),
      sleep: (durationMs, { signal } = {}) => new Promise((resolve, reject) => {
        if (signal?.aborted === true) { reject(signal.reason as Error); return }
        const onAbort = (): void => { cancel(); reject(signal?.reason as Error) }
        const cancel = this.after(durationMs, guarded(() => { signal?.removeEventListener('abort', onAbort); resolve() }))
        signal?.addEventListener('abort', onAbort, { once: true })
      }),
    }
  }

  #push (event: Event): void {
    const heap = this.#heap
    let at = heap.push(event) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!isEarlier(event, heap[parent] as Event)) break
      heap[at] = heap[parent] as Event
      at = parent
    }
    heap[at] = event
  }

  #pop (): Event | undefined {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (first === undefined || last === undefined || heap.length === 0) return first
    let at = 0
    for (let child = 1; child < heap.length; child = 2 * at + 1) {
      if (child + 1 < heap.length && isEarlier(heap[child + 1] as Event, heap[child] as Event)) child++
      if (!isEarlier(heap[child] as Event, last)) break
      heap[at] = heap[child] as Event
      at = child
    }
    heap[at] = last
    return first
  }
}

const isEarlier = (a: Event, b: Event): boolean => a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
