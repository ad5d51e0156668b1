import { expect, test } from 'vitest'
import { noiseBytes } from '../support/file-world.ts'
import type { NodeStatus } from '../../src/node.ts'
import { realCluster } from '../support/real-cluster.ts'
import { tried } from '../support/tried.ts'
import { type LocalNode, until } from '../../scripts/local-cluster.ts'

test('a node of a cluster in use that is removed while it runs leaves the layout by itself; what it held and decided is with the others', async ({ task }) => {
  await using real = await realCluster(4)
  const at = (index: number): LocalNode => real.node(index)
  const content = noiseBytes(3_000_000, 1)
  await (await real.via(3)).put('before', content)
  const { peerId } = at(3).ready ?? { peerId: '' }
  const { client } = await real.via(1)
  await client.json('PUT', '/v1/buckets/wide', { body: { shards: '2+2' } })
  const removed = await at(0).run(['node', 'remove', peerId])
  expect(removed.stderr + removed.stdout).toContain('of epoch 2')
  expect(removed.stderr).toContain('bucket wide (rs:2+2) needs 4 nodes that hold blocks, and 3 would be left')
  await client.json('DELETE', '/v1/buckets/wide')
  await (await real.via(1)).put('at once', content)
  const statusAt = async (index: number): Promise<NodeStatus> => (await real.via(index)).client.json<NodeStatus>('GET', '/v1/status')
  await until('the layout has left it behind', 120_000, async () => {
    const all = await Promise.all([0, 1, 2].map(statusAt))
    return all.every(({ layout }) => layout.members === 3 && layout.voters === 3)
  })
  await at(3).stop('SIGKILL')
  await at(2).stop('SIGKILL')
  for (const key of ['before', 'at once']) expect(await (await real.via(1)).get(key)).toEqual(content)
  await (await real.via(0)).put('after', content)
  tried(task, { what: 'a node removed while it runs and holds, then one more dead', times: 1, acknowledged: 3, lost: 0 })
  expect(await (await real.via(1)).keys()).toEqual(['after', 'at once', 'before'])
}, 240_000)
