import { ByteReader, ByteWriter, equals, MalformedBytes } from '../base/bytes.ts'
import { type Era, invitesSince, isListed } from './era.ts'
import { type AdminStatement, hashOfStatement, type InviteStatement, type MemberStatement, parseStatement, parseStatementOf, type Statement, statementLimits } from './statement.ts'

/** Why a peer is a member: [admin] [invite] member, each signed by the subject of the one before, the first by the authority. It does not expire. */
export interface Certificate {
  readonly admin: AdminStatement | undefined
  readonly invite: InviteStatement | undefined
  readonly member: MemberStatement
}

export interface Trust {
  readonly clusterId: Uint8Array
  /** The authority's Ed25519 key, 32 bytes. */
  readonly authority: Uint8Array
  readonly era: Era
  /** H of the member statement in the members row; undefined: no such row. 'unchecked' only where rows cannot be read yet: a joiner looking at its sponsor. */
  readonly memberRowHash: Uint8Array | undefined | 'unchecked'
}

export type Verdict = { readonly isValid: true } | { readonly isValid: false, readonly why: string }

/** Whether the member statement stands in the era: then the members row need not be asked. */
export const isInEra = ({ member }: Certificate, era: Era): boolean => isListed(era, member.subject, hashOfStatement(member))

/**
 * Valid: the member statement's H stands in the current era; or the era lists the admin's, the others carry the current era, or one since which nobody was put out, kinds and
 * roles follow, none is of an earlier era than the one before, the chain ends at the authority, and the members row agrees. Pure; signatures were checked when the statements were parsed.
 */
export function verdictOf (certificate: Certificate, { clusterId, authority, era, memberRowHash }: Trust): Verdict {
  const { admin, invite, member } = certificate
  const statements = statementsOf(certificate)
  if (!statements.every((statement) => equals(statement.clusterId, clusterId))) return invalid('of another cluster')
  if (isInEra(certificate, era)) return valid
  if (!statements.every((statement) => isOfEra(statement, era))) return invalid(`not of era ${era.number}, nor listed in it`)
  const chain = chainVerdict(certificate, authority)
  if (!chain.isValid) return chain
  if (!equals(member.issuer, invite?.subject ?? admin?.subject ?? authority)) return invalid('member statement by nobody in the chain')
  if (invite !== undefined) {
    const use = useVerdict(invite, member)
    if (!use.isValid) return use
  }
  if (memberRowHash === 'unchecked') return valid
  return memberRowHash !== undefined && equals(memberRowHash, hashOfStatement(member)) ? valid : invalid('the members row does not agree')
}

/** Whether an invite chain, without anyone having used it, is good in this era. */
export function inviteVerdict ({ admin, invite }: { admin: AdminStatement | undefined, invite: InviteStatement }, { clusterId, authority, era }: Omit<Trust, 'memberRowHash'>): Verdict {
  const statements: readonly Statement[] = admin === undefined ? [invite] : [admin, invite]
  if (!statements.every((statement) => equals(statement.clusterId, clusterId))) return invalid('of another cluster')
  if (admin !== undefined && !isOfEra(admin, era)) return invalid('who made the invite is no admin any more: ask for a new one')
  if (!isOfEra(invite, era)) return invalid(`the invite is of era ${invite.era}, and invites from before era ${invitesSince(era)} are good no more: ask for a new one`)
  return chainVerdict({ admin, invite }, authority)
}

// an admin stays one over eras for as long as they list it; invites, and members by them, until an era puts somebody out, or they are listed themselves
const isOfEra = (statement: Statement, era: Era): boolean =>
  statement.kind === 'admin' ? isListed(era, statement.subject, hashOfStatement(statement)) : statement.era <= era.number && statement.era >= invitesSince(era)

