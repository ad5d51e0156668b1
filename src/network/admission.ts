import type { Connection, PeerId as LibPeerId, StreamHandler, Topology } from '@libp2p/interface'
import type { Registrar } from '@libp2p/interface-internal'
import type { PeerId } from '../base/peer-id.ts'

/**
 * Who may use this node: peers that hello has proven to be members. To everybody else every protocol but hello and join is closed, and the libraries
 * that would take them in (the gossip mesh, the routing table) do not learn that they are there: their handlers abort and their topologies wait.
 */
export class Admission {
  readonly #admitted = new Set<PeerId>()
  readonly #banned = new Set<PeerId>()
  readonly #proving = new Map<PeerId, Promise<unknown>>()
  readonly #waiting = new Set<WaitingTopology>()
  readonly #listeners = new Set<(peer: PeerId, isAdmitted: boolean) => void>()

  isAdmitted (peer: PeerId): boolean { return this.#admitted.has(peer) }
  get admitted (): ReadonlySet<PeerId> { return this.#admitted }

  /** Opens everything to a peer that is connected and has proven itself. */
  admit (peer: PeerId): void {
    if (this.#admitted.has(peer)) return
    // who comes back by a new invite proves it by greeting us
    this.#banned.delete(peer)
    this.#admitted.add(peer)
    for (const topology of this.#waiting) topology.admitted(peer)
    for (const listener of this.#listeners) listener(peer, true)
  }

  /** A greeting of ours is under way. */
  proving (peer: PeerId, greeting: Promise<unknown>): void {
    const ended = greeting.catch(() => {}).finally(() => { this.#proving.delete(peer) }) // its failure is told to whoever greets
    this.#proving.set(peer, ended)
  }

  /** Resolves when a greeting of ours, if one is under way, has ended. */
  async proven (peer: PeerId): Promise<void> { await this.#proving.get(peer) }

  /** Forgets a peer: its last connection closed, or it is no member any more. */
  expel (peer: PeerId): void {
    if (!this.#admitted.delete(peer)) return
    for (const listener of this.#listeners) listener(peer, false)
  }

  /** Is no member any more: as `expel`, and nothing of this node dials it, whatever the libraries keep of it. As many as there have been members. */
  ban (peer: PeerId): void {
    this.#banned.add(peer)
    this.expel(peer)
  }

  isBanned (peer: PeerId): boolean { return this.#banned.has(peer) }

  /** Told of every admission and its end, until the returned function is called. */
  onChange (listener: (peer: PeerId, isAdmitted: boolean) => void): () => void {
    this.#listeners.add(listener)
    return () => { this.#listeners.delete(listener) }
  }

  /**
   * The handler, for admitted peers only. A peer that we are greeting has admitted us before we hear of it, and its libraries open their streams at once and
   * once: those wait for the greeting to end. Refused, gossip from that peer would be lost for as long as it is connected.
   */
  guarded (handler: StreamHandler): StreamHandler {
    return async (stream, connection) => {
      const peer = peerIdOfConnection(connection)
      if (!this.isAdmitted(peer)) await this.proven(peer)
      if (!this.isAdmitted(peer)) { stream.abort(new Error('hello first')); return }
      await handler(stream, connection)
    }
  }

  /** A registrar through which a library sees admitted peers only. */
  registrar (registrar: Registrar): Registrar {
    const wrapped = {
      handle: async (protocol: string, handler: StreamHandler, options?: Parameters<Registrar['handle']>[2]): Promise<void> => registrar.handle(protocol, this.guarded(handler), options),
      register: async (protocol: string, topology: Topology): Promise<string> => {
        const waiting = new WaitingTopology(topology, (peer) => this.isAdmitted(peer))
        this.#waiting.add(waiting)
        return registrar.register(protocol, waiting)
      },
    }
    return new Proxy(registrar, { get: (target, name) => name in wrapped ? wrapped[name as keyof typeof wrapped] : bound(target, name) })
  }
}

function bound (target: Registrar, name: string | symbol): unknown {
  const value: unknown = Reflect.get(target, name)
  return typeof value === 'function' ? (value.bind(target) as unknown) : value
}

export const peerIdOfConnection = (connection: Connection): PeerId => connection.remotePeer.toString() as PeerId

/** Passes connects on when their peer is admitted, at once or later; and disconnects of those it has passed on. */
class WaitingTopology implements Topology {
  readonly #topology: Topology
  readonly #isAdmitted: (peer: PeerId) => boolean
  readonly #held = new Map<PeerId, { peer: LibPeerId, connection: Connection }>()
  readonly #passed = new Set<PeerId>()

  constructor (topology: Topology, isAdmitted: (peer: PeerId) => boolean) {
    this.#topology = topology
    this.#isAdmitted = isAdmitted
  }

  get notifyOnLimitedConnection (): boolean | undefined { return this.#topology.notifyOnLimitedConnection }

  onConnect (peer: LibPeerId, connection: Connection): void {
    const name = peer.toString() as PeerId
    if (this.#isAdmitted(name)) this.#pass(name, peer, connection)
    else this.#held.set(name, { peer, connection })
  }

  onDisconnect (peer: LibPeerId): void {
    const name = peer.toString() as PeerId
    this.#held.delete(name)
    if (this.#passed.delete(name)) void this.#topology.onDisconnect?.(peer)
  }

  admitted (name: PeerId): void {
    const held = this.#held.get(name)
    if (held === undefined) return
    this.#held.delete(name)
    this.#pass(name, held.peer, held.connection)
  }

  #pass (name: PeerId, peer: LibPeerId, connection: Connection): void {
    this.#passed.add(name)
    void this.#topology.onConnect?.(peer, connection)
  }
}
