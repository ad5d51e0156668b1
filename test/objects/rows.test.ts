import { encode } from 'cborg'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { compareBytes, fromHex, hexOf, MalformedBytes, utf8 } from '../../src/base/bytes.ts'
import { InvalidInput, Refused } from '../../src/base/errors.ts'
import { hash } from '../../src/base/hash.ts'
import { checkAccessKey, encodeAccessKey } from '../../src/objects/access/access-key.ts'
import { describeRow } from '../../src/objects/describe.ts'
import { attributeLimits, type Attributes, checkAttributes, sizeRuns } from '../../src/objects/versions/attributes.ts'
import { decodeObjectRow, decodeSummary, emptyRow, encodeObjectRow, encodeSummary, etagOf, type CurrentVersion, type KeptVersion, objectRowLimits, type ObjectRow, withCurrent, withoutPending, withPending } from '../../src/objects/object-row.ts'
import { withNewest, withoutCurrentVersion, withoutKept } from '../../src/objects/versions/history.ts'
import { decodeVersionRow, encodeVersionRow, keyOfVersionRow, versionDelimiter, versionPrefix, type VersionRow, versionRowKey, versionsOfKey } from '../../src/objects/versions/version-row.ts'
import { rowLimits, type TableNumber, tables } from '../../src/tables/index.ts'
import { decodeAnswer, encodeAnswer } from '../../src/tables/messages-codec.ts'
import { rowVectors } from '../support/row-vectors.ts'

const bytes = (length: number, fill: number): Uint8Array => new Uint8Array(length).fill(fill)
const current: CurrentVersion = {
  id: hash(utf8('id')), salt: bytes(16, 7), epoch: 1, sizeBytes: 300_000, modifiedMs: 1_700_000_000_000, contentType: 'text/plain', metadata: { a: 'b' }, hasBlocks: true, content: Uint8Array.of(1, 0),
}

describe('what a listing shows of the longest rows, as one node tells it another', () => {
  const summaryOf = (table: TableNumber, value: Uint8Array): Uint8Array => describeRow(table, value)?.summary as Uint8Array
  const told = (summary: Uint8Array): Uint8Array | undefined => {
    const answer = decodeAnswer(encodeAnswer({ kind: 'page', truncated: false, lost: [], entries: [{ name: utf8('k'), rowKey: bytes(32, 1), ballot: { counter: 1n, proposer: bytes(32, 2) }, summary }] }))
    return answer.kind === 'page' ? answer.entries[0]?.summary : undefined
  }

  test('is what it has: of an object with as much metadata as may be, in as many pieces', () => {
    const metadata = Object.fromEntries(Array.from({ length: 1024 }, (_, i) => [String.fromCharCode(33 + i % 32, 33 + Math.floor(i / 32)), '']))
    const version = { ...current, contentType: 'x'.repeat(256), metadata, sequence: 2 ** 40, attributes: { md5: bytes(16, 1), parts: { count: 10_000, md5: bytes(16, 2) }, checksum: { algorithm: 'sha256', value: bytes(32, 3), type: 'COMPOSITE' } } } as const
    const object = summaryOf(tables.objects, encodeObjectRow({ ...emptyRow({ bucketId: bytes(16, 3), key: 'k' }), current: version }))
    expect(told(object)).toEqual(object)
    const kept = summaryOf(tables.versions, encodeVersionRow({ bucketId: bytes(16, 3), key: 'k', edition: 0, isDeleteMarker: false, version }))
    expect(told(kept)).toEqual(kept)
  })

  test('is what it has: of an access key with as many rights as may be', () => {
    const rights = Array.from({ length: 64 }, (_, i) => ({ bucket: `photos-${i}`, prefix: 'p'.repeat(500), actions: ['read', 'write', 'list'] as const }))
    const key = { id: `DFS${'A'.repeat(17)}`, secret: 's'.repeat(43), name: 'n', rights, notAfterMs: undefined, createdMs: 1 }
    checkAccessKey(key)
    const summary = summaryOf(tables.accessKeys, encodeAccessKey(key))
    expect(told(summary)).toEqual(summary)
  })
})

