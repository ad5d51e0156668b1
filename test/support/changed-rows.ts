import { textOf } from '../../src/base/bytes.ts'
import { decodeObjectRow, emptyRow, encodeObjectRow, isVacant, type ObjectRow } from '../../src/objects/object-row.ts'
import { type Change, type Registers, tables } from '../../src/tables/index.ts'

/** Changes of objects' rows, whose row is shown and written in other words. */
export function changing (registers: Registers, shown: (row: ObjectRow) => ObjectRow, written: (row: ObjectRow) => ObjectRow | undefined): Registers {
  return {
    ...registers,
    change: async (address, change, options) => address.table !== tables.objects
      ? registers.change(address, change, options)
      : registers.change(address, (value, revision) => {
        const before = value === undefined ? emptyRow({ bucketId: address.scope, key: textOf(address.key) }) : decodeObjectRow(value)
        const seen = shown(before)
        const decided = change(value === undefined && isVacant(seen) ? undefined : encodeObjectRow(seen), revision)
        if (decided.kind !== 'write') return decided
        const row = written(decodeObjectRow(decided.value))
        return (row === undefined ? { kind: 'erase', result: decided.result } : { ...decided, value: encodeObjectRow(row) }) as Change<typeof decided.result>
      }, options),
  }
}
