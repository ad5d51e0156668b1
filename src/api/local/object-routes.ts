import type { IncomingHttpHeaders } from 'node:http'
import type { ObjectInfo, ObjectName, PutOptions } from '../../objects/index.ts'
import { lentBodyOf } from '../server/body.ts'
import { type Exchange, requireMethod, sendJson } from './context.ts'
import { ApiError } from '../errors.ts'
import { demandWholeBody } from '../content-range.ts'
import { headerText } from '../header-text.ts'
import { metadataHeaders, metadataIn } from '../metadata-headers.ts'
import { byteRangeOf } from '../range-header.ts'
import { streamed } from '../server/streamed.ts'

const maxTransferIdLength = 64

/** PUT/GET/HEAD/DELETE /v1/objects/BUCKET/KEY */
export async function objectRoute (exchange: Exchange, target: ObjectName): Promise<void> {
  requireMethod(exchange, 'GET', 'HEAD', 'PUT', 'DELETE')
  switch (exchange.request.method) {
    case 'PUT': return putObject(exchange, target)
    case 'HEAD': return headObject(exchange, target)
    case 'DELETE': return deleteObject(exchange, target)
    default: return getObject(exchange, target)
  }
}

/** GET /v1/objects/BUCKET; with `versions=true` what is kept of each key too. */
export async function listRoute (exchange: Exchange, bucket: string): Promise<void> {
  requireMethod(exchange, 'GET', 'HEAD')
  const { query, signal, node: { objects: store } } = exchange
  const [limit, after] = [query.get('limit'), query.get('after') ?? undefined]
  const wanted = { signal, prefix: query.get('prefix') ?? undefined, delimiter: query.get('delimiter') ?? undefined, limit: limit === null ? undefined : Number(limit) }
  if (query.get('versions') === 'true') {
    const { versions, ...page } = await store.listVersions(bucket, { ...wanted, after: after === undefined ? undefined : { key: after, versionId: query.get('after-version') ?? undefined } })
    sendJson(exchange, { versions: versions.map(shown), ...page })
    return
  }
  const { objects, ...page } = await store.list(bucket, { ...wanted, after })
  sendJson(exchange, { objects: objects.map(shown), ...page })
}

/** An object in JSON. Attributes, among them digests in bytes, are of other faces' clients. */
export const shown = <Info extends ObjectInfo>({ attributes: _, isNullVersion: __, ...info }: Info): Omit<Info, 'attributes' | 'isNullVersion'> => info

async function putObject (exchange: Exchange, target: ObjectName): Promise<void> {
  const { node, request, signal, askedBy } = exchange
  demandWholeBody(request.headers)
  const source = copySourceIn(request.headers)
  if (source !== undefined) {
    const { ifMatch, ifNoneMatch } = putOptionsOf(exchange)
    sendJson(exchange, shown(await node.objects.copy(source, target, { ifMatch, ifNoneMatch, signal })), { status: 201 })
    return
  }
  const info = await node.objects.put(target, lentBodyOf(exchange), { ...putOptionsOf(exchange), askedBy, signal })
  exchange.response.setHeader('etag', `"${info.etag}"`)
  sendJson(exchange, shown(info), { status: 201 })
}

/** `x-dfs-copy-source: /BUCKET/KEY`, percent-encoded: what a PUT without a body stores again. @throws ApiError */
export function copySourceIn ({ 'x-dfs-copy-source': header }: IncomingHttpHeaders): ObjectName | undefined {
  if (header === undefined) return undefined
  const [, bucket, key] = /^\/?([^/]+)\/(.+)$/.exec(String(header)) ?? []
  if (bucket === undefined || key === undefined) throw new ApiError(400, 'invalid', 'x-dfs-copy-source takes /BUCKET/KEY')
  try { return { bucket: decodeURIComponent(bucket), key: decodeURIComponent(key) } } catch {
    throw new ApiError(400, 'invalid', 'x-dfs-copy-source is not well-formed percent-encoded UTF-8')
  }
}

function putOptionsOf ({ request: { headers } }: Exchange): PutOptions {
  const ifNoneMatch = headers['if-none-match']
  if (ifNoneMatch !== undefined && ifNoneMatch !== '*') throw new ApiError(400, 'invalid', 'If-None-Match of a PUT takes *')
  const length = headers['content-length']
  return { contentType: headers['content-type'], metadata: metadataIn(headers), ifMatch: etagIn(headers['if-match']), ifNoneMatch, sizeBytes: length === undefined ? undefined : Number(length) }
}

async function getObject (exchange: Exchange, target: ObjectName): Promise<void> {
  const { request, response, node, signal, transfers } = exchange
  const range = byteRangeOf(request.headers.range)
  const reading = await node.objects.get(target, { signal, range, ifMatch: etagIn(request.headers['if-match']), versionId: versionIn(exchange) })
  const transfer = String(request.headers['x-dfs-transfer'] ?? '')
  if (transfer !== '' && transfer.length <= maxTransferIdLength) transfers.remember(transfer, reading.sources)
  if (isFresh(exchange, reading.info)) { response.writeHead(304, { etag: `"${reading.info.etag}"` }).end(); return }
  try {
    await streamed(exchange, reading, { headers: headersOf(reading.info), isPart: range !== undefined })
  } catch (error) {
    transfers.broke(transfer, error)
    throw error
  }
}

async function headObject (exchange: Exchange, target: ObjectName): Promise<void> {
  const info = await exchange.node.objects.head(target, { signal: exchange.signal, versionId: versionIn(exchange) })
  exchange.response.writeHead(200, { ...headersOf(info), 'content-length': info.sizeBytes }).end()
}

async function deleteObject (exchange: Exchange, target: ObjectName): Promise<void> {
  const { wasThere: removed } = await exchange.node.objects.remove(target, { signal: exchange.signal, ifMatch: etagIn(exchange.request.headers['if-match']), versionId: versionIn(exchange) })
  sendJson(exchange, { removed })
}

/** Which one is meant; undefined: the current one. */
export const versionIn = ({ query }: Pick<Exchange, 'query'>): string | undefined => query.get('version') ?? undefined

function headersOf (info: ObjectInfo): Record<string, string> {
  const { retention, isHeld } = info.attributes
  return {
    ...retention === undefined ? {} : { 'x-dfs-retention': retention.mode, 'x-dfs-retain-until': new Date(retention.untilMs).toISOString() },
    ...isHeld === true ? { 'x-dfs-hold': 'on' } : {},
    etag: `"${info.etag}"`,
    'accept-ranges': 'bytes',
    'content-type': headerText(info.contentType ?? 'application/octet-stream'),
    'last-modified': new Date(info.modified).toUTCString(),
    'x-dfs-modified': info.modified,
    'x-dfs-version': info.versionId,
    'x-content-type-options': 'nosniff',
    ...metadataHeaders(info.metadata),
  }
}

function isFresh ({ request }: Exchange, info: ObjectInfo): boolean {
  const header = request.headers['if-none-match']
  return header !== undefined && (header === '*' || header.split(',').some((tag) => etagIn(tag.trim()) === info.etag))
}

const etagIn = (header: string | undefined): string | undefined => header?.replace(/^W\//, '').replace(/^"(.*)"$/, '$1')
