import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { compareBytes, textOf, utf8 } from '../../src/base/bytes.ts'
import { InvalidInput, Unavailable } from '../../src/base/errors.ts'
import { hash } from '../../src/base/hash.ts'
import { type PeerId, peerIdOf } from '../../src/base/peer-id.ts'
import { type Change, type ListPage, rowLimits, tables } from '../../src/tables/index.ts'
import type { IndexEntry } from '../../src/tables/listing-index.ts'
import { mergePages } from '../../src/tables/merge-pages.ts'
import { decodeRequest, encodeRequest } from '../../src/tables/messages-codec.ts'
import { registerTiming } from '../../src/tables/registers.ts'
import { commonPrefixOf, lastNameWith } from '../../src/tables/roll-up.ts'
import { VirtualTime } from '../simulation/virtual-time.ts'
import { type TableNode, tableNodes } from '../support/table-nodes.ts'

const [a, b, c] = [0, 1, 2].map((i) => peerIdOf(hash(Uint8Array.of(i))))
const voters = [a, b, c].filter((peer) => peer !== undefined)
const electorate = { version: 1n, groups: [voters] }
const entry = (name: string, counter = 1, summary: string | undefined = name): IndexEntry => ({ name: utf8(name), rowKey: hash(utf8(name)), ballot: { counter: BigInt(counter), proposer: new Uint8Array(32) }, summary: summary === undefined ? undefined : utf8(summary) })
const page = (i: number, entries: IndexEntry[], truncated = false) => ({ peer: voters[i] ?? peerIdOf(new Uint8Array(32)), entries, truncated, lost: new Set<number>() })
const merged = (...pages: Array<ReturnType<typeof page>>): string[] => mergePages(pages, () => electorate).names.map(({ kind, name }) => `${kind} ${textOf(name)}`)

describe('merging pages', () => {
  test('agrees on what a majority holds under one ballot', () => {
    expect(merged(page(0, [entry('x')]), page(1, [entry('x')]))).toEqual(['agreed x'])
  })
  test('doubts a name that differs in ballot', () => {
    expect(merged(page(0, [entry('x', 1)]), page(1, [entry('x', 2)]))).toEqual(['doubtful x'])
  })
  test('doubts a name that is missing on one side', () => {
    expect(merged(page(0, [entry('x')]), page(1, []))).toEqual(['doubtful x'])
  })
  test('leaves out a name of which a majority never heard', () => {
    expect(merged(page(0, [entry('x')]), page(1, []), page(2, []))).toEqual([])
  })
  test('doubts a delete that one replica alone accepted, beside one that never had the row', () => {
    expect(merged(page(0, [entry('x', 5, undefined)]), page(1, []))).toEqual(['doubtful x'])
  })
  test('tells nothing above the smallest last name of a truncated page', () => {
    const pages = [page(0, [entry('a'), entry('b')], true), page(1, [entry('b'), entry('c'), entry('d')], true)]
    expect(merged(...pages)).toEqual(['doubtful a', 'agreed b'])
    expect(mergePages(pages, () => electorate).through).toEqual(utf8('b'))
  })
  test('does not count the word of a replica that lost the partition', () => {
    const partition = ((hash(utf8('x'))[0] ?? 0) << 4) | ((hash(utf8('x'))[1] ?? 0) >> 4)
    expect(merged(page(0, [entry('x')]), { ...page(1, []), lost: new Set([partition]) }, page(2, [entry('x')]))).toEqual(['agreed x'])
  })
})

describe('merging pages of a replica that gives names out of order', () => {
  test('tells every name once, in order, and what the others agree on as agreed', () => {
    const honest = [entry('a'), entry('b'), entry('c')]
    expect(merged(page(0, honest), page(1, honest), page(2, [entry('c'), entry('a'), entry('b')]))).toEqual(['agreed a', 'agreed b', 'agreed c'])
    expect(merged(page(0, honest), page(2, [entry('c'), entry('a'), entry('b')]))).toEqual(['doubtful a', 'doubtful b', 'agreed c'])
  })
})

describe('rolling up', () => {
  test('a prefix ends with the first delimiter after what was asked for', () => {
    expect(commonPrefixOf(utf8('a/b/c'), { prefix: utf8('a/'), delimiter: utf8('/') })).toEqual(utf8('a/b/'))
    expect(commonPrefixOf(utf8('a/b'), { prefix: utf8('a/'), delimiter: utf8('/') })).toBeUndefined()
  })
  test('the last name with a prefix is not below any name with it, and below the next without', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 8 }), fc.uint8Array({ maxLength: 20 }), (prefix, rest) => {
      expect(compareBytes(lastNameWith(prefix), new Uint8Array([...prefix, ...rest]))).toBeGreaterThanOrEqual(0)
    }))
    expect(compareBytes(lastNameWith(utf8('a/')), utf8('a0'))).toBeLessThan(0)
  })
})

