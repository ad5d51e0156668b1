import { timingSafeEqual } from 'node:crypto'
import { ByteReader, ByteWriter, concat, equals, utf8 } from '../base/bytes.ts'
import { Corrupt } from '../base/errors.ts'
import { hash, keyedHash } from '../base/hash.ts'
import type { Random } from '../base/random.ts'
import { oneTimeKeys, okmLength, opened, sealInto, tagLength } from './aead.ts'
import { type ClusterKeys, expanded, UnknownEpoch } from './keys.ts'

/**
 * A sealed row and the accepted record around it (docs/FORMAT.md, "Rows"). The salt is a keyed hash over fresh randomness, header and payload, so even
 * a repeated random number seals two contents under two keys.
 */
const magic = utf8('DFSR')
const formatVersion = 1
const suite = 1
export const rowHeaderLength = 56
const saltLength = 32
const commitmentLength = 32
/** A row is this much longer than its payload. */
export const rowOverhead = rowHeaderLength + saltLength + commitmentLength + tagLength
const rowInfo = concat([utf8('dfs/v1/row'), Uint8Array.of(0)])
const paddingBytes = 64
const ballotLength = 40
const voteLength = ballotLength + 4 + 32

export interface SealedRowContent {
  readonly revision: bigint
  readonly isTombstone: boolean
  readonly body: Uint8Array
}

export interface RowPlace {
  readonly table: number
  /** 32 bytes. */
  readonly rowKey: Uint8Array
}

/** rk: which row, to nodes that must not know its name. `scope` is a bucket id or zeros, 16 bytes. */
export const sealedRowKey = (keys: ClusterKeys, table: number, scope: Uint8Array, key: Uint8Array): Uint8Array => keyedHash(keys.name, Uint8Array.of(table), scope, key)

export function sealRow (keys: ClusterKeys, { table, rowKey }: RowPlace, { revision, isTombstone, body }: SealedRowContent, random: Random): Uint8Array {
  const epoch = keys.currentEpoch
  const { salt: saltKey, row: rowKeyObject } = keys.epoch(epoch)
  const payload = padded(body)
  const header = new ByteWriter().raw(magic).u8(formatVersion).u8(suite).u8(table).u8(isTombstone ? 1 : 0).u32(payload.byteLength).u32(epoch).raw(rowKey).u64(revision).finish()
  const salt = keyedHash(saltKey, random.bytes(32), header, payload)
  const secrets = oneTimeKeys(expanded(rowKeyObject, concat([rowInfo, header, salt]), okmLength))
  const row = new Uint8Array(payload.byteLength + rowOverhead)
  row.set(header)
  row.set(salt, rowHeaderLength)
  row.set(secrets.commitment, rowHeaderLength + saltLength)
  const aad = row.subarray(0, rowHeaderLength + saltLength + commitmentLength)
  sealInto(row, aad.byteLength, secrets, aad, payload)
  return row
}

/** Checks that the row is the one asked for, and authentic. @throws Corrupt */
export function openRow (keys: ClusterKeys, place: RowPlace, row: Uint8Array): SealedRowContent {
  const { isTombstone, epoch, revision } = rowHeader(place, row)
  const aad = row.subarray(0, rowHeaderLength + saltLength + commitmentLength)
  const secrets = oneTimeKeys(expanded(epochOf(keys, epoch).row, concat([rowInfo, row.subarray(0, rowHeaderLength + saltLength)]), okmLength))
  if (!timingSafeEqual(secrets.commitment, aad.subarray(rowHeaderLength + saltLength))) throw new Corrupt('a row is sealed under another key')
  const payload = opened(secrets, aad, row.subarray(aad.byteLength))
  if (payload === undefined) throw new Corrupt('a row is not authentic')
  return { revision, isTombstone, body: unpadded(payload) }
}

