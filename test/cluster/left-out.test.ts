import { afterAll, beforeAll, expect, test } from 'vitest'
import { until } from '../../scripts/local-cluster.ts'
import type { NodeStatus } from '../../src/node.ts'
import { noiseBytes } from '../support/file-world.ts'
import { eachOf, realCluster, type RealCluster } from '../support/real-cluster.ts'

/** Four real processes with a bucket of one copy; one of them is left out of the layout, and had what nobody else has. */
let real: RealCluster
beforeAll(async () => {
  real = await realCluster(4, { copies: 1, options: () => ['--evict-after', '4s'] })
  await putSome('before')
}, 120_000)
afterAll(async () => { await real?.[Symbol.asyncDispose]() })

async function putSome (prefix: string): Promise<void> {
  const node = await real.via(0)
  await eachOf(Array.from({ length: 24 }, (_, i) => i), 4, async (i) => { await node.put(`${prefix}/${i}`, noiseBytes(60_000, `${prefix}${i}`.length * 100 + i)) })
}
async function nodeStatus (index: number): Promise<NodeStatus> {
  const { client } = await real.via(index)
  try { return await client.json<NodeStatus>('GET', '/v1/status') } finally { client.close() }
}
const linesAt = async (index: number): Promise<readonly string[]> => (await nodeStatus(index)).health.filter((line) => line.includes('left out'))
const settledWith = async (members: number): Promise<void> => until(`a settled layout of ${members}`, 60_000, async () => {
  const all = await Promise.all([0, 1, 2].map(nodeStatus))
  return all.every(({ layout, change }) => layout.state === 'settled' && layout.members === members && change?.isDone === true)
})

test('that a node was left out with what nobody else has is told, over a restart too, until it is back, and until it was looked at when it is gone for good (status said that all was well)', async () => {
  await real.node(3).stop('SIGKILL')
  await settledWith(3)
  for (const index of [0, 1, 2]) expect(await linesAt(index)).toEqual([expect.stringContaining(real.node(3).ready?.peerId ?? '?')])
  await real.node(1).stop('SIGKILL')
  await real.node(1).start()
  await until('node 2 serves again', 30_000, async () => (await nodeStatus(1)).isReady)
  expect(await linesAt(1)).toHaveLength(1)

  await real.node(3).start()
  await until('it is taken in again', 60_000, async () => (await nodeStatus(0)).layout.members === 4)
  await until('it is told no more', 60_000, async () => (await Promise.all([0, 1, 2].map(linesAt))).flat().length === 0)

  // what it had meanwhile has been brought to others
  await putSome('again')
  const gone = real.node(3).ready?.peerId ?? '?'
  await real.node(3).stop('SIGKILL')
  expect((await real.node(0).run(['node', 'remove', gone])).code).toBe(0)
  await settledWith(3)
  expect(await linesAt(0)).toEqual([expect.stringContaining(gone)])
  const { code, stdout } = await real.node(0).run(['status', '--json'])
  expect([code, (JSON.parse(stdout) as NodeStatus).isDegraded]).toEqual([11, true])
  expect((await real.node(0).run(['doctor', '--json'])).stdout).toContain('"left-out"')

  expect((await real.node(0).run(['verify'])).code).not.toBe(0)
  expect(await linesAt(0)).toEqual([])
}, 240_000)
