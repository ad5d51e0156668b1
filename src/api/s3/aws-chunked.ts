import { createHash } from 'node:crypto'
import type { DigestName, Digesting, RunningSpans, SpanDigesting } from '../../base/checksums.ts'
import { giveBack, hold, lend } from '../../base/lease.ts'
import { S3Error } from './errors.ts'
import { isSameSignature, nextSignature, type SignatureChain } from './sigv4.ts'

/**
 * Bodies of content encoding aws-chunked (https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming.html): `HEX[;chunk-signature=…]\r\n bytes \r\n`, a last
 * chunk of 0, then trailers, which are lines of the body, not trailers of HTTP. Bytes are passed on as they come, not copied and not held back until their
 * chunk is proven: whoever reads must not keep anything unless the end is reached.
 */
export const chunkLimits = {
  /** A chunk's first line. */
  maxHeaderBytes: 256,
  /** All that follows the last chunk. */
  maxTrailerBytes: 8 * 1024,
} as const

export interface ChunkedBody {
  /** Undefined: chunks are not signed. */
  readonly signed: SignedChunks | undefined
  readonly hasTrailer: boolean
  /** Told the trailers, by lower-case name, once their signature is right. */
  readonly onTrailers: (trailers: ReadonlyMap<string, string>) => void
}

/** The bytes within. @throws S3Error */
export async function * unchunked (source: AsyncIterable<Uint8Array>, { signed, hasTrailer, onTrailers }: ChunkedBody): AsyncIterable<Uint8Array> {
  const input = new Input(source)
  using running = signed?.begin()
  try {
    for (;;) {
      const { size, signature } = headerOf(await input.line(chunkLimits.maxHeaderBytes))
      for (let left = size; left > 0;) {
        const piece = await input.upTo(left)
        await running?.update(piece)
        left -= piece.byteLength
        yield piece
      }
      await signed?.end(signature)
      if (size === 0) break
      if (await input.line(2) !== '') throw malformed('a chunk is longer than its length says')
    }
    onTrailers(trailersOf(await input.rest(chunkLimits.maxTrailerBytes), { hasTrailer, chain: await signed?.proven() }))
  } finally {
    await input.close()
  }
}

/**
 * Chunks of which each is signed over the one before. They are hashed beside the thread that serves, so one that is not what was signed is told a little later,
 * and at the end at the latest. Whoever stores the body has other digests of the same bytes taken along with them.
 */
export class SignedChunks {
  readonly #digestingSpans: SpanDigesting
  readonly #sizeBytes: number | undefined
  #chain: SignatureChain
  #algorithms: readonly DigestName[] = []
  #running: RunningSpans | undefined
  #digests: Promise<ReadonlyMap<DigestName, Uint8Array>> | undefined
  /** Of chunks whose hashes are not there yet. */
  readonly #signatures: Array<string | undefined> = []
  #failure: unknown

  constructor (chain: SignatureChain, { digestingSpans, sizeBytes }: { digestingSpans: SpanDigesting, sizeBytes: number | undefined }) {
    this.#chain = chain
    this.#digestingSpans = digestingSpans
    this.#sizeBytes = sizeBytes
  }

