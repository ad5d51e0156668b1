import { partitionOf } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { keyOf, type PeerId } from '../../base/peer-id.ts'
import type { Random } from '../../base/random.ts'
import type { Network } from '../../network/libp2p-network.ts'
import { describeRow } from '../../objects/index.ts'
import { tablePeers } from '../../protocols/table.ts'
import { AntiEntropy } from '../../tables/anti-entropy.ts'
import { Burial } from '../../tables/burial.ts'
import { HandOver } from '../../tables/hand-over.ts'
import { type Describe, isSelfProving, type OpenedRow, type Registers, type RowCodec, type RowStore, type Voters } from '../../tables/index.ts'
import { LateDelivery, type RowSettler } from '../../tables/late-delivery.ts'
import type { ListingIndex } from '../../tables/listing-index.ts'
import type { VoterProgress } from '../../tables/messages.ts'
import { registers as registersOver, type TablePeers } from '../../tables/registers.ts'
import { type OwnReplica, type Succession, tableReplica } from '../../tables/replica.ts'
import type { Absence } from '../membership/absence.ts'
import { type BackgroundTask, regularly } from '../work/background.ts'
import { compareTask } from '../work/comparing.ts'
import type { AskReplica } from '../membership/clear-rows.ts'
import { eraSuccession } from '../membership/eras.ts'
import type { IndexRebuild } from './listing.ts'
import { ReturnedPeers } from './returned-peers.ts'
import { acceptorsBy, layoutGuard, votersIn } from '../membership/membership.ts'
import type { ClusterState } from '../state.ts'
import { closingRegisters } from '../layout/closing-registers.ts'
import type { StorePositions } from '../layout/store-positions.ts'
import type { Takeovers } from '../layout/takeover.ts'

export interface TableEngineParts {
  readonly self: PeerId
  readonly state: ClusterState
  readonly network: Network
  readonly positions: StorePositions
  readonly takeovers: Takeovers
  readonly rows: RowStore
  readonly codec: RowCodec
  /** Undefined: a node without keys, which lists nothing and proposes nothing. */
  readonly index: ListingIndex | undefined
  readonly absence: Absence
  /** For how long this node, where it keeps the layout, has managed to do nothing for it. Default: it has. */
  readonly vainMs?: () => number
  /** Told of each row that this replica saves, as it is on disk then. */
  readonly saved: (row: OpenedRow) => void
  /** Undefined: the index has all rows. */
  readonly rebuild?: Pick<IndexRebuild, 'left' | 'returning' | 'restored' | 'step'> | undefined
  readonly clock: Clock
  readonly random: Random
  readonly warn: (message: string, cause: unknown) => void
  /** Who decides, by what this node knows; the simulation asks what follows when others did. Default: those whom the layout names. */
  readonly votersOf?: ((state: ClusterState) => Voters) | undefined
  /** What may take a row's place, beyond what its ballot says. Default: of eras those that follow. */
  readonly succession?: Succession | undefined
  /** What listings show of a row. Default: of the product's rows. */
  readonly describe?: Describe
  /** Default: `tableTiming`; days are shorter in the simulation. */
  readonly timing?: { readonly [K in keyof typeof tableTiming]: number }
}

export interface TableEngine {
  readonly replica: OwnReplica
  readonly registers: Registers & { readonly settle: RowSettler }
  readonly peers: TablePeers
  readonly voters: Voters
  /** One replica, this node's without the network, under the layout's version. */
  readonly ask: AskReplica
  /** What keeps replicas equal, for the background. */
  readonly tasks: readonly BackgroundTask[]
  readonly antiEntropy: Pick<AntiEntropy, 'status'>
}

export const tableTiming = { antiEntropyEveryMs: 60_000, burialEveryMs: 600_000 } as const

