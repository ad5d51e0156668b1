import { MalformedBytes } from '../../base/bytes.ts'
import { InvalidInput } from '../../base/errors.ts'

/**
 * What an object is beside its bytes, for faces whose clients expect it; all of it optional. It lives in sealed rows alone: an MD5 of the plaintext, and any
 * other digest of it, tells whoever has it whether an object is a certain file.
 */
export interface Attributes {
  /** Of the plaintext, 16 bytes: the etag of an object that was put in one piece by a face whose clients expect that. */
  readonly md5?: Uint8Array
  /** Of an object that was put in parts. */
  readonly parts?: Parts
  readonly checksum?: Checksum
  readonly headers?: SystemHeaders
  /** At most 10, in the order they were given. */
  readonly tags?: Tags
  /** The version cannot be removed before its date. */
  readonly retention?: Retention
  /** The version cannot be removed as long as this stands. */
  readonly isHeld?: true
}

export interface Parts {
  readonly count: number
  /** Of the parts' MD5s, 16 bytes; with the count it makes the etag that clients of multipart uploads expect. */
  readonly md5?: Uint8Array
  /** Equal neighbours together, in order. Undefined: too many different ones to keep. */
  readonly sizes?: ReadonlyArray<{ readonly count: number, readonly sizeBytes: number }>
}

export const checksumAlgorithms = ['crc32', 'crc32c', 'crc64nvme', 'sha1', 'sha256'] as const
export type ChecksumAlgorithm = typeof checksumAlgorithms[number]
/** Bytes of each algorithm's value, big-endian. */
export const checksumBytes = { crc32: 4, crc32c: 4, crc64nvme: 8, sha1: 20, sha256: 32 } as const satisfies Record<ChecksumAlgorithm, number>

export interface Checksum {
  readonly algorithm: ChecksumAlgorithm
  readonly value: Uint8Array
  /** FULL_OBJECT: of the bytes; COMPOSITE: of the parts' checksums. */
  readonly type: 'FULL_OBJECT' | 'COMPOSITE'
}

export const systemHeaderNames = ['cache-control', 'content-disposition', 'content-encoding', 'content-language', 'expires', 'website-redirect-location'] as const
export type SystemHeaders = { readonly [name in typeof systemHeaderNames[number]]?: string }
export type Tags = ReadonlyArray<readonly [key: string, value: string]>

export interface Retention {
  /** Governance can be lifted by whoever may bypass it; compliance by nobody. */
  readonly mode: 'governance' | 'compliance'
  /** Milliseconds since 1970, by the clock of the node that is asked to remove. */
  readonly untilMs: number
}

export const attributeLimits = {
  maxParts: 10_000,
  /** Runs of parts of one size; beyond it their sizes are not kept. */
  maxSizeRuns: 512,
  /** Names and values of system headers together. */
  maxHeaderBytes: 3072,
  maxTags: 10,
  maxTagKeyLength: 128,
  maxTagValueLength: 256,
  /** Keys and values of tags together, in UTF-8. */
  maxTagBytes: 6144,
} as const

/** Equal neighbours together; undefined if there are too many different ones to keep. */
export function sizeRuns (sizes: Iterable<number>): Parts['sizes'] {
  const runs: Array<{ count: number, sizeBytes: number }> = []
  for (const sizeBytes of sizes) {
    const last = runs.at(-1)
    if (last?.sizeBytes === sizeBytes) last.count++
    else if (runs.length >= attributeLimits.maxSizeRuns) return undefined
    else runs.push({ count: 1, sizeBytes })
  }
  return runs
}

/** @throws InvalidInput naming what breaks a bound or a rule */
export function checkAttributes ({ md5, parts, checksum, headers = {}, tags = [], retention }: Attributes): void {
  if (md5 !== undefined && md5.byteLength !== 16) throw new InvalidInput('md5', `an MD5 has 16 bytes, not ${md5.byteLength}`)
  if (parts !== undefined && !arePartsSound(parts)) throw new InvalidInput('parts', `an object has 1 to ${attributeLimits.maxParts} parts, and as many sizes`)
  if (checksum !== undefined && checksum.value.byteLength !== checksumBytes[checksum.algorithm]) throw new InvalidInput('checksum', `a ${checksum.algorithm} has ${checksumBytes[checksum.algorithm]} bytes, not ${checksum.value.byteLength}`)
  checkHeaders(headers)
  checkTags(tags)
  if (retention !== undefined) checkRetention(retention)
}

function arePartsSound ({ count, md5, sizes }: Parts): boolean {
  const { maxParts, maxSizeRuns } = attributeLimits
  const isCounted = Number.isInteger(count) && count >= 1 && count <= maxParts && (md5 === undefined || md5.byteLength === 16)
  if (sizes === undefined) return isCounted
  return isCounted && sizes.length <= maxSizeRuns && sizes.reduce((sum, run) => sum + run.count, 0) === count
}

function checkHeaders (headers: SystemHeaders): void {
  const unknown = Object.keys(headers).find((name) => !(systemHeaderNames as readonly string[]).includes(name))
  if (unknown !== undefined) throw new InvalidInput('headers', `"${unknown.slice(0, 80)}" is no header that is kept; those are ${systemHeaderNames.join(', ')}`)
  const bytes = Object.entries(headers).reduce((sum, [name, value]) => sum + name.length + Buffer.byteLength(value), 0)
  if (bytes > attributeLimits.maxHeaderBytes) throw new InvalidInput('headers', `system headers have at most ${attributeLimits.maxHeaderBytes} bytes together; these have ${bytes}`)
}

