import { setTimeout } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { dfs, until } from '../../scripts/local-cluster.ts'
import { utf8 } from '../../src/base/bytes.ts'
import { seededRandom } from '../../src/base/random.ts'
import { connectLocal } from '../../src/client/index.ts'
import type { ChangeForecast, NodeStatus } from '../../src/node.ts'
import { digestOfBytes, eachOf, realCluster, type RealCluster } from '../support/real-cluster.ts'

let real: RealCluster
const random = seededRandom(3)
const contents = new Map(Array.from({ length: 30 }, (_, i) => [`file/${i}`, random.bytes(100_000)]))
/** Acknowledged by the client that writes all the time. */
const written: string[] = []
let [isOver, failed] = [false, 0]
let writing: Promise<void>

const peerOf = (index: number): string => real.node(index).ready?.peerId ?? ''
async function status (index: number): Promise<NodeStatus> {
  const { client } = await real.via(index)
  try { return await client.json<NodeStatus>('GET', '/v1/status') } finally { client.close() }
}

/** Until a command has ended all that run look at their blocks without waiting for the time. */
async function whileRepairing<T> (command: Promise<T>): Promise<T> {
  let isDone = false
  const over = command.finally(() => { isDone = true })
  const pushing = (async () => {
    // more would keep the nodes from what they are asked for
    for (; !isDone; await setTimeout(3000)) {
      await Promise.all(real.cluster.nodes.filter(({ isRunning }) => isRunning).map(async ({ data }) => {
        const client = await connectLocal(data)
        await client.json('POST', '/v1/repair', { body: { action: 'now' } }).finally(() => { client.close() })
      }))
    }
  })()
  await Promise.all([over, pushing])
  return over
}

async function expectAll (through: number): Promise<void> {
  const node = await real.via(through)
  await eachOf([...contents], 8, async ([key, bytes]) => { expect(await node.digest(key), `${key} through node ${through + 1}`).toBe(digestOfBytes(bytes)) })
  await eachOf([...written], 16, async (key) => { expect(Buffer.from(await node.get(key)).toString(), `${key} through node ${through + 1}`).toBe(key) })
  node.client.close()
}

beforeAll(async () => {
  real = await realCluster(4, { copies: 2, options: (index) => ['--capacity', '1GiB', '--zone', `zone-${index}`, '--evict-after', '1h'] })
  const node = await real.via(0)
  await eachOf([...contents], 4, async ([key, bytes]) => { await node.put(key, bytes) })
  writing = (async () => {
    for (let i = 0; !isOver; i++) {
      const key = `written/${i}`
      await node.put(key, utf8(key)).then(() => { written.push(key) }, () => { failed++ })
      // more would only keep both cores from what is tested
      await setTimeout(100)
    }
  })()
}, 240_000)
afterAll(async () => { isOver = true; await writing; await real?.[Symbol.asyncDispose]() })

