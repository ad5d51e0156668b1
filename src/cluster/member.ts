import { MalformedBytes, utf8 } from '../base/bytes.ts'
import { type PeerId, peerIdOf } from '../base/peer-id.ts'
import { bytesField, countField, decodeCanonical, encodeCanonical } from './canonical.ts'
import { type Certificate, certificateLimits, encodeCertificate, parseCertificate } from './certificate.ts'
import type { LayoutMember } from './layout.ts'
import { type Role, roles } from './statement.ts'

/** Where the cluster's own rows stand in the clear tables: all in the scope of zeros; members and invites under their 32-byte keys. */
export const clusterRowKeys = { scope: new Uint8Array(16), layout: utf8('layout'), era: utf8('era') } as const

/** A row of the table of members. Peer, role, zone, kx and serial stand once, in the certificate's member statement; `describeMember` reads them out. */
export interface MemberRow {
  readonly certificate: Certificate
  /** What it offers for blocks; 0: holds none. */
  readonly capacityBytes: number
  /** Binary multiaddrs, latest known; hints only. */
  readonly addresses: readonly Uint8Array[]
  /** Id of its row store, 16 bytes: the acceptor that a layout names. Undefined: a role that votes on nothing. */
  readonly storeId: Uint8Array | undefined
  /** Shall hold and decide nothing, though it stays a member. */
  readonly isDraining?: boolean
}

export interface MemberDescription {
  readonly peerId: PeerId
  /** Ed25519, 32 bytes. */
  readonly peerKey: Uint8Array
  readonly role: Role
  readonly zone: string
  readonly kx: Uint8Array
  readonly serial: number
}

export const memberLimits = {
  /** Several interfaces, both families; as in an invite. */
  maxAddresses: 16,
  /** The longest multiaddrs in use (relay, certhashes) stay under it. */
  maxAddressBytes: 255,
  /** Certificate, addresses and a few integers. */
  maxRowBytes: certificateLimits.maxBytes + 16 * 258 + 128,
} as const

export function describeMember ({ certificate: { member } }: Pick<MemberRow, 'certificate'>): MemberDescription {
  const { subject: peerKey, role, zone, kx, serial } = member
  return { peerId: peerIdOf(peerKey), peerKey, role, zone, kx, serial }
}

/** As a layout names it. */
export function layoutMemberOf (row: Pick<MemberRow, 'certificate' | 'capacityBytes' | 'storeId'>): LayoutMember {
  const { peerId, role, zone } = describeMember(row)
  return { peerId, role, zone, capacityBytes: row.capacityBytes, storeId: role === roles.storage ? undefined : row.storeId }
}

/** A row of one that drains is of version 2, and says so; others are as they always were. */
export function encodeMemberRow ({ certificate, capacityBytes, addresses, storeId, isDraining = false }: MemberRow): Uint8Array {
  const fields = { cert: encodeCertificate(certificate), capacity: capacityBytes, addrs: addresses, store: storeId ?? new Uint8Array(0) }
  const row = encodeCanonical(isDraining ? { v: 2, ...fields, draining: 1 } : { v: 1, ...fields })
  parseMemberRow(row)
  return row
}

/** Signatures are checked; whether the certificate is valid is for `verdictOf`. @throws MalformedBytes */
export function parseMemberRow (bytes: Uint8Array): MemberRow {
  const { v, cert, capacity, addrs, store, draining } = decodeCanonical(bytes, ['v', 'cert', 'capacity', 'addrs', 'store'], { maxBytes: memberLimits.maxRowBytes, optional: ['draining'] })
  if (v !== (draining === undefined ? 1 : 2) || (draining ?? 1) !== 1) throw new MalformedBytes('unknown version of a members row')
  const storeId = bytesField(store, { min: 0, max: 16 })
  if (storeId.byteLength !== 0 && storeId.byteLength !== 16) throw new MalformedBytes('a store id has 16 bytes')
  return {
    certificate: parseCertificate(bytesField(cert, { min: 1, max: certificateLimits.maxBytes })),
    capacityBytes: countField(capacity),
    addresses: addressesOf(addrs),
    storeId: storeId.byteLength === 0 ? undefined : storeId,
    ...(draining === undefined ? {} : { isDraining: true }),
  }
}

/** A row of the table of invites, under the invite's key: used once, by the peer whose member statement has this hash, or withdrawn unused. */
export type InviteRow = { readonly state: 'used', readonly statementHash: Uint8Array } | { readonly state: 'revoked' }

export const encodeInviteRow = (row: InviteRow): Uint8Array =>
  encodeCanonical({ v: 1, state: row.state, hash: row.state === 'used' ? row.statementHash : new Uint8Array(0) })

/** @throws MalformedBytes */
export function parseInviteRow (bytes: Uint8Array): InviteRow {
  const { v, state, hash } = decodeCanonical(bytes, ['v', 'state', 'hash'], { maxBytes: 128 })
  if (v !== 1) throw new MalformedBytes('unknown version of an invites row')
  if (state === 'used') return { state, statementHash: bytesField(hash, { min: 32, max: 32 }) }
  if (state !== 'revoked') throw new MalformedBytes('unknown state of an invite')
  bytesField(hash, { min: 0, max: 0 })
  return { state }
}

function addressesOf (value: unknown): readonly Uint8Array[] {
  if (!Array.isArray(value) || value.length > memberLimits.maxAddresses) throw new MalformedBytes(`at most ${memberLimits.maxAddresses} addresses`)
  return value.map((address) => bytesField(address, { min: 1, max: memberLimits.maxAddressBytes }))
}
