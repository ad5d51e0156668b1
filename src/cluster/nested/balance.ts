import { cheapestChains, circleIn } from './chains.ts'
import type { Grades } from './grades.ts'
import { noSeat, nobody } from './seat-table.ts'
import type { Stage } from './stage.ts'
import { impossible, Transfers } from './transfers.ts'

export const balanceLimits = {
  /** Circles by which less is moved, in one stage. Counted, not timed: every node must come to the same lists. A change of a hundred nodes at once has some hundred. */
  maxCircles: 1024,
} as const

/** Moves seats until all loads are within their bounds, or cannot be, by chains that lose as few of those who were there as possible. */
export function balance (stage: Stage, grades: Grades): void {
  const balancing = new Balancing(stage, grades)
  balancing.level()
  balancing.better()
  balancing.level()
}

class Balancing {
  readonly #stage: Stage
  readonly #grades: Grades
  readonly #transfers: Transfers
  /** By giver, taker and grades: lists in which one can follow the other, as far as looked for, by seat, the best last. */
  readonly #offers = new Map<number, number[][]>()

  constructor (stage: Stage, grades: Grades) {
    this.#stage = stage
    this.#grades = grades
    this.#transfers = new Transfers(Array.from({ length: stage.table.holders }, (_, holder) => grades.worthsOf(holder)))
    for (let partition = 0; partition < stage.table.partitions; partition++) this.#countAll(partition, 1)
  }

  level (): void {
    const { table: { holders } } = this.#stage
    for (let holder = 0; holder < holders; holder++) this.#settle(holder, 'from', () => this.#stage.isOver(holder))
    for (let holder = 0; holder < holders; holder++) this.#settle(holder, 'to', () => this.#stage.isShort(holder))
  }

