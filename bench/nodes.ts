import { mkdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { connectLocal, type LocalClient, objectPath } from '../src/client/index.ts'
import type { NodeStatus } from '../src/node.ts'
import { LocalCluster, type LocalNode, until } from '../scripts/local-cluster.ts'
import { type ProbeAnswer, probeFolderVariable } from './probe.ts'
import { residentPeakBytes } from './processes.ts'
import { type SocketBytes, totalOf } from './wire.ts'

/** The measured nodes: real processes, driven through the command line and the local API, with a probe in each. */
export class BenchNodes implements AsyncDisposable {
  readonly #cluster: LocalCluster
  readonly #holders: number
  readonly #probeFolder: string
  /** By process: a node that starts anew has another port and token. */
  readonly #clients = new Map<number, LocalClient>()

  private constructor (cluster: LocalCluster, { holders, probeFolder }: { holders: number, probeFolder: string }) {
    this.#holders = holders
    this.#cluster = cluster
    this.#probeFolder = probeFolder
  }

  /** `holders` that keep blocks, then `readers` of capacity 0 and cache 0, which must fetch everything. Buckets copies-1, copies-2 and copies-3 settle who they are. */
  static async start (folder: string, { holders, readers = 0 }: { holders: number, readers?: number }): Promise<BenchNodes> {
    const probeFolder = join(folder, 'probes')
    await mkdir(probeFolder, { recursive: true })
    const cluster = new LocalCluster(folder, { options: (index) => ['--log-level', 'warn', '--s3-listen', '127.0.0.1:0', '--rate-per-key', '1000000', '--rate-per-address', '1000000', ...(index >= holders ? ['--capacity', '0', '--cache', '0'] : [])] })
    const nodes = new BenchNodes(cluster, { holders, probeFolder })
    try {
      await nodes.#probed(async () => { await cluster.grow(holders + readers) })
      for (const copies of [1, 2, 3]) await (await nodes.client(0)).json('PUT', `/v1/buckets/copies-${copies}`, { body: { copies } })
    } catch (error) {
      await nodes[Symbol.asyncDispose]()
      throw error
    }
    return nodes
  }

  get all (): readonly LocalNode[] { return this.#cluster.nodes }
  node (index: number): LocalNode { return this.#cluster.node(index) }

  /** A connection to the API of the index-th node; closed with the nodes. */
  async client (index: number): Promise<LocalClient> {
    const { pid = 0, data } = this.node(index)
    const client = this.#clients.get(pid) ?? await connectLocal(data)
    this.#clients.set(pid, client)
    return client
  }

  async connected (): Promise<void> { await this.#cluster.connected() }

  async restart (index: number): Promise<void> {
    await this.node(index).stop()
    await this.#probed(async () => { await this.node(index).start() })
    await this.connected()
  }

  /** Bytes over the sockets between nodes, the local API's left out: what all of them sent. */
  async sentBetweenNodes (): Promise<number> {
    const bytes = await Promise.all(this.all.filter(({ isRunning }) => isRunning).map(async (node): Promise<SocketBytes> => totalOf((await this.#ask(node)).bytes, { exceptPort: Number(new URL(node.ready?.api ?? '').port) })))
    return bytes.reduce((sum, { sent }) => sum + sent, 0)
  }

  /** Bytes of blocks that all nodes hold. */
  async heldBytes (): Promise<number> {
    const bytes = await Promise.all([...this.all.keys()].map(async (index) => (await (await this.client(index)).json<NodeStatus>('GET', '/v1/status')).blocks.bytes))
    return bytes.reduce((sum, of) => sum + of, 0)
  }

  /** The V8 flags that nodes run under, whoever sets them: for everything that is compared with nodes. */
  async v8Flags (): Promise<readonly string[]> {
    const { flags } = await this.#ask(this.node(0))
    const [, ...args] = (await readFile(`/proc/${this.node(0).pid}/cmdline`, 'utf8')).split('\0')
    return [...args.slice(0, args.findIndex((arg) => !arg.startsWith('-'))), ...flags].filter((flag) => !flag.startsWith('--disable-warning'))
  }

  /** Since each was last started. */
  peaks (): Readonly<Record<string, ReadonlyArray<{ readonly peakBytes: number }>>> {
    return Object.fromEntries([...this.all.entries()].filter(([, { isRunning }]) => isRunning).map(([index, { pid }]) => [`node ${index + 1}${index < this.#holders ? '' : ', holds nothing'}`, [{ peakBytes: residentPeakBytes(pid) ?? Number.NaN }]]))
  }

  async [Symbol.asyncDispose] (): Promise<void> {
    for (const client of this.#clients.values()) client.close()
    await this.#cluster.stop('SIGKILL')
  }

  async #ask ({ pid }: LocalNode): Promise<ProbeAnswer> {
    if (pid === undefined) throw new Error('the node does not run')
    const file = join(this.#probeFolder, String(pid))
    let answer: string | undefined
    process.kill(pid, 'SIGUSR2')
    await until('the probe answers', 10_000, async () => {
      answer = await readFile(file, 'utf8').catch(ifAbsent)
      return answer !== undefined
    })
    await rm(file)
    return JSON.parse(answer ?? '') as ProbeAnswer
  }

  // nodes inherit the environment
  async #probed (start: () => Promise<void>): Promise<void> {
    const before = process.env.NODE_OPTIONS
    process.env.NODE_OPTIONS = `${before ?? ''} --disable-warning=ExperimentalWarning --import=${pathToFileURL(join(import.meta.dirname, 'probe.ts')).href}`
    process.env[probeFolderVariable] = this.#probeFolder
    try {
      await start()
    } finally {
      if (before === undefined) delete process.env.NODE_OPTIONS
      else process.env.NODE_OPTIONS = before
      delete process.env[probeFolderVariable]
    }
  }
}

function ifAbsent (error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT') throw error
}

/** Stores `source` through the API. */
export async function put (client: LocalClient, { bucket, key, source, sizeBytes }: { bucket: string, key: string, source: AsyncIterable<Uint8Array>, sizeBytes: number }): Promise<void> {
  await client.upload(objectPath(bucket, key), source, { headers: { 'content-length': String(sizeBytes) } })
}

/** The body of an object through the API. */
export async function get (client: LocalClient, { bucket, key }: { bucket: string, key: string }): Promise<AsyncIterable<Uint8Array>> {
  return (await client.download(objectPath(bucket, key))).body
}
