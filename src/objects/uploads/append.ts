import { Refused } from '../../base/errors.ts'
import { WrongOffset } from './errors.ts'
import { uploadLimits } from './index.ts'
import type { OpenUpload, UploadParts } from './open-upload.ts'
import { streamedParts } from './part-rows.ts'
import { storePart } from './store-part.ts'

/**
 * One stream in several requests, each of which may break off anywhere. It is cut into parts of its own, and a part is written only if there is none of its
 * number: so of two requests that go on at one place, the one that lingers and the one that took over, one goes on. What a client sent before it went away is
 * kept, to the last byte that came.
 */
export const appendLimits = {
  leastPartBytes: 16 * 1024 * 1024,
  /** Parts grow with what is there, so that 10,000 of them hold anything: each is this share of it. */
  share: 1 / 64,
} as const

/** What of the stream is there. */
export interface Extent { readonly offset: number, readonly last: number }

export async function extentOf ({ parts: { registers } }: UploadParts, upload: OpenUpload, wait: { signal?: AbortSignal }): Promise<Extent> {
  let [offset, last] = [0, 0]
  for await (const { number, sizeBytes } of streamedParts(registers, upload, wait)) [offset, last] = [offset + sizeBytes, number]
  return { offset, last }
}

/** @throws as `Uploads.append` */
export async function appendTo (of: UploadParts, upload: OpenUpload, offset: number, source: AsyncIterable<Uint8Array>, wait: { signal?: AbortSignal, askedBy?: string }): Promise<{ offset: number }> {
  let extent = await extentOf(of, upload, wait)
  if (extent.offset !== offset) throw new WrongOffset(extent.offset)
  const pieces = new Pieces(source)
  try {
    while (await pieces.hasMore()) {
      if (extent.last >= uploadLimits.maxParts) throw new Refused(`this upload has come in ${uploadLimits.maxParts} pieces, and takes no more`)
      const number = extent.last + 1
      const stored = await storePart(of, upload, { number, source: pieces.take(partBytesAt(extent.offset, of.leastAppendedBytes)), isFirst: true }, wait)
      if (stored === undefined) throw new WrongOffset((await extentOf(of, upload, wait)).offset)
      extent = { offset: extent.offset + stored.sizeBytes, last: number }
    }
  } finally {
    await pieces.close()
  }
  if (pieces.failure !== undefined) throw pieces.failure.cause
  return { offset: extent.offset }
}

export const partBytesAt = (offset: number, leastBytes: number): number => Math.min(uploadLimits.maxPartBytes, Math.max(leastBytes, Math.floor(offset * appendLimits.share)))

/** A source in pieces of so many bytes. Its failure ends the piece it comes in, and is told afterwards. */
class Pieces {
  readonly #iterator: AsyncIterator<Uint8Array>
  #rest: Uint8Array | undefined
  #isEnded = false
  failure: { readonly cause: unknown } | undefined

  constructor (source: AsyncIterable<Uint8Array>) { this.#iterator = source[Symbol.asyncIterator]() }

  async hasMore (): Promise<boolean> {
    while (!this.#isEnded && (this.#rest === undefined || this.#rest.byteLength === 0)) {
      try {
        const next = await this.#iterator.next()
        if (next.done === true) this.#isEnded = true
        else this.#rest = next.value
      } catch (cause) {
        this.#isEnded = true
        this.failure = { cause }
      }
    }
    return this.#rest !== undefined && this.#rest.byteLength > 0
  }

  async * take (maxBytes: number): AsyncIterable<Uint8Array> {
    for (let left = maxBytes; left > 0 && await this.hasMore();) {
      const bytes = (this.#rest as Uint8Array).subarray(0, left)
      this.#rest = this.#rest?.subarray(bytes.byteLength)
      left -= bytes.byteLength
      yield bytes
    }
  }

  /** Whoever stops early stops the source. */
  async close (): Promise<void> { if (!this.#isEnded) await this.#iterator.return?.() }
}
