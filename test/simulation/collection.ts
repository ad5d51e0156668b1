import { Budget } from '../../src/base/budget.ts'
import { hexOf } from '../../src/base/bytes.ts'
import type { Cid } from '../../src/base/cid.ts'
import type { Clock } from '../../src/base/clock.ts'
import { hash } from '../../src/base/hash.ts'
import { KeyedQueue } from '../../src/base/keyed-queue.ts'
import { type PeerId, peerIdOf } from '../../src/base/peer-id.ts'
import { type Random, seededRandom } from '../../src/base/random.ts'
import { type CondemnedBlocks, condemnedBlocks, deadReferencesTo } from '../../src/blockstore/condemned.ts'
import { type DiskBlocks, openDiskBlocks } from '../../src/blockstore/disk-blocks.ts'
import { blockHolder } from '../../src/blockstore/holder.ts'
import { blockInventory } from '../../src/blockstore/inventory.ts'
import { BlockMissing, type Blocks } from '../../src/blockstore/index.ts'
import { referenceKeyOf, referencesTo } from '../../src/blockstore/references.ts'
import type { Files, KeyValue } from '../../src/disk/index.ts'
import { type MemoryFiles, memoryFiles } from '../../src/disk/memory-files.ts'
import { type MemoryKeyValue, memoryKeyValue } from '../../src/disk/memory-key-value.ts'
import type { Requests } from '../../src/network/index.ts'
import { describeRow } from '../../src/objects/describe.ts'
import { objectStore, type Objects } from '../../src/objects/index.ts'
import { decodeObjectRow, type ObjectRow } from '../../src/objects/object-row.ts'
import { OwedRows } from '../../src/objects/work/owed-rows.ts'
import { Undertaker, type UndertakerParts } from '../../src/objects/work/undertaker.ts'
import { blockPeers } from '../../src/protocols/block-peers.ts'
import { serveFetch } from '../../src/protocols/fetch.ts'
import { serveStore } from '../../src/protocols/store.ts'
import { serveTables, tablePeers } from '../../src/protocols/table.ts'
import { Collector, type CollectorParts } from '../../src/replication/collector.ts'
import { replication } from '../../src/replication/index.ts'
import { Repair } from '../../src/replication/repair.ts'
import { AntiEntropy } from '../../src/tables/anti-entropy.ts'
import { type DeathPorts, knownDeaths, publishDeaths } from '../../src/tables/death-rounds.ts'
import { votersBy } from '../../src/tables/electorate.ts'
import { type Registers, tables } from '../../src/tables/index.ts'
import { LateDelivery } from '../../src/tables/late-delivery.ts'
import { type MemoryRowDisk, memoryRowDisk, MemoryRowStore } from '../../src/tables/memory-row-store.ts'
import { openRecord } from '../../src/tables/opened-record.ts'
import { registers } from '../../src/tables/registers.ts'
import { tableReplica } from '../../src/tables/replica.ts'
import { type MemoryNetwork, memoryNetwork } from '../support/memory-requests.ts'
import { memoryListingIndex } from '../support/table-memory-index.ts'
import { plainCodec } from '../support/table-plain-codec.ts'
import { Ledger, proofOf } from './ledger.ts'
import { lettersContent } from './letters.ts'
import { slowFiles, slowKeyValue } from './slow-disk.ts'
import { VirtualTime } from './virtual-time.ts'

/** Parts of collection with a rule taken out. Product code has no switch for it: they are wrapped here. `later` resolves after a while, unless the process is dead by then. */
export interface CollectionVariant {
  readonly index?: (index: KeyValue, later: () => Promise<void>) => KeyValue
  readonly files?: (files: Files) => Files
  readonly condemned?: (condemned: CondemnedBlocks, disk: { blocks: DiskBlocks, index: KeyValue, later: () => Promise<void> }) => CondemnedBlocks
  readonly collector?: (parts: CollectorParts) => CollectorParts
  readonly undertaker?: (parts: UndertakerParts) => UndertakerParts
}

interface NodeDisk { files: MemoryFiles, index: MemoryKeyValue, readonly rows: MemoryRowDisk }

export interface CollectingProcess {
  isAlive: boolean
  readonly self: PeerId
  readonly blocks: DiskBlocks
  readonly objects: Objects
  readonly registers: Registers
}

export const collectionTimes = { graceMs: 1800, giveUpAfterMs: 4000 } as const

