import { ByteReader, ByteWriter, MalformedBytes, partitionCount } from '../base/bytes.ts'
import { encodeBallot, readBallot } from './ballot.ts'
import { clearPartition } from './clear-rows.ts'
import { deathProofBytes } from './deaths.ts'
import { type Ballot, rowLimits, type TableNumber, tables } from './index.ts'
import { type IndexEntry, listingIndexLimits } from './listing-index.ts'
import { messageLimits, type RowBallot, type TableAnswer, type TableQuestion, type TableRequest } from './messages.ts'

/**
 * Table messages as bytes; docs/PROTOCOLS.md has the layouts. A request is `02 | kind u8 | u64 layout version | fields`, an answer `kind u8 | fields`.
 * Every length is checked against its bound and against what is left before anything is allocated.
 */
const formatVersion = 2
const questionKinds = { prepare: 1, accept: 2, handOver: 3, read: 4, list: 5, digest: 6, ballots: 7, progress: 8, bury: 9, publish: 10, deaths: 11, clock: 12 } as const
const answerKinds = { promised: 1, accepted: 2, value: 3, refused: 4, page: 5, digests: 6, ballots: 7, staleLayout: 8, lost: 9, progress: 10, buried: 11, published: 12, deaths: 13, clock: 14 } as const
const knownTables: ReadonlySet<number> = new Set(Object.values(tables))

export function encodeRequest (request: TableRequest): Uint8Array {
  const writer = new ByteWriter().u8(formatVersion).u8(questionKinds[request.kind]).u64(request.version)
  switch (request.kind) {
    case 'prepare': return writer.u8(request.table).raw(request.rowKey).raw(encodeBallot(request.ballot)).finish()
    case 'accept': case 'handOver': return writer.u8(request.table).raw(request.rowKey).long(request.record).finish()
    case 'read': return writer.u8(request.table).raw(request.rowKey).finish()
    case 'list':
      writer.u8(request.table).raw(request.scope).u16(request.limit).long(request.prefix)
      return optional(writer, request.after, (bytes) => writer.long(bytes)).finish()
    case 'digest':
      writer.u8(request.partitions.length)
      for (const partition of request.partitions) writer.u16(partition)
      return writer.finish()
    case 'ballots': return optional(writer.u16(request.partition), request.after, (bytes) => writer.raw(bytes)).finish()
    case 'progress': case 'clock': return writer.finish()
    case 'bury':
      writer.u16(request.partition).u8(request.rows.length)
      for (const row of request.rows) writeBallotOf(writer, row)
      return writer.finish()
    case 'publish': return writeEach(writer, request.proofs).finish()
    case 'deaths': return writeEach(writer, request.versionIds).finish()
  }
}

/** @throws MalformedBytes */
export function decodeRequest (bytes: Uint8Array): TableRequest {
  const reader = new ByteReader(bytes)
  const format = reader.u8()
  if (format !== formatVersion) throw new MalformedBytes(`table message of version ${format}`)
  const kind = kindOf(questionKinds, reader.u8())
  const request = { version: reader.u64(), ...readQuestion(reader, kind) }
  reader.end()
  return request
}

function readQuestion (reader: ByteReader, kind: keyof typeof questionKinds): TableQuestion {
  switch (kind) {
    case 'prepare': return { kind, ...readRow(reader), ballot: readBallot(reader) }
    case 'accept': case 'handOver': return { kind, ...readRow(reader), record: reader.long(rowLimits.maxRecordBytes) }
    case 'read': return { kind, ...readRow(reader) }
    case 'list': return { kind, table: readTable(reader), scope: reader.raw(16), limit: readListLimit(reader), prefix: reader.long(rowLimits.maxKeyBytes), after: readOptional(reader, () => reader.long(rowLimits.maxKeyBytes)) }
    case 'digest': return { kind, partitions: readPartitions(reader) }
    case 'ballots': return { kind, partition: readPartition(reader), after: readOptional(reader, () => reader.raw(32)) }
    case 'progress': case 'clock': return { kind }
    case 'bury': return { kind, partition: bounded(reader.u16(), partitionCount - 1), rows: many(bounded(reader.u8(), messageLimits.maxBuried), () => readBallotOf(reader)) }
    case 'publish': return { kind, proofs: many(bounded(reader.u16(), messageLimits.maxDeaths), () => reader.raw(deathProofBytes)) }
    case 'deaths': return { kind, versionIds: many(bounded(reader.u16(), messageLimits.maxDeaths), () => reader.raw(32)) }
  }
}

