import { rowLimits } from './index.ts'

/** Where `needle` first stands in `bytes` from `from` on, or -1. */
const indexOf = (bytes: Uint8Array, needle: Uint8Array, from: number): number => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).indexOf(needle, from)

/** The common prefix that a name is rolled into: up to and with the first delimiter after the prefix; undefined if it stands for itself. */
export function commonPrefixOf (name: Uint8Array, { prefix, delimiter }: { prefix: Uint8Array, delimiter: Uint8Array | undefined }): Uint8Array | undefined {
  if (delimiter === undefined || delimiter.byteLength === 0) return undefined
  const at = indexOf(name, delimiter, prefix.byteLength)
  return at < 0 ? undefined : name.subarray(0, at + delimiter.byteLength)
}

/** Not below any name that starts with `prefix`, and below every higher name that does not. */
export function lastNameWith (prefix: Uint8Array): Uint8Array {
  const last = new Uint8Array(Math.max(rowLimits.maxKeyBytes, prefix.byteLength)).fill(0xff)
  last.set(prefix)
  return last
}

/** Where a listing starts (exclusive): after a common prefix come the names that are not under it. */
export function startAfter ({ prefix, after, delimiter }: { prefix: Uint8Array, after?: Uint8Array, delimiter?: Uint8Array }): Uint8Array | undefined {
  if (after === undefined) return undefined
  const rolled = commonPrefixOf(after, { prefix, delimiter })
  return rolled !== undefined && rolled.byteLength === after.byteLength && startsWith(after, prefix) ? lastNameWith(after) : after
}

export const startsWith = (bytes: Uint8Array, prefix: Uint8Array): boolean => bytes.byteLength >= prefix.byteLength && prefix.every((byte, i) => bytes[i] === byte)
