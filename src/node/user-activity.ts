import type { Clock } from '../base/clock.ts'

/**
 * Whether anybody waits for this node: a user of its own, or a peer whose user waits. Long work asks before each rest, and rests twentyfold while somebody does.
 * What peers send because of their own long work is marked as such on the wire, and does not count: else two nodes that repair each other would both crawl.
 */
export class UserActivity {
  readonly #clock: Clock
  #waiting = 0
  #lastMs = -Infinity

  constructor (clock: Clock) { this.#clock = clock }

  /** Somebody waits until it is disposed. */
  begin (): Disposable {
    this.#waiting++
    let isOver = false
    return {
      [Symbol.dispose]: () => {
        if (isOver) return
        isOver = true
        this.#waiting--
        this.#lastMs = this.#clock.monotonicMs()
      },
    }
  }

  async during<T> (work: Promise<T>): Promise<T> {
    using _waiting = this.begin()
    return await work
  }

  isWaiting (): boolean { return this.#waiting > 0 || this.#clock.monotonicMs() - this.#lastMs < userLimits.lingerMs }
}

export const userLimits = {
  /** Who has just had an answer will ask again. */
  lingerMs: 500,
} as const
