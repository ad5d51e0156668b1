import { fromHex, hexOf, partitionCount } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { withDigest, withoutDigest } from '../../base/hash.ts'
import { type BlockScrubParts, scrubBlocks, scrubReferences } from '../../blockstore/block-scrub.ts'
import type { DiskBlocks } from '../../blockstore/disk-blocks.ts'
import { pieceFolders } from '../../blockstore/piece-disk.ts'
import { type Files, isReadFault } from '../../disk/index.ts'
import { damageOfFile, keepEvidence, levelFilesIn } from '../../disk/level-damage.ts'
import type { ScrubFound } from '../../node.ts'
import type { DiskRows } from '../../tables/row-store.ts'
import { indexFolders } from '../stores.ts'

/**
 * Everything on this node's disk is read again, in turn, and held against what it should be: the tables of both indexes, files that an index lacks, every block, shard and reference, every row,
 * the journal. Each part sets aside what is not right, in its own way; repair and hand-over bring it anew. What nobody reads would else rot unseen until the last copy has.
 *
 * A *pass* goes through all phases once, at a pace that ends it well before the next is due, and goes on over restarts where it was. Time counts only while the node runs, so no
 * clock on a wall has a say.
 */
export interface ScrubParts {
  readonly files: Files
  readonly blocks: BlockScrubParts & { readonly blocks: Pick<DiskBlocks, 'enterFolder' | 'stats'> }
  readonly rows: Pick<DiskRows, 'reread' | 'rereadJournal' | 'lostPartitions'>
  readonly clock: Clock
  /** A pass begins when so long has gone since the last one ended. */
  readonly everyMs: number
  /** The index of blocks may have lost what it had: what it lacks is to be asked of others. */
  readonly onLoss: (why: string) => void
  readonly warn: (message: string, cause: unknown) => void
}

const phases = ['tables', 'files', 'blocks', 'references', 'rows', 'journal'] as const
export type ScrubPhase = typeof phases[number]

export const scrubLimits = {
  /** A pass takes this share of the time that it has. */
  paceShare: 0.5,
  /** However little there is, it is read so fast at least: 2,048 rows a second, which take a twentieth of a core. */
  leastBytesPerSecond: 1024 * 1024,
  /** It may be so far ahead of its pace: steps are small, and whoever rests does so for a while. */
  burstMs: 1000,
  /** After a start, before anything is read. */
  startMs: 60_000,
  saveMs: 10_000,
  /** Folders of files, and partitions of rows, in one step. */
  folders: 32,
  partitions: 32,
  /** What one row, or one file that is listed, counts for its pace, in bytes. */
  itemBytes: 512,
} as const

export interface ScrubStatus {
  readonly phase: 'waiting' | ScrubPhase
  readonly doneShare: number
  readonly doneBytes: number
  readonly totalBytes: number
  /** Undefined: nothing is under way, or as fast as users allow. */
  readonly etaMs: number | undefined
  /** Of the pass under way, or 'waiting' of the last. */
  readonly found: ScrubFound
  readonly last: LastPass | undefined
  readonly everyMs: number
}

export interface LastPass {
  /** By this node's clock, for people: ms since the epoch. */
  readonly finishedMs: number
  readonly tookMs: number
  readonly bytes: number
  readonly found: ScrubFound
}

interface Pass { phase: number, after: string | undefined, doneBytes: number, totalBytes: number, tookMs: number, isUrgent: boolean, found: { -readonly [F in keyof ScrubFound]: number } }
interface Saved { readonly version: 1, readonly ranMs: number, readonly pass: Pass | undefined, readonly last: LastPass | undefined }

const path = 'scrub'
const nothing: ScrubFound = { pieces: 0, wrongPieces: 0, wrongReferences: 0, enteredFiles: 0, rows: 0, lostPartitions: 0, damagedFiles: 0 }

export class Scrub {
  readonly #parts: ScrubParts
  readonly #startMs: number
  #pass: Pass | undefined
  #last: LastPass | undefined
  /** How long the node has run since the last pass ended, up to when it was last looked at. */
  #ranMs = 0
  #seenMs: number
  #savedMs: number
  #isAsked = false
  /** Before it nothing is read: what was read so far is paid for then. */
  #restUntilMs = 0

  private constructor (parts: ScrubParts) {
    this.#parts = parts
    this.#startMs = this.#seenMs = this.#savedMs = parts.clock.monotonicMs()
  }

  /** `damage`: why the index of blocks is not to be trusted to have all that it had. Then a pass begins at once. */
  static async open (parts: ScrubParts, { damage }: { damage: string | undefined }): Promise<Scrub> {
    const scrub = new Scrub(parts)
    await scrub.#load()
    if (damage !== undefined) scrub.#suspect(damage)
    return scrub
  }

