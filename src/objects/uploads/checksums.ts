import { equals } from '../../base/bytes.ts'
import { digesters } from '../../base/checksums.ts'
import { combinedCrc, isCombinable } from '../../base/combined-crc.ts'
import { InvalidInput } from '../../base/errors.ts'
import type { Checksum } from '../versions/attributes.ts'
import { DigestMismatch } from '../errors.ts'
import type { UploadHead } from './upload-row.ts'

export interface SummedPart { readonly value: Uint8Array, readonly sizeBytes: number }

/** What an upload may ask for (https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html). @throws InvalidInput */
export function checkChecksum (checksum: UploadHead['checksum']): void {
  if (checksum === undefined) return
  const { algorithm, type } = checksum
  if (type === 'FULL_OBJECT' && !isCombinable(algorithm)) throw new InvalidInput('checksum', `the ${algorithm} of an object does not follow from those of its parts; it takes COMPOSITE`)
  if (type === 'COMPOSITE' && algorithm === 'crc64nvme') throw new InvalidInput('checksum', 'crc64nvme is of the whole object; it takes FULL_OBJECT')
}

/** An object's checksum from its parts', in their order. */
export function checksumOfParts ({ algorithm, type }: Pick<Checksum, 'algorithm' | 'type'>, parts: readonly SummedPart[]): Checksum {
  if (type === 'FULL_OBJECT' && isCombinable(algorithm)) return { algorithm, type, value: combinedCrc(algorithm, parts) }
  const digester = digesters[algorithm]()
  for (const { value } of parts) digester.update(value)
  return { algorithm, type, value: digester.digest() }
}

/** @throws DigestMismatch, InvalidInput for one that cannot be held against anything */
export function demandChecksum (expected: Checksum | undefined, found: Checksum | undefined): void {
  if (expected === undefined) return
  if (found === undefined || found.algorithm !== expected.algorithm || found.type !== expected.type) {
    throw new InvalidInput('checksum', `the upload was begun ${found === undefined ? 'without a checksum' : `with ${found.algorithm}, ${found.type}`}, and is completed with ${expected.algorithm}, ${expected.type}`)
  }
  if (!equals(found.value, expected.value)) throw new DigestMismatch(expected.algorithm, { of: 'object' })
}
