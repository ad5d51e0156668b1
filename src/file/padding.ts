import { Corrupt } from '../base/errors.ts'

/**
 * Padmé (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", PETS 2019): lengths fall into few classes, at a
 * cost of at most 12 %. Used for the last chunk of files in private buckets.
 */
export function padmeLength (length: number): number {
  if (length < 2) return length
  const exponent = Math.floor(Math.log2(length))
  const bitsOfExponent = Math.floor(Math.log2(exponent)) + 1
  const mask = 2 ** Math.max(0, exponent - bitsOfExponent) - 1
  return length + mask - (length + mask) % (mask + 1)
}

export function padded (bytes: Uint8Array, { most }: { most: number }): Uint8Array {
  const result = new Uint8Array(Math.min(most, padmeLength(bytes.byteLength)))
  result.set(bytes)
  return result
}

/** The first `length` bytes, if zeros and nothing else follow, up to the class of that length. @throws Corrupt */
export function unpadded (bytes: Uint8Array, length: number): Uint8Array {
  if (bytes.byteLength < length || bytes.byteLength > padmeLength(length)) throw new Corrupt(`a chunk padded to ${bytes.byteLength} bytes, for ${length} of content`)
  if (bytes.subarray(length).some((byte) => byte !== 0)) throw new Corrupt('a chunk is padded with something else than zeros')
  return bytes.subarray(0, length)
}