  /** A pass as soon as possible, and as fast as users allow; one that is under way goes on so. */
  now (): void {
    this.#isAsked = true
    if (this.#pass !== undefined) this.#pass.isUrgent = true
  }

  async step ({ signal }: { signal: AbortSignal }): Promise<'busy' | 'idle'> {
    const { clock } = this.#parts
    const nowMs = clock.monotonicMs()
    this.#ranMs += nowMs - this.#seenMs
    if (this.#pass !== undefined) this.#pass.tookMs += nowMs - this.#seenMs
    this.#seenMs = nowMs
    if (this.#pass === undefined) {
      if (!this.#isDue(nowMs)) {
        if (nowMs - this.#savedMs >= idleSaveMs) await this.save()
        return 'idle'
      }
      await this.#begin()
    }
    const pass = this.#pass as Pass
    if (!pass.isUrgent && nowMs < this.#restUntilMs - scrubLimits.burstMs) return 'idle'
    const bytes = await this.#unit(pass, signal)
    pass.doneBytes += bytes
    this.#restUntilMs = Math.max(nowMs, this.#restUntilMs) + bytes / this.#pace(pass) * 1000
    if (this.#pass === undefined || clock.monotonicMs() - this.#savedMs >= scrubLimits.saveMs) await this.save()
    return 'busy'
  }

  status (): ScrubStatus {
    const { everyMs } = this.#parts
    const pass = this.#pass
    const phase = pass === undefined ? undefined : phases[pass.phase]
    return {
      phase: phase ?? 'waiting', everyMs, last: this.#last,
      doneShare: pass === undefined ? 1 : Math.min(1, pass.doneBytes / Math.max(1, pass.totalBytes)),
      doneBytes: pass?.doneBytes ?? 0, totalBytes: pass === undefined ? 0 : Math.max(pass.totalBytes, pass.doneBytes),
      etaMs: pass === undefined || pass.isUrgent ? undefined : Math.round(Math.max(0, pass.totalBytes - pass.doneBytes) / this.#pace(pass) * 1000),
      found: pass?.found ?? this.#last?.found ?? nothing,
    }
  }

  async save (): Promise<void> {
    this.#savedMs = this.#parts.clock.monotonicMs()
    const saved: Saved = { version: 1, ranMs: Math.round(this.#ranMs), pass: this.#pass, last: this.#last }
    await this.#parts.files.writeDurable(path, [withDigest(Buffer.from(JSON.stringify(saved)))])
  }

  async #load (): Promise<void> {
    const { files, warn } = this.#parts
    if (await files.size(path) === undefined) return
    const body = withoutDigest(await files.read(path))
    if (body === undefined) {
      warn('how far scrub had come was damaged: it begins anew', new Error(`the checksum of ${path} does not fit`))
      return
    }
    const { ranMs, pass, last } = JSON.parse(Buffer.from(body).toString()) as Saved
    this.#ranMs = ranMs
    this.#pass = pass
    this.#last = last
  }

  #isDue (nowMs: number): boolean {
    if (this.#isAsked) return true
    if (nowMs - this.#startMs < scrubLimits.startMs) return false
    return this.#last === undefined || this.#ranMs >= this.#parts.everyMs
  }

  #suspect (why: string): void {
    this.#pass = undefined
    this.#isAsked = true
    this.#parts.onLoss(why)
  }

  async #begin (): Promise<void> {
    const { files, blocks } = this.#parts
    let totalBytes = blocks.blocks.stats().bytes + pieceFolders * scrubLimits.itemBytes
    for (const folder of Object.values(indexFolders)) for (const { sizeBytes } of await levelFilesIn(files, folder)) totalBytes += sizeBytes
    this.#pass = { phase: 0, after: undefined, doneBytes: 0, totalBytes, tookMs: 0, isUrgent: this.#isAsked, found: { ...nothing } }
    this.#isAsked = false
    this.#restUntilMs = 0
  }

  #pace ({ totalBytes }: Pass): number {
    return Math.max(scrubLimits.leastBytesPerSecond, totalBytes / (this.#parts.everyMs * scrubLimits.paceShare / 1000))
  }

  /** Gives how many bytes were read. */
  async #unit (pass: Pass, signal: AbortSignal): Promise<number> {
    signal.throwIfAborted()
    const phase = phases[pass.phase] as ScrubPhase
    const { next, bytes } = await this.#unitOf(phase, pass)
    // a person, or damage, may have begun another meanwhile
    if (this.#pass !== pass) return bytes
    pass.after = next
    if (next !== undefined) return bytes
    pass.phase++
    if (pass.phase === phases.length) this.#end(pass, bytes)
    return bytes
  }

  async #unitOf (phase: ScrubPhase, pass: Pass): Promise<{ next: string | undefined, bytes: number }> {
    const { blocks, rows, files } = this.#parts
    const { after, found } = pass
    switch (phase) {
      case 'tables': return this.#table(after, found)
      case 'files': return this.#numbered(after, { until: pieceFolders, atOnce: scrubLimits.folders, each: async (at) => {
        found.enteredFiles += await blocks.blocks.enterFolder(at).catch((error: unknown) => {
          if (!isReadFault(error)) throw error
          found.damagedFiles++
          this.#parts.warn('a folder of blocks cannot be read', error)
          return 0
        })
        return scrubLimits.itemBytes
      } })
      case 'blocks': {
        const { next, bytes, pieces, wrong } = await scrubBlocks(blocks, bytesIn(after))
        found.pieces += pieces
        found.wrongPieces += wrong
        return { next: textOf(next), bytes }
      }
      case 'references': {
        const { next, wrong } = await scrubReferences(blocks, bytesIn(after))
        found.wrongReferences += wrong
        return { next: textOf(next), bytes: 0 }
      }
      case 'rows': return this.#numbered(after, { until: partitionCount, atOnce: scrubLimits.partitions, each: async (partition) => {
        const { rows: count, isRight } = await rows.reread(partition)
        found.rows += count
        if (!isRight) found.lostPartitions++
        return count * scrubLimits.itemBytes
      } })
      case 'journal': {
        if (await rows.rereadJournal(async (damaged) => { await keepEvidence(files, damaged) }) === 'mended') {
          found.damagedFiles++
          this.#parts.warn('the journal of rows, or its proof, was not what was written; what it says is known, and it is written anew', new Error('its checks do not fit'))
        }
        return { next: undefined, bytes: 0 }
      }
      default: return phase satisfies never
    }
  }

