import { describe, expect, test } from 'vitest'
import { cidOf } from '../../src/base/cid.ts'
import { giveBack, hold, lend } from '../../src/base/lease.ts'
import { type BlockNode, blockNodes, referenceTo } from '../support/replication-nodes.ts'
import { noiseBytes } from '../support/file-world.ts'

const bytes = noiseBytes(100_000)
const cid = cidOf(bytes)

describe('a block that was fetched', () => {
  test('is whole for each of those who asked for it together, though the others have given it back', async () => {
    const world = await blockNodes(2)
    await world.nodes[1]?.blocks.put(cid, bytes)
    const reader = world.nodes[0]?.engine.reader({ isPassing: true })
    const read = await world.until(Promise.all([1, 2, 3].map(async () => reader?.get(cid))))
    for (const block of read) {
      expect(block && cidOf(block)).toBe(cid)
      if (block !== undefined) giveBack(block)
    }
    expect(read.map((block) => block?.byteLength)).toEqual([0, 0, 0])
  })

  test('is whole for the cache, though its reader has given it back', async () => {
    const world = await blockNodes(2)
    await world.nodes[1]?.blocks.put(cid, bytes)
    const [reader] = world.nodes
    const block = await world.until(reader?.engine.reader().get(cid) ?? Promise.reject(new Error('no node')))
    giveBack(block)
    expect(await reader?.cache.get(cid)).toEqual(bytes)
  })
})

describe('a block that is put', () => {
  const putLent = async (slow: (world: Awaited<ReturnType<typeof blockNodes>>) => void): Promise<{ world: Awaited<ReturnType<typeof blockNodes>>, lent: Uint8Array }> => {
    const world = await blockNodes(3)
    slow(world)
    // this node's store in memory holds what it was given, and so does whoever lent it
    const lent = lend(bytes.slice())
    await world.until((world.nodes[0] as BlockNode).engine.writer(referenceTo(3)).put(cid, lent, {}))
    return { world, lent }
  }

  test('is there for the copies that follow behind, and is given back when all are stored', async () => {
    const { world, lent } = await putLent(({ nodes }) => { (nodes[2] as BlockNode).holder.writeMs = 400 })
    expect(cidOf(lent)).toBe(cid)
    hold(lent)
    giveBack(lent)
    await world.until((world.nodes[0] as BlockNode).engine.settled())
    expect(world.holdersOf(cid).length).toBe(3)
    giveBack(lent)
    expect(lent.byteLength).toBe(0)
  })

  test('is not given back where a copy of it failed: it may still be on its way out', async () => {
    const { world, lent } = await putLent(({ nodes, network }) => { network.kill((nodes[2] as BlockNode).self) })
    await world.until((world.nodes[0] as BlockNode).engine.settled())
    giveBack(lent)
    expect(cidOf(lent)).toBe(cid)
  })
})