export function encodeAnswer (answer: TableAnswer): Uint8Array {
  const writer = new ByteWriter().u8(answerKinds[answer.kind])
  switch (answer.kind) {
    case 'promised': return writeFloor(optional(writer, answer.accepted, (record) => writer.long(record)), answer.floor).finish()
    case 'accepted': case 'lost': return writer.finish()
    case 'value':
      optional(writer, answer.promised, (ballot) => writer.raw(encodeBallot(ballot)))
      return writeFloor(optional(writer, answer.accepted, (record) => writer.long(record)), answer.floor).finish()
    case 'refused': return writer.raw(encodeBallot(answer.promised)).finish()
    case 'staleLayout': return writer.long(answer.layout).finish()
    case 'clock': return writer.u64(answer.wallMs).finish()
    case 'progress':
      writer.u16(answer.remaining).u16(answer.lost).u16(answer.away.length)
      for (const { peer, seconds } of answer.away) writer.raw(peer).u32(seconds)
      return writer.finish()
    case 'page':
      writer.u8(answer.truncated ? 1 : 0).u16(answer.lost.length)
      for (const partition of answer.lost) writer.u16(partition)
      writer.u16(answer.entries.length)
      for (const { name, rowKey, ballot, summary } of answer.entries) optional(writer.raw(rowKey).raw(encodeBallot(ballot)).long(name), summary, (bytes) => writer.long(bytes))
      return writer.finish()
    case 'digests':
      writer.u8(answer.digests.length)
      for (const digest of answer.digests) optional(writer, digest, (known) => writeFloor(writer.u32(known.count).raw(known.digest), known.floor))
      return writer.finish()
    case 'ballots':
      writer.u8(answer.truncated ? 1 : 0).u16(answer.rows.length)
      for (const row of answer.rows) writeBallotOf(writer, row)
      return writeFloor(writer, answer.floor).finish()
    case 'buried':
      writer.u8(answer.buried.length)
      for (const isBuried of answer.buried) writer.u8(isBuried ? 1 : 0)
      return writer.finish()
    case 'published':
      writer.u16(answer.published.length)
      for (const isPublished of answer.published) writer.u8(isPublished ? 1 : 0)
      return writer.finish()
    case 'deaths':
      writer.u16(answer.proofs.length)
      for (const proof of answer.proofs) optional(writer, proof, (bytes) => writer.raw(bytes))
      return writer.finish()
  }
}

/** @throws MalformedBytes */
export function decodeAnswer (bytes: Uint8Array): TableAnswer {
  const reader = new ByteReader(bytes)
  const answer = readAnswer(reader, kindOf(answerKinds, reader.u8()))
  reader.end()
  return answer
}

function readAnswer (reader: ByteReader, kind: keyof typeof answerKinds): TableAnswer {
  const readRecord = (): Uint8Array | undefined => readOptional(reader, () => reader.long(rowLimits.maxRecordBytes))
  switch (kind) {
    case 'promised': return { kind, accepted: readRecord(), floor: readFloor(reader) }
    case 'accepted': case 'lost': return { kind }
    case 'value': return { kind, promised: readOptional(reader, () => readBallot(reader)), accepted: readRecord(), floor: readFloor(reader) }
    case 'refused': return { kind, promised: readBallot(reader) }
    case 'staleLayout': return { kind, layout: reader.long(messageLimits.maxLayoutBytes) }
    case 'clock': return { kind, wallMs: readWallMs(reader) }
    case 'progress': {
      const [remaining, lost] = [reader.u16(), reader.u16()]
      return { kind, remaining, lost, away: many(bounded(reader.u16(), messageLimits.maxAway), () => ({ peer: reader.raw(32), seconds: reader.u32() })) }
    }
    case 'page': {
      const truncated = readFlag(reader)
      const lost = many(bounded(reader.u16(), partitionCount), () => bounded(reader.u16(), partitionCount - 1))
      return { kind, truncated, lost, entries: many(bounded(reader.u16(), listingIndexLimits.maxPageEntries), () => readEntry(reader)) }
    }
    case 'digests': return { kind, digests: many(bounded(reader.u8(), messageLimits.maxDigests), () => readOptional(reader, () => ({ count: reader.u32(), digest: reader.raw(32), floor: readFloor(reader) }))) }
    case 'ballots': {
      const truncated = readFlag(reader)
      return { kind, truncated, rows: many(bounded(reader.u16(), messageLimits.maxBallots), () => readBallotOf(reader)), floor: readFloor(reader) }
    }
    case 'buried': return { kind, buried: many(bounded(reader.u8(), messageLimits.maxBuried), () => readFlag(reader)) }
    case 'published': return { kind, published: many(bounded(reader.u16(), messageLimits.maxDeaths), () => readFlag(reader)) }
    case 'deaths': return { kind, proofs: many(bounded(reader.u16(), messageLimits.maxDeaths), () => readOptional(reader, () => reader.raw(deathProofBytes))) }
  }
}

