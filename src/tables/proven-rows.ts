import { ByteReader } from '../base/bytes.ts'

/**
 * What a partition was found to hold when it was proven, and has been given since: of each row 32 bits of its key and 21 of its hash, as one number. The
 * proof reads a partition from end to end, but a look for one row goes other ways through LevelDB, which checks nothing either: a flipped bit in the filter
 * of a table hides a row, or shows the one that it replaced, which is intact in itself. So every look is held against this. And what is not in here at all
 * need not be looked for.
 */
export class ProvenRows {
  /** Sorted. */
  #marks = new Float64Array(0)
  #count = 0
  /** Of changes until now: what was read before one says nothing after it. */
  changes = 0

  /** Certain if not; the key of another row may look the same. */
  mayHave (rowKey: Uint8Array): boolean {
    const least = keyMark(rowKey)
    const at = this.#from(least)
    return at < this.#count && (this.#marks[at] ?? 0) < least + hashes
  }

  /** Of the row, if there is one, and of others whose keys look the same. */
  marksAlike (rowKey: Uint8Array): readonly number[] {
    const least = keyMark(rowKey)
    return [...this.#marks.subarray(this.#from(least), Math.min(this.#count, this.#from(least + hashes)))]
  }

  has (rowKey: Uint8Array, rowHash: Uint8Array): boolean {
    const mark = markOf(rowKey, rowHash)
    const at = this.#from(mark)
    return at < this.#count && this.#marks[at] === mark
  }

  /** A row with hash `after` takes the place of the one with hash `before`; undefined: there is none. */
  replace (rowKey: Uint8Array, { before, after }: { before: Uint8Array | undefined, after: Uint8Array | undefined }): void {
    this.changes++
    if (before !== undefined) this.#remove(markOf(rowKey, before))
    if (after !== undefined) this.#insert(markOf(rowKey, after))
  }

  #insert (mark: number): void {
    if (this.#count === this.#marks.length) {
      const grown = new Float64Array(Math.max(8, this.#count * 2))
      grown.set(this.#marks)
      this.#marks = grown
    }
    const at = this.#from(mark)
    this.#marks.copyWithin(at + 1, at, this.#count)
    this.#marks[at] = mark
    this.#count++
  }

  #remove (mark: number): void {
    const at = this.#from(mark)
    if (at === this.#count || this.#marks[at] !== mark) return
    this.#marks.copyWithin(at, at + 1, this.#count)
    this.#count--
  }

  /** Where the first mark stands that is not below this one. */
  #from (mark: number): number {
    let [low, high] = [0, this.#count]
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#marks[middle] ?? 0) < mark) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** Of a mark's 53 bits, which a double holds exactly. */
const hashes = 2 ** 21

// the first byte of a key, and half the second, are the partition
const keyMark = (rowKey: Uint8Array): number => new ByteReader(rowKey.subarray(1)).u32() * hashes
export const markOf = (rowKey: Uint8Array, rowHash: Uint8Array): number => keyMark(rowKey) + new ByteReader(rowHash).u32() % hashes
