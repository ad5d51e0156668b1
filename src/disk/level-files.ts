import { crc32c } from '@node-rs/crc32'
import { uncompress } from 'snappyjs'
import { ByteReader, concat, empty, MalformedBytes } from '../base/bytes.ts'

/**
 * Whether the bytes of LevelDB's files are what it wrote. LevelDB puts a CRC32C behind everything, and its Node binding has no way to have them checked: of a log
 * with a flipped bit it drops the records around it, in silence, and out of a table it gives whatever is there. So we look ourselves, and know when to ask
 * others what is missing. (https://github.com/google/leveldb: doc/log_format.md, doc/table_format.md)
 */
export type LevelFileCheck =
  | { readonly isRight: true }
  /** `reason`: for people. */
  | { readonly isRight: false, readonly reason: string }

export const levelFileLimits = {
  /** Of a log or a MANIFEST. */
  logBlockBytes: 32 * 1024,
  /** Behind each block of a table: u8 compression, CRC of all that. */
  tableTrailerBytes: 5,
  tableFooterBytes: 48,
  /** The longest block of a table that is unpacked: its index. */
  maxIndexBytes: 64 * 1024 * 1024,
} as const

/** By the name of a file in LevelDB's folder: which check is its own. Undefined: it has none. */
export function levelCheckOf (name: string): ((bytes: Uint8Array) => LevelFileCheck) | undefined {
  if (/^\d+\.log$|^MANIFEST-\d+$/.test(name)) return checkLevelLog
  if (/^\d+\.(ldb|sst)$/.test(name)) return checkLevelTable
  return undefined
}

const recordHeadBytes = 7
const [full, first, middle, last] = [1, 2, 3, 4]

/**
 * A log: blocks of 32 KiB, of records: masked CRC (u32, little-endian) of all behind the length | u16 length | u8 type | bytes. Less than a head at the end of a block is
 * zeros. A write that was cut short by a crash leaves an end that is short, which cannot be told from a length that rotted: it counts as wrong too, for
 * looking once more costs little.
 */
export function checkLevelLog (bytes: Uint8Array): LevelFileCheck {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  let isWithin = false
  for (let at = 0; at < bytes.byteLength;) {
    const blockEnd = Math.min(bytes.byteLength, at - at % levelFileLimits.logBlockBytes + levelFileLimits.logBlockBytes)
    if (blockEnd - at < recordHeadBytes) {
      if (!isZeros(bytes.subarray(at, blockEnd))) return wrong(`what stands at byte ${at} is no record`)
      at = blockEnd
      continue
    }
    const [check, length, type] = [view.getUint32(at, true), view.getUint16(at + 4, true), view.getUint8(at + 6)]
    const end = at + recordHeadBytes + length
    if (end > blockEnd) return wrong(`the record at byte ${at} is longer than what there is`)
    if (crc32c(bytes.subarray(at + 6, end)) !== unmasked(check)) return wrong(`the record at byte ${at} is not what was written`)
    const continues = type === middle || type === last
    if (type < full || type > last || continues !== isWithin) return wrong(`the record at byte ${at} does not follow the one before it`)
    isWithin = type === first || type === middle
    at = end
  }
  return isWithin ? wrong('its last record has no end') : right
}

/**
 * A table: blocks, each with its trailer, an index of them, and a footer that says where the index is. Two blocks have a place of their own: the index of filters and
 * what that lists.
 */
export function checkLevelTable (bytes: Uint8Array): LevelFileCheck {
  try {
    const footer = bytes.subarray(-levelFileLimits.tableFooterBytes)
    if (footer.byteLength < levelFileLimits.tableFooterBytes || !magic.every((byte, i) => footer[footer.byteLength - magic.length + i] === byte)) return wrong('it does not end as tables do')
    const reader = new VarintReader(footer)
    const [ofFilters, ofBlocks] = [reader.handle(), reader.handle()]
    if (!isZeros(footer.subarray(reader.offset, footer.byteLength - magic.length))) return wrong('its end is not what was written')
    const listed = [ofFilters, ofBlocks].flatMap((index) => handlesIn(blockAt(bytes, index)))
    let checked = levelFileLimits.tableFooterBytes
    for (const handle of [ofFilters, ofBlocks, ...listed]) { rawBlockAt(bytes, handle); checked += handle.length + levelFileLimits.tableTrailerBytes }
    // what no index lists would be read by nobody, and missed by nobody
    return checked === bytes.byteLength ? right : wrong(`its index lists ${checked} of ${bytes.byteLength} bytes`)
  } catch (error) {
    if (error instanceof MalformedBytes || error instanceof RangeError) return wrong(error.message)
    throw error
  }
}

