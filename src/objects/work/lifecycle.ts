import { hexOf } from '../../base/bytes.ts'
import { NotFound, Refused } from '../../base/errors.ts'
import type { BucketRow } from '../buckets/bucket-row.ts'
import type { Buckets } from '../buckets/buckets.ts'
import { changeObject, detailsOf, type KnownDetails, objectAddress, type ObjectPlace, type ObjectStep } from '../change-object.ts'
import { placeIn } from '../commit.ts'
import { LockedVersion, VersionLost } from '../errors.ts'
import { withDeleted } from '../versions/history.ts'
import type { LifecycleRule } from '../buckets/bucket-settings.ts'
import type { Uploads, VersionPage } from '../index.ts'
import { type Expiry, expiriesOf, isUploadDue } from '../buckets/lifecycle-rules.ts'
import { keepingOf } from '../versions/keeping.ts'
import { demandUnlocked } from '../versions/locks.ts'
import { type CurrentVersion, decodeObjectRow, type KeptVersion, keptOf, type ObjectRow } from '../object-row.ts'
import type { ObjectParts } from '../ports.ts'
import { foundIn } from '../reading.ts'
import { stepWithout } from '../removing.ts'
import { isSameVersion, type Versions } from '../versions/version.ts'
import { everyVersion } from '../versions/version-listing.ts'

/**
 * Buckets' rules by which things expire. All buckets are walked in turn, a few keys a step; what is due is removed by compare-and-set, on condition that it is
 * still what was seen. A date deletes here: so it is a majority of voters' clocks that says it is past, asked afresh for every step, and nothing happens without.
 */
export interface LifecycleParts extends ObjectParts {
  /** One node at a time is enough; two do no harm. */
  readonly isTurn: () => boolean
}

export const lifecycleLimits = {
  /** Buckets are walked anew. */
  everyMs: 3_600_000,
  /** Keys looked at in one step. */
  keysAtOnce: 100,
} as const

/** In the shape of all background work: a small unit, then busy or idle. */
export interface Lifecycle {
  step (wait: { signal?: AbortSignal }): Promise<'busy' | 'idle'>
  /** Walks all buckets as soon as may be. */
  now (): void
}

export function lifecycleOf (parts: LifecycleParts, buckets: Buckets, uploads: Pick<Uploads, 'list' | 'abort'>): Lifecycle {
  const walk = new Walk(parts, buckets, uploads)
  return { step: async (wait) => walk.step(wait), now: () => { walk.now() } }
}

/** A bucket, as far as it has been walked. */
interface Walked { readonly bucket: BucketRow, readonly keys: AsyncIterator<KeyVersions> }

class Walk {
  readonly #parts: LifecycleParts
  readonly #buckets: Buckets
  readonly #uploads: Pick<Uploads, 'list' | 'abort'>
  #startedMs: number | undefined
  #left: string[] = []
  #current: Walked | undefined

  constructor (parts: LifecycleParts, buckets: Buckets, uploads: Pick<Uploads, 'list' | 'abort'>) {
    this.#parts = parts
    this.#buckets = buckets
    this.#uploads = uploads
  }

  now (): void { this.#startedMs = undefined }

  async step (wait: { signal?: AbortSignal }): Promise<'busy' | 'idle'> {
    if (!this.#parts.isTurn()) { this.#current = undefined; this.#left = []; return 'idle' }
    if (this.#current !== undefined) return this.#keys(this.#current, wait)
    const name = this.#left.shift()
    if (name !== undefined) return this.#enter(name, wait)
    const nowMs = this.#parts.clock.monotonicMs()
    if (this.#startedMs !== undefined && nowMs - this.#startedMs < lifecycleLimits.everyMs) return 'idle'
    this.#left = (await this.#buckets.list(wait)).map(({ name: each }) => each)
    this.#startedMs = nowMs
    return 'busy'
  }

  async #enter (name: string, wait: { signal?: AbortSignal }): Promise<'busy'> {
    const bucket = await this.#bucket(name)
    if (bucket === undefined || rulesOf(bucket).length === 0) return 'busy'
    if (rulesOf(bucket).some(({ abortUploadsDays }) => abortUploadsDays !== undefined)) await this.#abortUploads(bucket, wait)
    this.#current = { bucket, keys: byKey(everyVersion(this.#parts, bucket, wait))[Symbol.asyncIterator]() }
    return 'busy'
  }

  /** Its rules as they are now; undefined: it has gone, or is another one. */
  async #bucket (name: string, id?: string): Promise<BucketRow | undefined> {
    try {
      const bucket = await this.#buckets.active(name)
      return id === undefined || bucket.id === id ? bucket : undefined
    } catch (error) {
      if (error instanceof NotFound) return undefined
      throw error
    }
  }

  async #keys ({ bucket: { name, id }, keys }: Walked, wait: { signal?: AbortSignal }): Promise<'busy'> {
    this.#current = undefined
    const bucket = await this.#bucket(name, id)
    const rules = bucket === undefined ? [] : rulesOf(bucket)
    if (bucket === undefined || rules.length === 0) { await keys.return?.(); return 'busy' }
    const pastMs = await this.#parts.dates.past(wait)
    for (let looked = 0; looked < lifecycleLimits.keysAtOnce; looked++) {
      const next = await keys.next()
      if (next.done === true) return 'busy'
      for (const expiry of expiriesOf(next.value, rules, pastMs)) {
        await expire(this.#parts, bucket, expiry, pastMs, wait).catch((error: unknown) => {
          // its row is full, or one of its versions lost; neither what makes room in it nor any other key must wait for it
          if (!(error instanceof Refused) && !(error instanceof VersionLost)) throw error
          this.#parts.warn(`"${expiry.version.key}" of bucket "${bucket.name}" could not expire now`, error)
        })
      }
    }
    this.#current = { bucket, keys }
    return 'busy'
  }

