import { timingSafeEqual } from 'node:crypto'
import { utf8 } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import { hash } from '../base/hash.ts'
import { type AccessKeys, isAllowed, isExpired, mayEnter, type Objects } from '../objects/index.ts'
import type { Gate, Wish } from './gate.ts'
import { BucketAccesses } from './s3/access.ts'
import { judged } from './s3/policy.ts'

/** What policies call it; where there are several, a denial of one is a denial, and it takes leave for all. Rights alone let change a bucket. */
const operations: Readonly<Record<Wish['action'], readonly string[]>> = { read: ['s3:GetObject'], list: ['s3:ListBucket'], write: ['s3:PutObject', 's3:DeleteObject'], admin: [] }

const versionOperations: typeof operations = { read: ['s3:GetObjectVersion'], list: ['s3:ListBucketVersions'], write: [...operations.write, 's3:DeleteObjectVersion'], admin: [] }

/** Who may what by the cluster's access keys and what buckets say: their policies, as at the S3 face; what a public-read bucket holds anybody may read, and whether they may list it its policy says (docs/decisions/0029-public-read.md). */
export function keyGate ({ keys, objects, clock }: { keys: Pick<AccessKeys, 'find'>, objects: Pick<Objects, 'bucket'>, clock: Clock }): Gate {
  const accesses = new BucketAccesses({ node: { objects }, clock })
  return {
    async judge ({ action, bucket, key, isOfVersions = false }, { keyId, isSecure }) {
      if (bucket === '') return 'silent'
      const { statements, isPublic } = await accesses.of(bucket)
      const judgements = (isOfVersions ? versionOperations : operations)[action].map((operation) => judged(statements, { accessKeyId: keyId, operation, bucket, key: action === 'list' ? '' : key, isSecure }))
      if (judgements.includes('deny')) return 'deny'
      if (judgements.length > 0 && judgements.every((one) => one === 'allow')) return 'allow'
      return isPublic && !isOfVersions && action === 'read' ? 'allow' : 'silent'
    },
    async prove ({ id, secret }) {
      const key = await keys.find(id)
      const isRight = timingSafeEqual(hash(utf8(secret)), hash(utf8(key?.secret ?? '')))
      if (key === undefined || !isRight || isExpired(key, clock.wallMs())) return undefined
      return { id, may: (wish) => isAllowed(key, wish), mayEnter: (bucket) => mayEnter(key, bucket) }
    },
  }
}
