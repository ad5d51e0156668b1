import { createHash } from 'node:crypto'
import { unchunked } from './aws-chunked.ts'
import { type ChecksumAlgorithm, checksumAlgorithms, checksumLengths, runningChecksum } from './checksums.ts'
import { S3Error } from './errors.ts'
import { type Authenticated, emptyHash, payloads } from './sigv4.ts'

/**
 * The body of a request as it was meant: decoded, and checked against everything that the request says of it (signature, hash, MD5, checksum, length). A check
 * that fails throws out of the iteration at its end, before whoever stores it commits.
 */
export interface Payload extends AsyncIterable<Uint8Array> {
  /** Bytes that are to come, if that is said. */
  readonly sizeBytes: number | undefined
  /** What the client protects it with; undefined: nothing, or what is not known before the end. */
  readonly checksumAlgorithm: ChecksumAlgorithm | undefined
  /** Of the whole, once it has been read. */
  readonly digests: () => PayloadDigests
}

export interface PayloadDigests {
  readonly md5: Buffer
  readonly checksum: { readonly algorithm: ChecksumAlgorithm, readonly digest: Buffer } | undefined
}

export interface PayloadRequest {
  readonly header: (name: string) => string | undefined
  /** Undefined: nobody signed it. */
  readonly signed: Pick<Authenticated, 'payload' | 'chain' | 'isPresigned'> | undefined
  /** The connection is encrypted, or goes no further than this machine. */
  readonly isProtected: boolean
  readonly source: AsyncIterable<Uint8Array>
  /** What to compute though the client sent none. */
  readonly wanted?: ChecksumAlgorithm
}

/** @throws S3Error for what can be told before the body is read */
export function payloadOf (request: PayloadRequest): Payload {
  const { header } = request
  const mode = request.signed?.payload ?? payloads.unsigned
  const framing = framingOf(mode, request)
  const sizeBytes = sizeOf(header, framing.isChunked)
  const expectedMd5 = md5In(header('content-md5'))
  const stated = statedChecksum(header)
  const announced = announcedTrailer(header('x-amz-trailer'))
  const algorithm = stated?.algorithm ?? announced ?? request.wanted ?? algorithmIn(header('x-amz-sdk-checksum-algorithm') ?? header('x-amz-checksum-algorithm'))
  let digests: PayloadDigests | undefined

  async function * body (): AsyncIterable<Uint8Array> {
    let trailers: ReadonlyMap<string, string> = new Map()
    const [md5, sha256] = [createHash('md5'), framing.sha256 === undefined ? undefined : createHash('sha256')]
    const checksum = algorithm === undefined ? undefined : runningChecksum(algorithm)
    let length = 0
    const bytes = framing.isChunked ? unchunked(request.source, { chain: framing.isSigned ? request.signed?.chain : undefined, hasTrailer: framing.hasTrailer, onTrailers: (told) => { trailers = told } }) : request.source
    for await (const piece of bytes) {
      length += piece.byteLength
      if (sizeBytes !== undefined && length > sizeBytes) throw new S3Error('IncompleteBody', `more came than the ${sizeBytes} bytes that were announced`)
      md5.update(piece)
      sha256?.update(piece)
      checksum?.update(piece)
      yield piece
    }
    if (sizeBytes !== undefined && length !== sizeBytes) throw new S3Error('IncompleteBody', `${sizeBytes} bytes were announced, ${length} came`)
    if (sha256 !== undefined && sha256.digest('hex') !== framing.sha256) throw new S3Error('XAmzContentSHA256Mismatch', 'the SHA-256 of the body is not the one in x-amz-content-sha256')
    digests = { md5: md5.digest(), checksum: checksum === undefined || algorithm === undefined ? undefined : { algorithm, digest: checksum.digest() } }
    if (expectedMd5 !== undefined && !expectedMd5.equals(digests.md5)) throw new S3Error('BadDigest', 'the MD5 of the body is not the one in Content-MD5')
    checkStated(announced === undefined ? stated : trailerChecksum(announced, trailers), digests)
  }

  return {
    sizeBytes,
    checksumAlgorithm: algorithm,
    digests () {
      if (digests === undefined) throw new Error('the digests of a body are known when it has been read')
      return digests
    },
    [Symbol.asyncIterator]: () => body()[Symbol.asyncIterator](),
  }
}

/** A short body whole, e.g. of XML. @throws S3Error beyond the bound */
export async function wholeBody (payload: AsyncIterable<Uint8Array>, maxBytes: number): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  let length = 0
  for await (const piece of payload) {
    length += piece.byteLength
    if (length > maxBytes) throw new S3Error('MaxMessageLengthExceeded', `a body of this kind has at most ${maxBytes} bytes`)
    pieces.push(piece)
  }
  return Buffer.concat(pieces)
}

