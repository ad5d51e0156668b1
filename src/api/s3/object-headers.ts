import { isoDateMs } from '../../base/iso-date.ts'
import type { ChecksumAlgorithm, ObjectInfo, Retention, SystemHeaders, Tags } from '../../objects/index.ts'
import { systemHeaderNames } from '../../objects/index.ts'
import { headerText } from '../header-text.ts'
import { parametersOf } from './canonical.ts'
import { S3Error } from './errors.ts'
import type { S3Exchange } from './exchange.ts'

/** What a request says of an object beside its content, and what an answer says of it. */
export interface Described {
  readonly contentType: string | undefined
  readonly metadata: Readonly<Record<string, string>>
  readonly headers: SystemHeaders
}

const metadataPrefix = 'x-amz-meta-'

export function describedIn ({ headers: said, header }: Pick<S3Exchange, 'headers' | 'header'>): Described {
  const metadata = Object.entries(said).flatMap(([name, value]) => name.startsWith(metadataPrefix) ? [[name.slice(metadataPrefix.length), textOf(String(value))] as const] : [])
  const headers = systemHeaderNames.flatMap((name) => {
    const value = header(name === 'website-redirect-location' ? `x-amz-${name}` : name)
    const kept = name === 'content-encoding' ? withoutAwsChunked(value) : value
    return kept === undefined ? [] : [[name, textOf(kept)] as const]
  })
  return { contentType: header('content-type'), metadata: Object.fromEntries(metadata), headers: Object.fromEntries(headers) }
}

/** How the body came is not how the content is encoded. */
function withoutAwsChunked (value: string | undefined): string | undefined {
  const kept = value?.split(',').map((coding) => coding.trim()).filter((coding) => coding !== '' && coding.toLowerCase() !== 'aws-chunked')
  return kept === undefined || kept.length === 0 ? undefined : kept.join(', ')
}

