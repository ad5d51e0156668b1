import { hexOf } from '../base/bytes.ts'
import type { Cid } from '../base/cid.ts'
import type { Reference } from './index.ts'

export const repairListLimits = {
  /** Blocks that one sweep remembers to work on: some 100 bytes each. */
  maxListed: 100_000,
  /** Versions at risk that are told apart; beyond them it is "at least". */
  maxVersions: 10_000,
} as const

export interface Listed {
  readonly cid: Cid
  readonly bytes: number
  /** Fewer copies live than its redundancy asks. */
  readonly isShort: boolean
  /** Which versions that is a risk to. */
  readonly isAtRisk?: (reference: Reference) => boolean
  /** Somebody said that something is wrong with it. */
  readonly isReported?: boolean
}

/** Blocks to work on, fewest surviving copies first. When it is full those with most copies give way: the next sweep finds them again. */
export class RepairList {
  readonly #bySurviving: Listed[][] = []
  #count = 0
  #isFull = false

  get count (): number { return this.#count }
  /** Some were left out. */
  get isFull (): boolean { return this.#isFull }

  /** What comes next is short, and has one copy left, or none that is known. */
  get isUrgent (): boolean { return this.#bySurviving.slice(0, 2).find((items) => items !== undefined && items.length > 0)?.at(-1)?.isShort === true }

  add (item: Listed, surviving: number): void {
    if (this.#count >= repairListLimits.maxListed) {
      this.#isFull = true
      const last = this.#bySurviving.findLastIndex((items) => items !== undefined && items.length > 0)
      if (last <= surviving) return
      this.#bySurviving[last]?.pop()
      this.#count--
    }
    const items = this.#bySurviving[surviving] ??= []
    items.push(item)
    this.#count++
  }

  take (count: number): readonly Listed[] {
    const taken: Listed[] = []
    for (const items of this.#bySurviving) {
      if (items === undefined) continue
      taken.push(...items.splice(Math.max(0, items.length - (count - taken.length))))
      if (taken.length === count) break
    }
    this.#count -= taken.length
    return taken
  }
}

/** Versions of which a block has fewer copies than it should, and how many such blocks each has. */
export class VersionsAtRisk {
  readonly #blocks = new Map<string, number>()
  #isTruncated = false

  get count (): number { return this.#blocks.size }
  /** There are more than were counted. */
  get isTruncated (): boolean { return this.#isTruncated }
  ids (most: number): readonly string[] { return [...this.#blocks.keys()].slice(0, most) }

  add (versionId: Uint8Array): void {
    const id = hexOf(versionId)
    const known = this.#blocks.get(id)
    if (known === undefined && this.#blocks.size >= repairListLimits.maxVersions) { this.#isTruncated = true; return }
    this.#blocks.set(id, (known ?? 0) + 1)
  }

  /** One of its blocks has all its copies again. */
  mended (versionId: Uint8Array): void {
    const id = hexOf(versionId)
    const left = (this.#blocks.get(id) ?? 0) - 1
    if (left > 0) this.#blocks.set(id, left)
    else this.#blocks.delete(id)
  }
}
