import { type Logger, pino } from 'pino'
import { Budget } from '../base/budget.ts'
import { type Clock, systemClock } from '../base/clock.ts'
import { DigestThread } from '../base/digest-thread.ts'
import { Refused, Unavailable } from '../base/errors.ts'
import { peerIdOf } from '../base/peer-id.ts'
import { type Random, systemRandom } from '../base/random.ts'
import { signingKeyOf } from '../base/signature.ts'
import { blockHoldersOf, nameOfRole, newestEpochOf, roles } from '../cluster/index.ts'
import type { Config } from '../config.ts'
import { lockFolder } from '../disk/folder-lock.ts'
import type { Files } from '../disk/index.ts'
import type { LevelDamage } from '../disk/level-damage.ts'
import { nodeFiles } from '../disk/node-files.ts'
import { ClusterKeys, freshVersion, versionIdOf, type Keyring, type KeyringKey } from '../encryption/index.ts'
import { type Network, startNetwork } from '../network/libp2p-network.ts'
import type { ChangeProgress, DfsNode, Secrets } from '../node.ts'
import { accessKeys, describeRow, expiring, type Lifecycle, type ObjectParts, objectStore, shares } from '../objects/index.ts'
import { OwedRows } from '../objects/work/owed-rows.ts'
import { serveFetch } from '../protocols/fetch.ts'
import { holdingsAt, serveHoldings } from '../protocols/holdings.ts'
import { ringPeers, serveRing } from '../protocols/ring.ts'
import { serveStore } from '../protocols/store.ts'
import { serveTables } from '../protocols/table.ts'
import { AgreedDate } from '../tables/agreed-date.ts'
import type { OwnReplica } from '../tables/replica.ts'
import { clearPartition } from '../tables/clear-rows.ts'
import { rowCodec } from '../tables/codec.ts'
import { type OpenedRow, type Registers, type RowCodec, tables } from '../tables/index.ts'
import type { DiskRows } from '../tables/row-store.ts'
import type { ListingIndex } from '../tables/listing-index.ts'
import { memoryListingIndex } from '../tables/memory-listing-index.ts'
import type { TablePeers } from '../tables/registers.ts'
import { type AnnounceWork, announceWorkOf } from './work/announcing.ts'
import { type Background, type BackgroundTask, runInBackground } from './work/background.ts'
import { type ClusterHealth, healthOfCluster } from './health/cluster-health.ts'
import { Changes } from './layout/changes.ts'
import { ChangeWatch } from './layout/change-watch.ts'
import { bucketNeed } from './layout/changes-door.ts'
import { contentCodec } from './content.ts'
import { countedObjects } from './work/counted-objects.ts'
import { countedAnswers, countedRounds } from './work/counted-rounds.ts'
import { keyless } from './keyless.ts'
import type { Epochs } from './membership/epochs.ts'
import type { EraChangeParts } from './membership/era-change.ts'
import { acceptedEra, type Eras } from './membership/eras.ts'
import { doorOf } from './door.ts'
import { FloorKeeper } from './rows/floor-keeper.ts'
import { forgetLost, type ForgetParts } from './layout/forget-lost.ts'
import { FreeSpace } from './layout/free-space.ts'
import { GivenUp } from './work/given-up.ts'
import { leftOutOver } from './work/has-held.ts'
import { LeftOut, leftOutTask } from './work/left-out.ts'
import type { Greetings } from './membership/greetings.ts'
import { Absence } from './membership/absence.ts'
import type { AskReplica } from './membership/clear-rows.ts'
import { Hints } from './work/hints.ts'
import { keyringKeyOf, readKeyring } from './membership/keys.ts'
import { writeKnownPeers } from './membership/known-peers.ts'
import type { LayoutKeeper } from './layout/layout-keeper.ts'
import { IndexRebuild } from './rows/listing.ts'
import { clearRowRule } from './membership/membership.ts'
import { UnknownPeers } from './membership/unknown-peers.ts'
import { meetingOf } from './membership/meeting.ts'
import { MemberSearch } from './membership/member-search.ts'
import { memberSideOf } from './member-side.ts'
import { nodeMetrics } from './health/metrics.ts'
import { ShortageLog } from './health/shortage-log.ts'
import { setMember } from './membership/member-settings.ts'
import { OwnCapacity } from './layout/own-capacity.ts'
import { ownHoldings } from './layout/own-holdings.ts'
import { getRoom } from './get-room.ts'
import { PutWindows } from './put-windows.ts'
import { looseBallotOf } from './records.ts'
import { type Collecting, collectingOf } from './work/collecting.ts'
import { comparingOf } from './work/comparing.ts'
import { type Converting, convertingOf } from './work/converting.ts'
import { type Repairing, repairingOf } from './work/repairing.ts'
import { Retag } from './membership/retag.ts'
import { keylessRing, ringOf } from './membership/ring-keeper.ts'
import { type Scrubbing, scrubbingOf } from './work/scrubbing.ts'
import { layoutSettler } from './layout/settle.ts'
import { ClusterState, readFacts } from './state.ts'
import { tableEngine, type TableEngine } from './rows/table-engine.ts'
import { namedStoreOf, StorePositions } from './layout/store-positions.ts'
import { type BlockStores, openBlocks, openRows } from './stores.ts'
import { Takeovers } from './layout/takeover.ts'
import { removedSweepTask, uploadSweepTask } from './work/sweeping.ts'
import { UserActivity } from './work/user-activity.ts'
import { verifyObjects } from './work/verifying.ts'

