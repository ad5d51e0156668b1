import { expect, test } from 'vitest'
import { partitionCount, partitionOf } from '../../src/base/bytes.ts'
import { cidOf, digestOf } from '../../src/base/cid.ts'
import { systemClock } from '../../src/base/clock.ts'
import { seededRandom } from '../../src/base/random.ts'
import { openDiskBlocks } from '../../src/blockstore/disk-blocks.ts'
import { heldByPartition } from '../../src/blockstore/held-bytes.ts'
import { memoryFiles } from '../../src/disk/memory-files.ts'
import { memoryKeyValue } from '../../src/disk/memory-key-value.ts'

test('what lies here is counted by partition, small blocks and large ones', async () => {
  const index = memoryKeyValue()
  const blocks = await openDiskBlocks({ files: memoryFiles(), index, quotaBytes: undefined, reserveBytes: 0, onCorrupt: () => {} })
  const random = seededRandom(5)
  const expected = new Map<number, number>()
  for (let i = 0; i < 200; i++) {
    const block = random.bytes(i % 4 === 0 ? 40_000 : 100 + i)
    await blocks.put(cidOf(block), block)
    const partition = partitionOf(digestOf(cidOf(block)))
    expected.set(partition, (expected.get(partition) ?? 0) + block.byteLength)
  }
  const held = await heldByPartition(index, { clock: systemClock, maxMs: 60_000 })
  expect(held.size).toBe(partitionCount)
  for (const [partition, { copies, shards }] of held) expect({ partition, copies, shards }).toEqual({ partition, copies: expected.get(partition) ?? 0, shards: 0 })
  expect([...held.values()].reduce((sum, { copies }) => sum + copies, 0)).toBe(blocks.stats().bytes)
})

test('what there is no time for is left out, and nothing else', async () => {
  let nowMs = 0
  const clock = { ...systemClock, monotonicMs: () => nowMs++ }
  const held = await heldByPartition(memoryKeyValue(), { clock, maxMs: 10 })
  expect(held.size).toBeGreaterThan(0)
  expect(held.size).toBeLessThan(partitionCount / 2)
})
