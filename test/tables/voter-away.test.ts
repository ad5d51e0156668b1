import { describe, expect, test } from 'vitest'
import { partitionOf, utf8 } from '../../src/base/bytes.ts'
import { systemClock } from '../../src/base/clock.ts'
import { Unavailable } from '../../src/base/errors.ts'
import { keyOf } from '../../src/base/peer-id.ts'
import { AntiEntropy } from '../../src/tables/anti-entropy.ts'
import { clearPartition } from '../../src/tables/clear-rows.ts'
import { encodeEnvelope } from '../../src/tables/envelope.ts'
import { type Change, type RowAddress, type TableNumber, tables, type Voters } from '../../src/tables/index.ts'
import { LateDelivery, type RowSettler } from '../../src/tables/late-delivery.ts'
import { messageLimits } from '../../src/tables/messages.ts'
import { plainCodec } from '../support/table-plain-codec.ts'
import type { TableReplica } from '../../src/tables/replica.ts'
import { type TableNode, tableNodes, type TableNodes } from '../support/table-nodes.ts'

const address = (table: TableNumber = tables.objects, key = 'k'): RowAddress => ({ table, scope: new Uint8Array(16), key: utf8(key) })
const rowKey = plainCodec.rowKeyOf(address())
const write = (value: string) => (): Change<string> => ({ kind: 'write', value: utf8(value), result: value })
const [first, second, third] = [0, 1, 2]
const at = (nodes: readonly TableNode[], i: number): TableNode => nodes.at(i) as TableNode
const holds = async ({ store }: TableNode, of = address()): Promise<boolean> => (await store.get(of.table, plainCodec.rowKeyOf(of)))?.accepted !== undefined

/** Three nodes, of which the third has missed a write. */
async function missed (): Promise<TableNodes> {
  const world = tableNodes(3)
  world.dead.add(at(world.nodes, third).self)
  await at(world.nodes, first).registers.change(address(), write('x'))
  world.dead.clear()
  return world
}

/** One pass of anti-entropy from this node over some peer or all; gives how many records it handed over. */
function comparing ({ self, replica, peers, registers, asked }: Omit<TableNode, 'replica'> & { readonly replica: TableReplica }, voters: Voters, settle: RowSettler = registers.settle): (peer?: TableNode) => Promise<number> {
  const antiEntropy = new AntiEntropy({ self, replica, codec: plainCodec, voters, peers, settle, clock: systemClock })
  return async (peer) => {
    asked.length = 0
    antiEntropy.begin(peer?.self)
    while (await antiEntropy.step() === 'busy');
    return asked.filter(({ request }) => request.kind === 'handOver').length
  }
}

// to a proposer that dies of it: what is handed over afterwards is refused
async function promiseToTheDead ({ replica }: TableNode, { proposer, counter }: { proposer: TableNode, counter: bigint }): Promise<void> {
  await replica.answer(proposer.self, { version: 1n, kind: 'prepare', table: tables.objects, rowKey, ballot: { counter, proposer: keyOf(proposer.self) } })
}

describe('a voter that was away', () => {
  test('gets what was chosen by late delivery', async () => {
    const offers: Array<Parameters<LateDelivery['offer']>> = []
    const { nodes, dead, voters } = tableNodes(3, { options: () => ({ late: { offer: (...offer) => { offers.push(offer) } } }) })
    dead.add(at(nodes, third).self)
    await at(nodes, first).registers.change(address(), write('x'))
    const late = new LateDelivery({ peers: at(nodes, first).peers, voters, settle: at(nodes, first).registers.settle })
    for (const offer of offers) late.offer(...offer)
    expect(await late.step()).toBe('idle')
    dead.clear()
    expect(await late.step()).toBe('busy')
    expect(await holds(at(nodes, third))).toBe(true)
    expect(late.size).toBe(0)
  })

  test('gets nothing late that was to come to it under an older layout, though the layout changed before it was known to be late', async () => {
    const offers: Array<Parameters<LateDelivery['offer']>> = []
    let version = 1n
    const { nodes, stopped, voters } = tableNodes(3, { version: () => version, options: () => ({ late: { offer: (...offer) => { offers.push(offer) } }, timing: { askMs: 100 } }) })
    stopped.add(at(nodes, third).self)
    await at(nodes, first).registers.change(address(), write('x'))
    version = 2n
    await expect.poll(() => offers.length).toBe(1)
    const late = new LateDelivery({ peers: at(nodes, first).peers, voters, settle: at(nodes, first).registers.settle })
    for (const offer of offers) late.offer(...offer)
    stopped.clear()
    expect(await late.step()).toBe('busy')
    expect([await holds(at(nodes, third)), late.size]).toEqual([false, 0])
  })

  test('is not given by anti-entropy what was read under an older layout', async () => {
    let version = 1n
    const { nodes, voters, dead } = tableNodes(3, { version: () => version })
    dead.add(at(nodes, third).self)
    await at(nodes, first).registers.change(address(), write('x'))
    dead.clear()
    const node = at(nodes, first)
    const replica: TableReplica = { answer: async (from, request) => {
      const answer = await node.replica.answer(from, request)
      if (request.kind === 'read') version = 2n
      return answer
    } }
    await comparing({ ...node, replica }, voters)(at(nodes, third))
    expect([version, await holds(at(nodes, third))]).toEqual([2n, false])
  })

  test('gets it by anti-entropy, which then finds nothing more to do', async () => {
    const { nodes, voters } = await missed()
    const pass = comparing(at(nodes, first), voters)
    expect(await pass()).toBe(1)
    expect(await holds(at(nodes, third))).toBe(true)
    expect(await pass()).toBe(0)
  })

  test('that promised more than it was offered gets it by an identity round above that promise', async () => {
    const { nodes } = await missed()
    await promiseToTheDead(at(nodes, third), { proposer: at(nodes, second), counter: 1000n })
    await at(nodes, first).registers.settle({ table: tables.objects, rowKey }, { above: 1000n })
    await expect.poll(async () => await holds(at(nodes, third))).toBe(true)
    // a liar names what nobody could outbid
    await at(nodes, first).registers.settle({ table: tables.objects, rowKey }, { above: 2n ** 63n })
    expect(await at(nodes, first).store.nextCounter(0n)).toBeLessThan(2000n)
  })

  test('is compared with again after an identity round could not be had', async () => {
    const { nodes, voters } = await missed()
    await promiseToTheDead(at(nodes, third), { proposer: at(nodes, second), counter: 1000n })
    let hasMajority = false
    const only: Voters = { ...voters, ofPartition: (partition) => (partition === partitionOf(rowKey) ? voters.ofPartition(partition) : []) }
    const pass = comparing(at(nodes, first), only, async (row, options) => {
      if (!hasMajority) throw new Unavailable('no majority')
      await at(nodes, first).registers.settle(row, options)
    })
    await expect(pass(at(nodes, third))).rejects.toThrow(Unavailable)
    hasMajority = true
    await pass(at(nodes, third))
    await expect.poll(async () => await holds(at(nodes, third))).toBe(true)
  })
})

