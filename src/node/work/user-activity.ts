import type { Clock } from '../../base/clock.ts'
import { WorkShare } from './work-share.ts'

/**
 * Whether anybody waits for this node: a user of its own, or a peer whose user waits. Long work asks before each rest, and takes no more than its share while somebody does.
 * What peers send because of their own long work is marked as such on the wire, and does not count: else two nodes that repair each other would both crawl.
 */
export class UserActivity {
  /** Of long work, while somebody waits. */
  readonly share: WorkShare
  readonly #clock: Clock
  #waiting = 0
  #lastMs = -Infinity

  constructor (clock: Clock) {
    this.#clock = clock
    this.share = new WorkShare(clock)
  }

  /** Somebody waits until it is disposed; for a step of this `kind`, if one is named (asked for at its end), whose time says how much long work may be done (work-share.ts). */
  begin (kind?: string | (() => string)): Disposable {
    this.#waiting++
    const startedMs = this.#clock.monotonicMs()
    let isOver = false
    return {
      [Symbol.dispose]: () => {
        if (isOver) return
        isOver = true
        this.#waiting--
        this.#lastMs = this.#clock.monotonicMs()
        if (kind !== undefined) this.share.waited(typeof kind === 'string' ? kind : kind(), this.#lastMs - startedMs)
      },
    }
  }

  async during<T> (work: Promise<T>): Promise<T> {
    using _waiting = this.begin()
    return await work
  }

  /** A step of something that is under way: its time counts, and nothing else. One that fails says nothing of work. */
  async timed<T> (kind: string, step: Promise<T>): Promise<T> {
    const startedMs = this.#clock.monotonicMs()
    const done = await step
    this.share.waited(kind, this.#clock.monotonicMs() - startedMs)
    return done
  }

  /** Of so much that may be done side by side. */
  atOnce (most: number): number { return this.isWaiting() ? Math.max(1, Math.floor(most * this.share.value)) : most }

  isWaiting (): boolean { return this.#waiting > 0 || this.#clock.monotonicMs() - this.#lastMs < userLimits.lingerMs }
}

export const userLimits = {
  /** Who has just had an answer will ask again. */
  lingerMs: 500,
} as const
