import { decode, encode } from 'cborg'
import { concat, hexOf, MalformedBytes, textOf, utf8 } from '../../base/bytes.ts'
import { type RowAddress, tables } from '../../tables/index.ts'
import { type Attributes, type Checksum, type ChecksumAlgorithm, decodeAttributes, encodeAttributes } from '../versions/attributes.ts'
import { unescapedText, versionPrefix as keysWith, versionsOfKey as rowsOfKey } from '../versions/version-row.ts'
import type { Version } from '../versions/version.ts'

/**
 * Rows of the table of uploads, all in the scope of their bucket. A head says what the object will be; a part says what one part is. They decide nothing: an
 * upload lives as long as its version stands in `pending` of its object's row, and rows of one that does not are debris. A head is written after that and
 * before any part, and erased before any part: so a part without a head is debris too.
 */
export interface UploadHead {
  readonly kind: 'head'
  /** The bucket's, 16 bytes. */
  readonly bucketId: Uint8Array
  readonly key: string
  readonly version: Version
  readonly initiatedMs: number
  /** As the bucket said when it was begun: a version has one redundancy. */
  readonly copies: number
  readonly shards?: string
  readonly contentType: string | undefined
  readonly metadata: Readonly<Record<string, string>>
  /** What was asked for beside the content: no digests, no parts. */
  readonly attributes: Attributes
  readonly wantsMd5: boolean
  readonly checksum: Pick<Checksum, 'algorithm' | 'type'> | undefined
}

export interface PartRow {
  readonly kind: 'part'
  readonly bucketId: Uint8Array
  readonly key: string
  /** Of the upload's version, 32 bytes. */
  readonly id: Uint8Array
  /** 1 to 10,000. */
  readonly number: number
  readonly sizeBytes: number
  readonly modifiedMs: number
  readonly md5: Uint8Array | undefined
  readonly checksum: PartChecksum | undefined
  /** file/'s encoding. */
  readonly content: Uint8Array
}

export interface PartChecksum { readonly algorithm: ChecksumAlgorithm, readonly value: Uint8Array }

const formatVersion = 1
const kinds = { head: 1, part: 2 } as const

export function encodeUploadRow (row: UploadHead | PartRow): Uint8Array {
  if (row.kind === 'part') return encode([formatVersion, kinds.part, row.bucketId, utf8(row.key), row.id, row.number, ...partFields(row), row.content])
  const { bucketId, key, version: { id, salt, epoch }, initiatedMs, copies, shards, contentType, metadata, attributes, wantsMd5, checksum } = row
  return encode([
    formatVersion, kinds.head, bucketId, utf8(key), id, salt, epoch, initiatedMs, copies, shards ?? null, contentType ?? null, metadata, encodeAttributes(attributes), wantsMd5,
    checksumFields(checksum),
  ])
}

const partFields = ({ sizeBytes, modifiedMs, md5, checksum }: Omit<PartSummary, 'number'>): unknown[] => [sizeBytes, modifiedMs, md5 ?? null, checksum === undefined ? null : [checksum.algorithm, checksum.value]]
const checksumFields = (checksum: UploadHead['checksum']): [string, string] | null => checksum === undefined ? null : [checksum.algorithm, checksum.type]
const checksumIn = (fields: [ChecksumAlgorithm, Checksum['type']] | null): UploadHead['checksum'] => fields === null ? undefined : { algorithm: fields[0], type: fields[1] }

/** @throws MalformedBytes */
export function decodeUploadRow (value: Uint8Array): UploadHead | PartRow {
  const [format, kind, bucketId, key, id, ...rest] = decode(value) as [number, number, Uint8Array, Uint8Array, Uint8Array, ...unknown[]]
  if (format !== formatVersion || (kind !== kinds.head && kind !== kinds.part)) throw new MalformedBytes(`an upload's row of version ${format}, kind ${kind}`)
  if (kind === kinds.part) {
    const [number, sizeBytes, modifiedMs, md5, checksum, content] = rest as [number, ...PartFields, Uint8Array]
    return { kind: 'part', bucketId, key: textOf(key), id, number, ...partIn([sizeBytes, modifiedMs, md5, checksum]), content }
  }
  const [salt, epoch, initiatedMs, copies, shards, contentType, metadata, attributes, wantsMd5, checksum] = rest as
    [Uint8Array, number, number, number, string | null, string | null, Record<string, string>, unknown, boolean, [ChecksumAlgorithm, Checksum['type']] | null]
  return {
    kind: 'head', bucketId, key: textOf(key), version: { id, salt, epoch }, initiatedMs, copies, ...(shards === null ? {} : { shards }), contentType: contentType ?? undefined, metadata,
    attributes: decodeAttributes(attributes), wantsMd5, checksum: checksumIn(checksum),
  }
}

