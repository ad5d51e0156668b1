import { concat } from '../base/bytes.ts'
import { type Cid, cidOf, cidOfDigest, digestOf, parseCid } from '../base/cid.ts'
import { StoreFull } from '../base/errors.ts'
import { FileMissing, type Files, type KeyValue, SyncFailed } from '../disk/index.ts'
import { BlockCorrupt, BlockMissing, type Blocks, StoreReadOnly } from './index.ts'

/**
 * Blocks on this node's disk. A large block is a file of its own, `blocks/large/a/b/<cid>`, which is there whole and durable or not at all; the file is the
 * truth. A small one (≤ 32 KiB) is a record of the key-value store, where many share one sync: 20 times the rate of small files. The store also lists
 * the large ones with their sizes, for counting at the start without walking the folders: an entry may be missing after a crash, which miscounts by a
 * block and harms nothing, for reads go to the file.
 *
 * What does not hash to its address is set aside (`blocks/corrupt/<cid>`, or under another key), counted and reported, and never given out. After a failed fsync
 * of a file, or a failed write of the index (its references too), the disk may have dropped what it claimed to have: the store takes no more writes until it
 * is opened afresh. A full disk is no failure: writes go on when there is room.
 */
export interface DiskBlocks extends Blocks {
  stats (): BlockStats
  /** Takes writes again if the disk, which its index found full, has room again. The next write does so too. */
  recover (): Promise<void>
  /**
   * What was seen of a block before the call is on disk for good when it resolves: a file can be seen as soon as it is renamed, while its folder is still
   * being synced, or never was by a process that was killed. @throws StoreReadOnly: nothing is certain any more; what a put under way says
   */
  settled (cid: Cid): Promise<void>
}

export interface BlockStats {
  readonly count: number
  readonly bytes: number
  /** Set aside since the store was opened. */
  readonly corrupt: number
  readonly isReadOnly: boolean
  /** What failed, if it is, and when that ends. */
  readonly readOnlyReason?: string
}

export interface DiskBlocksOptions {
  readonly files: Files
  readonly index: KeyValue
  /** Bytes of blocks this store takes; undefined: what the disk has. */
  readonly quotaBytes: number | undefined
  /** Bytes of the disk that stay free. */
  readonly reserveBytes: number
  readonly onCorrupt: (cid: Cid) => void
}

export const diskBlockLimits = {
  /** Up to here a block is a record, above a file. */
  smallBytes: 32 * 1024,
  /** Free space is asked of the disk once for so many bytes written. */
  freeCheckBytes: 16 * 1024 * 1024,
} as const

/** Keys: one byte, then the digest (32). */
const keys = { small: 1, large: 2, setAside: 4 } as const
const keyOf = (kind: number, cid: Cid): Uint8Array => concat([Uint8Array.of(kind), digestOf(cid)])
/** Of base32, as CIDs are written in: 32 × 32 folders, so a million blocks are a thousand in each. */
const letters = 'abcdefghijklmnopqrstuvwxyz234567'.split('')
const [folder, asideFolder, temporaryFolder] = ['blocks/large', 'blocks/corrupt', 'blocks/tmp']

export async function openDiskBlocks (options: DiskBlocksOptions): Promise<DiskBlocks> {
  const { files } = options
  for (const path of [folder, asideFolder, temporaryFolder]) await files.ensureFolder(path)
  // all at once: a new folder for nearly every block would cost each of them two syncs more
  await files.ensureFolders(letters.flatMap((outer) => [`${folder}/${outer}`, ...letters.map((inner) => `${folder}/${outer}/${inner}`)]))
  // debris of a crash stands in this one folder
  for await (const { name } of files.list(temporaryFolder)) await files.remove(`${temporaryFolder}/${name}`)
  const store = new Store(options)
  await store.countUp()
  return store
}

class Store implements DiskBlocks {
  readonly #options: DiskBlocksOptions
  readonly #putting = new Map<Cid, Promise<void>>()
  readonly #changing = new Map<Cid, Promise<unknown>>()
  /** Synced since the store was opened: what was in them before is on disk, and what comes syncs its folder itself. */
  readonly #syncedFolders = new Set<string>()
  readonly #stats = { count: 0, bytes: 0, corrupt: 0 }
  #syncFailure: SyncFailed | undefined
  /** Of what is being written, and not counted yet. */
  #reservedBytes = 0
  #writtenBytes = 0
  /** What the disk had free when so much was written. */
  #checked = { freeBytes: 0, writtenBytes: -Infinity }

  constructor (options: DiskBlocksOptions) {
    this.#options = options
  }

