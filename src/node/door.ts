import type { Clock } from '../base/clock.ts'
import { Refused } from '../base/errors.ts'
import type { PeerId } from '../base/peer-id.ts'
import type { Random } from '../base/random.ts'
import { describeMember, nameOfRole } from '../cluster/index.ts'
import type { Config } from '../config.ts'
import type { Files } from '../disk/index.ts'
import type { Keyring } from '../encryption/index.ts'
import { addressBytes } from '../network/addresses.ts'
import type { Network } from '../network/libp2p-network.ts'
import type { ChangeProgress, DfsNode, PeerStatus } from '../node.ts'
import type { Greeting } from '../protocols/hello.ts'
import type { Registers, RowCodec, RowStore } from '../tables/index.ts'
import { addAdmin, listAdmins, removeAdmin } from './membership/admins.ts'
import type { ClusterHealth } from './health/cluster-health.ts'
import { findingsOf } from './health/doctor.ts'
import type { EraChangeParts } from './membership/era-change.ts'
import type { FreeSpace } from './layout/free-space.ts'
import type { GivenUp } from './work/given-up.ts'
import type { LeftOut } from './work/left-out.ts'
import { Invites } from './membership/invites.ts'
import { IssuedInvites } from './membership/issued-invites.ts'
import { changesDoor, type ChangesDoorParts } from './layout/changes-door.ts'
import { layoutReportOf } from './layout/layout-report.ts'
import type { nodeMetrics } from './health/metrics.ts'
import { RedundancyLog } from './health/redundancy-log.ts'
import { removeMember } from './membership/removal.ts'
import { rotateKeys } from './membership/rotation.ts'
import type { AnnounceWork } from './work/announcing.ts'
import { runInBackground } from './work/background.ts'
import type { Collecting } from './work/collecting.ts'
import type { Converting } from './work/converting.ts'
import type { OwnCapacity } from './layout/own-capacity.ts'
import type { Repairing } from './work/repairing.ts'
import { nameOfRow } from './rows/row-names.ts'
import type { ClusterState } from './state.ts'
import type { Scrubbing } from './work/scrubbing.ts'
import { hasMajority, statusOf } from './health/status.ts'
import type { StorePositions } from './layout/store-positions.ts'
import type { BlockStores } from './stores.ts'
import { watchAnnouncements } from './health/watch.ts'

/** Of an open node, what its door opens to. */
export interface DoorParts {
  readonly config: Config
  readonly files: Files
  readonly keyring: Keyring
  readonly state: ClusterState
  readonly clock: Clock
  readonly random: Random
  readonly log: { info (fields: object, message: string): void, warn (fields: object, message: string): void }
  /** Background work failed. */
  readonly warn: (message: string, cause: unknown) => void
  readonly startedMs: number
  readonly space: FreeSpace
  readonly network: Network
  readonly positions: StorePositions
  readonly greetings: ReadonlyMap<PeerId, Greeting>
  readonly stores: BlockStores
  readonly rows: RowStore
  readonly codec: RowCodec
  readonly registers: Registers
  readonly objects: DfsNode['objects']
  readonly keys: DfsNode['keys']
  readonly shares: DfsNode['shares']
  readonly digestingSpans: DfsNode['digestingSpans']
  readonly repairing: Repairing
  readonly collecting: Collecting
  readonly converting: Converting
  readonly verify: DfsNode['verify']
  readonly scrubbing: Scrubbing
  readonly comparing: DfsNode['compare']
  readonly announceWork: AnnounceWork
  readonly clusterHealth: ClusterHealth
  readonly metrics: ReturnType<typeof nodeMetrics>
  readonly isKeyless: boolean
  /** Undefined: a node without keys, which may change nothing. */
  readonly eraParts: EraChangeParts | undefined
  /** Undefined: a node without keys. */
  readonly changes: ChangesDoorParts['changes']
  /** How far the last change of the layout is, as it was last looked at. */
  readonly change: () => ChangeProgress | undefined
  readonly capacity: OwnCapacity
  /** What keeps the layout from changing as it should. */
  readonly layoutTrouble: () => string | undefined
  readonly givenUp: GivenUp
  readonly leftOut: LeftOut
  /** Of the rows, whose names are in the listing index. */
  readonly listedShare: () => number
  readonly forgetLost: DfsNode['forgetLost']
}

