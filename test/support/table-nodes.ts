import { hash } from '../../src/base/hash.ts'
import { type PeerId, peerIdOf } from '../../src/base/peer-id.ts'
import { seededRandom } from '../../src/base/random.ts'
import { systemClock } from '../../src/base/clock.ts'
import { votersBy } from '../../src/tables/electorate.ts'
import type { Describe, OpenedRow, Registers, Voters } from '../../src/tables/index.ts'
import type { RowSettler } from '../../src/tables/late-delivery.ts'
import { MemoryRowStore } from '../../src/tables/memory-row-store.ts'
import type { TableRequest } from '../../src/tables/messages.ts'
import { registers, type RegistersOptions, type TablePeers } from '../../src/tables/registers.ts'
import { type LayoutGuard, type OwnReplica, tableReplica } from '../../src/tables/replica.ts'
import { memoryListingIndex } from './table-memory-index.ts'
import { plainCodec } from './table-plain-codec.ts'

export interface TableNode {
  readonly self: PeerId
  readonly store: MemoryRowStore
  readonly replica: OwnReplica
  /** A replica that knows what the disk has, and nothing else. */
  readonly restarted: () => OwnReplica
  readonly registers: Registers & { readonly settle: RowSettler }
  readonly peers: TablePeers
  /** Every question this node asked of others. */
  readonly asked: Array<{ to: PeerId, request: TableRequest }>
}

export interface TableNodes {
  readonly nodes: readonly TableNode[]
  readonly voters: Voters
  /** Cannot be reached, and others know it. */
  readonly dead: Set<PeerId>
  /** At which the clear rows count as promised. */
  /** Stopped: connected, but never answers. */
  readonly stopped: Set<PeerId>
}

/** The value is its own name and summary. */
export const describeValue: Describe = (_, value) => ({ name: value, scope: new Uint8Array(16), summary: value })

/** Nodes that vote on every row, over calls in place of a network. Nothing gets lost unless told to. */
export function tableNodes (count: number, { isMember = () => true, layout, options = () => ({}), peersOf, votersAmong = (all) => all, version = () => 1n, groupsAmong = (all, partition) => [votersAmong(all, partition)], saved = () => {} }: {
  isMember?: (peer: PeerId) => boolean
  layout?: LayoutGuard
  options?: (self: PeerId) => Partial<RegistersOptions>
  /** In the place of direct calls. */
  peersOf?: (self: PeerId) => TablePeers
  /** In the place of all of them, for every row. */
  votersAmong?: (peers: readonly PeerId[], partition: number) => readonly PeerId[]
  /** Of the layout, which all adopt at once. */
  version?: () => bigint
  groupsAmong?: (peers: readonly PeerId[], partition: number) => ReadonlyArray<readonly PeerId[]>
  saved?: (self: PeerId, row: OpenedRow) => void
} = {}): TableNodes {
  const peers = Array.from({ length: count }, (_, i) => peerIdOf(hash(Uint8Array.of(i))))
  const voters = votersBy({ version, groupsOf: (partition) => groupsAmong(peers, partition) })
  const [dead, stopped] = [new Set<PeerId>(), new Set<PeerId>()]
  const all = new Map<PeerId, TableNode>()
  for (const [i, self] of peers.entries()) {
    const store = new MemoryRowStore({ ballotOf: (table, record) => plainCodec.ballotOf(table, record) })
    const restarted = (): OwnReplica => tableReplica({ self, store, codec: plainCodec, voters, isMember, listing: { index: memoryListingIndex(), describe: describeValue }, saved: (row) => { saved(self, row) }, layout: layout ?? { get version () { return version() }, get isChanging () { return voters.electorate(0).groups.length > 1 }, encoded: () => new Uint8Array(0), adopt: async () => {} } })
    const replica = restarted()
    const asked: TableNode['asked'] = []
    const direct: TablePeers = {
      reachable: () => new Set(peers.filter((peer) => !dead.has(peer))),
      ask: async (to, request, { signal }) => {
        asked.push({ to, request })
        if (stopped.has(to)) await new Promise((_, reject) => { signal?.addEventListener('abort', () => { reject(signal.reason as Error) }) })
        if (dead.has(to)) throw new Error('cannot be reached')
        return await (all.get(to) as TableNode).replica.answer(self, request)
      },
    }
    const asking = peersOf?.(self) ?? direct
    const engine = registers({
      self, peers: asking, replica, counters: store, voters, codec: plainCodec, describe: describeValue, clock: systemClock,
      random: seededRandom(i), adoptLayout: async () => {}, ...options(self),
    })
    all.set(self, { self, store, replica, restarted, registers: engine, peers: asking, asked })
  }
  return { nodes: [...all.values()], voters, dead, stopped }
}
