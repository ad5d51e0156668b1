import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { hexOf } from '../base/bytes.ts'
import type { Random } from '../base/random.ts'
import type { DfsNode } from '../node.ts'
import { type Exchange, sendJson } from './context.ts'
import { ApiError, errorAnswerOf } from './errors.ts'
import { checkOrigin, checkToken, proofOf } from './guard.ts'
import { metricsRoute } from './node-routes.ts'
import { route, type RouteOptions } from './router.ts'
import { Transfers } from './transfers.ts'

/** The local HTTP API: on loopback, for whoever can read api.json (docs/API.md). It translates; it decides nothing. */
export interface LocalApi extends AsyncDisposable {
  readonly port: number
  /** 32 bytes, new at each start. */
  readonly token: Uint8Array
}

export interface LocalApiOptions extends RouteOptions {
  readonly node: DfsNode
  readonly host: string
  readonly port: number
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

/** Listens; resolves when the port is open. @throws what listen says, e.g. EADDRINUSE */
export async function serveApi (options: LocalApiOptions): Promise<LocalApi> {
  const token = options.random.bytes(32)
  const transfers = new Transfers()
  const server = createServer({ maxHeaderSize: apiLimits.maxHeaderBytes, keepAliveTimeout: apiLimits.keepAliveTimeoutMs, headersTimeout: apiLimits.headersTimeoutMs, requestTimeout: 0 })
  server.maxConnections = apiLimits.maxConnections
  server.setTimeout(apiLimits.idleTimeoutMs)
  server.on('request', (request, response) => { void answer({ request, response, token, transfers, server, options }) })
  await listen(server, options)
  const { port } = server.address() as AddressInfo
  return { port, token, [Symbol.asyncDispose]: async () => close(server) }
}

interface Arrival {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly token: Uint8Array
  readonly transfers: Transfers
  readonly server: Server
  readonly options: LocalApiOptions
}

async function answer (arrival: Arrival): Promise<void> {
  const { request, response, transfers, options } = arrival
  const id = hexOf(options.random.bytes(8))
  const gone = new AbortController()
  // 'close' comes after a finished answer too: only an unfinished one means that nobody waits any more
  response.on('close', () => { if (!response.writableFinished) gone.abort(new ApiError(499, 'gone', 'the client went away')) })
  response.setHeader('x-request-id', id)
  try {
    const [path = '/', query = ''] = splitAt(request.url ?? '/', '?')
    await dispatch(arrival, { node: options.node, transfers, request, response, path, query: new URLSearchParams(query), signal: gone.signal })
    options.log.info({ request: id, method: request.method, area: path.split('/')[2], status: response.statusCode }, 'answered')
  } catch (error) {
    fail(arrival, error, id)
  }
}

async function dispatch ({ request, token, server, options }: Arrival, exchange: Exchange): Promise<void> {
  const { path, query, response, node } = exchange
  checkOrigin(request.headers, (server.address() as AddressInfo).port)
  switch (path) {
    case '/healthz': sendJson(exchange, { alive: true }); return
    case '/readyz': {
      const { health } = await node.status()
      const isReady = await node.isReady()
      sendJson(exchange, { ready: isReady, health }, { status: isReady ? 200 : 503 })
      return
    }
    case '/v1/hello':
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

function fail ({ request, response, options }: Arrival, error: unknown, id: string): void {
  const isConditional = request.headers['if-match'] !== undefined || request.headers['if-none-match'] !== undefined
  const { status, body } = errorAnswerOf(error, { isConditional })
  const isExpected = status !== 500 || response.destroyed
  options.log[isExpected ? 'info' : 'error']({ request: id, method: request.method, status, ...(isExpected ? { reason: body.error.message } : { err: error }) }, 'refused')
  if (response.destroyed) return
  // headers are out: the only honest end is a broken one
  if (response.headersSent) { response.destroy(); return }
  // the rest of a body that nobody reads would hold the connection
  response.setHeader('connection', 'close')
  if (status === 503) response.setHeader('retry-after', '1')
  sendJson({ request, response }, body, { status })
  request.resume()
}

function listen (server: Server, { host, port }: LocalApiOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => { server.removeListener('error', reject); resolve() })
  })
}

// requests under way are finished; connections that only wait are closed
function close (server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => { resolve() })
    server.closeIdleConnections()
  })
}

