import { hexOf } from '../../src/base/bytes.ts'
import { hash } from '../../src/base/hash.ts'
import { decodeObjectRow, keptOf, type ObjectRow } from '../../src/objects/object-row.ts'
import { blocksOf } from '../../src/objects/versions/stored.ts'
import { type Registers, tables } from '../../src/tables/index.ts'
import { type Ledger, proofOf } from './ledger.ts'

/** Registers as a conversion is given them: the ledger hears of each version whose blocks are to be kept for another id, and of each that is. */
export function watchedConversions (registers: Registers, ledger: Ledger): Registers {
  return {
    ...registers,
    change: async (address, change, options) => {
      if (address.table !== tables.objects) return registers.change(address, change, options)
      let confirm = (): void => {}
      const result = await registers.change(address, (value, revision) => {
        const decided = change(value, revision)
        confirm = decided.kind === 'write' && value !== undefined ? converted(ledger, decodeObjectRow(value), decodeObjectRow(decided.value)) : () => {}
        return decided
      }, options)
      confirm()
      return result
    },
  }
}

function converted (ledger: Ledger, before: ObjectRow, after: ObjectRow): () => void {
  const were = blocksIn(before)
  const moved = [...blocksIn(after)].filter(([version, blocks]) => were.has(version) && were.get(version) !== blocks)
  const confirms = moved.map(([version, blocks]) => ledger.converts(version, blocks))
  return () => { for (const confirm of confirms) confirm() }
}

/** The id that blocks are kept for, by version. */
function blocksIn (row: ObjectRow): ReadonlyMap<string, string> {
  const versions = [...row.current === undefined ? [] : [row.current], ...keptOf(row)]
  return new Map(versions.map((version) => [hexOf(hash(proofOf(version))), hexOf(hash(proofOf(blocksOf(version))))]))
}
