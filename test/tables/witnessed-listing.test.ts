import { describe, expect, test } from 'vitest'
import { concat, partitionCount, partitionOf, textOf, utf8 } from '../../src/base/bytes.ts'
import { Unavailable } from '../../src/base/errors.ts'
import type { PeerId } from '../../src/base/peer-id.ts'
import { tables } from '../../src/tables/index.ts'
import { messageLimits, type TableAnswer, type TableRequest } from '../../src/tables/messages.ts'
import { type TableNode, type TableNodes, tableNodes } from '../support/table-nodes.ts'
import { plainCodec } from '../support/table-plain-codec.ts'

const scope = new Uint8Array(16)
const addressOf = (key: string) => ({ table: tables.objects, scope, key: utf8(key) })

/** Two that know names, and a witness; or one more of each. `onAsk`: before each question of the first; an answer that it gives is taken for the peer's. */
function world ({ count = 3, onAsk = async () => {} }: { count?: number, onAsk?: (to: PeerId, request: TableRequest) => Promise<TableAnswer | void> } = {}) {
  const nodes: TableNodes = tableNodes(count, {
    options: () => ({ isLister: (peer) => nodes.nodes.slice(0, Math.ceil(count / 2)).some(({ self }) => self === peer), timing: { operationMs: 2000, askMs: 500 } }),
    peersOf: (self) => ({
      reachable: () => new Set(nodes.nodes.map((node) => node.self).filter((peer) => !nodes.dead.has(peer))),
      async ask (to, request): Promise<TableAnswer> {
        const given = self === nodes.nodes[0]?.self ? await onAsk(to, request) : undefined
        if (typeof given === 'object') return given
        if (nodes.dead.has(to)) throw new Error('cannot be reached')
        return (nodes.nodes.find((node) => node.self === to) as TableNode).replica.answer(self, request)
      },
    }),
  })
  const [first, second, witness] = nodes.nodes as [TableNode, TableNode, TableNode]
  const put = async (node: TableNode, key: string): Promise<void> => node.registers.change<void>(addressOf(key), () => ({ kind: 'write', value: utf8(key), result: undefined }))
  const erase = async (node: TableNode, key: string): Promise<void> => node.registers.change<void>(addressOf(key), () => ({ kind: 'erase', result: undefined }))
  const without = async <T>(node: TableNode, work: () => Promise<T>): Promise<T> => { nodes.dead.add(node.self); try { return await work() } finally { nodes.dead.delete(node.self) } }
  const list = async (limit = 1000): Promise<string[]> => {
    const names: string[] = []
    for (let after: Uint8Array | undefined; ;) {
      const page = await first.registers.list({ table: tables.objects, scope, prefix: utf8(''), limit, after })
      names.push(...page.entries.map(({ name }) => textOf(name)))
      if (page.next === undefined) return names
      after = page.next
    }
  }
  return { nodes, first, second, witness, put, erase, without, list }
}

const keys = Array.from({ length: 40 }, (_, i) => `key ${String(i).padStart(2, '0')}`)

