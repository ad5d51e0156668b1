import { InvalidInput } from '../../base/errors.ts'
import type { Redundancy, WriteOptions } from '../../replication/index.ts'
import type { Bucket, BucketOptions } from '../index.ts'

export const redundancyLimits = {
  maxCopies: 3,
  /** Of one block: what a layout has positions for. */
  maxShards: 8,
  /** An object shorter than this is kept in whole copies, as manifests are: its shards would be many small things to read one. */
  spreadFromBytes: 256 * 1024,
} as const

/** How a bucket's blocks are kept. */
export interface BucketRedundancy {
  /** Of manifests, and of objects below 256 KiB. */
  readonly whole: Redundancy
  /** Of everything else. */
  readonly large: Redundancy
}

export function redundancyOf ({ copies, shards }: Pick<BucketOptions, 'copies' | 'shards'>): BucketRedundancy {
  const whole = { k: 1, m: copies - 1 }
  return { whole, large: shards === undefined ? whole : shardsIn(shards) }
}

/** When what is put for a user into a bucket is acknowledged. */
export const writeOptionsOf = ({ degraded, settings }: Pick<Bucket, 'degraded' | 'settings'>): WriteOptions => ({ isDegradedAllowed: degraded === 'allow', isAllNeeded: settings?.ack === 'all' })

/** As the command line takes it. */
export const redundancyText = ({ copies, shards }: Pick<BucketOptions, 'copies' | 'shards'>): string => shards === undefined ? `rf:${copies}` : `rs:${shards}`

/** What is chosen, whole: with k+m shards as many copies as survive the loss of m. @throws InvalidInput */
export function chosenRedundancy ({ copies, shards }: Partial<Pick<BucketOptions, 'copies' | 'shards'>>): Pick<BucketOptions, 'copies' | 'shards'> {
  if (shards === undefined) return { copies: checkCopies(copies ?? defaultCopies) }
  const most = shardsIn(shards).m + 1
  if (copies !== undefined && copies !== most) throw new InvalidInput('redundancy', `rs:${shards} keeps ${most} whole copies of what is small; "copies" and "shards" are not given together`)
  return { copies: most, shards }
}

/** What suits so many nodes that hold blocks, for people: with shards a node or more is left over, so that puts go on while one is away. */
export function suggestionFor (places: number): string {
  if (places <= 2) return `rf:${Math.max(1, places)}`
  if (places <= 4) return 'rs:2+1 (any one node may be lost, 1.5 bytes for each) or rf:3 (two, 3 bytes)'
  return places <= 6 ? 'rs:2+2 (any two nodes may be lost, 2 bytes for each) or rf:3 (two, 3 bytes)' : 'rs:4+2 (any two nodes may be lost, 1.5 bytes for each) or rf:3 (two, 3 bytes)'
}

export const defaultCopies = 3

function checkCopies (copies: number): number {
  if (!Number.isInteger(copies) || copies < 1 || copies > redundancyLimits.maxCopies) throw new InvalidInput('redundancy', `rf:${copies} is not possible; it takes rf:1 to rf:${redundancyLimits.maxCopies}, or rs:k+m`)
  return copies
}

/** @throws InvalidInput */
function shardsIn (text: string): Redundancy {
  const match = /^([1-9]\d?)\+([1-9]\d?)$/.exec(text)
  const [k, m] = [Number(match?.[1]), Number(match?.[2])]
  const { maxShards } = redundancyLimits
  if (match === null || k < 2 || k + m > maxShards) throw new InvalidInput('redundancy', `rs:${text.slice(0, 20)} is not possible; rs:k+m takes k from 2 and m from 1, together at most ${maxShards}, for a layout has ${maxShards} places for a block`)
  return { k, m }
}
