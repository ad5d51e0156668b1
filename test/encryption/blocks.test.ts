import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Corrupt } from '../../src/base/errors.ts'
import { cidOfDigest } from '../../src/base/cid.ts'
import { type BlockFlag, ClusterKeys, openBlock, sealBlock } from '../../src/encryption/index.ts'
import { bytesOf, epochs, payloads } from '../support/arbitraries.ts'
import { cutsAndGrowths, expectRefused, flips } from '../support/damage.ts'
import * as reference from '../support/reference/block.ts'
import { cat, same, Wrong } from '../support/reference/bytes.ts'
import { epochKeys, H } from '../support/reference/keys.ts'

const types = { data: 1, manifest: 2 } as const
const flags = { plain: 0, compressed: 1, padded: 2 } as const satisfies Record<BlockFlag, number>

/** Everything a block follows from. `fresh` undefined: convergent. */
const drawn = fc.record({
  type: fc.constantFrom('data', 'manifest'), flag: fc.constantFrom('plain', 'compressed', 'padded'), epoch: epochs, payload: payloads(),
  clusterId: bytesOf(16), secret: bytesOf(32), bucket: fc.oneof(bytesOf(16), fc.constant(new Uint8Array(0))), fresh: fc.option(bytesOf(32), { nil: undefined }),
})
type Drawn = typeof drawn extends fc.Arbitrary<infer T> ? T : never

function sealedHere ({ type, flag, epoch, payload, clusterId, secret, bucket, fresh }: Drawn): ReturnType<typeof sealBlock> {
  const keys = new ClusterKeys({ clusterId, names: secret, epochs: new Map([[epoch, secret]]) })
  const key = fresh === undefined ? keys.domain(epoch, bucket).convergence : keys.epoch(epoch).random
  return sealBlock({ type, flag, epoch, payload, secret: fresh === undefined ? { kind: 'convergent', key } : { kind: 'random', key, fresh } })
}

function sealedThere ({ type, flag, epoch, payload, clusterId, secret, bucket, fresh }: Drawn): { bytes: Uint8Array, digest: Uint8Array, ph: Uint8Array } {
  const keys = epochKeys(secret, clusterId, bucket)
  const header = reference.blockHeader({ type: types[type], flags: flags[flag], length: payload.length, epoch })
  const ph = fresh === undefined ? reference.convergentPh(keys.conv, header, payload) : reference.randomPh(keys.rand, fresh, header, payload)
  const bytes = reference.block(header, ph, payload)
  return { bytes, digest: H(bytes), ph }
}

const example: Drawn = { type: 'data', flag: 'plain', epoch: 7, payload: Uint8Array.from({ length: 90 }, (_, i) => i), clusterId: new Uint8Array(16).fill(1), secret: new Uint8Array(32).fill(2), bucket: new Uint8Array(16).fill(3), fresh: undefined }
const readHere = (bytes: Uint8Array, { type, digest, ph, length }: { type: 'data' | 'manifest', digest: Uint8Array, ph: Uint8Array, length: number }): unknown => openBlock(bytes, { type, digest, ph, lengthBytes: length })
const readThere = (bytes: Uint8Array, { type, ...expected }: { type: 'data' | 'manifest', digest: Uint8Array, ph: Uint8Array, length: number }): unknown => reference.openBlock(bytes, { type: types[type], ...expected })

/** Neither reads it; `atItsAddress`: even where the entry above says exactly this address and this length. */
function expectNeitherReads (name: string, bytes: Uint8Array, expected: { type: 'data' | 'manifest', digest: Uint8Array, ph: Uint8Array, length: number }): void {
  for (const [suffix, told] of [['', expected], [', at its address', { ...expected, digest: H(bytes), length: bytes.length }]] as const) {
    expectRefused(`${name}${suffix}`, () => readHere(bytes, told), Corrupt)
    expectRefused(`${name}${suffix}, by the reference`, () => readThere(bytes, told), Wrong)
  }
}

