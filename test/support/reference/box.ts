import { x25519 } from '@noble/curves/ed25519.js'
import { open, seal } from './aead.ts'
import { cat, demand, demanded, fieldsOf, text, u32, u8 } from './bytes.ts'
import { Hk, hkdfSha256 } from './keys.ts'

/** docs/FORMAT.md, "Boxes". */
export interface Ring { readonly names: Uint8Array, readonly epochs: ReadonlyArray<readonly [number, Uint8Array]> }

export const exchangeKeyOf = (seed: Uint8Array): Uint8Array => x25519.getPublicKey(seed)
export const ringPurpose = (era: number): Uint8Array => cat(text('ring'), u32(era))
export const ring = ({ names, epochs }: Ring): Uint8Array => cat(names, u32(epochs.length), ...epochs.flatMap(([epoch, secret]) => [u32(epoch), secret]))

export function box (plaintext: Uint8Array, { clusterId, purpose, kx, fresh }: { clusterId: Uint8Array, purpose: Uint8Array, kx: Uint8Array, fresh: Uint8Array }): Uint8Array {
  const ephemeral = Hk(fresh, kx, purpose, plaintext)
  const epk = exchangeKeyOf(ephemeral)
  return cat(epk, seal(boxKeys(x25519.getSharedSecret(ephemeral, kx), { clusterId, purpose, epk, kx }), new Uint8Array(0), plaintext))
}

export function openBox (bytes: Uint8Array, { seed, clusterId, purpose }: { seed: Uint8Array, clusterId: Uint8Array, purpose: Uint8Array }): Ring {
  const fields = fieldsOf(bytes)
  const epk = fields.take(32)
  const shared = demanded(() => x25519.getSharedSecret(seed, epk), 'a secret that everybody knows')
  const plaintext = fieldsOf(open(boxKeys(shared, { clusterId, purpose, epk, kx: exchangeKeyOf(seed) }), new Uint8Array(0), fields.rest()))
  const [names, count] = [plaintext.take(32), plaintext.u32()]
  demand(count >= 1 && count <= 4096, 'epochs')
  const epochs = Array.from({ length: count }, () => [plaintext.u32(), plaintext.take(32)] as const)
  plaintext.end()
  demand(epochs.every(([epoch], i) => epoch > (epochs[i - 1]?.[0] ?? 0)), 'order')
  return { names, epochs }
}

function boxKeys (shared: Uint8Array, { clusterId, purpose, epk, kx }: { clusterId: Uint8Array, purpose: Uint8Array, epk: Uint8Array, kx: Uint8Array }): { key: Uint8Array, nonce: Uint8Array } {
  const fields = fieldsOf(hkdfSha256(shared, clusterId, cat(text('dfs/v1/box'), u8(0), purpose, epk, kx), 44))
  return { key: fields.take(32), nonce: fields.take(12) }
}
