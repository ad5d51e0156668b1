import { timingSafeEqual } from 'node:crypto'
import { access, readFile } from 'node:fs/promises'
import type { IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { fromHex, hexOf, utf8 } from '../base/bytes.ts'
import { type Clock, deadline, systemClock } from '../base/clock.ts'
import { UnknownOutcome } from '../base/errors.ts'
import { keyedHash } from '../base/hash.ts'
import { type Random, systemRandom } from '../base/random.ts'
import { ClientError, clientErrorOf, NoRunningNode, type Reason, Unreachable } from './errors.ts'
import { type Connection, isOfNetwork, nodeSend, plainAgent, readOf } from './node-transport.ts'
import type { Outgoing } from './transport.ts'

/** Speaks to the node that runs over a data folder, through its local API (docs/API.md): requests as they are. `connect` makes a client with names for them. */
export interface LocalClient {
  readonly peerId: string
  /** One request whose answer is JSON. `body` is sent as JSON. @throws ClientError, NoRunningNode; where the node goes away before it has answered, Unreachable of a read, UnknownOutcome of a write */
  json<T> (method: string, path: string, options?: { body?: unknown, signal?: AbortSignal }): Promise<T>
  /** Sends `source` as the body and gives the JSON answer. @throws ClientError; UnknownOutcome; what the source threw */
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
 * @throws NoRunningNode if nothing runs there; Unreachable if it does not answer
 */
export async function connectLocal (dataFolder: string, options: { random?: Random, clock?: Clock } = {}): Promise<LocalClient> {
  const { peerId, connection } = await provenNode(dataFolder, options)
  return clientOver({ ...connection, dataFolder }, peerId)
}

export const localLimits = {
  /** A node that has not said who it is by then hangs: it does that without asking anybody. */
  helloMs: 30_000,
} as const

/** How to reach the node that runs over a data folder, once it has proven that it is that. @throws NoRunningNode, Unreachable */
export async function provenNode (dataFolder: string, { random = systemRandom, clock = systemClock }: { random?: Random, clock?: Clock } = {}): Promise<ProvenNode> {
  const { port, token } = await apiFileIn(dataFolder)
  const connection = { host: '127.0.0.1', port, agent: plainAgent() }
  const challenge = hexOf(random.bytes(32))
  const another = (cause?: unknown): NoRunningNode => new NoRunningNode(`another program answers at port ${port}, which ${join(dataFolder, 'api.json')} names; is the node running?`, { cause })
  using limit = deadline(clock, localLimits.helloMs, { what: 'hello' })
  const hello = await jsonOf<{ proof: string, peerId: string } | null>({ ...connection, dataFolder }, { method: 'GET', path: `/v1/hello?challenge=${challenge}`, signal: limit.signal }).catch((cause: unknown) => {
    if (limit.signal.aborted) throw new Unreachable(`the node at port ${port}, which ${join(dataFolder, 'api.json')} names, does not answer; if it hangs, end its process and start it again`, { cause })
    // a node says no in its own words
    throw cause instanceof NoRunningNode || (cause instanceof ClientError && cause.code !== 'internal') ? cause : another(cause)
  })
  const expected = keyedHash(fromHex(token), utf8('dfs/v1/api'), Uint8Array.of(0), fromHex(challenge))
  if (hello === null || !isProof(hello.proof, expected)) throw another()
  return { peerId: hello.peerId, connection: { ...connection, authorization: `Bearer ${token}` } }
}

type LocalConnection = Connection & { readonly dataFolder: string }

function clientOver (connection: LocalConnection, peerId: string): LocalClient {
  return {
    peerId,
    async json (method, path, { body, signal } = {}) {
      const text = body === undefined ? undefined : JSON.stringify(body)
      return jsonOf(connection, { method, path, headers: text === undefined ? {} : { 'content-type': 'application/json' }, body: text, signal })
    },
    async upload (path, source, { headers, signal } = {}) {
      return jsonOf(connection, { method: 'PUT', path, headers, body: source, signal })
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
  return nodeSend(connection, outgoing).catch((cause: unknown) => { throw told(connection, outgoing, cause) })
}

async function jsonOf<T> (connection: LocalConnection, outgoing: Outgoing): Promise<T> {
  const answer = await send(connection, outgoing)
  return jsonAnswer<T>(answer).catch((cause: unknown) => { throw told(connection, outgoing, cause) })
}

/** Why no whole answer came. */
function told ({ dataFolder }: LocalConnection, { method, signal }: Outgoing, cause: unknown): unknown {
  if (signal?.aborted === true || !isOfNetwork(cause)) return cause
  if (cause.code === 'ECONNREFUSED') return new NoRunningNode(`no node runs over ${dataFolder}; "dfs start --data ${dataFolder}" starts one`, { cause })
  const what = `the node over ${dataFolder} went away before it had answered (${cause.message})`
  return method === 'GET' || method === 'HEAD' ? new Unreachable(what, { cause }) : new UnknownOutcome(`${what}: whether it was done is unknown; look before doing it again`, { cause })
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
  const { port = 0, token = '' } = apiIn(text)
  if (!(Number.isInteger(port) && port > 0 && port < 65_536) || !/^[0-9a-f]{64}$/.test(token)) throw new NoRunningNode(`${path} is damaged; start the node again`)
  return { port, token }
}

function apiIn (text: string): Partial<ApiFile> {
  // what it says is looked at next
  try { return JSON.parse(text) as ApiFile | null ?? {} } catch { return {} }
}

async function noNodeOver (dataFolder: string): Promise<NoRunningNode> {
  // what init and join make first; where it cannot be looked at, a start says why
  const isMade = await access(join(dataFolder, 'keyring')).then(() => true, (error: NodeJS.ErrnoException) => error.code !== 'ENOENT' && error.code !== 'ENOTDIR')
  return new NoRunningNode(isMade ? `no node runs over ${dataFolder}; "dfs start --data ${dataFolder}" starts one` : `no node runs over ${dataFolder}, and none was made there: "dfs init" makes a cluster, "dfs join TOKEN" joins one; --data names another folder`)
}

async function jsonAnswer<T> (answer: IncomingMessage): Promise<T> {
  const pieces: Buffer[] = []
  for await (const piece of answer as AsyncIterable<Buffer>) pieces.push(piece)
  const value = JSON.parse(Buffer.concat(pieces).toString('utf8')) as T & { error?: Reason } | null
  if ((answer.statusCode ?? 0) < 400) return value as T
  throw clientErrorOf(answer.statusCode ?? 0, value?.error)
}

function isProof (proof: unknown, expected: Uint8Array): boolean {
  const presented = utf8(String(proof))
  const right = utf8(hexOf(expected))
  return presented.byteLength === right.byteLength && timingSafeEqual(presented, right)
}
