import { InvalidInput } from '../../base/errors.ts'
import { type Attributes, checkRetention, type Retention } from './attributes.ts'
import type { BucketRow } from '../buckets/bucket-row.ts'
import { LockedVersion, WithoutLocks } from '../errors.ts'
import type { AttributesChange } from '../index.ts'

/** Locks of versions, by S3's rules (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-lock.html). Of a retention's end the caller says the date (lock-dates.ts); by the node's own clock a new one can only be refused. */
const dayMs = 86_400_000

export const lockLimits = {
  /** A hundred years with their leap days, as S3 has it: what nobody can lift shall not outlive everybody by a mistyped digit. */
  maxRetentionDays: 36_525,
} as const

/** What a version put now without a retention of its own gets. */
export function defaultRetention ({ settings }: Pick<BucketRow, 'settings'>, nowMs: number): Retention | undefined {
  const rule = settings?.objectLock?.defaultRetention
  return rule === undefined ? undefined : { mode: rule.mode, untilMs: nowMs + dayMs * ('days' in rule ? rule.days : 365 * rule.years) }
}

/** @throws InvalidInput where the bucket has no locks, or the retention ends before it begins, or in more than a hundred years. Not of what is stored already: that is as it is */
export function checkLocks ({ retention, isHeld }: Pick<AttributesChange, 'retention' | 'isHeld'>, { name, settings }: Pick<BucketRow, 'name' | 'settings'>, nowMs: number): void {
  if (retention === undefined && isHeld === undefined) return
  if (settings?.objectLock === undefined) throw new WithoutLocks(name)
  if (retention === undefined || retention === null) return
  checkRetention(retention)
  if (retention.untilMs <= nowMs) throw new InvalidInput('retention', 'a retention ends in the future')
  if (retention.untilMs > nowMs + lockLimits.maxRetentionDays * dayMs) {
    throw new InvalidInput('retention', `a retention ends in at most 100 years, by ${new Date(nowMs + lockLimits.maxRetentionDays * dayMs).toISOString().slice(0, 10)}; nothing has changed`)
  }
}

/** Whether anything was ever said of it that may hold. */
export const isLocked = ({ retention, isHeld }: Attributes = {}): boolean => retention !== undefined || isHeld === true

interface Leave { readonly nowMs: number, readonly mayBypassGovernance?: boolean }

/** @throws LockedVersion if the version must not be removed */
export function demandUnlocked ({ retention, isHeld }: Attributes, { nowMs, mayBypassGovernance = false }: Leave): void {
  if (isHeld === true) throw new LockedVersion('this version is held; release it before removing it ("dfs lock BUCKET/KEY --hold off")')
  if (retention === undefined || retention.untilMs <= nowMs || (retention.mode === 'governance' && mayBypassGovernance)) return
  throw new LockedVersion(`this version is retained (${retention.mode}) until ${new Date(retention.untilMs).toISOString()}`, { endsMs: retention.untilMs })
}

/** What the attributes become. @throws LockedVersion if that would loosen a lock which must not be */
export function changedAttributes (attributes: Attributes, { tags, retention, isHeld }: AttributesChange, leave: Leave): Attributes {
  if (retention !== undefined) demandNotLoosened(attributes.retention, retention ?? undefined, leave)
  const { tags: oldTags, retention: oldRetention, isHeld: wasHeld, ...rest } = attributes
  const [newTags, newRetention, nowHeld] = [tags ?? oldTags, retention === undefined ? oldRetention : retention ?? undefined, isHeld ?? wasHeld === true]
  return {
    ...rest,
    ...(newTags === undefined || newTags.length === 0 ? {} : { tags: newTags }),
    ...(newRetention === undefined ? {} : { retention: newRetention }),
    ...(nowHeld ? { isHeld: true } : {}),
  }
}

function demandNotLoosened (before: Retention | undefined, after: Retention | undefined, { nowMs, mayBypassGovernance = false }: Leave): void {
  if (before === undefined || before.untilMs <= nowMs) return
  const isTighter = after !== undefined && after.untilMs >= before.untilMs && (before.mode === after.mode || after.mode === 'compliance')
  if (isTighter || (before.mode === 'governance' && mayBypassGovernance)) return
  throw new LockedVersion(before.mode === 'compliance' ? 'a retention in compliance mode can only be made longer' : 'a retention in governance mode is shortened or lifted only by those who may bypass it ("--bypass-governance" of "dfs lock", x-amz-bypass-governance-retention)', { endsMs: before.untilMs })
}
