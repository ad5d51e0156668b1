import { describe, expect, test } from 'vitest'
import { partitionOf, utf8 } from '../../src/base/bytes.ts'
import { systemClock } from '../../src/base/clock.ts'
import { AntiEntropy } from '../../src/tables/anti-entropy.ts'
import { Burial } from '../../src/tables/burial.ts'
import { HandOver } from '../../src/tables/hand-over.ts'
import { type RowAddress, type StoredRow, tables } from '../../src/tables/index.ts'
import type { RowSettler } from '../../src/tables/late-delivery.ts'
import { messageLimits } from '../../src/tables/messages.ts'
import { plainCodec } from '../support/table-plain-codec.ts'
import { type TableNode, type TableNodes, tableNodes } from '../support/table-nodes.ts'

const address: RowAddress = { table: tables.objects, scope: new Uint8Array(16), key: utf8('key') }
const rowKey = plainCodec.rowKeyOf(address)
const partition = partitionOf(rowKey)

const burialOf = ({ voters }: TableNodes, { self, replica, store, peers }: TableNode, { isChanging = () => false, settle }: { isChanging?: () => boolean, settle?: RowSettler } = {}): Burial =>
  new Burial({ self, replica, store, codec: plainCodec, voters, peers, isMember: () => true, isChanging, settle })

async function pass (burial: Burial): Promise<void> {
  burial.begin()
  while (await burial.step() === 'busy');
}

const held = async ({ nodes }: TableNodes): Promise<Array<StoredRow | undefined>> => await Promise.all(nodes.map(async ({ store }) => await store.get(address.table, rowKey)))
const first = ({ nodes }: TableNodes): TableNode => nodes[0] as TableNode
const listed = async ({ replica, self }: TableNode): Promise<unknown> => await replica.answer(self, { version: 1n, kind: 'list', table: address.table, scope: address.scope, prefix: new Uint8Array(0), after: undefined, limit: 10 })

async function written (cluster: TableNodes): Promise<void> {
  await first(cluster).registers.change(address, () => ({ kind: 'write', value: utf8('key'), result: undefined }))
}

/** Deleted, and every node holds the tombstone. */
async function deleted (count = 3): Promise<TableNodes> {
  const cluster = tableNodes(count)
  await written(cluster)
  await first(cluster).registers.change(address, () => ({ kind: 'erase', result: undefined }))
  await expect.poll(async () => (await held(cluster)).every((row) => row !== undefined)).toBe(true)
  return cluster
}

