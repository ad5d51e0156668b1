import { hexOf } from '../../base/bytes.ts'
import { changeObject } from '../change-object.ts'
import { placeIn } from '../commit.ts'
import { keptOf } from '../object-row.ts'
import type { ObjectParts } from '../ports.ts'
import { stepWithout } from '../removing.ts'
import { everyVersion } from '../versions/version-listing.ts'
import { Passes } from '../work/pass.ts'
import type { BucketRow } from './bucket-row.ts'
import type { Buckets } from './buckets.ts'

export interface RemovedSweepParts extends ObjectParts {
  /** Ids of buckets, those that are gone too, in which there may be rows of objects here. */
  readonly scopes: () => Promise<readonly Uint8Array[]>
}

/**
 * Objects in buckets that are gone, left by a put that committed while its bucket was removed, was acknowledged to nobody, and died, or had no majority, before it could
 * take itself back: background work. A bucket is gone if whoever removed it has said so and its name is not its own any more: one whose row is merely missing, as
 * after the loss of a majority, keeps what it has. Locks hold nothing here, for nobody was told that anything is stored.
 */
export class RemovedSweep {
  readonly #parts: RemovedSweepParts
  readonly #buckets: Pick<Buckets, 'removed'>
  readonly #passes = new Passes(() => this.#sweep(), (cause) => { this.#parts.warn('objects left in removed buckets could not all be swept', cause) })

  constructor (parts: RemovedSweepParts, buckets: Pick<Buckets, 'removed'>) {
    this.#parts = parts
    this.#buckets = buckets
  }

  /** One more pass; none, while one is under way. */
  begin (): void { this.#passes.begin() }
  async step (wait: { signal: AbortSignal }): Promise<'busy' | 'idle'> { return this.#passes.step(wait) }

  async * #sweep (): AsyncIterable<void> {
    for (const id of (await this.#parts.scopes()).map(hexOf)) {
      yield
      const bucket = await this.#buckets.removed(id)
      if (bucket !== undefined) yield * this.#empty(bucket)
    }
  }

  async * #empty (bucket: BucketRow): AsyncIterable<void> {
    for await (const { key } of everyVersion(this.#parts, bucket, {})) {
      while (await this.#removeOne(bucket, key));
      yield
    }
  }

  /** Whether there was one. */
  async #removeOne (bucket: BucketRow, key: string): Promise<boolean> {
    return changeObject<boolean>(this.#parts, placeIn(bucket, key), (row, details) => {
      const [one] = [...row.current === undefined ? [] : [row.current], ...keptOf(row)]
      if (one === undefined) return { kind: 'keep', result: false }
      const step = stepWithout(row, one, details, { versions: this.#parts.versions, check: () => {} })
      return step.kind === 'move' ? { ...step, result: true } : step.kind === 'keep' ? { kind: 'keep', result: false } : step
    })
  }
}
