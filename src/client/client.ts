import { type Clock, systemClock } from '../base/clock.ts'
import { ClientError, clientErrorOf, type Reason, Unreachable } from './errors.ts'
import { metadataHeaders, metadataIn } from './metadata.ts'
import { objectPath } from './paths.ts'
import type { Answer, Body, Outgoing, Transport } from './transport.ts'
import type { Announcement, Bucket, Client, Conditions, ListOptions, ObjectInfo, ObjectName, ObjectPage, PutOptions, Reading, Status } from './types.ts'

export const retryLimits = {
  /** Of a read, after the first attempt; of a body: in a row that brought nothing. */
  attempts: 3,
  /** Before the first of them; doubled each time. */
  pauseMs: 100,
} as const

/** A client over whatever carries its requests. What reads is repeated when the node cannot be reached or is not available; what writes never is. */
export function clientOver (transport: Transport, { clock = systemClock }: { clock?: Clock } = {}): Client {
  const read = async (outgoing: Outgoing): Promise<Answer> => repeated(async () => demandRight(await transport.send(outgoing)), { clock, signal: outgoing.signal })
  const write = async (outgoing: Outgoing): Promise<Answer> => demandRight(await transport.send(outgoing))
  const request = async <T>(method: string, path: string, { body, signal }: { body?: unknown, signal?: AbortSignal } = {}): Promise<T> => {
    const sent = body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }
    return jsonOf<T>(await (method === 'GET' || method === 'HEAD' ? read : write)({ method, path, signal, ...sent }))
  }
  const page = async (bucket: string, { signal, ...options }: ListOptions = {}): Promise<ObjectPage> => request('GET', `${objectPath(bucket)}${queryOf(options)}`, { signal })
  return {
    async put ({ bucket, key }, source, options = {}) {
      const { signal, onProgress, sizeBytes } = options
      const body = sizeBytes === undefined ? source : sized(source, sizeBytes)
      return jsonOf(await write({ method: 'PUT', path: objectPath(bucket, key), headers: putHeaders(options), body: onProgress === undefined ? body : counted(body, onProgress), signal }))
    },
    get: async (target, options = {}) => reading(target, options, read, clock),
    async head (target, { signal } = {}) {
      const { headers, body } = await read({ method: 'HEAD', path: objectPath(target.bucket, target.key), signal })
      await gathered(body)
      return infoIn(target, headers, Number(headers['content-length']))
    },
    async remove ({ bucket, key }, { ifMatch, signal } = {}) {
      const { removed } = await jsonOf<{ removed: boolean }>(await write({ method: 'DELETE', path: objectPath(bucket, key), headers: conditionHeaders({ ifMatch }), signal }))
      return removed
    },
    async copy (source, { bucket, key }, { signal, ...conditions } = {}) {
      const from = `/${encodeURIComponent(source.bucket)}/${encodeURIComponent(source.key)}`
      return jsonOf(await write({ method: 'PUT', path: objectPath(bucket, key), headers: { 'x-dfs-copy-source': from, ...conditionHeaders(conditions) }, signal }))
    },
    async * list (bucket, options = {}) {
      for (let after = options.after, more = true; more;) {
        const { objects, next } = await page(bucket, { ...options, after })
        yield * objects
        after = next
        more = next !== undefined
      }
    },
    page,
    buckets: {
      create: async (name, options = {}, wait) => request<Bucket>('PUT', bucketPath(name), { body: options, ...wait }),
      list: async (wait) => (await request<{ buckets: Bucket[] }>('GET', '/v1/buckets', wait)).buckets,
      get: async (name, wait) => request<Bucket>('GET', bucketPath(name), wait),
      update: async (name, change, wait) => request<Bucket>('PATCH', bucketPath(name), { body: change, ...wait }),
      async remove (name, wait) { await request('DELETE', bucketPath(name), wait) },
    },
    async watch ({ signal, bucket, prefix } = {}) {
      const lines = linesOf((await read({ method: 'GET', path: `/v1/watch${queryOf({ bucket, prefix })}`, signal })).body)[Symbol.asyncIterator]()
      // the first says that it watches
      await lines.next()
      return announcements(lines)
    },
    status: async (wait) => request<Status>('GET', '/v1/status', wait),
    request,
    close: () => { transport.close() },
    [Symbol.dispose]: () => { transport.close() },
  }
}

const bucketPath = (name: string): string => `/v1/buckets/${encodeURIComponent(name)}`

function queryOf (parameters: Readonly<Record<string, string | number | undefined>>): string {
  const given = Object.entries(parameters).flatMap(([name, value]) => value === undefined ? [] : [`${name}=${encodeURIComponent(value)}`])
  return given.length === 0 ? '' : `?${given.join('&')}`
}

