import { NotFound } from '../../base/errors.ts'
import { NothingToMatch, type ObjectName, type Objects, type Removal, type RemoveOptions } from '../../objects/index.ts'
import { demandToldEtag } from './conditions.ts'
import { S3Error, s3ErrorOf } from './errors.ts'
import { type S3Exchange, sendNothing, sendXml, xmlBody } from './exchange.ts'
import { targetOf, versionIn } from './get-object.ts'
import { etagIn } from './object-headers.ts'
import { demandForm } from './xml-form.ts'
import { childrenOf, childText } from './xml-reader.ts'
import { document, element, given, type XmlElement } from './xml.ts'

export const deleteLimits = {
  /** Keys of one request, as of AWS. */
  maxKeys: 1000,
  atOnce: 16,
} as const

const bypasses = ({ header }: Pick<S3Exchange, 'header'>): boolean => header('x-amz-bypass-governance-retention')?.toLowerCase() === 'true'

/** DELETE BUCKET/KEY: absent is fine. */
export async function deleteObject (exchange: S3Exchange): Promise<void> {
  const { node: { objects }, header, signal } = exchange
  demandKnownConditions(header)
  await demandBypass(exchange, exchange.key)
  const ifMatch = etagIn(header('if-match'))
  await demandToldEtag(exchange, { ifMatch })
  const { versionId, isNullVersion, isDeleteMarker } = await removed(objects, targetOf(exchange), { ...versionIn(exchange), ifMatch, mayBypassGovernance: bypasses(exchange), signal })
  sendNothing(exchange, 204, {
    ...(versionId === undefined ? {} : { 'x-amz-version-id': isNullVersion === true ? 'null' : versionId }),
    ...(isDeleteMarker ? { 'x-amz-delete-marker': 'true' } : {}),
  })
}

/** A deletion whose condition is passed over deletes what was to stay. @throws S3Error NotImplemented */
export function demandKnownConditions (header: S3Exchange['header']): void {
  const unknown = ['if-none-match', 'x-amz-if-match-size', 'x-amz-if-match-last-modified-time', 'x-amz-if-match-initiated-time'].find((name) => header(name) !== undefined)
  if (unknown !== undefined) throw new S3Error('NotImplemented', `${unknown} is not understood here, so nothing was deleted; If-Match is, of objects`)
}

/** What is to be a certain object and is none is no less wrong than another. @throws S3Error PreconditionFailed */
function removed (objects: Objects, target: ObjectName, options: RemoveOptions): Promise<Removal> {
  return objects.remove(target, options).catch((error: unknown) => { throw error instanceof NothingToMatch ? new S3Error('PreconditionFailed', error.message, { cause: error }) : error })
}

/** Only whoever may change the bucket lifts what holds in governance mode. */
async function demandBypass (exchange: S3Exchange, key: string): Promise<void> {
  if (bypasses(exchange)) await exchange.demand({ operation: 's3:BypassGovernanceRetention', action: 'admin', bucket: exchange.bucket, key })
}

const form = { 'Object*': { Key: 'text', VersionId: 'text', ETag: 'text' }, Quiet: 'text' } as const

interface Named { readonly key: string, readonly versionId: string | undefined, readonly etag: string | undefined }

/** POST BUCKET?delete */
export async function deleteObjects (exchange: S3Exchange): Promise<void> {
  const { node: { objects }, bucket, signal } = exchange
  const asked = await xmlBody(exchange, 'Delete')
  if (childrenOf(asked, 'Object').some(({ children }) => children.some(({ name }) => name === 'Size' || name === 'LastModifiedTime'))) throw new S3Error('NotImplemented', 'deletions are not conditional on sizes or dates here; ETag is')
  demandForm(asked, form)
  if (childrenOf(asked, 'Object').some((object) => childText(object, 'Key') === undefined)) throw new S3Error('MalformedXML', 'an Object has a Key')
  const named: Named[] = childrenOf(asked, 'Object').map((object) => ({ key: childText(object, 'Key') ?? '', versionId: childText(object, 'VersionId'), etag: etagIn(childText(object, 'ETag')) }))
  if (named.length === 0 || named.length > deleteLimits.maxKeys) throw new S3Error('MalformedXML', `one request deletes 1 to ${deleteLimits.maxKeys} keys`)
  // that the bucket is there is told once, not for each key
  await objects.bucket(bucket, { signal }).catch((error: unknown) => { throw error instanceof NotFound ? new S3Error('NoSuchBucket', error.message, { cause: error }) : error })
  const isQuiet = childText(asked, 'Quiet') === 'true'
  const results: XmlElement[] = []
  const waiting = named.values()
  await Promise.all(Array.from({ length: deleteLimits.atOnce }, async () => {
    for (const one of waiting) results.push(...await deleted(exchange, one, isQuiet))
  }))
  sendXml(exchange, document('DeleteResult', results))
}

async function deleted (exchange: S3Exchange, { key, versionId, etag }: Named, isQuiet: boolean): Promise<XmlElement[]> {
  const { node: { objects }, bucket, signal } = exchange
  try {
    await exchange.demand({ operation: versionId === undefined ? 's3:DeleteObject' : 's3:DeleteObjectVersion', action: 'write', bucket, key })
    await demandBypass(exchange, key)
    await demandToldEtag({ ...exchange, key }, { ifMatch: etag })
    const { versionId: gone, isNullVersion, isDeleteMarker } = await removed(objects, { bucket, key }, { versionId, ifMatch: etag, mayBypassGovernance: bypasses(exchange), signal })
    if (isQuiet) return []
    const id = gone === undefined ? undefined : isNullVersion === true ? 'null' : gone
    return [element('Deleted', [
      element('Key', key), given('VersionId', versionId),
      ...(isDeleteMarker ? [element('DeleteMarker', true), given('DeleteMarkerVersionId', id)] : []),
    ])]
  } catch (error) {
    const { code, message } = s3ErrorOf(error, { isConditional: etag !== undefined })
    return [element('Error', [element('Key', key), given('VersionId', versionId), element('Code', code), element('Message', message)])]
  }
}
