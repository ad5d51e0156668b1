import { decode, encode } from 'cborg'
import { fromHex, hexOf, MalformedBytes } from '../../base/bytes.ts'
import { InvalidInput } from '../../base/errors.ts'
import { type BucketSettings, decodeSettings } from './bucket-settings.ts'
import type { Bucket, BucketOptions } from '../index.ts'
import { chosenRedundancy, defaultCopies } from './redundancy.ts'

/** A bucket's row. Objects key on its id, so a bucket made again under the same name is another bucket. */
export interface BucketRow extends Bucket {
  /** 'deleting' while a remover proves that it is empty; puts that begin meanwhile fail. 'removed' is said by another row, in the bucket's own scope, of one that was found empty. */
  readonly state: 'active' | 'deleting' | 'removed'
  /**
   * Random, 16 bytes, hexadecimal: which 'deleting' this is. It was not interrupted as long as the same one stands, so no put was acknowledged meanwhile.
   * Undefined: active, or a mark of the first version of the format.
   */
  readonly removal?: string
}

export const defaultBucketOptions: BucketOptions = { copies: defaultCopies, isPrivate: false, compression: 'auto', chunking: 'content', dedup: 'bucket' }

export const bucketLimits = { minNameLength: 3, maxNameLength: 63 } as const

/** S3's rules (https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html), so that every face can name every bucket. @throws InvalidInput */
export function checkBucketName (name: string): void {
  const { minNameLength, maxNameLength } = bucketLimits
  const isValid = name.length >= minNameLength && name.length <= maxNameLength && /^[a-z0-9][a-z0-9.-]*[a-z0-9]$/.test(name) &&
    !name.includes('..') && !/^\d+\.\d+\.\d+\.\d+$/.test(name)
  if (!isValid) {
    throw new InvalidInput('bucket', `"${name.slice(0, 80)}" is not a bucket name: ${minNameLength}-${maxNameLength} lower-case letters, digits, dots and hyphens, beginning and ending with a letter or digit, no two dots in a row, not an IP address`)
  }
}

/** @throws InvalidInput naming the option */
export function checkBucketOptions ({ copies, shards, compression, chunking, dedup, isPrivate, degraded = 'refuse' }: BucketOptions): void {
  chosenRedundancy({ copies, shards })
  if (!['auto', 'off'].includes(compression)) throw new InvalidInput('compression', `compression is "${compression}"; it takes auto or off`)
  if (!['content', 'content-small', 'fixed'].includes(chunking)) throw new InvalidInput('chunking', `chunking is "${chunking}"; it takes content, content-small or fixed`)
  if (!['bucket', 'cluster'].includes(dedup)) throw new InvalidInput('dedup', `dedup is "${dedup}"; it takes bucket or cluster`)
  if (!['refuse', 'allow'].includes(degraded)) throw new InvalidInput('degraded', `degraded is "${degraded}"; it takes refuse or allow`)
  if (isPrivate && dedup === 'cluster') throw new InvalidInput('dedup', 'a private bucket shares no blocks, so it cannot deduplicate over the cluster')
}

// a row is written in the first version that can say it: the first had marks without a name, the second no rule for two holders, the third no settings,
// the fourth not that it was changed
const versions = { plain: 1, withRemoval: 2, withExtras: 3, withSettings: 4, withOriginal: 5 } as const

/** What is not the default, by name: deterministic, for a map of CBOR is written in order of its keys. */
interface Extras { readonly removal?: Uint8Array, readonly degraded?: 'allow', readonly shards?: string, readonly settings?: BucketSettings, readonly original?: readonly [copies: number, shards: string | null] }

const extraNames = {
  [versions.withExtras]: ['removal', 'degraded', 'shards'], [versions.withSettings]: ['removal', 'degraded', 'shards', 'settings'],
  [versions.withOriginal]: ['removal', 'degraded', 'shards', 'settings', 'original'],
} as const

export function encodeBucketRow (row: BucketRow): Uint8Array {
  const fields = [row.name, fromHex(row.id), row.state, row.created, row.copies, row.isPrivate, row.compression, row.chunking, row.dedup]
  const removal = row.removal === undefined ? undefined : fromHex(row.removal)
  const { shards, degraded, original, settings = {} } = row
  const extras: Extras = { ...(removal === undefined ? {} : { removal }), ...(degraded === 'allow' ? { degraded } : {}), ...(shards === undefined ? {} : { shards }) }
  const hasSettings = Object.keys(settings).length > 0
  if (original !== undefined) return encode([versions.withOriginal, ...fields, { ...extras, ...(hasSettings ? { settings } : {}), original: [original.copies, original.shards ?? null] }])
  if (hasSettings) return encode([versions.withSettings, ...fields, { ...extras, settings }])
  if (extras.degraded !== undefined || extras.shards !== undefined) return encode([versions.withExtras, ...fields, extras])
  return encode(removal === undefined ? [versions.plain, ...fields] : [versions.withRemoval, ...fields, removal])
}

/** What a listing shows of a bucket: without its settings, for there is a bound to it. */
export const encodeBucketSummary = ({ settings: _, ...row }: BucketRow): Uint8Array => encodeBucketRow(row)

/** @throws MalformedBytes */
export function decodeBucketRow (value: Uint8Array): BucketRow {
  const [version, name, id, state, created, copies, isPrivate, compression, chunking, dedup, rest] = decode(value) as
    [number, string, Uint8Array, BucketRow['state'], string, number, boolean, BucketOptions['compression'], BucketOptions['chunking'], BucketOptions['dedup'], unknown]
  const { removal, degraded, shards, settings, original } = extrasOf(version, rest)
  const row = { name, id: hexOf(id), state, created, copies, isPrivate, compression, chunking, dedup }
  return {
    ...row,
    ...(removal === undefined ? {} : { removal: hexOf(removal) }),
    ...(degraded === undefined ? {} : { degraded }),
    ...(shards === undefined ? {} : { shards }),
    ...(settings === undefined ? {} : { settings: decodeSettings(settings) }),
    ...(original === undefined ? {} : { original: { copies: original[0], ...(original[1] === null ? {} : { shards: original[1] }) } }),
  }
}

function extrasOf (version: number, rest: unknown): Extras {
  if (version === versions.plain) return {}
  if (version === versions.withRemoval) return { removal: rest as Uint8Array }
  const extras = rest as Extras | undefined
  const known: readonly string[] = version === versions.withExtras || version === versions.withSettings || version === versions.withOriginal ? extraNames[version] : []
  const isKnown = known.length > 0 && typeof extras === 'object' && Object.keys(extras).every((name) => known.includes(name))
  if (!isKnown) throw new MalformedBytes(`bucket row of version ${version}`)
  return extras
}

export const publicBucket = ({ state: _, removal: __, ...bucket }: BucketRow): Bucket => bucket
