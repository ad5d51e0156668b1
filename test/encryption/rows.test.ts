import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Corrupt } from '../../src/base/errors.ts'
import { acceptedRecord, ClusterKeys, deathProof, freshVersion, openRow, sealedRowKey, sealRow, votedRow } from '../../src/encryption/index.ts'
import { bytesOf, epochs, payloads, scripted, u64s } from '../support/arbitraries.ts'
import { cutsAndGrowths, expectRefused, flips } from '../support/damage.ts'
import { cat, same, u32, Wrong, zeros } from '../support/reference/bytes.ts'
import { epochKeys, H, nameKeys } from '../support/reference/keys.ts'
import * as reference from '../support/reference/row.ts'
import * as versions from '../support/reference/version.ts'

/** Everything a row and its record follow from. */
const drawn = fc.record({
  clusterId: bytesOf(16), secret: bytesOf(32), names: bytesOf(32), epoch: epochs, table: fc.integer({ min: 1, max: 4 }), scope: bytesOf(16), key: fc.uint8Array({ minLength: 1, maxLength: 100 }),
  revision: u64s, isTombstone: fc.boolean(), body: payloads(400), fresh: bytesOf(32), counter: u64s, proposer: bytesOf(32),
})
type Drawn = typeof drawn extends fc.Arbitrary<infer T> ? T : never
const example: Drawn = { clusterId: zeros(16).fill(1), secret: zeros(32).fill(2), names: zeros(32).fill(3), epoch: 7, table: 1, scope: zeros(16).fill(4), key: Uint8Array.of(97), revision: 5n, isTombstone: false, body: zeros(70).fill(6), fresh: zeros(32).fill(7), counter: 9n, proposer: zeros(32).fill(8) }

const keysHere = ({ clusterId, names, epoch, secret }: Drawn): ClusterKeys => new ClusterKeys({ clusterId, names, epochs: new Map([[epoch, secret]]) })
const rkOf = ({ names, clusterId, table, scope, key }: Drawn): Uint8Array => reference.rowKey(nameKeys(names, clusterId).name, table, scope, key)
const sealedHere = (from: Drawn): Uint8Array => sealRow(keysHere(from), { table: from.table, rowKey: rkOf(from) }, from, scripted(from.fresh))

/** `change`: what a row that nobody should read says instead. */
function sealedThere (from: Drawn, change: Partial<reference.RowHead> & { payload?: Uint8Array, commitment?: Uint8Array } = {}): Uint8Array {
  const keys = epochKeys(from.secret, from.clusterId)
  const payload = change.payload ?? reference.rowPayload(from.body)
  const header = reference.rowHeader({ table: from.table, flags: from.isTombstone ? 1 : 0, length: payload.length, epoch: from.epoch, rk: rkOf(from), revision: from.revision, ...change })
  return reference.row(keys.row, { header, payload, salt: reference.rowSalt(keys.salt, from.fresh, header, payload), commitment: change.commitment })
}

const knownIn = (from: Drawn, pick: 'row' | 'vote') => (epoch: number): Uint8Array => {
  if (epoch !== from.epoch) throw new Wrong('epoch')
  return epochKeys(from.secret, from.clusterId)[pick]
}
const readHere = (from: Drawn, row: Uint8Array): unknown => openRow(keysHere(from), { table: from.table, rowKey: rkOf(from) }, row)
const readThere = (from: Drawn, row: Uint8Array): unknown => reference.openRow(row, { table: from.table, rk: rkOf(from) }, knownIn(from, 'row'))

function expectNeitherReads (name: string, row: Uint8Array, from = example): void {
  expectRefused(name, () => readHere(from, row), Corrupt)
  expectRefused(`${name}, by the reference`, () => readThere(from, row), Wrong)
}

describe('rows, by two implementations', () => {
  test('have the same keys, and are the same bytes for the same random bytes', () => {
    fc.assert(fc.property(drawn, (from) => {
      expect(sealedRowKey(keysHere(from), from.table, from.scope, from.key)).toEqual(rkOf(from))
      expect(sealedHere(from)).toEqual(sealedThere(from))
    }))
  })

  test('are opened by each when the other has sealed them', () => {
    fc.assert(fc.property(drawn, (from) => {
      const { revision, isTombstone, body, epoch } = from
      expect(readHere(from, sealedThere(from))).toEqual({ revision, isTombstone, body })
      expect(readThere(from, sealedHere(from))).toEqual({ revision, flags: isTombstone ? 1 : 0, body, epoch })
    }))
  })

  test('show sizes in steps of 64 bytes', () => {
    for (const length of [0, 1, 59, 60, 61, 124, 125]) expect(sealedHere({ ...example, body: zeros(length) })).toHaveLength(136 + 64 * Math.ceil((length + 4) / 64))
  })

  test.each([['row', example], ['tombstone', { ...example, isTombstone: true }], ['row of nothing', { ...example, body: zeros(0) }]])('a %s with any one bit flipped is refused by both', (_name, from) => {
    for (const { name, bytes } of flips(sealedHere(from), { most: Infinity })) expectNeitherReads(name, bytes, from)
  })

  test('a row cut short or grown is refused by both', () => {
    for (const { name, bytes } of cutsAndGrowths(sealedHere(example))) expectNeitherReads(name, bytes)
  })

  test('a row is refused where another was asked for', () => {
    const row = sealedHere(example)
    for (const other of [{ ...example, table: 2 }, { ...example, key: Uint8Array.of(98) }, { ...example, scope: zeros(16) }]) expectNeitherReads('another place', row, other)
    for (const other of [{ ...example, secret: zeros(32) }, { ...example, epoch: 8 }]) expectNeitherReads('another secret', row, other)
  })

  test.each([
    ['version', { version: 2 }], ['suite', { suite: 2 }], ['table', { table: 2 }], ['key', { rk: zeros(32) }], ['flags', { flags: 2 }], ['length', { length: 64 }], ['length that is no multiple of 64', { payload: zeros(65) }],
    ['nothing to hold', { payload: zeros(0) }], ['padding of other than zeros', { payload: cat(u32(4), zeros(59), Uint8Array.of(1)) }], ['a block of padding too many', { payload: cat(u32(4), zeros(124)) }],
    ['a body longer than the payload', { payload: cat(u32(61), zeros(60)) }], ['a body of 4 GiB', { payload: cat(u32(0xffff_ffff), zeros(60)) }], ['the commitment of another key', { commitment: zeros(32) }],
  ])('a row with another %s is refused by both, sealed rightly though it is', (name, change) => {
    expectNeitherReads(name, sealedThere(example, change))
  })
})

