import { ed25519 } from '@noble/curves/ed25519.js'
import { cat, demand } from './bytes.ts'

/** Ed25519 (RFC 8032), strictly. */
export const publicKeyOf = (seed: Uint8Array): Uint8Array => ed25519.getPublicKey(seed)
export const sign = (seed: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array => ed25519.sign(cat(...parts), seed)

export function demandSigned (key: Uint8Array, signature: Uint8Array, ...parts: readonly Uint8Array[]): void {
  demand(isSigned(key, signature, cat(...parts)), 'signature')
}

function isSigned (key: Uint8Array, signature: Uint8Array, message: Uint8Array): boolean {
  try { return ed25519.verify(signature, message, key, { zip215: false }) } catch { return false } // a key that is no point
}
