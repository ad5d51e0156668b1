import { describe, expect, test } from 'vitest'
import { hexOf, partitionOf } from '../../src/base/bytes.ts'
import { hash } from '../../src/base/hash.ts'
import { utf8 } from '../../src/base/bytes.ts'
import { systemClock } from '../../src/base/clock.ts'
import { AntiEntropy } from '../../src/tables/anti-entropy.ts'
import { type DeathPorts, knownDeaths, publishDeaths } from '../../src/tables/death-rounds.ts'
import { versionIdOf } from '../../src/tables/deaths.ts'
import { HandOver } from '../../src/tables/hand-over.ts'
import { tables } from '../../src/tables/index.ts'
import { type TableNode, type TableNodes, tableNodes } from '../support/table-nodes.ts'
import { plainCodec } from '../support/table-plain-codec.ts'

const proof = (name: string): Uint8Array => hash(utf8(name))
const idOf = (name: string): Uint8Array => versionIdOf(proof(name))
const at = (world: TableNodes, i: number): TableNode => world.nodes[i] as TableNode

function portsOf (world: TableNodes, i: number): DeathPorts {
  const { self, replica, peers } = at(world, i)
  return { self, voters: world.voters, reachable: () => peers.reachable(), ask: async (peer, request, wait) => peer === self ? replica.answer(self, request) : peers.ask(peer, request, wait) }
}

const has = async (world: TableNodes, i: number, name: string): Promise<boolean> => await at(world, i).store.get(tables.deaths, idOf(name)) !== undefined

describe('a death', () => {
  test('is published when a majority of its replicas has it on disk, and then found by whoever asks one of them', async () => {
    const world = tableNodes(3)
    world.dead.add(at(world, 2).self)
    expect(await publishDeaths(portsOf(world, 0), [proof('one'), proof('two')])).toEqual([true, true])
    expect([await has(world, 0, 'one'), await has(world, 1, 'one'), await has(world, 2, 'one')]).toEqual([true, true, false])
    world.dead.clear()
    expect([...(await knownDeaths(portsOf(world, 1), [idOf('one'), idOf('alive')], { turn: 0 })).keys()]).toEqual([hexOf(idOf('one'))])
    // the one that missed it asks another in its turn
    const turns = await Promise.all([0, 1].map(async (turn) => knownDeaths(portsOf(world, 2), [idOf('two')], { turn })))
    expect(turns.map(({ size }) => size)).toEqual([1, 1])
  })

  test('is published when a majority has it, though another does not answer: as many as are dead would else wait for that one each time', async () => {
    const world = tableNodes(3)
    world.stopped.add(at(world, 1).self)
    expect(await publishDeaths(portsOf(world, 0), [proof('one'), proof('two')])).toEqual([true, true])
    expect([await has(world, 0, 'two'), await has(world, 2, 'two')]).toEqual([true, true])
  })

  test('is not published while only a minority has it', async () => {
    const world = tableNodes(3)
    world.dead.add(at(world, 1).self).add(at(world, 2).self)
    expect(await publishDeaths(portsOf(world, 0), [proof('one')])).toEqual([false])
  })

  test('is published with majorities of the old and of the new replicas while the layout changes', async () => {
    const world = tableNodes(5, { groupsAmong: (peers) => [peers.slice(0, 3), peers.slice(2, 5)] })
    world.dead.add(at(world, 3).self).add(at(world, 4).self)
    expect(await publishDeaths(portsOf(world, 0), [proof('one')])).toEqual([false])
    world.dead.delete(at(world, 3).self)
    expect(await publishDeaths(portsOf(world, 0), [proof('one')])).toEqual([true])
  })

  test('is believed for its proof alone, whoever tells it', async () => {
    const world = tableNodes(3)
    const [a, b] = [at(world, 0), at(world, 1)]
    const request = { version: 1n, kind: 'handOver', table: tables.deaths, rowKey: idOf('one'), record: proof('another') } as const
    await expect(a.replica.answer(b.self, request)).rejects.toThrow('does not')
    expect(await has(world, 0, 'one')).toBe(false)
    const lying: DeathPorts = { ...portsOf(world, 0), ask: async () => ({ kind: 'deaths', proofs: [proof('another')] }) }
    expect((await knownDeaths(lying, [idOf('one')], { turn: 0 })).size).toBe(0)
  })

  test('is taken from members alone, and decided by nobody', async () => {
    const world = tableNodes(3, { isMember: (peer) => peer !== at(world, 2).self })
    const [a, , c] = world.nodes as [TableNode, TableNode, TableNode]
    await expect(a.replica.answer(c.self, { version: 1n, kind: 'publish', proofs: [proof('one')] })).rejects.toThrow('only members')
    await expect(a.replica.answer(a.self, { version: 1n, kind: 'prepare', table: tables.deaths, rowKey: idOf('one'), ballot: { counter: 1n, proposer: new Uint8Array(32) } })).rejects.toThrow('not decided')
  })

  test('is brought by anti-entropy to a replica that missed it, over the floor of the partition', async () => {
    const world = tableNodes(3)
    world.dead.add(at(world, 2).self)
    await publishDeaths(portsOf(world, 0), [proof('one')])
    world.dead.clear()
    await at(world, 2).store.raiseFloor([partitionOf(idOf('one')), { counter: 100n, proposer: new Uint8Array(32) }])
    const { self, replica, peers, registers } = at(world, 0)
    const antiEntropy = new AntiEntropy({ self, replica, codec: plainCodec, voters: world.voters, peers, settle: registers.settle, clock: systemClock })
    antiEntropy.begin()
    while (await antiEntropy.step() === 'busy');
    expect(await has(world, 2, 'one')).toBe(true)
  })

  test('comes to a new replica with the hand-over, and with it to one that lost the partition', async () => {
    let version = 1n
    const world = tableNodes(4, { version: () => version, groupsAmong: (peers) => version === 1n ? [peers.slice(0, 3)] : [peers.slice(0, 3), peers.slice(1, 4)] })
    await publishDeaths(portsOf(world, 0), [proof('one')])
    await at(world, 0).registers.change({ table: tables.members, scope: new Uint8Array(16), key: utf8('member') }, () => ({ kind: 'write', value: utf8('member'), result: undefined }))
    version = 2n
    const partition = partitionOf(idOf('one'))
    at(world, 1).store.lose(partition)
    for (const [i, restoring] of [[3, false], [1, true]] as const) {
      const { self, store, replica, peers, registers } = at(world, i)
      const from = world.nodes.slice(0, 3).map((node) => node.self)
      const handOver = new HandOver({
        self, store, replica, codec: plainCodec, takeover: () => ({ version: 2n, partitions: [partition], restoring: new Set(restoring ? [partition] : []), from: () => from }),
        ask: async (peer, request, wait) => peers.ask(peer, request, wait), settle: registers.settle, isTakenFrom: () => true, isMember: () => true, restoring: () => {}, restored: async () => {}, warn: () => {}, whileAt: async (_version, act) => { await act(); return true },
      })
      while (await handOver.step() === 'busy');
      expect(handOver.remaining().partitions).toBe(0)
      expect(await has(world, i, 'one')).toBe(true)
    }
  })
})
