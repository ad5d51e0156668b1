import { cat, demand, type Fields, fieldsOf, u16, u32, u64, u8 } from './bytes.ts'
import { type Cbor, cbor, fromCbor, isMap } from './cbor.ts'

/** docs/FORMAT.md, "Manifest". */
export interface Entry { readonly digest: Uint8Array, readonly ph: Uint8Array, readonly blockLength: number, readonly size: bigint }
/** Among the nodes of its level. */
export type Place = 'root' | 'last' | 'before the last'
export interface Node { readonly level: number, readonly size: bigint, readonly entries: readonly Entry[], readonly meta: { readonly [name: string]: Cbor } | undefined }

export const entry = ({ digest, ph, blockLength, size }: Entry): Uint8Array => cat(digest, ph, u32(blockLength), u64(size))

export function node ({ level, size, entries, meta }: Node): Uint8Array {
  const metaBytes = meta === undefined ? new Uint8Array(0) : cbor(meta)
  return cat(u8(1), u8(level), u16(entries.length), u32(metaBytes.length), u64(size), ...entries.map(entry), metaBytes)
}

export function openNode (payload: Uint8Array, place: Place): Node {
  const fields = fieldsOf(payload)
  demand(fields.u8() === 1, 'version')
  const [level, count, metaLength, size] = [fields.u8(), fields.u16(), fields.u32(), fields.u64()]
  demand(level <= 4 && count <= 1024 && metaLength <= 16 * 1024 && (place === 'root' || metaLength === 0), 'bounds')
  demand(place !== 'before the last' || count === 1024, 'not full')
  demand(payload.length === 16 + 76 * count + metaLength, 'length')
  const entries = Array.from({ length: count }, () => readEntry(fields))
  demand(size < 2n ** 53n && entries.every((one) => one.size > 0n) && entries.reduce((sum, one) => sum + one.size, 0n) === size, 'sum')
  demand(count > 0 || (place === 'root' && level === 0), 'empty')
  return { level, size, entries, meta: metaLength === 0 ? undefined : mapIn(fields.rest()) }
}

function mapIn (bytes: Uint8Array): Node['meta'] {
  const value = fromCbor(bytes)
  demand(isMap(value), 'metadata that is no map')
  return value
}

const readEntry = (fields: Fields): Entry => ({ digest: fields.take(32), ph: fields.take(32), blockLength: fields.u32(), size: fields.u64() })
