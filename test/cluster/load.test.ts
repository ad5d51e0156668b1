import { readFile } from 'node:fs/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type LocalNode, until } from '../../scripts/local-cluster.ts'
import { hexOf, utf8 } from '../../src/base/bytes.ts'
import { streamingHash } from '../../src/base/hash.ts'
import type { NodeStatus } from '../../src/node.ts'
import { noise, noiseBytes } from '../support/file-world.ts'
import { digestOfBytes, type NodeObjects, realCluster, type RealCluster, statusOf } from '../support/real-cluster.ts'

/** One cluster for all of it: two copies of every block on three nodes, so that each lacks a third and has to fetch. */
const mib = 1024 ** 2
const gib = 1024 ** 3
/** Half of the largest file, with sixteen puts and sixteen gets at once; README has what one transfer takes. */
const mostMemoryBytes = gib / 2

let real: RealCluster
beforeAll(async () => { real = await realCluster(3, { copies: 2 }) }, 120_000)
afterAll(async () => { await real?.[Symbol.asyncDispose]() })

/** Made piece by piece, and hashed as it goes by. */
function made (sizeBytes: number, seed: number): { source: AsyncIterable<Uint8Array>, digest: () => string } {
  const digest = streamingHash()
  async function * source (): AsyncIterable<Uint8Array> {
    for await (const piece of noise(sizeBytes, { seed, pieceBytes: mib })) { digest.update(piece); yield piece }
  }
  return { source: source(), digest: () => hexOf(digest.digest()) }
}

