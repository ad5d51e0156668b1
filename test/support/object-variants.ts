import { hexOf } from '../../src/base/bytes.ts'
import { Buckets } from '../../src/objects/buckets/buckets.ts'
import { isVacant, keptOf, type ObjectRow, type PendingVersion } from '../../src/objects/object-row.ts'
import { isSameVersion, type Version } from '../../src/objects/versions/version.ts'
import { tables } from '../../src/tables/index.ts'
import { replaced } from '../simulation/layout-variants.ts'
import { changing } from './changed-rows.ts'
import type { ObjectVariant } from './object-stage.ts'
import { registersWith } from './other-registers.ts'

const rowsWith = ({ shown = (row) => row, written = (row) => row }: { shown?: (row: ObjectRow) => ObjectRow, written?: (row: ObjectRow) => ObjectRow | undefined }): ObjectVariant => ({ parts: (parts) => ({ ...parts, registers: changing(parts.registers, shown, written) }) })

const isIn = (versions: ReadonlyArray<Pick<Version, 'salt'>>, version: Pick<Version, 'salt'>): boolean => versions.some((other) => isSameVersion(other, version))

const standingIn = (row: ObjectRow): ReadonlyArray<Pick<Version, 'salt'>> => [...row.current === undefined ? [] : [row.current], ...keptOf(row)]
const placeName = ({ bucketId, key }: ObjectRow): string => `${hexOf(bucketId)} ${key} `

/** Rules of the object engine, each taken out. What it prevents is a history that the checker must then find: once it showed with this seed, and it shows with one of some hundred. */
export const objectVariants: Readonly<Record<string, { readonly seed: number, readonly variant: () => ObjectVariant }>> = {
  'what a version was kept for is forgotten when it goes': {
    seed: 1,
    variant: () => rowsWith({ written: (row) => { const left = { ...row, dropped: [] }; return isVacant(left) ? undefined : left } }),
  },
  'a row becomes a tombstone while it still owes a death': {
    seed: 1,
    variant: () => rowsWith({ written: (row) => isVacant({ ...row, dropped: [] }) ? undefined : row }),
  },
  'an upload that was given up commits all the same': {
    seed: 108,
    variant: () => {
      const begun = new Map<string, PendingVersion>()
      let [revived, dropped]: [readonly PendingVersion[], ObjectRow['dropped']] = [[], []]
      return rowsWith({
        shown: (row) => {
          revived = [...begun].filter(([name, version]) => name.startsWith(placeName(row)) && !isIn([...row.pending, ...standingIn(row)], version)).map(([, version]) => version)
          dropped = row.dropped.filter((version) => isIn(revived, version))
          return { ...row, pending: [...row.pending, ...revived], dropped: row.dropped.filter((version) => !isIn(revived, version)) }
        },
        written: (row) => {
          for (const version of row.pending) if (version.converts === undefined) begun.set(`${placeName(row)}${hexOf(version.salt)}`, version)
          return { ...row, pending: row.pending.filter((version) => !isIn(revived, version)), dropped: [...row.dropped, ...dropped.filter((version) => isIn(row.pending, version))] }
        },
      })
    },
  },
  'what was begun of a conversion outlives its version': {
    seed: 4,
    variant: () => {
      let [begun, stood]: [readonly PendingVersion[], ReturnType<typeof standingIn>] = [[], []]
      return rowsWith({
        shown: (row) => { [begun, stood] = [row.pending, standingIn(row)]; return row },
        written: (row) => {
          const orphans = begun.filter((version) => version.converts !== undefined && isIn(stood, version.converts) && !isIn(standingIn(row), version.converts) && isIn(row.dropped, version))
          return { ...row, pending: [...row.pending, ...orphans], dropped: row.dropped.filter((version) => !isIn(orphans, version)) }
        },
      })
    },
  },
  'blocks that are there already are shared, and not recorded': {
    seed: 1,
    variant: () => ({
      parts: (parts) => ({ ...parts, replication: { ...parts.replication, writer: (...of) => ({ ...parts.replication.writer(...of), adopt: async (cids) => Promise.resolve(new Set(cids)) }) } }),
    }),
  },
  'the row of a version stays when it goes': {
    seed: 1,
    variant: () => ({
      parts: (parts) => ({ ...parts, registers: registersWith(parts.registers, {
        change: async (address, change, options) => parts.registers.change(address, (value, revision) => {
          const decided = change(value, revision)
          return address.table === tables.versions && decided.kind === 'erase' ? { kind: 'keep', result: decided.result } : decided
        }, options),
      }) }),
    }),
  },
  'the bucket is not looked at after the commit': { seed: 24, variant: () => ({ undo: replaced(Buckets.prototype, 'isActive', async () => Promise.resolve(true)) }) },
}