/** What a node without keys can check of a row: form, place and length. @throws Corrupt */
export function rowHeader ({ table, rowKey }: RowPlace, row: Uint8Array): { isTombstone: boolean, epoch: number, revision: bigint } {
  if (row.byteLength < rowOverhead) throw new Corrupt(`a row of ${row.byteLength} bytes`)
  const reader = new ByteReader(row)
  const isOurs = equals(reader.raw(4), magic) && reader.u8() === formatVersion && reader.u8() === suite
  const foundTable = reader.u8()
  const flags = reader.u8()
  const length = reader.u32()
  const epoch = reader.u32()
  const foundKey = reader.raw(32)
  if (!isOurs || flags > 1 || length !== row.byteLength - rowOverhead || length === 0 || length % paddingBytes !== 0) throw new Corrupt('a row has a header that this version does not know')
  if (foundTable !== table || !equals(foundKey, rowKey)) throw new Corrupt('a row is another one than was asked for')
  return { isTombstone: flags === 1, epoch, revision: reader.u64() }
}

/** u32 length | body | zeros: lengths tell sizes in steps of 64 bytes only. */
function padded (body: Uint8Array): Uint8Array {
  const payload = new Uint8Array(Math.ceil((body.byteLength + 4) / paddingBytes) * paddingBytes)
  new DataView(payload.buffer).setUint32(0, body.byteLength)
  payload.set(body, 4)
  return payload
}

function unpadded (payload: Uint8Array): Uint8Array {
  const reader = new ByteReader(payload)
  const length = reader.u32()
  const zeros = payload.subarray(4 + length)
  if (length > reader.remaining || zeros.byteLength >= paddingBytes || zeros.some((byte) => byte !== 0)) throw new Corrupt('a row is padded wrongly')
  return reader.raw(length)
}

export interface SealedVote {
  readonly table: number
  readonly rowKey: Uint8Array
  /** 40 bytes: u64 counter | proposer's key. */
  readonly ballot: Uint8Array
  readonly row: Uint8Array
}

/** ballot | u32 E | vtag | row: the vote tag shows that a member proposed this row under this ballot. */
export function acceptedRecord (keys: ClusterKeys, { table, rowKey, ballot, row }: SealedVote): Uint8Array {
  const epoch = keys.currentEpoch
  return new ByteWriter().raw(ballot).u32(epoch).raw(voteTag(keys, epoch, { table, rowKey, ballot, row })).raw(row).finish()
}

/** Splits a record without checking anything but its length. @throws Corrupt */
export function splitRecord (record: Uint8Array): { ballot: Uint8Array, epoch: number, tag: Uint8Array, row: Uint8Array } {
  if (record.byteLength < voteLength + rowOverhead) throw new Corrupt(`an accepted record of ${record.byteLength} bytes`)
  const reader = new ByteReader(record)
  return { ballot: reader.raw(ballotLength), epoch: reader.u32(), tag: reader.raw(32), row: reader.rest() }
}

/** The row in a record whose vote tag is right. @throws Corrupt */
export function votedRow (keys: ClusterKeys, { table, rowKey }: RowPlace, record: Uint8Array): { ballot: Uint8Array, row: Uint8Array } {
  const { ballot, epoch, tag, row } = splitRecord(record)
  epochOf(keys, epoch)
  if (!timingSafeEqual(voteTag(keys, epoch, { table, rowKey, ballot, row }), tag)) throw new Corrupt('a vote tag is wrong: no member proposed this')
  return { ballot, row }
}

function voteTag (keys: ClusterKeys, epoch: number, { table, rowKey, ballot, row }: SealedVote): Uint8Array {
  return keyedHash(keys.epoch(epoch).vote, new ByteWriter().u8(table).raw(rowKey).raw(ballot).u32(epoch).raw(hash(row)).finish())
}

function epochOf (keys: ClusterKeys, epoch: number): ReturnType<ClusterKeys['epoch']> {
  try {
    return keys.epoch(epoch)
  } catch (cause) {
    if (cause instanceof UnknownEpoch) throw new Corrupt(`sealed in epoch ${epoch}, which this node does not know`, { cause })
    throw cause
  }
}
