import type { Clock } from '../../base/clock.ts'

export interface Rate {
  readonly perSecond: number
  /** What may come at once after a rest. */
  readonly burst: number
}

export interface RateLimitOptions extends Rate {
  readonly clock: Clock
  /** Names remembered; those that asked longest ago go first, and start afresh. */
  readonly maxNames?: number
}

export const rateLimits = {
  maxNames: 10_000,
} as const

interface Bucket {
  tokens: number
  atMs: number
}

/** A token bucket for each name, such as an address or an access key. Counts monotonic time. */
export class RateLimit {
  readonly #options: RateLimitOptions
  readonly #buckets = new Map<string, Bucket>()

  constructor (options: RateLimitOptions) { this.#options = options }

  /** Takes one. 0: granted; else the milliseconds until there is one, and none was taken. */
  take (name: string): number {
    const { perSecond } = this.#options
    const bucket = this.#bucketOf(name)
    if (bucket.tokens < 1) return Math.ceil((1 - bucket.tokens) * 1000 / perSecond)
    bucket.tokens -= 1
    return 0
  }

  /** What `take` would answer, taking nothing. */
  wait (name: string): number {
    const { tokens } = this.#bucketOf(name)
    return tokens >= 1 ? 0 : Math.ceil((1 - tokens) * 1000 / this.#options.perSecond)
  }

  #bucketOf (name: string): Bucket {
    const { clock, perSecond, burst, maxNames = rateLimits.maxNames } = this.#options
    const nowMs = clock.monotonicMs()
    const known = this.#buckets.get(name)
    const bucket = known === undefined ? { tokens: burst, atMs: nowMs } : { tokens: Math.min(burst, known.tokens + (nowMs - known.atMs) * perSecond / 1000), atMs: nowMs }
    this.#buckets.delete(name)
    this.#buckets.set(name, bucket)
    for (const oldest of this.#buckets.keys()) {
      if (this.#buckets.size <= maxNames) break
      this.#buckets.delete(oldest)
    }
    return bucket
  }
}

/** So many names, those that were added last. */
export class RecentNames {
  readonly #names = new Set<string>()
  readonly #limit: number

  constructor (limit: number) { this.#limit = limit }

  add (name: string): void {
    this.#names.delete(name)
    this.#names.add(name)
    for (const oldest of this.#names) {
      if (this.#names.size <= this.#limit) break
      this.#names.delete(oldest)
    }
  }

  has (name: string): boolean { return this.#names.has(name) }
}
