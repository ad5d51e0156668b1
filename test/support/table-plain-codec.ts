import { ByteReader, ByteWriter, MalformedBytes } from '../../src/base/bytes.ts'
import { Corrupt } from '../../src/base/errors.ts'
import { hash } from '../../src/base/hash.ts'
import { ballotLimits, encodeBallot, readBallot } from '../../src/tables/ballot.ts'
import { withDeaths } from '../../src/tables/deaths.ts'
import type { Ballot, RowCodec, RowContent } from '../../src/tables/index.ts'

/** Records without keys or signatures: `ballot | table | row key | revision | tombstone | body | first 4 of H(all before)`. */
export const plainCodec: RowCodec = withDeaths({
  rowKeyOf: ({ table, scope, key }) => hash(Uint8Array.of(table), scope, key),
  encode: ({ table, rowKey, content, ballot }) => sealed(new ByteWriter().raw(encodeBallot(ballot)).u8(table).raw(rowKey).u64(content.revision).u8(content.isTombstone ? 1 : 0).raw(content.body).finish()),
  decode: ({ table, rowKey, record }) => opened(table, rowKey, record),
  reproposed: ({ record, ballot }) => sealed(new ByteWriter().raw(encodeBallot(ballot)).raw(record.subarray(ballotLimits.encodedBytes, -4)).finish()),
  verify: ({ table, rowKey, record }) => { opened(table, rowKey, record) },
  stored: ({ record }) => record,
  isTombstone: ({ table, rowKey, record }) => opened(table, rowKey, record).isTombstone,
  ballotOf: (_, record): Ballot => readBallot(new ByteReader(record)),
})

const sealed = (bytes: Uint8Array): Uint8Array => new ByteWriter().raw(bytes).raw(hash(bytes).subarray(0, 4)).finish()

function opened (table: number, rowKey: Uint8Array, record: Uint8Array): RowContent {
  if (record.byteLength < 86) throw new MalformedBytes('a record that short')
  const bytes = record.subarray(0, -4)
  if (Buffer.compare(hash(bytes).subarray(0, 4), record.subarray(-4)) !== 0) throw new Corrupt('the record was changed')
  const reader = new ByteReader(bytes)
  readBallot(reader)
  if (reader.u8() !== table || Buffer.compare(reader.raw(32), rowKey) !== 0) throw new Corrupt('the record of another row')
  const revision = reader.u64()
  return { revision, isTombstone: reader.u8() === 1, body: reader.rest() }
}
