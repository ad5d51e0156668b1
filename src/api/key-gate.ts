import { timingSafeEqual } from 'node:crypto'
import { utf8 } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { hash } from '../base/hash.ts'
import { type AccessKeys, isAllowed, isExpired, mayEnter, type Objects } from '../objects/index.ts'
import type { Aspect, Gate, Wish } from './gate.ts'
import { BucketAccesses } from './s3/access.ts'
import { judged } from './s3/policy.ts'

/** What policies call it; where there are several, a denial of one is a denial, and it takes leave for all. Rights alone let change a bucket. */
function operationsOf ({ action, isOfVersions = false, aspects, changes = [], told }: Wish): readonly string[] {
  if (told !== undefined) return operationsThatTell.get(told) ?? []
  switch (action) {
    case 'read': return aspects?.includes('tags') === true ? [isOfVersions ? 's3:GetObjectVersionTagging' : 's3:GetObjectTagging'] : [isOfVersions ? 's3:GetObjectVersion' : 's3:GetObject']
    case 'list': return [isOfVersions ? 's3:ListBucketVersions' : 's3:ListBucket']
    case 'write': return (aspects ?? ['content']).flatMap((aspect) => operationsOn(aspect, isOfVersions))
    case 'admin': return [...(aspects ?? []).flatMap((aspect) => operationsOn(aspect, isOfVersions)), ...changes.flatMap((change) => operationsOfBuckets.get(change) ?? [])]
    default: return action satisfies never
  }
}

/** Whoever may change the policy is not locked out by it, and of the rest policies know nothing. */
const operationsOfBuckets: ReadonlyMap<string, readonly string[]> = new Map(Object.entries({
  removal: ['s3:DeleteBucket'],
  versioning: ['s3:PutBucketVersioning'],
  publicRead: ['s3:PutBucketAcl'],
  lifecycle: ['s3:PutLifecycleConfiguration'],
  cors: ['s3:PutBucketCORS'],
  website: ['s3:PutBucketWebsite', 's3:DeleteBucketWebsite'],
  objectLock: ['s3:PutBucketObjectLockConfiguration'],
  tags: ['s3:PutBucketTagging'],
}))

/** But for the policy, as above. */
const operationsThatTell: ReadonlyMap<string, readonly string[]> = new Map(Object.entries({
  versioning: ['s3:GetBucketVersioning'],
  publicRead: ['s3:GetBucketAcl'],
  lifecycle: ['s3:GetLifecycleConfiguration'],
  cors: ['s3:GetBucketCORS'],
  website: ['s3:GetBucketWebsite'],
  objectLock: ['s3:GetBucketObjectLockConfiguration'],
  tags: ['s3:GetBucketTagging'],
}))

function operationsOn (aspect: Aspect, isOfVersions: boolean): readonly string[] {
  switch (aspect) {
    case 'content': return ['s3:PutObject', 's3:DeleteObject', ...isOfVersions ? ['s3:DeleteObjectVersion'] : []]
    case 'tags': return [isOfVersions ? 's3:PutObjectVersionTagging' : 's3:PutObjectTagging']
    case 'retention': return ['s3:PutObjectRetention']
    case 'hold': return ['s3:PutObjectLegalHold']
    case 'governance': return ['s3:BypassGovernanceRetention']
    default: return aspect satisfies never
  }
}

/** Who may what by the cluster's access keys and what buckets say: their policies, as at the S3 face; what a public-read bucket holds anybody may read, and whether they may list it its policy says (docs/decisions/0029-public-read.md). */
export function keyGate ({ keys, objects, clock }: { keys: Pick<AccessKeys, 'find'>, objects: Pick<Objects, 'bucket'>, clock: Clock }): Gate {
  const accesses = new BucketAccesses({ node: { objects }, clock })
  return {
    async judge (wish, { keyId, isSecure }) {
      const { action, bucket, key, isOfVersions = false, aspects, changes } = wish
      if (bucket === '') return 'silent'
      const { statements, isPublic } = await accesses.of(bucket)
      const judgements = operationsOf(wish).map((operation) => judged(statements, { accessKeyId: keyId, operation, bucket, key: action === 'list' ? '' : key, isSecure }))
      if (judgements.includes('deny')) return 'deny'
      if (changes === undefined && judgements.length > 0 && judgements.every((one) => one === 'allow')) return 'allow'
      return isPublic && !isOfVersions && action === 'read' && aspects === undefined ? 'allow' : 'silent'
    },
    async prove ({ id, secret }) {
      const key = await keys.find(id)
      const isRight = timingSafeEqual(hash(utf8(secret)), hash(utf8(key?.secret ?? '')))
      if (key === undefined || !isRight || isExpired(key, clock.wallMs())) return undefined
      return { id, may: (wish) => isAllowed(key, wish), mayEnter: (bucket) => mayEnter(key, bucket) }
    },
  }
}
