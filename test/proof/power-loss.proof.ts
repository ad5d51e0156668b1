import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { LocalCluster } from '../../scripts/local-cluster.ts'
import { seededRandom } from '../../src/base/random.ts'
import { connectLocal } from '../../src/client/index.ts'
import { noiseBytes } from '../support/file-world.ts'
import { ImageDisk, whyNoImages } from '../support/image-disk.ts'
import { bucketName, digestOfBytes, eachOf, type NodeObjects, objectsOf, statusOf } from '../support/real-cluster.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { tried } from '../support/tried.ts'

/**
 * Three nodes lose their power at once, again and again: each has a disk of its own in a file, the processes are stopped where they are, and what the files
 * hold at that moment is all that is left.
 */
const rounds = Number(process.env.POWER_LOSSES ?? 20)
/** Of what the same loses without fsync. */
const roundsWithout = Number(process.env.POWER_LOSSES_WITHOUT ?? 3)
const leastAcknowledged = 100 * rounds
const nodes = 3
const writers = 12
/** Sparse; above the reserve that a node keeps free. */
const diskBytes = 4 * 1024 ** 3
const random = seededRandom(Number(process.env.KILL_SEED ?? 5))

/** In the row, as a small block, as a file. */
const sizes = [300, 20_000, 1000, 200_000]
const without = { LD_PRELOAD: 'libeatmydata.so' }
const canLeaveOut = ['/usr/lib/x86_64-linux-gnu/libeatmydata.so', '/usr/lib/aarch64-linux-gnu/libeatmydata.so'].some(existsSync)

const impossible = await whyNoImages()
if (impossible !== undefined) process.stderr.write(`SKIPPED: loss of power cannot be tried here: ${impossible}\n`)
if (!canLeaveOut) process.stderr.write('SKIPPED: that the harness would see a loss cannot be shown without libeatmydata (Debian: libeatmydata1)\n')

interface Outcome { readonly acknowledged: number, readonly lost: readonly string[], readonly rounds: number }

async function losingPower ({ times, env }: { times: number, env?: Readonly<Record<string, string>> }): Promise<Outcome> {
  await using open = new AsyncDisposableStack()
  const folder = open.use(await temporaryFolder())
  const disks = await Promise.all(Array.from({ length: nodes }, async (_, i) => ImageDisk.make(join(folder.path, `disk-${i + 1}`), join(folder.path, `node-${i + 1}`), { sizeBytes: diskBytes })))
  for (const disk of disks) open.defer(async () => { await disk.remove() })
  const cluster = open.use(new LocalCluster(folder.path))
  await cluster.grow(nodes)
  const first = await connectLocal(cluster.node(0).data)
  await first.json('PUT', `/v1/buckets/${bucketName}`, { body: { copies: nodes } })
  first.close()
  const acknowledged = new Map<string, string>()
  const lost: string[] = []
  let round = 0
  while (round < times && lost.length === 0) {
    if (env !== undefined) await restarted(cluster, env)
    const before = acknowledged.size
    await writing(cluster, { round, acknowledged, until: () => acknowledged.size - before >= 100 + Math.floor(random.fraction() * 60) })
    for (const node of cluster.nodes) node.freeze()
    await Promise.all(disks.map(async (disk, i) => disk.losePower(async () => cluster.node(i).stop('SIGKILL'))))
    lost.push(...await missing(cluster, acknowledged).catch((error: unknown) => [`not all nodes came back: ${String(error)}`]))
    round++
  }
  return { acknowledged: acknowledged.size, lost, rounds: round }
}

async function restarted (cluster: LocalCluster, env: Readonly<Record<string, string>>): Promise<void> {
  await cluster.stop()
  await Promise.all(cluster.nodes.map(async (node) => node.start(['start'], { env })))
  await cluster.ready({ timeoutMs: 60_000 })
}

/** Returns in the middle of puts, as many as there are writers; what they are told afterwards nobody hears. */
async function writing (cluster: LocalCluster, { round, acknowledged, until: isEnough }: { round: number, acknowledged: Map<string, string>, until: () => boolean }): Promise<void> {
  const clients = await Promise.all(cluster.nodes.map(async ({ data }) => objectsOf(await connectLocal(data))))
  const enough = Promise.withResolvers<void>()
  let isOver = false
  for (let writer = 0; writer < writers; writer++) {
    void (async () => {
      const through = clients[writer % nodes] as NodeObjects
      for (let i = 0; !isOver; i++) {
        const [key, content] = [`${round}/${writer}/${i}`, noiseBytes(sizes[i % sizes.length] ?? 0, round * 1_000_000 + writer * 10_000 + i)]
        await through.put(key, content)
        if (isOver) return
        acknowledged.set(key, digestOfBytes(content))
        if (isEnough()) enough.resolve()
      }
    })().catch((error: unknown) => { if (!isOver) enough.reject(error) })
  }
  await enough.promise
  isOver = true
}

/** Starts the nodes on what their disks have left, and looks for everything. */
async function missing (cluster: LocalCluster, acknowledged: ReadonlyMap<string, string>): Promise<string[]> {
  await Promise.all(cluster.nodes.map(async (node) => node.start()))
  await cluster.ready({ timeoutMs: 60_000 })
  const clients = await Promise.all(cluster.nodes.map(async ({ data }) => objectsOf(await connectLocal(data))))
  const gone: string[] = []
  const listed = new Set(await (clients[0] as NodeObjects).keys())
  await eachOf([...acknowledged.entries()].entries(), 6, async ([i, [key, digest]]) => {
    const found = await (clients[i % nodes] as NodeObjects).digest(key).catch((error: unknown) => `${statusOf(error)} ${String(error)}`)
    if (found !== digest || !listed.has(key)) gone.push(`${key}: ${found === digest ? 'not listed' : found}`)
  })
  for (const { client } of clients) client.close()
  return gone
}

test.skipIf(impossible !== undefined)(`the power of all three goes ${rounds} times in the middle of puts: nothing that was acknowledged is lost`, async ({ task }) => {
  const outcome = await losingPower({ times: rounds })
  tried(task, { what: 'loss of power of all nodes, with a copy of their disks', times: outcome.rounds, acknowledged: outcome.acknowledged, lost: outcome.lost.length })
  expect(outcome.lost).toEqual([])
  expect(outcome.acknowledged).toBeGreaterThanOrEqual(leastAcknowledged)
}, 60_000 * rounds + 120_000)

if (roundsWithout > 0) test.skipIf(impossible !== undefined || !canLeaveOut)('where fsync does nothing, the same loses what was acknowledged', async ({ task }) => {
  const outcome = await losingPower({ times: roundsWithout, env: without })
  tried(task, { what: 'the same without fsync, which must lose', times: outcome.rounds, acknowledged: outcome.acknowledged, lost: outcome.lost.length })
  expect(outcome.lost.length).toBeGreaterThan(0)
}, 60_000 * roundsWithout + 120_000)
