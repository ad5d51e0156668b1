import { describe, expect, test } from 'vitest'
import { partitionOf, utf8 } from '../../src/base/bytes.ts'
import { IndexRebuild } from '../../src/node/rows/listing.ts'
import { encodeEnvelope, encodeErased } from '../../src/tables/envelope.ts'
import { type RowStore, type StoredRow, tables } from '../../src/tables/index.ts'
import { memoryListingIndex } from '../../src/tables/memory-listing-index.ts'
import { MemoryRowStore } from '../../src/tables/memory-row-store.ts'
import { tableReplica } from '../../src/tables/replica.ts'
import { plainCodec } from '../support/table-plain-codec.ts'
import { describeValue, tableNodes } from '../support/table-nodes.ts'

const scope = new Uint8Array(16)
const table = tables.objects
const placeOf = (name: string): { table: typeof table, scope: Uint8Array, key: Uint8Array } => ({ table, scope, key: utf8(name) })

function rowOf (name: string, { counter = 1n, isTombstone = false }: { counter?: bigint, isTombstone?: boolean } = {}): StoredRow {
  const [rowKey, ballot] = [plainCodec.rowKeyOf(placeOf(name)), { counter, proposer: new Uint8Array(32) }]
  const body = encodeEnvelope({ operations: [], value: isTombstone ? encodeErased(placeOf(name)) : utf8(name) })
  return { table, rowKey, promised: ballot, accepted: plainCodec.encode({ table, rowKey, ballot, content: { revision: 1n, isTombstone, body } }) }
}

/** A store with these rows, its index, and what shows it the rows; a replica that lists by it. */
async function world (rows: readonly StoredRow[], storeOf: (store: MemoryRowStore) => RowStore = (store) => store) {
  const store = new MemoryRowStore({ ballotOf: (of, record) => plainCodec.ballotOf(of, record) })
  await store.save(rows)
  const [index, found, whole]: [ReturnType<typeof memoryListingIndex>, string[], string[]] = [memoryListingIndex(), [], []]
  const rebuild = new IndexRebuild({ rows: storeOf(store), codec: plainCodec, index, describe: describeValue, found: ({ value }) => { found.push(Buffer.from(value ?? []).toString()) }, warn: () => {} }, { whenWhole: () => { whole.push('whole') } })
  const { nodes: [node], voters } = tableNodes(1)
  const self = node?.self ?? (() => { throw new Error('no node') })()
  const replica = tableReplica({ self, store, codec: plainCodec, voters, isMember: () => true, listing: { index, describe: describeValue, missing: () => rebuild.left }, layout: { version: 1n, encoded: () => new Uint8Array(0), adopt: async () => {} } })
  return {
    store, index, rebuild, found, whole,
    list: async () => {
      const page = await replica.answer(self, { version: 1n, kind: 'list', table, scope, prefix: new Uint8Array(0), after: undefined, limit: 1000 })
      if (page.kind !== 'page') throw new Error(page.kind)
      return { names: page.entries.map(({ name }) => Buffer.from(name).toString()), lost: page.lost.length }
    },
    finish: async () => { while (await rebuild.step() === 'busy'); },
  }
}

describe('the listing index of a node that starts', () => {
  const names = Array.from({ length: 40 }, (_, i) => `name ${String(i).padStart(2, '0')}`)

  test('is rebuilt behind, and what it lacks counts as lost until then', async () => {
    const { rebuild, list, finish, found, whole } = await world(names.map((name) => rowOf(name)))
    await rebuild.begin({ rows: 10 })
    const early = await list()
    expect(early.names.length).toBeGreaterThanOrEqual(10)
    expect(early.names.length).toBeLessThan(40)
    expect(early.lost).toBe(rebuild.left.size)
    expect(whole).toEqual([])
    expect(rebuild.doneShare).toBeGreaterThan(0)
    expect(rebuild.doneShare).toBeLessThan(1)
    await finish()
    expect(await list()).toEqual({ names, lost: 0 })
    expect(found.toSorted()).toEqual(names)
    expect(whole).toEqual(['whole'])
    expect(rebuild.doneShare).toBe(1)
  })

  test('has what was saved meanwhile, and not what a row was before', async () => {
    const { rebuild, index, list, finish } = await world([rowOf('name')])
    const [at] = [rowOf('name')]
    await index.update([{ table, rowKey: at.rowKey, ballot: { counter: 2n, proposer: new Uint8Array(32) }, listed: { name: utf8('name'), scope, summary: undefined } }])
    await rebuild.begin()
    await finish()
    const { entries } = await index.page({ table, scope, prefix: new Uint8Array(0), after: undefined, limit: 10 })
    expect(entries).toMatchObject([{ ballot: { counter: 2n }, summary: undefined }])
    expect((await list()).names).toEqual(['name'])
  })

  test('does not keep a name that was buried while it was read', async () => {
    const { rebuild, list } = await world([rowOf('gone', { isTombstone: true })], (store) => new Proxy(store, { get: (of, name) => name === 'get' ? async () => undefined : Reflect.get(of, name).bind?.(of) ?? Reflect.get(of, name) }))
    await rebuild.begin()
    expect((await list()).names).toEqual([])
  })

  test('does not show again what was forgotten with its partition', async () => {
    const { rebuild, list, finish } = await world([rowOf('name')])
    await rebuild.forget(partitionOf(rowOf('name').rowKey))
    await finish()
    expect((await list()).names).toEqual([])
  })

  test('is shown a lost partition when it comes back', async () => {
    const { store, rebuild, list, finish } = await world([rowOf('name')])
    const partition = partitionOf(rowOf('name').rowKey)
    store.lose(partition)
    await finish()
    expect((await list()).names).toEqual([])
    await store.fill([rowOf('name')])
    await store.restore(partition)
    await rebuild.restored(partition)
    expect(await list()).toEqual({ names: ['name'], lost: 0 })
  })
})
