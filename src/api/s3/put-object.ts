import type { CopyOptions, ObjectName, OfVersion } from '../../objects/index.ts'
import { tagsAlong } from '../tags-along.ts'
import { demandNoGrants } from './buckets.ts'
import { decoded } from './canonical.ts'
import { checkReadConditions, demandToldEtag, hasReadConditions, writeConditionsIn } from './conditions.ts'
import { S3Error } from './errors.ts'
import { askedBy, type S3Exchange, sendNothing } from './exchange.ts'
import { targetOf } from './get-object.ts'
import { checksumHeaders, checksumName, checksumText, describedIn, etagIn, retentionIn, tagsIn, versionHeader } from './object-headers.ts'
import { sendPatiently } from './patience.ts'
import { algorithmIn } from './payload.ts'
import { document, element } from './xml.ts'

/** PUT BUCKET/KEY */
export async function putObject (exchange: S3Exchange): Promise<void> {
  const { node: { objects }, header, signal } = exchange
  demandPlain(exchange)
  if (exchange.parameters.has('partNumber')) throw new S3Error('InvalidArgument', 'a part has an uploadId beside its partNumber; by itself it would be the whole object', { fields: { ArgumentName: 'partNumber', ArgumentValue: exchange.parameters.get('partNumber')?.slice(0, 40) ?? '' } })
  await demandBeside(exchange)
  const conditions = writeConditionsIn(header)
  await demandToldEtag(exchange, conditions)
  const payload = exchange.payload()
  const info = await objects.put(targetOf(exchange), payload, {
    ...describedIn(exchange), ...retentionIn(exchange), ...conditions, tags: tagsIn(header('x-amz-tagging')),
    sizeBytes: payload.sizeBytes, wantsMd5: true, checksum: payload.checksum, digests: payload.digests, digesting: payload.digesting, expected: payload.expected, askedBy: askedBy(exchange), signal,
  })
  sendNothing(exchange, 200, { etag: `"${info.etag}"`, ...versionHeader(info), ...checksumHeaders(info) })
}

/** PUT BUCKET/KEY with x-amz-copy-source */
export async function copyObject (exchange: S3Exchange): Promise<void> {
  const { node: { objects }, header, signal } = exchange
  demandPlain(exchange)
  await demandBeside(exchange)
  const source = await copySourceIn(exchange)
  if (header('x-amz-copy-source-range') !== undefined) throw new S3Error('InvalidArgument', 'x-amz-copy-source-range is of a part (uploadId and partNumber); a copy is of the whole')
  const [isReplaced, areTagsReplaced] = [isReplacing(header('x-amz-metadata-directive')), isReplacing(header('x-amz-tagging-directive'))]
  // onto itself it has one, or was put where nobody wanted it; to want it counts as a change, as does a storage class or encryption to clients
  const wantsMd5 = source.bucket !== exchange.bucket || source.key !== exchange.key || isReplaced || notKept.some((name) => header(name) !== undefined) ? true : undefined
  const conditions = { ...writeConditionsIn(header), ...sourceConditionsIn(header) }
  await demandToldEtag(exchange, conditions)
  // a redirect is one object's, and no copy's unless it says so (https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html)
  const described = describedIn(exchange)
  const options: CopyOptions = {
    ...retentionIn(exchange), ...conditions, ...(isReplaced ? { replace: described } : { redirect: described.headers['website-redirect-location'] ?? null }),
    ...(areTagsReplaced ? { tags: tagsIn(header('x-amz-tagging')) ?? [] } : await tagsAlong(objects, { source, target: targetOf(exchange), demand: demandTagsOf(exchange, source), signal })),
    wantsMd5, checksum: algorithmIn(header('x-amz-checksum-algorithm')), signal,
  }
  await sendPatiently(exchange, {
    isConditional: Object.keys(conditions).length > 0,
    async answer () {
      const info = await objects.copy(source, targetOf(exchange), options)
      const { checksum, parts } = info.attributes
      const xml = document('CopyObjectResult', [
        element('ETag', `"${info.etag}"`), element('LastModified', info.modified),
        ...(checksum === undefined ? [] : [element(checksumName(checksum.algorithm), checksumText(checksum, parts?.count)), element('ChecksumType', checksum.type)]),
      ])
      return { xml, headers: { ...versionHeader(info), ...(source.versionId === undefined ? {} : { 'x-amz-copy-source-version-id': source.versionId }) } }
    },
  })
}

const demandTagsOf = ({ demand, bucket, key }: Pick<S3Exchange, 'demand' | 'bucket' | 'key'>, source: ObjectName & OfVersion) => async (): Promise<void> => {
  await demand({ operation: `s3:${source.versionId === undefined ? 'GetObjectTagging' : 'GetObjectVersionTagging'}`, action: 'read', bucket: source.bucket, key: source.key })
  await demand({ operation: 's3:PutObjectTagging', action: 'write', bucket, key })
}

