import { hkdfSync, timingSafeEqual } from 'node:crypto'
import { hashRaw } from '@node-rs/argon2'
import { decode, encode } from 'cborg'
import { ByteReader, ByteWriter, concat, equals, MalformedBytes, utf8 } from '../base/bytes.ts'
import { Corrupt, Refused } from '../base/errors.ts'
import { keyedHash } from '../base/hash.ts'
import type { Random } from '../base/random.ts'
import { oneTimeKeys, okmLength, opened, sealInto, tagLength } from './aead.ts'
import { hasEpochs, type Ring } from './box.ts'

/**
 * Everything secret that a node has, in one file under a passphrase or a key file (docs/FORMAT.md, "Keyring"). The head is what the keys are derived
 * from, so a changed head derives others; its costs are bounded before anything is derived, so a forged file cannot make a node work for hours.
 */
export interface Keyring {
  /** Ed25519 seed of the node's identity, 32 bytes. */
  readonly nodeSeed: Uint8Array
  /** X25519 seed, 32 bytes: key boxes are sealed to it. */
  readonly exchangeSeed: Uint8Array
  /** K_disk, 32 bytes: seals what only this node reads. */
  readonly diskKey: Uint8Array
  readonly clusterId: Uint8Array
  /** Absent on a storage node, which has no data key. */
  readonly ring: Ring | undefined
  /** Seed of the cluster's authority; only where the cluster was made. */
  readonly authoritySeed: Uint8Array | undefined
  /** Secrets of epochs to come, held for the day that an era demands one of them. Nothing is sealed in them. At most `keyringLimits.maxPrepared`. */
  readonly prepared?: readonly PreparedEpoch[]
}

export interface PreparedEpoch { readonly epoch: number, readonly secret: Uint8Array }

/** What opens a keyring. A key file holds 32 bytes; beside the keyring it protects nothing from whoever has the folder. */
export type KeyringKey = { readonly kind: 'passphrase', readonly passphrase: string } | { readonly kind: 'key', readonly key: Uint8Array }

/** The library's number for it; its enum does not outlive compilation. */
const argon2id = 2
const magic = utf8('DFSK')
const formatVersion = 1
const headLength = 84
const commitmentLength = 32
const kinds = { passphrase: 1, key: 2 } as const
/** RFC 9106's second choice; 64 MiB and three passes take about 50 ms here. */
const cost = { memoryKiB: 64 * 1024, passes: 3, lanes: 1 } as const
export const keyringLimits = {
  /** Removals that began at the same time, or were cut off. */
  maxPrepared: 8,
  maxFileBytes: 1024 * 1024,
  maxMemoryKiB: 1024 * 1024,
  maxPasses: 16,
  maxLanes: 4,
  /** Memory times passes, in KiB: 4 GiB. */
  maxWorkKiB: 4 * 1024 * 1024,
} as const
/** RFC 9106 §3.1. */
const leastLaneKiB = 8
const keyringInfo = concat([utf8('dfs/v1/keyring'), Uint8Array.of(0)])

/** The file's bytes. Every writing derives fresh keys. */
export async function sealKeyring (keyring: Keyring, key: KeyringKey, random: Random): Promise<Uint8Array> {
  const plaintext = encodeKeyring(keyring)
  const { memoryKiB, passes, lanes } = key.kind === 'passphrase' ? cost : { memoryKiB: 0, passes: 0, lanes: 0 }
  const head = new ByteWriter().raw(magic).u8(formatVersion).u8(kinds[key.kind]).u16(0).u32(memoryKiB).u32(passes).u32(lanes)
    .raw(random.bytes(32)).raw(keyedHash(random.bytes(32), plaintext)).finish()
  const keys = await keysOf(head, key)
  const file = new Uint8Array(headLength + commitmentLength + plaintext.byteLength + tagLength)
  file.set(head)
  file.set(keys.commitment, headLength)
  sealInto(file, headLength + commitmentLength, keys, file.subarray(0, headLength + commitmentLength), plaintext)
  return file
}

/** @throws Refused if the key is wrong or the costs are too high; Corrupt if it is no keyring */
export async function openKeyring (file: Uint8Array, key: KeyringKey): Promise<Keyring> {
  if (file.byteLength > keyringLimits.maxFileBytes || file.byteLength < headLength + commitmentLength + tagLength) throw new Corrupt(`a keyring of ${file.byteLength} bytes is none`)
  const head = file.subarray(0, headLength)
  checkHead(head, key)
  const keys = await keysOf(head, key)
  const aad = file.subarray(0, headLength + commitmentLength)
  const isCommitted = timingSafeEqual(keys.commitment, aad.subarray(headLength))
  const plaintext = isCommitted ? opened(keys, aad, file.subarray(aad.byteLength)) : undefined
  if (plaintext === undefined) throw new Refused(`the ${key.kind === 'passphrase' ? 'passphrase' : 'key file'} does not open the keyring, or the keyring is damaged`)
  return decodeKeyring(plaintext)
}

/**
 * The same keyrings under another key. Give it every copy that there is, the previous one too: one left behind would still open by the old key. A copy
 * that opens by the new one stands already, so a change that was cut off half way is repeated. @throws as openKeyring, before anything is sealed
 */
export async function rekeyed (copies: readonly Uint8Array[], { from, to, random }: { from: KeyringKey, to: KeyringKey, random: Random }): Promise<readonly Uint8Array[]> {
  const keyrings: Keyring[] = []
  for (const copy of copies) keyrings.push(await openedByEither(copy, from, to))
  const sealed: Uint8Array[] = []
  for (const keyring of keyrings) sealed.push(await sealKeyring(keyring, to, random))
  return sealed
}