/** Last bytes of a table: 0xdb4775248b80fb57, little-endian. */
const magic = [0x57, 0xfb, 0x80, 0x8b, 0x24, 0x75, 0x47, 0xdb]

interface Handle { readonly offset: number, readonly length: number }

/** A block with its compression, the CRC checked. @throws MalformedBytes */
function rawBlockAt (bytes: Uint8Array, { offset, length }: Handle): { readonly content: Uint8Array, readonly compression: number } {
  const end = offset + length + levelFileLimits.tableTrailerBytes
  if (end > bytes.byteLength) throw new MalformedBytes(`a block of it ends at byte ${end} of ${bytes.byteLength}`)
  const checked = bytes.subarray(offset, offset + length + 1)
  const check = new DataView(bytes.buffer, bytes.byteOffset + offset + length + 1, 4).getUint32(0, true)
  if (crc32c(checked) !== unmasked(check)) throw new MalformedBytes(`its block at byte ${offset} is not what was written`)
  return { content: checked.subarray(0, length), compression: checked[length] ?? 0 }
}

function blockAt (bytes: Uint8Array, handle: Handle): Uint8Array {
  const { content, compression } = rawBlockAt(bytes, handle)
  if (compression === 0) return content
  if (compression === 1) return uncompress(content, levelFileLimits.maxIndexBytes)
  throw new MalformedBytes(`a block of it is compressed in a way (${compression}) that is not known`)
}

/** A change that LevelDB has written, and when. */
export interface LevelChange {
  readonly key: Uint8Array
  /** Of two changes of a key the one with the higher number counts. */
  readonly sequence: bigint
  /** Undefined: deleted. */
  readonly value: Uint8Array | undefined
}

/** What can be read of a table, and how many of its blocks can not. Nothing of one whose index is damaged. */
export function changesInTable (bytes: Uint8Array): { readonly changes: readonly LevelChange[], readonly unreadable: number } {
  const changes: LevelChange[] = []
  let unreadable = 0
  for (const handle of placesOf(bytes)) {
    try {
      for (const { key, value } of entriesIn(blockAt(bytes, handle))) changes.push(changeOf(key, value))
    } catch (error) {
      if (!(error instanceof MalformedBytes) && !(error instanceof RangeError)) throw error
      unreadable++
    }
  }
  return { changes, unreadable }
}

function placesOf (bytes: Uint8Array): readonly Handle[] {
  try {
    const reader = new VarintReader(bytes.subarray(-levelFileLimits.tableFooterBytes))
    reader.handle()
    return handlesIn(blockAt(bytes, reader.handle()))
  } catch (error) {
    if (error instanceof MalformedBytes || error instanceof RangeError) return []
    throw error
  }
}

/** Behind a key in a table stand, as u64 little-endian, its number, shifted, and what it is: 1 put, 0 deleted. */
function changeOf (key: Uint8Array, value: Uint8Array): LevelChange {
  if (key.byteLength < 8) throw new MalformedBytes('a key without a number')
  const tag = new DataView(key.buffer, key.byteOffset + key.byteLength - 8, 8).getBigUint64(0, true)
  return { key: key.subarray(0, -8), sequence: tag >> 8n, value: (tag & 0xffn) === 0n ? undefined : value }
}

