import { equals, partitionCount, partitionOf } from '../base/bytes.ts'
import { Corrupt, StoreFull } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import { FileMissing, type Files, type KeyValue } from '../disk/index.ts'
import { ballotLimits, compareBallots } from './ballot.ts'
import { type Ballot, isClear, PartitionLost, type RowStore, type SaveOptions, type StoredRow, type TableNumber } from './index.ts'
import type { Journal } from './journal.ts'
import { ProvenPartitions } from './proven-partitions.ts'
import { gatherEvidence } from './row-evidence.ts'
import { demandStorable, groupsOf } from './row-groups.ts'
import { nameOf } from './recent-rows.ts'
import { applyToProof, damagedKeys, deleteKeys, type RowChange } from './row-changes.ts'
import { decodeProof, nothingProves, RowProof } from './row-proof.ts'
import { RowStoreHealth } from './row-store-health.ts'
import { rowHash, sumBytes } from './row-sum.ts'
import { RowWriter } from './row-writer.ts'

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
  /** Makes a copy of a file that was found damaged, before it is written anew. */
  readonly keepEvidence?: (path: string) => Promise<void>
  /** The id by which the cluster knows the store that belongs here. Undefined: it knows none yet. */
  readonly named?: Uint8Array
}

export const rowStoreLimits = {
  /** Partitions that are cleared, or brought back, with one frame of the journal. */
  partitionsAtOnce: 256,
  /** A disk that was full has room again when so much is free: the longest frame. */
  roomBytes: 16 * 1024 * 1024,
} as const

/** A row store on a disk, which may rot under it. */
export interface DiskRows extends RowStore {
  /**
   * Reads a partition again as the disk has it, and holds it against what it was proven to have: if it is not that any more, it is lost from then on. Gives how many rows were read, none
   * of a partition that is lost already. @throws StoreFull while the index lacks what the journal has; StoreReadOnly
   */
  reread (partition: number): Promise<{ readonly rows: number, readonly isRight: boolean }>
  /**
   * Reads journal and proof again. What they say is known here, so if one is not what was written both are written anew, when `keep` has made copies of the files it is
   * given. 'mended': they were. @throws StoreFull, StoreReadOnly
   */
  rereadJournal (keep: (path: string) => Promise<void>): Promise<'right' | 'mended'>
}

/**
 * A store that lost its memory as a whole, or is not the one that belongs here, gets a new id and forgets all that it may remember; one that lost partitions
 * says so, at every start until they are restored.
 */
export async function openRowStore (options: RowStoreOptions): Promise<DiskRows> {
  const { files, folder, random, onLost, named } = options
  await files.ensureFolder(folder)
  for (const path of [folder, `${folder}/journal`]) await files.removeDebris(path)
  const { saved, journal, entries, counter, loss: damage } = await gatherEvidence(options)
  if (damage !== undefined) await keepDamaged(options)
  const isNamed = named === undefined || (saved !== undefined && equals(named, saved.head.storeId))
  // one that was forgotten before is another store since then, and remembers nothing that it could lose
  const isForgotten = saved !== undefined && saved.proof.isLostWhole
  const loss = damage ?? (isNamed || isForgotten ? undefined : 'it is not the store that the cluster knows: its folder was emptied, or is another\'s')
  const proof = (loss === undefined ? saved?.proof : undefined) ?? new RowProof()
  const changes = entries.flatMap((entry) => entry.changes)
  for (const change of changes) applyToProof(proof, change)
  const store = new DiskRowStore(options, { journal, storeId: saved?.head.storeId ?? random.bytes(16), proof, counter })
  if (loss !== undefined) store.forget()
  const partitions = store.lostPartitions().size
  if (partitions > 0) onLost({ partitions, reason: loss ?? 'lost before, and not handed over since' })
  await store.begin(changes)
  return store
}

