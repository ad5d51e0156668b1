/**
 * A bound on what is in flight, of which nobody can take all: whoever holds something already is given more only as long as what it then holds is at most so many times what is
 * left (`greed`). So one alone gets 3/4, two 3/7 each, n of them 3/(3n + 1), and there is room for the next who comes (Choudhury and Hahne, "Dynamic queue length thresholds for
 * shared-memory packet switches", 1998). First come, first served, but for those who wait for their own share; so a large claim is not starved by small ones.
 */
export class FairBudget {
  readonly limit: number
  #used = 0
  readonly #held = new Map<string, number>()
  readonly #waiting: Waiting[] = []

  constructor (limit: number) { this.limit = limit }

  get used (): number { return this.#used }

  /** At once, or not at all. `by` undefined: whose it is does not count. A claim over the whole limit is one of all of it. */
  take (amount: number, by: string | undefined): Disposable | undefined {
    // who waits for its own share stands in nobody's way
    if (this.#waiting.some((other) => this.isWithinShare(other.amount, other.by))) return undefined
    return this.#granted(Math.min(amount, this.limit), by)
  }

  /** Waits until it may have it. Rejects with the signal's reason when it aborts. */
  async claim (amount: number, { by, signal }: { by: string | undefined, signal: AbortSignal }): Promise<Disposable> {
    signal.throwIfAborted()
    return this.take(amount, by) ?? new Promise<Disposable>((resolve, reject) => {
      const entry: Waiting = { amount: Math.min(amount, this.limit), by, grant: (claim) => { signal.removeEventListener('abort', onAbort); resolve(claim) } }
      const onAbort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(entry), 1)
        this.#admit()
        reject(signal.reason as Error)
      }
      signal.addEventListener('abort', onAbort, { once: true })
      this.#waiting.push(entry)
    })
  }

  /** False: it is its own share that it waits for, and not that others have taken everything. */
  isWithinShare (amount: number, by: string | undefined): boolean {
    const held = by === undefined ? 0 : this.#held.get(by) ?? 0
    return held === 0 || held + amount <= greed * (this.limit - this.#used - amount)
  }

  #granted (amount: number, by: string | undefined): Disposable | undefined {
    if (this.#used + amount > this.limit || !this.isWithinShare(amount, by)) return undefined
    this.#count(amount, by)
    let isHeld = true
    return { [Symbol.dispose]: () => { if (isHeld) { isHeld = false; this.#count(-amount, by); this.#admit() } } }
  }

  #count (amount: number, by: string | undefined): void {
    this.#used += amount
    if (by === undefined) return
    const held = (this.#held.get(by) ?? 0) + amount
    if (held === 0) this.#held.delete(by)
    else this.#held.set(by, held)
  }

  #admit (): void {
    let at = 0
    for (let entry = this.#waiting[at]; entry !== undefined; entry = this.#waiting[at]) {
      if (!this.isWithinShare(entry.amount, entry.by)) { at++; continue }
      const claim = this.#granted(entry.amount, entry.by)
      if (claim === undefined) return
      this.#waiting.splice(at, 1)
      entry.grant(claim)
    }
  }
}

interface Waiting { readonly amount: number, readonly by: string | undefined, readonly grant: (claim: Disposable) => void }

const greed = 3
