import { createCipheriv, createDecipheriv, createSecretKey } from 'node:crypto'
import { free } from '../base/lease.ts'

export const tagLength = 16
/** key(32) | nonce(12) | commitment(32), as every sealed thing derives them together. */
export const okmLength = 76

export interface OneTimeKeys {
  readonly key: Uint8Array
  readonly nonce: Uint8Array
  /** Ties the ciphertext to one key, which GCM alone does not (https://eprint.iacr.org/2020/1456). */
  readonly commitment: Uint8Array
}

export const oneTimeKeys = (okm: Uint8Array): OneTimeKeys => ({ key: okm.subarray(0, 32), nonce: okm.subarray(32, 44), commitment: okm.subarray(44, 76) })

/** Where the output is copied anyway, short updates: their output comes from recycled memory, a long one's from fresh pages (1.4 times as fast as 1 MiB at once). */
const sliceBytes = 16 * 1024

// A key is made a KeyObject first, here and wherever keys are used: what else it might be Node 24 finds out by way of exceptions, 16 µs each time, more than all the
// rest of a row.

/** AES-256-GCM (NIST SP 800-38D) of `plaintext`, written with its tag into `target` from `offset`. */
export function sealInto (target: Uint8Array, offset: number, { key, nonce }: Pick<OneTimeKeys, 'key' | 'nonce'>, aad: Uint8Array, plaintext: Uint8Array): void {
  const cipher = createCipheriv('aes-256-gcm', createSecretKey(key), nonce)
  cipher.setAAD(aad)
  for (let at = 0; at < plaintext.byteLength; at += sliceBytes) {
    const slice = cipher.update(plaintext.subarray(at, at + sliceBytes))
    target.set(slice, offset + at)
    free(slice)
  }
  cipher.final()
  target.set(cipher.getAuthTag(), offset + plaintext.byteLength)
}

/** The plaintext, or undefined if a single bit differs. Nothing of it leaves before the tag is checked. */
export function opened ({ key, nonce }: Pick<OneTimeKeys, 'key' | 'nonce'>, aad: Uint8Array, sealed: Uint8Array): Uint8Array | undefined {
  const length = sealed.byteLength - tagLength
  if (length < 0) return undefined
  const decipher = createDecipheriv('aes-256-gcm', createSecretKey(key), nonce, { authTagLength: tagLength })
  decipher.setAAD(aad)
  decipher.setAuthTag(sealed.subarray(length))
  // at once: a copy of slices would make twice the garbage, and it is external memory that sets off full collections
  const { buffer, byteOffset, byteLength } = decipher.update(sealed.subarray(0, length))
  const plaintext = new Uint8Array(buffer, byteOffset, byteLength)
  try { decipher.final() } catch { return undefined } // the only thing final() can say: not authentic
  return plaintext
}
