import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { dfs, until } from '../../scripts/local-cluster.ts'
import { streamingHash } from '../../src/base/hash.ts'
import { hexOf, utf8 } from '../../src/base/bytes.ts'
import type { NodeStatus } from '../../src/node.ts'
import { noise, noiseBytes } from '../support/file-world.ts'
import { bucketName, digestOfBytes, realCluster, type RealCluster, statusOf } from '../support/real-cluster.ts'

const mib = 1024 ** 2
let real: RealCluster
beforeAll(async () => { real = await realCluster(3) }, 120_000)
afterAll(async () => { await real?.[Symbol.asyncDispose]() })

async function digestOfNoise (length: number, seed: number): Promise<string> {
  const digest = streamingHash()
  for await (const piece of noise(length, { seed, pieceBytes: mib })) digest.update(piece)
  return hexOf(digest.digest())
}

describe('three real nodes', () => {
  test('agree on one settled layout of all three', async () => {
    for (let i = 0; i < 3; i++) {
      const { client } = await real.via(i)
      // a majority is enough for the first bucket; the third hears of it on its way
      await expect.poll(async () => await client.json<NodeStatus>('GET', '/v1/status')).toMatchObject({ layout: { state: 'settled', members: 3, voters: 3 }, health: [] })
    }
  })

  test('sixteen puts and gets at once, of all sizes, each through another node, are byte-identical (four at once crashed the ancestor)', async () => {
    const sizes = [0, 1, 4096, 4097, mib - 1, mib, mib + 1, 64 * mib, 100, 5000, 300_000, 3 * mib, 9 * mib, 20 * mib, 2 * mib + 7, 40 * mib]
    await Promise.all(sizes.map(async (size, i) => {
      const info = await (await real.via(i % 3)).put(`mixed/${i}`, noise(size, { seed: i + 1, pieceBytes: mib }))
      expect(info.sizeBytes).toBe(size)
    }))
    await Promise.all(sizes.map(async (size, i) => {
      expect(await (await real.via((i + 1) % 3)).digest(`mixed/${i}`)).toBe(await digestOfNoise(size, i + 1))
    }))
  }, 180_000)

  test('a read through any node that starts after an ack sees the write', async () => {
    const nodes = await Promise.all([0, 1, 2].map(async (i) => real.via(i)))
    for (let round = 0; round < 30; round++) {
      const content = utf8(`round ${round}`)
      await nodes[round % 3]?.put('counter', content)
      expect(Buffer.from(await (nodes[(round + 1) % 3] as (typeof nodes)[0]).get('counter')).toString()).toBe(`round ${round}`)
      expect(await nodes[(round + 2) % 3]?.keys()).toContain('counter')
    }
  })

  test('of two creators of one key, through two nodes, exactly one wins, every time', async () => {
    const [a, b] = await Promise.all([real.via(0), real.via(1)])
    for (let round = 0; round < 40; round++) {
      const key = `race/${round}`
      const race = await Promise.allSettled([a, b].map(async (node, i) => node.put(key, utf8(`node ${i}`), { 'if-none-match': '*' })))
      expect(race.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
      const [loser] = race.filter((outcome) => outcome.status === 'rejected')
      expect(statusOf(loser?.reason)).toBe(412)
      const winner = race.findIndex(({ status }) => status === 'fulfilled')
      for (const i of [0, 1, 2]) expect(Buffer.from(await (await real.via(i)).get(key)).toString()).toBe(`node ${winner}`)
    }
  })

  test('a key that is not there is answered at once, by a majority', async () => {
    const node = await real.via(2)
    const start = performance.now()
    for (let i = 0; i < 20; i++) expect(statusOf(await node.get(`missing/${i}`).catch((error: unknown) => error))).toBe(404)
    expect((performance.now() - start) / 20).toBeLessThan(250)
  })

  test('deleting one key deletes no other, on any node', async () => {
    const [a, b] = await Promise.all([real.via(0), real.via(1)])
    for (const key of ['del/a', 'del/a/b', 'del/ab']) await a.put(key, noiseBytes(10_000, key.length))
    expect(await b.remove('del/a')).toBe(true)
    for (const i of [0, 1, 2]) expect((await (await real.via(i)).keys()).filter((key) => key.startsWith('del/'))).toEqual(['del/a/b', 'del/ab'])
  })

  test('keys that look like paths write nothing outside the store', async () => {
    const node = await real.via(0)
    for (const key of ['../../x', '/etc/passwd', '..', 'a//b', '\u0000', 'x'.repeat(1024)]) {
      await node.put(key, noiseBytes(6000, key.length))
      expect(await node.digest(key)).toBe(digestOfBytes(noiseBytes(6000, key.length)))
    }
    expect((await readdir(join(real.folder))).toSorted()).toEqual(['node-1', 'node-2', 'node-3'])
  })

  test('the same content under ten names takes one time the space', async () => {
    const node = await real.via(0)
    const bytes = async (): Promise<number> => (await node.client.json<NodeStatus>('GET', '/v1/status')).blocks.bytes
    await node.put('same/0', noiseBytes(3 * mib, 77))
    await until('the copies of the first are there', 10_000, async () => await bytes() >= 3 * mib)
    const before = await bytes()
    for (let i = 1; i < 10; i++) await (await real.via(i % 3)).put(`same/${i}`, noiseBytes(3 * mib, 77))
    expect(await bytes() - before).toBeLessThan(0.1 * mib)
  })

  test('no plaintext, name or key lies on any disk, the originator\'s own included', async () => {
    const secret = 'a sentence that must not be found anywhere on a disk'
    const name = 'name-that-must-not-be-found'
    await (await real.via(0)).put(name, utf8(secret))
    await (await real.via(0)).put(`${name}-long`, utf8(secret.repeat(500)))
    for (let i = 0; i < 3; i++) {
      for (const entry of await readdir(real.node(i).data, { recursive: true, withFileTypes: true })) {
        if (!entry.isFile()) continue
        const bytes = await readFile(join(entry.parentPath, entry.name))
        for (const text of [secret, name]) expect(bytes.includes(text), `${entry.name} on node ${i + 1}`).toBe(false)
      }
    }
  })

  test('a later node is refused with the reason: the first bucket settled who the members are', async () => {
    const { code, stderr } = await real.node(0).run(['invite'])
    expect(code).toBe(8)
    expect(stderr).toContain('joining is closed')
  })

  test('ranges, etags and conditions hold through any node', async () => {
    const content = noiseBytes(5 * mib, 3)
    const info = await (await real.via(0)).put('range', content)
    const node = await real.via(1)
    expect(await node.get('range', { range: 'bytes=1048570-1048600' })).toEqual(content.slice(1_048_570, 1_048_601))
    expect(await node.get('range', { range: 'bytes=-5' })).toEqual(content.slice(-5))
    expect(statusOf(await node.get('range', { range: `bytes=${content.byteLength}-` }).catch((error: unknown) => error))).toBe(416)
    expect(statusOf(await node.get('range', { 'if-match': '"other"' }).catch((error: unknown) => error))).toBe(412)
    expect(statusOf(await node.put('range', content, { 'if-match': '"other"' }).catch((error: unknown) => error))).toBe(412)
    await node.put('range', utf8('new'), { 'if-match': `"${info.etag}"` })
  })

  test('a listing comes in pages, in byte order, by prefix and folder', async () => {
    const { code, stdout } = await real.node(2).run(['ls', `${bucketName}/mixed/`, '--json'])
    expect(code).toBe(0)
    const keys = stdout.trim().split('\n').map((line) => (JSON.parse(line) as { key: string }).key)
    expect(keys).toEqual(keys.toSorted())
    expect(keys).toHaveLength(16)
    const folders = await dfs(['ls', bucketName, '--json', '--data', real.node(1).data])
    expect(folders.stdout).toContain('{"prefix":"mixed/"}')
  })
})
