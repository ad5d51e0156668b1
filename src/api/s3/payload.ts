import { type Digesting, type SpanDigesting, spansHere } from '../../base/checksums.ts'
import { lend } from '../../base/lease.ts'
import type { ChecksumAlgorithm, DigestAlgorithm, Digests } from '../../objects/index.ts'
import { checksumAlgorithms, checksumBytes } from '../../objects/index.ts'
import { SignedChunks, unchunked } from './aws-chunked.ts'
import { S3Error } from './errors.ts'
import { type Authenticated, payloads } from './sigv4.ts'

/**
 * The body of a request as it was meant: decoded, and checked against the signatures of its chunks and its length; that fails out of the iteration at its end,
 * before whoever stores it commits. What the request says of all of the content (its hash, MD5, checksum) is for whoever stores it to compare: that is done
 * beside the thread that serves users (base/digest-thread.ts).
 */
export interface Payload extends AsyncIterable<Uint8Array> {
  /** Bytes that are to come, if that is said. */
  readonly sizeBytes: number | undefined
  /** What the client protects it with, or wants it to have; undefined: nothing. */
  readonly checksum: ChecksumAlgorithm | undefined
  /** Algorithms that `expected` names. */
  readonly digests: readonly DigestAlgorithm[]
  /** Where chunks are hashed all other digests are taken along with that; undefined: whoever stores it takes them. */
  readonly digesting: Digesting | undefined
  /** What the digests of the content must be; complete once it has been read. @throws S3Error if a trailer is missing */
  readonly expected: () => Digests
}

export interface PayloadRequest {
  /** Of all headers; undefined: nobody looks for those that are not known. */
  readonly names?: readonly string[]
  readonly header: (name: string) => string | undefined
  /** Undefined: nobody signed it. */
  readonly signed: Pick<Authenticated, 'payload' | 'chain' | 'isPresigned'> | undefined
  /** The connection is encrypted, or goes no further than this machine. */
  readonly isProtected: boolean
  /** Memory of each piece is whoever's that takes it. */
  readonly source: AsyncIterable<Uint8Array>
  /** Here, unless told otherwise. */
  readonly digestingSpans?: SpanDigesting
}

/** @throws S3Error for what can be told before the body is read */
export function payloadOf (request: PayloadRequest): Payload {
  const { header } = request
  demandKnownChecksums(request.names ?? [])
  const framing = framingOf(request.signed?.payload ?? header('x-amz-content-sha256') ?? payloads.unsigned, request)
  const sizeBytes = sizeOf(header, framing.isChunked)
  const md5 = md5In(header('content-md5'))
  const stated = statedChecksum(header)
  if (framing.sha256 !== undefined && stated?.algorithm === 'sha256' && !stated.digest.equals(framing.sha256)) throw new S3Error('BadDigest', 'x-amz-checksum-sha256 and x-amz-content-sha256 are two different hashes')
  const announced = announcedTrailer(header('x-amz-trailer'))
  const checksum = stated?.algorithm ?? announced ?? algorithmIn(header('x-amz-sdk-checksum-algorithm') ?? header('x-amz-checksum-algorithm'))
  const signed = framing.isSigned && request.signed !== undefined ? new SignedChunks(request.signed.chain, { digestingSpans: request.digestingSpans ?? spansHere, sizeBytes }) : undefined
  let trailers: ReadonlyMap<string, string> = new Map()

  async function * body (): AsyncIterable<Uint8Array> {
    let length = 0
    const bytes = framing.isChunked ? unchunked(request.source, { signed, hasTrailer: framing.hasTrailer, onTrailers: (told) => { demandAnnounced(told, announced); trailers = told } }) : request.source
    for await (const piece of bytes) {
      length += piece.byteLength
      if (sizeBytes !== undefined && length > sizeBytes) throw new S3Error('IncompleteBody', `more came than the ${sizeBytes} bytes that were announced`)
      // what comes out of chunks is lent already, and may be one of several in that memory
      yield framing.isChunked ? piece : lend(piece)
    }
    if (sizeBytes !== undefined && length !== sizeBytes) throw new S3Error('IncompleteBody', `${sizeBytes} bytes were announced, ${length} came`)
  }

  return {
    sizeBytes,
    checksum,
    digests: [...new Set([...(md5 === undefined ? [] : ['md5' as const]), ...(framing.sha256 === undefined ? [] : ['sha256' as const]), ...(stated === undefined && announced === undefined || checksum === undefined ? [] : [checksum])])],
    digesting: signed?.digesting,
    expected () {
      const { algorithm, digest } = (announced === undefined ? stated : trailerChecksum(announced, trailers)) ?? {}
      return { ...(md5 === undefined ? {} : { md5 }), ...(framing.sha256 === undefined ? {} : { sha256: framing.sha256 }), ...(algorithm === undefined ? {} : { [algorithm]: digest }) }
    },
    [Symbol.asyncIterator]: () => body()[Symbol.asyncIterator](),
  }
}
interface Framing { readonly isChunked: boolean, readonly isSigned: boolean, readonly hasTrailer: boolean, readonly sha256: Buffer | undefined }

