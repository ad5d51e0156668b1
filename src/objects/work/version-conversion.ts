import type { Cid } from '../../base/cid.ts'
import { Refused } from '../../base/errors.ts'
import type { Replication } from '../../replication/index.ts'
import { changeObject, type ObjectPlace } from '../change-object.ts'
import { type CurrentVersion, type ObjectRow, withConverted, withHeartbeat, withoutPending, withPending } from '../object-row.ts'
import type { BlockKind, ObjectParts } from '../ports.ts'
import { blocksOf, type Form, isSameForm, spreadOf } from '../versions/stored.ts'
import { isSameVersion, type Version } from '../versions/version.ts'

/**
 * One version's blocks, in another form. As in a put, a fresh id stands in the row's `pending` before any block is offered for it, and one compare-and-set ends it: the
 * version's blocks are kept for that id from then on, and the id they were kept for moves to `dropped`. The version itself stays what it is. A crash anywhere
 * before that leaves the id in `pending`, with what it is for, and so does a failure: whoever converts the version next goes on with it. Two that share it write the same, and one commits. Whoever overwrites or removes the version meanwhile wins, and
 * drops what was begun.
 */
export interface Converting {
  readonly place: ObjectPlace
  readonly version: CurrentVersion
  readonly to: Form
}

export const versionConversionLimits = {
  /** Blocks looked at in one step; those that too few keep are written, as many at once as the caller says. */
  blocksAtOnce: 16,
  /** Uploads of the key under way: with more, conversion waits, for the row has room for so many and users come first. */
  maxOthersPending: 16,
  heartbeatMs: 60 * 60 * 1000,
} as const

type ConversionPorts = Pick<ObjectParts, 'registers' | 'replication' | 'content' | 'versions' | 'clock' | 'warn'>

export class VersionConversion {
  readonly #parts: ConversionPorts
  readonly #of: Converting
  #pending: Version
  #writers: Readonly<Record<'whole' | 'large', ReturnType<Replication['writer']>>> | undefined
  readonly #readers: Readonly<Record<'whole' | 'spread', ReturnType<Replication['reader']>>>
  #blocks: AsyncIterator<BlockKind & { readonly cid: Cid }> | undefined
  #chunks = 0
  #stopHeartbeat = (): void => {}

  constructor (parts: ConversionPorts, of: Converting) {
    this.#parts = parts
    this.#of = of
    this.#pending = parts.versions.fresh()
    const { version } = of
    const from = { versionId: version.id, isPassing: true }
    const spread = spreadOf(version)
    this.#readers = { whole: parts.replication.reader(from), spread: parts.replication.reader({ ...from, ...(spread === undefined ? {} : { redundancy: spread }) }) }
  }

  /** Of its bytes, about how many are written. */
  get doneBytes (): number { return Math.min(this.#of.version.sizeBytes, this.#chunks * aboutChunkBytes) }

  /** 'gone': it was overwritten, removed or converted by another meanwhile, and nothing is left of this. */
  async step ({ atOnce, signal }: { atOnce: number, signal: AbortSignal }): Promise<'busy' | 'converted' | 'gone'> {
    if (this.#blocks === undefined) {
      if (!await this.#begin(signal)) return 'gone'
      this.#blocks = this.#parts.content.blocksOf(this.#of.version.content, { get: async (cid, kind) => this.#get(cid, kind), signal })[Symbol.asyncIterator]()
    }
    const batch = await this.#next(this.#blocks)
    for (const kind of ['whole', 'large'] as const) {
      await this.#write(kind, batch.filter(({ mayBeSpread }) => (kind === 'large') === (mayBeSpread && this.#of.to.redundancy !== undefined)), { atOnce, signal })
    }
    this.#chunks += batch.filter(({ mayBeSpread }) => mayBeSpread).length
    if (batch.length === versionConversionLimits.blocksAtOnce) return 'busy'
    return await this.#commit(signal) ? 'converted' : 'gone'
  }

  [Symbol.dispose] (): void { this.#stopHeartbeat() }

  async #begin (signal: AbortSignal): Promise<boolean> {
    const { version, to } = this.#of
    const { salt, epoch } = version
    const fresh = this.#pending
    const begun = await changeObject<Version | undefined>(this.#parts, this.#of.place, (row) => {
      if (!isKeptAs(row, version)) return { kind: 'keep', result: undefined }
      const ours = row.pending.filter(({ converts }) => converts !== undefined && isSameVersion(converts, version))
      const same = ours.find(({ converts }) => converts !== undefined && isSameForm(converts, to))
      // what was begun for a form that is no longer wanted
      const cleared = ours.reduce((left, other) => other === same ? left : withoutPending(left, other), row)
      if (same !== undefined) return { kind: 'move', to: { row: cleared }, result: same }
      if (cleared.pending.length > versionConversionLimits.maxOthersPending) throw new Refused(`${cleared.pending.length} uploads of a key are under way: it is converted when they are over`)
      return { kind: 'move', to: { row: withPending(cleared, { ...fresh, converts: { salt, epoch, ...to } }) }, result: fresh }
    }, { signal })
    if (begun === undefined) return false
    this.#pending = begun
    const writerOf = (redundancy: { k: number, m: number }): ReturnType<Replication['writer']> =>
      this.#parts.replication.writer({ versionId: this.#pending.id, redundancy }, { isAllNeeded: true, isBackground: true })
    const whole = { k: 1, m: to.copies - 1 }
    this.#writers = { whole: writerOf(whole), large: writerOf(to.redundancy ?? whole) }
    this.#beat()
    return true
  }

  async #commit (signal: AbortSignal): Promise<boolean> {
    const { version, to } = this.#of
    const { salt, epoch } = this.#pending
    const isDone = await this.#change((row) => withConverted(row, version, { from: blocksOf(version), to: { salt, epoch, ...to }, pending: this.#pending }), signal)
    this.#stopHeartbeat()
    if (!isDone) await this.#abandon()
    return isDone
  }

  /** What was written for it may go. */
  async #abandon (): Promise<void> {
    try {
      await this.#change((row) => withoutPending(row, this.#pending))
    } catch (error) {
      this.#parts.warn('a conversion that came too late stays pending until it is given up', error)
    }
  }

