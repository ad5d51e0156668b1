import { nobody } from './seat-table.ts'
import { mostOf, type Stage, zoneBounds } from './stage.ts'

/**
 * What a holder is worth in a list. Where lists are open: 0 it was not there before, 1 it was, 2 it was in the core and can stay there. Where seats are
 * exchanged: 0 it sat further behind, 1 it was not there at all (so it has nothing to lose), 2 it sat there.
 */
export type Grade = 0 | 1 | 2
/** The same of who leaves; 3: it was in the core, and zones would not let who follows it be there in its place, so that somebody else of the list would have to move in. */
export type LeavingGrade = Grade | 3
/** What a step loses by who leaves and wins by who enters. Losing a copy outweighs chains of any length; a copy in the core is two: one of the core, one of the whole. */
export interface Worths { readonly leaving: readonly number[], readonly entering: readonly number[] }
/** A holder that is in the core of more lists than it may stay in the core of leaves those first: by how its number stands to that. */
const worths = {
  exchanged: { leaving: [0, 4, 64, 64], entering: [0, 4, 64] },
  below: { leaving: [0, 64, 128, 128], entering: [0, 64, 128] },
  full: { leaving: [0, 64, 128, 128], entering: [0, 64, 62] },
  above: { leaving: [0, 64, 62, 68], entering: [0, 64, 62] },
} as const satisfies Record<string, Worths>

export class Grades {
  readonly #stage: Stage
  /** By partition and holder. */
  readonly #grades: Uint8Array
  /** In the core of how many lists it is still, and may stay. */
  readonly #inCore: Int32Array
  readonly #mostOfCore: readonly number[] | undefined
  /** By partition and zone: 1 where somebody of it is in the core and can stay there. */
  readonly #zonesOfCore: Uint8Array

  constructor (stage: Stage, shares: ReadonlyArray<readonly number[]>) {
    const { table, seats: { core, reach, width }, isOpen } = stage
    this.#stage = stage
    this.#grades = new Uint8Array(table.holders * table.partitions)
    this.#inCore = new Int32Array(table.holders)
    this.#mostOfCore = core === 0 ? undefined : (shares[core - 1] ?? []).map((share) => mostOf(share, table.partitions))
    if (isOpen) for (let at = 0; at < this.#grades.length; at++) this.#grades[at] = (table.before[at] ?? 0) < width ? 1 : 0
    else {
      for (let partition = 0; partition < table.partitions; partition++) {
        for (let seat = 0; seat < reach; seat++) {
          const at = partition * table.holders + table.at(partition, seat)
          const before = table.before[at] ?? 0
          this.#grades[at] = before < width ? 2 : before < reach ? 0 : 1
        }
      }
    }
    this.#zonesOfCore = new Uint8Array(this.#mostOfCore === undefined ? 0 : table.partitions * this.#stage.zones.sizes.length)
    if (this.#mostOfCore !== undefined) this.#findCore(core, this.#mostOfCore)
  }

  gradeOf (partition: number, holder: number): Grade { return (this.#grades[partition * this.#stage.table.holders + holder] ?? 0) as Grade }

  leavingGradeOf (partition: number, leaving: number, entering: number): LeavingGrade {
    const grade = this.gradeOf(partition, leaving)
    if (grade !== 2 || !this.hasCore) return grade
    const [left, entered] = [this.#stage.zoneOf(leaving), this.#stage.zoneOf(entering)]
    return left === entered || this.#zonesOfCore[partition * this.#stage.zones.sizes.length + entered] === 0 ? 2 : 3
  }

  /** Changes only where there is a core, and only for who has moved. */
  worthsOf (holder: number): Worths {
    if (!this.#stage.isOpen) return worths.exchanged
    const [inCore, most] = [this.#inCore[holder] ?? 0, this.#mostOfCore?.[holder] ?? Infinity]
    return inCore < most ? worths.below : inCore === most ? worths.full : worths.above
  }

  get hasCore (): boolean { return this.#mostOfCore !== undefined }
  isDear (partition: number, holder: number): boolean { return this.gradeOf(partition, holder) === 2 && !this.#hasTooMany(holder) }
  #hasTooMany (holder: number): boolean { return (this.#inCore[holder] ?? 0) > (this.#mostOfCore?.[holder] ?? Infinity) }

  note (partition: number, holder: number, change: 1 | -1): void { if (this.hasCore && this.gradeOf(partition, holder) === 2) this.#inCore[holder]! += change }

  /** All who were in the core of a list, but those whom zones will not let stay there: the ones that were in most. */
  #findCore (core: number, most: readonly number[]): void {
    const { table, zones } = this.#stage
    const bounds = zoneBounds(zones.sizes, core)
    const had = new Int32Array(table.holders)
    for (let partition = 0; partition < table.partitions; partition++) for (const holder of this.#whoWasIn(core, partition)) had[holder]!++
    const fill = (holder: number): number => (had[holder] ?? 0) / Math.max(1, most[holder] ?? 0)
    for (let partition = 0; partition < table.partitions; partition++) {
      const counts = new Map<number, number>()
      let extras = bounds.extras
      for (const holder of this.#whoWasIn(core, partition).toSorted((a, b) => fill(a) - fill(b))) {
        const zone = this.#stage.zoneOf(holder)
        const count = counts.get(zone) ?? 0
        const isExtra = count >= (bounds.least[zone] ?? 0)
        if (count >= (bounds.most[zone] ?? 0) || (isExtra && extras === 0)) { had[holder]!--; continue }
        if (isExtra) extras--
        counts.set(zone, count + 1)
        this.#grades[partition * table.holders + holder] = 2
        this.#zonesOfCore[partition * zones.sizes.length + zone] = 1
      }
    }
  }

  #whoWasIn (core: number, partition: number): readonly number[] {
    const who: number[] = []
    for (let seat = 0; seat < core; seat++) if (this.#stage.table.whoSat(partition, seat) !== nobody) who.push(this.#stage.table.whoSat(partition, seat))
    return who
  }
}
