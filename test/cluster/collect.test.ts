import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { until } from '../../scripts/local-cluster.ts'
import type { CollectReport, NodeStatus } from '../../src/node.ts'
import { noiseBytes } from '../support/file-world.ts'
import { digestOfBytes, filesIn, realCluster, type RealCluster } from '../support/real-cluster.ts'

let real: RealCluster
const mib = 1024 * 1024
const all = [0, 1, 2]
const content = (seed: number): Uint8Array => noiseBytes(25 * mib, seed)

async function status (index: number): Promise<NodeStatus> {
  const { client } = await real.via(index)
  try { return await client.json<NodeStatus>('GET', '/v1/status') } finally { client.close() }
}
const bytesAt = async (index: number): Promise<number> => (await status(index)).blocks.bytes
const bytesEverywhere = async (): Promise<readonly number[]> => Promise.all(all.map(bytesAt))
const largeAt = async (index: number): Promise<string[]> => filesIn(join(real.node(index).data, 'blocks', 'large'))

beforeAll(async () => { real = await realCluster(3, { copies: 3, options: () => ['--collect-after', '1s'] }) }, 120_000)
afterAll(async () => { await real?.[Symbol.asyncDispose]() })

describe('the space of what was deleted', () => {
  test('comes back on every disk, though a node is killed in the middle; what is kept, and what shares blocks with what is gone, stays', { timeout: 300_000 }, async () => {
    const node = await real.via(0)
    for (const seed of [1, 2, 3, 4]) await node.put(`gone-${seed}`, content(seed))
    // the same blocks as of one that goes, and a part that is its own
    await node.put('kept', new Uint8Array(Buffer.concat([content(1), noiseBytes(mib, 9)])))
    await node.put('small', noiseBytes(20_000, 5))
    await until('every node has every block', 60_000, async () => (await bytesEverywhere()).every((bytes) => bytes >= 101 * mib + 20_000))
    const before = await bytesAt(0)
    expect(before).toBeGreaterThan(100 * mib)
    for (const seed of [1, 2, 3, 4]) await node.remove(`gone-${seed}`)
    await node.put('small', noiseBytes(20_000, 6))
    await until('some of it is gone', 60_000, async () => await bytesAt(1) < before)
    await real.node(2).stop('SIGKILL')
    await real.node(2).start()
    await real.cluster.connected()
    const kept = 26 * mib
    await until('all of it is gone, everywhere', 180_000, async () => (await bytesEverywhere()).every((bytes) => bytes < kept + mib))
    for (const index of all) {
      const through = await real.via(index)
      expect(await through.digest('kept')).toBe(digestOfBytes(new Uint8Array(Buffer.concat([content(1), noiseBytes(mib, 9)]))))
      expect(await through.digest('small')).toBe(digestOfBytes(noiseBytes(20_000, 6)))
      expect(await through.keys()).toEqual(['kept', 'small'])
    }
    const files = await Promise.all(all.map(largeAt))
    expect(new Set(files.map((names) => names.join())).size).toBe(1)
  })

  test('is told: what was taken away, and what waits', { timeout: 120_000 }, async () => {
    const report = async (): Promise<CollectReport | undefined> => (await real.node(0).json<CollectReport>(['collect', 'status']))[0]
    // the last of it is gone a moment before that is counted, and looked at once more
    await until('nothing waits', 60_000, async () => (await report())?.found?.condemnedBlocks === 0)
    expect((await report())?.total.collectedBytes).toBeGreaterThan(70 * mib)
    expect(await report()).toMatchObject({ collectAfterMs: 1000, found: { condemnedBlocks: 0, heldUpBlocks: 0, unreferencedBlocks: 0 } })
    const published = (await Promise.all(all.map(async (index) => (await real.node(index).json<CollectReport>(['collect', 'status']))[0]?.total.publishedDeaths ?? 0))).reduce((a, b) => a + b)
    expect(published).toBeGreaterThan(0)
    await until('nothing is short, and nobody is missed', 60_000, async () => (await status(0)).health.length === 0)
  })
})