async function keepDamaged ({ files, folder, keepEvidence = async () => {} }: RowStoreOptions): Promise<void> {
  const segments: string[] = []
  for await (const { name } of files.list(`${folder}/journal`)) segments.push(`${folder}/journal/${name}`)
  for (const path of [`${folder}/proof`, ...segments]) await keepEvidence(path)
}

class DiskRowStore implements DiskRows {
  #storeId: Uint8Array
  readonly #options: RowStoreOptions
  readonly #journal: Journal
  readonly #proof: RowProof
  readonly #health = new RowStoreHealth()
  readonly #partitions: ProvenPartitions
  readonly #writer: RowWriter

  constructor (options: RowStoreOptions, { journal, storeId, proof, counter }: { journal: Journal, storeId: Uint8Array, proof: RowProof, counter: bigint }) {
    this.#options = options
    this.#journal = journal
    this.#storeId = storeId
    this.#proof = proof
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

  async save (rows: readonly StoredRow[], options: SaveOptions = {}): Promise<void> {
    for (const row of rows) demandStorable(row)
    // in line before anything is waited for: of one row, the call that came later is the one remembered
    await Promise.all(groupsOf(rows).map(async (group) => this.#writer.save(group, options)))
  }

  async * rows (partition: number, { after }: { after?: Uint8Array } = {}): AsyncIterable<StoredRow> {
    await this.#partitions.prove(partition)
    yield * this.#partitions.rows(partition, after)
  }

  async clear (...cleared: readonly number[]): Promise<void> {
    const [partitions, proof] = [this.#partitions, this.#proof]
    const changeOf = async (partition: number): Promise<RowChange | undefined> => {
      const sealed = partitions.lost.has(partition) ? undefined : await partitions.withoutSealed(partition).catch((error: unknown) => { if (!(error instanceof PartitionLost)) throw error })
      if (sealed === undefined) return { kind: 'cleared', partition, what: 'everything', remains: nothingProves }
      return sealed.gone > 0 || proof.floor(partition) !== undefined ? { kind: 'cleared', partition, what: 'sealed', ...sealed } : undefined
    }
    for (const group of groupsIn(cleared)) {
      await this.#writer.alone(async (write) => {
        const changes: RowChange[] = []
        for (const partition of group) {
          const change = await changeOf(partition)
          if (change !== undefined) changes.push(change)
        }
        if (changes.length > 0) await write(changes)
      })
    }
  }

  async fill (rows: readonly StoredRow[]): Promise<void> {
    for (const row of rows) demandStorable(row)
    await Promise.all(groupsOf(rows).map(async (group) => this.#writer.alone(async (write) => {
      for (const { rowKey } of group) if (!this.#partitions.lost.has(partitionOf(rowKey))) throw new RangeError(`partition ${partitionOf(rowKey)} is not lost: its rows are saved`)
      await write(group.map((row) => ({ kind: 'filled', row })))
    })))
  }

  async restore (...restored: readonly number[]): Promise<void> {
    const [partitions, health, { index }] = [this.#partitions, this.#health, this.#options]
    for (const group of groupsIn(restored)) {
      await this.#writer.alone(async (write) => {
        const lost = group.filter((partition) => partitions.lost.has(partition))
        if (lost.length === 0) return
        // what no longer is what was written is no row; the others are what this store once promised, and hold
        const forgetDamaged = async (): Promise<void> => {
          for (const partition of lost) await deleteKeys(index, damagedKeys(index, partition))
          await index.batch([], { sync: 'all' })
        }
        await forgetDamaged().catch((error: unknown) => { throw index.failure === undefined ? error : health.indexFailedBy(index.failure) })
        const changes: RowChange[] = []
        for (const partition of lost) changes.push({ kind: 'restored', partition, found: await partitions.found(partition) })
        await write(changes)
        for (const partition of lost) await partitions.prove(partition)
      })
    }
  }

