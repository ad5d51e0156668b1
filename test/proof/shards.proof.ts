import { afterAll, beforeAll, expect, test } from 'vitest'
import { noiseBytes } from '../support/file-world.ts'
import { digestOfBytes, eachOf, realCluster, type RealCluster } from '../support/real-cluster.ts'
import { tried } from '../support/tried.ts'

/**
 * Eight real processes and a bucket of 4+2 shards: whichever two are killed, every object is read through another, and what is put meanwhile too. PAIRS: how many of the
 * 28 pairs. Nothing is cached.
 */
const nodes = 8
const pairs = Array.from({ length: nodes }, (_, a) => Array.from({ length: nodes - a - 1 }, (__, i) => [a, a + i + 1] as const)).flat().slice(0, Number(process.env.PAIRS ?? 28))
const mib = 1024 ** 2
const sizes = [100, 200_000, 300_000, 3 * mib, 12 * mib]
let real: RealCluster
const expected = new Map<string, string>()
/** Puts that the table has. */
let told = 0

async function put (index: number, key: string, content: Uint8Array): Promise<void> {
  await (await real.via(index)).put(key, content)
  expected.set(key, digestOfBytes(content))
}

beforeAll(async () => {
  real = await realCluster(nodes, { shards: '4+2', options: () => ['--cache', '0'] })
  await eachOf(Array.from({ length: 20 }, (_, i) => i), 4, async (i) => put(i % nodes, `object/${i}`, noiseBytes(sizes[i % sizes.length] ?? 0, i + 1)))
}, 300_000)
afterAll(async () => { await real?.[Symbol.asyncDispose]() })

test.for(pairs)('with nodes %i and %i dead every object is read', async ([a, b], { task }) => {
  await Promise.all([a, b].map(async (i) => real.node(i).stop('SIGKILL')))
  const reader = [0, 1, 2].find((i) => i !== a && i !== b) ?? 0
  const writer = nodes - 1 === a || nodes - 1 === b ? (reader + 1) % nodes === a || (reader + 1) % nodes === b ? reader : (reader + 1) % nodes : nodes - 1
  await put(writer, `meanwhile/${a}-${b}`, noiseBytes(700_000, 1000 + a * nodes + b))
  const via = await real.via(reader)
  const lost: string[] = []
  await eachOf(expected, 4, async ([key, digest]) => {
    const found = await via.digest(key).catch((error: unknown) => String(error))
    if (found !== digest) lost.push(`${key}: ${found}`)
  })
  tried(task, { what: 'pairs of eight nodes killed, 4+2 shards, everything read', times: 1, acknowledged: expected.size - told, lost: lost.length })
  told = expected.size
  expect(lost).toEqual([])
  await Promise.all([a, b].map(async (i) => real.node(i).start()))
  await real.cluster.connected()
})
