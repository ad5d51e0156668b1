import type { Clock } from '../../base/clock.ts'
import { InvalidInput, Unavailable } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import { watchedCertificate } from './certificate-watch.ts'
import { clientAddressOf, isLoopback } from './client-address.ts'
import { connectionsOfEach } from './connections-of-each.ts'
import { ApiError, TooMany } from '../errors.ts'
import { isOurHost } from './hosts.ts'
import { type HttpServerLimits, httpServers } from './http-servers.ts'
import { type ApiLog, type Face, type Incoming, listen, type Refusal, serve } from './listener.ts'
import { type Rate, RateLimit, rateLimits, RecentNames } from './rate-limit.ts'
import { readTls, type TlsFiles } from './tls-files.ts'
import { clientBehind, plainAddressOf, type TrustedProxies, trustedProxies } from './trusted-proxies.ts'
import { demandWellFormed } from './well-formed.ts'

/**
 * What faces to others share: it listens where it is safe to, and hands a face only requests that are well-formed, came to a name of this server and from no
 * foreign web page, and not too many of them.
 */
export interface PublicListener extends AsyncDisposable {
  readonly port: number
  /** Where clients reach it, e.g. "https://0.0.0.0:9000". */
  readonly url: string
  /** Reads certificate and key afresh; what is wrong with them is logged, and the old ones stay. */
  reload (): Promise<void>
}

export interface PublicListenerOptions {
  /** For messages and the log: which settings it has, e.g. "s3". */
  readonly name: string
  /** Port 0: any free one. */
  readonly listen: { readonly host: string, readonly port: number }
  readonly tls?: TlsFiles
  /** An address that others reach, without TLS: what is said there, and keys that are shown, anybody on the way reads. */
  readonly allowInsecure?: boolean
  /** Names of this server beside its addresses and localhost; "*.NAME" for all below it, "*" for any. */
  readonly hosts?: readonly string[]
  /** Addresses and networks of servers before this one, which say who asks and whether by TLS (X-Forwarded-For, -Proto). */
  readonly trustedProxies?: readonly string[]
  readonly http2?: boolean
  readonly face: PublicFace
  readonly rates?: Partial<PublicRates>
  readonly limits?: Partial<PublicLimits>
  readonly clock: Clock
  readonly random: Random
  readonly log: ApiLog
}

export interface PublicFace {
  answer (exchange: PublicExchange): Promise<void>
  refusalOf (error: unknown, incoming: Incoming): Refusal
  /** Whether a web page of another origin may ask; the face then answers preflights and sends CORS headers itself. Without it none may. */
  allowsOrigin? (origin: string, incoming: Incoming): boolean | Promise<boolean>
}

export interface PublicExchange extends Incoming {
  /** The client's, as it is counted: of IPv6 the first 64 bits. */
  readonly address: string
  readonly isSecure: boolean
  /** What sends the request is on this machine: the client, or a proxy that is. */
  readonly isNear: boolean
  /** Counts a request of this access key, once it is known to be its. @throws TooMany */
  countKey (keyId: string): void
  /** Counts a wrong secret of this key, or share, shown by this client. @throws TooMany when there were too many */
  countFailure (of: string): void
  /** To be asked before a secret is compared. @throws TooMany while this client has shown too many wrong ones of this key; or of any, unless it has shown a right one of this, or `isForAll`: who has a link comes for the first time */
  demandTrust (of: string, options?: { isForAll?: boolean }): void
}

export interface PublicRates {
  readonly perAddress: Rate
  readonly perKey: Rate
  /** Wrong secrets of one address. */
  readonly failures: Rate
}

export interface PublicLimits extends HttpServerLimits {
  readonly maxConnections: number
  readonly maxConnectionsPerAddress: number
  readonly certificateCheckMs: number
}

export const publicLimits: PublicLimits = {
  maxConnections: 1024,
  maxConnectionsPerAddress: 512,
  maxHeaderBytes: 16 * 1024,
  maxHeaders: 128,
  /** A client that takes longer for the handshake or its headers is cut off (slow loris). */
  headersTimeoutMs: 10_000,
  /** How often that is looked at. */
  checkIntervalMs: 2000,
  keepAliveTimeoutMs: 60_000,
  /** No byte in either direction for this long ends the connection. */
  idleTimeoutMs: 120_000,
  /** Requests at once on one HTTP/2 connection, and the unread bytes of each. */
  maxStreams: 100,
  windowBytes: 1024 * 1024,
  /** How often the certificate's files are looked at. */
  certificateCheckMs: 60_000,
}

export const publicRates: PublicRates = {
  perAddress: { perSecond: 1000, burst: 2000 },
  perKey: { perSecond: 1000, burst: 2000 },
  failures: { perSecond: 0.2, burst: 20 },
}

