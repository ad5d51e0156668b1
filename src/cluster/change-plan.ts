import { partitionCount } from '../base/bytes.ts'
import type { PeerId } from '../base/peer-id.ts'
import type { Assignment, LayoutMember } from './layout.ts'

/** What one node has of blocks, as it told. */
export interface ToldHoldings {
  /** By partition, of those that it has counted. */
  readonly partitions: ReadonlyMap<number, { readonly copies: number, readonly shards: number }>
  readonly heldBytes: number
  /** So many it takes in all, after the change; undefined: what the disk has. */
  readonly limitBytes: number | undefined
  /** So much its disk has for more. */
  readonly roomBytes: number
}

/** What a bucket asks of those who hold blocks. */
export interface BucketNeed {
  readonly name: string
  /** As `--redundancy` has it. */
  readonly redundancy: string
  /** Nodes that hold a block of it, each a copy or a shard. */
  readonly width: number
  /** Of those, so many suffice to read it. */
  readonly suffice: number
  /** Whole copies of what is small, or of everything. */
  readonly copies: number
}

export interface ChangePlanRequest {
  readonly present: Assignment
  readonly next: Assignment
  /** Of those that told. */
  readonly holdings: ReadonlyMap<PeerId, ToldHoldings>
  /** More copies than these no bucket asks for. */
  readonly mostCopies: number
  /** Undefined: they could not be listed. */
  readonly buckets: readonly BucketNeed[] | undefined
}

export interface ChangePlan {
  readonly nodes: readonly PlannedNode[]
  /** That are brought to other nodes, in sum. */
  readonly movedBytes: number
  /** Of 4,096; those that were not counted are taken to have as much as these. */
  readonly countedPartitions: number
  /** Hold blocks now, and have not told, or counted less than half of what others have: what they have is taken to be what others have at the same positions. */
  readonly silent: readonly PeerId[]
  /** Why it cannot be; empty: it can. */
  readonly refusals: readonly string[]
}

export interface PlannedNode {
  readonly member: LayoutMember
  readonly change: 'stays' | 'enters' | 'leaves'
  readonly receiveBytes: number
  readonly giveUpBytes: number
  /** What it has now; undefined: it has not said. */
  readonly heldBytes: number | undefined
  readonly rowPartitions: { readonly receive: number, readonly giveUp: number }
  readonly blockPartitions: { readonly receive: number, readonly giveUp: number }
}

/**
 * What a change of the layout moves, from who holds what now and who is to, and from what each told that it has. Pure. A position has as many bytes as its holder has of the partition: so positions
 * that no redundancy uses weigh nothing. Copies stay with a holder that only changes its position; a shard belongs to the position, and moves.
 */
export function changePlan (given: ChangePlanRequest): ChangePlan {
  const { present, next, buckets } = given
  const holdings = new Map([...given.holdings].filter(([peer, told]) => !hasHardlyCounted(told, given) || !isHolderIn(present, peer)))
  const request = { ...given, holdings }
  const peers = [...new Set([...present.members, ...next.members].map(({ peerId }) => peerId))]
  const sums = new Map(peers.map((peer) => [peer, { receiveBytes: 0, giveUpBytes: 0, rowPartitions: { receive: 0, giveUp: 0 }, blockPartitions: { receive: 0, giveUp: 0 } }]))
  const sumOf = (peer: PeerId): { receiveBytes: number, giveUpBytes: number, rowPartitions: { receive: number, giveUp: number }, blockPartitions: { receive: number, giveUp: number } } => {
    const sum = sums.get(peer)
    if (sum === undefined) throw new RangeError(`${peer} is in neither assignment`)
    return sum
  }
  for (const [what, key] of [['rowPartitions', 'rowHolders'], ['blockPartitions', 'blockHolders']] as const) {
    for (let partition = 0; partition < partitionCount; partition++) {
      const [were, are] = [listAt(present, key, partition), listAt(next, key, partition)]
      for (const peer of are) if (!were.includes(peer)) sumOf(peer)[what].receive++
      for (const peer of were) if (!are.includes(peer)) sumOf(peer)[what].giveUp++
    }
  }
  const counted = Array.from({ length: partitionCount }, (_, partition) => partition).filter((partition) => {
    const told = listAt(present, 'blockHolders', partition).flatMap((peer) => holdings.get(peer) ?? [])
    return told.length > 0 && told.every(({ partitions }) => partitions.has(partition))
  })
  const means = meansOf(request, counted)
  // nobody has counted anything: then there is nothing to go by, and nothing is said to move
  const scale = counted.length === 0 ? 0 : partitionCount / counted.length
  for (const partition of counted) {
    for (const [peer, { receive, giveUp }] of movesIn(request, partition, means)) {
      sumOf(peer).receiveBytes += receive * scale
      sumOf(peer).giveUpBytes += giveUp * scale
    }
  }
  const nodes = peers.map((peer): PlannedNode => {
    const [before, after] = [memberIn(present, peer), memberIn(next, peer)]
    const { receiveBytes, giveUpBytes, rowPartitions, blockPartitions } = sumOf(peer)
    const told = given.holdings.get(peer)
    return {
      member: (after ?? before) as LayoutMember, change: before === undefined ? 'enters' : after === undefined ? 'leaves' : 'stays',
      receiveBytes: countable(receiveBytes), giveUpBytes: countable(giveUpBytes), heldBytes: told?.heldBytes, rowPartitions, blockPartitions,
    }
  })
  const silent = [...new Set(present.blockHolders.flat())].map((index) => (present.members[index] as LayoutMember).peerId).filter((peer) => !holdings.has(peer))
  return {
    nodes, countedPartitions: counted.length, silent, movedBytes: countable(nodes.reduce((sum, { receiveBytes }) => sum + receiveBytes, 0)),
    refusals: [...bucketRefusals(present, next, buckets), ...nodes.flatMap((node) => roomRefusals(node, given.holdings.get(node.member.peerId)))],
  }
}

