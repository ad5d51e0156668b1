import { hexOf } from '../../src/base/bytes.ts'
import type { Cid } from '../../src/base/cid.ts'
import { systemClock } from '../../src/base/clock.ts'
import { Unavailable, UnknownOutcome } from '../../src/base/errors.ts'
import { hash } from '../../src/base/hash.ts'
import { type Random, seededRandom } from '../../src/base/random.ts'
import { type ObjectInfo, type ObjectName, type ObjectParts, type Objects, objectStore } from '../../src/objects/index.ts'
import { decodeBucketRow } from '../../src/objects/buckets/bucket-row.ts'
import { decodeObjectRow, keptOf, type ObjectRow } from '../../src/objects/object-row.ts'
import { type Change, type RowAddress, tables } from '../../src/tables/index.ts'
import { objectWorld, type ObjectWorld } from './object-parts.ts'
import { registersWith } from './other-registers.ts'

/** A rule of the engine taken out, by giving it other parts. */
export interface ObjectVariant {
  readonly parts?: (parts: ObjectParts) => ObjectParts
  readonly undo?: () => void
}

/** What clients were told, and what became of ids, which name what a version's blocks are kept for. */
export interface ObjectLedger {
  /** Acknowledged, by version id; of some nobody can say what they hold. */
  readonly made: Map<string, ObjectName & { readonly text: string | undefined }>
  readonly removed: Set<string>
  /** Of versions whose tags are known. */
  readonly tags: Map<string, string>
  /** By id, the blocks whose holders record it. */
  readonly recorded: Map<string, Set<Cid>>
  /** Ids whose deaths were published. */
  readonly dead: Set<string>
}

/** The id that a version's blocks are kept for follows from its salt. */
export const idOf = ({ salt }: { readonly salt: Uint8Array }): string => hexOf(hash(salt))
const shortOf = (id: string): string => id.slice(0, 6)

/**
 * Two nodes over the same rows and blocks, each step of which begins, and is answered, some turns later, at moments that a seed decides; with faults some changes of rows do
 * not happen, or nobody knows, and some blocks are not stored. Holders that are asked to adopt blocks have not all of them.
 */
export class ObjectStage {
  readonly world: ObjectWorld = objectWorld()
  readonly ledger: ObjectLedger = { made: new Map(), removed: new Set(), tags: new Map(), recorded: new Map(), dead: new Set() }
  /** What was done, and every change of a row. */
  readonly events: string[] = []
  /** As the engine is given them. */
  readonly parts: ObjectParts
  readonly nodes: readonly Objects[]
  readonly tagging = new Set<string>()
  readonly uploads: Array<{ readonly at: ObjectName, readonly uploadId: string }> = []
  readonly #random: Random
  #nowMs = 1_700_000_000_000
  #count = 0

  constructor ({ seed, hasFaults, variant }: { seed: number, hasFaults: boolean, variant?: ObjectVariant | undefined }) {
    this.world.places = 8
    this.#random = seededRandom(seed)
    const parts = this.#unhurried(hasFaults)
    this.parts = variant?.parts?.(parts) ?? parts
    this.nodes = [0, 1].map(() => objectStore(this.parts, { minPartBytes: 1, leastAppendedBytes: 8 }))
  }

  get node (): Objects { return this.of(this.nodes) as Objects }
  get rows (): readonly ObjectRow[] { return this.world.registers.valuesOf(tables.objects).map(decodeObjectRow) }

  below (limit: number): number { return Math.floor(this.#random.fraction() * limit) }
  of<T> (items: readonly T[]): T | undefined { return items[this.below(items.length)] }
  /** Equal to others in some of its blocks; of four bytes and less it has none. */
  text (): string { return `${this.#count++} ${'xyzw'.repeat(this.below(12))}` }
  say (what: string): void { this.events.push(what) }
  told (info: ObjectInfo, at: ObjectName, text?: string): void {
    this.say(`${at.bucket}/${at.key} has ${shortOf(info.versionId)}`)
    this.ledger.made.set(info.versionId, { ...at, text })
  }

  async pause (times = 1): Promise<void> {
    this.#nowMs += this.below(20)
    for (let turns = this.below(10 * times); turns > 0; turns--) await Promise.resolve()
  }

  #unhurried (hasFaults: boolean): ObjectParts {
    const { parts } = this.world
    const { registers, replication } = parts
    const breaks = (): boolean => hasFaults && this.below(40) === 0
    const slow = async <T>(act: () => Promise<T>): Promise<T> => { await this.pause(); const result = await act(); await this.pause(); return result }
    return {
      ...parts,
      // hours do not come
      clock: { ...systemClock, wallMs: () => this.#nowMs, monotonicMs: () => this.#nowMs, after: (durationMs, act) => durationMs === 0 ? systemClock.after(0, act) : () => {} },
      dates: { present: async () => Promise.resolve(this.#nowMs), past: async () => Promise.resolve(this.#nowMs) },
      registers: registersWith(registers, {
        read: async (...args) => slow(async () => registers.read(...args)),
        list: async (...args) => slow(async () => registers.list(...args)),
        change: async (address, change, options) => slow(async () => {
          if (breaks()) throw new Unavailable('no majority')
          const result = await registers.change(address, this.#noted(address, change), options)
          if (breaks()) { this.say('nobody knows whether it was written'); throw new UnknownOutcome('no answer') }
          return result
        }),
      }),
      replication: {
        ...replication,
        writer: (reference, options) => {
          const writer = replication.writer(reference, options)
          const id = hexOf(reference.versionId)
          const record = (cid: Cid): void => { this.ledger.recorded.set(id, (this.ledger.recorded.get(id) ?? new Set()).add(cid)) }
          return {
            ...writer,
            put: async (cid, ...block) => { await this.pause(); record(cid); if (breaks()) throw new Unavailable('no quorum'); await writer.put(cid, ...block) },
            adopt: async (cids, ...wait) => { const some = cids.filter(() => this.below(3) > 0); some.forEach(record); return writer.adopt(some, ...wait) },
          }
        },
      },
    }
  }

  #noted<T> (address: RowAddress, change: (value: Uint8Array | undefined, revision: bigint) => Change<T>): typeof change {
    return (value, revision) => {
      const decided = change(value, revision)
      if (decided.kind !== 'keep') this.say(`  ${rowText(address, decided.kind === 'write' ? decided.value : undefined)}`)
      return decided
    }
  }
}

function rowText ({ table, scope, key }: RowAddress, value: Uint8Array | undefined): string {
  const name = Buffer.from(key).toString()
  switch (table) {
    case tables.objects: return `row ${shortOf(hexOf(scope))}/${name}: ${value === undefined ? 'gone' : objectText(decodeObjectRow(value))}`
    case tables.buckets: return `bucket ${name}: ${value === undefined ? 'gone' : bucketText(value)}`
    default: return `a row of table ${table}${value === undefined ? ': gone' : ''}`
  }
}

function objectText (row: ObjectRow): string {
  const list = (versions: ReadonlyArray<{ readonly salt: Uint8Array }>): string => versions.map((version) => shortOf(idOf(version))).join(' ')
  return `pending [${list(row.pending)}] current [${list(row.current === undefined ? [] : [row.current])}] kept [${list(keptOf(row))}] dropped [${list(row.dropped)}]`
}

function bucketText (value: Uint8Array): string {
  const { id, state, removal = '', settings = {} } = decodeBucketRow(value)
  return `${shortOf(id)} ${state} ${shortOf(removal)} ${settings.versioning ?? 'no versions'}`
}
