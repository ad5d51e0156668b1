import { fromHex, textOf, utf8 } from '../base/bytes.ts'
import { InvalidInput } from '../base/errors.ts'
import { tables } from '../tables/index.ts'
import type { BucketRow } from './buckets/bucket-row.ts'
import type { ListOptions, ObjectPage } from './index.ts'
import { decodeSummary } from './object-row.ts'
import type { ObjectParts } from './ports.ts'
import { infoOf } from './reading.ts'
import { listVersions } from './versions/version-listing.ts'

export const listLimits = { maxPage: 1000 } as const

export async function listObjects (parts: ObjectParts, bucket: BucketRow, { prefix = '', delimiter, after, limit = listLimits.maxPage, signal }: ListOptions): Promise<ObjectPage> {
  checkLimit(limit)
  const page = await parts.registers.list({
    table: tables.objects,
    scope: fromHex(bucket.id),
    prefix: utf8(prefix),
    after: after === undefined ? undefined : utf8(after),
    delimiter: delimiter === undefined || delimiter === '' ? undefined : utf8(delimiter),
    limit,
  }, { signal })
  return {
    objects: page.entries.map(({ name, summary }) => infoOf({ bucket: bucket.name, key: textOf(name) }, decodeSummary(summary))),
    prefixes: page.prefixes.map(textOf),
    next: page.next === undefined ? undefined : textOf(page.next),
  }
}

export function checkLimit (limit: number): void {
  if (!Number.isInteger(limit) || limit < 1 || limit > listLimits.maxPage) throw new InvalidInput('limit', `a page has 1-${listLimits.maxPage} entries, not ${limit}`)
}

/** Of objects, and of versions that are kept, be they lost. */
export async function isEmpty (parts: ObjectParts, bucket: BucketRow, { signal }: { signal?: AbortSignal }): Promise<boolean> {
  const { objects } = await listObjects(parts, bucket, { limit: 1, signal })
  if (objects.length > 0 || bucket.settings?.versioning === undefined) return objects.length === 0
  const { versions, lost } = await listVersions(parts, bucket, { limit: 1, signal })
  return versions.length === 0 && lost === undefined
}
