import { empty, equals, MalformedBytes } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { Refused, Unavailable } from '../base/errors.ts'
import { keyOf, type PeerId } from '../base/peer-id.ts'
import { type Certificate, checkLayoutMembers, clusterRowKeys, encodeInviteRow, encodeMemberRow, type Era, hashOfStatement, type InviteStatement, inviteVerdict, isInEra, isListed, layoutMemberOf, type MemberRow, parseInviteRow, parseLayout, parseMemberRow, roles, type Trust, useVerdict, type Verdict, verdictOf } from '../cluster/index.ts'
import type { Requests } from '../network/index.ts'
import { type Registers, type RowAddress, tables } from '../tables/index.ts'
import { KeyedQueue } from '../base/keyed-queue.ts'
import { encodeAskAnswer, encodeJoinAnswer, joinId, joinLimits, type JoinRequest, parseJoinRequest } from './join-messages.ts'

/** What a node needs to let others in. Only a `member` sponsors: nobody else can hand on the keys. */
export interface Sponsor {
  readonly clusterId: Uint8Array
  readonly authority: Uint8Array
  /** This node's own. */
  certificate (): Certificate
  era (): Era
  /** When it resolves, `era` is what a majority of voters has, or a later one. @throws Unavailable */
  hearEra (options: { signal: AbortSignal }): Promise<void>
  readonly registers: Registers
  /** Every members row as it stands in the table. */
  memberRows (options: { signal: AbortSignal }): Promise<readonly Uint8Array[]>
  /** Seals the ring of an era to a joiner's kx: the `box` of the format. */
  sealRing (to: { readonly kx: Uint8Array, readonly era: number, readonly of: Era }): Uint8Array | Promise<Uint8Array>
  readonly clock: Clock
  /** The peer has shown an invite that is valid: while rows are asked about it, it must not be cut off as a stranger. */
  vouched? (peer: PeerId, ms: number): void
  /** The peer is a member now: its row is chosen. */
  joined? (peer: PeerId): void
}

/**
 * Serves /dfs/join. Every refusal says why: who asks holds an invite, or is told only that the request cannot be read. One joins after the other, so that
 * two do not take the last place in the layout here; of two who take it at two sponsors, settling leaves one out (`fittingMembers`).
 */
export function joinProtocol (sponsor: Sponsor): { register (requests: Requests): Promise<void> } {
  const queue = new KeyedQueue()
  return {
    register: (requests) => requests.handle(joinId, async (peer, body, { signal }) => [await queue.run('join', async () => answer(sponsor, peer, body, signal))],
      { maxRequestBytes: joinLimits.maxRequestBytes, maxConcurrent: joinLimits.maxConcurrent, strangers: true }),
  }
}

async function answer (sponsor: Sponsor, peer: PeerId, body: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
  const request = readRequest(body)
  if (sponsor.certificate().member.role !== roles.member) throw new Refused('this node cannot sponsor: ask a member')
  if (request.kind === 'join') return join(sponsor, peer, request, signal)
  const verdict = inviteVerdict(request, trustOf(sponsor, 'unchecked'))
  if (!verdict.isValid && !await hasBroughtIn(sponsor, peer, request, signal)) demand(verdict)
  return encodeAskAnswer({ certificate: sponsor.certificate(), era: sponsor.era() })
}

function readRequest (body: Uint8Array): ReturnType<typeof parseJoinRequest> {
  try { return parseJoinRequest(body) } catch (cause) { throw new Refused('not a request to join', { cause }) }
}

