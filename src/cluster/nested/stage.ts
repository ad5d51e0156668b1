import { levelOf, rounding } from '../fair-shares.ts'
import type { Zones } from '../zones.ts'
import { noSeat, nobody, type SeatTable } from './seat-table.ts'

/** A load may be off its fair share by as much before seats are moved for it: half of what is promised. */
const tolerance = 0.02
/** One seat either way, where that is not too much: where shares are whole numbers everybody else would have to have exactly his, and a seat too many at one had to wander through many lists. */
const slackOf = (share: number): number => Math.max(share * tolerance, share * 2 * tolerance >= 1 ? 1 : 0)

export interface StageSeats {
  /** Seats before it stand. */
  readonly fixed: number
  /** The first so many seats of each list become level: loads in proportion, zones one after the other. */
  readonly width: number
  /** Who may come in sits behind, before `reach`; if that is `width`, the lists are open, and whoever does not sit in one may. */
  readonly reach: number
  /** The next narrower width that serves by itself; 0: none. */
  readonly core: number
}

export interface StageRequest extends StageSeats {
  readonly table: SeatTable
  readonly zones: Zones
  /** [width - 1][holder]: seats that each should have, of all lists. */
  readonly shares: ReadonlyArray<readonly number[]>
}

/** What the first seats of all lists come to, kept up to date: loads of holders, and how many of each zone are in each list. */
export class Stage {
  readonly table: SeatTable
  readonly seats: StageSeats
  readonly isOpen: boolean
  readonly zones: Zones
  readonly loads: Int32Array
  readonly most: Int32Array
  readonly least: Int32Array
  /** How full one more seat would make each; by seat and holder, of what it should have there. */
  readonly fills: Float64Array
  readonly #fillsAt: Float64Array
  readonly #loadsAt: Int32Array
  readonly #shares: readonly number[]
  readonly #quotas: ReadonlyArray<readonly number[]>
  readonly #leastOfZone: Uint8Array
  readonly #mostOfZone: Uint8Array
  readonly #zoneOf: Uint16Array
  /** Seats of a list that zones may have beyond the least of each. */
  readonly #extras: number
  /** By partition. */
  readonly #extrasIn: Uint8Array
  /** By partition and zone. */
  readonly #counts: Uint8Array

