import { expect, test } from 'vitest'
import { changed, changing, closing, type Layout, openLayout, settled } from '../../../src/cluster/index.ts'
import { memoryFiles } from '../../../src/disk/memory-files.ts'
import type { ChangeProgress } from '../../../src/node.ts'
import { LeftOut, leftOutTask } from '../../../src/node/work/left-out.ts'
import type { Holdings } from '../../../src/protocols/holdings.ts'
import type { PeerId } from '../../../src/base/peer-id.ts'
import { VirtualTime } from '../../simulation/virtual-time.ts'
import type { Bucket } from '../../../src/objects/index.ts'
import { layoutMember, peerNamed } from '../../support/cluster-identities.ts'

const members = (...names: readonly string[]) => names.map((name) => layoutMember(name))
const of4 = settled(closing(openLayout(layoutMember('a'))), members('a', 'b', 'c', 'd'))
const without = (layout: Layout, ...names: readonly string[]): Layout => changing(layout, layout.members.filter(({ peerId }) => !names.map(peerNamed).includes(peerId)))
const bucket = (copies: number, more: Partial<Bucket> = {}) => ({ name: 'b', copies, ...more }) as Bucket
const look = (isWhole: boolean, ...empty: readonly string[]): Pick<ChangeProgress, 'nodes' | 'isWhole'> =>
  ({ isWhole, nodes: empty.map((name) => ({ peerId: peerNamed(name), isAnswering: true, isInLayout: false, hasLooked: true, misplacedBytes: 0, mayBeSwitchedOff: true })) as unknown as ChangeProgress['nodes'] })

/** Who was left out of a layout of four, one by one or at once. */
async function leftOutOf (...names: readonly string[]): Promise<{ leftOut: LeftOut, files: ReturnType<typeof memoryFiles>, layout: Layout }> {
  const files = memoryFiles()
  const leftOut = await LeftOut.open(files)
  const next = without(of4, ...names)
  await leftOut.note(of4, next)
  expect(leftOut.peers).toEqual([])
  await leftOut.note(next, changed(next))
  return { leftOut, files, layout: changed(next) }
}

test('who held blocks and does no more is known when the layout has left it behind, over a restart too', async () => {
  const { leftOut, files } = await leftOutOf('d')
  expect(leftOut.peers).toEqual([peerNamed('d')])
  expect((await LeftOut.open(files)).peers).toEqual([peerNamed('d')])
})

test('a node that missed the change learns of it by the layout that it takes next', async () => {
  const leftOut = await LeftOut.open(memoryFiles())
  await leftOut.note(of4, changed(without(of4, 'c', 'd')))
  expect(leftOut.peers.toSorted()).toEqual(['c', 'd'].map(peerNamed).toSorted())
})

test('is forgotten when it is to hold again, and when it says that nothing lies on it any more', async () => {
  const back = await leftOutOf('d')
  await back.leftOut.note(back.layout, changing(back.layout, members('a', 'b', 'c', 'd')))
  expect(back.leftOut.peers).toEqual([])
  const drained = await leftOutOf('d')
  await drained.leftOut.looked(look(false, 'd'), [bucket(1)])
  expect(drained.leftOut.peers).toEqual([])
})