function putHeaders ({ contentType, metadata, sizeBytes, ...conditions }: PutOptions): Record<string, string> {
  return {
    ...(contentType === undefined ? {} : { 'content-type': contentType }),
    ...(sizeBytes === undefined ? {} : { 'content-length': String(sizeBytes) }),
    ...metadataHeaders(metadata),
    ...conditionHeaders(conditions),
  }
}

const conditionHeaders = ({ ifMatch, ifNoneMatch }: Conditions): Record<string, string> => ({
  ...(ifMatch === undefined ? {} : { 'if-match': ifMatch === '*' ? '*' : `"${ifMatch}"` }),
  ...(ifNoneMatch === undefined ? {} : { 'if-none-match': ifNoneMatch }),
})

/** A body of that length alone: of a longer one Node would send so much, to be stored as all of it, and browsers say what they have themselves. @throws ClientError */
function sized (source: Body, sizeBytes: number): Body {
  const demand = (isRight: boolean, cameBytes: number): void => {
    if (!isRight) throw clientErrorOf(400, { code: 'invalid', field: 'size', message: `${sizeBytes} bytes were announced, ${cameBytes} came; nothing was stored` })
  }
  const known = knownSizeOf(source)
  if (known !== undefined) demand(known === sizeBytes, known)
  if (isWhole(source)) return source
  return (async function * () {
    let cameBytes = 0
    for await (const piece of source) {
      cameBytes += piece.byteLength
      demand(cameBytes <= sizeBytes, cameBytes)
      yield piece
    }
    demand(cameBytes === sizeBytes, cameBytes)
  })()
}

const isWhole = (source: Body): source is Exclude<Body, AsyncIterable<Uint8Array>> => typeof source === 'string' || source instanceof Uint8Array || source instanceof Blob

function knownSizeOf (source: Body): number | undefined {
  if (!isWhole(source)) return undefined
  if (source instanceof Blob) return source.size
  return typeof source === 'string' ? new TextEncoder().encode(source).byteLength : source.byteLength
}

/** Of a body in one piece there is nothing to count. */
function counted (source: Body, onProgress: (sentBytes: number) => void): Body {
  if (isWhole(source)) return source
  return (async function * () {
    let sentBytes = 0
    for await (const piece of source) {
      yield piece
      onProgress(sentBytes += piece.byteLength)
    }
  })()
}

async function reading (target: ObjectName, { range, ifMatch, signal, onProgress }: Parameters<Client['get']>[1] & object, read: (outgoing: Outgoing) => Promise<Answer>, clock: Clock): Promise<Reading> {
  const ask = async (headers: Record<string, string>): Promise<Answer> => read({ method: 'GET', path: objectPath(target.bucket, target.key), headers, signal })
  const answer = await ask({ ...(range === undefined ? {} : { range: rangeText(range) }), ...conditionHeaders({ ifMatch }) })
  const { first, end, sizeBytes } = extentOf(answer.headers)
  const info = infoIn(target, answer.headers, sizeBytes)
  const body = goingOn(answer.body, {
    clock, signal, totalBytes: end - first, onProgress,
    async again (gotBytes) {
      const rest = await ask({ range: `bytes=${first + gotBytes}-${end - 1}`, ...conditionHeaders({ ifMatch: info.etag }) })
      const { first: from, end: to } = extentOf(rest.headers)
      if (from !== first + gotBytes || to !== end) throw new Unreachable(`the answer broke off after ${gotBytes} bytes, and what would go on begins at ${from}: something between passes over ranges`)
      return rest.body
    },
  })
  const bytes = async (): Promise<Uint8Array<ArrayBuffer>> => gathered(body, end - first)
  return { info, range: { first, end }, body, bytes, text: async () => new TextDecoder().decode(await bytes()), stream: () => streamOf(body) }
}

/** A server passes over what is no range, and sends all. @throws ClientError */
function rangeText ({ first, last }: { readonly first: number, readonly last?: number }): string {
  const isRight = Number.isSafeInteger(first) && (last === undefined || (Number.isSafeInteger(last) && first >= 0 && last >= first))
  if (!isRight) throw clientErrorOf(416, { code: 'invalid', field: 'range', message: `bytes ${first} to ${last ?? 'the end'} are no range; one that counts from the end has a negative first and no last` })
  return first < 0 ? `bytes=-${-first}` : `bytes=${first}-${last ?? ''}`
}

/** What comes, of what whole. */
function extentOf ({ 'content-range': range, 'content-length': length }: Answer['headers']): { first: number, end: number, sizeBytes: number } {
  const [, first, last, size] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(range ?? '') ?? []
  return first === undefined ? { first: 0, end: Number(length), sizeBytes: Number(length) } : { first: Number(first), end: Number(last) + 1, sizeBytes: Number(size) }
}

