import { base32 } from 'multiformats/bases/base32'
import { concat, MalformedBytes } from './bytes.ts'
import { hash, hashLength } from './hash.ts'

/**
 * The address of a block: CIDv1, raw codec (0x55), blake3-256 (0x1e), as lower-case base32 text (https://github.com/multiformats/cid).
 * A string, so that it is a Map key, a file name and a log field as it stands.
 */
export type Cid = string & { readonly __brand: 'Cid' }

const prefix = Uint8Array.of(0x01, 0x55, 0x1e, 0x20)

/** The address of these bytes. Hashes all of them. */
export const cidOf = (block: Uint8Array): Cid => cidOfDigest(hash(block))

/** The address whose BLAKE3 digest (32 bytes) is given. */
export function cidOfDigest (digest: Uint8Array): Cid {
  if (digest.byteLength !== hashLength) throw new MalformedBytes(`a digest has ${hashLength} bytes, not ${digest.byteLength}`)
  return base32.encode(concat([prefix, digest])) as Cid
}

/** The 32-byte BLAKE3 digest in a CID. */
export const digestOf = (cid: Cid): Uint8Array => base32.decode(cid).subarray(prefix.byteLength)

/** @throws MalformedBytes unless `text` is exactly a CID of this store (version, codec, hash and canonical base32) */
export function parseCid (text: string): Cid {
  let bytes: Uint8Array
  try { bytes = base32.decode(text) } catch (cause) { throw new MalformedBytes(`not a CID: ${text.slice(0, 80)}`, { cause }) }
  const isOurs = bytes.byteLength === prefix.byteLength + hashLength && prefix.every((byte, i) => bytes[i] === byte) && base32.encode(bytes) === text
  if (!isOurs) throw new MalformedBytes(`not a CIDv1 raw blake3-256: ${text.slice(0, 80)}`)
  return text as Cid
}
