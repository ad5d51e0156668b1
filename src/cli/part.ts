import { constants } from 'node:fs'
import { type FileHandle, mkdir, open, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { hexOf, utf8 } from '../base/bytes.ts'
import { Corrupt } from '../base/errors.ts'
import { hash, streamingHash } from '../base/hash.ts'
import { isRunning, thisProcess } from '../base/process-identity.ts'
import { fileError } from './file-errors.ts'

export interface PartOptions {
  /** Names what the bytes are: only a part of the very same is gone on with. */
  readonly version: string
  readonly totalBytes: number
  /** Names of the parts in a folder. Given where many files go to one, which is listed once then. */
  readonly partsIn?: (folder: string) => Promise<readonly string[]>
}

type Hasher = ReturnType<typeof streamingHash>

/** A crash costs at most so many bytes again. */
const recordEveryBytes = 32 * 1024 * 1024
const readBytes = 1024 * 1024

/**
 * A download on its way to a file: its bytes gather in a folder beside the final name, `FILE.dfs-part-VERSION.PROCESS`, and take the name when they are whole
 * and synced. Dispose it; a part that is not settled stays, for the next run to go on with.
 *
 * It belongs to the process in its name. One whose process is gone is adopted by renaming the folder, in which one of several succeeds, so nobody else
 * ever settles it. How many bytes it holds is what the record in it says, written after they were synced, and only if they have its digest when they are
 * read again: the size of a file says nothing of what is in it after a power loss, nor after two writers (a part that all runs shared was corrupted so).
 */
export class Part implements AsyncDisposable {
  readonly #file: string
  readonly #folder: string
  readonly #content: FileHandle
  readonly #totalBytes: number
  readonly #hasher: Hasher
  #sizeBytes: number
  #recordedBytes: number
  #isSettled = false

  /** Adopts what a run before has left of the same version, and removes what such runs have left of others. */
  static async open (file: string, { version, totalBytes, partsIn = listedParts }: PartOptions): Promise<Part> {
    const folder = await ownFolder(file, version, partsIn).catch(fileError(file))
    const content = await open(contentIn(folder), constants.O_RDWR | constants.O_CREAT).catch(fileError(file))
    try {
      return new Part({ file, folder, content, totalBytes, ...await verified(content, await recordIn(folder)) })
    } catch (error) {
      await content.close()
      throw error
    }
  }

  private constructor (parts: { file: string, folder: string, content: FileHandle, totalBytes: number, sizeBytes: number, hasher: Hasher }) {
    this.#file = parts.file
    this.#folder = parts.folder
    this.#content = parts.content
    this.#totalBytes = parts.totalBytes
    this.#hasher = parts.hasher
    this.#sizeBytes = this.#recordedBytes = parts.sizeBytes
  }

  /** Bytes that are there for certain; the next are to follow them. */
  get sizeBytes (): number { return this.#sizeBytes }

  /** @throws StoreFull */
  async append (bytes: Uint8Array): Promise<void> {
    // a write may take less than it is given; at its place, whatever lies behind
    for (let done = 0; done < bytes.byteLength;) {
      done += (await this.#content.write(bytes, done, bytes.byteLength - done, this.#sizeBytes + done).catch(fileError(this.#file))).bytesWritten
    }
    this.#hasher.update(bytes)
    this.#sizeBytes += bytes.byteLength
    if (this.#sizeBytes - this.#recordedBytes >= recordEveryBytes) await this.#record()
  }

  /** The final name holds the bytes, and will after a power loss. @throws Corrupt if they are not whole */
  async settle (): Promise<void> {
    if (this.#sizeBytes !== this.#totalBytes) throw new Corrupt(`${this.#sizeBytes} of the ${this.#totalBytes} bytes of ${this.#file} came`)
    await this.#content.truncate(this.#totalBytes)
    await this.#content.sync().catch(fileError(this.#file))
    await rename(contentIn(this.#folder), this.#file).catch(fileError(this.#file))
    this.#isSettled = true
    const parent = await open(dirname(this.#file), 'r')
    try { await parent.sync() } finally { await parent.close() }
  }

  async [Symbol.asyncDispose] (): Promise<void> {
    // where it cannot be recorded, on a full disk say, the record before still holds
    if (!this.#isSettled && this.#sizeBytes > this.#recordedBytes) await this.#record().catch(() => {})
    await this.#content.close()
    if (this.#isSettled || this.#recordedBytes === 0) await rm(this.#folder, { recursive: true, force: true })
  }

  async #record (): Promise<void> {
    const record: PartRecord = { sizeBytes: this.#sizeBytes, digest: hexOf(this.#hasher.digest()) }
    await this.#content.datasync().catch(fileError(this.#file))
    const path = recordPathIn(this.#folder)
    await writeFile(`${path}.new`, JSON.stringify(record)).catch(fileError(this.#file))
    await rename(`${path}.new`, path)
    this.#recordedBytes = record.sizeBytes
  }
}

/** Names of the parts in a folder. */
export const listedParts = async (folder: string): Promise<readonly string[]> => (await readdir(folder)).filter((name) => name.includes(infix))

const infix = '.dfs-part-'

interface PartRecord { readonly sizeBytes: number, readonly digest: string }

const contentIn = (folder: string): string => join(folder, 'content')
const recordPathIn = (folder: string): string => join(folder, 'record')

async function ownFolder (file: string, version: string, partsIn: (folder: string) => Promise<readonly string[]>): Promise<string> {
  const parent = dirname(file)
  const prefix = stemOf(basename(file)) + infix
  const { pid, started } = await thisProcess()
  const own = join(parent, `${prefix}${version}.${pid}-${started}`)
  let isAdopted = false
  for (const name of await partsIn(parent)) {
    const left = name.startsWith(prefix) ? /^(.+)\.(\d+)-(\d*)$/.exec(name.slice(prefix.length)) : null
    if (left === null || await isRunning({ pid: Number(left[2]), started: left[3] ?? '' })) continue
    if (left[1] === version && !isAdopted) isAdopted = await rename(join(parent, name), own).then(() => true, takenByAnother)
    else await rm(join(parent, name), { recursive: true, force: true })
  }
  await mkdir(own, { recursive: true })
  return own
}

// what follows it must fit into a name of 255 bytes too
const stemOf = (name: string): string => Buffer.byteLength(name) <= 150 ? name : hexOf(hash(utf8(name)).subarray(0, 16))

function takenByAnother (error: NodeJS.ErrnoException): false {
  if (error.code === 'ENOENT') return false
  throw error
}

async function recordIn (folder: string): Promise<PartRecord | undefined> {
  const text = await readFile(recordPathIn(folder), 'utf8').catch((error: NodeJS.ErrnoException) => { if (error.code === 'ENOENT') return undefined; throw error })
  try { return text === undefined ? undefined : JSON.parse(text) as PartRecord } catch { return undefined } // a damaged record vouches for nothing
}

/** What the record says, if the content bears it out; nothing otherwise. */
async function verified (content: FileHandle, record: PartRecord | undefined): Promise<{ sizeBytes: number, hasher: Hasher }> {
  const hasher = streamingHash()
  const buffer = new Uint8Array(readBytes)
  let sizeBytes = 0
  for (const claimedBytes = record?.sizeBytes ?? 0; sizeBytes < claimedBytes;) {
    const { bytesRead } = await content.read(buffer, 0, Math.min(readBytes, claimedBytes - sizeBytes), sizeBytes)
    if (bytesRead === 0) break
    hasher.update(buffer.subarray(0, bytesRead))
    sizeBytes += bytesRead
  }
  const isTrue = sizeBytes === record?.sizeBytes && hexOf(hasher.digest()) === record.digest
  return isTrue ? { sizeBytes, hasher } : { sizeBytes: 0, hasher: streamingHash() }
}
