import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { until } from '../../scripts/local-cluster.ts'
import { utf8 } from '../../src/base/bytes.ts'
import { nodeFiles } from '../../src/disk/node-files.ts'
import type { LossReport, NodeStatus } from '../../src/node.ts'
import { readFacts } from '../../src/node/state.ts'
import { noiseBytes } from '../support/file-world.ts'
import { digestOfBytes, eachOf, realCluster, type RealCluster } from '../support/real-cluster.ts'

/** Five nodes, of whom three die for good: the founder stays, and has the authority's key. */
let real: RealCluster
/** Made right after the loss was declared. */
let invite = ''
const [survivors, dead] = [[0, 1], [2, 3, 4]]
const peersOf = (indexes: readonly number[]): string => indexes.map((index) => real.node(index).ready?.peerId ?? '').join()
async function nodeStatus (index: number): Promise<NodeStatus> {
  const { client } = await real.via(index)
  try { return await client.json<NodeStatus>('GET', '/v1/status') } finally { client.close() }
}
const forget = (lost: readonly number[], ...options: readonly string[]): readonly string[] => ['cluster', 'forget', '--lost', peersOf(lost), ...options]
const contents = new Map<string, Uint8Array>([...Array.from({ length: 30 }, (_, i) => [`small/${i}`, utf8(`content ${i}`)] as const), ...Array.from({ length: 6 }, (_, i) => [`large/${i}`, noiseBytes(400_000, i)] as const)])

beforeAll(async () => {
  real = await realCluster(5)
  const node = await real.via(0)
  await eachOf(contents, 4, async ([key, content]) => { await node.put(key, content) })
}, 180_000)
afterAll(async () => { await real?.[Symbol.asyncDispose]() })

describe('a cluster whose majority is gone for good', () => {
  test('is not given up while that majority answers', async () => {
    await real.node(4).stop('SIGKILL')
    // by each: one that still counts it among those connected says that it answers
    await until('it is missed', 30_000, async () => (await Promise.all([0, 1, 2, 3].map(nodeStatus))).every(({ members }) => members.filter(({ isConnected }) => isConnected).length === 4))
    expect(await real.node(0).run([...forget([4]), '--yes-lose-data'])).toMatchObject({ code: 8, stderr: expect.stringMatching(/a majority of everything answers.*dfs node remove/) as string })
    expect(await real.node(0).run([...forget([3, 4]), '--yes-lose-data'])).toMatchObject({ code: 8, stderr: expect.stringMatching(/answers: it is not lost/) as string })
  }, 60_000)

  test('refuses writes, and says what to do; to look at what would be left changes nothing', async () => {
    await Promise.all(dead.map(async (index) => real.node(index).stop('SIGKILL')))
    await until('it says so', 30_000, async () => (await nodeStatus(0)).health.join().includes('dfs cluster forget --lost'))
    await expect((await real.via(0)).put('refused', utf8('x'))).rejects.toThrow(/majority/)
    expect(await real.node(0).run([...forget([2, 3]), '--dry-run'])).toMatchObject({ stderr: expect.stringMatching(/does not answer and is not named/) as string })
    const [report] = await real.node(0).json<LossReport>([...forget(dead), '--dry-run'])
    expect(report).toMatchObject({ isDone: false, rows: { whole: 0, stale: 4096, gone: 0 }, objects: { known: contents.size, possiblyStale: contents.size } })
    expect((await nodeStatus(0)).layout).toMatchObject({ state: 'settled', members: 5 })
    expect(await real.node(0).run(forget(dead))).toMatchObject({ code: 2, stderr: expect.stringMatching(/--yes-lose-data/) as string })
    // who holds neither the authority's key nor an admin's may not
    expect(await real.node(1).run([...forget(dead), '--yes-lose-data'])).toMatchObject({ code: 8, stderr: expect.stringMatching(/may neither invite nor remove/) as string })
  }, 90_000)

  test('goes on with what survived: what is left is read through either survivor, writes work, health says that something was lost until all is verified', async () => {
    const [done] = await real.node(0).json<LossReport>([...forget(dead), '--yes-lose-data'])
    expect(done).toMatchObject({ isDone: true, era: 2, epoch: 2 })
    invite = (await real.node(0).json<{ token: string }>(['invite']))[0]?.token ?? ''
    await until('what survived is put together', 60_000, async () => (await Promise.all(survivors.map(nodeStatus))).every(({ layout, isReady }) => layout.state === 'settled' && layout.members === 2 && isReady))
    for (const index of survivors) {
      const node = await real.via(index)
      for (const [key, content] of contents) {
        if (key.startsWith('small/')) expect(await node.get(key), `${key} through node ${index + 1}`).toEqual(content)
        else expect(await node.digest(key).catch((error: Error) => error.message), key).toMatch(new RegExp(`${digestOfBytes(content)}|no node|not be had|block|holder`))
      }
      expect((await node.keys()).filter((key) => contents.has(key)).toSorted()).toEqual([...contents.keys()].toSorted())
      await node.put(`after/${index}`, noiseBytes(300_000, index))
    }
    expect(await (await real.via(1)).digest('after/0')).toBe(digestOfBytes(noiseBytes(300_000, 0)))
    expect((await nodeStatus(1)).health.join()).toMatch(/a majority was lost, and 3 nodes given up/)
    const { stdout } = await real.node(1).run(['verify', '--json'])
    const gone = stdout.split('\n').filter((line) => line.includes('"large/'))
    const unread = await Promise.all([...contents].map(async ([key, content]) => await (await real.via(1)).digest(key).catch(() => '') === digestOfBytes(content) ? [] : [key]))
    for (const key of unread.flat()) expect(gone.join('\n'), key).toContain(key)
    await until('it is said no more', 20_000, async () => !(await nodeStatus(1)).health.join().includes('a majority was lost'))
  }, 180_000)

  test('lets in none of the lost that comes back, which says why, though all of them are a majority of what was', async () => {
    await Promise.all(dead.map(async (index) => real.node(index).start()))
    await until('they know', 60_000, async () => (await Promise.all(dead.map(nodeStatus))).every(({ health, isReady }) => !isReady && health.join().includes('given up as lost while it was away')))
    await expect((await real.via(2)).put('among the lost', utf8('x'))).rejects.toThrow(/majority/)
    expect((await nodeStatus(0)).members.map(({ peerId }) => peerId)).toHaveLength(2)
    await Promise.all(dead.map(async (index) => real.node(index).stop('SIGKILL')))
  }, 120_000)

  test('takes it in as a new node, with an empty folder, by an invite from before the era that raises the floor', async () => {
    await until('the floor has risen', 60_000, async () => (await readFacts(nodeFiles(real.node(0).data)))?.era.floor === 2)
    await real.cluster.add(invite)
    await until('it holds and decides', 60_000, async () => (await Promise.all([0, 1, 5].map(nodeStatus))).every(({ layout }) => layout.state === 'settled' && layout.members === 3))
    expect(Buffer.from(await (await real.via(5)).get('small/7')).toString()).toBe('content 7')
  }, 180_000)
})

