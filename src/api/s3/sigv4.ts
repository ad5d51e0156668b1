import { createHash, createHmac, createSecretKey, KeyObject, timingSafeEqual } from 'node:crypto'
import { canonicalRequests, headerValues, type Parameter, parametersOf, type SignedRequest } from './canonical.ts'
import { S3Error } from './errors.ts'

/**
 * Verifies AWS Signature Version 4, in the Authorization header or in the query (presigned). Every failure says what is wrong, but for the secret: an unknown
 * access key costs the same work as a wrong signature, and signatures are compared in constant time.
 */
export interface Authenticated {
  readonly accessKeyId: string
  readonly region: string
  readonly isPresigned: boolean
  /** x-amz-content-sha256: how the body is protected. */
  readonly payload: string
  /** What chunk signatures go on from. */
  readonly chain: SignatureChain
}

export interface SignatureChain {
  readonly signature: string
  readonly signingKey: KeyObject
  /** YYYYMMDDTHHMMSSZ */
  readonly timestamp: string
  readonly scope: string
}

export interface SigningRules {
  /** The secret of an access key; undefined: there is none. */
  readonly secretOf: (accessKeyId: string) => Promise<string | undefined>
  /** Milliseconds since the epoch. */
  readonly nowMs: number
  /** The only region that is accepted; undefined: any. */
  readonly region?: string
}

export const signingLimits = {
  maxSkewMs: 15 * 60 * 1000,
  maxPresignedSeconds: 7 * 24 * 60 * 60,
  maxHeaderLength: 8 * 1024,
  maxSignedHeaders: 200,
} as const

export const payloads = {
  unsigned: 'UNSIGNED-PAYLOAD',
  signedChunks: 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD',
  signedChunksWithTrailer: 'STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER',
  unsignedChunksWithTrailer: 'STREAMING-UNSIGNED-PAYLOAD-TRAILER',
} as const
export const emptyHash = createHash('sha256').digest('hex')

/** Who signed a request; undefined: nobody did. @throws S3Error */
export async function authenticate (request: SignedRequest, rules: SigningRules): Promise<Authenticated | undefined> {
  const parameters = parametersOf(request.query)
  const presented = presentedOf(request, parameters)
  if (presented === undefined) return undefined
  checkScope(presented, rules)
  checkTime(presented, rules.nowMs)
  checkSignedHeaders(request, presented)
  const secret = await rules.secretOf(presented.accessKeyId)
  const { date, region, timestamp } = presented
  const scope = `${date}/${region}/s3/aws4_request`
  // of an unknown key the same is worked out, so that how long it takes says nothing
  const signingKey = signingKeyOf(secret ?? unknownSecret, { date, region })
  const readings = canonicalRequests(request, { parameters, signedHeaders: presented.signedHeaders, payloadHash: presented.payload })
    .map((canonical) => ({ canonical, stringToSign: ['AWS4-HMAC-SHA256', timestamp, scope, sha256(canonical)].join('\n') }))
  const isRight = readings.map(({ stringToSign }) => isSameSignature(presented.signature, hmac(signingKey, stringToSign))).includes(true)
  if (secret === undefined) throw new S3Error('InvalidAccessKeyId', `there is no access key "${presented.accessKeyId}"; "dfs key ls" lists them`, { fields: { AWSAccessKeyId: presented.accessKeyId } })
  if (!isRight) {
    throw new S3Error('SignatureDoesNotMatch', 'the signature is not that of the secret and the request as it came; check the secret access key, and whether something on the way changes the path, the query or a signed header (Host above all)', {
      fields: { AWSAccessKeyId: presented.accessKeyId, StringToSign: readings[0]?.stringToSign ?? '', CanonicalRequest: readings[0]?.canonical ?? '' },
    })
  }
  const { accessKeyId, isPresigned, payload } = presented
  return { accessKeyId, region, isPresigned, payload, chain: { signature: presented.signature, signingKey, timestamp, scope } }
}

interface Presented {
  readonly isPresigned: boolean
  readonly accessKeyId: string
  readonly date: string
  readonly region: string
  readonly service: string
  readonly terminator: string
  readonly signedHeaders: readonly string[]
  readonly signature: string
  readonly timestamp: string
  readonly expiresSeconds: number | undefined
  readonly payload: string
}

