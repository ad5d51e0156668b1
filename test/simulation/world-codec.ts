import type { Random } from '../../src/base/random.ts'
import { clearRowKey } from '../../src/cluster/clear-row.ts'
import { rowCodec, type RowCodecParts } from '../../src/tables/codec.ts'
import { isClear, type RowCodec, type TableNumber } from '../../src/tables/index.ts'
import { keyNamed } from '../support/cluster-identities.ts'
import { plainCodec } from '../support/table-plain-codec.ts'

/** Of a node of the simulation: rows of the cluster as the product has them, signed, and judged by the rule that every voter has; the others without keys. */
export function worldCodec ({ name, clusterId, random, checkClear }: { readonly name: string, readonly clusterId: Uint8Array, readonly random: Random, readonly checkClear: RowCodecParts['checkClear'] }): RowCodec {
  const clear = rowCodec({ clusterId, keys: undefined, signer: keyNamed(name), random, checkClear })
  const of = (table: TableNumber): RowCodec => isClear(table) ? clear : plainCodec
  return {
    rowKeyOf: worldRowKey,
    encode: (row) => of(row.table).encode(row),
    decode: (row) => of(row.table).decode(row),
    reproposed: (row) => of(row.table).reproposed(row),
    verify: (row) => { of(row.table).verify(row) },
    stored: (row) => of(row.table).stored(row),
    isTombstone: (row) => of(row.table).isTombstone(row),
    ballotOf: (table, record) => of(table).ballotOf(table, record),
  }
}

export const worldRowKey: RowCodec['rowKeyOf'] = (address) => isClear(address.table) ? clearRowKey(address.table, address.key) : plainCodec.rowKeyOf(address)
