import { partitionOf } from '../base/bytes.ts'
import { StoreFull } from '../base/errors.ts'
import type { Files, KeyValue } from '../disk/index.ts'
import { PartitionLost, type SaveOptions, type StoredRow } from './index.ts'
import type { Journal } from './journal.ts'
import type { ProvenPartitions } from './proven-partitions.ts'
import { nameOf } from './recent-rows.ts'
import { markChange } from './row-evidence.ts'
import { takeGroup, type WaitingSave, type WaitingWork } from './row-groups.ts'
import { applyToIndex, partitionOfChange, type RowChange } from './row-changes.ts'
import type { RowProof } from './row-proof.ts'
import type { RowStoreHealth } from './row-store-health.ts'
import { rowHash } from './row-sum.ts'
import { decodeEntry, encodeEntry } from './stored-row-format.ts'

export const rowWriterLimits = {
  /** The journal is cut, and the index synced, when it is this long: what a start has to replay. */
  checkpointBytes: 32 * 1024 * 1024,
  /** When no checkpoint succeeds (the disk is full) the journal grows to this and then takes no more. */
  maxJournalBytes: 128 * 1024 * 1024,
  /** Ballot counters reserved at once: a crash loses the rest, which only makes them jump. */
  reservedCounters: 1024n,
} as const

export interface RowWriterParts {
  readonly files: Files
  readonly folder: string
  readonly index: KeyValue
  readonly journal: Journal
  readonly proof: RowProof
  readonly partitions: ProvenPartitions
  readonly health: RowStoreHealth
  readonly storeId: () => Uint8Array
}

/**
 * Writes what is saved: to the journal, many saves with one sync; then, unsynced, into the index; and all of the index with the proof beside it, the journal
 * cut, at each checkpoint. One at a time, in the order of the calls.
 */
export class RowWriter {
  readonly #parts: RowWriterParts
  readonly #waiting: Array<WaitingSave | WaitingWork> = []
  #writing: Promise<void> | undefined
  /** It still says what was disowned: a checkpoint is due. */
  #isProofOld = false
  /** Counters up to here are on disk as given out, and up to here they will be with the next frame. */
  #reserved: bigint
  #reserving: bigint
  #counter: bigint

  constructor (parts: RowWriterParts, counter: bigint) {
    this.#parts = parts
    this.#reserved = this.#reserving = this.#counter = counter
  }

  /** On disk when it resolves. */
  async save (rows: readonly StoredRow[], { isInPlace = false }: SaveOptions = {}): Promise<void> { await this.#enqueue((settlers) => ({ rows, isInPlace, ...settlers })) }

  /**
   * Runs when all that came before is on disk, and nothing is written beside it but what it writes itself.
   * @throws PartitionLost if everything was lost since the call: what it found out says nothing any more
   */
  async alone (work: (write: (changes: readonly RowChange[]) => Promise<void>) => Promise<void>): Promise<void> {
    const { timesLost } = this.#parts.partitions
    await this.#enqueue((settlers) => ({
      work: async () => {
        if (this.#parts.health.behind !== undefined) await this.#catchUp()
        await work(async (changes) => {
          if (this.#parts.partitions.timesLost === timesLost) await this.#commit(changes)
          else for (const change of changes) throw new PartitionLost(partitionOfChange(change))
        })
      },
      ...settlers,
    }))
  }