describe('object rows', () => {
  test.each(rowVectors<ObjectRow>('object-rows.json'))('$name: these bytes, and no others', ({ row, bytes: expected }) => {
    const whole = { ...row, current: row.current === undefined ? undefined : { ...row.current, contentType: row.current.contentType } }
    expect(decodeObjectRow(fromHex(expected))).toEqual(whole)
    expect(hexOf(encodeObjectRow(whole))).toBe(expected)
  })

  test('of a version to come are not guessed at, nor are attributes that this version does not know', () => {
    expect(() => decodeObjectRow(encode([5, bytes(16, 0), utf8('k'), [], null, bytes(0, 0), bytes(0, 0)]))).toThrow(MalformedBytes)
    const fields = [current.id, current.salt, 1, 3, 0, null, {}, false, bytes(4, 0), null]
    const rowWith = (attributes: unknown): Uint8Array => encode([3, bytes(16, 0), utf8('k'), [], [...fields, attributes, null, false], bytes(0, 0), bytes(0, 0)])
    expect(decodeObjectRow(rowWith({ held: true })).current?.attributes).toEqual({ isHeld: true })
    expect(() => decodeObjectRow(rowWith({ held: true, heldByTwo: true }))).toThrow(MalformedBytes)
  })

  test('without attributes, kept versions and uploads in parts are written in the first version, so that what reads only that goes on reading them', () => {
    const row = { ...emptyRow({ bucketId: bytes(16, 3), key: 'k' }), current: { ...current, attributes: {} }, kept: [] }
    expect(encodeObjectRow(row)[1]).toBe(1)
    expect(encodeObjectRow({ ...row, current: { ...current, attributes: { isHeld: true as const } } })[1]).toBe(3)
    expect(encodeObjectRow({ ...row, current: { ...current, stored: { salt: bytes(16, 9), epoch: 1, copies: 2 } } })[1]).toBe(4)
  })

  test('fit a record however full they are', () => {
    const attributes: Attributes = {
      md5: bytes(16, 1), parts: { count: 10_000, md5: bytes(16, 2), sizes: Array.from({ length: attributeLimits.maxSizeRuns }, (_, i) => ({ count: 19 + Number(i < 272), sizeBytes: 2 ** 40 + i })) },
      checksum: { algorithm: 'sha256', value: bytes(32, 3), type: 'COMPOSITE' }, headers: { 'cache-control': 'x'.repeat(attributeLimits.maxHeaderBytes - 13) },
      tags: Array.from({ length: 10 }, (_, i) => [`${i}`.repeat(128), 'é'.repeat(243)] as const), retention: { mode: 'governance', untilMs: 2 ** 42 }, isHeld: true,
    }
    checkAttributes(attributes)
    const kept: KeptVersion = { salt: bytes(16, 4), epoch: 2 ** 31, sequence: 2 ** 47, edition: 65_535, isDeleteMarker: false, isNull: false, hasBlocks: true }
    const pending = Array.from({ length: objectRowLimits.maxPending }, (_, i) => ({ id: hash(Uint8Array.of(i)), salt: bytes(16, i), epoch: 2 ** 31, heartbeat: 2 ** 31, isMultipart: true as const }))
    const dropped = Array.from({ length: (objectRowLimits.maxHistoryBytes - 29 * objectRowLimits.maxKept) / 20 }, () => ({ salt: bytes(16, 5), epoch: 1 }))
    const row: ObjectRow = {
      bucketId: bytes(16, 3), key: 'k'.repeat(1024), pending, dropped, kept: Array.from({ length: objectRowLimits.maxKept }, () => kept),
      current: { ...current, content: bytes(4097, 0), metadata: { a: 'x'.repeat(2047) }, contentType: 'x'.repeat(256), attributes, sequence: 2 ** 47, isNull: true },
    }
    expect(encodeObjectRow(row).byteLength).toBeLessThan(rowLimits.maxRecordBytes - 1024)
    expect(decodeObjectRow(encodeObjectRow(row))).toEqual(row)
    expect(encodeSummary(row.current as CurrentVersion).byteLength).toBeLessThan(4096)
    expect(encodeVersionRow({ bucketId: row.bucketId, key: '\0'.repeat(1024), edition: 65_535, isDeleteMarker: false, version: { ...row.current as CurrentVersion, sequence: 2 ** 47 } }).byteLength).toBeLessThan(rowLimits.maxRecordBytes)
    expect(() => withCurrent({ ...row, pending: [...pending, { ...current, salt: bytes(16, 99), heartbeat: 0 }] }, { ...current, salt: bytes(16, 99) })).toThrow(Refused)
  })

  test('that are full give versions up, which makes room (of a bucket that was converted no version of such a key could be removed)', () => {
    const stored = { salt: bytes(16, 9), epoch: 1, copies: 2 }
    const kept = Array.from({ length: Math.floor(objectRowLimits.maxHistoryBytes / 52) }, (_, i): KeptVersion =>
      ({ salt: hash(Uint8Array.of(i >> 8, i)).subarray(0, 16), epoch: 1, sequence: 2000 - i, edition: 0, isDeleteMarker: false, isNull: i === 5, hasBlocks: true, stored }))
    const row: ObjectRow = { ...emptyRow({ bucketId: bytes(16, 3), key: 'k' }), kept, current: { ...current, sequence: 3000 } }
    const leaving = kept[7] as KeptVersion
    expect(withoutKept(row, leaving, undefined).row).toMatchObject({ kept: kept.filter((other) => other !== leaving), dropped: [{ salt: stored.salt }] })
    const next = { ...current, salt: (kept[0] as KeptVersion).salt, sequence: 2000 }
    expect(withoutCurrentVersion(row, next).row).toMatchObject({ kept: kept.slice(1), dropped: [{ salt: current.salt }], current: { salt: next.salt } })
    // the null version gives way to the new one, which is that from now on
    const replaced = withNewest({ ...row, current: undefined, pending: [{ ...current, heartbeat: 0 }] }, current, 'suspended')
    expect(replaced?.row).toMatchObject({ kept: kept.filter(({ isNull }) => !isNull), dropped: [{ salt: stored.salt }] })
  })

  test('remember of an upload that it comes in parts', () => {
    const row = withPending(emptyRow({ bucketId: bytes(16, 3), key: 'k' }), { ...current, isMultipart: true })
    expect(decodeObjectRow(encodeObjectRow(row)).pending).toEqual([{ id: current.id, salt: current.salt, epoch: 1, heartbeat: 0, isMultipart: true }])
    expect(withoutPending(row, current)).toMatchObject({ pending: [], dropped: [{ epoch: 1 }] })
  })

  test('are listed without what a reader needs, and without tags and locks', () => {
    const attributes: Attributes = { md5: bytes(16, 1), tags: [['a', 'b']], isHeld: true, headers: { expires: 'never' }, parts: { count: 2, md5: bytes(16, 2), sizes: [{ count: 2, sizeBytes: 5 }] } }
    const listed = decodeSummary(encodeSummary({ ...current, redundancy: { k: 4, m: 2 }, attributes, sequence: 3 }))
    expect(listed).toMatchObject({ sizeBytes: 300_000, sequence: 3 })
    expect(listed.attributes).toEqual({ md5: bytes(16, 1), parts: { count: 2, md5: bytes(16, 2) } })
  })
})

