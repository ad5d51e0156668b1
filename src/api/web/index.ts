import type { Clock } from '../../base/clock.ts'
import type { ObjectName, Objects, Shares } from '../../objects/index.ts'
import { lentBodyOf } from '../server/body.ts'
import { requireMethod, sendJson } from '../local/context.ts'
import { shown } from '../local/object-routes.ts'
import { ApiError } from '../errors.ts'
import { demandKnownConditions, etagOfWrite } from '../conditions.ts'
import { demandWholeBody } from '../content-range.ts'
import { admitted, type Gate } from '../gate.ts'
import type { PublicExchange, PublicFace } from '../server/public-listener.ts'
import { allowsOrigin } from './cors.ts'
import { folderLimits, folderPage } from './folder-page.ts'
import { pageHeaders } from './html.ts'
import { pathOf, targetOf } from './paths.ts'
import { webRefusalOf } from './refusal.ts'
import { sendObject } from './send-object.ts'
import { isSharePath, shareDoor } from './share.ts'
import { sendSite, siteBucketOf } from './site.ts'
import { beginUpload, continueUpload, isUploadPath, tellTus } from './tus.ts'

export interface WebParts {
  readonly objects: Objects
  readonly gate: Gate
  readonly shares: Shares
  readonly clock: Clock
  /** Names below which every one is a bucket's website, as "*.NAME". */
  readonly hosts?: readonly string[]
}

/** Objects by plain HTTP, for browsers, players and download tools: GET /BUCKET/KEY, and pages of what is in a folder (docs/HTTP.md). */
export function webFace (parts: WebParts): PublicFace {
  const share = shareDoor(parts)
  return {
    answer: async (exchange) => isSharePath(exchange.path) && siteOf(parts, exchange) === undefined ? share(exchange) : routed(parts, exchange),
    refusalOf: webRefusalOf,
    allowsOrigin: async (origin, incoming) => allowsOrigin(parts, origin, incoming),
  }
}

async function routed (parts: WebParts, exchange: PublicExchange): Promise<void> {
  const site = siteOf(parts, exchange)
  if (site !== undefined) return sendSite(exchange, parts, site)
  const { method } = exchange.request
  if (method === 'OPTIONS') { tellTus(exchange); return }
  if (isUploadPath(exchange.path)) return continueUpload(parts, exchange)
  const { bucket, key } = targetOf(exchange.path)
  if (bucket === '') throw new ApiError(404, 'not-found', 'objects are at /BUCKET/KEY')
  requireMethod(exchange, 'GET', 'HEAD', 'PUT', 'POST')
  if (method === 'POST') return beginUpload(parts, exchange, { bucket, key: key ?? '' })
  if (method === 'PUT') return storeFile(parts, exchange, { bucket, key: key ?? '' })
  if (key === undefined) { moved(exchange, pathOf(bucket, '')); return }
  if (key === '' || key.endsWith('/')) return sendFolder(parts, exchange, { bucket, key })
  return sendFile(parts, exchange, { bucket, key })
}

const siteOf = ({ hosts = [] }: WebParts, { request }: PublicExchange): string | undefined => siteBucketOf(request.headers.host, hosts)

async function sendFile (parts: WebParts, exchange: PublicExchange, { bucket, key }: ObjectName): Promise<void> {
  const { isPublic } = await admitted(exchange, parts.gate, { action: 'read', bucket, key })
  await sendObject(exchange, parts.objects, { bucket, key }, { isPublic })
}

function moved ({ response, rawQuery }: PublicExchange, path: string): void {
  response.writeHead(308, { location: rawQuery === '' ? path : `${path}?${rawQuery}`, 'content-length': 0 }).end()
}

async function storeFile ({ objects, gate }: WebParts, exchange: PublicExchange, target: ObjectName): Promise<void> {
  const { request: { headers }, response, signal } = exchange
  const { askedBy } = await admitted(exchange, gate, { action: 'write', ...target })
  demandWholeBody(headers)
  demandKnownConditions(headers)
  const [ifMatch, ifNoneMatch] = [headers['if-match'], headers['if-none-match']].map(etagOfWrite)
  if (ifMatch === null || ifNoneMatch === null) throw new ApiError(400, 'invalid', 'If-Match and If-None-Match of a PUT take * or one strong ETag in quotes')
  // the ETag is told by whether it holds
  if ((ifMatch ?? '*') !== '*' || (ifNoneMatch ?? '*') !== '*') await admitted(exchange, gate, { action: 'read', ...target })
  const length = headers['content-length']
  const encoding = headers['content-encoding']
  const info = await objects.put(target, lentBodyOf(exchange), {
    contentType: headers['content-type'], ...encoding === undefined ? {} : { headers: { 'content-encoding': encoding } }, ifMatch, ifNoneMatch, sizeBytes: length === undefined ? undefined : Number(length), askedBy, signal,
  })
  response.writeHead(201, { etag: `"${info.etag}"`, location: pathOf(target.bucket, target.key), 'content-length': 0 }).end()
}

async function sendFolder (parts: WebParts, exchange: PublicExchange, { bucket, key: prefix }: ObjectName): Promise<void> {
  const { objects, gate } = parts
  const { request, response, signal, rawQuery } = exchange
  await admitted(exchange, gate, { action: 'list', bucket, key: prefix })
  const after = new URLSearchParams(rawQuery).get('after') ?? undefined
  const page = await objects.list(bucket, { prefix, delimiter: '/', after, limit: folderLimits.pageEntries, signal })
  if (page.objects.length + page.prefixes.length === 0 && prefix !== '' && after === undefined) throw new ApiError(404, 'not-found', `there is nothing below "${prefix}" in bucket "${bucket}"`)
  // the empty ones whose key ends in a slash stand for folders
  if (page.objects[0]?.key === prefix && page.objects[0].sizeBytes > 0) return sendFile(parts, exchange, { bucket, key: prefix })
  response.setHeader('vary', 'accept, authorization, origin')
  if ((request.headers.accept ?? '').includes('application/json')) {
    response.setHeader('cache-control', 'no-store')
    sendJson(exchange, { ...page, objects: page.objects.map(shown) })
    return
  }
  const body = folderPage(bucket, prefix, page, { isFirst: after === undefined })
  response.writeHead(200, { ...pageHeaders(), 'content-length': body.byteLength }).end(body)
}
