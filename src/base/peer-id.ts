import { base58btc } from 'multiformats/bases/base58'
import { concat, MalformedBytes } from './bytes.ts'

/**
 * A node's identity: libp2p's text form of an Ed25519 public key ("12D3KooW…", https://github.com/libp2p/specs/blob/master/peer-ids/peer-ids.md).
 * The key itself stands in it, so ballots, statements and connections name the same thing.
 */
export type PeerId = string & { readonly __brand: 'PeerId' }

// identity multihash (00) of 36 bytes (24): protobuf of key type Ed25519 (08 01) and 32 bytes of key (12 20)
const prefix = Uint8Array.of(0x00, 0x24, 0x08, 0x01, 0x12, 0x20)

/** The peer id of a 32-byte Ed25519 public key. */
export function peerIdOf (publicKey: Uint8Array): PeerId {
  if (publicKey.byteLength !== 32) throw new MalformedBytes(`an Ed25519 key has 32 bytes, not ${publicKey.byteLength}`)
  return base58btc.baseEncode(concat([prefix, publicKey])) as PeerId
}

/** The 32-byte Ed25519 public key in a peer id. */
export function keyOf (peerId: PeerId): Uint8Array {
  const known = keys.get(peerId)
  if (known !== undefined) return known
  const key = base58btc.baseDecode(peerId).subarray(prefix.byteLength)
  if (keys.size >= maxKeptKeys) keys.clear()
  keys.set(peerId, key)
  return key
}

// every proposal is held against its proposer's key, and base58 is slow
const keys = new Map<PeerId, Uint8Array>()
const maxKeptKeys = 4096

/** @throws MalformedBytes unless `text` is the peer id of an Ed25519 key */
export function parsePeerId (text: string): PeerId {
  let bytes: Uint8Array
  try { bytes = base58btc.baseDecode(text) } catch (cause) { throw new MalformedBytes(`not a peer id: ${text.slice(0, 80)}`, { cause }) }
  if (bytes.byteLength !== 38 || !prefix.every((byte, i) => bytes[i] === byte)) throw new MalformedBytes(`not an Ed25519 peer id: ${text.slice(0, 80)}`)
  return text as PeerId
}
