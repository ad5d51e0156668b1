import { compareBytes, concat, equals, hexOf, partitionCount } from '../base/bytes.ts'
import { Refused } from '../base/errors.ts'
import { hash } from '../base/hash.ts'
import { keyOf, type PeerId } from '../base/peer-id.ts'
import { assign, type AssignmentAlgorithm, type Holder, newestAlgorithm } from './assignment.ts'
import { encodedMember, encodedMembers, encodedTables, encodeLayout, layoutLimits } from './layout-codec.ts'
import type { Recovery } from './recovery.ts'
import { type Role, roles } from './statement.ts'

/**
 * Who holds what: for each of 4,096 partitions an ordered list of holders, one for rows and one for blocks, as positions in `members`.
 * A register, not an opinion: each version follows from the one before by a pure function, which every voter repeats before it accepts.
 */
export interface Layout extends Assignment {
  readonly version: bigint
  /**
   * open: the founder alone, joins welcome. closing: the founder alone, joins wait. settled: holders decided for all who joined. changing: `next` is to
   * follow, and until it has what the present holders have, majorities of both decide together.
   */
  readonly state: 'open' | 'closing' | 'settled' | 'changing'
  /** By which its tables were made; of one that changes, those to follow. Only rises. */
  readonly algorithm: AssignmentAlgorithm
  /** While it changes; a pure function of the present assignment and of its own members. */
  readonly next: Assignment | undefined
  /** Of one that was declared, not chosen, when a majority was lost for good (`recovery.ts`): it changes, and follows from no other. */
  readonly recovery?: Recovery | undefined
}

export interface Assignment {
  /** In order of peer key. */
  readonly members: readonly LayoutMember[]
  /** 4,096 lists of indexes into `members`. */
  readonly rowHolders: ReadonlyArray<readonly number[]>
  readonly blockHolders: ReadonlyArray<readonly number[]>
}

export interface LayoutMember {
  readonly peerId: PeerId
  readonly role: Role
  readonly zone: string
  readonly capacityBytes: number
  /** The acceptor: id of the row store, 16 bytes; undefined for `storage`, which votes on nothing. */
  readonly storeId: Uint8Array | undefined
}

/** The layout `init` writes: the founder alone holds and decides everything. */
export const openLayout = (founder: LayoutMember, algorithm: AssignmentAlgorithm = newestAlgorithm): Layout => ({
  version: 1n,
  state: 'open',
  algorithm,
  members: [founder],
  rowHolders: everywhere(isVoter(founder) ? [0] : []),
  blockHolders: everywhere(isBlockHolder(founder) ? [0] : []),
  next: undefined,
})

/** The same holders; nobody joins any more. @throws Refused unless open */
export function closing (layout: Layout): Layout {
  if (layout.state !== 'open') throw new Refused(`only an open layout closes; this one is ${layout.state}`)
  return { ...layout, version: layout.version + 1n, state: 'closing' }
}

/** Holders for everybody who joined. @throws Refused unless closing, or when a voter of `previous` is missing from `members` */
export function settled (previous: Layout, members: readonly LayoutMember[]): Layout {
  if (previous.state !== 'closing') throw new Refused(`only a closing layout settles; this one is ${previous.state}`)
  demandEveryVoter(previous, members)
  return { version: previous.version + 1n, state: 'settled', algorithm: previous.algorithm, ...assigned(previous, members, previous.algorithm), next: undefined }
}

/**
 * These members shall hold from now on, in the place of those who do, or of those who were to. @throws Refused unless settled or changing; for members that no
 * layout can hold; for an algorithm older than that of `previous`
 */
export function changing (previous: Layout, members: readonly LayoutMember[], algorithm: AssignmentAlgorithm = previous.algorithm): Layout {
  if (previous.state !== 'settled' && previous.state !== 'changing') throw new Refused(`a layout that is ${previous.state} does not change`)
  if (algorithm < previous.algorithm) throw new Refused(`a layout made by algorithm ${previous.algorithm} is not followed by one of algorithm ${algorithm}`)
  if (previous.recovery !== undefined) throw new Refused('what survived is put together first')
  const { rowHolders, blockHolders } = previous
  return { version: previous.version + 1n, state: 'changing', algorithm, members: previous.members, rowHolders, blockHolders, next: assigned(previous, members, algorithm) }
}

