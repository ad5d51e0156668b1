import fc from 'fast-check'
import { expect, test } from 'vitest'
import { hash } from '../../src/base/hash.ts'
import { ProvenRows } from '../../src/tables/proven-rows.ts'

const hashOf = (n: number): Uint8Array => hash(Uint8Array.of(n))
/** Keys of which some look the same to it. */
const keyOf = (n: number): Uint8Array => Uint8Array.from([7, n % 5, 0, 0, n % 3, ...new Uint8Array(26), n])

test('of the rows that were put it has exactly the last of each, and may have none that never was', () => {
  fc.assert(fc.property(fc.array(fc.tuple(fc.integer({ min: 0, max: 40 }), fc.integer({ min: 0, max: 255 })), { maxLength: 200 }), (puts) => {
    const [rows, model] = [new ProvenRows(), new Map<number, number>()]
    for (const [key, value] of puts) {
      const old = model.get(key)
      rows.replace(keyOf(key), { before: old === undefined ? undefined : hashOf(old), after: hashOf(value) })
      model.set(key, value)
    }
    for (const [key, value] of model) {
      expect(rows.mayHave(keyOf(key))).toBe(true)
      expect(rows.has(keyOf(key), hashOf(value))).toBe(true)
    }
    for (let key = 0; key <= 40; key++) {
      const alike = [...model.keys()].filter((other) => other % 15 === key % 15)
      expect(rows.mayHave(keyOf(key))).toBe(alike.length > 0)
      for (let value = 0; value < 256; value++) expect(rows.has(keyOf(key), hashOf(value))).toBe(alike.some((other) => model.get(other) === value))
    }
  }), { numRuns: 100 })
})
