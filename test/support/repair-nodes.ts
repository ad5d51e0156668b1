import { Budget } from '../../src/base/budget.ts'
import { concat, utf8 } from '../../src/base/bytes.ts'
import { type Cid, cidOf, digestOf } from '../../src/base/cid.ts'
import { hash } from '../../src/base/hash.ts'
import { type PeerId, peerIdOf } from '../../src/base/peer-id.ts'
import { type DiskBlocks, openDiskBlocks } from '../../src/blockstore/disk-blocks.ts'
import { type BlockHolder, blockHolder } from '../../src/blockstore/holder.ts'
import { blockInventory } from '../../src/blockstore/inventory.ts'
import { type MemoryFiles, memoryFiles } from '../../src/disk/memory-files.ts'
import { type MemoryKeyValue, memoryKeyValue } from '../../src/disk/memory-key-value.ts'
import { blockPeers } from '../../src/protocols/block-peers.ts'
import { serveFetch } from '../../src/protocols/fetch.ts'
import { leftOutOf, serveStore } from '../../src/protocols/store.ts'
import { memoryBlocks } from '../../src/blockstore/memory-blocks.ts'
import { type BlockPeers, type Reference, replication, type Replication } from '../../src/replication/index.ts'
import { Repair } from '../../src/replication/repair.ts'
import { VirtualTime } from '../simulation/virtual-time.ts'
import { type MemoryNetwork, memoryNetwork } from './memory-requests.ts'

export interface RepairNode {
  readonly self: PeerId
  readonly files: MemoryFiles
  readonly index: MemoryKeyValue
  readonly blocks: DiskBlocks
  readonly holder: BlockHolder
  readonly engine: Replication
  readonly repair: Repair
  readonly peers: BlockPeers
  readonly warnings: string[]
  readonly corrupt: Cid[]
}

export interface RepairNodes {
  readonly nodes: readonly RepairNode[]
  readonly network: MemoryNetwork
  readonly time: VirtualTime
  /** Who is in the layout, in order of preference for every block. */
  placed: readonly PeerId[]
  /** What single nodes think of that, if they know another layout. */
  readonly views: Map<PeerId, readonly PeerId[]>
  version: bigint
  isMoving: boolean
  /** Gone, and known to be. */
  readonly away: Set<PeerId>
  put (at: readonly RepairNode[], text: string, options?: { copies?: number, length?: number, versions?: readonly string[] }): Promise<Cid>
  /** Runs every node's engine until none has anything to do; each first makes a sweep. */
  sweep (...nodes: readonly RepairNode[]): Promise<void>
  /** Who has the block, right, on disk. */
  holdersOf (cid: Cid): Promise<readonly PeerId[]>
  versionsAt (node: RepairNode, cid: Cid): Promise<number>
}

