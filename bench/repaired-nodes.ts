import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { connectLocal, type LocalClient } from '../src/client/index.ts'
import type { NodeStatus, RepairReport } from '../src/node.ts'
import { LocalCluster, until } from '../scripts/local-cluster.ts'
import { drain, mebibyte, noise, secondsOf } from './measure.ts'
import { get, put } from './nodes.ts'

export interface RedundancyKind {
  readonly nodes: number
  /** Of the bucket. */
  readonly options: { readonly copies: number } | { readonly shards: string }
  /** Bytes on all disks, of one byte. */
  readonly redundancyFactor: number
}

export const patienceMs = 3_600_000
const objectBytes = 8 * mebibyte
const [users, smallBytes, smallObjects] = [4, 64 * 1024, 50]

/** Nodes whose blocks are lost and brought back, with a bucket of large objects, and one of small ones that users are at. */
export class RepairedNodes implements AsyncDisposable {
  readonly cluster: LocalCluster
  readonly #clients = new Map<number, LocalClient>()
  #bytes = 0
  readonly #factor: number

  private constructor (cluster: LocalCluster, factor: number) {
    this.cluster = cluster
    this.#factor = factor
  }

  static async start (home: string, { nodes, options, redundancyFactor }: RedundancyKind): Promise<RepairedNodes> {
    const cluster = new LocalCluster(home, { options: () => ['--log-level', 'warn', '--cache', '0'] })
    const of = new RepairedNodes(cluster, redundancyFactor)
    try {
      await cluster.grow(nodes)
      await (await of.client(0)).json('PUT', '/v1/buckets/large', { body: options })
      await (await of.client(0)).json('PUT', '/v1/buckets/small', { body: { copies: 3 } })
    } catch (error) {
      await of[Symbol.asyncDispose]()
      throw error
    }
    return of
  }

  /** Of the large objects. */
  get bytes (): number { return this.#bytes }

  async client (index: number): Promise<LocalClient> {
    const { pid = 0, data } = this.cluster.node(index)
    const client = this.#clients.get(pid) ?? await connectLocal(data)
    this.#clients.set(pid, client)
    return client
  }

  async status (index: number): Promise<NodeStatus> { return (await this.client(index)).json<NodeStatus>('GET', '/v1/status') }
  async all (act: (client: LocalClient) => Promise<unknown>): Promise<void> { for (const index of this.cluster.nodes.keys()) await act(await this.client(index)) }

  async fill (bytes: number): Promise<void> {
    const client = await this.client(0)
    for (let at = 0; at * objectBytes < bytes; at++) await put(client, { bucket: 'large', key: `object ${at}`, source: noise(objectBytes), sizeBytes: objectBytes })
    for (let at = 0; at < smallObjects; at++) await this.#putSmall(client, at)
    this.#bytes = Math.ceil(bytes / objectBytes) * objectBytes
    await until('every copy is there', patienceMs, async () => (await Promise.all([...this.cluster.nodes.keys()].map(async (index) => (await this.status(index)).blocks.bytes))).reduce((sum, of) => sum + of, 0) >= this.#bytes * this.#factor)
  }

  /** Starts it with an empty disk for blocks: its rows and its name it has still. */
  async emptied (index: number): Promise<void> {
    const node = this.cluster.node(index)
    await node.stop('SIGKILL')
    await rm(join(node.data, 'blocks'), { recursive: true })
    await node.start()
    await this.cluster.connected()
  }

  async add (): Promise<void> { await this.cluster.add() }

  async moved (): Promise<number> {
    const each = await Promise.all([...this.cluster.nodes.keys()].map(async (index) => (await (await this.client(index)).json<RepairReport>('GET', '/v1/repair')).total.movedBytes))
    return each.reduce((sum, of) => sum + of, 0)
  }

  /** Everything is where it belongs, of the layout with all of them. */
  async whole (): Promise<void> {
    await this.all(async (client) => client.json('POST', '/v1/repair', { body: { action: 'resume' } }))
    await until('everything is in its place', patienceMs, async () => this.#isWhole())
  }

  async #isWhole (): Promise<boolean> {
    const each = await Promise.all([...this.cluster.nodes.keys()].map(async (index) => this.status(index)))
    return each.every(({ layout, repair }) => layout.state === 'settled' && layout.members === each.length && repair?.phase === 'waiting' && repair.found?.shortBlocks === 0 && repair.found.misplacedBlocks === 0 && repair.found.layoutVersion === layout.version)
  }

  /** What each of the users' requests took, in seconds. */
  async usedFor (durationMs: number): Promise<number[]> {
    const [client, end] = [await this.client(0), performance.now() + durationMs]
    const times: number[] = []
    await Promise.all(Array.from({ length: users }, async (_, user) => {
      for (let at = user; performance.now() < end; at++) {
        times.push(await secondsOf(async () => at % 2 === 0 ? this.#putSmall(client, at % smallObjects) : drain(await get(client, { bucket: 'small', key: `object ${at % smallObjects}` }))))
      }
    }))
    return times
  }

  async #putSmall (client: LocalClient, at: number): Promise<void> {
    await put(client, { bucket: 'small', key: `object ${at}`, source: Readable.from([randomBytes(smallBytes)]), sizeBytes: smallBytes })
  }

  async [Symbol.asyncDispose] (): Promise<void> {
    for (const client of this.#clients.values()) client.close()
    await this.cluster.stop('SIGKILL')
  }
}
