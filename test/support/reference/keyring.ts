import { argon2id } from '@noble/hashes/argon2.js'
import { type Okm, okmOf, open, seal } from './aead.ts'
import { cat, demand, fieldsOf, same, text, u16, u32, u8 } from './bytes.ts'
import { type Cbor, cbor, fromCbor } from './cbor.ts'
import { Hk, hkdfSha256 } from './keys.ts'

/** docs/FORMAT.md, "Keyring". */
export interface Keyring {
  readonly nodeSeed: Uint8Array
  readonly exchangeSeed: Uint8Array
  readonly diskKey: Uint8Array
  readonly clusterId: Uint8Array
  readonly ring: { readonly names: Uint8Array, readonly epochs: ReadonlyArray<readonly [number, Uint8Array]> } | null
  readonly authoritySeed: Uint8Array | null
}
export type Secret = { readonly passphrase: string } | { readonly key: Uint8Array }
export interface Costs { readonly kib: number, readonly t: number, readonly p: number }
export const noCosts: Costs = { kib: 0, t: 0, p: 0 }

export const keyringPlaintext = ({ nodeSeed, exchangeSeed, diskKey, clusterId, ring, authoritySeed }: Keyring): Uint8Array =>
  cbor([nodeSeed, exchangeSeed, diskKey, clusterId, ring?.names ?? null, ring?.epochs ?? null, authoritySeed])

export const keyringHead = ({ version = 1, kdf, zero = 0, costs, salt, w }: { version?: number, kdf: number, zero?: number, costs: Costs, salt: Uint8Array, w: Uint8Array }): Uint8Array =>
  cat(text('DFSK'), u8(version), u8(kdf), u16(zero), u32(costs.kib), u32(costs.t), u32(costs.p), salt, w)

/** `salt` and `fresh`: 32 random bytes each. */
export function keyring (plaintext: Uint8Array, secret: Secret, { costs, salt, fresh }: { costs: Costs, salt: Uint8Array, fresh: Uint8Array }): Uint8Array {
  return keyringUnder(keyringHead({ kdf: 'passphrase' in secret ? 1 : 2, costs, salt, w: Hk(fresh, plaintext) }), secret, plaintext)
}

export function keyringUnder (head: Uint8Array, secret: Secret, plaintext: Uint8Array, commitment?: Uint8Array): Uint8Array {
  const keys = keyringKeys(head, secret)
  const aad = cat(head, commitment ?? keys.commitment)
  return cat(aad, seal(keys, aad, plaintext))
}

export function openKeyring (file: Uint8Array, secret: Secret): Keyring {
  demand(file.length <= 2 ** 20, 'file too long')
  const fields = fieldsOf(file)
  demand(same(fields.take(4), text('DFSK')) && fields.u8() === 1 && fields.u8() === ('passphrase' in secret ? 1 : 2) && fields.u16() === 0, 'head')
  demandBounded({ kib: fields.u32(), t: fields.u32(), p: fields.u32() }, secret)
  fields.take(64)
  const commitment = fields.take(32)
  const keys = keyringKeys(file.slice(0, 84), secret)
  demand(same(commitment, keys.commitment), 'commitment')
  return keyringIn(open(keys, file.slice(0, 116), fields.rest()))
}

function demandBounded ({ kib, t, p }: Costs, secret: Secret): void {
  demand(kib <= 2 ** 20 && t <= 16 && p <= 4 && kib * t <= 2 ** 22, 'costs too high')
  demand('passphrase' in secret ? t >= 1 && p >= 1 && kib >= 8 * p : kib === 0 && t === 0 && p === 0, 'costs that are none')
}

function keyringKeys (head: Uint8Array, secret: Secret): Okm {
  const fields = fieldsOf(head.slice(8))
  const [m, t, p, salt, w] = [fields.u32(), fields.u32(), fields.u32(), fields.take(32), fields.take(32)]
  const input = 'key' in secret ? secret.key : argon2id(text(secret.passphrase.normalize('NFKC')), salt, { m, t, p, dkLen: 32 })
  return okmOf(hkdfSha256(input, w, cat(text('dfs/v1/keyring'), u8(0), head), 76))
}

function keyringIn (plaintext: Uint8Array): Keyring {
  const fields = fromCbor(plaintext)
  demand(Array.isArray(fields) && fields.length === 7, 'plaintext')
  const [nodeSeed, exchangeSeed, diskKey, clusterId, names, epochs, authoritySeed] = fields as readonly Cbor[]
  demand(isBytes(nodeSeed, 32) && isBytes(exchangeSeed, 32) && isBytes(diskKey, 32) && isBytes(clusterId, 16), 'plaintext')
  demand(authoritySeed === null || isBytes(authoritySeed, 32), 'plaintext')
  if (names === null && epochs === null) return { nodeSeed, exchangeSeed, diskKey, clusterId, ring: null, authoritySeed }
  demand(isBytes(names, 32) && Array.isArray(epochs) && epochs.length > 0 && epochs.every(isEpoch) && epochs.every(([epoch], i) => epoch > (epochs[i - 1]?.[0] ?? 0)), 'plaintext')
  return { nodeSeed, exchangeSeed, diskKey, clusterId, ring: { names, epochs }, authoritySeed }
}

const isBytes = (value: Cbor | undefined, length: number): value is Uint8Array => value instanceof Uint8Array && value.length === length
const isEpoch = (value: Cbor): value is readonly [number, Uint8Array] => Array.isArray(value) && value.length === 2 && typeof value[0] === 'number' && value[0] < 2 ** 32 && isBytes(value[1], 32)
