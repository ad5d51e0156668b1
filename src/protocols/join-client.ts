import { equals, MalformedBytes } from '../base/bytes.ts'
import { Refused } from '../base/errors.ts'
import { keyOf, type PeerId } from '../base/peer-id.ts'
import { signingKeyOf } from '../base/signature.ts'
import { type Certificate, describeMember, type Era, type InviteToken, isEraByRight, isSameEra, type Layout, type MemberRow, type MemberStatement, mergedEra, parseLayout, parseMemberRow, type Role, roles, signStatement, useVerdict, verdictOf } from '../cluster/index.ts'
import type { Requests } from '../network/index.ts'
import { encodeJoinRequest, joinId, joinLimits, parseAskAnswer, parseJoinAnswer } from './join-messages.ts'
import type { Credentials } from './membership.ts'

/** What the joining node brings. */
export interface Joiner<Ring> {
  readonly peer: PeerId
  readonly token: InviteToken
  readonly role: Role
  /** X25519 public key, 32 bytes: the ring comes sealed to it. */
  readonly kx: Uint8Array
  /** Used when the invite names no zone. */
  readonly zone: string
  readonly capacityBytes: number
  readonly addresses: readonly Uint8Array[]
  /** Id of the row store made for this cluster, 16 bytes; undefined for `storage`. */
  readonly storeId: Uint8Array | undefined
  /** Opens the box and checks N and every secret against the era's check_N and check_e. @throws Corrupt or MalformedBytes if they do not agree */
  openRing (box: Uint8Array, era: Era): Ring | Promise<Ring>
}

/** Everything verified against the token's authority. Nothing is on disk yet. */
export interface Joined<Ring> {
  readonly certificate: Certificate
  readonly era: Era
  readonly members: readonly MemberRow[]
  readonly layout: Layout
  /** Undefined unless the role is `member`. */
  readonly ring: Ring | undefined
}

/**
 * Joins by the sponsor, which must be reachable over `requests`. Repeating it with the same arguments, after a lost answer or a crash, gives the same
 * membership. @throws RequestRefused (the sponsor's reason), Refused (the sponsor is not to be trusted), PeerUnreachable (try the token's next address)
 */
export async function joinCluster<Ring> (requests: Requests, sponsor: PeerId, joiner: Joiner<Ring>, { signal }: { signal?: AbortSignal } = {}): Promise<Joined<Ring>> {
  const { token: { admin, invite } } = joiner
  const asked = await requests.request(sponsor, joinId, [encodeJoinRequest({ kind: 'ask', admin, invite })], { signal, timeoutMs: joinLimits.timeoutMs, maxAnswerBytes: joinLimits.maxAskAnswerBytes })
  const credentials = readable(() => parseAskAnswer(asked))
  demandSponsor(sponsor, credentials, joiner.token)
  const certificate: Certificate = { admin, invite, member: memberStatementOf(joiner) }
  const use = useVerdict(invite, certificate.member)
  if (!use.isValid) throw new Refused(use.why)
  const { capacityBytes, addresses, storeId } = joiner
  const body = encodeJoinRequest({ kind: 'join', certificate, capacityBytes, addresses, storeId })
  const answered = await requests.request(sponsor, joinId, [body], { signal, timeoutMs: joinLimits.timeoutMs, maxAnswerBytes: joinLimits.maxAnswerBytes })
  return accepted(answered, { joiner, shown: credentials.era })
}

// the same keys and the same token give the same statement, byte for byte: that is what makes a join repeatable
function memberStatementOf ({ peer, token: { clusterId, seed, invite }, role, kx, zone }: Joiner<unknown>): MemberStatement {
  const body = { kind: 'member', role, kx, serial: 0, zone: invite.zone === '' ? zone : invite.zone } as const
  return signStatement(signingKeyOf(seed), { clusterId, era: invite.era, subject: keyOf(peer), ...body }) as MemberStatement
}

function demandSponsor (sponsor: PeerId, { certificate, era }: Credentials, { clusterId, authority }: InviteToken): void {
  if (!equals(certificate.member.subject, keyOf(sponsor))) throw new Refused('the sponsor shows the certificate of another peer')
  demandEra(era, { clusterId, authority })
  const verdict = verdictOf(certificate, { clusterId, authority, era, memberRowHash: 'unchecked' })
  if (!verdict.isValid) throw new Refused(`the sponsor is not a member: ${verdict.why}`)
  if (certificate.member.role !== roles.member) throw new Refused('the sponsor is not of role member')
}

function demandEra (era: Era, trust: Pick<InviteToken, 'clusterId' | 'authority'>): void {
  if (!isEraByRight(era, trust)) throw new Refused('the era is not signed by the authority of the invite')
}

async function accepted<Ring> (bytes: Uint8Array, { joiner, shown }: { joiner: Joiner<Ring>, shown: Era }): Promise<Joined<Ring>> {
  const { clusterId, authority } = joiner.token
  const { era, memberRows, layout, box } = readable(() => parseJoinAnswer(bytes))
  demandEra(era, { clusterId, authority })
  if (!isSameEra(mergedEra(shown, era), era)) throw new Refused('the era fell while joining')
  const members = memberRows.map((row) => readable(() => parseMemberRow(row))).filter((row) =>
    verdictOf(row.certificate, { clusterId, authority, era, memberRowHash: 'unchecked' }).isValid)
  // one that joined by another invite, and did not hear of it, is what it became by that
  const own = members.find((row) => describeMember(row).peerId === joiner.peer && row.certificate.member.role === joiner.role && equals(row.certificate.member.kx, joiner.kx))
  if (own === undefined) throw new Refused('the sponsor did not write our members row')
  if (joiner.role === roles.member && box === undefined) throw new Refused('the sponsor sent no keys')
  const ring = joiner.role === roles.member && box !== undefined ? await joiner.openRing(box, era) : undefined
  return { certificate: own.certificate, era, members, layout: readable(() => parseLayout(layout)), ring }
}

function readable<T> (read: () => T): T {
  try { return read() } catch (cause) {
    if (cause instanceof MalformedBytes) throw new Refused('the sponsor sent what cannot be read', { cause })
    throw cause
  }
}
