import type { Cid } from '../../src/base/cid.ts'
import { concat, equals, hexOf } from '../../src/base/bytes.ts'
import type { PeerId } from '../../src/base/peer-id.ts'
import { condemnedKind, forget } from '../../src/blockstore/condemned.ts'
import { describeMember, type Layout, roles } from '../../src/cluster/index.ts'
import type { Shard } from '../../src/blockstore/shard.ts'
import { type Redundancy, type Reference, writeQuorumOf } from '../../src/replication/index.ts'
import type { Files } from '../../src/disk/index.ts'
import { votersIn } from '../../src/node/membership/membership.ts'
import { StorePositions } from '../../src/node/layout/store-positions.ts'
import type { ClusterState } from '../../src/node/state.ts'
import type { InventoryItem } from '../../src/blockstore/inventory.ts'
import { noReferences } from '../../src/blockstore/references.ts'
import { Buckets } from '../../src/objects/buckets/buckets.ts'
import { decodeObjectRow, type PendingVersion } from '../../src/objects/object-row.ts'
import type { UndertakerParts } from '../../src/objects/work/undertaker.ts'
import type { Registers, RowAddress } from '../../src/tables/index.ts'
import { ballotLimits } from '../../src/tables/ballot.ts'
import { clearPartition } from '../../src/tables/clear-rows.ts'
import { votersBy } from '../../src/tables/electorate.ts'
import { openRecord } from '../../src/tables/opened-record.ts'
import type { TableReplica } from '../../src/tables/replica.ts'
import { changing } from '../support/changed-rows.ts'
import { plainCodec } from '../support/table-plain-codec.ts'
import { indexWith } from './collection-variants.ts'
import { objectWith, replaced } from './layout-variants.ts'
import { layoutSimulation, type WorldVariant } from './world.ts'

/** Rules that tables, objects, blocks and layouts keep for each other, each taken out. */
export const wholeVariants: Readonly<Record<string, () => WorldVariant>> = {
  'a block is acknowledged with its first copy': () => ({
    replication: (engine, { stores }) => ({
      ...engine,
      writer: (reference, options) => ({ ...engine.writer(reference, options), put: async (cid, block) => stores.holder.store(cid, block, reference) }),
    }),
  }),
  'nobody brings what is missing': () => ({ withoutRepair: true }),
  'blocks are not on the disk when they are acknowledged': () => ({
    disk: (files) => ({ ...files, writeDurable: async (path, parts, options) => path.startsWith('blocks/') ? files.write(path, concat([...parts])) : files.writeDurable(path, parts, options) }),
  }),
  'the bucket is not looked at after the commit': () => ({ undo: replaced(Buckets.prototype, 'isActive', async () => true) }),
  'graces are counted by the wall clock': () => ({ clock: (clock) => ({ ...clock, monotonicMs: () => clock.wallMs() }) }),
  'what a date deletes is judged by the clock of the node that is asked': () => ({ dates: (dates, { clock }) => ({ present: async () => dates.present(), past: async () => clock.wallMs() }) }),
  'nobody converts': () => ({ withoutConversion: true }),
  'a conversion commits before its blocks are written': () => ({
    conversion: (parts) => ({ ...parts, replication: { ...parts.replication, writer: (reference, options) => ({ ...parts.replication.writer(reference, options), put: async () => {}, adopt: async (cids) => new Set(cids) }) } }),
  }),
  'a row becomes a tombstone while it still owes a death': () => ({
    objectRegisters: (registers) => changing(registers, (row) => row, (row) => row.current === undefined && row.pending.length === 0 ? undefined : row),
  }),
}