async function join (sponsor: Sponsor, peer: PeerId, request: JoinRequest, signal: AbortSignal): Promise<Uint8Array> {
  const { certificate } = request
  const era = sponsor.era()
  const invite = await checked(sponsor, peer, certificate, signal)
  sponsor.vouched?.(peer, joinLimits.timeoutMs)
  const { isRepeated, isInLayout } = await placeFor(sponsor, peer, request, signal)
  const standing = await standingOf(sponsor, certificate, signal)
  if (standing === undefined) {
    await useInvite(sponsor, { invite, certificate }, signal)
    await writeMember(sponsor, request, { isInLayout, signal })
  }
  await demandInEra(sponsor, standing ?? certificate, { admin: certificate.admin, invite }, signal)
  // once more: who closed the layout meanwhile may have counted the members without this one
  const { layout, memberRows } = await placeFor(sponsor, peer, request, signal, { isRepeated })
  if (standing !== undefined) await takePlaces(sponsor, memberRows, { invite, heir: standing.member.subject }, signal)
  sponsor.joined?.(peer)
  const { role, kx } = certificate.member
  // of the era that its invite was looked at in: one that has begun since may have begun to keep its keys from this very one
  const box = role === roles.member ? await sponsor.sealRing({ kx, era: era.number, of: era }) : undefined
  return encodeJoinAnswer({ era, memberRows, layout, box })
}

// nearly all of it can be said without reading a row
async function checked (sponsor: Sponsor, peer: PeerId, certificate: Certificate, signal: AbortSignal): Promise<InviteStatement> {
  const { admin, invite, member } = certificate
  const trust = trustOf(sponsor, 'unchecked')
  if (invite === undefined) throw new Refused('joining needs an invite')
  if (!equals(member.subject, keyOf(peer))) throw new Refused('the member statement is about another peer')
  // it is shown to people, in lines
  if (/[\p{C}\p{Zl}\p{Zp}]/u.test(member.zone)) throw new Refused('a zone is named in letters and signs that can be seen')
  // it is a member already, and only was not told: its invite has done what it was for, whatever is said of it now
  const isMember = isInEra(certificate, trust.era)
  demand(isMember ? verdictThen(sponsor, { admin, invite }) : inviteVerdict({ admin, invite }, trust))
  demand(useVerdict(invite, member))
  if (isMember) return invite
  demand(verdictOf(certificate, trust))
  const isExpired = invite.notAfterMs !== undefined && sponsor.clock.wallMs() > invite.notAfterMs
  if (isExpired && !equals(await userOf(sponsor, invite, signal), hashOfStatement(member))) throw new Refused('the invite has expired')
  return invite
}

/** Who has made an era meanwhile may have looked who joins before this row was there: then nobody would let it in, though it was told that it has joined. */
async function demandInEra (sponsor: Sponsor, certificate: Certificate, shown: Parameters<typeof inviteVerdict>[0], signal: AbortSignal): Promise<void> {
  await sponsor.hearEra({ signal })
  const trust = trustOf(sponsor, hashOfStatement(certificate.member))
  const verdict = verdictOf(certificate, trust)
  if (!verdict.isValid) demand(inviteVerdict(shown, trust))
  demand(verdict)
}

/**
 * As what this peer, with these keys, is a member already: it came by another invite, did not hear of it, and whoever made that one may be gone. Its row stays as it is: were it written anew, a sponsor that stood
 * still over the first join could write the first over that, and what the joiner has on its disk would not be what its row says.
 */
async function standingOf (sponsor: Sponsor, { member }: Certificate, signal: AbortSignal): Promise<Certificate | undefined> {
  const value = await sponsor.registers.read(addressOf(tables.members, member.subject), { signal })
  if (value === undefined) return undefined
  const { certificate } = parseMemberRow(value)
  const standingHash = hashOfStatement(certificate.member)
  const isOther = !equals(standingHash, hashOfStatement(member))
  const isOfItsKeys = certificate.member.role === member.role && equals(certificate.member.kx, member.kx)
  return isOther && isOfItsKeys && verdictOf(certificate, trustOf(sponsor, standingHash)).isValid ? certificate : undefined
}

