import type { AssignmentRequest, Holder } from '../assignment.ts'
import { mixed, saltOf } from '../mixing.ts'

export const nobody = -1
export const noSeat = 255

/** Who sits where: by partition an ordered list of holders, who are numbers from 0 here; and who sat where before. */
export class SeatTable {
  readonly holders: number
  readonly partitions: number
  readonly positions: number
  /** By partition and holder: where it sits, or `noSeat`. */
  readonly seats: Uint8Array
  /** By partition and holder: where it sat. */
  readonly before: Uint8Array
  readonly #order: Int16Array
  readonly #orderBefore: Int16Array
  readonly #salts: readonly number[]

  constructor ({ holders, positions, previous }: Pick<AssignmentRequest, 'positions' | 'previous'> & { readonly holders: readonly Holder[] }) {
    this.holders = holders.length
    this.partitions = previous.length
    this.positions = positions
    this.#order = new Int16Array(previous.length * positions).fill(nobody)
    this.#orderBefore = new Int16Array(previous.length * positions).fill(nobody)
    this.seats = new Uint8Array(holders.length * previous.length).fill(noSeat)
    this.before = new Uint8Array(holders.length * previous.length).fill(noSeat)
    this.#salts = holders.map(({ key }) => saltOf(key))
    const numbers = new Map(holders.map(({ index }, number) => [index, number]))
    for (const [partition, list] of previous.entries()) {
      for (const [seat, index] of list.entries()) {
        const holder = index === undefined ? undefined : numbers.get(index)
        if (holder === undefined || this.before[partition * holders.length + holder] !== noSeat) continue
        this.before[partition * holders.length + holder] = seat
        if (seat < positions) this.#orderBefore[partition * positions + seat] = holder
      }
    }
  }

  at (partition: number, seat: number): number { return this.#order[partition * this.positions + seat] ?? nobody }
  whoSat (partition: number, seat: number): number { return this.#orderBefore[partition * this.positions + seat] ?? nobody }
  seatOf (partition: number, holder: number): number { return this.seats[partition * this.holders + holder] ?? noSeat }
  /** Where it sat, or `noSeat`. */
  beforeOf (partition: number, holder: number): number { return this.before[partition * this.holders + holder] ?? noSeat }
  /** Breaks ties, and differs from partition to partition. */
  tie (partition: number, holder: number): number { return mixed(this.#salts[holder] ?? 0, partition) }
  list (partition: number): readonly number[] { return [...this.#order.subarray(partition * this.positions, (partition + 1) * this.positions)] }

  put (partition: number, seat: number, holder: number): void {
    const left = this.at(partition, seat)
    if (left !== nobody && this.seatOf(partition, left) === seat) this.seats[partition * this.holders + left] = noSeat
    this.#order[partition * this.positions + seat] = holder
    if (holder !== nobody) this.seats[partition * this.holders + holder] = seat
  }

  /** One takes the seat of another, who gets the one that it leaves, if it had one. */
  follow (partition: number, leaving: number, entering: number): void {
    const [left, from] = [this.seatOf(partition, leaving), this.seatOf(partition, entering)]
    this.put(partition, left, entering)
    if (from !== noSeat) this.put(partition, from, leaving)
  }
}
