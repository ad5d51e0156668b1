import { encode } from 'cborg'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { compareBytes, fromHex, hexOf, MalformedBytes } from '../../src/base/bytes.ts'
import { attributeLimits } from '../../src/objects/versions/attributes.ts'
import { afterHeadsOf, decodeHeadSummary, decodePartSummary, decodeUploadRow, encodeUploadRow, headKey, headsWith, idInPart, keyInHead, keyOfUploadRow, partKey, type PartRow, summaryOfUploadRow, type UploadHead } from '../../src/objects/uploads/upload-row.ts'
import { listingIndexLimits } from '../../src/tables/listing-index.ts'
import { rowLimits } from '../../src/tables/index.ts'
import { rowVectors } from '../support/row-vectors.ts'

const bytes = (length: number, fill: number): Uint8Array => new Uint8Array(length).fill(fill)
const head: UploadHead = {
  kind: 'head', bucketId: bytes(16, 3), key: 'k', version: { id: bytes(32, 1), salt: bytes(16, 2), epoch: 1 }, initiatedMs: 1_700_000_000_000, copies: 3, contentType: undefined, metadata: {},
  attributes: {}, wantsMd5: false, checksum: undefined,
}
const part: PartRow = { kind: 'part', bucketId: bytes(16, 3), key: 'k', id: bytes(32, 1), number: 258, sizeBytes: 5, modifiedMs: 1_700_000_000_000, md5: bytes(16, 4), checksum: undefined, content: Uint8Array.of(1, 0) }

describe('rows of uploads', () => {
  test.each(rowVectors<UploadHead | PartRow>('upload-rows.json'))('$name: these bytes, and no others', ({ row, bytes: expected }) => {
    expect(decodeUploadRow(fromHex(expected))).toEqual(row)
    expect(hexOf(encodeUploadRow(row))).toBe(expected)
  })

  test('of a version or a kind to come are not guessed at', () => {
    expect(() => decodeUploadRow(encode([2, 1, bytes(16, 3), bytes(1, 3), bytes(32, 1)]))).toThrow(MalformedBytes)
    expect(() => decodeUploadRow(encode([1, 3, bytes(16, 3), bytes(1, 3), bytes(32, 1)]))).toThrow(MalformedBytes)
  })

  test('stand in the order of keys, an upload\'s parts in that of their numbers, and heads and parts apart', () => {
    fc.assert(fc.property(fc.string({ minLength: 1, maxLength: 20, unit: 'binary' }), fc.string({ minLength: 1, maxLength: 20, unit: 'binary' }), fc.uint8Array({ minLength: 32, maxLength: 32 }), (a, b, id) => {
      const order = Math.sign(Buffer.compare(Buffer.from(a), Buffer.from(b)))
      expect(Math.sign(compareBytes(headKey(a, id), headKey(b, id)))).toBe(order)
      expect(Math.sign(compareBytes(afterHeadsOf(a), headKey(b, id)))).toBe(order < 0 ? -1 : 1)
      expect(keyInHead(headKey(a, id))).toBe(a)
      expect(Buffer.from(headKey(a + b, id)).indexOf(headsWith(a))).toBe(0)
      expect(compareBytes(headKey(a, id), partKey(id, 1))).toBe(-1)
    }))
    expect(compareBytes(partKey(bytes(32, 1), 255), partKey(bytes(32, 1), 256))).toBe(-1)
    expect(idInPart(partKey(bytes(32, 9), 256))).toEqual(bytes(32, 9))
  })

  test('fit a record, a key and a summary however full they are', () => {
    const key = '\0'.repeat(1024)
    const fullHead: UploadHead = {
      ...head, key, shards: '4+2', contentType: 'x'.repeat(256), metadata: { a: 'x'.repeat(2047) }, wantsMd5: true, checksum: { algorithm: 'crc64nvme', type: 'FULL_OBJECT' },
      attributes: { headers: { 'cache-control': 'x'.repeat(attributeLimits.maxHeaderBytes - 13) }, tags: Array.from({ length: 10 }, (_, i) => [`${i}`.repeat(128), 'é'.repeat(243)] as const), retention: { mode: 'compliance', untilMs: 2 ** 42 }, isHeld: true },
    }
    const fullPart: PartRow = { ...part, key, number: 10_000, sizeBytes: 5 * 1024 ** 3, checksum: { algorithm: 'sha256', value: bytes(32, 5) }, content: bytes(2 + 255 * 76, 1) }
    for (const row of [fullHead, fullPart]) {
      expect(decodeUploadRow(encodeUploadRow(row))).toEqual(row)
      expect(encodeUploadRow(row).byteLength).toBeLessThan(rowLimits.maxRecordBytes - 4096)
      expect(keyOfUploadRow(row).byteLength).toBeLessThanOrEqual(rowLimits.maxKeyBytes)
      expect(summaryOfUploadRow(row).byteLength).toBeLessThan(listingIndexLimits.maxSummaryBytes / 10)
    }
    expect(decodeHeadSummary(summaryOfUploadRow(fullHead))).toEqual({ id: head.version.id, initiatedMs: head.initiatedMs, checksum: fullHead.checksum })
    const { number, sizeBytes, modifiedMs, md5, checksum } = fullPart
    expect(decodePartSummary(keyOfUploadRow(fullPart), summaryOfUploadRow(fullPart))).toEqual({ number, sizeBytes, modifiedMs, md5, checksum })
  })
})
