import type { OutgoingHttpHeaders } from 'node:http'
import type { ObjectInfo, ObjectName, ObjectReading, Objects } from '../../objects/index.ts'
import { mayBePart, openedFor, representationOf, verdictOf } from '../conditions.ts'
import { ApiError } from '../errors.ts'
import { headerText } from '../header-text.ts'
import type { PublicExchange } from '../server/public-listener.ts'
import { byteRangeOf } from '../range-header.ts'
import { streamed } from '../server/streamed.ts'
import { attachmentOf, contentTypeOf, isHarmless, sandbox } from './content-type.ts'

export interface SendOptions {
  /** Anybody may read it, and pages of other origins may show it. */
  readonly isPublic: boolean
  /** To be kept as a file, whatever it is, and not opened here. */
  readonly asFile?: boolean
  /** At a host of its own, where it may run. */
  readonly isSite?: boolean
  /** Whole, whatever parts and conditions are asked for. */
  readonly isWhole?: boolean
  readonly onBegun?: () => Promise<void>
}

/** Answers a GET or HEAD of an object: whole, a part, or that it has not changed (RFC 9110). Bytes go out as they were stored. */
export async function sendObject (exchange: PublicExchange, objects: Objects, target: ObjectName, options: SendOptions): Promise<void> {
  const { request, response, signal } = exchange
  const isHead = request.method === 'HEAD'
  // of a HEAD there are no parts (RFC 9110 §14.2)
  const wanted = isHead || options.isWhole === true ? undefined : byteRangeOf(request.headers.range)
  const { info, reading } = isHead ? { info: await objects.head(target, { signal }), reading: undefined } : await openedFor(objects, target, { signal, range: wanted })
  const representation = representationOf(info)
  const headers = headersOf(info, options)
  const verdict = options.isWhole === true ? 'send' : verdictOf(request.headers, representation)
  if (verdict === 'failed') throw new ApiError(412, 'conflict', 'the object is not what the condition asks for')
  if (verdict === 'not-modified') { response.writeHead(304, { etag: headers.etag, 'last-modified': headers['last-modified'], 'cache-control': headers['cache-control'] }).end(); return }
  if (isHead) { response.writeHead(200, { ...headers, 'content-length': info.sizeBytes }).end(); return }
  const isPart = wanted !== undefined && mayBePart(request.headers, representation)
  if (isPart && reading === undefined) throw noSuchRange(exchange, info)
  const whole = isPart ? reading : wanted === undefined ? reading : await objects.get(target, { signal, ifMatch: info.etag })
  await streamed(exchange, whole as ObjectReading, { headers, isPart, onBegun: options.onBegun })
}

function noSuchRange ({ response }: PublicExchange, { sizeBytes }: ObjectInfo): ApiError {
  response.setHeader('content-range', `bytes */${sizeBytes}`)
  return new ApiError(416, 'invalid', `the object has ${sizeBytes} bytes, and none of those that are asked for`)
}

function headersOf (info: ObjectInfo, { isPublic, asFile = false, isSite = false }: SendOptions): OutgoingHttpHeaders {
  const contentType = contentTypeOf(info)
  const { 'website-redirect-location': _, ...stored } = Object.fromEntries(Object.entries(info.attributes.headers ?? {}).map(([name, value]) => [name, headerText(value)]))
  return {
    ...stored,
    'content-type': headerText(contentType),
    etag: `"${info.etag}"`,
    'last-modified': new Date(info.modified).toUTCString(),
    'accept-ranges': 'bytes',
    // it may change at any time: what is kept is asked about
    'cache-control': isPublic ? stored['cache-control'] ?? 'no-cache' : 'private, no-cache',
    vary: 'authorization, origin',
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
    'cross-origin-resource-policy': isPublic ? 'cross-origin' : 'same-origin',
    ...(isSite || (isHarmless(contentType) && !asFile) ? {} : { 'content-security-policy': sandbox }),
    ...(asFile ? { 'content-disposition': attachmentOf(info.key.split('/').findLast((part) => part !== '') ?? info.key) } : {}),
  }
}
