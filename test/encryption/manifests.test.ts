import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Corrupt } from '../../src/base/errors.ts'
import { decodeNode, encodeNode, manifestLimits } from '../../src/file/manifest.ts'
import { bytesOf } from '../support/arbitraries.ts'
import { cutsAndGrowths, expectRefused } from '../support/damage.ts'
import { Wrong } from '../support/reference/bytes.ts'
import { type Node, node, openNode, type Place } from '../support/reference/manifest.ts'

const size = fc.bigInt({ min: 1n, max: 2n ** 40n })
const entry = fc.record({ digest: bytesOf(32), ph: bytesOf(32), blockLength: fc.integer({ min: 64, max: 0xffff_ffff }), size })
const meta = fc.dictionary(fc.string({ unit: 'grapheme', minLength: 1, maxLength: 30 }).filter((name) => name !== '__proto__'), fc.oneof(fc.maxSafeNat(), bytesOf(9), fc.string({ unit: 'grapheme' }), fc.boolean(), fc.constant(null), fc.array(fc.nat())), { maxKeys: 30 })
const nodes: fc.Arbitrary<Node> = fc.record({ level: fc.nat({ max: manifestLimits.maxLevel }), entries: fc.array(entry, { minLength: 1, maxLength: 20 }), meta: fc.option(meta, { nil: undefined }) })
  .map((drawn) => ({ ...drawn, size: drawn.entries.reduce((sum, one) => sum + one.size, 0n) }))

const encodedHere = ({ level, entries, size: sum, meta: of }: Node): Uint8Array =>
  encodeNode({ level, sizeBytes: Number(sum), meta: of as Record<string, unknown> | undefined, entries: entries.map(({ digest, ph, blockLength, size: beneath }) => ({ digest, ph, blockBytes: blockLength, sizeBytes: Number(beneath) })) })
const readHere = (payload: Uint8Array, place: Place = 'root'): ReturnType<typeof decodeNode> => decodeNode(payload, { place, level: undefined, sizeBytes: undefined })

function expectNeitherReads (name: string, payload: Uint8Array, place: Place = 'root'): void {
  expectRefused(name, () => readHere(payload, place), Corrupt)
  expectRefused(`${name}, by the reference`, () => openNode(payload, place), Wrong)
}

const leaf = { digest: new Uint8Array(32).fill(1), ph: new Uint8Array(32).fill(2), blockLength: 164, size: 100n }
const example: Node = { level: 0, size: 200n, entries: [leaf, leaf], meta: undefined }

describe('manifest nodes, by two implementations', () => {
  test('are the same bytes, and each reads the other\'s', () => {
    fc.assert(fc.property(nodes, (drawn) => {
      const bytes = node(drawn)
      expect(encodedHere(drawn)).toEqual(bytes)
      expect(openNode(bytes, 'root')).toEqual(drawn)
      const { entries, ...head } = readHere(bytes)
      expect({ ...head, entries: entries.length }).toEqual({ level: drawn.level, sizeBytes: Number(drawn.size), meta: drawn.meta, entries: drawn.entries.length })
      expect(encodedHere({ ...drawn, entries: entries.map(({ digest, ph, blockBytes, sizeBytes }) => ({ digest, ph, blockLength: blockBytes, size: BigInt(sizeBytes) })) })).toEqual(bytes)
    }))
  })

  test('of the most entries, and of an empty file, are the same bytes', () => {
    const full: Node = { ...example, entries: Array.from({ length: manifestLimits.maxEntries }, () => leaf), size: 100n * 1024n }
    for (const of of [full, { ...example, entries: [], size: 0n }]) {
      expect(encodedHere(of)).toEqual(node(of))
      expect(openNode(encodedHere(of), 'root')).toEqual(of)
      expect(readHere(node(of)).entries).toHaveLength(of.entries.length)
    }
  })

  test.each([
    ['of level 5', node({ ...example, level: 5 })],
    ['whose lengths do not add up', node({ ...example, size: 199n })],
    ['with an entry of nothing', node({ ...example, size: 100n, entries: [leaf, { ...leaf, size: 0n }] })],
    ['without entries, but with a size', node({ ...example, entries: [] })],
    ['without entries above level 0', node({ ...example, level: 1, size: 0n, entries: [] })],
    ['of 1,025 entries', node({ ...example, size: 102_500n, entries: Array.from({ length: 1025 }, () => leaf) })],
    ['with metadata that is too long', node({ ...example, meta: { x: new Uint8Array(16 * 1024) } })],
    ['with metadata cut short', node({ ...example, meta: { x: 'yz' } }).slice(0, -1)],
    ['of another version', Uint8Array.from([2, ...node(example).slice(1)])],
  ])('a node %s is refused by both', (name, payload) => {
    expectNeitherReads(name, payload)
  })

  test('metadata and nothingness below the root, and room before the last node, are refused by both', () => {
    expectNeitherReads('meta', node({ ...example, meta: { a: 1 } }), 'last')
    expectNeitherReads('empty', node({ ...example, entries: [], size: 0n }), 'last')
    expectNeitherReads('room', node(example), 'before the last')
  })

  test.each([['a longer number', 'a161611805'], ['an indefinite map', 'bf616105ff'], ['names out of order', 'a2616201616101'], ['a name twice', 'a2616101616101'], ['no map', '8101'], ['something after it', 'a161610500']])('metadata with %s is refused by both', (name, hex) => {
    const meta = Buffer.from(hex, 'hex')
    const head = node(example)
    head[7] = meta.length
    expectNeitherReads(name, Uint8Array.from([...head, ...meta]))
  })

  test('a node cut short or grown is refused by both', () => {
    for (const { name, bytes } of cutsAndGrowths(node(example))) expectNeitherReads(name, bytes)
  })
})
