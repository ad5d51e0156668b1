import type { PeerId } from '../base/peer-id.ts'
import { ballotLimits, compareBallots, isSameBallot } from './ballot.ts'
import { encodeEnvelope, hasOperation, withOperation } from './envelope.ts'
import { type Ballot, type Change, type RowContent, rowLimits } from './index.ts'
import { highestOf, type OpenedRecord, type RoundEffect, type RoundEvent, roundLimits, Tally } from './round.ts'

/**
 * The proposer of CASPaxos for one change of one row: events in, effects out, nothing done. A round prepares a fresh ballot, shows the highest
 * accepted value of a majority to the change, and has the outcome accepted. Four things are easily got wrong:
 *
 * - A change that keeps the value is a read, so it is answered only once that value is chosen: held under one ballot by a majority, or re-proposed.
 * - An accept that did not get its majority may still come to be chosen, by a later round that finds it, and may have been, refused by everybody or not: of
 *   an accept that arrives twice the second may be refused where the first was not. Its operation id tells. A later round that
 *   finds the id makes it chosen and has succeeded. One that does not, while the ids since the attempt's base are all there, knows that the attempt is
 *   no ancestor of what it saw; what it now has chosen, under a higher ballot, buries the attempt, so it may be tried again (or its condition fail).
 *   Otherwise nobody can tell: unknown.
 * - A row that was deleted may be buried, and begin anew: its kept ids say nothing of the time before. So where a floor has risen to an attempt or above it,
 *   only an id from the attempt's own base, still kept, proves that what is seen goes back to there without a break.
 * - So with attempts outstanding, nothing may be concluded before something was accepted above them: not even absence.
 */
export class Proposer<T> {
  readonly #plan: ProposerPlan<T>
  #stage = 0
  #state: State<T> = { kind: 'idle' }
  readonly #attempts: Attempt<T>[] = []
  #rounds = 0
  #deadEnds = 0
  #highestCounter = 0n

