import { setTimeout } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { until } from '../../scripts/local-cluster.ts'
import { utf8 } from '../../src/base/bytes.ts'
import type { NodeStatus } from '../../src/node.ts'
import { eachOf, realCluster, type RealCluster } from '../support/real-cluster.ts'

let real: RealCluster
async function nodeStatus (index: number): Promise<NodeStatus> {
  const { client } = await real.via(index)
  try { return await client.json<NodeStatus>('GET', '/v1/status') } finally { client.close() }
}
const settledWith = async (members: number, through: readonly number[]): Promise<void> => until(`a settled layout of ${members}`, 60_000, async () => {
  const all = await Promise.all(through.map(nodeStatus))
  return all.every(({ layout }) => layout.state === 'settled' && layout.members === members)
})

/** Puts, some forty in a second, until it is told to end; what was acknowledged stands in `keys`. A put that fails is no loss, a get that does not find is. */
function writing (prefix: string, through: readonly number[]) {
  const keys: string[] = []
  let [isOver, failed] = [false, 0]
  const running = (async () => {
    const nodes = await Promise.all(through.map(async (index) => real.via(index)))
    for (let i = 0; !isOver; i++) {
      const key = `${prefix}/${i}`
      const put = nodes[i % nodes.length]?.put(key, utf8(key)).then(() => { keys.push(key) })
      await put?.catch(() => { failed++ })
      // more would only keep both cores from what is tested
      await setTimeout(25)
    }
  })()
  return { keys, async end () { isOver = true; await running; return { keys, failed } } }
}
async function expectAll (keys: readonly string[], through: number): Promise<void> {
  const node = await real.via(through)
  await eachOf(keys, 16, async (key) => { expect(await node.get(key).then((bytes) => Buffer.from(bytes).toString()), `${key} through node ${through + 1}`).toBe(key) })
  expect((await node.keys()).filter((key) => keys.includes(key))).toHaveLength(keys.length)
}

beforeAll(async () => { real = await realCluster(3, { options: () => ['--evict-after', '4s'] }) }, 120_000)
afterAll(async () => { await real?.[Symbol.asyncDispose]() })

describe('the layout of a cluster in use', () => {
  test('changes when a node joins, while others write: what was acknowledged is there, through the new one too, and with one of the old ones dead', async () => {
    const writes = writing('join', [0, 1, 2])
    await until('some are written', 20_000, () => writes.keys.length >= 20)
    await real.cluster.add()
    await settledWith(4, [0, 1, 2, 3])
    await until('some more are written', 20_000, () => writes.keys.length >= 60)
    const { keys } = await writes.end()
    await expectAll(keys, 3)
    await real.node(1).stop('SIGKILL')
    await expectAll(keys, 3)
  }, 120_000)

  test('goes on without a node that is away for longer than the grace, and takes it in again when it is back', async () => {
    await settledWith(3, [0, 2, 3])
    const writes = writing('away', [0, 2, 3])
    await until('some are written', 20_000, () => writes.keys.length >= 20)
    await real.node(1).start()
    await settledWith(4, [0, 1, 2, 3])
    const { keys } = await writes.end()
    await expectAll(keys, 1)
  }, 120_000)

  test('leaves out a node that is drained, which stays a member and serves, and has it again', async () => {
    const peer = real.node(3).ready?.peerId ?? ''
    const writes = writing('drain', [0, 1, 2])
    expect(await real.node(0).json(['node', 'drain', peer])).toEqual([{ peer, draining: true }])
    await settledWith(3, [0, 1, 2, 3])
    const { keys } = await writes.end()
    await expectAll(keys, 3)
    await real.node(0).json(['node', 'drain', peer, '--undo'])
    await settledWith(4, [0, 1, 2, 3])
    await expectAll(keys, 3)
  }, 120_000)

  test('never leaves out so many that nobody would know what was acknowledged', async () => {
    await Promise.all([1, 2].map(async (index) => real.node(index).stop('SIGKILL')))
    await until('it says so', 30_000, async () => (await nodeStatus(0)).health.join().includes('fewer than a majority'))
    const { layout } = await nodeStatus(0)
    expect(layout.members).toBe(4)
    await Promise.all([1, 2].map(async (index) => real.node(index).start()))
    await real.cluster.connected()
    await settledWith(4, [0, 1, 2, 3])
    await (await real.via(1)).put('after', utf8('after'))
  }, 120_000)
})
