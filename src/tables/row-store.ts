import { hexOf, partitionCount, partitionOf } from '../base/bytes.ts'
import { Corrupt } from '../base/errors.ts'
import type { Random } from '../base/random.ts'
import { StoreReadOnly } from '../blockstore/index.ts'
import { FileMissing, type Files, type KeyValue, type KeyValueChange, SyncFailed } from '../disk/index.ts'
import { type Ballot, PartitionLost, type RowStore, type StoredRow, type TableNumber } from './index.ts'
import { type Journal, openJournal } from './journal.ts'
import { decodeProof, RowProof } from './row-proof.ts'
import { added, agreedTerm, rowHash, subtracted, sumBytes, termOf } from './row-sum.ts'
import { decodeEntry, decodeIndexed, encodeEntry, encodeIndexed, indexKeyOf, type JournalEntry, partitionStart } from './stored-row-format.ts'

/**
 * A voter's memory (design §6). LevelDB alone cannot be it: one flipped bit in its log silently drops rows that were synced, and a voter that forgets lets
 * two values be chosen. So every promise and accept goes to our own journal first, and LevelDB is an index of it whose content is proven: the proof, rows
 * counted and summed by partition, is written at each checkpoint and carried forward by the journal, each of whose entries says what the row was before.
 * A partition is held against it before its first answer, once after each start. One that does not add up is lost: it neither answers nor votes.
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
}

export const rowStoreLimits = {
  /** The journal is cut, and the index synced, when it is this long: what a start has to replay. */
  checkpointBytes: 32 * 1024 * 1024,
  /** Rows in one frame. */
  maxGroup: 1024,
  /** Recent rows in memory. */
  maxCached: 4096,
  /** Ballot counters reserved at once: a crash loses the rest, which only makes them jump. */
  reservedCounters: 1024n,
} as const

export async function openRowStore (options: RowStoreOptions): Promise<RowStore> {
  const { files, folder, random, onLost, index } = options
  await files.ensureFolder(folder)
  const { journal, frames, isDamaged } = await openJournal(files, `${folder}/journal`)
  const saved = decodeProofFile(await files.read(`${folder}/proof`).catch((error: unknown) => { if (error instanceof FileMissing) return undefined; throw error }))
  const isNew = saved === 'none' && frames.length === 0 && !isDamaged && await isEmpty(index)
  const reason = isDamaged ? 'the journal is damaged' : saved === 'damaged' ? 'the proof is damaged' : saved === 'none' && !isNew ? 'the proof is missing' : !followsOn(saved, frames) ? 'the journal does not follow on the proof' : undefined
  const head = typeof saved === 'object' && reason === undefined ? saved.head : { storeId: random.bytes(16), position: 0n, counter: typeof saved === 'object' ? saved.head.counter : 0n }
  const store = new DiskRowStore(options, { journal, storeId: head.storeId, proof: typeof saved === 'object' && reason === undefined ? saved.proof : new RowProof(), counter: head.counter })
  if (reason !== undefined) {
    store.loseAll()
    onLost({ partitions: partitionCount, reason })
  }
  await store.replay(frames.filter(({ position }) => position > head.position || reason !== undefined).map(({ body }) => decodeEntry(body)))
  await store.checkpoint()
  return store
}

type SavedProof = ReturnType<typeof decodeProof> & object | 'none' | 'damaged'

const decodeProofFile = (bytes: Uint8Array | undefined): SavedProof => bytes === undefined ? 'none' : decodeProof(bytes) ?? 'damaged'

/** The journal begins at the proof's position or before it, or frames between the two are missing. */
function followsOn (saved: SavedProof, frames: ReadonlyArray<{ readonly position: bigint }>): boolean {
  const first = frames[0]?.position
  if (typeof saved !== 'object') return true
  return first === undefined || first <= saved.head.position + 1n
}

async function isEmpty (index: KeyValue): Promise<boolean> {
  for await (const _key of index.keys({ limit: 1 })) return false
  return true
}

interface Save { readonly rows: readonly StoredRow[], readonly resolve: () => void, readonly reject: (error: unknown) => void }

class DiskRowStore implements RowStore {
  readonly storeId: Uint8Array
  readonly #options: RowStoreOptions
  readonly #journal: Journal
  readonly #proof: RowProof
  readonly #lost = new Set<number>()
  readonly #proving = new Map<number, Promise<void>>()
  /** Partitions proven, with what replicas compare. */
  readonly #agreed = new Map<number, { count: number, sum: bigint }>()
  readonly #cache = new Map<string, StoredRow | undefined>()
  #saves: Save[] = []
  #writing: Promise<void> | undefined
  #failure: StoreReadOnly | undefined
  #reserved: bigint
  #counter: bigint

