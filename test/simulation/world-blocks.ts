import { Budget } from '../../src/base/budget.ts'
import type { Clock } from '../../src/base/clock.ts'
import { hash } from '../../src/base/hash.ts'
import { KeyedQueue } from '../../src/base/keyed-queue.ts'
import type { PeerId } from '../../src/base/peer-id.ts'
import type { Random } from '../../src/base/random.ts'
import { scrubBlocks, scrubReferences } from '../../src/blockstore/block-scrub.ts'
import type { BlockCache } from '../../src/blockstore/cached-blocks.ts'
import { BlockMissing } from '../../src/blockstore/index.ts'
import { condemnedBlocks } from '../../src/blockstore/condemned.ts'
import { openDiskBlocks } from '../../src/blockstore/disk-blocks.ts'
import { blockHolder } from '../../src/blockstore/holder.ts'
import { blockInventory } from '../../src/blockstore/inventory.ts'
import { partitionOf } from '../../src/base/bytes.ts'
import { digestOf } from '../../src/base/cid.ts'
import { blockHoldersOf } from '../../src/cluster/index.ts'
import type { Files, KeyValue } from '../../src/disk/index.ts'
import type { Network } from '../../src/network/libp2p-network.ts'
import { type BackgroundTask, runInBackground } from '../../src/node/work/background.ts'
import { removedSweepTask } from '../../src/node/work/sweeping.ts'
import { type Repairing, repairingOf } from '../../src/node/work/repairing.ts'
import type { ClusterState } from '../../src/node/state.ts'
import type { BlockStores } from '../../src/node/stores.ts'
import type { TableEngine } from '../../src/node/rows/table-engine.ts'
import { UserActivity } from '../../src/node/work/user-activity.ts'
import { type ConversionParts } from '../../src/objects/work/conversion.ts'
import { Conversion, expiring, type Lifecycle, type ObjectParts, objectStore, type Objects } from '../../src/objects/index.ts'
import type { OwedRows } from '../../src/objects/work/owed-rows.ts'
import { Undertaker } from '../../src/objects/work/undertaker.ts'
import { serveFetch } from '../../src/protocols/fetch.ts'
import { leftOutOf, livingAt, presenceAt, serveStore, shardPresenceAt } from '../../src/protocols/store.ts'
import { Collector } from '../../src/replication/collector.ts'
import type { Replication } from '../../src/replication/index.ts'
import { AgreedDate } from '../../src/tables/agreed-date.ts'
import { type DeathPorts, knownDeaths, publishDeaths } from '../../src/tables/death-rounds.ts'
import type { Registers, RowStore } from '../../src/tables/index.ts'
import type { ListingIndex } from '../../src/tables/listing-index.ts'
import { plainCodec } from '../support/table-plain-codec.ts'
import type { CollectionVariant } from './collection.ts'
import { type Ledger, proofOf } from './ledger.ts'
import { lettersContent } from './letters.ts'
import { watchedConversions } from './watched-conversions.ts'

/** As of collection, and what stands between objects and blocks. */
export interface BlocksVariant extends CollectionVariant {
  readonly stores?: (stores: BlockStores, self: PeerId) => BlockStores
  /** What the holder sees of the index, which others see as it is. */
  readonly holderIndex?: (index: KeyValue) => KeyValue
  /** Nobody brings what is missing. */
  readonly withoutRepair?: boolean
  /** What writers and repair know of the layout. */
  readonly blocksState?: (state: ClusterState) => ClusterState
  /** What the objects know of their rows. */
  readonly objectRegisters?: (registers: Registers, parts: { readonly rows: RowStore }) => Registers
  readonly conversion?: (parts: ConversionParts) => ConversionParts
  readonly withoutConversion?: boolean
  /** What was left in removed buckets stays there. */
  readonly withoutRemovedSweep?: boolean
  /** What the date is, where a date deletes or frees for deletion. */
  readonly dates?: (dates: ObjectParts['dates'], parts: { readonly clock: Clock }) => ObjectParts['dates']
  /** How often an upload shows that it goes on. */
  readonly beatEveryMs?: number
  readonly replication?: (engine: Replication, parts: { readonly stores: BlockStores }) => Replication
}

