import type { Connection, Libp2p } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { Budget } from '../base/budget.ts'
import { type Clock, deadline } from '../base/clock.ts'
import type { PeerId } from '../base/peer-id.ts'
import { type Admission, peerIdOfConnection } from './admission.ts'
import { answer, Asker } from './exchange.ts'
import { type HandlerLimits, PeerUnreachable, type RequestHandler, type Requests } from './index.ts'

export const requestLimits = {
  /** Streams for one protocol to one peer. A second one keeps short requests from waiting behind a long answer. */
  maxStreams: 3,
  /** Requests on a stream before another is opened: one reader of a large file stays on one, where its answers come whole, one after the other. */
  busyAt: 8,
  openTimeoutMs: 5000,
  /** One peer holds at most this part of what requests and answers of all peers may hold. */
  sharesOfHeld: 4,
  /** Inbound streams of one protocol on one connection. */
  maxInboundStreams: 16,
} as const

export interface LibRequestsParts {
  readonly node: Libp2p
  readonly admission: Admission
  readonly clock: Clock
  readonly warn: (message: string, cause: unknown) => void
}

/** Requests over libp2p: a few long-lived streams for each peer and protocol. Connecting is the supervisor's: who is not connected is unreachable, at once. */
export class LibRequests implements Requests {
  readonly #parts: LibRequestsParts
  readonly #pools = new Map<string, Pool>()

  constructor (parts: LibRequestsParts) {
    this.#parts = parts
    parts.node.addEventListener('peer:disconnect', (event) => {
      for (const name of this.#pools.keys()) if (name.startsWith(`${event.detail.toString()} `)) this.#pools.delete(name)
    })
  }

  async request (peer: PeerId, protocol: string, body: readonly Uint8Array[], { signal, timeoutMs, maxAnswerBytes }: { signal?: AbortSignal, timeoutMs: number, maxAnswerBytes: number }): Promise<Uint8Array> {
    const asker = await this.#poolOf(peer, protocol).take(signal)
    return await asker.ask({ body, maxAnswerBytes, signal, timeoutMs })
  }

  async handle (protocol: string, handler: RequestHandler, limits: HandlerLimits): Promise<void> {
    const { node, admission, clock, warn } = this.#parts
    const bounds = new Map<PeerId, { readonly room: Budget, readonly share: Budget | undefined }>()
    node.addEventListener('peer:disconnect', (event) => { bounds.delete(event.detail.toString() as PeerId) })
    const boundsOf = (peer: PeerId): { readonly room: Budget, readonly share: Budget | undefined } => {
      const { maxConcurrent, holding } = limits
      const known = bounds.get(peer) ?? { room: new Budget(maxConcurrent), share: holding === undefined ? undefined : new Budget(holding.budget.limit / requestLimits.sharesOfHeld) }
      bounds.set(peer, known)
      return known
    }
    const serve = async (stream: Parameters<typeof answer>[0], connection: Connection): Promise<void> => {
      try {
        const peer = peerIdOfConnection(connection)
        await answer(stream, { ...limits, peer, ...boundsOf(peer), handler, clock, warn })
        await stream.close()
      } catch (error) {
        stream.abort(error instanceof Error ? error : new Error(String(error)))
      }
    }
    await node.handle(protocol, limits.strangers === true ? serve : admission.guarded(serve), { maxInboundStreams: requestLimits.maxInboundStreams })
  }

  #poolOf (peer: PeerId, protocol: string): Pool {
    const name = `${peer} ${protocol}`
    let pool = this.#pools.get(name)
    if (pool === undefined) this.#pools.set(name, pool = new Pool(this.#parts, peer, protocol))
    return pool
  }
}

class Pool {
  readonly #parts: LibRequestsParts
  readonly #peer: PeerId
  readonly #protocol: string
  #askers: Asker[] = []
  #opening: Promise<Asker> | undefined

  constructor (parts: LibRequestsParts, peer: PeerId, protocol: string) {
    this.#parts = parts
    this.#peer = peer
    this.#protocol = protocol
  }

  /** The least busy stream, or a new one while all are busy and there may be more. */
  async take (signal: AbortSignal | undefined): Promise<Asker> {
    this.#askers = this.#askers.filter(({ isOpen }) => isOpen)
    const idlest = this.#askers.toSorted((a, b) => a.inFlight - b.inFlight)[0]
    if (idlest === undefined) return this.#open(signal)
    if (idlest.inFlight >= requestLimits.busyAt && this.#askers.length < requestLimits.maxStreams && this.#opening === undefined) {
      // the next request has the new stream; this one does not wait for it
      this.#open(signal).catch((error: unknown) => { this.#parts.warn('another stream could not be opened', error) })
    }
    return idlest
  }

  // one at a time: what comes meanwhile shares it
  #open (signal: AbortSignal | undefined): Promise<Asker> {
    this.#opening ??= this.#opened().finally(() => { this.#opening = undefined })
    return abortableWait(this.#opening, signal)
  }

  async #opened (): Promise<Asker> {
    const connection = this.#parts.node.getConnections(peerIdFromString(this.#peer)).find(({ status }) => status === 'open')
    if (connection === undefined) throw new PeerUnreachable(this.#peer, 'not connected')
    using limit = deadline(this.#parts.clock, requestLimits.openTimeoutMs, { what: `opening ${this.#protocol}` })
    try {
      const stream = await connection.newStream(this.#protocol, { signal: limit.signal, maxOutboundStreams: requestLimits.maxStreams * 4 })
      const asker = new Asker(stream, { peer: this.#peer, clock: this.#parts.clock })
      this.#askers.push(asker)
      return asker
    } catch (cause) {
      throw new PeerUnreachable(this.#peer, `no ${this.#protocol} stream: ${cause instanceof Error ? cause.message : String(cause)}`, { cause })
    }
  }
}

function abortableWait<T> (promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  return new Promise((resolve, reject) => {
    const onAbort = (): void => { reject(signal.reason as Error) }
    if (signal.aborted) onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    promise.then(resolve, reject).finally(() => { signal.removeEventListener('abort', onAbort) })
  })
}
