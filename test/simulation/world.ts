import { concat, hexOf, partitionOf } from '../../src/base/bytes.ts'
import { cidOfDigest } from '../../src/base/cid.ts'
import { type Clock, DeadlineExceeded } from '../../src/base/clock.ts'
import { Refused, StoreFull, Unavailable } from '../../src/base/errors.ts'
import { keyOf, type PeerId } from '../../src/base/peer-id.ts'
import { type Random, seededRandom } from '../../src/base/random.ts'
import { referenceKind } from '../../src/blockstore/references.ts'
import { type Files } from '../../src/disk/index.ts'
import { closing, encodeMemberRow, eraOf, hashOfStatement, type Layout, type LayoutMember, type MemberRow, newestEpochOf, openLayout, replicasOf, type Role, type RoleName, roles, settled, verdictOf } from '../../src/cluster/index.ts'
import { Admission } from '../../src/network/admission.ts'
import { PeerUnreachable, type RequestHandler, RequestRefused, type Requests } from '../../src/network/index.ts'
import type { Network } from '../../src/network/libp2p-network.ts'
import { Absence } from '../../src/node/membership/absence.ts'
import { type BackgroundTask, runInBackground } from '../../src/node/work/background.ts'
import type { AskReplica } from '../../src/node/membership/clear-rows.ts'
import type { Epochs } from '../../src/node/membership/epochs.ts'
import type { EraChangeParts } from '../../src/node/membership/era-change.ts'
import { acceptedEra, Eras } from '../../src/node/membership/eras.ts'
import { Latecomers } from '../../src/node/membership/latecomers.ts'
import { everyMemberRow } from '../../src/node/membership/every-member.ts'
import { forgetLost } from '../../src/node/layout/forget-lost.ts'
import { LayoutKeeper } from '../../src/node/layout/layout-keeper.ts'
import { setMember } from '../../src/node/membership/member-settings.ts'
import { IndexRebuild } from '../../src/node/rows/listing.ts'
import { clearRowRule, clusterAddress, layoutAddress, layoutGuard } from '../../src/node/membership/membership.ts'
import { memoryOfThoseWho } from '../../src/node/membership/memory.ts'
import { removeMember } from '../../src/node/membership/removal.ts'
import { type ClusterFacts, ClusterState, readFacts, writeFacts } from '../../src/node/state.ts'
import { StorePositions } from '../../src/node/layout/store-positions.ts'
import { type TableEngine, tableEngine } from '../../src/node/rows/table-engine.ts'
import { Takeovers } from '../../src/node/layout/takeover.ts'
import { serveTables, tableProtocol } from '../../src/protocols/table.ts'
import type { RowCodecParts } from '../../src/tables/codec.ts'
import { isClear, type Registers, type RowAddress, type RowCodec, type RowStore, type StoredRow, tables, type Voters } from '../../src/tables/index.ts'
import type { ListingIndex } from '../../src/tables/listing-index.ts'
import { memoryListingIndex } from '../../src/tables/memory-listing-index.ts'
import type { MemoryRowStore } from '../../src/tables/memory-row-store.ts'
import type { TableQuestion } from '../../src/tables/messages.ts'
import { decodeRequest } from '../../src/tables/messages-codec.ts'
import type { Succession, TableReplica } from '../../src/tables/replica.ts'
import { describeRow } from '../../src/objects/index.ts'
import { OwedRows } from '../../src/objects/work/owed-rows.ts'
import { decodeObjectRow, type ObjectRow } from '../../src/objects/object-row.ts'
import { compareBallots } from '../../src/tables/ballot.ts'
import { openRecord } from '../../src/tables/opened-record.ts'
import { certificateOf, layoutMember, paperCluster, peerNamed, seedNamed } from '../support/cluster-identities.ts'
import { plainCodec } from '../support/table-plain-codec.ts'
import { HeldMessages } from './held-messages.ts'
import { Ledger } from './ledger.ts'
import { slowFiles, slowKeyValue } from './slow-disk.ts'
import { VirtualTime } from './virtual-time.ts'
import { type BlocksVariant, type WorldBlocks, worldBlocks } from './world-blocks.ts'
import { worldCodec, worldRowKey } from './world-codec.ts'
import { SparseRowStore, WorldDisk } from './world-disk.ts'
import { founded, type JoinsVariant, joinWith, MeetingNode } from './world-joins.ts'
import { addressOf, type Life, Networks } from './world-network.ts'

/** How bad the network and the disks are; shares from 0 to 1, times in virtual milliseconds. */
export interface WorldWeather {
  readonly loss: number
  readonly duplicates: number
  readonly maxLatencyMs: number
  readonly stragglers: number
  readonly maxSyncMs: number
}

