import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { pipeline } from 'node:stream/promises'
import { spawn } from 'node:child_process'
import { dfsPath, LocalCluster, type LocalNode, until } from './local-cluster.ts'

/**
 * `npm run cluster`: nodes on this machine, each a process of its own with its own folder, joined by invite; a real file put on the first and read back
 * from every one, also while the first is dead. Then it stays up to be played with, or with --exit cleans up and says what was proved.
 */
const usage = `npm run cluster -- [--nodes N] [--size 256MiB | --file F] [--data DIR] [--exit] [--json]

  --nodes N     how many nodes, 3 to 16 (3)
  --size SIZE   size of the file that is made and stored, e.g. 64MiB, 1GiB (256MiB)
  --file F      store this file instead
  --data DIR    keep the nodes' folders here (a temporary folder that is removed at the end)
  --exit        stop when everything is shown; exit code 0 only if all of it held
  --json        one JSON object a node when it is up, and one, last, for the result`

const bucket = 'demo'

interface Options { nodes: number, sizeBytes: number, file: string | undefined, data: string | undefined, exit: boolean, json: boolean }

function optionsOf (args: string[]): Options {
  const { values } = parseArgs({ args, options: { nodes: { type: 'string', default: '3' }, size: { type: 'string', default: '256MiB' }, file: { type: 'string' }, data: { type: 'string' }, exit: { type: 'boolean', default: false }, json: { type: 'boolean', default: false }, help: { type: 'boolean', default: false } } })
  if (values.help) { console.log(usage); process.exit(0) }
  const nodes = Number(values.nodes)
  if (!Number.isInteger(nodes) || nodes < 3 || nodes > 16) throw new Error(`--nodes takes 3 to 16, not "${values.nodes}"`)
  return { nodes, sizeBytes: sizeOf(values.size), file: values.file, data: values.data, exit: values.exit, json: values.json }
}

function sizeOf (text: string): number {
  const match = /^(\d+)(B|KiB|MiB|GiB)?$/.exec(text)
  if (match === null) throw new Error(`--size takes a number with B, KiB, MiB or GiB, not "${text}"`)
  return Number(match[1]) * 1024 ** ['B', 'KiB', 'MiB', 'GiB'].indexOf(match[2] ?? 'B')
}

