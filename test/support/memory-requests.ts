import { concat } from '../../src/base/bytes.ts'
import { Budget } from '../../src/base/budget.ts'
import { type Clock, deadline, systemClock } from '../../src/base/clock.ts'
import type { PeerId } from '../../src/base/peer-id.ts'
import { type HandlerLimits, PeerUnreachable, type RequestHandler, type Requests, RequestRefused } from '../../src/network/index.ts'

/** Requests between peers of one process, with the bounds of the real thing and a hand on every cable. */
export interface MemoryNetwork {
  /** That peer's end; the same one for the same peer. */
  of (peer: PeerId): Requests
  /** Cuts both directions; requests under way end with PeerUnreachable, their handlers are aborted. */
  disconnect (a: PeerId, b: PeerId): void
  connect (a: PeerId, b: PeerId): void
  /** Cuts a peer from everybody until `revive`. Its handlers stay registered. */
  kill (peer: PeerId): void
  revive (peer: PeerId): void
  /** Every message between the two waits this long on the clock, each way. */
  delay (a: PeerId, b: PeerId, delayMs: number): void
  /** The next `count` requests from `asker` to `answerer` are handled, but their answers are lost: the asker sees PeerUnreachable. */
  loseAnswers (asker: PeerId, answerer: PeerId, count: number): void
  /** Makes the two strangers (only `strangers: true` protocols are reached) until `admit`. All peers start admitted. */
  estrange (a: PeerId, b: PeerId): void
  admit (a: PeerId, b: PeerId): void
  /** Every request that was sent, in order. */
  readonly sent: ReadonlyArray<{ from: PeerId, to: PeerId, protocol: string, bytes: number }>
}

interface Handling { readonly handler: RequestHandler, readonly limits: HandlerLimits, readonly budgets: Map<PeerId, Budget> }
interface Flight { readonly from: PeerId, readonly to: PeerId, readonly cut: AbortController }

export function memoryNetwork ({ clock = systemClock }: { clock?: Clock } = {}): MemoryNetwork {
  const ends = new Map<PeerId, Requests>()
  const handlers = new Map<string, Handling>()
  const [cut, dead, strangers] = [new Set<string>(), new Set<PeerId>(), new Set<string>()]
  const [delays, losses] = [new Map<string, number>(), new Map<string, number>()]
  const flights = new Set<Flight>()
  const sent: Array<{ from: PeerId, to: PeerId, protocol: string, bytes: number }> = []
  const isConnected = (a: PeerId, b: PeerId): boolean => ends.has(b) && !dead.has(a) && !dead.has(b) && !cut.has(link(a, b))
  const endFlights = (isHit: (flight: Flight) => boolean, peer: PeerId): void => {
    for (const flight of flights) if (isHit(flight)) flight.cut.abort(new PeerUnreachable(peer, 'the connection ended'))
  }

  // one request: the cable first, then the answerer's bounds, then its handler, then the cable again
  async function carry (flight: Flight, protocol: string, body: Uint8Array, maxAnswerBytes: number, signal: AbortSignal): Promise<Uint8Array> {
    const { from, to } = flight
    const wait = async (): Promise<void> => {
      const delayMs = delays.get(link(from, to)) ?? 0
      if (delayMs > 0) await clock.sleep(delayMs, { signal })
      else await Promise.resolve()
      signal.throwIfAborted()
    }
    await wait()
    const handling = handlers.get(`${to} ${protocol}`)
    if (handling === undefined) throw new RequestRefused(to, `does not speak ${protocol}`)
    if (strangers.has(link(from, to)) && handling.limits.strangers !== true) throw new RequestRefused(to, 'no such protocol for strangers')
    if (body.byteLength > handling.limits.maxRequestBytes) throw new RequestRefused(to, `request of ${body.byteLength} bytes exceeds ${handling.limits.maxRequestBytes}`)
    const answer = await handle(handling, from, to, body, signal)
    await wait()
    if (answer.byteLength > maxAnswerBytes) throw new PeerUnreachable(to, `answer of ${answer.byteLength} bytes exceeds ${maxAnswerBytes}`)
    const toLose = losses.get(`${from} ${to}`) ?? 0
    if (toLose === 0) return answer
    losses.set(`${from} ${to}`, toLose - 1)
    throw new PeerUnreachable(to, 'the connection ended')
  }

  async function request (from: PeerId, to: PeerId, protocol: string, parts: readonly Uint8Array[], options: { signal?: AbortSignal, timeoutMs: number, maxAnswerBytes: number }): Promise<Uint8Array> {
    options.signal?.throwIfAborted()
    const body = concat([...parts])
    sent.push({ from, to, protocol, bytes: body.byteLength })
    if (!isConnected(from, to)) throw new PeerUnreachable(to, 'not connected')
    const flight: Flight = { from, to, cut: new AbortController() }
    flights.add(flight)
    const limit = deadline(clock, options.timeoutMs, { signal: options.signal, what: protocol })
    const signal = AbortSignal.any([limit.signal, flight.cut.signal])
    try {
      return await untilAborted(carry(flight, protocol, body, options.maxAnswerBytes, signal), signal)
    } finally {
      limit[Symbol.dispose]()
      flights.delete(flight)
    }
  }

  return {
    sent,
    of (peer) {
      const made: Requests = ends.get(peer) ?? {
        request: (to, protocol, body, options) => request(peer, to, protocol, body, options),
        async handle (protocol, handler, limits) { handlers.set(`${peer} ${protocol}`, { handler, limits, budgets: new Map() }) },
      }
      ends.set(peer, made)
      return made
    },
    disconnect (a, b) { cut.add(link(a, b)); endFlights(({ from, to }) => link(from, to) === link(a, b), b) },
    connect (a, b) { cut.delete(link(a, b)) },
    kill (peer) { dead.add(peer); endFlights(({ from, to }) => from === peer || to === peer, peer) },
    revive (peer) { dead.delete(peer) },
    delay (a, b, delayMs) { delays.set(link(a, b), delayMs) },
    loseAnswers (asker, answerer, count) { losses.set(`${asker} ${answerer}`, count) },
    estrange (a, b) { strangers.add(link(a, b)) },
    admit (a, b) { strangers.delete(link(a, b)) },
  }
}

const link = (a: PeerId, b: PeerId): string => a < b ? `${a} ${b}` : `${b} ${a}`

// what a handler throws reaches the asker as a refusal with its message, as over a stream
async function handle ({ handler, limits, budgets }: Handling, from: PeerId, to: PeerId, body: Uint8Array, signal: AbortSignal): Promise<Uint8Array> {
  const budget = budgets.get(from) ?? new Budget(limits.maxConcurrent)
  budgets.set(from, budget)
  using _turn = await budget.claim(1, { signal })
  using _held = await limits.holding?.budget.claim(body.byteLength + limits.holding.answerBytes, { signal })
  try {
    return concat([...await handler(from, body, { signal })])
  } catch (cause) {
    signal.throwIfAborted()
    throw new RequestRefused(to, cause instanceof Error ? cause.message : String(cause), { cause })
  }
}

// a handler that ignores its signal must not keep the asker waiting
function untilAborted<T> (work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => { reject(signal.reason as Error) }
    signal.addEventListener('abort', onAbort, { once: true })
    work.then(resolve, reject).finally(() => { signal.removeEventListener('abort', onAbort) })
    if (signal.aborted) onAbort()
  })
}
