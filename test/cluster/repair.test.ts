import { readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { until } from '../../scripts/local-cluster.ts'
import type { NodeStatus, RepairReport } from '../../src/node.ts'
import { noiseBytes } from '../support/file-world.ts'
import { digestOfBytes, eachOf, filesIn, realCluster, type RealCluster } from '../support/real-cluster.ts'

let real: RealCluster
const expected = new Map<string, string>()
const victim = 2
const mib = 1024 * 1024

/** Files of large blocks, and how many blocks there are in all. */
const largeAt = async (index: number): Promise<string[]> => filesIn(join(real.node(index).data, 'blocks', 'large'))
async function status (index: number): Promise<NodeStatus> {
  const { client } = await real.via(index)
  try { return await client.json<NodeStatus>('GET', '/v1/status') } finally { client.close() }
}
const repairOf = async (index: number, action: 'status' | 'now' | 'pause' | 'resume'): Promise<RepairReport | undefined> => (await real.node(index).json<RepairReport>(['repair', action]))[0]

async function expectAll (index: number): Promise<void> {
  const node = await real.via(index)
  for (const [key, digest] of expected) expect(await node.digest(key), `${key} through node ${index + 1}`).toBe(digest)
}

beforeAll(async () => {
  real = await realCluster(3, { copies: 3 })
  const node = await real.via(0)
  await eachOf([3 * mib, 2 * mib, 20_000, 6000, 100], 3, async (size) => {
    const content = noiseBytes(size, size)
    await node.put(`of-${size}`, content)
    expected.set(`of-${size}`, digestOfBytes(content))
  })
  await until('every node has every block', 15_000, async () => (await Promise.all([0, 1, 2].map(status))).every(({ blocks }) => blocks.bytes >= 5 * mib + 26_000))
}, 120_000)
afterAll(async () => { await real?.[Symbol.asyncDispose]() })

describe('redundancy returns by itself', () => {
  test('a node that lost all its blocks has them again, from the others', async () => {
    const [large, { blocks: { count, bytes } }] = [await largeAt(victim), await status(victim)]
    expect(large.length).toBeGreaterThanOrEqual(4)
    expect((await real.node(0).run(['status'])).code).toBe(0)
    await real.node(victim).stop('SIGTERM')
    await until('dfs status ends with a code of its own', 15_000, async () => (await real.node(0).run(['status'])).code === 11)
    expect(await real.node(0).run(['status', '--json'])).toMatchObject({ stdout: expect.stringContaining('1 of 3 members do not answer') as string, stderr: expect.stringContaining('"code":"degraded","exit":11') as string })
    await repairOf(0, 'pause')
    await repairOf(1, 'pause')
    await rm(join(real.node(victim).data, 'blocks'), { recursive: true })
    await real.node(victim).start()
    await real.cluster.connected()
    expect((await status(victim)).blocks.count).toBe(0)
    expect((await status(0)).health).toContainEqual(expect.stringMatching(/repair is paused/))
    // who brings a block is the first in its placement that has it
    for (const index of [0, 1]) { await repairOf(index, 'resume'); await repairOf(index, 'now') }
    await until('the blocks are back', 15_000, async () => (await status(victim)).blocks.count === count)
    expect((await status(victim)).blocks.bytes).toBe(bytes)
    expect(await largeAt(victim)).toEqual(large)
    const totals = (await Promise.all([0, 1].map(async (index) => repairOf(index, 'status')))).map((repair) => repair?.total)
    expect(totals.reduce((sum, total) => sum + (total?.broughtBlocks ?? 0), 0)).toBe(count)
    expect(totals.map((total) => total?.failures)).toEqual([0, 0])
    for (const index of [0, victim]) {
      await repairOf(index, 'now')
      await until('nothing is at risk', 10_000, async () => { const repair = await repairOf(index, 'status'); return repair?.phase === 'waiting' && repair.found?.shortBlocks === 0 })
    }
    await until('every node has told, and none knows of anything at risk', 30_000, async () => { const { atRisk, isDegraded } = await status(0); return atRisk.objects === 0 && atRisk.silent.length === 0 && !isDegraded })
    expect((await status(0)).health.join()).not.toContain('at risk')
    expect((await real.node(0).run(['status'])).code).toBe(0)
    await expectAll(victim)
  }, 60_000)

  test('a flipped bit in a block gives right bytes, and is set aside, and the block is there again', async () => {
    // each has looked at everything, so nobody will for a while: it is the read that has it repaired
    const [large, { total: { fetchedBlocks } }] = [await largeAt(victim), await repairOf(victim, 'status') as RepairReport]
    const path = join(real.node(victim).data, 'blocks', 'large', large[0] ?? '')
    const bytes = await readFile(path)
    const rotten = Uint8Array.from(bytes)
    rotten[5000] = (rotten[5000] ?? 0) ^ 4
    await writeFile(path, rotten)
    await expectAll(victim)
    await until('the block is there again', 10_000, async () => (await largeAt(victim)).includes(large[0] ?? ''))
    expect(Buffer.compare(await readFile(path), bytes)).toBe(0)
    expect((await status(victim)).blocks.corrupt).toBe(1)
    expect(await filesIn(join(real.node(victim).data, 'blocks', 'corrupt'))).toHaveLength(1)
    expect((await repairOf(victim, 'status'))?.total).toMatchObject({ fetchedBlocks: fetchedBlocks + 1 })
  }, 30_000)

  test('blocks leave a node that is drained, once those whose they are have them, and come to one that has joined', async () => {
    const { blocks: { count } } = await status(victim)
    const settledWith = async (members: number, through: readonly number[]): Promise<void> => until(`a settled layout of ${members}`, 30_000, async () =>
      (await Promise.all(through.map(status))).every(({ layout }) => layout.state === 'settled' && layout.members === members))
    await real.cluster.add()
    await settledWith(4, [0, 1, 2, 3])
    await real.node(0).json(['node', 'drain', real.node(victim).ready?.peerId ?? ''])
    await settledWith(3, [0, 1, 2, 3])
    await until('the drained node has no blocks', 20_000, async () => {
      for (const index of [0, 1, victim, 3]) if ((await status(index)).repair?.phase === 'waiting') await repairOf(index, 'now')
      return (await status(victim)).blocks.count === 0
    })
    expect((await repairOf(victim, 'status'))?.total.releasedBlocks).toBe(count)
    for (const index of [0, 1, 3]) expect((await status(index)).blocks.count, `blocks of node ${index + 1}`).toBe(count)
    for (const index of [victim, 3]) await expectAll(index)
  }, 90_000)
})
