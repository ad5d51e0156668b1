import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { type GossipSub, gossipsub } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import type { Connection, Libp2p } from '@libp2p/interface'
import { type KadDHT, kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { mdns } from '@libp2p/mdns'
import { peerIdFromPrivateKey, peerIdFromString } from '@libp2p/peer-id'
import { type Ping, ping } from '@libp2p/ping'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import type { Clock } from '../base/clock.ts'
import { Unavailable } from '../base/errors.ts'
import type { PeerId } from '../base/peer-id.ts'
import { portError } from '../base/port-error.ts'
import type { Random } from '../base/random.ts'
import { Admission, peerIdOfConnection } from './admission.ts'
import { announcementLimits } from './announcements.ts'
import { DialOrder } from './dial-order.ts'
import { Gossip, gossipTopics } from './gossip.ts'
import { type Greet, Greetings } from './greetings.ts'
import type { Requests } from './index.ts'
import { Listeners } from './listeners.ts'
import { KademliaProviders } from './providers.ts'
import { LibRequests } from './requests.ts'
import { Strangers } from './strangers.ts'
import { Supervisor } from './supervisor.ts'
import { transportOptions } from './transport.ts'
import { whereaboutsOf } from './whereabouts.ts'

export interface NetworkOptions {
  /** Ed25519 seed, 32 bytes. */
  readonly seed: Uint8Array
  readonly listen: readonly string[]
  readonly announce: readonly string[]
  /** Multiaddrs with /p2p, dialled for ever. */
  readonly bootstrap: readonly string[]
  readonly mdns: boolean
  readonly clock: Clock
  readonly random: Random
  /** Undefined: nobody is greeted (while joining). */
  readonly greet: Greet | undefined
  readonly isMember: (peer: PeerId) => boolean
  readonly log: NetworkLog
}

/** As pino's loggers. */
export interface NetworkLog {
  debug (fields: object, message: string): void
  info (fields: object, message: string): void
  warn (fields: object, message: string): void
}

export interface Network extends AsyncDisposable {
  /** Opens the doors: everything that peers may ask for must be registered by now. */
  listen (): Promise<void>
  readonly peerId: PeerId
  readonly requests: Requests
  readonly admission: Admission
  readonly gossip: Gossip
  readonly providers: KademliaProviders
  /** With /p2p. */
  addresses (): readonly string[]
  /** Connects once, now; with `force` also beside an open connection. @throws when no address answers */
  dial (addresses: readonly string[], options: { signal: AbortSignal, force?: boolean }): Promise<PeerId>
  /** Opens everything to a peer that has proven itself, while it is connected: of one that has gone meanwhile nobody would hear the end. Whether it did. */
  admit (peer: PeerId): boolean
  /** No member any more: its connections are cut at once, it is not dialled again, and the libraries forget it. */
  expel (peer: PeerId): Promise<void>
  /** A stranger has shown what lets it in: it may take so much longer, from now on. */
  allowTime (peer: PeerId, ms: number): void
  /** To be connected to from now on. Addresses that name another peer are none of its. `isHeard`: others say so. */
  know (peer: PeerId, addresses: readonly string[], options?: { readonly isHeard?: boolean }): void
  readonly known: ReadonlyMap<string, readonly string[]>
  /** Where a peer listens, as others say, over Kademlia; empty: nobody knows. Rejects if nobody could be asked in time. */
  find (peer: PeerId, options: { signal: AbortSignal }): Promise<readonly string[]>
  /** Admitted peers that answer, nearest first. Never waits. */
  reachable (): readonly PeerId[]
  latencyOf (peer: PeerId): number | undefined
  isConnected (peer: PeerId): boolean
  connectionCount (): number
  /** For inspection: whom Kademlia's routing table and gossipsub know. */
  introspect (): { readonly routingTable: readonly string[], readonly gossip: readonly string[] }
}

export const networkLimits = {
  maxConnections: 2000,
  /** Connections whose peers have not proven themselves; more are closed at once. */
  maxStrangers: 64,
  maxConnectionsPerStranger: 4,
  /** A stranger that has not said hello, or joined, is cut off. */
  strangerTimeoutMs: 15_000,
  maxIncomingPendingConnections: 64,
  /** A second, for each address: a rack behind one NAT starts together. */
  inboundConnectionThreshold: 200,
  gossipOutboundBytes: 4 * 1024 * 1024,
} as const

type Services = { identify: unknown, ping: Ping, pubsub: GossipSub, dht: KadDHT }

/** libp2p over TCP, noise and yamux, with identify, ping, gossipsub and Kademlia; the last two see admitted peers only. Closed until `listen`. */
export async function startNetwork (options: NetworkOptions): Promise<Network> {
  const admission = new Admission()
  const node = await createLibp2p<Services>(await libp2pOptions(options, admission) as never)
  return new LibNetwork(node, admission, options)
}

const [silent, invalidCost] = [0, -20]
/**
 * Nodes of one rack, one NAT or one machine share an address, and admission is what keeps a flood of identities out; announcements come when objects are
 * stored, so silence is no fault. What counts is who passes on what no member could have made: the third time within a minute it is not heard any more.
 */
const scoreParams = {
  IPColocationFactorWeight: 0,
  topics: Object.fromEntries(gossipTopics.map((topic) => [topic, {
    topicWeight: 1, timeInMeshWeight: silent, firstMessageDeliveriesWeight: silent, meshMessageDeliveriesWeight: silent, meshFailurePenaltyWeight: silent,
    invalidMessageDeliveriesWeight: invalidCost, invalidMessageDeliveriesDecay: 0.95,
  }])),
}

async function libp2pOptions ({ seed, listen, announce, mdns: useMdns }: NetworkOptions, admission: Admission): Promise<object> {
  // the libraries get a registrar through which strangers do not exist
  const guarded = <T>(make: (components: never) => T) => (components: { registrar: unknown }): T =>
    make(new Proxy(components, { get: (target, name) => name === 'registrar' ? admission.registrar(target.registrar as never) : Reflect.get(target, name) as unknown }) as never)
  const privateKey = await generateKeyPairFromSeed('Ed25519', seed)
  const self = peerIdFromPrivateKey(privateKey).toString()
  const [listeners, order] = [new Listeners(), new DialOrder()]
  // what the library would tell of itself, here, to whom it meets, and through Kademlia
  const tellsAll = (confirmed: readonly Multiaddr[]): Multiaddr[] => distinct([...confirmed, ...listeners.addresses().map((address) => address.encapsulate(`/p2p/${self}`))])
  return {
    start: false,
    privateKey,
    addresses: { listen: [...listen], announce: [...announce], announceFilter: announce.length > 0 ? undefined : tellsAll },
    ...transportOptions({ listeners, order }),
    connectionManager: {
      maxConnections: networkLimits.maxConnections,
      maxIncomingPendingConnections: networkLimits.maxIncomingPendingConnections,
      inboundConnectionThreshold: networkLimits.inboundConnectionThreshold,
      reconnectRetries: 0,
      addressSorter: order.compare,
    },
    // whom Kademlia's table once had near it marks to be kept, and libp2p then dials it again each time that it is cut off, without a pause
    connectionGater: { denyDialPeer: (peer: { toString (): string }) => admission.isBanned(peer.toString() as PeerId) },
    // its ping cuts connections whose peer is merely busy; the supervisor has a rule of its own
    connectionMonitor: { enabled: false },
    peerDiscovery: useMdns ? [mdns({ serviceTag: '_dfs._udp.local' })] : [],
    services: {
      identify: identify(),
      ping: ping(),
      pubsub: guarded(gossipsub({
        allowPublishToZeroTopicPeers: true,
        allowedTopics: [...gossipTopics],
        emitSelf: false,
        globalSignaturePolicy: 'StrictSign',
        maxInboundDataLength: announcementLimits.maxMessageBytes * 2,
        maxOutboundBufferSize: networkLimits.gossipOutboundBytes,
        scoreParams,
      } as never) as never),
      dht: guarded(kadDHT({
        protocol: '/dfs/kad/1.0.0',
        clientMode: false,
        allowQueryWithZeroPeers: true,
        initialQuerySelfInterval: 200,
        // whom another member names enters the table only after hello; the supervisor does the dialling
        peerInfoMapper: (peer: { id: { toString (): string }, multiaddrs: never[] }) => (peer.id.toString() === self || admission.isAdmitted(peer.id.toString() as PeerId)) ? passthroughMapper(peer as never) : { ...peer, multiaddrs: [] },
      } as never) as never),
    },
  }
}

class LibNetwork implements Network {
  readonly peerId: PeerId
  readonly requests: LibRequests
  readonly admission: Admission
  readonly gossip: Gossip
  readonly providers: KademliaProviders
  readonly #node: Libp2p<Services>
  readonly #options: NetworkOptions
  readonly #supervisor: Supervisor
  readonly #strangers: Strangers
  readonly #greetings: Greetings
  readonly #stop = new AbortController()

  constructor (node: Libp2p<Services>, admission: Admission, options: NetworkOptions) {
    const { clock, random, log } = options
    const warn = (message: string, cause: unknown): void => { log.warn({ reason: cause instanceof Error ? cause.message : String(cause) }, message) }
    this.#node = node
    this.#options = options
    this.peerId = node.peerId.toString() as PeerId
    this.admission = admission
    this.requests = new LibRequests({ node, admission, clock, warn })
    this.gossip = new Gossip({ pubsub: node.services.pubsub, clock, self: this.peerId, isMember: options.isMember, warn })
    this.providers = new KademliaProviders({ dht: node.services.dht, clock, warn })
    const hangUp = async (peer: PeerId): Promise<void> => { await node.hangUp(peerIdFromString(peer)) }
    this.#greetings = new Greetings({ greet: options.greet, admission, admit: (peer) => { this.admit(peer) }, hangUp })
    this.#strangers = new Strangers({ admission, clock, cutOff: (peer) => { this.#cutOff(peer) } })
    this.#supervisor = new Supervisor({
      clock,
      random,
      dial: async (addresses, signal) => { await this.#dialAndGreet(addresses, signal) },
      ping: async (peer, signal) => node.services.ping.ping(peerIdFromString(peer), { signal }),
      isConnected: (peer) => this.isConnected(peer),
      disconnect: hangUp,
      connected: () => admission.admitted,
      note: (message, fields) => { log.debug(fields, message) },
    })
  }

  async listen (): Promise<void> {
    const node = this.#node
    node.addEventListener('connection:open', (event) => { this.#opened(event.detail) })
    node.addEventListener('peer:disconnect', (event) => { this.#closed(event.detail.toString() as PeerId) })
    node.addEventListener('peer:discovery', (event) => { this.#discovered(event.detail.id.toString() as PeerId, event.detail.multiaddrs.map(String)) })
    for (const address of this.#options.bootstrap) this.#supervisor.know(peerIn(address), [address])
    try { await node.start() } catch (cause) { throw listenError(cause) }
    const { listen } = this.#options
    if (listen.length > 0 && this.addresses().length === 0) throw new Unavailable(`nothing listens at ${listen.join(', ')}, though the system reported no error: is a network interface up?`)
    this.gossip.start()
    this.#supervisor.start()
  }

  addresses (): readonly string[] { return this.#node.getMultiaddrs().map(String) }
  get known (): ReadonlyMap<string, readonly string[]> { return this.#supervisor.known }
  latencyOf (peer: PeerId): number | undefined { return this.#supervisor.latencyOf(peer) }
  connectionCount (): number { return this.#node.getConnections().length }
  // admission ends with the last connection
  isConnected (peer: PeerId): boolean { return this.admission.isAdmitted(peer) }
  know (peer: PeerId, addresses: readonly string[], options: { readonly isHeard?: boolean } = {}): void {
    // dialled, one of another would find that other, and be kept as where it listens
    if (peer !== this.peerId) this.#supervisor.know(peer, addresses.map((address) => withPeer(address, peer)).filter((address) => peerIn(address) === peer), options)
  }

  async find (peer: PeerId, { signal }: { signal: AbortSignal }): Promise<readonly string[]> {
    return await whereaboutsOf(peer, { dht: this.#node.services.dht, clock: this.#options.clock, signal })
  }

  admit (peer: PeerId): boolean {
    const isOpen = this.#node.getConnections(peerIdFromString(peer)).some(({ status }) => status === 'open')
    if (isOpen) this.admission.admit(peer)
    return isOpen
  }

  reachable (): readonly PeerId[] {
    return [...this.admission.admitted].filter((peer) => this.#supervisor.isResponsive(peer))
      .sort((a, b) => (this.latencyOf(a) ?? Infinity) - (this.latencyOf(b) ?? Infinity))
  }

  async dial (addresses: readonly string[], { signal, force = false }: { signal: AbortSignal, force?: boolean }): Promise<PeerId> {
    return peerIdOfConnection(await this.#node.dial(addresses.map((address) => multiaddr(address)), { signal, force }))
  }

  async expel (peer: PeerId): Promise<void> {
    const id = peerIdFromString(peer)
    this.#supervisor.forget(peer)
    this.admission.ban(peer)
    for (const connection of this.#node.getConnections(id)) connection.abort(new Error('no member any more'))
    // the routing table keeps whom it knew until a ping fails, and names it to others meanwhile
    await (this.#node.services.dht as unknown as { routingTable: { remove (peer: typeof id): Promise<void> } }).routingTable.remove(id)
    await this.#node.peerStore.delete(id)
  }

  introspect (): { routingTable: readonly string[], gossip: readonly string[] } {
    const { pubsub, dht } = this.#node.services
    const table = (dht as unknown as { routingTable: { kb: { toIterable (): Iterable<{ peerId: { toString (): string } }> } } }).routingTable.kb
    return { routingTable: [...table.toIterable()].map(({ peerId }) => peerId.toString()), gossip: pubsub.getPeers().map(String) }
  }

  async [Symbol.asyncDispose] (): Promise<void> {
    this.#stop.abort(new Error('the node is stopping'))
    this.gossip[Symbol.dispose]()
    await this.#supervisor[Symbol.asyncDispose]()
    await this.providers[Symbol.asyncDispose]()
    this.#strangers[Symbol.dispose]()
    await this.#node.stop()
  }

  async #dialAndGreet (addresses: readonly string[], signal: AbortSignal): Promise<void> {
    const peer = await this.dial(addresses, { signal })
    if (peer === this.peerId) return
    this.know(peer, addresses)
    await this.#greetings.greet(peer, signal)
  }

  #opened (connection: Connection): void {
    const peer = peerIdOfConnection(connection)
    if (this.admission.isAdmitted(peer) || this.#options.greet === undefined) return
    if (connection.direction === 'outbound') {
      this.#greetings.greet(peer, this.#stop.signal).catch((error: unknown) => { this.#options.log.debug({ peer, reason: String(error) }, 'a greeting failed') })
      return
    }
    this.#watchStranger(peer, connection)
  }

  #watchStranger (peer: PeerId, connection: Connection): void {
    const isKnown = this.#strangers.has(peer)
    const connections = this.#node.getConnections(connection.remotePeer).length
    // whom noise has proven to be a member's key is let in to say hello, however many strangers there are
    const isFull = !isKnown && !this.#options.isMember(peer) && this.#strangers.count >= networkLimits.maxStrangers
    if (connections > networkLimits.maxConnectionsPerStranger || isFull) { connection.abort(new Error('too many strangers')); return }
    if (!isKnown) this.#strangers.allow(peer, networkLimits.strangerTimeoutMs)
  }

  #cutOff (stranger: PeerId): void {
    this.#options.log.info({ peer: stranger }, 'a stranger said no hello and is cut off')
    for (const open of this.#node.getConnections(peerIdFromString(stranger))) open.abort(new Error('no hello'))
  }

  allowTime (peer: PeerId, ms: number): void { if (this.#strangers.has(peer)) this.#strangers.allow(peer, ms) }

  #closed (peer: PeerId): void {
    this.#strangers.forget(peer)
    // a peer that was never admitted keeps its backoff: its greeting failed, and would again
    if (this.admission.isAdmitted(peer)) this.#supervisor.lost(peer)
    this.admission.expel(peer)
  }

  #discovered (peer: PeerId, addresses: readonly string[]): void {
    if (peer !== this.peerId && addresses.length > 0 && this.#options.isMember(peer)) this.know(peer, addresses, { isHeard: true })
  }
}

/** The library tells what the system said in a text of its own. */
function listenError (cause: unknown): unknown {
  const [, code, place = ''] = /\blisten (E[A-Z]+)\b.* (\S+)$/m.exec(String(cause)) ?? []
  return portError('listen', { place, otherwise: 'tcp/0 for any that is free', cause, code })
}

const distinct = (addresses: readonly Multiaddr[]): Multiaddr[] => [...new Map(addresses.map((address) => [address.toString(), address])).values()]

// the library dials one peer at a time, and addresses that all say which
const withPeer = (address: string, peer: PeerId): string => /\/p2p\/[^/]+$/.test(address) ? address : `${address}/p2p/${peer}`

// an address without a peer id is known by itself until the peer behind it has said who it is
const peerIn = (address: string): string => /\/p2p\/([^/]+)$/.exec(address)?.[1] ?? address