  /** Nothing is being written when it resolves. */
  async settled (): Promise<void> { await this.#writing }

  async nextCounter (atLeast: bigint): Promise<bigint> {
    const counter = this.#counter = (atLeast > this.#counter ? atLeast : this.#counter) + 1n
    while (counter > this.#reserved) {
      if (counter > this.#reserving) this.#reserving = this.#counter + rowWriterLimits.reservedCounters
      // an empty save: its frame carries the reservation
      await this.save([])
    }
    return counter
  }

  /** On disk with the next frame or checkpoint. */
  jumpCounters (by: bigint): void { this.#counter = this.#reserving += by }

  /** The next save writes the proof too. */
  makeCheckpointDue (): void { this.#isProofOld = true }

  /** Brings the index up to what the journal says. Idempotent: it may have any part of it already. */
  async replay (changes: readonly RowChange[]): Promise<void> {
    await applyToIndex(this.#parts.index, changes, { mark: [], sync: 'all' })
  }

  /** All of the index on disk, the proof beside it, the journal cut. @throws StoreFull (nothing is lost: the journal goes on), or what failed */
  async checkpoint (): Promise<void> {
    const { files, folder, health, index, journal, proof, storeId } = this.#parts
    await index.batch([this.#mark()], { sync: 'all' }).catch((cause: unknown) => { throw health.indexFailedBy(cause) })
    await files.writeDurable(`${folder}/proof`, [proof.encode({ storeId: storeId(), position: journal.position, counter: this.#reserving })])
    this.#isProofOld = false
    await journal.cut()
  }

  #mark (): ReturnType<typeof markChange> { return markChange({ position: this.#parts.journal.position, counter: this.#reserving }) }

  async #enqueue (waitingWith: (settlers: { resolve: () => void, reject: (error: unknown) => void }) => WaitingSave | WaitingWork): Promise<void> {
    if (this.#parts.health.failure !== undefined) throw this.#parts.health.failure
    await new Promise<void>((resolve, reject) => {
      this.#waiting.push(waitingWith({ resolve, reject }))
      this.#writing ??= this.#write()
    })
  }

  async #write (): Promise<void> {
    // saves of one moment share the first frame too
    await Promise.resolve()
    for (let next = this.#waiting[0]; next !== undefined; next = this.#waiting[0]) {
      if ('rows' in next) await this.#saveGroup()
      else await this.#doAlone(next)
    }
    // together with the last look at the queue: a save that comes between the two would wait for a writer that is gone
    this.#writing = undefined
  }

  async #saveGroup (): Promise<void> {
    const { health, partitions } = this.#parts
    const group = takeGroup(this.#waiting, partitions.lost)
    if (group.length === 0) return
    try {
      if (health.failure !== undefined) throw health.failure
      if (health.behind !== undefined) await this.#catchUp()
      await this.#commit(await this.#replacements(group))
      for (const { resolve } of group) resolve()
    } catch (error) {
      // found while looking what the rows were, so nothing is written yet: the others go on without the lost one
      if (error instanceof PartitionLost) this.#waiting.unshift(...group)
      else for (const { reject } of group) reject(error)
    }
  }

  async #doAlone ({ work, resolve, reject }: WaitingWork): Promise<void> {
    this.#waiting.shift()
    try {
      if (this.#parts.health.failure !== undefined) throw this.#parts.health.failure
      await work()
      resolve()
    } catch (error) {
      reject(error)
    }
  }

  async #replacements (group: readonly WaitingSave[]): Promise<readonly RowChange[]> {
    const { partitions } = this.#parts
    // of one row saved twice in a group the last counts, as it would have one after the other
    const saved = new Map<string, { readonly row: StoredRow, readonly isInPlace: boolean }>()
    for (const { rows, isInPlace } of group) for (const row of rows) saved.set(nameOf(row), { row, isInPlace: isInPlace && saved.get(nameOf(row))?.isInPlace !== false })
    await Promise.all([...saved.values()].map(async ({ row }) => partitions.prove(partitionOf(row.rowKey))))
    const changes = await Promise.all([...saved.values()].map(async ({ row, isInPlace }): Promise<RowChange | undefined> => {
      const old = await partitions.current(row.table, row.rowKey)
      return isInPlace && old === undefined ? undefined : { kind: 'saved', row, old, before: old === undefined ? undefined : rowHash(old) }
    }))
    return changes.filter((change) => change !== undefined)
  }

  async #commit (changes: readonly RowChange[]): Promise<void> {
    const { health, journal, partitions } = this.#parts
    if (journal.sizeBytes > rowWriterLimits.maxJournalBytes) await this.#checkpointSoon({ isNeeded: true })
    const [reserving, { timesLost }] = [this.#reserving, partitions]
    await journal.append(encodeEntry({ changes, counter: reserving })).catch((cause: unknown) => { throw health.journalFailedBy(cause) })
    health.full = undefined
    this.#reserved = reserving
    // all that was lost meanwhile stays lost, though the journal says that a partition is whole: the proof that is due says more
    for (const change of changes) if (partitions.timesLost === timesLost || change.kind === 'saved') partitions.apply(change)
    await this.#putInIndex(changes)
    if (health.behind === undefined && (this.#isProofOld || journal.sizeBytes > rowWriterLimits.checkpointBytes)) await this.#checkpointSoon({ isNeeded: false })
  }

  /**
   * LevelDB's log may be torn in the middle after any failed write, and what it takes from then on be dropped at its next start. So nothing is cut from the
   * journal any more: the changes are safe there. When the disk is only full they are acknowledged, and the next ones wait until the index has caught up;
   * until then what was saved is among the recent rows, as are all of a group. After any other failure the next start replays the journal.
   */
  async #putInIndex (changes: readonly RowChange[]): Promise<void> {
    const { health, index, partitions } = this.#parts
    try {
      await applyToIndex(index, changes, { mark: [this.#mark()], sync: false })
    } catch (cause) {
      const failure = health.indexFailedBy(cause)
      if (failure instanceof StoreFull) return
      // a floor is in the journal alone
      for (const change of changes) if (change.kind !== 'floor') partitions.lose(partitionOfChange(change), 'the index took no write; the journal has the rows')
      throw failure
    }
  }

  /** The index has again what the journal says, as after a start. @throws StoreFull while there is no room */
  async #catchUp (): Promise<void> {
    const { health, index, journal } = this.#parts
    try {
      // opens it afresh, if there is room: what was not synced may be gone, though it was before the failure
      await index.batch([], { sync: true })
      const changes = (await journal.frames()).flatMap((frame) => decodeEntry(frame).changes)
      await applyToIndex(index, changes, { mark: [this.#mark()], sync: 'all' })
      health.behind = undefined
    } catch (error) {
      throw health.indexFailedBy(error)
    }
  }

  /** What was saved is on disk already, so a full disk is no failure of the save, unless the journal has become too long. */
  async #checkpointSoon ({ isNeeded }: { isNeeded: boolean }): Promise<void> {
    try {
      await this.checkpoint()
    } catch (error) {
      const failure = this.#parts.health.failedBy(error)
      if (isNeeded) throw failure
    }
  }
}
