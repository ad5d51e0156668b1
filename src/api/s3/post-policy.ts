import { createHmac } from 'node:crypto'
import { isoDateMs } from '../../base/iso-date.ts'
import { S3Error } from './errors.ts'
import { isSameSignature, signingKeyOf } from './sigv4.ts'

/** The signed policy of an upload by form (https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-HTTPPOSTConstructPolicy.html). */
export interface PostPolicy {
  readonly accessKeyId: string
  /** Bytes that the file may have. */
  readonly range: { readonly least: number, readonly most: number } | undefined
}

/** Fields of the form by lower-case name, with the bucket among them. */
export type FormFields = ReadonlyMap<string, string>

export interface PostRules {
  readonly nowMs: number
  readonly secretOf: (accessKeyId: string) => Promise<string | undefined>
  readonly region: string | undefined
}

/** Undefined: the form is not signed. @throws S3Error */
export async function verifyPost (fields: FormFields, { nowMs, secretOf, region: only }: PostRules): Promise<PostPolicy | undefined> {
  const policy = fields.get('policy')
  if (fields.has('awsaccesskeyid')) throw new S3Error('InvalidRequest', 'this form is signed by AWS Signature Version 2, which is not accepted; sign it by version 4 (x-amz-signature)')
  if (policy === undefined && !fields.has('x-amz-signature')) return undefined
  if (policy === undefined || fields.get('x-amz-algorithm') !== 'AWS4-HMAC-SHA256') throw new S3Error('InvalidArgument', 'a signed form has the fields policy, x-amz-algorithm (AWS4-HMAC-SHA256), x-amz-credential, x-amz-date and x-amz-signature')
  const [accessKeyId = '', date = '', region = '', service, terminator, ...others] = (fields.get('x-amz-credential') ?? '').split('/')
  if (service !== 's3' || terminator !== 'aws4_request' || others.length > 0 || fields.get('x-amz-date')?.startsWith(date) !== true) throw new S3Error('AuthorizationQueryParametersError', 'x-amz-credential is KEY/YYYYMMDD/REGION/s3/aws4_request, of the day in x-amz-date')
  if (only !== undefined && region !== only) throw new S3Error('AuthorizationQueryParametersError', `the region "${region.slice(0, 64)}" is wrong; expecting "${only}"`, { fields: { Region: only } })
  const secret = await secretOf(accessKeyId)
  const expected = createHmac('sha256', signingKeyOf(secret ?? 'shorter than any', { date, region })).update(policy).digest()
  const isRight = isSameSignature(fields.get('x-amz-signature') ?? '', expected)
  if (secret === undefined) throw new S3Error('InvalidAccessKeyId', `there is no access key "${accessKeyId.slice(0, 40)}"`)
  if (!isRight) throw new S3Error('SignatureDoesNotMatch', 'the signature is not that of the secret and the policy as it came')
  return { accessKeyId, range: checkPolicy(policy, fields, nowMs) }
}

/** Not conditions of their own. */
const needNoCondition = new Set(['policy', 'x-amz-signature', 'file', 'bucket'])

function checkPolicy (text: string, fields: FormFields, nowMs: number): PostPolicy['range'] {
  const { expiration, conditions } = parsed(text)
  const untilMs = isoDateMs(expiration)
  if (untilMs === undefined) throw malformed('its expiration is a date in ISO 8601, such as 2030-01-02T03:04:05Z')
  if (untilMs <= nowMs) throw new S3Error('AccessDenied', 'Invalid according to Policy: Policy expired.')
  const covered = new Set<string>()
  let range: PostPolicy['range']
  for (const condition of conditions) {
    const [kind, name, value] = Array.isArray(condition) ? condition as unknown[] : pairOf(condition)
    if (kind === 'content-length-range') {
      if (typeof name !== 'number' || typeof value !== 'number') throw malformed('content-length-range takes two numbers')
      range = { least: Math.max(name, range?.least ?? name), most: Math.min(value, range?.most ?? value) }
      continue
    }
    if (typeof name !== 'string' || typeof value !== 'string' || !name.startsWith('$')) throw malformed('a condition is {"name": "value"}, ["eq", "$name", "value"], ["starts-with", "$name", "value"] or ["content-length-range", least, most]')
    const field = name.slice(1).toLowerCase()
    const got = fields.get(field) ?? ''
    const holds = kind === 'eq' ? got === value : kind === 'starts-with' ? (field === 'content-type' ? got.split(',').map((type) => type.trim()) : [got]).every((one) => one.startsWith(value)) : undefined
    if (holds === undefined) throw malformed(`"${String(kind).slice(0, 40)}" is no condition`)
    if (!holds) throw new S3Error('AccessDenied', `Invalid according to Policy: Policy Condition failed: ["${String(kind)}", "${name.slice(0, 100)}", "${value.slice(0, 100)}"]`)
    covered.add(field)
  }
  const extra = [...fields.keys()].find((field) => !needNoCondition.has(field) && !field.startsWith('x-ignore-') && !covered.has(field))
  if (extra !== undefined) throw new S3Error('AccessDenied', `Invalid according to Policy: Extra input fields: ${extra.slice(0, 100)}`)
  return range
}

function pairOf (condition: unknown): unknown[] {
  const entries = typeof condition === 'object' && condition !== null ? Object.entries(condition) : []
  const [first] = entries
  if (first === undefined || entries.length !== 1) throw malformed('a condition names one field')
  return ['eq', `$${first[0]}`, first[1]]
}

function parsed (text: string): { expiration: string, conditions: readonly unknown[] } {
  try {
    const { expiration, conditions } = JSON.parse(Buffer.from(text, 'base64').toString('utf8')) as Record<string, unknown>
    if (typeof expiration === 'string' && Array.isArray(conditions)) return { expiration, conditions }
  } catch (cause) { throw new S3Error('InvalidPolicyDocument', 'the policy is not JSON in base64', { cause }) }
  throw malformed('a policy has an expiration and conditions')
}

const malformed = (why: string): S3Error => new S3Error('InvalidPolicyDocument', `Invalid Policy: ${why}`)
