/**
 * Is there an order of these operations on one register that agrees with real time and with every result? Wing and Gong's search (1993) with Lowe's
 * memory of (set of operations done, state) (https://www.cs.ox.ac.uk/people/gavin.lowe/LinearizabiltyTesting/). An operation whose outcome is unknown
 * never ends: it may take effect at any later moment, or not at all.
 *
 * Two orders that differ in nothing are tried once, else thirty unknown outcomes are a thousand million sets: a read that may come now and fits comes now, and an
 * unknown outcome takes effect only right before something that it makes a difference to.
 */
export interface Invocation<S> {
  readonly what: string
  readonly startMs: number
  /** Infinity: outcome unknown. */
  readonly endMs: number
  /** The state after it, or 'impossible' if its result does not fit `state`. */
  readonly apply: (state: S) => Applied<S>
  /** It leaves every state as it is. */
  readonly isRead?: boolean
}

type Applied<S> = { readonly state: S } | 'impossible'

export function isLinearizable<S> (history: ReadonlyArray<Invocation<S>>, initial: S): boolean {
  const operations = history.toSorted((a, b) => a.startMs - b.startMs)
  const mustHappen = operations.reduce((mask, { endMs }, i) => (endMs === Infinity ? mask : mask | (1n << BigInt(i))), 0n)
  const seen = new Set<string>()
  const search = (done: bigint, state: S): boolean => {
    if ((done & mustHappen) === mustHappen) return true
    const name = `${done} ${String(state)}`
    if (seen.has(name)) return false
    seen.add(name)
    const next = nextOf(operations, done)
    const step = (i: number, after: Applied<S>): boolean => after !== 'impossible' && search(done | (1n << BigInt(i)), after.state)
    const fitting = next.find((i) => operations[i]?.isRead === true && operations[i].apply(state) !== 'impossible')
    if (fitting !== undefined) return step(fitting, { state })
    return next.some((i) => {
      const operation = operations[i]
      if (operation === undefined) return false
      const after = operation.apply(state)
      if (after === 'impossible' || (operation.endMs === Infinity && !next.some((j) => j !== i && differs(operations[j], state, after.state)))) return false
      return step(i, after)
    })
  }
  return search(0n, initial)
}

/** What may come now, by number: whatever started after the first end of those not done must come after that one. */
function nextOf<S> (operations: ReadonlyArray<Invocation<S>>, done: bigint): readonly number[] {
  const left = [...operations.keys()].filter((i) => (done >> BigInt(i) & 1n) === 0n)
  const firstEndMs = left.reduce((first, i) => Math.min(first, operations[i]?.endMs ?? Infinity), Infinity)
  return left.filter((i) => (operations[i]?.startMs ?? Infinity) <= firstEndMs)
}

function differs<S> (operation: Invocation<S> | undefined, before: S, after: S): boolean {
  const [one, other] = [operation?.apply(before), operation?.apply(after)]
  if (one === 'impossible' || other === 'impossible') return one !== other
  return String(one?.state) !== String(other?.state)
}
