import { hexOf, partitionCount, utf8 } from '../../base/bytes.ts'
import type { Clock } from '../../base/clock.ts'
import { Unavailable } from '../../base/errors.ts'
import { hash } from '../../base/hash.ts'
import { detailsOf, objectAddress, type ObjectPlace } from '../change-object.ts'
import { withStored } from '../versions/history.ts'
import type { Bucket, Objects } from '../index.ts'
import { type CurrentVersion, decodeObjectRow, keptOf, type ObjectRow } from '../object-row.ts'
import type { ObjectParts } from '../ports.ts'
import { type HeldRow, OwnRows, type OwnRowsParts, type RowWalk } from './own-rows.ts'
import { type Form, isInForm, wantedForm } from '../versions/stored.ts'
import { VersionConversion } from './version-conversion.ts'

/**
 * What a bucket holds takes the redundancy that the bucket was set to. Members alone can: the list of a version's blocks is sealed, and so is the row that says how they
 * are kept. Each row has one member that looks after it (own-rows.ts), so all share the work and nothing is done twice; where two think
 * they are it, one compare-and-set wins.
 *
 * A *survey* walks this replica's rows of buckets that were changed, and lists versions in another form; they are read again before anything is done, and
 * converted one after the other, a few blocks a step. A survey follows that finds nothing, or what came meanwhile. What cannot be done now (a holder is away) is tried again.
 */
export interface ConversionParts extends Pick<ObjectParts, 'registers' | 'replication' | 'content' | 'versions' | 'blockPlaces' | 'warn'>, OwnRowsParts {
  readonly buckets: Pick<Objects, 'listBuckets'>
  readonly clock: Clock
  /** Blocks written side by side: fewer while users wait. */
  readonly atOnce?: () => number
}

export const conversionLimits = {
  /** Buckets are looked at for a change. */
  lookMs: 10_000,
  /** Changed buckets are walked without any reason: for what was being put while they were changed. */
  everyMs: 3_600_000,
  /** After something could not be converted. */
  retryMs: 60_000,
  /** Versions that one survey remembers; another finds the rest. */
  maxListed: 10_000,
  atOnce: 4,
} as const

export interface ConversionStatus {
  readonly phase: 'waiting' | 'surveying' | 'converting'
  readonly doneShare: number
  readonly doneBytes: number
  readonly totalBytes: number
  /** What this node looks after that is not as its bucket says, as the last whole survey found, less what was converted since; undefined: there was none since the start. */
  readonly found: { readonly versions: number, readonly bytes: number, readonly isAtLeast: boolean } | undefined
  /** Names of the buckets in which the last whole survey found something. */
  readonly buckets: readonly string[]
  /** Since the start. */
  readonly total: { readonly convertedVersions: number, readonly convertedBytes: number, readonly failures: number }
  /** Why the last version could not be converted; undefined: none failed since the last survey began. */
  readonly failure: string | undefined
  /** What the changed buckets were set to when they were last surveyed: equal where two nodes went by the same. */
  readonly surveyed: number
}

interface Listed { readonly place: ObjectPlace, readonly version: CurrentVersion }

interface Survey extends RowWalk { readonly listed: Listed[], readonly buckets: Set<string>, versions: number, bytes: number, isAtLeast: boolean, failure: unknown }

export class Conversion {
  readonly #parts: ConversionParts
  readonly #rows: OwnRows
  readonly #total = { convertedVersions: 0, convertedBytes: 0, failures: 0 }
  /** Those whose redundancy was changed, by id. */
  #changed = new Map<string, Bucket>()
  #survey: Survey | undefined
  #found: { versions: number, bytes: number, isAtLeast: boolean } | undefined
  #buckets: readonly string[] = []
  #list: Listed[] = []
  #job: { readonly of: Listed, readonly conversion: VersionConversion } | undefined
  #work = { doneBytes: 0, totalBytes: 0, converted: 0, failures: 0 }
  #failure: string | undefined
  #surveyed: number | undefined
  #lookMs = -Infinity
  #surveyMs = -Infinity
  #isAsked = false

  constructor (parts: ConversionParts) {
    this.#parts = parts
    this.#rows = new OwnRows(parts)
  }

