import { InvalidInput } from '../base/errors.ts'
import { NoSuchRange } from './errors.ts'
import type { ByteRange } from './index.ts'

/**
 * A range resolved against a size, as RFC 9110 §14.1.2 does: cut at the end, "last n" for a negative first. First inclusive, end exclusive.
 * @throws NoSuchRange if it holds no byte of the object, InvalidInput
 */
export function resolveRange (range: ByteRange | undefined, sizeBytes: number): { first: number, end: number } {
  if (range === undefined) return { first: 0, end: sizeBytes }
  if (range.first < 0 && range.last !== undefined) throw new InvalidInput('range', 'a range that counts from the end goes to the end, and has no last byte')
  const first = range.first < 0 ? Math.max(0, sizeBytes + range.first) : range.first
  const end = range.first < 0 ? sizeBytes : Math.min(sizeBytes, (range.last ?? sizeBytes - 1) + 1)
  if (!Number.isInteger(first) || !Number.isInteger(end) || first >= end) {
    throw new NoSuchRange(sizeBytes, (range.last ?? range.first) < range.first ? `the range has no byte; the object has ${sizeBytes}` : `bytes ${range.first} to ${range.last ?? 'the end'} are not within an object of ${sizeBytes} bytes`)
  }
  return { first, end }
}