/** S3's rules (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-tagging.html). */
function checkTags (tags: Tags): void {
  const { maxTags, maxTagKeyLength, maxTagValueLength, maxTagBytes } = attributeLimits
  if (tags.length > maxTags) throw new InvalidInput('tags', `an object has at most ${maxTags} tags, not ${tags.length}`)
  if (new Set(tags.map(([key]) => key)).size < tags.length) throw new InvalidInput('tags', 'two tags have the same key')
  for (const [key, value] of tags) {
    if (key.length < 1 || key.length > maxTagKeyLength || value.length > maxTagValueLength) throw new InvalidInput('tags', `a tag has a key of 1-${maxTagKeyLength} characters and a value of at most ${maxTagValueLength}`)
    if (!/^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$/u.test(key + value)) throw new InvalidInput('tags', 'a tag is made of letters, digits, spaces and _ . : / = + - @')
    if (key.toLowerCase().startsWith('aws:')) throw new InvalidInput('tags', 'keys of tags do not begin with "aws:"')
  }
  const bytes = tags.reduce((sum, [key, value]) => sum + Buffer.byteLength(key) + Buffer.byteLength(value), 0)
  if (bytes > maxTagBytes) throw new InvalidInput('tags', `tags have at most ${maxTagBytes} bytes together; these have ${bytes}`)
}

export function checkRetention ({ mode, untilMs }: Retention): void {
  if (!['governance', 'compliance'].includes(mode)) throw new InvalidInput('retention', `"${mode}" is no mode of retention; it takes governance or compliance`)
  if (!Number.isSafeInteger(untilMs) || untilMs < 0) throw new InvalidInput('retention', 'a retention ends at a date')
}

type Encoded = Readonly<Record<string, unknown>>

/** As a map of CBOR with short names; what is not there has no entry. */
export function encodeAttributes ({ md5, parts, checksum, headers, tags, retention, isHeld }: Attributes): Encoded {
  return {
    ...(md5 === undefined ? {} : { md5 }),
    ...(parts === undefined ? {} : { parts: [parts.count, parts.md5 ?? null, parts.sizes?.map(({ count, sizeBytes }) => [count, sizeBytes]) ?? null] }),
    ...(checksum === undefined ? {} : { sum: [checksum.algorithm, checksum.value, checksum.type] }),
    ...(headers === undefined || Object.keys(headers).length === 0 ? {} : { headers }),
    ...(tags === undefined || tags.length === 0 ? {} : { tags: tags.flat() }),
    ...(retention === undefined ? {} : { retention: [retention.mode, retention.untilMs] }),
    ...(isHeld === undefined ? {} : { held: true }),
  }
}

const known = ['md5', 'parts', 'sum', 'headers', 'tags', 'retention', 'held']

/** @throws MalformedBytes for what is not known: an attribute that is passed over may be a lock */
export function decodeAttributes (encoded: unknown): Attributes {
  if (typeof encoded !== 'object' || encoded === null) throw new MalformedBytes('attributes are a map')
  const unknown = Object.keys(encoded).find((name) => !known.includes(name))
  if (unknown !== undefined) throw new MalformedBytes(`an attribute that this dfs does not know: ${unknown}`)
  const { md5, parts, sum, headers, tags, retention, held } = encoded as {
    md5?: Uint8Array, parts?: [number, Uint8Array | null, Array<[number, number]> | null], sum?: [ChecksumAlgorithm, Uint8Array, Checksum['type']], headers?: SystemHeaders
    tags?: readonly string[], retention?: [Retention['mode'], number], held?: true
  }
  return {
    ...(md5 === undefined ? {} : { md5 }),
    ...(parts === undefined ? {} : { parts: decodeParts(parts) }),
    ...(sum === undefined ? {} : { checksum: { algorithm: sum[0], value: sum[1], type: sum[2] } }),
    ...(headers === undefined ? {} : { headers }),
    ...(tags === undefined ? {} : { tags: pairsOf(tags) }),
    ...(retention === undefined ? {} : { retention: { mode: retention[0], untilMs: retention[1] } }),
    ...(held === undefined ? {} : { isHeld: held }),
  }
}

function decodeParts ([count, md5, sizes]: [number, Uint8Array | null, Array<[number, number]> | null]): Parts {
  return { count, ...(md5 === null ? {} : { md5 }), ...(sizes === null ? {} : { sizes: sizes.map(([many, sizeBytes]) => ({ count: many, sizeBytes })) }) }
}

const pairsOf = (flat: readonly string[]): Tags => Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i] as string, flat[2 * i + 1] as string])

/** What a listing shows of them: little, for there is a bound to it. */
export const listedAttributes = ({ md5, parts, checksum }: Attributes): Attributes => ({
  ...(md5 === undefined ? {} : { md5 }),
  ...(parts === undefined ? {} : { parts: { count: parts.count, ...(parts.md5 === undefined ? {} : { md5: parts.md5 }) } }),
  ...(checksum === undefined ? {} : { checksum }),
})
