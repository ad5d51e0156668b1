import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ClientError } from '../../src/client/index.ts'
import { noiseBytes } from '../support/file-world.ts'
import { digestOfBytes, eachOf, filesIn, realCluster, type RealCluster, statusOf } from '../support/real-cluster.ts'

/** Three real processes and a bucket of 2+1 shards. Nothing is cached. */
const nodes = 3
const mib = 1024 ** 2
const sizes = [100, 100_000, 300_000, 700_000, 3 * mib]
let real: RealCluster
const expected = new Map<string, { digest: string, size: number }>()

beforeAll(async () => {
  real = await realCluster(nodes, { shards: '2+1', options: () => ['--cache', '0'] })
  const writers = await Promise.all([0, 1, 2].map(async (i) => real.via(i)))
  await eachOf(Array.from({ length: 20 }, (_, i) => i), 4, async (i) => {
    const content = noiseBytes(sizes[i % sizes.length] ?? 0, i + 1)
    await writers[i % 3]?.put(`object/${i}`, content)
    expected.set(`object/${i}`, { digest: digestOfBytes(content), size: content.byteLength })
  })
}, 120_000)
afterAll(async () => { await real?.[Symbol.asyncDispose]() })

/** What a node gives of all objects: each whole and right, or the error. */
async function read (index: number): Promise<Map<string, string>> {
  const via = await real.via(index)
  const errors = new Map<string, string>()
  await eachOf(expected, 4, async ([key, { digest }]) => {
    try {
      expect(await via.digest(key), key).toBe(digest)
    } catch (error) {
      if (!(error instanceof ClientError)) throw error
      expect(statusOf(error), error.message).toBe(503)
      errors.set(key, error.message)
    }
  })
  return errors
}

describe('objects in shards', () => {
  test('are read through every node, and lie in pieces of half a block on disks, none whole', async () => {
    for (let i = 0; i < nodes; i++) expect(await read(i), `through node ${i + 1}`).toEqual(new Map())
    const files = (await Promise.all(Array.from({ length: nodes }, async (_, i) => filesIn(real.node(i).data)))).flat().filter((path) => path.startsWith('blocks/large/'))
    // what is whole is an object below 256 KiB, in two copies
    expect(files.filter((path) => !/\.2\.1\.[012]\.[0-9a-f]{32}$/.test(path))).toHaveLength(2 * 4)
    expect(files.length).toBeGreaterThan(3 * 12)
  }, 60_000)

  test('with one of three nodes dead are read through another; with the shards of one more gone, the error names what is missing', async () => {
    await real.node(2).stop('SIGKILL')
    for (const index of [0, 1]) expect(await read(index)).toEqual(new Map())
    const data = real.node(1).data
    for (const path of await filesIn(data)) if (path.startsWith('blocks/large/') && path.includes('.')) await rm(join(data, path))
    const errors = await read(0)
    expect(new Set(errors.keys())).toEqual(new Set([...expected].filter(([, { size }]) => size >= 256 * 1024).map(([key]) => key)))
    for (const message of errors.values()) expect(message).toMatch(/needs 2 of its 3 shards and 1 could be read; missing: \d, \d/)
    await real.node(2).start()
    await real.cluster.connected()
    expect(await read(0)).toEqual(new Map())
  }, 120_000)
})
