import { describe, expect, test } from 'vitest'
import { LocalCluster, until } from '../../scripts/local-cluster.ts'
import { connectLocal } from '../../src/client/index.ts'
import type { NodeStatus } from '../../src/node.ts'
import { noiseBytes } from '../support/file-world.ts'
import { bucketName, digestOfBytes, type NodeObjects, objectsOf, statusOf } from '../support/real-cluster.ts'
import { canFail, failingDisk } from '../support/failing-disk.ts'
import { canMount, smallDisk } from '../support/small-disk.ts'
import { tried } from '../support/tried.ts'

const mib = 1024 ** 2
/** Below that it was no filling, and no use of what was freed. */
const leastARound = 4

/** What is not read as it was put. */
async function lostOf (node: NodeObjects, acknowledged: ReadonlyMap<string, string>): Promise<string[]> {
  const lost: string[] = []
  for (const [key, digest] of acknowledged) {
    const found = await node.digest(key).catch((error: unknown) => String(error))
    if (found !== digest) lost.push(`${key}: ${found}`)
  }
  return lost
}

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
  test('says so, reads on, and takes puts again when there is room, without a restart and with nothing lost (its rows took none until the next start)', async ({ task }) => {
    await using disk = await smallDisk(160 * mib)
    await using cluster = new LocalCluster(disk.path, { options: () => ['--reserve', '0'] })
    await cluster.grow(1)
    const client = await connectLocal(cluster.node(0).data)
    const node = objectsOf(client)
    await client.json('PUT', `/v1/buckets/${bucketName}`, { body: { copies: 1 } })
    const status = async (): Promise<NodeStatus> => client.json<NodeStatus>('GET', '/v1/status')
    const acknowledged = new Map<string, string>()
    const rounds = 3
    for (let round = 0; round < rounds; round++) {
      await disk.fill(4 * mib)
      const refusedBy = await putUntilRefused(node, { name: `large/${round}`, sizeBytes: mib, acknowledged })
      expect(await lostOf(node, acknowledged)).toEqual([])
      expect(refusedBy).toBe(507)
      await disk.fill(mib / 2 + round * 50_000)
      // records of the index of blocks
      expect(await putUntilRefused(node, { name: `record/${round}`, sizeBytes: 20_000, acknowledged })).toBeGreaterThanOrEqual(500)
      await disk.fill(round * 20_000)
      // within a row: the journal and its index are what is full
      expect(await putUntilRefused(node, { name: `small/${round}`, sizeBytes: 4000, acknowledged })).toBeGreaterThanOrEqual(500)
      const { health, isReady, rows } = await status()
      expect([isReady, health.join()]).toEqual([false, expect.stringMatching(/full|no more free/)])
      expect(rows.lostPartitions).toBe(0)
      for (const [key, digest] of acknowledged) expect(await node.digest(key), key).toBe(digest)
      await disk.free()
      await until('it says that it takes writes', 20_000, async () => (await status()).isReady)
      for (const [i, sizeBytes] of [mib, 20_000, 4000].entries()) {
        const [key, content] = [`after/${round}/${i}`, noiseBytes(sizeBytes, 1000 + 10 * round + i)]
        await node.put(key, content)
        acknowledged.set(key, digestOfBytes(content))
      }
    }
    expect((await status()).rows.lostPartitions).toBe(0)
    await cluster.node(0).stop('SIGKILL')
    await cluster.node(0).start()
    const lost = await lostOf(objectsOf(await connectLocal(cluster.node(0).data)), acknowledged)
    tried(task, { what: 'disk filled to the last byte and freed, kill -9, everything read', times: rounds, acknowledged: acknowledged.size, lost: lost.length })
    expect(lost).toEqual([])
    expect(acknowledged.size).toBeGreaterThanOrEqual(rounds * leastARound)
  }, 180_000)

  test('up to its reserve takes no more blocks, but removes objects and takes small ones, for rows may use the reserve', async ({ task }) => {
    await using disk = await smallDisk(120 * mib)
    await using cluster = new LocalCluster(disk.path, { options: () => ['--reserve', '48MiB', '--cache', '0'] })
    await cluster.grow(1)
    const client = await connectLocal(cluster.node(0).data)
    const node = objectsOf(client)
    await client.json('PUT', `/v1/buckets/${bucketName}`, { body: { copies: 1 } })
    const acknowledged = new Map<string, string>()
    expect(await putUntilRefused(node, { name: 'large', sizeBytes: mib, acknowledged })).toBe(507)
    expect(acknowledged.size).toBeGreaterThan(5)
    const refused = await node.put('one more', noiseBytes(mib, 9999)).then(() => '', (error: Error) => error.message)
    expect(refused).toMatch(/reserve|no room|full/)
    const { isReady, blocks: { freeBytes } } = await client.json<NodeStatus>('GET', '/v1/status')
    expect(isReady).toBe(true)
    // of it, rows may have taken some
    expect(freeBytes).toBeGreaterThan(40 * mib)
    for (const key of [...acknowledged.keys()].slice(0, 4)) { expect(await node.remove(key)).toBe(true); acknowledged.delete(key) }
    await node.put('small', noiseBytes(3000, 10))
    acknowledged.set('small', digestOfBytes(noiseBytes(3000, 10)))
    expect(new Set(await node.keys())).toEqual(new Set(acknowledged.keys()))
    const lost = await lostOf(node, acknowledged)
    tried(task, { what: 'disk filled to its reserve, objects removed and put', times: 1, acknowledged: acknowledged.size, lost: lost.length })
    expect(lost).toEqual([])
    const { code, stdout } = await cluster.node(0).run(['doctor', '--json'])
    expect([code, stdout]).toEqual([11, expect.stringContaining('"disk-full"')])
  }, 120_000)
})