  /** A search finds all chains that cost the least: they are moved again and again before the next, each time to the emptiest end or from the fullest. */
  #settle (holder: number, direction: 'from' | 'to', isWanted: () => boolean): void {
    while (isWanted()) {
      const chains = cheapestChains(this.#transfers.costs, holder, direction, this.#flags((other) => (direction === 'from' ? this.#stage.mayTake(other) : this.#stage.mayGive(other))))
      const rankOf = (chain: readonly number[]): number => (direction === 'from' ? this.#stage.fillOf(chain.at(-1) ?? 0) : -this.#stage.fillOf(chain[0] ?? 0))
      const cost = chains[0] === undefined ? 0 : this.#costOf(chains[0])
      const open = new Set(chains)
      let moves = 0
      while (open.size > 0 && isWanted()) {
        const chain = [...open].reduce((a, b) => (rankOf(b) < rankOf(a) ? b : a))
        const isOpen = this.#costOf(chain) <= cost && this.#stage.mayGive(chain[0] ?? 0) && this.#stage.mayTake(chain.at(-1) ?? 0)
        if (isOpen && this.#move(chain)) moves++
        else open.delete(chain)
      }
      if (moves === 0) return
    }
  }

  #costOf (chain: readonly number[]): number {
    let cost = 0
    for (let i = 0; i + 1 < chain.length; i++) cost += this.#transfers.costs[(chain[i] ?? 0) * this.#stage.table.holders + (chain[i + 1] ?? 0)] ?? impossible
    return cost
  }

  /** The first who stayed were the wrong ones here and there. */
  better (): void {
    for (let circles = 0; circles < balanceLimits.maxCircles; circles++) {
      const circle = circleIn(this.#transfers.costs, this.#flags((holder) => this.#stage.mayGive(holder)), this.#flags((holder) => this.#stage.mayTake(holder)))
      if (circle === undefined || !this.#move(circle)) return
    }
  }

  #flags (of: (holder: number) => boolean): Uint8Array {
    const flags = new Uint8Array(this.#stage.table.holders)
    for (let holder = 0; holder < flags.length; holder++) if (of(holder)) flags[holder] = 1
    return flags
  }

  /** From its end, so that nobody has too much in between. False: two steps were in each other's way. */
  #move (chain: readonly number[]): boolean {
    for (let i = chain.length - 2; i >= 0; i--) {
      const [giver, taker] = [chain[i] ?? nobody, chain[i + 1] ?? nobody]
      const partition = this.#bestList(giver, taker)
      if (partition === undefined) return false
      this.#follow(partition, giver, taker)
    }
    return true
  }

  /** Where the step costs least and suits both: at that seat the one has most, and the other least, of what it should have there. */
  #bestList (giver: number, taker: number): number | undefined {
    const kind = this.#transfers.kindOf(giver, taker)
    if (kind === undefined) return undefined
    const name = (((giver * this.#stage.table.holders) + taker) * 4 + kind.leaving) * 3 + kind.entering
    const isPossible = (partition: number): boolean => this.#stage.isSeated(partition, giver) && this.#stage.isCandidate(partition, taker) && this.#stage.mayFollow(partition, giver, taker)
    const known = this.#offers.get(name)
    const found = known === undefined ? undefined : this.#pop(known, giver, taker, isPossible)
    if (found !== undefined) return found
    const fresh = this.#offersOf(giver, taker, (partition) => this.#grades.leavingGradeOf(partition, giver, taker) === kind.leaving && this.#grades.gradeOf(partition, taker) === kind.entering && isPossible(partition))
    this.#offers.set(name, fresh)
    return this.#pop(fresh, giver, taker, isPossible)
  }

  #offersOf (giver: number, taker: number, isOne: (partition: number) => boolean): number[][] {
    const { table, seats: { width } } = this.#stage
    const offers = Array.from({ length: width }, (): Array<{ readonly partition: number, readonly tie: number }> => [])
    for (let partition = 0; partition < table.partitions; partition++) {
      const seat = table.seatOf(partition, giver)
      if (seat < width && isOne(partition)) offers[seat]?.push({ partition, tie: table.tie(partition, taker) })
    }
    return offers.map((of) => of.sort((a, b) => b.tie - a.tie).map(({ partition }) => partition))
  }

  #pop (offers: readonly number[][], giver: number, taker: number, isPossible: (partition: number) => boolean): number | undefined {
    for (;;) {
      let [best, bestGap] = [undefined as number[] | undefined, Infinity]
      for (const [seat, of] of offers.entries()) {
        const gap = this.#stage.fillAt(seat, taker) - this.#stage.fillAt(seat, giver)
        if (of.length > 0 && gap < bestGap) [best, bestGap] = [of, gap]
      }
      const partition = best?.pop()
      if (partition === undefined || isPossible(partition)) return partition
    }
  }

  #follow (partition: number, giver: number, taker: number): void {
    if (this.#stage.zoneOf(giver) === this.#stage.zoneOf(taker)) {
      this.#countTo(partition, taker, -1)
      this.#countFrom(partition, giver, -1, taker)
      this.#stage.follow(partition, giver, taker)
      this.#countFrom(partition, taker, 1)
      this.#countTo(partition, giver, 1, taker)
    } else {
      // whoever else may follow whom there changes as well
      this.#countAll(partition, -1)
      this.#stage.follow(partition, giver, taker)
      this.#countAll(partition, 1)
    }
    if (!this.#grades.hasCore) return
    this.#grades.note(partition, giver, -1)
    this.#grades.note(partition, taker, 1)
    for (const holder of [giver, taker]) this.#transfers.setWorths(holder, this.#grades.worthsOf(holder))
  }

  #countAll (partition: number, change: 1 | -1): void {
    const { table, seats: { fixed, width } } = this.#stage
    for (let seat = fixed; seat < width; seat++) this.#countFrom(partition, table.at(partition, seat), change)
  }

  #countFrom (partition: number, giver: number, change: 1 | -1, except: number = nobody): void {
    const { table, seats: { width, reach }, isOpen } = this.#stage
    if (isOpen) {
      const first = partition * table.holders
      for (let taker = 0; taker < table.holders; taker++) if (table.seats[first + taker] === noSeat && taker !== except) this.#countStep(partition, giver, taker, change)
    } else for (let seat = width; seat < reach; seat++) if (table.at(partition, seat) !== except) this.#countStep(partition, giver, table.at(partition, seat), change)
  }

  #countStep (partition: number, giver: number, taker: number, change: 1 | -1): void {
    if (this.#stage.mayFollow(partition, giver, taker)) this.#transfers.add(giver, this.#grades.leavingGradeOf(partition, giver, taker), taker, this.#grades.gradeOf(partition, taker), change)
  }

  #countTo (partition: number, taker: number, change: 1 | -1, except: number = nobody): void {
    const { table, seats: { fixed, width } } = this.#stage
    for (let seat = fixed; seat < width; seat++) {
      const giver = table.at(partition, seat)
      if (giver !== except) this.#countStep(partition, giver, taker, change)
    }
  }
}