export interface WorldBlocksParts {
  readonly self: PeerId
  readonly state: ClusterState
  readonly network: Network
  readonly tables: TableEngine
  readonly rows: RowStore
  readonly files: Files
  readonly index: KeyValue
  readonly listing: Pick<ListingIndex, 'scopes'>
  readonly clock: Clock
  readonly random: Random
  /** Told of what the rows of here owe, from the start. */
  readonly owed: OwedRows
  readonly ledger: Ledger
  readonly variant: BlocksVariant
}

export interface WorldBlocks {
  readonly objects: Objects
  readonly stores: BlockStores
  readonly repairing: Repairing
  readonly undertaker: Undertaker
  readonly owed: OwedRows
  readonly lifecycle: Lifecycle
  readonly conversion: Conversion
  /** Reads everything here, once. */
  readonly scrub: () => Promise<void>
}

/** Days are short here. */
export const worldTimes = { graceMs: 20_000, giveUpAfterMs: 40_000, scrubEveryMs: 45_000, sweepEveryMs: 60_000 } as const

const inFlightBytes = 64 * 1024 * 1024

/** Blocks, objects, repair, scrub and collection of one node, wired as the product wires them. */
export async function worldBlocks ({ self, state, network, tables, rows, files, index, listing, clock, random, owed, ledger, variant }: WorldBlocksParts): Promise<WorldBlocks> {
  const warn = (): void => {}
  const users = new UserActivity(clock)
  const locks = new KeyedQueue()
  const later = async (): Promise<void> => clock.sleep(700)
  const blocks = await openDiskBlocks({ files, index, quotaBytes: undefined, reserveBytes: 0, onCorrupt: (cid) => { repairing.report(cid) } })
  const plainCondemned = condemnedBlocks({ blocks, index, locks })
  const plainStores: BlockStores = {
    blocks, holder: ledger.noting(self, blockHolder({ blocks, index: variant.holderIndex?.(index) ?? index, locks }), { places: (cid) => blockHoldersOf(state.layout, partitionOf(digestOf(cid))).length }), inventory: blockInventory({ blocks, index }), cache: nothingCached, index, damage: [],
    condemned: ledger.judging(self, variant.condemned?.(plainCondemned, { blocks, index, later }) ?? plainCondemned),
    [Symbol.asyncDispose]: async () => {},
  }
  const stores = variant.stores?.(plainStores, self) ?? plainStores
  const repairing = repairingOf({ config: { inFlightBytes }, state: variant.blocksState?.(state) ?? state, network, stores, hints: { of: () => [] }, users, clock, warn, onShort: () => {} })
  const { registers, voters, ask, peers } = tables
  const deaths: DeathPorts = { self, voters, reachable: () => network.reachable(), ask: async (peer, request, wait) => ask(peer, request, wait) }
  const undertakerParts: ConstructorParameters<typeof Undertaker>[0] = {
    self, registers, store: rows, codec: plainCodec, owed, voters, clock, warn, proofOf,
    isMember: (peer) => state.isMember(peer), reachable: () => peers.reachable(),
    publish: async (proofs, wait) => publishDeaths(deaths, proofs, wait),
    timing: { noticeMs: 300, everyMs: 30_000, retryMs: 2_000, giveUpAfterMs: worldTimes.giveUpAfterMs, giveUpPartsAfterMs: worldTimes.giveUpAfterMs },
  }
  const undertaker = new Undertaker(variant.undertaker?.(undertakerParts) ?? undertakerParts)
  const collectorParts: ConstructorParameters<typeof Collector>[0] = {
    self, condemned: stores.condemned, inventory: stores.inventory, clock, warn, collectAfterMs: worldTimes.graceMs, run: random.bytes(16),
    peers: { reachable: () => network.reachable(), living: async (peer, cids, wait) => livingAt(network.requests, peer, cids, wait) },
    pieces: { presence: async (peer, cids, wait) => presenceAt(network.requests, peer, cids, wait), shardPresence: async (peer, wanted, wait) => shardPresenceAt(network.requests, peer, wanted, wait) },
    placement: { holdersOf: (cid) => blockHoldersOf(state.layout, partitionOf(digestOf(cid))), isMoving: () => state.layout.state === 'changing' },
    deathsOf: async (versionIds, { turn, signal }) => knownDeaths(deaths, versionIds, { turn, signal }),
  }
  const collector = new Collector(variant.collector?.(collectorParts) ?? collectorParts)
  const scrubParts = { ...stores, report: (cid: Parameters<Repairing['report']>[0]) => { repairing.report(cid) } }
  const scrub = async (): Promise<void> => {
    for (const part of [scrubBlocks, scrubReferences]) {
      for (let after: Uint8Array | undefined, isFirst = true; isFirst || after !== undefined; isFirst = false) after = (await part(scrubParts, after)).next
    }
  }
  const dates = new AgreedDate({ voters, ask, clock })
  const objectParts: ObjectParts = {
    registers: variant.objectRegisters?.(registers, { rows }) ?? registers, replication: variant.replication?.(repairing.engine, { stores }) ?? repairing.engine, content: lettersContent, clock, random, warn, dates: variant.dates?.(dates, { clock }) ?? dates,
    versions: { fresh: () => ledger.fresh(self, random), idOf: ({ salt }) => hash(proofOf({ salt })) },
    ...variant.beatEveryMs === undefined ? {} : { heartbeatMs: variant.beatEveryMs },
    settleLayout: async () => {}, blockPlaces: () => Math.max(...state.layout.blockHolders.map(({ length }) => length)), announce: () => {},
  }
  const objects = objectStore(objectParts)
  // every node does it, each by what it takes for the date
  const lifecycle = expiring({ ...objectParts, isTurn: () => true })
  const conversionParts: ConversionParts = {
    ...objectParts, registers: watchedConversions(objectParts.registers, ledger), versions: { ...objectParts.versions, fresh: () => ledger.freshForBlocks(random) }, buckets: objects,
    self, store: rows, codec: plainCodec, voters, isMember: (peer) => state.isMember(peer), reachable: () => peers.reachable(),
  }
  const conversion = new Conversion(variant.conversion?.(conversionParts) ?? conversionParts)
  await serveStore(network.requests, { holder: stores.holder, budget: new Budget(inFlightBytes), warn, isLeftOut: leftOutOf({ self, holders: () => repairing.holders() }) })
  await serveFetch(network.requests, { sources: [blocks], shards: blocks.shards, budget: new Budget(inFlightBytes) })
  if (variant.withoutRepair !== true) repairing.begin()
  let scrubbedMs = clock.monotonicMs()
  const tasks: readonly BackgroundTask[] = [
    { name: 'collect', step: async (wait) => collector.step(wait) },
    { name: 'deaths', step: async (wait) => undertaker.step(wait) },
    ...variant.withoutConversion === true ? [] : [{ name: 'convert', step: async (wait: { signal: AbortSignal }) => conversion.step(wait) }],
    { name: 'lifecycle', step: async (wait) => lifecycle.step(wait) },
    ...variant.withoutRemovedSweep === true ? [] : [removedSweepTask(objectParts, { index: listing, clock, everyMs: worldTimes.sweepEveryMs })],
    { name: 'scrub', step: async () => {
      if (clock.monotonicMs() - scrubbedMs < worldTimes.scrubEveryMs) return 'idle'
      scrubbedMs = clock.monotonicMs()
      await scrub()
      return 'idle'
    } },
  ]
  runInBackground(tasks, { clock, warn })
  return { objects, stores, repairing, undertaker, owed, lifecycle, conversion, scrub }
}

const nothingCached: BlockCache = {
  bytes: 0, limitBytes: 0, empty: async () => 0,
  get: async (cid) => { throw new BlockMissing(cid) }, put: async () => {}, has: async () => false, delete: async () => {}, async * list () {},
}
