import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { until } from '../../scripts/local-cluster.ts'
import type { ClusterConversion, ConvertReport, NodeStatus } from '../../src/node.ts'
import type { ObjectInfo } from '../../src/objects/index.ts'
import { objectPath } from '../../src/client/index.ts'
import { noiseBytes } from '../support/file-world.ts'
import { bucketName, digestOfBytes, eachOf, filesIn, realCluster, type RealCluster } from '../support/real-cluster.ts'

let real: RealCluster
const [mib, all] = [1024 ** 2, [0, 1, 2]]
const sizes = [100, 100_000, 300_000, 4 * mib, 9 * mib]
const expected = new Map<string, { readonly digest: string, readonly info: ObjectInfo }>()
let totalBytes = 0

const bytesAt = async (index: number): Promise<number> => {
  const { client } = await real.via(index)
  try { return (await client.json<NodeStatus>('GET', '/v1/status')).blocks.bytes } finally { client.close() }
}
const bytesEverywhere = async (): Promise<number> => (await Promise.all(all.map(bytesAt))).reduce((sum, bytes) => sum + bytes)
const shardFiles = async (index: number): Promise<string[]> => (await filesIn(join(real.node(index).data, 'blocks', 'large'))).filter((path) => path.includes('.'))
const conversion = async (index: number): Promise<ConvertReport & { readonly cluster: ClusterConversion }> => (await real.node(index).json<ConvertReport & { readonly cluster: ClusterConversion }>(['convert', 'status']))[0] as never
const isDone = async (): Promise<boolean> => (await Promise.all(all.map(conversion))).every(({ cluster }) => cluster.isDone)

/** Everything is what it was, to its etag and version id. */
async function readAll (index: number): Promise<void> {
  const via = await real.via(index)
  await eachOf(expected, 4, async ([key, { digest, info }]) => {
    expect(await via.digest(key), key).toBe(digest)
    const { etag, versionId } = (await via.client.json<{ objects: ObjectInfo[] }>('GET', `${objectPath(bucketName)}?prefix=${encodeURIComponent(key)}`)).objects[0] as ObjectInfo
    expect([etag, versionId]).toEqual([info.etag, info.versionId])
  })
  via.client.close()
}

beforeAll(async () => {
  real = await realCluster(3, { copies: 3, options: () => ['--collect-after', '2s', '--cache', '0'] })
  const via = await real.via(0)
  await eachOf(Array.from({ length: 25 }, (_, i) => i), 4, async (i) => {
    const content = noiseBytes(sizes[i % sizes.length] ?? 0, i + 1)
    expected.set(`object/${String(i).padStart(2, '0')}`, { digest: digestOfBytes(content), info: await via.put(`object/${String(i).padStart(2, '0')}`, content) })
    totalBytes += content.byteLength
  })
  await until('every node has every block', 60_000, async () => await bytesEverywhere() >= 3 * totalBytes)
}, 180_000)
afterAll(async () => { await real?.[Symbol.asyncDispose]() })

describe('a bucket whose redundancy is changed', () => {
  test('is converted though nodes are killed in the middle; objects stay what they are, survive the loss of any node, and take the space that the new redundancy asks', { timeout: 300_000 }, async () => {
    expect((await real.node(0).run(['bucket', 'set', bucketName, '--redundancy', 'rs:2+1'])).code).toBe(0)
    expect(await isDone()).toBe(false)
    for (const victim of [1, 2]) {
      await until('some shards are written', 60_000, async () => (await shardFiles(0)).length >= 3 * victim)
      await real.node(victim).stop('SIGKILL')
      await real.node(victim).start()
      await real.cluster.connected()
    }
    await readAll(1)
    await until('all is converted', 180_000, isDone)
    await until('the copies are collected', 90_000, async () => await bytesEverywhere() < 1.6 * totalBytes)
    for (const index of all) {
      await real.node(index).stop('SIGKILL')
      await readAll((index + 1) % 3)
      await real.node(index).start()
      await real.cluster.connected()
    }
  })

  test('and back to whole copies, of which each shard is collected', { timeout: 300_000 }, async () => {
    await until('all is well after the restarts', 90_000, isDone)
    await real.node(2).run(['bucket', 'set', bucketName, '--redundancy', 'rf:2'])
    await until('all is converted', 180_000, isDone)
    await until('the shards are collected', 180_000, async () => (await Promise.all(all.map(shardFiles))).flat().length === 0)
    for (const index of all) await readAll(index)
    await until('nothing is short, and nobody is missed', 90_000, async () => {
      const { client } = await real.via(0)
      try { return (await client.json<NodeStatus>('GET', '/v1/status')).health.length === 0 } finally { client.close() }
    })
  })
})
