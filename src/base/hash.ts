import { Blake3Hasher, blake3 } from '@napi-rs/blake-hash'
import { concat, empty, equals } from './bytes.ts'

/** Length of every digest and key here, in bytes. */
export const hashLength = 32

const bufferOf = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
const plain = (buffer: Buffer): Uint8Array => new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength)

/** BLAKE3-256 of the concatenated parts (https://github.com/BLAKE3-team/BLAKE3-specs). 32 bytes. */
export function hash (...parts: readonly Uint8Array[]): Uint8Array {
  const [first = empty, ...more] = joined(parts)
  return more.length === 0 ? plain(blake3(bufferOf(first))) : digestOf(new Blake3Hasher(), [first, ...more])
}

/** Keyed BLAKE3-256 of the concatenated parts. `key` is 32 bytes; so is the result. */
export function keyedHash (key: Uint8Array, ...parts: readonly Uint8Array[]): Uint8Array {
  return digestOf(Blake3Hasher.newKeyed(bufferOf(key)), joined(parts))
}

/** The bytes, and behind them their hash, by which `withoutDigest` knows them again. */
export const withDigest = (body: Uint8Array): Uint8Array => concat([body, hash(body)])

/** What stands before the hash. Undefined if a single bit of either changed. */
export function withoutDigest (bytes: Uint8Array): Uint8Array | undefined {
  const body = bytes.subarray(0, -hashLength)
  return equals(hash(body), bytes.subarray(-hashLength)) ? body : undefined
}

/** Incremental BLAKE3-256, for what does not fit in memory at once. */
export function streamingHash (): { update (bytes: Uint8Array): void, digest (): Uint8Array } {
  const hasher = new Blake3Hasher()
  return { update: (bytes) => { hasher.update(bufferOf(bytes)) }, digest: () => plain(hasher.digestBuffer()) }
}

// a call into the library costs as much as hashing 4 KiB
const joined = (parts: readonly Uint8Array[]): readonly Uint8Array[] => parts.length > 1 && parts.reduce((sum, { byteLength }) => sum + byteLength, 0) <= maxJoinedBytes ? [concat([...parts])] : parts
const maxJoinedBytes = 16 * 1024

function digestOf (hasher: Blake3Hasher, parts: readonly Uint8Array[]): Uint8Array {
  for (const part of parts) hasher.update(bufferOf(part))
  return plain(hasher.digestBuffer())
}
