import { encode } from 'cborg'
import { MalformedBytes } from '../../base/bytes.ts'
import { InvalidInput } from '../../base/errors.ts'
import { isoDateMs } from '../../base/iso-date.ts'
import { checkShape } from './settings-shape.ts'

/** What a bucket says beside how it stores its bytes; all of it optional and changeable. What faces alone understand (cors, policy, website) is kept as it is. */
export interface BucketSettings {
  /** Undefined: never was. Once enabled it can be suspended, not undone. */
  readonly versioning?: 'enabled' | 'suspended'
  /** Versions may be locked; needs versioning, and is not undone. */
  readonly objectLock?: ObjectLock
  readonly lifecycle?: readonly LifecycleRule[]
  readonly cors?: readonly CorsRule[]
  readonly website?: Website
  /** JSON text, as the face that enforces it reads it; at most 20 KiB. */
  readonly policy?: string
  /** A put is acknowledged with every copy, or shard, on disk; absent: with so many that half of those which may be missed are left. Also where one of two nodes might acknowledge alone. */
  readonly ack?: 'all'
  /** Anybody may read objects. */
  readonly publicRead?: true
  /** Of all versions together, by counts that are as exact as quotas.ts says. */
  readonly quotaBytes?: number
  readonly quotaObjects?: number
  readonly tags?: ReadonlyArray<readonly [key: string, value: string]>
}

export interface ObjectLock {
  /** For versions put without a retention of their own. */
  readonly defaultRetention?: { readonly mode: 'governance' | 'compliance', readonly days: number } | { readonly mode: 'governance' | 'compliance', readonly years: number }
}

export interface LifecycleRule {
  readonly id: string
  readonly isEnabled: boolean
  /** Of keys; empty: all. */
  readonly prefix: string
  /** Only objects that have all of these. */
  readonly tags?: ReadonlyArray<readonly [key: string, value: string]>
  readonly minSizeBytes?: number
  readonly maxSizeBytes?: number
  /** The current version: this many days after it was written, or after a date (ISO 8601). */
  readonly expireDays?: number
  readonly expireDate?: string
  /** A delete marker under which nothing is left goes. */
  readonly expireDeleteMarkers?: true
  /** Versions that are not current: this many days after they were replaced, but for the newest so many. */
  readonly noncurrentDays?: number
  readonly noncurrentKept?: number
  /** Uploads in parts: this many days after they were begun. */
  readonly abortUploadsDays?: number
}

export interface CorsRule {
  readonly id?: string
  readonly allowedOrigins: readonly string[]
  readonly allowedMethods: readonly string[]
  readonly allowedHeaders?: readonly string[]
  readonly exposeHeaders?: readonly string[]
  readonly maxAgeSeconds?: number
}

export interface Website {
  readonly index?: string
  readonly error?: string
  readonly redirectAllTo?: { readonly host: string, readonly protocol?: 'http' | 'https' }
}

/** A change: what is named is set; null takes it away; the rest stays. */
export type SettingsChange = { readonly [name in keyof BucketSettings]?: BucketSettings[name] | null }

export const settingsLimits = {
  /** All of them together, encoded. */
  maxBytes: 32 * 1024,
  maxPolicyBytes: 20 * 1024,
  maxLifecycleRules: 100,
  maxCorsRules: 100,
  maxTags: 50,
  maxDays: 36_500,
} as const

const names = ['versioning', 'ack', 'objectLock', 'lifecycle', 'cors', 'website', 'policy', 'publicRead', 'quotaBytes', 'quotaObjects', 'tags'] as const satisfies ReadonlyArray<keyof BucketSettings>

/** @throws InvalidInput naming the setting */
export function changedSettings (settings: BucketSettings, change: SettingsChange): BucketSettings {
  const unknown = Object.keys(change).find((name) => !(names as readonly string[]).includes(name))
  if (unknown !== undefined) throw new InvalidInput('settings', `"${unknown.slice(0, 80)}" is no setting of a bucket`)
  checkShape(change)
  const merged = { ...settings, ...change }
  const changed = Object.fromEntries(names.flatMap((name) => merged[name] === undefined || merged[name] === null ? [] : [[name, merged[name]]])) as BucketSettings
  if (settings.versioning !== undefined && changed.versioning === undefined) throw new InvalidInput('versioning', 'versioning that was enabled can be suspended, not undone')
  if (settings.objectLock !== undefined && changed.objectLock === undefined) throw new InvalidInput('object lock', 'locks that were allowed stay so')
  if (changed.objectLock !== undefined && changed.versioning !== 'enabled') throw new InvalidInput('object lock', 'locks are of versions: the bucket must keep versions')
  checkSettings(changed)
  for (const rule of change.lifecycle ?? []) checkNewRule(rule)
  return changed
}