/** The open node as faces and embedding programs see it; disposing it closes what `closing` holds. */
export function doorOf (parts: DoorParts, closing: AsyncDisposableStack): DfsNode {
  const { config, files, keyring, state, clock, random, log, startedMs, space, network, positions, greetings, stores, rows, codec, registers, objects, keys, shares, digestingSpans, repairing, collecting, converting, scrubbing, clusterHealth, metrics, isKeyless, layoutTrouble } = parts
  const facts = (): Parameters<typeof statusOf>[0] => ({
    config, state, peerId: network.peerId, addresses: network.addresses(), uptimeMs: clock.monotonicMs() - startedMs,
    reachable: network.reachable(), forgetful: network.reachable().filter((peer) => !positions.remembers(peer)), blocks: stores.blocks.stats(), cache: stores.cache, freeBytes: space.bytes, rows, layoutTrouble: layoutTrouble(), repair: repairing.status(), collect: collecting.status(), convert: converting.status(), scrub: scrubbing.status(), compare: parts.comparing.status(), announce: parts.announceWork.status(), indexDamage: stores.damage, atRisk: clusterHealth.atRisk(), givenUp: parts.givenUp.isUnverified ? parts.givenUp.peers : [],
    // who answers brings what it has
    leftOut: parts.leftOut.peers.filter((peer) => !network.reachable().includes(peer)),
    listedShare: parts.listedShare(), limitBytes: parts.capacity.limitBytes, capacityTrouble: parts.capacity.trouble, change: parts.change(),
  })
  const redundancyLog = new RedundancyLog({ status: () => statusOf(facts()), clock, log })
  closing.use(runInBackground([{ name: 'redundancy in the log', step: async () => redundancyLog.step() }], { clock, warn: parts.warn }))
  const eraParts = (): EraChangeParts => {
    if (parts.eraParts === undefined) throw new Refused(`this is a ${nameOfRole(state.certificate.member.role)} node: it may neither invite nor remove. Ask a member`)
    return parts.eraParts
  }
  const invites = new Invites({
    state, keyring, clock, random, registers, issued: new IssuedInvites(files),
    addresses: () => network.addresses().map(addressBytes), listens: config.listen.length > 0,
  })
  const changes = changesDoor({ changes: parts.changes, invites, state, role: nameOfRole(state.certificate.member.role) })
  const known = (): readonly PeerStatus[] => [...new Set<PeerId>([...[...state.members.keys()].filter((peer) => state.belongs(peer)), ...greetings.keys()])].filter((peer) => peer !== network.peerId).map((peer) => {
    const row = state.belongs(peer) ? state.members.get(peer) : undefined
    const greeting = greetings.get(peer)
    return {
      peerId: peer, isConnected: network.isConnected(peer), isMember: row !== undefined || greeting !== undefined,
      role: nameOfRole(row === undefined ? greeting?.role ?? 1 : describeMember(row).role),
      addresses: network.known.get(peer) ?? [], version: greeting === undefined ? undefined : String(greeting.version),
      freeBytes: greeting?.freeBytes, latencyMs: network.latencyOf(peer),
    }
  })
  return {
    peerId: network.peerId,
    objects,
    keys,
    shares,
    digestingSpans,
    status: async () => { await space.measure(); return statusOf(facts()) },
    peers: known,
    watch: ({ signal }) => watchAnnouncements({ clock, listen: (listener) => network.gossip.onAnnouncement(listener), nameOf: async (rowKey) => isKeyless ? undefined : nameOfRow({ rows, codec, objects }, rowKey) }, signal),
    invite: async (wanted) => invites.make(wanted),
    invites: async (wait) => invites.list(wait),
    revokeInvite: async (invite, wait) => { await invites.revoke(invite, wait) },
    removeMember: async (peer, wait) => removeMember(eraParts(), peer, wait),
    rotateKeys: async (wait) => rotateKeys(eraParts(), wait),
    forgetLost: parts.forgetLost,
    setDraining: async (peer, isDraining, wait) => changes.set(peer, { isDraining }, wait),
    changes,
    layout: () => layoutReportOf(state.layout),
    admins: () => listAdmins({ state }),
    addAdmin: async (peer, wait) => { await addAdmin(eraParts(), peer, wait) },
    removeAdmin: async (peer, wait) => { await removeAdmin(eraParts(), peer, wait) },
    repair: repairing.door,
    collect: collecting.door,
    convert: converting.door,
    scrub: scrubbing.door,
    compare: parts.comparing,
    announce: parts.announceWork.door,
    verify: parts.verify,
    async doctor (wait) {
      await Promise.all([space.measure(), clusterHealth.ask(wait)])
      const now = facts()
      return findingsOf({
        status: statusOf(now), peers: known(), healthOfPeers: clusterHealth.peers(), hasMajority: hasMajority(now), belongs: state.belongs(network.peerId), layoutTrouble: layoutTrouble(),
        forgetful: now.forgetful ?? [], reserveBytes: config.reserveBytes, givenUp: now.givenUp ?? [], leftOut: now.leftOut ?? [], admins: listAdmins({ state }), blocksReadOnlyReason: now.blocks.readOnlyReason, rowsReadOnlyReason: rows.readOnlyReason,
      })
    },
    emptyCache: async () => ({ freedBytes: await stores.cache.empty() }),
    metrics: async () => metrics.text(statusOf(facts())),
    inspect: () => network.introspect(),
    [Symbol.asyncDispose]: async () => {
      log.info({ peer: network.peerId }, 'closing')
      await closing[Symbol.asyncDispose]()
    },
  }
}
