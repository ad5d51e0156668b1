import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { dfs, until } from '../../scripts/local-cluster.ts'
import { fromHex, hexOf, utf8 } from '../../src/base/bytes.ts'
import { systemRandom } from '../../src/base/random.ts'
import { ClusterKeys, type Keyring } from '../../src/encryption/index.ts'
import type { NodeStatus } from '../../src/node.ts'
import type { SecretAccessKey } from '../../src/objects/index.ts'
import { noiseBytes } from '../support/file-world.ts'
import { memberIn } from '../support/member.ts'
import { bucketName, digestOfBytes, eachOf, filesIn, objectsOf, realCluster, type RealCluster, statusOf } from '../support/real-cluster.ts'

type Ring = NonNullable<Keyring['ring']>
const races = Number(process.env.RACES ?? 120)
const mib = 1024 ** 2
let real: RealCluster
beforeAll(async () => { real = await realCluster(3) }, 120_000)
afterAll(async () => { await real?.[Symbol.asyncDispose]() })

describe('three real nodes', () => {
  test('agree on one settled layout of all three', async () => {
    for (let i = 0; i < 3; i++) {
      const { client } = await real.via(i)
      // a majority is enough for the first bucket; the third hears of it on its way
      await expect.poll(async () => await client.json<NodeStatus>('GET', '/v1/status'), { timeout: 30_000 }).toMatchObject({ layout: { state: 'settled', members: 3, voters: 3 }, health: [] })
    }
  })

  test('no plaintext, name or key lies on any disk, the originator\'s own included, nor in a log (the ancestor\'s own copy was plaintext)', async () => {
    const unique = (): string => hexOf(systemRandom.bytes(20))
    const [text, name, bucket, note] = [unique(), unique(), `bucket-${unique()}`, unique()]
    // what does not compress stands in a file as it is, or not at all
    const [inline, long] = [systemRandom.bytes(3000), systemRandom.bytes(200_000)]
    const { client } = await real.via(0)
    const { id } = await client.json<{ id: string }>('PUT', `/v1/buckets/${bucket}`, { body: { copies: 3 } })
    const node = objectsOf(client, bucket)
    for (const [suffix, content] of [['', inline], ['/long', long], ['/text', utf8(`${text}, `.repeat(5000))], ['/line', utf8(text)]] as const) {
      await node.put(name + suffix, content, { 'x-dfs-meta-note': note, 'content-type': `text/${note}` })
      for (const i of [1, 2]) expect(await objectsOf((await real.via(i)).client, bucket).digest(name + suffix)).toBe(digestOfBytes(content))
    }
    const [accessKey] = await real.node(0).json<SecretAccessKey>(['key', 'create', 'somebody'])
    const [share] = await real.node(0).json<{ secret: string }>(['share', `${bucket}/${name}`])
    const told = [accessKey?.secret ?? '', share?.secret ?? '']
    const members = await Promise.all([0, 1, 2].map(async (i) => memberIn(real.node(i).data)))
    const secrets = members.flatMap(({ keyring: { nodeSeed, exchangeSeed, diskKey, ring, authoritySeed } }) => [nodeSeed, exchangeSeed, diskKey, ring?.names, ...ring?.epochs.values() ?? [], authoritySeed])
    const keys = new ClusterKeys({ clusterId: members[0]?.facts.clusterId as Uint8Array, ...members[0]?.keyring.ring as Ring })
    const derived = [keys.name, ...Object.values(keys.domain(1, fromHex(id))), ...Object.values(keys.epoch(1)).filter((key) => key instanceof Uint8Array && key !== keys.epoch(1).check)]
    const needles = [
      ...[text, name, bucket, note].flatMap((word) => [Buffer.from(word), Buffer.from(word, 'hex'), Buffer.from(word, 'utf16le')]),
      ...told.map((secret) => Buffer.from(secret)),
      ...[inline, long].flatMap((bytes) => Array.from({ length: 20 }, (_, i) => Buffer.from(bytes.subarray(i * 149, i * 149 + 24)))),
      ...[...secrets, ...derived].filter((key) => key instanceof Uint8Array).flatMap((key) => [Buffer.from(key), Buffer.from(hexOf(key)), Buffer.from(Buffer.from(key).toString('base64').slice(0, 42))]),
    ].filter((needle) => needle.byteLength >= 20)
    expect(Math.min(...told.map(({ length }) => length))).toBeGreaterThanOrEqual(20)
    expect(needles.length).toBeGreaterThan(80)
    const search = async (i: number): Promise<void> => {
      const { data, log } = real.node(i)
      const files = await filesIn(data)
      expect(files.length).toBeGreaterThan(15)
      for (const file of files) {
        // what was being written has its own name by now, and is searched the next time
        const bytes = await readFile(join(data, file)).catch((error: NodeJS.ErrnoException) => { if (error.code === 'ENOENT') return Buffer.alloc(0); throw error })
        expect(needles.findIndex((needle) => bytes.includes(needle)), `${file} on node ${i + 1}`).toBe(-1)
      }
      expect(needles.findIndex((needle) => log.includes(needle.toString('latin1'))), `log of node ${i + 1}`).toBe(-1)
      // secrets would be found as what is public is
      expect((await readFile(join(data, 'cluster'))).includes(Buffer.from(keys.clusterId))).toBe(true)
    }
    for (const i of [0, 1, 2]) await search(i)
    // what a stop writes down, and a start
    await real.node(0).stop('SIGTERM')
    await search(0)
    await real.node(0).start()
    await real.cluster.connected()
    await search(0)
  }, 120_000)

  test('a read through any node that starts after an ack sees the write', async () => {
    const nodes = await Promise.all([0, 1, 2].map(async (i) => real.via(i)))
    for (let round = 0; round < 30; round++) {
      const content = utf8(`round ${round}`)
      await nodes[round % 3]?.put('counter', content)
      expect(Buffer.from(await (nodes[(round + 1) % 3] as (typeof nodes)[0]).get('counter')).toString()).toBe(`round ${round}`)
      expect(await nodes[(round + 2) % 3]?.keys()).toContain('counter')
    }
  })

  test(`of two or three creators of one key, through as many nodes, exactly one wins, ${races} times of ${races}, and all nodes agree who`, async () => {
    const nodes = await Promise.all([0, 1, 2].map(async (i) => real.via(i)))
    let threes = 0
    await eachOf(Array.from({ length: races }, (_, round) => round), 4, async (round) => {
      const key = `race/${round}`
      const contenders = nodes.filter((_, i) => round % 3 === 0 || i !== round % 4 % 3)
      if (contenders.length === 3) threes++
      // in the row, as a small block, as one file
      const contents = contenders.map((_, i) => noiseBytes([100, 6000, 50_000][round % 5 % 3] ?? 0, round * 10 + i))
      const race = await Promise.allSettled(contenders.map(async (node, i) => node.put(key, contents[i] as Uint8Array, { 'if-none-match': '*' })))
      const winner = race.findIndex(({ status }) => status === 'fulfilled')
      expect(race.map((outcome) => outcome.status === 'fulfilled' ? 201 : statusOf(outcome.reason)).toSorted((a, b) => a - b), key).toEqual([201, ...contenders.slice(1).map(() => 412)])
      for (const node of nodes) expect(await node.digest(key), key).toBe(digestOfBytes(contents[winner] as Uint8Array))
    })
    expect(threes).toBeGreaterThan(races / 4)
  }, 60_000 + races * 2000)

  test('deleting one key deletes no other, on any node', async () => {
    const [a, b] = await Promise.all([real.via(0), real.via(1)])
    for (const key of ['del/a', 'del/a/b', 'del/ab']) await a.put(key, noiseBytes(10_000, key.length))
    expect(await b.remove('del/a')).toBe(true)
    for (const i of [0, 1, 2]) expect((await (await real.via(i)).keys()).filter((key) => key.startsWith('del/'))).toEqual(['del/a/b', 'del/ab'])
  })

  test('keys that look like paths write nothing outside the store, nor a file of that name within (`../../x` did)', async () => {
    const node = await real.via(0)
    const x = hexOf(systemRandom.bytes(8))
    const keys = [`../../${x}`, `../../../../../../../../${x}`, `/${x}`, `/tmp/${x}`, `..\\..\\${x}`, `${x}/../../../${x}`, `./${x}`, `..`, `.`, `a//b`, '\u0000', `${x}\u0000.txt`, `%2e%2e%2f${x}`, '../keyring', './', 'x'.repeat(1024)]
    for (const [i, key] of keys.entries()) await node.put(key, noiseBytes(i % 2 === 0 ? 6000 : 40_000, i + 1))
    for (const [i, key] of keys.entries()) for (const index of [0, 1, 2]) expect(await (await real.via(index)).digest(key), JSON.stringify(key)).toBe(digestOfBytes(noiseBytes(i % 2 === 0 ? 6000 : 40_000, i + 1)))
    for (const [i, key] of keys.entries()) {
      expect(await node.remove(key)).toBe(true)
      expect(statusOf(await node.get(key).catch((error: unknown) => error)), JSON.stringify(key)).toBe(404)
      const left = new Set(await node.keys())
      for (const other of keys.slice(i + 1)) expect(left.has(other), JSON.stringify(other)).toBe(true)
    }
    expect((await readdir(real.folder)).toSorted()).toEqual(['node-1', 'node-2', 'node-3'])
    const nearby = await Promise.all(['/', '/tmp', process.cwd(), dirname(real.folder)].map(async (folder) => readdir(folder)))
    for (const name of [...nearby.flat(), ...await filesIn(real.folder)]) expect(name).not.toContain(x)
    for (const i of [0, 1, 2]) await memberIn(real.node(i).data)
  }, 60_000)

  test('the same content under ten names, through three nodes, takes one time the space (the ancestor took ten)', async () => {
    const bytes = async (): Promise<{ counted: number, onDisk: number }> => {
      const statuses = await Promise.all([0, 1, 2].map(async (i) => (await real.via(i)).client.json<NodeStatus>('GET', '/v1/status')))
      const files = (await filesIn(real.folder)).filter((file) => /^node-.\/(blocks|cache)\//.test(file))
      const sizes = await Promise.all(files.map(async (file) => stat(join(real.folder, file)).then(({ size }) => size, () => 0)))
      return { counted: statuses.reduce((sum, { blocks }) => sum + blocks.bytes, 0), onDisk: sizes.reduce((sum, size) => sum + size, 0) }
    }
    for (const [name, size] of [['large', 3 * mib], ['small', 5000]] as const) {
      const empty = await bytes()
      await (await real.via(0)).put(`same/${name}/0`, noiseBytes(size, size))
      await until('the copies of the first are there', 20_000, async () => (await bytes()).counted >= empty.counted + 3 * size)
      const once = await bytes()
      for (let i = 1; i < 10; i++) await (await real.via(i % 3)).put(`same/${name}/${i}`, noiseBytes(size, size))
      const ten = await bytes()
      expect(ten.counted - once.counted).toBe(0)
      // ten references to each block
      expect(ten.onDisk - once.onDisk).toBeLessThan(0.02 * mib)
      for (let i = 0; i < 10; i++) expect(await (await real.via(i % 3)).digest(`same/${name}/${i}`)).toBe(digestOfBytes(noiseBytes(size, size)))
    }
  }, 60_000)

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
    for (let i = 0; i < 16; i++) await (await real.via(i % 3)).put(`mixed/${i}`, noiseBytes(i * 1000, i + 1))
    const { code, stdout } = await real.node(2).run(['ls', `${bucketName}/mixed/`, '--json'])
    expect(code).toBe(0)
    const keys = stdout.trim().split('\n').map((line) => (JSON.parse(line) as { key: string }).key)
    expect(keys).toEqual(keys.toSorted())
    expect(keys).toHaveLength(16)
    const folders = await dfs(['ls', bucketName, '--json', '--data', real.node(1).data])
    expect(folders.stdout).toContain('{"prefix":"mixed/"}')
  })

  test('a flipped byte of ciphertext is noticed, on one node or on all: it is read from where it is whole, or not at all (the ancestor gave other plaintext)', async () => {
    const content = noiseBytes(300_000, 4711)
    const before = new Set(await filesIn(real.folder))
    await (await real.via(0)).put('flip', content)
    const isBlock = (file: string): boolean => file.includes('/blocks/large/') && !before.has(file)
    await until('all have it', 20_000, async () => { const files = (await filesIn(real.folder)).filter(isBlock); return files.length > 0 && [1, 2, 3].every((i) => files.filter((file) => file.startsWith(`node-${i}/`)).length === files.length / 3) })
    const files = (await filesIn(real.folder)).filter(isBlock)
    const whole = new Map(await Promise.all(files.map(async (file) => [file, await readFile(join(real.folder, file))] as const)))
    const flip = async (file: string): Promise<void> => {
      const bytes = Buffer.from(whole.get(file) as Uint8Array)
      const at = bytes.byteLength >> 1
      bytes[at] = (bytes[at] ?? 0) ^ 1
      await writeFile(join(real.folder, file), bytes)
    }
    const read = async (i: number): Promise<string | undefined> => (await real.via(i)).digest('flip').catch(() => undefined)
    const repair = async (action: 'pause' | 'resume'): Promise<void> => { for (const i of [0, 1, 2]) await (await real.via(i)).client.json('POST', '/v1/repair', { body: { action } }) }

    // what is found on one node is brought to it again, and that copy would be whole when all are flipped
    await repair('pause')
    for (const file of files.filter((name) => name.startsWith('node-1/'))) await flip(file)
    for (const i of [0, 1, 2]) expect(await read(i)).toBe(digestOfBytes(content))
    for (const i of [0, 1, 2]) await (await real.via(i)).client.json('DELETE', '/v1/cache')
    for (const file of files) await flip(file)
    for (const i of [0, 1, 2]) expect(await read(i)).toBeUndefined()
    for (const [file, bytes] of whole) if (file.startsWith('node-3/')) await writeFile(join(real.folder, file), bytes)
    for (const i of [0, 1, 2]) expect(await read(i)).toBe(digestOfBytes(content))
    expect((await (await real.via(1)).client.json<NodeStatus>('GET', '/v1/status')).health.join()).toContain('corrupt')
    await repair('resume')
  }, 60_000)
})
