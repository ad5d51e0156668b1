import { S3Error } from './errors.ts'
import { matches, parsePolicy } from './policy.ts'

/**
 * Refuses a policy that would be kept and pass something over: a denial of what nobody can do, of what the resource has not, to nobody, or of a name that would have to be filled in. Asked
 * when one is set, and not of one that is there: a bucket stays as it was.
 * @throws S3Error MalformedPolicy, NotImplemented
 */
export function checkPolicy (text: string, bucket: string): void {
  const statements = parsePolicy(text, bucket)
  demandNamesOnce(text)
  for (const { principals, actions, resources } of statements) {
    const names = [...isAboutBuckets(resources, bucket) ? actionsOfAws.bucket : [], ...isAboutObjects(resources, bucket) ? actionsOfAws.object : []]
    const isAmong = (pattern: string, these: readonly string[]): boolean => these.some((name) => matches(pattern.toLowerCase(), `s3:${name}`.toLowerCase()))
    const action = actions.find((pattern) => !isAmong(pattern, Object.values(actionsOfAws).flat()))
    if (action !== undefined) throw new S3Error('MalformedPolicy', `Policy has invalid action: there is no ${action.slice(0, 100)}`)
    const idle = actions.find((pattern) => !isAmong(pattern, names))
    if (idle !== undefined) throw new S3Error('MalformedPolicy', `Action does not apply to any resource(s) in statement: ${idle.slice(0, 100)} is of ${isAmong(idle, actionsOfAws.object) ? `objects, which are arn:aws:s3:::${bucket}/*` : `the bucket, which is arn:aws:s3:::${bucket}`}`)
    const principal = principals.find((one) => one !== '*' && !accessKeyId.test(one))
    if (principal !== undefined) throw new S3Error('MalformedPolicy', `Invalid principal in policy: "${principal.slice(0, 100)}" is no access key ("dfs key ls" lists them)`)
    const variable = resources.find((one) => one.includes('${'))
    if (variable !== undefined) throw new S3Error('NotImplemented', `"${variable.slice(0, 100)}": variables in policies are not understood here, so the policy is not taken`)
  }
}

/** Of two Effects, or two Statements, JSON goes by the second. `text` is JSON. @throws S3Error MalformedPolicy */
function demandNamesOnce (text: string): void {
  const open: Array<Set<string>> = []
  for (const [token, name, colon] of text.matchAll(/("(?:[^"\\]|\\.)*")(\s*:)?|[{}]/g)) {
    if (token === '{') open.push(new Set())
    else if (token === '}') open.pop()
    else if (name !== undefined && colon !== undefined) {
      const said = JSON.parse(name) as string
      if (open.at(-1)?.has(said) === true) throw new S3Error('MalformedPolicy', `"${said.slice(0, 100)}" stands twice in one object of the policy`)
      open.at(-1)?.add(said)
    }
  }
}

const isAboutBuckets = (resources: readonly string[], bucket: string): boolean => resources.some((pattern) => matches(pattern, bucket))
const isAboutObjects = (resources: readonly string[], bucket: string): boolean => resources.some((pattern) => pattern !== bucket && pattern !== `${bucket}/`)

const accessKeyId = /^DFS[A-Z2-7]{17}$/

/** What there is of buckets and objects (https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html); of what is not done here too, for policies that name it deny or allow nothing less. */
const actionsOfAws: { readonly bucket: readonly string[], readonly object: readonly string[] } = {
  bucket: [
    'CreateBucket', 'DeleteBucket', 'DeleteBucketPolicy', 'DeleteBucketWebsite', 'GetAccelerateConfiguration', 'GetAnalyticsConfiguration', 'GetBucketAcl', 'GetBucketCORS', 'GetBucketLocation',
    'GetBucketLogging', 'GetBucketNotification', 'GetBucketObjectLockConfiguration', 'GetBucketOwnershipControls', 'GetBucketPolicy', 'GetBucketPolicyStatus', 'GetBucketPublicAccessBlock',
    'GetBucketRequestPayment', 'GetBucketTagging', 'GetBucketVersioning', 'GetBucketWebsite', 'GetEncryptionConfiguration', 'GetIntelligentTieringConfiguration', 'GetInventoryConfiguration',
    'GetLifecycleConfiguration', 'GetMetricsConfiguration', 'GetReplicationConfiguration', 'ListBucket', 'ListBucketMultipartUploads', 'ListBucketVersions', 'PutAccelerateConfiguration',
    'PutAnalyticsConfiguration', 'PutBucketAcl', 'PutBucketCORS', 'PutBucketLogging', 'PutBucketNotification', 'PutBucketObjectLockConfiguration', 'PutBucketOwnershipControls', 'PutBucketPolicy',
    'PutBucketPublicAccessBlock', 'PutBucketRequestPayment', 'PutBucketTagging', 'PutBucketVersioning', 'PutBucketWebsite', 'PutEncryptionConfiguration', 'PutIntelligentTieringConfiguration',
    'PutInventoryConfiguration', 'PutLifecycleConfiguration', 'PutMetricsConfiguration', 'PutReplicationConfiguration',
  ],
  object: [
    'AbortMultipartUpload', 'BypassGovernanceRetention', 'DeleteObject', 'DeleteObjectTagging', 'DeleteObjectVersion', 'DeleteObjectVersionTagging', 'GetObject', 'GetObjectAcl',
    'GetObjectAttributes', 'GetObjectLegalHold', 'GetObjectRetention', 'GetObjectTagging', 'GetObjectTorrent', 'GetObjectVersion', 'GetObjectVersionAcl', 'GetObjectVersionAttributes',
    'GetObjectVersionForReplication', 'GetObjectVersionTagging', 'GetObjectVersionTorrent', 'ListMultipartUploadParts', 'ObjectOwnerOverrideToBucketOwner', 'PutObject', 'PutObjectAcl',
    'PutObjectLegalHold', 'PutObjectRetention', 'PutObjectTagging', 'PutObjectVersionAcl', 'PutObjectVersionTagging', 'ReplicateDelete', 'ReplicateObject', 'ReplicateTags', 'RestoreObject',
  ],
}
