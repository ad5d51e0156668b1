import { describe, expect, test } from 'vitest'
import { utf8 } from '../../src/base/bytes.ts'
import { hash } from '../../src/base/hash.ts'
import type { PeerId } from '../../src/base/peer-id.ts'
import { erasureCode } from '../../src/erasure/index.ts'
import { presenceLimits, type Reference } from '../../src/replication/index.ts'
import { type BlockNode, type BlockNodes, blockNodes, blockOf, referenceTo } from '../support/replication-nodes.ts'

// loads the kernel: what comes from a file comes under no clock of tests
await erasureCode({ k: 1, m: 1 })

const [first, second, unknown] = [blockOf('a block'), blockOf('another'), blockOf('never put')]
const other = (redundancy: Reference['redundancy']): Reference => ({ versionId: hash(utf8('a copy')), redundancy })

async function put (world: BlockNodes, reference: Reference): Promise<void> {
  const { engine } = world.nodes[0] as BlockNode
  for (const { cid, bytes } of [first, second]) await world.until(engine.writer(reference).put(cid, bytes))
  await world.until(engine.settled())
}

const adopted = async (world: BlockNodes, redundancy: Reference['redundancy'], options: { isDegradedAllowed?: boolean, isAllNeeded?: boolean } = {}) =>
  world.until((world.nodes[0] as BlockNode).engine.writer(other(redundancy), options).adopt([first.cid, second.cid, unknown.cid]))

async function referencesAt (node: BlockNode | undefined): Promise<number> {
  let count = 0
  if (node !== undefined) for await (const _ of node.holder.references(first.cid)) count++
  return count
}

describe('blocks that are there', () => {
  test('become another version\'s too, at every holder, and no bytes move', async () => {
    const world = await blockNodes(3)
    await put(world, referenceTo(3))
    expect(await adopted(world, { k: 1, m: 2 })).toEqual(new Set([first.cid, second.cid]))
    for (const node of world.nodes) expect(await referencesAt(node)).toBe(2)
    expect(world.holdersOf(unknown.cid)).toEqual([])
  })

  test('count when a write quorum of the holders keeps them: with one of three dead, and not with two', async () => {
    const world = await blockNodes(3)
    await put(world, referenceTo(3))
    world.network.kill((world.nodes[2] as BlockNode).self)
    expect(await adopted(world, { k: 1, m: 2 })).toEqual(new Set([first.cid, second.cid]))
    expect(await adopted(world, { k: 1, m: 2 }, { isAllNeeded: true })).toEqual(new Set())
    world.network.kill((world.nodes[1] as BlockNode).self)
    expect(await adopted(world, { k: 1, m: 2 })).toEqual(new Set())
  })

  test('of one copy are not enough for a version that wants three', async () => {
    const world = await blockNodes(3)
    await put(world, referenceTo(1))
    expect(await adopted(world, { k: 1, m: 2 })).toEqual(new Set())
    expect(await adopted(world, { k: 1, m: 0 })).toEqual(new Set([first.cid, second.cid]))
  })

  test('at others than who is to have them do not do where all are needed and who is to have them answers', async () => {
    const world = await blockNodes(4)
    const [self, ...others] = world.placed as [PeerId, ...PeerId[]]
    world.placed = others
    await put(world, referenceTo(3))
    world.placed = [self, ...others]
    expect(await adopted(world, { k: 1, m: 1 })).toEqual(new Set([first.cid, second.cid]))
    expect(await adopted(world, { k: 1, m: 1 }, { isAllNeeded: true })).toEqual(new Set())
    // whoever is away gets them when it is back
    world.placed = [...others, self]
    world.network.kill(others[0] as PeerId)
    expect(await adopted(world, { k: 1, m: 1 }, { isAllNeeded: true })).toEqual(new Set([first.cid, second.cid]))
  })

  test('of two holders one is enough where that may acknowledge alone', async () => {
    const world = await blockNodes(2)
    await put(world, referenceTo(2))
    world.network.kill((world.nodes[1] as BlockNode).self)
    expect(await adopted(world, { k: 1, m: 1 })).toEqual(new Set())
    expect(await adopted(world, { k: 1, m: 1 }, { isDegradedAllowed: true })).toEqual(new Set([first.cid, second.cid]))
  })

  test('as shards count by which they are', async () => {
    const world = await blockNodes(6)
    await put(world, other({ k: 4, m: 2 }))
    expect(await adopted(world, { k: 4, m: 2 })).toEqual(new Set([first.cid, second.cid]))
    expect(await adopted(world, { k: 3, m: 2 })).toEqual(new Set())
    for (const node of world.nodes.slice(4)) world.network.kill(node.self)
    expect(await adopted(world, { k: 4, m: 2 })).toEqual(new Set())
  })

  test('as shards count once for each holder: what one node has two of goes with it', async () => {
    const world = await blockNodes(4)
    const [a, b, c, d] = world.placed as [PeerId, PeerId, PeerId, PeerId]
    for (const [at, places] of [[a, b, c], [d, c, b]].entries()) {
      world.placed = places
      await put(world, { versionId: hash(utf8(`version ${at}`)), redundancy: { k: 2, m: 1 } })
    }
    world.placed = [a, b, c]
    world.network.kill(c)
    expect(await adopted(world, { k: 2, m: 1 })).toEqual(new Set())
    world.placed = [a, b, d]
    expect(await adopted(world, { k: 2, m: 1 })).toEqual(new Set())
  })

  test.each([{ k: 1, m: 0 }, { k: 2, m: 1 }])('do not do at a holder that the layout left out meanwhile, which may have been told to be switched off: $k+$m', async (redundancy) => {
    const world = await blockNodes(4)
    const [, ...others] = world.placed as [PeerId, ...PeerId[]]
    world.placed = others
    await put(world, other(redundancy))
    expect(await adopted(world, redundancy)).toEqual(new Set([first.cid, second.cid]))
    const { holder } = world.nodes[1] as BlockNode
    const keep = holder.keep.bind(holder)
    // its answer is on the way
    holder.keep = async (...args) => { const outcome = await keep(...args); world.placed = others.slice(1); return outcome }
    expect(await adopted(world, redundancy)).toEqual(new Set())
  })

  test('are told of in bounded numbers', async () => {
    const world = await blockNodes(1)
    const { engine } = world.nodes[0] as BlockNode
    await expect(engine.writer(referenceTo(1)).adopt(Array.from({ length: presenceLimits.maxTold + 1 }, () => first.cid))).rejects.toThrow(RangeError)
  })
})