describe('blocks, by two implementations', () => {
  test('are the same bytes, with the same address and the same ph', () => {
    fc.assert(fc.property(drawn, (from) => {
      const [here, there] = [sealedHere(from), sealedThere(from)]
      expect(here).toEqual(there)
      expect(cidOfDigest(here.digest)).toBe(`b${base32(reference.cidBytes(here.bytes))}`)
      expect(here.bytes).toHaveLength(from.payload.length + 64)
    }))
  })

  test('are opened by each when the other has sealed them', () => {
    fc.assert(fc.property(drawn, (from) => {
      const { bytes, digest, ph } = sealedThere(from)
      expect(openBlock(bytes, { type: from.type, digest, ph, lengthBytes: bytes.length })).toEqual({ payload: from.payload, flag: from.flag, epoch: from.epoch })
      const here = sealedHere(from)
      expect(reference.openBlock(here.bytes, { type: types[from.type], digest: here.digest, ph: here.ph, length: here.bytes.length })).toEqual({ payload: from.payload, flags: flags[from.flag], epoch: from.epoch })
    }))
  })

  test('of a whole chunk are the same bytes', () => {
    const from = { ...example, payload: Uint8Array.from({ length: 100_003 }, (_, i) => i * i) }
    expect(same(sealedHere(from).bytes, sealedThere(from).bytes)).toBe(true)
  })

  test.each([['convergent', example], ['random', { ...example, fresh: new Uint8Array(32).fill(4) }], ['manifest', { ...example, type: 'manifest', fresh: new Uint8Array(32) }], ['empty', { ...example, payload: new Uint8Array(0) }]] as const)('a %s block with any one bit flipped is refused by both, even at the address of what it became', (_name, from) => {
    const { bytes, digest, ph } = sealedHere(from)
    for (const { name, bytes: flipped } of flips(bytes, { most: Infinity })) expectNeitherReads(name, flipped, { type: from.type, digest, ph, length: bytes.length })
  })

  test('a block cut short or grown is refused by both', () => {
    const { bytes, digest, ph } = sealedHere(example)
    for (const { name, bytes: damaged } of cutsAndGrowths(bytes)) expectNeitherReads(name, damaged, { type: 'data', digest, ph, length: bytes.length })
  })

  test('a block under another ph is refused by both, whichever bit differs', () => {
    const { bytes, digest, ph } = sealedHere(example)
    for (const { name, bytes: other } of flips(ph)) {
      expectRefused(`ph: ${name}`, () => readHere(bytes, { type: 'data', digest, ph: other, length: bytes.length }), Corrupt)
      expectRefused(`ph: ${name}`, () => readThere(bytes, { type: 'data', digest, ph: other, length: bytes.length }), Wrong)
    }
  })

  test('a whole block at another address, or of another length than the entry says, is refused by both', () => {
    const { bytes, digest, ph } = sealedHere(example)
    for (const expected of [{ type: 'data', digest: H(digest), ph, length: bytes.length }, { type: 'data', digest, ph, length: bytes.length - 1 }] as const) {
      expectRefused('entry', () => readHere(bytes, expected), Corrupt)
      expectRefused('entry, by the reference', () => readThere(bytes, expected), Wrong)
    }
  })

  test('a block of one type is refused where the other belongs', () => {
    const { bytes, digest, ph } = sealedHere(example)
    expectRefused('data for a manifest', () => readHere(bytes, { type: 'manifest', digest, ph, length: bytes.length }), Corrupt)
    expectRefused('data for a manifest', () => readThere(bytes, { type: 'manifest', digest, ph, length: bytes.length }), Wrong)
  })

  test.each([['version', { version: 2 }], ['suite', { suite: 2 }], ['type', { type: 3 }], ['type', { type: 0 }], ['flags: both', { flags: 3 }], ['flags', { flags: 4 }], ['longer', { length: 91 }], ['shorter', { length: 89 }]])('a block whose header says another %s is refused by both, sealed rightly though it is', (name, change) => {
    const header = reference.blockHeader({ type: 1, flags: 0, length: 90, epoch: 7, ...change })
    const ph = reference.convergentPh(example.secret, header, example.payload)
    const bytes = reference.block(header, ph, example.payload)
    expectNeitherReads(name, bytes, { type: 'data', digest: H(bytes), ph, length: bytes.length })
  })

  test('a block with the commitment of another key is refused by both, authentic though it is', () => {
    const header = reference.blockHeader({ type: 1, flags: 0, length: 90, epoch: 7 })
    const ph = reference.convergentPh(example.secret, header, example.payload)
    const bytes = reference.block(header, ph, example.payload, reference.blockKeys(H(ph)).commitment)
    expectNeitherReads('commitment', bytes, { type: 'data', digest: H(bytes), ph, length: bytes.length })
  })
})

describe('keys of blocks', () => {
  const keysOf = ({ ph }: { ph: Uint8Array }): Uint8Array => { const { key, nonce } = reference.blockKeys(ph); return cat(key, nonce) }

  test('are the same for the same payload and header, and never for others', () => {
    const change = fc.oneof(
      fc.record({ payload: payloads() }), fc.record({ flag: fc.constantFrom('plain', 'compressed', 'padded') }), fc.record({ type: fc.constantFrom('data', 'manifest') }),
      fc.record({ epoch: epochs }), fc.constant({}),
    ) as fc.Arbitrary<Partial<Drawn>>
    fc.assert(fc.property(drawn, change, (from, by) => {
      const changed = { ...from, ...by }
      const isSame = same(from.payload, changed.payload) && from.flag === changed.flag && from.type === changed.type && from.epoch === changed.epoch
      expect(same(keysOf(sealedHere(from)), keysOf(sealedHere(changed)))).toBe(isSame)
    }))
  })

  test('of a random block differ when one byte of its content does, though its random bytes repeat', () => {
    fc.assert(fc.property(fc.uint8Array({ minLength: 1, maxLength: 200 }), fc.nat(), (payload, at) => {
      const other = payload.slice()
      other[at % payload.length] = (other[at % payload.length] ?? 0) ^ 1
      const fresh = new Uint8Array(32)
      expect(same(keysOf(sealedHere({ ...example, payload, fresh })), keysOf(sealedHere({ ...example, payload: other, fresh })))).toBe(false)
    }))
  })

  test('of equal content differ between buckets, clusters and secrets', () => {
    const other = new Uint8Array(32).fill(9)
    const all = [example, { ...example, bucket: other.slice(0, 16) }, { ...example, bucket: new Uint8Array(0) }, { ...example, clusterId: other.slice(0, 16) }, { ...example, secret: other }, { ...example, fresh: other }]
    expect(new Set(all.map((from) => Buffer.from(keysOf(sealedHere(from))).toString('hex'))).size).toBe(all.length)
  })
})

function base32 (bytes: Uint8Array): string {
  const bits = [...bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  return (bits.match(/.{1,5}/g) ?? []).map((five) => 'abcdefghijklmnopqrstuvwxyz234567'[Number.parseInt(five.padEnd(5, '0'), 2)]).join('')
}
