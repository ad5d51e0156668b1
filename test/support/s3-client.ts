import { type IncomingHttpHeaders, request } from 'node:http'
import aws4 from 'aws4'

/** One answer, whole. */
export interface S3Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
  readonly bytes: Buffer
  /** The code of an error. */
  readonly code: string | undefined
}

export interface S3Ask {
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array
  /** Undefined: nobody signs. */
  readonly key?: { readonly id: string, readonly secret: string } | undefined
  readonly host?: string
  readonly region?: string
  /** Seconds: by the query instead of headers. */
  readonly presigned?: number
}

/** Sends the path as it is written, which no library for people does, signed by aws4. */
export function askS3 (port: number, method: string, path: string, { headers = {}, body, key, host = `127.0.0.1:${port}`, region = 'us-east-1', presigned }: S3Ask = {}): Promise<S3Answer> {
  const at = path.includes('?') ? '&' : '?'
  const signed = key === undefined
    ? { path, headers: { host, ...headers } }
    : aws4.sign({
      service: 's3', region, method, host, body: body as string, headers: { ...headers }, signQuery: presigned !== undefined,
      path: presigned === undefined ? path : `${path}${at}X-Amz-Expires=${presigned}`,
    }, { accessKeyId: key.id, secretAccessKey: key.secret })
  return sendS3(port, method, signed.path ?? path, { headers: signed.headers as Record<string, string>, body })
}

export function sendS3 (port: number, method: string, path: string, { headers, body }: { headers: Readonly<Record<string, string>>, body?: string | Uint8Array }): Promise<S3Answer> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', port, method, path, headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, Buffer.from(String(value)).toString('latin1')])) }, (response) => {
      const pieces: Buffer[] = []
      response.on('data', (piece: Buffer) => { pieces.push(piece) }).on('error', reject)
      response.on('end', () => {
        const bytes = Buffer.concat(pieces)
        const text = bytes.toString()
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text, bytes, code: /<Code>(\w+)<\/Code>/.exec(text)?.[1] })
      })
    })
    asked.on('error', reject)
    // a text would be sent together with the headers, and both as UTF-8
    asked.end(body === undefined ? undefined : Buffer.from(body))
  })
}

/**
 * Whether a conditional write has won in the end, by a client that tries again what was not possible (503) and what may have happened (409): of the latter `isMine` says whether it
 * had, when it is told that the condition does not hold.
 */
export async function hasWon<T> (write: () => Promise<unknown>, isMine: () => Promise<T>): Promise<boolean | T> {
  let mayHaveHappened = false
  for (let attempt = 1; ; attempt++) {
    try {
      await write()
      return true
    } catch (error) {
      const status = (error as { $metadata?: { httpStatusCode?: number } }).$metadata?.httpStatusCode
      if (status === 412 || status === 404) return mayHaveHappened ? isMine() : false
      if (attempt === 30 || (status !== 503 && status !== 409)) throw error
      mayHaveHappened ||= status === 409
      await new Promise((resolve) => { setTimeout(resolve, 20 * attempt * Math.random()) })
    }
  }
}
