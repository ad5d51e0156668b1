import type { Grades } from './grades.ts'
import type { Stage } from './stage.ts'

/** In lists that are full already: as few exchanges as make the zones of each list level. */
export function levelZones (stage: Stage, grades: Grades): void {
  for (let partition = 0; partition < stage.table.partitions; partition++) {
    while (unevenness(stage, partition) > 0) {
      const best = exchangesIn(stage, grades, partition).reduce<Exchange | undefined>((a, b) => (a === undefined || isBetter(b, a) ? b : a), undefined)
      if (best === undefined) break
      stage.follow(partition, best.leaving, best.entering)
    }
  }
}

interface Exchange { readonly leaving: number, readonly entering: number, readonly gain: number, readonly worth: number, readonly fill: number }

const isBetter = (a: Exchange, b: Exchange): boolean => a.gain > b.gain || (a.gain === b.gain && (a.worth > b.worth || (a.worth === b.worth && a.fill < b.fill)))

/** Those that make it more even. */
function exchangesIn (stage: Stage, grades: Grades, partition: number): readonly Exchange[] {
  const { table, seats: { fixed, width, reach } } = stage
  const exchanges: Exchange[] = []
  for (let from = fixed; from < width; from++) {
    for (let to = width; to < reach; to++) {
      const [leaving, entering] = [table.at(partition, from), table.at(partition, to)]
      const gain = gainOf(stage, partition, leaving, entering)
      const worth = grades.gradeOf(partition, entering) - grades.gradeOf(partition, leaving)
      if (gain > 0) exchanges.push({ leaving, entering, gain, worth, fill: stage.fillOf(entering) - stage.fillOf(leaving) })
    }
  }
  return exchanges
}

function unevenness (stage: Stage, partition: number): number {
  let sum = 0
  for (let zone = 0; zone < stage.zones.sizes.length; zone++) sum += unevennessOf(stage, zone, stage.countOf(partition, zone))
  return sum
}

const unevennessOf = (stage: Stage, zone: number, count: number): number => Math.max(0, stage.leastOf(zone) - count, count - stage.mostOf(zone))

function gainOf (stage: Stage, partition: number, leaving: number, entering: number): number {
  const [left, entered] = [stage.zoneOf(leaving), stage.zoneOf(entering)]
  if (left === entered) return 0
  const [fewer, more] = [stage.countOf(partition, left), stage.countOf(partition, entered)]
  return unevennessOf(stage, left, fewer) + unevennessOf(stage, entered, more) - unevennessOf(stage, left, fewer - 1) - unevennessOf(stage, entered, more + 1)
}
