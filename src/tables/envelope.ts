import { ByteReader, ByteWriter, equals, MalformedBytes } from '../base/bytes.ts'
import { rowLimits } from './index.ts'

/**
 * What stands in a row's body: the ids of the last operations that changed it, oldest first, then the value.
 * A writer whose accept went unanswered finds its own id here, or proves from the ids since its base that it is not there.
 */
export interface Envelope {
  /** 16 bytes each, at most `rowLimits.keptOperations`. */
  readonly operations: readonly Uint8Array[]
  readonly value: Uint8Array
}

export const operationIdBytes = 16

/** u8 count | ids | value. */
export function encodeEnvelope ({ operations, value }: Envelope): Uint8Array {
  const writer = new ByteWriter().u8(operations.length)
  for (const id of operations) writer.raw(id)
  return writer.raw(value).finish()
}

/** @throws MalformedBytes */
export function decodeEnvelope (body: Uint8Array): Envelope {
  const reader = new ByteReader(body)
  const count = reader.u8()
  if (count > rowLimits.keptOperations) throw new MalformedBytes(`${count} operation ids, at most ${rowLimits.keptOperations}`)
  const operations = Array.from({ length: count }, () => reader.raw(operationIdBytes))
  return { operations, value: reader.rest() }
}

/** The ids after one more operation: the newest are kept. */
export const withOperation = (operations: readonly Uint8Array[], id: Uint8Array): readonly Uint8Array[] =>
  [...operations, id].slice(-rowLimits.keptOperations)

export const hasOperation = (operations: readonly Uint8Array[], id: Uint8Array): boolean => operations.some((other) => equals(other, id))

/** What stands in the place of a tombstone's value, so that the listing can name what is gone: scope | key. */
export const encodeErased = ({ scope, key }: { readonly scope: Uint8Array, readonly key: Uint8Array }): Uint8Array => new ByteWriter().raw(scope).raw(key).finish()

/** Undefined: a tombstone that an identity round wrote by row key alone. @throws MalformedBytes */
export function decodeErased (value: Uint8Array): { scope: Uint8Array, key: Uint8Array } | undefined {
  if (value.byteLength === 0) return undefined
  const reader = new ByteReader(value)
  return { scope: reader.raw(16), key: reader.rest() }
}
