import type { PeerId } from '../base/peer-id.ts'
import { noReferences } from '../blockstore/references.ts'
import type { Presence, Redundancy } from './index.ts'

/**
 * What one node sees of one block, and what it does about it. Pure: every holder decides alone, by the same rules, so that each missing copy has one who brings it.
 *
 * - Unknown is not absent: who did not answer is neither counted as a copy nor sent one.
 * - A missing copy is brought by the first, in the order of the placement, of those that have the block, know whom it is for, and answer: what lies somewhere for
 *   nobody, or for the dead alone, is not looked after there. One that stays missing, among few, or among many that do not become fewer, is brought by
 *   whoever sees it: the first may have looked at everything before it was missing, or not bring it at all.
 * - What does not belong here goes only when as many others have said that they have it as its redundancy asks, and no layout is being moved to; then they are
 *   asked once more, each with every reference, and promise it (`BlockHolder.release`), if the references here are still those that it was decided by.
 */
export interface BlockView {
  readonly self: PeerId
  /** Where the block may lie, in order: the first `wanted` are its holders, the rest substitutes. */
  readonly placed: readonly PeerId[]
  /** Of all live references. */
  readonly redundancy: Redundancy
  readonly isHere: boolean
  /** The disk does not tell whether it is. */
  readonly isUnseen?: boolean
  /** The digest of the references here. */
  readonly references: number
  /** What those that answered have. */
  readonly answers: ReadonlyMap<PeerId, Presence>
  /** A change of the layout is under way, and may yet become another. */
  readonly isMoving: boolean
  /** It was missing before, and whose turn it is has not brought it: whoever sees that does. */
  readonly isOverdue?: boolean
}

export interface BlockPlan {
  /** Copies that are known to live. */
  readonly surviving: number
  /** As many as its redundancy asks, or as there are holders. */
  readonly wanted: number
  /** As many as its redundancy asks. */
  readonly asked: number
  /** Holders that answer, lack it, and get it from here. */
  readonly push: readonly PeerId[]
  /** Have it with other references than here: they are told those of here. */
  readonly tell: readonly PeerId[]
  /** It belongs here, is not here, and others have it: these, in order. */
  readonly fetchFrom: readonly PeerId[]
  /** It does not belong here, and so many others have it: these must promise it, then it goes. Empty: it stays. */
  readonly releaseTo: readonly PeerId[]
  /** Of what the disk does not tell whether it is here: unless as many as should have it do without. */
  readonly isMisplaced: boolean
  /** The digest of the references here that it was made for. */
  readonly references: number
  /** May take a copy that a holder has no room for, in order. */
  readonly substitutes: readonly PeerId[]
}

/** Who holds a block of this redundancy: as many as it asks, or as there are. With `rs:k+m` the i-th of them holds shard i. */
export const holdersFor = (placed: readonly PeerId[], { k, m }: Redundancy): readonly PeerId[] => placed.slice(0, k + m)

export function planFor ({ self, placed, redundancy, isHere, isUnseen = false, references, answers, isMoving, isOverdue = false }: BlockView): BlockPlan {
  const holders = holdersFor(placed, redundancy)
  const has = (peer: PeerId): boolean => peer === self ? isHere : isHeld(answers.get(peer))
  const lacks = (peer: PeerId): boolean => peer !== self && answers.get(peer)?.state === 'absent'
  const survivors = [...new Set([...placed, self])].filter(has)
  const isBringer = isHere && (isOverdue || survivors.find((peer) => peer === self || answers.get(peer)?.references !== noReferences.digest) === self)
  const isMisplaced = !holders.includes(self) && holders.length > 0 && (isHere || (isUnseen && survivors.length < holders.length))
  const others = placed.filter((peer) => peer !== self && has(peer)).slice(0, holders.length)
  return {
    surviving: survivors.length,
    wanted: holders.length,
    asked: redundancy.k + redundancy.m,
    push: isBringer ? holders.filter(lacks) : [],
    tell: isHere ? [...answers].filter(([, answer]) => isHeld(answer) && answer.references !== references).map(([peer]) => peer) : [],
    fetchFrom: holders.includes(self) && !isHere ? survivors : [],
    releaseTo: isHere && isMisplaced && !isMoving && others.length === holders.length ? others : [],
    isMisplaced,
    references,
    substitutes: isBringer ? placed.slice(holders.length).filter(lacks) : [],
  }
}

const isHeld = (answer: Presence | undefined): boolean => answer !== undefined && answer.state !== 'absent'

/** Whether there is anything that this node can do about it now. */
export const isWork = ({ push, tell, fetchFrom, releaseTo }: BlockPlan): boolean => push.length > 0 || tell.length > 0 || fetchFrom.length > 0 || releaseTo.length > 0
