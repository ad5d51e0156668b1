import type { Clock } from '../../base/clock.ts'
import { UploadSweep } from '../../objects/index.ts'
import { type Registers, tables } from '../../tables/index.ts'
import type { ListingIndex } from '../../tables/listing-index.ts'
import { type BackgroundTask, regularly } from './background.ts'

export const uploadSweeping = { everyMs: 60 * 60 * 1000 } as const

/** Every member looks at the uploads of which it holds rows, of removed buckets too; several at once do no harm. */
export function uploadSweepTask ({ registers, index, clock, warn }: { registers: Registers, index: Pick<ListingIndex, 'scopes'>, clock: Clock, warn: (message: string, cause: unknown) => void }): BackgroundTask {
  const sweep = new UploadSweep({ registers, scopes: async () => index.scopes(tables.uploads), warn })
  return regularly({ name: 'uploads that are over', everyMs: uploadSweeping.everyMs, clock, begin: () => { sweep.begin() }, step: async (wait) => sweep.step(wait) })
}
