import { base64urlOf, ByteReader, ByteWriter, concat, equals, fromBase64url } from '../base/bytes.ts'
import { InvalidInput } from '../base/errors.ts'
import { hash } from '../base/hash.ts'

/** Opens one object, for ever, to whoever has it: address and key of its manifest's root. */
export interface ReadCapability {
  /** 16 bytes. */
  readonly clusterId: Uint8Array
  /** H(root), 32 bytes. */
  readonly digest: Uint8Array
  readonly ph: Uint8Array
}

const prefix = 'dfs:r1:'
const version = 1
const checkLength = 4
const length = 1 + 16 + 32 + 32 + checkLength

export function capabilityText ({ clusterId, digest, ph }: ReadCapability): string {
  const body = new ByteWriter().u8(version).raw(clusterId).raw(digest).raw(ph).finish()
  return prefix + base64urlOf(concat([body, hash(body).subarray(0, checkLength)]))
}

/** @throws InvalidInput if it is damaged or of another version */
export function parseCapability (text: string): ReadCapability {
  const bytes = text.startsWith(prefix) ? decoded(text.slice(prefix.length)) : undefined
  if (bytes?.byteLength !== length) throw new InvalidInput('capability', `a read capability begins with ${prefix} and has ${length} bytes in base64url`)
  const body = bytes.subarray(0, -checkLength)
  if (!equals(hash(body).subarray(0, checkLength), bytes.subarray(-checkLength))) throw new InvalidInput('capability', 'the read capability is damaged: its check does not match')
  const reader = new ByteReader(body)
  if (reader.u8() !== version) throw new InvalidInput('capability', 'the read capability is of a version that this dfs does not know')
  return { clusterId: reader.raw(16), digest: reader.raw(32), ph: reader.raw(32) }
}

/** Undefined unless `text` is the only spelling of its bytes: the decoder lets padding pass. */
function decoded (text: string): Uint8Array | undefined {
  try {
    const bytes = fromBase64url(text)
    return base64urlOf(bytes) === text ? bytes : undefined
  } catch { return undefined } // the only thing it can say: not base64url
}
