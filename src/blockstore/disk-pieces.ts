import { concat, MalformedBytes } from '../base/bytes.ts'
import { NotFound, StoreFull } from '../base/errors.ts'
import { FileMissing, isReadFault } from '../disk/index.ts'
import { type PieceDisk, pieceFolderAt, pieceRoots } from './piece-disk.ts'

/**
 * What is stored by a name that its bytes prove: blocks, and shards of them. A large piece is a file of its own, which is there whole and durable or not at
 * all; the file is the truth. A small one (≤ 32 KiB) is a record of the key-value store, where many share one sync: 20 times the rate of small files.
 *
 * What is not what its name says is set aside, counted and reported, and never given out; so is a file that cannot be read, again and again. After a failed fsync of a file, or a failed write of the index (its
 * references too), the disk may have dropped what it claimed to have: nothing more is written until the store is opened afresh. A full disk is no failure:
 * writes go on when there is room.
 */
export interface Shelf<Name extends string> {
  /** First byte of the keys of small pieces, of the sizes of large ones, of small ones set aside. */
  readonly kinds: { readonly small: number, readonly large: number, readonly setAside: number }
  /** What stands behind the first byte. */
  keyOf (name: Name): Uint8Array
  /** Back. @throws MalformedBytes */
  nameOf (key: Uint8Array): Name
  /** The name of a file back; undefined if it is on another shelf. @throws MalformedBytes */
  parse (fileName: string): Name | undefined
  /** Two letters that spread the files over folders. */
  spreadBy (name: Name): string
  isRight (name: Name, bytes: Uint8Array): boolean
  missing (name: Name, options?: ErrorOptions): Error
  corrupt (name: Name): Error
  onCorrupt (name: Name): void
  /** Whether what is there is listed by the index alone, so that an entry must be as durable as its file. */
  readonly isFoundByIndex: boolean
}

export interface PieceStats {
  readonly count: number
  readonly bytes: number
  /** Set aside since the store was opened. */
  readonly corrupt: number
}

export const pieceLimits = {
  /** Up to here a piece is a record, above a file. */
  smallBytes: 32 * 1024,
  /** Files of which it is remembered that the last read failed; above it all are forgotten. */
  maxFailing: 10_000,
} as const

/** What is there: its bytes, or why its file cannot be read. */
type Read = { readonly bytes: Uint8Array, readonly isSmall: boolean } | { readonly fault: Error }

const { large, aside } = pieceRoots

export class DiskPieces<Name extends string> {
  readonly #disk: PieceDisk
  readonly #shelf: Shelf<Name>
  readonly #putting = new Map<Name, Promise<void>>()
  readonly #changing = new Map<Name, Promise<unknown>>()
  readonly #stats = { count: 0, bytes: 0, corrupt: 0 }
  /** The last read of their files failed. */
  readonly #failing = new Set<Name>()
  /** Wrong, and not to be set aside, for the disk takes no more writes: as good as gone until the store is opened afresh. */
  readonly #wrong = new Set<Name>()

  private constructor (disk: PieceDisk, shelf: Shelf<Name>) {
    this.#disk = disk
    this.#shelf = shelf
  }

  static async open<Name extends string> (disk: PieceDisk, shelf: Shelf<Name>): Promise<DiskPieces<Name>> {
    const pieces = new DiskPieces(disk, shelf)
    await pieces.#countUp()
    return pieces
  }

