import type { Random } from '../../src/base/random.ts'
import { clearRowKey } from '../../src/cluster/clear-row.ts'
import { rowCodec, type RowCodecParts } from '../../src/tables/codec.ts'
import { codecByTable } from '../../src/tables/deaths.ts'
import { isClear, type RowCodec } from '../../src/tables/index.ts'
import { keyNamed } from '../support/cluster-identities.ts'
import { plainCodec } from '../support/table-plain-codec.ts'

/** Of a node of the simulation: rows of the cluster as the product has them, signed, and judged by the rule that every voter has; the others without keys. */
export function worldCodec ({ name, clusterId, random, checkClear }: { readonly name: string, readonly clusterId: Uint8Array, readonly random: Random, readonly checkClear: RowCodecParts['checkClear'] }): RowCodec {
  const clear = rowCodec({ clusterId, keys: undefined, signer: keyNamed(name), random, checkClear })
  return { rowKeyOf: worldRowKey, ...codecByTable((table) => isClear(table) ? clear : plainCodec) }
}

export const worldRowKey: RowCodec['rowKeyOf'] = (address) => isClear(address.table) ? clearRowKey(address.table, address.key) : plainCodec.rowKeyOf(address)
