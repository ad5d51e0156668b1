import { hexOf, partitionOf } from '../../src/base/bytes.ts'
import { hash } from '../../src/base/hash.ts'
import { type PeerId, peerIdOf } from '../../src/base/peer-id.ts'
import { type Random, seededRandom } from '../../src/base/random.ts'
import { AntiEntropy } from '../../src/tables/anti-entropy.ts'
import { Burial } from '../../src/tables/burial.ts'
import { votersBy } from '../../src/tables/electorate.ts'
import type { Describe, Registers, RowAddress, RowCodec, RowStore } from '../../src/tables/index.ts'
import { LateDelivery, type RowSettler } from '../../src/tables/late-delivery.ts'
import type { ListingIndex } from '../../src/tables/listing-index.ts'
import { type MemoryRowDisk, memoryRowDisk, MemoryRowStore } from '../../src/tables/memory-row-store.ts'
import type { TableAnswer, TableRequest } from '../../src/tables/messages.ts'
import type { RoundMachine } from '../../src/tables/operation.ts'
import { registers, type RegisterTiming, type TablePeers } from '../../src/tables/registers.ts'
import { type TableReplica, tableReplica } from '../../src/tables/replica.ts'
import { openRecord } from '../../src/tables/opened-record.ts'
import type { OpenedRecord } from '../../src/tables/round.ts'
import { memoryListingIndex } from '../support/table-memory-index.ts'
import { plainCodec } from '../support/table-plain-codec.ts'
import { HeldMessages } from './held-messages.ts'
import { VirtualTime } from './virtual-time.ts'

/** How bad a run is: chances from 0 to 1, times in virtual milliseconds. */
export interface Weather {
  readonly replicas: number
  readonly loss: number
  readonly duplicates: number
  readonly maxLatencyMs: number
  /** Share of messages that take eight times as long. */
  readonly stragglers: number
  /** Longest pause of a client between two operations. */
  readonly maxPauseMs: number
  /** Longest pause of background work between two turns. */
  readonly maxRestMs: number
  /** How many rows the clients share. */
  readonly keys: number
  /** Clients only toggle between two values and read, so that old and new ones are often equal. */
  readonly isMonotonous: boolean
  readonly crashes: boolean
  readonly splits: boolean
}

/** Parts with a rule taken out. Product code has no switch for it: they are wrapped here. */
export interface Variant {
  readonly store?: (store: RowStore, disk: MemoryRowDisk) => RowStore
  readonly replica?: (replica: TableReplica, store: RowStore) => TableReplica
  readonly codec?: (codec: RowCodec) => RowCodec
  readonly peers?: (peers: TablePeers, self: PeerId) => TablePeers
  /** How burial reaches the others. */
  readonly burialPeers?: (peers: TablePeers, self: PeerId) => TablePeers
  readonly registers?: (registers: Registers) => Registers
  readonly newReader?: () => RoundMachine<OpenedRecord | undefined>
  readonly index?: (index: ListingIndex) => ListingIndex
  /** What follows a delivery that is refused. */
  readonly settle?: RowSettler
  /** In the place of `simulatedTimes`. */
  readonly timing?: Partial<RegisterTiming>
}

/** A question that one node asks another. */
export interface Message { readonly from: PeerId, readonly to: PeerId, readonly kind: TableRequest['kind'] }

interface Process {
  isAlive: boolean
  readonly replica: TableReplica
  readonly registers: Registers
  readonly burial: Burial
}

const never = <T>(): Promise<T> => new Promise(() => {})
export const simulatedTimes = { operationMs: 500, askMs: 60, pauseMs: 4, maxPauseMs: 60, patience: { leastMs: 1, mostMs: 20, firstMs: 2 } }

export class SimulatedCluster {
  readonly time = new VirtualTime()
  readonly random: Random
  readonly peers: readonly PeerId[]
  readonly weather: Weather
  readonly #variant: Variant
  readonly #codec: RowCodec
  readonly #disks: readonly MemoryRowDisk[]
  readonly #processes = new Map<PeerId, Process>()
  readonly #addresses: readonly RowAddress[]
  readonly #describe: Describe
  #downMs = 0
  #split = new Set<PeerId>()
  readonly questions = new HeldMessages<Message>()

