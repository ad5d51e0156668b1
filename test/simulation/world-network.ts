import { concat } from '../../src/base/bytes.ts'
import { type Clock, DeadlineExceeded } from '../../src/base/clock.ts'
import type { PeerId } from '../../src/base/peer-id.ts'
import type { Random } from '../../src/base/random.ts'
import { Admission } from '../../src/network/admission.ts'
import { type Greet, Greetings } from '../../src/network/greetings.ts'
import { type HandlerLimits, PeerUnreachable, type RequestHandler, RequestRefused, type Requests } from '../../src/network/index.ts'
import { type Network, networkLimits } from '../../src/network/libp2p-network.ts'
import { reachLimits } from '../../src/network/reach.ts'
import { Strangers } from '../../src/network/strangers.ts'
import { Supervisor } from '../../src/network/supervisor.ts'
import { tableProtocol } from '../../src/protocols/table.ts'
import type { VirtualTime } from './virtual-time.ts'
import type { WorldWeather } from './world.ts'

/** One run of a process. */
export interface Life { isAlive: boolean, readonly name: string }

export interface NetworksParts {
  readonly time: VirtualTime
  readonly weather: WorldWeather
  readonly random: Random
  readonly peerOf: (name: string) => PeerId
  readonly names: readonly string[]
  /** What the one sends does not arrive at the other. */
  readonly isCut: (from: string, to: string) => boolean
  /** A request as it leaves a node; resolves when it is on its way. */
  readonly leaves: (message: { readonly from: string, readonly to: string, readonly protocol: string, readonly body: Uint8Array, readonly timeoutMs: number }) => Promise<Uint8Array>
  readonly sent: () => void
}

interface Connection { readonly ends: readonly [WorldNetwork, WorldNetwork] }

/**
 * Machines that dial each other, as the product's supervisor says: a connection is made by a dial and ends with a process, a hang-up, or when nothing has been heard for long; who is cut off
 * has half of one until then. Who is connected is a stranger until hello has let it in (`Admission`).
 */
export class Networks {
  readonly parts: NetworksParts
  readonly #open = new Map<PeerId, WorldNetwork>()

  constructor (parts: NetworksParts) { this.parts = parts }

  open (options: WorldNetworkOptions): WorldNetwork {
    const network = new WorldNetwork(this, options)
    this.#open.set(network.peerId, network)
    return network
  }

