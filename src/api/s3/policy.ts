import { S3Error } from './errors.ts'

/**
 * Bucket policies in the usual JSON, for what they are used for: to let anybody, or some keys, do some things below some prefix, or to deny it
 * (https://docs.aws.amazon.com/AmazonS3/latest/userguide/access-policy-language-overview.html). What this does not understand is refused when it is set, never passed over: it may be a
 * condition under which something is denied.
 */
export interface PolicyStatement {
  readonly effect: 'Allow' | 'Deny'
  /** Ids of access keys, or '*'. */
  readonly principals: readonly string[]
  /** Patterns such as s3:Get*. */
  readonly actions: readonly string[]
  /** Patterns of what follows arn:aws:s3:::, e.g. photos/public/*. */
  readonly resources: readonly string[]
  /** Undefined: whether the connection is encrypted does not matter. */
  readonly isSecure: boolean | undefined
}

export interface PolicyQuestion {
  /** Undefined: nobody who signs. */
  readonly accessKeyId: string | undefined
  readonly operation: string
  readonly bucket: string
  readonly key: string
  readonly isSecure: boolean
}

/** What the statements say; 'silent': neither. A denial wins. */
export function judged (statements: readonly PolicyStatement[], question: PolicyQuestion): 'allow' | 'deny' | 'silent' {
  const matching = statements.filter((statement) => isAbout(statement, question))
  if (matching.some(({ effect }) => effect === 'Deny')) return 'deny'
  return matching.length > 0 ? 'allow' : 'silent'
}

function isAbout ({ effect, principals, actions, resources, isSecure }: PolicyStatement, { accessKeyId, operation, bucket, key, isSecure: isEncrypted }: PolicyQuestion): boolean {
  const resource = key === '' ? bucket : `${bucket}/${key}`
  return principals.some((principal) => principal === '*' || principal === accessKeyId || (effect === 'Deny' && isPattern(principal))) &&
    actions.some((pattern) => matches(pattern.toLowerCase(), operation.toLowerCase())) && resources.some((pattern) => matches(pattern, resource)) &&
    (isSecure === undefined || isSecure === isEncrypted)
}

/** One that checkPolicy refuses, and a policy of before it may have: whom it is for is not known, so it lets nobody, and denies everybody. */
const isPattern = (principal: string): boolean => principal.endsWith('/*')

/** '*' is any text, '?' any character. Linear: the last star is where it goes on (no backtracking beyond it). */
export function matches (pattern: string, text: string): boolean {
  let [p, t, star, mark] = [0, 0, -1, 0]
  while (t < text.length) {
    if (pattern[p] === '*') { star = p++; mark = t } else if (p < pattern.length && (pattern[p] === '?' || pattern[p] === text[t])) { p++; t++ } else if (star >= 0) { p = star + 1; t = ++mark } else return false
  }
  while (pattern[p] === '*') p++
  return p === pattern.length
}

const known = new Set(['Version', 'Id', 'Statement'])
const knownInStatement = new Set(['Sid', 'Effect', 'Principal', 'Action', 'Resource', 'Condition'])
const arn = 'arn:aws:s3:::'

/** @throws S3Error MalformedPolicy, or NotImplemented for what is not understood */
export function parsePolicy (text: string, bucket: string): readonly PolicyStatement[] {
  const policy = recordOf(json(text), 'the policy is one JSON object')
  for (const name of Object.keys(policy)) if (!known.has(name)) throw malformed(`a policy has no "${name}"`)
  if (policy.Version !== undefined && policy.Version !== '2012-10-17' && policy.Version !== '2008-10-17') throw malformed('Version takes 2012-10-17')
  const statements = listOf(policy.Statement).map((statement) => statementOf(recordOf(statement, 'a statement is a JSON object'), bucket))
  if (statements.length === 0) throw malformed('a policy has statements')
  return statements
}

function statementOf (statement: Readonly<Record<string, unknown>>, bucket: string): PolicyStatement {
  for (const name of Object.keys(statement)) if (!knownInStatement.has(name)) throw new S3Error('NotImplemented', `"${name}" in a policy is not understood here, so the policy is not taken`)
  const { Effect: effect, Principal: principal, Action: action, Resource: resource, Condition: condition } = statement
  if (effect !== 'Allow' && effect !== 'Deny') throw malformed('Effect is Allow or Deny')
  const actions = textsOf(action, 'Action')
  const resources = textsOf(resource, 'Resource').map((text) => text.startsWith(arn) ? text.slice(arn.length) : text)
  const stray = resources.find((text) => text !== bucket && !text.startsWith(`${bucket}/`) && text !== '*' && text !== `${bucket}*`)
  if (stray !== undefined) throw malformed(`Policy has invalid resource: ${stray.slice(0, 100)} is not in this bucket`)
  if (actions.some((text) => text !== '*' && !/^s3:/i.test(text))) throw malformed('Policy has invalid action: actions are s3:… or *')
  return { effect, principals: principalsOf(principal), actions, resources, isSecure: secureTransportIn(condition) }
}

function principalsOf (principal: unknown): readonly string[] {
  if (principal === '*') return ['*']
  const { AWS: named, ...others } = recordOf(principal, 'Principal is "*" or {"AWS": [...]}')
  if (Object.keys(others).length > 0) throw new S3Error('NotImplemented', 'the only principals here are "*" and {"AWS": access key ids}')
  // …:user/DFS… or the id alone; of …:user/* what is cut off would be everybody
  return textsOf(named, 'Principal').map((text) => isPattern(text) ? text : text.slice(text.lastIndexOf('/') + 1))
}

function secureTransportIn (condition: unknown): boolean | undefined {
  if (condition === undefined) return undefined
  const { Bool: bool, ...others } = recordOf(condition, 'Condition is a JSON object')
  const { 'aws:SecureTransport': secure, ...rest } = bool === undefined ? {} : recordOf(bool, 'Bool is a JSON object')
  const [value, ...more] = listOf(secure).map(String)
  if (value === undefined || more.length > 0 || Object.keys(others).length > 0 || Object.keys(rest).length > 0 || !['true', 'false'].includes(value)) throw new S3Error('NotImplemented', 'the only condition here is {"Bool": {"aws:SecureTransport": "true" or "false"}}')
  return value === 'true'
}

const malformed = (why: string): S3Error => new S3Error('MalformedPolicy', why)

function json (text: string): unknown {
  try { return JSON.parse(text) } catch (cause) { throw new S3Error('MalformedPolicy', 'the policy is not JSON', { cause }) }
}

function recordOf (value: unknown, takes: string): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw malformed(takes)
  return value as Readonly<Record<string, unknown>>
}

const listOf = (value: unknown): readonly unknown[] => value === undefined ? [] : Array.isArray(value) ? value : [value]

function textsOf (value: unknown, name: string): readonly string[] {
  const texts = listOf(value)
  if (texts.length === 0 || !texts.every((text): text is string => typeof text === 'string')) throw malformed(`${name} is a text or a list of them`)
  return texts
}
