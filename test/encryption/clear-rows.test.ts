import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Corrupt } from '../../src/base/errors.ts'
import { signingKeyOf } from '../../src/base/signature.ts'
import { clearRowKey, signClearRow, verifiedClearRow } from '../../src/cluster/clear-row.ts'
import { bytesOf, u64s } from '../support/arbitraries.ts'
import { cutsAndGrowths, expectRefused, flips } from '../support/damage.ts'
import { Wrong } from '../support/reference/bytes.ts'
import * as reference from '../support/reference/clear-row.ts'
import { ballot } from '../support/reference/row.ts'
import { publicKeyOf } from '../support/reference/signature.ts'

const drawn = fc.record({ clusterId: bytesOf(16), seed: bytesOf(32), table: fc.integer({ min: 16, max: 19 }), key: fc.uint8Array({ minLength: 1, maxLength: 40 }), counter: u64s, value: fc.uint8Array({ maxLength: 300, size: 'max' }) })
type Drawn = typeof drawn extends fc.Arbitrary<infer T> ? T : never
const example: Drawn = { clusterId: new Uint8Array(16).fill(1), seed: new Uint8Array(32).fill(2), table: 16, key: new Uint8Array(32).fill(3), counter: 4n, value: new Uint8Array(20).fill(5) }

const rowOf = ({ table, key, counter, seed, value }: Drawn): reference.ClearRow => ({ table, rk: reference.clearRowKey(table, key), ballot: ballot(counter, publicKeyOf(seed)), value })
const signedHere = (from: Drawn): Uint8Array => signClearRow({ ...rowOf(from), rowKey: clearRowKey(from.table, from.key) }, signingKeyOf(from.seed), from.clusterId)
const signedThere = (from: Drawn): Uint8Array => reference.clearRow(rowOf(from), from.seed, from.clusterId)
const readHere = (from: Drawn, record: Uint8Array): unknown => {
  const { table, rowKey: rk, ballot: of, value } = verifiedClearRow(record, { table: from.table, rowKey: clearRowKey(from.table, from.key), clusterId: from.clusterId })
  return { table, rk, ballot: of, value }
}
const readThere = (from: Drawn, record: Uint8Array): unknown => reference.openClearRow(record, { table: from.table, rk: reference.clearRowKey(from.table, from.key), clusterId: from.clusterId })

function expectNeitherReads (name: string, record: Uint8Array, from = example): void {
  expectRefused(name, () => readHere(from, record), Corrupt)
  expectRefused(`${name}, by the reference`, () => readThere(from, record), Wrong)
}

describe('clear rows, by two implementations', () => {
  test('are the same bytes, and each verifies the other\'s', () => {
    fc.assert(fc.property(drawn, (from) => {
      const record = signedThere(from)
      expect(signedHere(from)).toEqual(record)
      expect(readHere(from, record)).toEqual(rowOf(from))
      expect(readThere(from, signedHere(from))).toEqual(rowOf(from))
    }), { numRuns: 40 })
  })

  test('with any one bit flipped are refused by both', () => {
    const record = signedHere(example)
    for (const { name, bytes } of flips(record, { most: Infinity })) expectRefused(name, () => readHere(example, bytes), Corrupt)
    for (const { name, bytes } of flips(record)) expectRefused(`${name}, by the reference`, () => readThere(example, bytes), Wrong)
  })

  test('cut short, grown, of another cluster or for another row are refused by both', () => {
    const record = signedHere(example)
    for (const { name, bytes } of cutsAndGrowths(record)) expectNeitherReads(name, bytes)
    for (const other of [{ ...example, clusterId: new Uint8Array(16) }, { ...example, table: 17 }, { ...example, key: new Uint8Array(32) }]) expectNeitherReads('other', record, other)
  })

  test('of another table or key than was asked for are refused by both, though the proposer signed them', () => {
    expectNeitherReads('table', reference.clearRow({ ...rowOf(example), table: 17 }, example.seed, example.clusterId))
    expectNeitherReads('key', reference.clearRow({ ...rowOf(example), rk: new Uint8Array(32) }, example.seed, example.clusterId))
  })

  test('signed by another than the ballot\'s proposer are refused by both', () => {
    const stranger = new Uint8Array(32).fill(9)
    expectNeitherReads('stranger', reference.clearRow(rowOf(example), stranger, example.clusterId))
  })
})
