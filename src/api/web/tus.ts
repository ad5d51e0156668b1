import { NotFound } from '../../base/errors.ts'
import { NoSuchUpload, type ObjectName, type Objects } from '../../objects/index.ts'
import { bodyOf } from '../server/body.ts'
import { ApiError } from '../errors.ts'
import { admitted, type Gate } from '../gate.ts'
import type { PublicExchange } from '../server/public-listener.ts'
import { pathOf, targetOf } from './paths.ts'

/**
 * Uploads that go on where they broke off, by tus 1.0 (https://tus.io/protocols/resumable-upload): POST /BUCKET/KEY begins one, PATCH at its own path appends, HEAD
 * tells where it is. All that an upload is stands in its path and in the cluster, so each request may go to another node.
 */
export const tusHeaders = ['x-http-method-override', 'tus-resumable', 'tus-version', 'tus-extension', 'upload-offset', 'upload-length', 'upload-metadata', 'location'] as const

export const tusVersion = '1.0.0'

export interface TusParts {
  readonly objects: Objects
  readonly gate: Gate
}

interface UploadInPath {
  readonly target: ObjectName
  readonly uploadId: string
  /** Of the whole. */
  readonly sizeBytes: number
}

/** "/u/ID/SIZE/BUCKET/KEY"; no bucket has a name as short. */
export const isUploadPath = (path: string): boolean => path.startsWith('/u/')

export function uploadOf (path: string): UploadInPath | undefined {
  const [, uploadId = '', size = '', rest = ''] = /^\/u\/([0-9a-f]{64})\/(\d{1,16})(\/.+)$/.exec(path) ?? []
  const sizeBytes = Number(size)
  if (rest === '' || !Number.isSafeInteger(sizeBytes)) return undefined
  const { bucket, key } = targetOf(rest)
  return key === undefined || key === '' ? undefined : { target: { bucket, key }, uploadId, sizeBytes }
}

/** OPTIONS: what is understood here. */
export function tellTus ({ response }: PublicExchange): void {
  response.writeHead(204, { 'tus-resumable': tusVersion, 'tus-version': tusVersion, 'tus-extension': 'creation,creation-with-upload,termination' }).end()
}

/** POST /BUCKET/KEY, or /BUCKET/FOLDER/ with a filename in the metadata. */
export async function beginUpload (parts: TusParts, exchange: PublicExchange, { bucket, key: path }: ObjectName): Promise<void> {
  const { request: { headers }, response, signal } = exchange
  demandVersion(exchange)
  demandKnownExtensions(exchange)
  const { filename, filetype } = metadataIn(headers['upload-metadata'])
  const target = { bucket, key: path === '' || path.endsWith('/') ? path + nameIn(filename) : path }
  const { askedBy } = await admitted(exchange, parts.gate, { action: 'write', ...target })
  const sizeBytes = numberIn('upload-length', headers['upload-length'])
  const { uploadId } = await parts.objects.uploads.create(target, { contentType: filetype, signal })
  const upload: UploadInPath = { target, uploadId, sizeBytes }
  const isSending = headers['content-type'] === octets
  const offset = isSending || sizeBytes === 0 ? await appended(parts, exchange, upload, { offset: 0, hasBody: isSending, askedBy }) : undefined
  response.writeHead(201, { 'tus-resumable': tusVersion, location: `/u/${uploadId}/${sizeBytes}${pathOf(target.bucket, target.key)}`, ...(offset === undefined ? {} : { 'upload-offset': offset }), 'content-length': 0 }).end()
}

/** HEAD, PATCH, DELETE of an upload's own path. */
export async function continueUpload (parts: TusParts, exchange: PublicExchange): Promise<void> {
  const { request, response, signal, path } = exchange
  const method = methodOf(exchange)
  const upload = uploadOf(path)
  if (upload === undefined) throw new ApiError(404, 'not-found', 'no upload has this path')
  demandVersion(exchange)
  demandKnownExtensions(exchange)
  const { askedBy } = await admitted(exchange, parts.gate, { action: 'write', ...upload.target })
  const { sizeBytes, target, uploadId } = upload
  if (method === 'DELETE') {
    await parts.objects.uploads.abort(target, uploadId, { signal })
    response.writeHead(204, { 'tus-resumable': tusVersion }).end()
  } else if (method === 'HEAD') {
    // whoever hears that all is there takes it for stored, so it is finished first
    const offset = await offsetOf(parts, exchange, upload)
    response.writeHead(200, { 'tus-resumable': tusVersion, 'upload-offset': offset, 'upload-length': sizeBytes, 'cache-control': 'no-store' }).end()
  } else {
    if (request.headers['content-type'] !== octets) throw new ApiError(415, 'invalid', `an upload goes on with Content-Type: ${octets}`)
    const offset = await appended(parts, exchange, upload, { offset: numberIn('upload-offset', request.headers['upload-offset']), hasBody: true, askedBy })
    response.writeHead(204, { 'tus-resumable': tusVersion, 'upload-offset': offset }).end()
  }
}

