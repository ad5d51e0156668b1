import { createPrivateKey, createPublicKey, type KeyObject, sign as nodeSign, verify as nodeVerify } from 'node:crypto'
import { concat } from './bytes.ts'

// RFC 8410: the DER wrappings of a raw Ed25519 seed and public key
const seedWrapping = Buffer.from('302e020100300506032b657004220420', 'hex')
const publicWrapping = Buffer.from('302a300506032b6570032100', 'hex')

/** An Ed25519 key pair (RFC 8032) from a 32-byte seed. */
export interface SigningKey {
  /** 32 bytes. */
  readonly publicKey: Uint8Array
  /** 64 bytes over the concatenated parts. */
  sign (...parts: readonly Uint8Array[]): Uint8Array
}

export function signingKeyOf (seed: Uint8Array): SigningKey {
  const privateKey = createPrivateKey({ key: Buffer.concat([seedWrapping, seed]), format: 'der', type: 'pkcs8' })
  const der = createPublicKey(privateKey).export({ format: 'der', type: 'spki' })
  const publicKey = new Uint8Array(der.subarray(publicWrapping.byteLength))
  return { publicKey, sign: (...parts) => new Uint8Array(nodeSign(null, concat([...parts]), privateKey)) }
}

const publicKeys = new Map<string, KeyObject>()
const maxCachedKeys = 1024

/** True if `signature` is `publicKey`'s (32 bytes) over the concatenated parts. Malformed keys and signatures are false. */
export function isSignedBy (publicKey: Uint8Array, signature: Uint8Array, ...parts: readonly Uint8Array[]): boolean {
  if (publicKey.byteLength !== 32 || signature.byteLength !== 64) return false
  return nodeVerify(null, concat([...parts]), keyObjectOf(publicKey), signature)
}

// importing a key costs as much as half a verification, and the same few peers sign all day
function keyObjectOf (publicKey: Uint8Array): KeyObject {
  const name = Buffer.from(publicKey).toString('latin1')
  let key = publicKeys.get(name)
  if (key === undefined) {
    if (publicKeys.size >= maxCachedKeys) publicKeys.clear()
    key = createPublicKey({ key: Buffer.concat([publicWrapping, publicKey]), format: 'der', type: 'spki' })
    publicKeys.set(name, key)
  }
  return key
}
