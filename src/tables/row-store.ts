import { equals, partitionCount, partitionOf } from '../base/bytes.ts'
import { Corrupt, StoreFull } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import { StoreReadOnly } from '../blockstore/index.ts'
import type { Files, KeyValue } from '../disk/index.ts'
import { ballotLimits } from './ballot.ts'
import { type Ballot, PartitionLost, type RowStore, type StoredRow, type TableNumber } from './index.ts'
import type { Journal } from './journal.ts'
import { ProvenRows } from './proven-rows.ts'
import { nameOf, RecentRows } from './recent-rows.ts'
import { gatherEvidence, markChange } from './row-evidence.ts'
import { demandStorable, groupsOf, takeGroup, type WaitingSave } from './row-groups.ts'
import { RowProof } from './row-proof.ts'
import { added, agreedTerm, rowHash, subtracted, sumBytes, termOf } from './row-sum.ts'
import { decodeEntry, decodeIndexed, encodeEntry, indexKeyOf, indexPutOf, isIntact, type JournalEntry, rangeOf } from './stored-row-format.ts'

/**
 * A voter's memory. LevelDB alone cannot be it: one flipped bit in its log silently drops rows that were synced, and a voter that forgets lets
 * two values be chosen. So every promise and accept goes to our own journal first, and LevelDB is an index of it whose content is proven: the proof, rows
 * counted and summed by partition, is written at each checkpoint and carried forward by the journal, each of whose entries says what the row was before.
 * A partition is held against it before its first answer, once after each start, and every later look against what was found then (`proven-rows.ts`). One
 * that does not add up is lost: it neither answers nor votes.
 *
 * After a crash: the journal has every acknowledged save (a torn last frame was acknowledged to nobody); the index has all up to the checkpoint and any part
 * of what followed, which replaying makes whole. A simpler design, sums kept in LevelDB beside the rows, fails: a dropped batch takes both.
 */
export interface RowStoreOptions {
  readonly files: Files
  readonly index: KeyValue
  readonly folder: string
  readonly random: Random
  readonly ballotOf: (table: TableNumber, record: Uint8Array) => Ballot
  readonly onLost: (loss: { partitions: number, reason: string }) => void
  /** The id by which the cluster knows the store that belongs here. Undefined: it knows none yet. */
  readonly named?: Uint8Array
}

export const rowStoreLimits = {
  /** The journal is cut, and the index synced, when it is this long: what a start has to replay. */
  checkpointBytes: 32 * 1024 * 1024,
  /** When no checkpoint succeeds (the disk is full) the journal grows to this and then takes no more. */
  maxJournalBytes: 128 * 1024 * 1024,
  /** A disk that was full has room again when so much is free: the longest frame. */
  roomBytes: 16 * 1024 * 1024,
  /** Ballot counters reserved at once: a crash loses the rest, which only makes them jump. */
  reservedCounters: 1024n,
} as const

/**
 * A store that lost its memory as a whole, or is not the one that belongs here, gets a new id and forgets all that it may remember; one that lost partitions
 * says so, at every start until they are restored.
 */
export async function openRowStore (options: RowStoreOptions): Promise<RowStore> {
  const { files, folder, random, onLost, named } = options
  await files.ensureFolder(folder)
  for (const path of [folder, `${folder}/journal`]) await files.removeDebris(path)
  const { saved, journal, entries, counter, loss: damage } = await gatherEvidence(options)
  const isNamed = named === undefined || (saved !== undefined && equals(named, saved.head.storeId))
  // one that was forgotten before is another store since then, and remembers nothing that it could lose
  const isForgotten = saved !== undefined && saved.proof.isLostWhole
  const loss = damage ?? (isNamed || isForgotten ? undefined : 'it is not the store that the cluster knows: its folder was emptied, or is another\'s')
  const proof = (loss === undefined ? saved?.proof : undefined) ?? new RowProof()
  const store = new DiskRowStore(options, { journal, storeId: saved?.head.storeId ?? random.bytes(16), proof, counter })
  if (loss !== undefined) store.forget()
  const partitions = store.lostPartitions().size
  if (partitions > 0) onLost({ partitions, reason: loss ?? 'lost before, and not handed over since' })
  await store.replay(entries)
  await store.checkpoint()
  return store
}