const never = <T>(): Promise<T> => new Promise(() => {})
const inFlightBytes = 64 * 1024 * 1024

/**
 * Nodes with everything that has a part in collection, from the door of objects down to the two ports of the disk: real engines and protocols, over a network, a
 * clock and disks of tests. What a version of an object is for, and what a holder has promised, is written down beside it (`ledger`), and every block that is taken
 * away is held against that.
 */
export class CollectingCluster {
  readonly time = new VirtualTime()
  readonly random: Random
  readonly network: MemoryNetwork
  readonly peers: readonly PeerId[]
  #downMs = 0
  readonly ledger = new Ledger()
  /** Anybody was killed, or cut off, and when that last began or ended. */
  disturbedMs = -Infinity
  readonly #variant: CollectionVariant
  readonly #disks: NodeDisk[]
  readonly #processes = new Map<PeerId, CollectingProcess>()

  constructor ({ seed, nodes = 3, variant = {} }: { seed: number, nodes?: number, variant?: CollectionVariant }) {
    this.random = seededRandom(seed)
    this.#variant = variant
    this.network = memoryNetwork({ clock: this.time.clock() })
    this.peers = Array.from({ length: nodes }, (_, i) => peerIdOf(hash(Uint8Array.of(i))))
    this.#disks = this.peers.map((_, i) => ({ files: memoryFiles(), index: memoryKeyValue(), rows: memoryRowDisk(new Uint8Array(16).fill(i)) }))
    for (const a of this.peers) for (const b of this.peers) if (a < b) this.network.delay(a, b, this.between(0, 50))
  }

