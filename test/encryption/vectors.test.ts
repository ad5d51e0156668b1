import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { ByteReader, ByteWriter, fromHex, hexOf, utf8 } from '../../src/base/bytes.ts'
import { cidOfDigest } from '../../src/base/cid.ts'
import { base32 } from 'multiformats/bases/base32'
import type { Random } from '../../src/base/random.ts'
import { openBlock, sealBlock } from '../../src/encryption/block.ts'
import { openRing, ringPurpose, sealRing } from '../../src/encryption/box.ts'
import { capabilityText, parseCapability } from '../../src/encryption/capability.ts'
import { ClusterKeys } from '../../src/encryption/keys.ts'
import { acceptedRecord, openRow, sealedRowKey, sealRow, votedRow } from '../../src/encryption/row.ts'
import { deathProof, freshVersion } from '../../src/encryption/version.ts'

/** Values from an independent implementation; a released format never changes them. */
const vectors = JSON.parse(readFileSync(new URL('../vectors/format-vectors.json', import.meta.url), 'utf8'))
const repeated = (byte: number, length: number): Uint8Array => new Uint8Array(length).fill(byte)
const always = (byte: number): Random => ({ bytes: (length) => repeated(byte, length), fraction: () => 0 })

const clusterId = repeated(0x22, 16)
const bucket = repeated(0x44, 16)
const names = repeated(0x33, 32)
const epochs = new Map([[1, repeated(0x11, 32)]])
const keys = new ClusterKeys({ clusterId, names, epochs })

describe('format vectors', () => {
  test('derived keys', () => {
    const epoch = keys.epoch(1)
    expect({
      conv: hexOf(keys.domain(1, bucket).convergence), gear: hexOf(keys.domain(1, bucket).gear), rand: hexOf(epoch.random), row: epoch.row.export().toString('hex'),
      salt: hexOf(epoch.salt), vote: hexOf(epoch.vote), del: hexOf(epoch.delete), check: hexOf(epoch.check), name: hexOf(keys.name), checkN: hexOf(keys.checkNames),
    }).toEqual(vectors.K)
  })

  test('a convergent block', () => {
    const expected = fromHex(vectors.block.block)
    const found = openBlock(expected, { type: 'data', digest: base32.decode(cidOfDigest(fromHex(vectors.block.cid.slice(8)))).subarray(4), ph: fromHex(vectors.block.ph), lengthBytes: expected.byteLength })
    const sealed = sealBlock({ type: 'data', flag: 'plain', epoch: 1, payload: found.payload, secret: { kind: 'convergent', key: keys.domain(1, bucket).convergence } })
    expect(hexOf(sealed.bytes)).toBe(vectors.block.block)
    expect(hexOf(sealed.ph)).toBe(vectors.block.ph)
    expect(hexOf(base32.decode(cidOfDigest(sealed.digest)))).toBe(vectors.block.cid)
  })

  test('a manifest block', () => {
    const sealed = sealBlock({ type: 'manifest', flag: 'plain', epoch: 1, payload: fromHex(vectors.node.payload), secret: { kind: 'random', key: keys.epoch(1).random, fresh: repeated(0x55, 32) } })
    expect(hexOf(sealed.bytes)).toBe(vectors.node.block)
    expect(hexOf(sealed.ph)).toBe(vectors.node.ph)
    expect(hexOf(openBlock(sealed.bytes, { ...sealed, type: 'manifest', lengthBytes: sealed.bytes.byteLength }).payload)).toBe(vectors.node.payload)
  })

  test('a read capability', () => {
    const { digest, ph } = { digest: fromHex(vectors.node.cid.slice(8)), ph: fromHex(vectors.node.ph) }
    expect(capabilityText({ clusterId, digest, ph })).toBe(vectors.cap)
    expect(parseCapability(vectors.cap)).toEqual({ clusterId, digest, ph })
  })

  test('a row and its accepted record', () => {
    const rowKey = sealedRowKey(keys, 1, bucket, utf8('a/b'))
    expect(hexOf(rowKey)).toBe(vectors.row.rk)
    const row = sealRow(keys, { table: 1, rowKey }, { revision: 1n, isTombstone: false, body: utf8('row body') }, always(0x66))
    expect(hexOf(row)).toBe(vectors.row.row)
    expect(openRow(keys, { table: 1, rowKey }, row)).toEqual({ revision: 1n, isTombstone: false, body: utf8('row body') })
    const ballot = new ByteWriter().u64(1).raw(repeated(0x77, 32)).finish()
    const record = acceptedRecord(keys, { table: 1, rowKey, ballot, row })
    const reader = new ByteReader(record)
    reader.raw(44)
    expect(hexOf(reader.raw(32))).toBe(vectors.row.vtag)
    expect(votedRow(keys, { table: 1, rowKey }, record)).toEqual({ ballot, row })
  })

  test('a version', () => {
    const version = freshVersion(keys, always(0x88))
    expect(hexOf(deathProof(keys, version))).toBe(vectors.version.del)
    expect(hexOf(version.id)).toBe(vectors.version.versionId)
  })

  test('a key box', () => {
    const to = fromHex(vectors.box.kx)
    const options = { clusterId, purpose: ringPurpose(1), to, fresh: repeated(0x99, 32) }
    expect(hexOf(sealRing({ names, epochs }, options))).toBe(vectors.box.box)
  })

  test('a key box opens for its receiver alone', () => {
    const seed = repeated(7, 32)
    expect(() => openRing(fromHex(vectors.box.box), { seed, clusterId, purpose: ringPurpose(1) })).toThrow('not for this node')
  })
})
