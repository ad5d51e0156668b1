import { readFileSync } from 'node:fs'
import { encode } from 'cborg'
import { describe, expect, test } from 'vitest'
import { fromHex, hexOf, MalformedBytes } from '../../../src/base/bytes.ts'
import { type BucketRow, decodeBucketRow, encodeBucketRow } from '../../../src/objects/buckets/bucket-row.ts'

const vectors = JSON.parse(readFileSync(new URL('../../vectors/bucket-rows.json', import.meta.url), 'utf8')) as ReadonlyArray<{ name: string, row: BucketRow, bytes: string }>

describe('bucket rows', () => {
  test.each(vectors)('$name: these bytes, and no others', ({ row, bytes }) => {
    expect(decodeBucketRow(fromHex(bytes))).toEqual(row)
    expect(hexOf(encodeBucketRow(row))).toBe(bytes)
  })

  test('of a version to come are not guessed at', () => {
    expect(() => decodeBucketRow(encode([6, 'photos']))).toThrow(MalformedBytes)
    const fields = ['photos', new Uint8Array(16), 'active', '', 2, false, 'auto', 'content', 'bucket']
    expect(() => decodeBucketRow(encode([3, ...fields, { removal: new Uint8Array(16), later: 1 }]))).toThrow(MalformedBytes)
    expect(() => decodeBucketRow(encode([3, ...fields]))).toThrow(MalformedBytes)
    expect(() => decodeBucketRow(encode([3, ...fields, { settings: {} }]))).toThrow(MalformedBytes)
    expect(() => decodeBucketRow(encode([4, ...fields, { original: [3, null] }]))).toThrow(MalformedBytes)
    expect(() => decodeBucketRow(encode([4, ...fields, { settings: { versioning: 'enabled', frozen: true } }]))).toThrow(MalformedBytes)
  })
})
