import { describe, expect, test } from 'vitest'
import { utf8 } from '../../../src/base/bytes.ts'
import { emptyRow, encodeObjectRow, type ObjectRow, withPending } from '../../../src/objects/object-row.ts'
import { OwedRows } from '../../../src/objects/work/owed-rows.ts'
import { tables } from '../../../src/tables/index.ts'

const bucketId = new Uint8Array(16).fill(3)
const clean = (key: string): ObjectRow => emptyRow({ bucketId, key })
const owing = (key: string): ObjectRow => withPending(clean(key), { id: new Uint8Array(32), salt: new Uint8Array(16), epoch: 1 })
const saved = (row: ObjectRow): { table: 1, value: Uint8Array, erased: undefined } => ({ table: tables.objects, value: encodeObjectRow(row), erased: undefined })
const keysIn = (owed: OwedRows): readonly string[] => owed.all().map(({ key }) => Buffer.from(key).toString())

describe('rows that owe something', () => {
  test('are remembered when they are saved, until they are saved without, or erased', () => {
    const owed = new OwedRows()
    for (const key of ['a', 'b', 'c']) owed.saved(saved(owing(key)))
    owed.saved(saved(clean('a')))
    owed.saved({ table: tables.objects, value: undefined, erased: { scope: bucketId, key: utf8('b') } })
    expect(keysIn(owed)).toEqual(['c'])
  })

  test('that a pass finds are not forgotten for having been found clean a moment ago', () => {
    const owed = new OwedRows()
    owed.saved(saved(owing('key')))
    owed.found(clean('key'))
    expect(keysIn(owed)).toEqual(['key'])
  })

  test('that were saved while they were looked at stay', () => {
    const owed = new OwedRows()
    owed.saved(saved(owing('key')))
    const [address] = owed.all()
    owed.saved(saved(owing('key')))
    if (address !== undefined) owed.settled(address)
    expect(keysIn(owed)).toEqual(['key'])
  })

  test('are not whole before a pass, nor when one of them found no room, until the next pass', () => {
    const owed = new OwedRows({ maxRows: 1 })
    expect(owed.isWhole).toBe(false)
    owed.beginPass()
    owed.found(owing('a'))
    owed.endPass()
    expect(owed.isWhole).toBe(true)
    owed.saved(saved(owing('b')))
    expect(owed.isWhole).toBe(false)
    owed.beginPass()
    owed.saved(saved(owing('c')))
    owed.endPass()
    expect(owed.isWhole).toBe(false)
    owed.saved(saved(clean('a')))
    owed.beginPass()
    owed.found(owing('b'))
    owed.endPass()
    expect(owed.isWhole).toBe(true)
  })
})