/** Parts with a rule taken out; product code has no switch for it. */
export interface WorldVariant extends BlocksVariant, JoinsVariant {
  readonly takeovers?: (takeovers: Takeovers, parts: { readonly self: PeerId, readonly store: RowStore, readonly state: ClusterState }) => Takeovers
  readonly store?: (store: RowStore) => RowStore
  readonly voters?: (state: ClusterState) => Voters
  /** What a replica is asked by others. */
  readonly served?: (replica: TableReplica, state: ClusterState) => TableReplica
  /** What the keeper asks replicas. */
  readonly keeperAsk?: (ask: AskReplica, self: PeerId) => AskReplica
  /** Who has been away for how long. */
  readonly absence?: (absence: Absence) => Absence
  /** A request as it leaves a node. */
  readonly sent?: (body: Uint8Array, state: ClusterState) => Uint8Array
  /** The layout a node goes by is forgotten when it dies. */
  readonly forgetsLayout?: boolean
  /** What the files of a node are told, before the disk's own time. */
  readonly disk?: (files: Files) => Files
  /** What the tables know of the layout. */
  readonly tablesState?: (state: ClusterState) => ClusterState
  /** A partition is cleared while rows of it are still answered for. */
  readonly answersWhileItForgets?: boolean
  /** A partition that rots is found empty, and nothing is said of it. */
  readonly rotsInSilence?: boolean
  /** What a node counts time by. */
  readonly clock?: (clock: Clock) => Clock
  /** Whom a node takes to be there, of everybody; and nobody says that a peer is gone. */
  readonly reachable?: (reachable: ReadonlySet<PeerId>, everybody: readonly PeerId[]) => ReadonlySet<PeerId>
  /** The rows of members, as the keeper of the layout reads them, who knows who is away, and for how many seconds. */
  readonly memberRows?: (rows: readonly MemberRow[], away: ReadonlyMap<PeerId, number>) => readonly MemberRow[]
  readonly keeper?: (keeper: LayoutKeeper, of: { readonly self: PeerId, readonly state: ClusterState }) => LayoutKeeper
  readonly eras?: (eras: Eras) => Eras
  /** What a voter demands of the rows of the cluster. */
  readonly succession?: Succession
  readonly clearRule?: (rule: RowCodecParts['checkClear'], state: ClusterState) => RowCodecParts['checkClear']
  /** With what an era is changed, once. */
  readonly eraParts?: (parts: EraChangeParts) => EraChangeParts
  /** Puts back what was changed for all. */
  readonly undo?: () => void
}

/** A question of tables on its way. */
export interface TableMessage { readonly from: string, readonly to: string, readonly kind: TableQuestion['kind'], /** Of the cluster itself. */ readonly isClear: boolean }

export interface Process {
  isAlive: boolean
  readonly name: string
  readonly state: ClusterState
  readonly engine: TableEngine
  readonly keeper: LayoutKeeper
  readonly store: MemoryRowStore
  readonly handlers: Map<string, RequestHandler>
  readonly memberRows: (wait: { signal?: AbortSignal }) => Promise<readonly MemberRow[]>
  reachable: ReadonlySet<PeerId>
  /** Undefined: stores do not show each other how far they have come. */
  readonly positions: StorePositions | undefined
  readonly eras: Eras
  readonly latecomers: Latecomers
  readonly index: ListingIndex
  /** A greeting of that one has arrived. */
  readonly hear: (other: Process) => Promise<void>
  /** Undefined: a world of rows alone. */
  readonly blocks: WorldBlocks | undefined
  /** Undefined: all know each other's rows from the first. */
  readonly met: MeetingNode | undefined
}

/** When every run begins. */
const beganMs = Date.UTC(2026, 0, 1)
const never = <T>(): Promise<T> => new Promise(() => {})
export const layoutSimulation = {
  evictAfterMs: 20_000, viewEveryMs: 400, greetEveryMs: 2_000,
  /** Where nodes dial each other: a supervisor that could not comes again within half a minute. */
  dialledEvictAfterMs: 90_000,
} as const

/** Nodes as they are wired in the product (table engine, keeper, takeovers, background) over a virtual clock, network and disks. */
export class World {
  readonly time = new VirtualTime()
  readonly random: Random
  readonly names: readonly string[]
  readonly weather: WorldWeather
  /** Lines of what happened, for whoever compares two runs or reads one that failed. */
  readonly events: string[] = []
  readonly #variant: WorldVariant
  readonly #paper = paperCluster()
  readonly #disks = new Map<string, WorldDisk>()
  readonly #processes = new Map<string, Process>()
  /** Since when those that run do, and how long all that died had run. */
  readonly #runningSinceMs = new Map<string, number>()
  #ranMs = 0
  readonly #byPeer: ReadonlyMap<PeerId, string>
  /** Partitions that a row was ever saved in, anywhere. */
  readonly #used: Set<number>
  readonly #initial: Layout
  readonly #hasBlocks: boolean
  readonly #isBurying: boolean
  readonly #isShowingStores: boolean
  /** Of those that are no members: witnesses vote without keys, storage holds blocks alone. */
  readonly #roles: ReadonlyMap<string, Role>
  /** Made admins by the first era. */
  readonly #admins: readonly string[]
  readonly ledger = new Ledger()
  /** Undefined: all know each other's rows from the first, and who is there is connected. */
  readonly #networks: Networks | undefined
  /** Machines on which a join is under way. */
  readonly #joining = new Map<string, Life>()
  /** The rows of those that joined in the course of the run. */
  readonly #joined = new Map<string, MemberRow>()
  /** "a b": what a sends does not arrive at b. */
  #cut = new Set<string>()
  messages = 0

  constructor ({ seed, names, founders, weather, variant = {}, hasBlocks = false, isBurying = hasBlocks, isShowingStores = false, hasJoins = false, witnesses = [], storage = [], admins = [] }: { seed: number, names: readonly string[], founders: number, weather: WorldWeather, variant?: WorldVariant, hasBlocks?: boolean, isBurying?: boolean, isShowingStores?: boolean, /** Founders alone know each other, and whoever else is to be a member joins as in the product. */ hasJoins?: boolean, witnesses?: readonly string[], storage?: readonly string[], admins?: readonly string[] }) {
    this.random = seededRandom(seed)
    this.names = names
    this.weather = weather
    this.#variant = variant
    this.#byPeer = new Map(names.map((name) => [peerNamed(name), name]))
    this.#hasBlocks = hasBlocks
    this.#isBurying = isBurying
    this.#isShowingStores = isShowingStores
    this.#admins = admins
    this.#networks = hasJoins ? this.#dialled() : undefined
    this.#roles = new Map([...witnesses.map((name) => [name, roles.witness] as const), ...storage.map((name) => [name, roles.storage] as const)])
    this.#used = new Set([partitionOf(worldRowKey(layoutAddress))])
    const [first] = names
    this.#initial = settled(closing(openLayout(memberOf(first ?? ''))), names.slice(0, founders).map((name) => this.#memberOf(name)))
    for (const name of names) this.#disks.set(name, new WorldDisk(memberOf(name).storeId))
  }