/** @throws MalformedBytes if it is no head */
export function decodeHead (value: Uint8Array): UploadHead {
  const row = decodeUploadRow(value)
  if (row.kind !== 'head') throw new MalformedBytes('a part stands where the head of an upload should')
  return row
}

/** @throws MalformedBytes if it is no part */
export function decodePart (value: Uint8Array): PartRow {
  const row = decodeUploadRow(value)
  if (row.kind !== 'part') throw new MalformedBytes('the head of an upload stands where a part should')
  return row
}

type PartFields = [number, number, Uint8Array | null, [ChecksumAlgorithm, Uint8Array] | null]

const partIn = ([sizeBytes, modifiedMs, md5, checksum]: PartFields): Omit<PartSummary, 'number'> =>
  ({ sizeBytes, modifiedMs, md5: md5 ?? undefined, checksum: checksum === null ? undefined : { algorithm: checksum[0], value: checksum[1] } })

/** What a listing has of a part: all but its chunks. */
export type PartSummary = Pick<PartRow, 'number' | 'sizeBytes' | 'modifiedMs' | 'md5' | 'checksum'>
/** And of an upload. */
export interface HeadSummary { readonly id: Uint8Array, readonly initiatedMs: number, readonly checksum: UploadHead['checksum'] }

export function summaryOfUploadRow (row: UploadHead | PartRow): Uint8Array {
  return row.kind === 'part' ? encode(partFields(row)) : encode([row.version.id, row.initiatedMs, checksumFields(row.checksum)])
}

export function decodeHeadSummary (summary: Uint8Array): HeadSummary {
  const [id, initiatedMs, checksum] = decode(summary) as [Uint8Array, number, [ChecksumAlgorithm, Checksum['type']] | null]
  return { id, initiatedMs, checksum: checksumIn(checksum) }
}

export const decodePartSummary = (name: Uint8Array, summary: Uint8Array): PartSummary => ({ number: numberIn(name), ...partIn(decode(summary) as PartFields) })

/**
 * Keys. A head: 01, the object's key as versions have it (version-row.ts), half of the id, a hexadecimal digit n as the byte n + 1: byte order is the order of
 * objects' keys, and what a delimiter is made of occurs only in those. A part: 02, the id, the number, so that of one upload they stand in their order.
 */
export const headKey = (key: string, id: Uint8Array): Uint8Array => concat([headMark, rowsOfKey(key), Uint8Array.from(hexOf(id.subarray(0, idDigits / 2)), (digit) => Number.parseInt(digit, 16) + 1)])
/** Above all heads of this key, below all of later ones. */
export const afterHeadsOf = (key: string): Uint8Array => concat([headMark, rowsOfKey(key), Uint8Array.of(0x11)])
export const headsWith = (prefix: string): Uint8Array => concat([headMark, keysWith(prefix)])
/** The object's key in a head's; of a common prefix of several, that. */
export const keyInHead = (name: Uint8Array): string => unescapedText(name.subarray(1, -(idDigits + 2)))
export const prefixInHead = (name: Uint8Array): string => unescapedText(name.subarray(1))

export const partKey = (id: Uint8Array, number: number): Uint8Array => concat([partsOf(id), Uint8Array.of(number >> 8, number & 0xff)])
export const partsOf = (id: Uint8Array): Uint8Array => concat([partMark, id])
export const allParts: Uint8Array = Uint8Array.of(kinds.part)
/** The upload that a part's key names. */
export const idInPart = (name: Uint8Array): Uint8Array => name.subarray(1, 1 + idLength)

const headMark = Uint8Array.of(kinds.head)
const partMark = allParts
const idLength = 32
const idDigits = 32
const numberIn = (name: Uint8Array): number => ((name.at(-2) as number) << 8) | (name.at(-1) as number)

export const keyOfUploadRow = (row: UploadHead | PartRow): Uint8Array => row.kind === 'part' ? partKey(row.id, row.number) : headKey(row.key, row.version.id)

export const uploadAddress = (bucketId: Uint8Array, key: Uint8Array): RowAddress => ({ table: tables.uploads, scope: bucketId, key })