describe('an etag', () => {
  test('is the MD5 of the content, or of the MD5s of its parts with their number; without those it follows from the version, and is no MD5 to anybody', () => {
    const md5 = fromHex('d41d8cd98f00b204e9800998ecf8427e')
    expect(etagOf({ ...current, attributes: { md5 } })).toBe('d41d8cd98f00b204e9800998ecf8427e')
    expect(etagOf({ ...current, attributes: { parts: { count: 3, md5 } } })).toBe('d41d8cd98f00b204e9800998ecf8427e-3')
    expect(etagOf({ ...current, attributes: { parts: { count: 3 } } })).toBe(`${hexOf(current.id.subarray(0, 16))}-1`)
    expect(etagOf(current)).toBe(`${hexOf(current.id.subarray(0, 16))}-1`)
  })
})

describe('attributes', () => {
  test('part sizes are kept as runs, if there are not too many', () => {
    expect(sizeRuns([5, 5, 5, 2])).toEqual([{ count: 3, sizeBytes: 5 }, { count: 1, sizeBytes: 2 }])
    expect(sizeRuns(Array.from({ length: attributeLimits.maxSizeRuns }, (_, i) => i))).toHaveLength(attributeLimits.maxSizeRuns)
    expect(sizeRuns(Array.from({ length: attributeLimits.maxSizeRuns + 1 }, (_, i) => i))).toBeUndefined()
  })

  const tag = ['a', 'b'] as const
  test.each<[string, Attributes]>([
    ['eleven tags', { tags: Array.from({ length: 11 }, (_, i) => [`${i}`, ''] as const) }],
    ['two tags of one key', { tags: [tag, ['a', 'c']] }],
    ['a tag without a key', { tags: [['', 'b']] }],
    ['a long key', { tags: [['a'.repeat(129), 'b']] }],
    ['a long value', { tags: [['a', 'b'.repeat(257)]] }],
    ['a reserved key', { tags: [['AWS:x', 'b']] }],
    ['a tag with a line break', { tags: [['a\nb', '']] }],
    ['tags that are too much together', { tags: Array.from({ length: 10 }, (_, i) => [`${i}`, '日'.repeat(256)] as const) }],
    ['headers that are too much together', { headers: { expires: 'x'.repeat(attributeLimits.maxHeaderBytes) } }],
    ['a header that is not kept', { headers: { cookie: 'x' } as Attributes['headers'] }],
    ['a retention of another mode', { retention: { mode: 'for ever' as 'compliance', untilMs: 1 } }],
    ['a retention without an end', { retention: { mode: 'compliance', untilMs: Number.NaN } }],
    ['a short MD5', { md5: bytes(15, 0) }],
    ['a short checksum', { checksum: { algorithm: 'crc64nvme', value: bytes(4, 0), type: 'FULL_OBJECT' } }],
    ['no parts', { parts: { count: 0 } }],
    ['more parts than there are', { parts: { count: 2, sizes: [{ count: 3, sizeBytes: 1 }] } }],
  ])('%s: refused', (_, attributes) => { expect(() => { checkAttributes(attributes) }).toThrow(InvalidInput) })
})

