import { ByteReader, ByteWriter, equals, MalformedBytes } from '../base/bytes.ts'
import { type AdminStatement, type Certificate, encodeCertificate, encodeStatements, type Era, type InviteStatement, layoutLimits, memberLimits, readCertificate, readEra, readInvite, writeEra } from '../cluster/index.ts'
import { credentialLimits, type Credentials, readCredentials, writeCredentials } from './membership.ts'

/**
 * Two requests. *Ask*: the joiner shows the invite's statements, the sponsor its own certificate and era, so the joiner knows whom it talks to before it
 * signs anything. *Join*: the joiner sends its certificate (the member statement signed with the invite), the sponsor answers with the cluster.
 */
export const joinId = '/dfs/join/1.0.0'

export const joinLimits = {
  maxRequestBytes: 8 * 1024,
  maxConcurrent: 1,
  /** Members that an answer lists: an era cannot list more. */
  maxMembers: 1024,
  /** 4 + epochs of 36, and the seal: as many epochs as an era has checks. */
  maxBoxBytes: 16 * 1024,
  maxAskAnswerBytes: credentialLimits.maxBytes + 64,
  /** Era, members, layout, box. The joiner trusts its sponsor with this much memory, after verifying it. */
  maxAnswerBytes: credentialLimits.maxBytes + 1024 * (4 + memberLimits.maxRowBytes) + layoutLimits.maxBytes + 32 * 1024,
  /** Two consensus writes on a slow disk. */
  timeoutMs: 30_000,
} as const

export interface Ask { readonly kind: 'ask', readonly admin: AdminStatement | undefined, readonly invite: InviteStatement }
export interface JoinRequest {
  readonly kind: 'join'
  readonly certificate: Certificate
  readonly capacityBytes: number
  readonly addresses: readonly Uint8Array[]
  /** 16 bytes; undefined for `storage`. */
  readonly storeId: Uint8Array | undefined
}
export interface JoinAnswer {
  readonly era: Era
  /** Members rows as they stand in the table. */
  readonly memberRows: readonly Uint8Array[]
  readonly layout: Uint8Array
  /** Sealed to the joiner's kx; only for role `member`. */
  readonly box: Uint8Array | undefined
}

const noStore = new Uint8Array(16)

/** `01 | 01 | chain` or `01 | 02 | certificate | u64 capacity | storeId(16; zeros: none) | u8 n, n × (u8, multiaddr)`. */
export function encodeJoinRequest (request: Ask | JoinRequest): Uint8Array {
  const writer = new ByteWriter().u8(1)
  if (request.kind === 'ask') return writer.u8(1).raw(encodeStatements(request.admin === undefined ? [request.invite] : [request.admin, request.invite])).finish()
  writer.u8(2).raw(encodeCertificate(request.certificate)).u64(request.capacityBytes).raw(request.storeId ?? noStore).u8(request.addresses.length)
  for (const address of request.addresses) writer.short(address)
  return writer.finish()
}

/** @throws MalformedBytes */
export function parseJoinRequest (bytes: Uint8Array): Ask | JoinRequest {
  const reader = new ByteReader(bytes)
  if (reader.u8() !== 1) throw new MalformedBytes('unknown version of a request to join')
  const kind = reader.u8()
  if (kind !== 1 && kind !== 2) throw new MalformedBytes('unknown kind of request to join')
  const request = kind === 1 ? { kind: 'ask', ...readInvite(reader) } as const : readJoin(reader)
  reader.end()
  return request
}

function readJoin (reader: ByteReader): JoinRequest {
  const [certificate, capacity, storeId, count] = [readCertificate(reader), reader.u64(), reader.raw(16), reader.u8()]
  if (capacity > BigInt(Number.MAX_SAFE_INTEGER)) throw new MalformedBytes('capacity beyond any disk')
  if (count > memberLimits.maxAddresses) throw new MalformedBytes(`${count} addresses`)
  const addresses = Array.from({ length: count }, () => reader.short())
  return { kind: 'join', certificate, capacityBytes: Number(capacity), addresses, storeId: equals(storeId, noStore) ? undefined : storeId.slice() }
}

/** The sponsor's answer to an ask: `01 | credentials`. */
export const encodeAskAnswer = (credentials: Credentials): Uint8Array => writeCredentials(new ByteWriter().u8(1), credentials).finish()

/** @throws MalformedBytes */
export function parseAskAnswer (bytes: Uint8Array): Credentials {
  const reader = new ByteReader(bytes)
  if (reader.u8() !== 1) throw new MalformedBytes('unknown version of an answer')
  const credentials = readCredentials(reader)
  reader.end()
  return credentials
}

/** `01 | era | u16 n, n × (u32, members row) | u32, layout | u32, box (empty: none)`. */
export function encodeJoinAnswer ({ era, memberRows, layout, box }: JoinAnswer): Uint8Array {
  const writer = writeEra(new ByteWriter().u8(1), era).u16(memberRows.length)
  for (const row of memberRows) writer.long(row)
  return writer.long(layout).long(box ?? new Uint8Array(0)).finish()
}

/** @throws MalformedBytes */
export function parseJoinAnswer (bytes: Uint8Array): JoinAnswer {
  const reader = new ByteReader(bytes)
  if (reader.u8() !== 1) throw new MalformedBytes('unknown version of an answer')
  const [era, count] = [readEra(reader), reader.u16()]
  if (count > joinLimits.maxMembers) throw new MalformedBytes(`${count} members`)
  const memberRows = Array.from({ length: count }, () => reader.long(memberLimits.maxRowBytes).slice())
  const [layout, box] = [reader.long(layoutLimits.maxBytes).slice(), reader.long(joinLimits.maxBoxBytes).slice()]
  reader.end()
  return { era, memberRows, layout, box: box.byteLength === 0 ? undefined : box }
}
