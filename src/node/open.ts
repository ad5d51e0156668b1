import { type Logger, pino } from 'pino'
import { Budget } from '../base/budget.ts'
import { hexOf } from '../base/bytes.ts'
import { type Clock, systemClock } from '../base/clock.ts'
import { Refused, Unavailable } from '../base/errors.ts'
import { keyOf, type PeerId, peerIdOf } from '../base/peer-id.ts'
import { type Random, systemRandom } from '../base/random.ts'
import { signingKeyOf } from '../base/signature.ts'
import { blockHoldersOf, describeMember, encodeMemberRow, nameOfRole, newestEpochOf, parseLayout, roles } from '../cluster/index.ts'
import type { Config } from '../config.ts'
import { lockFolder } from '../disk/folder-lock.ts'
import type { Files } from '../disk/index.ts'
import { nodeFiles } from '../disk/node-files.ts'
import { ClusterKeys, freshVersion, type Keyring, type KeyringKey } from '../encryption/index.ts'
import { addressBytes, addressText } from '../network/addresses.ts'
import { type Network, startNetwork } from '../network/libp2p-network.ts'
import type { DfsNode, Secrets } from '../node.ts'
import { describeRow, objectStore } from '../objects/index.ts'
import { decodeObjectRow } from '../objects/object-row.ts'
import { serveFetch } from '../protocols/fetch.ts'
import { type Greeting, type Hello, helloProtocol } from '../protocols/hello.ts'
import { joinProtocol } from '../protocols/join.ts'
import { membershipCheck } from '../protocols/membership.ts'
import { ringPeers, serveRing } from '../protocols/ring.ts'
import { serveStore } from '../protocols/store.ts'
import { serveTables, tablePeers } from '../protocols/table.ts'
import { AntiEntropy } from '../tables/anti-entropy.ts'
import { Burial } from '../tables/burial.ts'
import { clearPartition } from '../tables/clear-rows.ts'
import { rowCodec } from '../tables/codec.ts'
import { isClear, PartitionLost, type Registers, type RowCodec, type RowStore, tables } from '../tables/index.ts'
import { HandOver } from '../tables/hand-over.ts'
import { LateDelivery } from '../tables/late-delivery.ts'
import type { VoterProgress } from '../tables/messages.ts'
import type { ListingIndex } from '../tables/listing-index.ts'
import { memoryListingIndex } from '../tables/memory-listing-index.ts'
import { openRecord } from '../tables/opened-record.ts'
import { registers as registersOver, type TablePeers } from '../tables/registers.ts'
import { tableReplica } from '../tables/replica.ts'
import { addAdmin, listAdmins, removeAdmin } from './admins.ts'
import { runInBackground } from './background.ts'
import type { AskReplica } from './clear-rows.ts'
import { contentCodec } from './content.ts'
import { countedObjects } from './counted-objects.ts'
import { Epochs } from './epochs.ts'
import type { EraChangeParts } from './era-change.ts'
import { Eras, eraSuccession } from './eras.ts'
import { everyMemberRow } from './every-member.ts'
import { FloorKeeper } from './floor-keeper.ts'
import { Absence } from './absence.ts'
import { Hints } from './hints.ts'
import { Invites } from './invites.ts'
import { IssuedInvites } from './issued-invites.ts'
import { keyringKeyOf, readKeyring } from './keys.ts'
import { readKnownPeers, writeKnownPeers } from './known-peers.ts'
import { LayoutKeeper, setDraining } from './layout-keeper.ts'
import { forgetPartition, indexPartition, rebuildIndex } from './listing.ts'
import { acceptorsBy, addressesIn, clearRowRule, layoutGuard, memberRowHash, votersIn, writeFoundation } from './membership.ts'
import { nodeMetrics } from './metrics.ts'
import { looseBallotOf } from './records.ts'
import { removeMember } from './removal.ts'
import { type Repairing, repairingOf } from './repairing.ts'
import { Retag } from './retag.ts'
import { keylessRing, ringOf } from './ring-keeper.ts'
import { endSessions, epochCapability, epochIn } from './sessions.ts'
import { layoutSettler } from './settle.ts'
import { ClusterState, readFacts } from './state.ts'
import { statusOf } from './status.ts'
import { namedStoreOf, StorePositions } from './store-positions.ts'
import { type BlockStores, openBlocks, openRows } from './stores.ts'
import { Takeovers } from './takeover.ts'
import { UserActivity } from './user-activity.ts'
import { watchAnnouncements } from './watch.ts'

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
  const closing = open.move()
  return node.door(closing)
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
  readonly #greetings = new Map<PeerId, Greeting>()
  readonly #greetedMs = new Map<PeerId, number>()
  readonly #startedMs: number
  readonly #keys: ClusterKeys | undefined
  // filled by open(), in this order
  #rows!: RowStore
  #positions!: StorePositions
  #takeovers!: Takeovers
  #keeper: LayoutKeeper | undefined
  #stores!: BlockStores
  #repairing!: Repairing
  #codec!: RowCodec
  #index!: ListingIndex
  #hello!: Hello
  #network!: Network
  #registers!: Registers
  #eras!: Eras
  #epochs: Epochs | undefined
  #retag: Retag | undefined
  #eraParts: EraChangeParts | undefined
  #peers!: TablePeers
  #objects!: DfsNode['objects']
  #freeBytes = 0

  constructor (parts: NodeParts) {
    const { keyring, logger, clock, state } = parts
    this.#parts = parts
    this.#warn = (message, cause) => { logger.warn({ reason: cause instanceof Error ? cause.message : String(cause) }, message) }
    this.#startedMs = clock.monotonicMs()
    this.#absence = new Absence(clock)
    this.#users = new UserActivity(clock)
    this.#keys = keyring.ring === undefined ? undefined : new ClusterKeys({ clusterId: state.clusterId, ...keyring.ring })
  }

  async open (open: AsyncDisposableStack): Promise<void> {
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
    }))
    this.#takeovers = await Takeovers.open({
      files, rows: this.#rows, self: peerIdOf(signingKeyOf(keyring.nodeSeed).publicKey),
      clearing: async (partition) => { if (this.#keys !== undefined) await forgetPartition({ rows: this.#rows, codec: this.#codec, index: this.#index, describe: describeRow }, partition) },
    })
    state.beforeLayout = async (layout) => this.#takeovers.prepare(layout)
    this.#positions = await StorePositions.open({ files, state, rows: this.#rows, warn: this.#warn })
    this.#stores = open.use(await openBlocks({ config, files, onCorrupt: (cid) => { this.#metrics.count('wrongBlocks'); logger.warn({ cid }, 'a block was corrupt and is set aside'); (this.#repairing as Repairing | undefined)?.report(cid) } }))
    this.#codec = rowCodec({ clusterId: state.clusterId, keys: this.#keys, signer: signingKeyOf(keyring.nodeSeed), random, checkClear: clearRowRule(state), floor: () => state.era.floor, demanded: () => this.#retag?.demanded ?? newestEpochOf(state.era) })
    this.#index = memoryListingIndex()
    if (this.#keys !== undefined) await rebuildIndex({ rows: this.#rows, codec: this.#codec, index: this.#index, describe: describeRow, warn: this.#warn })
    this.#freeBytes = await files.freeBytes('.')
  }

  async #openNetwork (open: AsyncDisposableStack): Promise<void> {
    const { config, clock, random, keyring, state, logger } = this.#parts
    this.#eras = new Eras({ state, registers: () => this.#registers, risen: () => { this.#risen() } })
    const hello = helloProtocol({
      self: (peer, shown) => ({
        ...this.#positions.shownTo(peer, shown),
        certificate: state.certificate, era: state.era, versions: [1], capabilities: this.#epochs === undefined ? [] : [epochCapability(this.#epochs.newest)], freeBytes: this.#freeBytes, layoutVersion: state.layout.version,
        addresses: this.#network.addresses().map(addressBytes),
      }),
      verify: membershipCheck({
        clusterId: state.clusterId, authority: state.authority,
        era: () => state.era,
        adopt: async (era) => { await this.#eras.adopt(era) },
        askVoters: async () => { await this.#eras.ask() },
        memberRowHash: async (key) => memberRowHash(state, () => this.#registers, key),
      }),
      greeted: async (greeting) => {
        const isKnown = this.#network.admission.isAdmitted(greeting.peer)
        this.#heard(greeting)
        if (this.#network.admit(greeting.peer) && !isKnown) this.#met(greeting)
      },
    })
    this.#hello = hello
    this.#network = open.use(await startNetwork({
      seed: keyring.nodeSeed, listen: config.listen, announce: config.announce, bootstrap: config.bootstrap, mdns: config.mdns, clock, random,
      greet: async (peer, wait) => {
        const greeting = await hello.greet(peer, wait)
        this.#heard(greeting)
        this.#met(greeting)
      },
      isMember: (peer) => state.belongs(peer) || this.#greetings.has(peer),
      log: logger.child({ part: 'network' }),
    }))
    await hello.register(this.#network.requests)
    for (const [peer, addresses] of addressesIn(state)) this.#network.know(peer, addresses.map(addressText))
    for (const [peer, addresses] of await readKnownPeers(this.#parts.files)) if (!state.members.has(peer as PeerId) || state.belongs(peer as PeerId)) this.#network.know(peer as PeerId, addresses)
    this.#network.gossip.onAnnouncement((announcement) => {
      if (announcement.from !== this.#network.peerId) this.#metrics.count('heard')
      this.#hints.remember(announcement)
    })
    open.defer(async () => { await writeKnownPeers(this.#parts.files, this.#network.known) })
  }

  async #openTables (open: AsyncDisposableStack): Promise<void> {
    const { clock, random, state, keyring, logger } = this.#parts
    const self = this.#network.peerId
    const voters = votersIn(state)
    const isKeyless = this.#keys === undefined
    const repairing = this.#openRepairing()
    this.#peers = tablePeers(this.#network.requests, () => new Set([...this.#network.reachable(), ...this.#network.admission.admitted].filter((peer) => this.#positions.remembers(peer))))
    const replica = tableReplica({
      self, store: this.#rows, codec: this.#codec, voters: acceptorsBy(state, self), layout: layoutGuard(state, () => this.#peers),
      isMember: (peer) => state.isMember(peer), isKeyless, succession: eraSuccession(state, this.#codec),
      listing: this.#keys === undefined ? undefined : { index: this.#index, describe: describeRow },
      progress: () => this.#progress(handOver),
    })
    // without keys there is nothing to propose with: the members settle
    const late: LateDelivery = new LateDelivery({ peers: this.#peers, voters, settle: async (row, wait) => { if (!isKeyless) await driver.settle(row, wait) } })
    const driver = registersOver({
      self, peers: this.#peers, replica, counters: this.#rows, voters, codec: this.#codec, describe: describeRow, clock, random, late,
      adoptLayout: async (encoded, from) => {
        const { version } = parseLayout(encoded)
        if (version > state.layout.version) await layoutGuard(state, () => this.#peers).adopt(version, from)
      },
    })
    this.#registers = driver
    const handOver: HandOver = new HandOver({
      self, store: this.#rows, replica, codec: this.#codec, takeover: () => this.#takeovers.of(state.layout),
      ask: async (peer, request, wait) => this.#peers.ask(peer, request, wait),
      settle: isKeyless ? undefined : async (row, wait) => { await driver.settle(row, wait) },
      isTakenFrom: (peer, table) => !isKeyless || isClear(table) || state.isMember(peer),
      warn: this.#warn,
      restored: async (partition) => { if (this.#keys !== undefined) await indexPartition({ rows: this.#rows, codec: this.#codec, index: this.#index, describe: describeRow }, partition) },
    })
    const ask: AskReplica = async (peer, question, { signal }) => {
      const request = { version: state.layout.version, ...question }
      return peer === self ? replica.answer(self, request) : this.#peers.ask(peer, request, { signal })
    }
    await serveTables(this.#network.requests, replica)
    const retag = new Retag({ state, store: this.#rows, replica, codec: this.#codec, voters, ask, taggedIn: this.#keys === undefined ? undefined : () => this.#keys?.currentEpoch ?? 0, reachable: () => this.#network.reachable() })
    this.#retag = retag
    const rings = ringPeers(this.#network.requests)
    if (this.#keys !== undefined && keyring.ring !== undefined) {
      const epochs = new Epochs({ files: this.#parts.files, keyring: { ...keyring, ring: keyring.ring }, key: this.#parts.key, keys: this.#keys, state, random, clock, peers: rings, members: () => this.#membersReached() })
      this.#epochs = epochs
      this.#eraParts = {
        self, state, keyring, eras: this.#eras, epochs, registers: driver, peers: rings,
        memberRows: async (wait) => everyMemberRow({ state, codec: this.#codec, ask, registers: driver, voters }, wait),
        spread: async () => { await this.#greetAll() },
        voters, reachable: () => new Set(this.#network.reachable()), warn: this.#warn,
      }
      await joinProtocol({
        clusterId: state.clusterId, authority: state.authority, certificate: () => state.certificate, era: () => state.era, registers: driver, clock,
        memberRows: async (wait) => (await everyMemberRow({ state, codec: this.#codec, ask, registers: driver, voters }, wait)).map(encodeMemberRow),
        sealRing: (to) => epochs.ringFor(to),
        joined: (peer) => { logger.info({ peer }, 'a node has joined'); void memberRowHash(state, () => driver, keyOf(peer)).catch((error: unknown) => { this.#warn('a new member\'s row could not be read', error) }) },
      }).register(this.#network.requests)
      await writeFoundation(state, driver, self)
      this.#keeper = new LayoutKeeper({
        self, state, registers: driver, ask, clock, evictAfterMs: this.#parts.config.evictAfterMs,
        memberRows: async (wait) => everyMemberRow({ state, codec: this.#codec, ask, registers: driver, voters }, wait),
        reachable: () => new Set([self, ...this.#network.reachable()]),
        storeOf: (peer) => peer === self ? this.#rows.storeId : this.#positions.shownBy(peer),
        onChange: (layout, why) => {
          logger.info({ version: String(layout.version), state: layout.state, why }, 'the layout changes')
          void this.#greetAll().catch((error: unknown) => { this.#warn('not everybody could be told of the new layout', error) })
        },
      })
    }
    await serveRing(this.#network.requests, this.#epochs === undefined ? keylessRing(retag) : ringOf(this.#epochs, retag))
    const floors = this.#eraParts === undefined ? undefined : new FloorKeeper({
      eraParts: this.#eraParts, everyVoter: () => voters.ofPartition(clearPartition), demand: (epoch) => retag.demand(epoch), peers: rings, clock,
    })
    const antiEntropy = new AntiEntropy({
      codec: this.#codec,
      self, replica, voters, peers: this.#peers, settle: isKeyless ? undefined : async (row, wait) => { await driver.settle(row, wait) },
      isTakenBy: (peer, table) => !isKeyless || isClear(table) || state.isMember(peer),
    })
    this.#network.admission.onChange((peer, isAdmitted) => { if (isAdmitted && (state.layout.state === 'settled' || state.layout.state === 'changing')) antiEntropy.begin(peer) })
    const burial = isKeyless ? undefined : new Burial({
      self, replica, store: this.#rows, codec: this.#codec, voters, peers: this.#peers, isMember: (peer) => state.isMember(peer), isChanging: () => state.layout.state !== 'settled',
    })
    let lastBurialMs = clock.monotonicMs()
    let lastRoundMs = clock.monotonicMs()
    open.use(runInBackground([
      { name: 'late delivery', step: async (wait) => late.step(wait) },
      { name: 'burial', step: async (wait) => {
        if (burial !== undefined && clock.monotonicMs() - lastBurialMs > burialEveryMs) { lastBurialMs = clock.monotonicMs(); burial.begin() }
        return await burial?.step(wait) ?? 'idle'
      } },
      { name: 'hand-over', step: async (wait) => handOver.step(wait) },
      { name: 'layout', step: async (wait) => await this.#keeper?.step(wait) ?? 'idle' },
      { name: 'anti-entropy', step: async (wait) => {
        if (clock.monotonicMs() - lastRoundMs > antiEntropyEveryMs) { lastRoundMs = clock.monotonicMs(); antiEntropy.begin() }
        return antiEntropy.step(wait)
      } },
      { name: 'greetings', step: async (wait) => this.#greetAgain(wait) },
      { name: 'era', step: async (wait) => this.#askForEra(wait) },
      { name: 'tags of an older epoch', step: async (wait) => retag.step(wait) },
      { name: 'floor of epochs', step: async (wait) => await floors?.step(wait) ?? 'idle' },
      { name: 'keys of epochs', step: async (wait) => await this.#epochs?.step(wait) ?? 'idle' },
      { name: 'recovery of a full disk', step: async () => { await this.#rows.recover(); await this.#stores.blocks.recover(); return 'idle' } },
      { name: 'accounts', step: async () => { this.#absence.seen(this.#network.reachable()); this.#freeBytes = await this.#parts.files.freeBytes('.'); return 'idle' } },
    ], { clock, warn: this.#warn }))
    this.#objects = this.#keys === undefined ? keyless(nameOfRole(state.certificate.member.role)) : this.#openObjects(this.#keys, ask, repairing)
    open.defer(async () => { await repairing.engine.settled() })
  }

  #openRepairing (): Repairing {
    const { config, state, clock, logger } = this.#parts
    this.#repairing = repairingOf({
      config, state, clock, network: this.#network, stores: this.#stores, hints: this.#hints, users: this.#users, warn: this.#warn,
      onShort: (shortage) => { this.#metrics.count('shortBlocks'); logger.warn(shortage, 'a block has fewer copies than it should') },
    })
    return this.#repairing
  }

  #progress (handOver: HandOver): VoterProgress {
    const { state } = this.#parts
    const { restoring } = this.#takeovers.of(state.layout)
    const away = this.#absence.of(new Set([...state.layout.members, ...state.layout.next?.members ?? []].map(({ peerId }) => peerId).filter((peer) => peer !== this.#network.peerId)))
    return {
      remaining: handOver.remaining().partitions,
      lost: [...this.#rows.lostPartitions()].filter((partition) => !restoring.has(partition)).length,
      away: [...away].map(([peer, seconds]) => ({ peer: keyOf(peer), seconds })),
    }
  }

  #openObjects (keys: ClusterKeys, ask: AskReplica, repairing: Repairing): DfsNode['objects'] {
    const { clock, random, state } = this.#parts
    return countedObjects(objectStore({
      registers: this.#registers, replication: repairing.engine, content: contentCodec(keys, random), versions: { fresh: () => freshVersion(keys, random) }, clock, random, warn: this.#warn,
      blockPlaces: () => blockHoldersOf(state.layout, 0).length,
      settleLayout: layoutSettler({
        state, registers: this.#registers, codec: this.#codec, ask,
        onLeftOut: (peers) => { this.#parts.logger.warn({ peers }, 'more have joined than a layout can hold: these hold nothing and do not vote') },
      }),
      announce: ({ bucket, key, version, root, chunks }) => {
        const rowKey = this.#codec.rowKeyOf({ table: tables.objects, scope: Buffer.from(bucket.id, 'hex'), key: Buffer.from(key) })
        this.#metrics.count('announced')
        this.#network.gossip.announce({ rowKey, versionId: version.id, root, blocks: chunks })
        const provided = root ?? chunks[0]
        if (provided !== undefined) this.#network.providers.provide(provided)
      },
    }), this.#users)
  }

  async #openBlockProtocols (open: AsyncDisposableStack): Promise<void> {
    const { config } = this.#parts
    const { requests } = this.#network
    const { holder, blocks, cache } = this.#stores
    // one half for what this node asks, one for what it answers: two nodes that fill theirs by asking each other must both still be answered
    const budget = new Budget(config.inFlightBytes / 2)
    // a witness holds no blocks: it is in no placement, and who offers it one all the same is refused
    if (this.#parts.state.certificate.member.role !== roles.witness) {
      await serveStore(requests, { holder, budget, warn: this.#warn, users: this.#users })
      await serveFetch(requests, { sources: [blocks, cache], shards: blocks.shards, budget, users: this.#users })
      open.use(this.#repairing.begin())
    }
    open.defer(() => { this.#greetings.clear() })
  }

  /** A peer has proven itself, for the first time or again: what either remembers of the other's store comes before any question to it. */
  #heard (greeting: Greeting): void {
    const { state } = this.#parts
    if (greeting.layoutVersion > state.layout.version) {
      void layoutGuard(state, () => this.#peers).adopt(greeting.layoutVersion, greeting.peer).catch((error: unknown) => { this.#warn('a newer layout could not be had', error) })
    }
    void this.#positions.compare(greeting)
    this.#greetings.set(greeting.peer, greeting)
    this.#greetedMs.set(greeting.peer, this.#parts.clock.monotonicMs())
  }

  /** An era has begun: who is not in it has no more to say here. */
  #risen (): void {
    const { state, logger } = this.#parts
    const left = endSessions({ state, greetings: this.#greetings, network: this.#network, warn: this.#warn })
    logger.info({ era: state.era.number, left }, 'an era has begun')
  }

  #membersReached (): ReadonlyArray<{ peer: PeerId, epoch: number }> {
    return this.#network.reachable().flatMap((peer) => {
      const greeting = this.#greetings.get(peer)
      return greeting?.role === roles.member ? [{ peer, epoch: epochIn(greeting) }] : []
    })
  }

  /** Whoever does not answer hears of it when it greets. */
  async #greetAll (): Promise<void> {
    await Promise.allSettled(this.#network.reachable().map(async (peer) => { this.#heard(await this.#hello.greet(peer)) }))
  }

  #eraAskedMs = -Infinity

  /** An era is told by greetings; its row is looked at too, for whoever had it chosen may have died before it told anybody. */
  async #askForEra ({ signal }: { signal: AbortSignal }): Promise<'busy' | 'idle'> {
    const { clock } = this.#parts
    if (clock.monotonicMs() - this.#eraAskedMs < askEraEveryMs) return 'idle'
    try { await this.#eras.ask({ signal }) } catch (error) {
      // without a majority there is nothing to hear
      if (!(error instanceof Unavailable)) throw error
      return 'idle'
    }
    this.#eraAskedMs = clock.monotonicMs()
    return 'busy'
  }

  /** What was said on connecting grows old: how far stores have come, free space. One of two greets, and both hear. */
  async #greetAgain (wait: { signal: AbortSignal }): Promise<'busy' | 'idle'> {
    const now = this.#parts.clock.monotonicMs()
    const due = this.#network.reachable().find((peer) => this.#network.peerId < peer && now - (this.#greetedMs.get(peer) ?? now) > greetEveryMs)
    if (due === undefined) return 'idle'
    this.#greetedMs.set(due, now)
    this.#heard(await this.#hello.greet(due, wait))
    return 'busy'
  }

  /** A peer is met: its addresses are kept, and a newer layout it goes by is asked for. */
  #met (greeting: Greeting): void {
    const { state, logger } = this.#parts
    this.#network.know(greeting.peer, greeting.addresses.map(addressText))
    void writeKnownPeers(this.#parts.files, this.#network.known).catch((error: unknown) => { this.#warn('known peers could not be saved', error) })
    logger.info({ peer: greeting.peer, role: nameOfRole(greeting.role), zone: greeting.zone }, 'met a member')
    void memberRowHash(state, () => this.#registers, keyOf(greeting.peer)).catch((error: unknown) => { this.#warn('a member\'s row could not be read', error) })
  }

  door (closing: AsyncDisposableStack): DfsNode {
    const { config, clock, state, keyring, logger } = this.#parts
    const facts = (): Parameters<typeof statusOf>[0] => ({
      config, state, peerId: this.#network.peerId, addresses: this.#network.addresses(), uptimeMs: clock.monotonicMs() - this.#startedMs,
      reachable: this.#network.reachable(), forgetful: this.#network.reachable().filter((peer) => !this.#positions.remembers(peer)), blocks: this.#stores.blocks.stats(), cache: this.#stores.cache, freeBytes: this.#freeBytes, rows: this.#rows, layoutTrouble: this.#keeper?.trouble, repair: this.#repairing.status(),
    })
    const eraParts = (): EraChangeParts => {
      if (this.#eraParts === undefined) throw new Refused(`this is a ${nameOfRole(state.certificate.member.role)} node: it may neither invite nor remove. Ask a member`)
      return this.#eraParts
    }
    const invites = new Invites({
      state, keyring, clock, random: this.#parts.random, registers: this.#registers, issued: new IssuedInvites(this.#parts.files),
      addresses: () => this.#network.addresses().map(addressBytes),
    })
    return {
      peerId: this.#network.peerId,
      objects: this.#objects,
      status: async () => { this.#freeBytes = await this.#parts.files.freeBytes('.'); return statusOf(facts()) },
      peers: () => [...new Set<PeerId>([...[...state.members.keys()].filter((peer) => state.belongs(peer)), ...this.#greetings.keys()])].filter((peer) => peer !== this.#network.peerId).map((peer) => {
        const row = state.belongs(peer) ? state.members.get(peer) : undefined
        const greeting = this.#greetings.get(peer)
        return {
          peerId: peer, isConnected: this.#network.isConnected(peer), isMember: row !== undefined || greeting !== undefined,
          role: nameOfRole(row === undefined ? greeting?.role ?? 1 : describeMember(row).role),
          addresses: this.#network.known.get(peer) ?? [], version: greeting === undefined ? undefined : String(greeting.version),
          freeBytes: greeting?.freeBytes, latencyMs: this.#network.latencyOf(peer),
        }
      }),
      watch: ({ signal }) => watchAnnouncements({ clock, listen: (listener) => this.#network.gossip.onAnnouncement(listener), nameOf: async (rowKey) => this.#nameOf(rowKey) }, signal),
      invite: async (wanted) => invites.make(wanted),
      invites: async (wait) => invites.list(wait),
      revokeInvite: async (invite, wait) => { await invites.revoke(invite, wait) },
      removeMember: async (peer, wait) => removeMember(eraParts(), peer, wait),
      setDraining: async (peer, isDraining, wait) => setDraining({ state, registers: this.#registers, memberRows: eraParts().memberRows }, peer, isDraining, wait),
      admins: () => listAdmins({ state }),
      addAdmin: async (peer, wait) => { await addAdmin(eraParts(), peer, wait) },
      removeAdmin: async (peer, wait) => { await removeAdmin(eraParts(), peer, wait) },
      repair: this.#repairing.door,
      emptyCache: async () => ({ freedBytes: await this.#stores.cache.empty() }),
      metrics: async () => this.#metrics.text(statusOf(facts())),
      inspect: () => this.#network.introspect(),
      [Symbol.asyncDispose]: async () => {
        logger.info({ peer: this.#network.peerId }, 'closing')
        await closing.disposeAsync()
      },
    }
  }

  /** Bucket and key of a row this node holds. */
  async #nameOf (rowKey: Uint8Array): Promise<{ bucket: string, key: string } | undefined> {
    if (this.#keys === undefined) return undefined
    try {
      const row = await this.#rows.get(tables.objects, rowKey)
      if (row?.accepted === undefined) return undefined
      const { value } = openRecord(this.#codec, { table: tables.objects, rowKey, record: row.accepted })
      if (value === undefined) return undefined
      const { bucketId, key } = decodeObjectRow(value)
      const bucket = (await this.#objects.listBuckets()).find(({ id }) => id === hexOf(bucketId))
      return bucket === undefined ? undefined : { bucket: bucket.name, key }
    } catch (error) {
      if (error instanceof PartitionLost) return undefined
      throw error
    }
  }
}

const antiEntropyEveryMs = 60_000
const burialEveryMs = 600_000
const greetEveryMs = 10_000
const askEraEveryMs = 60_000

function keyless (role: string): DfsNode['objects'] {
  const refuse = async (): Promise<never> => { throw new Refused(`this is a ${role} node: it has no data key. Ask a member`) }
  return { createBucket: refuse, listBuckets: refuse, bucket: refuse, removeBucket: refuse, setRedundancy: refuse, put: refuse, get: refuse, head: refuse, remove: refuse, list: refuse }
}
