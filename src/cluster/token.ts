import { base64urlOf, ByteReader, ByteWriter, concat, equals, fromBase64url } from '../base/bytes.ts'
import { InvalidInput } from '../base/errors.ts'
import { hash } from '../base/hash.ts'
import { signingKeyOf } from '../base/signature.ts'
import { encodeStatements, readInvite } from './certificate.ts'
import type { AdminStatement, InviteStatement } from './statement.ts'

/** What `dfs invite` prints and `dfs join` takes: everything a stranger needs to prove that it was invited, and to know whom it joins. A secret. */
export interface InviteToken {
  /** 16 bytes. */
  readonly clusterId: Uint8Array
  /** The authority's Ed25519 key, 32 bytes. */
  readonly authority: Uint8Array
  /** 32 bytes; signs the member statement and never travels. */
  readonly seed: Uint8Array
  readonly admin: AdminStatement | undefined
  readonly invite: InviteStatement
  /** Binary multiaddrs of sponsors, each ending in /p2p. */
  readonly addresses: readonly Uint8Array[]
}

export const tokenLimits = {
  /** A few members, each over LAN and public address. */
  maxAddresses: 16,
  /** Base64url of 82 + two statements + 16 addresses of 255 bytes. */
  maxChars: 8192,
} as const

const start = 'dfs1-'
const checksumLength = 4

/** `"dfs1-" base64url(01 | clusterId | authority | seed | u8 k, k × (u16, st) | u8 n, n × (u8, multiaddr) | first 4 of H(all before))`. */
export function encodeToken ({ clusterId, authority, seed, admin, invite, addresses }: InviteToken): string {
  if (addresses.length > tokenLimits.maxAddresses) throw new InvalidInput('addresses', `a token holds at most ${tokenLimits.maxAddresses} addresses`)
  const writer = new ByteWriter().u8(1).raw(clusterId).raw(authority).raw(seed)
  writer.raw(encodeStatements(admin === undefined ? [invite] : [admin, invite])).u8(addresses.length)
  for (const address of addresses) writer.short(address)
  const bytes = writer.finish()
  return start + base64urlOf(concat([bytes, hash(bytes).subarray(0, checksumLength)]))
}

/** @throws InvalidInput, saying what is wrong, unless `text` (blanks around it allowed) is a whole token whose seed is the invite's */
export function parseToken (text: string): InviteToken {
  const trimmed = text.trim()
  if (!trimmed.startsWith(start)) throw invalid('an invite begins with dfs1-')
  if (trimmed.length > tokenLimits.maxChars) throw invalid('too long for an invite')
  const bytes = decode(trimmed.slice(start.length))
  const body = bytes.subarray(0, -checksumLength)
  if (bytes.byteLength <= checksumLength || !equals(hash(body).subarray(0, checksumLength), bytes.subarray(-checksumLength))) throw invalid('mistyped or cut off: its checksum does not fit')
  let token: InviteToken
  try { token = readToken(new ByteReader(body)) } catch (cause) { throw invalid('not an invite of this version', cause) }
  if (!equals(signingKeyOf(token.seed).publicKey, token.invite.subject)) throw invalid('its key is not the one invited')
  if (![token.admin, token.invite].every((statement) => statement === undefined || equals(statement.clusterId, token.clusterId))) throw invalid('its statements are of another cluster')
  return token
}

function decode (text: string): Uint8Array {
  let bytes: Uint8Array
  try { bytes = fromBase64url(text) } catch (cause) { throw invalid('mistyped: not base64url', cause) }
  if (base64urlOf(bytes) !== text) throw invalid('mistyped: not the only spelling of its bytes')
  return bytes
}

function readToken (reader: ByteReader): InviteToken {
  if (reader.u8() !== 1) throw invalid('unknown version')
  const [clusterId, authority, seed] = [reader.raw(16), reader.raw(32), reader.raw(32)]
  const { admin, invite } = readInvite(reader)
  const count = reader.u8()
  if (count > tokenLimits.maxAddresses) throw invalid(`${count} addresses`)
  const addresses = Array.from({ length: count }, () => reader.short())
  reader.end()
  return { clusterId, authority, seed, admin, invite, addresses }
}

const invalid = (message: string, cause?: unknown): InvalidInput => new InvalidInput('invite', `invite: ${message}`, { cause })
