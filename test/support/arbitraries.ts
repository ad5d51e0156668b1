import fc from 'fast-check'
import type { Random } from '../../src/base/random.ts'

/** What properties over formats draw. */
export const bytesOf = (length: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: length, maxLength: length })
export const payloads = (maxLength = 600): fc.Arbitrary<Uint8Array> => fc.uint8Array({ maxLength, size: 'max' })
export const epochs = fc.oneof(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 0xffff_ffff }))
export const u64s = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
/** Well-formed, at most 255 bytes of UTF-8. */
export const zones = fc.string({ unit: 'grapheme', maxLength: 20 }).filter((zone) => new TextEncoder().encode(zone).length <= 255)

/** Randomness that gives these bytes, in this order, and then no more. */
export function scripted (...draws: readonly Uint8Array[]): Random {
  const left = [...draws]
  return {
    bytes (length) {
      const next = left.shift()
      if (next?.byteLength !== length) throw new Error(`${length} random bytes were not expected`)
      return next
    },
    fraction: () => 0,
  }
}
