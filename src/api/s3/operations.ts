import type { AccessAction } from '../../objects/index.ts'
import { createBucket, deleteBucket, demandBucket, getAcl, getLocation, headBucket, listBuckets, putBucketAcl, putObjectAcl } from './buckets.ts'
import { deletePolicy, deleteSetting, getPolicy, getPolicyStatus, getSetting, putPolicy, putSetting, settings } from './bucket-settings.ts'
import { deleteObject, deleteObjects } from './delete-object.ts'
import { S3Error, type S3ErrorCode } from './errors.ts'
import type { S3Exchange } from './exchange.ts'
import { getObject, headObject } from './get-object.ts'
import { listObjects, listVersions } from './listing.ts'
import { abortUpload, completeUpload, createUpload, listParts, listUploads, uploadPart, uploadPartCopy } from './multipart.ts'
import { deleteTagging, getAttributes, getLegalHold, getRetention, getTagging, putLegalHold, putRetention, putTagging } from './object-attributes.ts'
import { copyObject, putObject } from './put-object.ts'

/** What a request asks for: who may is said by `action` and by the name that policies of AWS use. */
export interface Operation {
  /** Without "s3:". */
  readonly name: string
  readonly action: AccessAction
  readonly run: (exchange: S3Exchange) => Promise<void>
}

const operation = (name: string, action: AccessAction, run: Operation['run']): Operation => ({ name, action, run })
type ByMethod = Readonly<Record<string, Operation | undefined>>
type Setting = typeof settings[keyof typeof settings]

/** `name` as in the names of AWS's actions, `removing` where there is one for taking it away. */
const settingOperations = (name: string, setting: Setting, { removing = `Put${name}` } = {}): ByMethod => ({
  GET: operation(`Get${name}`, 'admin', async (exchange) => getSetting(exchange, setting)),
  PUT: operation(`Put${name}`, 'admin', async (exchange) => putSetting(exchange, setting)),
  DELETE: operation(removing, 'admin', async (exchange) => deleteSetting(exchange, setting)),
})

/** Asked for by clients that look around; answered as AWS does where nobody has set it. */
const neverSet = (name: string, code: S3ErrorCode): ByMethod => ({
  GET: operation(`Get${name}`, 'list', async (exchange) => {
    await demandBucket(exchange)
    throw new S3Error(code, `the bucket has no ${name.replace(/^Bucket/, '')}; it cannot have one here`)
  }),
})

/** A reader of these learns nothing but that the bucket is there. */
const readable = (of: ByMethod, name: string): ByMethod => ({ ...of, GET: of.GET === undefined ? undefined : { ...of.GET, name, action: 'list' } })

const bucketSubresources: Readonly<Record<string, ByMethod>> = {
  location: { GET: operation('GetBucketLocation', 'list', getLocation) },
  versioning: readable(settingOperations('BucketVersioning', settings.versioning), 'GetBucketVersioning'),
  acl: { GET: operation('GetBucketAcl', 'list', getAcl), PUT: operation('PutBucketAcl', 'admin', putBucketAcl) },
  cors: settingOperations('BucketCORS', settings.cors),
  lifecycle: settingOperations('LifecycleConfiguration', settings.lifecycle),
  policy: { GET: operation('GetBucketPolicy', 'admin', getPolicy), PUT: operation('PutBucketPolicy', 'admin', putPolicy), DELETE: operation('DeleteBucketPolicy', 'admin', deletePolicy) },
  policyStatus: { GET: operation('GetBucketPolicyStatus', 'admin', getPolicyStatus) },
  tagging: readable(settingOperations('BucketTagging', settings.tagging), 'GetBucketTagging'),
  website: settingOperations('BucketWebsite', settings.website, { removing: 'DeleteBucketWebsite' }),
  'object-lock': readable(settingOperations('BucketObjectLockConfiguration', settings['object-lock']), 'GetBucketObjectLockConfiguration'),
  uploads: { GET: operation('ListBucketMultipartUploads', 'list', listUploads) },
  versions: { GET: operation('ListBucketVersions', 'list', listVersions) },
  delete: { POST: operation('DeleteObjects', 'write', deleteObjects) },
  encryption: neverSet('EncryptionConfiguration', 'ServerSideEncryptionConfigurationNotFoundError'),
  publicAccessBlock: neverSet('BucketPublicAccessBlock', 'NoSuchPublicAccessBlockConfiguration'),
  ownershipControls: neverSet('BucketOwnershipControls', 'OwnershipControlsNotFoundError'),
  replication: neverSet('ReplicationConfiguration', 'ReplicationConfigurationNotFoundError'),
}

