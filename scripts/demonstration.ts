import { spawn } from 'node:child_process'
import { createCipheriv, createHash, randomBytes } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { rm, stat } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import type { AnnouncementSeen, NodeStatus } from '../src/node.ts'
import { dfsPath, type LocalCluster, type LocalNode, until } from './local-cluster.ts'
import type { Story } from './story.ts'

export const bucket = 'demo'

export interface Demonstration {
  readonly cluster: LocalCluster
  readonly story: Story
  /** An empty folder. */
  readonly work: string
  readonly source: { readonly kind: 'made', readonly sizeBytes: number } | { readonly kind: 'given', readonly path: string }
}

interface Stored {
  readonly target: string
  readonly sizeBytes: number
  readonly sha256: string
}

/** Where the bytes of a get came from. Blocks: a file of up to 4 KiB lies in its row and needs none. */
interface Got {
  readonly node: number
  readonly seconds: number
  readonly ownBytes: number
  readonly peerBytes: ReadonlyMap<number, number>
  /** All blocks that the node's own disk holds, of this file and others. */
  readonly heldBytes: number
}

/**
 * A file put on the first node and read back from every one, also while the first is dead. Whatever does not hold throws. What a run happens not to show
 * is no failure: whether a survivor lacks blocks is for the layout, and substitutes for late holders, to decide; the summary says it.
 */
export async function demonstrate (demonstration: Demonstration): Promise<void> {
  const { cluster, story, source } = demonstration
  cluster.nodes.forEach((node, index) => {
    story.object({ event: 'node', node: index + 1, peerId: node.ready?.peerId, addresses: node.ready?.addresses, api: node.ready?.api, data: node.data, pid: node.pid })
    story.say(`  node ${index + 1}  ${node.ready?.peerId}  ${node.ready?.addresses[0]}  ${node.ready?.api}`)
  })
  const stored = await put(demonstration)

  story.say('\ngetting it from every node')
  for (const index of cluster.nodes.keys()) await get(demonstration, stored, index)

  story.say('\nkilling node 1 (SIGKILL), emptying the caches of the others, getting it again')
  await cluster.node(0).stop('SIGKILL')
  await cluster.ready()
  const degraded: Got[] = []
  for (const index of cluster.nodes.keys().drop(1)) {
    await cluster.node(index).json(['cache', 'clear'])
    degraded.push(await get(demonstration, stored, index))
  }
  const fetched = degraded.filter(({ peerBytes }) => peerBytes.size > 0)
  for (const { node, heldBytes } of degraded.filter((got) => !fetched.includes(got))) {
    if (source.kind === 'made' && stored.sizeBytes > inlineBytes && heldBytes < stored.sizeBytes) throw new Error(`node ${node} holds ${mib(heldBytes)} of blocks, and gave ${mib(stored.sizeBytes)} without a peer`)
  }

  story.say('\nbringing node 1 back')
  await story.tell('node 1 is back', async () => { await cluster.node(0).start(); await cluster.connected(); return {} })
  await get(demonstration, stored, 0)
  conclude(demonstration, stored, fetched)
}

const inlineBytes = 4096

function conclude ({ cluster: { nodes }, story }: Demonstration, { sizeBytes, sha256 }: Stored, fetched: readonly Got[]): void {
  const proved = [
    `${nodes.length} processes, joined by invite; ${mib(sizeBytes)} put on node 1, heard of on node 2, read byte-identical from all ${nodes.length}`,
    'with node 1 killed and the caches empty: read byte-identical from the others',
    ...fetched.map(({ node, ownBytes, peerBytes }) => `of that, node ${node} had ${mib(ownBytes)} on its disk and had to fetch ${textOf(peerBytes)}`),
    'node 1 came back with its folder and serves',
  ]
  const notProved = fetched.length > 0 ? [] : [`that a survivor fetches: ${sizeBytes > inlineBytes ? 'each holds all of this file itself' : 'a file of up to 4 KiB lies in its row, and has nothing to fetch'}; a larger --size shows it`]
  const rates = Object.fromEntries(story.steps.flatMap(({ step, mibPerSecond }) => mibPerSecond === undefined ? [] : [[step, mibPerSecond]]))
  story.say(`\nproved\n${lines(proved)}`)
  if (notProved.length > 0) story.say(`not proved\n${lines(notProved)}`)
  story.say(`rates, MiB/s\n${lines(Object.entries(rates).map(([step, rate]) => `${step.padEnd(36)} ${rate.toFixed(1).padStart(7)}`))}`)
  story.object({ event: 'result', ok: true, nodes: nodes.length, sizeBytes, sha256, proved, notProved, mibPerSecond: rates, steps: story.steps })
}

const lines = (texts: readonly string[]): string => texts.map((text) => `  ${text}`).join('\n')
const mib = (bytes: number): string => `${(bytes / 1024 ** 2).toFixed(1)} MiB`
const rateOf = (bytes: number, seconds: number): number => Math.round(bytes / 1024 ** 2 / seconds * 10) / 10
const textOf = (peerBytes: Got['peerBytes']): string => [...peerBytes].map(([node, bytes]) => `${mib(bytes)} from node ${node}`).join(', ')

