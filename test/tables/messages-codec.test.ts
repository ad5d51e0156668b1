import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MalformedBytes } from '../../src/base/bytes.ts'
import { tables } from '../../src/tables/index.ts'
import type { TableAnswer, TableRequest } from '../../src/tables/messages.ts'
import { clearPartition } from '../../src/tables/clear-rows.ts'
import { decodeAnswer, decodeRequest, encodeAnswer, encodeRequest } from '../../src/tables/messages-codec.ts'

const bytes = (length: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ minLength: length, maxLength: length })
const upTo = (length: number): fc.Arbitrary<Uint8Array> => fc.uint8Array({ maxLength: length })
const maybe = <T>(of: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(of, { nil: undefined })
const table = fc.constantFrom(...Object.values(tables))
const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
const ballot = fc.record({ counter: u64, proposer: bytes(32) })
const partition = fc.integer({ min: 0, max: 4095 })
const compared = fc.oneof(partition, fc.constant(clearPartition))
const kind = <K extends string>(name: K): fc.Arbitrary<K> => fc.constant(name)

const request: fc.Arbitrary<TableRequest> = fc.oneof(
  fc.record({ version: u64, kind: kind('prepare'), table, rowKey: bytes(32), ballot }),
  fc.record({ version: u64, kind: fc.constantFrom('accept' as const, 'handOver' as const), table, rowKey: bytes(32), record: upTo(300) }),
  fc.record({ version: u64, kind: kind('read'), table, rowKey: bytes(32) }),
  fc.record({ version: u64, kind: kind('list'), table, scope: bytes(16), prefix: upTo(40), after: maybe(upTo(40)), limit: fc.integer({ min: 1, max: 1001 }) }),
  fc.record({ version: u64, kind: kind('digest'), partitions: fc.uniqueArray(compared, { maxLength: 64 }) }),
  fc.record({ version: u64, kind: kind('ballots'), partition: compared, after: maybe(bytes(32)) }),
  fc.record({ version: u64, kind: kind('publish'), proofs: fc.array(bytes(32), { maxLength: 512 }) }),
  fc.record({ version: u64, kind: kind('clock') }),
  fc.record({ version: u64, kind: kind('deaths'), versionIds: fc.array(bytes(32), { maxLength: 5 }) }),
  fc.record({ version: u64, kind: kind('bury'), partition, rows: fc.array(fc.record({ table, rowKey: bytes(32), ballot }), { maxLength: 128 }) }),
)
const answer: fc.Arbitrary<TableAnswer> = fc.oneof(
  fc.record({ kind: kind('promised'), accepted: maybe(upTo(300)), floor: maybe(ballot) }),
  fc.record({ kind: kind('accepted') }),
  fc.record({ kind: kind('value'), promised: maybe(ballot), accepted: maybe(upTo(300)), floor: maybe(ballot) }),
  fc.record({ kind: kind('refused'), promised: ballot }),
  fc.record({ kind: kind('page'), truncated: fc.boolean(), lost: fc.array(partition, { maxLength: 5 }), entries: fc.array(fc.record({ rowKey: bytes(32), ballot, name: upTo(40), summary: maybe(upTo(40)) }), { maxLength: 5 }) }),
  fc.record({ kind: kind('digests'), digests: fc.array(maybe(fc.record({ count: fc.integer({ min: 0, max: 2 ** 32 - 1 }), digest: bytes(32), floor: maybe(ballot) })), { maxLength: 64 }) }),
  fc.record({ kind: kind('ballots'), truncated: fc.boolean(), rows: fc.array(fc.record({ table, rowKey: bytes(32), ballot }), { maxLength: 5 }), floor: maybe(ballot) }),
  fc.record({ kind: kind('buried'), buried: fc.array(fc.boolean(), { maxLength: 128 }) }),
  fc.record({ kind: kind('published'), published: fc.array(fc.boolean(), { maxLength: 5 }) }),
  fc.record({ kind: kind('clock'), wallMs: fc.maxSafeNat() }),
  fc.record({ kind: kind('deaths'), proofs: fc.array(maybe(bytes(32)), { maxLength: 512 }) }),
  fc.record({ kind: kind('staleLayout'), layout: upTo(100) }),
  fc.record({ kind: kind('lost') }),
)

/** Plain arrays, so that views and copies compare equal. */
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value, (_, part: unknown) => (part instanceof Uint8Array ? [...part] : typeof part === 'bigint' ? `${part}n` : part)))

describe('table messages', () => {
  test('requests come back as they were', () => {
    fc.assert(fc.property(request, (message) => { expect(plain(decodeRequest(encodeRequest(message)))).toEqual(plain(message)) }), { numRuns: 300 })
  })
  test('answers come back as they were', () => {
    fc.assert(fc.property(answer, (message) => { expect(plain(decodeAnswer(encodeAnswer(message)))).toEqual(plain(message)) }), { numRuns: 300 })
  })
  test('a message cut short or with something left over is malformed', () => {
    fc.assert(fc.property(request, fc.nat(), (message, cut) => {
      const whole = encodeRequest(message)
      expect(() => decodeRequest(whole.subarray(0, cut % whole.byteLength))).toThrow(MalformedBytes)
      expect(() => decodeRequest(new Uint8Array([...whole, 0]))).toThrow(MalformedBytes)
    }), { numRuns: 200 })
  })
  test('random bytes are malformed or a message, and nothing else', () => {
    fc.assert(fc.property(upTo(200), (noise) => {
      for (const decode of [decodeRequest, decodeAnswer]) {
        try { decode(noise) } catch (error) { expect(error).toBeInstanceOf(MalformedBytes) }
      }
    }), { numRuns: 500 })
  })
  test('there is no partition beyond that of the clear rows, and that one is in no listing', () => {
    expect(() => decodeRequest(encodeRequest({ version: 1n, kind: 'digest', partitions: [clearPartition + 1] }))).toThrow(MalformedBytes)
    expect(() => decodeAnswer(encodeAnswer({ kind: 'page', truncated: false, lost: [clearPartition], entries: [] }))).toThrow(MalformedBytes)
  })
  test('one request names a partition once: the clear rows could be gone through 64 times', () => {
    expect(() => decodeRequest(encodeRequest({ version: 1n, kind: 'digest', partitions: [clearPartition, 3, clearPartition] }))).toThrow(MalformedBytes)
  })
  test('a record that claims more than 64 KiB is refused by its length alone', () => {
    const claim = new Uint8Array([2, 2, 0, 0, 0, 0, 0, 0, 0, 1, 1, ...new Uint8Array(32), 0xff, 0xff, 0xff, 0xff])
    expect(() => decodeRequest(claim)).toThrow(/exceeds 65536/)
  })
})
