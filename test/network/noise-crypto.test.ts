import { randomBytes } from 'node:crypto'
import { pureJsCrypto } from '@chainsafe/libp2p-noise'
import fc from 'fast-check'
import { Uint8ArrayList } from 'uint8arraylist'
import { describe, expect, it } from 'vitest'
import { messageLength, noiseCrypto } from '../../src/network/noise-crypto.ts'

const none = new Uint8Array(0)
const whole = (bytes: Uint8Array | Uint8ArrayList): Uint8Array => new Uint8Array(bytes.subarray())
/** Short and long ones, and those about where another implementation takes over. */
const lengths = fc.oneof(fc.integer({ min: 0, max: 2000 }), fc.constantFrom(495, 496, 511, 512, 513, 16_384, 16_385, 65_519))
const parted = (bytes: Uint8Array, cuts: readonly number[]): Uint8ArrayList => {
  const at = [0, ...cuts.map((cut) => cut % (bytes.byteLength + 1)).toSorted((a, b) => a - b), bytes.byteLength]
  return new Uint8ArrayList(...at.slice(1).map((end, i) => bytes.slice(at[i], end)))
}

describe('what noise seals with', () => {
  it('is ChaCha20-Poly1305 as the library\'s own implementation does it, however the message is cut', () => {
    fc.assert(fc.property(lengths, fc.array(fc.nat(), { maxLength: 3 }), fc.boolean(), (length, cuts, isHandshake) => {
      const [key, nonce, ad, plaintext] = [randomBytes(32), randomBytes(12), isHandshake ? randomBytes(32) : none, new Uint8Array(randomBytes(length))]
      const expected = whole(pureJsCrypto.chaCha20Poly1305Encrypt(plaintext, nonce, ad, key))
      for (const message of [plaintext, parted(plaintext, cuts)]) expect(whole(noiseCrypto.chaCha20Poly1305Encrypt(message, nonce, ad, key))).toEqual(expected)
      // the library hands over room for the plaintext that holds the ciphertext
      for (const dst of [undefined, expected.slice(0, length)]) expect(whole(noiseCrypto.chaCha20Poly1305Decrypt(parted(expected, cuts), nonce, ad, key, dst))).toEqual(plaintext)
    }), { numRuns: 60 })
  })

  it('does not open what a single bit of was changed, under another nonce, or with other data beside it', () => {
    fc.assert(fc.property(lengths, fc.nat(), (length, bit) => {
      const [key, nonce] = [randomBytes(32), randomBytes(12)]
      const sealed = whole(noiseCrypto.chaCha20Poly1305Encrypt(randomBytes(length), nonce, none, key))
      const changed = sealed.slice()
      const at = bit % (sealed.byteLength * 8)
      changed[at >> 3] = (changed[at >> 3] ?? 0) ^ (1 << (at & 7))
      const attempts = [[changed, nonce, none], [sealed, randomBytes(12), none], [sealed, nonce, randomBytes(1)]] as const
      for (const [bytes, n, ad] of attempts) expect(() => noiseCrypto.chaCha20Poly1305Decrypt(bytes.slice(), n, ad, key)).toThrow()
    }), { numRuns: 60 })
  })

  it('knows two keys apart', () => {
    const [one, other, nonce] = [randomBytes(32), randomBytes(32), randomBytes(12)]
    const sealed = whole(noiseCrypto.chaCha20Poly1305Encrypt(randomBytes(4096), nonce, none, one))
    expect(() => noiseCrypto.chaCha20Poly1305Decrypt(sealed, nonce, none, other)).toThrow()
    expect(noiseCrypto.chaCha20Poly1305Decrypt(sealed, nonce, none, one).byteLength).toBe(4096)
  })

  it('reads the length of a message however it is cut, and waits for the whole of it', () => {
    for (const pieces of [[[0x12, 0x34, 9]], [[0x12], [0x34, 9]], [[], [0x12], [0x34]]]) expect(messageLength(new Uint8ArrayList(...pieces.map((piece) => Uint8Array.from(piece))))).toBe(0x1234)
    for (const pieces of [[], [[0x12]], [[], [0x12]]]) expect(() => messageLength(new Uint8ArrayList(...pieces.map((piece) => Uint8Array.from(piece))))).toThrow(RangeError)
  })
})
