import { ByteReader, ByteWriter, partitionCount } from '../../base/bytes.ts'
import { withDigest, withoutDigest } from '../../base/hash.ts'
import type { PeerId } from '../../base/peer-id.ts'
import { allVotersOf, type Assignment, type Layout, replicasOf, survivorsOf } from '../../cluster/index.ts'
import { FileMissing, type Files } from '../../disk/index.ts'
import { clearPartition } from '../../tables/clear-rows.ts'
import { mayMiss } from '../../tables/electorate.ts'
import type { Takeover } from '../../tables/hand-over.ts'
import type { RowStore } from '../../tables/index.ts'

/**
 * What this node takes over while a layout changes: partitions that it is to decide about and did not, and those whose memory it has lost. Which ones it had
 * lost is written down before the layout is adopted, for only those come back under it (tables/hand-over.ts).
 */
export class Takeovers {
  readonly #parts: TakeoversParts
  /** What is on disk. */
  #kept: Kept
  #known: { readonly layout: Layout, readonly takeover: Takeover } | undefined

  private constructor (parts: TakeoversParts, kept: Kept) {
    this.#parts = parts
    this.#kept = kept
  }

  static async open (parts: TakeoversParts): Promise<Takeovers> {
    return new Takeovers(parts, await readKept(parts.files))
  }

  /** Before a layout is adopted: what it had of partitions that it enters is from a time when it decided about them, and has since been decided without it. */
  async prepare (layout: Layout): Promise<void> {
    const { rows } = this.#parts
    if (layout.next === undefined) return
    const lost = new Set(rows.lostPartitions())
    const entered = this.#entered(layout).filter((partition) => partition !== clearPartition && !lost.has(partition))
    if (entered.length > 0) await this.#parts.leaving(entered)
    for (const partition of entered) await this.#parts.clearing(partition)
    if (entered.length > 0) await rows.clear(...entered)
    const kept = { version: layout.version, partitions: lost }
    await writeKept(this.#parts.files, kept)
    this.#kept = kept
    this.#known = undefined
  }

  of (layout: Layout): Takeover {
    if (this.#known?.layout !== layout) this.#known = { layout, takeover: this.#takeoverOf(layout) }
    return this.#known.takeover
  }

  #takeoverOf (layout: Layout): Takeover {
    const from = (partition: number): readonly PeerId[] => decidersAt(layout, partition)
    const { next, version } = layout
    if (next === undefined) return { version, partitions: [], restoring: new Set(), from }
    const isVoter = allVotersOf(next).includes(this.#parts.self)
    const restoring = isVoter && this.#kept.version === version ? this.#kept.partitions : new Set<number>()
    if (layout.recovery !== undefined) {
      // whoever is to decide has to have what any that is left has: also of what it decided about before
      const partitions = Array.from({ length: partitionCount }, (_, partition) => partition).filter((partition) => replicasOf(next, partition).includes(this.#parts.self))
      return { version, partitions: isVoter ? [...new Set([...partitions, clearPartition, ...restoring])] : [], restoring, from, isOfAll: true }
    }
    return { version, partitions: [...new Set([...this.#entered(layout), ...this.#missing(layout, next), ...restoring])], restoring, from }
  }

  /** Those that this node goes on deciding about, in so small a company that it may be one of a majority that missed something. */
  #missing (layout: Layout, next: Assignment): readonly number[] {
    return Array.from({ length: partitionCount + 1 }, (_, partition) => partition).filter((partition) => {
      const after = holdersAt(next, partition)
      return after.includes(this.#parts.self) && mayMiss(decidersAt(layout, partition), after)
    })
  }

  #entered (layout: Layout): readonly number[] {
    const { self } = this.#parts
    const { next } = layout
    if (next === undefined) return []
    const partitions = Array.from({ length: partitionCount }, (_, partition) => partition).filter((partition) => replicasOf(next, partition).includes(self) && !decidersAt(layout, partition).includes(self))
    return allVotersOf(next).includes(self) && !decidersAt(layout, clearPartition).includes(self) ? [...partitions, clearPartition] : partitions
  }
}

const holdersAt = (assignment: Assignment, partition: number): readonly PeerId[] => partition === clearPartition ? allVotersOf(assignment) : replicasOf(assignment, partition)

/** Who decided about a partition before; after a loss, those that are left. */
const decidersAt = (layout: Layout, partition: number): readonly PeerId[] =>
  layout.recovery === undefined ? holdersAt(layout, partition) : survivorsOf(layout, (assignment) => holdersAt(assignment, partition))

export interface TakeoversParts {
  readonly files: Files
  readonly rows: Pick<RowStore, 'clear' | 'lostPartitions'>
  readonly self: PeerId
  /** Nothing is answered about these partitions any more when it resolves, nor until the layout is adopted: what had been read before would be saved after, and stand again. */
  readonly leaving: (partitions: readonly number[]) => Promise<void>
  /** What is to go with the rows of a partition: names in the listing, that would else stand there after the rows are dead. */
  readonly clearing: (partition: number) => Promise<void>
}

/** `partitions`: lost before this version was adopted. */
interface Kept { readonly version: bigint, readonly partitions: ReadonlySet<number> }

const path = 'takeover'

/** u64 version | u16 n | n × u16 partition | H(all before). */
async function writeKept (files: Files, { version, partitions }: Kept): Promise<void> {
  const writer = new ByteWriter().u64(version).u16(partitions.size)
  for (const partition of partitions) writer.u16(partition)
  await files.writeDurable(path, [withDigest(writer.finish())])
}

async function readKept (files: Files): Promise<Kept> {
  const bytes = await files.read(path).catch((error: unknown) => { if (error instanceof FileMissing) return undefined; throw error })
  const body = bytes === undefined ? undefined : withoutDigest(bytes)
  // none, or damaged: nothing is known to have been lost before, so nothing comes back before the next change
  if (body === undefined) return { version: 0n, partitions: new Set() }
  const reader = new ByteReader(body)
  const version = reader.u64()
  return { version, partitions: new Set(Array.from({ length: reader.u16() }, () => reader.u16())) }
}
