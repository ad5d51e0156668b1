import { cors } from '@connectrpc/connect'
import type { Config } from '../config.ts'
import { bucketFor } from './bucket-for.ts'
import { etagOfWrite } from './conditions.ts'
import { type Exchange, sendJson } from './local/context.ts'
import { ApiError } from './errors.ts'
import type { Gate, Wish } from './gate.ts'
import { jsonRefusalOf } from './local/json-refusal.ts'
import { copySourceIn } from './local/object-routes.ts'
import type { PublicExchange, PublicFace } from './server/public-listener.ts'
import { route, type RouteOptions, segmentsOf } from './local/router.ts'
import { rpcFace, rpcRefusalOf } from './rpc/face.ts'
import { type Permit, permitOf } from './rpc/permit.ts'
import type { RpcParts } from './rpc/service.ts'
import { Transfers } from './local/transfers.ts'

export interface PublicApiParts extends Pick<RpcParts, 'node' | 'clock'> {
  readonly config: Pick<Config, 'rpcOrigins' | 'rpcReflection'>
  readonly gate: Gate
}

/**
 * Objects and buckets for programs elsewhere: by gRPC, gRPC-Web and Connect, and by the routes of the HTTP API for them, each as far as the access key that is
 * shown has rights. What concerns the cluster is the local API's alone.
 */
export function publicApiFace ({ node, clock, config, gate }: PublicApiParts): PublicFace {
  const rpc = rpcFace<PublicExchange>({ node, clock, ...nothingOfTheNode, reflection: config.rpcReflection, offers: 'objects', permitOf: async (exchange) => permitOf(exchange, gate) })
  const transfers = new Transfers()
  return {
    async answer (exchange) {
      const { path, rawQuery, request, response } = exchange
      const isPreflight = request.method === 'OPTIONS'
      if (request.headers.origin !== undefined) allowOrigin(exchange, request.headers.origin)
      if (isPreflight) { response.writeHead(204).end(); return }
      if (rpc.has(path)) return rpc.answer(exchange)
      const permit = await permitOf(exchange, gate)
      await answerByHttp({ ...exchange, node, transfers, query: new URLSearchParams(rawQuery), askedBy: permit.askedBy, permit }, permit)
    },
    refusalOf: (error, incoming) => rpc.has(incoming.path) ? rpcRefusalOf(error, incoming) : jsonRefusalOf(error, incoming.request),
    allowsOrigin: (origin) => config.rpcOrigins.includes(origin),
  }
}

const nothingOfTheNode: RouteOptions = { describeConfig: () => ({}), stop: () => {}, shareBase: () => undefined }

async function answerByHttp (exchange: Exchange, permit: Permit): Promise<void> {
  const { node: { objects }, path, request, response, signal } = exchange
  const [area, ...names] = segmentsOf(path)
  response.setHeader('cache-control', 'no-store')
  if (area === 'buckets' && names.length === 0 && request.method === 'GET') {
    sendJson(exchange, { buckets: (await objects.listBuckets({ signal })).filter(({ name }) => permit.mayEnter(name)) })
    return
  }
  if (area === 'buckets' && names.length === 1 && request.method === 'GET') {
    const name = names[0] ?? ''
    permit.demandEntry(name)
    sendJson(exchange, await bucketFor(permit, await objects.bucket(name, { signal })))
    return
  }
  const wish = wishOf(exchange, area, names)
  if (wish === undefined) throw new ApiError(404, 'not-found', 'there is nothing at this path; here are /v1/objects, /v1/buckets, /v1/watch of a bucket and the calls of dfs.v1')
  await permit.demand(wish)
  // whether an ETag holds tells what is in the object to whoever guesses
  if (wish.action === 'write' && (etagOfWrite(request.headers['if-match']) ?? '*') !== '*') await permit.demand({ action: 'read', bucket: wish.bucket, key: wish.key })
  const source = area === 'objects' ? copySourceIn(request.headers) : undefined
  if (source !== undefined) await permit.demand({ action: 'read', ...source })
  return route(exchange, nothingOfTheNode)
}

/** What a request of the HTTP API wants to do to objects; undefined: something else. */
function wishOf ({ request: { method = '' }, query }: Exchange, area: string | undefined, [bucket = '', ...key]: readonly string[]): Wish | undefined {
  const reads = method === 'GET' || method === 'HEAD'
  // a watch names one
  if (area === 'watch') return query.has('bucket') ? { action: 'list', bucket: query.get('bucket') ?? '', key: query.get('prefix') ?? '' } : undefined
  if (bucket === '') return undefined
  if (area === 'buckets') return key.length > 0 ? undefined : { action: 'admin', bucket, key: '' }
  if (area !== 'objects') return undefined
  if (key.length === 0) return { action: 'list', bucket, key: query.get('prefix') ?? '', isOfVersions: query.get('versions') === 'true' }
  return { action: reads ? 'read' : 'write', bucket, key: key.join('/'), isOfVersions: query.has('version') }
}

/** The listener has found that this origin may ask. */
function allowOrigin ({ request, response }: PublicExchange, origin: string): void {
  response.setHeader('access-control-allow-origin', origin)
  response.setHeader('vary', 'origin')
  response.setHeader('access-control-allow-methods', 'GET, HEAD, POST, PUT, PATCH, DELETE')
  response.setHeader('access-control-allow-headers', [...cors.allowedHeaders, 'authorization', 'range', 'if-match', 'if-none-match', 'x-dfs-transfer', 'x-dfs-copy-source', ...metadataNamesIn(request.headers['access-control-request-headers'])].join(', '))
// metadata has any name; a wildcard holds where no cookies are sent, and there are none here
  response.setHeader('access-control-expose-headers', '*')
  response.setHeader('access-control-max-age', String(corsLimits.maxAgeSeconds))
}

// browsers take no wildcard where credentials are sent
const metadataNamesIn = (header = ''): string[] => header.split(',').map((name) => name.trim().toLowerCase()).filter((name) => /^x-dfs-meta-[\w-]{1,64}$/.test(name))

export const corsLimits = {
  /** How long a browser goes by what it was told. */
  maxAgeSeconds: 600,
} as const
