import { NotFound } from '../../base/errors.ts'
import type { ObjectInfo, ObjectName, Objects, Website } from '../../objects/index.ts'
import { requireMethod } from '../local/context.ts'
import { ApiError } from '../errors.ts'
import type { Gate } from '../gate.ts'
import { headerText } from '../header-text.ts'
import { hostNameOf } from '../server/hosts.ts'
import type { PublicExchange } from '../server/public-listener.ts'
import { streamed } from '../server/streamed.ts'
import { contentTypeOf } from './content-type.ts'
import { plainHeaders } from './html.ts'
import { keyOf } from './paths.ts'
import { sendObject } from './send-object.ts'

/** The bucket that a host names: what stands before a name of which all below is allowed, or before localhost; of a name that is this server's whole, none. Every such site is an origin of its own. */
export function siteBucketOf (host: string | undefined, hosts: readonly string[]): string | undefined {
  const name = hostNameOf(host ?? '')
  if (hosts.some((rule) => rule.toLowerCase() === name)) return undefined
  const domains = [...hosts.filter((rule) => rule.startsWith('*.')).map((rule) => rule.slice(2).toLowerCase()), 'localhost']
  const domain = domains.find((one) => name?.endsWith(`.${one}`))
  return domain === undefined ? undefined : name?.slice(0, -domain.length - 1)
}

export interface SiteParts {
  readonly objects: Objects
  readonly gate: Gate
}

/**
 * A public-read bucket as a website: index and error documents, redirects. What it serves runs scripts, so it stands at a host of its own, where no other bucket
 * and no credential is in reach; keys shown there count for nothing.
 */
export async function sendSite (exchange: PublicExchange, { objects, gate }: SiteParts, bucket: string): Promise<void> {
  requireMethod(exchange, 'GET', 'HEAD')
  const website = await websiteOf(exchange, objects, bucket)
  const key = keyOf(exchange.path)
  const wanted = key === '' || key.endsWith('/') ? `${key}${website.index ?? 'index.html'}` : key
  if (website.redirectAllTo !== undefined) { redirect(exchange, 301, `${website.redirectAllTo.protocol ?? 'http'}://${website.redirectAllTo.host}${exchange.path}`); return }
  await demandOpen(exchange, gate, { bucket, key: wanted })
  try {
    const elsewhere = await redirectOf(exchange, objects, { bucket, key: wanted })
    if (elsewhere === undefined) await sendObject(exchange, objects, { bucket, key: wanted }, { isPublic: true, isSite: true })
    else redirect(exchange, 301, elsewhere)
  } catch (error) {
    if (!(error instanceof NotFound)) throw error
    if (wanted === key && await isThere(exchange, objects, { bucket, key: `${key}/${website.index ?? 'index.html'}` })) { redirect(exchange, 302, `${exchange.path}/`); return }
    if (website.error === undefined) throw error
    await demandOpen(exchange, gate, { bucket, key: website.error })
    await sendErrorDocument(exchange, objects, { bucket, key: website.error }, error)
  }
}

async function websiteOf ({ signal }: PublicExchange, objects: Objects, bucket: string): Promise<Website> {
  const settings = await settingsOf(objects, bucket, signal)
  if (settings?.website === undefined) throw noWebsite()
  return settings.website
}

const noWebsite = (): ApiError => new ApiError(404, 'not-found', 'there is no website here')

/** A site is for everybody, so what is not open to everybody is not on it. */
async function demandOpen ({ isSecure }: PublicExchange, gate: Gate, target: ObjectName): Promise<void> {
  if (await gate.judge({ action: 'read', ...target }, { keyId: undefined, isSecure }) !== 'allow') throw noWebsite()
}

async function settingsOf (objects: Objects, bucket: string, signal: AbortSignal) {
  try { return (await objects.bucket(bucket, { signal })).settings } catch (error) {
    if (error instanceof NotFound) return undefined
    throw error
  }
}

async function redirectOf ({ signal }: PublicExchange, objects: Objects, target: { bucket: string, key: string }): Promise<string | undefined> {
  const { attributes } = await objects.head(target, { signal })
  const location = attributes.headers?.['website-redirect-location']
  return location !== undefined && /^(\/(?!\/)|https?:\/\/)[\x21-\x7e]*$/.test(location) ? location : undefined
}

async function isThere ({ signal }: PublicExchange, objects: Objects, target: { bucket: string, key: string }): Promise<boolean> {
  try { await objects.head(target, { signal }); return true } catch (error) {
    if (error instanceof NotFound) return false
    throw error
  }
}

function redirect ({ response }: PublicExchange, status: 301 | 302, location: string): void {
  response.writeHead(status, { location: location.replace(/^\/{2,}/, '/'), 'content-length': 0, ...plainHeaders }).end()
}

/** @throws `instead` where there is no such document */
async function sendErrorDocument (exchange: PublicExchange, objects: Objects, target: { bucket: string, key: string }, instead: Error): Promise<void> {
  const { request, response, signal } = exchange
  const reading = await objects.get(target, { signal }).catch((error: unknown) => { throw error instanceof NotFound ? instead : error })
  const headers = { 'content-type': headerText(contentTypeOf(reading.info as ObjectInfo)), ...plainHeaders, 'cache-control': 'no-cache' }
  if (request.method === 'HEAD') response.writeHead(404, { ...headers, 'content-length': reading.info.sizeBytes }).end()
  else await streamed(exchange, reading, { headers, status: 404 })
}