  constructor (plan: ProposerPlan<T>) { this.#plan = plan }

  get stage (): number { return this.#stage }
  get mayHaveHappened (): boolean { return this.#attempts.length > 0 }

  on (event: RoundEvent): readonly RoundEffect<T>[] {
    if (this.#state.kind === 'over') return []
    if (event.kind === 'timeUp') return this.#fail('time is up')
    if (event.stage !== this.#stage) return []
    if (event.kind === 'begin') return this.#begin(event)
    const state = this.#state
    if (state.kind === 'idle' || state.tally.hasHeard(event.peer)) return []
    switch (event.kind) {
      case 'promised': if (state.kind === 'preparing') { state.tally.yes.add(event.peer); state.seen.set(event.peer, event.accepted); if (event.floor !== undefined && (state.floor === undefined || compareBallots(event.floor, state.floor) > 0)) state.floor = event.floor } break
      case 'accepted': if (state.kind === 'accepting') state.tally.yes.add(event.peer); break
      case 'refused': this.#refused(state, event); break
      case 'failed': state.tally.failed.add(event.peer); break
      case 'value': break
      default: event satisfies never
    }
    return this.#next(state)
  }

  #begin ({ counter, electorate, reachable }: Extract<RoundEvent, { kind: 'begin' }>): readonly RoundEffect<T>[] {
    const ballot = { counter, proposer: this.#plan.proposer }
    const tally = new Tally(electorate, reachable)
    if (!tally.canWin) return this.#fail(`${tally.voters.length - tally.failed.size} of ${tally.voters.length} voters can be reached`)
    this.#rounds++
    this.#highestCounter = counter
    this.#state = { kind: 'preparing', ballot, tally, reachable, seen: new Map(), floor: undefined, isBackingOff: false }
    return this.#ask(tally, { kind: 'prepare', ballot })
  }

  #refused (state: Round<T>, { peer, promised }: { peer: PeerId, promised: Ballot }): void {
    // a promise below the ballot, or absurdly far above it, is no contest of ours to win
    const isContest = compareBallots(promised, state.ballot) >= 0 && promised.counter <= state.ballot.counter + ballotLimits.maxCounterJump
    if (!isContest) { state.tally.failed.add(peer); return }
    state.tally.refused.add(peer)
    if (promised.counter > this.#highestCounter) this.#highestCounter = promised.counter
  }

  #next (state: Round<T>): readonly RoundEffect<T>[] {
    const { tally } = state
    if (tally.isWon) return state.kind === 'preparing' ? this.#decide(state) : this.#finish(state.result, state.record, tally.voters.filter((peer) => !tally.yes.has(peer) && !tally.refused.has(peer)))
    if (!tally.isStuck || state.isBackingOff) return []
    if (tally.isDeadEnd && ++this.#deadEnds >= roundLimits.maxDeadEnds) return this.#fail('too few voters answer')
    state.isBackingOff = true
    return [{ kind: 'backOff', stage: this.#stage, attempt: this.#rounds, atLeast: this.#highestCounter }]
  }

  #decide (state: Preparing): readonly RoundEffect<T>[] {
    const top = highestOf(state.seen.values())
    const isChosen = top === undefined || state.tally.isMajority((peer) => isSame(state.seen.get(peer), top))
    const own = top === undefined ? undefined : this.#attempts.find(({ id }) => hasOperation(top.operations, id))
    if (own !== undefined) return this.#keep(state, { top, isChosen, result: own.result })
    if (!this.#attempts.every((attempt) => isRuledOut(attempt, top, state.floor))) return this.#fail('too many changes since to tell')
    const decision = this.#plan.change(top?.value, top?.content.revision ?? 0n)
    const isNothingToErase = decision.kind === 'erase' && top?.value === undefined
    if (decision.kind === 'keep' || isNothingToErase) return this.#keep(state, { top, isChosen: isChosen && this.#attempts.length === 0, result: decision.result })
    const attempt = { id: this.#plan.newOperationId(), ballot: state.ballot, baseRevision: top?.content.revision ?? 0n, baseOperation: top?.operations.at(-1), result: decision.result }
    const content = contentAfter(top, { id: attempt.id, isTombstone: decision.kind === 'erase', value: decision.kind === 'write' ? decision.value : this.#plan.erased })
    const record = this.#plan.seal(content, state.ballot)
    this.#attempts.push(attempt)
    return this.#propose(state, { record, result: decision.result })
  }

  /** Answers with what stands, once it is chosen. */
  #keep (state: Preparing, { top, isChosen, result }: { top: OpenedRecord | undefined, isChosen: boolean, result: T }): readonly RoundEffect<T>[] {
    if (isChosen && !(this.#plan.isAfresh === true && top !== undefined)) return this.#finish(result, top?.record, [])
    const record = top === undefined
      ? this.#plan.seal({ revision: 1n, isTombstone: true, body: encodeEnvelope({ operations: [], value: this.#plan.erased }) }, state.ballot)
      : this.#plan.reseal(top.record, state.ballot)
    return this.#propose(state, { record, result })
  }

  #propose (state: Preparing, { record, result }: { record: Uint8Array, result: T }): readonly RoundEffect<T>[] {
    const tally = new Tally(state.tally.electorate, state.reachable)
    this.#state = { kind: 'accepting', ballot: state.ballot, tally, reachable: state.reachable, record, result, isBackingOff: false }
    return this.#ask(tally, { kind: 'accept', record })
  }

  #ask ({ electorate, pending }: Tally, question: Extract<RoundEffect<T>, { kind: 'ask' }>['question']): readonly RoundEffect<T>[] {
    this.#stage++
    return [{ kind: 'ask', stage: this.#stage, electorate, peers: pending, question }]
  }

  #finish (result: T, chosen: Uint8Array | undefined, unanswered: readonly PeerId[]): readonly RoundEffect<T>[] {
    this.#state = { kind: 'over' }
    return [{ kind: 'done', result, chosen, unanswered }]
  }

  #fail (why: string): readonly RoundEffect<T>[] {
    this.#state = { kind: 'over' }
    return [{ kind: 'fail', outcome: this.#attempts.length > 0 ? 'unknown' : 'unavailable', why }]
  }
}

export interface ProposerPlan<T> {
  /** Own Ed25519 key, for ballots. */
  readonly proposer: Uint8Array
  readonly change: (current: Uint8Array | undefined, revision: bigint) => Change<T>
  /** What a tombstone carries in the place of a value (envelope.ts). */
  readonly erased: Uint8Array
  readonly newOperationId: () => Uint8Array
  readonly seal: (content: RowContent, ballot: Ballot) => Uint8Array
  readonly reseal: (record: Uint8Array, ballot: Ballot) => Uint8Array
  /** What stands is proposed again though a majority holds it: for a voter that has promised too much to take it as it is. */
  readonly isAfresh?: boolean
}

/** A write that was sent out. `baseRevision` is that of the content it was made from, 0 for none; `baseOperation` the one that made that content. */
interface Attempt<T> { readonly id: Uint8Array, readonly ballot: Ballot, readonly baseRevision: bigint, readonly baseOperation: Uint8Array | undefined, readonly result: T }

interface Phase { readonly ballot: Ballot, readonly tally: Tally, readonly reachable: ReadonlySet<PeerId>, isBackingOff: boolean }
interface Preparing extends Phase { readonly kind: 'preparing', readonly seen: Map<PeerId, OpenedRecord | undefined>, floor: Ballot | undefined }
interface Accepting<T> extends Phase { readonly kind: 'accepting', readonly record: Uint8Array, readonly result: T }
type Round<T> = Preparing | Accepting<T>
type State<T> = { readonly kind: 'idle' } | { readonly kind: 'over' } | Round<T>

const isSame = (record: OpenedRecord | undefined, top: OpenedRecord): boolean => record !== undefined && isSameBallot(record.ballot, top.ballot)

/** Whether content without the attempt's id proves that it does not descend from the attempt: its id would still be among the kept ones. */
function isRuledOut ({ ballot, baseRevision, baseOperation }: Pick<Attempt<unknown>, 'ballot' | 'baseRevision' | 'baseOperation'>, top: OpenedRecord | undefined, floor: Ballot | undefined): boolean {
  if (top !== undefined && baseOperation !== undefined && hasOperation(top.operations, baseOperation)) return true
  const mayBeBuried = floor !== undefined && compareBallots(floor, ballot) >= 0
  return !mayBeBuried && (top?.content.revision ?? 0n) <= baseRevision + BigInt(rowLimits.keptOperations)
}

function contentAfter (top: OpenedRecord | undefined, { id, isTombstone, value }: { id: Uint8Array, isTombstone: boolean, value: Uint8Array }): RowContent {
  return {
    revision: (top?.content.revision ?? 0n) + 1n,
    isTombstone,
    body: encodeEnvelope({ operations: withOperation(top?.operations ?? [], id), value }),
  }
}
