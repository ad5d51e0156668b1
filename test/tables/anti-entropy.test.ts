import { describe, expect, test, vi } from 'vitest'
import { concat, utf8 } from '../../src/base/bytes.ts'
import { systemClock } from '../../src/base/clock.ts'
import { keyOf } from '../../src/base/peer-id.ts'
import { AntiEntropy } from '../../src/tables/anti-entropy.ts'
import { clearPartition } from '../../src/tables/clear-rows.ts'
import { tables } from '../../src/tables/index.ts'
import { messageLimits } from '../../src/tables/messages.ts'
import { plainCodec } from '../support/table-plain-codec.ts'
import { type TableNode, tableNodes } from '../support/table-nodes.ts'

const inAll = clearPartition + 1
const [first, second, third] = [0, 1, 2]

/** Three replicas, of which the third missed so many rows; the first compares. */
async function world (missed = 0, clock: { monotonicMs: () => number } = systemClock) {
  const { nodes, voters, dead, stopped } = tableNodes(3)
  const at = (i: number): TableNode => nodes[i] as TableNode
  dead.add(at(third).self)
  for (let i = 0; i < missed; i++) await at(first).registers.change({ table: tables.objects, scope: new Uint8Array(16), key: utf8(`key ${i}`) }, () => ({ kind: 'write', value: utf8('x'), result: undefined }))
  dead.clear()
  const { self, replica, peers, registers } = at(first)
  return { at, dead, stopped, antiEntropy: new AntiEntropy({ self, replica, codec: plainCodec, voters, peers, settle: registers.settle, clock }) }
}

describe('comparing rows tells how far it is', () => {
  test('in partitions, once for each replica, and never backwards; and what it handed over', async () => {
    const { antiEntropy } = await world(5)
    expect(antiEntropy.status()).toMatchObject({ phase: 'waiting', doneShare: 1, total: { comparisons: 0, handedOverRows: 0 } })
    antiEntropy.begin()
    expect(antiEntropy.status()).toMatchObject({ phase: 'comparing', doneShare: 0, donePartitions: 0, totalPartitions: 2 * inAll })
    const shares: number[] = []
    while (await antiEntropy.step() === 'busy') shares.push(antiEntropy.status().doneShare)
    expect(shares).toEqual(shares.toSorted((a, b) => a - b))
    // two replicas, 64 partitions a question
    expect(new Set(shares).size).toBeGreaterThan(2 * 60)
    const { phase, donePartitions, totalPartitions, total } = antiEntropy.status()
    expect({ phase, donePartitions, totalPartitions, total: { ...total, handedOverBytes: 0 } }).toEqual({ phase: 'waiting', donePartitions: 2 * inAll, totalPartitions: 2 * inAll, total: { comparisons: 2, failures: 0, handedOverRows: 5, handedOverBytes: 0 } })
    expect(total.handedOverBytes).toBeGreaterThan(5 * 50)
  })

  test('and counts who does not answer as failed, and as done until its next turn', async () => {
    const { antiEntropy, at, dead } = await world(1)
    dead.add(at(second).self)
    antiEntropy.begin()
    while (await antiEntropy.step() === 'busy');
    expect(antiEntropy.status()).toMatchObject({ phase: 'waiting', doneShare: 1, total: { comparisons: 2, failures: 1, handedOverRows: 1 } })
    antiEntropy.begin(at(second).self)
    expect(antiEntropy.status()).toMatchObject({ phase: 'comparing', doneShare: 0, totalPartitions: inAll })
  })

  test('and is urgent while it compares with one that has just come back', async () => {
    const { antiEntropy, at } = await world()
    antiEntropy.begin()
    expect(antiEntropy.isUrgent).toBe(false)
    while (await antiEntropy.step() === 'busy');
    antiEntropy.begin(at(third).self)
    expect(antiEntropy.isUrgent).toBe(true)
    while (await antiEntropy.step() === 'busy');
    expect(antiEntropy.isUrgent).toBe(false)
  })
})

test.each([['begin anew', () => 0], ['go on', (i: number) => i]] as const)('one whose rows %s without end is dropped until its next turn, and the others are compared with', async (_, nth) => {
  const { antiEntropy, at } = await world(3)
  const { replica } = at(second)
  const answer = replica.answer.bind(replica)
  let [pages, rows] = [0, 0]
  vi.spyOn(replica, 'answer').mockImplementation(async (from, request) => {
    const told = await answer(from, request)
    if (request.kind === 'digest' && told.kind === 'digests') return { ...told, digests: told.digests.map((digest) => digest && { ...digest, digest: new Uint8Array(32) }) }
    if (request.kind !== 'ballots' || told.kind !== 'ballots') return told
    if (++pages > 3_000) throw new Error('asked without end')
    const rowKey = (i: number): Uint8Array => concat([Uint8Array.of(nth(i) >> 16, nth(i) >> 8, nth(i)), new Uint8Array(29)])
    return { ...told, truncated: true, rows: Array.from({ length: messageLimits.maxBallots }, () => ({ table: tables.objects, rowKey: rowKey(rows++), ballot: { counter: 1n, proposer: keyOf(at(first).self) } })) }
  })
  antiEntropy.begin()
  while (await antiEntropy.step() === 'busy');
  expect(pages).toBeLessThan(3_000)
  expect(antiEntropy.status()).toMatchObject({ phase: 'waiting', total: { comparisons: 2, failures: 1, handedOverRows: 3 } })
})

test.each([
  ['tells of row after row', (i: number) => ({ truncated: true, rows: [{ table: tables.objects, rowKey: concat([Uint8Array.of(0, 0, i >> 8, i), new Uint8Array(28)]), ballot: { counter: 1n, proposer: new Uint8Array(32) } }] })],
  ['has nothing of all partitions', () => ({ truncated: false, rows: [] })],
] as const)('one that %s, and takes nearly the time limit for each answer, does not keep the others from being compared with', async (_, page) => {
  let nowMs = 0
  const { antiEntropy, at } = await world(3, { monotonicMs: () => nowMs })
  const { replica, store } = at(second)
  const answer = replica.answer.bind(replica)
  let pages = 0
  vi.spyOn(replica, 'answer').mockImplementation(async (from, request) => {
    nowMs += 9_000
    const told = await answer(from, request)
    if (request.kind === 'digest' && told.kind === 'digests') return { ...told, digests: told.digests.map((digest) => digest && { ...digest, count: 1, digest: new Uint8Array(32) }) }
    return request.kind === 'ballots' && told.kind === 'ballots' ? { ...told, ...page(pages++) } : told
  })
  antiEntropy.begin()
  const rowsOf = async (of: typeof store): Promise<number> => { let rows = 0; for (let partition = 0; partition < clearPartition; partition++) for await (const _row of of.rows(partition)) rows++; return rows }
  for (let steps = 0; steps < 400; steps++) await antiEntropy.step()
  expect(await rowsOf(at(third).store)).toBe(3)
  expect(antiEntropy.status().phase).toBe('comparing')
})
