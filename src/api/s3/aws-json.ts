import { InvalidInput } from '../../base/errors.ts'
import type { SettingsChange } from '../../objects/index.ts'
import { objectLockIn, websiteIn } from './bucket-settings.ts'
import { corsRulesIn } from './cors.ts'
import { S3Error } from './errors.ts'
import { lifecycleRulesIn } from './lifecycle.ts'
import type { XmlNode } from './xml-reader.ts'

/** Settings in AWS's JSON, which is its XML with plurals for lists: what "aws s3api get-bucket-…" prints. */
const forms = {
  lifecycle: { sign: 'Rules', read: lifecycleRulesIn },
  cors: { sign: 'CORSRules', read: corsRulesIn },
  objectLock: { sign: 'ObjectLockEnabled', read: objectLockIn },
  website: { sign: /^(IndexDocument|ErrorDocument|RedirectAllRequestsTo|RoutingRules)$/, read: websiteIn },
} as const satisfies { readonly [name in keyof SettingsChange]?: { readonly sign: string | RegExp, readonly read: (configuration: XmlNode) => unknown } }

/** The setting in our own words if `value` has AWS's form; else as it is. @throws InvalidInput */
export function settingFromAws (name: keyof SettingsChange, value: unknown): unknown {
  const form = (forms as Partial<Record<string, { sign: string | RegExp, read: (configuration: XmlNode) => unknown }>>)[name]
  const { ObjectLockConfiguration: inner } = value as { ObjectLockConfiguration?: unknown } ?? {}
  const given = inner ?? value
  if (form === undefined || typeof given !== 'object' || given === null || Array.isArray(given) || !Object.keys(given).some((key) => new RegExp(form.sign).test(key))) return value
  try {
    return form.read(nodeOf(name, given))
  } catch (cause) {
    throw cause instanceof S3Error ? new InvalidInput(name, cause.message, { cause }) : cause
  }
}

function nodeOf (name: string, value: unknown): XmlNode {
  if (value === null) throw new S3Error('MalformedXML', `${name} is null; leave it out where nothing is meant`)
  if (typeof value !== 'object') return { name, children: [], text: String(value) }
  const children = Object.entries(value).flatMap(([key, each]) => Array.isArray(each) ? each.map((one) => nodeOf(singular(key), one)) : [nodeOf(key, each)])
  return { name, children, text: '' }
}

const singular = (name: string): string => name.replace(/s$/, '')