  async #abortUploads (bucket: BucketRow, wait: { signal?: AbortSignal }): Promise<void> {
    const pastMs = await this.#parts.dates.past(wait)
    for (let after: Awaited<ReturnType<Uploads['list']>>['next'], more = true; more;) {
      const page = await this.#uploads.list(bucket.name, { ...wait, after })
      for (const { key, uploadId, initiated } of page.uploads) {
        if (!isUploadDue({ key, initiated }, rulesOf(bucket), pastMs)) continue
        await this.#uploads.abort({ bucket: bucket.name, key }, uploadId, wait).catch((error: unknown) => { if (!(error instanceof NotFound)) throw error }) // whoever was quicker has ended it
      }
      after = page.next
      more = after !== undefined
    }
  }
}

const rulesOf = ({ settings }: BucketRow): readonly LifecycleRule[] => settings?.lifecycle?.filter(({ isEnabled }) => isEnabled) ?? []

type KeyVersions = VersionPage['versions']

async function * byKey (versions: AsyncIterable<KeyVersions[number]>): AsyncIterable<KeyVersions> {
  let gathered: Array<KeyVersions[number]> = []
  for await (const version of versions) {
    if (gathered.length > 0 && gathered[0]?.key !== version.key) { yield gathered; gathered = [] }
    gathered.push(version)
  }
  if (gathered.length > 0) yield gathered
}

/** If it is still what was seen, has the tags, and is not locked: by the majority's date and this node's own clock, for either may refuse. */
async function expire (parts: LifecycleParts, bucket: BucketRow, expiry: Expiry, pastMs: number, wait: { signal?: AbortSignal }): Promise<void> {
  const { kind, version: { key, versionId, modified }, tags } = expiry
  const marker = { ...parts.versions.fresh(), modifiedMs: await parts.dates.present(wait) }
  const nowMs = Math.min(pastMs, parts.clock.wallMs())
  const hasTags = ({ attributes }: Pick<CurrentVersion, 'attributes'>): boolean => tags.every(([name, value]) => attributes?.tags?.some((tag) => tag[0] === name && tag[1] === value))
  const decide = (row: ObjectRow, details: KnownDetails): ObjectStep<unknown> => {
    const found = foundIn(row, versionId, parts.versions)
    const isCurrent = found !== undefined && 'content' in found
    if (found === undefined || isCurrent !== (kind === 'current')) return { kind: 'keep', result: undefined }
    if (isCurrent) {
      // a copy onto itself has made it young again
      if (!hasTags(found) || new Date(found.modifiedMs).toISOString() !== modified) return { kind: 'keep', result: undefined }
      const keeping = keepingOf(row, bucket.settings?.versioning, details)
      if ('about' in keeping) return { kind: 'ask', about: keeping.about }
      const { marker: _, ...to } = withDeleted(row, marker, keeping.versioning)
      return { kind: 'move', to, result: undefined }
    }
    if (expiry.kind === 'version' && expiry.under !== undefined && !isUnder(row, found, expiry.under, parts.versions)) return { kind: 'keep', result: undefined }
    if (tags.length > 0) {
      const own = details(found)
      if (own === undefined) return { kind: 'ask', about: found }
      if (!hasTags(own.version)) return { kind: 'keep', result: undefined }
    }
    // of what is under it a delete marker would be the only trace
    if (found.isDeleteMarker && row.current === undefined && keptOf(row).length > 1 && hexOf(found.salt) === hexOf(keptOf(row)[0]?.salt ?? found.salt)) return { kind: 'keep', result: undefined }
    return stepWithout(row, found, details, { ...parts, check: (attributes) => { demandUnlocked(attributes, { nowMs }) } })
  }
  const place = placeIn(bucket, key)
  try {
    if (await mayMove(parts, place, decide, wait)) await changeObject<unknown>(parts, place, decide, wait)
  } catch (error) {
    // it goes when its lock has ended
    if (!(error instanceof LockedVersion)) throw error
  }
}

/** A look, which promises nothing: what is old enough and stays, as it has not the tags or is locked, is come to with every walk, and a promise is a write on a majority's disks. */
async function mayMove (parts: LifecycleParts, place: ObjectPlace, decide: (row: ObjectRow, details: KnownDetails) => ObjectStep<unknown>, wait: { signal?: AbortSignal }): Promise<boolean> {
  const value = await parts.registers.read(objectAddress(place), wait)
  if (value === undefined) return false
  const row = decodeObjectRow(value)
  const step = decide(row, () => undefined)
  if (step.kind !== 'ask') return step.kind === 'move'
  const own = await detailsOf(parts, place, step.about, wait)
  return own === undefined || decide(row, (kept) => isSameVersion(kept, step.about) ? own : undefined).kind !== 'keep'
}

/** What was seen on top of it is above it still: so it has not been current since. And it is not among the newest that are kept. */
function isUnder (row: ObjectRow, found: CurrentVersion | KeptVersion, { newest, noncurrent }: { readonly newest: string, readonly noncurrent: number }, versions: Pick<Versions, 'idOf'>): boolean {
  const all = [...row.current === undefined ? [] : [row.current], ...keptOf(row)]
  const above = all.slice(0, all.indexOf(found))
  return above.length > noncurrent && above.some((version) => hexOf(versions.idOf(version)) === newest)
}
