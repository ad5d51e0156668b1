import { cat, demand, fieldsOf, type Fields, same, text, textIn, u16, u32, u64, u8 } from './bytes.ts'

/** The part of CBOR that the formats use, in the deterministic spelling (RFC 8949 §4.2.1). */
export type Cbor = number | Uint8Array | string | null | boolean | readonly Cbor[] | { readonly [name: string]: Cbor }

export function cbor (value: Cbor): Uint8Array {
  if (value === null) return u8(0xf6)
  if (typeof value === 'boolean') return u8(value ? 0xf5 : 0xf4)
  if (typeof value === 'number') return head(0, value)
  if (typeof value === 'string') return cat(head(3, text(value).length), text(value))
  if (value instanceof Uint8Array) return cat(head(2, value.length), value)
  if (isArray(value)) return cat(head(4, value.length), ...value.map(cbor))
  const pairs = Object.entries(value).map(([name, of]) => [cbor(name), cbor(of)] as const)
  return cat(head(5, pairs.length), ...pairs.toSorted(([a], [b]) => Buffer.compare(a, b)).flat())
}

/** Exactly one value, in its only spelling. */
export function fromCbor (bytes: Uint8Array): Cbor {
  const fields = fieldsOf(bytes)
  const value = read(fields)
  fields.end()
  demand(same(cbor(value), bytes), 'not the deterministic spelling')
  return value
}

export const isMap = (value: Cbor): value is { readonly [name: string]: Cbor } => typeof value === 'object' && value !== null && !isArray(value) && !(value instanceof Uint8Array)
const isArray = (value: object): value is readonly Cbor[] => Array.isArray(value)

function head (major: number, count: number): Uint8Array {
  const first = major << 5
  if (count < 24) return u8(first | count)
  if (count < 2 ** 8) return cat(u8(first | 24), u8(count))
  if (count < 2 ** 16) return cat(u8(first | 25), u16(count))
  if (count < 2 ** 32) return cat(u8(first | 26), u32(count))
  return cat(u8(first | 27), u64(count))
}

function read (fields: Fields): Cbor {
  const first = fields.u8()
  if (first === 0xf4 || first === 0xf5) return first === 0xf5
  if (first === 0xf6) return null
  const count = countIn(fields, first & 31)
  switch (first >> 5) {
    case 0: return count
    case 2: return fields.take(count)
    case 3: return textIn(fields.take(count))
    case 4: return listOf(count, () => read(fields))
    case 5: return Object.fromEntries(listOf(count, () => [readName(fields), read(fields)] as const))
    default: demand(false, 'CBOR that no format has')
  }
}

function readName (fields: Fields): string {
  const name = read(fields)
  demand(typeof name === 'string', 'a name that is no text')
  return name
}

function countIn (fields: Fields, short: number): number {
  if (short < 24) return short
  demand(short <= 27, 'indefinite length')
  return short === 24 ? fields.u8() : short === 25 ? fields.u16() : short === 26 ? fields.u32() : Number(fields.u64())
}

/** One by one: a count that lies runs into the end of the bytes, not into memory. */
function listOf<T> (count: number, next: () => T): T[] {
  const items: T[] = []
  for (let i = 0; i < count; i++) items.push(next())
  return items
}
