/**
 * A second implementation of docs/FORMAT.md, written from that page alone: one file a format, over @noble, without a line of src/. Slow and plain on
 * purpose. What it refuses, it refuses with `Wrong`: any other error is a mistake of its own.
 */
export class Wrong extends Error {
  override name = 'Wrong'
}

export function demand (holds: boolean, why: string): asserts holds {
  if (!holds) throw new Wrong(why)
}

/** What `make` gives; its errors are refusals. For libraries that throw what they like. */
export function demanded<T> (make: () => T, why: string): T {
  try { return make() } catch (cause) { throw new Wrong(why, { cause }) }
}

export const cat = (...parts: readonly Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts))
export const text = (value: string): Uint8Array => new TextEncoder().encode(value)
export const same = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && a.every((byte, i) => byte === b[i])
export const zeros = (length: number): Uint8Array => new Uint8Array(length)

export const u8 = (value: number): Uint8Array => number(value, 1)
export const u16 = (value: number): Uint8Array => number(value, 2)
export const u32 = (value: number): Uint8Array => number(value, 4)
export const u64 = (value: number | bigint): Uint8Array => number(value, 8)
const number = (value: number | bigint, length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => Number((BigInt(value) >> BigInt(8 * (length - 1 - i))) & 0xffn))

export interface Fields {
  take (length: number): Uint8Array
  u8 (): number
  u16 (): number
  u32 (): number
  u64 (): bigint
  rest (): Uint8Array
  /** Where the next field begins. */
  at (): number
  /** Nothing may be left. */
  end (): void
}

export function fieldsOf (bytes: Uint8Array): Fields {
  let offset = 0
  const take = (length: number): Uint8Array => {
    demand(length <= bytes.length - offset, 'cut short')
    offset += length
    return bytes.slice(offset - length, offset)
  }
  const big = (length: number): bigint => take(length).reduce((value, byte) => (value << 8n) | BigInt(byte), 0n)
  return {
    take,
    u8: () => Number(big(1)),
    u16: () => Number(big(2)),
    u32: () => Number(big(4)),
    u64: () => big(8),
    rest: () => take(bytes.length - offset),
    at: () => offset,
    end: () => { demand(offset === bytes.length, 'bytes too many') },
  }
}

/** UTF-8, nothing else. */
export const textIn = (bytes: Uint8Array): string => demanded(() => new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes), 'not UTF-8')

const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

/** RFC 4648 §5, without padding. */
export function base64url (bytes: Uint8Array): string {
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  return (bits.match(/.{1,6}/g) ?? []).map((six) => alphabet[Number.parseInt(six.padEnd(6, '0'), 2)]).join('')
}

/** The bytes of their only spelling. */
export function fromBase64url (spelled: string): Uint8Array {
  const digits = spelled.split('').map((letter) => alphabet.indexOf(letter))
  demand(!digits.includes(-1), 'not base64url')
  const bits = digits.map((digit) => digit.toString(2).padStart(6, '0')).join('')
  const bytes = Uint8Array.from((bits.match(/.{8}/g) ?? []).map((eight) => Number.parseInt(eight, 2)))
  demand(base64url(bytes) === spelled, 'not the only spelling')
  return bytes
}
