import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject } from 'node:crypto'
import { type ICryptoInterface, noise } from '@chainsafe/libp2p-noise'
import { asCrypto, defaultCrypto } from '@chainsafe/libp2p-noise/crypto'
import { Uint8ArrayList } from 'uint8arraylist'
import { free } from '../base/lease.ts'

/**
 * What noise seals messages with, at a fraction of the library's price (@libp2p/noise 17.0): Node makes a cipher from bare key bytes in 15 µs, most of it an
 * error that it throws and catches to learn what they are, and from a KeyObject in 2. The library's default joins what it sealed, too: one copy more.
 */
export const noiseCrypto: ICryptoInterface = {
  ...defaultCrypto,

  chaCha20Poly1305Encrypt (plaintext, nonce, ad, key) {
    if (plaintext.byteLength < shortBytes) return asCrypto.chaCha20Poly1305Encrypt(plaintext, nonce, ad, key)
    const cipher = createCipheriv(algorithm, keyObjectOf(key), nonce, { authTagLength: tagLength })
    if (ad.byteLength > 0) cipher.setAAD(ad, { plaintextLength: plaintext.byteLength })
    const sealed = new Uint8ArrayList()
    for (const piece of piecesOf(plaintext)) sealed.append(cipher.update(piece))
    cipher.final()
    sealed.append(cipher.getAuthTag())
    return sealed
  },

  /** `dst`: the ciphertext without its tag in one piece, for the library has made it already. @throws if a single bit differs */
  chaCha20Poly1305Decrypt (ciphertext, nonce, ad, key, dst) {
    if (ciphertext.byteLength < shortBytes) return asCrypto.chaCha20Poly1305Decrypt(ciphertext, nonce, ad, key, dst)
    const length = ciphertext.byteLength - tagLength
    const decipher = createDecipheriv(algorithm, keyObjectOf(key), nonce, { authTagLength: tagLength })
    if (ad.byteLength > 0) decipher.setAAD(ad, { plaintextLength: length })
    decipher.setAuthTag(ciphertext.subarray(length))
    const plaintext = decipher.update(dst ?? ciphertext.subarray(0, length))
    decipher.final()
    // a copy that the library made of pieces; where there was one piece it is a part of what was received, whose tag stands behind it
    if (dst !== undefined && dst.byteLength === dst.buffer.byteLength) free(dst)
    return plaintext
  },
}

type Encrypter = Record<'secureInbound' | 'secureOutbound', (...args: readonly unknown[]) => Promise<{ readonly connection: { readonly decoder?: { lengthDecoder?: unknown } } }>>

/** Noise with these, which learns that a message has not come whole yet from an error that is there already: the library makes one for every read of a socket. */
export function sparingNoise (): unknown {
  const make = noise({ crypto: noiseCrypto })
  return (components: never): unknown => {
    const encrypter = make(components) as unknown as Encrypter
    for (const name of ['secureInbound', 'secureOutbound'] as const) {
      const secure = encrypter[name].bind(encrypter)
      encrypter[name] = async (...args) => {
        const secured = await secure(...args)
        const { decoder } = secured.connection
        if (decoder?.lengthDecoder !== undefined) decoder.lengthDecoder = messageLength
        return secured
      }
    }
    return encrypter
  }
}

const notYet = new RangeError('the length of a message has not come yet')

/** u16. @throws RangeError, which the library takes for "wait" */
export function messageLength (received: Uint8ArrayList): number {
  if (received.byteLength < 2) throw notYet
  return received.get(0) * 256 + received.get(1)
}

const algorithm = 'chacha20-poly1305'
const tagLength = 16

/** Below it WebAssembly is faster: there is no cipher to be made. */
const shortBytes = 512
/** A call into OpenSSL costs as much as copying so many. */
const joinedBytes = 16 * 1024

const piecesOf = (bytes: Uint8Array | Uint8ArrayList): Iterable<Uint8Array> => bytes instanceof Uint8Array ? [bytes] : bytes.byteLength <= joinedBytes ? [bytes.subarray()] : bytes

/** A session's keys are two arrays, which live as long as it does. */
const keyObjects = new WeakMap<Uint8Array, KeyObject>()

function keyObjectOf (key: Uint8Array): KeyObject {
  let known = keyObjects.get(key)
  if (known === undefined) keyObjects.set(key, known = createSecretKey(key))
  return known
}