/** Found by stories (whole-histories.ts): what these prevent needs more to come together than the weather brings. */
export const toldVariants: Readonly<Record<string, () => WorldVariant>> = {
  'a conversion puts back what was overwritten meanwhile': () => ({
    conversion: (parts) => {
      type Row = ReturnType<typeof decodeObjectRow>
      const begun = new Map<string, Row>()
      const keyOf = (row: Pick<Row, 'bucketId' | 'key'>): string => `${hexOf(row.bucketId)} ${row.key}`
      return { ...parts, registers: changing(parts.registers, (row) => {
        const { current, pending } = begun.get(keyOf(row)) ?? row
        return { ...row, current, pending }
      }, (row) => {
        if (row.pending.some(({ converts }) => converts !== undefined)) begun.set(keyOf(row), row)
        else begun.delete(keyOf(row))
        return row
      }) }
    },
  }),
  'a form makes room for another that nobody has looked for': () => ({
    collector: (parts) => ({ ...parts, pieces: {
      presence: async (_, cids) => cids.map(() => ({ state: 'kept' }) as never),
      shardPresence: async (_, wanted) => wanted.map(({ redundancy: { k, m } }) => ({ indexes: Array.from({ length: k + m }, (__, i) => i), references: noReferences }) as never),
    } }),
  }),
  'a conversion is done before all its pieces are stored': () => ({
    conversion: (parts) => ({ ...parts, replication: { ...parts.replication, writer: (reference, options) => parts.replication.writer(reference, { ...options, isAllNeeded: false }) } }),
  }),
  'what a witness has is not compared with what is listed': () => {
    // whoever asks a witness what it has hears what it has itself
    const replicas = new Map<PeerId, TableReplica>()
    return {
      served: (replica, state) => {
        const { peerId, role } = describeMember(state)
        replicas.set(peerId, replica)
        return { answer: async (from, request) => (role === roles.witness && request.kind === 'digest' ? replicas.get(from) ?? replica : replica).answer(from, request) }
      },
    }
  },
  'a block is given up before others have promised it': () => ({
    stores: (stores) => ({ ...stores, holder: { ...stores.holder, release: async (cid) => stores.holder.release(cid, async () => true) } }),
  }),
  'a block is given up by a plan that is older than a reference': () => {
    const planned = new Map<string, number>()
    return {
      stores: (stores, self) => {
        const seen = <T extends InventoryItem>(item: T): T => { planned.set(`${self} ${item.cid}`, item.references.digest); return item }
        const { holder, inventory } = stores
        return {
          ...stores,
          inventory: { ...inventory, page: async (options) => { const page = await inventory.page(options); page.items.forEach(seen); return page }, find: async (cid) => seen(await inventory.find(cid)) },
          holder: { ...holder, release: async (cid, confirm) => holder.release(cid, async (references) => confirm(planned.get(`${self} ${cid}`) ?? references)) },
        }
      },
    }
  },
  'a block is not verified': () => {
    let files: Files | undefined
    return {
      disk: (of) => { files = of; return of },
      stores: (stores) => {
        const of = files
        return { ...stores, blocks: { ...stores.blocks, get: async (cid, options) => of?.read(`blocks/large/${cid.slice(-1)}/${cid.slice(-2, -1)}/${cid}`).catch(async () => stores.blocks.get(cid, options)) ?? stores.blocks.get(cid, options) } }
      },
    }
  },
  'two with the same shard count as two': acknowledgedBy((_, self) => self, writeQuorumOf),
  'a condemned block is had, keeps its mark, and goes by the mark alone': () => ({
    holderIndex: (index) => indexWith(index, async (changes, options) => index.batch(changes.filter(({ type, key }) => type === 'put' || key[0] !== condemnedKind), options), async (key) => key[0] === condemnedKind ? undefined : index.get(key)),
    condemned: (condemned, { blocks, index }) => ({
      ...condemned,
      collect: async (cid) => {
        if (!await condemned.isCondemned(cid)) return 'kept'
        await blocks.delete(cid)
        await forget(index, cid)
        return 'collected'
      },
    }),
  }),
  // who is away for the grace is not read among the members, whatever it takes with it
  'an eviction leaves a partition without a majority': () => ({ memberRows: (rows, away) => rows.filter((row) => (away.get(describeMember(row).peerId) ?? 0) * 1000 < layoutSimulation.evictAfterMs) }),
  'without a majority a write is tried until its time is up': () => ({ reachable: (_, everybody) => new Set(everybody) }),
  'a partition whose memory is gone answers as if it were empty': () => ({ rotsInSilence: true }),
  'a store that was put back votes again': () => ({ undo: both(replaced(StorePositions.prototype, 'remembers', () => true), replaced(StorePositions.prototype, 'compare', async () => {})) }),
  'what was left in removed buckets stays': () => ({ withoutRemovedSweep: true }),
  'what nothing refers to is taken for dead': () => ({
    collector: (parts) => ({ ...parts, inventory: { ...parts.inventory, page: async (options) => {
      const page = await parts.inventory.page(options)
      // as if a version that nobody knows had been, and were proven dead
      for (const { cid, references: { count, damaged }, dead } of page.items) if (count === 0 && damaged === 0 && dead === 0) await parts.condemned.died(cid, [new Uint8Array(32)])
      return page
    } } }),
  }),
  'an upload that goes on does not show it': () => ({ beatEveryMs: 3_600_000 }),
  'of three redundant shards one is waited for': acknowledgedBy(({ index }) => index, ({ k, m }) => k + Math.ceil(Math.min(m, 2) / 2)),
  'where all may be missed the next second as many as ever acknowledge': () => ({
    replication: (engine) => ({ ...engine, writer: (reference, options) => engine.writer(reference, { ...options, isAllNeeded: false }) }),
  }),
  'of more than two one copy is enough where that is allowed': () => ({
    replication: (engine, { stores }) => ({
      ...engine,
      writer: (reference, options) => ({ ...engine.writer(reference, options), ...options?.isDegradedAllowed === true ? { put: async (cid, block) => stores.holder.store(cid, block, reference) } : {} }),
    }),
  }),
  'rows of the cluster lie in the first partition': () => ({
    voters: (state) => votersBy({ version: () => state.layout.version, groupsOf: (partition) => votersIn(state).electorate(partition === clearPartition ? 0 : partition).groups }),
  }),
  'an upload that was given up commits all the same': () => ({
    objectRegisters: (registers) => {
      // uploads of this node, until it ends them itself
      const begun = new Map<string, PendingVersion>()
      const isIn = (versions: ReadonlyArray<Pick<PendingVersion, 'salt'>>, { salt }: PendingVersion): boolean => versions.some((version) => equals(version.salt, salt))
      return changing(registers, (row) => {
        for (const [id, version] of begun) if (row.current !== undefined && isIn([row.current], version)) begun.delete(id)
        const missing = [...begun.values()].filter((version) => !isIn(row.pending, version))
        return { ...row, pending: [...row.pending, ...missing], dropped: row.dropped.filter(({ salt }) => !missing.some((version) => equals(version.salt, salt))) }
      }, (row) => {
        for (const version of row.pending) begun.set(hexOf(version.id), version)
        for (const [id, version] of begun) if (isIn(row.dropped, version)) begun.delete(id)
        return row
      })
    },
  }),
  'an upload is given up by a row that is older': () => ({
    undertaker: (parts) => ({ ...parts, registers: {
      read: async (...of) => parts.registers.read(...of),
      change: async (address, change, options) => {
        const held = await heldRow(parts, address)
        const own = held === undefined ? [] : decodeObjectRow(held).pending
        const asHeld = (row: ReturnType<typeof decodeObjectRow>): ReturnType<typeof decodeObjectRow> => ({ ...row, pending: row.pending.map((version) => own.find(({ id }) => equals(id, version.id)) ?? version) })
        return changing({ change: async (...of: Parameters<Registers['change']>) => parts.registers.change(...of) } as Registers, asHeld, (row) => row).change(address, change, options)
      },
    } }),
  }),
  'an id stands in its row only when blocks are there': () => ({
    objectRegisters: (registers) => {
      // uploads of this node
      const begun = new Map<string, PendingVersion>()
      return changing(registers, (row) => ({ ...row, pending: [...row.pending, ...begun.values()] }), (row) => {
        for (const version of row.pending) begun.set(hexOf(version.id), version)
        return { ...row, pending: [] }
      })
    },
  }),
  'what is dead is read off this replica alone': () => ({
    undertaker: (parts) => ({
      ...parts,
      registers: {
        change: async (...change) => parts.registers.change(...change),
        read: async (address) => heldRow(parts, address),
      },
    }),
  }),
  'who starts has missed everybody for as long as can be': () => ({
    absence: (absence) => {
      const seen = new Set<PeerId>()
      const look = (): ReadonlySet<PeerId> => { const now = absence.look(); for (const peer of now) seen.add(peer); return now }
      return objectWith(absence, { look, of: (peers: ReadonlySet<PeerId>) => { look(); return new Map([...absence.of(peers)].map(([peer, seconds]) => [peer, seen.has(peer) ? seconds : 1e6])) } })
    },
  }),
  'how long somebody is away is what the keeper of the layout remembers': () => ({
    keeperAsk: (ask, self) => async (peer, question, wait) => {
      const [answer, own] = await Promise.all([ask(peer, question, wait), ask(self, question, wait)])
      return answer.kind === 'progress' && own.kind === 'progress' ? { ...answer, away: own.away } : answer
    },
  }),
  'who is away has no substitute': () => ({
    blocksState: (state) => {
      const known = new WeakMap<Layout, Layout>()
      return objectWith<ClusterState>(state, { get layout () {
        const { layout } = state
        const shown = known.get(layout) ?? { ...layout, blockHolders: layout.blockHolders.map((holders) => holders.slice(0, 3)) }
        known.set(layout, shown)
        return shown
      } })
    },
  }),
  'what is kept whole beside shards has fewer copies': () => ({
    replication: (engine) => ({ ...engine, writer: (reference, options) => engine.writer(reference.redundancy.k === 1 ? { ...reference, redundancy: { k: 1, m: 1 } } : reference, options) }),
  }),
  'a ballot may be as far ahead as it likes': () => ({ undo: replaced<{ maxCounterJump: bigint }, 'maxCounterJump'>(ballotLimits, 'maxCounterJump', 2n ** 65n) }),
}