// by which clients have an object stored anew; said of a copy onto itself AWS makes it one
const notKept = ['x-amz-storage-class', 'x-amz-server-side-encryption']

function isReplacing (directive: string | undefined): boolean {
  if (directive !== undefined && directive !== 'COPY' && directive !== 'REPLACE') throw new S3Error('InvalidArgument', 'what becomes of metadata and of tags is COPY or REPLACE', { fields: { ArgumentValue: directive.slice(0, 40) } })
  return directive === 'REPLACE'
}

/** What is encrypted by keys of its own, or kept elsewhere, is not to be had here; saying nothing would be worse. @throws S3Error */
export function demandPlain ({ header, headers }: Pick<S3Exchange, 'header' | 'headers'>): void {
  demandNoGrants(headers)
  demandWhole({ header })
  const encryption = header('x-amz-server-side-encryption')
  if (encryption !== undefined && encryption !== 'AES256') throw new S3Error('NotImplemented', 'everything is encrypted here already, by the cluster\'s keys; keys of a KMS are not known')
  const acl = header('x-amz-acl')
  if (acl !== undefined && !['private', 'bucket-owner-full-control', 'bucket-owner-read'].includes(acl)) throw new S3Error('NotImplemented', 'objects have no access lists here; open the bucket (x-amz-acl: public-read when it is made, or a policy)')
}

const customerKeys = ['', 'copy-source-'].flatMap((of) => ['algorithm', 'key', 'key-md5'].map((name) => `x-amz-${of}server-side-encryption-customer-${name}`))

/** A body is the whole of what it is for, and is not encrypted by a key that the client alone has. @throws S3Error */
export function demandWhole ({ header }: Pick<S3Exchange, 'header'>): void {
  if (customerKeys.some((name) => header(name) !== undefined)) throw new S3Error('NotImplemented', 'everything is encrypted here already; keys of the client (SSE-C) are not taken')
  if (header('x-amz-write-offset-bytes') !== undefined) throw new S3Error('NotImplemented', 'nothing is appended to objects here: x-amz-write-offset-bytes would have replaced it')
  // RFC 9110 §14.5: a fragment is not to be stored as the whole
  if (header('content-range') !== undefined) throw new S3Error('InvalidArgument', 'a body with Content-Range is a piece of an object, and would be stored as all of it; upload in parts')
}

/** Who puts may say tags and locks with it only if the policy lets them set those too: a lock that anybody can put on what anybody may upload, nobody can remove. @throws S3Error AccessDenied */
export async function demandBeside ({ header, demand, bucket, key }: Pick<S3Exchange, 'header' | 'demand' | 'bucket' | 'key'>): Promise<void> {
  for (const [name, operation] of besides) if (header(name) !== undefined) await demand({ operation, action: 'write', bucket, key })
}

const besides = [['x-amz-tagging', 's3:PutObjectTagging'], ['x-amz-object-lock-mode', 's3:PutObjectRetention'], ['x-amz-object-lock-legal-hold', 's3:PutObjectLegalHold']] as const

/** The object that x-amz-copy-source names, which who asks may read and which is as it is to be. @throws S3Error */
export async function copySourceIn (exchange: S3Exchange): Promise<ObjectName & OfVersion> {
  const { header, node: { objects }, signal } = exchange
  const text = header('x-amz-copy-source') ?? ''
  const [path = '', query = ''] = text.split('?versionId=')
  const whole = decoded(path).replace(/^\//, '')
  const at = whole.indexOf('/')
  if (at < 1 || at === whole.length - 1) throw new S3Error('InvalidArgument', 'x-amz-copy-source is BUCKET/KEY, percent-encoded', { fields: { ArgumentName: 'x-amz-copy-source', ArgumentValue: text.slice(0, 200) } })
  const source: ObjectName & OfVersion = { bucket: whole.slice(0, at), key: whole.slice(at + 1), ...(query === '' ? {} : { versionId: decoded(query) }) }
  await exchange.demand({ operation: source.versionId === undefined ? 's3:GetObject' : 's3:GetObjectVersion', action: 'read', bucket: source.bucket, key: source.key })
  if (hasReadConditions(header, sourcePrefix)) checkReadConditions(header, await objects.head(source, { versionId: source.versionId, signal }), sourcePrefix)
  return source
}

const sourcePrefix = 'x-amz-copy-source-'

/** Held by the engine too, in the very copy: the source may change after it was looked at. */
export function sourceConditionsIn (header: S3Exchange['header']): Pick<CopyOptions, 'sourceIfMatch' | 'sourceIfNoneMatch'> {
  const [match, noneMatch] = [etagIn(header(`${sourcePrefix}if-match`)), etagIn(header(`${sourcePrefix}if-none-match`))]
  return { ...(match === undefined ? {} : { sourceIfMatch: match }), ...(noneMatch === undefined ? {} : { sourceIfNoneMatch: noneMatch }) }
}
