import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Corrupt } from '../../src/base/errors.ts'
import { exchangeKeyOf, openRing, type Ring, ringPurpose, sealRing } from '../../src/encryption/index.ts'
import { bytesOf, epochs } from '../support/arbitraries.ts'
import { cutsAndGrowths, expectRefused, flips } from '../support/damage.ts'
import * as reference from '../support/reference/box.ts'
import { cat, u32, Wrong, zeros } from '../support/reference/bytes.ts'

const secrets = fc.uniqueArray(fc.tuple(epochs, bytesOf(32)), { minLength: 1, maxLength: 4, selector: ([epoch]) => epoch })
const drawn = fc.record({ names: bytesOf(32), secrets, seed: bytesOf(32), clusterId: bytesOf(16), era: fc.integer({ min: 1, max: 0xffff_ffff }), fresh: bytesOf(32) })
type Drawn = typeof drawn extends fc.Arbitrary<infer T> ? T : never
const example: Drawn = { names: zeros(32).fill(1), secrets: [[1, zeros(32).fill(2)], [2, zeros(32).fill(3)]], seed: zeros(32).fill(4), clusterId: zeros(16).fill(5), era: 6, fresh: zeros(32).fill(7) } as Drawn

const ringHere = ({ names, secrets: of }: Drawn): Ring => ({ names, epochs: new Map(of) })
const ringThere = ({ names, secrets: of }: Drawn): reference.Ring => ({ names, epochs: of.toSorted(([a], [b]) => a - b) })
const sealedHere = (from: Drawn): Uint8Array => sealRing(ringHere(from), { clusterId: from.clusterId, purpose: ringPurpose(from.era), to: exchangeKeyOf(from.seed), fresh: from.fresh })
const sealedThere = (from: Drawn, plaintext = reference.ring(ringThere(from))): Uint8Array =>
  reference.box(plaintext, { clusterId: from.clusterId, purpose: reference.ringPurpose(from.era), kx: reference.exchangeKeyOf(from.seed), fresh: from.fresh })
const openHere = ({ seed, clusterId, era }: Drawn, box: Uint8Array): Ring => openRing(box, { seed, clusterId, purpose: ringPurpose(era) })
const openThere = ({ seed, clusterId, era }: Drawn, box: Uint8Array): reference.Ring => reference.openBox(box, { seed, clusterId, purpose: reference.ringPurpose(era) })

function expectNeitherOpens (name: string, box: Uint8Array, from = example): void {
  expectRefused(name, () => openHere(from, box), Corrupt)
  expectRefused(`${name}, by the reference`, () => openThere(from, box), Wrong)
}

describe('ring boxes, by two implementations', () => {
  test('are the same bytes for the same random bytes, whatever the order of the epochs', () => {
    fc.assert(fc.property(drawn, (from) => {
      expect(exchangeKeyOf(from.seed)).toEqual(reference.exchangeKeyOf(from.seed))
      expect(sealedHere(from)).toEqual(sealedThere(from))
    }), { numRuns: 30 })
  })

  test('are opened by each when the other has sealed them', () => {
    fc.assert(fc.property(drawn, (from) => {
      expect(openHere(from, sealedThere(from))).toEqual(ringHere(from))
      expect(openThere(from, sealedHere(from))).toEqual(ringThere(from))
    }), { numRuns: 30 })
  })

  test('with any one bit flipped are refused by both', () => {
    const box = sealedHere(example)
    for (const { name, bytes } of flips(box, { most: Infinity })) expectRefused(name, () => openHere(example, bytes), Corrupt)
    for (const { name, bytes } of flips(box)) expectRefused(`${name}, by the reference`, () => openThere(example, bytes), Wrong)
  })

  test('cut short or grown are refused by both', () => {
    for (const { name, bytes } of cutsAndGrowths(sealedHere(example))) expectNeitherOpens(name, bytes)
  })

  test('open for their receiver, cluster and era alone', () => {
    const box = sealedHere(example)
    for (const other of [{ ...example, seed: zeros(32) }, { ...example, clusterId: zeros(16) }, { ...example, era: 7 }]) expectNeitherOpens('other', box, other)
  })

  test('whose exchange key makes a secret that everybody knows are refused by both', () => {
    // RFC 7748 §6.1: points of low order
    for (const point of [zeros(32), Uint8Array.of(1, ...zeros(31)), Uint8Array.from(Buffer.from('e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800', 'hex'))]) {
      expectNeitherOpens('low order', cat(point, sealedHere(example).slice(32)))
    }
  })

  test.each([
    ['no epochs', cat(zeros(32), u32(0))],
    ['an epoch 0', cat(zeros(32), u32(1), u32(0), zeros(32))],
    ['an epoch twice', cat(zeros(32), u32(2), u32(1), zeros(32), u32(1), zeros(32))],
    ['epochs out of order', cat(zeros(32), u32(2), u32(2), zeros(32), u32(1), zeros(32))],
    ['fewer epochs than it says', cat(zeros(32), u32(2), u32(1), zeros(32))],
    ['something after the epochs', cat(zeros(32), u32(1), u32(1), zeros(33))],
    ['epochs without end', cat(zeros(32), u32(0xffff_ffff), zeros(36))],
    ['nothing', zeros(0)],
  ])('with a ring of %s are refused by both, sealed rightly though it is', (name, plaintext) => {
    expectNeitherOpens(name, sealedThere(example, plaintext))
  })

  test('have an ephemeral key of their own for every ring, receiver and era, though the random bytes repeat', () => {
    const all = [example, { ...example, names: zeros(32) }, { ...example, secrets: example.secrets.slice(1) }, { ...example, seed: zeros(32) }, { ...example, era: 7 }, { ...example, fresh: zeros(32) }]
    expect(new Set(all.map((from) => Buffer.from(sealedHere(from).slice(0, 32)).toString('hex'))).size).toBe(all.length)
  })
})