function framingOf (mode: string, { signed, isProtected, header }: PayloadRequest): Framing {
  const plain = { isChunked: false, isSigned: false, hasTrailer: false, sha256: undefined }
  const chunked = { ...plain, isChunked: true }
  const demandProtection = (): void => {
    if (!isProtected && signed !== undefined && !signed.isPresigned) throw new S3Error('InvalidRequest', 'an unsigned body is taken over TLS only: anybody on the way could change it. Use https, or sign the payload')
  }
  const demandSignature = (): void => { if (signed === undefined) throw new S3Error('AccessDenied', 'chunks of a body are signed over the signature of its request, which has none') }
  switch (mode) {
    case payloads.unsigned:
      demandProtection()
      return header('content-encoding')?.includes('aws-chunked') === true && header('x-amz-decoded-content-length') !== undefined ? { ...chunked, hasTrailer: header('x-amz-trailer') !== undefined } : plain
    case payloads.signedChunks: demandSignature(); return { ...chunked, isSigned: true }
    case payloads.signedChunksWithTrailer: demandSignature(); return { ...chunked, isSigned: true, hasTrailer: true }
    case payloads.unsignedChunksWithTrailer: demandProtection(); return { ...chunked, hasTrailer: true }
    default:
      if (!/^[0-9a-f]{64}$/.test(mode)) throw new S3Error('InvalidArgument', `x-amz-content-sha256 takes 64 hexadecimal digits, or ${Object.values(payloads).join(', ')}`)
      return { ...plain, sha256: Buffer.from(mode, 'hex') }
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
  if (digest.byteLength !== checksumBytes[algorithm] || digest.toString('base64') !== text) throw new S3Error('InvalidRequest', `Value for x-amz-checksum-${algorithm} header is invalid.`)
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

/** What nobody announced nobody would look at. @throws S3Error MalformedTrailerError */
function demandAnnounced (trailers: ReadonlyMap<string, string>, announced: ChecksumAlgorithm | undefined): void {
  const stray = [...trailers.keys()].find((name) => name !== `x-amz-checksum-${announced}`)
  if (stray !== undefined) throw new S3Error('MalformedTrailerError', `the trailer ${stray.slice(0, 40)} was not announced in x-amz-trailer`)
}

const besideChecksums = ['x-amz-checksum-algorithm', 'x-amz-checksum-mode', 'x-amz-checksum-type']

/** A checksum by some other algorithm would be believed to be held against the content. @throws S3Error InvalidRequest */
export function demandKnownChecksums (names: readonly string[]): void {
  const unknown = names.find((name) => name.startsWith('x-amz-checksum-') && !besideChecksums.includes(name) && !checksumAlgorithms.some((algorithm) => name === `x-amz-checksum-${algorithm}`))
  if (unknown !== undefined) throw new S3Error('InvalidRequest', `${unknown.slice(0, 60)} is not known here; there are ${checksumAlgorithms.join(', ')}`)
}

function trailerChecksum (algorithm: ChecksumAlgorithm, trailers: ReadonlyMap<string, string>): Stated {
  const text = trailers.get(`x-amz-checksum-${algorithm}`)
  if (text === undefined) throw new S3Error('IncompleteBody', `the trailer x-amz-checksum-${algorithm} was announced and did not come`)
  return { algorithm, digest: digestIn(algorithm, text) }
}
