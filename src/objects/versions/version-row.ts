import { decode, encode } from 'cborg'
import { concat, hexOf, MalformedBytes, textOf, utf8 } from '../../base/bytes.ts'
import { InvalidInput } from '../../base/errors.ts'
import { listedAttributes } from './attributes.ts'
import { checkKey } from '../names.ts'
import { type CurrentVersion, decodeCurrent, encodeCurrent } from '../object-row.ts'

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
 * newest comes first; then half of its salt, so that no other version ever has this row. 00 in a key becomes 00 ff, the end is 00 00; a hexadecimal digit n of
 * the sequence and the salt is the byte n + 1: what a delimiter is made of occurs in neither.
 */
export function versionRowKey (key: string, { sequence, salt }: { readonly sequence: number, readonly salt: Uint8Array }): Uint8Array {
  const digits = (maxSequence - sequence).toString(16).padStart(sequenceDigits, '0') + hexOf(salt.subarray(0, saltDigits / 2))
  return concat([versionsOfKey(key), Uint8Array.from(digits, (digit) => Number.parseInt(digit, 16) + 1)])
}

const sequenceDigits = 12
const saltDigits = 16
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

/** Of which object. @throws MalformedBytes */
export function keyOfVersionRow (rowKey: Uint8Array): string {
  const end = rowKey.byteLength - sequenceDigits - saltDigits - 2
  if (end < 1) throw new MalformedBytes('the key of a version is too short')
  return unescapedText(rowKey.subarray(0, end))
}

/** Of a key, or of a prefix. */
export const unescapedText = (bytes: Uint8Array): string => textOf(Uint8Array.from([...bytes].filter((byte, i) => !(byte === 0xff && i > 0 && bytes[i - 1] === 0))))

/** What a listing has of a version: without content. */
export const encodeVersionSummary = ({ version, ...row }: VersionRow): Uint8Array => encodeVersionRow({ ...row, key: '', version: listed(version) })

function listed ({ attributes, ...version }: VersionRow['version']): VersionRow['version'] {
  return { ...version, ...(attributes === undefined ? {} : { attributes: listedAttributes(attributes) }), content: new Uint8Array(0) }
}
