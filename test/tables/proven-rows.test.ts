import fc from 'fast-check'
import { expect, test } from 'vitest'
import { hash } from '../../src/base/hash.ts'
import { markOf, ProvenRows } from '../../src/tables/proven-rows.ts'

const hashOf = (n: number): Uint8Array => hash(Uint8Array.of(n))
const hashes = Array.from({ length: 256 }, (_, n) => hashOf(n))
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
      expect(rows.marksAlike(keyOf(key))).toEqual(alike.map((other) => markOf(keyOf(other), hashOf(model.get(other) as number))).toSorted((a, b) => a - b))
      const had = Array.from({ length: 256 }, (_, value) => value).filter((value) => rows.has(keyOf(key), hashes[value] as Uint8Array))
      expect(had).toEqual([...new Set(alike.map((other) => model.get(other) as number))].toSorted((a, b) => a - b))
    }
  }), { numRuns: 100 })
})
