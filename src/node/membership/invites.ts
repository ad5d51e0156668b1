import { equals, fromHex, hexOf } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { Conflict, InvalidInput } from '../../base/errors.ts'
import { signingKeyOf } from '../../base/signature.ts'
import { adminsOf, describeMember, encodeInviteRow, hashOfStatement, type InviteRow, invitesSince, parseInviteRow, parseToken, type Role, type RoleName, roles } from '../../cluster/index.ts'
import type { InviteOptions, InviteState } from '../../node.ts'
import { type Registers, tables } from '../../tables/index.ts'
import { type InviteParts, makeInvites } from './invite.ts'
import type { IssuedInvites } from './issued-invites.ts'
import { clusterAddress } from './membership.ts'

export interface InvitesParts extends Omit<InviteParts, 'wanted' | 'addresses'> {
  readonly issued: IssuedInvites
  readonly registers: Registers
  readonly clock: Clock
  readonly addresses: () => InviteParts['addresses']
}

/** The life of invites: made here, used at any sponsor, withdrawn by any member while unused. What has become of one stands in its row, by compare-and-set. */
export class Invites {
  readonly #parts: InvitesParts
  constructor (parts: InvitesParts) { this.#parts = parts }

  async make (wanted: InviteOptions): Promise<readonly string[]> {
    const { issued, clock, addresses, state } = this.#parts
    const tokens = makeInvites({ ...this.#parts, addresses: addresses(), wanted })
    await issued.add(tokens.map(parseToken).map(({ invite: { subject, roles: of, notAfterMs, zone } }) =>
      ({ key: hexOf(subject), roles: of, era: state.era.number, notAfterMs, zone, madeMs: clock.wallMs() })))
    return tokens
  }

  /** Those made here, and what has become of them. @throws Unavailable */
  async list (wait: { signal?: AbortSignal } = {}): Promise<readonly InviteState[]> {
    const { issued, clock } = this.#parts
    const since = this.#since()
    const found: InviteState[] = []
    for (const invite of await issued.all()) {
      const row = await this.#rowOf(invite.key, wait)
      const isExpired = invite.notAfterMs !== undefined && clock.wallMs() > invite.notAfterMs
      found.push({
        ...invite,
        roles: rolesIn(invite.roles),
        state: row?.state ?? (isExpired ? 'expired' : invite.era >= since ? 'open' : 'lapsed'),
        usedBy: row === undefined ? undefined : this.#userOf(row),
      })
    }
    return found
  }

  /** No peer joins with it any more. @throws Conflict if it has been used, InvalidInput, Unavailable */
  async revoke (text: string, wait: { signal?: AbortSignal } = {}): Promise<void> {
    const key = keyIn(text)
    const row = await this.#parts.registers.change<InviteRow>(clusterAddress(tables.invites, key), (current) => {
      if (current !== undefined) return { kind: 'keep', result: parseInviteRow(current) }
      const revoked = { state: 'revoked' } as const
      return { kind: 'write', value: encodeInviteRow(revoked), result: revoked }
    }, wait)
    if (row.state === 'revoked') return
    const user = this.#userOf(row)
    throw new Conflict(`the invite has been used${user === undefined ? '' : ` by ${user}`}: revoking it would not put anybody out; "dfs node remove ${user ?? 'PEER'}" does`)
  }

  /** The first era whose invites, made here, are good now. An admin's go with its statement, also if it is made one again. */
  #since (): number {
    const { state, keyring: { authoritySeed, nodeSeed } } = this.#parts
    if (authoritySeed !== undefined) return invitesSince(state.era)
    const admin = adminsOf(state.era, state).find(({ subject }) => equals(subject, signingKeyOf(nodeSeed).publicKey))
    return Math.max(invitesSince(state.era), admin?.era ?? Infinity)
  }

  async #rowOf (key: string, wait: { signal?: AbortSignal }): Promise<InviteRow | undefined> {
    const value = await this.#parts.registers.read(clusterAddress(tables.invites, fromHex(key)), wait)
    return value === undefined ? undefined : parseInviteRow(value)
  }

  #userOf (row: InviteRow): string | undefined {
    if (row.state !== 'used') return undefined
    const user = [...this.#parts.state.members.values()].find(({ certificate }) => equals(hashOfStatement(certificate.member), row.statementHash))
    return user === undefined ? undefined : describeMember(user).peerId
  }
}

const rolesIn = (bits: number): readonly RoleName[] => (Object.entries(roles) as Array<[RoleName, Role]>).filter(([, bit]) => (bits & bit) !== 0).map(([name]) => name)

/** An invite's key: as `dfs invite ls` shows it, or in its token. @throws InvalidInput */
function keyIn (text: string): Uint8Array {
  if (/^[0-9a-f]{64}$/.test(text.trim())) return fromHex(text.trim())
  if (text.trim().startsWith('dfs1-')) return parseToken(text).invite.subject
  throw new InvalidInput('invite', 'an invite is named by its token (dfs1-…), or by its key, 64 hexadecimal digits, as "dfs invite ls" shows it')
}
