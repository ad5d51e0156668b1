import { compareBytes, fromHex, hexOf } from '../../src/base/bytes.ts'
import { isSameBallot } from '../../src/tables/ballot.ts'
import type { IndexedRow, ListingIndex } from '../../src/tables/listing-index.ts'
import { startsWith } from '../../src/tables/roll-up.ts'

/** The listing index as its contract says and no more: everything sorted on every page. */
export function memoryListingIndex (): ListingIndex {
  const rows = new Map<string, IndexedRow>()
  return {
    async update (changed) { for (const row of changed) rows.set(`${row.table} ${hexOf(row.rowKey)}`, row) },
    async forget (gone) {
      for (const { table, rowKey, ballot } of gone) {
        const name = `${table} ${hexOf(rowKey)}`
        const row = rows.get(name)
        if (row !== undefined && isSameBallot(row.ballot, ballot)) rows.delete(name)
      }
    },
    async scopes (table) { return [...new Set([...rows.values()].flatMap((row) => row.table === table && row.listed !== undefined ? [hexOf(row.listed.scope)] : []))].map(fromHex) },
    async page ({ table, scope, prefix, after, limit }) {
      const entries = [...rows.values()]
        .flatMap(({ table: of, rowKey, ballot, listed }) => (of === table && listed !== undefined && compareBytes(listed.scope, scope) === 0 ? [{ rowKey, ballot, ...listed }] : []))
        .filter(({ name }) => startsWith(name, prefix) && (after === undefined || compareBytes(name, after) > 0))
        .toSorted((a, b) => compareBytes(a.name, b.name))
      return { entries: entries.slice(0, limit).map(({ name, rowKey, ballot, summary }) => ({ name, rowKey, ballot, summary })), truncated: entries.length > limit }
    },
  }
}
