import type { Cid } from '../base/cid.ts'
import type { Inventory } from '../blockstore/inventory.ts'
import type { Holder, Placement, Reference } from './index.ts'
import { repairLimits } from './repair-limits.ts'
import { type Listed, VersionsAtRisk } from './repair-list.ts'
import { type BlockPlan, isWork } from './repair-plan.ts'
import type { Seen } from './repair-view.ts'
import { asCopies, enoughOf, isShardWork, type ShardPlan } from './shard-plan.ts'

export interface RepairFound {
  readonly layoutVersion: bigint
  readonly versionsAtRisk: number
  /** There are more. */
  readonly isAtLeast: boolean
  readonly shortBlocks: number
  /** Of those, blocks of which no copy is known to live: those who have one are away, or it is lost. */
  readonly goneBlocks: number
  /** Of which the redundancy asks for more nodes than there are that hold blocks: they have as many copies or shards as can be, and their versions are at risk. */
  readonly narrowBlocks: number
  /** Here, and to be given up: the layout has moved, or this node was a substitute. */
  readonly misplacedBlocks: number
  readonly misplacedBytes: number
}

/** A block to work on, and how many of its copies survive. */
export interface Work { readonly item: Listed, readonly surviving: number }

type IsAtRisk = (reference: Reference) => boolean

export interface FindingsParts {
  readonly holder: Pick<Holder, 'references'>
  readonly inventory: Pick<Inventory, 'sizeOf'>
  readonly placement: Placement & { version (): bigint }
}

/** What a survey finds, less what is mended afterwards. */
export class Findings {
  readonly atRisk = new VersionsAtRisk()
  readonly #parts: FindingsParts
  readonly #layoutVersion: bigint
  #shortBlocks = 0
  #goneBlocks = 0
  #narrowBlocks = 0
  #misplacedBlocks = 0
  #misplacedBytes = 0

  constructor (parts: FindingsParts) {
    this.#parts = parts
    this.#layoutVersion = parts.placement.version()
  }

  get shortBlocks (): number { return this.#shortBlocks }
  get narrowBlocks (): number { return this.#narrowBlocks }
  get misplacedBlocks (): number { return this.#misplacedBlocks }

  /** Counts what is wrong with it, and gives what is to be worked on. */
  async note ({ cid, plan, shardPlans, isStranded }: Seen): Promise<readonly Work[]> {
    const works: Work[] = []
    if (isStranded) this.#misplaced(await this.#parts.inventory.sizeOf(cid))
    if (plan !== undefined) works.push(...await this.#noteBlock(cid, plan))
    for (const shardPlan of shardPlans) works.push(...await this.#noteShards(cid, shardPlan))
    return works
  }

  /** It has as many copies, or shards, as it should. `isAtRisk`: as when it was found short; a version that it was no risk to may have other blocks that are. */
  async mended (cid: Cid, isAtRisk: IsAtRisk): Promise<void> {
    this.#shortBlocks = Math.max(0, this.#shortBlocks - 1)
    for await (const { versionId } of this.#referencesAtRisk(cid, isAtRisk)) this.atRisk.mended(versionId)
  }

  /** A block, or a shard of one, that did not belong here is gone. */
  released (bytes: number): void {
    this.#misplacedBlocks = Math.max(0, this.#misplacedBlocks - 1)
    this.#misplacedBytes = Math.max(0, this.#misplacedBytes - bytes)
  }

  told (): RepairFound {
    return {
      layoutVersion: this.#layoutVersion, versionsAtRisk: this.atRisk.count, isAtLeast: this.atRisk.isTruncated,
      shortBlocks: this.#shortBlocks, goneBlocks: this.#goneBlocks, narrowBlocks: this.#narrowBlocks, misplacedBlocks: this.#misplacedBlocks,
      // the index may lack how long a file is, and a node is empty where this is 0
      misplacedBytes: Math.max(this.#misplacedBytes, Math.min(1, this.#misplacedBlocks)),
    }
  }

  async #noteBlock (cid: Cid, plan: BlockPlan): Promise<readonly Work[]> {
    const { surviving, wanted, asked, isMisplaced } = plan
    const isShort = surviving < wanted
    const places = this.#placesOf(cid)
    if (asked > places) await this.#narrow(cid, ({ redundancy: { k, m } }) => k === 1 && k + m > places)
    const isAtRisk: IsAtRisk = ({ redundancy: { k, m } }) => k === 1 && surviving < Math.min(k + m, places)
    if (isShort) await this.#short(cid, { isGone: surviving === 0, isAtRisk })
    return this.#work({ cid, isShort, isAtRisk, isWork: isWork(plan), isMisplaced, surviving })
  }

  async #noteShards (cid: Cid, plan: ShardPlan): Promise<readonly Work[]> {
    const { surviving, wanted, redundancy: { k, m }, misplaced } = plan
    const places = this.#placesOf(cid)
    const isShort = surviving < enoughOf(plan, places)
    const isOfCode = ({ redundancy }: Reference): boolean => redundancy.k === k && redundancy.m === m
    if (wanted > places) await this.#narrow(cid, isOfCode)
    if (isShort) await this.#short(cid, { isGone: surviving < k, isAtRisk: isOfCode })
    return this.#work({ cid, isShort, isAtRisk: isOfCode, isWork: isShardWork(plan), isMisplaced: misplaced > 0, surviving: asCopies(plan) })
  }

  #misplaced (bytes: number): void {
    this.#misplacedBlocks++
    this.#misplacedBytes += bytes
  }

  #placesOf (cid: Cid): number { return new Set(this.#parts.placement.holdersOf(cid)).size }

  async #short (cid: Cid, { isGone, isAtRisk }: { isGone: boolean, isAtRisk: IsAtRisk }): Promise<void> {
    this.#shortBlocks++
    if (isGone) this.#goneBlocks++
    await this.#versionsAtRisk(cid, isAtRisk)
  }

  /** No work brings more than there are places for: that it is at risk stays until more nodes hold blocks, or its bucket asks less. */
  async #narrow (cid: Cid, isAtRisk: IsAtRisk): Promise<void> {
    this.#narrowBlocks++
    await this.#versionsAtRisk(cid, isAtRisk)
  }

  async #versionsAtRisk (cid: Cid, isAtRisk: IsAtRisk): Promise<void> {
    for await (const { versionId } of this.#referencesAtRisk(cid, isAtRisk)) this.atRisk.add(versionId)
  }

  async * #referencesAtRisk (cid: Cid, isAtRisk: IsAtRisk): AsyncIterable<Reference> {
    let read = 0
    for await (const reference of this.#parts.holder.references(cid)) {
      if (isAtRisk(reference)) yield reference
      if (++read === repairLimits.versionsOfBlock) break
    }
  }

  async #work ({ cid, isShort, isAtRisk, isWork, isMisplaced, surviving }: { cid: Cid, isShort: boolean, isAtRisk: IsAtRisk, isWork: boolean, isMisplaced: boolean, surviving: number }): Promise<readonly Work[]> {
    if (!isWork && !isMisplaced) return []
    const bytes = await this.#parts.inventory.sizeOf(cid)
    if (isMisplaced) this.#misplaced(bytes)
    return isWork ? [{ item: { cid, bytes, isShort, ...isShort ? { isAtRisk } : {} }, surviving }] : []
  }
}