  async open (): Promise<void> { for (const peer of this.peers) await this.#start(peer) }

  between (low: number, high: number): number { return low + this.random.fraction() * (high - low) }
  chance (share: number): boolean { return this.random.fraction() < share }
  pick<T> (items: readonly T[]): T { return items[Math.floor(this.random.fraction() * items.length)] as T }
  /** How long nodes ran, all together. */
  get nodeMs (): number { return this.peers.length * this.time.nowMs - this.#downMs }
  processOf (peer: PeerId): CollectingProcess { return this.#processes.get(peer) as CollectingProcess }
  diskOf (peer: PeerId): NodeDisk { return this.#disks[this.peers.indexOf(peer)] as NodeDisk }

  /** Kills a node, and starts it again on what its disk has: what was not synced may be gone. */
  async restart (peer: PeerId, downMs: number): Promise<void> {
    const disk = this.diskOf(peer)
    this.processOf(peer).isAlive = false
    this.disturbedMs = Infinity
    this.network.kill(peer)
    this.ledger.died(peer)
    await this.time.sleep(downMs)
    this.#downMs += downMs
    disk.files = disk.files.crash(this.random)
    disk.index = disk.index.crash(this.random)
    this.network.revive(peer)
    await this.#start(peer)
    this.disturbedMs = this.time.nowMs
  }

  async cut (a: PeerId, b: PeerId, durationMs: number): Promise<void> {
    this.disturbedMs = Infinity
    this.network.disconnect(a, b)
    await this.time.sleep(durationMs)
    this.network.connect(a, b)
    this.disturbedMs = this.time.nowMs
  }

  /** A disk that silently drops one reference which every node has. Gives whether there was one. */
  async forget (peer: PeerId): Promise<boolean> {
    const promises = this.ledger.promisesAt(peer)
    if (promises.length === 0) return false
    const { cid, versionId } = this.pick(promises)
    const key = referenceKeyOf(cid, { versionId })
    for (const one of this.peers) if (await this.diskOf(one).index.get(key) === undefined) return false
    this.diskOf(peer).index.damage(key, undefined)
    return true
  }

  /** What is on the disks when everything has had its time. */
  async remains (): Promise<{ pending: string[], dropped: string[], garbage: string[], leaked: string[] }> {
    const [pending, dropped, garbage, leaked]: [string[], string[], string[], string[]] = [[], [], [], []]
    const live = new Set<string>()
    for (const row of await this.rows()) {
      dropped.push(...row.dropped.map(() => row.key))
      pending.push(...row.pending.map(() => row.key))
      for (const version of [...row.pending, ...row.current === undefined ? [] : [row.current]]) live.add(hexOf(version.id))
    }
    for (const peer of this.peers) {
      const { index } = this.diskOf(peer)
      const { blocks } = this.processOf(peer)
      const here = new Set<Cid>()
      for await (const cid of blocks.list()) here.add(cid)
      for await (const { cid } of blocks.shards.list()) here.add(cid)
      for (const cid of here) {
        const versions: string[] = []
        let isRecorded = false
        for await (const key of index.keys(referencesTo(cid))) versions.push(hexOf(key.subarray(1 + 32)))
        for await (const _ of index.keys(deadReferencesTo(cid))) isRecorded = true
        if (!isRecorded && versions.length === 0) { if (this.ledger.wasCollected(peer, cid)) leaked.push(`${cid} at ${this.nameOf(peer)}`) } else if (!versions.some((version) => live.has(version))) garbage.push(`${cid} at ${this.nameOf(peer)}`)
      }
    }
    return { pending, dropped, garbage, leaked }
  }

  /** Of every key, as the first node's replica has it; for when all are equal. */
  async rows (): Promise<readonly ObjectRow[]> {
    return [...this.diskOf(this.peers[0] as PeerId).rows.rows.values()].flatMap(({ table, rowKey, accepted }) => {
      if (table !== tables.objects || accepted === undefined) return []
      const { value } = openRecord(plainCodec, { table, rowKey, record: accepted })
      return value === undefined ? [] : [decodeObjectRow(value)]
    })
  }

  nameOf (peer: PeerId): string { return `node ${this.peers.indexOf(peer)}` }

  async #start (self: PeerId): Promise<void> {
    const process = { isAlive: true, self } as { -readonly [K in keyof CollectingProcess]: CollectingProcess[K] }
    this.#processes.set(self, process)
    const disk = this.diskOf(self)
    const [time, variant, ledger] = [this.time, this.#variant, this.ledger]
    const isAlive = (): boolean => process.isAlive
    const clock = time.clock(isAlive)
    const slow = async <T>(work: () => Promise<T>): Promise<T> => {
      // most are quick; one of twenty takes long
      await time.sleep(this.chance(0.05) ? this.between(20, 150) : this.between(0, 3))
      return isAlive() ? await work() : await never()
    }
    const files = variant.files?.(slowFiles(disk.files, slow)) ?? slowFiles(disk.files, slow)
    const later = async (): Promise<void> => clock.sleep(700)
    const slowIndex = slowKeyValue(disk.index, slow)
    const index = variant.index?.(slowIndex, later) ?? slowIndex
    const requests = living(this.network.of(self), isAlive)
    const warn = (): void => {}
    const run = this.random.bytes(16)
    const locks = new KeyedQueue()
    const blocks = await openDiskBlocks({ files, index, quotaBytes: undefined, reserveBytes: 0, onCorrupt: () => {} })
    const held = blockHolder({ blocks, index, locks })
    const holder = ledger.noting(self, held)
    const plainCondemned = condemnedBlocks({ blocks, index, locks })
    const condemned = ledger.judging(self, variant.condemned?.(plainCondemned, { blocks, index, later }) ?? plainCondemned)
    const inventory = blockInventory({ blocks, index })
    const reachable = (): readonly PeerId[] => this.peers.filter((peer) => peer !== self && this.processOf(peer)?.isAlive)

    const store = new MemoryRowStore({ disk: disk.rows, ballotOf: (table, record) => plainCodec.ballotOf(table, record), sync: async () => slow(async () => {}) })
    const voters = votersBy({ version: () => 1n, groupsOf: () => [this.peers] })
    const table = tablePeers(requests, () => new Set(reachable()))
    let undertaker: Undertaker | undefined
    const replica = tableReplica({
      self, store, codec: plainCodec, voters, isMember: () => true, listing: { index: memoryListingIndex(), describe: describeRow },
      saved: (row) => { undertaker?.saved(row) },
      layout: { version: 1n, encoded: () => new Uint8Array(0), adopt: async () => {} },
    })
    const late: LateDelivery = new LateDelivery({ peers: table, voters, settle: async (row, wait) => { await driver.settle(row, wait) } })
    const driver = registers({
      self, peers: table, replica, counters: store, voters, codec: plainCodec, describe: describeRow, clock, random: this.random, late, adoptLayout: async () => {},
      timing: { operationMs: 1000, askMs: 200, pauseMs: 4, maxPauseMs: 60, patience: { leastMs: 5, mostMs: 60, firstMs: 30 } },
    })
    const deaths: DeathPorts = { self, voters, reachable, ask: async (peer, request, wait) => peer === self ? replica.answer(self, request) : table.ask(peer, request, wait) }

    const placement = { holdersOf: () => this.peers.slice(0, 3), version: () => 1n, isMoving: () => false, members: () => this.peers }
    const budget = new Budget(inFlightBytes)
    const peers = blockPeers({ requests, reachable, budget: new Budget(inFlightBytes) })
    const engine = replication({ self, holder, local: blocks, localShards: blocks.shards, cache: nothingCached, clock, warn, peers, placement, providers: { async * find () {} }, hints: () => [], onShort: ({ cid }) => { repair.report(cid) } })
    const repair = new Repair({ self, holder: { ...holder, release: held.release.bind(held), releaseShard: held.releaseShard.bind(held) }, inventory, local: blocks, shards: blocks.shards, read: async (cid, redundancy, { signal }) => engine.reader({ redundancy, isPassing: true }).get(cid, { signal }), peers, clock, warn, placement })
    const collectorParts: CollectorParts = {
      self, condemned, inventory, peers, placement, clock, warn, run, collectAfterMs: collectionTimes.graceMs,
      deathsOf: async (versionIds, { turn, signal }) => knownDeaths(deaths, versionIds, { turn, signal }),
    }
    const collector = new Collector(variant.collector?.(collectorParts) ?? collectorParts)
    const undertakerParts: UndertakerParts = {
      self, registers: driver, store, codec: plainCodec, owed: new OwedRows(), voters, isMember: () => true, reachable: () => new Set(reachable()), clock, warn,
      proofOf: proofOf,
      publish: async (proofs, { signal }) => publishDeaths(deaths, proofs, { signal }),
      timing: { noticeMs: 100, everyMs: 2500, retryMs: 500, giveUpAfterMs: collectionTimes.giveUpAfterMs, giveUpPartsAfterMs: collectionTimes.giveUpAfterMs },
    }
    undertaker = new Undertaker(variant.undertaker?.(undertakerParts) ?? undertakerParts)
    const antiEntropy = new AntiEntropy({ self, replica, codec: plainCodec, voters, peers: table, settle: async (row, wait) => { await driver.settle(row, wait) }, clock })
    process.blocks = blocks
    process.registers = driver
    process.objects = objectStore({
      registers: driver, replication: engine, content: lettersContent, versions: { fresh: () => ledger.fresh(self, this.random), idOf: ({ salt }) => hash(proofOf({ salt })) }, clock, random: this.random,
      dates: { present: async () => clock.wallMs(), past: async () => clock.wallMs() }, settleLayout: async () => {}, blockPlaces: () => 3, announce: () => {}, warn,
    })

    await serveStore(requests, { holder, budget, warn })
    await serveFetch(requests, { sources: [blocks], shards: blocks.shards, budget })
    await serveTables(requests, replica)
    const { signal } = new AbortController()
    let [sweptMs, comparedMs] = [time.nowMs, time.nowMs]
    const loops = [
      async () => undertaker.step({ signal }), async () => collector.step({ signal }), async () => late.step({ signal }),
      async () => {
        if (time.nowMs - sweptMs > 2500) { sweptMs = time.nowMs; repair.now() }
        if (time.nowMs - comparedMs > 8000) { comparedMs = time.nowMs; antiEntropy.begin() }
        return repair.step({ signal })
      },
      async () => antiEntropy.step({ signal }),
    ]
    for (const step of loops) void this.#loop(step, clock, isAlive)
  }

  async #loop (step: () => Promise<'busy' | 'idle'>, clock: Clock, isAlive: () => boolean): Promise<void> {
    while (isAlive()) {
      const outcome = await step().catch(() => 'idle' as const)
      await clock.sleep(outcome === 'busy' ? this.between(0, 20) : this.between(50, 250))
    }
  }
}

/** A process that is dead asks nothing more. */
const living = (requests: Requests, isAlive: () => boolean): Requests => ({
  request: async (...question) => isAlive() ? requests.request(...question) : never(),
  handle: async (protocol, handler, limits) => requests.handle(protocol, async (...question) => isAlive() ? handler(...question) : never(), limits),
})

const nothingCached: Blocks = { get: async (cid) => { throw new BlockMissing(cid) }, put: async () => {}, has: async () => false, delete: async () => {}, async * list () {} }
