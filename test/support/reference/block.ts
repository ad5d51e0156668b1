import { type Okm, okmOf, open, seal } from './aead.ts'
import { cat, demand, fieldsOf, same, text, u32, u8 } from './bytes.ts'
import { H, Hk, hkdfExpand } from './keys.ts'

/** docs/FORMAT.md, "Blocks". Numbers as they stand in the bytes, so that tests can write blocks that nobody should read. */
export interface BlockHead { readonly version?: number, readonly suite?: number, readonly type: number, readonly flags: number, readonly length: number, readonly epoch: number }

export const blockHeader = ({ version = 1, suite = 1, type, flags, length, epoch }: BlockHead): Uint8Array =>
  cat(text('DFSB'), u8(version), u8(suite), u8(type), u8(flags), u32(length), u32(epoch))

export const convergentPh = (conv: Uint8Array, header: Uint8Array, payload: Uint8Array): Uint8Array => Hk(conv, header, payload)
export const randomPh = (rand: Uint8Array, fresh: Uint8Array, header: Uint8Array, payload: Uint8Array): Uint8Array => Hk(rand, fresh, header, payload)
export const blockKeys = (ph: Uint8Array): Okm => okmOf(hkdfExpand(ph, text('dfs/v1/block'), 76))

/** `commitment`: another than the key's, for a block that two keys might open. */
export function block (header: Uint8Array, ph: Uint8Array, payload: Uint8Array, commitment = blockKeys(ph).commitment): Uint8Array {
  const aad = cat(header, commitment)
  return cat(aad, seal(blockKeys(ph), aad, payload))
}

export const cidBytes = (bytes: Uint8Array): Uint8Array => cat(Uint8Array.of(0x01, 0x55, 0x1e, 0x20), H(bytes))

export interface ExpectedBlock { readonly type: number, readonly digest: Uint8Array, readonly ph: Uint8Array, readonly length: number }

export function openBlock (bytes: Uint8Array, { type, digest, ph, length }: ExpectedBlock): { flags: number, epoch: number, payload: Uint8Array } {
  demand(bytes.length === length && length >= 64, 'length')
  demand(same(H(bytes), digest), 'address')
  const fields = fieldsOf(bytes)
  demand(same(fields.take(4), text('DFSB')) && fields.u8() === 1 && fields.u8() === 1 && fields.u8() === type, 'header')
  const [flags, payloadLength, epoch, commitment] = [fields.u8(), fields.u32(), fields.u32(), fields.take(32)]
  demand(flags <= 2 && payloadLength === length - 64, 'header')
  demand(same(commitment, blockKeys(ph).commitment), 'commitment')
  return { flags, epoch, payload: open(blockKeys(ph), bytes.slice(0, 48), fields.rest()) }
}