/** Whose place the user of this invite is to take, if it can be used: it goes by the heir's key from now on, for no row of this invite will be there. */
async function takePlaces ({ registers }: Sponsor, memberRows: readonly Uint8Array[], { invite, heir }: { readonly invite: InviteStatement, readonly heir: Uint8Array }, signal: AbortSignal): Promise<void> {
  const isLeft = ({ heir: of, certificate: { member } }: MemberRow): boolean => of !== undefined && equals(of, invite.subject) && !equals(member.subject, heir)
  const left = memberRows.map((row) => parseMemberRow(row)).filter(isLeft)
  if (left.length === 0 || await registers.read(addressOf(tables.invites, invite.subject), { signal }) !== undefined) return
  for (const { certificate: { member } } of left) {
    await registers.change<void>(addressOf(tables.members, member.subject), (current) => {
      const row = current === undefined ? undefined : parseMemberRow(current)
      return row !== undefined && isLeft(row) ? { kind: 'write', value: encodeMemberRow({ ...row, heir }), result: undefined } : { kind: 'keep', result: undefined }
    }, { signal })
  }
}

/** Whether this invite has brought this very peer in, which stands in the era: its answer got lost, and it asks again. Looked for only where the invite was good once, for anybody can make one that never was. */
async function hasBroughtIn (sponsor: Sponsor, peer: PeerId, { admin, invite }: Pick<Certificate, 'admin'> & { readonly invite: InviteStatement }, signal: AbortSignal): Promise<boolean> {
  const era = sponsor.era()
  if (invite.era > era.number || !verdictThen(sponsor, { admin, invite }).isValid) return false
  return isListed(era, keyOf(peer), await userOf(sponsor, invite, signal))
}

/** Whether an invite was good in the era that it was made in, by an admin that stood then. */
function verdictThen (sponsor: Sponsor, { admin, invite }: Pick<Certificate, 'admin'> & { readonly invite: InviteStatement }): Verdict {
  const listed = admin === undefined ? [] : [{ subject: admin.subject, statementHash: hashOfStatement(admin) }]
  return inviteVerdict({ admin, invite }, { clusterId: sponsor.clusterId, authority: sponsor.authority, era: { ...sponsor.era(), number: invite.era, listed } })
}

/** H of the member statement that has used an invite; empty: none. */
async function userOf ({ registers }: Sponsor, invite: InviteStatement, signal: AbortSignal): Promise<Uint8Array> {
  const value = await registers.read(addressOf(tables.invites, invite.subject), { signal })
  const row = value === undefined ? undefined : parseInviteRow(value)
  return row?.state === 'used' ? row.statementHash : empty
}

const trustOf = (sponsor: Sponsor, memberRowHash: Trust['memberRowHash']): Trust =>
  ({ clusterId: sponsor.clusterId, authority: sponsor.authority, era: sponsor.era(), memberRowHash })

function demand (verdict: Verdict): void {
  if (!verdict.isValid) throw new Refused(`the invite is refused: ${verdict.why}`)
}

const addressOf = (table: RowAddress['table'], key: Uint8Array): RowAddress => ({ table, scope: clusterRowKeys.scope, key })

async function readLayout ({ registers }: Sponsor, signal: AbortSignal): Promise<Uint8Array> {
  const layout = await registers.read(addressOf(tables.layout, clusterRowKeys.layout), { signal })
  if (layout === undefined) throw new Unavailable('the layout is not there yet')
  return layout
}

/**
 * Who belongs, and the layout, if that has a place for this one, or will have. While it closes, nobody could tell whether this one was counted; unless its row stood before: then it is, by whoever settles the layout, who
 * may have no majority without it. @throws Refused
 */
