import type { Clock } from '../../base/clock.ts'
import { type RemovedSweepParts, sweepingRemoved, UploadSweep } from '../../objects/index.ts'
import { type Registers, tables } from '../../tables/index.ts'
import type { ListingIndex } from '../../tables/listing-index.ts'
import { type BackgroundTask, regularly } from './background.ts'

/** What nothing needs any more is looked for so often. Every member looks at what it holds rows of, in removed buckets too; several at once do no harm. */
export const sweeping = { everyMs: 60 * 60 * 1000 } as const

interface SweepOptions { readonly index: Pick<ListingIndex, 'scopes'>, readonly clock: Clock, readonly everyMs?: number }

export function uploadSweepTask ({ registers, index, clock, everyMs = sweeping.everyMs, warn }: SweepOptions & { registers: Registers, warn: (message: string, cause: unknown) => void }): BackgroundTask {
  const sweep = new UploadSweep({ registers, scopes: async () => index.scopes(tables.uploads), warn })
  return regularly({ name: 'uploads that are over', everyMs, clock, begin: () => { sweep.begin() }, step: async (wait) => sweep.step(wait) })
}

export function removedSweepTask (parts: Omit<RemovedSweepParts, 'scopes'>, { index, clock, everyMs = sweeping.everyMs }: SweepOptions): BackgroundTask {
  const sweep = sweepingRemoved({ ...parts, scopes: async () => index.scopes(tables.objects) })
  return regularly({ name: 'objects of removed buckets', everyMs, clock, begin: () => { sweep.begin() }, step: async (wait) => sweep.step(wait) })
}
