import type { Clock } from '../../base/clock.ts'
import { NotFound } from '../../base/errors.ts'
import type { DfsNode } from '../../node.ts'
import { type AccessKey, type BucketSettings, isAllowed } from '../../objects/index.ts'
import { S3Error } from './errors.ts'
import type { Demand } from './exchange.ts'
import { judged, matches, parsePolicy, type PolicyStatement } from './policy.ts'

export const accessLimits = {
  /** How long a node goes by what it has read of a bucket's policy, public access and CORS rules. */
  maxStaleMs: 5000,
  maxRemembered: 10_000,
} as const

/** What a bucket says of who may do what. */
export interface BucketAccess {
  readonly statements: readonly PolicyStatement[]
  readonly isPublic: boolean
  readonly cors: BucketSettings['cors']
}

const none: BucketAccess = { statements: [], isPublic: false, cors: undefined }

/** Reads what buckets say, and remembers it for a few seconds: every request asks. */
export class BucketAccesses {
  readonly #node: { readonly objects: Pick<DfsNode['objects'], 'bucket'> }
  readonly #clock: Clock
  #changes = 0
  readonly #remembered = new Map<string, { access: BucketAccess, readMs: number }>()

  constructor ({ node, clock }: { node: { readonly objects: Pick<DfsNode['objects'], 'bucket'> }, clock: Clock }) { this.#node = node; this.#clock = clock }

  async of (bucket: string): Promise<BucketAccess> {
    const known = this.#remembered.get(bucket)
    const readMs = this.#clock.monotonicMs()
    if (known !== undefined && readMs - known.readMs < accessLimits.maxStaleMs) return known.access
    const before = this.#changes
    const access = await this.#read(bucket)
    if (this.#remembered.size >= accessLimits.maxRemembered) this.#remembered.clear()
    if (access !== none && this.#changes === before) this.#remembered.set(bucket, { access, readMs })
    return access
  }

  /** It has just been changed here. */
  forget (bucket: string): void {
    this.#changes++
    this.#remembered.delete(bucket)
  }

  async #read (bucket: string): Promise<BucketAccess> {
    try {
      const { settings = {} } = await this.#node.objects.bucket(bucket)
      return { statements: settings.policy === undefined ? [] : parsePolicy(settings.policy, bucket), isPublic: settings.publicRead === true, cors: settings.cors }
    } catch (error) {
      // the operation itself says so, in its own words
      if (error instanceof NotFound) return none
      throw error
    }
  }
}

export interface Asker {
  readonly accessKey: AccessKey | undefined
  readonly isSecure: boolean
}

/** A key may what its rights say or the bucket's policy allows; anybody what the bucket is open for; and nobody what its policy denies. @throws S3Error AccessDenied */
export async function demandAccess (accesses: BucketAccesses, { accessKey, isSecure }: Asker, { operation, action, bucket, key = '' }: Demand): Promise<void> {
  const { statements, isPublic } = bucket === '' ? none : await accesses.of(bucket)
  // to policies a list is of the bucket, whatever prefix it is asked for; to rights, of what is below the prefix
  const judgement = judged(statements, { accessKeyId: accessKey?.id, operation, bucket, key: action === 'list' ? '' : key, isSecure })
  // whoever may change the policy is not locked out by it
  const isDenied = judgement === 'deny' && !(operation.endsWith('BucketPolicy') && accessKey !== undefined && isAllowed(accessKey, { action: 'admin', bucket }))
  const isGranted = (accessKey !== undefined && isAllowed(accessKey, { action, bucket, key })) || judgement === 'allow' || (isPublic && operation === 's3:GetObject')
  if (isGranted && !isDenied) return
  if (accessKey === undefined) throw isDenied ? new S3Error('AccessDenied', 'the policy of the bucket denies this') : notOpen()
  throw new S3Error('AccessDenied', isDenied ? 'the policy of the bucket denies this' : `access key ${accessKey.id} may not do this; "dfs key grant ${accessKey.id} --bucket ${bucket === '' ? '…' : bucket} --rights ${action}" would let it`)
}

/** Of somebody who shows no key, before the names are read of what is to be done: that a policy lets everybody do it, to anything there. @throws S3Error AccessDenied */
export function demandSome ({ statements }: Pick<BucketAccess, 'statements'>, operations: readonly string[]): void {
  const isSome = statements.some(({ effect, principals, actions }) => effect === 'Allow' && principals.includes('*') && actions.some((pattern) => operations.some((operation) => matches(pattern.toLowerCase(), operation.toLowerCase()))))
  if (!isSome) throw notOpen()
}

const notOpen = (): S3Error => new S3Error('AccessDenied', 'this is not open to anybody: sign the request with an access key ("dfs key create" makes one)')
