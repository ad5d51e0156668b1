import { describe, expect, test, vi } from 'vitest'
import { concat, partitionOf, utf8 } from '../../src/base/bytes.ts'
import { keyOf, type PeerId } from '../../src/base/peer-id.ts'
import { clearPartition, partitionOfTable } from '../../src/tables/clear-rows.ts'
import { IndexRebuild } from '../../src/node/rows/listing.ts'
import { HandOver, handOverLimits, type Takeover } from '../../src/tables/hand-over.ts'
import { type Change, type RowAddress, type TableNumber, tables } from '../../src/tables/index.ts'
import { messageLimits, type RowBallot } from '../../src/tables/messages.ts'
import { memoryListingIndex } from '../support/table-memory-index.ts'
import { describeValue, type TableNode, type TableNodes, tableNodes } from '../support/table-nodes.ts'
import { plainCodec } from '../support/table-plain-codec.ts'

const address = (key: string, table: TableNumber = tables.objects): RowAddress => ({ table, scope: new Uint8Array(16), key: utf8(key) })
const rowKeyOf = (of: RowAddress): Uint8Array => plainCodec.rowKeyOf(of)
const write = (value: string) => (): Change<string> => ({ kind: 'write', value: utf8(value), result: value })
const [a, b, c, d] = [0, 1, 2, 3]

/** Three replicas, of which the first two, and the second and third, have acknowledged rows; then a layout that changes: c is followed by d. */
class Changing {
  readonly world: TableNodes
  #version = 1n

