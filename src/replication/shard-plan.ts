import type { PeerId } from '../base/peer-id.ts'
import { noReferences } from '../blockstore/references.ts'
import type { Redundancy, ShardPresence } from './index.ts'
import { holdersFor } from './repair-plan.ts'

/**
 * What one node sees of one block that is kept in shards, and what it does about it; as in repair-plan.ts, pure, and unknown is not absent. Shard i belongs to the
 * holder at position i. One that is missing there is brought by the first, in the order of the placement, of those that have this very shard; if nobody has
 * it, the first that has any makes it anew, from any k; where fewer are left, whoever has the block whole.
 */
export interface ShardView {
  readonly self: PeerId
  readonly placed: readonly PeerId[]
  readonly redundancy: Redundancy
  /** Indexes of the shards here. */
  readonly indexes: ReadonlySet<number>
  /** The block is here as a copy too: any shard can be made of that, however few are left. */
  readonly isWhole?: boolean
  /** Of some of it the disk does not tell whether it is here. */
  readonly isUnseen?: boolean
  /** The digest of the references here that want shards of this code. */
  readonly references: number
  readonly answers: ReadonlyMap<PeerId, ShardPresence>
  readonly isMoving: boolean
  /** As of a block: it stays missing. */
  readonly isOverdue?: boolean
}

export interface ShardPlan {
  readonly redundancy: Redundancy
  /** Different shards that are known to live. */
  readonly surviving: number
  readonly wanted: number
  /** Holders that answer and lack the shard that belongs to them, which they get from here. To this node itself: it is made here. */
  readonly push: ReadonlyArray<{ readonly peer: PeerId, readonly index: number }>
  /** Belong here and are not, though enough are left to make them: others bring them when they look. Who was told of the loss need not wait for that. */
  readonly lacking: readonly number[]
  /** Have shards, and other references than here. */
  readonly tell: readonly PeerId[]
  /** Shards here that belong elsewhere, and are there: their holder must promise it, then they go. */
  readonly release: ReadonlyArray<{ readonly index: number, readonly to: PeerId }>
  /** Shards here that belong elsewhere; on a node outside the placement those that have no place too, and one of which the disk does not tell whether it is here, while any is missing. */
  readonly misplaced: number
}

export function shardPlanFor ({ self, placed, redundancy, indexes, isWhole = false, isUnseen = false, references, answers, isMoving, isOverdue = false }: ShardView): ShardPlan {
  const holders = holdersFor(placed, redundancy)
  const wanted = redundancy.k + redundancy.m
  const known = [...new Set([...placed, self])]
  const indexesOf = (peer: PeerId): ReadonlySet<number> | undefined => peer === self ? indexes : answers.get(peer)?.indexes
  const has = (peer: PeerId, index: number): boolean => indexesOf(peer)?.has(index) === true
  const surviving = new Set(known.flatMap((peer) => [...indexesOf(peer) ?? []]))
  // who has no reference that wants shards does not look after them
  const bringers = known.filter((peer) => peer === self || answers.get(peer)?.references !== noReferences.digest)
  const anyHolder = bringers.find((peer) => (indexesOf(peer)?.size ?? 0) > 0)
  const missing = holders.flatMap((peer, index) => indexesOf(peer) === undefined || has(peer, index) ? [] : [{ peer, index }])
  const push = missing.filter(({ index }) => {
    const bringer = bringers.find((other) => has(other, index)) ?? anyHolder
    return bringer === self || (isOverdue && indexes.size > 0)
  })
  const elsewhere = [...indexes].filter((index) => holders[index] !== undefined && holders[index] !== self)
  // with fewer nodes than shards some have no place: on one that holds nothing any more they are to be brought away nevertheless, and nobody takes them
  const isLeftOut = placed.length > 0 && !placed.includes(self)
  const stranded = isLeftOut ? [...indexes].filter((index) => holders[index] === undefined) : []
  return {
    redundancy,
    surviving: surviving.size,
    wanted,
    push: surviving.size >= redundancy.k ? push : isWhole ? missing : push.filter(({ index }) => indexes.has(index)),
    lacking: surviving.size >= redundancy.k ? holders.flatMap((peer, index) => peer === self && !indexes.has(index) ? [index] : []) : [],
    tell: indexes.size === 0 ? [] : [...answers].filter(([, answer]) => answer.indexes.size > 0 && answer.references !== references).map(([peer]) => peer),
    release: isMoving ? [] : elsewhere.filter((index) => has(holders[index] as PeerId, index)).map((index) => ({ index, to: holders[index] as PeerId })),
    misplaced: elsewhere.length + stranded.length + (isLeftOut && isUnseen && surviving.size < wanted ? 1 : 0),
  }
}

/** The same, of a block that was reported: what is missing here is made here, at once. */
export const withOwn = (plan: ShardPlan, self: PeerId): ShardPlan => {
  const here = plan.lacking.filter((lacking) => !plan.push.some(({ peer, index }) => peer === self && index === lacking))
  return { ...plan, push: [...plan.push, ...here.map((index) => ({ peer: self, index }))] }
}

export const isShardWork = ({ push, tell, release }: ShardPlan): boolean => push.length > 0 || tell.length > 0 || release.length > 0

/** With fewer shards than these it is short: with as many as there are places nothing is missing that could be there, unless it cannot be read. */
export const enoughOf = ({ wanted, redundancy: { k } }: Pick<ShardPlan, 'wanted' | 'redundancy'>, places: number): number => Math.min(wanted, Math.max(places, k))

/** Copies that would be worth as much: how many of its shards may still be lost, and one. */
export const asCopies = ({ surviving, redundancy: { k } }: ShardPlan): number => Math.max(0, surviving - k + 1)
