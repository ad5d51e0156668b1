import type { Grades } from './grades.ts'
import { noSeat, nobody } from './seat-table.ts'
import type { Stage } from './stage.ts'

/** Whoever sat in open lists stays, but where zones would not be level; empty seats go to the emptiest. Loads may be out of bounds afterwards. */
export function seatFirst (stage: Stage, grades: Grades): void {
  const { table, seats: { fixed, width } } = stage
  for (let partition = 0; partition < table.partitions; partition++) keep(stage, grades, partition)
  for (let partition = 0; partition < table.partitions; partition++) {
    part(stage, grades, partition)
    bringBack(stage, grades, partition)
  }
  for (let seat = fixed; seat < width; seat++) {
    for (let partition = 0; partition < table.partitions; partition++) if (table.at(partition, seat) === nobody) fill(stage, grades, partition, seat)
  }
}

function keep (stage: Stage, grades: Grades, partition: number): void {
  const { table, seats: { fixed, width } } = stage
  for (let seat = fixed; seat < width; seat++) {
    const holder = table.whoSat(partition, seat)
    if (holder === nobody || table.seatOf(partition, holder) !== noSeat) continue
    stage.put(partition, seat, holder)
    grades.note(partition, holder, 1)
  }
}

/** Where a zone has too many the fullest go, and those last who are in the core and can stay there. */
function part (stage: Stage, grades: Grades, partition: number): void {
  const { table, seats: { fixed, width }, zones } = stage
  for (;;) {
    const crowded = zones.sizes.findIndex((_, zone) => stage.countOf(partition, zone) > stage.mostOf(zone))
    if (crowded === -1 && !stage.hasTooManyExtras(partition)) return
    let [fullest, isDear] = [nobody, false]
    for (let seat = fixed; seat < width; seat++) {
      const holder = table.at(partition, seat)
      if (holder === nobody || (crowded === -1 ? !stage.isExtra(partition, stage.zoneOf(holder)) : stage.zoneOf(holder) !== crowded)) continue
      const isDearToo = grades.isDear(partition, holder)
      if (fullest === nobody || (isDearToo === isDear ? stage.fillOf(holder) > stage.fillOf(fullest) : isDear)) [fullest, isDear] = [holder, isDearToo]
    }
    if (fullest === nobody) return
    stage.put(partition, table.seatOf(partition, fullest), nobody)
    grades.note(partition, fullest, -1)
  }
}

/** Whoever was further in front, and has lost its seat there. */
function bringBack (stage: Stage, grades: Grades, partition: number): void {
  const { table, seats: { fixed, width } } = stage
  for (let before = 0; before < fixed; before++) {
    const holder = table.whoSat(partition, before)
    if (holder === nobody || table.seatOf(partition, holder) !== noSeat || !stage.mayTake(holder) || !stage.hasRoom(partition, stage.zoneOf(holder))) continue
    for (let seat = fixed; seat < width; seat++) {
      if (table.at(partition, seat) !== nobody) continue
      stage.put(partition, seat, holder)
      grades.note(partition, holder, 1)
      break
    }
  }
}

/** As much as being full: whoever sat behind would leave that seat for another to fill. */
const costOfSeatBehind = 1

/** By the emptiest, in all and at this position; when all have enough, one of them. */
function fill (stage: Stage, grades: Grades, partition: number, seat: number): void {
  const { table, seats: { width } } = stage
  let [best, bestFill, bestTie, isFull] = [nobody, Infinity, 0, true]
  for (let holder = 0; holder < table.holders; holder++) {
    const isFullToo = !stage.mayTake(holder)
    const before = table.beforeOf(partition, holder)
    const fillToo = stage.fillOf(holder) + stage.fillAt(seat, holder) + (before >= width && before !== noSeat ? costOfSeatBehind : 0)
    if (isFullToo === isFull ? fillToo > bestFill : isFullToo) continue
    if (!stage.hasRoom(partition, stage.zoneOf(holder)) || table.seatOf(partition, holder) !== noSeat) continue
    const tie = table.tie(partition, holder)
    if (isFullToo === isFull && fillToo === bestFill && tie >= bestTie) continue
    ;[best, bestFill, bestTie, isFull] = [holder, fillToo, tie, isFullToo]
  }
  stage.put(partition, seat, best)
  grades.note(partition, best, 1)
}
