import { equals, partitionCount, partitionOf } from '../base/bytes.ts'
import { StoreFull } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import type { Files, KeyValue } from '../disk/index.ts'
import { ballotLimits } from './ballot.ts'
import type { Ballot, RowStore, StoredRow, TableNumber } from './index.ts'
import type { Journal } from './journal.ts'
import { ProvenPartitions } from './proven-partitions.ts'
import { gatherEvidence } from './row-evidence.ts'
import { demandStorable, groupsOf } from './row-groups.ts'
import { RowProof } from './row-proof.ts'
import { RowStoreHealth } from './row-store-health.ts'
import { sumBytes } from './row-sum.ts'
import { RowWriter } from './row-writer.ts'
import { isIntact, rangeOf } from './stored-row-format.ts'

/**
 * A voter's memory. LevelDB alone cannot be it: one flipped bit in its log silently drops rows that were synced, and a voter that forgets lets
 * two values be chosen. So every promise and accept goes to our own journal first, and LevelDB is an index of it whose content is proven: the proof, rows
 * counted and summed by partition, is written at each checkpoint and carried forward by the journal, each of whose entries says what the row was before.
 * A partition is held against it before its first answer, once after each start, and every later look against what was found then (`proven-partitions.ts`).
 * One that does not add up is lost: it neither answers nor votes. How it is written: `row-writer.ts`.
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
  /** A disk that was full has room again when so much is free: the longest frame. */
  roomBytes: 16 * 1024 * 1024,
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
  await store.begin(entries)
  return store
}

class DiskRowStore implements RowStore {
  #storeId: Uint8Array
  readonly #options: RowStoreOptions
  readonly #journal: Journal
  readonly #health = new RowStoreHealth()
  readonly #partitions: ProvenPartitions
  readonly #writer: RowWriter

  constructor (options: RowStoreOptions, { journal, storeId, proof, counter }: { journal: Journal, storeId: Uint8Array, proof: RowProof, counter: bigint }) {
    this.#options = options
    this.#journal = journal
    this.#storeId = storeId
    const [parts, health] = [{ ...options, proof }, this.#health]
    this.#partitions = new ProvenPartitions({ ...parts, health })
    this.#writer = new RowWriter({ ...parts, health, journal, partitions: this.#partitions, storeId: () => this.#storeId }, counter)
  }

  get storeId (): Uint8Array { return this.#storeId }
  get position (): bigint { return this.#journal.position }
  get readOnlyReason (): string | undefined { return this.#health.readOnlyReason }
  lostPartitions (): ReadonlySet<number> { return this.#partitions.lost }

  async recover (): Promise<void> {
    const { files, folder } = this.#options
    if (this.#health.failure !== undefined || this.readOnlyReason === undefined || await files.freeBytes(folder) < rowStoreLimits.roomBytes) return
    // a save of nothing
    await this.#writer.save([]).catch((error: unknown) => { if (!(error instanceof StoreFull)) throw error })
  }

  async get (table: TableNumber, rowKey: Uint8Array): Promise<StoredRow | undefined> {
    await this.#partitions.prove(partitionOf(rowKey))
    return this.#partitions.current(table, rowKey)
  }

  async save (rows: readonly StoredRow[]): Promise<void> {
    for (const row of rows) demandStorable(row)
    // in line before anything is waited for: of one row, the call that came later is the one remembered
    await Promise.all(groupsOf(rows).map(async (group) => this.#writer.save(group)))
  }

  async * rows (partition: number, { after }: { after?: Uint8Array } = {}): AsyncIterable<StoredRow> {
    await this.#partitions.prove(partition)
    yield * this.#partitions.rows(partition, after)
  }

  async restore (partition: number): Promise<void> {
    if (!this.#partitions.lost.has(partition)) return
    if (this.#health.behind !== undefined) throw this.#health.behind
    // what no longer is what was written is no row; the others are what this store once promised, and hold
    const { index } = this.#options
    const damaged: Uint8Array[] = []
    for await (const [key, value] of index.entries(rangeOf(partition))) if (!isIntact(key, value)) damaged.push(key)
    await index.batch(damaged.map((key) => ({ type: 'delete', key })), { sync: true })
    await this.#partitions.restore(partition)
  }

  async disown (reason: string): Promise<void> {
    this.forget()
    this.#options.onLost({ partitions: partitionCount, reason })
    this.#writer.makeCheckpointDue()
    await this.#writer.save([])
  }

  async digest (partition: number): Promise<{ count: number, digest: Uint8Array }> {
    await this.#partitions.prove(partition)
    const { count, sum } = this.#partitions.agreed(partition)
    return { count, digest: sumBytes(sum) }
  }

  async nextCounter (atLeast: bigint): Promise<bigint> { return await this.#writer.nextCounter(atLeast) }

  async [Symbol.asyncDispose] (): Promise<void> {
    await using open = new AsyncDisposableStack()
    open.use(this.#options.index)
    open.use(this.#journal)
    await this.#writer.settled()
    if (this.#health.failure === undefined && this.#health.behind === undefined) await this.#writer.checkpoint()
  }

  /** All that it remembers, for good once it is on disk: it is another store from now on. */
  forget (): void {
    this.#storeId = this.#options.random.bytes(16)
    // the one before may have given out more: half a jump is two thousand million of them, and still less than what peers refuse
    this.#writer.jumpCounters(ballotLimits.maxCounterJump / 2n)
    this.#partitions.loseAll()
  }

  /** What the journal says that the proof and the index may not have yet; then nothing is left for the next start to replay. */
  async begin (entries: Parameters<RowWriter['replay']>[0]): Promise<void> {
    await this.#writer.replay(entries)
    await this.#writer.checkpoint()
  }
}