function writeEach (writer: ByteWriter, each: readonly Uint8Array[]): ByteWriter {
  writer.u16(each.length)
  for (const bytes of each) writer.raw(bytes)
  return writer
}

const readEntry = (reader: ByteReader): IndexEntry => {
  const rowKey = reader.raw(32)
  const ballot: Ballot = readBallot(reader)
  return { rowKey, ballot, name: reader.long(rowLimits.maxKeyBytes), summary: readOptional(reader, () => reader.long(listingIndexLimits.maxSummaryBytes)) }
}

const readBallotOf = (reader: ByteReader): RowBallot => ({ ...readRow(reader), ballot: readBallot(reader) })
const writeBallotOf = (writer: ByteWriter, { table, rowKey, ballot }: RowBallot): ByteWriter => writer.u8(table).raw(rowKey).raw(encodeBallot(ballot))

const readFloor = (reader: ByteReader): Ballot | undefined => readOptional(reader, () => readBallot(reader))
const writeFloor = (writer: ByteWriter, floor: Ballot | undefined): ByteWriter => optional(writer, floor, (ballot) => writer.raw(encodeBallot(ballot)))

const readRow = (reader: ByteReader): { table: TableNumber, rowKey: Uint8Array } => ({ table: readTable(reader), rowKey: reader.raw(32) })

function readTable (reader: ByteReader): TableNumber {
  const table = reader.u8()
  if (!knownTables.has(table)) throw new MalformedBytes(`no table ${table}`)
  return table as TableNumber
}

function readListLimit (reader: ByteReader): number {
  const limit = bounded(reader.u16(), listingIndexLimits.maxPageEntries)
  if (limit === 0) throw new MalformedBytes('a page of no names')
  return limit
}

function readWallMs (reader: ByteReader): number {
  const wallMs = reader.u64()
  if (wallMs > BigInt(Number.MAX_SAFE_INTEGER)) throw new MalformedBytes(`no date: ${wallMs}`)
  return Number(wallMs)
}

const readPartition = (reader: ByteReader): number => bounded(reader.u16(), clearPartition)

// each once: a few bytes more would have the clear rows gone through once more
function readPartitions (reader: ByteReader): number[] {
  const partitions = many(bounded(reader.u8(), messageLimits.maxDigests), () => readPartition(reader))
  if (new Set(partitions).size !== partitions.length) throw new MalformedBytes('a partition is asked about twice')
  return partitions
}

function readFlag (reader: ByteReader): boolean { return bounded(reader.u8(), 1) === 1 }

const readOptional = <T>(reader: ByteReader, read: () => T): T | undefined => (readFlag(reader) ? read() : undefined)

function optional<T> (writer: ByteWriter, value: T | undefined, write: (value: T) => void): ByteWriter {
  if (value === undefined) return writer.u8(0)
  writer.u8(1)
  write(value)
  return writer
}

function bounded (value: number, most: number): number {
  if (value > most) throw new MalformedBytes(`${value} exceeds ${most}`)
  return value
}

// grows with what is really there: a count alone allocates nothing
function many<T> (count: number, read: () => T): T[] {
  const items: T[] = []
  for (let i = 0; i < count; i++) items.push(read())
  return items
}

function kindOf<K extends string> (kinds: Readonly<Record<K, number>>, number: number): K {
  for (const kind in kinds) if (kinds[kind] === number) return kind
  throw new MalformedBytes(`no table message of kind ${number}`)
}