class DiskRowStore implements RowStore {
  #storeId: Uint8Array
  readonly #options: RowStoreOptions
  readonly #journal: Journal
  readonly #proof: RowProof
  readonly #lost = new Set<number>()
  readonly #proving = new Map<number, Promise<void>>()
  readonly #proven = new Map<number, ProvenPartition>()
  readonly #recent = new RecentRows()
  readonly #saves: WaitingSave[] = []
  #writing: Promise<void> | undefined
  #failure: StoreReadOnly | undefined
  /** It still says what was disowned: a checkpoint is due. */
  #isProofOld = false
  /** The journal found the disk full, the last time it was written to. */
  #full: StoreFull | undefined
  /** The index found the disk full: it may lack what the journal has, and what it lacks proves nothing. */
  #behind: StoreFull | undefined
  /** Counters up to here are on disk as given out, and up to here they will be with the next frame. */
  #reserved: bigint
  #reserving: bigint
  #counter: bigint

  constructor (options: RowStoreOptions, { journal, storeId, proof, counter }: { journal: Journal, storeId: Uint8Array, proof: RowProof, counter: bigint }) {
    this.#options = options
    this.#journal = journal
    this.#storeId = storeId
    this.#proof = proof
    this.#reserved = this.#reserving = this.#counter = counter
    for (let partition = 0; partition < partitionCount; partition++) if (proof.isLost(partition)) this.#lost.add(partition)
  }