function presentedOf (request: SignedRequest, parameters: readonly Parameter[]): Presented | undefined {
  const [authorization] = headerValues(request.rawHeaders, 'authorization')
  const query = new Map(parameters)
  const isPresigned = query.has('X-Amz-Algorithm') || query.has('X-Amz-Signature') || query.has('X-Amz-Credential')
  const isVersion2 = (query.has('AWSAccessKeyId') && query.has('Signature')) || authorization?.startsWith('AWS ') === true
  if (isVersion2) throw new S3Error('InvalidRequest', 'this is signed by AWS Signature Version 2, which is not accepted; set signature_version = s3v4 (boto3, aws: "aws configure set default.s3.signature_version s3v4"; s3cmd: use another tool to presign)')
  if (authorization !== undefined && isPresigned) throw new S3Error('InvalidArgument', 'a request is signed in its Authorization header or in its query, not in both')
  if (isPresigned) return inQuery(request, query)
  return authorization === undefined ? undefined : inHeader(request, authorization)
}

function inHeader (request: SignedRequest, authorization: string): Presented {
  const malformed = (why: string): S3Error => new S3Error('AuthorizationHeaderMalformed', `the Authorization header ${why}`)
  if (authorization.length > signingLimits.maxHeaderLength) throw malformed('is too long')
  const [, rest] = /^AWS4-HMAC-SHA256[ ,]\s*(.*)$/.exec(authorization) ?? []
  if (rest === undefined) throw new S3Error('InvalidRequest', 'the authorization mechanism is not known; sign by AWS4-HMAC-SHA256')
  const parts = new Map(rest.split(',').map((part) => { const at = part.indexOf('='); return [part.slice(0, at).trim(), part.slice(at + 1).trim()] as const }))
  const [credential, signedHeaders, signature] = [parts.get('Credential'), parts.get('SignedHeaders'), parts.get('Signature')]
  if (credential === undefined || signedHeaders === undefined || signature === undefined) throw malformed('needs Credential, SignedHeaders and Signature')
  return { isPresigned: false, ...credentialOf(credential, malformed), signedHeaders: signedHeaders.split(';'), signature, timestamp: timestampIn(request), expiresSeconds: undefined, payload: payloadIn(request) }
}

function inQuery (request: SignedRequest, query: ReadonlyMap<string, string>): Presented {
  const malformed = (why: string): S3Error => new S3Error('AuthorizationQueryParametersError', why)
  const needed = (name: string): string => {
    const value = query.get(name)
    if (value === undefined) throw malformed(`the query needs ${name}`)
    return value
  }
  if (needed('X-Amz-Algorithm') !== 'AWS4-HMAC-SHA256') throw malformed('X-Amz-Algorithm takes AWS4-HMAC-SHA256')
  const expires = needed('X-Amz-Expires')
  if (!/^\d{1,10}$/.test(expires) || Number(expires) < 1 || Number(expires) > signingLimits.maxPresignedSeconds) throw malformed(`X-Amz-Expires takes 1 to ${signingLimits.maxPresignedSeconds} seconds (a week)`)
  const [header] = headerValues(request.rawHeaders, 'x-amz-content-sha256')
  return {
    isPresigned: true, ...credentialOf(needed('X-Amz-Credential'), malformed), signedHeaders: needed('X-Amz-SignedHeaders').split(';'), signature: needed('X-Amz-Signature'),
    timestamp: needed('X-Amz-Date'), expiresSeconds: Number(expires), payload: query.get('X-Amz-Content-Sha256') ?? header ?? payloads.unsigned,
  }
}

// the access key id is what stands before the last four: it may hold slashes
function credentialOf (credential: string, malformed: (why: string) => S3Error): Pick<Presented, 'accessKeyId' | 'date' | 'region' | 'service' | 'terminator'> {
  const parts = credential.split('/')
  const [date, region, service, terminator] = parts.slice(-4)
  if (parts.length < 5 || date === undefined || region === undefined || service === undefined || terminator === undefined) throw malformed('the credential is KEY/YYYYMMDD/REGION/s3/aws4_request')
  return { accessKeyId: parts.slice(0, -4).join('/'), date, region, service, terminator }
}

function timestampIn ({ rawHeaders }: SignedRequest): string {
  const [amzDate] = headerValues(rawHeaders, 'x-amz-date')
  if (amzDate !== undefined) return amzDate
  const [date] = headerValues(rawHeaders, 'date')
  const ms = Date.parse(date ?? '')
  if (Number.isNaN(ms)) throw new S3Error('AccessDenied', 'a signed request needs a valid x-amz-date or Date header')
  return new Date(ms).toISOString().replaceAll(/[-:]|\.\d+/g, '')
}

function payloadIn ({ rawHeaders }: SignedRequest): string {
  const [payload] = headerValues(rawHeaders, 'x-amz-content-sha256')
  if (payload !== undefined) return payload
  // some clients say nothing of a body that they do not have
  const hasBody = headerValues(rawHeaders, 'transfer-encoding').length > 0 || Number(headerValues(rawHeaders, 'content-length')[0] ?? 0) > 0
  if (hasBody) throw new S3Error('InvalidRequest', 'the header x-amz-content-sha256 is missing: the hash of the body, or UNSIGNED-PAYLOAD')
  return emptyHash
}

