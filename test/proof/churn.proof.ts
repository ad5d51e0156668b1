import { rm } from 'node:fs/promises'
import { setTimeout } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { LocalCluster, type LocalNode, until } from '../../scripts/local-cluster.ts'
import { connectLocal } from '../../src/client/index.ts'
import type { NodeStatus } from '../../src/node.ts'
import { noiseBytes } from '../support/file-world.ts'
import { bucketName, digestOfBytes, eachOf, type NodeObjects, objectsOf, statusOf } from '../support/real-cluster.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { tried } from '../support/tried.ts'

/**
 * For a minute, every few seconds, somebody joins, is drained, is killed or comes back, while others write, and read what was acknowledged. Who changes the layout and who kills do not wait for each other:
 * nodes die in the middle of joins.
 */
const minutes = Number(process.env.CHURN_MINUTES ?? 1)
const moves = Number(process.env.MOVES ?? 1)
const [founders, most] = [3, 6]
const [everyMs, longestMoreMs] = [4000, 60_000]
const [leastAcknowledged, leastReads] = [100 * minutes, 100 * minutes]
/** Of the move. */
const [leastBefore, leastAfter] = [60, 10]
/** Of all kinds together, and of kills with comings back: below that it is no churn. */
const [leastEvents, leastKills] = [10 * minutes, 3 * minutes]

test(`joining, draining, killing and coming back every few seconds for ${minutes} min, while three write and one reads: nothing acknowledged is lost`, async ({ task }) => {
  await using folder = await temporaryFolder()
  await using cluster = new LocalCluster(folder.path, { options: () => ['--evict-after', '20s'] })
  const first = await founded(cluster)
  first.client.close()
  await using clients = new Clients(cluster)
  clients.begin(3)
  const done = { join: 0, drain: 0, undo: 0, kill: 0, back: 0 }
  const endMs = performance.now() + minutes * 60_000
  let members = founders
  /** Again and again until the time is over, no two closer than `everyMs`; a little longer where a join, or a drain, takes that long. */
  const every = async (act: (turn: number) => Promise<void>): Promise<void> => {
    for (let turn = 0; performance.now() < endMs + (Math.min(done.join, done.drain) === 0 ? longestMoreMs : 0); turn++) {
      const nextMs = performance.now() + everyMs
      await act(turn)
      await setTimeout(Math.max(0, nextMs - performance.now()))
    }
  }
  let step = 0
  const changing = every(async () => {
    // a command may be refused while the layout is on its way; it is given again later, and a join, of which a short time has one, at once
    if (step % 3 === 0 && members < most) {
      if (!await hasJoined(cluster)) return
      done.join++
      members++
    } else {
      const isDrained = step % 3 === 2
      const { peerId } = cluster.node(1 + Math.floor(step / 3) % (members - 1)).ready ?? { peerId: '' }
      if ((await cluster.node(0).run(['node', 'drain', ...isDrained ? ['--undo'] : ['--force'], peerId])).code === 0) done[isDrained ? 'undo' : 'drain']++
    }
    step++
  })
  const killing = every(async (turn) => {
    const victim = cluster.node(1 + turn % (members - 1))
    await victim.stop('SIGKILL')
    done.kill++
    await setTimeout(everyMs / 2)
    await victim.start()
    done.back++
  })
  await Promise.all([changing, killing])
  await clients.stopped()
  await cluster.connected({ timeoutMs: 60_000 })
  await until('the layout has come to rest', 180_000, async () => (await statusAt(cluster.node(0))).layout.state === 'settled')
  const lost = [...clients.missed, ...await lostOf([cluster.node(0), cluster.nodes.at(-1) as LocalNode], clients.acknowledged)]
  const { acknowledged, reads } = clients
  const events = Object.values(done).reduce((sum, times) => sum + times, 0)
  tried(task, { what: `join ${done.join}, drain ${done.drain}, undo ${done.undo}, kill ${done.kill}, back ${done.back} in ${minutes} min, ${reads} reads`, times: events, acknowledged: acknowledged.size, lost: lost.length })
  expect(lost).toEqual([])
  expect(acknowledged.size).toBeGreaterThanOrEqual(leastAcknowledged)
  expect(reads).toBeGreaterThanOrEqual(leastReads)
  expect(Math.min(done.join, done.drain)).toBeGreaterThan(0)
  expect(done.kill).toBeGreaterThanOrEqual(leastKills)
  expect(events).toBeGreaterThanOrEqual(leastEvents)
}, minutes * 60_000 + 600_000)

/**
 * All who are there are drained while as many come. When it is said of the old ones that they may be switched off their processes are killed and their folders removed: what of rows and blocks was not handed over
 * before is gone.
 */
