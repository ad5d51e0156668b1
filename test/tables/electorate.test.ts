import { describe, expect, test } from 'vitest'
import { utf8 } from '../../src/base/bytes.ts'
import { hash } from '../../src/base/hash.ts'
import { type PeerId, peerIdOf } from '../../src/base/peer-id.ts'
import { electorsOf, enoughOthers, isMajority, leastMajority, mayMiss, votersBy } from '../../src/tables/electorate.ts'
import { Generations } from '../../src/tables/generations.ts'
import { tables } from '../../src/tables/index.ts'
import { Tally } from '../../src/tables/round.ts'
import { tableNodes } from '../support/table-nodes.ts'
import { plainCodec } from '../support/table-plain-codec.ts'

const [a, b, c, d, e] = [0, 1, 2, 3, 4].map((i) => peerIdOf(hash(Uint8Array.of(i)))) as [PeerId, PeerId, PeerId, PeerId, PeerId]
const changing = { version: 2n, groups: [[a, b, c], [c, d, e]] }
const decides = (...peers: PeerId[]): boolean => isMajority(changing, (peer) => peers.includes(peer))
const tallied = (...yes: PeerId[]): Tally => {
  const tally = new Tally(changing, new Set([a, b, c, d, e]))
  for (const peer of yes) tally.yes.add(peer)
  return tally
}

describe('of what was decided before', () => {
  const [f, g] = [5, 6].map((i) => peerIdOf(hash(Uint8Array.of(i)))) as [PeerId, PeerId]
  test.each([
    ['of five three stay', [a, b, c, d, e], [a, b, c], true],
    ['of five one stays, with two others', [a, b, c, d, e], [a, f, g], false],
    ['of five three stay, with two others', [a, b, c, d, e], [a, b, c, f, g], false],
    ['of three two stay', [a, b, c], [a, b], false],
    ['of three one stays', [a, b, c], [a], true],
    ['of two one stays: the other may be the only one to know what two of three decided', [a, b], [a], true],
    ['of four three stay', [a, b, c, d], [a, b, c], true],
    ['of five four stay', [a, b, c, d, e], [a, b, c, d], false],
    ['nobody leaves', [a, b, c], [a, b, c], false],
    ['others come', [a, b, c], [a, b, c, d, e], false],
  ] as const)('a majority may know nothing, or not: %s', (_, before, next, isSo) => { expect(mayMiss(before, next)).toBe(isSo) })

  test('one that has forgotten hears of everything from so many others', () => { expect([2, 3, 4, 5, 6, 7].map(enoughOthers)).toEqual([1, 2, 3, 3, 4, 4]) })
})

describe('an electorate of two groups', () => {
  test('decides by a majority of each, never by a majority of all', () => {
    expect([decides(a, b), decides(a, b, c), decides(b, c, d), decides(c, d, e), decides(a, b, d, e)]).toEqual([false, false, true, false, true])
  })
  test('names each elector once', () => { expect(electorsOf(changing)).toEqual([a, b, c, d, e]) })
  test('asks as few as can decide, the nearest first', () => {
    expect(leastMajority(changing, [a, b, c, d, e])).toEqual([a, b, c, d])
    expect(leastMajority(changing, [c, a, d, b, e])).toEqual([c, a, d])
    expect(leastMajority({ version: 1n, groups: [[a, b, c]] }, [c, b, a])).toEqual([c, b])
  })
  test('is nobody where a group is empty', () => {
    expect(isMajority({ version: 1n, groups: [] }, () => true)).toBe(false)
    expect(isMajority({ version: 1n, groups: [[a], []] }, () => true)).toBe(false)
  })
  test('is tallied group by group: won, stuck, a dead end', () => {
    expect([tallied(a, b).isWon, tallied(a, c, d).isWon]).toEqual([false, true])
    const lost = tallied(a, b, c)
    lost.failed.add(d)
    expect(lost.isStuck).toBe(false)
    lost.failed.add(e)
    expect([lost.isStuck, lost.isDeadEnd]).toEqual([true, true])
    expect(new Tally(changing, new Set([a, b, c])).canWin).toBe(false)
  })
})

test('voters are those of the layout of this moment, and an electorate taken before keeps its version', () => {
  let version = 1n
  const voters = votersBy({ version: () => version, groupsOf: () => version === 1n ? [[a, b, c]] : [[a, b, c], [c, d, e]] })
  const before = voters.electorate(5)
  version = 2n
  expect(before).toEqual({ version: 1n, groups: [[a, b, c]] })
  expect(voters.electorate(5)).toEqual(changing)
  expect(voters.ofPartition(5)).toEqual([a, b, c, d, e])
})

test('what is answered under a later version waits for what was begun under an earlier one, and not the other way round', async () => {
  const generations = new Generations()
  const order: string[] = []
  const { promise, resolve } = Promise.withResolvers<void>()
  const old = generations.run(1n, async () => { await promise; order.push('old') })
  const fresh = generations.run(2n, async () => { order.push('new') })
  await generations.run(1n, async () => { order.push('old too') })
  resolve()
  await Promise.all([old, fresh])
  expect(order).toEqual(['old too', 'old', 'new'])
})

test('a round is won by the electorate that it began with: a layout adopted between prepare and accept has it begin again', async () => {
  let version = 1n
  const { nodes } = tableNodes(5, { version: () => version, groupsAmong: (peers) => version === 1n ? [peers.slice(0, 3)] : [peers.slice(0, 3), peers.slice(2)] })
  const address = { table: tables.objects, scope: new Uint8Array(16), key: utf8('k') }
  await nodes[0]?.registers.change(address, () => {
    // what a majority of the old ones has promised is known, and nothing accepted yet
    version = 2n
    return { kind: 'write', value: utf8('x'), result: undefined }
  })
  const held = await Promise.all(nodes.map(async ({ store }) => (await store.get(address.table, plainCodec.rowKeyOf(address)))?.accepted !== undefined))
  expect(held.slice(0, 3).filter(Boolean).length).toBeGreaterThanOrEqual(2)
  expect(held.slice(2).filter(Boolean).length).toBeGreaterThanOrEqual(2)
})