  /** What is there already in that form is recorded for the fresh id; the rest is read and written. */
  async #write (kind: 'whole' | 'large', blocks: ReadonlyArray<BlockKind & { readonly cid: Cid }>, { atOnce, signal }: { atOnce: number, signal: AbortSignal }): Promise<void> {
    if (blocks.length === 0) return
    const writer = this.#writers?.[kind]
    if (writer === undefined) throw new Error('a conversion that has not begun')
    const adopted = await writer.adopt([...new Set(blocks.map(({ cid }) => cid))], { signal })
    const waiting = blocks.filter(({ cid }) => !adopted.has(cid)).values()
    await Promise.all(Array.from({ length: atOnce }, async () => {
      for (let next = waiting.next(); next.done !== true; next = waiting.next()) {
        const { cid, ...of } = next.value
        await writer.put(cid, await this.#get(cid, { ...of, signal }), { signal })
      }
    }))
  }

  async #get (cid: Cid, { mayBeSpread, signal }: BlockKind & { signal?: AbortSignal }): Promise<Uint8Array> {
    return this.#readers[mayBeSpread ? 'spread' : 'whole'].get(cid, signal === undefined ? {} : { signal })
  }

  async #next (blocks: AsyncIterator<BlockKind & { readonly cid: Cid }>): Promise<ReadonlyArray<BlockKind & { readonly cid: Cid }>> {
    const batch: Array<BlockKind & { readonly cid: Cid }> = []
    while (batch.length < versionConversionLimits.blocksAtOnce) {
      const next = await blocks.next()
      if (next.done === true) break
      batch.push(next.value)
    }
    return batch
  }

  #beat (): void {
    this.#stopHeartbeat = this.#parts.clock.after(versionConversionLimits.heartbeatMs, () => {
      this.#change((row) => withHeartbeat(row, this.#pending)).catch((error: unknown) => { this.#parts.warn('a conversion could not show that it is alive', error) })
      this.#beat()
    })
  }

  /** Whether the row was changed: undefined leaves it. */
  async #change (next: (row: ObjectRow) => ObjectRow | undefined, signal?: AbortSignal): Promise<boolean> {
    return changeObject<boolean>(this.#parts, this.#of.place, (row) => {
      const changed = next(row)
      return changed === undefined ? { kind: 'keep', result: false } : { kind: 'move', to: { row: changed }, result: true }
    }, signal === undefined ? {} : { signal })
  }
}

const aboutChunkBytes = 1024 * 1024

/** Whether a row still keeps a version as it was read. */
function isKeptAs ({ current, kept = [] }: ObjectRow, version: CurrentVersion): boolean {
  const is = blocksOf(version)
  const all = [...current === undefined ? [] : [current], ...kept]
  return all.some((other) => isSameVersion(other, version) && isSameVersion(blocksOf(other), is))
}
