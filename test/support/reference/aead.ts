import { gcm } from '@noble/ciphers/aes.js'
import { demanded, fieldsOf } from './bytes.ts'

export interface Okm { readonly key: Uint8Array, readonly nonce: Uint8Array, readonly commitment: Uint8Array }

/** okm(76) = key(32) | nonce(12) | commitment(32). */
export function okmOf (bytes: Uint8Array): Okm {
  const fields = fieldsOf(bytes)
  const okm = { key: fields.take(32), nonce: fields.take(12), commitment: fields.take(32) }
  fields.end()
  return okm
}

/** AES-256-GCM: ct | tag(16). */
export const seal = ({ key, nonce }: Pick<Okm, 'key' | 'nonce'>, aad: Uint8Array, plaintext: Uint8Array): Uint8Array => gcm(key, nonce, aad).encrypt(plaintext)
export const open = ({ key, nonce }: Pick<Okm, 'key' | 'nonce'>, aad: Uint8Array, sealed: Uint8Array): Uint8Array =>
  demanded(() => gcm(key, nonce, aad).decrypt(sealed), 'not authentic')
