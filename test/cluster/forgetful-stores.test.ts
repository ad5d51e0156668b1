import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { until } from '../../scripts/local-cluster.ts'
import { partitionCount, utf8 } from '../../src/base/bytes.ts'
import type { NodeStatus } from '../../src/node.ts'
import { realCluster, type RealCluster, statusOf } from '../support/real-cluster.ts'

/** Of three nodes the first and the second acknowledge an object; the first is gone, the third never heard of it: the second alone remembers. */
async function acknowledgedByTwo (real: RealCluster, key: string): Promise<void> {
  await real.node(2).stop('SIGKILL')
  await (await real.via(0)).put(key, utf8('acknowledged'))
  await real.node(0).stop('SIGKILL')
}

const nodeStatus = async (real: RealCluster, index: number): Promise<NodeStatus> => (await real.via(index)).client.json<NodeStatus>('GET', '/v1/status')

/** Reads and writes through both nodes that are up. None may be "not found", which a majority that forgot would say; nor may a new object be created. */
async function expectNoAnswer (real: RealCluster, key: string): Promise<void> {
  for (const index of [1, 2]) {
    const node = await real.via(index)
    expect(statusOf(await node.get(key).catch((error: unknown) => error)), `get through node ${index + 1}`).toBe(503)
    expect(statusOf(await node.put(key, utf8('second'), { 'if-none-match': '*' }).catch((error: unknown) => error)), `put through node ${index + 1}`).toBe(503)
  }
}

describe('a row store that forgot does not vote', () => {
  test('when its folder was emptied (a get was answered 404 for an object that two nodes had acknowledged)', async () => {
    await using real = await realCluster(3)
    await acknowledgedByTwo(real, 'kept')
    await real.node(1).stop('SIGTERM')
    await rm(join(real.node(1).data, 'rows'), { recursive: true })
    await Promise.all([1, 2].map(async (index) => real.node(index).start()))
    await until('the two have met', 20_000, async () => (await nodeStatus(real, 1)).members.filter(({ isConnected }) => isConnected).length === 2)
    const { rows, health } = await nodeStatus(real, 1)
    expect(rows.lostPartitions).toBe(partitionCount)
    expect(health.join()).toContain(`the memory of ${partitionCount} partitions`)
    expect(real.node(1).log).toContain('not the store that the cluster knows')
    await expectNoAnswer(real, 'kept')
    // the same after another start, and with the one that remembers back the object is there
    await real.node(1).stop('SIGTERM')
    await Promise.all([0, 1].map(async (index) => real.node(index).start()))
    await real.cluster.connected()
    expect((await nodeStatus(real, 1)).rows.lostPartitions).toBe(partitionCount)
    for (const index of [0, 1, 2]) expect(await (await real.via(index)).get('kept')).toEqual(utf8('acknowledged'))
    await (await real.via(1)).put('more', utf8('written'))
  }, 120_000)
})
