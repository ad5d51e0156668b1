import type { SpanDigesting } from '../../base/checksums.ts'
import type { Clock } from '../../base/clock.ts'
import type { DfsNode } from '../../node.ts'
import { isExpired } from '../../objects/index.ts'
import { ApiError } from '../errors.ts'
import { hostNameOf } from '../server/hosts.ts'
import type { Incoming, Refusal } from '../server/listener.ts'
import type { PublicExchange, PublicFace } from '../server/public-listener.ts'
import { BucketAccesses, demandAccess, demandSome } from './access.ts'
import { decoded, parametersOf } from './canonical.ts'
import { corsHeaders } from './cors.ts'
import { S3Error, s3ErrorOf } from './errors.ts'
import { owner, type S3Exchange, sendNothing, sourceOf } from './exchange.ts'
import { ofVersion, operationOf } from './operations.ts'
import { payloadOf } from './payload.ts'
import { postObject } from './post-form.ts'
import { authenticate } from './sigv4.ts'
import { element, plainDocument } from './xml.ts'

/** S3 over a node: finds out who asks for what, sees that they may, and has the operation answer. */
export interface S3FaceParts {
  readonly node: Pick<DfsNode, 'objects' | 'keys'>
  readonly clock: Clock
  /** The only region that is signed for; undefined: any. */
  readonly region: string | undefined
  /** Names of this server; what stands before "*.NAME" is a bucket. */
  readonly hosts: readonly string[]
  /** Others reach it without TLS, knowingly. */
  readonly allowInsecure: boolean
  /** Of signed chunks; on the thread that serves, unless told otherwise. */
  readonly digestingSpans?: SpanDigesting
}

export const s3Limits = { maxKeyBytes: 1024, maxUrlLength: 8192 } as const
const defaultRegion = 'us-east-1'

export function s3Face (parts: S3FaceParts): PublicFace {
  const accesses = new BucketAccesses(parts)
  return {
    async answer (incoming) {
      incoming.note({ face: 's3' })
      incoming.response.setHeader('x-amz-request-id', incoming.id)
      try {
        await answer(parts, accesses, incoming)
      } catch (error) {
        if (!(error instanceof S3Error && error.code === 'NotModified')) throw error
        incoming.response.writeHead(304, error.headers).end()
      }
    },
    refusalOf,
    // whoever may is told by signatures; what a page may read of the answer, by the bucket's CORS rules
    allowsOrigin: () => true,
  }
}

async function answer (parts: S3FaceParts, accesses: BucketAccesses, incoming: PublicExchange): Promise<void> {
  const { request: { method = '', rawHeaders, headers }, path, rawQuery, isSecure } = incoming
  if ((incoming.request.url ?? '').length > s3Limits.maxUrlLength) throw new S3Error('InvalidURI', `the path and query have at most ${s3Limits.maxUrlLength} characters`)
  const place = placeOf(path, { host: headers.host ?? '', hosts: parts.hosts })
  const sent = headerOf(headers)
  const { origin } = headers
  const cors = origin === undefined || place.bucket === '' ? undefined : async (asked: string, names?: readonly string[]) => corsHeaders((await accesses.of(place.bucket)).cors, { origin, method: asked, headers: names })
  if (method === 'OPTIONS') return preflight(incoming, sent, cors)
  for (const [name, value] of Object.entries(await cors?.(method) ?? {})) incoming.response.setHeader(name, value)
  const parameters = new Map(parametersOf(rawQuery).toReversed())
  const isForm = method === 'POST' && place.key === '' && sent('content-type')?.startsWith('multipart/form-data') === true
  const admitted = async (id: string): Promise<NonNullable<S3Exchange['accessKey']>> => admit(parts, incoming, id)
  let shown = ''
  const secretOf = async (id: string): Promise<string | undefined> => {
    shown = id
    incoming.demandTrust(id)
    return (await parts.node.keys.find(id))?.secret
  }
  const counted = async <T>(work: () => Promise<T>): Promise<T> => countingWrong(incoming, () => shown, work)
  const signed = isForm ? undefined : await counted(async () => authenticate({ method, path, query: rawQuery, rawHeaders }, { secretOf, nowMs: parts.clock.wallMs(), region: parts.region }))
  const accessKey = signed === undefined ? undefined : await admitted(signed.accessKeyId)
  const asker = { accessKey, isSecure }
  const said = signed?.isPresigned === true ? { ...hoisted(parameters), ...headers } : headers
  const header = headerOf(said)
  const exchange: S3Exchange = {
    ...incoming, ...place, node: parts.node, clock: parts.clock, parameters, headers: said, header, accessKey, region: parts.region ?? signed?.region ?? defaultRegion,
    demand: async (what) => demandAccess(accesses, asker, what),
    payload: ({ isChecksumOfBody = true } = {}) => payloadOf({
      names: Object.keys(said), header: isChecksumOfBody ? header : (name) => name.startsWith('x-amz-checksum-') ? undefined : header(name), signed,
      isProtected: isSecure || parts.allowInsecure || incoming.isNear, source: sourceOf(incoming), ...parts.digestingSpans === undefined ? {} : { digestingSpans: parts.digestingSpans },
    }),
  }
  if (isForm) return counted(async () => postObject(exchange, { admitted, secretOf, demand: async (key, what) => demandAccess(accesses, { accessKey: key, isSecure }, what), region: parts.region }))
  demandOwner(header)
  const { name, action, run } = operationOf(exchange)
  incoming.note({ operation: name })
  // whoever lists buckets is shown those that it may enter; of many keys each is looked at by itself
  if (name === 'DeleteObjects' && accessKey === undefined) demandSome(await accesses.of(place.bucket), ['s3:DeleteObject', 's3:DeleteObjectVersion'])
  if (name !== 'ListAllMyBuckets' && name !== 'DeleteObjects') await exchange.demand({ operation: `s3:${parameters.has('versionId') ? ofVersion(name) : name}`, action, bucket: place.bucket, key: placeOfRight(exchange, action) })
  try {
    await run(exchange)
  } finally {
    if (place.key === '' && method !== 'GET' && method !== 'HEAD') accesses.forget(place.bucket)
  }
}

