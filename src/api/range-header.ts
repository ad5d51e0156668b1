import type { ByteRange } from '../objects/index.ts'

/**
 * A Range header of one range (RFC 9110 §14.2); undefined for what a server may ignore: other units, several ranges, malformed ones. The last 0 bytes are a
 * range that no object has.
 */
export function byteRangeOf (header: string | undefined): ByteRange | undefined {
  const match = /^bytes=(\d*)-(\d*)$/i.exec(header ?? '')
  if (match === null) return undefined
  const [, first = '', last = ''] = match
  if (first === '') return last === '' ? undefined : Number(last) === 0 ? { first: 0, last: -1 } : { first: -Number(last) }
  const range = { first: Number(first), last: last === '' ? undefined : Number(last) }
  return range.last !== undefined && range.last < range.first ? undefined : range
}
