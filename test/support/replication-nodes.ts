import { Budget } from '../../src/base/budget.ts'
import { utf8 } from '../../src/base/bytes.ts'
import { type Cid, cidOf } from '../../src/base/cid.ts'
import { StoreFull } from '../../src/base/errors.ts'
import { hash } from '../../src/base/hash.ts'
import { type PeerId, peerIdOf } from '../../src/base/peer-id.ts'
import type { Blocks, Shards } from '../../src/blockstore/index.ts'
import { memoryBlocks } from '../../src/blockstore/memory-blocks.ts'
import { memoryShards } from '../../src/blockstore/memory-shards.ts'
import { blockPeers } from '../../src/protocols/block-peers.ts'
import { serveFetch } from '../../src/protocols/fetch.ts'
import { serveStore } from '../../src/protocols/store.ts'
import { type Holder, type Reference, replication, type Replication, type TransferReport } from '../../src/replication/index.ts'
import { VirtualTime } from '../simulation/virtual-time.ts'
import { type MemoryNetwork, memoryNetwork } from './memory-requests.ts'

export interface BlockNode {
  readonly self: PeerId
  readonly blocks: Blocks
  readonly shards: Shards
  readonly cache: Blocks
  readonly holder: MemoryHolder
  readonly engine: Replication & { settled (): Promise<void> }
  readonly shortages: Array<{ cid: Cid, have: number, want: number }>
  readonly warnings: string[]
}

export interface BlockNodes {
  readonly nodes: readonly BlockNode[]
  readonly network: MemoryNetwork
  readonly time: VirtualTime
  /** The others of the placement, in its order, as seen by all. */
  placed: PeerId[]
  /** Nobody is connected to these, though they answer when asked. */
  readonly distant: Set<PeerId>
  /** Who announced anything; whom Kademlia names, and after how long. */
  hinted: PeerId[]
  provided: { peers: readonly PeerId[], afterMs: number }
  /** Does not answer `from` before any time limit is over, as a stopped process does. */
  silence (from: BlockNode, to: BlockNode): void
  /** Runs the clock until `work` is over; fails if nothing is left that could end it. */
  until<T> (work: Promise<T>): Promise<T>
  /** Who has the block and a reference to it. */
  holdersOf (cid: Cid): PeerId[]
}

/** A holder in memory, whose disk can be full, and slow by the clock. */
export interface MemoryHolder extends Holder {
  isFull: boolean
  writeMs: number
  has (cid: Cid): boolean
}

/** Nodes with the real engine and the real protocols, over a network and under a clock of tests. */
export async function blockNodes (count: number): Promise<BlockNodes> {
  const time = new VirtualTime()
  const clock = time.clock()
  const network = memoryNetwork({ clock })
  const ids = Array.from({ length: count }, (_, i) => peerOf(i))
  const world: Omit<BlockNodes, 'nodes'> & { nodes: BlockNode[] } = {
    nodes: [], network, time, placed: [...ids], distant: new Set(), hinted: [], provided: { peers: [], afterMs: 0 },
    silence: (from, to) => { network.delay(from.self, to.self, 3_600_000) },
    async until (work) {
      let isOver = false
      work.then(() => { isOver = true }, () => { isOver = true })
      await time.run(() => isOver)
      if (!isOver) throw new Error('stuck: no event is left that could end this')
      return work
    },
    holdersOf: (cid) => world.nodes.filter(({ holder }) => holder.has(cid)).map(({ self }) => self),
  }
  for (const self of ids) {
    const [blocks, cache, shards] = [memoryBlocks(), memoryBlocks(), memoryShards()]
    const holder = memoryHolder({ blocks, shards, sleep: (durationMs) => clock.sleep(durationMs) })
    const [shortages, warnings]: [BlockNode['shortages'], string[]] = [[], []]
    const requests = network.of(self)
    const warn = (message: string): void => { warnings.push(message) }
    await serveStore(requests, { holder, budget: new Budget(inFlightBytes), warn })
    await serveFetch(requests, { sources: [blocks, cache], shards, budget: new Budget(inFlightBytes) })
    const engine = replication({
      self, holder, local: blocks, localShards: shards, cache, clock, warn,
      peers: blockPeers({ requests, reachable: () => ids.filter((id) => id !== self && !world.distant.has(id)), budget: new Budget(inFlightBytes) }),
      placement: { holdersOf: () => world.placed },
      providers: { async * find (_cid, { signal }) { await clock.sleep(world.provided.afterMs, { signal }); yield * world.provided.peers } },
      hints: () => world.hinted,
      onShort: (shortage) => { shortages.push(shortage) },
    })
    world.nodes.push({ self, blocks, shards, cache, holder, engine, shortages, warnings })
  }
  return world
}

