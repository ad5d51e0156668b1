import { partitionOf } from '../../base/bytes.ts'
import { digestOf } from '../../base/cid.ts'
import type { Clock } from '../../base/clock.ts'
import { Refused } from '../../base/errors.ts'
import type { Random } from '../../base/random.ts'
import { blockHoldersOf, roles } from '../../cluster/index.ts'
import type { Config } from '../../config.ts'
import { type ClusterKeys, deathProof, UnknownEpoch } from '../../encryption/index.ts'
import type { Network } from '../../network/libp2p-network.ts'
import type { CollectReport, DfsNode } from '../../node.ts'
import type { OwedRows } from '../../objects/work/owed-rows.ts'
import { Undertaker } from '../../objects/work/undertaker.ts'
import { livingAt, presenceAt, shardPresenceAt } from '../../protocols/store.ts'
import { Collector } from '../../replication/collector.ts'
import { type DeathPorts, knownDeaths, publishDeaths } from '../../tables/death-rounds.ts'
import type { OpenedRow, RowCodec, RowStore } from '../../tables/index.ts'
import { type Background, type BackgroundTask, runInBackground } from './background.ts'
import type { ClusterState } from '../state.ts'
import type { BlockStores } from '../stores.ts'
import type { TableEngine } from '../rows/table-engine.ts'
import type { UserActivity } from './user-activity.ts'

export interface CollectingParts {
  readonly config: Pick<Config, 'collectAfterMs'>
  readonly state: ClusterState
  readonly network: Pick<Network, 'peerId' | 'requests' | 'reachable'>
  readonly stores: BlockStores
  readonly tables: Pick<TableEngine, 'registers' | 'voters' | 'ask' | 'peers'>
  readonly rows: RowStore
  readonly codec: RowCodec
  readonly owed: OwedRows
  /** Undefined: a node without keys, which cannot prove a death. */
  readonly keys: ClusterKeys | undefined
  readonly users: UserActivity
  readonly clock: Clock
  readonly random: Random
  readonly warn: (message: string, cause: unknown) => void
}

/** What brings the space of dead versions back: on members the deaths are published, on all who hold blocks those that nobody needs are taken away. */
export interface Collecting {
  /** A row as this node's replica has it on disk now. */
  saved (row: OpenedRow): void
  /** From now on, until what it gives is disposed. */
  begin (): AsyncDisposable
  /** Undefined: a witness, or it has not begun. */
  status (): CollectReport | undefined
  readonly door: DfsNode['collect']
}

const names = { collector: 'collect', undertaker: 'deaths' } as const

export function collectingOf (parts: CollectingParts): Collecting {
  const { state, users, clock, warn } = parts
  const deaths = deathPortsOf(parts)
  const undertaker = parts.keys === undefined ? undefined : undertakerOf(parts, parts.keys, deaths)
  const collector = state.certificate.member.role === roles.witness ? undefined : collectorOf(parts, deaths)
  let background: Background | undefined
  const running = (): { background: Background, collector: Collector } => {
    if (collector === undefined) throw new Refused('a witness holds no blocks: it has nothing to collect. Ask another node')
    if (background === undefined) throw new Refused('the node is not ready yet')
    return { background, collector }
  }
  const ofAll = (act: (background: Background, name: string) => void): CollectReport => {
    const { background: work } = running()
    for (const { name } of work.tasks()) act(work, name)
    return report()
  }
  const report = (): CollectReport => {
    const { background: work, collector: engine } = running()
    const task = work.tasks().find(({ name }) => name === names.collector)
    if (task === undefined) throw new Error('the collection of a node is not among its tasks')
    const [{ phase, doneShare, doneBytes, totalBytes, found, total }, published] = [engine.status(), undertaker?.status()]
    return {
      state: task.state, phase, doneShare, doneBytes, totalBytes, etaMs: task.etaMs, failure: task.failure, collectAfterMs: parts.config.collectAfterMs, found,
      total: { ...total, publishedDeaths: 0, abandonedUploads: 0, ...published?.total },
      publishing: published === undefined ? undefined : { phase: published.phase, doneShare: published.doneShare, failure: published.failure ?? work.tasks().find(({ name }) => name === names.undertaker)?.failure },
    }
  }
  return {
    saved: (row) => { undertaker?.saved(row) },
    begin () {
      const tasks: BackgroundTask[] = []
      if (collector !== undefined) tasks.push({ name: names.collector, step: async (wait) => collector.step(wait), long: { progress: () => collector.status(), now: () => { collector.now() } } })
      if (undertaker !== undefined) tasks.push({ name: names.undertaker, step: async (wait) => undertaker.step(wait), long: { progress: () => undertaker.status(), now: () => { undertaker.now() } } })
      background = runInBackground(tasks, { clock, warn, users })
      return background
    },
    status: () => background === undefined || collector === undefined ? undefined : report(),
    door: {
      status: report,
      now: () => ofAll((work, name) => { work.now(name) }),
      pause: () => ofAll((work, name) => { work.pause(name) }),
      resume: () => ofAll((work, name) => { work.resume(name) }),
    },
  }
}

const deathPortsOf = ({ network, tables: { voters, ask } }: CollectingParts): DeathPorts => ({
  self: network.peerId, voters, reachable: () => network.reachable(), ask: async (peer, request, wait) => ask(peer, request, wait),
})

function undertakerOf ({ network, state, tables: { registers, voters, peers }, rows, codec, owed, clock, warn }: CollectingParts, keys: ClusterKeys, deaths: DeathPorts): Undertaker {
  return new Undertaker({
    self: network.peerId, registers, store: rows, codec, owed, voters, clock, warn,
    isMember: (peer) => state.isMember(peer),
    reachable: () => peers.reachable(),
    publish: async (proofs, wait) => publishDeaths(deaths, proofs, wait),
    proofOf (version) {
      try {
        return deathProof(keys, version)
      } catch (error) {
        if (error instanceof UnknownEpoch) return undefined
        throw error
      }
    },
  })
}

function collectorOf ({ config, network, state, stores: { condemned, inventory }, clock, random, warn }: CollectingParts, deaths: DeathPorts): Collector {
  return new Collector({
    self: network.peerId, condemned, inventory, clock, warn, collectAfterMs: config.collectAfterMs, run: random.bytes(16),
    peers: { reachable: () => network.reachable(), living: async (peer, cids, wait) => livingAt(network.requests, peer, cids, wait) },
    pieces: { presence: async (peer, cids, wait) => presenceAt(network.requests, peer, cids, wait), shardPresence: async (peer, wanted, wait) => shardPresenceAt(network.requests, peer, wanted, wait) },
    placement: { holdersOf: (cid) => blockHoldersOf(state.layout, partitionOf(digestOf(cid))), isMoving: () => state.layout.state === 'changing' },
    deathsOf: async (versionIds, { turn, signal }) => knownDeaths(deaths, versionIds, { turn, signal }),
  })
}
