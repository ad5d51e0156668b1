import { concat, equals, hexOf } from '../../src/base/bytes.ts'
import type { Layout } from '../../src/cluster/index.ts'
import type { ClusterState } from '../../src/node/state.ts'
import { Buckets } from '../../src/objects/buckets.ts'
import { decodeObjectRow, encodeObjectRow, type PendingVersion } from '../../src/objects/object-row.ts'
import { type Change, type Registers, tables } from '../../src/tables/index.ts'
import { openRecord } from '../../src/tables/opened-record.ts'
import { plainCodec } from '../support/table-plain-codec.ts'
import { objectWith, replaced } from './layout-variants.ts'
import type { WorldVariant } from './world.ts'

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
  'a row becomes a tombstone while it still owes a death': () => ({
    objectRegisters: (registers) => changing(registers, (row) => row, (row) => row.current === undefined && row.pending.length === 0 ? undefined : row),
  }),
}

/** Taken out too, and not found within a few seeds: what they prevent needs more to come together than the weather brings. */
export const rareVariants: Readonly<Record<string, () => WorldVariant>> = {
  'a block is given up before others have promised it': () => ({
    stores: (stores) => ({ ...stores, holder: { ...stores.holder, release: async (cid) => stores.holder.release(cid, async () => true) } }),
  }),
  'a partition whose memory is gone answers as if it were empty': () => ({ rotsInSilence: true }),
  'an upload that was given up commits all the same': () => ({
    objectRegisters: (registers) => {
      const begun = new Map<string, PendingVersion>()
      return changing(registers, (row) => {
        // as this node has written it, whatever has become of it since
        const missing = [...begun.values()].filter(({ salt }) => row.dropped.some((version) => equals(version.salt, salt)))
        return { ...row, pending: [...row.pending, ...missing], dropped: row.dropped.filter(({ salt }) => !missing.some((version) => equals(version.salt, salt))) }
      }, (row) => { for (const version of row.pending) begun.set(hexOf(version.id), version); return row })
    },
  }),
  'what is dead is read off this replica alone': () => ({
    undertaker: (parts) => ({
      ...parts,
      registers: {
        change: async (...change) => parts.registers.change(...change),
        read: async (address) => {
          const rowKey = plainCodec.rowKeyOf(address)
          for await (const row of parts.store.rows((rowKey[0] ?? 0) << 4 | (rowKey[1] ?? 0) >> 4)) if (equals(row.rowKey, rowKey) && row.accepted !== undefined) return openRecord(plainCodec, { table: row.table, rowKey, record: row.accepted }).value
          return undefined
        },
      },
    }),
  }),
  'rows are buried while the layout changes': () => ({ tablesState: (state) => objectWith<ClusterState>(state, new SettledLayouts(state)) }),
}

/** Changes of objects' rows, whose row is shown and written in other words. */
function changing (registers: Registers, shown: (row: ReturnType<typeof decodeObjectRow>) => ReturnType<typeof decodeObjectRow>, written: (row: ReturnType<typeof decodeObjectRow>) => ReturnType<typeof decodeObjectRow> | undefined): Registers {
  return {
    ...registers,
    change: async (address, change, options) => address.table !== tables.objects
      ? registers.change(address, change, options)
      : registers.change(address, (value, revision) => {
        const decided = change(value === undefined ? undefined : encodeObjectRow(shown(decodeObjectRow(value))), revision)
        if (decided.kind !== 'write') return decided
        const row = written(decodeObjectRow(decided.value))
        return (row === undefined ? { kind: 'erase', result: decided.result } : { ...decided, value: encodeObjectRow(row) }) as Change<typeof decided.result>
      }, options),
  }
}

/** Says of each layout that it is settled. */
class SettledLayouts {
  readonly #state: ClusterState
  readonly #settled = new WeakMap<Layout, Layout>()
  constructor (state: ClusterState) { this.#state = state }
  get layout (): Layout {
    const { layout } = this.#state
    const known = this.#settled.get(layout) ?? { ...layout, state: 'settled' as const }
    this.#settled.set(layout, known)
    return known
  }
}