export interface OpenOptions {
  /** Default: silent. */
  readonly logger?: Logger
  readonly clock?: Clock
  readonly random?: Random
}

/**
 * Opens a node as a story: lock, keys, disk, network, protocols, engines, and what runs behind. Whatever fails half way closes what was open.
 * @throws Refused (not a node's folder, in use, wrong passphrase), what listening says
 */
export async function openNode (config: Config, secrets: Secrets, { logger = pino({ level: 'silent' }), clock = systemClock, random = systemRandom }: OpenOptions = {}): Promise<DfsNode> {
  await using open = new AsyncDisposableStack()
  const files = nodeFiles(config.data)
  const facts = await readFacts(files)
  if (facts === undefined) throw new Refused(`${config.data} is no node's data folder yet; "dfs init" makes a cluster, "dfs join TOKEN" joins one`)
  open.use(await lockFolder(config.data))
  await files.removeDebris('.')
  const key = await keyringKeyOf(secrets, { make: false, random })
  const keyring = await readKeyring(files, key)
  if (keyring === undefined) throw new Refused(`the keyring in ${config.data} is missing; without it this node cannot prove who it is`)
  const node = new Node({ config, files, keyring, key, state: new ClusterState(files, facts), logger, clock, random })
  await node.open(open)
  return node.door(open.move())
}

interface NodeParts extends Required<OpenOptions> {
  readonly config: Config
  readonly files: Files
  readonly keyring: Keyring
  /** What seals the keyring when an epoch begins. */
  readonly key: KeyringKey
  readonly state: ClusterState
}

class Node {
  readonly #parts: NodeParts
  readonly #warn: (message: string, cause: unknown) => void
  readonly #metrics = nodeMetrics()
  readonly #absence: Absence
  readonly #hints = new Hints()
  readonly #users: UserActivity
  readonly #owed = new OwedRows()
  readonly #startedMs: number
  readonly #space: FreeSpace
  readonly #keys: ClusterKeys | undefined
  // filled by open(), in this order
  #rows!: DiskRows
  #unknownPeers!: UnknownPeers
  #positions!: StorePositions
  #greetings!: Greetings
  #takeovers!: Takeovers
  /** Undefined: nothing is answered yet. */
  #replica: OwnReplica | undefined
  #givenUp!: GivenUp
  #leftOut!: LeftOut
  #keeper: LayoutKeeper | undefined
  #stores!: BlockStores
  #repairing!: Repairing
  #collecting!: Collecting
  #converting!: Converting
  #announceWork!: AnnounceWork
  #comparing!: DfsNode['compare']
  #rowWork: Background | undefined
  /** What converts; undefined: a node without keys. */
  #engine: ObjectParts | undefined
  #scrubbing!: Scrubbing
  #clusterHealth!: ClusterHealth
  #codec!: RowCodec
  #index!: ListingIndex
  #rebuild: IndexRebuild | undefined
  #network!: Network
  #registers!: Registers
  #eras!: Eras
  #epochs: Epochs | undefined
  #retag: Retag | undefined
  #eraParts: EraChangeParts | undefined
  #ask!: AskReplica
  #capacity!: OwnCapacity
  #changes: Changes | undefined
  #changeWatch: ChangeWatch | undefined
  #peers!: TablePeers
  #objects!: DfsNode['objects']
  #lifecycle: Lifecycle | undefined
  #removedSweep: BackgroundTask | undefined
  readonly #digests = new DigestThread()
  /** A node without keys has nothing that it could read. */
  #verify: DfsNode['verify'] = () => { throw new Refused(`this is a ${nameOfRole(this.#parts.state.certificate.member.role)} node: it has no data key. Ask a member`) }
  #accessKeys!: DfsNode['keys']
  #shares!: DfsNode['shares']

