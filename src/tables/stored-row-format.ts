import { ByteReader, ByteWriter, concat, equals, MalformedBytes, partitionOf } from '../base/bytes.ts'
import { Corrupt } from '../base/errors.ts'
import { hash } from '../base/hash.ts'
import { encodeBallot, readBallot } from './ballot.ts'
import { rowLimits, type StoredRow, type TableNumber } from './index.ts'

/** How rows lie in the journal and in its index (docs/FORMAT.md, "On disk"). */

/** What one frame of the journal says. */
export interface JournalEntry {
  readonly rows: ReadonlyArray<{ readonly row: StoredRow, readonly before: Uint8Array | undefined }>
  /** Ballot counters up to here are given out. */
  readonly counter: bigint
}

/** u64 counter | u16 count, count × (row | u8 flag, [H of the row as it was(32)]). */
export function encodeEntry ({ rows, counter }: JournalEntry): Uint8Array {
  const writer = new ByteWriter().u64(counter).u16(rows.length)
  for (const { row, before } of rows) {
    writeRow(writer, row).u8(before === undefined ? 0 : 1)
    if (before !== undefined) writer.raw(before)
  }
  return writer.finish()
}

/** @throws MalformedBytes */
export function decodeEntry (body: Uint8Array): JournalEntry {
  const reader = new ByteReader(body)
  const [counter, count] = [reader.u64(), reader.u16()]
  const rows = Array.from({ length: count }, () => ({ row: readRow(reader), before: reader.u8() === 0 ? undefined : reader.raw(32) }))
  reader.end()
  return { rows, counter }
}

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
