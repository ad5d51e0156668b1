import { concat, utf8 } from '../base/bytes.ts'
import { Corrupt } from '../base/errors.ts'
import { keyedHash } from '../base/hash.ts'
import type { Random } from '../base/random.ts'
import { oneTimeKeys, okmLength, opened, sealInto, tagLength } from './aead.ts'
import { expanded } from './keys.ts'

/**
 * Sealing for this node's own disk under K_disk: pages of the listing index. As with rows, a salt that is a keyed hash of fresh randomness and content
 * gives every page keys of its own, so however many are written no nonce repeats.
 *
 * sealed = salt(32) | ct | tag(16); aad = what the caller binds it to.
 */
const saltLength = 32
const info = concat([utf8('dfs/v1/local'), Uint8Array.of(0)])

export interface LocalSealer {
  seal (aad: Uint8Array, plaintext: Uint8Array): Uint8Array
  /** @throws Corrupt */
  open (aad: Uint8Array, sealed: Uint8Array): Uint8Array
}

/** `diskKey`: 32 bytes, this node's own. */
export function localSealer (diskKey: Uint8Array, random: Random): LocalSealer {
  const keysOf = (salt: Uint8Array): ReturnType<typeof oneTimeKeys> => oneTimeKeys(expanded(diskKey, concat([info, salt]), okmLength))
  return {
    seal (aad, plaintext) {
      const salt = keyedHash(diskKey, random.bytes(32), aad, plaintext)
      const sealed = new Uint8Array(saltLength + plaintext.byteLength + tagLength)
      sealed.set(salt)
      sealInto(sealed, saltLength, keysOf(salt), aad, plaintext)
      return sealed
    },
    open (aad, sealed) {
      const plaintext = sealed.byteLength < saltLength + tagLength ? undefined : opened(keysOf(sealed.subarray(0, saltLength)), aad, sealed.subarray(saltLength))
      if (plaintext === undefined) throw new Corrupt('a page sealed for this disk is damaged')
      return plaintext
    },
  }
}
