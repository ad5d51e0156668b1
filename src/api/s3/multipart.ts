import type { ByteRange, Checksum, ChecksumAlgorithm, NamedPart, PartInfo, Upload } from '../../objects/index.ts'
import { checksumAlgorithms } from '../../objects/index.ts'
import { encodedKey } from './canonical.ts'
import { demandToldEtag, writeConditionsIn } from './conditions.ts'
import { demandKnownConditions } from './delete-object.ts'
import { S3Error } from './errors.ts'
import { askedBy, numberIn, type S3Exchange, sendNothing, sendXml, xmlBody } from './exchange.ts'
import { targetOf } from './get-object.ts'
import { askedOf, ownerElement } from './listing.ts'
import { checksumName, checksumText, describedIn, etagIn, retentionIn, tagsIn, versionHeader } from './object-headers.ts'
import { algorithmIn, digestIn } from './payload.ts'
import { sendPatiently } from './patience.ts'
import { copySourceIn, demandBeside, demandPlain, demandWhole, sourceConditionsIn } from './put-object.ts'
import { demandForm, type XmlForm } from './xml-form.ts'
import { childrenOf, childText, type XmlNode } from './xml-reader.ts'
import { document, element, given, type XmlElement } from './xml.ts'

/** POST BUCKET/KEY?uploads */
export async function createUpload (exchange: S3Exchange): Promise<void> {
  const { node: { objects: { uploads } }, bucket, key, header, signal } = exchange
  demandPlain(exchange)
  await demandBeside(exchange)
  const algorithm = algorithmIn(header('x-amz-checksum-algorithm'))
  if (algorithm === undefined && header('x-amz-checksum-type') !== undefined) throw new S3Error('InvalidRequest', 'x-amz-checksum-type is of a checksum: say its x-amz-checksum-algorithm too')
  const checksum = algorithm === undefined ? undefined : { algorithm, type: typeIn(header('x-amz-checksum-type'), algorithm) }
  const { uploadId } = await uploads.create(targetOf(exchange), { ...describedIn(exchange), ...retentionIn(exchange), tags: tagsIn(header('x-amz-tagging')), wantsMd5: true, checksum, signal })
  sendXml(exchange, document('InitiateMultipartUploadResult', [element('Bucket', bucket), element('Key', key), element('UploadId', uploadId)]),
    checksum === undefined ? {} : { 'x-amz-checksum-algorithm': checksum.algorithm.toUpperCase(), 'x-amz-checksum-type': checksum.type })
}

/** What AWS takes where nothing is said. */
function typeIn (text: string | undefined, algorithm: ChecksumAlgorithm): Checksum['type'] {
  if (text === undefined) return algorithm === 'crc64nvme' ? 'FULL_OBJECT' : 'COMPOSITE'
  return checksumTypeIn(text)
}

function checksumTypeIn (text: string): Checksum['type'] {
  if (text !== 'FULL_OBJECT' && text !== 'COMPOSITE') throw new S3Error('InvalidRequest', 'x-amz-checksum-type takes FULL_OBJECT or COMPOSITE')
  return text
}

const uploadIdIn = ({ parameters }: S3Exchange): string => parameters.get('uploadId') ?? ''

function partNumberIn ({ parameters }: S3Exchange): number {
  const text = parameters.get('partNumber') ?? ''
  if (!/^\d{1,9}$/.test(text) || Number(text) < 1 || Number(text) > 10_000) throw new S3Error('InvalidArgument', 'Part number must be an integer between 1 and 10000, inclusive', { fields: { ArgumentName: 'partNumber', ArgumentValue: text } })
  return Number(text)
}

/** PUT BUCKET/KEY?partNumber&uploadId */
export async function uploadPart (exchange: S3Exchange): Promise<void> {
  const { node: { objects: { uploads } }, signal } = exchange
  demandWhole(exchange)
  const payload = exchange.payload()
  const part = await uploads.putPart(targetOf(exchange), uploadIdIn(exchange), partNumberIn(exchange), payload, { sizeBytes: payload.sizeBytes, digests: payload.digests, digesting: payload.digesting, expected: payload.expected, askedBy: askedBy(exchange), signal })
  sendNothing(exchange, 200, { etag: `"${part.etag}"`, ...(part.checksum === undefined ? {} : { [`x-amz-checksum-${part.checksum.algorithm}`]: checksumText(part.checksum, undefined) }) })
}