  constructor (options: RowStoreOptions, { journal, storeId, proof, counter }: { journal: Journal, storeId: Uint8Array, proof: RowProof, counter: bigint }) {
    this.#options = options
    this.#journal = journal
    this.storeId = storeId
    this.#proof = proof
    this.#reserved = this.#counter = counter
  }

  get position (): bigint { return this.#journal.position }
  lostPartitions (): ReadonlySet<number> { return this.#lost }
  loseAll (): void { for (let partition = 0; partition < partitionCount; partition++) this.#lost.add(partition) }

  async get (table: TableNumber, rowKey: Uint8Array): Promise<StoredRow | undefined> {
    await this.#prove(partitionOf(rowKey))
    return this.#current(table, rowKey)
  }

  async save (rows: readonly StoredRow[]): Promise<void> {
    for (const { rowKey } of rows) await this.#prove(partitionOf(rowKey))
    if (this.#failure !== undefined) throw this.#failure
    await new Promise<void>((resolve, reject) => {
      this.#saves.push({ rows, resolve, reject })
      this.#writing ??= this.#write().finally(() => { this.#writing = undefined })
    })
  }

  async * rows (partition: number, { after }: { after?: Uint8Array } = {}): AsyncIterable<StoredRow> {
    await this.#prove(partition)
    for await (const row of this.#indexed(partition)) {
      if (after === undefined || Buffer.compare(row.rowKey, after) > 0) yield row
    }
  }

  async restore (partition: number): Promise<void> {
    if (!this.#lost.has(partition)) return
    this.#proof.set(partition, await this.#summed(partition, (row) => termOf(rowHash(row))))
    this.#lost.delete(partition)
    await this.#prove(partition)
  }

  async digest (partition: number): Promise<{ count: number, digest: Uint8Array }> {
    await this.#prove(partition)
    const { count, sum } = this.#agreed.get(partition) ?? { count: 0, sum: 0n }
    return { count, digest: sumBytes(sum) }
  }

  async nextCounter (atLeast: bigint): Promise<bigint> {
    this.#counter = (atLeast > this.#counter ? atLeast : this.#counter) + 1n
    const counter = this.#counter
    if (counter > this.#reserved) {
      this.#reserved = counter + rowStoreLimits.reservedCounters
      // an empty save: its frame carries the reservation
      await this.save([])
    }
    return counter
  }

  async [Symbol.asyncDispose] (): Promise<void> {
    await this.#writing
    if (this.#failure === undefined) await this.checkpoint()
    await this.#journal[Symbol.asyncDispose]()
    await this.#options.index[Symbol.asyncDispose]()
  }

  /** Brings proof and index up to what the journal says. Idempotent: the index may have any part of it already. */
  async replay (entries: readonly JournalEntry[]): Promise<void> {
    const last = new Map<string, StoredRow>()
    for (const { rows, counter } of entries) {
      if (counter > this.#reserved) this.#reserved = this.#counter = counter
      for (const { row, before } of rows) {
        this.#proof.replace(row, before)
        last.set(nameOf(row), row)
      }
    }
    const changes = last.values().map((row): KeyValueChange => ({ type: 'put', key: indexKeyOf(row), value: encodeIndexed(row) })).toArray()
    if (changes.length > 0) await this.#options.index.batch(changes, { sync: true })
  }

  /** The index synced, the proof beside it, the journal cut. */
  async checkpoint (): Promise<void> {
    const { files, folder, index } = this.#options
    await index.batch([{ type: 'put', key: markKey, value: sumBytes(this.position) }], { sync: true })
    await files.writeDurable(`${folder}/proof`, [this.#proof.encode({ storeId: this.storeId, position: this.position, counter: this.#reserved })])
    await this.#journal.cut()
  }

  async #write (): Promise<void> {
    while (this.#saves.length > 0) {
      const group = this.#taken()
      try {
        await this.#commit(group)
        for (const { resolve } of group) resolve()
      } catch (error) {
        if (error instanceof SyncFailed) this.#failure = new StoreReadOnly('the row store takes no writes: an fsync failed. Check the disk, then start the node again', { cause: error })
        for (const { reject } of group) reject(this.#failure ?? error)
      }
    }
  }

  #taken (): Save[] {
    let rows = 0
    const end = this.#saves.findIndex((save) => { rows += save.rows.length; return rows > rowStoreLimits.maxGroup })
    return this.#saves.splice(0, end <= 0 ? Math.max(1, this.#saves.length) : end)
  }

  async #commit (group: readonly Save[]): Promise<void> {
    // of one row saved twice in a group the last counts, as it would have one after the other
    const rows = new Map(group.flatMap((save) => save.rows.map((row) => [nameOf(row), row] as const)))
    const entries = await Promise.all([...rows.values()].map(async (row) => {
      const before = await this.#current(row.table, row.rowKey)
      return { row, old: before, before: before === undefined ? undefined : rowHash(before) }
    }))
    await this.#journal.append(encodeEntry({ rows: entries, counter: this.#reserved }))
    for (const { row, old, before } of entries) {
      this.#proof.replace(row, before)
      this.#agree(row, old)
      this.#remember(row)
    }
    await this.#options.index.batch(entries.map(({ row }) => ({ type: 'put', key: indexKeyOf(row), value: encodeIndexed(row) })), { sync: false })
    if (this.#journal.sizeBytes > rowStoreLimits.checkpointBytes) await this.checkpoint()
  }

  async #current (table: TableNumber, rowKey: Uint8Array): Promise<StoredRow | undefined> {
    const name = nameOf({ table, rowKey })
    if (this.#cache.has(name)) return this.#cache.get(name)
    const key = indexKeyOf({ table, rowKey })
    const value = await this.#options.index.get(key)
    if (value === undefined) return undefined
    try {
      return decodeIndexed(key, value)
    } catch (error) {
      if (!(error instanceof Corrupt)) throw error
      this.#lose(partitionOf(rowKey), error.message)
      throw new PartitionLost(partitionOf(rowKey), { cause: error })
    }
  }

  #remember (row: StoredRow): void {
    const name = nameOf(row)
    this.#cache.delete(name)
    this.#cache.set(name, row)
    const oldest = this.#cache.keys().next()
    if (this.#cache.size > rowStoreLimits.maxCached && oldest.done !== true) this.#cache.delete(oldest.value)
  }

  #agree (row: StoredRow, old: StoredRow | undefined): void {
    const agreed = this.#agreed.get(partitionOf(row.rowKey))
    if (agreed === undefined) return
    const { ballotOf } = this.#options
    const [fresh, gone] = [agreedTerm(row, ballotOf), old === undefined ? undefined : agreedTerm(old, ballotOf)]
    if (fresh !== undefined) { agreed.sum = added(agreed.sum, fresh); agreed.count++ }
    if (gone !== undefined) { agreed.sum = subtracted(agreed.sum, gone); agreed.count-- }
  }

  /** Once for each partition, before it is believed. @throws PartitionLost */
  async #prove (partition: number): Promise<void> {
    if (this.#lost.has(partition)) throw new PartitionLost(partition)
    if (this.#agreed.has(partition)) return
    let proving = this.#proving.get(partition)
    if (proving === undefined) this.#proving.set(partition, proving = this.#provenOrLost(partition).finally(() => { this.#proving.delete(partition) }))
    await proving
    if (this.#lost.has(partition)) throw new PartitionLost(partition)
  }

  async #provenOrLost (partition: number): Promise<void> {
    const { ballotOf } = this.#options
    let agreed = { count: 0, sum: 0n }
    try {
      const found = await this.#summed(partition, (row) => {
        const term = agreedTerm(row, ballotOf)
        if (term !== undefined) agreed = { count: agreed.count + 1, sum: added(agreed.sum, term) }
        return termOf(rowHash(row))
      })
      if (this.#proof.holds(partition, found)) this.#agreed.set(partition, agreed)
      else this.#lose(partition, 'the index does not hold what was saved')
    } catch (error) {
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

  async * #indexed (partition: number): AsyncIterable<StoredRow> {
    for await (const [key, value] of this.#options.index.entries({ from: partitionStart(partition), to: partitionStart(partition + 1) })) yield decodeIndexed(key, value)
  }

  #lose (partition: number, reason: string): void {
    if (this.#lost.has(partition)) return
    this.#lost.add(partition)
    this.#agreed.delete(partition)
    this.#options.onLost({ partitions: 1, reason })
  }
}

/** Beyond every partition. */
const markKey = Uint8Array.of(0xff)
const nameOf = ({ table, rowKey }: Pick<StoredRow, 'table' | 'rowKey'>): string => `${table} ${hexOf(rowKey)}`
