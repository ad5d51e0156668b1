import type { Clock } from '../../base/clock.ts'
import { Unavailable } from '../../base/errors.ts'
import { portError } from '../../base/port-error.ts'
import type { Random } from '../../base/random.ts'
import type { DfsNode } from '../../node.ts'
import { type Exchange, requireMethod, sendJson } from './context.ts'
import { checkOrigin, checkToken, loopback, proofOf } from './guard.ts'
import { httpServers } from '../server/http-servers.ts'
import { jsonRefusalOf } from './json-refusal.ts'
import { type ApiLog, type Face, type Incoming, listen, serve } from '../server/listener.ts'
import { metricsRoute } from './node-routes.ts'
import { route, type RouteOptions } from './router.ts'
import { LateRpc } from '../rpc/late.ts'
import { Transfers } from './transfers.ts'

/** The local API: HTTP, and gRPC, gRPC-Web and Connect at the same port; on loopback, for whoever can read api.json (docs/API.md). It translates; it decides nothing. */
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
  /** Whether tools may read the gRPC interface from the node. */
  readonly reflection: boolean
  readonly log: ApiLog
}

export const apiLimits = {
  maxConnections: 512,
  maxHeaderBytes: 16 * 1024,
  /** A client that takes longer to send its headers is cut off (slow loris). */
  headersTimeoutMs: 10_000,
  keepAliveTimeoutMs: 60_000,
  /** No byte in either direction for this long ends the connection. */
  idleTimeoutMs: 120_000,
  maxHeaders: 128,
  checkIntervalMs: 2000,
  /** Calls at once of one connection. */
  maxStreams: 128,
  /** Before anybody has shown a token: what a stranger can fill of one connection. HTTP/2's own default. */
  windowBytes: 65_535,
} as const

/** Listens; resolves when the port is open. Disposing it ends watches, refuses what comes, and gives transfers under way a bounded time. @throws InvalidInput for a port that cannot be had */
export async function serveApi (options: LocalApiOptions): Promise<LocalApi> {
  const token = options.random.bytes(32)
  const { server, readers } = httpServers({ tls: undefined, http2: true, limits: apiLimits, clock: options.clock })
  server.maxConnections = apiLimits.maxConnections
  const port = await listen(server, { host: loopback, port: options.port }).catch((cause: unknown) => { throw portError('api-port', { place: `${loopback}:${options.port}`, otherwise: '0 for any that is free', cause }) })
  const rpc = new LateRpc<Incoming>({ ...options, offers: 'everything', permitOf: async ({ request }) => { checkToken(request.headers, token); return (await import('../rpc/permit.ts')).everything } })
  const served = serve(server, { ...options, face: localFace({ options, port, token, rpc, transfers: new Transfers() }) }, readers)
  return { port, token, [Symbol.asyncDispose]: () => served[Symbol.asyncDispose]() }
}

interface Served {
  readonly options: LocalApiOptions
  readonly port: number
  readonly token: Uint8Array
  readonly rpc: LateRpc<Incoming>
  readonly transfers: Transfers
}

function localFace (served: Served): Face {
  const { options: { node }, transfers } = served
  return {
    async answer (incoming) {
      incoming.note({ area: incoming.path.split('/')[2] })
      return dispatch(served, { ...incoming, node, transfers, query: new URLSearchParams(incoming.rawQuery) })
    },
    refusalOf: (error, incoming) => served.rpc.refusalOf(error, incoming) ?? jsonRefusalOf(error, incoming.request),
  }
}

async function dispatch ({ port, token, rpc, options }: Served, exchange: Exchange): Promise<void> {
  const { path, query, request, response, node, stopping } = exchange
  const call = await rpc.of(path)
  checkOrigin(request.headers, port)
  if (stopping.aborted) throw new Unavailable('the node is stopping')
  // it asks for the token itself, once it knows which protocol to say no in
  if (call !== undefined) return call.answer(exchange)
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