async function openedByEither (copy: Uint8Array, from: KeyringKey, to: KeyringKey): Promise<Keyring> {
  try {
    return await openKeyring(copy, from)
  } catch (refusal) {
    if (!(refusal instanceof Refused)) throw refusal
    try { return await openKeyring(copy, to) } catch { throw refusal } // by neither: it is about the key that the user took for the right one
  }
}

function checkHead (head: Uint8Array, key: KeyringKey): void {
  const reader = new ByteReader(head)
  const isOurs = equals(reader.raw(4), magic) && reader.u8() === formatVersion
  const kind = reader.u8()
  if (!isOurs || (kind !== kinds.passphrase && kind !== kinds.key) || reader.u16() !== 0) throw new Corrupt('this is no keyring that this dfs knows')
  if (kind !== kinds[key.kind]) throw new Refused(kind === kinds.passphrase ? 'the keyring opens with a passphrase' : 'the keyring opens with a key file')
  const { memoryKiB, passes, lanes } = costsIn(head)
  const { maxMemoryKiB, maxPasses, maxLanes, maxWorkKiB } = keyringLimits
  if (memoryKiB > maxMemoryKiB || passes > maxPasses || lanes > maxLanes || memoryKiB * passes > maxWorkKiB) throw new Refused('the keyring asks for more work to open it than any that dfs writes')
  const isPossible = key.kind === 'key' ? memoryKiB === 0 && passes === 0 && lanes === 0 : passes >= 1 && lanes >= 1 && memoryKiB >= leastLaneKiB * lanes
  if (!isPossible) throw new Corrupt('the keyring\'s costs are none that its key can have')
}

function costsIn (head: Uint8Array): { memoryKiB: number, passes: number, lanes: number } {
  const reader = new ByteReader(head.subarray(8))
  return { memoryKiB: reader.u32(), passes: reader.u32(), lanes: reader.u32() }
}

async function keysOf (head: Uint8Array, key: KeyringKey): Promise<ReturnType<typeof oneTimeKeys>> {
  const [salt, w] = [head.subarray(20, 52), head.subarray(52, 84)]
  const secret = key.kind === 'key' ? key.key : await stretched(key.passphrase, salt, head)
  return oneTimeKeys(new Uint8Array(hkdfSync('sha256', secret, w, concat([keyringInfo, head]), okmLength)))
}

async function stretched (passphrase: string, salt: Uint8Array, head: Uint8Array): Promise<Uint8Array> {
  const { memoryKiB, passes, lanes } = costsIn(head)
  return hashRaw(utf8(passphrase.normalize('NFKC')), { algorithm: argon2id, salt, memoryCost: memoryKiB, timeCost: passes, parallelism: lanes, outputLen: 32 })
}

// the last field is there if it says something: without it a keyring is as it always was
function encodeKeyring ({ nodeSeed, exchangeSeed, diskKey, clusterId, ring, authoritySeed, prepared = [] }: Keyring): Uint8Array {
  const epochs = ring === undefined ? null : [...ring.epochs].sort(([a], [b]) => a - b)
  const fields = [nodeSeed, exchangeSeed, diskKey, clusterId, ring?.names ?? null, epochs, authoritySeed ?? null]
  return encode(prepared.length === 0 ? fields : [...fields, prepared.map(({ epoch, secret }) => [epoch, secret])])
}

/** @throws Corrupt unless it is a keyring's plaintext in its only spelling */
function decodeKeyring (plaintext: Uint8Array): Keyring {
  let keyring: Keyring
  try { keyring = readKeyring(decode(plaintext)) } catch (cause) { throw new Corrupt('the keyring holds what this dfs cannot read', { cause }) }
  if (!equals(encodeKeyring(keyring), plaintext)) throw new Corrupt('the keyring holds what this dfs would have written otherwise')
  return keyring
}

function readKeyring (fields: unknown): Keyring {
  if (!Array.isArray(fields)) throw new MalformedBytes('no array')
  const [nodeSeed, exchangeSeed, diskKey, clusterId, names, epochs, authoritySeed, prepared] = fields as readonly unknown[]
  return {
    nodeSeed: bytesIn(nodeSeed, 32),
    exchangeSeed: bytesIn(exchangeSeed, 32),
    diskKey: bytesIn(diskKey, 32),
    clusterId: bytesIn(clusterId, 16),
    ring: names === null ? undefined : readRing(names, epochs),
    authoritySeed: authoritySeed === null ? undefined : bytesIn(authoritySeed, 32),
    ...(prepared === undefined ? {} : { prepared: (prepared as Array<[number, unknown]>).map(([epoch, secret]) => ({ epoch, secret: bytesIn(secret, 32) })) }),
  }
}

function readRing (names: unknown, epochs: unknown): Ring {
  const ring = { names: bytesIn(names, 32), epochs: new Map((epochs as Array<[number, unknown]>).map(([epoch, secret]) => [epoch, bytesIn(secret, 32)])) }
  if (!hasEpochs(ring)) throw new MalformedBytes('epochs count from 1')
  return ring
}

function bytesIn (value: unknown, length: number): Uint8Array {
  if (!(value instanceof Uint8Array) || value.byteLength !== length) throw new MalformedBytes(`a field has ${length} bytes`)
  return value
}
