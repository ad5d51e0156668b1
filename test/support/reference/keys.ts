import { blake3 } from '@noble/hashes/blake3.js'
import { expand, hkdf } from '@noble/hashes/hkdf.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { cat, text, u8 } from './bytes.ts'

/** docs/FORMAT.md, "Keys". */
export const H = (...parts: readonly Uint8Array[]): Uint8Array => blake3(cat(...parts))
export const Hk = (key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array => blake3(cat(...parts), { key })
export const HK = (secret: Uint8Array, clusterId: Uint8Array, label: string, x: Uint8Array = new Uint8Array(0)): Uint8Array =>
  hkdf(sha256, secret, clusterId, cat(text(`dfs/v1/${label}`), u8(0), x), 32)
export const hkdfSha256 = (input: Uint8Array, salt: Uint8Array, info: Uint8Array, length: number): Uint8Array => hkdf(sha256, input, salt, info, length)
export const hkdfExpand = (key: Uint8Array, info: Uint8Array, length: number): Uint8Array => expand(sha256, key, info, length)

/** The keys of one epoch, from S_e; `bucket`: 16 bytes, or none for a domain that is the whole cluster. */
export const epochKeys = (secret: Uint8Array, clusterId: Uint8Array, bucket?: Uint8Array): Record<'conv' | 'gear' | 'rand' | 'row' | 'salt' | 'vote' | 'del' | 'check', Uint8Array> => ({
  conv: HK(secret, clusterId, 'chunk-convergence', bucket),
  gear: HK(secret, clusterId, 'gear', bucket),
  rand: HK(secret, clusterId, 'random-key'),
  row: HK(secret, clusterId, 'row-key'),
  salt: HK(secret, clusterId, 'row-salt'),
  vote: HK(secret, clusterId, 'vote'),
  del: HK(secret, clusterId, 'delete'),
  check: HK(secret, clusterId, 'check'),
})

/** The keys that follow from N. */
export const nameKeys = (names: Uint8Array, clusterId: Uint8Array): Record<'name' | 'checkN', Uint8Array> =>
  ({ name: HK(names, clusterId, 'name'), checkN: HK(names, clusterId, 'check') })
