import { timingSafeEqual } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { Agent, type IncomingMessage, request } from 'node:http'
import { type NetConnectOpts, Socket } from 'node:net'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { Readable } from 'node:stream'
import { fromHex, hexOf, utf8 } from '../base/bytes.ts'
import { systemClock } from '../base/clock.ts'
import { keyedHash } from '../base/hash.ts'
import { type Random, systemRandom } from '../base/random.ts'
import { ClientError, NoRunningNode } from './errors.ts'

export { ClientError, NoRunningNode } from './errors.ts'

/** Speaks to the node that runs over a data folder, through its local API (docs/API.md). */
export interface LocalClient {
  readonly peerId: string
  /** One request whose answer is JSON. `body` is sent as JSON. @throws ClientError, NoRunningNode */
  json<T> (method: string, path: string, options?: { body?: unknown, signal?: AbortSignal }): Promise<T>
  /** Sends `source` as the body and gives the JSON answer. @throws ClientError; what the source threw */
  upload<T> (path: string, source: AsyncIterable<Uint8Array>, options?: { headers?: Record<string, string>, signal?: AbortSignal }): Promise<T>
  /** The headers of a HEAD. @throws ClientError */
  head (path: string, options?: { signal?: AbortSignal }): Promise<Download['headers']>
  /** The answer's headers and its body as it comes. A body that ends early throws. @throws ClientError */
  download (path: string, options?: { headers?: Record<string, string>, signal?: AbortSignal }): Promise<Download>
  close (): void
}

export interface Download {
  readonly status: number
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly body: AsyncIterable<Uint8Array>
}

/** `/v1/objects/BUCKET/KEY`, percent-encoded so that every key passes unchanged. */
export const objectPath = (bucket: string, key?: string): string =>
  `/v1/objects/${encodeURIComponent(bucket)}${key === undefined ? '' : `/${encodeURIComponent(key)}`}`

interface ApiFile { readonly port: number, readonly token: string }

/**
 * Reads api.json in the data folder, makes the node prove that it knows the token, and only then shows it.
 * @throws NoRunningNode if nothing runs there
 */
export async function connectLocal (dataFolder: string, { random = systemRandom }: { random?: Random } = {}): Promise<LocalClient> {
  const { port, token } = await apiFileIn(dataFolder)
  const agent = new AnswerFirstAgent({ keepAlive: true, maxSockets: 64 })
  const challenge = hexOf(random.bytes(32))
  const connection = { port, agent, dataFolder }
  const hello = await jsonAnswer<{ proof: string, peerId: string }>(await send(connection, { method: 'GET', path: `/v1/hello?challenge=${challenge}` }))
  const expected = keyedHash(fromHex(token), utf8('dfs/v1/api'), Uint8Array.of(0), fromHex(challenge))
  if (!isProof(hello.proof, expected)) throw new NoRunningNode(`another program answers at port ${port}, which ${join(dataFolder, 'api.json')} names; is the node running?`)
  return clientOver({ ...connection, token }, hello.peerId)
}

interface Connection { readonly port: number, readonly agent: Agent, readonly dataFolder: string, readonly token?: string }

function clientOver (connection: Connection, peerId: string): LocalClient {
  return {
    peerId,
    async json (method, path, { body, signal } = {}) {
      const bytes = body === undefined ? undefined : Buffer.from(JSON.stringify(body))
      const headers: Record<string, string> = bytes === undefined ? {} : { 'content-type': 'application/json', 'content-length': String(bytes.byteLength) }
      return jsonAnswer(await send(connection, { method, path, headers, body: bytes === undefined ? undefined : Readable.from([bytes]), signal }))
    },
    async upload (path, source, { headers, signal } = {}) {
      return jsonAnswer(await send(connection, { method: 'PUT', path, headers, body: source, signal }))
    },
    async head (path, { signal } = {}) {
      const answer = await send(connection, { method: 'HEAD', path, signal })
      answer.resume()
      const headers = answer.headers as Record<string, string | undefined>
      // a HEAD has no body to say why
      if ((answer.statusCode ?? 0) >= 400) throw clientError(answer, JSON.parse(headers['x-dfs-error'] ?? '{}') as Reason)
      return headers
    },
    async download (path, { headers, signal } = {}) {
      const answer = await send(connection, { method: 'GET', path, headers, signal })
      if ((answer.statusCode ?? 0) >= 400) await jsonAnswer(answer)
      return { status: answer.statusCode ?? 0, headers: answer.headers as Record<string, string | undefined>, body: answer }
    },
    close: () => { connection.agent.destroy() },
  }
}

