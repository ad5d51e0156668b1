import { hexOf, partitionCount } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { type OpenedRow, PartitionLost, type Registers, type RowAddress, type RowStore, tables } from '../../tables/index.ts'
import { decodeObjectRow, encodeObjectRow, isVacant, type ObjectRow, type PendingVersion, withAbandoned, withoutDropped } from '../object-row.ts'
import { addressOf, nameOf, type OwedRows } from './owed-rows.ts'
import { type HeldRow, OwnRows, type OwnRowsParts, type RowWalk } from './own-rows.ts'
import type { Version } from '../versions/version.ts'

/**
 * Publishes the deaths of what stands in `dropped`, and gives up uploads that stand still. Members alone can: the proofs are made with the data key.
 *
 * What is dead is read from a majority, never from what this replica has accepted: an accept that was not chosen may say that a version is dropped, and be
 * followed by a value in which it is current. Once a majority of a death's own replicas has it on disk, the id is cleared from the row, in one step with
 * everything else that the row says; a row that owes nothing and has nothing becomes a tombstone, and is buried in time.
 *
 * Deaths of a row are published by the one member that looks after it (own-rows.ts). What this replica
 * saves with something in `dropped` is noticed at once; a walk over the rows that owe something (owed-rows.ts) finds what was missed, or was another's who is gone,
 * and how long uploads have stood still.
 */
export interface UndertakerParts extends OwnRowsParts {
  readonly registers: Pick<Registers, 'read' | 'change'>
  readonly store: Pick<RowStore, 'get' | 'rows'>
  /** Told of what the store has, here and by whoever opens it. */
  readonly owed: OwedRows
  /** The proof of a version's death; undefined if the key of its epoch is not here. */
  readonly proofOf: (version: Pick<Version, 'salt' | 'epoch'>) => Uint8Array | undefined
  /** For each proof, whether a majority of its replicas has it on disk. */
  readonly publish: (proofs: readonly Uint8Array[], options: { signal: AbortSignal }) => Promise<readonly boolean[]>
  readonly clock: Clock
  readonly timing?: Partial<UndertakerTiming>
}

export type UndertakerTiming = { readonly [K in 'noticeMs' | 'everyMs' | 'retryMs' | 'giveUpAfterMs' | 'giveUpPartsAfterMs']: number }

export const undertakerLimits = {
  /** After a row was noticed: what changes often is cleared of many at once, and its writers are not outbid. */
  noticeMs: 1000,
  maxNoticed: 10_000,
  /** Rows cleared in one step; rows that owe something, looked at in one step of the walk. */
  rowsAtOnce: 16,
  page: 256,
  everyMs: 600_000,
  /** After a step in which no death could be published. */
  retryMs: 5_000,
  /** An upload whose count has not moved for this long by the monotonic clock of the node that looks is given up. */
  giveUpAfterMs: 86_400_000,
  giveUpPartsAfterMs: 7 * 86_400_000,
  /** Uploads that are watched: more are not given up before others have gone. */
  maxWatched: 100_000,
} as const

export interface UndertakerStatus {
  readonly phase: 'waiting' | 'publishing' | 'walking'
  readonly doneShare: number
  readonly total: { readonly publishedDeaths: number, readonly abandonedUploads: number }
  /** Why the last deaths could not be published. */
  readonly failure: string | undefined
}

interface Watched { readonly heartbeat: number, readonly sinceMs: number, walk: number }

/** Over the rows that are known to owe something, or over all. */
type Walk = { readonly number: number } & (
  | { readonly over: 'owed', readonly rows: readonly RowAddress[], at: number }
  | { readonly over: 'all' } & RowWalk)
type WalkOver<Kind extends Walk['over']> = Extract<Walk, { over: Kind }>

export class Undertaker {
  readonly #parts: UndertakerParts
  readonly #rows: OwnRows
  readonly #noticed = new Map<string, { readonly address: RowAddress, readonly atMs: number }>()
  readonly #watched = new Map<string, Watched>()
  readonly #total = { publishedDeaths: 0, abandonedUploads: 0 }
  #walk: Walk | undefined
  #walks = 0
  #nextWalkMs = -Infinity
  /** The last step was for rows that were noticed: the next one is for the walk, if that is due. */
  #hasSettled = false
  #restUntilMs = -Infinity
  #failure: string | undefined

  readonly #timing: UndertakerTiming

  constructor (parts: UndertakerParts) {
    this.#parts = parts
    this.#rows = new OwnRows(parts)
    this.#timing = { ...undertakerLimits, ...parts.timing }
  }