  stats (): BlockStats {
    const failed = this.#failure()
    const reason = failed !== undefined ? takesNoWrites(failed) : this.#options.index.failure === undefined ? undefined : 'the disk is full. It goes on when there is room'
    return { ...this.#stats, isReadOnly: reason !== undefined, ...(reason === undefined ? {} : { readOnlyReason: reason }) }
  }

  async recover (): Promise<void> {
    const { index } = this.#options
    if (!(index.failure instanceof StoreFull)) return
    await index.batch([], { sync: true }).catch((error: unknown) => { if (!(error instanceof StoreFull)) throw error })
  }

  async countUp (): Promise<void> {
    const { index } = this.#options
    for await (const [, value] of index.entries({ from: Uint8Array.of(keys.large), to: Uint8Array.of(keys.large + 1) })) this.#count(1, sizeIn(value))
    for await (const [, value] of index.entries({ from: Uint8Array.of(keys.small), to: Uint8Array.of(keys.small + 1) })) this.#count(1, value.byteLength)
  }

  async get (cid: Cid): Promise<Uint8Array> {
    const { block } = await this.#read(parseCid(cid))
    return cidOf(block) === cid ? block : await this.#alone(cid, async () => this.#getOrSetAside(cid))
  }

  async put (cid: Cid, block: Uint8Array): Promise<void> {
    if (cidOf(block) !== parseCid(cid)) throw new BlockCorrupt(cid)
    this.#demandWritable()
    // who puts what is being put shares its end
    const running = this.#putting.get(cid)
    if (running !== undefined) { await running; return }
    const putting = this.#alone(cid, async () => this.#put(cid, block)).finally(() => { this.#putting.delete(cid) })
    this.#putting.set(cid, putting)
    await putting
  }

  async settled (cid: Cid): Promise<void> {
    await this.#putting.get(cid)
    this.#demandWritable()
    await this.#syncFolder(folderOf(cid))
  }

  async has (cid: Cid): Promise<boolean> {
    const { files, index } = this.#options
    if (await index.get(keyOf(keys.small, parseCid(cid))) !== undefined) return true
    return await files.size(pathOf(cid)) !== undefined
  }

  async delete (cid: Cid): Promise<void> {
    await this.#alone(parseCid(cid), async () => this.#delete(cid))
  }

  async * list (): AsyncIterable<Cid> {
    const { files, index } = this.#options
    for await (const key of index.keys({ from: Uint8Array.of(keys.small), to: Uint8Array.of(keys.small + 1) })) yield cidOfDigest(key.subarray(1))
    for await (const outer of files.list(folder)) {
      for await (const inner of files.list(`${folder}/${outer.name}`)) {
        for await (const { name } of files.list(`${folder}/${outer.name}/${inner.name}`)) yield parseCid(name)
      }
    }
  }

  async #read (cid: Cid): Promise<{ block: Uint8Array, isSmall: boolean }> {
    const { files, index } = this.#options
    const small = await index.get(keyOf(keys.small, cid))
    if (small !== undefined) return { block: small, isSmall: true }
    try {
      return { block: await files.read(pathOf(cid)), isSmall: false }
    } catch (cause) {
      if (cause instanceof FileMissing) throw new BlockMissing(cid, { cause })
      throw cause
    }
  }

  /** One after the other for one block: else who found it rotten sets aside, or counts as lost, what another has put, moved or deleted since. */
  async #alone<T> (cid: Cid, change: () => Promise<T>): Promise<T> {
    // whether the one before went well is its own caller's to know
    while (this.#changing.has(cid)) await this.#changing.get(cid)?.catch(() => {})
    const changing = change().finally(() => { this.#changing.delete(cid) })
    this.#changing.set(cid, changing)
    return await changing
  }

  async #put (cid: Cid, block: Uint8Array): Promise<void> {
    if (await this.#isThereRight(cid)) { await this.#syncFolder(folderOf(cid)); return }
    using _room = await this.#roomFor(block.byteLength)
    if (block.byteLength <= diskBlockLimits.smallBytes) await this.#options.index.batch([{ type: 'put', key: keyOf(keys.small, cid), value: block }], { sync: true })
    else await this.#putFile(cid, block)
    this.#count(1, block.byteLength)
    this.#writtenBytes += block.byteLength
  }

  async #putFile (cid: Cid, block: Uint8Array): Promise<void> {
    const { files, index } = this.#options
    const path = pathOf(cid)
    try {
      await this.#heeding(files.writeDurable(path, [block], { temporaryFolder }))
      // whatever it was that failed meanwhile may have taken this with it
      this.#demandWritable()
    } catch (error) {
      // it must not be found, now or after the next start, and be taken for one that is on disk
      if (error instanceof SyncFailed || error instanceof StoreReadOnly) await files.remove(path).catch(() => {}) // what failed first is what is told
      throw error
    }
    const size = new Uint8Array(4)
    new DataView(size.buffer).setUint32(0, block.byteLength)
    // the block is on disk; without its size the next start counts one too few
    await index.batch([{ type: 'put', key: keyOf(keys.large, cid), value: size }], { sync: false }).catch((error: unknown) => { if (!(error instanceof StoreFull)) throw error })
  }

  async #delete (cid: Cid): Promise<void> {
    this.#demandWritable()
    const { files, index } = this.#options
    const small = await index.get(keyOf(keys.small, cid))
    const size = small?.byteLength ?? await files.size(pathOf(cid))
    if (size === undefined) return
    if (small === undefined) await files.remove(pathOf(cid))
    await index.batch([{ type: 'delete', key: keyOf(keys.small, cid) }, { type: 'delete', key: keyOf(keys.large, cid) }], { sync: true })
    this.#count(-1, -size)
  }