  get stats (): PieceStats { return { ...this.#stats } }

  async get (name: Name): Promise<Uint8Array> {
    const read = await this.#read(name)
    // once may be the disk, or the way to it; another time it is this file
    if ('fault' in read && !this.#failing.has(name)) {
      if (this.#failing.size >= pieceLimits.maxFailing) this.#failing.clear()
      this.#failing.add(name)
      throw read.fault
    }
    return this.#rightIn(name, read) ?? await this.#alone(name, async () => this.#getOrSetAside(name))
  }

  /** Of bytes that are right. */
  async put (name: Name, bytes: Uint8Array): Promise<void> {
    this.#disk.demandWritable()
    // who puts what is being put shares its end
    const running = this.#putting.get(name)
    if (running !== undefined) { await running; return }
    const putting = this.#alone(name, async () => this.#put(name, bytes)).finally(() => { this.#putting.delete(name) })
    this.#putting.set(name, putting)
    await putting
  }

  async settled (name: Name): Promise<void> {
    await this.#putting.get(name)
    this.#disk.demandWritable()
    await this.#disk.syncFolder(this.#folderOf(name))
    if (this.#shelf.isFoundByIndex && !await this.#isEntered(name)) await this.#enterAgain(name, await this.#disk.files.size(this.#pathOf(name)))
  }

  async has (name: Name): Promise<boolean> {
    if (this.#wrong.has(name)) return false
    if (await this.#disk.index.get(this.#keyOf('small', name)) !== undefined) return true
    return await this.#disk.files.size(this.#pathOf(name)) !== undefined
  }

  async delete (name: Name): Promise<void> { await this.#alone(name, async () => this.#delete(name)) }

  /** The files themselves, whatever the index says of them. */
  async * list (): AsyncIterable<Name> {
    const { files, index } = this.#disk
    const { small } = this.#shelf.kinds
    for await (const key of index.keys({ from: Uint8Array.of(small), to: Uint8Array.of(small + 1) })) yield * this.#nameIn(key)
    for await (const outer of files.list(large)) {
      for await (const inner of files.list(`${large}/${outer.name}`)) {
        for await (const { name, sizeBytes } of files.list(`${large}/${outer.name}/${inner.name}`)) {
          const piece = this.#parsed(name)
          if (piece === undefined) continue
          if (this.#shelf.isFoundByIndex) await this.#enterAgain(piece, sizeBytes)
          yield piece
        }
      }
    }
  }

  /**
   * Enters in the index what lies in one folder of files and is not in it: after a crash an entry may be missing, and a damaged index may have lost many. Gives how
   * many there were. Folders are numbered from 0 to `pieceFolders`.
   */
  async enterFolder (at: number): Promise<number> {
    const { files } = this.#disk
    let entered = 0
    for await (const { name, sizeBytes } of files.list(pieceFolderAt(at))) {
      if (await this.#enterAgain(this.#parsed(name), sizeBytes)) entered++
    }
    return entered
  }

  /** Names whose key begins so, as far as the index knows; a large one may be gone. */
  async * under (keyPrefix: Uint8Array): AsyncIterable<Name> {
    for (const kind of [this.#shelf.kinds.small, this.#shelf.kinds.large]) {
      const from = concat([Uint8Array.of(kind), keyPrefix])
      for await (const key of this.#disk.index.keys({ from, to: concat([from, beyond]) })) yield * this.#nameIn(key)
    }
  }

  async #countUp (): Promise<void> {
    const { index } = this.#disk
    const { small, large } = this.#shelf.kinds
    for await (const [, value] of index.entries({ from: Uint8Array.of(large), to: Uint8Array.of(large + 1) })) this.#count(1, sizeIn(value))
    for await (const [, value] of index.entries({ from: Uint8Array.of(small), to: Uint8Array.of(small + 1) })) this.#count(1, value.byteLength)
  }

  async #read (name: Name): Promise<Read> {
    if (this.#wrong.has(name)) throw this.#shelf.missing(name)
    const small = await this.#disk.index.get(this.#keyOf('small', name))
    if (small !== undefined) return { bytes: small, isSmall: true }
    try {
      return { bytes: await this.#disk.files.read(this.#pathOf(name)), isSmall: false }
    } catch (cause) {
      if (cause instanceof FileMissing) throw this.#shelf.missing(name, { cause })
      if (isReadFault(cause)) return { fault: cause }
      throw cause
    }
  }

  #rightIn (name: Name, read: Read): Uint8Array | undefined {
    if ('fault' in read) return undefined
    this.#failing.delete(name)
    return this.#shelf.isRight(name, read.bytes) ? read.bytes : undefined
  }

  /** One after the other for one piece: else who found it rotten sets aside, or counts as lost, what another has put, moved or deleted since. */
  async #alone<T> (name: Name, change: () => Promise<T>): Promise<T> {
    // whether the one before went well is its own caller's to know
    while (this.#changing.has(name)) await this.#changing.get(name)?.catch(() => {})
    const changing = change().finally(() => { this.#changing.delete(name) })
    this.#changing.set(name, changing)
    return await changing
  }

  async #put (name: Name, bytes: Uint8Array): Promise<void> {
    const disk = this.#disk
    const { byteLength } = bytes
    if (await this.#isThereRight(name)) {
      const isLarge = byteLength > pieceLimits.smallBytes
      const isUncounted = isLarge && this.#shelf.isFoundByIndex && !await this.#isEntered(name)
      await Promise.all([disk.syncFolder(this.#folderOf(name)), ...isLarge && this.#shelf.isFoundByIndex ? [this.#enter(name, byteLength)] : []])
      if (isUncounted) this.#count(1, byteLength)
      return
    }
    using _room = await disk.roomFor(byteLength)
    let isEntered = true
    if (byteLength <= pieceLimits.smallBytes) await disk.index.batch([{ type: 'put', key: this.#keyOf('small', name), value: bytes }], { sync: true })
    else isEntered = await this.#putFile(name, bytes)
    if (isEntered) this.#count(1, byteLength)
    disk.wrote(byteLength)
  }

  /** Whether it is in the index too: what is not is not counted, now or at the next start, until it is. */
  async #putFile (name: Name, bytes: Uint8Array): Promise<boolean> {
    const writing = this.#disk.writeDurable(this.#pathOf(name), bytes)
    if (this.#shelf.isFoundByIndex) {
      // after a crash an entry without its file is harmless, so neither waits for the other
      const [written, entered] = await Promise.allSettled([writing, this.#enter(name, bytes.byteLength)])
      // neither stays alone: the one would be counted after a start, the other be here for nobody. What failed first is what is told
      if (written.status === 'rejected') await this.#disk.index.batch([{ type: 'delete', key: this.#keyOf('large', name) }], { sync: false }).catch(() => {})
      else if (entered.status === 'rejected') await this.#disk.files.remove(this.#pathOf(name)).catch(() => {})
      for (const done of [written, entered]) if (done.status === 'rejected') throw done.reason
      return true
    }
    await writing
    // the piece is on disk
    return await this.#enter(name, bytes.byteLength).then(() => true, (error: unknown) => { if (error instanceof StoreFull) return false; throw error })
  }

  async #enter (name: Name, byteLength: number): Promise<void> {
    const size = new Uint8Array(4)
    new DataView(size.buffer).setUint32(0, byteLength)
    await this.#disk.index.batch([{ type: 'put', key: this.#keyOf('large', name), value: size }], { sync: this.#shelf.isFoundByIndex })
  }

  /** A stranger's file is no piece. */
  #parsed (fileName: string): Name | undefined { return orNone(() => this.#shelf.parse(fileName)) }

  /** A key that rotted is nobody's: what it stood for is known by its file, its references, or others. */
  #nameIn (key: Uint8Array): readonly Name[] {
    const name = orNone(() => this.#shelf.nameOf(key.subarray(1)))
    return name === undefined ? [] : [name]
  }

  async #isEntered (name: Name): Promise<boolean> { return await this.#entered(name) !== undefined }

  /** How long its file is, as the index has it, and as it was counted. */
  async #entered (name: Name): Promise<number | undefined> {
    const value = await this.#disk.index.get(this.#keyOf('large', name))
    return value === undefined ? undefined : sizeIn(value)
  }

  /** `byteLength`: of its file; undefined: there is none. */
  async #enterAgain (name: Name | undefined, byteLength: number | undefined): Promise<boolean> {
    if (name === undefined || byteLength === undefined) return false
    const isEntered = async (): Promise<boolean> => this.#disk.failure !== undefined || await this.#isEntered(name)
    if (await isEntered()) return false
    return this.#alone(name, async () => {
      // whoever was before may have entered it, or taken it away
      if (await isEntered() || !await this.has(name)) return false
      await this.#enter(name, byteLength)
      this.#count(1, byteLength)
      return true
    })
  }

  async #delete (name: Name): Promise<void> {
    this.#disk.demandWritable()
    const { files, index } = this.#disk
    const small = await index.get(this.#keyOf('small', name))
    const fileSize = small === undefined ? await files.size(this.#pathOf(name)) : undefined
    if (fileSize !== undefined) {
      await files.remove(this.#pathOf(name))
      // a crash must not bring it back when its references are gone: what nothing refers to stays for ever
      await this.#disk.heeding(files.syncFolder(this.#folderOf(name)))
      this.#uncount(await this.#entered(name))
    }
    // an entry without its file is left where a disk was too full to delete it: the next start would count it
    if (small === undefined && fileSize === undefined && await index.get(this.#keyOf('large', name)) === undefined) return
    await index.batch([{ type: 'delete', key: this.#keyOf('small', name) }, { type: 'delete', key: this.#keyOf('large', name) }], { sync: true })
    if (small !== undefined) this.#count(-1, -small.byteLength)
  }

  // a rotten copy must not stand for the good one that is being put
  async #isThereRight (name: Name): Promise<boolean> {
    if (!await this.has(name)) return false
    try {
      return (await this.#readOrSetAside(name)) !== undefined
    } catch (error) {
      if (error instanceof NotFound) return false
      throw error
    }
  }

  /** Alone only. */
  async #getOrSetAside (name: Name): Promise<Uint8Array> {
    const bytes = await this.#readOrSetAside(name)
    if (bytes === undefined) throw this.#shelf.corrupt(name)
    return bytes
  }

  /** Alone only. Reads again: what was rotten before its turn came may have been replaced. */
  async #readOrSetAside (name: Name): Promise<Uint8Array | undefined> {
    const read = await this.#read(name)
    const right = this.#rightIn(name, read)
    if (right === undefined) await this.#setAside(name, read)
    return right
  }

  async #setAside (name: Name, read: Read): Promise<void> {
    const { index } = this.#disk
    if ('fault' in read) { await this.#setUnreadableAside(name, read.fault); return }
    try {
      if (this.#disk.failure !== undefined) { this.#wrong.add(name); return }
      const counted = read.isSmall ? read.bytes.byteLength : await this.#entered(name)
      if (read.isSmall) await index.batch([{ type: 'put', key: this.#keyOf('setAside', name), value: read.bytes }, { type: 'delete', key: this.#keyOf('small', name) }], { sync: true })
      else await this.#setFileAside(name)
      this.#lost(counted)
    } finally {
      // told before, who mends it might look while it is still here, and find nothing missing
      this.#shelf.onCorrupt(name)
    }
  }

  /** Only on a disk that does all else: where nothing can be done any more it is not this file that is at fault. @throws `fault` */
  async #setUnreadableAside (name: Name, fault: Error): Promise<void> {
    if (this.#disk.failure !== undefined) throw fault
    const counted = await this.#entered(name)
    try {
      await this.#setFileAside(name)
    } catch (cause) {
      throw isReadFault(cause) ? fault : cause
    }
    this.#failing.delete(name)
    this.#shelf.onCorrupt(name)
    this.#lost(counted)
  }

  async #setFileAside (name: Name): Promise<void> {
    await this.#disk.heeding(this.#disk.files.rename(this.#pathOf(name), `${aside}/${name}`))
    await this.#disk.index.batch([{ type: 'delete', key: this.#keyOf('large', name) }], { sync: false })
  }

  #lost (counted: number | undefined): void {
    this.#stats.corrupt++
    this.#uncount(counted)
  }

  /** As many bytes as were counted; undefined: it was not. */
  #uncount (byteLength: number | undefined): void { if (byteLength !== undefined) this.#count(-1, -byteLength) }

  #count (pieces: number, bytes: number): void {
    this.#stats.count += pieces
    this.#stats.bytes += bytes
    this.#disk.hold(bytes)
  }

  #keyOf (kind: keyof Shelf<Name>['kinds'], name: Name): Uint8Array { return concat([Uint8Array.of(this.#shelf.kinds[kind]), this.#shelf.keyOf(name)]) }

  #folderOf (name: Name): string {
    const [outer, inner] = this.#shelf.spreadBy(name)
    return `${large}/${outer}/${inner}`
  }

  #pathOf (name: Name): string { return `${this.#folderOf(name)}/${name}` }
}

function orNone<T> (parsed: () => T | undefined): T | undefined {
  try { return parsed() } catch (error) {
    if (error instanceof MalformedBytes) return undefined
    throw error
  }
}

const sizeIn = (value: Uint8Array): number => value.byteLength === 4 ? new DataView(value.buffer, value.byteOffset).getUint32(0) : 0

/** Behind every key that begins as the one before it. */
const beyond = new Uint8Array(64).fill(0xff)
