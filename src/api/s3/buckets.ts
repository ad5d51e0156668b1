import { Conflict, NotFound } from '../../base/errors.ts'
import { isAllowed, mayEnter, type Tags } from '../../objects/index.ts'
import { S3Error } from './errors.ts'
import { numberIn, owner, type S3Exchange, sendNothing, sendXml } from './exchange.ts'
import { versionIn } from './get-object.ts'
import { keyOfToken, ownerElement, tokenOfKey } from './listing.ts'
import { wholeBody } from './whole-body.ts'
import { demandForm } from './xml-form.ts'
import { child, childrenOf, childText, parseXml, xmlLimits } from './xml-reader.ts'
import { document, element, given } from './xml.ts'

// as of AWS; whoever says nothing gets all
const maxBuckets = 10_000

/** GET /: the buckets that the key may enter. */
export async function listBuckets (exchange: S3Exchange): Promise<void> {
  const { node: { objects }, accessKey, parameters, signal } = exchange
  if (accessKey === undefined) throw new S3Error('AccessDenied', 'buckets are listed for who signs with an access key')
  const [prefix, token, limit] = [parameters.get('prefix') ?? '', parameters.get('continuation-token'), numberIn(exchange, 'max-buckets', { fallback: maxBuckets, least: 1, most: maxBuckets })]
  const after = token === undefined || token === '' ? '' : keyOfToken(token)
  const found = (await objects.listBuckets({ signal })).filter(({ name }) => mayEnter(accessKey, name) && name.startsWith(prefix) && name > after).toSorted((a, b) => a.name < b.name ? -1 : 1)
  const buckets = found.slice(0, limit)
  sendXml(exchange, document('ListAllMyBucketsResult', [
    ownerElement('Owner'),
    element('Buckets', buckets.map(({ name, created }) => element('Bucket', [element('Name', name), element('CreationDate', created)]))),
    given('ContinuationToken', found.length > buckets.length ? tokenOfKey(buckets.at(-1)?.name ?? '') : undefined), given('Prefix', parameters.get('prefix')),
  ]))
}

/** PUT BUCKET. One that this key may administer already is as good as made, as in us-east-1; of another it is told that the name is taken. */
export async function createBucket (exchange: S3Exchange): Promise<void> {
  const { node: { objects }, bucket, header, headers, signal } = exchange
  demandNoGrants(headers)
  const tags = await tagsIn(exchange)
  const isPublic = isPublicAcl(header('x-amz-acl'))
  if (isPublic && header('x-amz-object-ownership') === 'BucketOwnerEnforced') throw new S3Error('InvalidBucketAclWithObjectOwnership', 'Bucket cannot have ACLs set with ObjectOwnership\'s BucketOwnerEnforced setting')
  const settings = {
    ...(tags.length === 0 ? {} : { tags }),
    ...(isPublic ? { publicRead: true as const } : {}),
    ...(isLocking(header('x-amz-bucket-object-lock-enabled')) ? { versioning: 'enabled' as const, objectLock: {} } : {}),
  }
  try {
    await objects.createBucket(bucket, Object.keys(settings).length === 0 ? {} : { settings }, { signal })
  } catch (error) {
    if (!(error instanceof Conflict)) throw error
    const existing = await objects.bucket(bucket, { signal })
    const isOurs = exchange.accessKey !== undefined && isAllowed(exchange.accessKey, { action: 'admin', bucket: existing.name })
    throw new S3Error(isOurs ? 'BucketAlreadyOwnedByYou' : 'BucketAlreadyExists', error.message, { cause: error })
  }
  sendNothing(exchange, 200, { location: `/${bucket}` })
}

/** @throws S3Error for what is neither: a bucket without the locks that somebody meant is found out too late */
function isLocking (text = 'false'): boolean {
  const word = text.toLowerCase()
  if (word !== 'true' && word !== 'false') throw new S3Error('InvalidArgument', 'x-amz-bucket-object-lock-enabled takes true or false')
  return word === 'true'
}

/** What a client may say of where a bucket shall be is read and not acted on: every bucket is everywhere. Its tags are kept; anything else is refused. */
async function tagsIn (exchange: S3Exchange): Promise<Tags> {
  const body = await wholeBody(exchange.payload(), xmlLimits.maxBytes)
  if (body.byteLength === 0) return []
  const configuration = parseXml(body, 'CreateBucketConfiguration')
  demandForm(configuration, configurationForm)
  return childrenOf(child(configuration, 'Tags'), 'Tag').map((tag) => [childText(tag, 'Key') ?? '', childText(tag, 'Value') ?? ''] as const)
}

const configurationForm = { LocationConstraint: 'text', Tags: { 'Tag*': { Key: 'text', Value: 'text' } } } as const

/** A grant that is passed over in silence would be believed in. @throws S3Error */
export function demandNoGrants (headers: S3Exchange['headers']): void {
  const grant = Object.keys(headers).find((name) => name.startsWith('x-amz-grant-'))
  if (grant !== undefined) throw new S3Error('NotImplemented', `${grant} is not understood here; a bucket is private or public-read, and a bucket policy says the rest`)
}

/** @throws S3Error for lists that are not known */
export function isPublicAcl (acl: string | undefined): boolean {
  if (acl === undefined || acl === 'private') return false
  if (acl === 'public-read') return true
  throw new S3Error('NotImplemented', `the canned ACL "${acl.slice(0, 40)}" is not known here; a bucket is private or public-read, and a bucket policy says the rest`)
}

