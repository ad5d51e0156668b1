import type { PeerId } from '../../base/peer-id.ts'
import { partitionCount } from '../../base/bytes.ts'
import { newestEpochOf } from '../../cluster/index.ts'
import { splitRecord } from '../../encryption/index.ts'
import { compareBallots } from '../../tables/ballot.ts'
import { isSelfProving, PartitionLost, type RowCodec, type RowStore, type StoredRow, type Voters } from '../../tables/index.ts'
import type { OwnReplica } from '../../tables/replica.ts'
import type { AskReplica } from './clear-rows.ts'
import type { ClusterState } from '../state.ts'

/**
 * After an epoch has begun, whoever was removed still has the key that vote tags of the older ones are made with. So every voter brings what it holds under
 * the new one: a member tags its records anew, ballot and row unchanged; a witness, which cannot, takes those that it decides about so tagged from members. When all voters are
 * done, an era raises the floor, and older tags count for nothing (`FloorKeeper`).
 *
 * *Done* is a promise: from then on nothing older is stored here either. A member tags what comes in with an older tag before it stores it; a witness refuses
 * it from the moment that it is asked for the promise. Over a restart both hold, for era and keyring are on disk.
 */
export interface RetagParts {
  readonly self: PeerId
  readonly state: Pick<ClusterState, 'era' | 'isMember'>
  readonly store: Pick<RowStore, 'rows' | 'lostPartitions'>
  readonly replica: OwnReplica
  readonly codec: RowCodec
  readonly voters: Voters
  readonly ask: AskReplica
  /** The epoch that a member tags in; undefined on a witness. */
  readonly taggedIn: (() => number) | undefined
  /** Nodes that answer now. */
  readonly reachable: () => Iterable<PeerId>
}

export const retagLimits = {
  /** Rows looked at in one step; a step rests as long as it took. */
  rowsAStep: 256,
  partitionsAStep: 64,
} as const

export class Retag {
  readonly #parts: RetagParts
  /** On a witness: what is tagged lower is not taken. */
  #demanded: number
  #done = 0
  #pass: Pass | undefined

  constructor (parts: RetagParts) {
    this.#parts = parts
    // what was promised before a restart is kept after it: nothing higher can have been
    this.#demanded = newestEpochOf(parts.state.era)
  }

  /** Every sealed row that this node decides about is tagged in this epoch or a later one, and will be. */
  get votedFrom (): number { return Math.max(this.#done, this.#parts.state.era.floor) }

  /** What this voter takes: a witness nothing below what it was asked to promise. */
  get demanded (): number { return this.#parts.taggedIn === undefined ? this.#demanded : 0 }

  /** Somebody who raises floors wants the promise for this epoch. What is done of it is `votedFrom`. */
  demand (epoch: number): number {
    if (epoch <= newestEpochOf(this.#parts.state.era)) this.#demanded = Math.max(this.#demanded, epoch)
    return this.votedFrom
  }

  async step ({ signal }: { signal?: AbortSignal } = {}): Promise<'busy' | 'idle'> {
    const { taggedIn } = this.#parts
    const target = taggedIn?.() ?? this.#demanded
    if (target <= Math.max(this.votedFrom, 1)) return 'idle'
    if (this.#pass?.epoch !== target) {
      // what began before this epoch did and is still being written would not be found
      await this.#parts.replica.savesEnded()
      this.#pass = { epoch: target, partition: 0, after: undefined, isWhole: true }
    }
    let rows = 0
    for (let partitions = 0; partitions < retagLimits.partitionsAStep && rows < retagLimits.rowsAStep; partitions++) {
      if (this.#pass.partition === partitionCount) return this.#ended()
      rows += await this.#partition(this.#pass, retagLimits.rowsAStep - rows, signal)
    }
    return 'busy'
  }

  #ended (): 'idle' {
    if (this.#pass?.isWhole === true) this.#done = this.#pass.epoch
    this.#pass = undefined
    return 'idle'
  }

  async #partition (pass: Pass, limit: number, signal: AbortSignal | undefined): Promise<number> {
    let rows = 0
    try {
      for await (const row of this.#parts.store.rows(pass.partition, { after: pass.after })) {
        if (rows++ >= limit) return rows
        pass.after = row.rowKey
        if (this.#isOlder(row, pass.epoch) && !await this.#bringForward(row, pass.epoch, signal)) pass.isWhole = false
      }
    } catch (error) {
      // also a row that the disk did not take is left behind
      pass.isWhole = false
      // it does not vote; when it is handed over afresh, it is with what others have by then
      if (!(error instanceof PartitionLost)) throw error
    }
    pass.partition++
    pass.after = undefined
    return rows
  }

  #isOlder ({ table, rowKey, accepted }: StoredRow, epoch: number): boolean {
    if (isSelfProving(table) || accepted === undefined || splitRecord(accepted).epoch >= epoch) return false
    const { self, state, taggedIn, voters } = this.#parts
    // from when this node did not decide about it, nor promised anything: it counts no more, and is cleared before this node decides about it again
    if (splitRecord(accepted).epoch < state.era.floor) return false
    // what a witness decides about no more others have as it is by now, or not at all; it is cleared before the witness decides about it again
    return taggedIn !== undefined || voters.of(table, rowKey).includes(self)
  }

  /** Whether it succeeded; what did not is tried in another pass. */
  async #bringForward (row: StoredRow, epoch: number, signal: AbortSignal | undefined): Promise<boolean> {
    const { replica, codec, taggedIn } = this.#parts
    if (taggedIn !== undefined) {
      await replica.restate(row, (record) => codec.stored({ table: row.table, rowKey: row.rowKey, record }))
      return true
    }
    for (const peer of this.#membersWith(row)) {
      if (await this.#takenFrom(peer, row, epoch, signal)) return true
    }
    return false
  }

  #membersWith ({ table, rowKey }: StoredRow): readonly PeerId[] {
    const { state, voters, reachable } = this.#parts
    const answering = new Set(reachable())
    return voters.of(table, rowKey).filter((peer) => answering.has(peer) && state.isMember(peer))
  }

  async #takenFrom (peer: PeerId, { table, rowKey, accepted }: StoredRow, epoch: number, signal: AbortSignal | undefined): Promise<boolean> {
    const { ask, codec, replica } = this.#parts
    const answer = await ask(peer, { kind: 'read', table, rowKey }, { signal }).catch((error: unknown) => { signal?.throwIfAborted(); return { kind: 'failed', error } as const })
    if (answer.kind !== 'value' || answer.accepted === undefined || accepted === undefined || splitRecord(answer.accepted).epoch < epoch) return false
    const theirs = answer.accepted
    codec.verify({ table, rowKey, record: theirs })
    const order = compareBallots(codec.ballotOf(table, theirs), codec.ballotOf(table, accepted))
    // theirs is behind: it is brought up by anti-entropy, and ours in another pass. Ahead: late delivery brings ours up
    if (order !== 0) return false
    await replica.restate({ table, rowKey }, () => theirs)
    return true
  }
}

/** One walk through all partitions. Whole: nothing that was found is left behind. */
interface Pass { readonly epoch: number, partition: number, after: Uint8Array | undefined, isWhole: boolean }
