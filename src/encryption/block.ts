import { timingSafeEqual } from 'node:crypto'
import { ByteReader, ByteWriter, equals, utf8 } from '../base/bytes.ts'
import { Corrupt } from '../base/errors.ts'
import { hash, keyedHash } from '../base/hash.ts'
import { oneTimeKeys, okmLength, opened, sealInto, tagLength } from './aead.ts'
import { expanded } from './keys.ts'

/**
 * A block: one sealed chunk or manifest node (docs/FORMAT.md, "Blocks"). `ph`, the keyed hash of header and payload, gives key, nonce and commitment, so
 * one (key, nonce) serves one plaintext: through restarts, cloned machines, repeated randomness. The associated data holds only what `ph` determines;
 * adding anything else would seal two things under one key.
 */
export const blockTypes = { data: 1, manifest: 2 } as const
export type BlockType = keyof typeof blockTypes

/** What was done to the payload before it was sealed. Never both. */
export const blockFlags = { plain: 0, compressed: 1, padded: 2 } as const
export type BlockFlag = keyof typeof blockFlags

const magic = utf8('DFSB')
const formatVersion = 1
const suite = 1
const headerLength = 16
const commitmentLength = 32
/** A block is this much longer than its payload. */
export const blockOverhead = headerLength + commitmentLength + tagLength
const blockInfo = utf8('dfs/v1/block')

export interface SealedBlock {
  /** The whole block. */
  readonly bytes: Uint8Array
  /** H(block), 32 bytes: its address. */
  readonly digest: Uint8Array
  /** What opens it, 32 bytes; stands in the manifest or the row above. */
  readonly ph: Uint8Array
}

export interface BlockToSeal {
  readonly type: BlockType
  readonly flag: BlockFlag
  readonly epoch: number
  readonly payload: Uint8Array
  /** Equal payloads give equal blocks under one key; or, with 32 fresh random bytes, never. Manifests are always random. */
  readonly secret: { readonly kind: 'convergent', readonly key: Uint8Array } | { readonly kind: 'random', readonly key: Uint8Array, readonly fresh: Uint8Array }
}

export function sealBlock ({ type, flag, epoch, payload, secret }: BlockToSeal): SealedBlock {
  const header = new ByteWriter().raw(magic).u8(formatVersion).u8(suite).u8(blockTypes[type]).u8(blockFlags[flag]).u32(payload.byteLength).u32(epoch).finish()
  const ph = secret.kind === 'convergent' ? keyedHash(secret.key, header, payload) : keyedHash(secret.key, secret.fresh, header, payload)
  const keys = oneTimeKeys(expanded(ph, blockInfo, okmLength))
  const bytes = new Uint8Array(Buffer.allocUnsafeSlow(payload.byteLength + blockOverhead).buffer)
  bytes.set(header)
  bytes.set(keys.commitment, headerLength)
  const aad = bytes.subarray(0, headerLength + commitmentLength)
  sealInto(bytes, aad.byteLength, keys, aad, payload)
  return { bytes, digest: hash(bytes), ph }
}

export interface ExpectedBlock {
  readonly type: BlockType
  /** H(block), 32 bytes. */
  readonly digest: Uint8Array
  readonly ph: Uint8Array
  /** Of the whole block, as the entry above says it. */
  readonly lengthBytes: number
}

export interface OpenedBlock {
  readonly payload: Uint8Array
  readonly flag: BlockFlag
  readonly epoch: number
}

/** Checks in the order of docs/FORMAT.md: length, address, header, commitment, tag. @throws Corrupt; nothing of the payload leaves before all hold */
export function openBlock (bytes: Uint8Array, expected: ExpectedBlock): OpenedBlock {
  if (bytes.byteLength !== expected.lengthBytes || bytes.byteLength < blockOverhead) throw new Corrupt(`a block of ${bytes.byteLength} bytes where ${expected.lengthBytes} were expected`)
  if (!equals(hash(bytes), expected.digest)) throw new Corrupt('a block\'s bytes are not what its address says')
  const { flag, epoch } = checkedHeader(bytes, expected)
  const keys = oneTimeKeys(expanded(expected.ph, blockInfo, okmLength))
  const aad = bytes.subarray(0, headerLength + commitmentLength)
  if (!timingSafeEqual(keys.commitment, aad.subarray(headerLength))) throw new Corrupt('a block is sealed under another key')
  const payload = opened(keys, aad, bytes.subarray(aad.byteLength))
  if (payload === undefined) throw new Corrupt('a block is not authentic')
  return { payload, flag, epoch }
}

const flagsByNumber: readonly BlockFlag[] = ['plain', 'compressed', 'padded']

function checkedHeader (bytes: Uint8Array, expected: ExpectedBlock): { flag: BlockFlag, epoch: number } {
  const reader = new ByteReader(bytes)
  const isOurs = equals(reader.raw(4), magic) && reader.u8() === formatVersion && reader.u8() === suite
  const type = reader.u8()
  const flag = flagsByNumber[reader.u8()]
  const length = reader.u32()
  const epoch = reader.u32()
  if (!isOurs || flag === undefined || length !== bytes.byteLength - blockOverhead) throw new Corrupt('a block has a header that this version does not know')
  if (type !== blockTypes[expected.type]) throw new Corrupt(`a block of type ${type} where ${expected.type} was expected`)
  return { flag, epoch }
}

