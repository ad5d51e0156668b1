/**
 * Is there an order of these operations on one register that agrees with real time and with every result? Wing and Gong's search (1993) with Lowe's
 * memory of (set of operations done, state) (https://www.cs.ox.ac.uk/people/gavin.lowe/LinearizabiltyTesting/). An operation whose outcome is unknown
 * never ends: it may take effect at any later moment, or not at all.
 */
export interface Invocation<S> {
  readonly what: string
  readonly startMs: number
  /** Infinity: outcome unknown. */
  readonly endMs: number
  /** The state after it, or 'impossible' if its result does not fit `state`. */
  readonly apply: (state: S) => { readonly state: S } | 'impossible'
}

export function isLinearizable<S> (history: ReadonlyArray<Invocation<S>>, initial: S): boolean {
  const operations = history.toSorted((a, b) => a.startMs - b.startMs)
  const mustHappen = operations.reduce((mask, { endMs }, i) => (endMs === Infinity ? mask : mask | (1n << BigInt(i))), 0n)
  const seen = new Set<string>()
  const search = (done: bigint, state: S): boolean => {
    if ((done & mustHappen) === mustHappen) return true
    const name = `${done} ${String(state)}`
    if (seen.has(name)) return false
    seen.add(name)
    // whatever started after the first end of those not done must come after that one
    let firstEndMs = Infinity
    for (const [i, { endMs }] of operations.entries()) if ((done >> BigInt(i) & 1n) === 0n && endMs < firstEndMs) firstEndMs = endMs
    for (const [i, operation] of operations.entries()) {
      if (operation.startMs > firstEndMs) break
      if ((done >> BigInt(i) & 1n) === 1n) continue
      const next = operation.apply(state)
      if (next !== 'impossible' && search(done | (1n << BigInt(i)), next.state)) return true
    }
    return false
  }
  return search(0n, initial)
}
