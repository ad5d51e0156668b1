import { ByteReader, ByteWriter, concat, equals, utf8 } from '../base/bytes.ts'
import { Corrupt } from '../base/errors.ts'
import { hash } from '../base/hash.ts'
import { isSignedBy, type SigningKey } from '../base/signature.ts'

/**
 * Rows that every voter must read, with keys or without: members, invites, layout, era. Signed by whoever proposed them under this ballot
 * (docs/FORMAT.md, "Clear rows"):
 *
 * clear = table u8 | H(table | key) | ballot(40) | u32 n | value(n) | signature(64) over "dfs/v1/clear-row" 00 clusterId and all before
 */
export interface ClearRow {
  readonly table: number
  /** 32 bytes. */
  readonly rowKey: Uint8Array
  /** 40 bytes; its last 32 are the proposer's key. */
  readonly ballot: Uint8Array
  readonly value: Uint8Array
}

const ballotLength = 40
const signatureLength = 64
const counterLength = 8
const overhead = 1 + 32 + ballotLength + 4 + signatureLength
const domain = concat([utf8('dfs/v1/clear-row'), Uint8Array.of(0)])

export const clearRowKey = (table: number, key: Uint8Array): Uint8Array => hash(Uint8Array.of(table), key)

/** Signed by `signer`, whose key must be the ballot's. */
export function signClearRow ({ table, rowKey, ballot, value }: ClearRow, signer: SigningKey, clusterId: Uint8Array): Uint8Array {
  const body = new ByteWriter().u8(table).raw(rowKey).raw(ballot).long(value).finish()
  return concat([body, signer.sign(domain, clusterId, body)])
}

/** Splits it without checking the signature. @throws Corrupt */
export function parseClearRow (record: Uint8Array): ClearRow & { readonly signature: Uint8Array } {
  if (record.byteLength < overhead) throw new Corrupt(`a clear row of ${record.byteLength} bytes`)
  const reader = new ByteReader(record)
  const [table, rowKey, ballot, length] = [reader.u8(), reader.raw(32), reader.raw(ballotLength), reader.u32()]
  if (length !== record.byteLength - overhead) throw new Corrupt('a clear row whose length is wrong')
  return { table, rowKey, ballot, value: reader.raw(length), signature: reader.raw(signatureLength) }
}

/** The row, if it is the one asked for and its proposer signed it. @throws Corrupt */
export function verifiedClearRow (record: Uint8Array, expected: { table: number, rowKey: Uint8Array, clusterId: Uint8Array }): ClearRow {
  const row = parseClearRow(record)
  if (row.table !== expected.table || !equals(row.rowKey, expected.rowKey)) throw new Corrupt('a clear row is another one than was asked for')
  const proposer = row.ballot.subarray(counterLength)
  if (!isSignedBy(proposer, row.signature, domain, expected.clusterId, record.subarray(0, -signatureLength))) throw new Corrupt('a clear row is not signed by its proposer')
  return row
}