/** Where proxies let no PATCH through a POST says what it stands for; tus demands that it is taken. @throws ApiError */
function methodOf (exchange: PublicExchange): 'HEAD' | 'PATCH' | 'DELETE' {
  const { method, headers } = exchange.request
  const meant = method === 'POST' ? headers['x-http-method-override'] : method
  if (meant !== 'HEAD' && meant !== 'PATCH' && meant !== 'DELETE') {
    exchange.response.setHeader('allow', 'HEAD, PATCH, DELETE')
    throw new ApiError(405, 'invalid', 'an upload takes HEAD, PATCH and DELETE, or a POST with one of them in X-HTTP-Method-Override')
  }
  return meant
}

const octets = 'application/offset+octet-stream'

/** Appends what the request brings, and finishes the upload with its last byte. Resolves to where it is. */
async function appended ({ objects: { uploads } }: TusParts, exchange: PublicExchange, { target, uploadId, sizeBytes }: UploadInPath, { offset: from, hasBody, askedBy }: { offset: number, hasBody: boolean, askedBy: string }): Promise<number> {
  // without a signal: when the client goes its source fails, and what came is kept
  const { offset } = hasBody ? await uploads.append(target, uploadId, from, noMoreThan(bodyOf(exchange), sizeBytes - from), { askedBy }) : { offset: from }
  if (offset === sizeBytes) await uploads.finish(target, uploadId, { sizeBytes, signal: exchange.signal })
  return offset
}

async function * noMoreThan (source: AsyncIterable<Uint8Array>, sizeBytes: number): AsyncIterable<Uint8Array> {
  let left = sizeBytes
  for await (const piece of source) {
    left -= piece.byteLength
    if (left < 0) throw new ApiError(413, 'invalid', 'more came than Upload-Length says')
    yield piece
  }
}

async function offsetOf ({ objects }: TusParts, { signal }: PublicExchange, { target, uploadId, sizeBytes }: UploadInPath): Promise<number> {
  try {
    const { offset } = await objects.uploads.offset(target, uploadId, { signal })
    if (offset === sizeBytes) await objects.uploads.finish(target, uploadId, { sizeBytes, signal })
    return offset
  } catch (error) {
    // finished, and the answer was lost
    if (error instanceof NoSuchUpload && await isCurrent(objects, target, uploadId, signal)) return sizeBytes
    throw error
  }
}

async function isCurrent (objects: Objects, target: ObjectName, versionId: string, signal: AbortSignal): Promise<boolean> {
  try {
    return (await objects.head(target, { versionId, signal })).versionId === versionId
  } catch (error) {
    if (error instanceof NotFound) return false
    throw error
  }
}

function demandVersion ({ request, response }: PublicExchange): void {
  if (request.headers['tus-resumable'] === tusVersion) return
  response.setHeader('tus-version', tusVersion)
  throw new ApiError(412, 'invalid', `uploads are begun and go on by tus ${tusVersion} (Tus-Resumable: ${tusVersion}); without it PUT stores a whole object`)
}

/** A piece of an upload that is to be joined later would replace the object by itself, and a checksum that nobody looks at vouches for nothing. @throws ApiError */
function demandKnownExtensions ({ request: { headers } }: PublicExchange): void {
  const unknown = ['upload-concat', 'upload-defer-length', 'upload-checksum'].find((name) => headers[name] !== undefined)
  if (unknown !== undefined) throw new ApiError(501, 'invalid', `${unknown} is not understood here; tus has creation, creation-with-upload and termination here`)
}

function numberIn (name: string, value: string | string[] | undefined): number {
  const number = typeof value === 'string' && /^\d{1,16}$/.test(value) ? Number(value) : NaN
  if (!Number.isSafeInteger(number)) throw new ApiError(400, 'invalid', `${name} is needed, a number of bytes`)
  return number
}

/** "name base64,name base64". */
function metadataIn (header: string | string[] | undefined): Readonly<Record<string, string>> {
  const pairs = String(header ?? '').split(',').map((pair) => pair.trim().split(' '))
  return Object.fromEntries(pairs.map(([name = '', value = '']) => [name, Buffer.from(value, 'base64').toString('utf8')]))
}

function nameIn (filename: string | undefined): string {
  const name = filename?.split('/').at(-1) ?? ''
  if (name === '') throw new ApiError(400, 'invalid', 'an upload into a folder says its filename in Upload-Metadata')
  return name
}
