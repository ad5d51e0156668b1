import { compareBytes, partitionOf } from '../base/bytes.ts'
import type { PeerId } from '../base/peer-id.ts'
import { isSameBallot } from './ballot.ts'
import { type Electorate, electorsOf, isMajority } from './electorate.ts'
import type { IndexEntry } from './listing-index.ts'

/** What one replica gave for one range of names. */
export interface ReplicaPage {
  readonly peer: PeerId
  /** In byte order of names. */
  readonly entries: readonly IndexEntry[]
  readonly truncated: boolean
  /** Partitions it cannot speak for. */
  readonly lost: ReadonlySet<number>
}

/** A name that some replica knows. `agreed`: a majority of the row's electors hold it under one ballot; otherwise it must be read. */
export type MergedName =
  | { readonly kind: 'agreed', readonly name: Uint8Array, readonly summary: Uint8Array | undefined }
  | { readonly kind: 'doubtful', readonly name: Uint8Array }

export interface MergedPage {
  /** In byte order. */
  readonly names: readonly MergedName[]
  /** How far this page tells everything; undefined: to the end. */
  readonly through: Uint8Array | undefined
}

type ElectorateOf = (partition: number) => Electorate

/**
 * Pages of several replicas made one. Nothing above the smallest last name of a truncated page is told: that replica may hold more
 * names below the others' last ones, and a name it did not come to would look missing. A name that a majority never
 * heard of is agreed to be absent; a deleted one is in the pages, without a summary, and agreed on by its ballot like any other. (If deleted names were
 * left out, a delete accepted by one replica only, and a replica that never had the row, would look like two that agree.)
 */
export function mergePages (pages: readonly ReplicaPage[], electorateOf: ElectorateOf): MergedPage {
  const ends = pages.filter(({ truncated }) => truncated).map(({ entries }) => entries.at(-1)?.name).filter((name) => name !== undefined)
  const through = ends.toSorted(compareBytes)[0]
  const cursors = pages.map(({ peer, entries }) => ({ peer, entries, at: 0 }))
  const names: MergedName[] = []
  for (;;) {
    const name = lowestOf(cursors)
    if (name === undefined || (through !== undefined && compareBytes(name, through) > 0)) return { names, through }
    const copies: Copy[] = []
    for (const cursor of cursors) {
      for (let entry = cursor.entries[cursor.at]; entry !== undefined && compareBytes(entry.name, name) <= 0; entry = cursor.entries[++cursor.at]) {
        // what stands below the one before it was given out of order: no honest replica does that
        if (compareBytes(entry.name, name) === 0) copies.push({ peer: cursor.peer, entry })
      }
    }
    const merged = mergedName({ name, copies, pages, electorateOf })
    if (merged !== undefined) names.push(merged)
  }
}

interface Copy { readonly peer: PeerId, readonly entry: IndexEntry }

function lowestOf (cursors: ReadonlyArray<{ readonly entries: readonly IndexEntry[], readonly at: number }>): Uint8Array | undefined {
  let lowest: Uint8Array | undefined
  for (const { entries, at } of cursors) {
    const name = entries[at]?.name
    if (name !== undefined && (lowest === undefined || compareBytes(name, lowest) < 0)) lowest = name
  }
  return lowest
}

function mergedName ({ name, copies, pages, electorateOf }: { name: Uint8Array, copies: readonly Copy[], pages: readonly ReplicaPage[], electorateOf: ElectorateOf }): MergedName | undefined {
  const first = copies[0]
  if (first === undefined) return undefined
  const partition = partitionOf(first.entry.rowKey)
  const electorate = electorateOf(partition)
  const voters = electorsOf(electorate)
  const heard = pages.filter(({ peer, lost }) => voters.includes(peer) && !lost.has(partition)).map(({ peer }) => peer)
  const valid = copies.filter(({ peer }) => heard.includes(peer))
  // one name, two row keys: a replica with another name secret, or a liar
  if (valid.some(({ entry }) => compareBytes(entry.rowKey, first.entry.rowKey) !== 0)) return { kind: 'doubtful', name }
  if (isMajority(electorate, (peer) => heard.includes(peer) && !valid.some((copy) => copy.peer === peer))) return undefined
  const agreed = valid.find(({ entry }) => isMajority(electorate, (peer) => valid.some((other) => other.peer === peer && isSameBallot(other.entry.ballot, entry.ballot))))
  return agreed === undefined ? { kind: 'doubtful', name } : { kind: 'agreed', name, summary: agreed.entry.summary }
}

/** Whether a majority of the replicas of every partition is among the pages. Partitions with the same replicas are looked at once. */
export function coversEveryPartition (pages: readonly ReplicaPage[], groups: readonly PartitionGroup[]): boolean {
  return groups.every(({ electorate, partitions }) => {
    const voters = electorsOf(electorate)
    const speaking = pages.filter(({ peer }) => voters.includes(peer))
    const isCovered = (isSpeakingFor: (page: ReplicaPage) => boolean): boolean => isMajority(electorate, (peer) => speaking.some((page) => page.peer === peer && isSpeakingFor(page)))
    if (speaking.every(({ lost }) => lost.size === 0)) return isCovered(() => true)
    return partitions.every((partition) => isCovered(({ lost }) => !lost.has(partition)))
  })
}

/** Partitions that have the same electorate. */
export interface PartitionGroup { readonly electorate: Electorate, readonly partitions: readonly number[] }
