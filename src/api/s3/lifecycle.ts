import type { LifecycleRule } from '../../objects/index.ts'
import { S3Error } from './errors.ts'
import { child, childrenOf, childText, type XmlNode } from './xml-reader.ts'
import { document, element, given } from './xml.ts'

/** Rules by which objects go (https://docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketLifecycleConfiguration.html). There are no storage classes to move to: such a rule is refused, not half taken, and so is what is not known: a misspelt filter would let everything go. */
export function lifecycleRulesIn (configuration: XmlNode): LifecycleRule[] {
  const rules = childrenOf(configuration, 'Rule')
  if (rules.length === 0) throw new S3Error('MalformedXML', 'a lifecycle configuration has rules; DELETE takes it away')
  return rules.map((rule, i) => {
    if (child(rule, 'Transition') !== undefined || child(rule, 'NoncurrentVersionTransition') !== undefined) throw new S3Error('NotImplemented', 'there are no storage classes here that objects could be moved to; leave transitions out')
    const status = childText(rule, 'Status')
    if (status !== 'Enabled' && status !== 'Disabled') throw new S3Error('MalformedXML', 'the Status of a rule is Enabled or Disabled')
    const filter = child(rule, 'Filter')
    const of = child(filter, 'And') ?? filter
    const tags = childrenOf(of, 'Tag').map((tag) => [childText(tag, 'Key') ?? '', childText(tag, 'Value') ?? ''] as const)
    demandKnown(rule)
    const [expiration, noncurrent, abort] = [child(rule, 'Expiration'), child(rule, 'NoncurrentVersionExpiration'), child(rule, 'AbortIncompleteMultipartUpload')]
    if (childText(expiration, 'ExpiredObjectDeleteMarker') === 'true' && (expiration?.children.length ?? 0) > 1) throw new S3Error('MalformedXML', 'an Expiration has Days, Date or ExpiredObjectDeleteMarker, one of them')
    return defined({
      id: childText(rule, 'ID') ?? `rule-${i + 1}`,
      isEnabled: status === 'Enabled',
      prefix: childText(of, 'Prefix') ?? childText(rule, 'Prefix') ?? '',
      tags: tags.length === 0 ? undefined : tags,
      minSizeBytes: numberOf(of, 'ObjectSizeGreaterThan', 1),
      maxSizeBytes: numberOf(of, 'ObjectSizeLessThan', -1),
      expireDays: numberOf(expiration, 'Days'),
      expireDate: childText(expiration, 'Date'),
      expireDeleteMarkers: childText(expiration, 'ExpiredObjectDeleteMarker') === 'true' ? true as const : undefined,
      noncurrentDays: numberOf(noncurrent, 'NoncurrentDays'),
      noncurrentKept: numberOf(noncurrent, 'NewerNoncurrentVersions'),
      abortUploadsDays: numberOf(abort, 'DaysAfterInitiation'),
    })
  })
}

const sizes = ['ObjectSizeGreaterThan', 'ObjectSizeLessThan']
const known: Readonly<Record<string, readonly string[]>> = {
  Rule: ['ID', 'Prefix', 'Filter', 'Status', 'Expiration', 'NoncurrentVersionExpiration', 'AbortIncompleteMultipartUpload'], Filter: ['And', 'Prefix', 'Tag', ...sizes], And: ['Prefix', 'Tag', ...sizes], Tag: ['Key', 'Value'],
  Expiration: ['Days', 'Date', 'ExpiredObjectDeleteMarker'], NoncurrentVersionExpiration: ['NoncurrentDays', 'NewerNoncurrentVersions'], AbortIncompleteMultipartUpload: ['DaysAfterInitiation'],
}

/** @throws S3Error MalformedXML for an element that is not known where it stands, or one beside And, which would not count */
function demandKnown ({ name, children }: XmlNode): void {
  const stray = children.find((one) => known[name]?.includes(one.name) === false)
  if (stray !== undefined) throw new S3Error('MalformedXML', `there is no ${stray.name.slice(0, 40)} in a ${name}`)
  if (name === 'Filter' && children.length > 1 && children.some((one) => one.name === 'And')) throw new S3Error('MalformedXML', 'a Filter of several conditions has them in And')
  for (const one of children) if (known[one.name] !== undefined) demandKnown(one)
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
