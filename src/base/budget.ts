/**
 * A bound on what is in flight: bytes, requests, files. First come, first served, so a large claim is not starved by small ones.
 */
export class Budget {
  readonly limit: number
  #used = 0
  readonly #waiting: Array<{ amount: number, grant: () => void }> = []

  constructor (limit: number) { this.limit = limit }

  get used (): number { return this.#used }
  get available (): number { return this.limit - this.#used }

  /**
   * Waits until `amount` fits and takes it; dispose the claim to give it back. A claim over the whole limit waits for an empty budget and takes all of it.
   * Rejects with the signal's reason when it aborts.
   */
  async claim (amount: number, { signal }: { signal?: AbortSignal } = {}): Promise<Disposable> {
    signal?.throwIfAborted()
    const taken = Math.min(amount, this.limit)
    if (this.#waiting.length > 0 || this.#used + taken > this.limit) await this.#turn(taken, signal)
    else this.#used += taken
    let held = true
    return { [Symbol.dispose]: () => { if (held) { held = false; this.#release(taken) } } }
  }

  // the grant takes the amount itself, so nobody slips in between the grant and the waking
  #turn (amount: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const entry = { amount, grant: () => { signal?.removeEventListener('abort', onAbort); resolve() } }
      const onAbort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(entry), 1)
        this.#admit()
        reject(signal?.reason as Error)
      }
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#waiting.push(entry)
    })
  }

  #release (amount: number): void {
    this.#used -= amount
    this.#admit()
  }

  #admit (): void {
    for (let next = this.#waiting[0]; next !== undefined && this.#used + next.amount <= this.limit; next = this.#waiting[0]) {
      this.#waiting.shift()
      this.#used += next.amount
      next.grant()
    }
  }
}
