import { Budget } from '../../base/budget.ts'
import { partitionOf } from '../../base/bytes.ts'
import { type Cid, digestOf } from '../../base/cid.ts'
import type { Clock } from '../../base/clock.ts'
import { Refused } from '../../base/errors.ts'
import type { PeerId } from '../../base/peer-id.ts'
import { blockHoldersOf, type Layout, roles } from '../../cluster/index.ts'
import type { Config } from '../../config.ts'
import type { Network } from '../../network/libp2p-network.ts'
import type { DfsNode, RepairReport } from '../../node.ts'
import { blockPeers } from '../../protocols/block-peers.ts'
import { replication, type Replication } from '../../replication/index.ts'
import { Repair } from '../../replication/repair.ts'
import { repairLimits } from '../../replication/repair-limits.ts'
import { repairListLimits } from '../../replication/repair-list.ts'
import { type Background, runInBackground } from './background.ts'
import type { CopyCountParts } from './copy-count.ts'
import type { Hints } from './hints.ts'
import type { ClusterState } from '../state.ts'
import type { BlockStores } from '../stores.ts'
import type { UserActivity } from './user-activity.ts'

/** Blocks of the cluster as this node sees them, and what keeps their redundancy full. A witness holds none, and repairs none. */
export interface RepairingParts {
  readonly config: Pick<Config, 'inFlightBytes'>
  readonly state: ClusterState
  readonly network: Pick<Network, 'peerId' | 'requests' | 'reachable' | 'providers' | 'admission'>
  readonly stores: BlockStores
  readonly hints: Pick<Hints, 'of'>
  readonly users: UserActivity
  readonly clock: Clock
  readonly warn: (message: string, cause: unknown) => void
  readonly onShort: (shortage: { cid: Cid, have: number, want: number }) => void
}

export interface Repairing {
  /** For users' reads and writes; what a write leaves short is repaired. */
  readonly engine: Replication & { settled (): Promise<void> }
  /** A block was found rotten here. */
  report (cid: Cid): void
  /** What is here may lack what was here: everything is looked at afresh, as soon as possible. */
  suspect (why: string): void
  /** From now on, until what it gives is disposed. */
  begin (): AsyncDisposable
  /** Undefined: a witness. */
  status (): RepairReport | undefined
  /** Ids of versions at risk, as far as this node knows; hexadecimal. */
  versionsAtRisk (): readonly string[]
  /** Everybody who holds blocks, or is to. */
  holders (): readonly PeerId[]
  /** With which copies of blocks are counted, here and at others. */
  readonly copies: CopyCountParts
  readonly door: DfsNode['repair']
}

const taskName = 'repair'

export function repairingOf (parts: RepairingParts): Repairing {
  const { config, state, network, stores: { holder, blocks, cache, inventory }, hints, users, clock, warn } = parts
  const self = network.peerId
  const peers = blockPeers({ requests: network.requests, reachable: () => network.reachable(), budget: new Budget(config.inFlightBytes / 2) })
  const holdersOf = (cid: Cid): readonly PeerId[] => blockHoldersOf(state.layout, partitionOf(digestOf(cid)))
  const engine = replication({
    self, holder, local: blocks, localShards: blocks.shards, cache, clock, peers, warn,
    placement: { holdersOf },
    providers: network.providers,
    hints: (versionId) => hints.of(versionId),
    onShort: (shortage) => { parts.onShort(shortage); repair.report(shortage.cid) },
  })
  const members = holdersOfLayouts()
  const repair: Repair = new Repair({
    self, holder, inventory, local: blocks, shards: blocks.shards, peers, clock, warn,
    read: async (cid, redundancy, { signal }) => engine.reader({ redundancy, isPassing: true }).get(cid, { signal }),
    placement: { holdersOf, version: () => state.layout.version, isMoving: () => state.layout.state === 'changing', members: () => members(state.layout) },
    atOnce: () => users.atOnce(repairLimits.atOnce),
  })
  network.admission.onChange((_peer, isAdmitted) => { if (isAdmitted) repair.met() })
  let background: Background | undefined
  const running = (): Background => {
    if (background === undefined) throw new Refused(state.certificate.member.role === roles.witness ? 'a witness holds no blocks: it has nothing to repair. Ask another node' : 'the node is not ready yet')
    return background
  }
  const report = (): RepairReport => {
    const { found, full, total, why } = repair.status()
    const task = running().tasks().find(({ name }) => name === taskName)
    if (task === undefined) throw new Error('the repair of a node is not among its tasks')
    const { state: now, phase, doneShare, doneBytes = 0, totalBytes = 0, etaMs, failure } = task
    return {
      state: now, phase, why, doneShare, doneBytes, totalBytes, etaMs, failure, total, full,
      found: found === undefined ? undefined : {
        layoutVersion: String(found.layoutVersion), objectsAtRisk: found.versionsAtRisk, isAtLeast: found.isAtLeast, shortBlocks: found.shortBlocks, goneBlocks: found.goneBlocks, narrowBlocks: found.narrowBlocks,
        misplacedBlocks: found.misplacedBlocks, misplacedBytes: found.misplacedBytes,
      },
    }
  }
  return {
    engine,
    report: (cid) => { repair.report(cid) },
    suspect: (why) => { repair.now(why) },
    begin () {
      background = runInBackground([{
        name: taskName,
        step: async (wait) => repair.step(wait),
        long: { progress: () => repair.status(), now: () => { repair.now() }, isUrgent: () => repair.isUrgent },
      }], { clock, warn, users })
      return background
    },
    status: () => background === undefined ? undefined : report(),
    versionsAtRisk: () => repair.versionsAtRisk(repairListLimits.maxVersions),
    holders: () => members(state.layout),
    copies: { self, holder, local: blocks, shards: blocks.shards, peers, clock, placement: { holdersOf } },
    door: {
      status: report,
      now () { running().now(taskName); return report() },
      pause () { running().pause(taskName); return report() },
      resume () { running().resume(taskName); return report() },
    },
  }
}

/** Everybody who holds blocks, or is to: asked several times a second, so it is looked up once for each layout. */
function holdersOfLayouts (): (layout: Layout) => readonly PeerId[] {
  let last: { readonly of: Layout, readonly peers: readonly PeerId[] } | undefined
  return (layout) => {
    if (last?.of !== layout) {
      const peers = [layout, ...layout.next === undefined ? [] : [layout.next]].flatMap(({ members, blockHolders }) => [...new Set(blockHolders.flat())].flatMap((index) => members[index]?.peerId ?? []))
      last = { of: layout, peers: [...new Set(peers)] }
    }
    return last.peers
  }
}