describe('rows of versions', () => {
  test.each(rowVectors<VersionRow>('version-rows.json'))('$name: these bytes, and no others', ({ row, bytes: expected }) => {
    const whole = { ...row, version: { ...row.version, contentType: row.version.contentType } }
    expect(decodeVersionRow(fromHex(expected))).toEqual(whole)
    expect(hexOf(encodeVersionRow(whole))).toBe(expected)
  })

  const anyKey = fc.string({ minLength: 1, maxLength: 12, unit: fc.constantFrom('\0', 'a', '/', '\x01', '\x10', 'é', '\u{10ffff}', '\x7f') })
  const rowKey = (key: string, sequence: number): Uint8Array => versionRowKey(key, { sequence, salt: bytes(16, 0x2f) })
  const anySequence = fc.integer({ min: 1, max: 2 ** 48 - 1 })

  test('stand in the order of keys, the newest version of a key first, and say which they are', () => {
    fc.assert(fc.property(anyKey, anySequence, anyKey, anySequence, (a, i, b, j) => {
      const order = Math.sign(compareBytes(utf8(a), utf8(b))) || Math.sign(j - i)
      expect(Math.sign(compareBytes(rowKey(a, i), rowKey(b, j)))).toBe(order)
      expect(keyOfVersionRow(rowKey(a, i))).toEqual(a)
    }))
  })

  test('begin with the prefix if and only if their keys do', () => {
    fc.assert(fc.property(anyKey, anyKey, anySequence, (key, prefix, sequence) => {
      const begins = (what: Uint8Array): boolean => compareBytes(rowKey(key, sequence).subarray(0, what.byteLength), what) === 0
      expect(begins(versionPrefix(prefix))).toBe(utf8(key).subarray(0, utf8(prefix).byteLength).every((byte, i) => byte === utf8(prefix)[i]) && utf8(key).byteLength >= utf8(prefix).byteLength)
      expect(begins(versionsOfKey(prefix))).toBe(key === prefix)
    }))
  })

  test('hold a delimiter where their key does, and nowhere else', () => {
    fc.assert(fc.property(anyKey, anySequence, (key, sequence) => {
      expect(Buffer.from(rowKey(key, sequence)).indexOf(versionDelimiter('/')) >= 0).toBe(key.includes('/'))
    }))
    for (const delimiter of ['\0', '\x10', 'a\x01']) expect(() => versionDelimiter(delimiter)).toThrow(InvalidInput)
  })

  test('have keys that fit, whatever the object is called', () => { expect(rowKey('\0'.repeat(1024), 1).byteLength).toBeLessThanOrEqual(rowLimits.maxKeyBytes) })
})
