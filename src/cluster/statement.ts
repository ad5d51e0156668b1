import { ByteReader, ByteWriter, compareBytes, concat, equals, MalformedBytes, textOf, utf8 } from '../base/bytes.ts'
import { hash } from '../base/hash.ts'
import { isSignedBy, type SigningKey } from '../base/signature.ts'

/**
 * Signed statements say who belongs to a cluster:
 * `01 | kind u8 | clusterId | u32 era | issuer(32) | subject(32) | u32 n | body(n) | issuer's Ed25519 over "dfs/v1/statement" 00, all before`.
 * A `Statement` that exists has been checked: `parseStatement` refuses what its issuer did not sign. Whether the issuer may say so is for certificate.ts.
 */
export type Statement = AdminStatement | InviteStatement | MemberStatement | EraStatement

/** Bits of the u8 that stands for one role (member statement) or several (invite). */
export const roles = { storage: 1, member: 2, witness: 4 } as const
export type RoleName = keyof typeof roles
export type Role = typeof roles[RoleName]
export const nameOfRole = (role: Role): RoleName => role === roles.storage ? 'storage' : role === roles.member ? 'member' : 'witness'

interface Common {
  /** 16 bytes. */
  readonly clusterId: Uint8Array
  readonly era: number
  /** Ed25519 keys, 32 bytes each. */
  readonly issuer: Uint8Array
  readonly subject: Uint8Array
  /** The whole statement as it travels. */
  readonly bytes: Uint8Array
}
export interface AdminBody { readonly kind: 'admin' }
export interface InviteBody {
  readonly kind: 'invite'
  /** A set of role bits, never empty. */
  readonly roles: number
  /** The one peer's key that may use it; undefined: any. */
  readonly peer: Uint8Array | undefined
  /** Wall-clock ms since the epoch after which a sponsor refuses; undefined: never. */
  readonly notAfterMs: number | undefined
  readonly zone: string
}
export interface MemberBody {
  readonly kind: 'member'
  readonly role: Role
  /** X25519 public key, 32 bytes. */
  readonly kx: Uint8Array
  /** 0 by an invite; raised by an admin's re-issue. */
  readonly serial: number
  readonly zone: string
}
export interface EraBody {
  readonly kind: 'era'
  readonly checkN: Uint8Array
  /** Vote tags of lower epochs are refused. */
  readonly floor: number
  /** Ascending by epoch. */
  readonly checks: ReadonlyArray<{ readonly epoch: number, readonly check: Uint8Array }>
  /** Ascending by subject, then hash. `statementHash` is H of an admin or member statement; one entry may say since when invites are good (`invitesSince`). */
  readonly listed: ReadonlyArray<{ readonly subject: Uint8Array, readonly statementHash: Uint8Array }>
}
export type AdminStatement = Common & AdminBody
export type InviteStatement = Common & InviteBody
export type MemberStatement = Common & MemberBody
export type EraStatement = Common & EraBody
export type StatementBody = AdminBody | InviteBody | MemberBody | EraBody

export const statementLimits = {
  /** A layout names at most 128 members; an era also lists admins and members that are not in the layout. */
  maxListed: 1024,
  /** Epochs begin when someone who could read leaves: seldom. */
  maxChecks: 256,
  /** Of admin, invite and member: 164 fixed, body 41 + a zone of up to 255. */
  maxBytes: 512,
  /** 164 + 38 + 256 checks of 36 + 1,024 listed of 64. */
  maxEraBytes: 164 + 42 + 256 * 36 + 1024 * 64,
} as const

const kinds = { admin: 1, invite: 2, member: 3, era: 4 } as const
const domain = concat([utf8('dfs/v1/statement'), Uint8Array.of(0)])
const zeros = new Uint8Array(32)
const signatureLength = 64
const allRoles = roles.storage | roles.member | roles.witness

/** Signs with the issuer's key. The same input gives the same bytes (RFC 8032). @throws MalformedBytes for what could not be parsed again */
export function signStatement (issuer: SigningKey, { clusterId, era, subject, ...body }: { clusterId: Uint8Array, era: number, subject: Uint8Array } & StatementBody): Statement {
  const head = new ByteWriter().u8(1).u8(kinds[body.kind]).raw(clusterId).u32(era).raw(issuer.publicKey).raw(subject).long(encodeBody(body)).finish()
  return parseStatement(concat([head, issuer.sign(domain, head)]))
}

/** H of the whole statement: what eras list and invites rows remember. */
export const hashOfStatement = (statement: Statement): Uint8Array => hash(statement.bytes)

/** @throws MalformedBytes unless `bytes` are exactly one statement, in its only spelling, signed by its issuer */
export function parseStatement (bytes: Uint8Array): Statement {
  if (bytes.byteLength > statementLimits.maxEraBytes) throw new MalformedBytes(`statement of ${bytes.byteLength} bytes`)
  const own = bytes.slice()
  const reader = new ByteReader(own)
  if (reader.u8() !== 1) throw new MalformedBytes('unknown statement version')
  const kind = reader.u8()
  if (kind !== kinds.era && own.byteLength > statementLimits.maxBytes) throw new MalformedBytes(`statement of ${bytes.byteLength} bytes`)
  const [clusterId, era, issuer, subject] = [reader.raw(16), reader.u32(), reader.raw(32), reader.raw(32)]
  const body = parseBody(kind, reader.long(statementLimits.maxEraBytes))
  const signed = own.subarray(0, reader.offset)
  const signature = reader.raw(signatureLength)
  reader.end()
  if (era === 0) throw new MalformedBytes('eras count from 1')
  if (body.kind === 'era' && !equals(subject, zeros)) throw new MalformedBytes('an era has no subject')
  if (body.kind !== 'era' && isNobody(subject)) throw new MalformedBytes('a subject that is nobody\'s key')
  if (!isSignedBySafely(issuer, signature, signed)) throw new MalformedBytes('statement not signed by its issuer')
  return { clusterId, era, issuer, subject, bytes: own, ...body }
}