const headerOf = (headers: S3Exchange['headers']): S3Exchange['header'] => (name) => { const value = headers[name]; return typeof value === 'string' ? value : value?.join(', ') }

/** What a signed query says in the place of headers: some signers put there whatever begins with x-amz-, and a copy without its source would be an empty object, a lock none. */
function hoisted (parameters: S3Exchange['parameters']): S3Exchange['headers'] {
  return Object.fromEntries([...parameters].map(([name, value]) => [name.toLowerCase(), ofText.test(name) ? Buffer.from(value).toString('latin1') : value] as const).filter(([name]) => name.startsWith('x-amz-') && !ofSignatureOrBody.test(name)))
}

// what is read of these headers as bytes, in UTF-8
const ofText = /^x-amz-(meta-|website-redirect-location$)/i

// of the body nothing is known when a link is made: what stands there is the checksum of none
const ofSignatureOrBody = /^x-amz-(algorithm|credential|date|expires|signedheaders|signature|security-token|content-sha256|decoded-content-length|trailer|sdk-checksum-algorithm|checksum-(crc32|crc32c|crc64nvme|sha1|sha256))$/

/** Who names an owner will have no other's bucket written to or read; here one owns them all. @throws S3Error AccessDenied */
function demandOwner (header: S3Exchange['header']): void {
  const other = ['x-amz-expected-bucket-owner', 'x-amz-source-expected-bucket-owner'].find((name) => (header(name) ?? owner.id) !== owner.id)
  if (other !== undefined) throw new S3Error('AccessDenied', `${other} names another than "${owner.id}", who owns every bucket here`)
}

/** A list is of what is below its prefix. */
const placeOfRight = ({ key, parameters }: S3Exchange, action: string): string | undefined => key !== '' ? key : action === 'list' && parameters.has('prefix') ? parameters.get('prefix') : undefined

/** What is signed by nobody's secret is counted against whoever sends it. */
async function countingWrong<T> (incoming: PublicExchange, shown: () => string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof S3Error && (error.code === 'SignatureDoesNotMatch' || error.code === 'InvalidAccessKeyId')) incoming.countFailure(shown())
    throw error
  }
}

/** The key, known to be shown by whoever has its secret. @throws S3Error */
async function admit ({ node: { keys }, clock }: S3FaceParts, incoming: PublicExchange, id: string): Promise<NonNullable<S3Exchange['accessKey']>> {
  incoming.note({ key: id })
  incoming.countKey(id)
  const key = await keys.find(id)
  if (key === undefined) throw new S3Error('InvalidAccessKeyId', `there is no access key "${id}" any more`)
  if (isExpired(key, clock.wallMs())) throw new S3Error('AccessDenied', `access key ${id} has expired; "dfs key create" makes another`)
  return key
}

