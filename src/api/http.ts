import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { hexOf } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { Unavailable } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import type { DfsNode } from '../node.ts'
import { type Exchange, requireMethod, sendJson } from './context.ts'
import { ApiError, errorAnswerOf, errorHeaderOf } from './errors.ts'
import { checkOrigin, checkToken, loopback, proofOf } from './guard.ts'
import { lingered } from './linger.ts'
import { metricsRoute } from './node-routes.ts'
import { route, type RouteOptions } from './router.ts'
import { Transfers } from './transfers.ts'
import { UnderWay } from './under-way.ts'

/** The local HTTP API: on loopback, for whoever can read api.json (docs/API.md). It translates; it decides nothing. */
export interface LocalApi extends AsyncDisposable {
  readonly port: number
  /** 32 bytes, new at each start. */
  readonly token: Uint8Array
}

export interface LocalApiOptions extends RouteOptions {
  readonly node: DfsNode
  /** 0: any free one. */
  readonly port: number
  readonly clock: Clock
  readonly random: Random
  readonly metricsOpen: boolean
  readonly log: ApiLog
}

/** As pino's loggers. */
export interface ApiLog {
  info (fields: object, message: string): void
  error (fields: object, message: string): void
}

export const apiLimits = {
  maxConnections: 512,
  maxHeaderBytes: 16 * 1024,
  /** A client that takes longer to send its headers is cut off (slow loris). */
  headersTimeoutMs: 10_000,
  keepAliveTimeoutMs: 60_000,
  /** No byte in either direction for this long ends the connection. */
  idleTimeoutMs: 120_000,
} as const

/** Listens; resolves when the port is open. Disposing it ends watches, refuses what comes, and gives transfers under way a bounded time. @throws what listen says, e.g. EADDRINUSE */
export async function serveApi (options: LocalApiOptions): Promise<LocalApi> {
  const token = options.random.bytes(32)
  const server = createServer({ maxHeaderSize: apiLimits.maxHeaderBytes, keepAliveTimeout: apiLimits.keepAliveTimeoutMs, headersTimeout: apiLimits.headersTimeoutMs, requestTimeout: 0 })
  server.maxConnections = apiLimits.maxConnections
  server.setTimeout(apiLimits.idleTimeoutMs)
  const port = await listen(server, options)
  const stopping = new AbortController()
  const underWay = new UnderWay()
  const served: Served = { options, port, token, transfers: new Transfers(), stopping: stopping.signal }
  server.on('request', (request, response) => {
    const gone = new AbortController()
    underWay.add(answer(served, { request, response, gone }), gone)
  })
  return {
    port,
    token,
    async [Symbol.asyncDispose] () {
      stopping.abort()
      await underWay.settle(options)
      await close(server)
    },
  }
}

interface Served {
  readonly options: LocalApiOptions
  readonly port: number
  readonly token: Uint8Array
  readonly transfers: Transfers
  readonly stopping: AbortSignal
}

interface Arrival {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly gone: AbortController
}

/** Never rejects; resolves when the answer is out, or nobody waits for it any more. */
async function answer (served: Served, { request, response, gone }: Arrival): Promise<void> {
  const { options: { node, random, log }, transfers, stopping } = served
  const id = hexOf(random.bytes(8))
  const closed = new Promise<void>((resolve) => { response.once('close', resolve) })
  // 'close' comes after a finished answer too: only an unfinished one means that nobody waits any more
  void closed.then(() => { if (!response.writableFinished) gone.abort(new ApiError(499, 'gone', 'the client went away')) })
  response.setHeader('x-request-id', id)
  const [path = '/', query = ''] = splitAt(request.url ?? '/', '?')
  const routed = dispatch(served, { node, transfers, request, response, path, query: new URLSearchParams(query), signal: gone.signal, stopping })
  try {
    await Promise.race([routed, abortion(gone.signal)])
    log.info({ request: id, method: request.method, area: path.split('/')[2], status: response.statusCode }, 'answered')
  } catch (error) {
    await refuse(served, { request, response }, error, id)
  }
  await Promise.allSettled([routed, closed])
}

/** Rejects with the signal's reason: a route that waits for its client's bytes hears of nothing else. */
const abortion = (signal: AbortSignal): Promise<never> => new Promise((_, reject) => { signal.addEventListener('abort', () => { reject(signal.reason as Error) }) })

async function dispatch ({ port, token, options, stopping }: Served, exchange: Exchange): Promise<void> {
  const { path, query, request, response, node } = exchange
  checkOrigin(request.headers, port)
  if (stopping.aborted) throw new Unavailable('the node is stopping')
  switch (path) {
    case '/healthz':
      requireMethod(exchange, 'GET', 'HEAD')
      sendJson(exchange, { alive: true })
      return
    case '/readyz': {
      requireMethod(exchange, 'GET', 'HEAD')
      const { isReady, health } = await node.status()
      sendJson(exchange, { ready: isReady, health }, { status: isReady ? 200 : 503 })
      return
    }
    case '/v1/hello':
      requireMethod(exchange, 'GET')
      sendJson(exchange, { proof: proofOf(token, query.get('challenge') ?? ''), peerId: node.peerId })
      return
    case '/metrics':
      if (!options.metricsOpen) checkToken(request.headers, token)
      return metricsRoute(exchange)
    default:
      checkToken(request.headers, token)
      response.setHeader('cache-control', 'no-store')
      return route(exchange, options)
  }
}

function splitAt (text: string, separator: string): readonly string[] {
  const at = text.indexOf(separator)
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + separator.length)]
}

async function refuse ({ options: { log, clock } }: Served, { request, response }: Pick<Arrival, 'request' | 'response'>, error: unknown, id: string): Promise<void> {
  const isConditional = request.headers['if-match'] !== undefined || request.headers['if-none-match'] !== undefined
  const { status, body } = errorAnswerOf(error, { isConditional })
  const isExpected = status !== 500 || response.destroyed
  log[isExpected ? 'info' : 'error']({ request: id, method: request.method, status, ...(isExpected ? { reason: body.error.message } : { err: error }) }, 'refused')
  if (response.destroyed) return
  // headers are out: the only honest end is a broken one
  if (response.headersSent) { response.destroy(); return }
  if (status === 503) response.setHeader('retry-after', '1')
  if (request.method === 'HEAD') response.setHeader('x-dfs-error', errorHeaderOf(body))
  const isLast = request.complete
  if (!isLast) response.setHeader('connection', 'close')
  sendJson({ response }, body, { status, isLast })
  if (isLast) return
  await lingered(request, { clock })
  response.end()
}

function listen (server: Server, { port }: LocalApiOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, loopback, () => { server.removeListener('error', reject); resolve((server.address() as AddressInfo).port) })
  })
}

// what did not end by itself is cut off
function close (server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => { resolve() })
    server.closeAllConnections()
  })
}
