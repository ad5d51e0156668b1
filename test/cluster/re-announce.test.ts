import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { until } from '../../scripts/local-cluster.ts'
import type { AnnounceReport, CompareReport } from '../../src/node.ts'
import { noiseBytes } from '../support/file-world.ts'
import { realCluster, type RealCluster } from '../support/real-cluster.ts'

let real: RealCluster
const count = 24
const restarted = 1
beforeAll(async () => {
  real = await realCluster(3)
  const node = await real.via(0)
  for (let i = 0; i < count; i++) await node.put(`object/${i}`, noiseBytes(6000, i))
}, 180_000)
async function metricsOf (index: number): Promise<string> {
  const { client } = await real.via(index)
  const pieces: Uint8Array[] = []
  try { for await (const piece of (await client.download('/v1/metrics')).body) pieces.push(piece) } finally { client.close() }
  return Buffer.concat(pieces).toString()
}
afterAll(async () => { await real?.[Symbol.asyncDispose]() })

describe('a node that is started anew', () => {
  test('says again, by itself, what is stored, and tells how far it is', async () => {
    await real.node(restarted).stop('SIGTERM')
    await real.node(restarted).start()
    await real.cluster.connected()
    const { client } = await real.via(restarted)
    const heard = async (): Promise<number> => Number(/^dfs_announcements_heard_total (\d+)/m.exec(await metricsOf(0))?.[1])
    const before = await heard()
    // every root lies here, for there are three copies and three nodes; of the rows it looks after a third
    await until('what lies here is provided again', 90_000, async () => (await client.json<AnnounceReport>('GET', '/v1/announce')).total.providedRoots === count)
    const { total } = await client.json<AnnounceReport>('GET', '/v1/announce')
    expect(total.announcedObjects).toBeGreaterThan(0)
    expect(total.announcedObjects).toBeLessThan(count)
    await until('the others have heard of it', 60_000, async () => await heard() >= before + total.announcedObjects)
    const [status] = await real.node(restarted).json<{ announce: AnnounceReport, compare: CompareReport }>(['repair', 'status'])
    expect(status).toMatchObject({ announce: { phase: 'waiting', total: { providedRoots: count } } })
    await until('rows were compared with both others', 60_000, async () => (await client.json<CompareReport>('GET', '/v1/compare')).total.comparisons >= 2)
  }, 240_000)
})