describe('of three nodes whose founder and one more are gone', () => {
  let three: RealCluster
  beforeAll(async () => {
    three = await realCluster(3)
    await three.node(0).json(['admin', 'add', three.node(1).ready?.peerId ?? ''])
    const node = await three.via(0)
    for (let i = 0; i < 10; i++) await node.put(`kept/${i}`, noiseBytes(100_000, i))
    await until('the third has all copies', 30_000, async () => (await three.node(1).json<{ found?: { shortBlocks: number } }>(['repair', 'status'])).every(({ found }) => (found?.shortBlocks ?? 0) === 0))
    await Promise.all([0, 2].map(async (index) => three.node(index).stop('SIGKILL')))
  }, 120_000)
  afterAll(async () => { await three?.[Symbol.asyncDispose]() })

  test('the one that is left goes on alone, on the word of an admin, and the founder, come back, is let in no more', async () => {
    const lost = [0, 2].map((index) => three.node(index).ready?.peerId ?? '').join()
    const alone = async (): Promise<NodeStatus> => { const { client } = await three.via(1); try { return await client.json<NodeStatus>('GET', '/v1/status') } finally { client.close() } }
    await until('they are missed', 30_000, async () => (await alone()).members.filter(({ isConnected }) => isConnected).length === 1)
    expect(await three.node(1).json(['cluster', 'forget', '--lost', lost, '--yes-lose-data'])).toMatchObject([{ isDone: true, rows: { stale: 4096 } }])
    await until('it is alone', 60_000, async () => { const { layout, isReady } = await alone(); return layout.state === 'settled' && layout.members === 1 && isReady })
    const node = await three.via(1)
    for (let i = 0; i < 10; i++) expect(await node.digest(`kept/${i}`)).toBe(digestOfBytes(noiseBytes(100_000, i)))
    await node.put('after', utf8('alone'))
    await three.node(0).start()
    const refused = three.node(1).ready?.peerId ?? ''
    await until('it has tried', 30_000, async () => three.node(0).log.includes(refused))
    expect((await alone()).members.map(({ peerId }) => peerId)).toEqual([refused])
    await expect((await three.via(0)).get('after')).rejects.toThrow(/majority/)
  }, 180_000)
})