  /** A row as this replica has it on disk now. A hint, no more: what comes of it is read again. */
  saved (opened: OpenedRow): void {
    const row = this.#parts.owed.saved(opened)
    if (row !== undefined && row.dropped.length > 0) this.#notice(addressOf(row))
  }

  /** A walk as soon as possible. */
  now (): void { this.#nextWalkMs = this.#restUntilMs = -Infinity }

  async step ({ signal }: { signal: AbortSignal }): Promise<'busy' | 'idle'> {
    const { clock } = this.#parts
    const nowMs = clock.monotonicMs()
    if (nowMs < this.#restUntilMs) return 'idle'
    const due = [...this.#noticed].slice(0, undertakerLimits.rowsAtOnce).filter(([, { atMs }]) => nowMs - atMs >= this.#timing.noticeMs)
    // whoever rebuilds the listing index opens all rows already
    const isWalkDue = this.#walk !== undefined || (nowMs >= this.#nextWalkMs && !this.#parts.owed.isPassing)
    if (due.length > 0 && !(this.#hasSettled && isWalkDue)) {
      this.#hasSettled = true
      await this.#settle(due.map(([name, { address }]) => ({ name, address })), signal)
      return 'busy'
    }
    this.#hasSettled = false
    if (!isWalkDue) return 'idle'
    this.#walk ??= this.#begunWalk()
    await (this.#walk.over === 'owed' ? this.#walkOwed(this.#walk, signal) : this.#walkPage(this.#walk, signal))
    return 'busy'
  }

  status (): UndertakerStatus {
    const phase = this.#noticed.size > 0 ? 'publishing' : this.#walk !== undefined ? 'walking' : 'waiting'
    return { phase, doneShare: this.#walk === undefined ? 1 : shareOf(this.#walk), total: { ...this.#total }, failure: this.#failure }
  }

  #notice (address: RowAddress): void {
    const name = nameOf(address)
    if (!this.#noticed.has(name) && this.#noticed.size < undertakerLimits.maxNoticed) this.#noticed.set(name, { address, atMs: this.#parts.clock.monotonicMs() })
  }

  /** What could not be done stays noticed, at the end of the line. */
  async #settle (rows: ReadonlyArray<{ name: string, address: RowAddress }>, signal: AbortSignal): Promise<void> {
    const restUntilMs = this.#restUntilMs
    for (const { name } of rows) this.#noticed.delete(name)
    const own = rows.filter(({ address }) => this.#rows.isOwn(this.#parts.codec.rowKeyOf(address)))
    const dead = (await Promise.all(own.map(async ({ address }) => this.#tried(address, [], async () => this.#deadIn(address, signal), signal)))).flat()
    const published = dead.length === 0 ? [] : await this.#parts.publish(dead.map(({ proof }) => proof), { signal })
    const missing = published.filter((isPublished) => !isPublished).length
    if (dead.length > 0 && missing === 0) this.#failure = undefined
    await Promise.all(own.map(async ({ address }) => {
      const of = dead.flatMap((one, i) => one.address === address ? [{ ...one, isPublished: published[i] === true }] : [])
      const versions = of.flatMap(({ version, isPublished }) => isPublished ? [version] : [])
      if (versions.length < of.length) this.#notice(address)
      if (versions.length === 0) return
      await this.#tried(address, false, async () => this.#change(address, (row) => withoutDropped(row, versions), signal), signal)
      this.#total.publishedDeaths += versions.length
    }))
    if (missing > 0) this.#failed(new Error(`too few replicas took ${missing} of ${dead.length} deaths`))
    // others must not wait for a row of which nothing can be had
    if (missing < dead.length) this.#restUntilMs = restUntilMs
  }

  /** What a row has in `dropped`, as a majority knows it. */
  async #deadIn (address: RowAddress, signal: AbortSignal): Promise<ReadonlyArray<{ address: RowAddress, version: Pick<Version, 'salt' | 'epoch'>, proof: Uint8Array }>> {
    const { registers, proofOf } = this.#parts
    const value = await registers.read(address, { signal })
    const dead = value === undefined ? [] : decodeObjectRow(value).dropped.map((version) => ({ address, version, proof: proofOf(version) }))
    const proven = dead.flatMap(({ proof, ...one }) => proof === undefined ? [] : [{ ...one, proof }])
    // another member may have it: trying again here would not help
    if (proven.length < dead.length) this.#failure = 'the key of an older epoch is missing here, with which deaths are proven'
    return proven
  }

  async #tried<T> (address: RowAddress, otherwise: T, work: () => Promise<T>, signal: AbortSignal): Promise<T> {
    try {
      return await work()
    } catch (error) {
      signal.throwIfAborted()
      this.#notice(address)
      this.#failed(error)
      return otherwise
    }
  }

  #begunWalk (): Walk {
    const [{ owed }, number] = [this.#parts, ++this.#walks]
    if (owed.isWhole) return { number, over: 'owed', rows: owed.all(), at: 0 }
    owed.beginPass()
    return { number, over: 'all', partition: 0, after: undefined }
  }

  async #walkOwed (walk: WalkOver<'owed'>, signal: AbortSignal): Promise<void> {
    const { codec, owed, store, voters, self } = this.#parts
    for (const address of walk.rows.slice(walk.at, walk.at + undertakerLimits.page)) {
      signal.throwIfAborted()
      walk.at++
      const rowKey = codec.rowKeyOf(address)
      if (!voters.of(tables.objects, rowKey).includes(self)) { owed.settled(address); continue }
      try {
        const record = (await store.get(tables.objects, rowKey))?.accepted
        const row = record === undefined ? undefined : await this.#look({ rowKey, record }, walk, signal)
        if (row === undefined || (row.dropped.length === 0 && row.pending.length === 0)) owed.settled(address)
      } catch (error) {
        // it comes back with a hand-over, which tells of its rows
        if (!(error instanceof PartitionLost)) throw error
      }
    }
    if (walk.at >= walk.rows.length) this.#endWalk(walk)
  }

  async #walkPage (walk: WalkOver<'all'>, signal: AbortSignal): Promise<void> {
    if (!await this.#rows.step(walk, async (row) => this.#look(row, walk, signal), { signal })) return
    this.#parts.owed.endPass()
    this.#endWalk(walk)
  }

  #endWalk ({ number }: Walk): void {
    for (const [id, watched] of this.#watched) if (watched.walk !== number) this.#watched.delete(id)
    this.#walk = undefined
    this.#nextWalkMs = this.#parts.clock.monotonicMs() + this.#timing.everyMs
  }

  async #look ({ rowKey, record }: HeldRow, walk: Walk, signal: AbortSignal): Promise<ObjectRow | undefined> {
    const row = this.#rows.opened({ rowKey, record })
    if (row === undefined) return undefined
    if (walk.over === 'all') this.#parts.owed.found(row)
    if (row.dropped.length > 0 && this.#rows.isOwn(rowKey)) this.#notice(addressOf(row))
    for (const version of row.pending) {
      if (!this.#hasStoodStill(version, walk.number)) continue
      const address = addressOf(row)
      if (!await this.#tried(address, false, async () => this.#change(address, (current) => withAbandoned(current, version), signal), signal)) continue
      this.#total.abandonedUploads++
      this.#notice(address)
    }
    return row
  }

  /** By what this node itself has seen: every node that keeps the row counts, and whichever has counted so long gives up, for the one that looks after the row may be started anew ever so often. */
  #hasStoodStill ({ id, heartbeat, isMultipart }: PendingVersion, walk: number): boolean {
    const nowMs = this.#parts.clock.monotonicMs()
    const known = this.#watched.get(hexOf(id))
    if (known?.heartbeat !== heartbeat) {
      if (known !== undefined || this.#watched.size < undertakerLimits.maxWatched) this.#watched.set(hexOf(id), { heartbeat, sinceMs: nowMs, walk })
      return false
    }
    known.walk = walk
    return nowMs - known.sinceMs >= (isMultipart === true ? this.#timing.giveUpPartsAfterMs : this.#timing.giveUpAfterMs)
  }

  /** Whether something was changed. */
  async #change (address: RowAddress, next: (row: ObjectRow) => ObjectRow | undefined, signal: AbortSignal): Promise<boolean> {
    return await this.#parts.registers.change<boolean>(address, (value) => {
      const row = value === undefined ? undefined : decodeObjectRow(value)
      const changed = row === undefined ? undefined : next(row)
      if (changed === undefined || changed === row) return { kind: 'keep', result: false }
      return isVacant(changed) ? { kind: 'erase', result: true } : { kind: 'write', value: encodeObjectRow(changed), result: true }
    }, { signal })
  }

  #failed (error: unknown): void {
    const { clock, warn } = this.#parts
    this.#failure = error instanceof Error ? error.message : String(error)
    this.#restUntilMs = clock.monotonicMs() + this.#timing.retryMs
    warn('deaths could not be published now', error)
  }
}

const shareOf = (walk: Walk): number => walk.over === 'all' ? walk.partition / partitionCount : walk.rows.length === 0 ? 1 : walk.at / walk.rows.length