/** PUT BUCKET/KEY?partNumber&uploadId with x-amz-copy-source */
export async function uploadPartCopy (exchange: S3Exchange): Promise<void> {
  const { node: { objects: { uploads } }, header, signal } = exchange
  demandWhole(exchange)
  const source = await copySourceIn(exchange)
  const [number, range] = [partNumberIn(exchange), copyRangeIn(header('x-amz-copy-source-range'))]
  await sendPatiently(exchange, {
    isConditional: Object.keys(sourceConditionsIn(header)).length > 0,
    async answer () {
      const part = await uploads.copyPart(targetOf(exchange), uploadIdIn(exchange), number, source, { ...sourceConditionsIn(header), range, signal })
      return { xml: document('CopyPartResult', [element('ETag', `"${part.etag}"`), element('LastModified', part.modified), ...checksumOf(part)]), headers: {} }
    },
  })
}

function copyRangeIn (text: string | undefined): ByteRange | undefined {
  if (text === undefined) return undefined
  const match = /^bytes=(\d{1,15})-(\d{1,15})$/.exec(text)
  if (match === null) throw new S3Error('InvalidArgument', 'The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy')
  return { first: Number(match[1]), last: Number(match[2]) }
}

/** GET BUCKET/KEY?uploadId */
export async function listParts (exchange: S3Exchange): Promise<void> {
  const { node: { objects: { uploads } }, bucket, key, parameters, signal } = exchange
  const { name, limit } = askedOf(exchange, 'max-parts')
  const after = numberIn(exchange, 'part-number-marker', { fallback: 0, least: 0, most: 10_000 })
  const found = await uploads.listParts(targetOf(exchange), uploadIdIn(exchange), { after, limit: Math.max(1, limit), signal })
  const page = limit === 0 ? { ...found, parts: [], next: undefined } : found
  sendXml(exchange, document('ListPartsResult', [
    element('Bucket', bucket), element('Key', name(key)), element('UploadId', page.upload.uploadId), ownerElement('Initiator'), ownerElement('Owner'), element('StorageClass', 'STANDARD'),
    given('EncodingType', parameters.get('encoding-type')), element('PartNumberMarker', after), given('NextPartNumberMarker', page.next), element('MaxParts', limit), element('IsTruncated', page.next !== undefined),
    ...algorithmOf(page.upload),
    page.parts.map((part) => element('Part', [element('PartNumber', part.partNumber), element('LastModified', part.modified), element('ETag', `"${part.etag}"`), element('Size', part.sizeBytes), ...checksumOf(part)])),
  ]))
}

/** GET BUCKET?uploads */
export async function listUploads (exchange: S3Exchange): Promise<void> {
  const { node: { objects: { uploads } }, bucket, parameters, signal } = exchange
  const { prefix, delimiter, limit, name } = askedOf(exchange, 'max-uploads')
  const [keyMarker, idMarker] = [parameters.get('key-marker') ?? '', parameters.get('upload-id-marker') ?? '']
  const after = keyMarker === '' ? undefined : { key: keyMarker, ...(idMarker === '' ? {} : { uploadId: idMarker }) }
  const found = await uploads.list(bucket, { prefix, delimiter, after, limit: Math.max(1, limit), signal })
  const page = limit === 0 ? { uploads: [], prefixes: [], next: undefined } : found
  sendXml(exchange, document('ListMultipartUploadsResult', [
    element('Bucket', bucket), element('KeyMarker', name(keyMarker)), element('UploadIdMarker', idMarker), given('NextKeyMarker', page.next === undefined ? undefined : name(page.next.key)), given('NextUploadIdMarker', page.next?.uploadId),
    element('Prefix', name(prefix)), given('Delimiter', delimiter === '' ? undefined : name(delimiter)), element('MaxUploads', limit), given('EncodingType', parameters.get('encoding-type')), element('IsTruncated', page.next !== undefined),
    page.uploads.map((upload) => element('Upload', [element('Key', name(upload.key)), element('UploadId', upload.uploadId), ownerElement('Initiator'), ownerElement('Owner'), element('StorageClass', 'STANDARD'), element('Initiated', upload.initiated), ...algorithmOf(upload)])),
    page.prefixes.map((common) => element('CommonPrefixes', element('Prefix', name(common)))),
  ]))
}

/** DELETE BUCKET/KEY?uploadId */
export async function abortUpload (exchange: S3Exchange): Promise<void> {
  demandKnownConditions(exchange.header)
  await exchange.node.objects.uploads.abort(targetOf(exchange), uploadIdIn(exchange), { signal: exchange.signal })
  sendNothing(exchange, 204)
}

