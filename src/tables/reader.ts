import type { PeerId } from '../base/peer-id.ts'
import { isSameBallot } from './ballot.ts'
import { highestOf, type OpenedRecord, type RoundEffect, type RoundEvent, roundLimits, Tally } from './round.ts'

/**
 * A read of one row: events in, effects out. A majority that holds the same accepted *ballot* ends it in one round trip; equal values do not, since one
 * of two equal values may be an old one and the other not chosen. Otherwise the highest accepted record of a majority is delivered, under its own
 * ballot, to the others: that aborts no writer, unlike a round of one's own. Only where it is refused does an identity round decide.
 *
 * What is returned is chosen, and no older than anything chosen before the read began: that would have shown in the majority that answered.
 */
export class Reader {
  readonly #agrees: (a: OpenedRecord, b: OpenedRecord) => boolean
  #stage = 0
  #state: State = { kind: 'idle' }
  #deadEnds = 0

  constructor ({ agrees = (a, b) => isSameBallot(a.ballot, b.ballot) }: { agrees?: (a: OpenedRecord, b: OpenedRecord) => boolean } = {}) { this.#agrees = agrees }

  get stage (): number { return this.#stage }

  on (event: RoundEvent): readonly RoundEffect<OpenedRecord | undefined>[] {
    const state = this.#state
    if (state.kind === 'over') return []
    if (event.kind === 'timeUp') return this.#fail('time is up')
    if (event.kind === 'begin') return event.stage === this.#stage ? this.#begin(event) : []
    if (state.kind === 'idle') return []
    // an answer to the question itself counts during delivery too: that peer may hold the record already
    if (state.kind === 'delivering' && event.kind === 'value' && event.stage === state.askedAt) return this.#lateValue(state, event)
    if (event.stage !== this.#stage || state.tally.hasHeard(event.peer)) return []
    return state.kind === 'asking' ? this.#answered(state, event) : this.#delivered(state, event)
  }

  #begin ({ electorate, reachable }: Extract<RoundEvent, { kind: 'begin' }>): readonly RoundEffect<OpenedRecord | undefined>[] {
    const tally = new Tally(electorate, reachable)
    if (!tally.canWin) return this.#fail(`${tally.voters.length - tally.failed.size} of ${tally.voters.length} voters can be reached`)
    this.#stage++
    this.#state = { kind: 'asking', tally, reachable, values: new Map(), isBackingOff: false }
    return [{ kind: 'ask', stage: this.#stage, electorate, peers: tally.pending, question: { kind: 'read' } }]
  }

  #answered (state: Asking, event: PeerEvent): readonly RoundEffect<OpenedRecord | undefined>[] {
    const { tally, values } = state
    if (event.kind === 'value') { tally.yes.add(event.peer); values.set(event.peer, event.accepted) } else tally.failed.add(event.peer)
    if (tally.isWon) return this.#compare(state)
    if (!tally.isStuck || state.isBackingOff) return []
    if (++this.#deadEnds >= roundLimits.maxDeadEnds) return this.#fail('too few voters answer')
    state.isBackingOff = true
    return [{ kind: 'backOff', stage: this.#stage, attempt: this.#deadEnds, atLeast: 0n }]
  }

  #compare ({ tally, values, reachable }: Asking): readonly RoundEffect<OpenedRecord | undefined>[] {
    const top = highestOf(values.values())
    if (top === undefined) return this.#finish(undefined)
    const delivery = new Tally(tally.electorate, reachable)
    for (const [peer, value] of values) if (value !== undefined && this.#agrees(value, top)) delivery.yes.add(peer)
    if (delivery.isWon) return this.#finish(top)
    this.#state = { kind: 'delivering', top, tally: delivery, askedAt: this.#stage }
    this.#stage++
    return [{ kind: 'ask', stage: this.#stage, electorate: tally.electorate, peers: delivery.pending, question: { kind: 'handOver', record: top.record } }]
  }

  #lateValue (state: Delivering, { peer, accepted }: { peer: PeerId, accepted: OpenedRecord | undefined }): readonly RoundEffect<OpenedRecord | undefined>[] {
    if (accepted === undefined || !isSameBallot(accepted.ballot, state.top.ballot)) return []
    state.tally.failed.delete(peer)
    state.tally.refused.delete(peer)
    state.tally.yes.add(peer)
    return state.tally.isWon ? this.#finish(state.top) : []
  }

  #delivered (state: Delivering, event: PeerEvent): readonly RoundEffect<OpenedRecord | undefined>[] {
    const { tally } = state
    if (event.kind === 'accepted') tally.yes.add(event.peer)
    else if (event.kind === 'refused') tally.refused.add(event.peer)
    else tally.failed.add(event.peer)
    if (tally.isWon) return this.#finish(state.top)
    if (!tally.isStuck) return []
    this.#state = { kind: 'over' }
    return [{ kind: 'settle' }]
  }

  #finish (top: OpenedRecord | undefined): readonly RoundEffect<OpenedRecord | undefined>[] {
    this.#state = { kind: 'over' }
    return [{ kind: 'done', result: top, chosen: top?.record, unanswered: [] }]
  }

  #fail (why: string): readonly RoundEffect<OpenedRecord | undefined>[] {
    this.#state = { kind: 'over' }
    return [{ kind: 'fail', outcome: 'unavailable', why }]
  }
}

type PeerEvent = Exclude<RoundEvent, { kind: 'begin' | 'timeUp' }>
interface Asking { readonly kind: 'asking', readonly tally: Tally, readonly reachable: ReadonlySet<PeerId>, readonly values: Map<PeerId, OpenedRecord | undefined>, isBackingOff: boolean }
interface Delivering { readonly kind: 'delivering', readonly top: OpenedRecord, readonly tally: Tally, readonly askedAt: number }
type State = { readonly kind: 'idle' } | { readonly kind: 'over' } | Asking | Delivering