if (moves > 0) test('a move to other nodes, while two write and one reads: nothing acknowledged is lost with the nodes of before', async ({ task }) => {
  await using folder = await temporaryFolder()
  await using cluster = new LocalCluster(folder.path)
  const objects = await founded(cluster)
  await using clients = new Clients(cluster, { restMs: 200 })
  clients.begin(2)
  await until('something is there to be moved', 60_000, () => clients.acknowledged.size >= leastBefore)
  const old = [...cluster.nodes]
  const leaving = old.map(({ ready }) => ready?.peerId ?? '')
  await Promise.all(old.map(async () => cluster.add()))
  // all at once: of those that decide before, none decides afterwards
  await Promise.all(leaving.map(async (peer) => objects.client.json('PATCH', `/v1/members/${peer}`, { body: { draining: true, force: true } })))
  objects.client.close()
  const [fresh] = cluster.nodes.slice(old.length) as [LocalNode]
  await until('all of before may be switched off', 400_000, async () => {
    expect(clients.missed).toEqual([])
    const { change } = await statusAt(fresh)
    return leaving.every((peer) => change?.mayBeSwitchedOff.includes(peer) === true)
  })
  for (const node of old) await node.stop('SIGKILL')
  await Promise.all(old.map(async ({ data }) => rm(data, { recursive: true })))
  const before = clients.acknowledged.size
  await until('something is written afterwards', 60_000, () => clients.acknowledged.size >= before + leastAfter)
  await clients.stopped()
  const lost = [...clients.missed, ...await lostOf(cluster.nodes.slice(old.length), clients.acknowledged)]
  tried(task, { what: 'move of three nodes to three others', times: 1, acknowledged: clients.acknowledged.size, lost: lost.length })
  expect(lost).toEqual([])
  expect(clients.reads).toBeGreaterThanOrEqual(leastBefore)
}, 600_000)

async function founded (cluster: LocalCluster): Promise<NodeObjects> {
  await cluster.grow(founders)
  const objects = await through(cluster.node(0))
  await objects.client.json('PUT', `/v1/buckets/${bucketName}`, { body: {} })
  return objects
}

const through = async (node: LocalNode): Promise<NodeObjects> => objectsOf(await connectLocal(node.data))
const running = ({ nodes }: LocalCluster): readonly LocalNode[] => nodes.filter(({ isRunning }) => isRunning)

/** Who write, each through one node after the other, and who reads what was acknowledged, the last and some other in turn. */
class Clients implements AsyncDisposable {
  readonly acknowledged = new Map<string, string>()
  /** What a read that began after the acknowledgement did not find. */
  readonly missed: string[] = []
  reads = 0
  readonly #cluster: LocalCluster
  #isOver = false
  readonly #restMs: number
  #atWork: Array<Promise<void>> = []

  /** `restMs`: between two of one client, where what they disturb is to end soon. */
  constructor (cluster: LocalCluster, { restMs = 0 }: { restMs?: number } = {}) {
    this.#cluster = cluster
    this.#restMs = restMs
  }

  begin (writers: number): void { this.#atWork = [...Array.from({ length: writers }, async (_, writer) => this.#write(writer)), this.#read()] }

  async stopped (): Promise<void> {
    this.#isOver = true
    await Promise.all(this.#atWork)
  }

  async [Symbol.asyncDispose] (): Promise<void> { await this.stopped() }

  async #write (writer: number): Promise<void> {
    for (let i = 0; !this.#isOver; i++, await setTimeout(this.#restMs)) {
      const [key, content] = [`${writer}/${i}`, noiseBytes([800, 30_000, 400_000][i % 3] ?? 0, writer * 100_000 + i)]
      // what is not acknowledged counts for nothing
      await this.#via(writer + i, async (objects) => {
        await objects.put(key, content)
        this.acknowledged.set(key, digestOfBytes(content))
      }).catch(async () => setTimeout(50))
    }
  }

  async #read (): Promise<void> {
    for (let i = 0; !this.#isOver; i++, await setTimeout(this.#restMs)) {
      const keys = [...this.acknowledged.keys()]
      const key = keys[i % 2 === 0 ? keys.length - 1 : (i * 7919) % keys.length]
      if (key === undefined) { await setTimeout(50); continue }
      try {
        const found = await this.#via(i, async (objects) => objects.digest(key))
        this.reads++
        if (found !== this.acknowledged.get(key)) this.missed.push(`${key}: read as ${found} meanwhile`)
      } catch (error) {
        // whoever dies, and a majority that does not answer, says nothing of what is there
        if (statusOf(error) === 404) this.missed.push(`${key}: not found meanwhile`)
      }
    }
  }

  async #via<T> (turn: number, act: (objects: NodeObjects) => Promise<T>): Promise<T> {
    const nodes = running(this.#cluster)
    const objects = await through(nodes[turn % nodes.length] as LocalNode)
    try { return await act(objects) } finally { objects.client.close() }
  }
}

/** What is not read as it was put, or not listed, through each of these. */
async function lostOf (nodes: readonly LocalNode[], acknowledged: ReadonlyMap<string, string>): Promise<readonly string[]> {
  const lost: string[] = []
  for (const node of nodes) {
    const objects = await through(node)
    const listed = new Set(await objects.keys())
    await eachOf(acknowledged, 6, async ([key, digest]) => {
      const found = await foundBy(objects, key)
      if (found !== digest || !listed.has(key)) lost.push(`${key} through ${node.data}: ${found === digest ? 'not listed' : found}`)
    })
    objects.client.close()
  }
  return lost
}

async function statusAt (node: LocalNode): Promise<NodeStatus> {
  const { client } = await through(node)
  try { return await client.json<NodeStatus>('GET', '/v1/status') } finally { client.close() }
}

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
  const before = cluster.nodes.length
  try {
    await cluster.add()
    return true
  } catch (error) {
    process.stderr.write(`a join failed: ${String(error)}\n`)
    // where no invite was to be had none was made
    if (cluster.nodes.length > before) cluster.nodes.pop()
    return false
  }
}