describe.skipIf(!await canFail())('a node whose disk becomes read-only in the middle', () => {
  test('goes on running, says so, reads what is there, refuses writes in words, and after a start on a mended disk has everything', async ({ task }) => {
    await using disk = await failingDisk(200 * mib)
    await using cluster = new LocalCluster(disk.path, { options: () => ['--reserve', '0', '--cache', '0'] })
    await cluster.grow(1)
    const client = await connectLocal(cluster.node(0).data)
    const node = objectsOf(client)
    await client.json('PUT', `/v1/buckets/${bucketName}`, { body: { copies: 1 } })
    const acknowledged = new Map<string, string>()
    const content = (i: number): Uint8Array => noiseBytes([200, 20_000, 300_000][i % 3] ?? 0, i)
    const put = async (i: number): Promise<void> => { await node.put(`object/${i}`, content(i)); acknowledged.set(`object/${i}`, digestOfBytes(content(i))) }
    for (let i = 0; i < 12; i++) await put(i)
    // while some are under way
    const under = Array.from({ length: 6 }, (_, i) => put(100 + i).catch(() => {}))
    await disk.fail()
    await Promise.all(under)
    for (const i of [200, 201, 202]) {
      const error = await put(i).then(() => undefined, (reason: unknown) => reason)
      expect(statusOf(error), String(error)).toBeGreaterThanOrEqual(403)
      expect(statusOf(error), String(error)).not.toBe(500)
      expect(String(error)).toMatch(/takes no writes|check the disk|read-only/i)
    }
    expect(await node.remove('object/1').then(() => 0, statusOf)).toBeGreaterThanOrEqual(403)
    for (const [key, digest] of acknowledged) expect(await node.digest(key), key).toBe(digest)
    const { health, isReady } = await client.json<NodeStatus>('GET', '/v1/status')
    expect([isReady, health.join()]).toEqual([false, expect.stringMatching(/takes no writes|does not vote/)])
    expect((await cluster.node(0).run(['status'])).code).toBe(5)
    expect((await cluster.node(0).run(['doctor', '--json'])).stdout).toContain('"rows-read-only"')
    expect(cluster.node(0).isRunning).toBe(true)

    await cluster.node(0).stop('SIGKILL')
    await disk.mend()
    await cluster.node(0).start()
    const again = objectsOf(await connectLocal(cluster.node(0).data))
    const lost = await lostOf(again, acknowledged)
    tried(task, { what: 'disk that turns read-only in the middle of puts, and is mended', times: 1, acknowledged: acknowledged.size, lost: lost.length })
    expect(lost).toEqual([])
    expect(acknowledged.size).toBeGreaterThanOrEqual(12)
    await again.put('after', content(3))
    expect((await (await connectLocal(cluster.node(0).data)).json<NodeStatus>('GET', '/v1/status')).rows.lostPartitions).toBe(0)
  }, 120_000)
})
