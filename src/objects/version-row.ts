import { decode, encode } from 'cborg'
import { concat, MalformedBytes, textOf, utf8 } from '../base/bytes.ts'
import { InvalidInput } from '../base/errors.ts'
import { checkKey } from './names.ts'
import { type CurrentVersion, decodeCurrent, encodeCurrent } from './object-row.ts'

/**
 * The details of a version that is not current, or of a delete marker, in a bucket that keeps versions. The object's row decides whether it lives, and names
 * the edition of its details that counts; this row is written before. One whose version the object's row does not keep is debris.
 */
export interface VersionRow {
  readonly bucketId: Uint8Array
  readonly key: string
  /** Raised by every change of the details (tags, locks). */
  readonly edition: number
  readonly isDeleteMarker: boolean
  /** A delete marker has a date and no content. */
  readonly version: CurrentVersion & { readonly sequence: number }
}

const formatVersion = 1

export function encodeVersionRow ({ bucketId, key, edition, isDeleteMarker, version }: VersionRow): Uint8Array {
  return encode([formatVersion, bucketId, utf8(key), edition, isDeleteMarker, encodeCurrent(version)])
}

/** @throws MalformedBytes */
export function decodeVersionRow (value: Uint8Array): VersionRow {
  const [format, bucketId, key, edition, isDeleteMarker, fields] = decode(value) as [number, Uint8Array, Uint8Array, number, boolean, unknown[]]
  if (format !== formatVersion) throw new MalformedBytes(`a version's row of version ${format}`)
  const version = decodeCurrent(fields)
  const { sequence } = version
  if (sequence === undefined) throw new MalformedBytes('a version without a place among the others')
  return { bucketId, key: textOf(key), edition, isDeleteMarker, version: { ...version, sequence } }
}

/**
 * Key of a version's row: the object's key, an end that no key holds, the sequence counted down, so that byte order is the order of keys, and of one key the
 * newest comes first. 00 in a key becomes 00 ff, the end is 00 00; a digit n of the sequence is the byte n + 1: what a delimiter is made of occurs in neither.
 */
export function versionRowKey (key: string, sequence: number): Uint8Array {
  const digits = (maxSequence - sequence).toString(16).padStart(sequenceDigits, '0')
  return concat([escaped(checkKey(key)), Uint8Array.of(0, 0), Uint8Array.from(digits, (digit) => Number.parseInt(digit, 16) + 1)])
}

const sequenceDigits = 12
const maxSequence = 2 ** 48 - 1

/** What the rows of keys with a prefix begin with. */
export const versionPrefix = (prefix: string): Uint8Array => escaped(utf8(prefix))

/** What all rows of a key begin with. */
export const versionsOfKey = (key: string): Uint8Array => concat([escaped(checkKey(key)), Uint8Array.of(0, 0)])

/** @throws InvalidInput for one that could be taken for an end or a sequence */
export function versionDelimiter (delimiter: string): Uint8Array {
  const bytes = utf8(delimiter)
  if (bytes.some((byte) => byte <= 0x10)) throw new InvalidInput('delimiter', 'versions are not listed by a delimiter of control characters')
  return bytes
}

function escaped (bytes: Uint8Array): Uint8Array {
  if (!bytes.includes(0)) return bytes
  return Uint8Array.from([...bytes].flatMap((byte) => byte === 0 ? [0, 0xff] : [byte]))
}

/** @throws MalformedBytes */
export function keyOfVersionRow (rowKey: Uint8Array): { readonly key: string, readonly sequence: number } {
  const end = rowKey.byteLength - sequenceDigits - 2
  if (end < 1) throw new MalformedBytes('the key of a version is too short')
  const digits = [...rowKey.subarray(end + 2)].map((byte) => (byte - 1).toString(16)).join('')
  return { key: unescapedText(rowKey.subarray(0, end)), sequence: maxSequence - Number.parseInt(digits, 16) }
}

/** Of a key, or of a prefix. */
export const unescapedText = (bytes: Uint8Array): string => textOf(Uint8Array.from([...bytes].filter((byte, i) => !(byte === 0xff && i > 0 && bytes[i - 1] === 0))))