async function apiFileIn (dataFolder: string): Promise<ApiFile> {
  const path = join(dataFolder, 'api.json')
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') throw new NoRunningNode(`no node runs over ${dataFolder}; "dfs start --data ${dataFolder}" starts one`, { cause })
    throw cause
  })
  const { port, token } = JSON.parse(text) as Partial<ApiFile>
  if (typeof port !== 'number' || typeof token !== 'string') throw new NoRunningNode(`${path} is damaged; start the node again`)
  return { port, token }
}

interface Outgoing {
  readonly method: string
  readonly path: string
  readonly headers?: Record<string, string>
  readonly body?: AsyncIterable<Uint8Array>
  readonly signal?: AbortSignal
}

/** Resolves with the answer's head as soon as it is there: a refusal may come while the body is still being sent, and ends the sending. */
function send ({ port, agent, token, dataFolder }: Connection, { method, path, headers = {}, body, signal }: Outgoing): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const outgoing = request({ host: '127.0.0.1', port, agent, method, path, signal, headers: { ...headers, ...(token === undefined ? {} : { authorization: `Bearer ${token}` }) } })
    let isAnswered = false
    outgoing.on('response', (answer) => { isAnswered = true; resolve(answer) })
    const fail = (cause: NodeJS.ErrnoException): void => {
      if (isAnswered) return
      reject(cause.code === 'ECONNREFUSED' ? new NoRunningNode(`no node runs over ${dataFolder}; "dfs start --data ${dataFolder}" starts one`, { cause }) : cause)
    }
    outgoing.on('error', fail)
    if (body === undefined) outgoing.end()
    else pipeline(unless(body, () => isAnswered), outgoing).catch(fail)
  })
}

async function * unless (source: AsyncIterable<Uint8Array>, isOver: () => boolean): AsyncIterable<Uint8Array> {
  for await (const piece of source) {
    if (isOver()) return
    yield piece
  }
}

export const clientLimits = {
  /** What a failed write waits for the answer that says why. */
  answerWaitMs: 1000,
} as const

/**
 * A node that refuses a body may close before it has read all of it. The write fails then, while the reason lies in the socket unread: so the failure
 * is told only when the answer had its time.
 */
class AnswerFirstSocket extends Socket {
  override _write (piece: Uint8Array, encoding: BufferEncoding, done: (error?: Error | null) => void): void { super._write(piece, encoding, afterTheAnswer(done)) }
  override _writev (pieces: Array<{ chunk: Uint8Array, encoding: BufferEncoding }>, done: (error?: Error | null) => void): void { super._writev?.(pieces, afterTheAnswer(done)) }
}

const afterTheAnswer = (done: (error?: Error | null) => void) => (error?: Error | null): void => {
  if (error === undefined || error === null) done()
  else systemClock.after(clientLimits.answerWaitMs, () => { done(error) })
}

class AnswerFirstAgent extends Agent {
  override createConnection (options: NetConnectOpts): Socket { return new AnswerFirstSocket(options).connect(options) }
}

async function jsonAnswer<T> (answer: IncomingMessage): Promise<T> {
  const pieces: Buffer[] = []
  for await (const piece of answer as AsyncIterable<Buffer>) pieces.push(piece)
  const value = JSON.parse(Buffer.concat(pieces).toString('utf8')) as T & { error?: Reason }
  if ((answer.statusCode ?? 0) < 400) return value
  throw clientError(answer, value.error)
}

interface Reason { readonly code?: string, readonly message?: string, readonly field?: string }

const clientError = ({ statusCode: status = 0 }: IncomingMessage, { code = 'internal', message = `the node answered ${status}`, field }: Reason = {}): ClientError =>
  new ClientError({ status, code, message, field })

function isProof (proof: unknown, expected: Uint8Array): boolean {
  const presented = utf8(String(proof))
  const right = utf8(hexOf(expected))
  return presented.byteLength === right.byteLength && timingSafeEqual(presented, right)
}