/** The tables of this node: what votes, what proposes, and what makes late replicas like the others. */
export function tableEngine (parts: TableEngineParts): TableEngine {
  const { self, state, network, positions, takeovers, rows, codec, index, clock, random, warn, votersOf = votersIn, describe = describeRow, timing = tableTiming } = parts
  const isKeyless = index === undefined
  const voters = votersOf(state)
  const peers = tablePeers(network.requests, () => new Set([...network.reachable(), ...network.admission.admitted].filter((peer) => positions.remembers(peer))))
  const guard = layoutGuard(state, () => peers)
  const replica = tableReplica({
    self, store: rows, codec, voters: acceptorsBy(state, self, voters), layout: guard,
    isMember: (peer) => state.isMember(peer), isKeyless, succession: parts.succession ?? eraSuccession(state, codec),
    listing: isKeyless ? undefined : { index, describe, missing: () => parts.rebuild?.left ?? [] },
    saved: (row) => {
      if (row.value === undefined) burial?.suspect(partitionOf(row.rowKey))
      parts.saved(row)
    },
    progress: () => progressOf(parts, handOver),
    wallMs: () => clock.wallMs(),
  })
  // without keys there is nothing to propose with: the members settle
  const settle: RowSettler | undefined = isKeyless ? undefined : async (row, wait) => { await registers.settle(row, wait) }
  const late = new LateDelivery({ peers, voters, settle: async (row, wait) => { await settle?.(row, wait) } })
  const registers = closingRegisters(registersOver({
    isLister: (peer) => state.isMember(peer),
    self, peers, replica, counters: rows, voters, codec, describe, clock, random, late,
    adoptLayout: async (encoded, from) => guard.heard(encoded, from),
  }), state)
  const handOver: HandOver = new HandOver({
    self, store: rows, replica, codec, takeover: () => takeovers.of(state.layout), whileAt: async (version, act) => state.whileAt(version, act),
    ask: async (peer, request, wait) => peers.ask(peer, request, wait),
    settle, isTakenFrom: (peer, table) => !isKeyless || isSelfProving(table) || state.isMember(peer), isMember: (peer) => state.isMember(peer), warn,
    restoring: (partitions) => {
      replica.refilled(partitions)
      parts.rebuild?.returning(partitions)
    },
    restored: async (partition) => {
      burial?.suspect(partition)
      await parts.rebuild?.restored(partition)
    },
  })
  const antiEntropy = new AntiEntropy({
    codec, self, replica, voters, peers, settle, clock,
    isTakenBy: (peer, table) => !isKeyless || isSelfProving(table) || state.isMember(peer),
  })
  const missed = (peer: PeerId): void => { if (state.layout.state === 'settled' || state.layout.state === 'changing') antiEntropy.begin(peer) }
  network.admission.onChange((peer, isAdmitted) => { if (isAdmitted) missed(peer) })
  const returned = new ReturnedPeers(() => network.reachable())
  const burial: Burial | undefined = isKeyless
    ? undefined
    : new Burial({ self, replica, store: rows, codec, voters, peers, isMember: (peer) => state.isMember(peer), settle, isChanging: () => state.layout.state !== 'settled' })
  return {
    replica, registers, peers, voters,
    ask: async (peer, question, { signal }) => {
      const request = { version: state.layout.version, ...question }
      return peer === self ? replica.answer(self, request) : peers.ask(peer, request, { signal })
    },
    tasks: [
      ...parts.rebuild === undefined ? [] : [{ name: 'listing index', step: async () => await parts.rebuild?.step() ?? 'idle' }],
      { name: 'late delivery', step: async (wait) => late.step(wait) },
      ...burial === undefined ? [] : [regularly({ name: 'burial', everyMs: timing.burialEveryMs, clock, begin: () => { burial.begin() }, step: async (wait) => burial.step(wait) })],
      { name: 'hand-over', step: async (wait) => handOver.step(wait) },
      regularly({
        name: compareTask, everyMs: timing.antiEntropyEveryMs, clock, begin: () => { antiEntropy.begin() },
        step: async (wait) => {
          for (const peer of returned.look()) missed(peer)
          return antiEntropy.step(wait)
        },
        long: { progress: () => antiEntropy.status(), now: () => { antiEntropy.begin() }, isUrgent: () => antiEntropy.isUrgent },
      }),
    ],
    antiEntropy,
  }
}

/** What this voter tells whoever keeps the layout: how much it has still to take over, has lost, and whom it misses; itself too, where it should keep the layout and cannot. */
function progressOf ({ self, state, absence, vainMs = () => 0 }: TableEngineParts, handOver: HandOver): VoterProgress {
  const { partitions, lost } = handOver.remaining()
  const away = absence.of(new Set([...state.layout.members, ...state.layout.next?.members ?? []].map(({ peerId }) => peerId).filter((peer) => peer !== self)))
  const vainSeconds = Math.floor(vainMs() / 1000)
  return { remaining: partitions, lost, away: [...away, ...vainSeconds > 0 ? [[self, vainSeconds] as const] : []].map(([peer, seconds]) => ({ peer: keyOf(peer), seconds })) }
}
