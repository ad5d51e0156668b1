import { timingSafeEqual } from 'node:crypto'
import { access, readFile } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { fromHex, hexOf, utf8 } from '../base/bytes.ts'
import { keyedHash } from '../base/hash.ts'
import { type Random, systemRandom } from '../base/random.ts'
import { clientErrorOf, NoRunningNode, type Reason, Unreachable } from './errors.ts'
import { type Connection, nodeSend, plainAgent, readOf } from './node-transport.ts'
import type { Outgoing } from './transport.ts'

/** Speaks to the node that runs over a data folder, through its local API (docs/API.md): requests as they are. `connect` makes a client with names for them. */
export interface LocalClient {
  readonly peerId: string
  /** One request whose answer is JSON. `body` is sent as JSON. @throws ClientError, NoRunningNode */
  json<T> (method: string, path: string, options?: { body?: unknown, signal?: AbortSignal }): Promise<T>
  /** Sends `source` as the body and gives the JSON answer. @throws ClientError; what the source threw */
  upload<T> (path: string, source: AsyncIterable<Uint8Array>, options?: { headers?: Record<string, string>, signal?: AbortSignal }): Promise<T>
  /** The headers of a HEAD. @throws ClientError */
  head (path: string, options?: { signal?: AbortSignal }): Promise<Download['headers']>
  /** The answer's headers and its body as it comes. A body that breaks off throws why, if the request carried `x-dfs-transfer`. @throws ClientError, Unreachable */
  download (path: string, options?: { headers?: Record<string, string>, signal?: AbortSignal }): Promise<Download>
  close (): void
}

export interface Download {
  readonly status: number
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly body: AsyncIterable<Uint8Array>
}

interface ApiFile { readonly port: number, readonly token: string }

export interface ProvenNode {
  readonly peerId: string
  readonly connection: Connection
}

/**
 * Reads api.json in the data folder, makes the node prove that it knows the token, and only then shows it.
 * @throws NoRunningNode if nothing runs there
 */
export async function connectLocal (dataFolder: string, options: { random?: Random } = {}): Promise<LocalClient> {
  const { peerId, connection } = await provenNode(dataFolder, options)
  return clientOver({ ...connection, dataFolder }, peerId)
}

/** How to reach the node that runs over a data folder, once it has proven that it is that. @throws NoRunningNode */
export async function provenNode (dataFolder: string, { random = systemRandom }: { random?: Random } = {}): Promise<ProvenNode> {
  const { port, token } = await apiFileIn(dataFolder)
  const connection = { host: '127.0.0.1', port, agent: plainAgent() }
  const challenge = hexOf(random.bytes(32))
  const hello = await jsonAnswer<{ proof: string, peerId: string }>(await send({ ...connection, dataFolder }, { method: 'GET', path: `/v1/hello?challenge=${challenge}` }))
  const expected = keyedHash(fromHex(token), utf8('dfs/v1/api'), Uint8Array.of(0), fromHex(challenge))
  if (!isProof(hello.proof, expected)) throw new NoRunningNode(`another program answers at port ${port}, which ${join(dataFolder, 'api.json')} names; is the node running?`)
  return { peerId: hello.peerId, connection: { ...connection, authorization: `Bearer ${token}` } }
}

type LocalConnection = Connection & { readonly dataFolder: string }

function clientOver (connection: LocalConnection, peerId: string): LocalClient {
  return {
    peerId,
    async json (method, path, { body, signal } = {}) {
      const text = body === undefined ? undefined : JSON.stringify(body)
      return jsonAnswer(await send(connection, { method, path, headers: text === undefined ? {} : { 'content-type': 'application/json' }, body: text, signal }))
    },
    async upload (path, source, { headers, signal } = {}) {
      return jsonAnswer(await send(connection, { method: 'PUT', path, headers, body: source, signal }))
    },
    async head (path, { signal } = {}) {
      const answer = await send(connection, { method: 'HEAD', path, signal })
      answer.resume()
      const headers = answer.headers as Record<string, string | undefined>
      // a HEAD has no body to say why
      if ((answer.statusCode ?? 0) >= 400) throw clientErrorOf(answer.statusCode ?? 0, JSON.parse(headers['x-dfs-error'] ?? '{}') as Reason)
      return headers
    },
    async download (path, { headers, signal } = {}) {
      const answer = await send(connection, { method: 'GET', path, headers, signal })
      if ((answer.statusCode ?? 0) >= 400) await jsonAnswer(answer)
      return { status: answer.statusCode ?? 0, headers: answer.headers as Record<string, string | undefined>, body: explained(connection, headers?.['x-dfs-transfer'], readOf(answer, { signal })) }
    },
    close: () => { connection.agent.destroy() },
  }
}

async function send (connection: LocalConnection, outgoing: Outgoing): Promise<IncomingMessage> {
  return nodeSend(connection, outgoing).catch((cause: NodeJS.ErrnoException) => {
    throw cause.code === 'ECONNREFUSED' ? new NoRunningNode(`no node runs over ${connection.dataFolder}; "dfs start --data ${connection.dataFolder}" starts one`, { cause }) : cause
  })
}

/** An answer that has begun has no room for the reason why it breaks off: the node is asked for it. */
async function * explained (connection: LocalConnection, transfer: string | undefined, body: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  try {
    yield * body
  } catch (error) {
    if (transfer === undefined || !(error instanceof Unreachable)) throw error
    const answer = await send(connection, { method: 'GET', path: `/v1/transfers/${transfer}` }).catch(() => { throw error }) // the node itself has gone
    const { error: reason } = await jsonAnswer<{ error?: Reason & { status: number } }>(answer).catch(() => ({ error: undefined })) // it remembers nothing
    throw reason === undefined ? error : clientErrorOf(reason.status, reason)
  }
}

async function apiFileIn (dataFolder: string): Promise<ApiFile> {
  const path = join(dataFolder, 'api.json')
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw cause
  })
  if (text === undefined) throw await noNodeOver(dataFolder)
  const { port, token } = JSON.parse(text) as Partial<ApiFile>
  if (typeof port !== 'number' || typeof token !== 'string') throw new NoRunningNode(`${path} is damaged; start the node again`)
  return { port, token }
}

async function noNodeOver (dataFolder: string): Promise<NoRunningNode> {
  // what init and join make first; where it cannot be looked at, a start says why
  const isMade = await access(join(dataFolder, 'keyring')).then(() => true, (error: NodeJS.ErrnoException) => error.code !== 'ENOENT' && error.code !== 'ENOTDIR')
  return new NoRunningNode(isMade ? `no node runs over ${dataFolder}; "dfs start --data ${dataFolder}" starts one` : `no node runs over ${dataFolder}, and none was made there: "dfs init" makes a cluster, "dfs join TOKEN" joins one; --data names another folder`)
}

async function jsonAnswer<T> (answer: IncomingMessage): Promise<T> {
  const pieces: Buffer[] = []
  for await (const piece of answer as AsyncIterable<Buffer>) pieces.push(piece)
  const value = JSON.parse(Buffer.concat(pieces).toString('utf8')) as T & { error?: Reason }
  if ((answer.statusCode ?? 0) < 400) return value
  throw clientErrorOf(answer.statusCode ?? 0, value.error)
}

function isProof (proof: unknown, expected: Uint8Array): boolean {
  const presented = utf8(String(proof))
  const right = utf8(hexOf(expected))
  return presented.byteLength === right.byteLength && timingSafeEqual(presented, right)
}