/** /BUCKET/KEY, or /KEY where the bucket stands in the host. @throws S3Error */
function placeOf (path: string, { host, hosts }: { host: string, hosts: readonly string[] }): { bucket: string, key: string } {
  const hosted = bucketInHost(hostNameOf(host) ?? '', hosts)
  const rest = path.slice(1)
  const at = hosted === undefined ? rest.indexOf('/') : -1
  const bucket = hosted ?? decoded(at < 0 ? rest : rest.slice(0, at))
  const key = decoded(hosted === undefined ? (at < 0 ? '' : rest.slice(at + 1)) : rest)
  if (Buffer.byteLength(key) > s3Limits.maxKeyBytes) throw new S3Error('KeyTooLongError', `Your key is too long: it has ${Buffer.byteLength(key)} bytes, and may have ${s3Limits.maxKeyBytes}`)
  return { bucket, key }
}

/** Of a name that is one of this server's whole, none. */
function bucketInHost (name: string, hosts: readonly string[]): string | undefined {
  if (name === 'localhost' || hosts.some((rule) => rule.toLowerCase() === name)) return undefined
  const domains = ['localhost', ...hosts.flatMap((rule) => rule.startsWith('*.') ? [rule.slice(2).toLowerCase()] : [])]
  const domain = domains.find((one) => name.endsWith(`.${one}`))
  return domain === undefined ? undefined : name.slice(0, -domain.length - 1)
}

async function preflight (incoming: PublicExchange, header: S3Exchange['header'], cors: ((method: string, names?: readonly string[]) => Promise<Record<string, string> | undefined>) | undefined): Promise<void> {
  const method = header('access-control-request-method')
  if (cors === undefined || method === undefined) throw new S3Error('InvalidRequest', 'an OPTIONS request asks, with Origin and Access-Control-Request-Method, what a page may send to a bucket')
  const names = (header('access-control-request-headers') ?? '').split(',').map((name) => name.trim()).filter((name) => name !== '')
  const allowed = await cors(method, names)
  if (allowed === undefined) throw new S3Error('AccessDenied', 'CORSResponse: the CORS rules of this bucket do not allow it')
  sendNothing(incoming, 200, allowed)
}

/** An error as XML. Of a HEAD, which has no body, in headers. */
function refusalOf (error: unknown, { id, request, path, rawQuery }: Incoming): Refusal {
  const told = error instanceof ApiError ? fromListener(error) : s3ErrorOf(error, { isConditional: isConditional(request.headers) || /(^|&)x-amz-copy-source-if-/i.test(rawQuery), isHashSigned: isSha256(request.headers['x-amz-content-sha256']) })
  const { message, status, fields, headers } = told
  const code = told.code === 'NoSuchKey' && /(^|&)versionId=/.test(rawQuery) ? 'NoSuchVersion' : told.code
  const body = plainDocument('Error', [element('Code', code), element('Message', message), ...Object.entries(fields).map(([name, value]) => element(name, value)), element('Resource', path), element('RequestId', id)])
  return {
    status,
    headers: { 'content-type': 'application/xml', 'x-amz-request-id': id, ...headers, ...(request.method === 'HEAD' ? { 'x-amz-error-code': code } : {}), ...(status === 503 ? { 'retry-after': '1' } : {}) },
    body: Buffer.from(body),
    reason: code === 'InternalError' ? undefined : isOfTheNode(status) ? `${code}: ${message}` : code,
  }
}

// what is wrong with a request, or with what is stored, may name an object, and the log holds no name that is sealed on disk
const isOfTheNode = (status: number): boolean => status >= 500 && status !== 501 && status !== 502

const isConditional = (headers: Incoming['request']['headers']): boolean => Object.keys(headers).some((name) => /^(x-amz-copy-source-)?if-/.test(name))

const isSha256 = (value: string | string[] | undefined): boolean => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value)

/** What the listener refuses, in S3's words. */
function fromListener ({ status, message }: ApiError): Pick<S3Error, 'message' | 'fields' | 'headers'> & { code: string, status: number } {
  const codes: Readonly<Record<number, string>> = { 403: 'AccessDenied', 429: 'SlowDown', 501: 'NotImplemented' }
  // clients know to wait at 503 SlowDown, and some give up at 429
  return { code: codes[status] ?? 'InvalidRequest', status: status === 429 ? 503 : status, message, fields: {}, headers: {} }
}
