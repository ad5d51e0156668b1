import { decode, encode } from 'cborg'
import { MalformedBytes } from '../../base/bytes.ts'
import { InvalidInput } from '../../base/errors.ts'
import { lastDateMs } from '../../base/iso-date.ts'
import { checkBucketName } from '../buckets/bucket-row.ts'

/** What a program that speaks S3 shows to be let in, and what it may do then. */
export interface AccessKey {
  /** Public: stands in every request. */
  readonly id: string
  /** For people. */
  readonly name: string
  readonly rights: readonly AccessRight[]
  /** By the clock of the node asked; undefined: never. It can only refuse. */
  readonly notAfterMs: number | undefined
  readonly createdMs: number
}

export interface SecretAccessKey extends AccessKey {
  readonly secret: string
}

export interface AccessRight {
  /** A bucket's name, or '*' for all, those too that are made later. */
  readonly bucket: string
  /** Only keys that begin so; '' for all. */
  readonly prefix: string
  readonly actions: readonly AccessAction[]
}

/** admin: make, change and remove the bucket itself. */
export const accessActions = ['read', 'write', 'list', 'admin'] as const
export type AccessAction = typeof accessActions[number]

export const accessKeyLimits = {
  maxNameLength: 64,
  /** Of one key; they stand in its row. */
  maxRights: 64,
  maxPrefixBytes: 1024,
  /** What all rights of a key take, in bytes of bucket names and prefixes. */
  maxRightsBytes: 32 * 1024,
  /** How long a node goes by what it has read: a key that is removed or changed through another node is refused there after this, at the latest. */
  maxStaleMs: 5000,
  /** Keys a node remembers meanwhile. */
  maxRemembered: 10_000,
} as const

/** Whether the key may do this now. `key` undefined: to the bucket as a whole. */
export function isAllowed (accessKey: AccessKey, { action, bucket, key = '' }: { action: AccessAction, bucket: string, key?: string }): boolean {
  return accessKey.rights.some((right) => right.actions.includes(action) && (right.bucket === '*' || right.bucket === bucket) && key.startsWith(right.prefix))
}

/** Whether there is anything in the bucket that the key may do. */
export const mayEnter = (accessKey: AccessKey, bucket: string): boolean => accessKey.rights.some((right) => right.bucket === '*' || right.bucket === bucket)

export const isExpired = ({ notAfterMs }: Pick<AccessKey, 'notAfterMs'>, nowMs: number): boolean => notAfterMs !== undefined && nowMs > notAfterMs

/** @throws InvalidInput */
export function checkAccessKey ({ name, rights, notAfterMs }: Pick<AccessKey, 'name' | 'rights' | 'notAfterMs'>): void {
  if (!/^[\w.@ -]+$/.test(name) || name.length > accessKeyLimits.maxNameLength) throw new InvalidInput('name', `"${name.slice(0, 80)}" is no name of an access key: 1-${accessKeyLimits.maxNameLength} letters, digits, spaces and . _ @ -`)
  if (notAfterMs !== undefined && !(Number.isSafeInteger(notAfterMs) && notAfterMs > 0 && notAfterMs <= lastDateMs)) throw new InvalidInput('expires', 'an expiry is a time in milliseconds since 1970, in the year 9999 at the latest')
  if (rights.length > accessKeyLimits.maxRights) throw new InvalidInput('rights', `a key has at most ${accessKeyLimits.maxRights} rights`)
  for (const { bucket, prefix, actions } of rights) {
    if (bucket !== '*') checkBucketName(bucket)
    if (!prefix.isWellFormed() || Buffer.byteLength(prefix) > accessKeyLimits.maxPrefixBytes) throw new InvalidInput('prefix', `a prefix has at most ${accessKeyLimits.maxPrefixBytes} bytes of UTF-8`)
    const unknown = actions.find((action) => !accessActions.includes(action))
    if (unknown !== undefined || actions.length === 0) throw new InvalidInput('rights', `rights are ${accessActions.join(', ')}; "${String(unknown ?? '')}" is none of them`)
  }
  const bytes = rights.reduce((sum, { bucket, prefix }) => sum + Buffer.byteLength(bucket) + Buffer.byteLength(prefix), 0)
  if (bytes > accessKeyLimits.maxRightsBytes) throw new InvalidInput('rights', 'the prefixes of this key are too long together')
}

/** One right a place: what is granted anew for a bucket and prefix takes the place of what was; without actions it is taken away. */
export function withRights (rights: readonly AccessRight[], granted: readonly AccessRight[]): readonly AccessRight[] {
  const places = new Map([...rights, ...granted].map((right) => [`${right.bucket}\n${right.prefix}`, right]))
  return [...places.values()].filter(({ actions }) => actions.length > 0)
}

const version = 1

export function encodeAccessKey ({ id, secret, name, createdMs, notAfterMs, rights }: SecretAccessKey): Uint8Array {
  return encode([version, id, secret, name, createdMs, notAfterMs ?? null, rights.map(({ bucket, prefix, actions }) => [bucket, prefix, [...actions]])])
}

/** @throws MalformedBytes */
export function decodeAccessKey (value: Uint8Array): SecretAccessKey {
  try {
    const [found, id, secret, name, createdMs, notAfterMs, rights] = decode(value) as [number, string, string, string, number, number | null, Array<[string, string, AccessAction[]]>]
    if (found !== version) throw new MalformedBytes(`access key of version ${found}`)
    return { id, secret, name, createdMs, notAfterMs: notAfterMs ?? undefined, rights: rights.map(([bucket, prefix, actions]) => ({ bucket, prefix, actions })) }
  } catch (cause) {
    throw new MalformedBytes('an access key could not be read', { cause })
  }
}

/** What a listing shows: everything but the secret. */
export const summaryOfAccessKey = (value: Uint8Array): Uint8Array => encodeAccessKey({ ...decodeAccessKey(value), secret: '' })

export const publicAccessKey = ({ id, name, rights, notAfterMs, createdMs }: AccessKey): AccessKey => ({ id, name, rights, notAfterMs, createdMs })