/** HEAD BUCKET */
export async function headBucket (exchange: S3Exchange): Promise<void> {
  await exchange.node.objects.bucket(exchange.bucket, { signal: exchange.signal })
  sendNothing(exchange, 200, { 'x-amz-bucket-region': exchange.region })
}

/** DELETE BUCKET */
export async function deleteBucket (exchange: S3Exchange): Promise<void> {
  const { node: { objects }, bucket, signal } = exchange
  await objects.removeBucket(bucket, { signal }).catch((error: unknown) => {
    throw error instanceof Conflict ? new S3Error(error.message.includes('not empty') ? 'BucketNotEmpty' : 'OperationAborted', error.message, { cause: error }) : error
  })
  sendNothing(exchange, 204)
}

/** GET BUCKET?location: empty is us-east-1, which clients take for their default. */
export async function getLocation (exchange: S3Exchange): Promise<void> {
  await exchange.node.objects.bucket(exchange.bucket, { signal: exchange.signal })
  sendXml(exchange, document('LocationConstraint', exchange.region === 'us-east-1' ? '' : exchange.region))
}

/** GET ?acl of a bucket or an object: its owner may everything, and anybody may read if the bucket is public. */
export async function getAcl (exchange: S3Exchange): Promise<void> {
  const { node: { objects }, bucket, key, signal, parameters } = exchange
  const { settings = {} } = await objects.bucket(bucket, { signal })
  if (key !== '') await objects.head({ bucket, key }, { ...(parameters.has('versionId') ? { versionId: parameters.get('versionId') } : {}), signal })
  const xsi = { 'xmlns:xsi': 'http://www.w3.org/2001/XMLSchema-instance' }
  const grants = [element('Grant', [element('Grantee', [element('ID', owner.id), element('DisplayName', owner.displayName)], { ...xsi, 'xsi:type': 'CanonicalUser' }), element('Permission', 'FULL_CONTROL')])]
  if (settings.publicRead === true) grants.push(element('Grant', [element('Grantee', element('URI', allUsers), { ...xsi, 'xsi:type': 'Group' }), element('Permission', 'READ')]))
  sendXml(exchange, document('AccessControlPolicy', [ownerElement('Owner'), element('AccessControlList', grants)]))
}

const allUsers = 'http://acs.amazonaws.com/groups/global/AllUsers'

/** PUT BUCKET?acl: private or public-read, by header or by a list that says as much. */
export async function putBucketAcl (exchange: S3Exchange): Promise<void> {
  const { node: { objects }, bucket, header, signal } = exchange
  const isPublic = await isPublicList(exchange, header('x-amz-acl'))
  await objects.setBucketSettings(bucket, { publicRead: isPublic ? true : null }, { signal })
  sendNothing(exchange)
}

/** PUT BUCKET/KEY?acl: private alone, which it is already. */
export async function putObjectAcl (exchange: S3Exchange): Promise<void> {
  const { node: { objects }, bucket, key, header, signal } = exchange
  await objects.head({ bucket, key }, { ...versionIn(exchange), signal })
  const acl = header('x-amz-acl')
  if (await isPublicList(exchange, ownersLists.includes(acl ?? '') ? 'private' : acl)) throw new S3Error('NotImplemented', 'objects have no access lists here; open the bucket (PUT ?acl with public-read, or a policy)')
  sendNothing(exchange)
}

const ownersLists: readonly string[] = ['private', 'bucket-owner-full-control', 'bucket-owner-read']

async function isPublicList (exchange: S3Exchange, canned: string | undefined): Promise<boolean> {
  demandNoGrants(exchange.headers)
  const body = await wholeBody(exchange.payload(), xmlLimits.maxBytes)
  if (canned !== undefined && body.byteLength > 0) throw new S3Error('InvalidRequest', 'an access list is set by x-amz-acl, or by an AccessControlPolicy in the body, and not by both')
  if (canned !== undefined) return isPublicAcl(canned)
  // what says nothing would shut a bucket that is open
  if (body.byteLength === 0) throw new S3Error('MissingSecurityHeader', 'an access list is set by x-amz-acl, or by an AccessControlPolicy in the body')
  const list = child(parseXml(body, 'AccessControlPolicy'), 'AccessControlList')
  if (list === undefined) throw new S3Error('MalformedXML', 'an AccessControlPolicy has an AccessControlList')
  const grants = list.children.map((grant) => ({ uri: childText(child(grant, 'Grantee'), 'URI'), id: childText(child(grant, 'Grantee'), 'ID'), permission: childText(grant, 'Permission') }))
  if (grants.some(({ uri, id }) => uri === undefined && id !== owner.id)) throw new S3Error('NotImplemented', `grants to others than "${owner.id}" are not understood here; a bucket policy says who may what`)
  const groups = grants.filter(({ uri }) => uri !== undefined)
  if (groups.some(({ uri, permission }) => uri !== allUsers || permission !== 'READ')) throw new S3Error('NotImplemented', 'the only grant to a group here is READ to everybody')
  return groups.length > 0
}

/** Whether there is such a bucket, for operations that have nothing else to ask. @throws S3Error */
export async function demandBucket ({ node: { objects }, bucket, signal }: S3Exchange): Promise<void> {
  await objects.bucket(bucket, { signal }).catch((error: unknown) => { throw error instanceof NotFound ? new S3Error('NoSuchBucket', error.message, { cause: error }) : error })
}