const inFlightBytes = 64 * 1024 * 1024

/** Orders by name, so that a failure reads the same in every run. */
const peerOf = (index: number): PeerId => peerIdOf(hash(utf8(`node ${index}`)))

function memoryHolder ({ blocks, shards, sleep }: { blocks: Blocks, shards: Shards, sleep: (durationMs: number) => Promise<void> }): MemoryHolder {
  const references = new Map<Cid, Reference[]>()
  const durable = new Set<Cid>()
  const record = (cid: Cid, reference: Reference): void => { references.set(cid, [...references.get(cid) ?? [], reference]) }
  const indexesOf = async (cid: Cid, { k, m }: Reference['redundancy']): Promise<Set<number>> => {
    const indexes = new Set<number>()
    for await (const name of shards.of(cid)) if (name.k === k && name.m === m) indexes.add(name.index)
    return indexes
  }
  const holder: MemoryHolder = {
    isFull: false,
    writeMs: 0,
    has: (cid) => durable.has(cid) && (references.get(cid)?.length ?? 0) > 0,
    async keep (cid, reference) {
      if (await blocks.has(cid)) durable.add(cid)
      else if ((await indexesOf(cid, reference.redundancy)).size === 0) return 'want'
      record(cid, reference)
      return 'kept'
    },
    async store (cid, block, reference) {
      if (holder.isFull) throw new StoreFull('the disk is full')
      if (holder.writeMs > 0) await sleep(holder.writeMs)
      await blocks.put(cid, block)
      record(cid, reference)
      durable.add(cid)
    },
    async keepShard (name, reference) {
      if (!await shards.has(name)) return 'want'
      record(name.cid, reference)
      return 'kept'
    },
    async storeShard (shard, reference) {
      if (holder.isFull) throw new StoreFull('the disk is full')
      if (holder.writeMs > 0) await sleep(holder.writeMs)
      await shards.put(shard)
      record(shard.cid, reference)
    },
    async * references (cid) { yield * references.get(cid) ?? [] },
    living: async (cids) => cids.map((cid) => ({ versionIds: (references.get(cid) ?? []).map(({ versionId }) => versionId), redundancies: (references.get(cid) ?? []).map(({ redundancy }) => redundancy), isMore: false })),
    shardPresence: async (wanted) => Promise.all(wanted.map(async ({ cid, redundancy }) => {
      const indexes = await indexesOf(cid, redundancy)
      return { indexes, references: references.get(cid)?.length ?? 0 }
    })),
    presence: async (cids) => cids.map((cid) => ({ state: durable.has(cid) ? 'held' : 'absent', references: references.get(cid)?.length ?? 0 })),
  }
  return holder
}

export const blockOf = (text: string, length = 100): { cid: Cid, bytes: Uint8Array } => {
  const bytes = new Uint8Array(length)
  bytes.set(utf8(text).subarray(0, length))
  return { cid: cidOf(bytes), bytes }
}

export const referenceTo = (copies: number): Reference => ({ versionId: hash(utf8('version')), redundancy: { k: 1, m: copies - 1 } })
export const emptyReport = (): TransferReport => ({ local: 0, cache: 0, peers: new Map() })
