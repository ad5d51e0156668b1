import { ByteReader, ByteWriter, concat, equals, MalformedBytes, partitionOf } from '../base/bytes.ts'
import { Corrupt } from '../base/errors.ts'
import { hash } from '../base/hash.ts'
import { encodeBallot, readBallot } from './ballot.ts'
import { rowLimits, type StoredRow, type TableNumber } from './index.ts'
import type { RowChange } from './row-changes.ts'
import type { PartitionProof } from './row-proof.ts'
import { sumBytes, termOf } from './row-sum.ts'

/** How rows lie in the journal and in its index (docs/FORMAT.md, "On disk"). */

/** What one frame of the journal says. */
export interface JournalEntry {
  readonly changes: readonly RowChange[]
  /** Ballot counters up to here are given out. */
  readonly counter: bigint
}

const changeKinds = { saved: 1, filled: 2, buried: 3, floor: 4, cleared: 5, restored: 6 } as const
const clearedKinds = { sealed: 1, everything: 2 } as const

/** u64 counter | u16 count, count × change. */
export function encodeEntry ({ changes, counter }: JournalEntry): Uint8Array {
  const writer = new ByteWriter().u64(counter).u16(changes.length)
  for (const change of changes) writeChange(writer, change)
  return writer.finish()
}

function writeChange (writer: ByteWriter, change: RowChange): void {
  writer.u8(changeKinds[change.kind])
  switch (change.kind) {
    case 'saved':
      writeRow(writer, change.row).u8(change.before === undefined ? 0 : 1)
      if (change.before !== undefined) writer.raw(change.before)
      break
    case 'filled': writeRow(writer, change.row); break
    case 'buried': writer.u8(change.table).raw(change.rowKey).raw(change.before); break
    case 'floor': writer.u16(change.partition).raw(encodeBallot(change.floor)); break
    case 'cleared': writeProof(writer.u16(change.partition).u8(clearedKinds[change.what]), change.remains); break
    case 'restored': writeProof(writer.u16(change.partition), change.found); break
    default: change satisfies never
  }
}

/** `format`: of the segment that has the frame. Version 1 knows rows that were saved, and nothing else. @throws MalformedBytes */
export function decodeEntry ({ body, format }: { readonly body: Uint8Array, readonly format: number }): JournalEntry {
  const reader = new ByteReader(body)
  const [counter, count] = [reader.u64(), reader.u16()]
  const changes = Array.from({ length: count }, (): RowChange => readChange(reader, format === 1 ? changeKinds.saved : reader.u8()))
  reader.end()
  return { changes, counter }
}

function readChange (reader: ByteReader, kind: number): RowChange {
  switch (kind) {
    case changeKinds.saved: return { kind: 'saved', row: readRow(reader), before: reader.u8() === 0 ? undefined : reader.raw(32) }
    case changeKinds.filled: return { kind: 'filled', row: readRow(reader) }
    case changeKinds.buried: return { kind: 'buried', table: reader.u8() as TableNumber, rowKey: reader.raw(32), before: reader.raw(32) }
    case changeKinds.floor: return { kind: 'floor', partition: reader.u16(), floor: readBallot(reader) }
    case changeKinds.cleared: return { kind: 'cleared', partition: reader.u16(), what: reader.u8() === clearedKinds.sealed ? 'sealed' : 'everything', remains: readProof(reader) }
    case changeKinds.restored: return { kind: 'restored', partition: reader.u16(), found: readProof(reader) }
    default: throw new MalformedBytes(`no change of kind ${kind}`)
  }
}

const writeProof = (writer: ByteWriter, { count, sum }: PartitionProof): ByteWriter => writer.u32(count).raw(sumBytes(sum))
const readProof = (reader: ByteReader): PartitionProof => ({ count: reader.u32(), sum: termOf(reader.raw(32)) })

function writeRow (writer: ByteWriter, { table, rowKey, promised, accepted }: StoredRow): ByteWriter {
  writer.u8(table).raw(rowKey).raw(encodeBallot(promised)).u8(accepted === undefined ? 0 : 1)
  return accepted === undefined ? writer : writer.long(accepted)
}

function readRow (reader: ByteReader): StoredRow {
  const [table, rowKey, promised] = [reader.u8() as TableNumber, reader.raw(32), readBallot(reader)]
  return { table, rowKey, promised, accepted: reader.u8() === 0 ? undefined : reader.long(rowLimits.maxRecordBytes) }
}

/** Index key: u16 partition | row key(32) | table u8: rows of a partition stand together, in order of row key. */
export const indexKeyOf = ({ table, rowKey }: Pick<StoredRow, 'table' | 'rowKey'>): Uint8Array => new ByteWriter().u16(partitionOf(rowKey)).raw(rowKey).u8(table).finish()
const partitionStart = (partition: number): Uint8Array => new ByteWriter().u16(partition).finish()

const checkLength = 16

/** Index value: first 16 of H(key | rest) | promised(40) | accepted. */
function encodeIndexed (row: StoredRow): Uint8Array {
  const rest = concat([encodeBallot(row.promised), row.accepted ?? new Uint8Array(0)])
  return concat([hash(indexKeyOf(row), rest).subarray(0, checkLength), rest])
}

/** @throws Corrupt if key or value changed since it was written */
export function decodeIndexed (key: Uint8Array, value: Uint8Array): StoredRow {
  const rest = value.subarray(checkLength)
  if (!equals(hash(key, rest).subarray(0, checkLength), value.subarray(0, checkLength))) throw new Corrupt('a row of the index is not what was written')
  try {
    const keyReader = new ByteReader(key)
    keyReader.u16()
    const [rowKey, table] = [keyReader.raw(32), keyReader.u8() as TableNumber]
    const reader = new ByteReader(rest)
    const promised = readBallot(reader)
    const accepted = reader.rest()
    return { table, rowKey, promised, accepted: accepted.byteLength === 0 ? undefined : accepted }
  } catch (cause) {
    if (cause instanceof MalformedBytes) throw new Corrupt('a row of the index is not well-formed', { cause })
    throw cause
  }
}

export const indexPutOf = (row: StoredRow): { readonly type: 'put', readonly key: Uint8Array, readonly value: Uint8Array } => ({ type: 'put', key: indexKeyOf(row), value: encodeIndexed(row) })

export const indexDeleteOf = (row: Pick<StoredRow, 'table' | 'rowKey'>): { readonly type: 'delete', readonly key: Uint8Array } => ({ type: 'delete', key: indexKeyOf(row) })
export const tableOfIndexKey = (key: Uint8Array): TableNumber => key[34] as TableNumber

/** Index keys of a partition. They end with the table, which is below 0xff: so `after` leaves out every row of that row key. */
export const rangeOf = (partition: number, after?: Uint8Array): { readonly from: Uint8Array, readonly to: Uint8Array } =>
  ({ from: after === undefined ? partitionStart(partition) : concat([partitionStart(partition), after, Uint8Array.of(0xff)]), to: partitionStart(partition + 1) })

export function isIntact (key: Uint8Array, value: Uint8Array): boolean {
  try {
    decodeIndexed(key, value)
    return true
  } catch (error) {
    if (error instanceof Corrupt) return false
    throw error
  }
}