  constructor ({ table, zones, shares, ...seats }: StageRequest) {
    const { width } = seats
    this.table = table
    this.seats = seats
    this.isOpen = seats.reach === width
    this.zones = zones
    this.#shares = shares[width - 1] ?? []
    this.#quotas = shares.map((of, position) => of.map((share, holder) => Math.max(1, share - (shares[position - 1]?.[holder] ?? 0))))
    this.most = Int32Array.from(this.#shares, (share) => mostOf(share, table.partitions))
    this.least = Int32Array.from(this.#shares, (share) => Math.min(Math.floor(share + rounding), Math.ceil(share - slackOf(share))))
    const { least, most, extras } = zoneBounds(zones.sizes, width)
    this.#leastOfZone = Uint8Array.from(least)
    this.#mostOfZone = Uint8Array.from(most)
    this.#extras = extras
    this.#zoneOf = Uint16Array.from(zones.of)
    this.loads = new Int32Array(table.holders)
    this.fills = new Float64Array(table.holders)
    this.#loadsAt = new Int32Array(table.holders * width)
    this.#fillsAt = new Float64Array(table.holders * width)
    this.#extrasIn = new Uint8Array(table.partitions)
    this.#counts = new Uint8Array(table.partitions * zones.sizes.length)
    for (let seat = 0; seat < width; seat++) for (let holder = 0; holder < table.holders; holder++) this.#count(seat, holder, 0)
    for (let partition = 0; partition < table.partitions; partition++) {
      for (let seat = 0; seat < width; seat++) if (table.at(partition, seat) !== nobody) this.#note(partition, seat, table.at(partition, seat), 1)
    }
  }

  put (partition: number, seat: number, holder: number): void {
    const left = this.table.at(partition, seat)
    if (left !== nobody) this.#note(partition, seat, left, -1)
    this.table.put(partition, seat, holder)
    if (holder !== nobody) this.#note(partition, seat, holder, 1)
  }

  /** One of those who may come in takes the seat of another. */
  follow (partition: number, leaving: number, entering: number): void {
    const seat = this.table.seatOf(partition, leaving)
    this.#note(partition, seat, leaving, -1)
    this.table.follow(partition, leaving, entering)
    this.#note(partition, seat, entering, 1)
  }

  #note (partition: number, seat: number, holder: number, change: 1 | -1): void {
    const zone = this.zoneOf(holder)
    if (this.countOf(partition, zone) + Math.min(0, change) >= this.leastOf(zone)) this.#extrasIn[partition]! += change
    this.#counts[partition * this.zones.sizes.length + zone]! += change
    this.#count(seat, holder, change)
  }

  #count (seat: number, holder: number, change: number): void {
    const at = seat * this.table.holders + holder
    this.loads[holder]! += change
    this.#loadsAt[at]! += change
    this.fills[holder] = (this.loadOf(holder) + 1) / Math.max(this.#shares[holder] ?? 0, rounding)
    this.#fillsAt[at] = ((this.#loadsAt[at] ?? 0) + 1) / (this.#quotas[seat]?.[holder] ?? 1)
  }

  loadOf (holder: number): number { return this.loads[holder] ?? 0 }
  fillOf (holder: number): number { return this.fills[holder] ?? 0 }
  fillAt (seat: number, holder: number): number { return this.#fillsAt[seat * this.table.holders + holder] ?? 0 }
  mayTake (holder: number): boolean { return this.loadOf(holder) < (this.most[holder] ?? 0) }
  mayGive (holder: number): boolean { return this.loadOf(holder) > (this.least[holder] ?? 0) }
  isOver (holder: number): boolean { return this.loadOf(holder) > (this.most[holder] ?? 0) }
  isShort (holder: number): boolean { return this.loadOf(holder) < (this.least[holder] ?? 0) }

  isIn (partition: number, holder: number): boolean { return this.table.seatOf(partition, holder) < this.seats.width }
  /** Whether its seat is one that this stage may give to another. */
  isSeated (partition: number, holder: number): boolean {
    const seat = this.table.seatOf(partition, holder)
    return seat >= this.seats.fixed && seat < this.seats.width
  }

  isCandidate (partition: number, holder: number): boolean {
    const seat = this.table.seatOf(partition, holder)
    return this.isOpen ? seat === noSeat : seat >= this.seats.width && seat < this.seats.reach
  }

  zoneOf (holder: number): number { return this.#zoneOf[holder] ?? 0 }
  countOf (partition: number, zone: number): number { return this.#counts[partition * this.zones.sizes.length + zone] ?? 0 }
  leastOf (zone: number): number { return this.#leastOfZone[zone] ?? 0 }
  mostOf (zone: number): number { return this.#mostOfZone[zone] ?? 0 }
  isExtra (partition: number, zone: number): boolean { return this.countOf(partition, zone) > this.leastOf(zone) }

  hasTooManyExtras (partition: number): boolean { return (this.#extrasIn[partition] ?? 0) > this.#extras }

  hasRoom (partition: number, zone: number): boolean {
    const count = this.countOf(partition, zone)
    return count < this.leastOf(zone) || (count < this.mostOf(zone) && (this.#extrasIn[partition] ?? 0) < this.#extras)
  }

  /** Whether a list that is level stays so. */
  mayFollow (partition: number, leaving: number, entering: number): boolean {
    const [left, entered] = [this.zoneOf(leaving), this.zoneOf(entering)]
    return left === entered || (this.isExtra(partition, left) && this.countOf(partition, entered) < this.mostOf(entered))
  }
}

/** Seats that a holder may have, of so many lists. */
export const mostOf = (share: number, lists: number): number => Math.min(lists, Math.max(Math.ceil(share - rounding), Math.floor(share + slackOf(share))))

/** How many of each zone a list of this width has at least and at most, and how many seats there are beyond the least. */
export function zoneBounds (sizes: readonly number[], width: number): { readonly least: readonly number[], readonly most: readonly number[], readonly extras: number } {
  const level = levelOf(sizes, width)
  const least = sizes.map((size) => Math.min(size, level))
  return { least, most: sizes.map((size) => Math.min(size, level + 1)), extras: width - least.reduce((a, b) => a + b, 0) }
}
