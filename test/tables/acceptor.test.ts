import { describe, expect, test } from 'vitest'
import { judge } from '../../src/tables/acceptor.ts'
import type { Ballot } from '../../src/tables/index.ts'

const ballot = (counter: number, proposer = 1): Ballot => ({ counter: BigInt(counter), proposer: new Uint8Array(32).fill(proposer) })
const record = (text: string): Uint8Array => new TextEncoder().encode(text)
const accepted = (counter: number, text: string) => ({ ballot: ballot(counter), record: record(text) })

describe('an acceptor', () => {
  test('promises a higher ballot and shows what it holds', () => {
    const verdict = judge({ promised: ballot(3), accepted: accepted(3, 'x') }, { kind: 'prepare', ballot: ballot(4) })
    expect(verdict).toEqual({ kind: 'promised', accepted: accepted(3, 'x'), save: { promised: ballot(4), accepted: accepted(3, 'x') } })
  })
  test('does not promise the same ballot twice: a second promise could go to a second value', () => {
    expect(judge({ promised: ballot(4), accepted: undefined }, { kind: 'prepare', ballot: ballot(4) })).toEqual({ kind: 'refused', promised: ballot(4) })
  })
  test('orders equal counters by proposer', () => {
    expect(judge({ promised: ballot(4, 1), accepted: undefined }, { kind: 'prepare', ballot: ballot(4, 2) }).kind).toBe('promised')
    expect(judge({ promised: ballot(4, 2), accepted: undefined }, { kind: 'prepare', ballot: ballot(4, 1) }).kind).toBe('refused')
  })
  test('accepts what it promised', () => {
    expect(judge({ promised: ballot(4), accepted: accepted(3, 'x') }, { kind: 'accept', ballot: ballot(4), record: record('y') }))
      .toEqual({ kind: 'accepted', save: { promised: ballot(4), accepted: accepted(4, 'y') } })
  })
  test('raises its promise with an accept that it was not asked to promise', () => {
    expect(judge({ promised: ballot(3), accepted: undefined }, { kind: 'accept', ballot: ballot(7), record: record('y') }))
      .toEqual({ kind: 'accepted', save: { promised: ballot(7), accepted: accepted(7, 'y') } })
  })
  test.each(['accept', 'handOver'] as const)('refuses %s below its promise', (kind) => {
    expect(judge({ promised: ballot(5), accepted: undefined }, { kind, ballot: ballot(4), record: record('y') })).toEqual({ kind: 'refused', promised: ballot(5) })
  })
  test('takes a first late delivery of a row it never heard of', () => {
    expect(judge(undefined, { kind: 'handOver', ballot: ballot(4), record: record('y') }).kind).toBe('accepted')
  })
  test('counts each row as promised at the floor: one that is absent may be buried, and any may have been promised so much by others', () => {
    for (const kind of ['prepare', 'accept', 'handOver'] as const) {
      const proposal = (counter: number) => (kind === 'prepare' ? { kind, ballot: ballot(counter) } : { kind, ballot: ballot(counter), record: record('y') })
      expect(judge(undefined, proposal(4), ballot(5))).toEqual({ kind: 'refused', promised: ballot(5) })
      expect(judge(undefined, proposal(5), ballot(5))).toEqual({ kind: 'refused', promised: ballot(5) })
      expect(judge(undefined, proposal(6), ballot(5)).kind).not.toBe('refused')
      for (const held of [accepted(1, 'x'), undefined]) expect(judge({ promised: ballot(1), accepted: held }, proposal(3), ballot(5))).toEqual({ kind: 'refused', promised: ballot(5) })
      expect(judge({ promised: ballot(7), accepted: accepted(1, 'x') }, proposal(6), ballot(5))).toEqual({ kind: 'refused', promised: ballot(7) })
      // of a row that is there the floor is what was promised, and nothing more: the very round that it was promised to may yet be brought
      expect(judge({ promised: ballot(1), accepted: accepted(1, 'x') }, proposal(5), ballot(5)).kind === 'refused', kind).toBe(kind === 'prepare')
      // and one with nothing accepted may be buried all the same
      expect(judge({ promised: ballot(1), accepted: undefined }, proposal(5), ballot(5)).kind === 'refused', kind).toBe(kind !== 'accept')
    }
  })
  test('says accepted again, without writing, when the same ballot comes again', () => {
    expect(judge({ promised: ballot(9), accepted: accepted(4, 'y') }, { kind: 'handOver', ballot: ballot(4), record: record('y') })).toEqual({ kind: 'accepted', save: undefined })
  })
})