/** Those who were to follow hold and decide alone. That each of them has what it needs for it is for whoever proposes it to know. @throws Refused unless changing */
export function changed ({ version, algorithm, next }: Layout): Layout {
  if (next === undefined) throw new Refused('a layout that does not change has nothing to finish')
  return { version: version + 1n, state: 'settled', algorithm, ...next, next: undefined }
}

/**
 * Pure and the same whatever the order of `members`. Rows go to voters (members, witnesses) evenly; blocks to storage and members in proportion to
 * capacity; copies in distinct zones while there are enough; a holder keeps its position while that leaves it within its share.
 * @throws Refused for members that no layout can hold
 */
export function assigned (previous: Assignment, members: readonly LayoutMember[], algorithm: AssignmentAlgorithm): Assignment {
  const name = hexOf(hash(concat([Uint8Array.of(algorithm), encodedTables(previous), encodedMembers([...members].sort(byKey))])))
  const known = recent.get(name)
  if (known !== undefined) return known
  const assignment = freshlyAssigned(previous, members, algorithm)
  recent.set(name, assignment)
  const [oldest] = recent.keys()
  if (recent.size > layoutLimits.recentAssignments && oldest !== undefined) recent.delete(oldest)
  return assignment
}

/** A layout is read, checked and followed one after the other, and each time its tables are asked for; making them takes some tenths of a second. */
const recent = new Map<string, Assignment>()

const byKey = (a: LayoutMember, b: LayoutMember): number => compareBytes(keyOf(a.peerId), keyOf(b.peerId))

function freshlyAssigned (previous: Assignment, members: readonly LayoutMember[], algorithm: AssignmentAlgorithm): Assignment {
  const sorted = [...members].sort(byKey)
  checkLayoutMembers(sorted)
  const indexes = new Map(sorted.map(({ peerId }, index) => [peerId, index]))
  const translated = (lists: Assignment['rowHolders']): ReadonlyArray<ReadonlyArray<number | undefined>> =>
    lists.map((list) => list.map((index) => indexes.get(previous.members[index]?.peerId as PeerId)))
  const voters = holdersOf(sorted, isVoter, () => 1)
  const holders = holdersOf(sorted, isBlockHolder, ({ capacityBytes }) => capacityBytes)
  if (voters.length === 0) throw new Refused('a layout in which nobody votes')
  return {
    members: sorted,
    rowHolders: assign({ holders: voters, positions: rowReplicasOf(voters.length), widths: [], previous: translated(previous.rowHolders) }, algorithm),
    blockHolders: assign({ holders, positions: Math.min(holders.length, layoutLimits.maxBlockPositions), widths: blockWidths, previous: translated(previous.blockHolders) }, algorithm),
  }
}

/** Positions that rf:3 and rs:4+2 use; what follows are substitutes. */
const blockWidths: readonly number[] = [3, 6]

/** Replicas of a row: 5, or 3 while there are three or four voters, or all of fewer. */
const rowReplicasOf = (voterCount: number): number => voterCount >= 5 ? 5 : voterCount >= 3 ? 3 : voterCount

/** Whether `next` is what the pure functions make of `previous`. Every voter asks this before it accepts a layout. */
export function isSuccessor (previous: Layout, next: Layout): boolean {
  try {
    const expected = expectedAfter(previous, next)
    return expected !== undefined && equals(encodeLayout(expected), encodeLayout(next))
  } catch (error) {
    if (error instanceof Refused) return false
    throw error
  }
}

function expectedAfter (previous: Layout, next: Layout): Layout | undefined {
  switch (next.state) {
    case 'open': return undefined
    case 'closing': return closing(previous)
    case 'settled': return previous.state === 'closing' ? settled(previous, next.members) : changed(previous)
    case 'changing': return next.recovery === undefined ? changing(previous, next.next?.members ?? [], next.algorithm) : undefined
    default: return next.state satisfies never
  }
}

