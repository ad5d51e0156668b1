import { partitionCount } from '../base/bytes.ts'
import type { AssignmentRequest, Holder } from './assignment.ts'
import { mixed, saltOf } from './mixing.ts'

/**
 * The first algorithm, kept to the letter: layouts that name it are computed by it on every node, for ever. Greedy, and so neither exact nor quick.
 *
 * Lists of `positions` distinct holders for every partition, position by position, each step in proportion to weight: the first n positions are balanced
 * for every n, because a block of rf:n uses only those. At each position those who sat there before keep their seat within their share, then the least
 * filled holder takes each empty one, from a zone not yet in the list while there is one. Nobody sits twice in a list, so a share ends at every partition once.
 */
export function assignGreedily ({ holders, positions, previous }: AssignmentRequest): ReadonlyArray<readonly number[]> {
  const lists: Seat[][] = Array.from({ length: partitionCount }, () => [])
  const seats = holders.map((holder): Seat => ({ ...holder, load: 0, salt: saltOf(holder.key) }))
  for (let position = 0; position < positions; position++) {
    const shares = sharesOf(seats, (position + 1) * partitionCount)
    const empty = lists.keys().filter((partition) => !keepSeat(lists[partition] as Seat[], seats, shares, previous[partition]?.[position])).toArray()
    for (const partition of empty) sit(lists[partition] as Seat[], leastFilled(candidatesOf(lists[partition] as Seat[], seats), partition))
  }
  return lists.map((list) => list.map(({ index }) => index))
}

/** How many seats each should have of `total`, in proportion to weight, none more than one a partition; what is over goes to the others. */
function sharesOf (holders: readonly Holder[], total: number): ReadonlyMap<number, number> {
  const shares = new Map<number, number>()
  let [rest, open] = [total, holders]
  for (;;) {
    const weight = open.reduce((sum, holder) => sum + holder.weight, 0)
    const isFull = (holder: Holder): boolean => rest * holder.weight >= partitionCount * weight
    const full = open.filter(isFull)
    if (full.length === 0) {
      for (const holder of open) shares.set(holder.index, rest * holder.weight / weight)
      return shares
    }
    for (const holder of full) shares.set(holder.index, partitionCount)
    rest -= full.length * partitionCount
    open = open.filter((holder) => !full.includes(holder))
    if (open.length === 0) return shares
  }
}

interface Seat extends Holder {
  load: number
  readonly salt: number
}

function keepSeat (list: Seat[], seats: readonly Seat[], shares: ReadonlyMap<number, number>, before: number | undefined): boolean {
  const seat = before === undefined ? undefined : seats.find(({ index }) => index === before)
  if (seat === undefined || seat.load + 1 > Math.ceil(shares.get(seat.index) ?? 0) || !candidatesOf(list, seats).includes(seat)) return false
  sit(list, seat)
  return true
}

const sit = (list: Seat[], seat: Seat): void => { list.push(seat); seat.load++ }

function candidatesOf (list: readonly Seat[], seats: readonly Seat[]): readonly Seat[] {
  if (list.length === 0) return seats
  const free = seats.filter((seat) => !list.includes(seat))
  const elsewhere = free.filter((seat) => !list.some(({ zone }) => zone === seat.zone))
  return elsewhere.length > 0 ? elsewhere : free
}

function leastFilled (candidates: readonly Seat[], partition: number): Seat {
  return candidates.reduce((best, seat) => {
    const difference = (seat.load + 1) / seat.weight - (best.load + 1) / best.weight
    return difference < 0 || (difference === 0 && mixed(seat.salt, partition) < mixed(best.salt, partition)) ? seat : best
  })
}