  /** Digests of what is in the chunks, which are taken as it comes; to be asked for before that. */
  readonly digesting: Digesting = (algorithms) => {
    this.#algorithms = algorithms
    return { update: () => undefined, finish: async () => await this.#finished(), [Symbol.dispose]: () => {} }
  }

  /** What the bytes are to be told. */
  begin (): RunningSpans {
    return this.#running = this.#digestingSpans({ algorithms: this.#algorithms, sizeBytes: this.#sizeBytes, onHash: (hash) => { this.#prove(Buffer.from(hash).toString('hex')) } })
  }

  /** @throws S3Error if one of those before is known to be wrong */
  async end (signature: string | undefined): Promise<void> {
    this.#signatures.push(signature)
    await this.#running?.end()
    if (this.#failure !== undefined) throw this.#failure
  }

  /** All chunks are what was signed; with that their trailer is signed. @throws S3Error */
  async proven (): Promise<SignatureChain> {
    await this.#finished()
    if (this.#failure !== undefined) throw this.#failure
    return this.#chain
  }

  async #finished (): Promise<ReadonlyMap<DigestName, Uint8Array>> { return await (this.#digests ??= this.#running?.finish() ?? Promise.resolve(new Map())) }

  #prove (hash: string): void {
    const signature = this.#signatures.shift()
    if (this.#failure !== undefined) return
    try {
      this.#chain = proven(this.#chain, { kind: 'PAYLOAD', hash, signature })
    } catch (error) {
      this.#failure = error
    }
  }
}

const malformed = (why: string): S3Error => new S3Error('IncompleteBody', `the body is not well-formed aws-chunked: ${why}`)

function headerOf (line: string): { size: number, signature: string | undefined } {
  const match = /^([0-9a-fA-F]{1,12})(?:;chunk-signature=([0-9a-f]{64}))?$/.exec(line)
  if (match === null) throw malformed('a chunk begins with its length in hexadecimal')
  return { size: Number.parseInt(match[1] ?? '', 16), signature: match[2] }
}

function proven (chain: SignatureChain, { kind, hash, signature }: { kind: 'PAYLOAD' | 'TRAILER', hash: string, signature: string | undefined }): SignatureChain {
  if (!isSameSignature(signature ?? '', nextSignature(chain, kind, hash))) throw new S3Error('SignatureDoesNotMatch', `the signature of a ${kind === 'PAYLOAD' ? 'chunk' : 'trailer'} does not match what came`)
  return { ...chain, signature: signature ?? '' }
}

function trailersOf (text: string, { hasTrailer, chain }: { hasTrailer: boolean, chain: SignatureChain | undefined }): ReadonlyMap<string, string> {
  const lines = text.split('\n').map((line) => line.trim()).filter((line) => line !== '')
  if (!hasTrailer && lines.length > 0) throw malformed('something follows the last chunk')
  const pairs = lines.map((line) => {
    const at = line.indexOf(':')
    if (at < 1) throw malformed('a trailer is NAME:VALUE')
    return [line.slice(0, at).trim().toLowerCase(), line.slice(at + 1).trim()] as const
  })
  const signed = pairs.filter(([name]) => name !== 'x-amz-trailer-signature')
  if (hasTrailer && chain !== undefined) {
    const hash = createHash('sha256').update(signed.map(([name, value]) => `${name}:${value}\n`).join('')).digest('hex')
    proven(chain, { kind: 'TRAILER', hash, signature: pairs.find(([name]) => name === 'x-amz-trailer-signature')?.[1] })
  }
  return new Map(signed)
}

/** Bytes of a source, by line or by count, without joining pieces. Their memory is given back when all have done so who were given some of it, and this has no more (base/lease.ts). */
class Input {
  readonly #iterator: AsyncIterator<Uint8Array>
  #piece: Uint8Array = new Uint8Array(0)

  constructor (source: AsyncIterable<Uint8Array>) { this.#iterator = source[Symbol.asyncIterator]() }

  /** Until a line feed, without it and the carriage return. */
  async line (maxBytes: number): Promise<string> {
    let text = ''
    for (;;) {
      if (!await this.#fill()) throw malformed('it ends too early')
      const at = this.#piece.indexOf(10)
      const taken = this.#piece.subarray(0, at < 0 ? this.#piece.byteLength : at)
      if (text.length + taken.byteLength > maxBytes) throw malformed('a line is too long')
      text += latin1(taken)
      this.#piece = this.#piece.subarray(at < 0 ? this.#piece.byteLength : at + 1)
      if (at >= 0) return text.replace(/\r$/, '')
    }
  }

  /** At least one byte, at most so many. */
  async upTo (count: number): Promise<Uint8Array> {
    if (!await this.#fill()) throw malformed('it ends too early')
    const piece = this.#piece.subarray(0, count)
    hold(piece)
    this.#piece = this.#piece.subarray(count)
    return piece
  }

  async rest (maxBytes: number): Promise<string> {
    let text = ''
    while (await this.#fill()) {
      if (text.length + this.#piece.byteLength > maxBytes) throw malformed('its trailers are too long')
      text += latin1(this.#piece)
      giveBack(this.#piece)
      this.#piece = new Uint8Array(0)
    }
    return text
  }

  async close (): Promise<void> { await this.#iterator.return?.() }

  async #fill (): Promise<boolean> {
    while (this.#piece.byteLength === 0) {
      giveBack(this.#piece)
      const next = await this.#iterator.next()
      if (next.done === true) return false
      this.#piece = lend(next.value)
    }
    return true
  }
}

const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1')
