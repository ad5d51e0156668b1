import type { KnownDetails } from '../change-object.ts'
import { replacedNull, type Versioning } from './history.ts'
import { isLocked } from './locks.ts'
import type { KeptVersion, ObjectRow } from '../object-row.ts'

/**
 * What becomes of versions by a bucket as it was read when an upload began, which may be hours ago: keeping may have been enabled since, and a version that would be
 * replaced been locked. A locked one is never replaced: where it is the null version that a new one would take the place of, both stay. `about`: it must be looked at first.
 */
export function keepingOf (row: ObjectRow, versioning: Versioning, details: KnownDetails): { readonly versioning: Versioning } | { readonly about: KeptVersion } {
  const replaced = replacedNull(row, versioning)
  if (replaced === undefined) return { versioning }
  const own = details(replaced)
  if (own === undefined) return { about: replaced }
  return { versioning: isLocked(own.version.attributes) ? 'enabled' : versioning }
}
