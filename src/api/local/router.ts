import type { Exchange } from './context.ts'
import { ApiError } from '../errors.ts'
import { adminRoute, bucketRoute, cacheRoute, configRoute, doctorRoute, forgetLostRoute, inspectRoute, inviteRoute, layoutRoute, metricsRoute, peersRoute, rotateKeysRoute, statusRoute, stopRoute, transferRoute, watchRoute } from './node-routes.ts'
import { changesRoute, memberRoute } from './member-routes.ts'
import { keyRoute } from './key-routes.ts'
import { lockRoute } from './lock-routes.ts'
import { listRoute, objectRoute } from './object-routes.ts'
import { verifyRoute } from './verify-route.ts'
import { workRoute } from './work-route.ts'
import { shareRoute } from './share-routes.ts'

export interface RouteOptions {
  /** URL of this cluster's HTTP face, as its users reach it, without a slash at the end; undefined: it is off here. */
  readonly shareBase: () => string | undefined
  /** What /v1/config answers. */
  readonly describeConfig: () => unknown
  /** Begins a graceful stop. */
  readonly stop: () => void
}

/** Finds the route of an authenticated request and runs it. @throws ApiError for a path that nobody answers */
export async function route (exchange: Exchange, options: RouteOptions): Promise<void> {
  const [area, name, ...key] = segmentsOf(exchange.path)
  if (name !== undefined && key.length + 1 > (depths.get(area) ?? 0)) throw nothingThere()
  demandKnownQuery(exchange, area === 'members' && key[0] === 'heir' ? [] : queries.get(area) ?? [])
  switch (area) {
    case 'objects':
      if (name === undefined) break
      return key.length === 0 ? listRoute(exchange, name) : objectRoute(exchange, { bucket: name, key: key.join('/') })
    case 'locks':
      if (name === undefined || key.length === 0) break
      return lockRoute(exchange, { bucket: name, key: key.join('/') })
    case 'buckets': return bucketRoute(exchange, name)
    case 'invites': return inviteRoute(exchange, key.length === 0 ? name : [name, ...key].join('/'))
    case 'members':
      if (name === undefined) break
      return memberRoute(exchange, name, key[0])
    case 'changes': return changesRoute(exchange)
    case 'layout': return layoutRoute(exchange)
    case 'cluster':
      if (name === 'forget-lost') return forgetLostRoute(exchange)
      if (name === 'rotate-keys') return rotateKeysRoute(exchange)
      break
    case 'admins': return adminRoute(exchange, name)
    case 'shares': return shareRoute(exchange, name, options.shareBase)
    case 'keys': return keyRoute(exchange, name)
    case 'status': return statusRoute(exchange)
    case 'peers': return peersRoute(exchange)
    case 'repair': return workRoute(exchange, 'repair')
    case 'doctor': return doctorRoute(exchange)
    case 'verify': return verifyRoute(exchange)
    case 'scrub': return workRoute(exchange, 'scrub')
    case 'collect': return workRoute(exchange, 'collect')
    case 'convert': return workRoute(exchange, 'convert')
    case 'compare': return workRoute(exchange, 'compare')
    case 'announce': return workRoute(exchange, 'announce')
    case 'cache': return cacheRoute(exchange)
    case 'watch': return watchRoute(exchange)
    case 'metrics': return metricsRoute(exchange)
    case 'transfers':
      if (name === undefined) break
      return transferRoute(exchange, name)
    case 'inspect': return inspectRoute(exchange)
    case 'config': return configRoute(exchange, options.describeConfig)
    case 'stop': return stopRoute(exchange, options.stop)
    case undefined:
  }
  throw nothingThere()
}

const nothingThere = (): ApiError => new ApiError(404, 'not-found', 'there is nothing at this path')

/** Segments behind the area that a path has at the most: what is at a longer one would be done to something else. Default: none. */
const depths: ReadonlyMap<string | undefined, number> = new Map([['objects', Infinity], ['locks', Infinity], ['invites', Infinity], ['members', 2], ['cluster', 1], ['buckets', 1], ['admins', 1], ['shares', 1], ['keys', 1], ['transfers', 1]])

/** What the query of a request that changes something may say. */
const queries: ReadonlyMap<string | undefined, readonly string[]> = new Map([['objects', ['version']], ['locks', ['version']], ['members', ['dry-run']]])

/** A version that is misspelt would be the current one, and a dry run a removal. @throws ApiError */
function demandKnownQuery ({ request: { method }, query }: Exchange, known: readonly string[]): void {
  if (method === 'GET' || method === 'HEAD') return
  const names = [...query.keys()]
  const other = names.find((name, i) => !known.includes(name) || names.indexOf(name) !== i)
  if (other !== undefined) throw new ApiError(400, 'invalid', `"${other.slice(0, 40)}" in the query is ${known.includes(other) ? 'there twice' : 'not known here'}, so nothing was done`)
}

// split before decoding: an encoded slash belongs to a key; empty segments do too ("a//b"), so only the leading "/v1/" goes
export function segmentsOf (path: string): string[] {
  if (!path.startsWith('/v1/')) return []
  try {
    return path.slice('/v1/'.length).split('/').map(decodeURIComponent)
  } catch {
    throw new ApiError(400, 'invalid', 'the path is not well-formed percent-encoded UTF-8')
  }
}