/** Headers are bytes, which Node gives as latin1; most clients mean UTF-8. */
function textOf (value: string): string {
  const bytes = Buffer.from(value, 'latin1')
  try { return new TextDecoder('utf-8', { fatal: true }).decode(bytes) } catch { return value } // bytes of some other kind are kept as they are
}
const isHeaderName = (name: string): boolean => /^[\w!#$%&'*+.^`|~-]+$/.test(name)

/** x-amz-tagging: as a query. @throws S3Error */
export function tagsIn (text: string | undefined): Tags | undefined {
  if (text === undefined) return undefined
  return parametersOf(text)
}

export function retentionIn ({ header }: Pick<S3Exchange, 'header'>): { retention?: Retention, isHeld?: boolean } {
  const [mode, until, hold] = [header('x-amz-object-lock-mode'), header('x-amz-object-lock-retain-until-date'), header('x-amz-object-lock-legal-hold')]
  if ((mode === undefined) !== (until === undefined)) throw new S3Error('InvalidArgument', 'x-amz-object-lock-mode and x-amz-object-lock-retain-until-date go together')
  if (hold !== undefined && hold !== 'ON' && hold !== 'OFF') throw new S3Error('InvalidArgument', 'x-amz-object-lock-legal-hold takes ON or OFF')
  return { ...(mode === undefined || until === undefined ? {} : { retention: retentionOf(mode, until) }), ...(hold === undefined ? {} : { isHeld: hold === 'ON' }) }
}

export function retentionOf (mode: string, until: string): Retention {
  const untilMs = isoDateMs(until)
  if (untilMs === undefined) throw new S3Error('InvalidArgument', 'the date until which a version is retained is not of the form 2030-01-02T03:04:05Z')
  if (mode !== 'GOVERNANCE' && mode !== 'COMPLIANCE') throw new S3Error('MalformedXML', 'the mode of a retention is GOVERNANCE or COMPLIANCE')
  return { mode: mode === 'GOVERNANCE' ? 'governance' : 'compliance', untilMs }
}

export interface HeaderOptions {
  /** The client asked for checksums, and gets the whole object. */
  readonly withChecksum: boolean
}

/** Everything an answer says of the object but how long its body is. */
export function headersOf (info: ObjectInfo, { withChecksum }: HeaderOptions): Record<string, string> {
  const { attributes: { headers = {}, tags = [], retention, isHeld } } = info
  return {
    etag: `"${info.etag}"`,
    'last-modified': new Date(info.modified).toUTCString(),
    'accept-ranges': 'bytes',
    'content-type': headerText(info.contentType ?? 'binary/octet-stream'),
    'x-content-type-options': 'nosniff',
    ...versionHeader(info),
    ...Object.fromEntries(Object.entries(headers).map(([name, value]) => [name === 'website-redirect-location' ? `x-amz-${name}` : name, headerText(value)])),
    ...metadataHeaders(info),
    ...(tags.length === 0 ? {} : { 'x-amz-tagging-count': String(tags.length) }),
    ...(retention === undefined ? {} : { 'x-amz-object-lock-mode': retention.mode.toUpperCase(), 'x-amz-object-lock-retain-until-date': new Date(retention.untilMs).toISOString() }),
    ...(isHeld === true ? { 'x-amz-object-lock-legal-hold': 'ON' } : {}),
    ...(withChecksum ? checksumHeaders(info) : {}),
  }
}

/** A name that another door has taken, and no header can be, is counted. */
function metadataHeaders ({ metadata }: ObjectInfo): Record<string, string> {
  const [names, others] = [Object.keys(metadata).filter(isHeaderName), Object.keys(metadata).filter((name) => !isHeaderName(name))]
  return { ...Object.fromEntries(names.map((name) => [metadataPrefix + name, headerText(metadata[name] ?? '')])), ...(others.length === 0 ? {} : { 'x-amz-missing-meta': String(others.length) }) }
}

/** Versions put while the bucket kept none have no id to tell: some clients ask for it at once, and would ask for "null". */
export const versionHeader = ({ isNullVersion, versionId }: { isNullVersion?: boolean, versionId?: string }): Record<string, string> => isNullVersion === true || versionId === undefined ? {} : { 'x-amz-version-id': versionId }

export function checksumHeaders ({ attributes: { checksum, parts } }: Pick<ObjectInfo, 'attributes'>): Record<string, string> {
  if (checksum === undefined) return {}
  return { [`x-amz-checksum-${checksum.algorithm}`]: checksumText(checksum, parts?.count), 'x-amz-checksum-type': checksum.type }
}

/** In base64; of a composite one with the number of its parts. */
export function checksumText ({ value, type }: { value: Uint8Array, type?: string }, parts: number | undefined): string {
  const text = Buffer.from(value).toString('base64')
  return type === 'COMPOSITE' && parts !== undefined ? `${text}-${parts}` : text
}

export const checksumName = (algorithm: ChecksumAlgorithm): string => `Checksum${algorithm.toUpperCase()}`

/** ?response-content-type=… and its like, for links that are to be opened in some way. @throws S3Error for who does not sign */
export function overridesIn ({ parameters, accessKey }: Pick<S3Exchange, 'parameters' | 'accessKey'>): Record<string, string> {
  const overrides = ['content-type', 'content-language', 'expires', 'cache-control', 'content-disposition', 'content-encoding'].flatMap((name) => {
    const value = parameters.get(`response-${name}`)
    return value === undefined ? [] : [[name, value] as const]
  })
  if (overrides.length > 0 && accessKey === undefined) throw new S3Error('InvalidRequest', 'Request specific response headers cannot be used for anonymous GET requests.')
  // eslint-disable-next-line no-control-regex
  if (overrides.some(([, value]) => /[\u0000-\u001f\u007f]/.test(value))) throw new S3Error('InvalidArgument', 'a header has no control characters')
  return Object.fromEntries(overrides.map(([name, value]) => [name, headerText(value)]))
}

/** As If-Match and its like have them; '*' stays. */
export const etagIn = (text: string | undefined): string | undefined => text?.trim().replace(/^W\//, '').replace(/^"(.*)"$/, '$1')
