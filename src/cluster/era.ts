import { ByteReader, ByteWriter, compareBytes, concat, equals, hexOf, MalformedBytes } from '../base/bytes.ts'
import { Refused } from '../base/errors.ts'
import { hash } from '../base/hash.ts'
import type { SigningKey } from '../base/signature.ts'
import { type AdminStatement, type EraBody, type EraStatement, hashOfStatement, isNobody, type MemberStatement, nobodyHead, parseStatement, signStatement, type Statement, statementLimits } from './statement.ts'

/**
 * Who belongs, as far as this node knows: one era statement, or several different ones of the same number (two admins at once), whose intersection holds.
 * Eras only rise. With it come the statements of the admins that it lists, and of those that signed it, so that whoever has the era knows who may follow it
 * with another. Persist `statementsOfEra`; the rest follows from them.
 */
export interface Era {
  readonly number: number
  /** In order of hash; 1 to `eraLimits.maxStatements`. */
  readonly statements: readonly EraStatement[]
  /** In order of hash. Whether the authority signed them is for `isEraByRight`. */
  readonly admins: readonly AdminStatement[]
  readonly checkN: Uint8Array
  readonly floor: number
  readonly checks: EraBody['checks']
  readonly listed: EraBody['listed']
}

export const eraLimits = {
  /** Different statements of one number: as many admins acting in the same moment. */
  maxStatements: 4,
  /** Admins beside the authority. */
  maxAdmins: 16,
  /** Of an era statement, so that it fits a row of 64 KiB with its admins, ballot and signature. Some 900 members. */
  maxRowBytes: 60 * 1024,
} as const

/** @throws MalformedBytes unless the era statements are of one number, one cluster and one secret of names, and the admin statements go with them */
export function eraOf (given: ReadonlyArray<EraStatement | AdminStatement>): Era {
  const statements = distinctByHash(given.filter((statement) => statement.kind === 'era'))
  const admins = distinctByHash(given.filter((statement) => statement.kind === 'admin'))
  const [first, ...others] = statements
  if (first === undefined || statements.length > eraLimits.maxStatements) throw new MalformedBytes(`an era of ${statements.length} statements`)
  if (!others.every((other) => other.era === first.era && equals(other.clusterId, first.clusterId) && equals(other.checkN, first.checkN))) throw new MalformedBytes('statements of different eras')
  const inAll = <T>(pick: (statement: EraStatement) => readonly T[], nameOf: (item: T) => string): readonly T[] => {
    const sets = others.map((other) => new Set(pick(other).map(nameOf)))
    return pick(first).filter((item) => sets.every((set) => set.has(nameOf(item))))
  }
  const listed = inAll((statement) => statement.listed, listedName)
  const isOfUse = (admin: AdminStatement): boolean =>
    statements.some(({ issuer }) => equals(issuer, admin.subject)) || isListed({ listed }, admin.subject, hashOfStatement(admin))
  return {
    number: first.era,
    statements,
    admins: admins.filter(isOfUse).slice(0, eraLimits.maxAdmins + eraLimits.maxStatements),
    checkN: first.checkN,
    floor: Math.max(...statements.map(({ floor }) => floor)),
    checks: inAll(({ checks }) => checks, ({ epoch, check }) => `${epoch} ${hexOf(check)}`),
    listed,
  }
}

/** What holds after hearing of another era: the higher one; of equal ones the intersection. Commutative, associative, idempotent. */
export function mergedEra (a: Era, b: Era): Era {
  if (a.number !== b.number) return a.number > b.number ? a : b
  return eraOf([...statementsOfEra(a), ...statementsOfEra(b)])
}

export const isSameEra = (a: Pick<Era, 'number' | 'statements'>, b: Pick<Era, 'number' | 'statements'>): boolean =>
  a.number === b.number && a.statements.length === b.statements.length && a.statements.every(({ bytes }, i) => equals(bytes, b.statements[i]?.bytes ?? new Uint8Array(0)))

/** Whether the era lists this statement (H of an admin or member statement) for this subject (a 32-byte key). */
export const isListed = ({ listed }: Pick<Era, 'listed'>, subject: Uint8Array, statementHash: Uint8Array): boolean =>
  listed.some((entry) => equals(entry.subject, subject) && equals(entry.statementHash, statementHash))

/**
 * The first era whose invites are good in this one: this one itself, unless eras that put nobody out have begun since. Whoever joined by such an invite is a
 * member by its chain until an era lists it.
 */
export function invitesSince ({ number, listed }: Pick<Era, 'number' | 'listed'>): number {
  const kept = listed.findLast(isSince)
  return kept === undefined ? number : Math.min(number, sinceIn(kept))
}

/** The epoch in which this era has members seal. */
export const newestEpochOf = ({ checks }: Pick<Era, 'checks'>): number => checks.reduce((newest, { epoch }) => Math.max(newest, epoch), 0)

interface Rule { readonly clusterId: Uint8Array, readonly authority: Uint8Array }

/**
 * Whether every statement of the era comes from the authority, or from a key that the authority once made an admin. Of an admin's era that is not enough
 * to believe it: who was removed still has the key, and whether it stood when it signed is told by the era before (`mayFollow`) or by a majority's row.
 */
export function isEraByRight (era: Era, { clusterId, authority }: Rule): boolean {
  const mayIssue = (key: Uint8Array): boolean => equals(key, authority) || era.admins.some((admin) => equals(admin.subject, key) && isAdminByRight(admin, { clusterId, authority }))
  return era.statements.every((statement) => equals(statement.clusterId, clusterId) && mayIssue(statement.issuer))
}

