import type { LifecycleRule } from '../../objects/index.ts'
import { isoDateMs } from '../../base/iso-date.ts'
import { S3Error } from './errors.ts'
import { demandForm } from './xml-form.ts'
import { child, childrenOf, childText, type XmlNode } from './xml-reader.ts'
import { document, element, given } from './xml.ts'

/** Rules by which objects go (https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketLifecycleConfiguration.html). There are no storage classes to move to: such a rule is refused, not half taken, and so is what is not known: a misspelt filter would let everything go. */
export function lifecycleRulesIn (configuration: XmlNode): LifecycleRule[] {
  const rules = childrenOf(configuration, 'Rule')
  if (rules.length === 0) throw new S3Error('MalformedXML', 'a lifecycle configuration has rules; DELETE takes it away')
  for (const rule of rules) if (child(rule, 'Transition') !== undefined || child(rule, 'NoncurrentVersionTransition') !== undefined) throw new S3Error('NotImplemented', 'there are no storage classes here that objects could be moved to; leave transitions out')
  demandForm(configuration, form)
  return rules.map((rule, i) => {
    const status = childText(rule, 'Status')
    if (status !== 'Enabled' && status !== 'Disabled') throw new S3Error('MalformedXML', 'the Status of a rule is Enabled or Disabled')
    const of = conditionsOf(rule)
    const tags = childrenOf(of, 'Tag').map((tag) => [childText(tag, 'Key') ?? '', childText(tag, 'Value') ?? ''] as const)
    const [expiration, noncurrent, abort] = [child(rule, 'Expiration'), child(rule, 'NoncurrentVersionExpiration'), child(rule, 'AbortIncompleteMultipartUpload')]
    if (childText(expiration, 'ExpiredObjectDeleteMarker') === 'true' && (expiration?.children.length ?? 0) > 1) throw new S3Error('MalformedXML', 'an Expiration has Days, Date or ExpiredObjectDeleteMarker, one of them')
    return defined({
      id: childText(rule, 'ID') ?? `rule-${i + 1}`,
      isEnabled: status === 'Enabled',
      prefix: childText(of, 'Prefix') ?? '',
      tags: tags.length === 0 ? undefined : tags,
      minSizeBytes: numberOf(of, 'ObjectSizeGreaterThan', 1),
      maxSizeBytes: numberOf(of, 'ObjectSizeLessThan', -1),
      expireDays: numberOf(expiration, 'Days'),
      expireDate: dateIn(expiration),
      expireDeleteMarkers: childText(expiration, 'ExpiredObjectDeleteMarker') === 'true' ? true as const : undefined,
      noncurrentDays: numberOf(noncurrent, 'NoncurrentDays'),
      noncurrentKept: numberOf(noncurrent, 'NewerNoncurrentVersions'),
      abortUploadsDays: numberOf(abort, 'DaysAfterInitiation'),
    })
  })
}

const conditions = { Prefix: 'text', ObjectSizeGreaterThan: 'text', ObjectSizeLessThan: 'text' } as const
const tag = { Key: 'text', Value: 'text' } as const
const form = {
  'Rule*': {
    ID: 'text', Prefix: 'text', Filter: { ...conditions, Tag: tag, And: { ...conditions, 'Tag*': tag } }, Status: 'text',
    Expiration: { Days: 'text', Date: 'text', ExpiredObjectDeleteMarker: 'text' }, NoncurrentVersionExpiration: { NoncurrentDays: 'text', NewerNoncurrentVersions: 'text' }, AbortIncompleteMultipartUpload: { DaysAfterInitiation: 'text' },
  },
  // of transitions, and so of nothing here; AWS's tools print it beside the rules
  TransitionDefaultMinimumObjectSize: 'text',
} as const

/** Where a rule says of which objects it is: in its Filter, that one's And, or by itself, as in the first version of S3. It must say so: without, it would be of all. @throws S3Error MalformedXML */
function conditionsOf (rule: XmlNode): XmlNode {
  const filter = child(rule, 'Filter')
  if ((filter === undefined) === (child(rule, 'Prefix') === undefined)) throw new S3Error('MalformedXML', 'a rule has a Filter, or a Prefix; for all objects an empty one')
  if (filter === undefined) return rule
  if (filter.children.length > 1) throw new S3Error('MalformedXML', 'a Filter of several conditions has them in And')
  const and = child(filter, 'And')
  if (and?.children.length === 0) throw new S3Error('MalformedXML', 'And has conditions')
  if (childrenOf(and ?? filter, 'Tag').some((one) => childText(one, 'Key') === undefined || childText(one, 'Value') === undefined)) throw new S3Error('MalformedXML', 'a Tag has a Key and a Value')
  return and ?? filter
}

/** @throws S3Error */
function dateIn (expiration: XmlNode | undefined): string | undefined {
  const text = childText(expiration, 'Date')
  if (text === undefined) return undefined
  const ms = isoDateMs(text)
  if (ms === undefined) throw new S3Error('MalformedXML', 'the Date of an Expiration is of the form 2030-01-02T00:00:00Z')
  if (ms % 86_400_000 !== 0) throw new S3Error('InvalidArgument', '\'Date\' must be at midnight GMT')
  return text
}

function numberOf (node: XmlNode | undefined, name: string, more = 0): number | undefined {
  const text = childText(node, name)
  if (text === undefined) return undefined
  if (!/^\d{1,15}$/.test(text)) throw new S3Error('MalformedXML', `${name} is a number`)
  return Number(text) + more
}

const defined = (rule: { [name in keyof LifecycleRule]: LifecycleRule[name] | undefined }): LifecycleRule => Object.fromEntries(Object.entries(rule).filter(([, value]) => value !== undefined)) as unknown as LifecycleRule

export const lifecycleDocument = (rules: readonly LifecycleRule[]): string => document('LifecycleConfiguration', rules.map((rule) => {
  const conditions = [
    ...(rule.prefix === '' ? [] : [element('Prefix', rule.prefix)]), ...(rule.tags ?? []).map(([key, value]) => element('Tag', [element('Key', key), element('Value', value)])),
    ...(rule.minSizeBytes === undefined ? [] : [element('ObjectSizeGreaterThan', rule.minSizeBytes - 1)]), ...(rule.maxSizeBytes === undefined ? [] : [element('ObjectSizeLessThan', rule.maxSizeBytes + 1)]),
  ]
  const expiration = [given('Days', rule.expireDays), given('Date', rule.expireDate), given('ExpiredObjectDeleteMarker', rule.expireDeleteMarkers)].filter((one) => one !== undefined)
  const noncurrent = [given('NoncurrentDays', rule.noncurrentDays), given('NewerNoncurrentVersions', rule.noncurrentKept)].filter((one) => one !== undefined)
  return element('Rule', [
    element('ID', rule.id), element('Filter', conditions.length > 1 ? element('And', conditions) : conditions.length === 1 ? conditions : element('Prefix', '')), element('Status', rule.isEnabled ? 'Enabled' : 'Disabled'),
    ...(expiration.length === 0 ? [] : [element('Expiration', expiration)]), ...(noncurrent.length === 0 ? [] : [element('NoncurrentVersionExpiration', noncurrent)]),
    ...(rule.abortUploadsDays === undefined ? [] : [element('AbortIncompleteMultipartUpload', element('DaysAfterInitiation', rule.abortUploadsDays))]),
  ])
}))
