/**
 * Is a history of appends and reads of one register linearizable? Every appended token is another, so a result says which appends came before it and in what
 * order: no search is needed, and histories may be long and full of unknown outcomes.
 */
export interface LogOperation {
  readonly what: string
  readonly startMs: number
  /** Infinity: outcome unknown. */
  readonly endMs: number
  /** Undefined: a read. */
  readonly token: string | undefined
  /** What it was told that the register says, token by token. Undefined: the outcome is unknown, or that nothing happened. */
  readonly told: readonly string[] | undefined
  /** The client was told that nothing happened. */
  readonly isNothing: boolean
}

/** What no register could have told. */
export function logViolations (history: readonly LogOperation[]): readonly string[] {
  const appends = new Map(history.flatMap((operation) => (operation.token === undefined ? [] : [[operation.token, operation] as const])))
  const told = history.filter((operation): operation is LogOperation & { told: readonly string[] } => operation.told !== undefined)
  const violations: string[] = []
  for (const operation of told) {
    const { what, told: log, token, endMs } = operation
    if (new Set(log).size !== log.length) violations.push(`${what}: something was appended twice`)
    if (token !== undefined && log.at(-1) !== token) violations.push(`${what}: it does not end with what was appended`)
    for (const other of log) {
      const append = appends.get(other)
      if (append === undefined || append.startMs > endMs) violations.push(`${what}: ${other} comes from nowhere`)
      else if (append.isNothing) violations.push(`${what}: ${other} was told not to have happened`)
    }
  }
  const byLength = told.toSorted((a, b) => a.told.length - b.told.length)
  for (const [i, operation] of byLength.slice(1).entries()) {
    const shorter = byLength[i] as typeof operation
    if (!shorter.told.every((token, at) => operation.told[at] === token)) violations.push(`${operation.what} contradicts ${shorter.what}`)
  }
  for (const earlier of told) {
    for (const later of told) {
      if (earlier.endMs >= later.startMs) continue
      const least = earlier.told.length + (later.token === undefined ? 0 : 1)
      if (later.told.length < least) violations.push(`${later.what} misses what ${earlier.what} was told`)
    }
  }
  return violations
}
