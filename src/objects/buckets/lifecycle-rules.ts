import { isoDateMs } from '../../base/iso-date.ts'
import type { LifecycleRule } from './bucket-settings.ts'
import type { VersionPage } from '../index.ts'

/** What rules say of the versions of one key, and of uploads: pure. Dates by S3's reckoning: an age ends with the day (UTC) in which it is reached. */
const dayMs = 86_400_000

export const dueMs = (sinceMs: number, days: number): number => Math.ceil((sinceMs + days * dayMs) / dayMs) * dayMs

type Shown = VersionPage['versions'][number]

export type Expiry =
  /** No object any more: a removal, or a delete marker where versions are kept. `tags`: only if the version has all of them. */
  | { readonly kind: 'current', readonly version: Shown, readonly tags: NonNullable<LifecycleRule['tags']> }
  /** A version that is not current, or a delete marker with nothing under it, goes for good. `under`: only if it is still under that one, and under so many that are not current. */
  | { readonly kind: 'version', readonly version: Shown, readonly tags: NonNullable<LifecycleRule['tags']>, readonly under?: { readonly newest: string, readonly noncurrent: number } }

/** Of the versions of one key, the newest first. `pastMs`: what a majority says is past. */
export function expiriesOf (versions: readonly Shown[], rules: readonly LifecycleRule[], pastMs: number): readonly Expiry[] {
  const [newest] = versions
  if (newest === undefined) return []
  const expiries: Expiry[] = []
  const applying = rules.filter(({ isEnabled, prefix }) => isEnabled && newest.key.startsWith(prefix))
  for (const { tags = [], expireDeleteMarkers, ...rule } of applying) {
    if (!newest.isDeleteMarker && isOfSize(newest, rule) && isCurrentDue(newest, rule, pastMs)) expiries.push({ kind: 'current', version: newest, tags })
    if (newest.isDeleteMarker && versions.length === 1 && expireDeleteMarkers === true) expiries.push({ kind: 'version', version: newest, tags: [] })
    const { noncurrentDays, noncurrentKept = 0 } = rule
    if (noncurrentDays === undefined) continue
    for (const [i, version] of versions.slice(1).entries()) {
      // it is not current since the one before it in the list was made
      const sinceMs = Date.parse(versions[i]?.modified ?? '')
      if (i >= noncurrentKept && isOfSize(version, rule) && dueMs(sinceMs, noncurrentDays) <= pastMs) expiries.push({ kind: 'version', version, tags: version.isDeleteMarker ? [] : tags, under: { newest: newest.versionId, noncurrent: noncurrentKept } })
    }
  }
  return expiries
}

const isOfSize = ({ sizeBytes }: Shown, { minSizeBytes = 0, maxSizeBytes = Number.POSITIVE_INFINITY }: Pick<LifecycleRule, 'minSizeBytes' | 'maxSizeBytes'>): boolean => sizeBytes >= minSizeBytes && sizeBytes <= maxSizeBytes

function isCurrentDue ({ modified }: Shown, { expireDays, expireDate }: Pick<LifecycleRule, 'expireDays' | 'expireDate'>, pastMs: number): boolean {
  // rules of long ago may have what is no date; to be late is better than to remove
  if (expireDate !== undefined) return (isoDateMs(expireDate) ?? Number.POSITIVE_INFINITY) <= pastMs
  return expireDays !== undefined && dueMs(Date.parse(modified), expireDays) <= pastMs
}

/** Whether an upload in parts is to be given up. */
export const isUploadDue = ({ key, initiated }: { readonly key: string, readonly initiated: string }, rules: readonly LifecycleRule[], pastMs: number): boolean =>
  rules.some(({ isEnabled, prefix, abortUploadsDays }) => isEnabled && abortUploadsDays !== undefined && key.startsWith(prefix) && dueMs(Date.parse(initiated), abortUploadsDays) <= pastMs)