describe('three nodes with much to do', () => {
  test('sixteen puts and sixteen gets at once, 0 B to 1 GiB, through all nodes, are byte-identical, and no node is ever as large as half a file (four at once crashed the ancestor, which held each file whole)', async () => {
    const nodes = await Promise.all([0, 1, 2].map(async (i) => real.via(i)))
    const via = (index: number): NodeObjects => nodes[index % 3] as NodeObjects
    const under = { puts: 0, gets: 0 }
    let [most, gotBesideTheLargest] = [{ puts: 0, gets: 0 }, 0]
    const digests = new Map<string, string>()
    let isLargestUnderWay = false

    async function counted<T> (kind: 'puts' | 'gets', act: Promise<T>): Promise<T> {
      under[kind]++
      if (under.puts >= most.puts && under.gets >= most.gets) most = { ...under }
      try { return await act } finally { under[kind]-- }
    }
    async function put (key: string, sizeBytes: number, index: number): Promise<void> {
      const { source, digest } = made(sizeBytes, digests.size + 1)
      digests.set(key, '')
      const info = await counted('puts', via(index).put(key, source, { 'content-length': String(sizeBytes) }))
      expect(info.sizeBytes).toBe(sizeBytes)
      digests.set(key, digest())
    }
    async function get (key: string, index: number): Promise<void> {
      expect(await counted('gets', via(index).digest(key)), key).toBe(digests.get(key))
      if (isLargestUnderWay) gotBesideTheLargest++
    }

    const sizes = [0, 1, 4096, mib - 1, mib, mib + 1, 64 * mib, 100, 4097, 5000, 300_000, 2 * mib + 7, 3 * mib, 9 * mib, 20 * mib]
    await Promise.all([...sizes, 40 * mib].map(async (size, i) => put(`earlier/${i}`, size, i)))
    isLargestUnderWay = true
    await Promise.all([
      // each is got through another node as soon as it is acknowledged, while others are still being put
      ...[...sizes, gib].map(async (size, i) => {
        await put(`mixed/${i}`, size, i)
        if (size === gib) {
          isLargestUnderWay = false
          await Promise.all([put('beside', 64 * mib, i + 2), get(`mixed/${i}`, i + 1)])
        } else await get(`mixed/${i}`, i + 1)
      }),
      ...sizes.concat(0).map(async (_, i) => { await get(`earlier/${i}`, i + 1); await get(`earlier/${i}`, i + 2) }),
    ])
    expect(most).toEqual({ puts: 16, gets: 16 })
    expect(gotBesideTheLargest).toBeGreaterThanOrEqual(16)
    expect((await via(0).keys({ prefix: 'mixed/' }))).toHaveLength(16)
    for (const i of [0, 1, 2]) expect(await real.node(i).memoryBytes('VmHWM'), `node ${i + 1}`).toBeLessThan(mostMemoryBytes)
  }, 600_000)

  test('one that is stopped (SIGSTOP) is waited for by nobody: puts and gets take at most three times what they take beside it', async () => {
    const [writer, reader] = [await real.via(0), await real.via(1)]
    const bytes = 48 * mib
    const times: Record<'normal' | 'stopped', number[]> = { normal: [], stopped: [] }
    const work = async (name: string): Promise<number> => {
      await reader.client.json('DELETE', '/v1/cache')
      const { source, digest } = made(bytes, times.normal.length + times.stopped.length + 100)
      const start = performance.now()
      await writer.put(`${name}/large`, source, { 'content-length': String(bytes) })
      expect(await reader.digest(`${name}/large`)).toBe(digest())
      for (let i = 0; i < 40; i++) await writer.put(`${name}/${i}`, noiseBytes(i % 2 === 0 ? 4000 : 20_000, i))
      for (let i = 0; i < 40; i++) expect(await reader.digest(`${name}/${i}`)).toBe(digestOfBytes(noiseBytes(i % 2 === 0 ? 4000 : 20_000, i)))
      return performance.now() - start
    }
    await work('warm')
    for (let round = 0; round < 3; round++) {
      times.normal.push(await work(`normal/${round}`))
      real.node(2).freeze()
      try { times.stopped.push(await work(`stopped/${round}`)) } finally { real.node(2).thaw() }
      await real.cluster.connected()
    }
    expect(median(times.stopped) / median(times.normal), JSON.stringify(times)).toBeLessThan(3)
  }, 300_000)

  test('a key that is not there is answered at once from a majority, one of three stopped or not (the ancestor hung); with two stopped it is never called missing', async () => {
    const node = await real.via(0)
    const misses = async (name: string): Promise<number[]> => {
      const times = []
      for (let i = 0; i < 20; i++) {
        const start = performance.now()
        const error: unknown = await (i % 2 === 0 ? node.get(`${name}/${i}`) : node.client.head(`/v1/objects/test-bucket/${name}${i}`)).catch((reason: unknown) => reason)
        expect(statusOf(error)).toBe(404)
        times.push(performance.now() - start)
      }
      return times
    }
    expect(median(await misses('missing'))).toBeLessThan(1000)
    real.node(2).freeze()
    try {
      expect(median(await misses('missing-stopped'))).toBeLessThan(1000)
      real.node(1).freeze()
      expect(statusOf(await node.get('missing-alone').catch((error: unknown) => error))).toBe(503)
    } finally {
      for (const i of [1, 2]) real.node(i).thaw()
    }
    await real.cluster.connected()
  }, 120_000)

  test.each(['SIGTERM', 'SIGKILL'] as const)('one that leaves by %s makes no later put fail and no loop spin (it did both in the ancestor)', async (signal) => {
    const node = await real.via(0)
    await real.node(2).stop(signal)
    for (let i = 0; i < 10; i++) await node.put(`gone/${signal}/${i}`, noiseBytes(300_000, i))
    for (let i = 0; i < 10; i++) expect(await (await real.via(1)).digest(`gone/${signal}/${i}`)).toBe(digestOfBytes(noiseBytes(300_000, i)))
    // what the puts left to do ends some time; a loop that spins never does
    for (const i of [0, 1]) await until(`node ${i + 1} idles`, 60_000, async () => await busyShare(real.node(i), 2000) < 0.15)
    await real.node(2).start()
    await real.cluster.connected()
  }, 180_000)

  test('when a second one is gone a put fails with a clear error, at once', async () => {
    const node = await real.via(0)
    await Promise.all([1, 2].map(async (i) => real.node(i).stop('SIGKILL')))
    await until('the death is noticed', 20_000, async () => !(await node.client.json<NodeStatus>('GET', '/v1/status')).isReady)
    const start = performance.now()
    const error: unknown = await node.put('alone', utf8('x')).catch((reason: unknown) => reason)
    expect(statusOf(error)).toBe(503)
    // its time limit is five seconds
    expect(performance.now() - start).toBeLessThan(2500)
    expect((error as Error).message).toMatch(/voter|majority/)
  }, 90_000)
})

const median = (times: readonly number[]): number => times.toSorted((a, b) => a - b)[times.length >> 1] ?? Number.NaN

/** Of one core, that a process used over a while: the kernel's count (proc(5), utime and stime in hundredths of a second), which other processes do not change. */
async function busyShare ({ pid }: LocalNode, durationMs: number): Promise<number> {
  const ticks = async (): Promise<number> => {
    const [, fields = ''] = /\) (.*)/s.exec(await readFile(`/proc/${pid}/stat`, 'utf8')) ?? []
    return Number(fields.split(' ')[11]) + Number(fields.split(' ')[12])
  }
  const [before, start] = [await ticks(), performance.now()]
  await new Promise((resolve) => { setTimeout(resolve, durationMs) })
  return (await ticks() - before) * 10 / (performance.now() - start)
}