const objectSubresources: Readonly<Record<string, ByMethod>> = {
  uploads: { POST: operation('PutObject', 'write', createUpload) },
  uploadId: {
    GET: operation('ListMultipartUploadParts', 'write', listParts), POST: operation('PutObject', 'write', completeUpload), DELETE: operation('AbortMultipartUpload', 'write', abortUpload),
    PUT: operation('PutObject', 'write', async (exchange) => exchange.header('x-amz-copy-source') === undefined ? uploadPart(exchange) : uploadPartCopy(exchange)),
  },
  tagging: { GET: operation('GetObjectTagging', 'read', getTagging), PUT: operation('PutObjectTagging', 'write', putTagging), DELETE: operation('DeleteObjectTagging', 'write', deleteTagging) },
  retention: { GET: operation('GetObjectRetention', 'read', getRetention), PUT: operation('PutObjectRetention', 'write', putRetention) },
  'legal-hold': { GET: operation('GetObjectLegalHold', 'read', getLegalHold), PUT: operation('PutObjectLegalHold', 'write', putLegalHold) },
  acl: { GET: operation('GetObjectAcl', 'read', getAcl), PUT: operation('PutObjectAcl', 'write', putObjectAcl) },
  attributes: { GET: operation('GetObjectAttributes', 'read', getAttributes) },
}

/** Known to S3, and not here. */
const unknownHere = ['accelerate', 'analytics', 'intelligent-tiering', 'inventory', 'logging', 'metrics', 'notification', 'requestPayment', 'restore', 'select', 'torrent', 'session', 'metadataTable', 'metadataConfiguration', 'metadataInventoryTable', 'metadataJournalTable', 'abac', 'renameObject', 'append']

const ofBucket: ByMethod = {
  GET: operation('ListBucket', 'list', listObjects), HEAD: operation('ListBucket', 'list', headBucket), PUT: operation('CreateBucket', 'admin', createBucket), DELETE: operation('DeleteBucket', 'admin', deleteBucket),
}

const ofObject: ByMethod = {
  GET: operation('GetObject', 'read', getObject), HEAD: operation('GetObject', 'read', headObject),
  PUT: operation('PutObject', 'write', async (exchange) => exchange.header('x-amz-copy-source') === undefined ? putObject(exchange) : copyObject(exchange)),
  DELETE: operation('DeleteObject', 'write', deleteObject),
}

/** What policies call an operation on a version that is named: leave to read what is current, or to put a delete marker on it, is none to read or remove what is under it. */
export const ofVersion = (name: string): string => ofVersions.has(name) ? name.replace('Object', 'ObjectVersion') : name

const ofVersions: ReadonlySet<string> = new Set(['GetObject', 'DeleteObject', 'GetObjectTagging', 'PutObjectTagging', 'DeleteObjectTagging', 'GetObjectAcl', 'PutObjectAcl', 'GetObjectAttributes'])

/** Of an object; anything else would be done to what is current, or to the bucket. */
const ofNamedVersions: ReadonlySet<string> = new Set([...ofVersions, 'GetObjectRetention', 'PutObjectRetention', 'GetObjectLegalHold', 'PutObjectLegalHold'])

/** @throws S3Error NotImplemented, MethodNotAllowed, InvalidArgument for a version where none can be named */
export function operationOf ({ request: { method = '' }, bucket, key, parameters }: Pick<S3Exchange, 'request' | 'bucket' | 'key' | 'parameters'>): Operation {
  const unknown = unknownHere.find((name) => parameters.has(name))
  if (unknown !== undefined) throw new S3Error('NotImplemented', `"${unknown}" is not implemented here; docs/S3.md lists what is`)
  const subresources = key === '' ? bucketSubresources : objectSubresources
  // what there is of buckets alone is none of an object's content, nor of an object alone the bucket itself: a PUT would replace, a DELETE remove it
  const named = bucket === '' ? undefined : [subresources, bucketSubresources, objectSubresources].flatMap((of) => Object.keys(of)).find((name) => parameters.has(name))
  const plain = bucket === '' ? { GET: operation('ListAllMyBuckets', 'list', listBuckets) } : key === '' ? ofBucket : ofObject
  const found = named === undefined ? plain[method as keyof typeof plain] : subresources[named]?.[method]
  if (parameters.has('versionId') && (key === '' || !ofNamedVersions.has(found?.name ?? ''))) throw new S3Error('InvalidArgument', 'This operation does not accept a version-id.', { fields: { ArgumentName: 'versionId', ArgumentValue: parameters.get('versionId')?.slice(0, 80) ?? '' } })
  if (found === undefined) throw new S3Error(named === undefined ? 'MethodNotAllowed' : 'NotImplemented', `${method} ${named === undefined ? 'is nothing that can be done here' : `of "${named}" is not implemented here`}`)
  return found
}