function infoIn ({ bucket, key }: ObjectName, headers: Answer['headers'], sizeBytes: number): ObjectInfo {
  return {
    bucket, key, sizeBytes,
    etag: (headers.etag ?? '').replace(/^"(.*)"$/, '$1'),
    versionId: headers['x-dfs-version'] ?? '',
    modified: headers['x-dfs-modified'] ?? '',
    contentType: headers['content-type'],
    metadata: metadataIn(headers),
  }
}

interface GoingOn {
  readonly clock: Clock
  readonly signal: AbortSignal | undefined
  readonly totalBytes: number
  readonly onProgress: ((gotBytes: number, totalBytes: number) => void) | undefined
  /** The rest, of the same version. */
  readonly again: (gotBytes: number) => Promise<AsyncIterable<Uint8Array>>
}

/** A body that goes on where it broke off. What has been given on never comes twice. */
async function * goingOn (body: AsyncIterable<Uint8Array>, { clock, signal, totalBytes, onProgress, again }: GoingOn): AsyncIterable<Uint8Array> {
  let [gotBytes, source, failures] = [0, body, 0]
  for (;;) {
    try {
      for await (const piece of source) {
        failures = 0
        gotBytes += piece.byteLength
        yield piece
        onProgress?.(gotBytes, totalBytes)
      }
      if (gotBytes >= totalBytes) return
      throw new Unreachable(`the answer ended after ${gotBytes} of ${totalBytes} bytes`)
    } catch (error) {
      if (!isPassing(error) || signal?.aborted === true || gotBytes >= totalBytes || ++failures > retryLimits.attempts) throw error
      await clock.sleep(retryLimits.pauseMs * 2 ** (failures - 1), { signal })
      source = await again(gotBytes)
    }
  }
}

const isPassing = (error: unknown): boolean => error instanceof Unreachable || (error instanceof ClientError && error.code === 'unavailable')

async function repeated<T> (attempt: () => Promise<T>, { clock, signal }: { clock: Clock, signal: AbortSignal | undefined }): Promise<T> {
  for (let failures = 0; ; failures++) {
    try { return await attempt() } catch (error) {
      if (!isPassing(error) || signal?.aborted === true || failures >= retryLimits.attempts) throw error
      await clock.sleep(retryLimits.pauseMs * 2 ** failures, { signal })
    }
  }
}

/** @throws ClientError for an answer that says no */
async function demandRight (answer: Answer): Promise<Answer> {
  if (answer.status < 400) return answer
  const body = await gathered(answer.body)
  // of a HEAD the reason is a header
  const text = answer.headers['x-dfs-error'] ?? new TextDecoder().decode(body)
  throw clientErrorOf(answer.status, reasonIn(text))
}

function reasonIn (text: string): Reason | undefined {
  try {
    const value = JSON.parse(text) as Reason & { error?: Reason }
    return value.error ?? value
  } catch {
    return undefined // whoever answered is no node, and the status says all that there is
  }
}

async function jsonOf<T> ({ body }: Answer): Promise<T> {
  return JSON.parse(new TextDecoder().decode(await gathered(body))) as T
}

/** A connection is free again when the body has been read, be it empty. */
async function gathered (body: AsyncIterable<Uint8Array>, sizeBytes?: number): Promise<Uint8Array<ArrayBuffer>> {
  if (sizeBytes !== undefined) {
    const all = new Uint8Array(sizeBytes)
    let at = 0
    for await (const piece of body) { all.set(piece, at); at += piece.byteLength }
    return all
  }
  const pieces: Uint8Array<ArrayBuffer>[] = []
  for await (const piece of body) pieces.push(piece as Uint8Array<ArrayBuffer>)
  return new Uint8Array(await new Blob(pieces).arrayBuffer())
}

function streamOf (body: AsyncIterable<Uint8Array>): ReadableStream<Uint8Array> {
  const iterator = body[Symbol.asyncIterator]()
  return new ReadableStream({
    async pull (controller) {
      const { done, value } = await iterator.next()
      if (done === true) controller.close()
      else controller.enqueue(value)
    },
    async cancel () { await iterator.return?.() },
  }, { highWaterMark: 0 })
}

async function * linesOf (body: AsyncIterable<Uint8Array>): AsyncIterable<string> {
  const decoder = new TextDecoder()
  let text = ''
  for await (const piece of body) {
    text += decoder.decode(piece, { stream: true })
    const lines = text.split('\n')
    text = lines.pop() ?? ''
    yield * lines
  }
}

async function * announcements (lines: AsyncIterator<string>): AsyncIterable<Announcement> {
  try {
    for (let next = await lines.next(); next.done !== true; next = await lines.next()) yield JSON.parse(next.value) as Announcement
  } finally {
    await lines.return?.()
  }
}
