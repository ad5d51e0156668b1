import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { Agent, request } from 'node:http'
import aws4 from 'aws4'

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
  async get (key: string): Promise<number> { return (await this.#ask('GET', this.#pathOf(key))).bytes }

  async list (prefix: string): Promise<number> {
    let count = 0
    for (let token = '', isLast = false; !isLast;) {
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

  async #ask (method: string, path: string, { source = [], sizeBytes, keepText = false, headers: more = {} }: { source?: Iterable<Uint8Array> | AsyncIterable<Uint8Array>, sizeBytes?: number, keepText?: boolean, headers?: Readonly<Record<string, string>> } = {}): Promise<Answered> {
    const { headers, path: signed = path } = aws4.sign({
      service: 's3', region: 'us-east-1', method, host: this.#url.host, path,
      headers: { ...more, 'x-amz-content-sha256': sizeBytes === undefined ? emptyHash : 'UNSIGNED-PAYLOAD', ...(sizeBytes === undefined ? {} : { 'content-length': String(sizeBytes) }) },
    }, { accessKeyId: this.#key.id, secretAccessKey: this.#key.secret })
    const { promise, resolve, reject } = Promise.withResolvers<Answered>()
    const asked = request({ host: this.#url.hostname, port: this.#url.port, agent: this.#agent, method, path: signed, headers: headers as Record<string, string> }, (response) => {
      const pieces: Buffer[] = []
      let bytes = 0
      const isGood = response.statusCode === 200
      response.on('data', (piece: Buffer) => { bytes += piece.byteLength; if (keepText || !isGood) pieces.push(piece) }).on('error', reject)
      response.on('end', () => { const text = Buffer.concat(pieces).toString(); if (isGood) resolve({ bytes, text, etag: response.headers.etag ?? '' }); else reject(new Error(`${method} ${path} answered ${response.statusCode}: ${text.slice(0, 300)}`)) })
    }).on('error', reject)
    for await (const piece of source) if (!asked.write(piece)) await once(asked, 'drain')
    asked.end()
    return promise
  }
}

const emptyHash = createHash('sha256').digest('hex')

interface Answered { readonly bytes: number, readonly text: string, readonly etag: string }