  /** On disk and running: the founders, who hold each other's rows of members. */
  async begin (founders: number): Promise<void> {
    if (this.#networks !== undefined) { await this.#found(this.names.slice(0, founders)); return }
    const admins = this.#admins.map((name) => this.#paper.admin(name))
    const rows = this.names.map((other) => this.rowOf(other))
    const era = eraOf([...this.#paper.era(1, [...rows.map(({ certificate }) => certificate.member), ...admins]).statements, ...admins])
    for (const name of this.names) {
      const { files } = this.disk(name)
      await writeFacts(files, {
        clusterId: this.#paper.clusterId, authority: this.#paper.authority, certificate: this.rowOf(name).certificate,
        era, layout: this.#initial, members: rows,
      })
    }
    for (const name of this.names.slice(0, founders)) await this.start(name)
  }

  between (low: number, high: number): number { return low + this.random.fraction() * (high - low) }
  chance (share: number): boolean { return this.random.fraction() < share }
  pick<T> (items: readonly T[]): T { return items[Math.floor(this.random.fraction() * items.length)] as T }
  say (what: string): void { this.events.push(`${Math.round(this.time.nowMs)} ${what}`) }

  peerOf (name: string): PeerId { return peerNamed(name) }
  process (name: string): Process | undefined { return this.#processes.get(name) }
  /** Node-milliseconds: of virtual time, for which each node ran. */
  get nodeMs (): number { return [...this.#runningSinceMs.values()].reduce((sum, sinceMs) => sum + this.time.nowMs - sinceMs, this.#ranMs) }
  isAlive (name: string): boolean { return this.#processes.get(name)?.isAlive === true }
  rowOf (name: string, { era }: { era?: number | undefined } = {}): MemberRow { return { certificate: certificateOf(this.#paper.member(name, { role: this.#roleOf(name), ...era === undefined ? {} : { era } })), capacityBytes: this.#memberOf(name).capacityBytes, addresses: [], storeId: this.#memberOf(name).storeId } }
  #roleOf (name: string): Role { return this.#roles.get(name) ?? roles.member }
  #memberOf (name: string): LayoutMember { return layoutMember(name, { role: this.#roleOf(name), ...this.#roleOf(name) === roles.witness ? { capacityBytes: 0 } : {} }) }
  disk (name: string): WorldDisk { return this.#disks.get(name) as WorldDisk }

  kill (name: string): void {
    const joining = this.#joining.get(name)
    if (joining !== undefined) {
      joining.isAlive = false
      this.#joining.delete(name)
      this.#networks?.at(peerNamed(name))?.end()
      this.say(`${name} dies while it joins`)
      this.disk(name).files = this.disk(name).files.crash(this.random)
    }
    const process = this.#processes.get(name)
    if (process?.isAlive !== true) return
    process.isAlive = false
    this.#ranMs += this.time.nowMs - (this.#runningSinceMs.get(name) ?? this.time.nowMs)
    this.#runningSinceMs.delete(name)
    this.say(`${name} dies`)
    process.met?.network.end()
    this.#noteSoundness()
    this.disk(name).crash(this.random)
    this.ledger.died(peerNamed(name))
  }

  /** The date, by a clock that is right. */
  wallMs (): number { return beganMs + Math.floor(this.time.nowMs) }

  /** From now on the wall clock of this machine is ahead of the right one by so much, or behind. */
  setClock (name: string, aheadMs: number): void {
    this.disk(name).aheadMs = Math.round(aheadMs)
    this.say(`the clock of ${name} is ${aheadMs === 0 ? 'right' : `${Math.round(Math.abs(aheadMs) / 60_000)} minutes ${aheadMs > 0 ? 'ahead' : 'behind'}`}`)
  }

  /** The disk says that a partition is damaged, and has nothing of it any more. */
  rot (name: string, partition: number): void {
    const process = this.#processes.get(name)
    if (process?.isAlive !== true) return
    const isSilent = this.#variant.rotsInSilence === true
    this.disk(name).rot(partition, { isSilent })
    if (!isSilent) process.store.lose(partition)
    this.say(`${name} loses partition ${partition}`)
  }

  /** A copy of a node's rows as they are now: what it gives puts it in the place of what there is then. */
  copyOf (name: string): () => void {
    const putBack = this.disk(name).copyOfRows()
    return () => {
      putBack()
      this.say(`${name}'s rows are put back from a copy`)
    }
  }

  /** Partitions in which a node has rows of objects. */
  partitionsOf (name: string): readonly number[] { return [...new Set([...this.disk(name).rows.rows.values()].flatMap(({ table, rowKey }) => table === tables.objects ? [partitionOf(rowKey)] : []))] }

  /** A bit of a file, or a record of the index, is not what was written. */
  flip (name: string): void {
    const rotten = this.disk(name).flip(this.random)
    if (rotten !== undefined) this.say(`${name}: ${rotten} rots`)
  }

  /** A record of the index is gone without a word. */
  async forget (name: string): Promise<void> {
    const key = this.disk(name).forgetRecord(this.random)
    if (key === undefined) return
    this.say(`${name} forgets a record of kind ${key[0]}`)
    if (key[0] === referenceKind) this.ledger.forgot(peerNamed(name), cidOfDigest(key.subarray(1, 33)), key.subarray(33))
  }

  /** Of every object, the newest that any of its replicas has: for when those are equal. Who was a replica once may have what was never chosen. */
  objectRows (layout: Layout): readonly ObjectRow[] {
    const newest = new Map<string, StoredRow>()
    for (const [name, { rows }] of this.#disks) {
      for (const row of rows.rows.values()) {
        if (row.table !== tables.objects || row.accepted === undefined || !replicasOf(layout, partitionOf(row.rowKey)).includes(peerNamed(name))) continue
        const known = newest.get(hexOf(row.rowKey))
        if (known?.accepted === undefined || compareBallots(plainCodec.ballotOf(row.table, row.accepted), plainCodec.ballotOf(known.table, known.accepted)) > 0) newest.set(hexOf(row.rowKey), row)
      }
    }
    return [...newest.values()].flatMap(({ table, rowKey, accepted }) => {
      const { value } = openRecord(plainCodec, { table, rowKey, record: accepted as Uint8Array })
      return value === undefined ? [] : [decodeObjectRow(value)]
    })
  }

  /** Since when a node runs and is heard by all that run, and hears them; Infinity: it does not. */
  soundSinceMs (name: string): number { return this.#soundSinceMs.get(name) ?? Infinity }
  readonly #soundSinceMs = new Map<string, number>()

  #noteSoundness (): void {
    for (const name of this.names) {
      const isSound = this.isAlive(name) && this.disk(name).hangsUntilMs <= this.time.nowMs && this.names.every((other) => !this.#cut.has(`${name} ${other}`) && !this.#cut.has(`${other} ${name}`))
      if (!isSound) this.#soundSinceMs.delete(name)
      else if (!this.#soundSinceMs.has(name)) this.#soundSinceMs.set(name, this.time.nowMs)
    }
  }

  /** Cuts these off from all others, both ways. */
  split (names: Iterable<string>): void {
    const some = new Set(names)
    this.cut(this.names.flatMap((a) => this.names.filter((b) => some.has(a) !== some.has(b)).map((b) => [a, b] as const)))
  }

  /** For a second to `mostMs` some of these are cut off, or some links break, one way too. */
  breakLinks (names: readonly string[], mostMs: number): void {
    const some = names.filter(() => this.chance(0.35))
    if (this.chance(0.5)) { this.split(some); this.say(`split: ${some.join()}`) } else {
      const links = names.flatMap((a) => names.filter((b) => a !== b && this.chance(0.2)).map((b) => [a, b] as const))
      this.cut(links)
      this.say(`one way: ${links.map((link) => link.join('>')).join()}`)
    }
    void this.time.sleep(this.between(1_000, mostMs)).then(() => { this.cut([]); this.say('whole') })
  }

  /** From now on what the one sends does not arrive at the other, and nothing else gets lost by this. */
  cut (links: ReadonlyArray<readonly [from: string, to: string]>): void { this.#cut = new Set(links.map(([from, to]) => `${from} ${to}`)); this.#noteSoundness() }

  /** The disk has no room, or has again. */
  fill (name: string, isFull: boolean): void {
    this.disk(name).fill(isFull)
    this.say(`${name}'s disk ${isFull ? 'is full' : 'has room'}`)
  }

  hang (name: string, durationMs: number): void {
    this.disk(name).hangsUntilMs = this.time.nowMs + durationMs
    this.#noteSoundness()
    this.time.after(durationMs + 1, () => { this.#noteSoundness() })
    this.say(`${name}'s disk hangs for ${Math.round(durationMs)} ms`)
  }

  /** A member's row is written by another, as when it joins: by an invite of the era that this one knows. @throws Refused: one has begun meanwhile that does not have it, as a sponsor finds out when the row is there (join-sponsor.ts) */
  async join (name: string, through: string): Promise<void> {
    const row = this.rowOf(name, { era: this.#processes.get(through)?.state.era.number })
    await this.#change(through, clusterAddress(tables.members, keyOf(peerNamed(name))), encodeMemberRow(row))
    const [newest] = [...this.#processes.values()].map(({ state }) => state).toSorted((a, b) => b.era.number - a.era.number)
    if (newest !== undefined && !verdictOf(row.certificate, { clusterId: newest.clusterId, authority: newest.authority, era: newest.era, memberRowHash: hashOfStatement(row.certificate.member) }).isValid) throw new Refused(`${name} is not in the era that has begun`)
    this.#joined.set(name, row)
    for (const one of [name, through]) await this.#processes.get(one)?.state.remember(row)
  }

  async drain (name: string, isDraining: boolean, through: string): Promise<void> {
    const process = this.#processes.get(through)
    if (process?.isAlive !== true) return
    this.draining.add(name)
    await setMember({ state: process.state, registers: process.engine.registers, memberRows: process.memberRows }, peerNamed(name), { isDraining })
  }

  async #change (through: string, address: RowAddress, value: Uint8Array): Promise<void> {
    const process = this.#processes.get(through)
    if (process?.isAlive !== true) return
    await process.engine.registers.change<undefined>(address, () => ({ kind: 'write', value, result: undefined }))
  }

  /** `dfs cluster forget --lost`, at this node. */
  async forgetLost (name: string, lost: readonly string[]): Promise<void> {
    const process = this.#running(name)
    await forgetLost({
      ...this.#eraParts(process), ask: process.engine.ask, clock: this.time.clock(() => process.isAlive), index: process.index,
      answers: async (peer) => this.#isLinked(name, this.#byPeer.get(peer) ?? ''), storeOf: (peer) => this.#disks.get(this.#byPeer.get(peer) ?? '')?.rows.storeId, loud: (_, message) => { this.say(`${name}: ${message}`) },
    }, { lost: lost.map(peerNamed), isDryRun: false })
  }

  /** A node that lies: it goes by a layout of its own making, that it has written to its own disk. */
  async goesBy (name: string, layout: Layout): Promise<void> {
    this.kill(name)
    const { files } = this.disk(name)
    await writeFacts(files, { ...await readFacts(files) as ClusterFacts, layout })
    await this.start(name)
    this.say(`${name} goes by a layout ${layout.version} of its own making`)
  }

  /** `dfs node remove`, at this node. */
  async remove (subject: string, through: string): Promise<void> {
    this.draining.add(subject)
    await removeMember(this.#eraParts(this.#running(through)), peerNamed(subject))
  }

  #running (name: string): Process {
    const process = this.#processes.get(name)
    if (process?.isAlive !== true) throw new Unavailable(`${name} does not run`)
    return process
  }

  /** Everybody has the authority's key. Keys of epochs are not of this world: rows are not sealed. */
  #eraParts (process: Process): EraChangeParts {
    if (process.met !== undefined) return this.#metEraParts(process.met)
    const { name, state, engine, eras, memberRows } = process
    const epochs = { newest: 1, complete: async () => {}, step: async () => 'idle', boxOf: () => new Uint8Array(0), prepare: async () => ({ epoch: newestEpochOf(state.era) + 1, secret: this.random.bytes(32), check: this.random.bytes(32) }) } as unknown as Epochs
    const others = (): readonly Process[] => this.names.flatMap((other) => other !== name && this.#isConnected(name, other) ? [this.#processes.get(other) as Process] : [])
    const parts: EraChangeParts = {
      self: peerNamed(name), state, eras, epochs, latecomers: process.latecomers, memberRows, keyring: { authoritySeed: seedNamed('cluster authority'), nodeSeed: seedNamed(name) }, registers: engine.registers, voters: engine.voters,
      peers: { offer: async (peer) => { if (!process.reachable.has(peer)) throw new PeerUnreachable(peer, 'not connected') } },
      reachable: () => process.reachable, remembers: () => true, memoryOf: async (peers, wait) => memoryOfThoseWho({ ask: engine.ask }, peers, wait), warn: () => {}, spread: async () => { await Promise.all(others().map(async (other) => other.hear(process).catch(() => {}))) },
    }
    return this.#variant.eraParts?.(parts) ?? parts
  }

  /** As the product has it. @throws Refused on a node without keys */
  #metEraParts ({ side }: MeetingNode): EraChangeParts {
    if (side === undefined) throw new Refused('a node without keys')
    return this.#variant.eraParts?.(side.eraParts) ?? side.eraParts
  }

  registersOf (name: string): Registers | undefined { const process = this.#processes.get(name); return process?.isAlive === true ? process.engine.registers : undefined }

  async start (name: string): Promise<void> {
    const self = peerNamed(name)
    const { files: plainFiles, index, rows: disk, lost } = this.disk(name)
    const files = this.#variant.disk?.(plainFiles) ?? plainFiles
    const facts = await readFacts(files)
    if (facts === undefined) throw new Error(`${name} was never made`)
    const process = { isAlive: true, name, handlers: new Map(), reachable: new Set<PeerId>() } as unknown as { -readonly [Key in keyof Process]: Process[Key] }
    const isAlive = (): boolean => process.isAlive
    const rightClock: Clock = { ...this.time.clock(isAlive), wallMs: () => this.wallMs() + this.disk(name).aheadMs }
    const clock = this.#variant.clock?.(rightClock) ?? rightClock
    const slow = async <T>(work: () => Promise<T>): Promise<T> => { await this.#sync(name, isAlive); return work() }
    const slowly = slowFiles(files, slow)
    const mortal: Files = this.#variant.forgetsLayout === true ? { ...slowly, writeDurable: async (path, parts, options) => { if (path !== 'cluster') await slowly.writeDurable(path, parts, options) } } : slowly
    const state = new ClusterState(mortal, facts)
    process.state = state
    process.met = this.#networks === undefined ? undefined : this.#meeting(this.#networks, process, { files: mortal, clock })
    const rule = clearRowRule(state, (proposer) => { process.met?.unknown.note(proposer) })
    const codec = worldCodec({ name, clusterId: state.clusterId, random: this.random, checkClear: this.#variant.clearRule?.(rule, state) ?? rule })
    process.store = new SparseRowStore({ used: this.#used, lost }, { disk, ballotOf: (table, record) => codec.ballotOf(table, record), sync: async () => {
      await this.#sync(name, isAlive)
      while (isAlive() && this.disk(name).rowsHang) await this.time.sleep(5)
      if (this.disk(name).isFull) throw new StoreFull('the disk is full')
    } })
    const store = this.#variant.store?.(process.store) ?? process.store
    const [listed, describe, owed] = [memoryListingIndex(), this.#hasBlocks ? describeRow : () => undefined, new OwedRows()]
    const isKeyless = this.#roleOf(name) !== roles.member
    const rebuild = this.#hasBlocks && !isKeyless ? new IndexRebuild({ rows: store, codec, index: listed, describe, found: (row) => { owed.foundIn(row) }, warn: () => {} }, { whenWhole: () => { owed.endPass() } }) : undefined
    owed.beginPass()
    // most of it comes when the node serves
    await rebuild?.begin({ rows: 3 })
    const plainTakeovers = await Takeovers.open({ files: mortal, rows: store, self, leaving: async (partitions) => { if (this.#variant.answersWhileItForgets !== true) await process.engine.replica.leave(partitions) }, clearing: async (partition) => { if (this.#used.has(partition)) await rebuild?.forget(partition) } })
    const takeovers = this.#variant.takeovers?.(plainTakeovers, { self, store, state }) ?? plainTakeovers
    state.beforeLayout = async (layout) => takeovers.prepare(layout)
    await process.met?.open(process.store, codec)
    const requests = process.met?.network.requests ?? this.#requestsOf(process)
    process.positions = process.met?.positions ?? (this.#isShowingStores ? await StorePositions.open({ files: mortal, state, rows: process.store, warn: () => {} }) : undefined)
    const plainAbsence = new Absence(clock, () => process.reachable)
    const absence = this.#variant.absence?.(plainAbsence) ?? plainAbsence
    const admission = new Admission()
    const network = process.met?.network.asNetwork ?? { peerId: self, requests, reachable: () => [...this.#variant.reachable?.(process.reachable, this.names.filter((other) => other !== name).map(peerNamed)) ?? process.reachable], admission, providers: { async * find () {} } } as unknown as Network
    const engine = tableEngine({
      self, state: this.#variant.tablesState?.(state) ?? state, network, timing: this.#isBurying ? { antiEntropyEveryMs: 15_000, burialEveryMs: 20_000 } : undefined, takeovers, rows: store, codec, index: isKeyless ? undefined : listed, absence, vainMs: () => (process as { keeper?: LayoutKeeper }).keeper?.vainMs ?? 0, clock, random: this.random,
      positions: process.positions ?? ({ remembers: () => true } as unknown as StorePositions), warn: () => {}, votersOf: this.#variant.voters, succession: this.#variant.succession, describe, saved: (row) => { if (process.blocks === undefined) owed.saved(row); else process.blocks.undertaker.saved(row) }, rebuild,
    })
    process.engine = engine
    process.memberRows = async (wait) => everyMemberRow({ state, codec, ask: engine.ask, registers: engine.registers, voters: engine.voters }, wait)
    await serveTables(requests, this.#variant.served?.(engine.replica, state) ?? engine.replica)
    if (process.met !== undefined) await this.#startMet(process, process.met, { engine, codec, listed, absence, clock })
    else this.#startPlain(process, { engine, codec, absence, admission, clock, state, listed })
    if (this.#hasBlocks && !isKeyless) process.blocks = await worldBlocks({ self, state, network, tables: engine, rows: store, files: slowly, index: slowKeyValue(index, slow), listing: listed, clock, random: this.random, owed, ledger: this.ledger, variant: this.#variant })
    await process.met?.network.listen()
  }

  #startPlain (process: Writable<Process>, { engine, codec, absence, admission, clock, state, listed }: { readonly engine: TableEngine, readonly codec: RowCodec, readonly absence: Absence, readonly admission: Admission, readonly clock: Clock, readonly state: ClusterState, readonly listed: ListingIndex }): void {
    const { name } = process
    const self = peerNamed(name)
    const reachable = (): ReadonlySet<PeerId> => new Set([self, ...process.reachable])
    const keeper = new LayoutKeeper({
      self, state, registers: engine.registers, ask: this.#unfinished(this.#variant.keeperAsk?.(engine.ask, self) ?? engine.ask), clock, evictAfterMs: layoutSimulation.evictAfterMs,
      memberRows: async (wait) => { const rows = await process.memberRows(wait); return this.#variant.memberRows?.(rows, absence.of(new Set(this.names.filter((other) => other !== name).map(peerNamed)))) ?? rows }, reachable, storeOf: (peer) => this.#disks.get(this.#byPeer.get(peer) ?? '')?.rows.storeId,
      onChange: (layout, why) => { this.#told(name, layout, why) },
    })
    process.keeper = this.#variant.keeper?.(keeper, { self, state }) ?? keeper
    this.#started(process)
    const guard = layoutGuard(state, () => engine.peers)
    process.index = listed
    const eras = new Eras({ state, registers: () => engine.registers, voters: () => engine.voters, accepted: async () => acceptedEra(process.store, codec), risen: (era) => { this.say(`${name}: era ${era.number}`) }, clock })
    process.eras = this.#variant.eras?.(eras) ?? eras
    process.latecomers = new Latecomers({ clock, warn: () => {} })
    // who is left out by the other's era hears of that, and of nothing else
    process.hear = async ({ name: other, state: theirs }) => {
      // whoever is greeted by somebody reads the row of that one
      const joined = this.#joined.get(other)
      if (joined !== undefined) await state.remember(joined)
      if (theirs.era.number > state.era.number) await process.eras.adopt(theirs.era)
      if (this.#isConnected(name, other) && theirs.layout.version > state.layout.version) await guard.adopt(theirs.layout.version, peerNamed(other))
    }
    const tasks: readonly BackgroundTask[] = [
      ...engine.tasks,
      { name: 'layout', step: async (wait) => this.isFrozen ? 'idle' : process.keeper.step(wait) },
      // what a supervisor finds out, a little late
      every(layoutSimulation.viewEveryMs, clock, 'view', async () => {
        const before = process.reachable
        process.reachable = new Set(this.names.filter((other) => other !== name && this.#isConnected(name, other)).map(peerNamed))
        absence.look()
        for (const peer of before) if (!process.reachable.has(peer)) admission.expel(peer)
        for (const peer of process.reachable) admission.admit(peer)
      }),
      ...this.#isShowingStores ? [every(layoutSimulation.viewEveryMs, clock, 'stores', async () => { for (const other of this.names) if (other !== name && this.#isConnected(name, other)) showStores(process, this.process(other)) })] : [],
      every(layoutSimulation.greetEveryMs, clock, 'greetings', async () => {
        const other = this.process(this.pick(this.names))
        if (other !== undefined && this.#isLinked(name, other.name)) await process.hear(other)
      }),
      { name: 'eras', step: async (wait) => process.eras.step(wait) },
      { name: 'who joined while an era began', step: async (wait) => process.latecomers.step(wait) },
    ]
    runInBackground(tasks, { clock, warn: () => {} })
  }

  #started (process: Process): void {
    this.#processes.set(process.name, process)
    this.#runningSinceMs.set(process.name, this.time.nowMs)
    this.say(`${process.name} starts`)
    this.#noteSoundness()
  }

  #told (name: string, layout: Layout, why: string): void {
    this.#layoutChanged(layout)
    this.onLayout(layout, name)
    if (layout.state === 'changing') this.onChanging(name)
    this.say(`${name}: layout ${layout.version} ${layout.state} of ${(layout.next ?? layout).members.map(({ peerId }) => this.#byPeer.get(peerId) ?? '').toSorted().join()}: ${why}`)
  }

  #dialled (): Networks {
    return new Networks({
      time: this.time, weather: this.weather, random: this.random, names: this.names, peerOf: peerNamed, isCut: (from, to) => this.#cut.has(`${from} ${to}`), sent: () => { this.messages++ },
      leaves: async ({ from, to, protocol, body, timeoutMs }) => {
        await this.#leave({ from, to, protocol, body, timeoutMs })
        return body
      },
    })
  }

  #meeting (networks: Networks, process: Writable<Process>, { files, clock }: { readonly files: Files, readonly clock: Clock }): MeetingNode {
    return new MeetingNode({
      networks, life: process, files, clock, state: process.state, random: this.random, variant: this.#variant, evictAfterMs: layoutSimulation.dialledEvictAfterMs,
      say: (what) => { this.say(what) }, layoutChanged: (layout, why) => { this.#told(process.name, layout, why) },
    })
  }

  async #startMet (process: Writable<Process>, met: MeetingNode, { engine, codec, listed, absence, clock }: { readonly engine: TableEngine, readonly codec: RowCodec, readonly listed: ListingIndex, readonly absence: Absence, readonly clock: Clock }): Promise<void> {
    const self = peerNamed(process.name)
    await met.serve(engine, { rows: process.store, codec, ask: this.#unfinished(this.#variant.keeperAsk?.(engine.ask, self) ?? engine.ask) })
    Object.defineProperty(process, 'reachable', { get: () => new Set(met.network.reachable()) })
    Object.assign(process, { index: listed, eras: met.meeting.eras, latecomers: met.side?.eraParts.latecomers, keeper: met.side?.keeper, memberRows: met.side?.eraParts.memberRows })
    this.#started(process)
    runInBackground([...engine.tasks, ...met.tasks({ isFrozen: () => this.isFrozen, look: () => { absence.look() } })], { clock, warn: () => {} })
  }

  async #found (founders: readonly string[]): Promise<void> {
    const rows = await founded(founders.map((name) => ({ name, as: this.#memberOf(name), address: addressOf(this, name), files: this.disk(name).files })), { admins: this.#admins, layout: this.#initial, random: this.random })
    for (const name of founders) await this.start(name)
    for (let isDone = false; !isDone;) {
      await this.time.sleep(500)
      isDone = await this.#processes.get(founders[0] ?? '')?.met?.found(rows).then(() => true, () => false) ?? true
    }
  }

  /** `dfs invite`, at this node. @throws Unavailable, Refused */
  async invite (through: string, role: RoleName = 'member'): Promise<string> {
    const { met } = this.#running(through)
    if (met === undefined) throw new Refused('nobody joins here')
    return met.invite(role)
  }

  /** `dfs join TOKEN`, at a machine that is no node's. @throws as the product; Unavailable if the machine dies meanwhile */
  async joinBy (name: string, token: string): Promise<void> {
    const disk = this.disk(name)
    if (this.#networks === undefined || this.isAlive(name) || this.#joining.has(name)) throw new Refused(`${name} is in use`)
    if (await readFacts(disk.files) !== undefined) throw new Refused(`${name} is a node's already`)
    const life: Life = { name, isAlive: true }
    this.#joining.set(name, life)
    try {
      await joinWith({
        networks: this.#networks, life, variant: this.#variant, storeId: disk.rows.storeId, capacityBytes: this.#memberOf(name).capacityBytes,
        files: slowFiles(disk.files, async (work) => { await this.#sync(name, () => life.isAlive); return work() }), wallMs: () => this.wallMs(), wrote: (path) => { this.afterJoinWrote(name, path) },
      }, token)
      this.say(`${name} has joined`)
    } finally {
      life.isAlive = false
      if (this.#joining.get(name) === life) this.#joining.delete(name)
    }
  }

  /** Whether there is a node on its disk. */
  async isNode (name: string): Promise<boolean> { return await readFacts(this.disk(name).files) !== undefined }

  /** The machine has a new, empty disk. */
  wipe (name: string): void {
    this.kill(name)
    this.#wiped++
    this.#disks.set(name, new WorldDisk(seedNamed(`${name} store ${this.#wiped}`).slice(0, 16)))
    this.say(`${name} has an empty disk`)
  }

  #wiped = 0

  #unfinished (ask: AskReplica): AskReplica {
    return async (peer, question, wait) => {
      const answer = await ask(peer, question, wait)
      return answer.kind === 'progress' && !this.mayFinish ? { ...answer, remaining: answer.remaining + 1 } : answer
    }
  }

  /** Who runs, and is heard by all, is not left out for being away. */
  #layoutChanged ({ state, members, next }: Layout): void {
    if (state !== 'changing' || next === undefined) return
    for (const { peerId } of members) {
      const name = this.#byPeer.get(peerId) ?? ''
      if (next.members.some((member) => member.peerId === peerId) || this.draining.has(name)) continue
      const soundMs = this.time.nowMs - this.soundSinceMs(name)
      if (soundMs > (this.#networks === undefined ? layoutSimulation.evictAfterMs : layoutSimulation.dialledEvictAfterMs)) this.violations.push(`${name} is evicted, and has been there for ${Math.round(soundMs)} ms`)
    }
  }

  /** Questions of tables stop before they are on their way. Given up by their time limits. */
  readonly questions = new HeldMessages<TableMessage>()
  /** Nobody proposes a layout. */
  isFrozen = false
  /** While false, nobody hears that all has been taken over. */
  mayFinish = true
  /** Told of each layout that is chosen, at once. */
  onLayout: (layout: Layout, by: string) => void = () => {}
  onChanging: (by: string) => void = () => {}
  /** Told of each file that a join has on its disk. */
  afterJoinWrote: (name: string, path: string) => void = () => {}

  /** Who was ever told to drain, or put out. */
  readonly draining = new Set<string>()
  readonly violations: string[] = []

  /** Somebody knows that a connection is gone when nothing comes any more; who only is not heard does not know. */
  #isConnected (a: string, b: string): boolean {
    if (this.#networks === undefined) return this.#isLinked(a, b) && this.belongs(a, b) && this.belongs(b, a)
    const [at, other] = [this.#processes.get(a), this.#processes.get(b)]
    return this.#isLinked(a, b) && this.#isLinked(b, a) && at?.met?.admitted.has(peerNamed(b)) === true && other?.met?.admitted.has(peerNamed(a)) === true
  }
  #isLinked (a: string, b: string): boolean { return this.isAlive(a) && this.isAlive(b) && !this.#cut.has(`${b} ${a}`) }

  /** Whether the one is let in by the other. */
  belongs (name: string, at: string): boolean { return this.#processes.get(at)?.state.belongs(peerNamed(name)) === true }
  isConnected (a: string, b: string): boolean { return this.#isConnected(a, b) }

  async #sync (name: string, isAlive: () => boolean): Promise<void> {
    await this.time.sleep(this.between(0, this.weather.maxSyncMs))
    while (isAlive() && this.disk(name).hangsUntilMs > this.time.nowMs) await this.time.sleep(this.disk(name).hangsUntilMs - this.time.nowMs)
    if (!isAlive()) await never()
  }

  /** A request may get lost, come twice, or late; so may its answer. A process that died neither hears nor speaks. */
  #requestsOf (process: Process): Requests {
    const from = process.name
    return {
      handle: async (protocol, handler) => { process.handlers.set(protocol, handler) },
      request: async (peer, protocol, parts, options) => {
        const to = this.#byPeer.get(peer) ?? ''
        const plain = concat([...parts])
        if (this.questions.isHolding) await this.#leave({ from, to, protocol, body: plain, timeoutMs: options.timeoutMs })
        return this.#send(process, { to, peer, protocol, plain, ...options })
      },
    }
  }

  /** Until it is on its way, if it is held back. */
  async #leave ({ from, to, protocol, body, timeoutMs }: { readonly from: string, readonly to: string, readonly protocol: string, readonly body: Uint8Array, readonly timeoutMs: number }): Promise<void> {
    if (!this.questions.isHolding || protocol !== tableProtocol) return
    const request = decodeRequest(body)
    const message = { from, to, kind: request.kind, isClear: 'table' in request && isClear(request.table) }
    await new Promise<void>((resolve, reject) => { if (this.questions.pass(message, resolve)) this.time.after(timeoutMs, () => { reject(new DeadlineExceeded('held back')) }) })
  }

  #send (process: Process, { to, peer, protocol, plain, signal, timeoutMs }: { to: string, peer: PeerId, protocol: string, plain: Uint8Array, signal?: AbortSignal, timeoutMs: number }): Promise<Uint8Array> {
    const { weather } = this
    const from = process.name
    const latencyMs = (): number => (this.chance(weather.stragglers) ? 20 : 1) * this.between(0.2, weather.maxLatencyMs)
    return new Promise<Uint8Array>((onAnswer, onFailure) => {
        this.messages++
        const body = this.#variant.sent?.(plain, process.state) ?? plain
        if (signal?.aborted === true) { onFailure(signal.reason as Error); return }
        const ifAlive = (act: () => void) => (): void => { if (process.isAlive) act() }
        const onAbort = ifAlive(() => { reject(signal?.reason as Error) })
        const end = (): void => { cancel(); signal?.removeEventListener('abort', onAbort) }
        const resolve = (answer: Uint8Array): void => { end(); onAnswer(answer) }
        const reject = (error: Error): void => { end(); onFailure(error) }
        const cancel = this.time.after(timeoutMs, ifAlive(() => { reject(new DeadlineExceeded('no answer')) }))
        signal?.addEventListener('abort', onAbort)
        if (!this.#isConnected(from, to) && this.#variant.reachable !== undefined) return
        if (!this.#isConnected(from, to)) { reject(new PeerUnreachable(peer, 'not connected')); return }
        const isLost = (a: string, b: string): boolean => this.#cut.has(`${a} ${b}`) || this.chance(weather.loss)
        const arrive = (): void => {
          const target = this.#processes.get(to)
          const handler = target?.handlers.get(protocol)
          if (target?.isAlive !== true || handler === undefined || isLost(from, to)) return
          handler(peerNamed(from), body, { signal: new AbortController().signal }).then((answer) => {
            if (target.isAlive && !isLost(to, from)) this.time.after(latencyMs(), ifAlive(() => { resolve(concat([...answer])) }))
          }, (error: unknown) => {
            if (target.isAlive && !isLost(to, from)) this.time.after(latencyMs(), ifAlive(() => { reject(new RequestRefused(peer, error instanceof Error ? error.message : String(error))) }))
          })
        }
        for (let copy = this.chance(weather.duplicates) ? 2 : 1; copy > 0; copy--) this.time.after(latencyMs(), arrive)
    })
  }
}

/** Each tells the other how far its store has come, and how far it has seen the other's. */
function showStores (a: Process, b: Process | undefined): void {
  if (a.positions === undefined || b?.positions === undefined) return
  const [peerOfA, peerOfB] = [peerNamed(a.name), peerNamed(b.name)]
  const byA = a.positions.shownTo(peerOfB)
  const byB = b.positions.shownTo(peerOfA, byA.store)
  void b.positions.compare({ peer: peerOfA, ...byA })
  void a.positions.compare({ peer: peerOfB, ...byB })
}

type Writable<T> = { -readonly [Key in keyof T]: T[Key] }

/** A member as the layout names it. */
export const memberOf = (name: string): LayoutMember => layoutMember(name)

function every (everyMs: number, clock: { monotonicMs: () => number }, name: string, act: () => Promise<void>): BackgroundTask {
  let lastMs = -Infinity
  return { name, step: async () => {
    if (clock.monotonicMs() - lastMs < everyMs) return 'idle'
    lastMs = clock.monotonicMs()
    await act()
    return 'idle'
  } }
}