function checkSettings (settings: BucketSettings): void {
  const { versioning, objectLock, lifecycle = [], cors = [], policy = '', publicRead, quotaBytes, quotaObjects, tags = [] } = settings
  if (versioning !== undefined && !['enabled', 'suspended'].includes(versioning)) throw new InvalidInput('versioning', `versioning is enabled or suspended, not "${versioning}"`)
  if (publicRead !== undefined && !publicRead) throw new InvalidInput('public read', 'it is true or absent')
  if (objectLock?.defaultRetention !== undefined) checkDefaultRetention(objectLock.defaultRetention)
  if (Buffer.byteLength(policy) > settingsLimits.maxPolicyBytes) throw new InvalidInput('policy', `a policy has at most ${settingsLimits.maxPolicyBytes} bytes`)
  demandAtMost('lifecycle', lifecycle.length, settingsLimits.maxLifecycleRules)
  demandAtMost('cors', cors.length, settingsLimits.maxCorsRules)
  demandAtMost('tags', tags.length, settingsLimits.maxTags)
  for (const rule of lifecycle) checkLifecycleRule(rule)
  for (const [name, quota] of [['quota in bytes', quotaBytes], ['quota of objects', quotaObjects]] as const) {
    if (quota !== undefined && (!Number.isSafeInteger(quota) || quota < 0)) throw new InvalidInput(name, `${quota} is no quota: it takes a whole number, from 0`)
  }
  const bytes = encode(settings).byteLength
  if (bytes > settingsLimits.maxBytes) throw new InvalidInput('settings', `the settings of a bucket have at most ${settingsLimits.maxBytes} bytes together; these have ${bytes}`)
}

function checkDefaultRetention (rule: NonNullable<ObjectLock['defaultRetention']>): void {
  const days = 'days' in rule ? rule.days : rule.years * 365
  if ('days' in rule && 'years' in rule) throw new InvalidInput('object lock', 'a default retention is of days or of years, not both')
  if (!['governance', 'compliance'].includes(rule.mode)) throw new InvalidInput('object lock', `"${rule.mode}" is no mode of retention; it takes governance or compliance`)
  if (!isDays(days)) throw new InvalidInput('object lock', `a default retention is of 1 to ${settingsLimits.maxDays} days`)
}

function checkLifecycleRule (rule: LifecycleRule): void {
  const { id, expireDays, expireDate, noncurrentDays, noncurrentKept, abortUploadsDays } = rule
  if (id.length < 1 || id.length > 255) throw new InvalidInput('lifecycle', 'a rule has a name of 1-255 characters')
  for (const days of [expireDays, noncurrentDays, abortUploadsDays]) if (days !== undefined && !isDays(days)) throw new InvalidInput('lifecycle', `rule "${id}": days are 1 to ${settingsLimits.maxDays}`)
  if (expireDays !== undefined && expireDate !== undefined) throw new InvalidInput('lifecycle', `rule "${id}" expires after days or at a date, not both`)
  if (noncurrentKept !== undefined && (noncurrentDays === undefined || !Number.isInteger(noncurrentKept) || noncurrentKept < 1 || noncurrentKept > 100)) throw new InvalidInput('lifecycle', `rule "${id}" keeps 1 to 100 versions beyond their days`)
  if (expireDays === undefined && expireDate === undefined && noncurrentDays === undefined && abortUploadsDays === undefined && rule.expireDeleteMarkers === undefined) throw new InvalidInput('lifecycle', `rule "${id}" says nothing`)
  if (rule.tags !== undefined && abortUploadsDays !== undefined) throw new InvalidInput('lifecycle', `rule "${id}": uploads have no tags`)
}

/** What is not asked of rules that are there already, which would keep everything else of the bucket from being changed. */
function checkNewRule ({ id, expireDate, expireDeleteMarkers, tags, minSizeBytes, maxSizeBytes, abortUploadsDays }: LifecycleRule): void {
  if (expireDate !== undefined && isoDateMs(expireDate) === undefined) throw new InvalidInput('lifecycle', `rule "${id}": "${expireDate.slice(0, 40)}" is no date; it takes 2030-01-02 or 2030-01-02T03:04:05Z`)
  if (abortUploadsDays !== undefined && (minSizeBytes !== undefined || maxSizeBytes !== undefined)) throw new InvalidInput('lifecycle', `rule "${id}": uploads have no size yet; give up uploads by a rule of its own`)
  if (expireDeleteMarkers !== undefined && tags !== undefined) throw new InvalidInput('lifecycle', `rule "${id}": delete markers have no tags; remove markers by a rule of its own`)
}

const isDays = (days: number): boolean => Number.isInteger(days) && days >= 1 && days <= settingsLimits.maxDays

function demandAtMost (name: string, count: number, most: number): void {
  if (count > most) throw new InvalidInput(name, `at most ${most} of them, not ${count}`)
}

/** @throws MalformedBytes for what is not known: a setting that is passed over may be a lock */
export function decodeSettings (encoded: unknown): BucketSettings {
  const isMap = typeof encoded === 'object' && encoded !== null && !Array.isArray(encoded)
  if (!isMap || Object.keys(encoded).some((name) => !(names as readonly string[]).includes(name))) throw new MalformedBytes('settings of a bucket that this dfs does not know')
  return encoded as BucketSettings
}
