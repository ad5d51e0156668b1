import { describe, expect, test, vi } from 'vitest'
import { textOf, utf8 } from '../../src/base/bytes.ts'
import { Conflict, StoreFull, Unavailable, UnknownOutcome } from '../../src/base/errors.ts'
import { keyOf } from '../../src/base/peer-id.ts'
import { clearPartition } from '../../src/tables/clear-rows.ts'
import { decodeEnvelope, encodeEnvelope } from '../../src/tables/envelope.ts'
import { type Change, type RowAddress, rowLimits, tables } from '../../src/tables/index.ts'
import { plainCodec } from '../support/table-plain-codec.ts'
import { type TableNode, tableNodes } from '../support/table-nodes.ts'

const address = (key = 'k'): RowAddress => ({ table: tables.objects, scope: new Uint8Array(16), key: utf8(key) })
const write = (value: string) => (): Change<string> => ({ kind: 'write', value: utf8(value), result: value })
const textAt = (value: Uint8Array | undefined): string | undefined => (value === undefined ? undefined : textOf(value))
const [first, second, third] = [0, 1, 2]
const at = (nodes: readonly TableNode[], i: number): TableNode => nodes[i] as TableNode

describe('registers', () => {
  test('show a write to every node', async () => {
    const { nodes } = tableNodes(3)
    await at(nodes, first).registers.change(address(), write('x'))
    for (const { registers } of nodes) expect(textAt(await registers.read(address()))).toBe('x')
  })

  test('show a value that came back under another revision, on any node', async () => {
    const { nodes } = tableNodes(3)
    const seen = async (i: number) => at(nodes, i).registers.change<[string | undefined, bigint]>(address(), (value, revision) => ({ kind: 'keep', result: [textAt(value), revision] }))
    expect(await seen(first)).toEqual([undefined, 0n])
    for (const value of ['x', 'y', 'x']) await at(nodes, second).registers.change(address(), write(value))
    expect([await seen(first), await seen(third)]).toEqual([['x', 3n], ['x', 3n]])
  })

  test('read a settled row in one round trip', async () => {
    const { nodes } = tableNodes(3)
    await at(nodes, first).registers.change(address(), write('x'))
    at(nodes, second).asked.length = 0
    await at(nodes, second).registers.read(address())
    // itself and one other are a majority; the third is not asked
    expect(at(nodes, second).asked.map(({ request }) => request.kind)).toEqual(['read'])
  })

  test('are read where the store takes no writes (a read reserved a ballot counter, so of 1,024 on a full disk one failed, and all that followed)', async () => {
    const { nodes } = tableNodes(3)
    await at(nodes, first).registers.change(address(), write('x'))
    const { registers, store } = at(nodes, second)
    vi.spyOn(store, 'nextCounter').mockRejectedValue(new StoreFull('the disk is full'))
    expect(textAt(await registers.read(address()))).toBe('x')
    await expect(registers.change(address(), write('y'))).rejects.toThrow(StoreFull)
  })

  test('ask the third voter when the second fails, at once, and when it is late', async () => {
    const { nodes, stopped } = tableNodes(3)
    await at(nodes, first).registers.change(address(), write('x'))
    stopped.add(at(nodes, second).self)
    for (let i = 0; i < 3; i++) expect(textAt(await at(nodes, first).registers.read(address()))).toBe('x')
    // once it was late it is asked last
    at(nodes, first).asked.length = 0
    await at(nodes, first).registers.read(address())
    expect(at(nodes, first).asked.map(({ to }) => to)).toEqual([at(nodes, third).self])
  })

  test('do not wait for a stopped voter', async () => {
    const { nodes, stopped } = tableNodes(3)
    stopped.add(at(nodes, third).self)
    expect(await at(nodes, first).registers.change(address(), write('x'))).toBe('x')
    expect(textAt(await at(nodes, second).registers.read(address()))).toBe('x')
  })

  test('fail at once, having asked nobody, when no majority can be reached', async () => {
    const { nodes, dead } = tableNodes(3)
    dead.add(at(nodes, second).self).add(at(nodes, third).self)
    await expect(at(nodes, first).registers.change(address(), write('x'))).rejects.toThrow(Unavailable)
    await expect(at(nodes, first).registers.read(address())).rejects.toThrow(Unavailable)
    expect(at(nodes, first).asked).toEqual([])
  })

  test('give the freshest reachable copy to whoever asks for it by name', async () => {
    const { nodes, dead } = tableNodes(3)
    await at(nodes, first).registers.change(address(), write('x'))
    dead.add(at(nodes, second).self).add(at(nodes, third).self)
    expect(textAt(await at(nodes, first).registers.read(address(), { from: 'reachable' }))).toBe('x')
  })

  test('have one winner of twelve creators on three nodes', async () => {
    const { nodes } = tableNodes(3)
    const create = (name: string) => (current: Uint8Array | undefined): Change<string> => (current === undefined ? { kind: 'write', value: utf8(name), result: name } : { kind: 'keep', result: textOf(current) })
    const told = await Promise.all(Array.from({ length: 12 }, async (_, i) => await at(nodes, i % 3).registers.change(address(), create(`w${i}`))))
    expect(new Set(told).size).toBe(1)
  })

  test('count every increment of one node once, though all come at the same time', async () => {
    const { nodes } = tableNodes(3)
    const increment = (current: Uint8Array | undefined): Change<number> => { const next = Number(textAt(current) ?? 0) + 1; return { kind: 'write', value: utf8(String(next)), result: next } }
    const told = await Promise.all(Array.from({ length: 20 }, async () => await at(nodes, first).registers.change(address(), increment)))
    expect(told.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, i) => i + 1))
    const prepares = at(nodes, first).asked.filter(({ request }) => request.kind === 'prepare')
    // queued, they never outbid each other: one prepare to one other, which with this node is a majority, for each change
    expect(prepares.length).toBe(20)
  })

  test('tell an error that the change throws, and go on', async () => {
    const { nodes } = tableNodes(3)
    await expect(at(nodes, first).registers.change(address(), () => { throw new Conflict('taken') })).rejects.toThrow(Conflict)
    expect(await at(nodes, first).registers.change(address(), write('x'))).toBe('x')
  })

  test('forget an erased value', async () => {
    const { nodes } = tableNodes(3)
    await at(nodes, first).registers.change(address(), write('x'))
    await at(nodes, first).registers.change(address(), () => ({ kind: 'erase', result: true }))
    expect(await at(nodes, second).registers.read(address())).toBeUndefined()
  })

  test('keep the ids of the last sixteen operations', async () => {
    const { nodes } = tableNodes(1)
    for (let i = 0; i < 20; i++) await at(nodes, first).registers.change(address(), write(String(i)))
    const rowKey = plainCodec.rowKeyOf(address())
    const row = await at(nodes, first).store.get(tables.objects, rowKey)
    const { body, revision } = plainCodec.decode({ table: tables.objects, rowKey, record: row?.accepted ?? new Uint8Array(0) })
    expect(decodeEnvelope(body).operations.length).toBe(rowLimits.keptOperations)
    expect(revision).toBe(20n)
  })

  test('tell an unknown outcome, never a failed one, when accepts go unanswered', async () => {
    const { nodes, stopped } = tableNodes(3, { options: () => ({ timing: { operationMs: 80, askMs: 40 } }) })
    let asked = 0
    const change = (): Change<void> => {
      // the majority promised; now it falls silent
      if (++asked === 1) { stopped.add(at(nodes, second).self).add(at(nodes, third).self) }
      return { kind: 'write', value: utf8('x'), result: undefined }
    }
    await expect(at(nodes, first).registers.change(address(), change)).rejects.toThrow(UnknownOutcome)
  })

  test('tell an unknown outcome when accepts go unanswered and the disk has no room for the ballot of another round', async () => {
    const { nodes } = tableNodes(3)
    const { peers, registers, store } = at(nodes, first)
    const [ask, nextCounter] = [peers.ask.bind(peers), store.nextCounter.bind(store)]
    const full = new StoreFull('the disk is full')
    let isFull = false
    vi.spyOn(store, 'nextCounter').mockImplementation(async (above) => { if (isFull) throw full; return nextCounter(above) })
    vi.spyOn(peers, 'ask').mockImplementation(async (to, request, wait) => {
      const answer = await ask(to, request, wait)
      if (request.kind !== 'accept') return answer
      // what it accepted it tells nobody
      isFull = true
      throw new Error('lost')
    })
    await expect(registers.change(address(), write('x'))).rejects.toMatchObject({ name: 'UnknownOutcome', cause: full })
    expect(textAt(await at(nodes, second).registers.read(address()))).toBe('x')
  })

  test('count an answer that was changed on the way as none', async () => {
    const { nodes } = tableNodes(3)
    await at(nodes, first).registers.change(address(), write('x'))
    const rowKey = plainCodec.rowKeyOf(address())
    const row = await at(nodes, second).store.get(tables.objects, rowKey)
    const broken = Uint8Array.from(row?.accepted ?? [], (byte, i) => (i === 90 ? byte ^ 1 : byte))
    await at(nodes, second).store.save([{ table: tables.objects, rowKey, promised: { counter: 2n ** 20n, proposer: new Uint8Array(32) }, accepted: broken }])
    expect(textAt(await at(nodes, first).registers.read(address()))).toBe('x')
  })
})

