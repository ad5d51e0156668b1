import type { AssignmentRequest, Holder } from '../assignment.ts'
import { fairShares } from '../fair-shares.ts'
import { zonesOf } from '../zones.ts'
import { balance } from './balance.ts'
import { seatFirst } from './first-seats.ts'
import { Grades } from './grades.ts'
import { levelZones } from './level-zones.ts'
import { SeatTable } from './seat-table.ts'
import { Stage, type StageRequest, type StageSeats } from './stage.ts'

/**
 * Lists of `positions` distinct holders for every partition, of which the first n are level for every n, because a block of rf:n uses only those: loads in
 * proportion, and a second holder of a zone only when no other zone has one left. From the widest width that serves by itself to the narrowest: first who is
 * in the first six of each list, then which three of them are its first three, then in what order; what is further behind last. From narrow to wide would be
 * simpler to say, but then the first three leave the next three too little choice: copies move, and shares are missed, that need not.
 *
 * Each stage is a flow that costs least: whoever was there stays, empty seats go to the emptiest, then chains of seats bring all loads within their bounds,
 * the cheapest first, then circles of seats that win more than they lose are closed until there is none.
 */
export function assignNested ({ holders, positions, previous, widths }: AssignmentRequest): ReadonlyArray<readonly number[]> {
  const sorted = holders.toSorted((a, b) => a.index - b.index)
  const zones = zonesOf(sorted)
  const shares = fairShares({ holders: sorted, zoneOf: zones.of, zones: zones.sizes.length, positions }).ofHolder.map((of) => of.map((share) => share * previous.length))
  const table = new SeatTable({ holders: sorted, positions, previous })
  for (const seats of stagesOf(widths, positions)) makeLevel({ ...seats, table, zones, shares })
  return previous.map((_, partition) => table.list(partition).map((holder) => (sorted[holder] as Holder).index))
}

function makeLevel (request: StageRequest): void {
  const stage = new Stage(request)
  const grades = new Grades(stage, request.shares)
  if (stage.isOpen) seatFirst(stage, grades)
  else levelZones(stage, grades)
  balance(stage, grades)
}

function stagesOf (widths: readonly number[], positions: number): readonly StageSeats[] {
  const widest = Math.min(widths.at(-1) ?? positions, positions)
  const inner = widths.filter((width) => width < widest)
  const bounds = [...inner, widest, ...(positions > widest ? [positions] : [])]
  return [
    { fixed: 0, width: widest, reach: widest, core: inner.at(-1) ?? 0 },
    ...inner.map((width, i) => ({ fixed: 0, width, reach: inner[i + 1] ?? widest, core: 0 })).toReversed(),
    ...(positions > widest ? [{ fixed: widest, width: positions, reach: positions, core: 0 }] : []),
    ...bounds.flatMap((end, i) => ordersWithin(bounds[i - 1] ?? 0, end)),
  ]
}

/** Who is the last of these, then the last but one. */
const ordersWithin = (fixed: number, end: number): readonly StageSeats[] =>
  Array.from({ length: Math.max(0, end - fixed - 1) }, (_, n) => ({ fixed, width: end - 1 - n, reach: end - n, core: 0 }))