/** One node may say that it has anything: in sum more than whoever is told can count. */
const countable = (bytes: number): number => Math.min(Number.MAX_SAFE_INTEGER, Math.round(bytes))

/** A node that is much slower than the others would have all of them count for little. */
function hasHardlyCounted ({ partitions }: ToldHoldings, { holdings }: ChangePlanRequest): boolean {
  return partitions.size < Math.max(...[...holdings.values()].map((told) => told.partitions.size)) / 2
}

const isHolderIn = ({ members, blockHolders }: Assignment, peer: PeerId): boolean => blockHolders.some((list) => list.some((index) => members[index]?.peerId === peer))

function bucketRefusals (present: Assignment, next: Assignment, buckets: readonly BucketNeed[] | undefined): readonly string[] {
  const [before, after] = [present, next].map(({ blockHolders }) => new Set(blockHolders.flat()).size) as [number, number]
  // what could not be held before is no reason to refuse a change that makes it no worse
  if (after >= before) return []
  if (buckets === undefined) return ['the buckets could not be listed: whether what is left can hold them is not known']
  return buckets.filter(({ width }) => width > after).map(({ name, redundancy, width, suffice }) =>
    `bucket ${name} (${redundancy}) needs ${width} nodes that hold blocks, and ${after} would be left${after < suffice ? `: fewer than the ${suffice} that reading takes` : ''}`)
}

function roomRefusals ({ member: { peerId }, receiveBytes, giveUpBytes }: PlannedNode, told: ToldHoldings | undefined): readonly string[] {
  if (told === undefined) return []
  const { heldBytes, limitBytes, roomBytes } = told
  const after = heldBytes + receiveBytes - giveUpBytes
  if (limitBytes !== undefined && after > limitBytes) return [`${peerId} would hold ${after} bytes, and its capacity is ${limitBytes}`]
  // what it gives up goes only when others have it
  return receiveBytes > roomBytes ? [`${peerId} would receive ${receiveBytes} bytes, and its disk has room for ${roomBytes}`] : []
}

const listAt = ({ members, ...tables }: Assignment, key: 'rowHolders' | 'blockHolders', partition: number): readonly PeerId[] => (tables[key][partition] ?? []).map((index) => (members[index] as LayoutMember).peerId)
const memberIn = ({ members }: Assignment, peer: PeerId): LayoutMember | undefined => members.find(({ peerId }) => peerId === peer)

interface Weights { readonly copies: readonly number[], readonly shards: readonly number[] }

/** Of a partition, position by position, where somebody told: what those have who did not. */
function meansOf ({ present, holdings }: ChangePlanRequest, counted: readonly number[]): Weights {
  const sums: Array<{ copies: number, shards: number, told: number }> = []
  for (const partition of counted) {
    for (const [position, peer] of listAt(present, 'blockHolders', partition).entries()) {
      const told = holdings.get(peer)?.partitions.get(partition)
      if (told === undefined) continue
      const sum = sums[position] ??= { copies: 0, shards: 0, told: 0 }
      sum.copies += told.copies
      sum.shards += told.shards
      sum.told++
    }
  }
  const mean = (of: 'copies' | 'shards') => Array.from(sums, (sum) => sum === undefined ? 0 : sum[of] / sum.told)
  return { copies: mean('copies'), shards: mean('shards') }
}

/** Who brings and gives up how many bytes of one partition. */
function movesIn ({ present, next, holdings, mostCopies }: ChangePlanRequest, partition: number, means: Weights): ReadonlyMap<PeerId, { receive: number, giveUp: number }> {
  const [were, are] = [listAt(present, 'blockHolders', partition), listAt(next, 'blockHolders', partition)]
  const heldAt = (position: number): { copies: number, shards: number } =>
    holdings.get(were[position] as PeerId)?.partitions.get(partition) ?? { copies: means.copies[position] ?? 0, shards: means.shards[position] ?? 0 }
  const weights = were.map((_, position) => heldAt(position))
  // where there were fewer nodes than copies asked for, one more gets what the last of them has
  const copiesAt = (position: number): number => position < weights.length ? weights[position]?.copies ?? 0 : position < mostCopies ? weights.at(-1)?.copies ?? 0 : 0
  const moves = new Map<PeerId, { receive: number, giveUp: number }>()
  for (const peer of new Set([...were, ...are])) {
    const [before, after] = [were.indexOf(peer), are.indexOf(peer)]
    const had = before === -1 ? { copies: 0, shards: 0 } : weights[before] ?? { copies: 0, shards: 0 }
    const copies = (after === -1 ? 0 : copiesAt(after)) - had.copies
    const shards = after === before ? 0 : after === -1 ? 0 : weights[after]?.shards ?? 0
    moves.set(peer, { receive: Math.max(0, copies) + shards, giveUp: Math.max(0, -copies) + (after === before ? 0 : had.shards) })
  }
  return moves
}