describe('keys of rows', () => {
  const keysIn = (from: Drawn): Uint8Array => {
    const row = sealedHere(from)
    const { key, nonce } = reference.rowKeys(epochKeys(from.secret, from.clusterId).row, row.slice(0, 56), row.slice(56, 88))
    return cat(key, nonce)
  }

  test('repeat only with the whole row, even where random bytes repeat', () => {
    const change = fc.oneof(
      fc.record({ body: fc.uint8Array({ maxLength: 100 }) }), fc.record({ revision: u64s }), fc.record({ isTombstone: fc.boolean() }), fc.record({ key: bytesOf(2) }),
      fc.record({ table: fc.integer({ min: 1, max: 4 }) }), fc.record({ epoch: epochs }), fc.record({ fresh: bytesOf(32) }), fc.constant({}),
    ) as fc.Arbitrary<Partial<Drawn>>
    fc.assert(fc.property(drawn, change, (from, by) => {
      const changed = { ...from, ...by }
      expect(same(keysIn(from), keysIn(changed))).toBe(same(sealedHere(from), sealedHere(changed)))
    }))
  })

  test('differ when one byte of the body does, though the random bytes repeat', () => {
    fc.assert(fc.property(drawn, fc.nat(), (from, at) => {
      const body = cat(from.body, Uint8Array.of(0))
      const other = body.slice()
      other[at % body.length] = (other[at % body.length] ?? 0) ^ 1
      expect(same(keysIn({ ...from, body }), keysIn({ ...from, body: other }))).toBe(false)
    }))
  })
})

describe('accepted records, by two implementations', () => {
  const ballotOf = ({ counter, proposer }: Drawn): Uint8Array => reference.ballot(counter, proposer)
  const recordHere = (from: Drawn): Uint8Array => acceptedRecord(keysHere(from), { table: from.table, rowKey: rkOf(from), ballot: ballotOf(from), row: sealedHere(from) })
  const recordThere = (from: Drawn): Uint8Array => reference.accepted(epochKeys(from.secret, from.clusterId).vote, { table: from.table, rk: rkOf(from), ballot: ballotOf(from), epoch: from.epoch, row: sealedThere(from) })
  const openHere = (from: Drawn, record: Uint8Array): unknown => votedRow(keysHere(from), { table: from.table, rowKey: rkOf(from) }, record)
  const openThere = (from: Drawn, record: Uint8Array): unknown => reference.openAccepted(record, { table: from.table, rk: rkOf(from) }, knownIn(from, 'vote'))
  const expectNeitherOpens = (name: string, record: Uint8Array, from = example): void => {
    expectRefused(name, () => openHere(from, record), Corrupt)
    expectRefused(`${name}, by the reference`, () => openThere(from, record), Wrong)
  }

  test('are the same bytes, and each finds the other\'s vote right', () => {
    fc.assert(fc.property(drawn, (from) => {
      const record = recordThere(from)
      expect(recordHere(from)).toEqual(record)
      expect(openHere(from, record)).toEqual({ ballot: ballotOf(from), row: sealedThere(from) })
      expect(openThere(from, recordHere(from))).toEqual({ ballot: ballotOf(from), epoch: from.epoch, row: sealedHere(from) })
    }))
  })

  test('with any one bit flipped are refused by both', () => {
    for (const { name, bytes } of flips(recordHere(example), { most: Infinity })) expectNeitherOpens(name, bytes)
  })

  test('cut short, grown, for another row or of another secret are refused by both', () => {
    for (const { name, bytes } of cutsAndGrowths(recordHere(example))) expectNeitherOpens(name, bytes)
    for (const other of [{ ...example, table: 2 }, { ...example, key: Uint8Array.of(98) }, { ...example, secret: zeros(32) }, { ...example, epoch: 8 }]) expectNeitherOpens('other', recordHere(example), other)
  })
})

describe('versions, by two implementations', () => {
  test('have the same id, and the same proof of their death', () => {
    fc.assert(fc.property(drawn, bytesOf(16), (from, salt) => {
      const keys = keysHere(from)
      const version = freshVersion(keys, scripted(salt))
      const del = versions.deathProof(epochKeys(from.secret, from.clusterId).del, salt)
      expect(version).toEqual({ id: versions.versionId(del), salt, epoch: from.epoch })
      expect(deathProof(keys, version)).toEqual(del)
      expect(version.id).toEqual(H(del))
    }))
  })

  test('of other salts, secrets or clusters are others', () => {
    const ids = [example, { ...example, secret: zeros(32) }, { ...example, clusterId: zeros(16) }].flatMap((from) => [zeros(16), zeros(16).fill(1)].map((salt) => freshVersion(keysHere(from), scripted(salt)).id))
    expect(new Set(ids.map((id) => Buffer.from(id).toString('hex'))).size).toBe(6)
  })
})
