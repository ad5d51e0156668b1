import { decode, encode } from 'cborg'
import { equals, MalformedBytes } from '../base/bytes.ts'

// RFC 8949 §4.2: one spelling for one value, so that equal rows are equal bytes on every voter

/** Deterministic CBOR of maps, arrays, text, bytes and integers. */
export const encodeCanonical = (value: unknown): Uint8Array => new Uint8Array(encode(value))

/** @throws MalformedBytes unless `bytes`, at most `maxBytes`, are one map in the spelling `encodeCanonical` gives, with exactly these keys, and perhaps the optional ones */
export function decodeCanonical (bytes: Uint8Array, keys: readonly string[], { maxBytes, optional = [] }: { maxBytes: number, optional?: readonly string[] }): Record<string, unknown> {
  if (bytes.byteLength > maxBytes) throw new MalformedBytes(`row of ${bytes.byteLength} bytes exceeds ${maxBytes}`)
  let value: unknown
  try {
    value = decode(bytes, { strict: true, allowIndefinite: false, allowUndefined: false, allowNaN: false, allowInfinity: false, rejectDuplicateMapKeys: true })
    if (!equals(encodeCanonical(value), bytes)) throw new MalformedBytes('not the deterministic spelling')
  } catch (cause) {
    throw new MalformedBytes('not a row of this table', { cause })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value) || value instanceof Uint8Array) throw new MalformedBytes('a row is a map')
  const names = Object.keys(value).filter((name) => !optional.includes(name))
  if (names.length !== keys.length || !keys.every((key) => names.includes(key))) throw new MalformedBytes(`a row has the keys ${keys.join(', ')}`)
  return value as Record<string, unknown>
}

/** @throws MalformedBytes */
export function bytesField (value: unknown, { min, max }: { min: number, max: number }): Uint8Array {
  if (!(value instanceof Uint8Array) || value.byteLength < min || value.byteLength > max) throw new MalformedBytes(`a field of ${min} to ${max} bytes`)
  return value.slice()
}

/** A whole number that JavaScript holds exactly. @throws MalformedBytes */
export function countField (value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw new MalformedBytes('not a whole number')
  return value
}