  async #syncFolder (path: string): Promise<void> {
    if (this.#syncedFolders.has(path)) return
    await this.#heeding(this.#options.files.syncFolder(path))
    this.#syncedFolders.add(path)
  }

  async #heeding (writing: Promise<void>): Promise<void> {
    await writing.catch((error: unknown) => {
      if (error instanceof SyncFailed) this.#syncFailure ??= error
      throw error
    })
  }

  // a rotten copy must not stand for the good one that is being put
  async #isThereRight (cid: Cid): Promise<boolean> {
    if (!await this.has(cid)) return false
    try {
      await this.#getOrSetAside(cid)
      return true
    } catch (error) {
      if (error instanceof BlockCorrupt || error instanceof BlockMissing) return false
      throw error
    }
  }

  /** Alone only. Reads again: what was rotten before its turn came may have been replaced. */
  async #getOrSetAside (cid: Cid): Promise<Uint8Array> {
    const { block, isSmall } = await this.#read(cid)
    if (cidOf(block) === cid) return block
    await this.#setAside(cid, block, isSmall)
    throw new BlockCorrupt(cid)
  }

  async #setAside (cid: Cid, block: Uint8Array, isSmall: boolean): Promise<void> {
    const { files, index, onCorrupt } = this.#options
    onCorrupt(cid)
    if (this.#failure() !== undefined) return
    if (isSmall) await index.batch([{ type: 'put', key: keyOf(keys.setAside, cid), value: block }, { type: 'delete', key: keyOf(keys.small, cid) }], { sync: true })
    else {
      await this.#heeding(files.rename(pathOf(cid), `${asideFolder}/${cid}`))
      await index.batch([{ type: 'delete', key: keyOf(keys.large, cid) }], { sync: false })
    }
    this.#stats.corrupt++
    this.#count(-1, -block.byteLength)
  }

  #failure (): SyncFailed | undefined {
    const { failure } = this.#options.index
    return this.#syncFailure ?? (failure instanceof SyncFailed ? failure : undefined)
  }

  #demandWritable (): void {
    const cause = this.#failure()
    if (cause !== undefined) throw new StoreReadOnly(`the block store takes no writes: ${takesNoWrites(cause)}`, { cause })
  }

  /** Taken until the block is counted, or could not be written: the blocks of one moment must not all go by the same room. @throws StoreFull */
  async #roomFor (bytes: number): Promise<Disposable> {
    const { files, quotaBytes, reserveBytes } = this.#options
    const free = (): number => this.#checked.freeBytes - (this.#writtenBytes - this.#checked.writtenBytes) - this.#reservedBytes
    if (this.#writtenBytes - this.#checked.writtenBytes > diskBlockLimits.freeCheckBytes || free() - bytes < reserveBytes) {
      const writtenBytes = this.#writtenBytes
      this.#checked = { freeBytes: await files.freeBytes(folder), writtenBytes }
    }
    const held = this.#stats.bytes + this.#reservedBytes
    if (quotaBytes !== undefined && held + bytes > quotaBytes) throw new StoreFull(`this node holds ${held} bytes of blocks and may hold ${quotaBytes}`)
    if (free() - bytes < reserveBytes) throw new StoreFull(`the disk has ${this.#checked.freeBytes} bytes free, of which ${reserveBytes} are kept in reserve`)
    this.#reservedBytes += bytes
    return { [Symbol.dispose]: () => { this.#reservedBytes -= bytes } }
  }

  #count (blocks: number, bytes: number): void {
    this.#stats.count += blocks
    this.#stats.bytes += bytes
  }
}

const takesNoWrites = ({ message }: SyncFailed): string => `${message}. Check the disk, then start the node again`

/** The last characters of a CID are as good as random; the first are the same for all. */
const folderOf = (cid: Cid): string => `${folder}/${cid.slice(-1)}/${cid.slice(-2, -1)}`
const pathOf = (cid: Cid): string => `${folderOf(cid)}/${cid}`

const sizeIn = (value: Uint8Array): number => value.byteLength === 4 ? new DataView(value.buffer, value.byteOffset).getUint32(0) : 0
