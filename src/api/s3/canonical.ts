import { S3Error } from './errors.ts'

/**
 * The canonical form that a signature is made over (https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html). Everything is worked out
 * from the bytes that came: a URL parser would resolve "..", a header map would join or drop duplicates, and either would change what was signed.
 */
export interface SignedRequest {
  readonly method: string
  /** As on the request line: percent-encoded path, and the query without its "?". */
  readonly path: string
  readonly query: string
  /** Names and values in turn, as Node's `rawHeaders`. */
  readonly rawHeaders: readonly string[]
}

export type Parameter = readonly [name: string, value: string]

/** Decoded, in the order in which they came; "+" is a space here, as in forms. @throws S3Error */
export function parametersOf (query: string): Parameter[] {
  return query.split('&').filter((part) => part !== '').map((part) => {
    const at = part.indexOf('=')
    const [name, value] = at < 0 ? [part, ''] : [part.slice(0, at), part.slice(at + 1)]
    return [decoded(name.replaceAll('+', ' ')), decoded(value.replaceAll('+', ' '))] as const
  })
}

/** A path or a piece of it, decoded: any bytes of UTF-8, "+" a plus. @throws S3Error if it is not well-formed */
export function decoded (text: string): string {
  try { return strictUtf8.decode(bytesOf(text)) } catch (cause) {
    throw new S3Error('InvalidURI', 'the path or query is not well-formed percent-encoded UTF-8', { cause })
  }
}

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** RFC 3986: everything but A-Z a-z 0-9 - _ . ~ */
export const encoded = (text: string): string => encodedBytes(Buffer.from(text, 'utf8'))

/** `encoded`, with slashes kept: a key as it stands in a path, or in a listing of encoding type url. */
export const encodedKey = (key: string): string => key.split('/').map(encoded).join('/')

/** Every segment decoded and encoded anew; nothing is normalised: "//", "." and ".." are keys like others. */
export const canonicalPath = (path: string): string => path.split('/').map((segment) => encodedBytes(bytesOf(segment))).join('/')

/** Of a path with an encoded slash there are two readings, and signers of each: "%2F" stays, or is a slash like another, as AWS has it. */
export const canonicalPaths = (path: string): readonly string[] => /%2f/i.test(path) ? [canonicalPath(path), canonicalPath(path.replaceAll(/%2f/gi, '/'))] : [canonicalPath(path)]

/** Sorted by encoded name, then value, by code unit; duplicates and empty values stay. */
export function canonicalQuery (parameters: readonly Parameter[]): string {
  return parameters.filter(([name]) => name !== 'X-Amz-Signature')
    .map(([name, value]) => [encoded(name), encoded(value)] as const)
    .toSorted(([a, x], [b, y]) => compare(a, b) || compare(x, y))
    .map(([name, value]) => `${name}=${value}`).join('&')
}

/** All values of a header in order, trimmed, inner spaces as one. */
export function headerValues (rawHeaders: readonly string[], name: string): string[] {
  const values: string[] = []
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    if (rawHeaders[i]?.toLowerCase() === name) values.push((rawHeaders[i + 1] ?? '').replaceAll(/^[ \t]+|[ \t]+$/g, '').replaceAll(/ +/g, ' '))
  }
  return values
}

/** One for each reading of the path. */
export function canonicalRequests ({ method, path, rawHeaders }: SignedRequest, { parameters, signedHeaders, payloadHash }: { parameters: readonly Parameter[], signedHeaders: readonly string[], payloadHash: string }): readonly string[] {
  const headers = signedHeaders.map((name) => `${name}:${headerValues(rawHeaders, name).join(',')}\n`).join('')
  return canonicalPaths(path).map((canonical) => [method, canonical, canonicalQuery(parameters), headers, signedHeaders.join(';'), payloadHash].join('\n'))
}

// by code unit, as every signer sorts what is encoded: a locale's order is another
const compare = (a: string, b: string): number => a < b ? -1 : a > b ? 1 : 0

// Node gives the request line as latin1: a character is a byte
function bytesOf (text: string): Buffer {
  if (!text.includes('%')) return Buffer.from(text, 'latin1')
  const bytes = Buffer.allocUnsafe(text.length)
  let length = 0
  for (let i = 0; i < text.length; i++) {
    if (text[i] !== '%') { bytes[length++] = text.charCodeAt(i); continue }
    const digits = text.slice(i + 1, i + 3)
    if (!/^[0-9a-fA-F]{2}$/.test(digits)) throw new S3Error('InvalidURI', 'a "%" in the path or query is not followed by two hexadecimal digits')
    bytes[length++] = Number.parseInt(digits, 16)
    i += 2
  }
  return bytes.subarray(0, length)
}

const unreserved = Array.from({ length: 256 }, (_, byte) => /[A-Za-z0-9\-_.~]/.test(String.fromCharCode(byte)) && byte < 128 ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`)

function encodedBytes (bytes: Uint8Array): string {
  let text = ''
  for (const byte of bytes) text += unreserved[byte] ?? ''
  return text
}