describe('replicas of a partition of many pages', () => {
  test('both end with all rows, whatever each of them lacks', async () => {
    const { nodes, voters } = tableNodes(2)
    const only: Voters = { ...voters, ofPartition: (partition) => (partition === 5 ? voters.ofPartition(partition) : []) }
    const key = (i: number): Uint8Array => Uint8Array.from({ length: 32 }, (_, at) => [0, 0x50, i >> 8, i & 0xff][at] ?? 0)
    const count = 3 * messageLimits.maxBallots
    const save = async (node: TableNode, has: (i: number) => boolean): Promise<void> => {
      const ballot = { counter: 1n, proposer: keyOf(node.self) }
      const content = { revision: 1n, isTombstone: false, body: encodeEnvelope({ operations: [], value: utf8('x') }) }
      await node.store.save(Array.from({ length: count }, (_, i) => i).filter(has).map((i) => (
        { table: tables.objects, rowKey: key(i), promised: ballot, accepted: plainCodec.encode({ table: tables.objects, rowKey: key(i), content, ballot }) })))
    }
    // the first has the lower two thirds, the second the upper third and every fifth
    await save(at(nodes, first), (i) => i < count * 2 / 3)
    await save(at(nodes, second), (i) => i >= count * 2 / 3 || i % 5 === 0)
    for (const node of nodes) await comparing(node, only)()
    const [one, other] = [await at(nodes, first).store.digest(5), await at(nodes, second).store.digest(5)]
    expect(one).toEqual(other)
    expect(one.count).toBe(count)
  })
})

describe('a voter that is no replica of a partition', () => {
  // five replicas of six voters; clear rows are on all six
  const sixVoters = () => tableNodes(6, { votersAmong: (peers, partition) => (partition === clearPartition ? peers : peers.slice(0, 5)) })
  const clear = address(tables.members)

  test('gets the clear rows that it has missed, and nothing else', async () => {
    const { nodes, dead, voters } = sixVoters()
    const away = at(nodes, -1)
    dead.add(away.self)
    for (const of of [clear, address(tables.invites, 'other'), address()]) await at(nodes, first).registers.change(of, write('x'))
    dead.clear()
    const pass = comparing(at(nodes, first), voters)
    expect(await pass()).toBe(2)
    expect([await holds(away, clear), await holds(away, address(tables.invites, 'other')), await holds(away)]).toEqual([true, true, false])
    expect(await pass()).toBe(0)
  })

  test('gives them back to a replica, and those of later too', async () => {
    const { nodes, dead, voters } = sixVoters()
    const pass = comparing(at(nodes, -1), voters)
    expect(await pass()).toBe(0)
    dead.add(at(nodes, first).self)
    await at(nodes, second).registers.change(clear, write('x'))
    dead.clear()
    expect(await pass(at(nodes, first))).toBe(1)
    expect(await holds(at(nodes, first), clear)).toBe(true)
  })

  test('knows after a restart what it has', async () => {
    const { nodes } = sixVoters()
    await at(nodes, first).registers.change(clear, write('x'))
    const asked = { version: 1n, kind: 'digest', partitions: [clearPartition] } as const
    const before = await at(nodes, first).replica.answer(at(nodes, first).self, asked)
    expect(before).toMatchObject({ kind: 'digests', digests: [{ count: 1 }] })
    expect(await at(nodes, first).restarted().answer(at(nodes, first).self, asked)).toEqual(before)
  })

  test('says of clear rows that they are lost where any partition is', async () => {
    const { nodes } = sixVoters()
    const { replica, self, store } = at(nodes, first)
    await at(nodes, first).registers.change(clear, write('x'))
    store.lose(7)
    expect(await replica.answer(self, { version: 1n, kind: 'digest', partitions: [6, 7, clearPartition] })).toMatchObject({ kind: 'digests', digests: [{ count: 0 }, undefined, undefined] })
    expect(await replica.answer(self, { version: 1n, kind: 'ballots', partition: clearPartition, after: undefined })).toEqual({ kind: 'lost' })
  })
})
