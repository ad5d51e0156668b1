import { StoreFull } from '../base/errors.ts'
import { type Files, type KeyValue, SyncFailed } from '../disk/index.ts'
import { orUnseen, StoreReadOnly } from './index.ts'

export interface PieceDiskOptions {
  readonly files: Files
  readonly index: KeyValue
  /** Bytes of pieces this store takes, or what tells them, for they may change; undefined: what the disk has. */
  readonly quotaBytes: number | (() => number | undefined) | undefined
  /** Bytes of the disk that stay free. */
  readonly reserveBytes: number
}

export const pieceDiskLimits = {
  /** Free space is asked of the disk once for so many bytes written. */
  freeCheckBytes: 16 * 1024 * 1024,
} as const

/** Files of pieces, of those that were set aside, and of those that are being written. */
export const pieceRoots = { large: 'blocks/large', aside: 'blocks/corrupt', temporary: 'blocks/tmp' } as const
/** Of base32, as CIDs are written in: 32 × 32 folders, so a million pieces are a thousand in each. */
const letters = 'abcdefghijklmnopqrstuvwxyz234567'.split('')
/** Folders that files of pieces are spread over. */
export const pieceFolders = letters.length ** 2
/** From 0 to `pieceFolders`. */
export const pieceFolderAt = (at: number): string => `${pieceRoots.large}/${letters[Math.floor(at / letters.length)]}/${letters[at % letters.length]}`

/** What all pieces of a node share: the disk's room, and what has failed on it. */
export class PieceDisk {
  readonly files: Files
  readonly index: KeyValue
  readonly #options: PieceDiskOptions
  /** Synced since the store was opened: what was in them before is on disk, and what comes syncs its folder itself. */
  readonly #syncedFolders = new Set<string>()
  #syncFailure: SyncFailed | undefined
  #heldBytes = 0
  /** Of what is being written, and not counted yet. */
  #reservedBytes = 0
  #writtenBytes = 0
  /** What the disk had free when so much was written. */
  #checked = { freeBytes: 0, writtenBytes: -Infinity }

  private constructor (options: PieceDiskOptions) {
    this.files = options.files
    this.index = options.index
    this.#options = options
  }

  static async open (options: PieceDiskOptions): Promise<PieceDisk> {
    const { files } = options
    const { large, temporary } = pieceRoots
    for (const path of Object.values(pieceRoots)) await files.ensureFolder(path)
    // all at once: a new folder for nearly every piece would cost each of them two syncs more
    await files.ensureFolders(letters.flatMap((outer) => [`${large}/${outer}`, ...letters.map((inner) => `${large}/${outer}/${inner}`)]))
    // debris of a crash stands in this one folder, and what the disk does not let go of it is in nobody's way
    await emptied(files, temporary).catch(orUnseen)
    return new PieceDisk(options)
  }

  get failure (): SyncFailed | undefined {
    const { failure } = this.index
    return this.#syncFailure ?? (failure instanceof SyncFailed ? failure : undefined)
  }

  get readOnlyReason (): string | undefined {
    const { failure } = this
    return failure !== undefined ? takesNoWrites(failure) : this.index.failure === undefined ? undefined : 'the disk is full. It goes on when there is room'
  }

  demandWritable (): void {
    const cause = this.failure
    if (cause !== undefined) throw new StoreReadOnly(`the block store takes no writes: ${takesNoWrites(cause)}`, { cause })
  }

  /** Takes writes again if the disk, which its index found full, has room again. The next write does so too. */
  async recover (): Promise<void> {
    if (!(this.index.failure instanceof StoreFull)) return
    await this.index.batch([], { sync: true }).catch((error: unknown) => { if (!(error instanceof StoreFull)) throw error })
  }

  async writeDurable (path: string, bytes: Uint8Array): Promise<void> {
    try {
      await this.heeding(this.files.writeDurable(path, [bytes], { temporaryFolder: pieceRoots.temporary }))
      // whatever it was that failed meanwhile may have taken this with it
      this.demandWritable()
    } catch (error) {
      // it must not be found, now or after the next start, and be taken for one that is on disk
      if (error instanceof SyncFailed || error instanceof StoreReadOnly) await this.files.remove(path).catch(() => {}) // what failed first is what is told
      throw error
    }
  }

  async syncFolder (path: string): Promise<void> {
    if (this.#syncedFolders.has(path)) return
    await this.heeding(this.files.syncFolder(path))
    this.#syncedFolders.add(path)
  }

  async heeding (writing: Promise<void>): Promise<void> {
    await writing.catch((error: unknown) => {
      if (error instanceof SyncFailed) this.#syncFailure ??= error
      throw error
    })
  }

  /** Taken until the piece is counted, or could not be written: the pieces of one moment must not all go by the same room. @throws StoreFull */
  async roomFor (bytes: number): Promise<Disposable> {
    const { quotaBytes: quota, reserveBytes } = this.#options
    const quotaBytes = typeof quota === 'function' ? quota() : quota
    const free = (): number => this.#checked.freeBytes - (this.#writtenBytes - this.#checked.writtenBytes) - this.#reservedBytes
    if (this.#writtenBytes - this.#checked.writtenBytes > pieceDiskLimits.freeCheckBytes || free() - bytes < reserveBytes) {
      const writtenBytes = this.#writtenBytes
      this.#checked = { freeBytes: await this.files.freeBytes(pieceRoots.large), writtenBytes }
    }
    const held = this.#heldBytes + this.#reservedBytes
    if (quotaBytes !== undefined && held + bytes > quotaBytes) throw new StoreFull(`this node holds ${held} bytes of blocks and may hold ${quotaBytes}`)
    if (free() - bytes < reserveBytes) throw new StoreFull(`the disk has ${this.#checked.freeBytes} bytes free, of which ${reserveBytes} are kept in reserve`)
    this.#reservedBytes += bytes
    return { [Symbol.dispose]: () => { this.#reservedBytes -= bytes } }
  }

  hold (bytes: number): void { this.#heldBytes += bytes }
  wrote (bytes: number): void { this.#writtenBytes += bytes }
}

async function emptied (files: Files, folder: string): Promise<void> {
  for await (const { name } of files.list(folder)) await files.remove(`${folder}/${name}`).catch(orUnseen)
}

const takesNoWrites = ({ message }: SyncFailed): string => `${message}. Check the disk, then start the node again`
