import { type AttributesChange, WithoutLocks } from '../../objects/index.ts'
import { taggingDocument, tagsOf } from './bucket-settings.ts'
import { S3Error } from './errors.ts'
import { type S3Exchange, sendNothing, sendXml, xmlBody } from './exchange.ts'
import { targetOf, versionIn } from './get-object.ts'
import { checksumName, checksumText, retentionOf, versionHeader } from './object-headers.ts'
import { demandForm } from './xml-form.ts'
import { childText } from './xml-reader.ts'
import { document, element, given } from './xml.ts'

/** What is beside the content of one version: tags, retention, hold; and what is known of it altogether. */
async function infoOf (exchange: S3Exchange): ReturnType<S3Exchange['node']['objects']['head']> {
  return exchange.node.objects.head(targetOf(exchange), { ...versionIn(exchange), signal: exchange.signal })
}

async function change (exchange: S3Exchange, changes: AttributesChange, { status = 200, mayBypassGovernance = false } = {}): Promise<void> {
  const info = await exchange.node.objects.setAttributes({ ...targetOf(exchange), ...versionIn(exchange) }, changes, { signal: exchange.signal, mayBypassGovernance })
  sendNothing(exchange, status, versionHeader(info))
}

export async function getTagging (exchange: S3Exchange): Promise<void> {
  const info = await infoOf(exchange)
  sendXml(exchange, taggingDocument(info.attributes.tags ?? []), versionHeader(info))
}

export async function putTagging (exchange: S3Exchange): Promise<void> {
  await change(exchange, { tags: tagsOf(await xmlBody(exchange, 'Tagging')) })
}

export async function deleteTagging (exchange: S3Exchange): Promise<void> { await change(exchange, { tags: [] }, { status: 204 }) }

export async function getRetention (exchange: S3Exchange): Promise<void> {
  const { attributes: { retention } } = await infoOf(exchange)
  if (retention === undefined) await demandLocks(exchange)
  if (retention === undefined) throw new S3Error('NoSuchObjectLockConfiguration', 'The specified object does not have a ObjectLock configuration')
  sendXml(exchange, document('Retention', [element('Mode', retention.mode.toUpperCase()), element('RetainUntilDate', new Date(retention.untilMs).toISOString())]))
}

/** @throws WithoutLocks */
async function demandLocks ({ node: { objects }, bucket, signal }: S3Exchange): Promise<void> {
  const { settings } = await objects.bucket(bucket, { signal })
  if (settings?.objectLock === undefined) throw new WithoutLocks(bucket)
}

export async function putRetention (exchange: S3Exchange): Promise<void> {
  const retention = await xmlBody(exchange, 'Retention')
  demandForm(retention, { Mode: 'text', RetainUntilDate: 'text' })
  const [mode, until] = [childText(retention, 'Mode'), childText(retention, 'RetainUntilDate')]
  // half of one would be none, and a lock that is not there
  if ((mode === undefined) !== (until === undefined) || (mode === undefined && retention.children.length > 0)) throw new S3Error('MalformedXML', 'a Retention has a Mode and a RetainUntilDate, or nothing to take it away')
  const mayBypassGovernance = exchange.header('x-amz-bypass-governance-retention')?.toLowerCase() === 'true'
  if (mayBypassGovernance) await exchange.demand({ operation: 's3:BypassGovernanceRetention', action: 'admin', bucket: exchange.bucket, key: exchange.key })
  await change(exchange, { retention: mode === undefined || until === undefined ? null : retentionOf(mode, until) }, { mayBypassGovernance })
}

export async function getLegalHold (exchange: S3Exchange): Promise<void> {
  const { attributes: { isHeld } } = await infoOf(exchange)
  if (isHeld === undefined) await demandLocks(exchange)
  sendXml(exchange, document('LegalHold', element('Status', isHeld === true ? 'ON' : 'OFF')))
}

export async function putLegalHold (exchange: S3Exchange): Promise<void> {
  const hold = await xmlBody(exchange, 'LegalHold')
  demandForm(hold, { Status: 'text' })
  const status = childText(hold, 'Status')
  if (status !== 'ON' && status !== 'OFF') throw new S3Error('MalformedXML', 'the Status of a legal hold is ON or OFF')
  // whoever may put and remove would otherwise be held by nothing
  if (status === 'OFF') await exchange.demand({ operation: 's3:PutObjectLegalHold', action: 'admin', bucket: exchange.bucket, key: exchange.key })
  await change(exchange, { isHeld: status === 'ON' })
}

const attributeNames: ReadonlySet<string> = new Set(['ETag', 'Checksum', 'ObjectParts', 'StorageClass', 'ObjectSize'])

/** GET BUCKET/KEY?attributes */
export async function getAttributes (exchange: S3Exchange): Promise<void> {
  const asked = new Set((exchange.header('x-amz-object-attributes') ?? '').split(',').map((name) => name.trim()))
  if (asked.difference(attributeNames).size > 0) throw new S3Error('InvalidArgument', `x-amz-object-attributes names what is asked for: ${[...attributeNames].join(', ')}`)
  // as at AWS: what is denied to be read is not told either
  await exchange.demand({ operation: exchange.parameters.has('versionId') ? 's3:GetObjectVersion' : 's3:GetObject', action: 'read', bucket: exchange.bucket, key: exchange.key })
  const info = await infoOf(exchange)
  const { attributes: { checksum, parts } } = info
  sendXml(exchange, document('GetObjectAttributesResponse', [
    given('ETag', asked.has('ETag') ? info.etag : undefined),
    ...(asked.has('Checksum') && checksum !== undefined ? [element('Checksum', [element(checksumName(checksum.algorithm), checksumText(checksum, parts?.count)), element('ChecksumType', checksum.type)])] : []),
    ...(asked.has('ObjectParts') && parts !== undefined ? [element('ObjectParts', element('PartsCount', parts.count))] : []),
    given('StorageClass', asked.has('StorageClass') ? 'STANDARD' : undefined),
    given('ObjectSize', asked.has('ObjectSize') ? info.sizeBytes : undefined),
  ]), { 'last-modified': new Date(info.modified).toUTCString(), ...versionHeader(info) })
}
