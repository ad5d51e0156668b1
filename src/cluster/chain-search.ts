/** One seat of one list changes hands. */
export interface Step { readonly from: number, readonly partition: number, readonly to: number }

export const searchLimits = {
  /**
   * Seats that are looked at for chains in one assignment. Where capacities and zones ask for what is hardly possible (two of a hundred nodes with most of the
   * room, in a zone of their own) every search looks at all of them, and there are thousands: half a minute in which the node does nothing else. What is not
   * level by then stays so. Counted, not timed: every node must come to the same table.
   */
  maxLooks: 20_000_000,
} as const

/** Dijkstra's, over holders; few enough that the nearest is found by looking at all. Of equally dear steps that with the lower tie is taken. */
export class ChainSearch {
  readonly #costs: Float64Array
  readonly #ties: Float64Array
  readonly #isDone: Uint8Array
  readonly #steps: Array<Step | undefined>
  /** Whence a holder was reached: the other end of its step. */
  readonly #reachedFrom: Int32Array

  constructor (holders: number) {
    this.#costs = new Float64Array(holders).fill(Infinity)
    this.#ties = new Float64Array(holders).fill(Infinity)
    this.#isDone = new Uint8Array(holders)
    this.#steps = Array.from({ length: holders })
    this.#reachedFrom = new Int32Array(holders).fill(nobody)
  }

  costOf (holder: number): number { return this.#costs[holder] ?? Infinity }
  isDone (holder: number): boolean { return this.#isDone[holder] === 1 }
  isBetter (holder: number, cost: number, tie: number): boolean {
    const known = this.costOf(holder)
    return cost < known || (cost === known && tie < (this.#ties[holder] ?? Infinity))
  }

  reach (holder: number, cost: number, step: Step | undefined, tie = 0): void {
    this.#costs[holder] = cost
    this.#ties[holder] = tie
    this.#steps[holder] = step
    this.#reachedFrom[holder] = step === undefined ? nobody : step.from === holder ? step.to : step.from
  }

  next (): number | undefined {
    let nearest: number | undefined
    for (let holder = 0; holder < this.#costs.length; holder++) {
      if (this.#isDone[holder] === 0 && this.costOf(holder) < Infinity && (nearest === undefined || this.costOf(holder) < this.costOf(nearest))) nearest = holder
    }
    if (nearest !== undefined) this.#isDone[nearest] = 1
    return nearest
  }

  /** From where the search began. */
  stepsTo (holder: number): readonly Step[] {
    const steps: Step[] = []
    for (let at = holder; at !== nobody; at = this.#reachedFrom[at] ?? nobody) {
      const step = this.#steps[at]
      if (step !== undefined) steps.push(step)
    }
    return steps.toReversed()
  }
}

const nobody = -1