function checkScope ({ isPresigned, region, service, terminator }: Presented, { region: only }: SigningRules): void {
  const code = isPresigned ? 'AuthorizationQueryParametersError' : 'AuthorizationHeaderMalformed'
  if (service !== 's3' || terminator !== 'aws4_request') throw new S3Error(code, `the credential is for "${service.slice(0, 40)}/${terminator.slice(0, 40)}"; this is s3/aws4_request`)
  if (only !== undefined && region !== only) throw new S3Error(code, `the region "${region.slice(0, 64)}" is wrong; expecting "${only}"`, { fields: { Region: only } })
}

function checkTime ({ isPresigned, timestamp, date, expiresSeconds = 0 }: Presented, nowMs: number): void {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(timestamp)
  const [year = 0, month = 0, day = 0, hours = 0, minutes = 0, seconds = 0] = (match ?? []).slice(1).map(Number)
  const ms = match === null ? Number.NaN : Date.UTC(year, month - 1, day, hours, minutes, seconds)
  const code = isPresigned ? 'AuthorizationQueryParametersError' : 'AuthorizationHeaderMalformed'
  if (Number.isNaN(ms)) throw new S3Error(isPresigned ? code : 'AccessDenied', `the date "${timestamp.slice(0, 40)}" is not of the form YYYYMMDDTHHMMSSZ`)
  if (timestamp.slice(0, 8) !== date) throw new S3Error(code, `the credential is of ${date.slice(0, 20)}, the request of ${timestamp.slice(0, 8)}`)
  const times = { RequestTime: timestamp, ServerTime: new Date(nowMs).toISOString(), MaxAllowedSkewMilliseconds: String(signingLimits.maxSkewMs) }
  if (isPresigned) {
    if (ms > nowMs + signingLimits.maxSkewMs) throw new S3Error('AccessDenied', 'Request is not valid yet: it is signed for a later time', { fields: times })
    if (nowMs > ms + expiresSeconds * 1000) throw new S3Error('AccessDenied', 'Request has expired', { fields: { ...times, Expires: new Date(ms + expiresSeconds * 1000).toISOString() } })
    return
  }
  if (Math.abs(nowMs - ms) > signingLimits.maxSkewMs) throw new S3Error('RequestTimeTooSkewed', 'the clocks of client and server differ by more than a quarter of an hour; set the one that is wrong', { fields: times })
}

/** What is not signed could be changed on the way: Host and whatever the gateway acts on must be. */
function checkSignedHeaders ({ rawHeaders }: SignedRequest, { signedHeaders }: Presented): void {
  if (signedHeaders.length > signingLimits.maxSignedHeaders) throw new S3Error('AccessDenied', 'too many headers are signed')
  const signed = new Set(signedHeaders)
  const missing = new Set<string>(signed.has('host') ? [] : ['host'])
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] ?? '').toLowerCase()
    // its value is signed as the hash of the payload
    if (name.startsWith('x-amz-') && name !== 'x-amz-content-sha256' && !signed.has(name)) missing.add(name)
  }
  if (missing.size > 0) throw new S3Error('AccessDenied', 'There were headers present in the request which were not signed', { fields: { HeadersNotSigned: [...missing].join(', ') } })
}

const unknownSecret = 'no access key has this secret, for it is shorter than all'

// of a bare key Node 24 makes an HMAC in 15 µs, of a KeyObject in 3, and a request takes five and more
const hmac = (key: string | Buffer | KeyObject, text: string): Buffer => createHmac('sha256', key instanceof KeyObject ? key : createSecretKey(Buffer.from(key))).update(text).digest()
// a character is a byte: headers are signed as the bytes that are sent
const sha256 = (text: string): string => createHash('sha256').update(text, 'latin1').digest('hex')

export function signingKeyOf (secret: string, { date, region }: { date: string, region: string }): KeyObject {
  return createSecretKey(hmac(hmac(hmac(hmac(`AWS4${secret}`, date), region), 's3'), 'aws4_request'))
}

/** Constant in time, whatever is presented. */
export function isSameSignature (presented: string, expected: Buffer): boolean {
  const bytes = /^[0-9a-f]{64}$/.test(presented) ? Buffer.from(presented, 'hex') : Buffer.alloc(expected.byteLength)
  return timingSafeEqual(bytes, expected)
}

/** The signature of the next chunk, or of the trailer: each is made over the one before. */
export function nextSignature ({ signature, signingKey, timestamp, scope }: SignatureChain, kind: 'PAYLOAD' | 'TRAILER', hash: string): Buffer {
  return hmac(signingKey, [`AWS4-HMAC-SHA256-${kind}`, timestamp, scope, signature, ...(kind === 'PAYLOAD' ? [emptyHash] : []), hash].join('\n'))
}
