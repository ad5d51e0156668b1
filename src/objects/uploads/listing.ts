import { fromHex, hexOf } from '../../base/bytes.ts'
import { InvalidInput } from '../../base/errors.ts'
import { type ListRequest, tables } from '../../tables/index.ts'
import type { BucketRow } from '../buckets/bucket-row.ts'
import type { ObjectParts } from '../ports.ts'
import { versionDelimiter } from '../versions/version-row.ts'
import type { ListUploadsOptions, Upload, UploadPage } from './index.ts'
import { idIn } from './open-upload.ts'
import { afterHeadsOf, decodeHeadSummary, headKey, headsWith, type HeadSummary, keyInHead, prefixInHead } from './upload-row.ts'

export const uploadListingLimits = { maxPage: 1000 } as const

export async function listUploads ({ registers }: Pick<ObjectParts, 'registers'>, bucket: BucketRow, { prefix = '', delimiter = '', after, limit = uploadListingLimits.maxPage, signal }: ListUploadsOptions): Promise<UploadPage> {
  checkPageLimit(limit)
  const page = await registers.list({
    table: tables.uploads, scope: fromHex(bucket.id), prefix: headsWith(prefix), limit,
    delimiter: delimiter === '' ? undefined : versionDelimiter(delimiter),
    after: after === undefined ? undefined : startOf(after, { prefix, delimiter }),
  }, { signal })
  const uploads = page.entries.map(({ name, summary }) => uploadInfo({ bucket: bucket.name, key: keyInHead(name) }, decodeHeadSummary(summary)))
  const prefixes = page.prefixes.map(prefixInHead)
  return { uploads, prefixes, next: page.next === undefined ? undefined : lastOf(uploads, prefixes) }
}

/** A key that is rolled into a common prefix stands for all of that. */
function startOf ({ key, uploadId }: NonNullable<ListUploadsOptions['after']>, { prefix, delimiter }: { prefix: string, delimiter: string }): ListRequest['after'] {
  if (uploadId !== undefined) return headKey(key, idIn(uploadId))
  const at = delimiter === '' || !key.startsWith(prefix) ? -1 : key.indexOf(delimiter, prefix.length)
  return at < 0 ? afterHeadsOf(key) : headsWith(key.slice(0, at + delimiter.length))
}

/** The last that a page shows; its entries and its prefixes are each in order. */
function lastOf (uploads: readonly Upload[], prefixes: readonly string[]): UploadPage['next'] {
  const [upload, prefix] = [uploads.at(-1), prefixes.at(-1)]
  if (upload === undefined || (prefix !== undefined && Buffer.compare(Buffer.from(prefix), Buffer.from(upload.key)) > 0)) return prefix === undefined ? undefined : { key: prefix }
  return { key: upload.key, uploadId: upload.uploadId }
}

export const uploadInfo = (target: { bucket: string, key: string }, { id, initiatedMs, checksum }: HeadSummary): Upload =>
  ({ ...target, uploadId: hexOf(id), initiated: new Date(initiatedMs).toISOString(), checksum })

/** @throws InvalidInput */
export function checkPageLimit (limit: number): void {
  const { maxPage } = uploadListingLimits
  if (!Number.isInteger(limit) || limit < 1 || limit > maxPage) throw new InvalidInput('limit', `a page has 1-${maxPage} entries, not ${limit}`)
}