async function put ({ cluster, story, work, source }: Demonstration): Promise<Stored> {
  const [first, second] = [cluster.node(0), cluster.node(1)]
  const file = source.kind === 'made' ? await madeFile(join(work, 'file'), source.sizeBytes) : source.path
  const target = `${bucket}/${basename(file)}`
  const stored = { target, sizeBytes: (await stat(file)).size, sha256: await sha256Of(file) }
  const buckets = await first.json<{ name: string }>(['bucket', 'ls'])
  if (!buckets.some(({ name }) => name === bucket)) await first.json(['bucket', 'create', bucket, '--redundancy', 'rf:2'])

  story.say(`\nputting ${mib(stored.sizeBytes)} on node 1 as ${target} (two copies of every block)`)
  const watcher = await watch(second)
  try {
    const { seconds, mibPerSecond, versionId } = await story.tell('put on node 1', async () => {
      const info = await putWithProgress(first, file, target, story)
      return { ...info, mibPerSecond: rateOf(stored.sizeBytes, info.seconds) }
    })
    story.say(`  acknowledged after ${seconds.toFixed(2)} s, ${mibPerSecond} MiB/s`)
    const { from, object } = await story.tell('announced to node 2', async () => watcher.announced(versionId))
    story.say(`  announced: node 2 heard from ${nodeNamed(cluster, from)} of ${object === undefined ? 'it' : `${object.bucket}/${object.key}`}, version ${versionId}`)
  } finally {
    watcher.end()
  }
  return stored
}

const numberOf = (cluster: LocalCluster, peerId: string): number => cluster.nodes.findIndex(({ ready }) => ready?.peerId === peerId) + 1
const nodeNamed = (cluster: LocalCluster, peerId: string): string => `node ${numberOf(cluster, peerId)}`

async function get ({ cluster, story, work }: Demonstration, { target, sizeBytes, sha256 }: Stored, index: number): Promise<Got> {
  const [node, number] = [cluster.node(index), index + 1]
  const output = join(work, `out-${number}`)
  const when = !cluster.node(0).isRunning ? ', node 1 dead' : story.steps.some(({ step }) => step === 'node 1 is back') ? ', back again' : ''
  const facts = await story.tell(`get on node ${number}${when}`, async () => {
    const [got] = await node.json<{ seconds: number, sources: { local: number, cache: number, peers: Record<string, number> } }>(['get', target, output], { timeoutMs: 600_000 })
    if (got === undefined) throw new Error('dfs get --json printed nothing')
    if (await sha256Of(output) !== sha256) throw new Error(`node ${number} gave other bytes than were put`)
    return { ...got, mibPerSecond: rateOf(sizeBytes, got.seconds), identical: true }
  })
  await rm(output)
  const { seconds, mibPerSecond, sources: { local, cache, peers } } = facts
  const peerBytes = new Map(Object.entries(peers).map(([peer, bytes]) => [numberOf(cluster, peer), bytes]))
  const from = [`${mib(local)} from its own disk`, ...(cache > 0 ? [`${mib(cache)} from its cache`] : []), ...(peerBytes.size > 0 ? [textOf(peerBytes)] : [])]
  story.say(`  node ${number}  identical  ${seconds.toFixed(2)} s  ${mibPerSecond} MiB/s  ${from.join(', ')}`)
  const [status] = await node.json<NodeStatus>(['status'])
  return { node: number, seconds, ownBytes: local, peerBytes, heldBytes: status?.blocks.bytes ?? 0 }
}

async function putWithProgress (node: LocalNode, file: string, target: string, story: Story): Promise<{ seconds: number, versionId: string }> {
  // its progress line goes to this terminal
  const child = spawn(dfsPath, ['put', file, target, '--data', node.data, '--json'], { stdio: ['ignore', 'pipe', story.isJson ? 'ignore' : 'inherit'] })
  const output: Buffer[] = []
  child.stdout.on('data', (bytes: Buffer) => { output.push(bytes) })
  const code = await new Promise<number | null>((done, failed) => { child.on('error', failed); child.on('close', done) })
  if (code !== 0) throw new Error(`dfs put ended with ${code}`)
  return JSON.parse(Buffer.concat(output).toString()) as { seconds: number, versionId: string }
}

/** `dfs watch` on a node, until an announcement of a version is seen. */
async function watch (node: LocalNode): Promise<{ announced (versionId: string): Promise<AnnouncementSeen>, end (): void }> {
  const child = spawn(dfsPath, ['watch', '--data', node.data, '--json'], { stdio: ['ignore', 'pipe', 'inherit'] })
  let seen = ''
  child.stdout.on('data', (bytes: Buffer) => { seen += bytes.toString() })
  // the command says that it listens before anything is put, or the announcement could pass it by
  await until('dfs watch listens', 20_000, () => seen.includes('"watching"'))
  const lineOf = (versionId: string): string | undefined => seen.split('\n').slice(0, -1).find((line) => line.includes(versionId))
  return {
    async announced (versionId) {
      await until('node 2 hears the announcement', 20_000, () => lineOf(versionId) !== undefined)
      return JSON.parse(lineOf(versionId) ?? '') as AnnouncementSeen
    },
    end: () => { child.kill() },
  }
}

/** A file that neither compresses nor repeats, and differs from run to run. */
async function madeFile (path: string, sizeBytes: number): Promise<string> {
  const stream = createCipheriv('aes-128-ctr', randomBytes(16), randomBytes(16))
  const zeros = Buffer.alloc(1024 ** 2)
  await pipeline(async function * () {
    for (let left = sizeBytes; left > 0; left -= zeros.byteLength) yield stream.update(zeros.subarray(0, Math.min(left, zeros.byteLength)))
  }, createWriteStream(path))
  return path
}

async function sha256Of (path: string): Promise<string> {
  const digest = createHash('sha256')
  await pipeline(createReadStream(path, { highWaterMark: 1024 ** 2 }), digest)
  return digest.digest('hex')
}
