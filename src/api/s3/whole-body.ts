import { digesters } from '../../base/checksums.ts'
import { type DigestAlgorithm, DigestMismatch } from '../../objects/index.ts'
import { S3Error } from './errors.ts'
import type { Payload } from './payload.ts'

/** A short body whole, held against every digest that the request says of it. @throws S3Error, DigestMismatch */
export async function wholeBody (payload: Pick<Payload, 'expected'> & AsyncIterable<Uint8Array>, maxBytes: number): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  let length = 0
  for await (const piece of payload) {
    length += piece.byteLength
    if (length > maxBytes) throw new S3Error('MaxMessageLengthExceeded', `a body of this kind has at most ${maxBytes} bytes`)
    pieces.push(piece)
  }
  const body = Buffer.concat(pieces)
  for (const [algorithm, expected] of Object.entries(payload.expected()) as Array<[DigestAlgorithm, Uint8Array]>) {
    const digester = digesters[algorithm]()
    digester.update(body)
    if (Buffer.compare(digester.digest(), expected) !== 0) throw new DigestMismatch(algorithm)
  }
  return body
}
