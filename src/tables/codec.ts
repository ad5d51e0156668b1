import { ByteReader, ByteWriter, equals } from '../base/bytes.ts'
import { Corrupt, Refused } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import type { SigningKey } from '../base/signature.ts'
import { clearRowKey, parseClearRow, signClearRow, verifiedClearRow } from '../cluster/clear-row.ts'
import { acceptedRecord, type ClusterKeys, openRow, rowHeader, sealedRowKey, sealRow, splitRecord, votedRow } from '../encryption/index.ts'
import { encodeBallot, readBallot } from './ballot.ts'
import { withDeaths } from './deaths.ts'
import { type Ballot, isClear, type RowCodec, type RowContent, rowLimits, type TableNumber } from './index.ts'

export interface RowCodecParts {
  /** Records tagged in an epoch below this are nobody's word any more: the era says so. Default: 0. */
  readonly floor?: () => number
  /** On a node without keys: below this it stores nothing, for it has promised so. Default: 0. */
  readonly demanded?: () => number
  readonly clusterId: Uint8Array
  /** Undefined on a node without data keys, which stores sealed rows it cannot read. */
  readonly keys: ClusterKeys | undefined
  readonly signer: SigningKey
  readonly random: Random
  /** What a voter demands of a clear row beyond its signature: proposer's role, the table's rule. @throws Corrupt */
  readonly checkClear: (row: { table: TableNumber, rowKey: Uint8Array, proposer: Uint8Array, content: RowContent }) => void
}

type Place = { table: TableNumber, rowKey: Uint8Array }

/** Records as docs/FORMAT.md has them: sealed rows with vote tags, clear rows with signatures. */
export function rowCodec (parts: RowCodecParts): RowCodec {
  const sealed = parts.keys === undefined ? keyless(parts) : withKeys(parts.keys, parts)
  const clear = clearCodec(parts)
  const { floor, ...own } = parts
  const of = (table: TableNumber): Omit<RowCodec, 'rowKeyOf'> => isClear(table) ? clear : sealed
  const codec = withDeaths({
    rowKeyOf: ({ table, scope, key }) => isClear(table) ? clearRowKey(table, key) : sealedRowKey(keysOf(parts), table, scope, key),
    encode: (row) => bounded(of(row.table).encode(row)),
    decode: (row) => of(row.table).decode({ ...row, record: bounded(row.record) }),
    reproposed: (row) => of(row.table).reproposed(row),
    verify: (row) => { of(row.table).verify({ ...row, record: bounded(row.record) }) },
    stored: (row) => of(row.table).stored(row),
    isTombstone: (row) => of(row.table).isTombstone(row),
    ballotOf: (table, record) => of(table).ballotOf(table, record),
  })
  return floor === undefined ? codec : { ...codec, ofOwn: rowCodec(own) }
}

type TableCodec = Omit<RowCodec, 'rowKeyOf'>

function withKeys (keys: ClusterKeys, { random, floor = () => 0 }: RowCodecParts): TableCodec {
  const voted = (row: Place & { record: Uint8Array }): ReturnType<typeof votedRow> => {
    demandEpoch(row.record, floor())
    return votedRow(keys, row, row.record)
  }
  // what was sealed here, or opened once, need not be opened again: of a put, the own replica's check and the first read
  const known = new WeakMap<Uint8Array, Place & { content: RowContent }>()
  return {
    encode ({ table, rowKey, content, ballot }) {
      const record = acceptedRecord(keys, { table, rowKey, ballot: encodeBallot(ballot), row: sealRow(keys, { table, rowKey }, content, random) })
      known.set(record, { table, rowKey, content })
      return record
    },
    decode ({ table, rowKey, record }) {
      const before = known.get(record)
      if (before !== undefined && before.table === table && equals(before.rowKey, rowKey)) return before.content
      const content = openRow(keys, { table, rowKey }, voted({ table, rowKey, record }).row)
      known.set(record, { table, rowKey, content })
      return content
    },
    reproposed: ({ table, rowKey, record, ballot }) => acceptedRecord(keys, { table, rowKey, ballot: encodeBallot(ballot), row: voted({ table, rowKey, record }).row }),
    verify: (row) => { rowHeader(row, voted(row).row) },
    stored: (row) => splitRecord(row.record).epoch >= keys.currentEpoch ? row.record : acceptedRecord(keys, { ...row, ...voted(row) }),
    isTombstone: (row) => rowHeader(row, splitRecord(row.record).row).isTombstone,
    ballotOf: (_table, record) => readBallot(new ByteReader(record)),
  }
}

// form and place are all that a node without keys can check; what it stores a member will verify
function keyless (parts: RowCodecParts): TableCodec {
  return {
    encode: () => { throw noKeys() },
    decode: () => { throw noKeys() },
    reproposed: () => { throw noKeys() },
    verify: (row) => {
      demandEpoch(row.record, parts.floor?.() ?? 0)
      rowHeader(row, splitRecord(row.record).row)
    },
    stored: (row) => {
      demandEpoch(row.record, parts.demanded?.() ?? 0)
      return row.record
    },
    isTombstone: (row) => rowHeader(row, splitRecord(row.record).row).isTombstone,
    ballotOf: (table, record) => isClear(table) ? clearCodec(parts).ballotOf(table, record) : readBallot(new ByteReader(record)),
  }
}

// value = u64 revision | u8 flags (1 tombstone) | body
function clearCodec ({ clusterId, signer, checkClear }: RowCodecParts): TableCodec {
  const opened = (row: Place & { record: Uint8Array }): { ballot: Ballot, content: RowContent } => {
    const { ballot, value } = verifiedClearRow(row.record, { ...row, clusterId })
    const reader = new ByteReader(value)
    const [revision, flags] = [reader.u64(), reader.u8()]
    if (flags > 1) throw new Corrupt('a clear row has flags that this version does not know')
    const content = { revision, isTombstone: flags === 1, body: reader.rest() }
    const parsed = readBallot(new ByteReader(ballot))
    checkClear({ table: row.table, rowKey: row.rowKey, proposer: parsed.proposer, content })
    return { ballot: parsed, content }
  }
  const encode = ({ table, rowKey, content, ballot }: Place & { content: RowContent, ballot: Ballot }): Uint8Array => {
    const value = new ByteWriter().u64(content.revision).u8(content.isTombstone ? 1 : 0).raw(content.body).finish()
    return signClearRow({ table, rowKey, ballot: encodeBallot(ballot), value }, signer, clusterId)
  }
  return {
    encode,
    decode: (row) => opened(row).content,
    reproposed: (row) => encode({ ...row, content: opened(row).content }),
    verify: (row) => { opened(row) },
    stored: ({ record }) => record,
    isTombstone: (row) => opened(row).content.isTombstone,
    ballotOf: (_table, record) => readBallot(new ByteReader(parseClearRow(record).ballot)),
  }
}

function demandEpoch (record: Uint8Array, least: number): void {
  const { epoch } = splitRecord(record)
  if (epoch < least) throw new Corrupt(`a record tagged in epoch ${epoch}, and what is below ${least} counts no more`)
}

function keysOf ({ keys }: RowCodecParts): ClusterKeys {
  if (keys === undefined) throw noKeys()
  return keys
}

const noKeys = (): Refused => new Refused('this node holds no data key: ask a member')

function bounded (record: Uint8Array): Uint8Array {
  if (record.byteLength > rowLimits.maxRecordBytes) throw new Corrupt(`a record of ${record.byteLength} bytes exceeds ${rowLimits.maxRecordBytes}`)
  return record
}