  async #numbered (after: string | undefined, { until, atOnce, each }: { until: number, atOnce: number, each: (at: number) => Promise<number> }): Promise<{ next: string | undefined, bytes: number }> {
    let [at, bytes] = [Number(after ?? 0), 0]
    for (const end = Math.min(until, at + atOnce); at < end; at++) bytes += await each(at)
    return { next: at < until ? String(at) : undefined, bytes }
  }

  /** One table of one of the indexes. */
  async #table (after: string | undefined, found: Pass['found']): Promise<{ next: string | undefined, bytes: number }> {
    const { files, warn } = this.#parts
    for (const folder of Object.values(indexFolders).toSorted()) {
      for (const { name } of await levelFilesIn(files, folder)) {
        const file = `${folder}/${name}`
        // the log and the MANIFEST are being written to, and are looked at before each start
        if (!/\.(ldb|sst)$/.test(name) || (after !== undefined && file <= after)) continue
        const { damage, bytes, isUnreadable = false }: Looked = await damageOfFile(files, file).catch(orUnreadable(file))
        if (damage === undefined) return { next: file, bytes }
        found.damagedFiles++
        if (isUnreadable) warn('a table of an index cannot be read', new Error(`${file}: ${damage.reason}`))
        else {
          const evidence = await keepEvidence(files, file)
          warn(`a table of an index is not what was written: ${evidence === undefined ? 'there is no room for a copy' : `a copy is ${evidence}`}`, new Error(`${file}: ${damage.reason}`))
        }
        if (folder === indexFolders.blocks) this.#parts.onLoss(`a table of the index of blocks was damaged (${file})`)
        return { next: file, bytes }
      }
    }
    return { next: undefined, bytes: 0 }
  }

  #end (pass: Pass, bytes: number): void {
    this.#last = { finishedMs: this.#parts.clock.wallMs(), tookMs: Math.round(pass.tookMs), bytes: pass.doneBytes + bytes, found: pass.found }
    this.#pass = undefined
    this.#ranMs = 0
  }
}

type Looked = Awaited<ReturnType<typeof damageOfFile>> & { readonly isUnreadable?: boolean }
const orUnreadable = (file: string) => (error: unknown): Looked => {
  if (!isReadFault(error)) throw error
  return { damage: { file, reason: error.message }, bytes: 0, isUnreadable: true }
}

/** How long the node has run is written down so often while there is nothing to do. */
const idleSaveMs = 3_600_000

const bytesIn = (text: string | undefined): Uint8Array | undefined => text === undefined ? undefined : fromHex(text)
const textOf = (bytes: Uint8Array | undefined): string | undefined => bytes === undefined ? undefined : hexOf(bytes)

