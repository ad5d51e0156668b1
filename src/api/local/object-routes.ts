import type { IncomingHttpHeaders } from 'node:http'
import { Conflict } from '../../base/errors.ts'
import type { ObjectInfo, ObjectName, ObjectReading, PutOptions } from '../../objects/index.ts'
import { demandKnownConditions, etagOfWrite, mayBePart, openedFor, representationOf, verdictOf } from '../conditions.ts'
import { lentBodyOf } from '../server/body.ts'
import { type Exchange, requireMethod, sendJson } from './context.ts'
import { ApiError } from '../errors.ts'
import { demandWholeBody } from '../content-range.ts'
import { headerText } from '../header-text.ts'
import { metadataHeaders, metadataIn } from '../metadata-headers.ts'
import { byteRangeOf } from '../range-header.ts'
import { streamed } from '../server/streamed.ts'
import { demandTags, tagsAlong } from '../tags-along.ts'

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
  const [limit, after, versions] = [query.get('limit'), query.get('after') ?? undefined, query.get('versions') ?? 'false']
  if (versions !== 'true' && versions !== 'false') throw new ApiError(400, 'invalid', `versions is "${versions.slice(0, 40)}"; it takes true or false`)
  if (after === undefined && query.has('after-version')) throw new ApiError(400, 'invalid', 'after-version is of a key: say after too')
  const wanted = { signal, prefix: query.get('prefix') ?? undefined, delimiter: query.get('delimiter') ?? undefined, limit: limit === null ? undefined : Number(limit) }
  if (versions === 'true') {
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
  const { node, request, signal, askedBy, permit } = exchange
  demandWholeBody(request.headers)
  if (versionIn(exchange) !== undefined) throw new ApiError(400, 'invalid', 'a PUT makes a version of its own, and takes none')
  const source = copySourceIn(request.headers)
  if (source !== undefined) {
    const { ifMatch, ifNoneMatch } = putOptionsOf(exchange)
    demandNothingBeside(request)
    const tags = permit === undefined ? {} : await tagsAlong(node.objects, { source, target, demand: demandTags(permit, { source, target }), signal })
    sendJson(exchange, shown(await node.objects.copy(source, target, { ...tags, ifMatch, ifNoneMatch, signal })), { status: 201 })
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

/** A copy has the content of its source, and what is beside it. @throws ApiError for what would be passed over */
function demandNothingBeside ({ headers }: Exchange['request']): void {
  const hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
  if (hasBody || headers['content-type'] !== undefined || headers['content-encoding'] !== undefined || Object.keys(metadataIn(headers)).length > 0) throw new ApiError(400, 'invalid', 'a copy (x-dfs-copy-source) has the bytes, the type and the metadata of its source, and takes none with it')
}

function putOptionsOf ({ request: { headers } }: Exchange): PutOptions {
  const ifNoneMatch = headers['if-none-match']
  if (ifNoneMatch !== undefined && ifNoneMatch !== '*') throw new ApiError(400, 'invalid', 'If-None-Match of a PUT takes *')
  const [length, encoding] = [headers['content-length'], headers['content-encoding']]
  return { contentType: headers['content-type'], ...encoding === undefined ? {} : { headers: { 'content-encoding': encoding } }, metadata: metadataIn(headers), ifMatch: ifMatchIn(headers), ifNoneMatch, sizeBytes: length === undefined ? undefined : Number(length) }
}

/** Of a write. @throws ApiError */
function ifMatchIn (headers: IncomingHttpHeaders): string | undefined {
  demandKnownConditions(headers)
  const etag = etagOfWrite(headers['if-match'])
  if (etag === null) throw new ApiError(400, 'invalid', 'If-Match of a write takes * or one strong ETag in quotes')
  return etag
}

async function getObject (exchange: Exchange, target: ObjectName): Promise<void> {
  const { request: { headers }, node: { objects }, signal, transfers } = exchange
  const [range, versionId] = [byteRangeOf(headers.range), versionIn(exchange)]
  const { info, reading, failure } = await openedFor(objects, target, { signal, range, versionId })
  if (isAnswered(exchange, info)) return
  const isPart = range !== undefined && mayBePart(headers, representationOf(info))
  if (isPart && failure !== undefined) throw failure
  const found = isPart || range === undefined ? reading as ObjectReading : await objects.get(target, { signal, versionId, ifMatch: info.etag })
  const transfer = String(headers['x-dfs-transfer'] ?? '')
  if (transfer !== '' && transfer.length <= maxTransferIdLength) transfers.remember(transfer, found.sources)
  try {
    await streamed(exchange, found, { headers: headersOf(info), isPart })
  } catch (error) {
    transfers.broke(transfer, error)
    throw error
  }
}

async function headObject (exchange: Exchange, target: ObjectName): Promise<void> {
  const info = await exchange.node.objects.head(target, { signal: exchange.signal, versionId: versionIn(exchange) })
  if (isAnswered(exchange, info)) return
  exchange.response.writeHead(200, { ...headersOf(info), 'content-length': info.sizeBytes }).end()
}

/** Whether conditions say so. @throws Conflict where one does not hold */
function isAnswered ({ request: { headers }, response }: Exchange, info: ObjectInfo): boolean {
  const verdict = verdictOf(headers, representationOf(info))
  if (verdict === 'failed') throw new Conflict(`the object has changed: its etag is ${info.etag}`)
  if (verdict === 'not-modified') response.writeHead(304, { etag: `"${info.etag}"` }).end()
  return verdict === 'not-modified'
}

async function deleteObject (exchange: Exchange, target: ObjectName): Promise<void> {
  const { node, signal, request: { headers } } = exchange
  if (headers['if-none-match'] !== undefined) throw new ApiError(400, 'invalid', 'a DELETE takes If-Match, and no If-None-Match: what is not there cannot be removed')
  const { wasThere: removed } = await node.objects.remove(target, { signal, ifMatch: ifMatchIn(headers), versionId: versionIn(exchange) })
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
