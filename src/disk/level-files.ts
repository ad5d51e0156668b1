import { crc32c } from '@node-rs/crc32'
import { uncompress } from 'snappyjs'
import { ByteReader, MalformedBytes } from '../base/bytes.ts'

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

/** The values of a block of an index: entries (varints shared, unshared, value length | rest of key | value), then u32 restarts and their count. */
function handlesIn (block: Uint8Array): Handle[] {
  const restarts = new DataView(block.buffer, block.byteOffset, block.byteLength).getUint32(block.byteLength - 4, true)
  const reader = new VarintReader(block.subarray(0, block.byteLength - 4 * (restarts + 1)))
  const handles: Handle[] = []
  while (reader.remaining > 0) {
    reader.varint()
    const [unshared, length] = [reader.varint(), reader.varint()]
    reader.skip(unshared)
    const end = reader.offset + length
    handles.push(reader.handle())
    if (reader.offset !== end) throw new MalformedBytes('an entry of its index is no place of a block')
  }
  return handles
}

class VarintReader {
  readonly #reader: ByteReader
  constructor (bytes: Uint8Array) { this.#reader = new ByteReader(bytes) }
  get offset (): number { return this.#reader.offset }
  get remaining (): number { return this.#reader.remaining }
  skip (bytes: number): void { this.#reader.raw(bytes) }
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