/** Whether the authority itself has signed all of it: then nobody need be asked. */
export const isByAuthority = ({ statements }: Era, authority: Uint8Array): boolean => statements.every(({ issuer }) => equals(issuer, authority))

/** The admins that stand in an era: listed by it and made by the authority. */
export const adminsOf = (era: Era, rule: Rule): readonly AdminStatement[] =>
  era.admins.filter((admin) => isAdminByRight(admin, rule) && isListed(era, admin.subject, hashOfStatement(admin)))

/** Whether `next` may stand where `previous` stood: it is of no lower number and by the authority, or an admin that stands in `previous`; or it is the same. */
export function mayFollow (previous: Era, next: Era, rule: Rule): boolean {
  if (isSameEra(previous, next)) return true
  const mayIssue = (key: Uint8Array): boolean => equals(key, rule.authority) || adminsOf(previous, rule).some(({ subject }) => equals(subject, key))
  return next.number >= previous.number && isEraByRight(next, rule) && next.statements.every(({ issuer }) => mayIssue(issuer))
}

const isAdminByRight = (admin: AdminStatement, { clusterId, authority }: Rule): boolean => equals(admin.issuer, authority) && equals(admin.clusterId, clusterId)

export interface EraChange {
  /** The authority, or an admin that stands in the era before. */
  readonly signer: SigningKey
  /** Everybody who belongs from then on. */
  readonly listed: ReadonlyArray<AdminStatement | MemberStatement>
  /** Of the epoch that begins with it. */
  readonly newEpoch?: { readonly epoch: number, readonly check: Uint8Array }
  readonly floor?: number
  /** Nobody is put out: what invites are good before are good in it. */
  readonly keepsInvites?: boolean
}

/** The era after this one. @throws Refused for more than a row can hold */
export function eraAfter (current: Era, { signer, listed, newEpoch, floor = current.floor, keepsInvites = false }: EraChange): Era {
  const clusterId = (current.statements[0] as EraStatement).clusterId
  const checks = newEpoch === undefined ? current.checks : [...current.checks, newEpoch]
  const entries = [
    ...listed.map((statement) => ({ subject: statement.subject, statementHash: hashOfStatement(statement) })),
    ...keepsInvites ? [current.listed.findLast(isSince) ?? sinceEntry(current)] : [],
  ]
  const admins = listed.filter((statement) => statement.kind === 'admin')
  if (admins.length > eraLimits.maxAdmins) throw new Refused(`a cluster has at most ${eraLimits.maxAdmins} admins beside the authority`)
  if (entries.length > statementLimits.maxListed || checks.length > statementLimits.maxChecks) throw new Refused('more members or epochs than an era can list')
  const body = { kind: 'era', checkN: current.checkN, floor, checks, listed: entries } as const
  const statement = signStatement(signer, { clusterId, era: current.number + 1, subject: new Uint8Array(32), ...body }) as EraStatement
  if (statement.bytes.byteLength > eraLimits.maxRowBytes) throw new Refused('more members than a row that lists them can hold')
  // one that takes itself out signs for the last time
  const signers = current.admins.filter(({ subject }) => equals(subject, signer.publicKey))
  return eraOf([statement, ...admins, ...signers])
}

export const statementsOfEra = ({ statements, admins }: Era): ReadonlyArray<EraStatement | AdminStatement> => [...statements, ...admins]

/** `u8 n, n × (u32, st)`: 1 to 4 era statements, then the admin statements that go with them. */
export function writeEra (writer: ByteWriter, era: Era): ByteWriter {
  const statements = statementsOfEra(era)
  writer.u8(statements.length)
  for (const { bytes } of statements) writer.long(bytes)
  return writer
}

/** @throws MalformedBytes */
export function readEra (reader: ByteReader): Era {
  const count = reader.u8()
  if (count > eraLimits.maxStatements * 2 + eraLimits.maxAdmins) throw new MalformedBytes(`an era of ${count} statements`)
  return eraOf(Array.from({ length: count }, () => eraPartOf(parseStatement(reader.long(statementLimits.maxEraBytes)))))
}

export const encodeEra = (era: Era): Uint8Array => writeEra(new ByteWriter(), era).finish()

/** @throws MalformedBytes */
export function parseEra (bytes: Uint8Array): Era {
  const reader = new ByteReader(bytes)
  const era = readEra(reader)
  reader.end()
  return era
}

/** @throws MalformedBytes */
export function eraPartOf (statement: Statement): EraStatement | AdminStatement {
  if (statement.kind !== 'era' && statement.kind !== 'admin') throw new MalformedBytes(`${statement.kind} statement in an era`)
  return statement
}

/**
 * That invites are kept stands among what an era lists, so that the intersection of two eras keeps what both do: zeros and the number of the first era whose
 * invites are good, which is nobody's key, and H of that era's statements, for on two sides of a partition there may be two of one number.
 */
const sinceEntry = ({ number, statements }: Era): EraBody['listed'][number] =>
  ({ subject: new ByteWriter().raw(nobodyHead).u32(number).finish(), statementHash: hash(concat(statements.map(({ bytes }) => bytes))) })
const isSince = ({ subject }: EraBody['listed'][number]): boolean => isNobody(subject)
const sinceIn = ({ subject }: EraBody['listed'][number]): number => new ByteReader(subject.subarray(nobodyHead.byteLength)).u32()

const listedName = ({ subject, statementHash }: EraBody['listed'][number]): string => hexOf(concat([subject, statementHash]))

function distinctByHash<S extends Statement> (statements: readonly S[]): readonly S[] {
  const byHash = new Map(statements.map((statement) => [hexOf(hashOfStatement(statement)), statement]))
  return [...byHash.values()].sort((a, b) => compareBytes(hashOfStatement(a), hashOfStatement(b)))
}
