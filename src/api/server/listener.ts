import type { EventEmitter } from 'node:events'
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import { constants, type ServerHttp2Stream } from 'node:http2'
import type { AddressInfo, Server, Socket } from 'node:net'
import { hexOf } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import type { Random } from '../../base/random.ts'
import { ApiError } from '../errors.ts'
import { lingered } from './linger.ts'
import { UnderWay } from './under-way.ts'

/** What every HTTP face does alike: ids, the log, the end of a request whose client has gone, refusals that arrive, and a stop that waits. */
export interface Face {
  /** Answers one request. Resolves when the answer has been handed over; what it throws is told in the words of `refusalOf`. */
  answer (incoming: Incoming): Promise<void>
  /** An error, in the words of this face. Must not throw. */
  refusalOf (error: unknown, incoming: Incoming): Refusal
}

/** One request, as it came. */
export interface Incoming {
  /** Stands in the log, and in the answer as x-request-id. */
  readonly id: string
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly clock: Clock
  /** Still percent-encoded: a URL parser would resolve ".." and change the key. */
  readonly path: string
  /** What follows the first question mark, still encoded. */
  readonly rawQuery: string
  /** Aborts when the client goes away, or the node stops and this has taken too long. */
  readonly signal: AbortSignal
  /** Aborts as soon as the node stops: for what would never end by itself. */
  readonly stopping: AbortSignal
  /** Facts for the log's line about this request: no secret, no query, no name that is sealed on disk. */
  note (facts: Readonly<Record<string, unknown>>): void
  /** Has a client that waits for it (Expect: 100-continue) send its body. Again is harmless; `bodyOf` does it. */
  goOn (): void
}

export interface Refusal {
  readonly status: number
  readonly headers: OutgoingHttpHeaders
  /** Of a HEAD it is not sent. */
  readonly body: Uint8Array
  /** For the log. Undefined: nobody expected this error, and the log has it whole. */
  readonly reason: string | undefined
}

/** As pino's loggers. */
export interface ApiLog {
  info (fields: object, message: string): void
  error (fields: object, message: string): void
}

export interface ServeOptions {
  readonly face: Face
  readonly clock: Clock
  readonly random: Random
  readonly log: ApiLog
}

/** Resolves to the port when it is open. @throws what listen says, e.g. EADDRINUSE */
export function listen (server: Server, { host, port }: { host: string, port: number }): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => { server.removeListener('error', reject); resolve((server.address() as AddressInfo).port) })
  })
}

/**
 * Serves what comes to `server`, as it is read by `readers` (the server itself, unless it hands connections on). Disposing it aborts `stopping`,
 * gives requests under way a bounded time, and cuts off the rest; to refuse what comes meanwhile is the face's.
 */
export function serve (server: Server, options: ServeOptions, readers: readonly EventEmitter[] = [server]): AsyncDisposable {
  const stopping = new AbortController()
  const underWay = new UnderWay()
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => { sockets.add(socket); socket.once('close', () => { sockets.delete(socket) }) })
  const take = (waits: boolean) => (request: IncomingMessage, response: ServerResponse): void => {
    const gone = new AbortController()
    underWay.add(answered(options, { request, response, gone, stopping: stopping.signal, waits }), gone)
  }
  for (const reader of readers) reader.on('request', take(false)).on('checkContinue', take(true))
  return {
    async [Symbol.asyncDispose] () {
      stopping.abort()
      await underWay.settle(options)
      await closed(server, sockets)
    },
  }
}

interface Arrival {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly gone: AbortController
  readonly stopping: AbortSignal
  /** The client asked to be told to go on. */
  readonly waits: boolean
}

/** Never rejects; resolves when the answer is out, or nobody waits for it any more. */
async function answered (options: ServeOptions, arrival: Arrival): Promise<void> {
  const { request, response, gone } = arrival
  const { face, clock, log } = options
  const startMs = clock.monotonicMs()
  const facts: Record<string, unknown> = {}
  const incoming = incomingOf(options, arrival, facts)
  const closing = new Promise<void>((resolve) => { response.once('close', resolve) })
  // 'close' comes after a finished answer too: only an unfinished one means that nobody waits any more
  void closing.then(() => { if (!isOut(response)) gone.abort(new ApiError(499, 'gone', 'the client went away')) })
  response.setHeader('x-request-id', incoming.id)
  const routed = face.answer(incoming)
  const told = (): object => ({ request: incoming.id, method: request.method, ...facts, status: response.statusCode, ms: Math.round(clock.monotonicMs() - startMs) })
  try {
    await Promise.race([routed, abortion(gone.signal)])
    log.info(told(), 'answered')
  } catch (error) {
    await refuse(options, incoming, error, told)
  }
  await Promise.allSettled([routed, closing])
}

/** HTTP/2 says by a code whether a stream ended as it should. */
function isOut (response: ServerResponse): boolean {
  return 'stream' in response ? response.writableEnded && (response.stream as ServerHttp2Stream).rstCode === constants.NGHTTP2_NO_ERROR : response.writableFinished
}

function incomingOf ({ random, clock }: ServeOptions, { request, response, gone, stopping, waits }: Arrival, facts: Record<string, unknown>): Incoming {
  const url = request.url ?? '/'
  const at = url.indexOf('?')
  let isWaiting = waits
  return {
    id: hexOf(random.bytes(8)),
    request,
    response,
    clock,
    path: at < 0 ? url : url.slice(0, at),
    rawQuery: at < 0 ? '' : url.slice(at + 1),
    signal: gone.signal,
    stopping,
    note: (more) => { Object.assign(facts, more) },
    goOn: () => {
      if (isWaiting && !response.headersSent) response.writeContinue()
      isWaiting = false
    },
  }
}

/** Rejects with the signal's reason: a route that waits for its client's bytes hears of nothing else. */
const abortion = (signal: AbortSignal): Promise<never> => new Promise((_, reject) => { signal.addEventListener('abort', () => { reject(signal.reason as Error) }) })

async function refuse ({ face, log, clock }: ServeOptions, incoming: Incoming, error: unknown, told: () => object): Promise<void> {
  const { request, response } = incoming
  const { status, headers, body, reason } = face.refusalOf(error, incoming)
  const isExpected = reason !== undefined || response.destroyed
  log[isExpected ? 'info' : 'error']({ ...told(), status, ...(isExpected ? { reason } : { err: error }) }, 'refused')
  if (response.destroyed) return
  // headers are out: the only honest end is a broken one
  if (response.headersSent) { response.destroy(); return }
  const isLast = request.complete || 'stream' in response
  response.writeHead(status, { ...headers, 'content-length': body.byteLength, ...(isLast ? {} : { connection: 'close' }) })
  // of a HEAD Node sends the headers alone
  if (isLast) response.end(body)
  // HTTP/2 has a way to say that no more of a body is wanted
  if ('stream' in response) (response.stream as ServerHttp2Stream).close(constants.NGHTTP2_NO_ERROR)
  if (isLast) return
  response.write(body)
  await lingered(request, { clock })
  response.end()
}

// what did not end by itself is cut off
function closed (server: Server, sockets: ReadonlySet<Socket>): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => { resolve() })
    for (const socket of sockets) socket.destroy()
  })
}
