import type { Holder } from '../../src/cluster/assignment.ts'
import { fairShares, levelOf } from '../../src/cluster/fair-shares.ts'
import { CheapestFlow } from './cheapest-flow.ts'

type Lists = ReadonlyArray<ReadonlyArray<number | undefined>>

/** More than all moves together. */
const priceOfChoice = 1_000_000

/**
 * How few copies can move for lists in which each of `holders` has its fair share within `tolerance`, or a seat, and zones are level: exactly, for this width
 * alone, by the cheapest flow from holders (who must have so many seats, and may have so many) through the zones of each list (each has its least, and some one
 * more) to the lists. A seat that was not the holder's before costs one.
 */
export function forcedMoves ({ holders, positions, previous, tolerance }: { holders: readonly Holder[], positions: number, previous: Lists, tolerance: number }): number {
  const partitions = previous.length
  const names = [...new Set(holders.map(({ zone }) => zone))]
  const zoneOf = holders.map(({ zone }) => names.indexOf(zone))
  const sizes = names.map((_, zone) => zoneOf.filter((of) => of === zone).length)
  const shares = (fairShares({ holders, zoneOf, zones: names.length, positions }).ofHolder[positions - 1] ?? []).map((share) => share * partitions)
  const level = levelOf(sizes, positions)
  const leasts = sizes.map((size) => Math.min(size, level))
  const extras = positions - leasts.reduce((sum, least) => sum + least, 0)
  const numbers = new Map(holders.map(({ index }, number) => [index, number]))

  const [source, sink] = [0, 1]
  const holderNode = (holder: number): number => 2 + holder
  const listNode = (partition: number): number => 2 + holders.length + partition * (names.length + 2)
  const flow = new CheapestFlow(listNode(partitions))
  for (const [holder, share] of shares.entries()) {
    const slack = Math.max(share * tolerance, share * 2 * tolerance >= 1 ? 1 : 0)
    const most = Math.min(partitions, Math.max(Math.ceil(share - 1e-6), Math.floor(share + slack)))
    const least = Math.min(Math.floor(share + 1e-6), Math.ceil(share - slack))
    flow.edge(source, holderNode(holder), { capacity: least, cost: 0 })
    // only when all have what they must
    flow.edge(source, holderNode(holder), { capacity: most - least, cost: priceOfChoice })
  }
  for (const [partition, list] of previous.entries()) {
    const had = new Set(list.map((index) => numbers.get(index ?? -1)))
    const extraNode = listNode(partition) + 1 + names.length
    flow.edge(listNode(partition), sink, { capacity: positions, cost: 0 })
    flow.edge(extraNode, listNode(partition), { capacity: extras, cost: 0 })
    for (const zone of names.keys()) {
      flow.edge(listNode(partition) + 1 + zone, listNode(partition), { capacity: leasts[zone] as number, cost: 0 })
      if ((sizes[zone] as number) > level) flow.edge(listNode(partition) + 1 + zone, extraNode, { capacity: 1, cost: 0 })
    }
    for (const holder of holders.keys()) flow.edge(holderNode(holder), listNode(partition) + 1 + (zoneOf[holder] as number), { capacity: 1, cost: had.has(holder) ? 0 : 1 })
  }
  const { amount, cost } = flow.send(source, sink)
  if (amount !== positions * partitions) throw new Error(`there are no such lists: ${amount} of ${positions * partitions} seats`)
  return cost % priceOfChoice
}
