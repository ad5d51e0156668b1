import { S3Error } from './errors.ts'
import { matches, parsePolicy } from './policy.ts'

/**
 * Refuses a policy that would be kept and pass something over: a denial of what nobody can do, to nobody, or of a name that would have to be filled in. Asked
 * when one is set, and not of one that is there: a bucket stays as it was.
 * @throws S3Error MalformedPolicy, NotImplemented
 */
export function checkPolicy (text: string, bucket: string): void {
  for (const { principals, actions, resources } of parsePolicy(text, bucket)) {
    const action = actions.find((pattern) => pattern !== '*' && !actionsOfAws.some((name) => matches(pattern.toLowerCase(), `s3:${name}`.toLowerCase())))
    if (action !== undefined) throw new S3Error('MalformedPolicy', `Policy has invalid action: there is no ${action.slice(0, 100)}`)
    const principal = principals.find((one) => one !== '*' && !accessKeyId.test(one))
    if (principal !== undefined) throw new S3Error('MalformedPolicy', `Invalid principal in policy: "${principal.slice(0, 100)}" is no access key ("dfs key ls" lists them)`)
    const variable = resources.find((one) => one.includes('${'))
    if (variable !== undefined) throw new S3Error('NotImplemented', `"${variable.slice(0, 100)}": variables in policies are not understood here, so the policy is not taken`)
  }
}

const accessKeyId = /^DFS[A-Z2-7]{17}$/

/** What there is of buckets and objects (https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html); of what is not done here too, for policies that name it deny or allow nothing less. */
const actionsOfAws = [
  'AbortMultipartUpload', 'BypassGovernanceRetention', 'CreateBucket', 'DeleteBucket', 'DeleteBucketPolicy', 'DeleteBucketWebsite', 'DeleteObject', 'DeleteObjectTagging', 'DeleteObjectVersion', 'DeleteObjectVersionTagging',
  'GetAccelerateConfiguration', 'GetAnalyticsConfiguration', 'GetBucketAcl', 'GetBucketCORS', 'GetBucketLocation', 'GetBucketLogging', 'GetBucketNotification', 'GetBucketObjectLockConfiguration', 'GetBucketOwnershipControls',
  'GetBucketPolicy', 'GetBucketPolicyStatus', 'GetBucketPublicAccessBlock', 'GetBucketRequestPayment', 'GetBucketTagging', 'GetBucketVersioning', 'GetBucketWebsite', 'GetEncryptionConfiguration', 'GetIntelligentTieringConfiguration',
  'GetInventoryConfiguration', 'GetLifecycleConfiguration', 'GetMetricsConfiguration', 'GetObject', 'GetObjectAcl', 'GetObjectAttributes', 'GetObjectLegalHold', 'GetObjectRetention', 'GetObjectTagging', 'GetObjectTorrent', 'GetObjectVersion',
  'GetObjectVersionAcl', 'GetObjectVersionAttributes', 'GetObjectVersionForReplication', 'GetObjectVersionTagging', 'GetObjectVersionTorrent', 'GetReplicationConfiguration', 'ListAllMyBuckets', 'ListBucket', 'ListBucketMultipartUploads',
  'ListBucketVersions', 'ListMultipartUploadParts', 'ObjectOwnerOverrideToBucketOwner', 'PutAccelerateConfiguration', 'PutAnalyticsConfiguration', 'PutBucketAcl', 'PutBucketCORS', 'PutBucketLogging', 'PutBucketNotification',
  'PutBucketObjectLockConfiguration', 'PutBucketOwnershipControls', 'PutBucketPolicy', 'PutBucketPublicAccessBlock', 'PutBucketRequestPayment', 'PutBucketTagging', 'PutBucketVersioning', 'PutBucketWebsite', 'PutEncryptionConfiguration',
  'PutIntelligentTieringConfiguration', 'PutInventoryConfiguration', 'PutLifecycleConfiguration', 'PutMetricsConfiguration', 'PutObject', 'PutObjectAcl', 'PutObjectLegalHold', 'PutObjectRetention', 'PutObjectTagging', 'PutObjectVersionAcl',
  'PutObjectVersionTagging', 'PutReplicationConfiguration', 'ReplicateDelete', 'ReplicateObject', 'ReplicateTags', 'RestoreObject',
] as const