describe('a tombstone', () => {
  test('that every replica holds is buried: the row, its name and its space are gone, and a floor stands in their place', async () => {
    const cluster = await deleted()
    const [{ promised } = { promised: undefined }] = await held(cluster)
    await pass(burialOf(cluster, first(cluster)))
    expect(await held(cluster)).toEqual([undefined, undefined, undefined])
    for (const node of cluster.nodes) {
      expect(node.store.floor(partition)).toEqual(promised)
      expect(await listed(node)).toMatchObject({ entries: [] })
      expect(await node.registers.read(address)).toBeUndefined()
    }
    await written(cluster)
    expect(await first(cluster).registers.read(address)).toEqual(utf8('key'))
    expect(await listed(first(cluster))).toMatchObject({ entries: [{ name: utf8('key') }] })
  })

  test.each([
    ['one of the replicas does not answer', (cluster: TableNodes) => { cluster.dead.add((cluster.nodes[2] as TableNode).self) }],
    ['one of them is lost', (cluster: TableNodes) => { cluster.nodes[2]?.store.lose(partition) }],
  ])('stays while %s', async (_name, trouble) => {
    const cluster = await deleted()
    trouble(cluster)
    await pass(burialOf(cluster, first(cluster)))
    expect(await first(cluster).store.get(address.table, rowKey)).toBeDefined()
    expect(first(cluster).store.floor(partition)).toBeUndefined()
  })

  test('stays where something higher was promised, and goes with the next pass where it went elsewhere', async () => {
    const cluster = await deleted()
    const other = cluster.nodes[1] as TableNode
    const row = await other.store.get(address.table, rowKey) as StoredRow
    await other.store.save([{ ...row, promised: { ...row.promised, counter: row.promised.counter + 1n } }])
    await pass(burialOf(cluster, first(cluster)))
    expect((await held(cluster)).map((one) => one !== undefined)).toEqual([true, true, false])
    await other.store.save([row])
    await pass(burialOf(cluster, first(cluster)))
    expect(await held(cluster)).toEqual([undefined, undefined, undefined])
  })

  // found by simulation: a proposer that prepared and died left it there for ever, on all but one
  test.each([[0], [1], [2]])('above which node %i has promised more, to somebody who never came back, is chosen anew and goes', async (which) => {
    const cluster = await deleted()
    const { store } = cluster.nodes[which] as TableNode
    const row = await store.get(address.table, rowKey) as StoredRow
    await store.save([{ ...row, promised: { ...row.promised, counter: row.promised.counter + 100n } }])
    const burial = burialOf(cluster, first(cluster), { settle: async (of, wait) => first(cluster).registers.settle(of, wait) })
    // the round reaches the last of them when it likes
    await expect.poll(async () => {
      await pass(burial)
      return (await held(cluster)).every((one) => one === undefined)
    }).toBe(true)
  })

  test('stays while the layout changes, by the word of whoever buries and by that of every replica', async () => {
    const cluster = await deleted()
    await pass(burialOf(cluster, first(cluster), { isChanging: () => true }))
    expect((await held(cluster)).every((row) => row !== undefined)).toBe(true)
    const two = tableNodes(3, { groupsAmong: (peers) => [peers.slice(0, 2), peers] })
    await expect(first(two).replica.answer(first(two).self, { version: 1n, kind: 'bury', partition, rows: [] })).rejects.toThrow('layout changes')
  })

  test('is looked for once in each partition, and again only where one was saved, or stays', async () => {
    const cluster = await deleted()
    const looks: number[] = []
    const { store } = first(cluster)
    const looking = { ...first(cluster), store: { rows: (...of: Parameters<typeof store.rows>) => { looks.push(of[0]); return store.rows(...of) } } }
    const burial = new Burial({ ...looking, codec: plainCodec, voters: cluster.voters, isMember: () => true, isChanging: () => false })
    cluster.dead.add((cluster.nodes[2] as TableNode).self)
    await pass(burial)
    expect(new Set(looks).size).toBe(4096)
    for (const revived of [false, true]) {
      if (revived) cluster.dead.clear()
      looks.length = 0
      await pass(burial)
      expect(looks).toEqual([partition])
    }
    expect(await held(cluster)).toEqual([undefined, undefined, undefined])
    looks.length = 0
    await pass(burial)
    await pass(burial)
    expect(looks).toEqual([partition])
    burial.suspect(7)
    await pass(burial)
    expect(looks).toEqual([partition, 7])
  })

  test('in a partition of which a change of the layout left a part is looked for again', async () => {
    const cluster = await deleted()
    const { store } = first(cluster)
    const before = (n: number): Uint8Array => Uint8Array.from([rowKey[0] ?? 0, (rowKey[1] ?? 0) & 0xf0, ...new Uint8Array(28), n >> 8, n & 0xff])
    await store.save(Array.from({ length: messageLimits.maxBallots }, (_, n) => ({ table: tables.objects, rowKey: before(n), promised: { counter: 1n, proposer: new Uint8Array(32) }, accepted: undefined })))
    const looks: number[] = []
    let isChanging = false
    const looking = { ...first(cluster), store: { rows: (...of: Parameters<typeof store.rows>) => { looks.push(of[0]); return store.rows(...of) } } }
    const burial = new Burial({ ...looking, codec: plainCodec, voters: cluster.voters, isMember: () => true, isChanging: () => isChanging })
    burial.begin()
    while (!looks.includes(partition)) await burial.step()
    isChanging = true
    await burial.step()
    isChanging = false
    await pass(burial)
    expect(await held(cluster)).toEqual([undefined, undefined, undefined])
  })

  test('is buried by members alone, and a row that is none never', async () => {
    const cluster = tableNodes(3, { isMember: (peer) => peer === cluster.nodes[0]?.self })
    await written(cluster)
    const row = await first(cluster).store.get(address.table, rowKey) as StoredRow
    const question = { version: 1n, kind: 'bury', partition, rows: [{ table: address.table, rowKey, ballot: row.promised }] } as const
    expect(await first(cluster).replica.answer(first(cluster).self, question)).toEqual({ kind: 'buried', buried: [false] })
    await expect(first(cluster).replica.answer((cluster.nodes[1] as TableNode).self, question)).rejects.toThrow('only members')
    await expect(first(cluster).replica.answer(first(cluster).self, { ...question, partition: (partition + 1) % 4096 })).rejects.toThrow('not of the partition')
    expect(await first(cluster).store.get(address.table, rowKey)).toEqual(row)
  })

  test('that is buried elsewhere is not dug up by the one replica that still has it', async () => {
    const cluster = await deleted()
    const late = cluster.nodes[2] as TableNode
    const row = await late.store.get(address.table, rowKey) as StoredRow
    await pass(burialOf(cluster, first(cluster)))
    await late.store.save([row])
    const settled: unknown[] = []
    const antiEntropy = new AntiEntropy({ ...late, codec: plainCodec, voters: cluster.voters, settle: async (one) => { settled.push(one) }, clock: systemClock })
    antiEntropy.begin()
    while (await antiEntropy.step() === 'busy');
    expect(settled).toEqual([])
    expect((await held(cluster)).map((one) => one !== undefined)).toEqual([false, false, true])
  })
})