/** Resolves when the port is open. @throws InvalidInput for an address that would not be safe, or TLS files that are none; what listen says, e.g. EADDRINUSE */
export async function openPublicListener (options: PublicListenerOptions): Promise<PublicListener> {
  demandSafe(options)
  const limits = { ...publicLimits, ...options.limits }
  const tls = options.tls === undefined ? undefined : await readTls(options.tls)
  const { server, readers, setTls } = httpServers({ tls, http2: options.http2 === true, limits, clock: options.clock })
  server.maxConnections = limits.maxConnections
  const proxies = trustedProxies(options.trustedProxies ?? [])
  server.on('connection', connectionsOfEach(limits.maxConnectionsPerAddress, proxies))
  const port = await listen(server, options.listen)
  const served = serve(server, { ...options, face: guarded(options, proxies) }, readers)
  const certificate = watchedCertificate({ ...options, files: options.tls, tls, setTls, everyMs: limits.certificateCheckMs })
  return {
    port,
    url: `${tls === undefined ? 'http' : 'https'}://${options.listen.host.includes(':') ? `[${options.listen.host}]` : options.listen.host}:${port}`,
    reload: certificate.reload,
    async [Symbol.asyncDispose] () {
      certificate.end()
      await served[Symbol.asyncDispose]()
    },
  }
}

function demandSafe ({ name, listen: { host }, tls, allowInsecure = false }: PublicListenerOptions): void {
  if (tls !== undefined || allowInsecure || isLoopback(host)) return
  throw new InvalidInput(`${name}-listen`, `${name}-listen is ${host}, which other machines reach, and there is no TLS: give a certificate (tls-cert, tls-key), listen on 127.0.0.1 behind a server that has one, or set insecure-public if everybody on that network may read what is said`)
}

/** Before a request reaches the face. */
function guarded (options: PublicListenerOptions, proxies: TrustedProxies): Face {
  const { face, clock, hosts = [], tls } = options
  const rates = { ...publicRates, ...options.rates }
  const [addresses, keys, failures, guesses] = [rates.perAddress, rates.perKey, rates.failures, rates.failures].map((rate) => new RateLimit({ ...rate, clock })) as [RateLimit, RateLimit, RateLimit, RateLimit]
  // behind a proxy all have one address: who guesses there must not keep those out who are in
  const trusted = new RecentNames(rateLimits.maxNames)
  return {
    async answer (incoming) {
      const { request, stopping } = incoming
      const client = clientBehind(proxies, { address: request.socket.remoteAddress ?? '', isSecure: tls !== undefined }, request.headers)
      const address = clientAddressOf(client.address)
      incoming.note({ address })
      demand(addresses.take(address), 'this address asks too often')
      if (stopping.aborted) throw new Unavailable('the node is stopping')
      demandWellFormed(request)
      if (!isOurHost(hostOf(incoming), hosts)) throw new ApiError(421, 'refused', 'the Host header names another server; public-hosts lists the names of this one')
      await demandOrigin(face, incoming, tls !== undefined)
      await face.answer({
        ...incoming,
        address,
        isSecure: client.isSecure,
        isNear: isLoopback(plainAddressOf(request.socket.remoteAddress ?? '')),
        countKey: (keyId) => {
          trusted.add(`${address} ${keyId}`)
          demand(keys.take(keyId), 'this access key asks too often')
        },
        countFailure: (of) => {
          guesses.take(nameAt(address, of))
          demand(failures.take(address), tooManyWrong)
        },
        demandTrust: (of, { isForAll = false } = {}) => {
          const name = nameAt(address, of)
          demand(guesses.wait(name), tooManyWrong)
          if (!isForAll && !trusted.has(name)) demand(failures.wait(address), tooManyWrong)
        },
      })
    },
    refusalOf (error, incoming) {
      const refusal = face.refusalOf(error, incoming)
      return error instanceof TooMany ? { ...refusal, headers: { ...refusal.headers, 'retry-after': String(Math.ceil(error.waitMs / 1000)) } } : refusal
    },
  }
}

const nameAt = (address: string, of: string): string => `${address} ${of.slice(0, 64)}`

const tooManyWrong = 'too many wrong secrets came from this address'

function demand (waitMs: number, what: string): void {
  if (waitMs > 0) throw new TooMany(waitMs, what)
}

/** HTTP/2 has it as a pseudo-header. */
const hostOf = ({ request: { headers } }: Incoming): string => headers.host ?? String(headers[':authority'] ?? '')

async function demandOrigin (face: PublicFace, incoming: Incoming, isSecure: boolean): Promise<void> {
  const { origin } = incoming.request.headers
  // a server before this one may be who speaks TLS
  if (origin === undefined || origin === `https://${hostOf(incoming)}` || (!isSecure && origin === `http://${hostOf(incoming)}`)) return
  if (await face.allowsOrigin?.(origin, incoming) === true) return
  throw new ApiError(403, 'refused', 'web pages of other origins may not ask here')
}