interface Framing { readonly isChunked: boolean, readonly isSigned: boolean, readonly hasTrailer: boolean, readonly sha256: string | undefined }

function framingOf (mode: string, { signed, isProtected, header }: PayloadRequest): Framing {
  const plain = { isChunked: false, isSigned: false, hasTrailer: false, sha256: undefined }
  const chunked = { ...plain, isChunked: true }
  const demandProtection = (): void => {
    if (!isProtected && signed !== undefined && !signed.isPresigned) throw new S3Error('InvalidRequest', 'an unsigned body is taken over TLS only: anybody on the way could change it. Use https, or sign the payload')
  }
  switch (mode) {
    case payloads.unsigned:
      demandProtection()
      return header('content-encoding')?.includes('aws-chunked') === true && header('x-amz-decoded-content-length') !== undefined ? chunked : plain
    case payloads.signedChunks: return { ...chunked, isSigned: true }
    case payloads.signedChunksWithTrailer: return { ...chunked, isSigned: true, hasTrailer: true }
    case payloads.unsignedChunksWithTrailer: demandProtection(); return { ...chunked, hasTrailer: true }
    default:
      if (!/^[0-9a-f]{64}$/.test(mode)) throw new S3Error('InvalidArgument', `x-amz-content-sha256 takes 64 hexadecimal digits, or ${Object.values(payloads).join(', ')}`)
      return { ...plain, sha256: mode }
  }
}

function sizeOf (header: PayloadRequest['header'], isChunked: boolean): number | undefined {
  const text = header(isChunked ? 'x-amz-decoded-content-length' : 'content-length')
  if (text === undefined) return undefined
  if (!/^\d{1,15}$/.test(text)) throw new S3Error('InvalidArgument', 'the length of the body is not a number')
  return Number(text)
}

function md5In (text: string | undefined): Buffer | undefined {
  if (text === undefined) return undefined
  const bytes = Buffer.from(text, 'base64')
  if (bytes.byteLength !== 16) throw new S3Error('InvalidDigest', 'Content-MD5 takes 16 bytes in base64')
  return bytes
}

interface Stated { readonly algorithm: ChecksumAlgorithm, readonly digest: Buffer }

function statedChecksum (header: PayloadRequest['header']): Stated | undefined {
  const stated = checksumAlgorithms.flatMap((algorithm) => {
    const text = header(`x-amz-checksum-${algorithm}`)
    return text === undefined ? [] : [{ algorithm, digest: digestIn(algorithm, text) }]
  })
  if (stated.length > 1) throw new S3Error('InvalidRequest', 'Expecting a single x-amz-checksum- header. Multiple checksum types are not allowed.')
  return stated[0]
}

export function digestIn (algorithm: ChecksumAlgorithm, text: string): Buffer {
  const digest = Buffer.from(text, 'base64')
  if (digest.byteLength !== checksumLengths[algorithm] || digest.toString('base64') !== text) throw new S3Error('InvalidRequest', `Value for x-amz-checksum-${algorithm} header is invalid.`)
  return digest
}

export function algorithmIn (text: string | undefined): ChecksumAlgorithm | undefined {
  if (text === undefined) return undefined
  const algorithm = checksumAlgorithms.find((name) => name === text.toLowerCase())
  if (algorithm === undefined) throw new S3Error('InvalidRequest', `the checksum algorithm "${text.slice(0, 40)}" is not known; there are ${checksumAlgorithms.join(', ')}`)
  return algorithm
}

function announcedTrailer (text: string | undefined): ChecksumAlgorithm | undefined {
  if (text === undefined) return undefined
  const name = text.trim().toLowerCase()
  if (!name.startsWith('x-amz-checksum-')) throw new S3Error('InvalidRequest', 'The value specified in the x-amz-trailer header is not supported')
  return algorithmIn(name.slice('x-amz-checksum-'.length))
}

function trailerChecksum (algorithm: ChecksumAlgorithm, trailers: ReadonlyMap<string, string>): Stated {
  const text = trailers.get(`x-amz-checksum-${algorithm}`)
  if (text === undefined) throw new S3Error('IncompleteBody', `the trailer x-amz-checksum-${algorithm} was announced and did not come`)
  return { algorithm, digest: digestIn(algorithm, text) }
}

function checkStated (stated: Stated | undefined, { checksum }: PayloadDigests): void {
  if (stated === undefined || checksum === undefined) return
  if (!stated.digest.equals(checksum.digest)) throw new S3Error('BadDigest', `The ${stated.algorithm.toUpperCase()} you specified did not match the calculated checksum.`)
}

export const isEmptyPayload = (signed: Pick<Authenticated, 'payload'> | undefined): boolean => signed?.payload === emptyHash
