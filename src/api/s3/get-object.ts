import { InvalidInput } from '../../base/errors.ts'
import type { ByteRange, ObjectInfo, ObjectName, ObjectReading, OfVersion } from '../../objects/index.ts'
import { resolveRange } from '../../objects/range.ts'
import { byteRangeOf } from '../range-header.ts'
import { streamed } from '../server/streamed.ts'
import { checkReadConditions, hasReadConditions } from './conditions.ts'
import { S3Error } from './errors.ts'
import type { S3Exchange } from './exchange.ts'
import { etagIn, headersOf, overridesIn } from './object-headers.ts'

export const targetOf = ({ bucket, key }: Pick<S3Exchange, 'bucket' | 'key'>): ObjectName => ({ bucket, key })
export const versionIn = ({ parameters }: Pick<S3Exchange, 'parameters'>): OfVersion => parameters.has('versionId') ? { versionId: parameters.get('versionId') } : {}

/** GET BUCKET/KEY */
export async function getObject (exchange: S3Exchange): Promise<void> {
  const { header } = exchange
  const overrides = overridesIn(exchange)
  const { reading, part, isPartial } = await opened(exchange)
  const { info, range: { first, end } } = reading
  checkReadConditions(header, info)
  const withChecksum = header('x-amz-checksum-mode') === 'ENABLED' && end - first === info.sizeBytes
  await streamed(exchange, reading, { headers: { ...headersOf(info, { withChecksum }), ...overrides, ...partsHeader(info, part) }, isPart: isPartial })
}

/** HEAD BUCKET/KEY */
export async function headObject (exchange: S3Exchange): Promise<void> {
  const { node: { objects }, header, response, signal } = exchange
  const overrides = overridesIn(exchange)
  const info = await objects.head(targetOf(exchange), { ...versionIn(exchange), signal })
  checkReadConditions(header, info)
  const part = partNumberIn(exchange)
  const range = part === undefined ? rangeWithin(byteRangeOf(header('range')), info.sizeBytes) : rangeOfPart(info, part)
  const headers = { ...headersOf(info, { withChecksum: header('x-amz-checksum-mode') === 'ENABLED' && range === undefined }), ...overrides, ...partsHeader(info, part) }
  if (range === undefined) response.writeHead(200, { ...headers, 'content-length': String(info.sizeBytes) })
  else response.writeHead(206, { ...headers, 'content-length': String(range.end - range.first), ...(range.end > range.first ? { 'content-range': `bytes ${range.first}-${range.end - 1}/${info.sizeBytes}` } : {}) })
  response.end()
}

interface Opened { readonly reading: ObjectReading, readonly part: number | undefined, readonly isPartial: boolean }

async function opened (exchange: S3Exchange): Promise<Opened> {
  const { node: { objects }, header, signal } = exchange
  const target = targetOf(exchange)
  const part = partNumberIn(exchange)
  const asked = byteRangeOf(header('range'))
  const ifRange = header('if-range')
  if (part === undefined && (ifRange === undefined || asked === undefined)) {
    const reading = await readOrCondition(exchange, target, asked)
    return { reading, part, isPartial: asked !== undefined }
  }
  const info = await objects.head(target, { ...versionIn(exchange), signal })
  const range = part === undefined ? (isUnchanged(ifRange, info) ? asked : undefined) : byteRange(rangeOfPart(info, part))
  // the very content that was looked at: between the two it may have been replaced
  const reading = await objects.get(target, { ...versionIn(exchange), range, ifMatch: info.etag, signal })
  return { reading, part, isPartial: range !== undefined }
}

/** A condition that fails comes before a range that does. */
async function readOrCondition (exchange: S3Exchange, target: ObjectName, range: ByteRange | undefined): Promise<ObjectReading> {
  const { node: { objects }, header, signal } = exchange
  try {
    return await objects.get(target, { ...versionIn(exchange), range, signal })
  } catch (error) {
    if (error instanceof InvalidInput && error.field === 'range' && hasReadConditions(header)) checkReadConditions(header, await objects.head(target, { ...versionIn(exchange), signal }))
    throw error
  }
}

function isUnchanged (ifRange: string | undefined, info: ObjectInfo): boolean {
  const ms = Date.parse(ifRange ?? '')
  return etagIn(ifRange) === info.etag || (!Number.isNaN(ms) && Math.floor(Date.parse(info.modified) / 1000) * 1000 <= ms)
}

function rangeWithin (range: ByteRange | undefined, sizeBytes: number): { first: number, end: number } | undefined {
  if (range === undefined) return undefined
  return resolveRange(range, sizeBytes)
}

function partNumberIn ({ parameters, header }: S3Exchange): number | undefined {
  const text = parameters.get('partNumber')
  if (text === undefined) return undefined
  if (!/^\d{1,5}$/.test(text) || Number(text) < 1 || Number(text) > 10_000) throw new S3Error('InvalidArgument', 'partNumber takes 1 to 10000')
  if (header('range') !== undefined) throw new S3Error('InvalidRequest', 'Cannot specify both Range header and partNumber query parameter')
  return Number(text)
}

/** Where a part lies in the object; the only part of one that was put whole is all of it. */
function rangeOfPart ({ attributes: { parts }, sizeBytes }: ObjectInfo, number: number): { first: number, end: number } {
  if (number > (parts?.count ?? 1)) throw new S3Error('InvalidPartNumber', 'The requested partnumber is not satisfiable', { fields: { ActualPartCount: String(parts?.count ?? 1) } })
  if (parts === undefined) return { first: 0, end: sizeBytes }
  if (parts.sizes === undefined) throw new S3Error('NotImplemented', 'the sizes of the parts of this object were too different to be kept; read it by range')
  let first = 0
  let left = number - 1
  for (const { count, sizeBytes: each } of parts.sizes) {
    if (left < count) return { first: first + left * each, end: first + (left + 1) * each }
    first += count * each
    left -= count
  }
  throw new Error('the sizes of the parts are fewer than the parts')
}

// of an empty object there is no range
const byteRange = ({ first, end }: { first: number, end: number }): ByteRange | undefined => end > first ? { first, last: end - 1 } : undefined

const partsHeader = ({ attributes: { parts } }: ObjectInfo, part: number | undefined): Record<string, string> => part === undefined || parts === undefined ? {} : { 'x-amz-mp-parts-count': String(parts.count) }
