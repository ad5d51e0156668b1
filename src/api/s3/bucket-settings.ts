import type { BucketSettings, ObjectLock, SettingsChange, Tags } from '../../objects/index.ts'
import { corsDocument, corsRulesIn } from './cors.ts'
import { S3Error, type S3ErrorCode } from './errors.ts'
import { type S3Exchange, sendNothing, sendXml, xmlBody } from './exchange.ts'
import { lifecycleDocument, lifecycleRulesIn } from './lifecycle.ts'
import { parsePolicy } from './policy.ts'
import { checkPolicy } from './policy-check.ts'
import { wholeBody } from './whole-body.ts'
import { demandForm } from './xml-form.ts'
import { child, childrenOf, childText, type XmlNode } from './xml-reader.ts'
import { document, element, given, type XmlElement } from './xml.ts'

/** GET, PUT and DELETE of what a bucket says beside its objects. */
interface Setting {
  /** @throws S3Error if nothing was ever said */
  readonly get: (settings: BucketSettings) => string
  readonly put?: { readonly root: string, readonly change: (configuration: XmlNode, settings: BucketSettings) => SettingsChange }
  readonly remove?: SettingsChange
}

const absent = (code: S3ErrorCode, what: string): S3Error => new S3Error(code, `the bucket has no ${what}`)

export const settings = {
  versioning: {
    get: ({ versioning }) => document('VersioningConfiguration', given('Status', versioning === undefined ? undefined : versioning === 'enabled' ? 'Enabled' : 'Suspended')),
    put: { root: 'VersioningConfiguration', change: (configuration) => {
      demandForm(configuration, { Status: 'text', MfaDelete: 'text' })
      const status = childText(configuration, 'Status')
      if (childText(configuration, 'MfaDelete') === 'Enabled') throw new S3Error('NotImplemented', 'there are no devices for MFA Delete here')
      if (status !== 'Enabled' && status !== 'Suspended') throw new S3Error('MalformedXML', 'the Status of versioning is Enabled or Suspended')
      return { versioning: status === 'Enabled' ? 'enabled' : 'suspended' }
    } },
  },
  cors: {
    get: ({ cors }) => { if (cors === undefined) throw absent('NoSuchCORSConfiguration', 'CORS configuration'); return corsDocument(cors) },
    put: { root: 'CORSConfiguration', change: (configuration) => ({ cors: corsRulesIn(configuration) }) },
    remove: { cors: null },
  },
  lifecycle: {
    get: ({ lifecycle }) => { if (lifecycle === undefined) throw absent('NoSuchLifecycleConfiguration', 'lifecycle configuration'); return lifecycleDocument(lifecycle) },
    put: { root: 'LifecycleConfiguration', change: (configuration) => ({ lifecycle: lifecycleRulesIn(configuration) }) },
    remove: { lifecycle: null },
  },
  tagging: {
    get: ({ tags }) => { if (tags === undefined) throw absent('NoSuchTagSet', 'tags'); return taggingDocument(tags) },
    put: { root: 'Tagging', change: (tagging) => ({ tags: tagsOf(tagging) }) },
    remove: { tags: null },
  },
  website: {
    get: ({ website }) => {
      if (website === undefined) throw absent('NoSuchWebsiteConfiguration', 'website configuration')
      const { index, error, redirectAllTo } = website
      return document('WebsiteConfiguration', [
        ...(redirectAllTo === undefined ? [] : [element('RedirectAllRequestsTo', [element('HostName', redirectAllTo.host), given('Protocol', redirectAllTo.protocol)])]),
        ...(index === undefined ? [] : [element('IndexDocument', element('Suffix', index))]), ...(error === undefined ? [] : [element('ErrorDocument', element('Key', error))]),
      ])
    },
    put: { root: 'WebsiteConfiguration', change: (configuration) => ({ website: websiteIn(configuration) }) },
    remove: { website: null },
  },
  'object-lock': {
    get: ({ objectLock }) => {
      if (objectLock === undefined) throw absent('ObjectLockConfigurationNotFoundError', 'object lock')
      const { defaultRetention: rule } = objectLock
      return document('ObjectLockConfiguration', [element('ObjectLockEnabled', 'Enabled'), ...(rule === undefined ? [] : [element('Rule', element('DefaultRetention', [element('Mode', rule.mode.toUpperCase()), 'days' in rule ? element('Days', rule.days) : element('Years', rule.years)]))])])
    },
    put: { root: 'ObjectLockConfiguration', change: (configuration, { versioning }) => {
      if (versioning !== 'enabled') throw new S3Error('InvalidBucketState', 'locks are of versions: enable versioning first')
      return { objectLock: objectLockIn(configuration) }
    } },
  },
} as const satisfies Readonly<Record<string, Setting>>

export async function getSetting (exchange: S3Exchange, { get }: Setting): Promise<void> {
  const { settings: found = {} } = await exchange.node.objects.bucket(exchange.bucket, { signal: exchange.signal })
  sendXml(exchange, get(found))
}

export async function putSetting (exchange: S3Exchange, { put }: Setting): Promise<void> {
  const { node: { objects }, bucket, signal } = exchange
  if (put === undefined) throw new S3Error('MethodNotAllowed', 'this cannot be set')
  const configuration = await xmlBody(exchange, put.root)
  const { settings: found = {} } = await objects.bucket(bucket, { signal })
  await objects.setBucketSettings(bucket, put.change(configuration, found), { signal })
  sendNothing(exchange)
}

export async function deleteSetting (exchange: S3Exchange, { remove }: Setting): Promise<void> {
  if (remove === undefined) throw new S3Error('MethodNotAllowed', 'this cannot be taken away')
  await exchange.node.objects.setBucketSettings(exchange.bucket, remove, { signal: exchange.signal })
  sendNothing(exchange, 204)
}

