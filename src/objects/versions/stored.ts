import { type ByteReader, ByteWriter } from '../../base/bytes.ts'
import type { Redundancy } from '../../replication/index.ts'
import type { BucketOptions } from '../index.ts'
import { redundancyLimits, redundancyOf } from '../buckets/redundancy.ts'

/**
 * What a version's blocks are kept as, and for: its holders know them under this id, whatever id the version has for those who read it. A conversion writes the
 * blocks for a fresh id and puts that here; so the version's own id, etag and locks stay, and the old form dies as a replaced version does. Also said of what is
 * put in a bucket whose redundancy was changed, under the version's own id: elsewhere it is what the bucket says.
 */
export interface Stored {
  /** 16 bytes. */
  readonly salt: Uint8Array
  readonly epoch: number
  /** Of manifests, and of chunks that are not spread. */
  readonly copies: number
  /** Of chunks; undefined: whole copies. */
  readonly redundancy?: Redundancy
}

/** How blocks are kept. */
export type Form = Pick<Stored, 'copies' | 'redundancy'>

type Versioned = { readonly redundancy?: Redundancy, readonly stored?: Stored }
type BucketForms = Pick<BucketOptions, 'copies' | 'shards'> & { readonly original?: Pick<BucketOptions, 'copies' | 'shards'> }

/** The id under which a version's blocks are known to their holders. */
export const blocksOf = <V extends { readonly salt: Uint8Array, readonly epoch: number }>(version: V & { readonly stored?: Stored }): Pick<Stored, 'salt' | 'epoch'> => version.stored ?? version

/** How its chunks were written, if in shards. */
export const spreadOf = ({ redundancy, stored }: Versioned): Redundancy | undefined => stored === undefined ? redundancy : stored.redundancy

/** A version that says nothing itself was put before the bucket was changed for the first time. */
export function formOf (version: Versioned, { copies, original }: BucketForms): Form {
  if (version.stored !== undefined) return version.stored
  return { copies: original?.copies ?? copies, ...(version.redundancy === undefined ? {} : { redundancy: version.redundancy }) }
}

/** How a version of this size is to be kept, by what the bucket says now. */
export function wantedForm (bucket: BucketForms, sizeBytes: number): Form {
  const { large } = redundancyOf(bucket)
  return { copies: bucket.copies, ...(large.k > 1 && sizeBytes >= redundancyLimits.spreadFromBytes ? { redundancy: large } : {}) }
}

/** Something small may be kept in the bucket's shards all the same: parts are, for what they come to is not known when they are written. */
export function isInForm (version: Versioned & { readonly sizeBytes: number, readonly hasBlocks: boolean }, bucket: BucketForms): boolean {
  if (!version.hasBlocks) return true
  const [is, wanted, { large }] = [formOf(version, bucket), wantedForm(bucket, version.sizeBytes), redundancyOf(bucket)]
  if (is.copies !== wanted.copies) return false
  return isSameCode(is.redundancy, wanted.redundancy) || (large.k > 1 && isSameCode(is.redundancy, large))
}

/** Whether blocks are kept alike. */
export const isSameForm = (a: Form, b: Form): boolean => a.copies === b.copies && isSameCode(a.redundancy, b.redundancy)

const isSameCode = (a: Redundancy | undefined, b: Redundancy | undefined): boolean => a?.k === b?.k && a?.m === b?.m

/** Of a version that is put under its own id. */
export function storedAs ({ salt, epoch }: Pick<Stored, 'salt' | 'epoch'>, { original }: BucketForms, form: Form): { readonly stored?: Stored } {
  return original === undefined ? {} : { stored: { salt, epoch, ...form } }
}

const saltLength = 16
export const storedLength = saltLength + 4 + 3

/** salt(16) | u32 epoch | u8 copies | u8 k | u8 m; whole copies: k and m are 0. */
export const encodeStored = ({ salt, epoch, copies, redundancy: { k, m } = { k: 0, m: 0 } }: Stored): Uint8Array =>
  new ByteWriter().raw(salt).u32(epoch).u8(copies).u8(k).u8(m).finish()

export function readStored (reader: ByteReader): Stored {
  const [salt, epoch, copies, k, m] = [reader.raw(saltLength), reader.u32(), reader.u8(), reader.u8(), reader.u8()]
  return { salt, epoch, copies, ...(k === 0 ? {} : { redundancy: { k, m } }) }
}