/** POST BUCKET/KEY?uploadId */
export async function completeUpload (exchange: S3Exchange): Promise<void> {
  const { node: { objects: { uploads } }, header, signal } = exchange
  // a checksum in the headers is of the object, not of this list
  const asked = await xmlBody(exchange, 'CompleteMultipartUpload', { isChecksumOfBody: false })
  demandForm(asked, completionForm)
  const parts = childrenOf(asked, 'Part').map(namedPart)
  if (parts.length === 0) throw new S3Error('MalformedXML', 'You must specify at least one part')
  const conditions = writeConditionsIn(header)
  await demandToldEtag(exchange, conditions)
  const options = { ...conditions, ...sizeIn(header('x-amz-mp-object-size')), checksum: objectChecksumIn(header, parts.length), signal }
  await sendPatiently(exchange, {
    isConditional: Object.keys(conditions).length > 0,
    async answer () {
      const info = await uploads.complete(targetOf(exchange), uploadIdIn(exchange), parts, options)
      const { checksum, parts: made } = info.attributes
      const xml = document('CompleteMultipartUploadResult', [
        element('Location', `http${exchange.isSecure ? 's' : ''}://${header('host') ?? 'localhost'}/${info.bucket}/${encodedKey(info.key)}`), element('Bucket', info.bucket), element('Key', info.key), element('ETag', `"${info.etag}"`),
        ...(checksum === undefined ? [] : [element(checksumName(checksum.algorithm), checksumText(checksum, made?.count)), element('ChecksumType', checksum.type)]),
      ])
      return { xml, headers: versionHeader(info) }
    },
  })
}

const completionForm: XmlForm = { 'Part*': { PartNumber: 'text', ETag: 'text', ...Object.fromEntries(checksumAlgorithms.map((algorithm) => [checksumName(algorithm), 'text' as const])) } }

function namedPart (part: XmlNode): NamedPart {
  const [number, etag] = [childText(part, 'PartNumber') ?? '', etagIn(childText(part, 'ETag'))]
  if (!/^\d{1,9}$/.test(number) || etag === undefined) throw new S3Error('MalformedXML', 'a part has a PartNumber and an ETag')
  const [checksum, another] = checksumAlgorithms.flatMap((algorithm) => {
    const text = childText(part, checksumName(algorithm))
    return text === undefined ? [] : [{ algorithm, value: digestIn(algorithm, text) }]
  })
  if (another !== undefined) throw new S3Error('MalformedXML', 'a part has one checksum at most')
  return { partNumber: Number(number), etag, ...(checksum === undefined ? {} : { checksum }) }
}

/** What the client says that the whole has: of a composite one without the number of parts behind it. */
function objectChecksumIn (header: S3Exchange['header'], parts: number): Checksum | undefined {
  const type = header('x-amz-checksum-type')
  if (type !== undefined) checksumTypeIn(type)
  const [checksum, another] = checksumAlgorithms.flatMap((algorithm): Checksum[] => {
    const text = header(`x-amz-checksum-${algorithm}`)
    if (text === undefined) return []
    const [digest = '', count, ...more] = text.split('-')
    if (more.length > 0 || (count !== undefined && count !== String(parts))) throw new S3Error('InvalidRequest', `the checksum is one of ${count?.slice(0, 20)} parts, and ${parts} are named`)
    const isComposite = type === 'COMPOSITE' || count !== undefined
    return [{ algorithm, value: digestIn(algorithm, digest), type: isComposite ? 'COMPOSITE' : 'FULL_OBJECT' }]
  })
  if (another !== undefined) throw new S3Error('InvalidRequest', 'Expecting a single x-amz-checksum- header. Multiple checksum types are not allowed.')
  return checksum
}

/** @throws S3Error */
function sizeIn (text: string | undefined): { sizeBytes?: number } {
  if (text === undefined) return {}
  if (!/^\d{1,15}$/.test(text)) throw new S3Error('InvalidArgument', 'x-amz-mp-object-size takes a number of bytes')
  return { sizeBytes: Number(text) }
}

const checksumOf = ({ checksum }: Pick<PartInfo, 'checksum'>): XmlElement[] => checksum === undefined ? [] : [element(checksumName(checksum.algorithm), checksumText(checksum, undefined))]
const algorithmOf = ({ checksum }: Upload): XmlElement[] => checksum === undefined ? [] : [element('ChecksumAlgorithm', checksum.algorithm.toUpperCase()), element('ChecksumType', checksum.type)]