async function placeFor (sponsor: Sponsor, peer: PeerId, request: JoinRequest, signal: AbortSignal, { isRepeated: wasRepeated }: { isRepeated?: boolean } = {}): Promise<{ layout: Uint8Array, memberRows: readonly Uint8Array[], isRepeated: boolean, isInLayout: boolean }> {
  // who was put out has a row still, and takes no place
  const standing = (await sponsor.memberRows({ signal })).map((bytes) => ({ bytes, row: parseMemberRow(bytes) })).filter(({ row: { certificate } }) => verdictOf(certificate, trustOf(sponsor, hashOfStatement(certificate.member))).isValid)
  const encoded = await readLayout(sponsor, signal)
  const layout = parseLayout(encoded)
  const own = layoutMemberOf(request)
  const isPlaced = layout.members.some(({ peerId, storeId }) => peerId === peer && isSameStore(storeId, own.storeId))
  const isRepeated = wasRepeated ?? standing.some(({ row: { certificate: { member } } }) => equals(member.bytes, request.certificate.member.bytes))
  if (layout.state === 'closing' && !isPlaced && !isRepeated) throw new Refused('the first bucket is being made, and with it the layout settles: join again when it is there')
  if (!isPlaced) checkLayoutMembers([...standing.map(({ row }) => layoutMemberOf(row)).filter(({ peerId }) => peerId !== peer), own])
  const isInLayout = [...layout.members, ...layout.next?.members ?? []].some(({ peerId }) => peerId === peer)
  return { layout: encoded, memberRows: standing.map(({ bytes }) => bytes), isRepeated, isInLayout }
}

const isSameStore = (a: Uint8Array | undefined, b: Uint8Array | undefined): boolean => a === undefined || b === undefined ? a === b : equals(a, b)

// compare-and-set absent → H(statement): one-time, and repeatable by whoever sends the same statement
async function useInvite ({ registers }: Sponsor, { invite, certificate }: { invite: InviteStatement, certificate: Certificate }, signal: AbortSignal): Promise<void> {
  const statementHash = hashOfStatement(certificate.member)
  const refusal = await registers.change<string | undefined>(addressOf(tables.invites, invite.subject), (current) => {
    if (current === undefined) return { kind: 'write', value: encodeInviteRow({ state: 'used', statementHash }), result: undefined }
    const row = parseInviteRow(current)
    if (row.state === 'revoked') return { kind: 'keep', result: 'the invite was revoked' }
    return { kind: 'keep', result: equals(row.statementHash, statementHash) ? undefined : 'the invite has been used' }
  }, { signal })
  if (refusal !== undefined) throw new Refused(refusal)
}

async function writeMember (sponsor: Sponsor, { certificate, capacityBytes, addresses, storeId }: JoinRequest, { isInLayout, signal }: { isInLayout: boolean, signal: AbortSignal }): Promise<void> {
  const value = rowOf({ certificate, capacityBytes, addresses, storeId })
  const refusal = await sponsor.registers.change<string | undefined>(addressOf(tables.members, certificate.member.subject), (current) => {
    if (current === undefined) return { kind: 'write', value, result: undefined }
    if (equals(current, value)) return { kind: 'keep', result: undefined }
    const standing = parseMemberRow(current)
    const standingHash = hashOfStatement(standing.certificate.member)
    // what others have said of it since it joined stays; and once it is in the layout what that goes by, which this one could say anew every moment
    if (equals(standingHash, hashOfStatement(certificate.member))) return { kind: 'write', value: rowOf({ ...standing, addresses, ...isInLayout ? {} : { capacityBytes, storeId } }), result: undefined }
    // who stood still over this knows nothing of an era to come, nor whom it has
    if (standing.certificate.member.era > sponsor.era().number) return { kind: 'keep', result: 'this peer has joined since, by another invite' }
    // a certificate of an older era that the era no longer lists has lapsed: its peer comes back by a new invite
    const hasLapsed = !verdictOf(standing.certificate, trustOf(sponsor, standingHash)).isValid
    return hasLapsed ? { kind: 'write', value, result: undefined } : { kind: 'keep', result: 'this peer is a member already, of another role or with other keys' }
  }, { signal })
  if (refusal !== undefined) throw new Refused(refusal)
}

function rowOf (row: Parameters<typeof encodeMemberRow>[0]): Uint8Array {
  try { return encodeMemberRow(row) } catch (cause) {
    if (cause instanceof MalformedBytes) throw new Refused(`not a members row: ${cause.message}`, { cause })
    throw cause
  }
}
