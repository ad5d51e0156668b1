import { describe, expect, test } from 'vitest'
import { textOf, utf8 } from '../../src/base/bytes.ts'
import { hash } from '../../src/base/hash.ts'
import { type PeerId, peerIdOf } from '../../src/base/peer-id.ts'
import { encodeEnvelope } from '../../src/tables/envelope.ts'
import { type Change, rowLimits, tables } from '../../src/tables/index.ts'
import { openRecord } from '../../src/tables/opened-record.ts'
import { Proposer } from '../../src/tables/proposer.ts'
import type { OpenedRecord, RoundEffect } from '../../src/tables/round.ts'
import { plainCodec } from '../support/table-plain-codec.ts'

const row = { table: tables.objects, rowKey: hash(utf8('row')) }
const [a, b, c] = ['a', 'b', 'c'].map((name) => peerIdOf(hash(utf8(name)))) as [PeerId, PeerId, PeerId]
const idOf = (name: string): Uint8Array => hash(utf8(name)).subarray(0, 16)
type Effects = ReadonlyArray<RoundEffect<string>>

/** One change, told message by message. Its operation ids are `id 1`, `id 2` and so on. */
function proposalOf (change: (current: string | undefined) => Change<string>, voters = [a, b, c]) {
  let [ids, counter] = [0, 100n]
  const proposer = new Proposer<string>({
    proposer: hash(utf8('proposer')), change: (current) => change(current === undefined ? undefined : textOf(current)), erased: new Uint8Array(0), newOperationId: () => idOf(`id ${++ids}`),
    seal: (content, ballot) => plainCodec.encode({ ...row, content, ballot }),
    reseal: (record, ballot) => plainCodec.reproposed({ ...row, record, ballot }),
  })
  const all = (of: (peer: PeerId) => Effects, peers: readonly PeerId[]): Effects => peers.flatMap(of)
  return {
    begin: (): Effects => proposer.on({ kind: 'begin', stage: proposer.stage, counter: counter++, electorate: { version: 1n, groups: [voters] }, reachable: new Set(voters) }),
    promised: (accepted: OpenedRecord | undefined, peers = [a, b]): Effects => all((peer) => proposer.on({ kind: 'promised', stage: proposer.stage, peer, accepted }), peers),
    accepted: (peers = [a, b]): Effects => all((peer) => proposer.on({ kind: 'accepted', stage: proposer.stage, peer }), peers),
    failed: (peers: readonly PeerId[]): Effects => all((peer) => proposer.on({ kind: 'failed', stage: proposer.stage, peer }), peers),
    refused: (peers: readonly PeerId[]): Effects => all((peer) => proposer.on({ kind: 'refused', stage: proposer.stage, peer, promised: { counter: counter + 5n, proposer: hash(utf8('other')) } }), peers),
  }
}

/** What another proposer has had accepted: a value at a revision, with the ids of the last changes. */
const recordOf = ({ value, revision, ids }: { value: string, revision: number, ids: readonly string[] }): OpenedRecord => openRecord(plainCodec, {
  ...row,
  record: plainCodec.encode({ ...row, ballot: { counter: BigInt(1000 + revision), proposer: hash(utf8('other')) }, content: { revision: BigInt(revision), isTombstone: false, body: encodeEnvelope({ operations: ids.map(idOf), value: utf8(value) }) } }),
})
const append = (current: string | undefined): Change<string> => ({ kind: 'write', value: utf8(`${current ?? ''}v`), result: `${current ?? ''}v` })
const create = (current: string | undefined): Change<string> => (current === undefined ? { kind: 'write', value: utf8('v'), result: 'created' } : { kind: 'keep', result: 'exists' })
const kinds = (effects: Effects): readonly string[] => effects.map((effect) => (effect.kind === 'ask' ? effect.question.kind : effect.kind))

describe('a proposer whose accept got lost', () => {
  test('takes its own id for success, though every voter had refused: a second copy may be refused where the first was accepted', () => {
    const { begin, promised, refused } = proposalOf(append, [a])
    begin()
    expect(kinds(promised(undefined, [a]))).toEqual(['accept'])
    expect(kinds(refused([a]))).toEqual(['backOff'])
    begin()
    expect(promised(recordOf({ value: 'vw', revision: 2, ids: ['id 1', 'x'] }), [a])).toMatchObject([{ kind: 'done', result: 'v' }])
  })

  test('tries again where the ids since its base are all there and its own is not among them', () => {
    const { begin, promised, failed, accepted } = proposalOf(append)
    begin()
    promised(undefined)
    failed([b, c])
    begin()
    const others = Array.from({ length: rowLimits.keptOperations }, (_, i) => `x${i}`)
    expect(kinds(promised(recordOf({ value: 'w', revision: rowLimits.keptOperations, ids: others })))).toEqual(['accept'])
    expect(accepted()).toMatchObject([{ kind: 'done', result: 'wv' }])
  })

  test('does not know after one change more: its id may have gone with the oldest', () => {
    const { begin, promised, failed } = proposalOf(append)
    begin()
    promised(undefined)
    failed([b, c])
    begin()
    const others = Array.from({ length: rowLimits.keptOperations }, (_, i) => `x${i}`)
    expect(promised(recordOf({ value: 'w', revision: rowLimits.keptOperations + 1, ids: others }))).toMatchObject([{ kind: 'fail', outcome: 'unknown' }])
  })

  test('tells a failed condition only when something is chosen above what may yet be found', () => {
    const { begin, promised, failed, accepted } = proposalOf(create)
    begin()
    promised(undefined)
    failed([b, c])
    begin()
    // a and b hold it: chosen, and yet the lost accept at c has a chance while nothing higher is
    expect(kinds(promised(recordOf({ value: 'w', revision: 1, ids: ['x'] })))).toEqual(['accept'])
    expect(accepted()).toMatchObject([{ kind: 'done', result: 'exists' }])
  })

  test('does not take a row for absent either before something is chosen above', () => {
    const { begin, promised, failed, accepted } = proposalOf((current) => ({ kind: 'erase', result: String(current) }))
    begin()
    expect(kinds(promised(recordOf({ value: 'w', revision: 1, ids: ['x'] })))).toEqual(['accept'])
    failed([b, c])
    begin()
    expect(kinds(promised(undefined, [b, c]))).toEqual(['accept'])
    expect(accepted()).toMatchObject([{ kind: 'done', result: 'undefined' }])
  })
})
