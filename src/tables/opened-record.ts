import { MalformedBytes } from '../base/bytes.ts'
import { Corrupt } from '../base/errors.ts'
import { decodeEnvelope, decodeErased } from './envelope.ts'
import type { RowCodec, TableNumber } from './index.ts'
import type { OpenedRecord } from './round.ts'

/** Verifies and opens an accepted record. @throws Corrupt: whoever sent it has said nothing */
export function openRecord (codec: Pick<RowCodec, 'decode' | 'ballotOf'>, row: { table: TableNumber, rowKey: Uint8Array, record: Uint8Array }): OpenedRecord {
  try {
    const ballot = codec.ballotOf(row.table, row.record)
    const content = codec.decode(row)
    const { operations, value } = decodeEnvelope(content.body)
    return { ballot, record: row.record, content, operations, value: content.isTombstone ? undefined : value, erased: content.isTombstone ? decodeErased(value) : undefined }
  } catch (cause) {
    if (cause instanceof MalformedBytes) throw new Corrupt('a record is not well-formed', { cause })
    throw cause
  }
}
