import { cat, demand, fieldsOf, same, text, u32, u8 } from './bytes.ts'
import { H } from './keys.ts'
import { demandSigned, sign } from './signature.ts'

/** docs/FORMAT.md, "Clear rows". */
export interface ClearRow { readonly table: number, readonly rk: Uint8Array, readonly ballot: Uint8Array, readonly value: Uint8Array }

export const clearRowKey = (table: number, key: Uint8Array): Uint8Array => H(u8(table), key)

export function clearRow ({ table, rk, ballot, value }: ClearRow, seed: Uint8Array, clusterId: Uint8Array): Uint8Array {
  const body = cat(u8(table), rk, ballot, u32(value.length), value)
  return cat(body, sign(seed, text('dfs/v1/clear-row'), u8(0), clusterId, body))
}

export function openClearRow (bytes: Uint8Array, place: { table: number, rk: Uint8Array, clusterId: Uint8Array }): ClearRow {
  const fields = fieldsOf(bytes)
  const [table, rk, ballot] = [fields.u8(), fields.take(32), fields.take(40)]
  const value = fields.take(fields.u32())
  const body = bytes.slice(0, fields.at())
  demandSigned(ballot.slice(8), fields.take(64), text('dfs/v1/clear-row'), u8(0), place.clusterId, body)
  fields.end()
  demand(table === place.table && same(rk, place.rk), 'another row')
  return { table, rk, ballot, value }
}