describe('the nodes of a cluster in use', () => {
  test('have their zone and capacity set, which is said beforehand, followed, and shown by all', async () => {
    const command = ['node', 'set', peerOf(1), '--zone', 'cellar', '--capacity', '2GiB']
    const [forecast] = await real.node(0).json<ChangeForecast>([...command, '--dry-run'])
    expect(forecast).toMatchObject({ isPossible: true, refusals: [] })
    expect(forecast?.nodes.find(({ peerId }) => peerId === peerOf(1))?.receiveBytes).toBeGreaterThan(0)
    expect((await status(0)).members.find(({ peerId }) => peerId === peerOf(1))?.zone).toBe('zone-1')
    const said = await whileRepairing(real.node(0).json<object>([...command, '--wait'], { timeoutMs: 280_000 }))
    expect(said[0]).toEqual({ peer: peerOf(1), zone: 'cellar', capacityBytes: 2 ** 31 })
    expect(said.at(-1)).toEqual({ peer: peerOf(1), done: true })
    for (const index of [0, 1, 2, 3]) {
      expect((await status(index)).members.find(({ peerId }) => peerId === peerOf(1))).toMatchObject({ zone: 'cellar', capacityBytes: 2 ** 31 })
    }
    expect((await status(1)).blocks.quotaBytes).toBe(2 ** 31)
  }, 300_000)

  test('are not drained where a bucket would not have enough of them', async () => {
    const node = await real.via(0)
    await node.client.json('PUT', '/v1/buckets/wide', { body: { shards: '2+2' } })
    expect(await dfs(['node', 'drain', peerOf(3), '--dry-run', '--data', real.node(0).data])).toMatchObject({ code: 8, stderr: expect.stringContaining('bucket wide (rs:2+2) needs 4 nodes') as string })
    // a removal would be done
    expect(await dfs(['node', 'remove', peerOf(3), '--dry-run', '--data', real.node(0).data])).toMatchObject({ code: 11, stdout: expect.stringContaining('done all the same: bucket wide (rs:2+2) needs 4 nodes') as string })
    expect(await dfs(['node', 'remove', peerOf(0), '--dry-run', '--data', real.node(0).data])).toMatchObject({ code: 8, stderr: expect.stringContaining('does not remove itself') as string })
    expect((await dfs(['node', 'drain', peerOf(3), '--data', real.node(0).data])).code).toBe(8)
    await node.client.json('DELETE', '/v1/buckets/wide')
    node.client.close()
  }, 120_000)

  test('are drained, and when it says so switched off, with nothing missed', async () => {
    const [forecast] = await real.node(0).json<ChangeForecast>(['node', 'drain', peerOf(3), '--dry-run'])
    const leaving = forecast?.nodes.find(({ peerId }) => peerId === peerOf(3))
    expect(leaving).toMatchObject({ change: 'leaves', receiveBytes: 0 })
    expect(forecast?.movedBytes).toBeGreaterThan(0)
    const said = await whileRepairing(real.node(0).json<object>(['node', 'drain', peerOf(3), '--wait'], { timeoutMs: 280_000 }))
    expect(said.at(-1)).toEqual({ peer: peerOf(3), done: true })
    expect((await status(3)).blocks.bytes).toBe(0)
    await real.node(3).stop()
    await expectAll(0)
  }, 300_000)

  test('are replaced while they still answer: what they have goes to the new one, nothing is missed, and then they are out', async () => {
    const old = peerOf(1)
    const [forecast] = await real.node(0).json<ChangeForecast>(['node', 'replace', old, '--dry-run'])
    expect(forecast?.nodes.filter(({ blockPartitions: { receive } }) => receive > 0).map(({ peerId }) => peerId ?? 'the new one')).toEqual(['the new one'])
    let token = ''
    const replacing = real.node(0).run(['node', 'replace', old, '--wait'], { timeoutMs: 280_000, onStdout: (bytes) => { token ||= Buffer.from(bytes).toString().trim() } })
    await until('it gives a token', 30_000, () => token !== '')
    await real.cluster.add(token)
    await whileRepairing(replacing)
    expect(await replacing).toMatchObject({ code: 0, stdout: expect.stringContaining(`${old} is replaced by ${peerOf(4)}`) as string })
    expect((await status(0)).members.map(({ peerId }) => peerId)).not.toContain(old)
    await real.node(1).stop()
    await expectAll(4)
    await expectAll(0)
  }, 420_000)

  test('are killed and replaced by one command, and then any of the others may die', async () => {
    await real.node(2).stop('SIGKILL')
    const lost = peerOf(2)
    const [forecast] = await real.node(0).json<ChangeForecast>(['node', 'replace', lost, '--dry-run'])
    expect(forecast?.nodes.filter(({ blockPartitions: { receive } }) => receive > 0).map(({ peerId }) => peerId ?? 'the new one')).toEqual(['the new one'])
    let token = ''
    const replacing = real.node(0).run(['node', 'replace', lost, '--wait'], { timeoutMs: 280_000, onStdout: (bytes) => { token ||= Buffer.from(bytes).toString().trim() } })
    await until('it gives a token', 30_000, () => token !== '')
    await real.cluster.add(token)
    await whileRepairing(replacing)
    expect(await replacing).toMatchObject({ code: 0, stdout: expect.stringContaining(`${lost} is replaced by ${peerOf(5)}`) as string })
    const now = await status(0)
    expect(now.members.map(({ peerId }) => peerId)).not.toContain(lost)
    isOver = true
    await writing
    await expectAll(5)
    await real.node(4).stop('SIGKILL')
    await expectAll(5)
    expect(written.length).toBeGreaterThan(50)
    expect(failed / (failed + written.length)).toBeLessThan(0.5)
  }, 420_000)
})

test('a node that was away while another joined, which has said itself what it is, knows it, and holds up nothing', async () => {
  await using other = await realCluster(3)
  const statusOf = async (index: number): Promise<NodeStatus> => {
    const { client } = await other.via(index)
    try { return await client.json<NodeStatus>('GET', '/v1/status') } finally { client.close() }
  }
  await other.node(2).stop()
  const fresh = await other.cluster.add()
  expect((await fresh.run(['node', 'set', fresh.ready?.peerId ?? '', '--zone', 'attic'])).code).toBe(0)
  await other.node(2).start()
  const areTogether = ({ layout, members }: NodeStatus): boolean => layout.state === 'settled' && layout.members === 4 && members.filter(({ isConnected }) => isConnected).length === 4
  await until('all know each other, and hold', 120_000, async () => (await Promise.all([0, 1, 2, 3].map(statusOf))).every(areTogether))
}, 240_000)
