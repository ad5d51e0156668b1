import { cp, readFile, rm } from 'node:fs/promises'
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

async function nodeStatus (real: RealCluster, index: number): Promise<NodeStatus> {
  const { client } = await real.via(index)
  try { return await client.json<NodeStatus>('GET', '/v1/status') } finally { client.close() }
}

/** What a node has on disk of how far its peers' row stores have come. */
async function positionsSeen (real: RealCluster, index: number): Promise<Map<string, bigint>> {
  const bytes = await readFile(join(real.node(index).data, 'positions'))
  const entries = Array.from({ length: (bytes.byteLength - 5 - 32) / 56 }, (_, i) => bytes.subarray(5 + i * 56, 5 + (i + 1) * 56))
  return new Map(entries.map((entry) => [entry.subarray(32, 48).toString('hex'), entry.readBigUInt64BE(48)]))
}

/** Reads and writes through both nodes that are up. None may be "not found", which a majority that forgot would say; nor may a new object be created. */
async function expectNoAnswer (real: RealCluster, key: string): Promise<void> {
  for (const index of [1, 2]) {
    const node = await real.via(index)
    expect(statusOf(await node.get(key).catch((error: unknown) => error)), `get through node ${index + 1}`).toBe(503)
    expect(statusOf(await node.put(key, utf8('second'), { 'if-none-match': '*' }).catch((error: unknown) => error)), `put through node ${index + 1}`).toBe(503)
  }
}

/** By a layout that changes: it takes over what the others have, and votes again. */
const votesAgain = async (real: RealCluster, index: number): Promise<void> => until('it has taken over what it forgot', 60_000, async () => {
  const { rows, layout, isReady } = await nodeStatus(real, index)
  return rows.lostPartitions === 0 && layout.state === 'settled' && isReady
})

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
    expect((await nodeStatus(real, 2)).health.join()).toContain(`the row store of ${real.node(1).ready?.peerId} was emptied`)
    await expectNoAnswer(real, 'kept')
    // the same after another start, and with the one that remembers back the object is there
    await real.node(1).stop('SIGTERM')
    await real.node(1).start()
    expect((await nodeStatus(real, 1)).rows.lostPartitions).toBe(partitionCount)
    await real.node(0).start()
    await real.cluster.connected()
    for (const index of [0, 1, 2]) expect(await (await real.via(index)).get('kept')).toEqual(utf8('acknowledged'))
    await (await real.via(1)).put('more', utf8('written'))
    // until it has taken over what the two have: then it alone can bear witness with another
    await votesAgain(real, 1)
    await real.node(0).stop('SIGKILL')
    for (const index of [1, 2]) expect(await (await real.via(index)).get('kept')).toEqual(utf8('acknowledged'))
    await (await real.via(1)).put('more', utf8('again'))
  }, 120_000)

  test('when an old copy of it was put back (it found nothing wrong with itself)', async () => {
    await using real = await realCluster(3)
    const [rows, copy] = [join(real.node(1).data, 'rows'), join(real.folder, 'copy')]
    await real.node(1).stop('SIGTERM')
    await cp(rows, copy, { recursive: true })
    await real.node(1).start()
    await real.cluster.connected()
    await acknowledgedByTwo(real, 'kept')
    // the third hears how far the second has come, by a greeting that is no more than a connection's first
    await real.node(2).start()
    await until('the two have met', 20_000, async () => (await nodeStatus(real, 1)).members.filter(({ isConnected }) => isConnected).length === 2)
    await real.node(1).stop('SIGKILL')
    await rm(rows, { recursive: true })
    await cp(copy, rows, { recursive: true })
    await real.node(1).start()
    await until('it is told', 20_000, async () => (await nodeStatus(real, 1)).rows.lostPartitions === partitionCount)
    expect(real.node(1).log).toContain('an old copy was put back')
    await expectNoAnswer(real, 'kept')
    await real.node(0).start()
    await real.cluster.connected()
    for (const index of [0, 1, 2]) expect(await (await real.via(index)).get('kept')).toEqual(utf8('acknowledged'))
  }, 120_000)

  test('when the copy is older than anything its peers saw on connecting, for they hear of its progress all the time', async () => {
    await using real = await realCluster(3)
    const [rows, copy] = [join(real.node(1).data, 'rows'), join(real.folder, 'copy')]
    await real.node(1).stop('SIGTERM')
    await real.node(1).start()
    await real.cluster.connected()
    const node = await real.via(0)
    await node.put('before', utf8('the copy'))
    // as a backup of a running node finds it
    real.node(1).freeze()
    await cp(rows, copy, { recursive: true })
    real.node(1).thaw()
    const before = await positionsSeen(real, 0)
    await until('both peers were seen to have come further', 60_000, async () => {
      await node.put('after', utf8('the copy'))
      const now = await positionsSeen(real, 0)
      return [...before].every(([id, position]) => (now.get(id) ?? 0n) > position)
    })
    await real.node(1).stop('SIGKILL')
    await rm(rows, { recursive: true })
    await cp(copy, rows, { recursive: true })
    await real.node(1).start()
    await until('it is told', 20_000, async () => (await nodeStatus(real, 1)).rows.lostPartitions === partitionCount)
  }, 120_000)
})
