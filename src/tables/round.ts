import { compareBallots } from './ballot.ts'
import { type Electorate, electorsOf, isMajority } from './electorate.ts'
import type { Ballot, RowContent } from './index.ts'
import type { PeerId } from '../base/peer-id.ts'

/**
 * What the two pure state machines of this part (proposer.ts, reader.ts) hear and say. The driver (registers.ts) carries it: it asks, waits and
 * reserves counters, and decides nothing. `stage` counts the phases of one operation, so an answer to an earlier phase is known as such.
 */
export type RoundEvent =
  /** A round may start. `counter` was never used before (0 for a machine that makes no ballot); voters not `reachable` count as failed without being asked. */
  | { readonly kind: 'begin', readonly stage: number, readonly counter: bigint, readonly electorate: Electorate, readonly reachable: ReadonlySet<PeerId> }
  /** `floor`: of the row's partition there. */
  | { readonly kind: 'promised', readonly stage: number, readonly peer: PeerId, readonly accepted: OpenedRecord | undefined, readonly floor?: Ballot | undefined }
  | { readonly kind: 'value', readonly stage: number, readonly peer: PeerId, readonly accepted: OpenedRecord | undefined, readonly floor?: Ballot | undefined }
  | { readonly kind: 'accepted', readonly stage: number, readonly peer: PeerId }
  | { readonly kind: 'refused', readonly stage: number, readonly peer: PeerId, readonly promised: Ballot }
  /** No answer, or one that counts as none. The peer may have done what it was asked. */
  | { readonly kind: 'failed', readonly stage: number, readonly peer: PeerId }
  | { readonly kind: 'timeUp' }

export type RoundEffect<T> =
  /**
   * `electorate`: that of the round. Its version is what the question names: asked under another that was adopted since, a majority of its groups
   * would be taken for one of theirs.
   */
  | { readonly kind: 'ask', readonly stage: number, readonly electorate: Electorate, readonly peers: readonly PeerId[], readonly question: RoundQuestion }
  /** Wait with jitter, reserve a counter above `atLeast`, begin again with the voters of then. Answers that come meanwhile still count. */
  | { readonly kind: 'backOff', readonly stage: number, readonly attempt: number, readonly atLeast: bigint }
  /** `chosen`: what a majority holds; `unanswered` may not, and get it by late delivery. */
  | { readonly kind: 'done', readonly result: T, readonly chosen: Uint8Array | undefined, readonly unanswered: readonly PeerId[] }
  /** The highest value could not be delivered: an identity round must choose. */
  | { readonly kind: 'settle' }
  | { readonly kind: 'fail', readonly outcome: 'unavailable' | 'unknown', readonly why: string }

export type RoundQuestion =
  | { readonly kind: 'prepare', readonly ballot: Ballot }
  | { readonly kind: 'accept' | 'handOver', readonly record: Uint8Array }
  | { readonly kind: 'read' }

/** An accepted record, verified and opened. */
export interface OpenedRecord {
  readonly ballot: Ballot
  readonly record: Uint8Array
  readonly content: RowContent
  readonly operations: readonly Uint8Array[]
  /** Undefined: a tombstone. */
  readonly value: Uint8Array | undefined
  /** Of a tombstone: which row it was, for the listing. Undefined: it does not say. */
  readonly erased: { readonly scope: Uint8Array, readonly key: Uint8Array } | undefined
}

export const roundLimits = {
  /** Rounds that end because too few answered at all: a lost message is worth one more try, a dead majority is not. */
  maxDeadEnds: 3,
} as const

/** Answers of one phase. A peer counts once, by its first answer. */
export class Tally {
  readonly electorate: Electorate
  readonly voters: readonly PeerId[]
  readonly yes = new Set<PeerId>()
  readonly refused = new Set<PeerId>()
  readonly failed = new Set<PeerId>()
  constructor (electorate: Electorate, reachable: ReadonlySet<PeerId>) {
    this.electorate = electorate
    this.voters = electorsOf(electorate)
    for (const peer of this.voters) if (!reachable.has(peer)) this.failed.add(peer)
  }

  get pending (): readonly PeerId[] { return this.voters.filter((peer) => !this.hasHeard(peer)) }
  get isWon (): boolean { return this.isMajority((peer) => this.yes.has(peer)) }
  /** No majority can come of it, or a refusal stands against it and enough have spoken that waiting for a silent peer is not worth it. */
  get isStuck (): boolean {
    return !this.isMajority((peer) => this.yes.has(peer) || !this.hasHeard(peer)) || (this.refused.size > 0 && !this.isDeadEnd)
  }

  /** Too few spoke, whatever they said. */
  get isDeadEnd (): boolean { return !this.isMajority((peer) => this.yes.has(peer) || this.refused.has(peer)) }
  get canWin (): boolean { return this.isMajority((peer) => !this.failed.has(peer)) }
  isMajority (isOne: (peer: PeerId) => boolean): boolean { return isMajority(this.electorate, isOne) }
  hasHeard (peer: PeerId): boolean { return this.yes.has(peer) || this.refused.has(peer) || this.failed.has(peer) }
}

export const highestOf = (records: Iterable<OpenedRecord | undefined>): OpenedRecord | undefined => {
  let highest: OpenedRecord | undefined
  for (const record of records) if (record !== undefined && (highest === undefined || compareBallots(record.ballot, highest.ballot) > 0)) highest = record
  return highest
}