/** What can be read of a log: of what is damaged the rest of its block is left out, as LevelDB does. */
export function changesInLog (bytes: Uint8Array): readonly LevelChange[] {
  const changes: LevelChange[] = []
  let parts: Uint8Array[] = []
  const { logBlockBytes } = levelFileLimits
  for (let start = 0; start < bytes.byteLength; start += logBlockBytes) {
    const block = bytes.subarray(start, start + logBlockBytes)
    const view = new DataView(block.buffer, block.byteOffset, block.byteLength)
    for (let at = 0; at + recordHeadBytes <= block.byteLength;) {
      const [check, length, type] = [view.getUint32(at, true), view.getUint16(at + 4, true), view.getUint8(at + 6)]
      const end = at + recordHeadBytes + length
      if (end > block.byteLength || crc32c(block.subarray(at + 6, end)) !== unmasked(check)) { parts = []; break }
      const isBegun = type === middle || type === last ? parts.length > 0 : true
      parts = isBegun ? [...type === full || type === first ? [] : parts, block.subarray(at + recordHeadBytes, end)] : []
      if (isBegun && (type === full || type === last)) { changes.push(...changesInBatch(concat(parts))); parts = [] }
      at = end
    }
  }
  return changes
}

/** u64 number of the first | u32 count, both little-endian | count × (u8 1 put, 0 deleted | varint length, key | of a put: varint length, value). */
function changesInBatch (batch: Uint8Array): readonly LevelChange[] {
  const view = new DataView(batch.buffer, batch.byteOffset, batch.byteLength)
  let [sequence, count] = [view.getBigUint64(0, true), view.getUint32(8, true)]
  const reader = new VarintReader(batch.subarray(12))
  const changes: LevelChange[] = []
  for (; count > 0; count--, sequence++) {
    const isPut = reader.varint() === 1
    const key = reader.take(reader.varint())
    changes.push({ key, sequence, value: isPut ? reader.take(reader.varint()) : undefined })
  }
  return changes
}

const handlesIn = (block: Uint8Array): readonly Handle[] => [...entriesIn(block)].map(({ value }) => {
  const reader = new VarintReader(value)
  const handle = reader.handle()
  if (reader.remaining > 0) throw new MalformedBytes('an entry of its index is no place of a block')
  return handle
})

/** Of a block: varints shared, unshared, value length | rest of key | value; behind them u32 restarts, and their count. */
function * entriesIn (block: Uint8Array): Iterable<{ readonly key: Uint8Array, readonly value: Uint8Array }> {
  if (block.byteLength < 4) throw new MalformedBytes('a block of it has no end')
  const restarts = new DataView(block.buffer, block.byteOffset, block.byteLength).getUint32(block.byteLength - 4, true)
  const end = block.byteLength - 4 * (restarts + 1)
  if (end < 0) throw new MalformedBytes('a block of it has no end')
  const reader = new VarintReader(block.subarray(0, end))
  let key = empty
  while (reader.remaining > 0) {
    const [shared, unshared, length] = [reader.varint(), reader.varint(), reader.varint()]
    if (shared > key.byteLength) throw new MalformedBytes('a key of it begins as none before it')
    key = concat([key.subarray(0, shared), reader.take(unshared)])
    yield { key, value: reader.take(length) }
  }
}

class VarintReader {
  readonly #reader: ByteReader
  constructor (bytes: Uint8Array) { this.#reader = new ByteReader(bytes) }
  get offset (): number { return this.#reader.offset }
  get remaining (): number { return this.#reader.remaining }
  take (bytes: number): Uint8Array { return this.#reader.raw(bytes) }
  handle (): Handle { return { offset: this.varint(), length: this.varint() } }

  /** Seven bits a byte, the lowest first. */
  varint (): number {
    let value = 0
    for (let shift = 0; shift < 53; shift += 7) {
      const byte = this.#reader.u8()
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
    throw new MalformedBytes('a number of it has no end')
  }
}

const right: LevelFileCheck = { isRight: true }
const wrong = (reason: string): LevelFileCheck => ({ isRight: false, reason })
const isZeros = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0)

/** LevelDB stores CRCs turned and shifted, for a CRC over bytes that hold CRCs says little. */
function unmasked (masked: number): number {
  const turned = (masked - 0xa282ead8) >>> 0
  return ((turned >>> 17) | (turned << 15)) >>> 0
}
