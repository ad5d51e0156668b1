import { createPrivateKey, createPublicKey, diffieHellman, hkdfSync, type KeyObject } from 'node:crypto'
import { ByteReader, ByteWriter, concat, empty, equals, MalformedBytes, utf8 } from '../base/bytes.ts'
import { Corrupt } from '../base/errors.ts'
import { keyedHash } from '../base/hash.ts'
import { opened, sealInto, tagLength } from './aead.ts'

/** The secrets that a new member is given: N and every S_e. */
export interface Ring {
  readonly names: Uint8Array
  /** Never empty. */
  readonly epochs: ReadonlyMap<number, Uint8Array>
}

/** Epochs are u32s that count from 1, and a ring has one at least. */
export const hasEpochs = ({ epochs }: Ring): boolean => epochs.size > 0 && epochs.keys().every((epoch) => epoch >= 1 && epoch <= 0xffff_ffff && Number.isInteger(epoch))

const wrappings = { seed: Buffer.from('302e020100300506032b656e04220420', 'hex'), public: Buffer.from('302a300506032b656e032100', 'hex') } // RFC 8410
const boxInfo = utf8('dfs/v1/box')
const maxEpochs = 4096
const publicLength = 32

/** The X25519 public key (RFC 7748, 32 bytes) of a 32-byte seed. */
export const exchangeKeyOf = (seed: Uint8Array): Uint8Array => publicOf(privateOf(seed))

/** u32 era: what the box is for, so that one made for another era opens nothing. */
export const ringPurpose = (era: number): Uint8Array => concat([utf8('ring'), new ByteWriter().u32(era).finish()])

export interface BoxOptions {
  readonly clusterId: Uint8Array
  readonly purpose: Uint8Array
  /** The receiver's X25519 public key. */
  readonly to: Uint8Array
  /** 32 fresh random bytes. */
  readonly fresh: Uint8Array
}

/** Sealed to one receiver; the ephemeral key is a keyed hash of fresh randomness and content, so repeated randomness never reuses a key. */
export function sealRing (ring: Ring, { clusterId, purpose, to, fresh }: BoxOptions): Uint8Array {
  const plaintext = encodeRing(ring)
  const ephemeral = privateOf(keyedHash(fresh, to, purpose, plaintext))
  const epk = publicOf(ephemeral)
  const keys = boxKeys({ ours: ephemeral, theirs: to, clusterId, purpose, epk, kx: to })
  const box = new Uint8Array(publicLength + plaintext.byteLength + tagLength)
  box.set(epk)
  sealInto(box, publicLength, keys, empty, plaintext)
  return box
}

/** @throws Corrupt if it is not for this key and purpose, or damaged */
export function openRing (box: Uint8Array, { seed, clusterId, purpose }: { seed: Uint8Array, clusterId: Uint8Array, purpose: Uint8Array }): Ring {
  if (box.byteLength < publicLength + tagLength) throw new Corrupt('a key box is too short')
  const epk = box.subarray(0, publicLength)
  const ours = privateOf(seed)
  const plaintext = opened(boxKeys({ ours, theirs: epk, clusterId, purpose, epk, kx: publicOf(ours) }), empty, box.subarray(publicLength))
  if (plaintext === undefined) throw new Corrupt('a key box is not for this node, or damaged')
  return decodeRing(plaintext)
}

function boxKeys ({ ours, theirs, clusterId, purpose, epk, kx }: { ours: KeyObject, theirs: Uint8Array, clusterId: Uint8Array, purpose: Uint8Array, epk: Uint8Array, kx: Uint8Array }): { key: Uint8Array, nonce: Uint8Array } {
  const shared = sharedSecret(ours, theirs)
  const okm = new Uint8Array(hkdfSync('sha256', shared, clusterId, concat([boxInfo, Uint8Array.of(0), purpose, epk, kx]), 44))
  return { key: okm.subarray(0, 32), nonce: okm.subarray(32) }
}

// OpenSSL refuses points of low order, which would make the secret known to everybody
function sharedSecret (ours: KeyObject, theirs: Uint8Array): Uint8Array {
  try {
    return diffieHellman({ privateKey: ours, publicKey: createPublicKey({ key: Buffer.concat([wrappings.public, theirs]), format: 'der', type: 'spki' }) })
  } catch (cause) {
    throw new Corrupt('a key box has an exchange key that is none', { cause })
  }
}

const privateOf = (seed: Uint8Array): KeyObject => createPrivateKey({ key: Buffer.concat([wrappings.seed, seed]), format: 'der', type: 'pkcs8' })
const publicOf = (key: KeyObject): Uint8Array => new Uint8Array(createPublicKey(key).export({ format: 'der', type: 'spki' }).subarray(-publicLength))

function encodeRing ({ names, epochs }: Ring): Uint8Array {
  const writer = new ByteWriter().raw(names).u32(epochs.size)
  for (const [epoch, secret] of [...epochs].sort(([a], [b]) => a - b)) writer.u32(epoch).raw(secret)
  return writer.finish()
}

/** @throws Corrupt unless it is a ring in its only spelling: epochs ascend */
function decodeRing (bytes: Uint8Array): Ring {
  try {
    const ring = readRing(new ByteReader(bytes))
    if (!hasEpochs(ring) || !equals(encodeRing(ring), bytes)) throw new MalformedBytes('not the only spelling of a ring')
    return ring
  } catch (cause) {
    if (cause instanceof MalformedBytes) throw new Corrupt('a key box holds no ring', { cause })
    throw cause
  }
}

function readRing (reader: ByteReader): Ring {
  const names = reader.raw(32)
  const count = reader.u32()
  if (count > maxEpochs) throw new MalformedBytes(`${count} epochs`)
  return { names, epochs: new Map(Array.from({ length: count }, () => [reader.u32(), reader.raw(32)] as const)) }
}