/** Whether this member statement keeps to what its invite allows. */
export function useVerdict (invite: InviteStatement, member: MemberStatement): Verdict {
  if (!equals(member.issuer, invite.subject)) return invalid('not signed with the invite')
  if (member.era !== invite.era) return invalid('a member statement is of the era of its invite')
  if ((invite.roles & member.role) === 0) return invalid('the invite is not for this role')
  if (invite.peer !== undefined && !equals(invite.peer, member.subject)) return invalid('the invite is bound to another peer')
  if (member.serial !== 0) return invalid('a member statement by an invite has serial 0')
  return member.zone === invite.zone || invite.zone === '' ? valid : invalid(`the invite is for zone ${invite.zone}`)
}

export const statementsOf = ({ admin, invite, member }: Certificate): readonly Statement[] => [admin, invite, member].filter((statement) => statement !== undefined)

/** `u8 count | count × (u16 length, statement)`, in the order admin, invite, member. */
export const encodeCertificate = (certificate: Certificate): Uint8Array => encodeStatements(statementsOf(certificate))

export function encodeStatements (statements: readonly Statement[]): Uint8Array {
  const writer = new ByteWriter().u8(statements.length)
  for (const { bytes } of statements) writer.u16(bytes.byteLength).raw(bytes)
  return writer.finish()
}

/** @throws MalformedBytes unless one certificate stands at the reader, every statement signed by its issuer */
export function readCertificate (reader: ByteReader): Certificate {
  const parts = readStatementBytes(reader)
  const last = parts.pop()
  if (last === undefined) throw new MalformedBytes('an empty certificate')
  return { ...readLinks(parts.map(parseStatement)), member: parseStatementOf('member', last) }
}

/** The statements of an unused invite. @throws MalformedBytes */
export function readInvite (reader: ByteReader): { admin: AdminStatement | undefined, invite: InviteStatement } {
  const { admin, invite } = readLinks(readStatementBytes(reader).map(parseStatement))
  if (invite === undefined) throw new MalformedBytes('no invite in the chain')
  return { admin, invite }
}

/** @throws MalformedBytes */
export function parseCertificate (bytes: Uint8Array): Certificate {
  const reader = new ByteReader(bytes)
  const certificate = readCertificate(reader)
  reader.end()
  return certificate
}

export const certificateLimits = {
  /** Admin, invite, member. */
  maxStatements: 3,
  maxBytes: 1 + 3 * (2 + statementLimits.maxBytes),
} as const

function readStatementBytes (reader: ByteReader): Uint8Array[] {
  const count = reader.u8()
  if (count > certificateLimits.maxStatements) throw new MalformedBytes(`a chain of ${count} statements`)
  return Array.from({ length: count }, () => {
    const length = reader.u16()
    if (length > statementLimits.maxBytes) throw new MalformedBytes(`a chain with a statement of ${length} bytes`)
    return reader.raw(length)
  })
}

function readLinks (statements: readonly Statement[]): { admin: AdminStatement | undefined, invite: InviteStatement | undefined } {
  const admin = statements.find((statement) => statement.kind === 'admin')
  const invite = statements.find((statement) => statement.kind === 'invite')
  const inOrder = [admin, invite].filter((statement) => statement !== undefined)
  if (inOrder.length !== statements.length || !inOrder.every((statement, i) => statement === statements[i])) throw new MalformedBytes('a chain is [admin] [invite] member')
  return { admin, invite }
}

function chainVerdict ({ admin, invite, member }: Pick<Certificate, 'admin' | 'invite'> & { readonly member?: MemberStatement }, authority: Uint8Array): Verdict {
  if (admin !== undefined && !equals(admin.issuer, authority)) return invalid('the chain does not end at the authority')
  // of one that was an admin before, and was made one again
  if (admin !== undefined && (invite ?? member ?? admin).era < admin.era) return invalid('older than the admin\'s statement')
  if (invite !== undefined && !equals(invite.issuer, admin?.subject ?? authority)) return invalid('the invite is by nobody in the chain')
  return valid
}

const valid: Verdict = { isValid: true }
const invalid = (why: string): Verdict => ({ isValid: false, why })
