/** Background work that goes over everything now and then, in steps: what throws ends the pass, is told, and is left to the next. */
export class Passes {
  readonly #pass: () => AsyncIterable<void>
  readonly #failed: (cause: unknown) => void
  #current: AsyncIterator<void> | undefined

  constructor (pass: () => AsyncIterable<void>, failed: (cause: unknown) => void) {
    this.#pass = pass
    this.#failed = failed
  }

  /** One more pass; none, while one is under way. */
  begin (): void { this.#current ??= this.#pass()[Symbol.asyncIterator]() }

  async step (_wait: { signal: AbortSignal }): Promise<'busy' | 'idle'> {
    if (this.#current === undefined) return 'idle'
    try {
      const { done } = await this.#current.next()
      if (done !== true) return 'busy'
    } catch (error) {
      this.#failed(error)
    }
    this.#current = undefined
    return 'idle'
  }
}
