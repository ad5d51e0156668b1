import { compareBytes, concat, equals, hexOf, MalformedBytes } from '../base/bytes.ts'
import type { AdminStatement, EraBody, EraStatement } from './statement.ts'
import { hashOfStatement } from './statement.ts'

/**
 * Who belongs, as far as this node knows: one era statement, or several different ones of the same number (two admins at once), whose intersection holds.
 * Eras only rise. Persist `statements`; the rest follows from them.
 */
export interface Era {
  readonly number: number
  /** In order of hash; 1 to `eraLimits.maxStatements`. */
  readonly statements: readonly EraStatement[]
  readonly checkN: Uint8Array
  readonly floor: number
  readonly checks: EraBody['checks']
  readonly listed: EraBody['listed']
}

export const eraLimits = {
  /** Different statements of one number: as many admins acting in the same moment. */
  maxStatements: 4,
} as const

/** @throws MalformedBytes unless the statements are of one number, one cluster and one secret of names */
export function eraOf (statements: readonly EraStatement[]): Era {
  const distinct = distinctByHash(statements)
  const [first, ...others] = distinct
  if (first === undefined || distinct.length > eraLimits.maxStatements) throw new MalformedBytes(`an era of ${distinct.length} statements`)
  if (!others.every((other) => other.era === first.era && equals(other.clusterId, first.clusterId) && equals(other.checkN, first.checkN))) throw new MalformedBytes('statements of different eras')
  const inAll = <T>(pick: (statement: EraStatement) => readonly T[], nameOf: (item: T) => string): readonly T[] => {
    const sets = others.map((other) => new Set(pick(other).map(nameOf)))
    return pick(first).filter((item) => sets.every((set) => set.has(nameOf(item))))
  }
  return {
    number: first.era,
    statements: distinct,
    checkN: first.checkN,
    floor: Math.max(...distinct.map(({ floor }) => floor)),
    checks: inAll(({ checks }) => checks, ({ epoch, check }) => `${epoch} ${hexOf(check)}`),
    listed: inAll(({ listed }) => listed, listedName),
  }
}

/** What holds after hearing of another era: the higher one; of equal ones the intersection. Commutative, associative, idempotent. */
export function mergedEra (a: Era, b: Era): Era {
  if (a.number !== b.number) return a.number > b.number ? a : b
  return eraOf([...a.statements, ...b.statements])
}

export const isSameEra = (a: Era, b: Era): boolean =>
  a.number === b.number && a.statements.length === b.statements.length && a.statements.every(({ bytes }, i) => equals(bytes, b.statements[i]?.bytes ?? new Uint8Array(0)))

/** Whether the era lists this statement (H of an admin or member statement) for this subject (a 32-byte key). */
export const isListed = ({ listed }: Era, subject: Uint8Array, statementHash: Uint8Array): boolean =>
  listed.some((entry) => equals(entry.subject, subject) && equals(entry.statementHash, statementHash))

/** Whether every statement of the era comes from the authority, or from an admin that `current`, the era known before, lists or whose statement is of that era. */
export function isEraByRight (era: Era, { clusterId, authority, admins = [], current }: { clusterId: Uint8Array, authority: Uint8Array, admins?: readonly AdminStatement[], current?: Era }): boolean {
  const mayIssue = (key: Uint8Array): boolean => equals(key, authority) || admins.some((admin) =>
    current !== undefined && equals(admin.subject, key) && equals(admin.issuer, authority) && equals(admin.clusterId, clusterId) &&
    (admin.era === current.number || isListed(current, admin.subject, hashOfStatement(admin))))
  return era.statements.every((statement) => equals(statement.clusterId, clusterId) && mayIssue(statement.issuer))
}

const listedName = ({ subject, statementHash }: EraBody['listed'][number]): string => hexOf(concat([subject, statementHash]))

function distinctByHash (statements: readonly EraStatement[]): readonly EraStatement[] {
  const byHash = new Map(statements.map((statement) => [hexOf(hashOfStatement(statement)), statement]))
  return [...byHash.values()].sort((a, b) => compareBytes(hashOfStatement(a), hashOfStatement(b)))
}
