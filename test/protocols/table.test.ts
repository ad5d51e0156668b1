import { describe, expect, test } from 'vitest'
import { textOf, utf8 } from '../../src/base/bytes.ts'
import { Unavailable } from '../../src/base/errors.ts'
import { RequestRefused } from '../../src/network/index.ts'
import { serveTables, tablePeers, tableProtocol } from '../../src/protocols/table.ts'
import { type RowAddress, tables } from '../../src/tables/index.ts'
import { memoryNetwork } from '../support/memory-requests.ts'
import { type TableNode, type TableNodes, tableNodes } from '../support/table-nodes.ts'

const address: RowAddress = { table: tables.objects, scope: new Uint8Array(16), key: utf8('k') }

async function networked (count: number): Promise<TableNodes & { network: ReturnType<typeof memoryNetwork> }> {
  const network = memoryNetwork()
  const peers = new Set<TableNode['self']>()
  const all = tableNodes(count, { peersOf: (self) => tablePeers(network.of(self), () => peers) })
  for (const { self, replica } of all.nodes) { peers.add(self); await serveTables(network.of(self), replica) }
  return { ...all, network }
}

describe('the table protocol', () => {
  test('carries changes, reads and listings between nodes', async () => {
    const { nodes } = await networked(3)
    const [a, b] = nodes as [TableNode, TableNode]
    await a.registers.change(address, () => ({ kind: 'write', value: utf8('k'), result: undefined }))
    const value = await b.registers.read(address)
    expect(value === undefined ? undefined : textOf(value)).toBe('k')
    const { entries } = await b.registers.list({ table: tables.objects, scope: new Uint8Array(16), prefix: utf8(''), limit: 10 })
    expect(entries.map(({ name }) => textOf(name))).toEqual(['k'])
  })

  test('goes on while a minority is dead, and stops with the majority', async () => {
    const { nodes, network } = await networked(3)
    const [a, b, c] = nodes as [TableNode, TableNode, TableNode]
    network.kill(c.self)
    await a.registers.change(address, () => ({ kind: 'write', value: utf8('k'), result: undefined }))
    network.kill(b.self)
    await expect(a.registers.read(address)).rejects.toThrow(Unavailable)
  })

  test('finds its own change when the answers to it got lost', async () => {
    const { nodes, network } = await networked(3)
    const [a, b, c] = nodes as [TableNode, TableNode, TableNode]
    let shown = 0
    const count = await a.registers.change(address, () => {
      // the accepts that follow arrive; what they say does not
      if (shown++ === 0) { network.loseAnswers(a.self, b.self, 1); network.loseAnswers(a.self, c.self, 1) }
      return { kind: 'write', value: utf8(String(shown)), result: shown }
    })
    expect(count).toBe(1)
    const value = await b.registers.read(address)
    expect(value === undefined ? undefined : textOf(value)).toBe('1')
  })

  test('refuses bytes that are no question', async () => {
    const { nodes, network } = await networked(2)
    const [a, b] = nodes as [TableNode, TableNode]
    await expect(network.of(a.self).request(b.self, tableProtocol, [utf8('hello')], { timeoutMs: 1000, maxAnswerBytes: 1000 })).rejects.toThrow(RequestRefused)
  })
})