  constructor (parts: NodeParts) {
    const { keyring, logger, clock, state, files } = parts
    this.#parts = parts
    this.#warn = (message, cause) => { logger.warn({ reason: cause instanceof Error ? cause.message : String(cause) }, message) }
    this.#startedMs = clock.monotonicMs()
    this.#space = new FreeSpace(files)
    this.#absence = new Absence(clock, () => this.#network.reachable())
    this.#users = new UserActivity(clock)
    this.#keys = keyring.ring === undefined ? undefined : new ClusterKeys({ clusterId: state.clusterId, ...keyring.ring })
  }

  async open (open: AsyncDisposableStack): Promise<void> {
    open.use(this.#digests)
    await this.#openDisk(open)
    await this.#openNetwork(open)
    await this.#openTables(open)
    await this.#openBlockProtocols(open)
    await this.#network.listen()
  }

  async #openDisk (open: AsyncDisposableStack): Promise<void> {
    const { config, files, random, logger, keyring, state } = this.#parts
    const named = namedStoreOf(state, peerIdOf(signingKeyOf(keyring.nodeSeed).publicKey))
    this.#rows = open.use(await openRows({
      data: config.data, files, random, ballotOf: looseBallotOf, named,
      onLost: (loss) => { this.#metrics.count('lostPartitions'); logger.warn(loss, 'memory of rows was lost or changed: the partitions neither answer nor vote') },
      onDamage: this.#damaged,
    }))
    this.#takeovers = await Takeovers.open({
      files, rows: this.#rows, self: peerIdOf(signingKeyOf(keyring.nodeSeed).publicKey),
      leaving: async (partitions) => { await this.#replica?.leave(partitions) },
      clearing: async (partition) => { await this.#rebuild?.forget(partition) },
    })
    this.#givenUp = await GivenUp.open(files)
    this.#leftOut = await LeftOut.open(files)
    state.beforeLayout = async (layout) => {
      await this.#givenUp.note(layout)
      // without the keys nobody can find out what became of what they had
      if (this.#keys !== undefined) await this.#leftOut.note(state.layout, layout)
      await this.#takeovers.prepare(layout)
    }
    this.#unknownPeers = new UnknownPeers({ state, ask: () => this.#ask, reachable: () => this.#network.reachable(), clock: this.#parts.clock })
    this.#positions = await StorePositions.open({ files, state, rows: this.#rows, warn: this.#warn })
    const self = peerIdOf(signingKeyOf(keyring.nodeSeed).publicKey)
    this.#capacity = await OwnCapacity.open({
      files, given: state.certificate.member.role === roles.witness ? undefined : config.capacityBytes,
      counted: () => ((state.layout.next ?? state.layout).members.find(({ peerId }) => peerId === self) ?? state.members.get(self))?.capacityBytes,
      tell: this.#keys === undefined ? undefined : async (capacityBytes, wait) => this.#eraParts === undefined ? undefined : setMember(this.#eraParts, self, { capacityBytes }, wait),
    })
    this.#stores = open.use(await openBlocks({ config, quotaBytes: () => this.#capacity.limitBytes, files, onDamage: this.#damaged, onCorrupt: (cid) => { this.#metrics.count('wrongBlocks'); logger.warn({ cid }, 'a block was corrupt and is set aside'); (this.#repairing as Repairing | undefined)?.report(cid) } }))
    this.#codec = rowCodec({ clusterId: state.clusterId, keys: this.#keys, signer: signingKeyOf(keyring.nodeSeed), random, checkClear: clearRowRule(state, (proposer) => { this.#unknownPeers.note(proposer) }), floor: () => state.era.floor, demanded: () => this.#retag?.demanded ?? newestEpochOf(state.era) })
    this.#index = memoryListingIndex()
    if (this.#keys !== undefined) {
      this.#owed.beginPass()
      const parts = { rows: this.#rows, codec: this.#codec, index: this.#index, describe: describeRow, found: (row: OpenedRow) => { this.#owed.foundIn(row) }, warn: this.#warn }
      this.#rebuild = new IndexRebuild(parts, { whenWhole: () => { this.#owed.endPass() } })
      await this.#rebuild.begin()
    }
    await this.#space.measure()
  }

  readonly #damaged = (damage: LevelDamage, evidence: string | undefined): void => {
    this.#parts.logger.warn({ ...damage, evidence }, 'a file of an index was damaged before it was opened: what it lost is looked for')
  }

  async #openNetwork (open: AsyncDisposableStack): Promise<void> {
    const { config, clock, random, keyring, logger } = this.#parts
    const meeting = meetingOf({
      ...this.#parts, log: logger, warn: this.#warn, positions: this.#positions, unknown: this.#unknownPeers, givenUp: this.#givenUp,
      network: () => this.#network, registers: () => this.#registers, peers: () => this.#peers, acceptedEra: async () => acceptedEra(this.#rows, this.#codec), newestEpoch: () => this.#epochs?.newest, freeBytes: () => this.#space.bytes,
    })
    this.#eras = meeting.eras
    this.#greetings = meeting.greetings
    this.#network = open.use(await startNetwork({
      seed: keyring.nodeSeed, listen: config.listen, announce: config.announce, bootstrap: config.bootstrap, mdns: config.mdns, clock, random,
      greet: meeting.greet, isMember: meeting.isMember, log: logger.child({ part: 'network' }),
    }))
    await meeting.begin()
    this.#network.gossip.onAnnouncement((announcement) => {
      if (announcement.from !== this.#network.peerId) this.#metrics.count('heard')
      this.#hints.remember(announcement)
    })
    open.defer(async () => { await writeKnownPeers(this.#parts.files, this.#network.known) })
  }

  async #openTables (open: AsyncDisposableStack): Promise<void> {
    const { clock, random, state, keyring } = this.#parts
    const self = this.#network.peerId
    const shortages = open.use(new ShortageLog({ clock, log: this.#parts.logger }))
    const repairing = this.#openRepairing(shortages)
    const engine = tableEngine({
      self, state, network: this.#network, positions: this.#positions, takeovers: this.#takeovers, rows: this.#rows, codec: this.#codec, index: this.#keys === undefined ? undefined : this.#index, rebuild: this.#rebuild, clock, random, warn: this.#warn,
      absence: this.#absence, vainMs: () => this.#keeper?.vainMs ?? 0, saved: (row) => { (this.#collecting as Collecting | undefined)?.saved(row) },
    })
    this.#collecting = collectingOf({ ...this.#parts, network: this.#network, stores: this.#stores, tables: engine, rows: this.#rows, codec: this.#codec, owed: this.#owed, keys: this.#keys, users: this.#users, warn: this.#warn })
    this.#converting = convertingOf({ ...this.#parts, network: this.#network, tables: engine, rows: this.#rows, codec: this.#codec, users: this.#users })
    this.#announceWork = announceWorkOf({ ...this.#parts, network: this.#network, stores: this.#stores, tables: engine, rows: this.#rows, codec: this.#codec, users: this.#users, warn: this.#warn })
    this.#comparing = comparingOf({ ...engine, background: () => this.#rowWork })
    const { replica, registers: driver, peers, ask, voters } = engine
    this.#replica = replica
    this.#peers = peers
    this.#ask = ask
    this.#registers = driver
    await serveTables(this.#network.requests, countedAnswers(replica, this.#users))
    const retag = new Retag({ self, state, store: this.#rows, replica, codec: this.#codec, voters, ask, taggedIn: this.#keys === undefined ? undefined : () => this.#keys?.currentEpoch ?? 0, reachable: () => this.#network.reachable() })
    this.#retag = retag
    const rings = ringPeers(this.#network.requests)
    if (this.#keys !== undefined && keyring.ring !== undefined) {
      const { epochs, eraParts, keeper } = await memberSideOf({
        ...this.#parts, keyring: { ...keyring, ring: keyring.ring }, keys: this.#keys, network: this.#network, tables: engine, rows: this.#rows, codec: this.#codec,
        positions: this.#positions, greetings: this.#greetings, eras: this.#eras, rings, warn: this.#warn,
      })
      this.#epochs = epochs
      this.#eraParts = eraParts
      this.#keeper = keeper
    }
    await serveRing(this.#network.requests, this.#epochs === undefined ? keylessRing(retag) : ringOf(this.#epochs, retag))
    const floors = this.#eraParts === undefined ? undefined : new FloorKeeper({
      eraParts: this.#eraParts, everyVoter: () => voters.ofPartition(clearPartition), demand: (epoch) => retag.demand(epoch), peers: rings, clock,
    })
    const search = new MemberSearch({ network: this.#network, members: () => state.expected(), clock, warn: this.#warn })
    this.#rowWork = open.use(runInBackground([
      ...engine.tasks,
      ...this.#keys === undefined ? [] : [uploadSweepTask({ registers: this.#registers, index: this.#index, clock, warn: this.#warn })],
      { name: 'layout', step: async (wait) => await this.#keeper?.step(wait) ?? 'idle' },
      { name: 'greetings', step: async (wait) => this.#greetings.step(wait) },
      { name: 'capacity', step: async (wait) => this.#capacity.step(wait) },
      leftOutTask(this.#leftOut, { clock, layout: () => state.layout, reachable: () => this.#network.reachable(), ask: async (peer, wait) => holdingsAt(this.#network.requests, peer, { byPartition: false, ...wait }) }),
      { name: 'changes', step: async (wait) => await this.#changeWatch?.step(wait) ?? 'idle' },
      { name: 'peers that are not known', step: async (wait) => this.#unknownPeers.step(wait) },
      { name: 'search for members', step: async (wait) => search.step(wait) },
      { name: 'era', step: async (wait) => this.#eras.step(wait) },
      { name: 'who joined while an era began', step: async (wait) => await this.#eraParts?.latecomers.step(wait) ?? 'idle' },
      { name: 'tags of an older epoch', step: async (wait) => retag.step(wait) },
      { name: 'floor of epochs', step: async (wait) => await floors?.step(wait) ?? 'idle' },
      { name: 'keys of epochs', step: async (wait) => await this.#epochs?.step(wait) ?? 'idle' },
      { name: 'lifecycle', step: async (wait) => await this.#lifecycle?.step(wait) ?? 'idle' },
      { name: 'objects of removed buckets', step: async (wait) => await this.#removedSweep?.step(wait) ?? 'idle' },
      { name: 'recovery of a full disk', step: async () => { await this.#rows.recover(); await this.#stores.blocks.recover(); return 'idle' } },
      { name: 'accounts', step: async () => { this.#absence.look(); await this.#space.measure(); return 'idle' } },
    ], { clock, warn: this.#warn, users: this.#users }))
    if (this.#keys === undefined) ({ objects: this.#objects, keys: this.#accessKeys, shares: this.#shares } = keyless(nameOfRole(state.certificate.member.role)))
    else this.#openObjects(this.#keys, { ask, voters }, repairing)
    open.defer(async () => { await repairing.engine.settled() })
  }

  /** Of the members that answer: what one is enough for is done by this one. */
  #isFirstMember (): boolean {
    const { state } = this.#parts
    const self = this.#network.peerId
    const answering = new Set([self, ...this.#network.reachable()])
    return state.layout.members.map(({ peerId }) => peerId).filter((peer) => answering.has(peer) && state.isMember(peer)).toSorted()[0] === self
  }

  #openRepairing (shortages: ShortageLog): Repairing {
    const { config, state, clock } = this.#parts
    this.#repairing = repairingOf({
      config, state, clock, network: this.#network, stores: this.#stores, hints: this.#hints, users: this.#users, warn: this.#warn,
      onShort: (shortage) => { this.#metrics.count('shortBlocks'); shortages.note(shortage) },
    })
    return this.#repairing
  }

  #openObjects (keys: ClusterKeys, { ask, voters }: Pick<TableEngine, 'ask' | 'voters'>, repairing: Repairing): void {
    const { clock, random, state } = this.#parts
    const settleLayout = layoutSettler({
      state, registers: this.#registers, codec: this.#codec, ask,
      onLeftOut: (peers) => { this.#parts.logger.warn({ peers }, 'more have joined than a layout can hold: these hold nothing and do not vote') },
    })
    this.#accessKeys = accessKeys({ registers: this.#registers, clock, random, settleLayout })
    const parts: ObjectParts = {
      registers: this.#registers, replication: repairing.engine, content: contentCodec(keys, random, clock, new PutWindows({ bytes: this.#parts.config.putMemoryBytes, clock }), getRoom(this.#parts.config.getMemoryBytes)), versions: { fresh: () => freshVersion(keys, random), idOf: (version) => versionIdOf(keys, version) }, clock, random, warn: this.#warn,
      blockPlaces: () => blockHoldersOf(state.layout, 0).length,
      dates: new AgreedDate({ voters, ask, clock }),
      digesting: this.#digests.digesting,
      settleLayout,
      announce: ({ bucket, key, version, root, chunks }) => {
        const rowKey = this.#codec.rowKeyOf({ table: tables.objects, scope: Buffer.from(bucket.id, 'hex'), key: Buffer.from(key) })
        this.#metrics.count('announced')
        this.#network.gossip.announce({ rowKey, versionId: version.id, root, blocks: chunks })
        const provided = root ?? chunks[0]
        if (provided !== undefined) this.#network.providers.provide(provided)
      },
    }
    this.#engine = parts
    this.#objects = countedObjects(objectStore({ ...parts, registers: countedRounds(parts.registers, this.#users) }), this.#users)
    this.#lifecycle = expiring({ ...parts, isTurn: () => this.#isFirstMember() })
    this.#removedSweep = removedSweepTask(parts, { index: this.#index, clock })
    this.#shares = shares({ registers: this.#registers, objects: this.#objects, clock, random })
    const verified = { ...repairing.copies, engine: repairing.engine, objectsOver: (engine: Pick<typeof repairing.engine, 'reader'>) => objectStore({ ...parts, replication: { ...repairing.engine, ...engine } }) }
    this.#verify = (options = {}) => {
      const leftOut = this.#leftOut.peers
      return verifyObjects(verified, { ...options, onAll: async () => { await this.#givenUp.verified(); await this.#leftOut.verified(leftOut) } })
    }
  }

  async #openBlockProtocols (open: AsyncDisposableStack): Promise<void> {
    const { config } = this.#parts
    const { requests } = this.#network
    const { holder, blocks, cache } = this.#stores
    // one half for what this node asks, one for what it answers: two nodes that fill theirs by asking each other must both still be answered
    const budget = new Budget(config.inFlightBytes / 2)
    // a witness holds no blocks: it is in no placement, and who offers it one all the same is refused
    if (this.#parts.state.certificate.member.role !== roles.witness) {
      await serveStore(requests, { holder, budget, warn: this.#warn, users: this.#users, isLeftOut: await leftOutOver(this.#parts.files, { self: this.#network.peerId, holders: () => this.#repairing.holders(), warn: this.#warn }) })
      await serveFetch(requests, { sources: [blocks, cache], shards: blocks.shards, budget, users: this.#users })
      open.use(this.#repairing.begin())
      open.use(this.#collecting.begin())
      if (this.#engine !== undefined) open.use(this.#announceWork.begin(this.#engine.content))
      if (this.#engine !== undefined) open.use(await this.#converting.begin({ ...this.#engine, buckets: objectStore(this.#engine) }))
    }
    this.#scrubbing = scrubbingOf({ ...this.#parts, stores: this.#stores, rows: this.#rows, repairing: this.#repairing, users: this.#users, warn: this.#warn })
    open.use(await this.#scrubbing.begin())
    this.#clusterHealth = await healthOfCluster({ ...this.#parts, network: this.#network, repairing: this.#repairing, scrubbing: this.#scrubbing })
    open.use(runInBackground([{ name: 'objects at risk', step: async (wait) => this.#clusterHealth.step(wait) }], { clock: this.#parts.clock, warn: this.#warn }))
    const own = async (options: { byPartition: boolean, signal?: AbortSignal }): ReturnType<typeof ownHoldings> => ownHoldings({ ...this.#parts, stores: this.#stores, space: this.#space, capacity: this.#capacity, repairing: this.#repairing }, options)
    await serveHoldings(requests, own)
    if (this.#eraParts !== undefined && this.#keeper !== undefined) {
      this.#changes = new Changes({ eraParts: this.#eraParts, keeper: this.#keeper, requests, own, clock: this.#parts.clock, buckets: async (wait) => (await this.#objects.listBuckets(wait)).map(bucketNeed), looked: async (progress) => this.#looked(progress) })
      this.#changeWatch = new ChangeWatch({ changes: this.#changes, state: this.#parts.state, clock: this.#parts.clock })
    }
    open.defer(() => { this.#greetings.all.clear() })
  }

  async #looked (progress: ChangeProgress): Promise<void> {
    // of a layout that is no more it says nothing of who was left out since
    if (this.#leftOut.peers.length === 0 || progress.layout.version !== String(this.#parts.state.layout.version)) return
    const buckets = progress.isWhole ? await this.#objects.listBuckets().catch((error: unknown) => { if (error instanceof Unavailable) return undefined; throw error }) : undefined
    await this.#leftOut.looked(progress, buckets)
  }

  /** @throws Refused on a node without keys */
  #forgetParts (): ForgetParts {
    const { clock, logger, state } = this.#parts
    if (this.#eraParts === undefined) throw new Refused(`this is a ${nameOfRole(state.certificate.member.role)} node: it may give nobody up. Ask a member`)
    return {
      ...this.#eraParts, ask: this.#ask, clock, index: this.#index, storeOf: (peer) => peer === this.#network.peerId ? this.#rows.storeId : this.#positions.shownBy(peer),
      answers: async (peer, wait) => {
        const addresses = this.#network.known.get(peer) ?? []
        // who has no address that is known here cannot be looked for; that it is not connected was seen
        return addresses.length > 0 && await this.#network.dial(addresses, wait).then((found) => found === peer, () => false)
      },
      loud: (fields, message) => { logger.error(fields, message) },
    }
  }

  door (closing: AsyncDisposableStack): DfsNode {
    return doorOf({
      ...this.#parts, log: this.#parts.logger, warn: this.#warn, startedMs: this.#startedMs, space: this.#space, network: this.#network, positions: this.#positions, greetings: this.#greetings.all,
      stores: this.#stores, rows: this.#rows, codec: this.#codec, registers: this.#registers, objects: this.#objects, keys: this.#accessKeys, shares: this.#shares, digestingSpans: this.#digests.digestingSpans, repairing: this.#repairing, collecting: this.#collecting, converting: this.#converting, verify: this.#verify, scrubbing: this.#scrubbing, comparing: this.#comparing, announceWork: this.#announceWork, clusterHealth: this.#clusterHealth, metrics: this.#metrics,
      isKeyless: this.#keys === undefined, eraParts: this.#eraParts, changes: this.#changes, change: () => this.#changeWatch?.last, capacity: this.#capacity, givenUp: this.#givenUp, leftOut: this.#leftOut, listedShare: () => this.#rebuild?.doneShare ?? 1, forgetLost: async (lost, { isDryRun = false, ...wait } = {}) => forgetLost(this.#forgetParts(), { lost, isDryRun }, wait), layoutTrouble: () => this.#keeper?.trouble,
    }, closing)
  }
}