  get storeId (): Uint8Array { return this.#storeId }
  get position (): bigint { return this.#journal.position }
  get readOnlyReason (): string | undefined { return (this.#failure ?? this.#behind ?? this.#full)?.message }
  lostPartitions (): ReadonlySet<number> { return this.#lost }

  async recover (): Promise<void> {
    const { files, folder } = this.#options
    if (this.#failure !== undefined || this.readOnlyReason === undefined || await files.freeBytes(folder) < rowStoreLimits.roomBytes) return
    // a save of nothing
    await this.#enqueue([]).catch((error: unknown) => { if (!(error instanceof StoreFull)) throw error })
  }

  async get (table: TableNumber, rowKey: Uint8Array): Promise<StoredRow | undefined> {
    await this.#prove(partitionOf(rowKey))
    return this.#current(table, rowKey)
  }

  async save (rows: readonly StoredRow[]): Promise<void> {
    for (const row of rows) demandStorable(row)
    // in line before anything is waited for: of one row, the call that came later is the one remembered
    await Promise.all(groupsOf(rows).map(async (group) => this.#enqueue(group)))
  }

  async * rows (partition: number, { after }: { after?: Uint8Array } = {}): AsyncIterable<StoredRow> {
    await this.#prove(partition)
    if (this.#behind !== undefined) throw this.#behind
    try {
      yield * this.#indexed(partition, after)
    } catch (error) {
      throw this.#lostTo(error, partition)
    }
  }

  async restore (partition: number): Promise<void> {
    if (!this.#lost.has(partition)) return
    if (this.#behind !== undefined) throw this.#behind
    // what no longer is what was written is no row; the others are what this store once promised, and hold
    const { index } = this.#options
    const damaged: Uint8Array[] = []
    for await (const [key, value] of index.entries(rangeOf(partition))) if (!isIntact(key, value)) damaged.push(key)
    await index.batch(damaged.map((key) => ({ type: 'delete', key })), { sync: true })
    this.#proof.set(partition, await this.#summed(partition, (row) => termOf(rowHash(row))))
    this.#lost.delete(partition)
    await this.#prove(partition)
  }

  async disown (reason: string): Promise<void> {
    this.forget()
    this.#options.onLost({ partitions: partitionCount, reason })
    this.#isProofOld = true
    await this.#enqueue([])
  }

  async digest (partition: number): Promise<{ count: number, digest: Uint8Array }> {
    await this.#prove(partition)
    const { count, sum } = this.#provenAs(partition).agreed
    return { count, digest: sumBytes(sum) }
  }

  async nextCounter (atLeast: bigint): Promise<bigint> {
    const counter = this.#counter = (atLeast > this.#counter ? atLeast : this.#counter) + 1n
    while (counter > this.#reserved) {
      if (counter > this.#reserving) this.#reserving = this.#counter + rowStoreLimits.reservedCounters
      // an empty save: its frame carries the reservation
      await this.#enqueue([])
    }
    return counter
  }

  async [Symbol.asyncDispose] (): Promise<void> {
    await using open = new AsyncDisposableStack()
    open.use(this.#options.index)
    open.use(this.#journal)
    await this.#writing
    if (this.#failure === undefined && this.#behind === undefined) await this.checkpoint()
  }

  /** All that it remembers, for good once it is on disk: it is another store from now on. */
  forget (): void {
    this.#storeId = this.#options.random.bytes(16)
    // the one before may have given out more: half a jump is two thousand million of them, and still less than what peers refuse
    this.#counter = this.#reserving += ballotLimits.maxCounterJump / 2n
    for (let partition = 0; partition < partitionCount; partition++) {
      this.#proof.lose(partition)
      this.#lost.add(partition)
      this.#proven.delete(partition)
    }
    this.#recent.clear()
  }

  /** Brings proof and index up to what the journal says. Idempotent: the index may have any part of it already. */
  async replay (entries: readonly JournalEntry[]): Promise<void> {
    for (const { row, before } of entries.flatMap(({ rows }) => rows)) this.#proof.replace(row, before)
    const last = lastRowsOf(entries)
    if (last.length > 0) await this.#options.index.batch(last.map(indexPutOf), { sync: true })
  }

  /** All of the index on disk, the proof beside it, the journal cut. @throws StoreFull (nothing is lost: the journal goes on), or what failed */
  async checkpoint (): Promise<void> {
    const { files, folder, index } = this.#options
    await index.batch([this.#mark()], { sync: 'all' }).catch((cause: unknown) => { throw this.#indexFailedBy(cause) })
    await files.writeDurable(`${folder}/proof`, [this.#proof.encode({ storeId: this.storeId, position: this.position, counter: this.#reserving })])
    this.#isProofOld = false
    await this.#journal.cut()
  }

  #mark (): ReturnType<typeof markChange> { return markChange({ position: this.position, counter: this.#reserving }) }

  async #enqueue (rows: readonly StoredRow[]): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    await new Promise<void>((resolve, reject) => {
      this.#saves.push({ rows, resolve, reject })
      this.#writing ??= this.#write()
    })
  }

  async #write (): Promise<void> {
    // saves of one moment share the first frame too
    await Promise.resolve()
    while (this.#saves.length > 0) {
      const group = takeGroup(this.#saves, this.#lost)
      if (group.length === 0) continue
      try {
        if (this.#failure !== undefined) throw this.#failure
        await this.#commit(group.flatMap(({ rows }) => rows))
        for (const { resolve } of group) resolve()
      } catch (error) {
        // found while looking what the rows were, so nothing is written yet: the others go on without the lost one
        if (error instanceof PartitionLost) this.#saves.unshift(...group)
        else for (const { reject } of group) reject(error)
      }
    }
    // together with the last look at the queue: a save that comes between the two would wait for a writer that is gone
    this.#writing = undefined
  }

  async #commit (saved: readonly StoredRow[]): Promise<void> {
    if (this.#behind !== undefined) await this.#catchUp()
    // of one row saved twice in a group the last counts, as it would have one after the other
    const rows = [...new Map(saved.map((row) => [nameOf(row), row])).values()]
    await Promise.all(rows.map(async ({ rowKey }) => this.#prove(partitionOf(rowKey))))
    const entries = await Promise.all(rows.map(async (row) => {
      const old = await this.#current(row.table, row.rowKey)
      return { row, old, before: old === undefined ? undefined : rowHash(old) }
    }))
    if (this.#journal.sizeBytes > rowStoreLimits.maxJournalBytes) await this.#checkpointSoon({ isNeeded: true })
    const reserving = this.#reserving
    await this.#journal.append(encodeEntry({ rows: entries, counter: reserving })).catch((cause: unknown) => { throw cause instanceof StoreFull ? this.#full = new StoreFull(diskFull, { cause }) : this.#failedBy(cause) })
    this.#full = undefined
    this.#reserved = reserving
    for (const { row, old, before } of entries) {
      this.#proof.replace(row, before)
      this.#replace(row, { old, before })
      this.#recent.set(row)
    }
    await this.#putInIndex(rows)
    if (this.#behind === undefined && (this.#isProofOld || this.#journal.sizeBytes > rowStoreLimits.checkpointBytes)) await this.#checkpointSoon({ isNeeded: false })
  }

  /**
   * LevelDB's log may be torn in the middle after any failed write, and what it takes from then on be dropped at its next start. So nothing is cut from the
   * journal any more: the rows are safe there. When the disk is only full the save is acknowledged, and the next ones wait until the index has caught up;
   * until then it is in `#recent`, as are all of the group. After any other failure the next start replays the journal.
   */
  async #putInIndex (rows: readonly StoredRow[]): Promise<void> {
    try {
      await this.#options.index.batch([...rows.map(indexPutOf), this.#mark()], { sync: false })
    } catch (cause) {
      const failure = this.#indexFailedBy(cause)
      if (failure instanceof StoreFull) return
      for (const { rowKey } of rows) this.#lose(partitionOf(rowKey), 'the index took no write; the journal has the rows')
      throw failure
    }
  }

  #indexFailedBy (cause: unknown): StoreFull | StoreReadOnly {
    if (cause instanceof StoreFull) return this.#behind ??= new StoreFull(diskFull, { cause })
    return this.#failure ??= readOnly('its index took no write', cause)
  }

  /** The index has again what the journal says, as after a start. @throws StoreFull while there is no room */
  async #catchUp (): Promise<void> {
    const { index } = this.#options
    try {
      // opens it afresh, if there is room: what was not synced may be gone, though it was before the failure
      await index.batch([], { sync: true })
      const entries = (await this.#journal.frames()).map(({ body }) => decodeEntry(body))
      await index.batch([...lastRowsOf(entries).map(indexPutOf), this.#mark()], { sync: true })
      this.#behind = undefined
    } catch (error) {
      throw this.#indexFailedBy(error)
    }
  }

  /** What was saved is on disk already, so a full disk is no failure of the save, unless the journal has become too long. */
  async #checkpointSoon ({ isNeeded }: { isNeeded: boolean }): Promise<void> {
    try {
      await this.checkpoint()
    } catch (error) {
      const failure = this.#failedBy(error)
      if (isNeeded) throw failure
    }
  }

  /** A full disk may have room again. Anything else is for good: what the disk has of this store is not known any more. */
  #failedBy (error: unknown): unknown {
    if (error instanceof StoreFull) return error
    return this.#failure ??= readOnly('the disk failed', error)
  }

  async #current (table: TableNumber, rowKey: Uint8Array): Promise<StoredRow | undefined> {
    const partition = partitionOf(rowKey)
    for (;;) {
      const recent = this.#recent.get({ table, rowKey })
      if (recent !== undefined) return recent
      const { rows } = this.#provenAs(partition)
      if (!rows.mayHave(rowKey)) return undefined
      const { changes } = rows
      const found = await this.#lookUp(table, rowKey)
      // saved meanwhile: what was found may be what the row was before
      if (rows.changes !== changes) continue
      if (found === undefined || rows.has(rowKey, rowHash(found))) return found
      throw this.#lostTo(new Corrupt('the index has another row than it was proven to have'), partition)
    }
  }

  async #lookUp (table: TableNumber, rowKey: Uint8Array): Promise<StoredRow | undefined> {
    const key = indexKeyOf({ table, rowKey })
    try {
      const value = await this.#options.index.get(key)
      if (value !== undefined) return decodeIndexed(key, value)
      // most likely it is another row's key that looks the same: the way of the proof tells
      for await (const row of this.#indexed(partitionOf(rowKey))) if (row.table === table && equals(row.rowKey, rowKey)) throw new Corrupt('the index does not find a row that it has')
      return undefined
    } catch (error) {
      throw this.#lostTo(error, partitionOf(rowKey))
    }
  }

  #lostTo (error: unknown, partition: number): unknown {
    if (!(error instanceof Corrupt)) return error
    if (this.#behind !== undefined) return this.#behind
    this.#lose(partition, error.message)
    return new PartitionLost(partition, { cause: error })
  }

  #replace (row: StoredRow, { old, before }: { old: StoredRow | undefined, before: Uint8Array | undefined }): void {
    const proven = this.#proven.get(partitionOf(row.rowKey))
    if (proven === undefined) return
    const { ballotOf } = this.#options
    proven.rows.replace(row.rowKey, { before, after: rowHash(row) })
    const [fresh, gone] = [agreedTerm(row, ballotOf), old === undefined ? undefined : agreedTerm(old, ballotOf)]
    let { count, sum } = proven.agreed
    if (fresh !== undefined) { sum = added(sum, fresh); count++ }
    if (gone !== undefined) { sum = subtracted(sum, gone); count-- }
    proven.agreed = { count, sum }
  }

  #provenAs (partition: number): ProvenPartition {
    const proven = this.#proven.get(partition)
    if (proven === undefined) throw new PartitionLost(partition)
    return proven
  }

  /** Once for each partition, before it is believed. @throws PartitionLost */
  async #prove (partition: number): Promise<void> {
    if (this.#lost.has(partition)) throw new PartitionLost(partition)
    if (this.#proven.has(partition)) return
    if (this.#behind !== undefined) throw this.#behind
    let proving = this.#proving.get(partition)
    if (proving === undefined) this.#proving.set(partition, proving = this.#provenOrLost(partition).finally(() => { this.#proving.delete(partition) }))
    await proving
    if (this.#lost.has(partition)) throw new PartitionLost(partition)
  }

  async #provenOrLost (partition: number): Promise<void> {
    const { ballotOf } = this.#options
    const rows = new ProvenRows()
    let agreed = { count: 0, sum: 0n }
    try {
      const found = await this.#summed(partition, (row) => {
        const [hash, term] = [rowHash(row), agreedTerm(row, ballotOf)]
        rows.replace(row.rowKey, { before: undefined, after: hash })
        if (term !== undefined) agreed = { count: agreed.count + 1, sum: added(agreed.sum, term) }
        return termOf(hash)
      })
      if (this.#proof.holds(partition, found)) this.#proven.set(partition, { rows, agreed })
      else this.#lose(partition, 'the index does not hold what was saved')
    } catch (error) {
      if (error instanceof StoreFull) throw error
      // whatever the index says instead of its rows, it is not what was saved
      this.#lose(partition, error instanceof Error ? error.message : String(error))
    }
  }

  async #summed (partition: number, termFor: (row: StoredRow) => bigint): Promise<{ count: number, sum: bigint }> {
    let [count, sum] = [0, 0n]
    for await (const row of this.#indexed(partition)) {
      count++
      sum = added(sum, termFor(row))
    }
    return { count, sum }
  }

  async * #indexed (partition: number, after?: Uint8Array): AsyncIterable<StoredRow> {
    for await (const [key, value] of this.#options.index.entries(rangeOf(partition, after))) yield decodeIndexed(key, value)
  }

  #lose (partition: number, reason: string): void {
    if (this.#lost.has(partition)) return
    this.#lost.add(partition)
    this.#proven.delete(partition)
    this.#recent.forget(partition)
    this.#options.onLost({ partitions: 1, reason })
  }
}

interface ProvenPartition {
  readonly rows: ProvenRows
  /** What replicas compare. */
  agreed: { readonly count: number, readonly sum: bigint }
}

const diskFull = 'the row store takes no writes: the disk is full. It goes on when there is room'
const readOnly = (what: string, cause: unknown): StoreReadOnly => new StoreReadOnly(`the row store takes no writes: ${what}. Check the disk, then start the node again`, { cause })

/** Of rows saved more than once the last. */
const lastRowsOf = (entries: readonly JournalEntry[]): readonly StoredRow[] => [...new Map(entries.flatMap(({ rows }) => rows).map(({ row }) => [nameOf(row), row])).values()]
