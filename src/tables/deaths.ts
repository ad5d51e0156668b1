import { equals } from '../base/bytes.ts'
import { Corrupt, Refused } from '../base/errors.ts'
import { hash } from '../base/hash.ts'
import { type Ballot, type RowCodec, type StoredRow, type TableNumber, tables } from './index.ts'

/**
 * Versions that are dead: a lattice among the registers. A death is a row whose key is the version's id and whose record is the proof, 32 bytes that hash to it; so
 * there is one thing that it can say, nobody decides about it, and merging is union. It has no ballot of its own: all have the lowest, and neither a
 * promise nor a floor stands in its way. For the rest it is a row like any other of its partition: on disk the same way, summed up in the same digests, handed
 * over by the same messages, cleared where a node enters the partition anew; and no key is needed to check it, so a witness takes it from anybody.
 *
 * Deaths are never taken back, and never dropped: a holder that was away for a year may yet have blocks of a dead version.
 */
export const deathBallot: Ballot = { counter: 0n, proposer: new Uint8Array(32) }
export const deathProofBytes = 32

export const versionIdOf = (proof: Uint8Array): Uint8Array => hash(proof)

export const deathOf = (proof: Uint8Array): StoredRow => ({ table: tables.deaths, rowKey: versionIdOf(proof), promised: deathBallot, accepted: proof })

/** @throws Corrupt unless these bytes prove that this version is dead */
export function checkDeath ({ rowKey, record }: { readonly rowKey: Uint8Array, readonly record: Uint8Array }): void {
  if (record.byteLength !== deathProofBytes || !equals(versionIdOf(record), rowKey)) throw new Corrupt('what is said to prove a death does not')
}

/** The codec of the registers, and of deaths beside them. */
export function withDeaths (codec: RowCodec): RowCodec {
  const refuse = (): never => { throw new Refused('a death is published, not decided') }
  const deaths: Omit<RowCodec, 'rowKeyOf'> = {
    encode: refuse, decode: refuse, reproposed: refuse,
    verify: checkDeath,
    stored: ({ record }) => record,
    isTombstone: () => false,
    ballotOf: () => deathBallot,
  }
  return {
    rowKeyOf: (address) => address.table === tables.deaths ? refuse() : codec.rowKeyOf(address),
    ...codecByTable((table) => table === tables.deaths ? deaths : codec),
  }
}

/** Each table's records by a codec of its own. */
export function codecByTable (of: (table: TableNumber) => Omit<RowCodec, 'rowKeyOf'>): Omit<RowCodec, 'rowKeyOf'> {
  return {
    encode: (row) => of(row.table).encode(row),
    decode: (row) => of(row.table).decode(row),
    reproposed: (row) => of(row.table).reproposed(row),
    verify: (row) => { of(row.table).verify(row) },
    stored: (row) => of(row.table).stored(row),
    isTombstone: (row) => of(row.table).isTombstone(row),
    ballotOf: (table, record) => of(table).ballotOf(table, record),
  }
}