  constructor ({ seed, weather, variant = {}, addresses, describe }: { seed: number, weather: Weather, variant?: Variant, addresses: readonly RowAddress[], describe: Describe }) {
    this.random = seededRandom(seed)
    this.weather = { ...weather }
    this.#variant = variant
    this.#codec = variant.codec?.(plainCodec) ?? plainCodec
    this.#addresses = addresses
    this.#describe = describe
    this.peers = Array.from({ length: weather.replicas }, (_, i) => peerIdOf(hash(Uint8Array.of(i))))
    this.#disks = this.peers.map(() => memoryRowDisk())
    for (const peer of this.peers) this.#processes.set(peer, this.#start(peer))
  }

  between (low: number, high: number): number { return low + this.random.fraction() * (high - low) }
  chance (share: number): boolean { return this.random.fraction() < share }
  pick<T> (items: readonly T[]): T { return items[Math.floor(this.random.fraction() * items.length)] as T }

  /** How long nodes ran, all together. */
  get nodeMs (): number { return this.peers.length * this.time.nowMs - this.#downMs }
  processOf (peer: PeerId): Process { return this.#processes.get(peer) as Process }

  /** Kills a node and starts it again on the same disk: what was not synced is gone. */
  async restart (peer: PeerId, downMs: number): Promise<void> {
    this.processOf(peer).isAlive = false
    await this.time.sleep(downMs)
    this.#downMs += downMs
    this.#processes.set(peer, this.#start(peer))
  }

  /** Good weather, until every replica has the same of every row: whether that comes. */
  async becomesEqual (): Promise<boolean> {
    Object.assign(this.weather, { loss: 0, duplicates: 0, stragglers: 0, maxRestMs: 60 })
    const endMs = this.time.nowMs + 20_000
    while (!this.#isEqual() && this.time.nowMs < endMs) await this.time.sleep(50)
    return this.#isEqual()
  }

  #isEqual (): boolean {
    const all = this.#disks.map(({ rows }) => [...rows].map(([name, { table, accepted }]) => `${name} ${accepted === undefined ? '' : `${plainCodec.ballotOf(table, accepted).counter} ${hexOf(plainCodec.ballotOf(table, accepted).proposer)}`}`).filter((row) => !row.endsWith(' ')).toSorted().join())
    return new Set(all).size === 1
  }

  /** Has a node bury until no row is left anywhere. Gives up after a while. */
  async bury (peer: PeerId): Promise<void> {
    const { burial } = this.processOf(peer)
    for (let turn = 0; turn < 20 && this.#disks.some(({ rows }) => rows.size > 0); turn++) {
      burial.begin()
      while (await burial.step() === 'busy');
      await this.time.sleep(1)
    }
  }

  /** Cuts some nodes off from the others for a while. */
  async splitFor (durationMs: number): Promise<void> {
    this.#split = new Set(this.peers.filter(() => this.chance(0.4)))
    await this.time.sleep(durationMs)
    this.#split = new Set()
  }

  #start (self: PeerId): Process {
    const disk = this.#disks[this.peers.indexOf(self)] as MemoryRowDisk
    const process = { isAlive: true } as { isAlive: boolean, replica: TableReplica, registers: Registers, burial: Burial }
    const sync = async (): Promise<void> => {
      await this.time.sleep(this.between(0, 3))
      if (!process.isAlive) await never()
    }
    const plainStore = new MemoryRowStore({ disk, ballotOf: (table, record) => plainCodec.ballotOf(table, record), sync })
    const store = this.#variant.store?.(plainStore, disk) ?? plainStore
    const voters = votersBy({ version: () => 1n, groupsOf: () => [this.peers] })
    const index = this.#variant.index?.(memoryListingIndex()) ?? memoryListingIndex()
    this.#rebuild(index, disk)
    const replica = tableReplica({
      self, store, codec: this.#codec, voters, isMember: () => true, listing: { index, describe: this.#describe },
      saved: ({ rowKey, value }) => { if (value === undefined) process.burial?.suspect(partitionOf(rowKey)) },
      layout: { version: 1n, encoded: () => new Uint8Array(0), adopt: async () => {} },
    })
    process.replica = this.#variant.replica?.(replica, store) ?? replica
    const plainPeers: TablePeers = { ask: (peer, request, { signal }) => this.#ask(process, { from: self, to: peer, request, signal }), reachable: () => new Set(this.peers) }
    const peers = this.#variant.peers?.(plainPeers, self) ?? plainPeers
    const clock = this.time.clock(() => process.isAlive)
    const late = new LateDelivery({ peers, voters, settle: this.#variant.settle ?? ((row, options) => engine.settle(row, options)) })
    const engine = registers({
      self, peers, replica: process.replica, counters: store, voters, codec: this.#codec, describe: this.#describe, clock, random: this.random,
      adoptLayout: async () => {}, late, timing: { ...simulatedTimes, ...this.#variant.timing }, newReader: this.#variant.newReader,
    })
    process.registers = this.#variant.registers?.(engine) ?? engine
    const used = new Set(this.#addresses.map((address) => partitionOf(plainCodec.rowKeyOf(address))))
    const antiEntropy = new AntiEntropy({ self, replica: process.replica, codec: plainCodec, peers, settle: this.#variant.settle ?? engine.settle, voters: { ...voters, ofPartition: (partition) => (used.has(partition) ? this.peers : []) }, clock })
    this.#background(process, async () => {
      antiEntropy.begin(this.pick(this.peers))
      while (process.isAlive && await antiEntropy.step() === 'busy');
    })
    this.#background(process, async () => { await late.step() })
    const ofUsed = { ...voters, electorate: (partition: number) => ({ version: 1n, groups: used.has(partition) ? [this.peers] : [] }) }
    const burial = new Burial({ self, replica: process.replica, store, codec: plainCodec, voters: ofUsed, peers: this.#variant.burialPeers?.(peers, self) ?? peers, isMember: () => true, settle: engine.settle, isChanging: () => false })
    process.burial = burial
    this.#background(process, async () => {
      burial.begin()
      while (process.isAlive && await burial.step() === 'busy');
    })
    return process
  }

  #background (process: Process, work: () => Promise<void>): void {
    const next = (): void => {
      if (!process.isAlive) return
      // whoever is not reached now is come back to: what background work leaves undone, the next turn does
      work().catch((error: unknown) => { if (!isExpected(error)) throw error }).then(() => { this.time.after(this.between(10, this.weather.maxRestMs), next) }, (error: unknown) => { this.time.after(0, () => { throw error as Error }) })
    }
    this.time.after(this.between(10, this.weather.maxRestMs), next)
  }

  #rebuild (index: ListingIndex, disk: MemoryRowDisk): void {
    for (const { table, rowKey, accepted } of disk.rows.values()) {
      if (accepted === undefined) continue
      const { value, erased } = openRecord(plainCodec, { table, rowKey, record: accepted })
      const listed = value !== undefined ? this.#describe(table, value) : erased && { name: erased.key, scope: erased.scope, summary: undefined }
      void index.update([{ table, rowKey, ballot: plainCodec.ballotOf(table, accepted), listed }])
    }
  }

  /** A question may get lost, come twice, or late; so may its answer. A process that died neither hears nor speaks. */
  #ask (process: Process, { from, to, request, signal }: { from: PeerId, to: PeerId, request: TableRequest, signal: AbortSignal | undefined }): Promise<TableAnswer> {
    const { loss, duplicates, maxLatencyMs, stragglers } = this.weather
    if (!process.isAlive) return never()
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) { reject(signal.reason as Error); return }
      signal?.addEventListener('abort', () => { reject(signal.reason as Error) }, { once: true })
      const isCut = (): boolean => this.#split.has(from) !== this.#split.has(to) || this.chance(loss)
      const latencyMs = (): number => (this.chance(stragglers) ? 8 : 1) * this.between(0.2, maxLatencyMs)
      const copies = this.chance(duplicates) ? 2 : 1
      const arrive = (): void => {
        const target = this.processOf(to)
        if (!target.isAlive) { reject(new PeerGone(`${to} is down`)); return }
        target.replica.answer(from, request).then((answer) => {
          if (!target.isAlive || isCut()) return
          this.time.after(latencyMs(), () => { if (process.isAlive) resolve(answer) })
        }, (error: unknown) => { if (process.isAlive) reject(error as Error) })
      }
      // as those of a network that gives up: only the time limit tells that a message was lost
      for (let i = 0; i < copies; i++) {
        if (isCut()) continue
        this.questions.pass({ from, to, kind: request.kind }, () => { this.time.after(latencyMs(), arrive) })
      }
      if (request.kind === 'digest' || request.kind === 'ballots' || request.kind === 'bury' || request.kind === 'handOver') this.time.after(simulatedTimes.askMs, () => { reject(new PeerGone('no answer')) })
    })
  }
}

export class PeerGone extends Error {}
const isExpected = (error: unknown): boolean => error instanceof PeerGone || (error instanceof Error && ['Unavailable', 'UnknownOutcome', 'Refused'].includes(error.name))