describe('a listing with one of two dead, and a witness', () => {
  test.each([1, 7, 1000])('shows everything once, %d names a page, without reading each row', async (limit) => {
    const asked: string[] = []
    const { nodes, first, second, put, list } = world({ onAsk: async (_to, { kind }) => { asked.push(kind) } })
    for (const [i, key] of keys.entries()) await put(i % 2 === 0 ? first : second, key)
    nodes.dead.add(second.self)
    asked.length = 0
    expect(await list(limit)).toEqual(keys)
    expect(new Set(asked)).toEqual(new Set(['digest']))
  })

  test('shows what only the dead one and the witness had taken', async () => {
    const { nodes, first, second, put, erase, without, list } = world()
    await put(first, 'before')
    await put(first, 'gone')
    await without(first, async () => { await put(second, 'between'); await erase(second, 'gone') })
    expect(await first.store.get(tables.objects, plainCodec.rowKeyOf(addressOf('between')))).toBeUndefined()
    nodes.dead.add(second.self)
    expect(await list()).toEqual(['before', 'between'])
  })

  test('shows what the dead one and the witness had overwritten, and not what one alone has taken', async () => {
    const { nodes, first, second, witness, put, without, list } = world()
    await put(first, 'x')
    await without(first, async () => second.registers.change<void>(addressOf('x'), () => ({ kind: 'write', value: utf8('x'), result: undefined })))
    nodes.dead.add(second.self)
    expect(await list()).toEqual(['x'])
    const [own, theirs] = await Promise.all([first, witness].map(async ({ store }) => store.get(tables.objects, plainCodec.rowKeyOf(addressOf('x')))))
    expect(own?.accepted).toEqual(theirs?.accepted)
  })

  test('lacks nothing that comes between the digests and the page', async () => {
    let isArmed = false
    const of = world({ onAsk: async (to, { kind }) => {
      if (!isArmed || to !== of.witness.self || kind !== 'digest') return
      isArmed = false
      await of.put(of.first, 'now')
    } })
    await of.put(of.first, 'before')
    of.nodes.dead.add(of.second.self)
    isArmed = true
    expect(await of.list()).toEqual(['before', 'now'])
    expect(isArmed).toBe(false)
  })

  test('shows what the one that lists has taken alone since it was vouched for only once it is chosen', async () => {
    let left = 0
    // of a partition whose digests are asked for first
    const key = Array.from({ length: 1000 }, (_, i) => `late ${i}`).find((name) => partitionOf(plainCodec.rowKeyOf(addressOf(name))) < 64) as string
    const of = world({ onAsk: async (to, { kind }) => {
      if (to !== of.witness.self || kind !== 'digest' || --left !== 0) return
      // the last digests are on their way: this accept reaches one of three
      const row = { table: tables.objects, rowKey: plainCodec.rowKeyOf(addressOf(key)) }
      const [other] = tableNodes(3).nodes as [TableNode]
      await other.registers.change<void>(addressOf(key), () => ({ kind: 'write', value: utf8(key), result: undefined }))
      const late = await other.store.get(row.table, row.rowKey) as { accepted: Uint8Array }
      await of.first.replica.answer(of.second.self, { version: 1n, kind: 'handOver', ...row, record: late.accepted })
    } })
    await of.put(of.first, 'before')
    of.nodes.dead.add(of.second.self)
    left = partitionCount / messageLimits.maxDigests
    expect(await of.list()).toEqual(['before', key])
    expect((await of.witness.store.get(tables.objects, plainCodec.rowKeyOf(addressOf(key))))?.accepted).toBeDefined()
  })

  test('is unavailable where the witness is dead too, does not answer for what it lost, or what it has cannot be settled', async () => {
    const { nodes, first, second, witness, put, without, list } = world()
    await put(first, 'x')
    await without(first, async () => put(second, 'y'))
    nodes.dead.add(second.self).add(witness.self)
    await expect(list()).rejects.toThrow(Unavailable)
    nodes.dead.delete(witness.self)
    witness.store.lose(partitionOf(plainCodec.rowKeyOf(addressOf('x'))))
    await expect(list()).rejects.toThrow(Unavailable)
  })

  test('does not wait for a witness that tells of rows that nobody else has, where another vouches for all', async () => {
    const of = world({ count: 5, onAsk: async (to, request): Promise<TableAnswer | void> => {
      if (to !== of.nodes.nodes[4]?.self) return
      if (request.kind === 'digest') return { kind: 'digests', digests: request.partitions.map(() => ({ count: 1, digest: new Uint8Array(32) })) }
      if (request.kind !== 'ballots') return
      const { partition } = request
      return { kind: 'ballots', truncated: false, rows: Array.from({ length: messageLimits.maxBallots }, (_, i) => ({ table: tables.objects, rowKey: concat([Uint8Array.of(partition >> 4, (partition & 15) << 4, i >> 8, i), new Uint8Array(28)]), ballot: { counter: 1n, proposer: new Uint8Array(32) } })) }
    } })
    for (const key of keys) await of.put(of.first, key)
    of.nodes.dead.add((of.nodes.nodes[2] as TableNode).self)
    expect(await of.list()).toEqual(keys)
  })

  test('asks no witness while both answer', async () => {
    const asked: string[] = []
    const { first, put, list } = world({ onAsk: async (_to, { kind }) => { asked.push(kind) } })
    await put(first, 'x')
    asked.length = 0
    expect(await list()).toEqual(['x'])
    expect(new Set(asked)).toEqual(new Set(['list']))
  })
})