/** The replicas of a partition of the sealed tables, in order of preference. */
export const replicasOf = (assignment: Assignment, partition: number): readonly PeerId[] => peersAt(assignment, assignment.rowHolders[partition])

/** Where blocks of a partition (first 12 bits of H(block)) belong; the first ones as many as the redundancy asks, the rest substitutes. While it changes, where they are to be, then where they are. */
export function blockHoldersOf (layout: Layout, partition: number): readonly PeerId[] {
  const present = peersAt(layout, layout.blockHolders[partition])
  return layout.next === undefined ? present : [...new Set([...peersAt(layout.next, layout.next.blockHolders[partition]), ...present])]
}

/** Who decides about the clear rows. */
export const allVotersOf = ({ members }: Assignment): readonly PeerId[] => members.filter(isVoter).map(({ peerId }) => peerId)

const isVoter = ({ role, storeId }: Pick<LayoutMember, 'role' | 'storeId'>): boolean => role !== roles.storage && storeId !== undefined
const isBlockHolder = ({ role, capacityBytes }: LayoutMember): boolean => role !== roles.witness && capacityBytes > 0

const everywhere = (list: readonly number[]): ReadonlyArray<readonly number[]> => Array.from({ length: partitionCount }, () => list)

const peersAt = ({ members }: Assignment, list: readonly number[] = []): readonly PeerId[] => list.map((index) => (members[index] as LayoutMember).peerId)

const holdersOf = (members: readonly LayoutMember[], isOne: (member: LayoutMember) => boolean, weightOf: (member: LayoutMember) => number): readonly Holder[] =>
  members.flatMap((member, index) => isOne(member) ? [{ index, zone: member.zone, weight: weightOf(member), key: keyOf(member.peerId) }] : [])

/**
 * Who of those that joined is in the layout after `previous`: all, unless two sponsors gave the last place away at once, for each sees only that it was
 * free, and a members row that is written stays. Those of `previous` first, then by peer key, so that whoever settles leaves out the same.
 */
export function fittingMembers (previous: Layout, members: readonly LayoutMember[]): { readonly fitting: readonly LayoutMember[], readonly leftOut: readonly LayoutMember[] } {
  const { maxMembers, maxMembersBytes } = layoutLimits
  const before = new Set(previous.members.map(({ peerId }) => peerId))
  const inOrder = [...members].sort((a, b) => Number(before.has(b.peerId)) - Number(before.has(a.peerId)) || compareBytes(keyOf(a.peerId), keyOf(b.peerId)))
  const fitting: LayoutMember[] = []
  const leftOut: LayoutMember[] = []
  let bytes = 0
  for (const member of inOrder) {
    const size = encodedMember(member).byteLength
    const isFitting = fitting.length < maxMembers && bytes + size <= maxMembersBytes
    if (isFitting) bytes += size
    const group = isFitting ? fitting : leftOut
    group.push(member)
  }
  return { fitting, leftOut }
}

/** Whether a layout can hold these. @throws Refused with the reason */
export function checkLayoutMembers (members: readonly LayoutMember[]): void {
  const { maxMembers, maxMembersBytes } = layoutLimits
  if (members.length > maxMembers) throw new Refused(`a layout holds at most ${maxMembers} members`)
  if (members.reduce((bytes, member) => bytes + encodedMember(member).byteLength, 0) > maxMembersBytes) throw new Refused(`the names of zones are too long for a layout of ${members.length} members`)
  if (new Set(members.map(({ peerId }) => peerId)).size !== members.length) throw new Refused('a member stands twice')
  if (members.some((member) => member.role !== roles.storage && member.storeId === undefined)) throw new Refused('a voter without a row store')
}

function demandEveryVoter (previous: Layout, members: readonly LayoutMember[]): void {
  // whoever decided until now holds every row: without it there is nobody to hand over from
  const isMissing = previous.members.filter(isVoter).some((old) => !members.some(({ peerId, storeId }) => peerId === old.peerId && storeId !== undefined && old.storeId !== undefined && equals(storeId, old.storeId)))
  if (isMissing) throw new Refused('a voter of the layout before is missing, or has another row store')
}