describe('a replica', () => {
  const prepareBy = (node: TableNode, counter: bigint) => ({ version: 1n, kind: 'prepare' as const, table: tables.objects, rowKey: plainCodec.rowKeyOf(address()), ballot: { counter, proposer: keyOf(node.self) } })

  test('refuses to let a node without keys propose, and shows it no names', async () => {
    const { nodes } = tableNodes(3, { isMember: (peer) => peer !== at(nodes, second).self })
    const { replica } = at(nodes, first)
    await expect(replica.answer(at(nodes, second).self, prepareBy(at(nodes, second), 1n))).rejects.toThrow('only members')
    await expect(replica.answer(at(nodes, second).self, { version: 1n, kind: 'list', table: tables.objects, scope: new Uint8Array(16), prefix: new Uint8Array(0), after: undefined, limit: 10 })).rejects.toThrow('for members')
  })

  test('remembers nothing for a node without keys: it promised whatever clear row key that made up', async () => {
    const { nodes } = tableNodes(3, { isMember: (peer) => peer !== at(nodes, second).self })
    const { replica, store } = at(nodes, first)
    const rowKey = new Uint8Array(32).fill(7)
    await expect(replica.answer(at(nodes, second).self, { ...prepareBy(at(nodes, second), 1n), table: tables.members, rowKey })).rejects.toThrow('only members')
    expect(await store.get(tables.members, rowKey)).toBeUndefined()
  })

  test.each([tables.objects, tables.members])('takes rows of table %i from no node that could hold none', async (table) => {
    const { nodes } = tableNodes(4, { isMember: (peer) => peer !== at(nodes, 3).self, votersAmong: (all) => all.slice(0, 3) })
    const row = { ...address(), table }
    await at(nodes, first).registers.change(row, write('x'))
    const rowKey = plainCodec.rowKeyOf(row)
    const before = await at(nodes, first).store.get(table, rowKey)
    const record = plainCodec.encode({ table, rowKey, content: { revision: 9n, isTombstone: false, body: encodeEnvelope({ operations: [], value: utf8('forged') }) }, ballot: { counter: 99n, proposer: keyOf(at(nodes, first).self) } })
    await expect(at(nodes, first).replica.answer(at(nodes, 3).self, { version: 1n, kind: 'handOver', table, rowKey, record })).rejects.toThrow('members and voters')
    expect(await at(nodes, first).store.get(table, rowKey)).toEqual(before)
  })

  test('looks at no clear row that is only promised when it is compared', async () => {
    const { nodes } = tableNodes(1)
    const { replica, restarted, self, store, registers } = at(nodes, first)
    await registers.change({ ...address(), table: tables.members }, write('x'))
    await replica.answer(self, { version: 1n, kind: 'digest', partitions: [clearPartition] })
    for (let i = 0; i < 20; i++) await replica.answer(self, { ...prepareBy(at(nodes, first), 1n), table: tables.members, rowKey: new Uint8Array(32).fill(i) })
    for (const anyReplica of [replica, restarted()]) {
      await anyReplica.answer(self, { version: 1n, kind: 'digest', partitions: [clearPartition] })
      const get = vi.spyOn(store, 'get')
      expect(await anyReplica.answer(self, { version: 1n, kind: 'digest', partitions: [clearPartition] })).toMatchObject({ digests: [{ count: 1 }] })
      expect(get).toHaveBeenCalledTimes(1)
      get.mockRestore()
    }
  })

  test('refuses a ballot that is not the asker\'s own', async () => {
    const { nodes } = tableNodes(3)
    await expect(at(nodes, first).replica.answer(at(nodes, third).self, prepareBy(at(nodes, second), 1n))).rejects.toThrow('not the proposer')
  })

  test('refuses a counter out of all proportion', async () => {
    const { nodes } = tableNodes(3)
    expect((await at(nodes, first).replica.answer(at(nodes, second).self, prepareBy(at(nodes, second), 2n ** 33n))).kind).toBe('refused')
    expect((await at(nodes, first).replica.answer(at(nodes, second).self, prepareBy(at(nodes, second), 2n ** 31n))).kind).toBe('promised')
  })

  test('answers an older layout with its own, and adopts a newer one first', async () => {
    const adopted: bigint[] = []
    const layout = { version: 5n, encoded: () => utf8('layout 5'), adopt: async (version: bigint) => { adopted.push(version) } }
    const { nodes } = tableNodes(1, { layout })
    const { replica, self } = at(nodes, first)
    expect(await replica.answer(self, { ...prepareBy(at(nodes, first), 1n), version: 4n })).toEqual({ kind: 'staleLayout', layout: utf8('layout 5') })
    expect((await replica.answer(self, { ...prepareBy(at(nodes, first), 1n), version: 6n })).kind).toBe('promised')
    expect(adopted).toEqual([6n])
  })

  test('neither answers nor votes for a partition whose memory is lost', async () => {
    const { nodes } = tableNodes(3)
    const rowKey = plainCodec.rowKeyOf(address())
    at(nodes, first).store.lose(((rowKey[0] ?? 0) << 4) | ((rowKey[1] ?? 0) >> 4))
    const { replica, self } = at(nodes, first)
    expect(await replica.answer(self, prepareBy(at(nodes, first), 1n))).toEqual({ kind: 'lost' })
    expect(await replica.answer(self, { version: 1n, kind: 'read', table: tables.objects, rowKey })).toEqual({ kind: 'lost' })
    // the other two still make a majority
    expect(await at(nodes, first).registers.change(address(), write('x'))).toBe('x')
  })
})
