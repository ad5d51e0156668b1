import type { Grade, LeavingGrade, Worths } from './grades.ts'

/** Of who enters; of who leaves there is one more. */
const grades = 3
const kinds = (grades + 1) * grades
export const impossible = 2 ** 29
/** A step costs so much by itself: of chains that lose as much the shortest. */
export const hop = 1

/**
 * In how many lists one holder could follow another, by what both are worth there, and so what the cheapest step from each to each costs. For chains of steps
 * (h gives to g, g gives to …) are looked for among holders, not among lists: of those there are 4,096, and looking at all of them for each chain takes seconds.
 */
export class Transfers {
  readonly #holders: number
  /** By giver, taker and their grades. */
  readonly #counts: Uint16Array
  readonly #worths: Worths[]
  /** By giver and taker; below 0 where more is won than lost. */
  readonly costs: Int32Array

  constructor (worths: readonly Worths[]) {
    this.#holders = worths.length
    this.#worths = [...worths]
    this.#counts = new Uint16Array(worths.length * worths.length * kinds)
    this.costs = new Int32Array(worths.length * worths.length).fill(impossible)
  }

  add (giver: number, leaving: LeavingGrade, taker: number, entering: Grade, change: 1 | -1): void {
    const pair = giver * this.#holders + taker
    const at = pair * kinds + leaving * grades + entering
    const count = (this.#counts[at] ?? 0) + change
    this.#counts[at] = count
    if (count > 1 || (count === 1 && change === -1)) return
    const cost = this.#costOf(giver, leaving, taker, entering)
    const known = this.costs[pair] ?? impossible
    if (count === 1 && cost < known) this.costs[pair] = cost
    if (count === 0 && cost === known) this.costs[pair] = this.#cheapest(giver, taker).cost
  }

  setWorths (holder: number, worths: Worths): void {
    if (this.#worths[holder] === worths) return
    this.#worths[holder] = worths
    for (let other = 0; other < this.#holders; other++) {
      this.costs[holder * this.#holders + other] = this.#cheapest(holder, other).cost
      this.costs[other * this.#holders + holder] = this.#cheapest(other, holder).cost
    }
  }

  /** In what kind of list a step from one to the other costs least; undefined: there is none. */
  kindOf (giver: number, taker: number): { readonly leaving: LeavingGrade, readonly entering: Grade } | undefined {
    const { kind } = this.#cheapest(giver, taker)
    return kind === undefined ? undefined : { leaving: Math.trunc(kind / grades) as LeavingGrade, entering: kind % grades as Grade }
  }

  #costOf (giver: number, leaving: LeavingGrade, taker: number, entering: Grade): number { return hop + (this.#worths[giver]?.leaving[leaving] ?? 0) - (this.#worths[taker]?.entering[entering] ?? 0) }

  #cheapest (giver: number, taker: number): { readonly kind: number | undefined, readonly cost: number } {
    const first = (giver * this.#holders + taker) * kinds
    const [lost, won] = [this.#worths[giver]?.leaving, this.#worths[taker]?.entering]
    let best: number | undefined
    let bestCost = impossible
    for (let kind = 0; kind < kinds; kind++) {
      if ((this.#counts[first + kind] ?? 0) === 0) continue
      const cost = hop + (lost?.[Math.trunc(kind / grades)] ?? 0) - (won?.[kind % grades] ?? 0)
      if (cost < bestCost) [best, bestCost] = [kind, cost]
    }
    return { kind: best, cost: bestCost }
  }
}
