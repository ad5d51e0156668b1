import { expect, test } from 'vitest'
import { LocalCluster, until } from '../../scripts/local-cluster.ts'
import { connectLocal } from '../../src/client/index.ts'
import type { NodeStatus } from '../../src/node.ts'
import { noiseBytes } from '../support/file-world.ts'
import { bucketName, digestOfBytes, eachOf, type NodeObjects, objectsOf } from '../support/real-cluster.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { tried } from '../support/tried.ts'

/** For a minute, every few seconds, somebody joins, is drained, is killed or comes back, while others write. */
const minutes = Number(process.env.CHURN_MINUTES ?? 1)
const [founders, most] = [3, 6]
const everyMs = 4000
const leastAcknowledged = 100 * minutes

test(`joining, draining, killing and coming back every few seconds for ${minutes} min, while three write: nothing acknowledged is lost`, async ({ task }) => {
  await using folder = await temporaryFolder()
  await using cluster = new LocalCluster(folder.path, { options: () => ['--evict-after', '20s'] })
  await cluster.grow(founders)
  const open = async (index: number): Promise<NodeObjects> => objectsOf(await connectLocal(cluster.node(index).data))
  const first = await open(0)
  await first.client.json('PUT', `/v1/buckets/${bucketName}`, { body: {} })
  first.client.close()
  const acknowledged = new Map<string, string>()
  let isOver = false
  const writers = Promise.all([0, 1, 2].map(async (writer) => {
    for (let i = 0; !isOver; i++) {
      const [key, content] = [`${writer}/${i}`, noiseBytes([800, 30_000, 400_000][i % 3] ?? 0, writer * 100_000 + i)]
      // through one that runs now; what it does not acknowledge counts for nothing
      const running = cluster.nodes.flatMap((node, index) => node.isRunning && index < founders ? [index] : [])
      let through: NodeObjects | undefined
      try {
        through = await open(running[(writer + i) % running.length] ?? 0)
        await through.put(key, content)
        acknowledged.set(key, digestOfBytes(content))
      } catch { await new Promise((resolve) => { setTimeout(resolve, 50) }) } finally { through?.client.close() }
    }
  }))
  const done = { join: 0, drain: 0, undo: 0, kill: 0 }
  const endMs = performance.now() + minutes * 60_000
  for (let turn = 0; performance.now() < endMs; turn++) {
    const nextMs = performance.now() + everyMs
    const victim = 1 + turn % (cluster.nodes.length - 1)
    const { peerId } = cluster.node(victim).ready ?? { peerId: '' }
    // a command may be refused while the layout is on its way; it is given again later
    if (turn % 3 === 0 && cluster.nodes.length < most) {
      if (await hasJoined(cluster)) done.join++
    } else if (turn % 3 === 1) {
      const isDrained = turn % 2 === 0
      if ((await cluster.node(0).run(['node', 'drain', ...isDrained ? ['--undo'] : ['--force'], peerId])).code === 0) done[isDrained ? 'undo' : 'drain']++
    } else {
      await cluster.node(victim).stop('SIGKILL')
      await new Promise((resolve) => { setTimeout(resolve, everyMs / 2) })
      await cluster.node(victim).start()
      done.kill++
    }
    await new Promise((resolve) => { setTimeout(resolve, Math.max(0, nextMs - performance.now())) })
  }
  isOver = true
  await writers
  await cluster.connected({ timeoutMs: 60_000 })
  await until('the layout has come to rest', 180_000, async () => {
    const through = await open(0)
    try { return (await through.client.json<NodeStatus>('GET', '/v1/status')).layout.state === 'settled' } finally { through.client.close() }
  })
  const lost: string[] = []
  for (const index of [0, cluster.nodes.length - 1]) {
    const through = await open(index)
    const listed = new Set(await through.keys())
    await eachOf(acknowledged, 6, async ([key, digest]) => {
      const found = await through.digest(key).catch((error: unknown) => String(error))
      if (found !== digest || !listed.has(key)) lost.push(`${key}: ${found === digest ? 'not listed' : found}`)
    })
    through.client.close()
  }
  tried(task, { what: `join ${done.join}, drain ${done.drain}, undo ${done.undo}, kill ${done.kill} in ${minutes} min`, times: done.join + done.drain + done.undo + done.kill, acknowledged: acknowledged.size, lost: lost.length })
  expect(lost).toEqual([])
  expect(acknowledged.size).toBeGreaterThanOrEqual(leastAcknowledged)
  expect(Math.min(done.join, done.drain, done.kill)).toBeGreaterThan(0)
}, minutes * 60_000 + 600_000)

/** A join that finds nobody to let it in is no loss, and leaves nothing. */
async function hasJoined (cluster: LocalCluster): Promise<boolean> {
  try {
    await cluster.add()
    return true
  } catch (error) {
    process.stderr.write(`a join failed: ${String(error)}\n`)
    cluster.nodes.pop()
    return false
  }
}
