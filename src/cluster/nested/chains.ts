import { nobody } from './seat-table.ts'
import { hop, impossible } from './transfers.ts'

/**
 * The cheapest chains of steps, giver first, all of the same cost: from this holder to ends, or, `to` it, from ends. `costs` by giver and taker. Dijkstra's,
 * over so few that the nearest is found by looking at all; a step that wins something costs as much as one that loses nothing, and `circleIn` finds what that leaves.
 */
export function cheapestChains (costs: Int32Array, holder: number, direction: 'from' | 'to', isEnd: Uint8Array): ReadonlyArray<readonly number[]> {
  const holders = isEnd.length
  const distances = new Int32Array(holders).fill(impossible)
  const reachedFrom = new Int16Array(holders).fill(nobody)
  const isDone = new Uint8Array(holders)
  const [row, column] = direction === 'from' ? [holders, 1] : [1, holders]
  distances[holder] = 0
  for (let at = holder; at !== nobody;) {
    if (at !== holder && isEnd[at] === 1) return endsAt(distances[at] ?? 0)
    isDone[at] = 1
    const distance = distances[at] ?? 0
    let [nearest, nearestDistance] = [nobody, impossible]
    for (let other = 0; other < holders; other++) {
      if (isDone[other] === 1) continue
      const reached = distance + Math.max(hop, costs[at * row + other * column] ?? impossible)
      if (reached < (distances[other] ?? 0)) {
        distances[other] = reached
        reachedFrom[other] = at
      }
      const known = distances[other] ?? impossible
      if (known < nearestDistance || (known < impossible && known === nearestDistance && isEnd[other] === 1 && isEnd[nearest] !== 1)) [nearest, nearestDistance] = [other, known]
    }
    at = nearest
  }
  return []

  function endsAt (distance: number): ReadonlyArray<readonly number[]> {
    const paths: Array<readonly number[]> = []
    for (let end = 0; end < holders; end++) if (end !== holder && isEnd[end] === 1 && distances[end] === distance) paths.push(pathTo(reachedFrom, end))
    return direction === 'from' ? paths.map((path) => path.toReversed()) : paths
  }
}

function pathTo (reachedFrom: Int16Array, end: number): readonly number[] {
  const path: number[] = []
  for (let at = end; at !== nobody; at = reachedFrom[at] ?? nobody) path.push(at)
  return path
}

/**
 * Steps that win more than they lose, giver first: around in a circle, whose first stands at its end too, or from one who may give to one who may take.
 * Bellman's and Ford's, with an outside that gives to all who may take and takes from all who may give.
 */
export function circleIn (costs: Int32Array, mayGive: Uint8Array, mayTake: Uint8Array): readonly number[] | undefined {
  const holders = mayGive.length
  const outside = holders
  const distances = new Int32Array(holders + 1)
  const reachedFrom = new Int16Array(holders + 1).fill(nobody)
  for (let round = 0; round <= holders; round++) {
    let isChanged = false
    for (let giver = 0; giver < holders; giver++) {
      if (mayGive[giver] === 1 && (distances[outside] ?? 0) < (distances[giver] ?? 0)) { distances[giver] = distances[outside] ?? 0; reachedFrom[giver] = outside; isChanged = true }
      if (mayTake[giver] === 1 && (distances[giver] ?? 0) < (distances[outside] ?? 0)) { distances[outside] = distances[giver] ?? 0; reachedFrom[outside] = giver; isChanged = true }
      const distance = distances[giver] ?? 0
      for (let taker = 0; taker < holders; taker++) {
        const next = distance + (costs[giver * holders + taker] ?? impossible)
        if (next < (distances[taker] ?? 0)) { distances[taker] = next; reachedFrom[taker] = giver; isChanged = true }
      }
    }
    if (!isChanged) return undefined
    const circle = circleOf(reachedFrom)
    if (circle === undefined) continue
    const at = circle.indexOf(outside)
    return at === -1 ? [...circle, circle[0] as number] : [...circle.slice(at + 1), ...circle.slice(0, at)]
  }
  return undefined
}

/** Giver first. */
function circleOf (reachedFrom: Int16Array): readonly number[] | undefined {
  const seen = new Int16Array(reachedFrom.length).fill(nobody)
  for (let start = 0; start < reachedFrom.length; start++) {
    let at = start
    while (at !== nobody && seen[at] === nobody) {
      seen[at] = start
      at = reachedFrom[at] ?? nobody
    }
    if (at === nobody || seen[at] !== start) continue
    const circle = [at]
    for (let from = reachedFrom[at] ?? nobody; from !== at; from = reachedFrom[from] ?? nobody) circle.push(from)
    return circle.toReversed()
  }
  return undefined
}
