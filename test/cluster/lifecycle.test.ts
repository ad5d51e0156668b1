import { afterAll, beforeAll, expect, test } from 'vitest'
import { until } from '../../scripts/local-cluster.ts'
import { utf8 } from '../../src/base/bytes.ts'
import { bucketName, type RealCluster, realCluster } from '../support/real-cluster.ts'

let real: RealCluster
beforeAll(async () => { real = await realCluster(3) }, 120_000)
afterAll(async () => { await real?.[Symbol.asyncDispose]() })

// rules are gone by once an hour, and when a node begins
test('of three nodes whose founder is dead those that are left go by a rule when they have started: what is due is gone at both, and nothing else', async () => {
  const first = await real.via(1)
  for (const key of ['old/a', 'old/b', 'kept']) await first.put(key, utf8(key))
  await first.client.json('PATCH', `/v1/buckets/${bucketName}`, { body: { lifecycle: [{ id: 'r', isEnabled: true, prefix: 'old/', expireDate: '2020-01-02' }] } })
  await real.node(0).stop('SIGKILL')
  for (const index of [1, 2]) {
    await real.node(index).stop('SIGTERM')
    await real.node(index).start()
  }
  await until('what is due has gone', 40_000, async () => {
    const listed = await Promise.all([1, 2].map(async (index) => (await real.via(index)).keys().catch(() => [])))
    return listed.every((keys) => keys.length === 1)
  })
  for (const index of [1, 2]) expect(await (await real.via(index)).get('kept')).toEqual(utf8('kept'))
}, 90_000)
