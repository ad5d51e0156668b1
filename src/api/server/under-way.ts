import type { Clock } from '../../base/clock.ts'
import { Unavailable } from '../../base/errors.ts'

export const stopLimits = {
  /** What transfers under way have to finish. Both together leave the node half of the daemon's own limit. */
  finishMs: 4000,
  /** What those that did not have to hear why. */
  tellMs: 1000,
} as const

/** Requests under way: a stop waits for them, and tells those that take too long. */
export class UnderWay {
  readonly #requests = new Map<Promise<void>, AbortController>()

  /** `ended` must not reject. */
  add (ended: Promise<void>, controller: AbortController): void {
    this.#requests.set(ended, controller)
    void ended.then(() => { this.#requests.delete(ended) })
  }

  /** Resolves when none is left, or none that listens. */
  async settle ({ clock }: { clock: Clock }): Promise<void> {
    await this.#within(stopLimits.finishMs, clock)
    for (const controller of this.#requests.values()) controller.abort(new Unavailable('the node is stopping'))
    await this.#within(stopLimits.tellMs, clock)
  }

  async #within (limitMs: number, clock: Clock): Promise<void> {
    const { promise: late, resolve } = Promise.withResolvers<void>()
    const cancel = clock.after(limitMs, resolve)
    await Promise.race([Promise.all(this.#requests.keys()), late])
    cancel()
  }
}