test('is asked itself every second while it answers, so that one that is drained and removed at once is not told by those who did not watch', async () => {
  const { leftOut } = await leftOutOf('c', 'd')
  const time = new VirtualTime()
  const asked: PeerId[] = []
  const told = { surveyedVersion: 4n, holdsBlocks: true, misplacedBytes: 1 } as Holdings
  const holdings = new Map<PeerId, Holdings>([[peerNamed('d'), told]])
  const layout = { state: 'settled', version: 5n } as Layout
  const task = leftOutTask(leftOut, {
    clock: time.clock(), layout: () => layout, reachable: () => [peerNamed('a'), peerNamed('d')],
    ask: async (peer) => { asked.push(peer); const found = holdings.get(peer); if (found === undefined) throw new Error('silent'); return Promise.resolve(found) },
  })
  const wait = { signal: new AbortController().signal }
  const steps = async (ms: number): Promise<void> => { time.nowMs += ms; await task.step(wait); await task.step(wait) }
  await steps(5000)
  expect([asked, leftOut.peers.length]).toEqual([[peerNamed('d')], 2])
  for (const of of [{ ...told, misplacedBytes: 0 }, { ...told, surveyedVersion: 5n }, { ...told, surveyedVersion: 5n, misplacedBytes: 0, holdsBlocks: false }]) {
    holdings.set(peerNamed('d'), of)
    await steps(1001)
    expect(leftOut.peers).toHaveLength(2)
  }
  holdings.delete(peerNamed('d'))
  await steps(1001)
  holdings.set(peerNamed('d'), { ...told, surveyedVersion: 5n, misplacedBytes: 0 })
  await steps(1001)
  expect(leftOut.peers).toEqual([peerNamed('c')])
  const count = asked.length
  await steps(1001)
  expect(asked).toHaveLength(count)
})

test('who is to hold no blocks any more, and votes on, is forgotten when it has brought them away, and no sooner', async () => {
  const leftOut = await LeftOut.open(memoryFiles())
  const after = changed(changing(of4, of4.members.map((member) => member.peerId === peerNamed('d') ? { ...member, capacityBytes: 0 } : member)))
  await leftOut.note(of4, after)
  const told = { peerId: peerNamed('d'), isAnswering: true, isInLayout: true, hasLooked: true, misplacedBytes: 5, mayBeSwitchedOff: false } as ChangeProgress['nodes'][number]
  for (const node of [told, { ...told, misplacedBytes: 0, hasLooked: false }, { ...told, misplacedBytes: undefined, hasLooked: undefined, isAnswering: false }]) {
    await leftOut.looked({ isWhole: true, nodes: [node] }, [bucket(1)])
    expect(leftOut.peers).toEqual([peerNamed('d')])
  }
  await leftOut.looked({ isWhole: true, nodes: [{ ...told, misplacedBytes: 0 }] }, [bucket(1)])
  expect(leftOut.peers).toEqual([])
})

test.each([
  ['one copy', [bucket(3), bucket(1)], ['d'], ['d']],
  ['one copy, before it was set to more', [bucket(3, { original: { copies: 1 } })], ['d'], ['d']],
  ['one may acknowledge', [bucket(2, { degraded: 'allow' })], ['d'], ['d']],
  ['no bucket', [], ['d'], []],
  ['two copies', [bucket(2), bucket(3)], ['d'], []],
  ['two copies, two left out at once', [bucket(2), bucket(3)], ['c', 'd'], ['c', 'd']],
  ['three copies, two left out at once', [bucket(3)], ['c', 'd'], []],
  ['shards of which one may go', [bucket(2, { shards: '2+1' })], ['c', 'd'], ['c', 'd']],
] as const)('what it had is on others when all is whole, unless so many were all who had it: %s', async (_name, buckets, left, told) => {
  const { leftOut, files } = await leftOutOf(...left)
  for (const [isWhole, known] of [[false, buckets], [true, undefined]] as const) await leftOut.looked(look(isWhole), known)
  expect(leftOut.peers).toHaveLength(left.length)
  await leftOut.looked(look(true), buckets)
  expect(leftOut.peers.toSorted()).toEqual(told.map(peerNamed).toSorted())
  expect((await LeftOut.open(files)).peers).toEqual(leftOut.peers)
})

test('everything was looked at: those who were left out since are still told', async () => {
  const { leftOut, layout } = await leftOutOf('d')
  const told = leftOut.peers
  const next = without(layout, 'c')
  await leftOut.note(next, changed(next))
  await leftOut.verified(told)
  expect(leftOut.peers).toEqual([peerNamed('c')])
})
