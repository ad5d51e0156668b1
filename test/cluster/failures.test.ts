import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { until } from '../../scripts/local-cluster.ts'
import { utf8 } from '../../src/base/bytes.ts'
import { seededRandom } from '../../src/base/random.ts'
import { noiseBytes } from '../support/file-world.ts'
import { digestOfBytes, type NodeObjects, realCluster, statusOf } from '../support/real-cluster.ts'

const kills = Number(process.env.KILLS ?? 50)

/** Writes through one node until it dies, remembering what was acknowledged. */
async function writeUntilKilled (node: NodeObjects, { round, acknowledged }: { round: number, acknowledged: Map<string, string> }): Promise<void> {
  for (let i = 0; ; i++) {
    const content = noiseBytes(i % 3 === 0 ? 1000 : 200_000 + i * 1000, round * 1000 + i)
    const key = `kill/${round}/${i}`
    try {
      await node.put(key, content)
    } catch {
      return // the node is dead; what was not acknowledged may be there or not
    }
    acknowledged.set(key, digestOfBytes(content))
  }
}

async function check (node: NodeObjects, acknowledged: ReadonlyMap<string, string>): Promise<void> {
  for (const [key, digest] of acknowledged) expect(await node.digest(key), key).toBe(digest)
  // and what is listed beside it is whole
  for (const key of await node.keys()) await node.digest(key)
}

describe('nodes that die', () => {
  test(`kill -9 of the node being written to, ${kills} times: nothing acknowledged is lost, nothing partial is listed`, async () => {
    await using real = await realCluster(3)
    const random = seededRandom(11)
    const acknowledged = new Map<string, string>()
    for (let round = 0; round < kills; round++) {
      const victim = round % 3
      const fresh = new Map<string, string>()
      const writing = writeUntilKilled(await real.via(victim), { round, acknowledged: fresh })
      const wanted = Math.floor(random.fraction() * 6)
      await until('some writes were acknowledged', 20_000, () => fresh.size >= wanted)
      await real.node(victim).stop('SIGKILL')
      await writing
      await check(await real.via((victim + 1) % 3), fresh)
      for (const [key, digest] of fresh) acknowledged.set(key, digest)
      await real.node(victim).start()
      await real.cluster.connected()
    }
    expect(acknowledged.size).toBeGreaterThan(kills)
    await real.cluster.connected()
    for (let i = 0; i < 3; i++) await check(await real.via(i), acknowledged)
  }, 30_000 + kills * 15_000)

  test('all at once, and started again with their old folders: everything readable, names too (a restart made all of the ancestor unreadable)', async () => {
    await using real = await realCluster(3)
    const acknowledged = new Map<string, string>()
    for (let i = 0; i < 12; i++) {
      const content = noiseBytes(i * 60_000, i)
      await (await real.via(i % 3)).put(`all/${i}`, content)
      acknowledged.set(`all/${i}`, digestOfBytes(content))
    }
    await real.cluster.stop('SIGKILL')
    await Promise.all([0, 1, 2].map(async (i) => real.node(i).start()))
    await real.cluster.connected()
    for (let i = 0; i < 3; i++) await check(await real.via(i), acknowledged)
  }, 90_000)

  test('one that is gone makes no later put fail, and a second one makes them fail with a clear error, at once', async () => {
    await using real = await realCluster(3)
    await real.node(2).stop('SIGKILL')
    const node = await real.via(0)
    for (let i = 0; i < 10; i++) await node.put(`gone/${i}`, noiseBytes(300_000, i))
    await real.node(1).stop('SIGKILL')
    await until('the death is noticed', 10_000, async () => (await node.client.json<{ members: Array<{ isConnected: boolean }> }>('GET', '/v1/status')).members.filter(({ isConnected }) => isConnected).length === 1)
    const start = performance.now()
    const error: unknown = await node.put('alone', utf8('x')).catch((reason: unknown) => reason)
    expect(statusOf(error)).toBe(503)
    expect(performance.now() - start).toBeLessThan(1000)
    expect((error as Error).message).toMatch(/voter|majority/)
  }, 90_000)

  test('one that is stopped (SIGSTOP) delays neither puts nor gets by its timeouts', async () => {
    await using real = await realCluster(3, { copies: 2 })
    const node = await real.via(0)
    for (let i = 0; i < 8; i++) await node.put(`slow/${i}`, noiseBytes(600_000, i))
    await node.client.json('DELETE', '/v1/cache')
    real.node(1).freeze()
    try {
      const start = performance.now()
      for (let i = 0; i < 8; i++) expect(await node.digest(`slow/${i}`)).toBe(digestOfBytes(noiseBytes(600_000, i)))
      for (let i = 0; i < 8; i++) await node.put(`slow/new/${i}`, noiseBytes(600_000, 50 + i))
      // sixteen transfers, each of which would have met the stopped node's timeout of many seconds
      expect(performance.now() - start).toBeLessThan(16_000)
    } finally {
      real.node(1).thaw()
    }
  }, 90_000)
})

describe('disks that rot', () => {
  test('a flipped bit in every file of a data folder: never a wrong byte, and the objects still readable through the cluster', async () => {
    await using real = await realCluster(3)
    const expected = new Map<string, string>()
    for (let i = 0; i < 40; i++) {
      const content = noiseBytes(i % 4 === 0 ? 2000 : 100_000 + i * 5000, i)
      await (await real.via(i % 3)).put(`rot/${i}`, content)
      expected.set(`rot/${i}`, digestOfBytes(content))
    }
    await real.node(1).stop('SIGTERM')
    await flipEveryFile(real.node(1).data)
    const started = await real.node(1).start().then(() => true, () => false)
    for (const i of started ? [0, 1, 2] : [0, 2]) {
      const node = await real.via(i)
      let readable = 0
      for (const [key, digest] of expected) {
        const found = await node.digest(key).catch(() => undefined)
        if (found === undefined) continue
        expect(found).toBe(digest)
        readable++
      }
      expect(readable, `through node ${i + 1}`).toBeGreaterThanOrEqual(expected.size * 0.99)
    }
  }, 120_000)
})

async function flipEveryFile (folder: string): Promise<void> {
  const random = seededRandom(8)
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    // what opens or configures the node must be right for it to start; every other file is fair game
    if (!entry.isFile() || (await stat(path)).size === 0 || ['key', 'keyring', 'dfs.json', 'cluster', 'CURRENT'].includes(entry.name) || entry.name.startsWith('MANIFEST')) continue
    const bytes = await readFile(path)
    const bit = Math.floor(random.fraction() * bytes.byteLength * 8)
    bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    await writeFile(path, bytes)
  }
}

