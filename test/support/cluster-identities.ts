import { utf8 } from '../../src/base/bytes.ts'
import { hash } from '../../src/base/hash.ts'
import { type PeerId, peerIdOf } from '../../src/base/peer-id.ts'
import { type SigningKey, signingKeyOf } from '../../src/base/signature.ts'
import { type AdminStatement, type Certificate, type Era, eraOf, type EraStatement, hashOfStatement, type InviteStatement, type InviteToken, type LayoutMember, type MemberStatement, type Role, roles, signStatement, type Statement } from '../../src/cluster/index.ts'

/** A key pair that is always the same for the same name. */
export const seedNamed = (name: string): Uint8Array => hash(utf8(name))
export const keyNamed = remembered((name: string): SigningKey => signingKeyOf(seedNamed(name)))
export const peerNamed = remembered((name: string): PeerId => peerIdOf(keyNamed(name).publicKey))

function remembered<T> (made: (name: string) => T): (name: string) => T {
  const known = new Map<string, T>()
  return (name) => {
    const value = known.get(name) ?? made(name)
    known.set(name, value)
    return value
  }
}

/** A cluster on paper: its authority and what it signs. */
export interface PaperCluster {
  readonly clusterId: Uint8Array
  readonly authority: Uint8Array
  admin (name: string, options?: { era?: number, by?: SigningKey }): AdminStatement
  invite (name: string, options?: { era?: number, by?: SigningKey, roles?: number, peer?: Uint8Array, notAfterMs?: number, zone?: string }): InviteStatement
  member (name: string, options?: { era?: number, by?: SigningKey, role?: Role, serial?: number, zone?: string }): MemberStatement
  era (number: number, listed: readonly Statement[], options?: { by?: SigningKey, floor?: number }): Era
  token (name: string, options?: Parameters<PaperCluster['invite']>[1] & { addresses?: readonly Uint8Array[] }): InviteToken
}

export function paperCluster (name = 'cluster'): PaperCluster {
  const authorityKey = keyNamed(`${name} authority`)
  const clusterId = hash(utf8(name)).subarray(0, 16)
  const cluster: PaperCluster = {
    clusterId,
    authority: authorityKey.publicKey,
    admin: (subject, { era = 1, by = authorityKey } = {}) =>
      signStatement(by, { clusterId, era, subject: keyNamed(subject).publicKey, kind: 'admin' }) as AdminStatement,
    invite: (subject, { era = 1, by = authorityKey, roles: roleBits = 7, peer, notAfterMs, zone = '' } = {}) =>
      signStatement(by, { clusterId, era, subject: keyNamed(subject).publicKey, kind: 'invite', roles: roleBits, peer, notAfterMs, zone }) as InviteStatement,
    member: (subject, { era = 1, by = authorityKey, role = roles.member, serial = 0, zone = '' } = {}) =>
      signStatement(by, { clusterId, era, subject: keyNamed(subject).publicKey, kind: 'member', role, kx: seedNamed(`${subject} kx`), serial, zone }) as MemberStatement,
    era: (number, listed, { by = authorityKey, floor = 0 } = {}) => eraOf([signStatement(by, {
      clusterId, era: number, subject: new Uint8Array(32), kind: 'era', checkN: seedNamed('check N'), floor, checks: [{ epoch: 1, check: seedNamed('check 1') }],
      listed: listed.map((statement) => ({ subject: statement.subject, statementHash: hashOfStatement(statement) })),
    }) as EraStatement]),
    token: (subject, { addresses = [], ...options } = {}) => ({ clusterId, authority: authorityKey.publicKey, seed: seedNamed(subject), admin: undefined, invite: cluster.invite(subject, options), addresses }),
  }
  return cluster
}

export const certificateOf = (member: MemberStatement, { admin, invite }: { admin?: AdminStatement, invite?: InviteStatement } = {}): Certificate => ({ admin, invite, member })

export function layoutMember (name: string, { role = roles.member, zone = '', capacityBytes = 1000 }: { role?: Role, zone?: string, capacityBytes?: number } = {}): LayoutMember {
  return { peerId: peerNamed(name), role, zone, capacityBytes, storeId: role === roles.storage ? undefined : seedNamed(`${name} store`).slice(0, 16) }
}