describe('a replica that takes a partition over', () => {
  test.each([['new', false], ['that had lost it', true]])('%s takes its floor too, with rows that are below it', async (_name, isLost) => {
    const cluster = await deleted(4)
    const below = { ...address, key: utf8('other') }
    await pass(burialOf(cluster, first(cluster)))
    const floor = first(cluster).store.floor(partition)
    const fresh = cluster.nodes[3] as TableNode
    // a row of the same partition, older than the floor
    const row: StoredRow = { table: 1, rowKey: Uint8Array.from([...rowKey.subarray(0, 31), (rowKey[31] ?? 0) ^ 1]), promised: { counter: 1n, proposer: new Uint8Array(32) }, accepted: undefined }
    const record = plainCodec.encode({ table: 1, rowKey: row.rowKey, ballot: row.promised, content: { revision: 1n, isTombstone: false, body: Uint8Array.of(0, ...below.key) } })
    const member = { ...row, table: tables.members, rowKey: new Uint8Array(32).fill(9) }
    const ofMember = plainCodec.encode({ ...member, ballot: row.promised, content: { revision: 1n, isTombstone: false, body: Uint8Array.of(0, 1) } })
    for (const { store } of cluster.nodes.slice(0, 3)) await store.save([{ ...row, accepted: record }, { ...member, accepted: ofMember }])
    await fresh.store.clear(partition)
    if (isLost) fresh.store.lose(partition)
    expect(fresh.store.floor(partition)).toBeUndefined()
    const settled: unknown[] = []
    const from = cluster.nodes.slice(0, 3).map(({ self }) => self)
    const handOver = new HandOver({
      ...fresh, codec: plainCodec, settle: async (one) => { settled.push(one) }, isTakenFrom: () => true, isMember: () => true, restoring: () => {}, restored: async () => {},
      ask: async (peer, request, options) => await fresh.peers.ask(peer, request, options),
      warn: () => {}, whileAt: async (_version, act) => { await act(); return true }, takeover: () => ({ version: 1n, partitions: [partition], restoring: new Set(isLost ? [partition] : []), from: () => from }),
    })
    await handOver.step()
    expect(handOver.remaining().partitions).toBe(0)
    expect((await fresh.store.get(1, row.rowKey))?.accepted).toEqual(record)
    expect(floor).toBeDefined()
    expect(fresh.store.floor(partition)).toEqual(floor)
    expect(settled).toEqual([])
  })
})
