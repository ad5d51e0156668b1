import type { Holder } from './assignment.ts'

/** What the first n positions of all lists should give to whom, for every n. In lists of one partition count each: multiply by the number of partitions. */
export interface FairShares {
  /** [n - 1][holder, in the order given]: its share of n positions, from 0 to 1 (a holder sits once in a list). */
  readonly ofHolder: ReadonlyArray<readonly number[]>
  /** [n - 1][zone]: seats that every single list must have given to the zone by then, or it misses its share; 0: no more than its level, which it is given anyway. */
  readonly demandOfZone: ReadonlyArray<readonly number[]>
}

/**
 * In proportion to weight, as far as copies in different zones allow. A list takes a second holder of a zone only when every zone that has holders left has
 * given one, and so on: so by n positions each zone has given its *level* or one more. Between these bounds zones share in proportion to what their holders
 * weigh, and holders within a zone in proportion to weight, none more than once a list. What one cannot take goes to the others.
 */
export function fairShares ({ holders, zoneOf, zones, positions }: { holders: readonly Holder[], zoneOf: readonly number[], zones: number, positions: number }): FairShares {
  const total = holders.reduce((sum, { weight }) => sum + weight, 0)
  const weights = holders.map(({ weight }) => weight / total)
  const within = Array.from({ length: zones }, (_, zone) => weights.filter((_w, i) => zoneOf[i] === zone))
  const ofHolder: number[][] = []
  const demandOfZone: number[][] = []
  for (let n = 1; n <= positions; n++) {
    const level = levelOf(within.map(({ length }) => length), n)
    const bounds = within.map(({ length }) => ({ least: Math.min(length, level), most: Math.min(length, level + 1) }))
    const shareAt = (zone: number, scale: number): number => {
      const { least, most } = bounds[zone] ?? { least: 0, most: 0 }
      return Math.min(most, Math.max(least, filled(within[zone] ?? [], scale)))
    }
    const scale = scaleFor(n, (at) => within.reduce((sum, _, zone) => sum + shareAt(zone, at), 0))
    const ofZone = within.map((_, zone) => shareAt(zone, scale))
    const scales = within.map((of, zone) => scaleFor(ofZone[zone] ?? 0, (at) => filled(of, at)))
    ofHolder.push(weights.map((weight, i) => Math.min(1, weight * (scales[zoneOf[i] ?? 0] ?? 0))))
    demandOfZone.push(ofZone.map((share, zone) => {
      const { least, most } = bounds[zone] ?? { least: 0, most: 0 }
      return most > least && share >= most - rounding ? most : 0
    }))
  }
  return { ofHolder, demandOfZone }
}

/** Sums of floating-point numbers are this inexact, and no more: shares are at most some thousands. */
export const rounding = 1e-6

const filled = (weights: readonly number[], scale: number): number => weights.reduce((sum, weight) => sum + Math.min(1, weight * scale), 0)

/** How many seats every zone with so many holders has given when n are taken one zone after the other. */
export function levelOf (sizes: readonly number[], n: number): number {
  let level = 0
  while (sizes.some((size) => size > level) && sizes.reduce((sum, size) => sum + Math.min(size, level + 1), 0) <= n) level++
  return level
}

/** Where a function that only rises reaches `wanted`. Halving alone: the same on every machine. */
function scaleFor (wanted: number, of: (scale: number) => number): number {
  let [low, high] = [0, 1]
  while (of(high) < wanted - rounding && high < 2 ** 80) high *= 2
  for (let i = 0; i < 100; i++) {
    const middle = (low + high) / 2
    if (of(middle) < wanted) low = middle
    else high = middle
  }
  return high
}