/**
 * What an era lists that is no member and no admin stands under 28 zeros and a number. No subject may begin so: two such keys are points of low order, with
 * which anybody can sign, and one of them listed would be read as a number.
 */
export const isNobody = (subject: Uint8Array): boolean => equals(subject.subarray(0, nobodyHead.byteLength), nobodyHead)
export const nobodyHead = new Uint8Array(28)

/** As parseStatement, for one kind. @throws MalformedBytes */
export function parseStatementOf<K extends Statement['kind']> (kind: K, bytes: Uint8Array): Extract<Statement, { kind: K }> {
  const statement = parseStatement(bytes)
  if (statement.kind !== kind) throw new MalformedBytes(`${statement.kind} statement where ${kind} belongs`)
  return statement as Extract<Statement, { kind: K }>
}

// OpenSSL throws on a few keys it cannot decode; such a signature is simply not one
function isSignedBySafely (issuer: Uint8Array, signature: Uint8Array, signed: Uint8Array): boolean {
  try { return isSignedBy(issuer, signature, domain, signed) } catch { return false }
}

function encodeBody (body: StatementBody): Uint8Array {
  const writer = new ByteWriter()
  switch (body.kind) {
    case 'admin': return writer.finish()
    case 'invite': return writer.u8(body.roles).raw(body.peer ?? zeros).u64(body.notAfterMs ?? 0).short(utf8(body.zone)).finish()
    case 'member': return writer.u8(body.role).raw(body.kx).u32(body.serial).short(utf8(body.zone)).finish()
    case 'era': {
      writer.raw(body.checkN).u32(body.floor).u16(body.checks.length)
      for (const { epoch, check } of [...body.checks].sort((a, b) => a.epoch - b.epoch)) writer.u32(epoch).raw(check)
      writer.u32(body.listed.length)
      for (const { subject, statementHash } of [...body.listed].sort(compareListed)) writer.raw(subject).raw(statementHash)
      return writer.finish()
    }
  }
}

function parseBody (kind: number, bytes: Uint8Array): StatementBody {
  const reader = new ByteReader(bytes)
  const body = kind === kinds.admin ? { kind: 'admin' } as const
    : kind === kinds.invite ? parseInvite(reader)
    : kind === kinds.member ? parseMember(reader)
    : kind === kinds.era ? parseEra(reader) : undefined
  if (body === undefined) throw new MalformedBytes(`unknown kind of statement: ${kind}`)
  reader.end()
  return body
}

function parseInvite (reader: ByteReader): InviteBody {
  const [roleBits, peer, notAfter, zone] = [reader.u8(), reader.raw(32), reader.u64(), zoneOf(reader.short())]
  if (roleBits === 0 || (roleBits & ~allRoles) !== 0) throw new MalformedBytes(`unknown roles: ${roleBits}`)
  if (notAfter > BigInt(Number.MAX_SAFE_INTEGER)) throw new MalformedBytes('date beyond any clock')
  return { kind: 'invite', roles: roleBits, peer: equals(peer, zeros) ? undefined : peer, notAfterMs: notAfter === 0n ? undefined : Number(notAfter), zone }
}

function parseMember (reader: ByteReader): MemberBody {
  const [role, kx, serial, zone] = [reader.u8(), reader.raw(32), reader.u32(), zoneOf(reader.short())]
  if (role !== roles.storage && role !== roles.member && role !== roles.witness) throw new MalformedBytes(`not one role: ${role}`)
  return { kind: 'member', role, kx, serial, zone }
}

function parseEra (reader: ByteReader): EraBody {
  const [checkN, floor] = [reader.raw(32), reader.u32()]
  const checks = Array.from({ length: atMost(reader.u16(), statementLimits.maxChecks) }, () => ({ epoch: reader.u32(), check: reader.raw(32) }))
  const listed = Array.from({ length: atMost(reader.u32(), statementLimits.maxListed) }, () => ({ subject: reader.raw(32), statementHash: reader.raw(32) }))
  if (!isAscending(checks, (a, b) => a.epoch - b.epoch) || !isAscending(listed, compareListed)) throw new MalformedBytes('lists of an era ascend')
  return { kind: 'era', checkN, floor, checks, listed }
}

function zoneOf (bytes: Uint8Array): string {
  try { return textOf(bytes) } catch (cause) { throw new MalformedBytes('a zone is UTF-8', { cause }) }
}

function atMost (count: number, limit: number): number {
  if (count > limit) throw new MalformedBytes(`${count} entries exceed ${limit}`)
  return count
}

const compareListed = (a: EraBody['listed'][number], b: EraBody['listed'][number]): number =>
  compareBytes(a.subject, b.subject) || compareBytes(a.statementHash, b.statementHash)

const isAscending = <T>(items: readonly T[], compare: (a: T, b: T) => number): boolean =>
  items.every((item, i) => i === 0 || compare(items[i - 1] as T, item) < 0)
