import { describe, expect, test } from 'vitest'
import { cidOf } from '../../src/base/cid.ts'
import { giveBack } from '../../src/base/lease.ts'
import { blockNodes } from '../support/replication-nodes.ts'
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