describe('a listing', () => {
  const scope = new Uint8Array(16)
  const put = async (node: TableNode, name: string): Promise<void> => {
    await node.registers.change({ table: tables.objects, scope, key: utf8(name) }, (): Change<void> => ({ kind: 'write', value: utf8(name), result: undefined }))
  }
  const nodeOf = (nodes: readonly TableNode[], i: number): TableNode => nodes[i] as TableNode
  const list = async (node: TableNode, options: { prefix?: string, delimiter?: string, limit?: number, after?: Uint8Array } = {}): Promise<ListPage> =>
    await node.registers.list({ table: tables.objects, scope, prefix: utf8(options.prefix ?? ''), delimiter: options.delimiter === undefined ? undefined : utf8(options.delimiter), limit: options.limit ?? 1000, after: options.after })
  const names = ({ entries, prefixes }: ListPage): string[] => [...entries.map(({ name }) => textOf(name)), ...prefixes.map(textOf)].toSorted()

  test('pages through everything once, whatever the limit, rolled up or not', async () => {
    const { nodes } = tableNodes(3)
    const all = ['a', 'b/1', 'b/2', 'b/3', 'c', 'd/1/x', 'd/2', 'e']
    for (const [i, name] of all.entries()) await put(nodeOf(nodes, i % 3), name)
    for (const limit of [1, 2, 3, 1000]) {
      for (const [delimiter, expected] of [[undefined, all], ['/', ['a', 'b/', 'c', 'd/', 'e']]] as const) {
        const found: string[] = []
        let after: Uint8Array | undefined
        do {
          const one = await list(nodeOf(nodes, 0), { limit, delimiter, after })
          expect(names(one).length).toBeLessThanOrEqual(limit)
          found.push(...names(one))
          after = one.next
        } while (after !== undefined)
        expect(found).toEqual(expected)
      }
    }
  })

  test('skips past a common prefix instead of reading through it', async () => {
    const { nodes } = tableNodes(1)
    for (let i = 0; i < 60; i++) await put(nodeOf(nodes, 0), `b/${i}`)
    await put(nodeOf(nodes, 0), 'c')
    expect(names(await list(nodeOf(nodes, 0), { delimiter: '/', limit: 2 }))).toEqual(['b/', 'c'])
  })

  test('asks for little behind a folder that filled a page, and for much again where many fit into one', async () => {
    const { nodes } = tableNodes(3)
    const node = nodeOf(nodes, 0)
    const [big, small] = [['a', 'b', 'c', 'd', 'e'], Array.from({ length: 30 }, (_, i) => `f${String(i).padStart(2, '0')}`)]
    for (const folder of big) for (let i = 0; i < 60; i++) await put(node, `${folder}/${String(i).padStart(2, '0')}`)
    for (const folder of small) await put(node, `${folder}/only`)
    node.asked.length = 0
    expect(names(await list(node, { delimiter: '/', limit: 40 }))).toEqual([...big, ...small].map((folder) => `${folder}/`))
    const limits = node.asked.flatMap(({ to, request }) => request.kind === 'list' && to === node.asked[0]?.to ? [request.limit] : [])
    expect(limits).toEqual([41, 17, 17, 17, 17, 17, 41])
  })

  test('asks for little where a page held few folders for all its names', async () => {
    const { nodes } = tableNodes(3)
    const node = nodeOf(nodes, 0)
    const folders = ['a', 'b', 'c', 'd']
    for (const folder of folders) for (let i = 0; i < 80; i++) await put(node, `${folder}/${String(i).padStart(2, '0')}`)
    node.asked.length = 0
    expect(names(await list(node, { delimiter: '/', limit: 170 }))).toEqual(folders.map((folder) => `${folder}/`))
    const limits = node.asked.flatMap(({ to, request }) => request.kind === 'list' && to === node.asked[0]?.to ? [request.limit] : [])
    expect(limits).toEqual([171, 171])
    node.asked.length = 0
    expect(names(await list(node, { delimiter: '/', limit: 150 }))).toEqual(folders.map((folder) => `${folder}/`))
    expect(node.asked.flatMap(({ to, request }) => request.kind === 'list' && to === node.asked[0]?.to ? [request.limit] : [])).toEqual([151, 17, 17, 17])
  })

  test('asks for more and more behind names that are not there any more, however few are wanted', async () => {
    const { nodes } = tableNodes(3)
    const node = nodeOf(nodes, 0)
    const erase = async (name: string): Promise<void> => { await node.registers.change({ table: tables.objects, scope, key: utf8(name) }, (): Change<void> => ({ kind: 'erase', result: undefined })) }
    for (let i = 0; i < 600; i++) { await put(node, String(i).padStart(3, '0')); await erase(String(i).padStart(3, '0')) }
    node.asked.length = 0
    expect(names(await list(node, { limit: 1 }))).toEqual([])
    expect(node.asked.flatMap(({ to, request }) => request.kind === 'list' && to === node.asked[0]?.to ? [request.limit] : [])).toEqual([2, 5, 17, 65, 257, 1001])
    await put(node, '590')
    expect(names(await list(node, { limit: 1 }))).toEqual(['590'])
  })

  test('goes on for as long as it comes through names of which nothing is there, and ends when its time is up once more', async () => {
    const time = new VirtualTime()
    const all = new Map<PeerId, TableNode>()
    let isSilent = false
    const { nodes } = tableNodes(3, {
      options: () => ({ clock: time.clock() }),
      peersOf: (self) => ({
        reachable: () => new Set(all.keys()),
        ask: async (to, request, { signal }) => {
          if (request.kind === 'list') await time.clock().sleep(isSilent ? registerTiming.operationMs * 2 : 1000, { signal })
          return (all.get(to) as TableNode).replica.answer(self, request)
        },
      }),
    })
    for (const node of nodes) all.set(node.self, node)
    const node = nodeOf(nodes, 0)
    const until = async <T>(work: Promise<T>): Promise<T> => {
      let isOver = false
      work.then(() => { isOver = true }, () => { isOver = true })
      await time.run(() => isOver)
      return work
    }
    for (let i = 0; i < 600; i++) {
      const name = String(i).padStart(3, '0')
      await put(node, name)
      if (i < 599) await node.registers.change({ table: tables.objects, scope, key: utf8(name) }, (): Change<void> => ({ kind: 'erase', result: undefined }))
    }
    expect(names(await until(list(node, { limit: 1 })))).toEqual(['599'])
    expect(time.nowMs).toBeGreaterThan(registerTiming.operationMs)
    isSilent = true
    await expect(until(list(node, { limit: 1 }))).rejects.toThrow(Unavailable)
  })

  test('under or behind what is longer than any name asks others no more than they take', async () => {
    const { nodes } = tableNodes(3)
    const node = nodeOf(nodes, 0)
    for (const name of ['a', 'b']) await put(node, name)
    node.asked.length = 0
    const long = 'a'.repeat(rowLimits.maxKeyBytes + 1)
    expect(names(await list(node, { prefix: long }))).toEqual([])
    expect(names(await list(node, { prefix: long, delimiter: 'a' }))).toEqual([])
    expect(names(await list(node, { after: utf8(long) }))).toEqual(['b'])
    for (const { request } of node.asked) expect(decodeRequest(encodeRequest(request))).toEqual(request)
  })

  test('shows a write that a minority missed', async () => {
    const { nodes, dead } = tableNodes(3)
    dead.add(nodeOf(nodes, 2).self)
    await put(nodeOf(nodes, 0), 'x')
    dead.clear()
    for (const node of nodes) expect(names(await list(node))).toEqual(['x'])
  })

  test('does not show what was erased', async () => {
    const { nodes } = tableNodes(3)
    await put(nodeOf(nodes, 0), 'x')
    await nodeOf(nodes, 1).registers.change({ table: tables.objects, scope, key: utf8('x') }, () => ({ kind: 'erase', result: undefined }))
    expect(names(await list(nodeOf(nodes, 2)))).toEqual([])
  })

  test('needs a majority, and a limit that makes sense', async () => {
    const { nodes, dead } = tableNodes(3)
    await expect(list(nodeOf(nodes, 0), { limit: 0 })).rejects.toThrow(InvalidInput)
    await expect(list(nodeOf(nodes, 0), { limit: 1001 })).rejects.toThrow(InvalidInput)
    dead.add(nodeOf(nodes, 1).self).add(nodeOf(nodes, 2).self)
    await expect(list(nodeOf(nodes, 0))).rejects.toThrow(Unavailable)
  })

  test('is unavailable, and no error of its own, when its time is up', async () => {
    const { nodes, stopped } = tableNodes(3, { options: () => ({ timing: { operationMs: 50, askMs: 10_000 } }) })
    stopped.add(nodeOf(nodes, 1).self).add(nodeOf(nodes, 2).self)
    await expect(list(nodeOf(nodes, 0))).rejects.toThrow(Unavailable)
    // a caller who gives up hears why itself
    await expect(nodeOf(nodes, 0).registers.list({ table: tables.objects, scope: new Uint8Array(16), prefix: new Uint8Array(0), limit: 10 }, { signal: AbortSignal.abort(new Error('enough')) })).rejects.toThrow('enough')
  })
})