/** What this replica has accepted of a row. */
async function heldRow ({ store }: Pick<UndertakerParts, 'store'>, address: RowAddress): Promise<Uint8Array | undefined> {
  const rowKey = plainCodec.rowKeyOf(address)
  const record = (await store.get(address.table, rowKey))?.accepted
  return record === undefined ? undefined : openRecord(plainCodec, { table: address.table, rowKey, record }).value
}

const both = (one: () => void, other: () => void) => (): void => { one(); other() }

/** In shards: once so many pieces are stored that are told apart by what is given. */
function acknowledgedBy (pieceOf: (shard: Pick<Shard, 'index'>, self: PeerId) => unknown, neededOf: (redundancy: Redundancy) => number): () => WorldVariant {
  return () => {
    const [stored, waiting] = [new Map<string, Set<unknown>>(), new Map<string, Array<() => void>>()]
    const nameOf = (cid: Cid, { versionId }: Pick<Reference, 'versionId'>): string => `${cid} ${hexOf(versionId)}`
    return {
      stores: (stores, self) => ({
        ...stores,
        holder: { ...stores.holder, storeShard: async (shard, reference) => {
          await stores.holder.storeShard(shard, reference)
          const name = nameOf(shard.cid, reference)
          const pieces = (stored.get(name) ?? new Set<unknown>()).add(pieceOf(shard, self))
          stored.set(name, pieces)
          if (pieces.size >= neededOf(reference.redundancy)) for (const tell of waiting.get(name) ?? []) tell()
        } },
      }),
      replication: (engine) => ({ ...engine, writer: (reference, options) => {
        const writer = engine.writer(reference, options)
        return { ...writer, put: async (cid, block, wait) => {
          const { promise, resolve } = Promise.withResolvers<void>()
          const name = nameOf(cid, reference)
          waiting.set(name, [...waiting.get(name) ?? [], resolve])
          await Promise.race([promise, writer.put(cid, block, wait)])
        } }
      } }),
    }
  }
}
