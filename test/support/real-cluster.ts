import { readdir } from 'node:fs/promises'
import { join, relative } from 'node:path'
import { Readable } from 'node:stream'
import { hash, streamingHash } from '../../src/base/hash.ts'
import { hexOf } from '../../src/base/bytes.ts'
import { ClientError, connectLocal, type LocalClient, objectPath } from '../../src/client/index.ts'
import type { ObjectInfo, ObjectPage } from '../../src/objects/index.ts'
import { LocalCluster, type LocalNode } from '../../scripts/local-cluster.ts'
import { temporaryFolder } from './temporary.ts'

/** Three real processes (or more) with one bucket, in a folder that goes with them. */
export interface RealCluster extends AsyncDisposable {
  readonly cluster: LocalCluster
  readonly folder: string
  node (index: number): LocalNode
  /** Through that node's API. A node that was restarted is connected to anew. */
  via (index: number): Promise<NodeObjects>
}

export interface NodeObjects {
  readonly client: LocalClient
  put (key: string, content: Uint8Array | AsyncIterable<Uint8Array>, headers?: Record<string, string>): Promise<ObjectInfo>
  get (key: string, headers?: Record<string, string>): Promise<Uint8Array>
  /** BLAKE3 of the content, without holding it. */
  digest (key: string): Promise<string>
  remove (key: string): Promise<boolean>
  keys (options?: { prefix?: string }): Promise<string[]>
}

export interface RealClusterOptions {
  readonly copies?: number
  /** "k+m" instead of copies. */
  readonly shards?: string
  readonly chunking?: 'content' | 'content-small' | 'fixed'
  /** More options of the index-th node (from 0). */
  readonly options?: (index: number) => readonly string[]
  /** Done before the index-th node (from 0) has its folder, which will be at `path`. */
  readonly beforeNode?: (index: number, path: string) => Promise<void>
  /** Done while joining is still open: the first bucket closes it. */
  readonly beforeBucket?: (cluster: LocalCluster, folder: string) => Promise<void>
}

export const bucketName = 'test-bucket'

export async function realCluster (count: number, { copies = 3, shards, chunking = 'content', options, beforeNode, beforeBucket }: RealClusterOptions = {}): Promise<RealCluster> {
  await using open = new AsyncDisposableStack()
  const folder = open.use(await temporaryFolder())
  const cluster = open.use(new LocalCluster(folder.path, { options: (index) => ['--log-level', 'info', ...options?.(index) ?? []] }))
  if (beforeNode !== undefined) for (let index = 0; index < count; index++) await beforeNode(index, join(folder.path, `node-${index + 1}`))
  await cluster.grow(count)
  await beforeBucket?.(cluster, folder.path)
  const via = async (index: number): Promise<NodeObjects> => objectsOf(await connectLocal(cluster.node(index).data))
  await firstBucket(await via(0), { ...(shards === undefined ? { copies } : { shards }), chunking })
  const started = open.move()
  return { cluster, folder: folder.path, node: (index) => cluster.node(index), via, [Symbol.asyncDispose]: async () => started.disposeAsync() }
}

/** With it the layout is settled, which takes many nodes on a loaded machine longer than a request may: whoever asks again goes on from there. */
async function firstBucket ({ client }: NodeObjects, body: Readonly<Record<string, unknown>>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await client.json('PUT', `/v1/buckets/${bucketName}`, { body })
      break
    } catch (error) {
      // it may have been made by the attempt before, of which that was not told
      if (attempt > 1 && statusOf(error) === 409) break
      if (attempt === 4 || ![503, 504].includes(statusOf(error))) throw error
    }
  }
  client.close()
}

export function objectsOf (client: LocalClient, bucket = bucketName): NodeObjects {
  let transfers = 0
  // with an id, so that a body that breaks off tells why
  const download = async (key: string, headers: Record<string, string> = {}): Promise<AsyncIterable<Uint8Array>> => (await client.download(objectPath(bucket, key), { headers: { 'x-dfs-transfer': `test-${++transfers}`, ...headers } })).body
  return {
    client,
    async put (key, content, headers = {}) {
      const isBytes = content instanceof Uint8Array
      return client.upload<ObjectInfo>(objectPath(bucket, key), isBytes ? Readable.from(content.byteLength === 0 ? [] : [content]) : content, { headers: { ...(isBytes ? { 'content-length': String(content.byteLength) } : {}), ...headers } })
    },
    async get (key, headers) {
      const pieces = []
      for await (const piece of await download(key, headers)) pieces.push(piece)
      return new Uint8Array(Buffer.concat(pieces))
    },
    async digest (key) {
      const digest = streamingHash()
      for await (const piece of await download(key)) digest.update(piece)
      return hexOf(digest.digest())
    },
    async remove (key) { return (await client.json<{ removed: boolean }>('DELETE', objectPath(bucket, key))).removed },
    async keys ({ prefix = '' } = {}) {
      const keys: string[] = []
      for (let after: string | undefined, isLast = false; !isLast;) {
        const page: ObjectPage = await client.json('GET', `${objectPath(bucket)}?${new URLSearchParams({ prefix, ...(after === undefined ? {} : { after }) }).toString()}`)
        keys.push(...page.objects.map(({ key }) => key))
        after = page.next
        isLast = after === undefined
      }
      return keys
    },
  }
}

export const digestOfBytes = (bytes: Uint8Array): string => hexOf(hash(bytes))
export const statusOf = (error: unknown): number => error instanceof ClientError ? error.status : 0

/** Every file below a folder, by its path in it. */
export async function filesIn (folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map((entry) => relative(folder, join(entry.parentPath, entry.name))).toSorted()
}

/** Runs over all, at most so many at once. */
export async function eachOf<T> (items: Iterable<T>, atOnce: number, act: (item: T) => Promise<void>): Promise<void> {
  const waiting = Iterator.from(items)
  await Promise.all(Array.from({ length: atOnce }, async () => {
    for (let next = waiting.next(); next.done !== true; next = waiting.next()) await act(next.value)
  }))
}