  at (peer: PeerId): WorldNetwork | undefined { return this.#open.get(peer) }
  get all (): Iterable<WorldNetwork> { return this.#open.values() }

  chance (share: number): boolean { return this.parts.random.fraction() < share }
  latencyMs (): number {
    const { weather: { stragglers, maxLatencyMs }, random } = this.parts
    return (this.chance(stragglers) ? 20 : 1) * (0.2 + random.fraction() * (maxLatencyMs - 0.2))
  }

  isCut (from: WorldNetwork, to: WorldNetwork): boolean { return this.parts.isCut(from.name, to.name) }
}

export interface WorldNetworkOptions {
  readonly life: Life
  readonly clock: Clock
  /** Undefined: nobody is greeted (while joining). */
  readonly greet: Greet | undefined
}

const pingTimeoutMs = 10_000

export class WorldNetwork {
  readonly peerId: PeerId
  readonly name: string
  readonly admission = new Admission()
  readonly requests: Requests
  readonly gossip = { announce: () => {} }
  readonly providers = { provide: () => {}, async * find () { /* nobody is asked */ } }
  readonly #all: Networks
  readonly #options: WorldNetworkOptions
  readonly #handlers = new Map<string, { readonly handler: RequestHandler, readonly limits: HandlerLimits }>()
  readonly #connections = new Map<PeerId, Set<Connection>>()
  readonly #strangers: Strangers
  readonly #greetings: Greetings
  readonly #supervisor: Supervisor
  #isListening = false

  constructor (all: Networks, options: WorldNetworkOptions) {
    this.#all = all
    this.#options = options
    this.name = options.life.name
    this.peerId = all.parts.peerOf(this.name)
    this.requests = {
      handle: async (protocol, handler, limits) => { this.#handlers.set(protocol, { handler, limits }) },
      request: async (peer, protocol, parts, wait) => this.#request(peer, protocol, concat([...parts]), wait),
    }
    const { admission } = this
    this.#greetings = new Greetings({ greet: options.greet, admission, admit: (peer) => { this.admit(peer) }, hangUp: async (peer) => { this.#hangUp(peer) } })
    this.#strangers = new Strangers({ admission, clock: options.clock, cutOff: (peer) => { this.#hangUp(peer) } })
    this.#supervisor = new Supervisor({
      clock: options.clock, random: all.parts.random,
      dial: async (addresses, signal) => { await this.#dialAndGreet(addresses, signal) },
      ping: async (peer, signal) => this.#ping(peer, signal),
      isConnected: (peer) => this.isConnected(peer),
      disconnect: async (peer) => { this.#hangUp(peer) },
      connected: () => this.admission.admitted,
      note: () => {},
    })
  }

  /** As the product knows it; what nobody asks for here is not there. */
  get asNetwork (): Network { return this as unknown as Network }

  async listen (): Promise<void> {
    this.#isListening = true
    this.#supervisor.start()
  }

  /** The process has died; its system tells those who can be told. */
  end (): void { for (const peer of this.#connections.keys()) this.#hangUp(peer) }

  addresses (): readonly string[] { return [addressOf(this.#all.parts, this.name)] }
  get known (): ReadonlyMap<string, readonly string[]> { return this.#supervisor.known }
  latencyOf (peer: PeerId): number | undefined { return this.#supervisor.latencyOf(peer) }
  isConnected (peer: PeerId): boolean { return this.admission.isAdmitted(peer) }
  know (peer: PeerId, addresses: readonly string[], options?: { readonly isHeard?: boolean }): void { if (peer !== this.peerId) this.#supervisor.know(peer, addresses, options) }
  reachable (): readonly PeerId[] {
    return [...this.admission.admitted].filter((peer) => this.#supervisor.isResponsive(peer))
      .sort((a, b) => (this.latencyOf(a) ?? Infinity) - (this.latencyOf(b) ?? Infinity))
  }

  admit (peer: PeerId): boolean {
    const isOpen = this.#connections.has(peer)
    if (isOpen) this.admission.admit(peer)
    return isOpen
  }

  async expel (peer: PeerId): Promise<void> {
    this.#supervisor.forget(peer)
    this.admission.ban(peer)
    this.#hangUp(peer)
  }

  allowTime (peer: PeerId, ms: number): void { if (this.#strangers.has(peer)) this.#strangers.allow(peer, ms) }

  /** As those say who are let in here, over Kademlia: it knows whom they have let in. */
  async find (peer: PeerId): Promise<readonly string[]> {
    await this.#options.clock.sleep(2 * this.#all.latencyMs())
    for (const other of this.reachable()) {
      const network = this.#all.at(other)
      if (network !== undefined && this.#isHeardBy(network) && network.admission.isAdmitted(peer)) return [addressOf(this.#all.parts, this.#nameOf(peer))]
    }
    return []
  }

  /** As `reach`, for an address of here. */
  async reach (address: string): Promise<string | undefined> {
    const other = this.#all.at(peerIn(address))
    const isThere = other !== undefined && this.#isHeardBy(other)
    await this.#options.clock.sleep(isThere ? 2 * this.#all.latencyMs() : reachLimits.timeoutMs)
    return isThere && other.isListening ? 'open' : 'refuses'
  }

  /** Connects once, now, and greets nobody. */
  async dial (addresses: readonly string[], { signal }: { signal: AbortSignal }): Promise<PeerId> {
    const { clock } = this.#options
    const peer = peerIn(addresses[0] ?? '')
    if (this.admission.isBanned(peer)) throw new PeerUnreachable(peer, 'no member any more')
    await clock.sleep(2 * this.#all.latencyMs(), { signal })
    const other = this.#all.at(peer)
    if (other === undefined || !this.#isHeardBy(other)) await clock.sleep(Infinity, { signal })
    if (other?.isListening !== true) throw new PeerUnreachable(peer, 'refused')
    const connection: Connection = { ends: [this, other] }
    this.#opened(connection, other.peerId)
    other.#opened(connection, this.peerId)
    return peer
  }

  get isListening (): boolean { return this.#options.life.isAlive && this.#isListening }
  #isHeardBy (other: WorldNetwork): boolean { return !this.#all.isCut(this, other) && !this.#all.isCut(other, this) }
  #nameOf (peer: PeerId): string { return this.#all.parts.names.find((name) => this.#all.parts.peerOf(name) === peer) ?? '' }

  async #dialAndGreet (addresses: readonly string[], signal: AbortSignal): Promise<void> {
    const peer = await this.dial(addresses, { signal })
    this.know(peer, addresses)
    await this.#greetings.greet(peer, signal)
  }

  #opened (connection: Connection, peer: PeerId): void {
    this.#connections.set(peer, (this.#connections.get(peer) ?? new Set()).add(connection))
    if (this.admission.isAdmitted(peer) || this.#options.greet === undefined || connection.ends[0] === this || this.#strangers.has(peer)) return
    this.#strangers.allow(peer, networkLimits.strangerTimeoutMs)
  }

  #hangUp (peer: PeerId): void { for (const connection of this.#connections.get(peer) ?? []) this.#close(connection, peer) }

  /** The other hears of it, if it can. */
  #close (connection: Connection, peer: PeerId): void {
    this.#closed(connection, peer)
    const other = connection.ends.find((end) => end !== this)
    if (other === undefined || this.#all.isCut(this, other)) return
    this.#all.parts.time.after(this.#all.latencyMs(), () => { other.#closed(connection, this.peerId) })
  }

  #closed (connection: Connection, peer: PeerId): void {
    const connections = this.#connections.get(peer)
    if (connections?.delete(connection) !== true || connections.size > 0) return
    this.#connections.delete(peer)
    this.#strangers.forget(peer)
    if (!this.#options.life.isAlive) return
    if (this.admission.isAdmitted(peer)) this.#supervisor.lost(peer)
    this.admission.expel(peer)
  }

  #connectionTo (peer: PeerId): Connection {
    const [connection] = this.#connections.get(peer) ?? []
    if (connection === undefined) throw new PeerUnreachable(peer, 'not connected')
    return connection
  }

  #isAtBothEnds (connection: Connection): boolean { return connection.ends.every((end, i) => end.#connections.get((connection.ends[1 - i] as WorldNetwork).peerId)?.has(connection) === true) }

  async #ping (peer: PeerId, signal: AbortSignal): Promise<number> {
    const startMs = this.#options.clock.monotonicMs()
    await this.#exchange(peer, { isLossy: false, signal, timeoutMs: pingTimeoutMs, copies: 1, answer: async () => [] })
    return this.#options.clock.monotonicMs() - startMs
  }

  async #request (peer: PeerId, protocol: string, plain: Uint8Array, { signal, timeoutMs }: { signal?: AbortSignal, timeoutMs: number }): Promise<Uint8Array> {
    this.#connectionTo(peer)
    const to = this.#nameOf(peer)
    const body = await this.#all.parts.leaves({ from: this.name, to, protocol, body: plain, timeoutMs })
    this.#all.parts.sent()
    const { weather: { duplicates } } = this.#all.parts
    return this.#exchange(peer, {
      isLossy: true, signal, timeoutMs, copies: protocol === tableProtocol && this.#all.chance(duplicates) ? 2 : 1,
      answer: async (other) => other.#answer(this.peerId, protocol, body),
    })
  }

  async #answer (peer: PeerId, protocol: string, body: Uint8Array): Promise<readonly Uint8Array[]> {
    const served = this.#handlers.get(protocol)
    if (served === undefined) throw new Unserved(`no ${protocol} stream`)
    // as `Admission.guarded`: what follows a greeting waits for its end
    if (served.limits.strangers !== true && !this.admission.isAdmitted(peer)) {
      await this.admission.proven(peer)
      if (!this.admission.isAdmitted(peer)) throw new Unserved('hello first')
    }
    return served.handler(peer, body, { signal: new AbortController().signal })
  }

  /** There and back; lost is also what takes a network that stands still. */
  #exchange (peer: PeerId, { isLossy, signal, timeoutMs, copies, answer }: { isLossy: boolean, signal: AbortSignal | undefined, timeoutMs: number, copies: number, answer: (other: WorldNetwork) => Promise<readonly Uint8Array[]> }): Promise<Uint8Array> {
    const [connection, all, { life }] = [this.#connectionTo(peer), this.#all, this.#options]
    const { time, weather } = all.parts
    return new Promise<Uint8Array>((onAnswer, onFailure) => {
      if (signal?.aborted === true) { onFailure(signal.reason as Error); return }
      const ifAlive = (act: () => void) => (): void => { if (life.isAlive) act() }
      const onAbort = ifAlive(() => { reject(signal?.reason as Error) })
      const end = (): void => { cancel(); signal?.removeEventListener('abort', onAbort) }
      const resolve = (answered: Uint8Array): void => { end(); onAnswer(answered) }
      const reject = (error: Error): void => { end(); onFailure(error) }
      const cancel = time.after(timeoutMs, ifAlive(() => { reject(new DeadlineExceeded('no answer')) }))
      signal?.addEventListener('abort', onAbort)
      const other = connection.ends.find((one) => one !== this) as WorldNetwork
      const isLost = (from: WorldNetwork, to: WorldNetwork): boolean => all.isCut(from, to) || (isLossy && all.chance(weather.loss))
      const back = (act: () => void): void => { if (other.#options.life.isAlive && !isLost(other, this)) time.after(all.latencyMs(), ifAlive(act)) }
      const arrive = (): void => {
        if (isLost(this, other)) return
        if (!this.#isAtBothEnds(connection)) {
          // nobody has it at the other end: the system there says so
          if (!all.isCut(other, this)) { this.#closed(connection, peer); if (life.isAlive) reject(new PeerUnreachable(peer, 'the connection has ended')) }
          return
        }
        answer(other).then((answered) => { back(() => { resolve(concat([...answered])) }) }, (error: unknown) => {
          back(() => { reject(error instanceof Unserved ? new PeerUnreachable(peer, error.message) : new RequestRefused(peer, error instanceof Error ? error.message : String(error))) })
        })
      }
      for (let copy = copies; copy > 0; copy--) time.after(all.latencyMs(), arrive)
    })
  }
}

const peerIn = (address: string): PeerId => address.slice(address.lastIndexOf('/') + 1) as PeerId

class Unserved extends Error {}

export const addressOf = ({ names, peerOf }: Pick<NetworksParts, 'names' | 'peerOf'>, name: string): string => `/ip4/10.0.0.${1 + names.indexOf(name)}/tcp/4001/p2p/${peerOf(name)}`
