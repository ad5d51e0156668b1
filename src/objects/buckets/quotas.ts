import { type Clock, deadline } from '../../base/clock.ts'
import type { BucketRow } from './bucket-row.ts'
import { QuotaExceeded } from '../errors.ts'
import type { ObjectParts } from '../ports.ts'
import { bytesUnderWay } from '../uploads/under-way.ts'
import { everyVersion } from '../versions/version-listing.ts'

/**
 * Quotas of buckets, by counts that are as old as it takes to make them: every node lists a bucket with a quota now and then while it puts into it, and adds what
 * it puts itself meanwhile. So a quota can be passed by what other nodes put between two counts, and by nothing else; what is refused has been counted anew.
 * Parts of an upload that is under way are bytes of the bucket, and no object, until it is completed.
 */
export class Quotas {
  readonly #parts: Omit<ObjectParts, 'quotas'>
  readonly #counts = new Map<string, Count>()

  constructor (parts: Omit<ObjectParts, 'quotas'>) { this.#parts = parts }

  /** @throws QuotaExceeded if so many bytes (in one more object, unless they are a part) are too much, by what is known */
  async demandRoom (bucket: BucketRow, sizeBytes: number, { objects = 1 }: { objects?: 0 | 1 } = {}): Promise<void> { await this.#room(bucket, { bytes: sizeBytes, objects }, () => {}) }

  /**
   * As `demandRoom`, and the room is taken: of many that commit at once none passes by what the others are about to. What is kept counts from then on; what is not
   * when it is disposed is given back. @throws QuotaExceeded
   */
  async claim (bucket: BucketRow, sizeBytes: number, { objects = 1 }: { objects?: 0 | 1 } = {}): Promise<Claim> {
    const wanted = { bytes: sizeBytes, objects }
    let claim = noClaim
    await this.#room(bucket, wanted, (count) => { claim = count.claim(wanted) })
    return claim
  }

  /** `take` is called in the moment in which it was found that there is room. */
  async #room (bucket: BucketRow, wanted: Amount, take: (count: Count) => void): Promise<void> {
    const { quotaBytes, quotaObjects } = bucket.settings ?? {}
    if (quotaBytes === undefined && quotaObjects === undefined) return
    const count = this.#countOf(bucket)
    const { clock } = this.#parts
    if (count.isDue(clock)) await waited(clock, count.again(this.#parts, bucket), count.isKnown ? 0 : quotaLimits.firstCountMs)
    if (fits(count, bucket, wanted)) { take(count); return }
    // what was removed since may have made room
    await waited(clock, count.anew(this.#parts, bucket), quotaLimits.recountMs)
    if (fits(count, bucket, wanted)) { take(count); return }
    const used = `it has ${count.bytes} bytes in ${count.objects} objects${count.partBytes === 0 ? '' : ` and uploads that are under way (${count.partBytes})`}`
    throw new QuotaExceeded(`bucket "${bucket.name}" is full: ${used}, and may have ${quotaBytes === undefined ? '' : `${quotaBytes} bytes`}${quotaBytes === undefined || quotaObjects === undefined ? '' : ' and '}${quotaObjects === undefined ? '' : `${quotaObjects} objects`}; nothing was stored`)
  }

  #countOf ({ id }: BucketRow): Count {
    const known = this.#counts.get(id) ?? new Count()
    // the one that was used longest ago goes
    this.#counts.delete(id)
    if (this.#counts.size >= quotaLimits.maxBuckets) for (const [oldest] of this.#counts) { this.#counts.delete(oldest); break }
    this.#counts.set(id, known)
    return known
  }
}

export interface Claim extends Disposable {
  /** It was committed. */
  keep (): void
}

const noClaim: Claim = { keep: () => {}, [Symbol.dispose]: () => {} }

export const quotaLimits = {
  /** A put waits so long for the first count of its bucket, and for a new one before it is refused; then what is known decides. */
  firstCountMs: 1000,
  recountMs: 5000,
  /** A count holds for so long, and for twenty times what it took. */
  everyMs: 60_000,
  restShare: 20,
  maxBuckets: 1000,
} as const

interface Amount { readonly bytes: number, readonly objects: number }

const fits = (count: Count, { settings: { quotaBytes = Number.POSITIVE_INFINITY, quotaObjects = Number.POSITIVE_INFINITY } = {} }: BucketRow, { bytes, objects }: Amount): boolean =>
  count.bytes + bytes <= quotaBytes && (objects === 0 || count.objects + objects <= quotaObjects)

/** What a bucket has, as it was last counted, with what this node has put since the count began. */
class Count {
  #counted = { bytes: 0, objects: 0 }
  #added = { bytes: 0, objects: 0 }
  /** Taken, and not committed yet. */
  readonly #claimed = { bytes: 0, objects: 0 }
  #last: { readonly atMs: number, readonly tookMs: number } | undefined
  #counting: Promise<void> | undefined
  #next: Promise<void> | undefined
  /** Of `bytes`, as it was last counted: of uploads under way. */
  partBytes = 0

  get bytes (): number { return this.#counted.bytes + this.#added.bytes + this.#claimed.bytes }
  get objects (): number { return this.#counted.objects + this.#added.objects + this.#claimed.objects }
  get isKnown (): boolean { return this.#last !== undefined }

  isDue (clock: Clock): boolean {
    if (this.#last === undefined) return true
    return clock.monotonicMs() - this.#last.atMs >= Math.max(quotaLimits.everyMs, quotaLimits.restShare * this.#last.tookMs)
  }

  claim ({ bytes, objects }: Amount): Claim {
    let isOpen = true
    const move = (to: { bytes: number, objects: number } | undefined): void => {
      if (!isOpen) return
      isOpen = false
      this.#claimed.bytes -= bytes
      this.#claimed.objects -= objects
      if (to === undefined) return
      to.bytes += bytes
      to.objects += objects
    }
    this.#claimed.bytes += bytes
    this.#claimed.objects += objects
    return { keep: () => { move(this.#added) }, [Symbol.dispose]: () => { move(undefined) } }
  }

  /** One count at a time. Never rejects: one that fails leaves what was known. */
  async again (parts: Omit<ObjectParts, 'quotas'>, bucket: BucketRow): Promise<void> {
    this.#counting ??= this.#count(parts, bucket)
      .catch((error: unknown) => { parts.warn(`bucket "${bucket.name}" could not be counted for its quota`, error) })
      .finally(() => { this.#counting = undefined })
    return this.#counting
  }

  /** By a count that begins after the call: the one under way may have counted already what has been removed since. */
  async anew (parts: Omit<ObjectParts, 'quotas'>, bucket: BucketRow): Promise<void> {
    this.#next ??= (this.#counting ?? Promise.resolve()).then(async () => {
      this.#next = undefined
      return this.again(parts, bucket)
    })
    return this.#next
  }

  async #count (parts: Omit<ObjectParts, 'quotas'>, bucket: BucketRow): Promise<void> {
    const startMs = parts.clock.monotonicMs()
    const before = { ...this.#added }
    // first: an upload that is completed meanwhile is counted twice, and not left out
    const partBytes = await bytesUnderWay(parts, bucket)
    const counted = { bytes: partBytes, objects: 0 }
    for await (const { sizeBytes, isDeleteMarker } of everyVersion(parts, bucket, {})) {
      counted.bytes += sizeBytes
      if (!isDeleteMarker) counted.objects++
    }
    this.#counted = counted
    this.partBytes = partBytes
    // what was put meanwhile may be in the count already: then the bucket seems fuller than it is, until the next
    this.#added = { bytes: this.#added.bytes - before.bytes, objects: this.#added.objects - before.objects }
    this.#last = { atMs: parts.clock.monotonicMs(), tookMs: parts.clock.monotonicMs() - startMs }
  }
}

async function waited (clock: Clock, work: Promise<void>, mostMs: number): Promise<void> {
  if (mostMs === 0) return
  using limit = deadline(clock, mostMs, { what: 'counting a bucket' })
  await Promise.race([work, new Promise<void>((resolve) => { limit.signal.addEventListener('abort', () => { resolve() }, { once: true }) })])
}
