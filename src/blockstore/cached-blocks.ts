import { type Cid, cidOf, parseCid } from '../base/cid.ts'
import { MalformedBytes } from '../base/bytes.ts'
import { FileMissing, type Files, isReadFault } from '../disk/index.ts'
import { BlockCorrupt, BlockMissing, type Blocks, orUnseen } from './index.ts'

/**
 * Fetched blocks, kept as long as there is room, the least lately used first to go. Nothing here is promised: not synced, thrown away at will, and a copy
 * that is missing or rotten is simply not there. The disk's reserve is for rows, and what they do without it stops the node: so nothing is kept of it here.
 */
export interface BlockCache extends Blocks {
  readonly bytes: number
  readonly limitBytes: number
  /** Throws everything away; resolves to the bytes that were. */
  empty (): Promise<number>
}

export const cacheLimits = {
  /** Bytes waiting to be written; above it what comes is not cached. */
  maxWaitingBytes: 32 * 1024 * 1024,
} as const

const folder = 'cache'

/** `reserveBytes`: of the disk, that stay free. */
export async function openBlockCache ({ files, limitBytes, reserveBytes = 0 }: { files: Files, limitBytes: number, reserveBytes?: number }): Promise<BlockCache> {
  await files.ensureFolder(folder)
  const cache = new Cache(files, { limitBytes, reserveBytes })
  await cache.load()
  return cache
}

class Cache implements BlockCache {
  readonly limitBytes: number
  readonly #reserveBytes: number
  readonly #files: Files
  /** In order of last use. */
  readonly #sizes = new Map<Cid, number>()
  readonly #folders = new Set<string>()
  #bytes = 0
  #waitingBytes = 0

  constructor (files: Files, { limitBytes, reserveBytes }: { limitBytes: number, reserveBytes: number }) {
    this.#files = files
    this.limitBytes = limitBytes
    this.#reserveBytes = reserveBytes
  }

  get bytes (): number { return this.#bytes }

  async load (): Promise<void> {
    // what cannot be read is not there
    for await (const { name } of this.#files.list(folder)) await this.#loadFolder(`${folder}/${name}`).catch(orUnseen)
    await this.#evict()
    await this.#makeRoom(0)
  }

  async #loadFolder (path: string): Promise<void> {
    for await (const { name, sizeBytes } of this.#files.list(path)) {
      const cid = parsed(name)
      if (cid === undefined) await this.#files.remove(`${path}/${name}`) // left by a crash
      else this.#note(cid, sizeBytes)
    }
  }

  async get (cid: Cid): Promise<Uint8Array> {
    const size = this.#sizes.get(parseCid(cid))
    if (size === undefined) throw new BlockMissing(cid)
    const block = await this.#files.read(pathOf(cid)).catch((error: unknown) => { if (error instanceof FileMissing || isReadFault(error)) return undefined; throw error })
    if (block === undefined || cidOf(block) !== cid) {
      await this.delete(cid)
      throw new BlockMissing(cid)
    }
    if (this.#sizes.delete(cid)) this.#sizes.set(cid, size)
    return block
  }

  async put (cid: Cid, block: Uint8Array): Promise<void> {
    if (cidOf(block) !== parseCid(cid)) throw new BlockCorrupt(cid)
    const { byteLength } = block
    if (this.#sizes.has(cid) || byteLength > this.limitBytes || this.#waitingBytes + byteLength > cacheLimits.maxWaitingBytes) return
    this.#waitingBytes += byteLength
    try {
      if (!await this.#makeRoom(this.#waitingBytes)) return
      const shard = `${folder}/${cid.slice(-2)}`
      if (!this.#folders.has(shard)) { await this.#files.ensureFolder(shard); this.#folders.add(shard) }
      await this.#files.write(pathOf(cid), block)
      this.#note(cid, byteLength)
    } finally {
      this.#waitingBytes -= byteLength
    }
    await this.#evict()
  }

  async has (cid: Cid): Promise<boolean> { return this.#sizes.has(parseCid(cid)) }

  async delete (cid: Cid): Promise<void> {
    const size = this.#sizes.get(parseCid(cid))
    if (size === undefined) return
    this.#sizes.delete(cid)
    this.#bytes -= size
    await this.#files.remove(pathOf(cid))
  }

  async * list (): AsyncIterable<Cid> { yield * this.#sizes.keys() }

  async empty (): Promise<number> {
    const before = this.#bytes
    for (const cid of this.#sizes.keys()) await this.delete(cid)
    return before - this.#bytes
  }

  #note (cid: Cid, size: number): void {
    this.#bytes += size - (this.#sizes.get(cid) ?? 0)
    this.#sizes.set(cid, size)
  }

  async #evict (limitBytes = this.limitBytes): Promise<void> {
    for (const cid of this.#sizes.keys()) {
      if (this.#bytes <= limitBytes) return
      await this.delete(cid)
    }
  }

  /** For so much more beside the reserve. Whether there is. */
  async #makeRoom (byteLength: number): Promise<boolean> {
    const shortBytes = this.#reserveBytes + byteLength - await this.#files.freeBytes(folder)
    if (shortBytes > 0) await this.#evict(this.#bytes - Math.min(this.#bytes, shortBytes))
    return shortBytes <= 0 || this.#reserveBytes + byteLength <= await this.#files.freeBytes(folder)
  }
}

const pathOf = (cid: Cid): string => `${folder}/${cid.slice(-2)}/${cid}`

function parsed (name: string): Cid | undefined {
  try {
    return parseCid(name)
  } catch (error) {
    if (error instanceof MalformedBytes) return undefined
    throw error
  }
}
