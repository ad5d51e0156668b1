import { MalformedBytes, utf8 } from '../base/bytes.ts'
import { type PeerId, peerIdOf } from '../base/peer-id.ts'
import { bytesField, countField, decodeCanonical, encodeCanonical } from './canonical.ts'
import { type Certificate, certificateLimits, encodeCertificate, parseCertificate } from './certificate.ts'
import type { LayoutMember } from './layout.ts'
import { type Role, roles } from './statement.ts'

/** Where the cluster's own rows stand in the clear tables: all in the scope of zeros; members and invites under their 32-byte keys. */
export const clusterRowKeys = { scope: new Uint8Array(16), layout: utf8('layout'), era: utf8('era') } as const

/** A row of the table of members. Peer, role, kx and serial stand once, in the certificate's member statement, and so does the zone unless it was set since; `describeMember` reads them out. */
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
  /** In the place of the zone that its member statement names, which is what it was when it joined. */
  readonly zone?: string | undefined
  /** Who takes its place: a peer's key, or the key of the invite that somebody is to join with. 32 bytes. */
  readonly heir?: Uint8Array | undefined
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
  maxRowBytes: certificateLimits.maxBytes + 16 * 258 + 128 + 384,
  /** As in a statement; what people may set is shorter. */
  maxZoneBytes: 255,
} as const

export function describeMember ({ certificate: { member }, zone = member.zone }: Pick<MemberRow, 'certificate' | 'zone'>): MemberDescription {
  const { subject: peerKey, role, kx, serial } = member
  return { peerId: peerIdOf(peerKey), peerKey, role, zone, kx, serial }
}

/** As a layout names it. */
export function layoutMemberOf (row: Pick<MemberRow, 'certificate' | 'capacityBytes' | 'storeId' | 'zone'>): LayoutMember {
  const { peerId, role, zone } = describeMember(row)
  return { peerId, role, zone, capacityBytes: row.capacityBytes, storeId: role === roles.storage ? undefined : row.storeId }
}

/** A row that says nothing more is of version 1, one that only drains of version 2, as they always were; of version 3 is one with a zone that was set, or with an heir. */
export function encodeMemberRow ({ certificate, capacityBytes, addresses, storeId, isDraining = false, zone, heir }: MemberRow): Uint8Array {
  const fields = { cert: encodeCertificate(certificate), capacity: capacityBytes, addrs: addresses, store: storeId ?? new Uint8Array(0) }
  const v = zone !== undefined || heir !== undefined ? 3 : isDraining ? 2 : 1
  const row = encodeCanonical({ v, ...fields, ...isDraining ? { draining: 1 } : {}, ...zone === undefined ? {} : { zone }, ...heir === undefined ? {} : { heir } })
  parseMemberRow(row)
  return row
}

/** Signatures are checked; whether the certificate is valid is for `verdictOf`. @throws MalformedBytes */
export function parseMemberRow (bytes: Uint8Array): MemberRow {
  const { v, cert, capacity, addrs, store, draining, zone, heir } = decodeCanonical(bytes, ['v', 'cert', 'capacity', 'addrs', 'store'], { maxBytes: memberLimits.maxRowBytes, optional: ['draining', 'zone', 'heir'] })
  if (v !== (zone !== undefined || heir !== undefined ? 3 : draining === undefined ? 1 : 2) || (draining ?? 1) !== 1) throw new MalformedBytes('unknown version of a members row')
  const storeId = bytesField(store, { min: 0, max: 16 })
  if (storeId.byteLength !== 0 && storeId.byteLength !== 16) throw new MalformedBytes('a store id has 16 bytes')
  return {
    certificate: parseCertificate(bytesField(cert, { min: 1, max: certificateLimits.maxBytes })),
    capacityBytes: countField(capacity),
    addresses: addressesOf(addrs),
    storeId: storeId.byteLength === 0 ? undefined : storeId,
    ...(draining === undefined ? {} : { isDraining: true }),
    ...(zone === undefined ? {} : { zone: zoneField(zone) }),
    ...(heir === undefined ? {} : { heir: bytesField(heir, { min: 32, max: 32 }) }),
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

function zoneField (value: unknown): string {
  if (typeof value !== 'string' || utf8(value).byteLength > memberLimits.maxZoneBytes) throw new MalformedBytes(`a zone is a text of at most ${memberLimits.maxZoneBytes} bytes`)
  return value
}

function addressesOf (value: unknown): readonly Uint8Array[] {
  if (!Array.isArray(value) || value.length > memberLimits.maxAddresses) throw new MalformedBytes(`at most ${memberLimits.maxAddresses} addresses`)
  return value.map((address) => bytesField(address, { min: 1, max: memberLimits.maxAddressBytes }))
}