/** GET, PUT, DELETE BUCKET?policy, which is JSON. */
export async function getPolicy (exchange: S3Exchange): Promise<void> {
  const { settings: { policy } = {} } = await exchange.node.objects.bucket(exchange.bucket, { signal: exchange.signal })
  if (policy === undefined) throw absent('NoSuchBucketPolicy', 'policy')
  const body = Buffer.from(policy)
  exchange.response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.byteLength }).end(body)
}

export const policyLimits = { maxBytes: 20 * 1024 } as const

export async function putPolicy (exchange: S3Exchange): Promise<void> {
  const { node: { objects }, bucket, signal } = exchange
  const text = (await wholeBody(exchange.payload(), policyLimits.maxBytes)).toString('utf8')
  // what is not understood is refused now, not passed over later
  checkPolicy(text, bucket)
  await objects.setBucketSettings(bucket, { policy: text }, { signal })
  sendNothing(exchange, 204)
}

export async function deletePolicy (exchange: S3Exchange): Promise<void> {
  await exchange.node.objects.setBucketSettings(exchange.bucket, { policy: null }, { signal: exchange.signal })
  sendNothing(exchange, 204)
}

export async function getPolicyStatus (exchange: S3Exchange): Promise<void> {
  const { bucket, signal, node: { objects } } = exchange
  const { settings: { policy } = {} } = await objects.bucket(bucket, { signal })
  if (policy === undefined) throw absent('NoSuchBucketPolicy', 'policy')
  const isPublic = parsePolicy(policy, bucket).some(({ effect, principals }) => effect === 'Allow' && principals.includes('*'))
  sendXml(exchange, document('PolicyStatus', element('IsPublic', isPublic ? 'TRUE' : 'FALSE')))
}

/** @throws S3Error for what would take all tags away unsaid */
export function tagsOf (tagging: XmlNode): Tags {
  demandForm(tagging, { TagSet: { 'Tag*': { Key: 'text', Value: 'text' } } })
  const set = child(tagging, 'TagSet')
  if (set === undefined) throw new S3Error('MalformedXML', 'a Tagging has a TagSet of Tags')
  return childrenOf(set, 'Tag').map((tag) => [childText(tag, 'Key') ?? '', childText(tag, 'Value') ?? ''] as const)
}

export const taggingDocument = (tags: Tags): string => document('Tagging', element('TagSet', tags.map(([key, value]): XmlElement => element('Tag', [element('Key', key), element('Value', value)]))))

const websiteForm = { IndexDocument: { Suffix: 'text' }, ErrorDocument: { Key: 'text' }, RedirectAllRequestsTo: { HostName: 'text', Protocol: 'text' } } as const

export function websiteIn (configuration: XmlNode): NonNullable<BucketSettings['website']> {
  if (child(configuration, 'RoutingRules') !== undefined) throw new S3Error('NotImplemented', 'routing rules of websites are not understood here')
  demandForm(configuration, websiteForm)
  const redirect = child(configuration, 'RedirectAllRequestsTo')
  const [index, error, host, protocol] = [childText(child(configuration, 'IndexDocument'), 'Suffix'), childText(child(configuration, 'ErrorDocument'), 'Key'), childText(redirect, 'HostName'), childText(redirect, 'Protocol')]
  const isHalf = [['IndexDocument', index], ['ErrorDocument', error], ['RedirectAllRequestsTo', host]].some(([name = '', text]) => text === undefined && child(configuration, name) !== undefined)
  if (isHalf) throw new S3Error('MalformedXML', 'an IndexDocument has a Suffix, an ErrorDocument a Key, and RedirectAllRequestsTo a HostName')
  if (protocol !== undefined && protocol !== 'http' && protocol !== 'https') throw new S3Error('MalformedXML', 'Protocol is http or https')
  if (index === undefined && host === undefined) throw new S3Error('InvalidArgument', 'a website has an IndexDocument, or redirects all requests')
  return { ...(index === undefined ? {} : { index }), ...(error === undefined ? {} : { error }), ...(host === undefined ? {} : { redirectAllTo: { host, ...(protocol === undefined ? {} : { protocol }) } }) }
}

const lockForm = { ObjectLockEnabled: 'text', Rule: { DefaultRetention: { Mode: 'text', Days: 'text', Years: 'text' } } } as const

export function objectLockIn (configuration: XmlNode): ObjectLock {
  demandForm(configuration, lockForm)
  if (childText(configuration, 'ObjectLockEnabled') !== 'Enabled') throw new S3Error('MalformedXML', 'ObjectLockEnabled is Enabled')
  const rule = child(child(configuration, 'Rule'), 'DefaultRetention')
  if (rule === undefined && child(configuration, 'Rule') !== undefined) throw new S3Error('MalformedXML', 'the Rule of an object lock has a DefaultRetention')
  if (rule === undefined) return {}
  const [mode, days, years] = [childText(rule, 'Mode'), childText(rule, 'Days'), childText(rule, 'Years')]
  if (mode !== 'GOVERNANCE' && mode !== 'COMPLIANCE') throw new S3Error('MalformedXML', 'the mode of a retention is GOVERNANCE or COMPLIANCE')
  if ((days === undefined) === (years === undefined)) throw new S3Error('MalformedXML', 'a default retention has Days or Years')
  if (!/^\d{1,6}$/.test(days ?? years ?? '')) throw new S3Error('MalformedXML', 'Days and Years are numbers')
  const kind = mode === 'GOVERNANCE' ? 'governance' : 'compliance'
  return { defaultRetention: days === undefined ? { mode: kind, years: Number(years) } : { mode: kind, days: Number(days) } }
}
