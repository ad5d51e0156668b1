import { compareBallots, highestBallot, isSameBallot } from './ballot.ts'
import type { Ballot } from './index.ts'

/**
 * The acceptor of CASPaxos (https://arxiv.org/abs/1802.07000 §2.2) for one row, as a decision: what it remembers and what it is asked give what it
 * must have on disk before it answers, and the answer. An accept raises the promise; late delivery is an accept under the same rule, never an
 * exception to it: with the promise ignored, a majority that had promised a later round forgets it, and a chosen value is undone.
 */
export interface Held {
  readonly promised: Ballot
  readonly accepted: AcceptedRecord | undefined
}

export interface AcceptedRecord { readonly ballot: Ballot, readonly record: Uint8Array }

export type Proposal =
  | { readonly kind: 'prepare', readonly ballot: Ballot }
  | { readonly kind: 'accept' | 'handOver', readonly ballot: Ballot, readonly record: Uint8Array }

export type Verdict =
  | { readonly kind: 'promised', readonly accepted: AcceptedRecord | undefined, readonly save: Held }
  /** `save` undefined: that very ballot is held already. */
  | { readonly kind: 'accepted', readonly save: Held | undefined }
  | { readonly kind: 'refused', readonly promised: Ballot }

/**
 * `held` undefined: nothing is known of the row, so any ballot is higher. A row only promised is not that. Each row counts as promised at the floor: others that have gone may have promised it as
 * much. And one that is absent under a floor may have been there and be buried: then nothing at the floor is taken either; the tombstone itself, come late, would stand again. So it is with what comes
 * late where nothing was accepted: who enters a partition may promise before it has taken over the floor.
 */
export function judge (held: Held | undefined, proposal: Proposal, floor?: Ballot): Verdict {
  const promised = highestBallot([held?.promised, floor])
  const order = promised === undefined ? 1 : compareBallots(proposal.ballot, promised)
  if (proposal.kind === 'prepare') {
    // an equal ballot was prepared already: a second promise could go to a second value
    if (promised !== undefined && order <= 0) return { kind: 'refused', promised }
    return { kind: 'promised', accepted: held?.accepted, save: { promised: proposal.ballot, accepted: held?.accepted } }
  }
  if (held?.accepted !== undefined && isSameBallot(held.accepted.ballot, proposal.ballot)) return { kind: 'accepted', save: undefined }
  const mayBeBuried = held === undefined || (held.accepted === undefined && proposal.kind === 'handOver')
  const isBuried = mayBeBuried && floor !== undefined && compareBallots(proposal.ballot, floor) <= 0
  if (promised !== undefined && (order < 0 || isBuried)) return { kind: 'refused', promised }
  return { kind: 'accepted', save: { promised: proposal.ballot, accepted: { ballot: proposal.ballot, record: proposal.record } } }
}