/** Steps with their outcome, told as they happen. */
class Story {
  readonly #isJson: boolean
  readonly steps: Array<{ step: string, seconds: number, [fact: string]: unknown }> = []
  constructor (isJson: boolean) { this.#isJson = isJson }

  say (text: string): void { if (!this.#isJson) console.log(text) }
  object (value: object): void { if (this.#isJson) console.log(JSON.stringify(value)) }

  async tell<T extends object> (step: string, act: () => Promise<T>): Promise<T> {
    const start = performance.now()
    const facts = await act()
    this.steps.push({ step, seconds: round((performance.now() - start) / 1000), ...facts })
    return facts
  }
}

const round = (value: number): number => Math.round(value * 1000) / 1000
const mib = (bytes: number): string => `${(bytes / 1024 ** 2).toFixed(1)} MiB`
const rate = (bytes: number, seconds: number): string => `${(bytes / 1e6 / seconds).toFixed(0)} MB/s`

async function main (): Promise<void> {
  const options = optionsOf(process.argv.slice(2))
  const folder = options.data === undefined ? await mkdtemp(join(tmpdir(), 'dfs-cluster-')) : resolve(options.data)
  await mkdir(folder, { recursive: true })
  const cluster = new LocalCluster(folder)
  const story = new Story(options.json)
  let isCleaned = false
  const clean = async (): Promise<void> => {
    if (isCleaned) return
    isCleaned = true
    await cluster.stop('SIGTERM')
    if (options.data === undefined) await rm(folder, { recursive: true, force: true })
    else await rm(join(folder, 'work'), { recursive: true, force: true })
  }
  const interrupted = new Promise<void>((done) => { for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => { done() }) })
  const stopEarly = async (): Promise<never> => { await interrupted; await clean(); process.exit(130) }

  try {
    await Promise.race([show(cluster, story, options, join(folder, 'work')), stopEarly()])
    if (!options.exit) {
      invitation(cluster, story)
      await interrupted
      story.say('\nstopping')
    }
    await clean()
  } catch (error) {
    await clean()
    story.object({ event: 'result', ok: false, reason: error instanceof Error ? error.message : String(error), steps: story.steps })
    console.error(`\nfailed: ${error instanceof Error ? error.message : String(error)}`)
    process.exitCode = 1
    return
  }
  process.exitCode = 0
}

async function show (cluster: LocalCluster, story: Story, options: Options, work: string): Promise<void> {
  await rm(work, { recursive: true, force: true })
  await mkdir(work)
  story.say(`starting ${options.nodes} nodes, each a process with a folder of its own`)
  await cluster.grow(options.nodes)
  for (const [index, node] of cluster.nodes.entries()) {
    story.object({ event: 'node', node: index + 1, peerId: node.ready?.peerId, addresses: node.ready?.addresses, api: node.ready?.api, data: node.data, pid: node.pid })
    story.say(`  node ${index + 1}  ${node.ready?.peerId}  ${node.ready?.addresses[0]}  ${node.ready?.api}`)
  }

  const first = cluster.node(0)
  const file = options.file === undefined ? await madeFile(join(work, 'file'), options.sizeBytes) : resolve(options.file)
  const sizeBytes = (await stat(file)).size
  const digest = await sha256(file)
  const key = basename(file)
  const target = `${bucket}/${key}`
  await first.json(['bucket', 'create', bucket, '--redundancy', 'rf:2'])

  story.say(`\nputting ${mib(sizeBytes)} on node 1 into bucket "${bucket}" (two copies of every block)`)
  const watcher = await watch(cluster.node(1))
  const put = await story.tell('put on node 1', async () => putWithProgress(first, file, target, options.json))
  story.say(`  acknowledged after ${put.seconds} s, ${rate(sizeBytes, put.seconds)}`)
  await story.tell('announced to node 2', async () => ({ versionId: await watcher.announced(put.versionId) }))
  story.say('  announced: node 2 heard of it')
  watcher.end()

  story.say('\ngetting it from every node')
  for (const index of cluster.nodes.keys()) await getAndCompare({ cluster, story, index, target, digest, sizeBytes, work, mustFetch: false })

  story.say('\nkilling node 1 (SIGKILL), emptying the caches of the others, getting it again')
  await first.stop('SIGKILL')
  const survivors = cluster.nodes.keys().drop(1).toArray()
  let fetchedBytes = 0
  for (const index of survivors) {
    await cluster.node(index).json(['cache', 'clear'])
    fetchedBytes += (await getAndCompare({ cluster, story, index, target, digest, sizeBytes, work, mustFetch: sizeBytes > 16 * 1024 ** 2 })).fromPeers
  }

  story.say('\nbringing node 1 back')
  await story.tell('node 1 is back', async () => { await first.start(); await cluster.connected(); return {} })
  await getAndCompare({ cluster, story, index: 0, target, digest, sizeBytes, work, mustFetch: false })

  story.say(`\nproved: ${options.nodes} processes; ${mib(sizeBytes)} put on node 1 and read byte-identical from all ${options.nodes};` +
    `\n        with node 1 killed, read again from the others (${mib(fetchedBytes)} fetched from each other); node 1 came back and serves`)
  story.object({ event: 'result', ok: true, nodes: options.nodes, sizeBytes, sha256: digest, steps: story.steps })
}

interface GetCase { cluster: LocalCluster, story: Story, index: number, target: string, digest: string, sizeBytes: number, work: string, mustFetch: boolean }
interface GetFacts { seconds: number, sources: { local: number, cache: number, peers: Record<string, number> } }

async function getAndCompare ({ cluster, story, index, target, digest, sizeBytes, work, mustFetch }: GetCase): Promise<{ fromPeers: number }> {
  const output = join(work, `out-${index + 1}`)
  await rm(output, { force: true })
  const isDegraded = !cluster.node(0).isRunning
  const facts = await story.tell(`get on node ${index + 1}${isDegraded ? ' while node 1 is dead' : ''}`, async () => {
    const [got] = await cluster.node(index).json<GetFacts>(['get', target, output], { timeoutMs: 600_000 })
    if (got === undefined) throw new Error('dfs get --json printed nothing')
    if (await sha256(output) !== digest) throw new Error(`node ${index + 1} gave other bytes than were put`)
    return { ...got, identical: true }
  })
  await rm(output)
  const numbers = new Map(cluster.nodes.map((node, i) => [node.ready?.peerId ?? '', i + 1]))
  const peers = Object.entries(facts.sources.peers).map(([peer, bytes]) => `${mib(bytes)} from node ${numbers.get(peer) ?? peer}`)
  const fromPeers = Object.values(facts.sources.peers).reduce((sum, bytes) => sum + bytes, 0)
  const own = [`${mib(facts.sources.local)} from its own disk`, ...(facts.sources.cache > 0 ? [`${mib(facts.sources.cache)} from its cache`] : [])]
  story.say(`  node ${index + 1}  identical  ${facts.seconds.toFixed(2)} s  ${rate(sizeBytes, facts.seconds)}  ${[...own, ...peers].join(', ')}`)
  if (mustFetch && fromPeers === 0) throw new Error(`node ${index + 1} was to fetch from a peer and did not`)
  return { fromPeers }
}

async function putWithProgress (node: LocalNode, file: string, target: string, isJson: boolean): Promise<{ seconds: number, versionId: string }> {
  const child = spawn(dfsPath, ['put', file, target, '--data', node.data, '--json'], { stdio: ['ignore', 'pipe', isJson ? 'ignore' : 'inherit'] })
  const output: Buffer[] = []
  child.stdout.on('data', (bytes: Buffer) => { output.push(bytes) })
  const code = await new Promise<number | null>((done, failed) => { child.on('error', failed); child.on('close', done) })
  if (code !== 0) throw new Error(`dfs put ended with ${code}`)
  return JSON.parse(Buffer.concat(output).toString()) as { seconds: number, versionId: string }
}

/** `dfs watch` on a node, until an announcement of a version is seen. */
async function watch (node: LocalNode): Promise<{ announced (versionId: string): Promise<string>, end (): void }> {
  const child = spawn(dfsPath, ['watch', '--data', node.data, '--json'], { stdio: ['ignore', 'pipe', 'inherit'] })
  let seen = ''
  child.stdout.on('data', (bytes: Buffer) => { seen += bytes.toString() })
  // the command says that it listens before anything is put, or the announcement could pass it by
  await until('dfs watch listens', 20_000, () => seen.includes('"watching"'))
  return {
    async announced (versionId) {
      await until('node 2 hears the announcement', 20_000, () => seen.includes(versionId))
      return versionId
    },
    end: () => { child.kill() },
  }
}

/** A file that neither compresses nor repeats, and differs from run to run. */
async function madeFile (path: string, sizeBytes: number): Promise<string> {
  const { createCipheriv, randomBytes } = await import('node:crypto')
  const stream = createCipheriv('aes-128-ctr', randomBytes(16), randomBytes(16))
  const zeros = Buffer.alloc(1024 ** 2)
  await pipeline(async function * () {
    for (let left = sizeBytes; left > 0; left -= zeros.byteLength) yield stream.update(zeros.subarray(0, Math.min(left, zeros.byteLength)))
  }, createWriteStream(path))
  return path
}

async function sha256 (path: string): Promise<string> {
  const digest = createHash('sha256')
  await pipeline(createReadStream(path, { highWaterMark: 1024 ** 2 }), digest)
  return digest.digest('hex')
}

function invitation (cluster: LocalCluster, story: Story): void {
  const [one, two] = [cluster.node(0), cluster.node(1)]
  story.say(`\nThe cluster stays up until Ctrl-C. To play with it:
  ./bin/dfs status --data ${one.data}
  ./bin/dfs put README.md ${bucket}/readme --data ${one.data}
  ./bin/dfs get ${bucket}/readme - --data ${two.data}
  ./bin/dfs ls ${bucket} --data ${two.data}
  ./bin/dfs watch --data ${two.data}`)
}

await main()
