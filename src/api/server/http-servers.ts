import type { EventEmitter } from 'node:events'
import * as http from 'node:http'
import * as http2 from 'node:http2'
import * as https from 'node:https'
import { createServer, type Server, type Socket } from 'node:net'
import type { Clock } from '../../base/clock.ts'
import type { TlsSecrets } from './tls-files.ts'

export interface HttpServerOptions {
  readonly tls: TlsSecrets | undefined
  /** Speak HTTP/2 beside HTTP/1.1: agreed in the handshake under TLS, seen by the first bytes without. */
  readonly http2: boolean
  readonly limits: HttpServerLimits
  readonly clock: Clock
}

export interface HttpServerLimits {
  readonly maxHeaderBytes: number
  readonly maxHeaders: number
  readonly headersTimeoutMs: number
  readonly checkIntervalMs: number
  readonly keepAliveTimeoutMs: number
  readonly idleTimeoutMs: number
  readonly maxStreams: number
  readonly windowBytes: number
}

export interface HttpServers {
  /** What listens. */
  readonly server: Server
  /** What reads requests. */
  readonly readers: readonly EventEmitter[]
  /** Connections from now on are shown this certificate. */
  readonly setTls: (secrets: TlsSecrets) => void
}

/** HTTP servers of every kind with the same bounds. */
export function httpServers (options: HttpServerOptions): HttpServers {
  const { tls, limits } = options
  if (tls !== undefined) {
    const server = options.http2 ? secureHttp2(tls, limits) : https.createServer({ ...httpOptions(limits), ...tlsOptions(tls, limits) })
    bounded(server, limits)
    return { server, readers: [server], setTls: (secrets) => { server.setSecureContext({ ...secrets, minVersion }) } }
  }
  const plain = http.createServer(httpOptions(limits))
  bounded(plain, limits)
  if (!options.http2) return { server: plain, readers: [plain], setTls: () => {} }
  const framed = http2.createServer(http2Options(limits))
  bounded(framed, limits)
  return { server: sorted(plain, framed, options), readers: [plain, framed], setTls: () => {} }
}

const minVersion = 'TLSv1.2'

const httpOptions = (limits: HttpServerLimits): http.ServerOptions => ({
  maxHeaderSize: limits.maxHeaderBytes,
  headersTimeout: limits.headersTimeoutMs,
  connectionsCheckingInterval: limits.checkIntervalMs,
  keepAliveTimeout: limits.keepAliveTimeoutMs,
  // an upload may last for hours, as long as it moves
  requestTimeout: 0,
  insecureHTTPParser: false,
})

const tlsOptions = (tls: TlsSecrets, limits: HttpServerLimits) => ({ ...tls, minVersion, handshakeTimeout: limits.headersTimeoutMs } as const)

// with Node's windows of 64 KiB one stream waits for the round trip, not for the disk
const http2Options = (limits: HttpServerLimits): http2.ServerOptions => ({
  settings: { maxConcurrentStreams: limits.maxStreams, initialWindowSize: limits.windowBytes, maxHeaderListSize: limits.maxHeaderBytes },
  unknownProtocolTimeout: limits.headersTimeoutMs,
})

function secureHttp2 (tls: TlsSecrets, limits: HttpServerLimits): http2.Http2SecureServer {
  const server = http2.createSecureServer({ ...http2Options(limits), ...httpOptions(limits), ...tlsOptions(tls, limits), allowHTTP1: true } as http2.SecureServerOptions)
  widened(server, limits)
  ending(server, limits)
  return server
}

function widened (server: EventEmitter, { windowBytes }: HttpServerLimits): void {
  server.on('session', (session: http2.ServerHttp2Session) => { session.setLocalWindowSize(2 * windowBytes) })
}

/**
 * A stream that its client resets without an error, while it is still written to, Node leaves as it is, until its session is idle for long, its connection gone or not:
 * what it is written from would be held, and of such streams no session has a bound. One whose answer had ended it tells of nobody, and counts as one of those that its
 * client may have: such are looked for when those are half used up, for one that the socket has not taken yet looks the same.
 */
function ending (server: EventEmitter, { maxStreams }: HttpServerLimits): void {
  server.on('session', (session: http2.ServerHttp2Session) => {
    const streams = new Set<http2.ServerHttp2Stream>()
    session.on('stream', (stream: http2.ServerHttp2Stream) => {
      if (streams.size * 2 >= maxStreams) for (const other of streams) if (isForgotten(other)) other.destroy()
      streams.add(stream)
      stream.once('aborted', () => { stream.destroy() }).once('close', () => { streams.delete(stream) })
    })
    session.socket.once('close', () => { for (const stream of streams) stream.destroy() })
  })
}

const isForgotten = (stream: http2.ServerHttp2Stream): boolean => stream.closed && stream.state.state === http2.constants.NGHTTP2_STREAM_STATE_IDLE

function bounded (server: http.Server | https.Server | http2.Http2Server | http2.Http2SecureServer, { maxHeaders, idleTimeoutMs }: HttpServerLimits): void {
  if ('maxHeadersCount' in server) server.maxHeadersCount = maxHeaders
  server.setTimeout(idleTimeoutMs)
}

/** A port for both: HTTP/2 without TLS begins with a preface that no HTTP/1.1 request begins with (RFC 9113 §3.4). */
function sorted (plain: http.Server, framed: http2.Http2Server, { limits, clock }: HttpServerOptions): Server {
  const server = createServer()
  widened(framed, limits)
  ending(framed, limits)
  // its checks of slow headers begin when it listens, which it never does by itself
  plain.emit('listening')
  server.on('close', () => { plain.close(); framed.close() })
  server.on('connection', (socket: Socket) => {
    const cancel = clock.after(limits.headersTimeoutMs, () => { socket.destroy() })
    const failed = (): void => { socket.destroy() }
    socket.on('error', failed).once('close', cancel)
    const look = (): void => {
      const first = socket.read(preface.byteLength) as Buffer | null
      // they may come one by one
      if (first === null && !socket.readableEnded) return
      cancel()
      if (first === null) { socket.destroy(); return }
      socket.off('readable', look).off('end', failed).off('error', failed)
      socket.unshift(first)
      const reader: EventEmitter = first.equals(preface) ? framed : plain
      reader.emit('connection', socket)
    }
    socket.on('readable', look).once('end', failed)
  })
  return server
}

/** The first three bytes of it tell: there is no such method (RFC 9113 §11.6). */
const preface = Buffer.from('PRI')
