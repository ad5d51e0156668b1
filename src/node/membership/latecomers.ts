import type { Clock } from '../../base/clock.ts'

export const latecomerTiming = { retryMs: 5_000 } as const

type Look = (wait: { signal?: AbortSignal }) => Promise<void>

/**
 * Who joined while an era began that does not have them: looked for when it is chosen, and again until it is found out, for they were told that they had joined. Kept in
 * memory by whoever made the era: if that node dies first, such a one must be invited anew.
 */
export class Latecomers {
  readonly #parts: { readonly clock: Clock, readonly warn: (message: string, cause: unknown) => void }
  readonly #owed = new Set<Look>()
  #nextMs = -Infinity

  constructor (parts: { clock: Clock, warn: (message: string, cause: unknown) => void }) { this.#parts = parts }

  /** The era is chosen and cannot fail any more: what cannot be found out now is later. */
  async look (look: Look, wait: { signal?: AbortSignal }): Promise<void> {
    this.#owed.add(look)
    await this.settle(wait).catch((error: unknown) => { this.#failed(error) })
  }

  /** The era may be chosen, or never be: it is found out later. */
  owe (look: Look): void { this.#owed.add(look) }

  /** All that is owed, and no era before: whoever is to be put out must have been found first. @throws Unavailable */
  async settle (wait: { signal?: AbortSignal }): Promise<void> {
    for (const look of this.#owed) {
      await look(wait)
      this.#owed.delete(look)
    }
  }

  async step (wait: { signal: AbortSignal }): Promise<'busy' | 'idle'> {
    if (this.#owed.size === 0 || this.#parts.clock.monotonicMs() < this.#nextMs) return 'idle'
    await this.settle(wait).catch((error: unknown) => { wait.signal.throwIfAborted(); this.#failed(error) })
    return 'busy'
  }

  #failed (error: unknown): void {
    const { clock, warn } = this.#parts
    this.#nextMs = clock.monotonicMs() + latecomerTiming.retryMs
    warn('whether somebody joined while an era began could not be found out; it is tried again', error)
  }
}