  constructor ({ nodes = 4 }: { nodes?: number } = {}) {
    this.world = tableNodes(nodes, { version: () => this.#version, groupsAmong: (peers) => this.#version === 1n ? [peers.slice(0, 3)] : [peers.slice(0, 3), [peers[a], peers[b], peers[d]] as PeerId[]] })
  }

  node (i: number): TableNode { return this.world.nodes[i] as TableNode }
  begin (): void { this.#version = 2n }
  async put (key: string, { away, table }: { away?: number, table?: TableNumber } = {}): Promise<void> {
    if (away !== undefined) this.world.dead.add(this.node(away).self)
    await this.node(away === a ? b : a).registers.change(address(key, table), write(key))
    this.world.dead.clear()
  }

  async has (i: number, key: string, table: TableNumber = tables.objects): Promise<boolean> {
    const of = address(key, table)
    return (await this.node(i).store.get(table, rowKeyOf(of)))?.accepted !== undefined
  }

  handOver (i: number, keys: readonly RowAddress[], { restoring = [], isKeyless = false, isMember = () => true, left, from: of = [a, b, c], rebuild, isFollowed = false, restored = async (partition) => { await rebuild?.restored(partition) } }: { isFollowed?: boolean, restored?: (partition: number) => Promise<void>, rebuild?: IndexRebuild, restoring?: readonly number[], from?: readonly number[], isKeyless?: boolean, isMember?: (peer: PeerId) => boolean, left?: readonly number[] } = {}): HandOver {
    const { self, store, replica, peers, registers } = this.node(i)
    const from = (left ?? of).map((at) => this.node(at).self)
    const takeover: Takeover = { version: 2n, partitions: [...new Set([...keys.map((of) => partitionOfTable({ table: of.table, rowKey: rowKeyOf(of) })), ...restoring])], restoring: new Set(restoring), from: () => from, isOfAll: left !== undefined }
    return new HandOver({
      self, store, replica, codec: plainCodec, takeover: () => takeover, ask: async (peer, request, wait) => peers.ask(peer, request, wait),
      settle: isKeyless ? undefined : registers.settle, isTakenFrom: (peer, table) => !isKeyless || table >= 16 || isMember(peer), isMember, restoring: (partitions) => { replica.refilled(partitions); rebuild?.returning(partitions) }, restored, warn: () => {},
      whileAt: async (_version, act) => { if (!isFollowed) await act(); return !isFollowed },
    })
  }
}

async function run (handOver: HandOver): Promise<number> {
  while (await handOver.step() === 'busy');
  return handOver.remaining().partitions
}

describe('a new replica', () => {
  test('takes over what any majority has acknowledged, clear rows too', async () => {
    const all = new Changing()
    await all.put('by a and b', { away: c })
    await all.put('by b and c', { away: a })
    await all.put('member', { table: tables.members })
    all.begin()
    expect(await run(all.handOver(d, [address('by a and b'), address('by b and c'), address('member', tables.members)]))).toBe(0)
    expect(await Promise.all([all.has(d, 'by a and b'), all.has(d, 'by b and c'), all.has(d, 'member', tables.members)])).toEqual([true, true, true])
  })

  test('takes over rows whose ballots are far beyond its own: others had reason to jump while it was not there, more than once', async () => {
    const all = new Changing()
    for (const jump of [1n, 2n, 3n]) {
      await all.node(a).store.nextCounter(jump * 2n ** 31n)
      await all.put('row')
    }
    all.begin()
    const handOver = all.handOver(d, [address('row')])
    // it comes up to them step by step
    for (let i = 0; i < 3; i++) await run(handOver)
    expect([handOver.remaining().partitions, await all.has(d, 'row')]).toEqual([0, true])
    // and proposes above them
    await all.node(d).registers.change(address('row'), write('more'))
  })

  test.each([['row', tables.objects], ['never written', tables.objects], ['row', tables.members], ['never written', tables.members]] as const)('promises nothing below what one of those has promised from whom it takes over (%s of table %i)', async (key, table) => {
    const all = new Changing()
    const of = address(key, table)
    const prepared = async (at: number, version: bigint, counter: bigint): Promise<string> => {
      const { self } = all.node(a)
      return (await all.node(at).replica.answer(self, { version, kind: 'prepare', table, rowKey: rowKeyOf(of), ballot: { counter, proposer: keyOf(self) } })).kind
    }
    for (const [name, one] of [['row', tables.objects], ['row', tables.members]] as const) await all.put(name, { table: one })
    expect(await prepared(b, 1n, 1_000n)).toBe('promised')
    all.begin()
    expect(await run(all.handOver(d, [of]))).toBe(0)
    expect([await prepared(d, 2n, 1_000n), await prepared(d, 2n, 1_001n)]).toEqual(['refused', 'promised'])
  })

  test.each([['row', tables.objects], ['row', tables.members]] as const)('is told no floor far beyond what members know of by one without keys: it would refuse its rows to everybody, for good (%s of table %i)', async (key, table) => {
    const all = new Changing()
    const of = address(key, table)
    await all.put(key, { table })
    await all.node(c).store.raiseFloor([partitionOfTable({ table, rowKey: rowKeyOf(of) }), { counter: 2n ** 60n, proposer: keyOf(all.node(c).self) }])
    all.begin()
    const handOver = all.handOver(d, [of], { isMember: (peer) => peer !== all.node(c).self })
    all.world.dead.add(all.node(b).self)
    expect(await run(handOver)).toBe(1)
    all.world.dead.clear()
    expect(await run(handOver)).toBe(0)
    const { self } = all.node(a)
    expect(await all.node(d).replica.answer(self, { version: 2n, kind: 'prepare', table, rowKey: rowKeyOf(of), ballot: { counter: 1_000n, proposer: keyOf(self) } })).toMatchObject({ kind: 'promised' })
  })

  test('has its disk wait once for all that was promised of some partitions', async () => {
    const all = new Changing()
    const names = Array.from({ length: 30 }, (_, i) => `row ${i}`)
    for (const name of names) await all.put(name)
    all.begin()
    const raise = vi.spyOn(all.node(d).store, 'raiseFloor')
    expect(await run(all.handOver(d, names.map((name) => address(name))))).toBe(0)
    expect(raise).toHaveBeenCalledTimes(1)
  })

  test('does not take the word of one old replica: it may have missed what was acknowledged', async () => {
    const all = new Changing()
    await all.put('by b and c', { away: a })
    all.begin()
    all.world.dead.add(all.node(b).self).add(all.node(c).self)
    const handOver = all.handOver(d, [address('by b and c')])
    expect(await run(handOver)).toBe(1)
    all.world.dead.delete(all.node(c).self)
    expect(await run(handOver)).toBe(0)
    expect(await all.has(d, 'by b and c')).toBe(true)
  })

  test('after the loss of a majority has what any one of those that are left has: it asks each, not a majority of them', async () => {
    const all = new Changing()
    await all.put('by b and c', { away: a })
    await all.put('by a and b', { away: c })
    all.begin()
    // of seven, three of whom are left: of what four acknowledged one of them may have it alone
    await all.node(c).registers.change(address('by c'), write('by c'))
    for (const i of [a, b]) await all.node(i).store.clear(partitionOf(rowKeyOf(address('by c'))))
    all.world.dead.add(all.node(c).self)
    const handOver = all.handOver(d, [address('by b and c'), address('by a and b'), address('by c')], { left: [a, b, c] })
    expect(await run(handOver)).toBe(3)
    all.world.dead.delete(all.node(c).self)
    expect(await run(handOver)).toBe(0)
    expect(await Promise.all([all.has(d, 'by b and c'), all.has(d, 'by a and b'), all.has(d, 'by c')])).toEqual([true, true, true])
  })

  test('after the loss of a majority does not wait for one that is left and has lost its memory too, nor where nobody is left', async () => {
    const all = new Changing()
    await all.put('row')
    const partition = partitionOf(rowKeyOf(address('row')))
    all.begin()
    all.node(c).store.lose(partition)
    expect(await run(all.handOver(d, [address('row')], { left: [a, c] }))).toBe(0)
    expect(await all.has(d, 'row')).toBe(true)
    expect(await run(all.handOver(d, [address('row')], { left: [] }))).toBe(0)
    // its own memory of it is lost, and nobody else is left to ask
    all.node(a).store.lose(partition)
    expect(await run(all.handOver(a, [], { left: [a], restoring: [partition] }))).toBe(0)
    expect(all.node(a).store.lostPartitions().size).toBe(0)
  })

  test('does not count a replica that lists fewer rows than it knows to have', async () => {
    const all = new Changing()
    await all.put('by b and c', { away: a })
    all.begin()
    all.world.dead.add(all.node(c).self)
    const rotten = vi.spyOn(all.node(b).store, 'rows').mockImplementation(async function * () { /* its index gives none any more */ })
    const handOver = all.handOver(d, [address('by b and c')])
    expect(await run(handOver)).toBe(1)
    rotten.mockRestore()
    expect(await run(handOver)).toBe(0)
    expect(await all.has(d, 'by b and c')).toBe(true)
  })

  test.each([
    ['gives nothing of', (): Uint8Array | undefined => undefined],
    ['gives something else in the place of', () => new Uint8Array(200)],
  ] as const)('does not wait for one that %s a row that it says it has, unless nothing can be told without it', async (_, given) => {
    const all = new Changing()
    const of = address('row')
    await all.put('row')
    await all.put('by b and c', { away: a })
    all.begin()
    const { replica } = all.node(c)
    const answer = replica.answer.bind(replica)
    const lies = vi.spyOn(replica, 'answer').mockImplementation(async (from, request) => {
      const told = await answer(from, request)
      if (request.kind === 'ballots' && told.kind === 'ballots') return { ...told, rows: told.rows.map((row) => ({ ...row, ballot: { ...row.ballot, counter: row.ballot.counter + 1_000n } })) }
      if (request.kind === 'read' && told.kind === 'value') return { ...told, accepted: given() }
      return request.kind === 'digest' && told.kind === 'digests' ? { ...told, digests: told.digests.map((digest) => digest && { ...digest, digest: new Uint8Array(32) }) } : told
    })
    const handOver = all.handOver(d, [of, address('by b and c')])
    all.world.dead.add(all.node(a).self)
    for (let i = 0; i < 3; i++) expect(await run(handOver)).toBe(2)
    all.world.dead.clear()
    for (let i = 0; i < 3; i++) await run(handOver)
    expect(handOver.remaining().partitions).toBe(0)
    expect(await Promise.all([all.has(d, 'row'), all.has(d, 'by b and c')])).toEqual([true, true])
    lies.mockRestore()
    // what it was not counted for once it may be again
    all.world.dead.add(all.node(a).self)
    expect(await run(all.handOver(d, [address('by b and c')]))).toBe(0)
  })

  test.each([
    ['begin anew', (row: RowBallot) => row],
    ['go on', (row: RowBallot, i: number) => ({ ...row, rowKey: concat([row.rowKey.slice(0, 2), Uint8Array.of(0xff, i >> 16, i >> 8, i), row.rowKey.slice(6)]) })],
  ] as const)('does not count one whose rows %s without end', async (_, next) => {
    const all = new Changing()
    const of = address('row')
    await all.put('row')
    all.begin()
    const { replica } = all.node(c)
    const answer = replica.answer.bind(replica)
    let [pages, rows] = [0, 0]
    vi.spyOn(replica, 'answer').mockImplementation(async (from, request) => {
      const told = await answer(from, request)
      if (request.kind === 'digest' && told.kind === 'digests') return { ...told, digests: told.digests.map((digest) => digest && { ...digest, digest: new Uint8Array(32) }) }
      if (request.kind !== 'ballots' || told.kind !== 'ballots') return told
      if (++pages > 1_000) throw new Error('asked without end')
      const ballot = { counter: 1n, proposer: keyOf(all.node(a).self) }
      return { ...told, truncated: true, rows: Array.from({ length: messageLimits.maxBallots }, () => next({ table: of.table, rowKey: rowKeyOf(of), ballot }, rows++)) }
    })
    expect(await run(all.handOver(d, [of]))).toBe(0)
    expect(pages).toBeLessThan(1_000)
    expect(await all.has(d, 'row')).toBe(true)
  })

  const dripping = (all: Changing, liar: number): { readonly pages: () => number } => {
    const { replica } = all.node(liar)
    const answer = replica.answer.bind(replica)
    let pages = 0
    vi.spyOn(replica, 'answer').mockImplementation(async (from, request) => {
      const told = await answer(from, request)
      if (request.kind === 'digest' && told.kind === 'digests') return { ...told, digests: told.digests.map((digest) => digest && { ...digest, count: 1, digest: new Uint8Array(32) }) }
      if (request.kind !== 'ballots' || told.kind !== 'ballots') return told
      if (++pages > 1_000) throw new Error('asked without end')
      return { ...told, truncated: true, rows: [{ table: tables.members, rowKey: concat([Uint8Array.of(0xff, pages >> 8, pages), new Uint8Array(29)]), ballot: { counter: 1n, proposer: keyOf(all.node(a).self) } }] }
    })
    return { pages: () => pages }
  }

  test('does not wait for all rows of one without keys, where members have told enough: it may take its time for each', async () => {
    const all = new Changing()
    await all.put('row')
    all.begin()
    const { pages } = dripping(all, c)
    expect(await run(all.handOver(d, [address('row')], { isMember: (peer) => peer !== all.node(c).self }))).toBe(0)
    expect(await all.has(d, 'row')).toBe(true)
    expect(pages()).toBe(0)
    // without them it is
    all.world.dead.add(all.node(b).self)
    await run(all.handOver(d, [address('row')], { isMember: (peer) => peer !== all.node(c).self }))
    expect(pages()).toBeGreaterThan(0)
  })

  test('nor for its rows of the cluster, to have back what was lost', async () => {
    const all = new Changing({ nodes: 5 })
    const liar = 4
    await all.put('row')
    const partition = partitionOf(rowKeyOf(address('row')))
    all.node(b).store.lose(partition)
    all.begin()
    const { pages } = dripping(all, liar)
    expect(await run(all.handOver(b, [], { restoring: [partition], from: [a, b, c, d, liar], isMember: (peer) => peer !== all.node(liar).self }))).toBe(0)
    expect(await all.has(b, 'row')).toBe(true)
    expect(pages()).toBe(0)
  })

  test('asks one that did not give a row that it says it has for no more of them', async () => {
    const all = new Changing()
    await all.put('row')
    all.begin()
    const { replica } = all.node(c)
    const answer = replica.answer.bind(replica)
    const of = rowKeyOf(address('row'))
    let reads = 0
    vi.spyOn(replica, 'answer').mockImplementation(async (from, request) => {
      const told = await answer(from, request)
      if (request.kind === 'digest' && told.kind === 'digests') return { ...told, digests: told.digests.map((digest) => digest && { ...digest, digest: new Uint8Array(32) }) }
      if (request.kind === 'read') reads++
      if (request.kind !== 'ballots' || told.kind !== 'ballots') return told
      return { ...told, rows: Array.from({ length: messageLimits.maxBallots }, (_, i) => ({ table: tables.objects, rowKey: concat([of.slice(0, 2), Uint8Array.of(0xff, i >> 8, i), of.slice(5)]), ballot: { counter: 1n, proposer: keyOf(all.node(a).self) } })) }
    })
    all.world.dead.add(all.node(a).self)
    const handOver = all.handOver(d, [address('row')])
    await handOver.step()
    expect(reads).toBeLessThan(2 * handOverLimits.rowsAtOnce)
    all.world.dead.clear()
    expect(await run(handOver)).toBe(0)
    expect(await all.has(d, 'row')).toBe(true)
  })

  test('does not count a replica that has lost the partition', async () => {
    const all = new Changing()
    await all.put('by b and c', { away: a })
    all.begin()
    all.node(b).store.lose(partitionOf(rowKeyOf(address('by b and c'))))
    all.world.dead.add(all.node(c).self)
    expect(await run(all.handOver(d, [address('by b and c')]))).toBe(1)
  })

  test('has the row chosen anew where it has promised more than the row\'s ballot', async () => {
    const all = new Changing()
    await all.put('row')
    all.begin()
    const of = address('row')
    const ballot = { counter: 1000n, proposer: keyOf(all.node(a).self) }
    // the proposer has died of it
    expect(await all.node(d).replica.answer(all.node(a).self, { version: 2n, kind: 'prepare', table: of.table, rowKey: rowKeyOf(of), ballot })).toMatchObject({ kind: 'promised' })
    expect(await run(all.handOver(d, [of], { isKeyless: true }))).toBe(1)
    expect(await run(all.handOver(d, [of]))).toBe(0)
    expect(await all.has(d, 'row')).toBe(true)
  })

  test('asks for digests alone where there is nothing it lacks', async () => {
    const all = new Changing()
    await all.put('row')
    all.begin()
    await run(all.handOver(d, [address('row')]))
    all.node(d).asked.length = 0
    expect(await run(all.handOver(d, [address('row'), address('none')]))).toBe(0)
    expect(new Set(all.node(d).asked.map(({ request }) => request.kind))).toEqual(new Set(['digest']))
  })

  test('without keys takes sealed rows from members alone, whoever has them', async () => {
    const all = new Changing()
    await all.put('row')
    all.begin()
    expect(await run(all.handOver(d, [address('row')], { isKeyless: true, isMember: () => false }))).toBe(1)
    expect(await run(all.handOver(d, [address('row')], { isKeyless: true, isMember: (peer) => peer === all.node(c).self }))).toBe(0)
  })

  test('says under which version it is done, and begins anew with the next', async () => {
    const all = new Changing()
    all.begin()
    const handOver = all.handOver(d, [address('row')])
    expect(handOver.remaining()).toMatchObject({ version: 2n, partitions: 1 })
    await run(handOver)
    expect(handOver.remaining()).toMatchObject({ version: 2n, partitions: 0 })
  })

  test('says what it has lost since it took it over', async () => {
    const all = new Changing()
    await all.put('row')
    all.begin()
    const handOver = all.handOver(d, [address('row'), address('member', tables.members)])
    expect(await run(handOver)).toBe(0)
    all.node(d).store.lose(partitionOf(rowKeyOf(address('row'))))
    expect(handOver.remaining()).toEqual({ version: 2n, partitions: 0, lost: 1 })
  })
})

describe('a replica that lost a partition', () => {
  test('has it back with what a majority of the others has, the clear rows that lie in it too, and nothing else', async () => {
    const all = new Changing()
    const clear = address('member', tables.members)
    const partition = partitionOf(rowKeyOf(clear))
    await all.put('member', { table: tables.members })
    const key = Array.from({ length: 100_000 }, (_, i) => `row ${i}`).find((name) => partitionOf(rowKeyOf(address(name))) === partition) ?? ''
    await all.put(key)
    const { store, self, replica } = all.node(b)
    store.lose(partition)
    expect(await replica.answer(self, { version: 1n, kind: 'read', table: clear.table, rowKey: rowKeyOf(clear) })).toEqual({ kind: 'lost' })
    all.begin()
    expect(await run(all.handOver(b, [], { restoring: [partition] }))).toBe(0)
    expect(store.lostPartitions().size).toBe(0)
    expect(await Promise.all([all.has(b, key), all.has(b, 'member', tables.members)])).toEqual([true, true])
    expect(await replica.answer(self, { version: 2n, kind: 'digest', partitions: [clearPartition] })).toMatchObject({ digests: [{ count: 1 }] })
  })

  test('tells afterwards of the clear rows that it had missed, too', async () => {
    const all = new Changing()
    const partition = partitionOf(rowKeyOf(address('member', tables.members)))
    const { store, self, replica } = all.node(b)
    const isHeld = async (version: bigint): Promise<unknown> => await replica.answer(self, { version, kind: 'digest', partitions: [clearPartition] })
    expect(await isHeld(1n)).toMatchObject({ digests: [{ count: 0 }] })
    await all.put('member', { table: tables.members, away: b })
    store.lose(partition)
    all.begin()
    expect(await run(all.handOver(b, [], { restoring: [partition] }))).toBe(0)
    expect(await isHeld(2n)).toMatchObject({ digests: [{ count: 1 }] })
  })

  test('has it back though another has lost one too: what that one still has it tells, and what it had promised', async () => {
    const all = new Changing()
    await all.put('member', { table: tables.members, away: a })
    const of = address('member', tables.members)
    const partition = partitionOf(rowKeyOf(of))
    all.node(b).store.lose(partition)
    all.node(c).store.lose(partition + 1)
    await all.node(c).store.raiseFloor([clearPartition, { counter: 1_000n, proposer: keyOf(all.node(a).self) }])
    all.begin()
    expect(await run(all.handOver(b, [], { restoring: [partition] }))).toBe(0)
    expect(await all.has(b, 'member', tables.members)).toBe(true)
    const prepared = async (counter: bigint): Promise<string> => (await all.node(b).replica.answer(all.node(a).self, { version: 2n, kind: 'prepare', table: of.table, rowKey: rowKeyOf(of), ballot: { counter, proposer: keyOf(all.node(a).self) } })).kind
    expect([await prepared(1_000n), await prepared(1_001n)]).toEqual(['refused', 'promised'])
  })

  test('keeps what is intact of it where all that are left have lost it', async () => {
    const all = new Changing()
    await all.put('row')
    await all.put('member', { table: tables.members })
    const partition = partitionOf(rowKeyOf(address('row')))
    all.begin()
    for (const i of [a, b]) all.node(i).store.lose(partition)
    for (const i of [a, b]) expect(await run(all.handOver(i, [], { left: [a, b], restoring: [partition] }))).toBe(0)
    expect(await Promise.all([all.has(a, 'row'), all.has(b, 'row')])).toEqual([true, true])
  })

  test('has it back from the one that is left with it, where another has lost it too: they do not wait for each other', async () => {
    const all = new Changing()
    await all.put('row')
    await all.put('member', { table: tables.members })
    const partition = partitionOf(rowKeyOf(address('row')))
    all.begin()
    for (const i of [a, b]) all.node(i).store.lose(partition)
    for (const i of [a, b]) expect(await run(all.handOver(i, [], { left: [a, b, c], restoring: [partition] }))).toBe(0)
    expect(await Promise.all([all.has(a, 'row'), all.has(b, 'row')])).toEqual([true, true])
  })

  test('has it back from the other alone, where two decide: nothing was decided without that one', async () => {
    const all = new Changing()
    await all.put('row')
    await all.put('member', { table: tables.members })
    const partition = partitionOf(rowKeyOf(address('row')))
    all.node(b).store.lose(partition)
    all.begin()
    expect(await run(all.handOver(b, [], { restoring: [partition], from: [a, b] }))).toBe(0)
    expect(await all.has(b, 'row')).toBe(true)
  })

  test('counts as lost in listings until its names are shown, though it is in service', async () => {
    const all = new Changing()
    await all.put('row')
    await all.put('member', { table: tables.members })
    const partition = partitionOf(rowKeyOf(address('row')))
    const { store } = all.node(b)
    const rebuild = new IndexRebuild({ rows: store, codec: plainCodec, index: memoryListingIndex(), describe: describeValue, warn: () => {} })
    await rebuild.begin()
    store.lose(partition)
    all.begin()
    const restore = store.restore.bind(store)
    const counted: boolean[] = []
    store.restore = async (...partitions) => {
      await restore(...partitions)
      counted.push(!rebuild.left.has(partition))
    }
    expect(await run(all.handOver(b, [], { restoring: [partition], rebuild }))).toBe(0)
    expect(counted).toEqual([false])
    expect(rebuild.left.size).toBe(0)
  })

  test('comes back with others in few steps of the disk', async () => {
    const all = new Changing()
    const names = Array.from({ length: 30 }, (_, i) => `row ${i}`)
    for (const name of names) await all.put(name)
    await all.put('member', { table: tables.members })
    const lost = [...new Set(names.map((name) => partitionOf(rowKeyOf(address(name)))))]
    const { store } = all.node(b)
    for (const partition of lost) store.lose(partition)
    all.begin()
    const before = store.position
    expect(await run(all.handOver(b, [], { restoring: lost }))).toBe(0)
    expect(store.position - before).toBeLessThan(10n)
    for (const name of names) expect(await all.has(b, name)).toBe(true)
  })

  test('stays as it is while too few of the others answer: its own word does not count', async () => {
    const all = new Changing()
    await all.put('by a and b', { away: c })
    const partition = partitionOf(rowKeyOf(address('by a and b')))
    all.node(b).store.lose(partition)
    all.begin()
    all.world.dead.add(all.node(a).self)
    expect(await run(all.handOver(b, [], { restoring: [partition] }))).toBe(1)
    expect(all.node(b).store.lostPartitions()).toContain(partition)
  })

  test('is not cleared once more by a node that starts again while the layout changes: it has promised and accepted since', async () => {
    const all = new Changing()
    await all.put('row')
    await all.put('member', { table: tables.members })
    const partition = partitionOf(rowKeyOf(address('row')))
    const { store } = all.node(b)
    store.lose(partition)
    all.begin()
    expect(await run(all.handOver(b, [], { restoring: [partition] }))).toBe(0)
    const before = await store.get(tables.objects, rowKeyOf(address('row')))
    const clear = vi.spyOn(store, 'clear')
    expect(await run(all.handOver(b, [], { restoring: [partition] }))).toBe(0)
    expect(clear).not.toHaveBeenCalled()
    expect(await store.get(tables.objects, rowKeyOf(address('row')))).toEqual(before)
  })

  test('does not come back under a layout that has been followed by another meanwhile', async () => {
    const all = new Changing()
    await all.put('row')
    await all.put('member', { table: tables.members })
    const partition = partitionOf(rowKeyOf(address('row')))
    all.node(b).store.lose(partition)
    all.begin()
    expect(await run(all.handOver(b, [], { restoring: [partition], isFollowed: true }))).toBe(1)
    expect(all.node(b).store.lostPartitions()).toContain(partition)
  })

  test('is in service, and the others too, where the names of one cannot be shown', async () => {
    const all = new Changing()
    const names = ['row 1', 'row 2', 'row 3']
    for (const name of names) await all.put(name)
    await all.put('member', { table: tables.members })
    const lost = [...new Set(names.map((name) => partitionOf(rowKeyOf(address(name)))))].toSorted((x, y) => x - y)
    const { store } = all.node(b)
    for (const partition of lost) store.lose(partition)
    all.begin()
    const shown: number[] = []
    const restored = async (partition: number): Promise<void> => {
      if (partition === lost[0]) throw new Error('a name that cannot be read')
      shown.push(partition)
    }
    expect(await run(all.handOver(b, [], { restoring: lost, restored }))).toBe(0)
    expect(shown).toEqual(lost.slice(1))
  })
})