  floor (partition: number): Ballot | undefined { return this.#proof.floor(partition) }

  async raiseFloor (...floors: ReadonlyArray<readonly [partition: number, floor: Ballot]>): Promise<void> {
    await this.#writer.alone(async (write) => {
      const raised = floors.filter(([partition, floor]) => { const before = this.#proof.floor(partition); return before === undefined || compareBallots(floor, before) > 0 })
      if (raised.length > 0) await write(raised.map(([partition, floor]) => ({ kind: 'floor', partition, floor })))
    })
  }

  async bury (rows: ReadonlyArray<Pick<StoredRow, 'table' | 'rowKey'> & { readonly ballot: Ballot }>): Promise<void> {
    if (rows.some(({ table }) => isClear(table))) throw new RangeError('a clear row is in no partition, so no floor says that it was')
    const each = new Map(rows.map((row) => [nameOf(row), row]))
    await this.#writer.alone(async (write) => {
      const changes: RowChange[] = []
      for (const { table, rowKey, ballot } of each.values()) {
        const partition = partitionOf(rowKey)
        const old = await this.get(table, rowKey)
        if (old !== undefined) changes.push({ kind: 'buried', table, rowKey, old, before: rowHash(old) })
        changes.push({ kind: 'floor', partition, floor: old === undefined || compareBallots(ballot, old.promised) > 0 ? ballot : old.promised })
      }
      if (changes.length > 0) await write(changes)
    })
  }

  async disown (reason: string): Promise<void> {
    this.forget()
    this.#options.onLost({ partitions: partitionCount, reason })
    this.#writer.makeCheckpointDue()
    await this.#writer.save([])
  }

  async reread (partition: number): Promise<{ rows: number, isRight: boolean }> {
    const partitions = this.#partitions
    let [rows, isRight] = [0, true]
    if (partitions.lost.has(partition)) return { rows, isRight }
    // alone: what is being saved is in the proof before it is in the index
    await this.#writer.alone(async () => {
      if (partitions.lost.has(partition)) return
      rows = await partitions.reread(partition)
      isRight = !partitions.lost.has(partition)
    })
    return { rows, isRight }
  }

  async rereadJournal (keep: (path: string) => Promise<void>): Promise<'right' | 'mended'> {
    const { folder } = this.#options
    let outcome: 'right' | 'mended' = 'right'
    await this.#writer.alone(async () => {
      if (await this.#isWritten()) return
      for (const path of [`${folder}/proof`, this.#journal.path]) await keep(path)
      outcome = 'mended'
      await this.#writer.checkpoint()
    })
    return outcome
  }

  async digest (partition: number): Promise<{ count: number, digest: Uint8Array }> {
    await this.#partitions.prove(partition)
    const { count, sum } = this.#partitions.agreed(partition)
    return { count, digest: sumBytes(sum) }
  }

  async promised (partition: number): Promise<Ballot | undefined> {
    await this.#partitions.prove(partition)
    return this.#partitions.promised(partition)
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

  /** Whether journal and proof are on disk as they were written. A fault of the disk is thrown. */
  async #isWritten (): Promise<boolean> {
    const { files, folder } = this.#options
    try {
      await this.#journal.frames()
      return decodeProof(await files.read(`${folder}/proof`)) !== undefined
    } catch (error) {
      if (error instanceof Corrupt || error instanceof FileMissing) return false
      throw error
    }
  }

  /** What the journal says that the proof and the index may not have yet; then nothing is left for the next start to replay. */
  async begin (changes: readonly RowChange[]): Promise<void> {
    await this.#writer.replay(changes)
    await this.#writer.checkpoint()
  }
}

const groupsIn = (partitions: readonly number[]): ReadonlyArray<readonly number[]> =>
  Array.from({ length: Math.ceil(partitions.length / rowStoreLimits.partitionsAtOnce) }, (_, i) => partitions.slice(i * rowStoreLimits.partitionsAtOnce, (i + 1) * rowStoreLimits.partitionsAtOnce))
