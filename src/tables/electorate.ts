import type { PeerId } from '../base/peer-id.ts'
import { partitionOfTable } from './clear-rows.ts'
import type { Voters } from './index.ts'

/**
 * Who decides, under one version of the layout: a majority of every group. One group as a rule; the old one and the new one while the layout changes, so that
 * whatever either decides alone, before or after, has a voter in common with it.
 */
export interface Electorate {
  /** Of the layout; what is asked of an elector names it. */
  readonly version: bigint
  readonly groups: ReadonlyArray<readonly PeerId[]>
}

export const majorityOf = (voters: number): number => Math.floor(voters / 2) + 1

/**
 * What was decided is known to one of each majority, which need not be a majority itself: two of three knew of it, and one of those has left since. So who may not know of it are fewer than a
 * majority, and stay so from one layout to the next: that is what is taken over for.
 */
const mostUnaware = (voters: number): number => majorityOf(voters) - 1

/** Of those who decide, so many others must be heard by one that has forgotten, to be sure to hear of everything that was decided. Of two it is the other alone: there is nobody else. */
export const enoughOthers = (voters: number): number => Math.max(1, Math.min(voters - 1, mostUnaware(voters) + 1))

/**
 * Whether a majority of those who follow may know nothing of what was decided before, though who is new among them has taken it over: of five three stay, and two of these had no part in what the
 * three others decided; of two one stays, and it is not the one that knew.
 */
export function mayMiss (before: readonly PeerId[], next: readonly PeerId[]): boolean {
  const needed = majorityOf(next.length)
  const staying = next.filter((peer) => before.includes(peer)).length
  return Math.min(staying, mostUnaware(before.length)) >= needed
}

/** Everybody who has a vote, each once, in order of preference. */
export function electorsOf ({ groups }: Electorate): readonly PeerId[] {
  const [only, ...others] = groups
  return only !== undefined && others.length === 0 ? only : [...new Set(groups.flat())]
}

/** Whether those of whom `isOne` is true can decide. Nobody can decide for a group without voters. */
export const isMajority = ({ groups }: Electorate, isOne: (peer: PeerId) => boolean): boolean =>
  groups.length > 0 && groups.every((group) => group.filter(isOne).length >= majorityOf(group.length))

/** As few of `peers`, in their order, as can decide; all of them where they cannot. */
export function leastMajority ({ groups }: Electorate, peers: readonly PeerId[]): readonly PeerId[] {
  const missing = groups.map((group) => majorityOf(group.length))
  return peers.filter((peer) => {
    const of = groups.flatMap((group, i) => group.includes(peer) && (missing[i] ?? 0) > 0 ? [i] : [])
    for (const i of of) missing[i] = (missing[i] ?? 0) - 1
    return of.length > 0
  })
}

/** The voters of a layout that may be followed by another at any time; `groupsOf` is asked afresh. */
export function votersBy ({ version, groupsOf }: { version: () => bigint, groupsOf: (partition: number) => Electorate['groups'] }): Voters {
  const electorate = (partition: number): Electorate => ({ version: version(), groups: groupsOf(partition) })
  return {
    get version () { return version() },
    electorate,
    of: (table, rowKey) => electorsOf(electorate(partitionOfTable({ table, rowKey }))),
    ofPartition: (partition) => electorsOf(electorate(partition)),
  }
}
