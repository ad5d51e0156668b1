import { expect, test } from 'vitest'
import { LocalCluster, until } from '../../scripts/local-cluster.ts'
import { connectLocal } from '../../src/client/index.ts'
import type { NodeStatus } from '../../src/node.ts'
import { noiseBytes } from '../support/file-world.ts'
import { bucketName, digestOfBytes, eachOf, type NodeObjects, objectsOf, statusOf } from '../support/real-cluster.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { tried } from '../support/tried.ts'

/**
 * For a minute, every few seconds, somebody joins, is drained, is killed or comes back, while others write. Who changes the layout and who kills do not wait for each other: nodes die in the middle of joins.
 */
const minutes = Number(process.env.CHURN_MINUTES ?? 1)
const [founders, most] = [3, 6]
const everyMs = 4000
const leastAcknowledged = 100 * minutes
/** Of all kinds together, and of kills with comings back: below that it is no churn. */
const [leastEvents, leastKills] = [10 * minutes, 3 * minutes]

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
  const done = { join: 0, drain: 0, undo: 0, kill: 0, back: 0 }
  const endMs = performance.now() + minutes * 60_000
  let members = founders
  /** Again and again until the time is over, no two closer than `everyMs`. */
  const every = async (act: (turn: number) => Promise<void>): Promise<void> => {
    for (let turn = 0; performance.now() < endMs; turn++) {
      const nextMs = performance.now() + everyMs
      await act(turn)
      await new Promise((resolve) => { setTimeout(resolve, Math.max(0, nextMs - performance.now())) })
    }
  }
  const changing = every(async (turn) => {
    // a command may be refused while the layout is on its way; it is given again later
    if (turn % 3 === 0 && members < most) {
      if (!await hasJoined(cluster)) return
      done.join++
      members++
    } else {
      const isDrained = turn % 3 === 2
      const { peerId } = cluster.node(1 + Math.floor(turn / 3) % (members - 1)).ready ?? { peerId: '' }
      if ((await cluster.node(0).run(['node', 'drain', ...isDrained ? ['--undo'] : ['--force'], peerId])).code === 0) done[isDrained ? 'undo' : 'drain']++
    }
  })
  const killing = every(async (turn) => {
    const victim = cluster.node(1 + turn % (members - 1))
    await victim.stop('SIGKILL')
    done.kill++
    await new Promise((resolve) => { setTimeout(resolve, everyMs / 2) })
    await victim.start()
    done.back++
  })
  await Promise.all([changing, killing])
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
      const found = await foundBy(through, key)
      if (found !== digest || !listed.has(key)) lost.push(`${key}: ${found === digest ? 'not listed' : found}`)
    })
    through.client.close()
  }
  const events = Object.values(done).reduce((sum, times) => sum + times, 0)
  tried(task, { what: `join ${done.join}, drain ${done.drain}, undo ${done.undo}, kill ${done.kill}, back ${done.back} in ${minutes} min`, times: events, acknowledged: acknowledged.size, lost: lost.length })
  expect(lost).toEqual([])
  expect(acknowledged.size).toBeGreaterThanOrEqual(leastAcknowledged)
  expect(Math.min(done.join, done.drain)).toBeGreaterThan(0)
  expect(done.kill).toBeGreaterThanOrEqual(leastKills)
  expect(events).toBeGreaterThanOrEqual(leastEvents)
}, minutes * 60_000 + 600_000)

/** A majority that does not answer in time says nothing about what is there: it is asked again, for a minute. */
async function foundBy (through: NodeObjects, key: string): Promise<string> {
  const endMs = performance.now() + 60_000
  for (;;) {
    try {
      return await through.digest(key)
    } catch (error) {
      if (![503, 504].includes(statusOf(error)) || performance.now() > endMs) return String(error)
    }
  }
}

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
