import { describe, expect, test } from 'vitest'
import { LocalCluster, until } from '../../scripts/local-cluster.ts'
import { connectLocal } from '../../src/client/index.ts'
import type { NodeStatus } from '../../src/node.ts'
import { noiseBytes } from '../support/file-world.ts'
import { bucketName, digestOfBytes, type NodeObjects, objectsOf, statusOf } from '../support/real-cluster.ts'
import { canMount, smallDisk } from '../support/small-disk.ts'

const mib = 1024 ** 2

/** Puts until one is refused; gives its status. */
async function putUntilRefused (node: NodeObjects, { name, sizeBytes, acknowledged }: { name: string, sizeBytes: number, acknowledged: Map<string, string> }): Promise<number> {
  for (let i = 0; ; i++) {
    const [key, content] = [`${name}/${i}`, noiseBytes(sizeBytes, acknowledged.size)]
    try {
      await node.put(key, content)
    } catch (error) {
      return statusOf(error)
    }
    acknowledged.set(key, digestOfBytes(content))
  }
}

describe.skipIf(!await canMount())('a node whose disk is full', () => {
  test('says so, reads on, and takes puts again when there is room, without a restart and with nothing lost (its rows took none until the next start)', async () => {
    await using disk = await smallDisk(160 * mib)
    await using cluster = new LocalCluster(disk.path, { options: () => ['--reserve', '0'] })
    await cluster.grow(1)
    const client = await connectLocal(cluster.node(0).data)
    const node = objectsOf(client)
    await client.json('PUT', `/v1/buckets/${bucketName}`, { body: { copies: 1 } })
    const status = async (): Promise<NodeStatus> => client.json<NodeStatus>('GET', '/v1/status')
    const acknowledged = new Map<string, string>()
    for (let round = 0; round < 3; round++) {
      await disk.fill(4 * mib)
      expect(await putUntilRefused(node, { name: `large/${round}`, sizeBytes: mib, acknowledged })).toBe(507)
      await disk.fill(round * 20_000)
      // within a row: the journal and its index are what is full
      expect(await putUntilRefused(node, { name: `small/${round}`, sizeBytes: 4000, acknowledged })).toBeGreaterThanOrEqual(500)
      const { health, rows } = await status()
      expect(health.join()).toMatch(/full|no more free/)
      expect(rows.lostPartitions).toBe(0)
      for (const [key, digest] of acknowledged) expect(await node.digest(key), key).toBe(digest)
      await disk.free()
      await until('it says that it takes writes', 20_000, async () => (await status()).isReady)
      const content = noiseBytes(mib, 1000 + round)
      await node.put(`after/${round}`, content)
      acknowledged.set(`after/${round}`, digestOfBytes(content))
    }
    expect((await status()).rows.lostPartitions).toBe(0)
    await cluster.node(0).stop('SIGKILL')
    await cluster.node(0).start()
    const again = objectsOf(await connectLocal(cluster.node(0).data))
    for (const [key, digest] of acknowledged) expect(await again.digest(key), key).toBe(digest)
  }, 180_000)
})
