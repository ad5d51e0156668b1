import { hexOf } from '../../base/bytes.ts'
import { type Registers, tables } from '../../tables/index.ts'
import { objectAddress } from '../change-object.ts'
import { decodeObjectRow } from '../object-row.ts'
import { Passes } from '../work/pass.ts'
import { eraseHead, eraseParts } from './erase.ts'
import { pendingIn } from './open-upload.ts'
import { allParts, decodeHeadSummary, decodePart, headKey, headsWith, idInPart, keyInHead, partKey, uploadAddress } from './upload-row.ts'
import { uploadLimits } from './index.ts'

export interface UploadSweepParts {
  readonly registers: Registers
  /** Ids of buckets, those that are gone too, in which there may be rows of uploads. */
  readonly scopes: () => Promise<readonly Uint8Array[]>
  readonly warn: (message: string, cause: unknown) => void
}

/**
 * Rows of uploads that are over, left by whoever ended them and died, or had no majority: background work. An object's row says whether one is over; it is asked
 * about every head that is listed. A part without a head is debris (upload-row.ts); of each upload with parts the head is looked for.
 */
export class UploadSweep {
  readonly #parts: UploadSweepParts
  readonly #passes = new Passes(() => this.#sweep(), (cause) => { this.#parts.warn('rows of uploads that are over could not all be swept', cause) })

  constructor (parts: UploadSweepParts) { this.#parts = parts }

  /** One more pass; none, while one is under way. */
  begin (): void { this.#passes.begin() }
  async step (wait: { signal: AbortSignal }): Promise<'busy' | 'idle'> { return this.#passes.step(wait) }

  async * #sweep (): AsyncIterable<void> {
    for (const bucketId of await this.#parts.scopes()) {
      yield * this.#heads(bucketId)
      yield * this.#partsAlone(bucketId)
    }
  }

  async * #heads (bucketId: Uint8Array): AsyncIterable<void> {
    const { registers } = this.#parts
    for (let after: Uint8Array | undefined, more = true; more;) {
      const page = await registers.list({ table: tables.uploads, scope: bucketId, prefix: headsWith(''), after, limit: sweepLimits.headsAtOnce })
      yield
      for (const { name, summary } of page.entries) {
        const [key, { id }] = [keyInHead(name), decodeHeadSummary(summary)]
        if (await this.#isUnderWay(bucketId, key, id)) continue
        await eraseHead(this.#parts, { bucketId, id, target: { bucket: '', key } })
        await eraseParts(registers, { bucketId, id })
        yield
      }
      after = page.next
      more = after !== undefined
    }
  }

  async * #partsAlone (bucketId: Uint8Array): AsyncIterable<void> {
    const { registers } = this.#parts
    for (let after: Uint8Array | undefined; ;) {
      // one part of each upload
      const page = await registers.list({ table: tables.uploads, scope: bucketId, prefix: allParts, after, limit: 1 })
      const name = page.entries[0]?.name
      if (name === undefined) return
      const id = idInPart(name)
      const value = await registers.read(uploadAddress(bucketId, name))
      if (value !== undefined && await registers.read(uploadAddress(bucketId, headKey(decodePart(value).key, id))) === undefined) await eraseParts(registers, { bucketId, id })
      after = partKey(id, uploadLimits.maxParts)
      yield
    }
  }

  async #isUnderWay (bucketId: Uint8Array, key: string, id: Uint8Array): Promise<boolean> {
    const value = await this.#parts.registers.read(objectAddress({ bucketId: hexOf(bucketId), key }))
    return value !== undefined && pendingIn(decodeObjectRow(value), id) !== undefined
  }
}

export const sweepLimits = {
  headsAtOnce: 100,
} as const