/** Nodes with the real engine, the real protocols and the real stores, over a network, a clock and disks of tests. */
export async function repairNodes (count: number, { quotaBytes }: { quotaBytes?: (index: number) => number | undefined } = {}): Promise<RepairNodes> {
  const time = new VirtualTime()
  const clock = time.clock()
  const network = memoryNetwork({ clock })
  const ids = Array.from({ length: count }, (_, i) => peerIdOf(hash(utf8(`node ${i}`))))
  const nodes: RepairNode[] = []
  const world: RepairNodes = {
    nodes, network, time, placed: ids, views: new Map(), version: 1n, isMoving: false, away: new Set(),
    async put (at, text, { copies = 3, length = 40_000, versions = ['version'] } = {}) {
      const bytes = new Uint8Array(length)
      bytes.set(utf8(text).subarray(0, length))
      const cid = cidOf(bytes)
      for (const node of at) for (const version of versions) await node.holder.store(cid, bytes, referenceOf(version, copies))
      return cid
    },
    async sweep (...of) {
      for (const { repair } of of) repair.now()
      let over = false
      const work = Promise.all(of.map(async ({ repair }) => { while (await repair.step({ signal: new AbortController().signal }) === 'busy'); })).finally(() => { over = true })
      work.catch(() => {}) // awaited below
      await time.run(() => over)
      if (!over) throw new Error('stuck: no event is left that could end this')
      await work
    },
    async holdersOf (cid) {
      const found: PeerId[] = []
      for (const { self, blocks } of nodes) if (await blocks.get(cid).then(() => true, () => false)) found.push(self)
      return found
    },
    async versionsAt ({ holder }, cid) { let n = 0; for await (const _ of holder.references(cid)) n++; return n },
  }
  for (const [i, self] of ids.entries()) {
    const [files, index] = [memoryFiles(), memoryKeyValue()]
    const [warnings, corrupt]: [string[], Cid[]] = [[], []]
    let repair: Repair | undefined = undefined
    const blocks = await openDiskBlocks({ files, index, quotaBytes: quotaBytes?.(i), reserveBytes: 0, onCorrupt: (cid) => { corrupt.push(cid); repair?.report(cid) } })
    const holder = blockHolder({ blocks, index })
    const requests = network.of(self)
    const warn = (message: string): void => { warnings.push(message) }
    const placed = (): readonly PeerId[] => world.views.get(self) ?? world.placed
    await serveStore(requests, { holder, budget: new Budget(inFlightBytes), warn, isLeftOut: leftOutOf({ self, holders: placed }) })
    await serveFetch(requests, { sources: [blocks], shards: blocks.shards, budget: new Budget(inFlightBytes) })
    const peers = blockPeers({ requests, reachable: () => ids.filter((id) => id !== self && !world.away.has(id)), budget: new Budget(inFlightBytes) })
    const engine = replication({
      self, holder, local: blocks, localShards: blocks.shards, cache: memoryBlocks(), clock, warn, peers, placement: { holdersOf: placed },
      providers: { async * find () {} }, hints: () => [], onShort: () => {},
    })
    repair = new Repair({
      self, holder, inventory: blockInventory({ blocks, index }), local: blocks, clock, warn,
      peers,
      shards: blocks.shards, read: async (cid, redundancy, { signal }) => engine.reader({ redundancy, isPassing: true }).get(cid, { signal }),
      placement: { holdersOf: placed, version: () => world.version, isMoving: () => world.isMoving, members: placed },
    })
    nodes.push({ self, files, index, blocks, holder, engine, repair, peers, warnings, corrupt })
  }
  return world
}

const inFlightBytes = 64 * 1024 * 1024

export const referenceOf = (version: string, copies: number): Reference => ({ versionId: hash(utf8(version)), redundancy: { k: 1, m: copies - 1 } })

/** One bit of a block's bytes on disk. */
export async function rot ({ files, index }: RepairNode, cid: Cid): Promise<void> {
  const path = files.paths.find((name) => name.startsWith('blocks/large/') && name.endsWith(cid))
  if (path !== undefined) { files.flip(path, 12_345); return }
  const key = concat([Uint8Array.of(1), digestOf(cid)])
  const rotten = (await index.get(key) ?? new Uint8Array(8)).slice()
  rotten[7] = (rotten[7] ?? 0) ^ 1
  index.damage(key, rotten)
}

/** As after a lost file or record: the block is gone, without a word. */
export async function lose ({ files, index }: RepairNode, cid: Cid, { references = false } = {}): Promise<void> {
  for (const path of files.paths.filter((name) => name.startsWith('blocks/large/') && name.endsWith(cid))) await files.remove(path)
  const prefix = digestOf(cid)
  for (const kind of references ? [1, 2, 3] : [1]) {
    for await (const key of index.keys({ from: concat([Uint8Array.of(kind), prefix]), to: concat([Uint8Array.of(kind), prefix, new Uint8Array(33).fill(0xff)]) })) index.damage(key, undefined)
  }
}
