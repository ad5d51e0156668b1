import { createHash, createHmac, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { crc32 } from 'node:zlib'
import aws4 from 'aws4'
import { mebibyte } from './measure.ts'

/** No more than a signed request and its answer: what a library does beside it is not what is measured. */
export class S3 {
  readonly #url: URL
  readonly #key: { readonly id: string, readonly secret: string }
  readonly #bucket: string
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 64 })

  constructor (url: string, key: { readonly id: string, readonly secret: string }, bucket: string) {
    this.#url = new URL(url)
    this.#key = key
    this.#bucket = bucket
  }

  async put (key: string, source: Iterable<Uint8Array> | AsyncIterable<Uint8Array>, sizeBytes: number): Promise<void> { await this.#ask('PUT', this.#pathOf(key), { source, sizeBytes }) }
  /** With the body's hash in what is signed, so it is read twice, the first time before `timed` begins: `sourceOf` gives the same bytes for the same seed. */
  async putSigned<T> (key: string, sourceOf: (seed: Uint8Array) => AsyncIterable<Uint8Array>, sizeBytes: number, timed: (act: () => Promise<void>) => Promise<T>): Promise<T> {
    const seed = randomBytes(16)
    const hash = createHash('sha256')
    for await (const piece of sourceOf(seed)) hash.update(piece)
    return timed(async () => { await this.#ask('PUT', this.#pathOf(key), { source: sourceOf(seed), sizeBytes, payload: hash.digest('hex') }) })
  }

  /**
   * In chunks: signed, each over the one before, their hashes taken as `putSigned` takes its one; with the CRC32 of all behind them, as clients send what they have not read before; or
   * both. https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-streaming-trailers.html
   */
  async putInChunks<T> (key: string, { isSigned, hasTrailer, sourceOf, sizeBytes }: InChunks, timed: (act: () => Promise<void>) => Promise<T>): Promise<T> {
    const seed = randomBytes(16)
    const hashes: string[] = []
    let sum = 0
    for await (const chunk of chunksOf(sourceOf(seed))) {
      if (isSigned) hashes.push(hashOf(chunk))
      if (hasTrailer) sum = crc32(chunk, sum)
    }
    const checksum = Buffer.alloc(4)
    checksum.writeUInt32BE(sum)
    const trailer = hasTrailer ? `x-amz-checksum-crc32:${checksum.toString('base64')}` : undefined
    const framing: Framing = { hashes: isSigned ? hashes : undefined, trailer, secret: this.#key.secret }
    const headers = { 'x-amz-decoded-content-length': String(sizeBytes), 'content-encoding': 'aws-chunked', ...(hasTrailer ? { 'x-amz-trailer': 'x-amz-checksum-crc32' } : {}) }
    const payload = `STREAMING-${isSigned ? 'AWS4-HMAC-SHA256' : 'UNSIGNED'}-PAYLOAD${hasTrailer ? '-TRAILER' : ''}`
    const asking = { sizeBytes: framedBytes(sizeBytes, framing), payload, headers, sourceOf: (signed: Readonly<Record<string, string>>) => framed(chunksOf(sourceOf(seed)), framing, signed) }
    return timed(async () => { await this.#ask('PUT', this.#pathOf(key), asking) })
  }

  async get (key: string): Promise<number> { return (await this.#ask('GET', this.#pathOf(key))).bytes }

  /** How many there are, in so many pages of 1,000 at most. */
  async list (prefix: string, { pages = Infinity }: { pages?: number } = {}): Promise<number> {
    let count = 0
    for (let [token, page, isLast] = ['', 0, false]; !isLast && page < pages; page++) {
      const { text } = await this.#ask('GET', `/${this.#bucket}?list-type=2&max-keys=1000&prefix=${encodeURIComponent(prefix)}${token}`, { keepText: true })
      count += text.split('<Contents>').length - 1
      const [, next] = /<NextContinuationToken>([^<]*)</.exec(text) ?? []
      isLast = next === undefined
      token = `&continuation-token=${encodeURIComponent(next ?? '')}`
    }
    return count
  }

  /** The id of an upload. */
  async begin (key: string): Promise<string> {
    const { text } = await this.#ask('POST', `${this.#pathOf(key)}?uploads=`, { keepText: true })
    return /<UploadId>([^<]*)</.exec(text)?.[1] ?? ''
  }

  /** The part's etag. */
  async putPart (key: string, uploadId: string, number: number, source: Iterable<Uint8Array> | AsyncIterable<Uint8Array>, sizeBytes: number): Promise<string> {
    return (await this.#ask('PUT', `${this.#pathOf(key)}?partNumber=${number}&uploadId=${uploadId}`, { source, sizeBytes })).etag
  }

  /** A range of another object of the bucket. */
  async copyPart (key: string, uploadId: string, number: number, source: string, { first, last }: { first: number, last: number }): Promise<string> {
    const { text } = await this.#ask('PUT', `${this.#pathOf(key)}?partNumber=${number}&uploadId=${uploadId}`, { sizeBytes: 0, keepText: true, headers: { 'x-amz-copy-source': this.#pathOf(source), 'x-amz-copy-source-range': `bytes=${first}-${last}` } })
    return /<ETag>([^<]*)</.exec(text)?.[1]?.replaceAll('&quot;', '"') ?? ''
  }

  async complete (key: string, uploadId: string, etags: readonly string[]): Promise<void> {
    const body = Buffer.from(`<CompleteMultipartUpload>${etags.map((etag, i) => `<Part><PartNumber>${i + 1}</PartNumber><ETag>${etag}</ETag></Part>`).join('')}</CompleteMultipartUpload>`)
    const { text } = await this.#ask('POST', `${this.#pathOf(key)}?uploadId=${uploadId}`, { source: [body], sizeBytes: body.byteLength, keepText: true })
    if (!text.includes('<ETag>')) throw new Error(`the completion answered: ${text.slice(0, 300)}`)
  }

  #pathOf (key: string): string { return `/${this.#bucket}/${encodeURIComponent(key)}` }

  close (): void { this.#agent.destroy() }

  async #ask (method: string, path: string, { source = [], sourceOf = () => source, sizeBytes, payload = 'UNSIGNED-PAYLOAD', keepText = false, headers: more = {} }: Asking = {}): Promise<Answered> {
    const { headers, path: signed = path } = aws4.sign({
      service: 's3', region: 'us-east-1', method, host: this.#url.host, path,
      headers: { ...more, 'x-amz-content-sha256': sizeBytes === undefined ? emptyHash : payload, ...(sizeBytes === undefined ? {} : { 'content-length': String(sizeBytes) }) },
    }, { accessKeyId: this.#key.id, secretAccessKey: this.#key.secret })
    const { promise, resolve, reject } = Promise.withResolvers<Answered>()
    const asked = request({ host: this.#url.hostname, port: this.#url.port, agent: this.#agent, method, path: signed, headers: headers as Record<string, string> }, (response) => {
      const pieces: Buffer[] = []
      let bytes = 0
      const isGood = response.statusCode === 200
      response.on('data', (piece: Buffer) => { bytes += piece.byteLength; if (keepText || !isGood) pieces.push(piece) }).on('error', reject)
      response.on('end', () => { const text = Buffer.concat(pieces).toString(); if (isGood) resolve({ bytes, text, etag: response.headers.etag ?? '' }); else reject(new Error(`${method} ${path} answered ${response.statusCode}: ${text.slice(0, 300)}`)) })
    }).on('error', reject)
    for await (const piece of sourceOf(headers as Record<string, string>)) if (!asked.write(piece)) await once(asked, 'drain')
    asked.end()
    return promise
  }
}

const hashOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')
const emptyHash = hashOf(new Uint8Array(0))

interface Asking {
  readonly source?: Iterable<Uint8Array> | AsyncIterable<Uint8Array>
  /** Of what depends on the signature. */
  readonly sourceOf?: (signed: Readonly<Record<string, string>>) => Iterable<Uint8Array> | AsyncIterable<Uint8Array>
  readonly sizeBytes?: number
  /** As `x-amz-content-sha256`. */
  readonly payload?: string
  readonly keepText?: boolean
  readonly headers?: Readonly<Record<string, string>>
}

export interface InChunks {
  readonly isSigned: boolean
  readonly hasTrailer: boolean
  /** The same bytes for the same seed. */
  readonly sourceOf: (seed: Uint8Array) => AsyncIterable<Uint8Array>
  readonly sizeBytes: number
}

interface Framing {
  /** Of each chunk; undefined: nothing is signed. */
  readonly hashes: readonly string[] | undefined
  readonly trailer: string | undefined
  readonly secret: string
}

/** As many libraries cut. */
const chunkBytes = 64 * 1024
const lineEnd = '\r\n'
const noSignature = '0'.repeat(64)
const headOf = (bytes: number, signature: string | undefined): string => `${bytes.toString(16)}${signature === undefined ? '' : `;chunk-signature=${signature}`}${lineEnd}`
/** The chunk of no bytes, and what stands behind it. */
const endOf = ({ trailer }: Framing, signature: string | undefined, ofTrailer: string | undefined): string =>
  `${headOf(0, signature)}${trailer === undefined ? '' : `${trailer}${lineEnd}${ofTrailer === undefined ? '' : `x-amz-trailer-signature:${ofTrailer}${lineEnd}`}`}${lineEnd}`

function framedBytes (sizeBytes: number, framing: Framing): number {
  const signature = framing.hashes === undefined ? undefined : noSignature
  const lengthOf = (bytes: number): number => headOf(bytes, signature).length + bytes + lineEnd.length
  const [whole, rest] = [Math.floor(sizeBytes / chunkBytes), sizeBytes % chunkBytes]
  return whole * lengthOf(chunkBytes) + (rest === 0 ? 0 : lengthOf(rest)) + endOf(framing, signature, signature).length
}

async function * framed (chunks: AsyncIterable<Uint8Array>, framing: Framing, signed: Readonly<Record<string, string>>): AsyncIterable<Uint8Array> {
  const { hashes, trailer, secret } = framing
  const chain = hashes === undefined ? undefined : chainOf(secret, signed)
  // as much goes out at once as of other bodies
  let gathered: Uint8Array[] = []
  let at = 0
  for await (const chunk of chunks) {
    gathered.push(Buffer.from(headOf(chunk.byteLength, chain?.('PAYLOAD', [emptyHash, hashes?.[at] ?? '']))), chunk, Buffer.from(lineEnd))
    if (++at % (mebibyte / chunkBytes) !== 0) continue
    yield Buffer.concat(gathered)
    gathered = []
  }
  const last = chain?.('PAYLOAD', [emptyHash, emptyHash])
  yield Buffer.concat([...gathered, Buffer.from(endOf(framing, last, trailer === undefined ? undefined : chain?.('TRAILER', [hashOf(Buffer.from(`${trailer}\n`))])))])
}

/** Signs one thing after the other, each over the one before. */
function chainOf (secret: string, { Authorization: authorization = '', 'X-Amz-Date': date = '' }: Readonly<Record<string, string>>): (kind: 'PAYLOAD' | 'TRAILER', hashes: readonly string[]) => string {
  const [scope = '', signature = ''] = /Credential=[^/]+\/([^,]+),.*Signature=([0-9a-f]{64})/.exec(authorization)?.slice(1) ?? []
  const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest()
  const signingKey = scope.split('/').reduce<string | Buffer>((key, part) => hmac(key, part), `AWS4${secret}`)
  let last = signature
  return (kind, hashes) => {
    last = hmac(signingKey, [`AWS4-HMAC-SHA256-${kind}`, date, scope, last, ...hashes].join('\n')).toString('hex')
    return last
  }
}

async function * chunksOf (source: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  for await (const piece of source) for (let at = 0; at < piece.byteLength; at += chunkBytes) yield piece.subarray(at, at + chunkBytes)
}

interface Answered { readonly bytes: number, readonly text: string, readonly etag: string }
