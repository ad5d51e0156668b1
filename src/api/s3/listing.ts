import type { ObjectInfo } from '../../objects/index.ts'
import { encodedKey } from './canonical.ts'
import { S3Error } from './errors.ts'
import { numberIn, owner, type S3Exchange, sendXml } from './exchange.ts'
import { document, element, given, type XmlElement } from './xml.ts'

const maxPage = 1000

/** GET BUCKET and GET BUCKET?list-type=2 */
export async function listObjects (exchange: S3Exchange): Promise<void> {
  const { node: { objects }, bucket, parameters, signal } = exchange
  const type = parameters.get('list-type') ?? '1'
  if (type !== '1' && type !== '2') throw new S3Error('InvalidArgument', 'list-type takes 2, or is left out', { fields: { ArgumentName: 'list-type', ArgumentValue: type.slice(0, 40) } })
  const isSecond = type === '2'
  const { prefix, delimiter, limit, name } = askedOf(exchange, 'max-keys')
  const [token, startAfter, marker] = [parameters.get('continuation-token'), parameters.get('start-after'), parameters.get('marker')]
  const after = isSecond ? (token === undefined ? startAfter : keyOfToken(token)) : marker
  // a page of none says nothing of what there is
  const page = limit === 0 ? (await objects.bucket(bucket, { signal }), { objects: [], prefixes: [], next: undefined }) : await objects.list(bucket, { prefix, delimiter, after: after === '' ? undefined : after, limit, signal })
  const withOwner = !isSecond || parameters.get('fetch-owner') === 'true'
  sendXml(exchange, document('ListBucketResult', [
    element('Name', bucket), element('Prefix', name(prefix)), given('Delimiter', delimiter === '' ? undefined : name(delimiter)), element('MaxKeys', limit), given('EncodingType', parameters.get('encoding-type')),
    element('IsTruncated', page.next !== undefined),
    ...(isSecond
      ? [element('KeyCount', page.objects.length + page.prefixes.length), given('ContinuationToken', token), given('NextContinuationToken', page.next === undefined ? undefined : tokenOfKey(page.next)), given('StartAfter', startAfter === undefined ? undefined : name(startAfter))]
      : [element('Marker', name(marker ?? '')), given('NextMarker', page.next === undefined ? undefined : name(page.next))]),
    page.objects.map((info) => element('Contents', [element('Key', name(info.key)), ...contentsOf(info), ...(withOwner ? [ownerElement('Owner')] : [])])),
    page.prefixes.map((common) => element('CommonPrefixes', element('Prefix', name(common)))),
  ]))
}

/** GET BUCKET?versions */
export async function listVersions (exchange: S3Exchange): Promise<void> {
  const { node: { objects }, bucket, parameters, signal } = exchange
  const { prefix, delimiter, limit, name } = askedOf(exchange, 'max-keys')
  const [keyMarker, idMarker] = [parameters.get('key-marker') ?? '', parameters.get('version-id-marker') ?? '']
  if (keyMarker === '' && idMarker !== '') throw new S3Error('InvalidArgument', 'A version-id marker cannot be specified without a key marker.')
  const after = keyMarker === '' ? undefined : { key: keyMarker, ...(idMarker === '' ? {} : { versionId: idMarker }) }
  const page = limit === 0 ? (await objects.bucket(bucket, { signal }), { versions: [], prefixes: [], next: undefined }) : await objects.listVersions(bucket, { prefix, delimiter, after, limit, signal })
  sendXml(exchange, document('ListVersionsResult', [
    element('Name', bucket), element('Prefix', name(prefix)), element('KeyMarker', name(keyMarker)), element('VersionIdMarker', idMarker), given('Delimiter', delimiter === '' ? undefined : name(delimiter)), element('MaxKeys', limit),
    given('EncodingType', parameters.get('encoding-type')), element('IsTruncated', page.next !== undefined),
    given('NextKeyMarker', page.next === undefined ? undefined : name(page.next.key)), given('NextVersionIdMarker', page.next?.versionId),
    page.versions.map((version) => element(version.isDeleteMarker ? 'DeleteMarker' : 'Version', [
      element('Key', name(version.key)), element('VersionId', version.isNullVersion ? 'null' : version.versionId), element('IsLatest', version.isLatest),
      ...(version.isDeleteMarker ? [element('LastModified', version.modified)] : contentsOf(version)), ownerElement('Owner'),
    ])),
    page.prefixes.map((common) => element('CommonPrefixes', element('Prefix', name(common)))),
  ]))
}

export interface Asked {
  readonly prefix: string
  readonly delimiter: string
  readonly limit: number
  /** A key as it stands in the answer. */
  readonly name: (key: string) => string
}

export function askedOf (exchange: S3Exchange, limitName: string): Asked {
  const { parameters } = exchange
  const encoding = parameters.get('encoding-type')
  if (encoding !== undefined && encoding !== 'url') throw new S3Error('InvalidArgument', 'Invalid Encoding Method specified in Request', { fields: { ArgumentName: 'encoding-type', ArgumentValue: encoding.slice(0, 40) } })
  return {
    prefix: parameters.get('prefix') ?? '',
    delimiter: parameters.get('delimiter') ?? '',
    limit: numberIn(exchange, limitName, { fallback: maxPage, least: 0, most: maxPage }),
    name: encoding === 'url' ? encodedKey : (key) => key,
  }
}

export const ownerElement = (name: string): XmlElement => element(name, [element('ID', owner.id), element('DisplayName', owner.displayName)])

function contentsOf ({ modified, etag, sizeBytes, attributes: { checksum } }: ObjectInfo): XmlElement[] {
  return [
    element('LastModified', modified), element('ETag', `"${etag}"`),
    ...(checksum === undefined ? [] : [element('ChecksumAlgorithm', checksum.algorithm.toUpperCase()), element('ChecksumType', checksum.type)]),
    element('Size', sizeBytes), element('StorageClass', 'STANDARD'),
  ]
}

// opaque to clients: what they do with it is to give it back
export const tokenOfKey = (key: string): string => Buffer.from(`1${key}`, 'utf8').toString('base64url')

export function keyOfToken (token: string): string {
  const text = Buffer.from(token, 'base64url').toString('utf8')
  if (!text.startsWith('1') || tokenOfKey(text.slice(1)) !== token) throw new S3Error('InvalidArgument', 'The continuation token provided is incorrect', { fields: { ArgumentName: 'continuation-token' } })
  return text.slice(1)
}
