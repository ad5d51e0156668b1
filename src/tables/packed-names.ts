import { ByteReader, ByteWriter } from '../base/bytes.ts'
import { encodeBallot, readBallot } from './ballot.ts'
import type { IndexEntry } from './listing-index.ts'

/**
 * Some hundreds of names of a listing in byte order, in one piece of memory: of a million names as objects with their keys, ballots and summaries in arrays of their
 * own each cost 4 KB, most of it heads of arrays and what they were cut from, and every collection of the heap went through all of them (bench/README.md).
 *
 * An entry is u16 length of the name | u16 length of the summary and 1, or 0 | row key(32) | ballot(40) | name | summary.
 */
export class PackedNames {
  #bytes = Buffer.allocUnsafeSlow(0)
  /** Where each entry starts, and behind the last one where it ends. */
  #starts = new Uint32Array(1)
  #count = 0

  get count (): number { return this.#count }

  /** How the name at `at` compares with another: as `compareBytes`. */
  compareAt (at: number, name: Uint8Array): number {
    const start = this.#start(at)
    return this.#bytes.compare(name, 0, name.byteLength, start + headBytes, start + headBytes + this.#bytes.readUInt16BE(start))
  }

  /** The first whose name is not below this one. */
  lowerBound (name: Uint8Array): number {
    let [low, high] = [0, this.#count]
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.compareAt(middle, name) < 0) low = middle + 1
      else high = middle
    }
    return low
  }

  /** Those from `at` on, `count` at the most, in memory of their own. */
  entries (at: number, count: number): readonly IndexEntry[] {
    const end = Math.min(this.#count, at + count)
    const bytes = new Uint8Array(this.#bytes.subarray(this.#start(at), this.#start(end)))
    return Array.from({ length: end - at }, (_, i) => decodeEntry(bytes.subarray(this.#start(at + i) - this.#start(at), this.#start(at + i + 1) - this.#start(at))))
  }

  entry (at: number): IndexEntry { return this.entries(at, 1)[0] as IndexEntry }

  insert (at: number, entry: IndexEntry): void { this.#splice(at, at, encodeEntry(entry)) }
  replace (at: number, entry: IndexEntry): void { this.#splice(at, at + 1, encodeEntry(entry)) }
  remove (at: number): void { this.#splice(at, at + 1, undefined) }

  /** The upper half goes, and is given. */
  split (): PackedNames {
    const [upper, middle] = [new PackedNames(), this.#count >> 1]
    const from = this.#start(middle)
    upper.#bytes = Buffer.allocUnsafeSlow(this.#start(this.#count) - from)
    this.#bytes.copy(upper.#bytes, 0, from, this.#start(this.#count))
    upper.#starts = this.#starts.slice(middle, this.#count + 1).map((start) => start - from)
    upper.#count = this.#count - middle
    this.#count = middle
    // what it had beyond is not kept
    this.#bytes = Buffer.from(new Uint8Array(this.#bytes.subarray(0, from)).buffer)
    this.#starts = this.#starts.slice(0, middle + 1)
    return upper
  }

  #start (at: number): number { return this.#starts[at] ?? 0 }

  /** Puts an entry, or none, in the place of those from `from` to `to`: of one or none. */
  #splice (from: number, to: number, entry: Uint8Array | undefined): void {
    const [start, end, used] = [this.#start(from), this.#start(to), this.#start(this.#count)]
    const [more, moreEntries] = [(entry?.byteLength ?? 0) - (end - start), (entry === undefined ? 0 : 1) - (to - from)]
    this.#demandRoom(used + more, this.#count + moreEntries + 1)
    this.#bytes.copyWithin(start + (entry?.byteLength ?? 0), end, used)
    if (entry !== undefined) this.#bytes.set(entry, start)
    this.#starts.copyWithin(to + moreEntries, to, this.#count + 1)
    this.#count += moreEntries
    for (let at = to + moreEntries; at <= this.#count; at++) this.#starts[at] = this.#start(at) + more
  }

  #demandRoom (bytes: number, starts: number): void {
    if (bytes > this.#bytes.byteLength) {
      const grown = Buffer.allocUnsafeSlow(Math.ceil(bytes * growth))
      this.#bytes.copy(grown)
      this.#bytes = grown
    }
    if (starts > this.#starts.length) {
      const grown = new Uint32Array(Math.ceil(starts * growth))
      grown.set(this.#starts)
      this.#starts = grown
    }
  }
}

/** Room for what comes: an eighth, so that few bytes lie idle and few entries are copied. */
const growth = 1.125
const headBytes = 2 + 2 + 32 + 40

function encodeEntry ({ name, rowKey, ballot, summary }: IndexEntry): Uint8Array {
  const writer = new ByteWriter().u16(name.byteLength).u16(summary === undefined ? 0 : summary.byteLength + 1).raw(rowKey).raw(encodeBallot(ballot)).raw(name)
  return (summary === undefined ? writer : writer.raw(summary)).finish()
}

function decodeEntry (bytes: Uint8Array): IndexEntry {
  const reader = new ByteReader(bytes)
  const [nameLength, hasSummary] = [reader.u16(), reader.u16() > 0]
  const [rowKey, ballot, name] = [reader.raw(32), readBallot(reader), reader.raw(nameLength)]
  return { name, rowKey, ballot, summary: hasSummary ? reader.rest() : undefined }
}
