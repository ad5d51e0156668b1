import { constants, zstdCompressSync, zstdDecompressSync } from 'node:zlib'
import { Corrupt } from '../base/errors.ts'
import { free } from '../base/lease.ts'

/** zstd level 1 (RFC 8878): 0.5-1.5 GB/s on what compresses, 2.4 GB/s on what does not, so trying is cheaper than guessing. */
const level = 1
/** Kept only if it saves this share. */
const leastSaving = 0.05

/** The compressed bytes, or undefined if that is not worth it. */
export function compressed (bytes: Uint8Array): Uint8Array | undefined {
  if (bytes.byteLength === 0) return undefined
  // room for all at once: in the pieces of 16 KiB that are the default, it costs three times as much
  const smaller = zstdCompressSync(bytes, { params: { [constants.ZSTD_c_compressionLevel]: level }, chunkSize: bytes.byteLength + spareBytes })
  const kept = smaller.byteLength <= bytes.byteLength * (1 - leastSaving) ? new Uint8Array(smaller) : undefined
  free(smaller)
  return kept
}

/** What does not compress becomes a little longer. */
const spareBytes = 8 * 1024

/** Exactly `length` bytes: no more are ever made of it. @throws Corrupt */
export function decompressed (bytes: Uint8Array, length: number): Uint8Array {
  let plain: Uint8Array
  try {
    plain = zstdDecompressSync(bytes, { maxOutputLength: Math.max(1, length), chunkSize: length + 64 })
  } catch (cause) {
    throw new Corrupt('a chunk does not decompress to the length its manifest says', { cause })
  }
  if (plain.byteLength !== length) throw new Corrupt(`a chunk decompressed to ${plain.byteLength} bytes, not ${length}`)
  return new Uint8Array(plain.buffer, plain.byteOffset, plain.byteLength)
}