  /** Everything is looked at as soon as possible. */
  now (): void { this.#isAsked = true }

  async step ({ signal }: { signal: AbortSignal }): Promise<'busy' | 'idle'> {
    if (this.#job !== undefined) { await this.#convert(this.#job, signal); return 'busy' }
    const nowMs = this.#parts.clock.monotonicMs()
    if (nowMs - this.#lookMs >= conversionLimits.lookMs || this.#isAsked) {
      this.#changed = new Map((await this.#parts.buckets.listBuckets({ signal })).flatMap((bucket) => bucket.original === undefined ? [] : [[bucket.id, bucket]]))
      this.#lookMs = nowMs
    }
    if (this.#survey === undefined && this.#isDue(nowMs)) this.#begin(nowMs)
    if (this.#survey !== undefined) { await this.#surveyPage(this.#survey, signal); return 'busy' }
    const next = this.#list.pop()
    if (next === undefined) return 'idle'
    await this.#take(next, signal)
    return 'busy'
  }

  /** What the changed buckets are set to now, in the words of `ConversionStatus.surveyed`. */
  async settings (wait: { signal?: AbortSignal } = {}): Promise<number> { return settingsOf((await this.#parts.buckets.listBuckets(wait)).filter(({ original }) => original !== undefined)) }

  /** Nothing is done any more; what is under way stays pending until it is given up. */
  [Symbol.dispose] (): void { this.#job?.conversion[Symbol.dispose]() }

  status (): ConversionStatus {
    const { doneBytes, totalBytes } = this.#work
    const phase = this.#survey !== undefined ? 'surveying' : this.#job !== undefined || this.#list.length > 0 ? 'converting' : 'waiting'
    const done = doneBytes + (this.#job?.conversion.doneBytes ?? 0)
    return {
      phase, doneBytes: done, totalBytes, failure: this.#failure, total: { ...this.#total }, surveyed: this.#surveyed === undefined || this.#found === undefined ? 0 : this.#surveyed,
      doneShare: this.#survey !== undefined ? this.#survey.partition / partitionCount : totalBytes === 0 ? 1 : Math.min(1, done / totalBytes),
      found: this.#found === undefined ? undefined : { ...this.#found }, buckets: this.#buckets,
    }
  }

  /** A change of a bucket ends the list under way; a survey that found something is followed by one that sees whether it is done. */
  #isDue (nowMs: number): boolean {
    if (this.#isAsked || settingsOf(this.#changed.values()) !== this.#surveyed) return true
    if (this.#list.length > 0) return false
    if (this.#work.failures > 0) return nowMs - this.#surveyMs >= conversionLimits.retryMs
    return this.#work.converted > 0 || this.#found?.isAtLeast === true || (this.#changed.size > 0 && nowMs - this.#surveyMs >= conversionLimits.everyMs)
  }

  #begin (nowMs: number): void {
    this.#isAsked = false
    this.#surveyed = settingsOf(this.#changed.values())
    this.#found = undefined
    this.#surveyMs = nowMs
    this.#list = []
    this.#failure = undefined
    this.#work = { doneBytes: 0, totalBytes: 0, converted: 0, failures: 0 }
    // nothing was changed: there is nothing to walk for
    this.#survey = { partition: this.#changed.size === 0 ? partitionCount : 0, after: undefined, listed: [], buckets: new Set(), versions: 0, bytes: 0, isAtLeast: false, failure: undefined }
  }

  async #surveyPage (survey: Survey, signal: AbortSignal): Promise<void> {
    if (!await this.#rows.step(survey, async (row) => this.#look(row, survey, signal), { signal })) return
    const { versions, bytes, isPartial = false } = survey
    // what could not be looked at may be anything
    const failure = survey.failure ?? (isPartial ? new Unavailable('the memory of some partitions of rows is lost here: what is in them is not known until they are taken over afresh') : undefined)
    this.#survey = undefined
    this.#found = { versions, bytes, isAtLeast: survey.isAtLeast || failure !== undefined }
    if (failure !== undefined) this.#failed(failure)
    this.#buckets = [...survey.buckets].toSorted()
    this.#list = survey.listed
    this.#work.totalBytes = survey.listed.reduce((sum, { version }) => sum + version.sizeBytes, 0)
  }

  async #look (held: HeldRow, survey: Survey, signal: AbortSignal): Promise<void> {
    const row = this.#rows.isOwn(held.rowKey) ? this.#rows.opened(held) : undefined
    const bucket = row === undefined ? undefined : this.#changed.get(hexOf(row.bucketId))
    if (row === undefined || bucket === undefined) return
    const place = { bucketId: hexOf(row.bucketId), key: row.key }
    try {
      for await (const version of versionsOf(this.#parts, place, row, { signal })) {
        if (isInForm(version, bucket)) continue
        survey.versions++
        survey.buckets.add(bucket.name)
        survey.bytes += version.sizeBytes
        if (survey.listed.length < conversionLimits.maxListed) survey.listed.push({ place, version })
        else survey.isAtLeast = true
      }
    } catch (error) {
      // the walk goes on behind this row
      survey.failure ??= error
      throw error
    }
  }

  /** What the row says by a majority now, which may be something else than this replica accepted. */
  async #take (listed: Listed, signal: AbortSignal): Promise<void> {
    const bucket = this.#changed.get(listed.place.bucketId)
    try {
      if (bucket !== undefined) this.#demandPlaces(wantedForm(bucket, listed.version.sizeBytes))
      const value = await this.#parts.registers.read(objectAddress(listed.place), { signal })
      const row = value === undefined || bucket === undefined ? undefined : decodeObjectRow(value)
      if (row !== undefined && bucket !== undefined) {
        for await (const version of versionsOf(this.#parts, listed.place, row, { signal })) {
          if (hexOf(version.salt) !== hexOf(listed.version.salt) || isInForm(version, bucket)) continue
          const of = { place: listed.place, version }
          this.#job = { of, conversion: new VersionConversion(this.#parts, { ...of, to: wantedForm(bucket, version.sizeBytes) }) }
          return
        }
      }
    } catch (error) {
      signal.throwIfAborted()
      this.#failed(error)
      return
    }
    this.#settled(listed.version)
  }

  /** What is begun where it cannot end would stand in the row, and on disks, until it is given up. */
  #demandPlaces ({ redundancy: { k, m } = { k: 1, m: 0 } }: Form): void {
    const places = this.#parts.blockPlaces()
    if (k > 1 && k + m > places) throw new Unavailable(`rs:${k}+${m} takes ${k + m} nodes that hold blocks, and there are ${places}`)
  }

  async #convert ({ of, conversion }: { of: Listed, conversion: VersionConversion }, signal: AbortSignal): Promise<void> {
    try {
      const outcome = await conversion.step({ atOnce: this.#parts.atOnce?.() ?? conversionLimits.atOnce, signal })
      if (outcome === 'busy') return
      this.#job = undefined
      if (outcome === 'converted') {
        this.#total.convertedVersions++
        this.#total.convertedBytes += of.version.sizeBytes
      }
      this.#settled(of.version)
    } catch (error) {
      signal.throwIfAborted()
      this.#job = undefined
      // what is begun stays: an id a try would be a death a try, and deaths are kept for good
      conversion[Symbol.dispose]()
      this.#failed(error)
    }
  }

  #settled ({ sizeBytes }: CurrentVersion): void {
    this.#work.converted++
    this.#work.doneBytes += sizeBytes
    if (this.#found === undefined) return
    this.#found.versions = Math.max(0, this.#found.versions - 1)
    this.#found.bytes = Math.max(0, this.#found.bytes - sizeBytes)
  }

  #failed (error: unknown): void {
    this.#work.failures++
    this.#total.failures++
    const failure = error instanceof Error ? error.message : String(error)
    if (failure !== this.#failure) this.#parts.warn('a version could not be converted now', error)
    this.#failure = failure
  }
}

/** 32 bits; never 0, which stands for nothing. */
function settingsOf (buckets: Iterable<Bucket>): number {
  const digest = hash(utf8([...buckets].map(({ id, copies, shards }) => `${id} ${copies} ${shards ?? ''}`).toSorted().join(', ')))
  return Math.max(1, new DataView(digest.buffer, digest.byteOffset).getUint32(0))
}

/** Everything that a row keeps, with what the row itself says of its blocks. */
async function * versionsOf (parts: Pick<ObjectParts, 'registers'>, place: ObjectPlace, row: ObjectRow, wait: { signal: AbortSignal }): AsyncIterable<CurrentVersion> {
  if (row.current !== undefined) yield row.current
  for (const kept of keptOf(row)) {
    if (!kept.hasBlocks) continue
    const details = await detailsOf(parts, place, kept, wait)
    if (details !== undefined) yield withStored(details.version, kept.stored)
  }
}
