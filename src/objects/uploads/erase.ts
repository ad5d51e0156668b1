import { hexOf } from '../../base/bytes.ts'
import type { Registers } from '../../tables/index.ts'
import type { ObjectParts } from '../ports.ts'
import { allPartsOf } from './part-rows.ts'
import type { FoundUpload } from './open-upload.ts'
import { headKey, partKey, uploadAddress } from './upload-row.ts'

type Of = Pick<FoundUpload, 'bucketId' | 'id'>

export const eraseLimits = {
  /** Rows of parts erased at once: nobody waits for it. */
  atOnce: 8,
} as const

/**
 * The rows of an upload that is over, which its object's row has said before. The head first, so that no listing shows it any more, and nobody waits for the
 * parts. What fails here, or dies half way, is debris, which the sweep finds (sweep.ts).
 */
export async function eraseHead ({ registers, warn }: Pick<ObjectParts, 'registers' | 'warn'>, { bucketId, id, target }: Pick<FoundUpload, 'bucketId' | 'id' | 'target'>): Promise<void> {
  try {
    await erase(registers, bucketId, headKey(target.key, id))
  } catch (error) {
    warn('an upload is over, and is listed until it is swept', error)
  }
}

/** The head, so that it is listed no more; the parts behind. */
export async function eraseRows (parts: Pick<ObjectParts, 'registers' | 'warn'>, upload: Pick<FoundUpload, 'bucketId' | 'id' | 'target'>): Promise<void> {
  await eraseHead(parts, upload)
  eraseParts(parts.registers, upload).catch((error: unknown) => { parts.warn(`parts of upload ${hexOf(upload.id)} stay behind until they are swept`, error) })
}

/** @throws Unavailable */
export async function eraseParts (registers: Registers, of: Of, wait: { signal?: AbortSignal } = {}): Promise<void> {
  const running = new Set<Promise<void>>()
  let failure: { readonly cause: unknown } | undefined
  for await (const { number } of allPartsOf(registers, of, wait)) {
    const one = erase(registers, of.bucketId, partKey(of.id, number), wait)
      .catch((cause: unknown) => { failure ??= { cause } })
      .finally(() => { running.delete(one) })
    running.add(one)
    if (running.size >= eraseLimits.atOnce) await Promise.race(running)
    if (failure !== undefined) break
  }
  await Promise.all(running)
  if (failure !== undefined) throw failure.cause
}

async function erase (registers: Registers, bucketId: Uint8Array, key: Uint8Array, wait: { signal?: AbortSignal } = {}): Promise<void> {
  await registers.change<void>(uploadAddress(bucketId, key), (current) => ({ kind: current === undefined ? 'keep' : 'erase', result: undefined }), wait)
}
