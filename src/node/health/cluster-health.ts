import { type Clock, deadline } from '../../base/clock.ts'
import type { PeerId } from '../../base/peer-id.ts'
import type { Requests } from '../../network/index.ts'
import type { Network } from '../../network/libp2p-network.ts'
import { type Health, healthAt, serveHealth, toldVersion } from '../../protocols/health.ts'
import type { Repairing } from '../work/repairing.ts'
import type { Scrubbing } from '../work/scrubbing.ts'
import type { ClusterState } from '../state.ts'
import { version } from './status.ts'

/**
 * How the cluster is, as far as its nodes tell: each counts what its own blocks show, and a version that several count is one. Every node asks all others now and then, so that any of them
 * can be asked for the whole.
 */
export interface ClusterHealthParts {
  readonly requests: Requests
  readonly reachable: () => readonly PeerId[]
  /** Everybody who holds blocks by the layout, this node perhaps among them. */
  readonly holders: () => readonly PeerId[]
  readonly self: PeerId
  /** Of this node, with whole version ids. */
  readonly own: () => Health
  readonly clock: Clock
  readonly onRisk: (atRisk: AtRisk) => void
}

/** Redundancy below what it should be, in the whole cluster. */
export interface AtRisk {
  /** Versions of objects of which a block has fewer copies, or shards, than it should; each once, however many nodes know of it. */
  readonly objects: number
  /** Not everybody who holds blocks has told, or has looked at everything, or could tell all. */
  readonly isAtLeast: boolean
  /** Nodes that hold blocks and have not told. */
  readonly silent: readonly PeerId[]
}

export interface PeerHealth extends Health {
  /** How far its clock is ahead of this node's, as far as can be seen; ms. */
  readonly clockAheadMs: number
}

export const clusterHealthLimits = {
  everyMs: 10_000,
  /** What was told longer ago counts no more. */
  staleMs: 60_000,
  askMs: 5000,
} as const

export interface HealthOfClusterParts {
  readonly state: ClusterState
  readonly network: Pick<Network, 'peerId' | 'requests' | 'reachable'>
  readonly repairing: Pick<Repairing, 'status' | 'versionsAtRisk' | 'holders'>
  readonly scrubbing: Pick<Scrubbing, 'status'>
  readonly clock: Clock
  readonly logger: { warn (fields: object, message: string): void, info (fields: object, message: string): void }
}

/** Of an open node; it answers from now on. */
export async function healthOfCluster ({ state, network, repairing, scrubbing, clock, logger }: HealthOfClusterParts): Promise<ClusterHealth> {
  const health = new ClusterHealth({
    self: network.peerId, requests: network.requests, clock,
    reachable: () => network.reachable(),
    holders: () => repairing.holders().filter((peer) => state.belongs(peer)),
    own () {
      const [repair, scrub] = [repairing.status(), scrubbing.status()]
      return {
        wallMs: clock.wallMs(), softwareVersion: version, holdsBlocks: repair !== undefined,
        // what was whole under an older layout may be short by this one
        hasSurveyed: repair?.found?.layoutVersion === String(state.layout.version), isTruncated: repair?.found?.isAtLeast ?? false, shortBlocks: repair?.found?.shortBlocks ?? 0, versionsAtRisk: repairing.versionsAtRisk(),
        isRepairPaused: repair?.state === 'paused', hasScrubbed: scrub?.last !== undefined, isScrubPaused: scrub?.state === 'paused',
      }
    },
    onRisk (atRisk) {
      if (atRisk.objects > 0) logger.warn(atRisk, 'objects are at risk: they have fewer copies than they should')
      else logger.info(atRisk, 'no object is known to be at risk any more')
    },
  })
  await health.serve()
  return health
}

export class ClusterHealth {
  readonly #parts: ClusterHealthParts
  readonly #told = new Map<PeerId, { readonly health: PeerHealth, readonly atMs: number }>()
  #askedMs = -Infinity
  #lastObjects = 0

  constructor (parts: ClusterHealthParts) { this.#parts = parts }

  /** Answers the others from now on. */
  async serve (): Promise<void> { await serveHealth(this.#parts.requests, () => this.#own()) }

  /** One unit of work. */
  async step ({ signal }: { signal: AbortSignal }): Promise<'busy' | 'idle'> {
    const { clock, onRisk } = this.#parts
    const nowMs = clock.monotonicMs()
    if (nowMs - this.#askedMs < clusterHealthLimits.everyMs) return 'idle'
    this.#askedMs = nowMs
    await this.ask({ signal })
    const atRisk = this.atRisk()
    const isNews = (atRisk.objects === 0) !== (this.#lastObjects === 0) || atRisk.objects > 2 * this.#lastObjects
    this.#lastObjects = isNews ? atRisk.objects : Math.max(atRisk.objects, this.#lastObjects)
    if (isNews) onRisk(atRisk)
    return 'busy'
  }

  /** Asks everybody who answers, now. Who does not tell has not told: that is seen in `silent`. */
  async ask ({ signal }: { signal?: AbortSignal } = {}): Promise<void> {
    const { requests, clock, reachable } = this.#parts
    const peers = reachable()
    for (const peer of this.#told.keys()) if (!peers.includes(peer)) this.#told.delete(peer)
    await Promise.all(peers.map(async (peer) => {
      using limit = deadline(clock, clusterHealthLimits.askMs, { signal, what: 'asking a peer how it is' })
      const sentMs = clock.wallMs()
      try {
        const health = await healthAt(requests, peer, { signal: limit.signal })
        this.#told.set(peer, { health: { ...health, clockAheadMs: Math.round(health.wallMs - (sentMs + clock.wallMs()) / 2) }, atMs: clock.monotonicMs() })
      } catch (error) {
        if (signal?.aborted === true) throw error
        // it is told as silent; one of an older version stays that
        this.#told.delete(peer)
      }
    }))
  }

  /** What others told lately. */
  peers (): ReadonlyMap<PeerId, PeerHealth> {
    const { clock, reachable } = this.#parts
    const answering = new Set(reachable())
    return new Map([...this.#told].filter(([peer, { atMs }]) => answering.has(peer) && clock.monotonicMs() - atMs <= clusterHealthLimits.staleMs).map(([peer, { health }]) => [peer, health]))
  }

  atRisk (): AtRisk {
    const { self, holders } = this.#parts
    const told = this.peers()
    const everybody = [this.#own(), ...told.values()]
    const silent = holders().filter((peer) => peer !== self && !told.has(peer))
    return {
      objects: new Set(everybody.flatMap(({ versionsAtRisk }) => versionsAtRisk)).size,
      isAtLeast: silent.length > 0 || everybody.some(({ holdsBlocks, hasSurveyed, isTruncated }) => holdsBlocks && (isTruncated || !hasSurveyed)),
      silent,
    }
  }

  #own (): Health {
    const own = this.#parts.own()
    return { ...own, versionsAtRisk: own.versionsAtRisk.map(toldVersion) }
  }
}
