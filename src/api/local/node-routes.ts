import { once } from 'node:events'
import { MalformedBytes } from '../../base/bytes.ts'
import { InvalidInput } from '../../base/errors.ts'
import { lastDateMs } from '../../base/iso-date.ts'
import { parsePeerId, type PeerId } from '../../base/peer-id.ts'
import type { InviteOptions } from '../../node.ts'
import type { BucketOptions, SettingsChange } from '../../objects/index.ts'
import { type Exchange, jsonBody, requireMethod, sendJson } from './context.ts'
import { ApiError } from '../errors.ts'
import { settingsChangeIn } from '../settings-change.ts'

/** GET /v1/buckets; PUT, PATCH, GET, DELETE /v1/buckets/NAME */
export async function bucketRoute (exchange: Exchange, name: string | undefined): Promise<void> {
  const { node: { objects }, request, signal, permit } = exchange
  requireMethod(exchange, 'GET', 'HEAD', ...(name === undefined ? [] : ['PUT', 'PATCH', 'DELETE']))
  if (name === undefined) {
    sendJson(exchange, { buckets: await objects.listBuckets({ signal }) })
  } else if (request.method === 'PUT') {
    sendJson(exchange, await objects.createBucket(name, bucketOptionsOf(await jsonBody(exchange)), { signal }), { status: 201 })
  } else if (request.method === 'PATCH') {
    const body = await jsonBody(exchange)
    await permit?.demand({ action: 'admin', bucket: name, key: '', changes: Object.keys(body) })
    const { settings, redundancy } = changeOf(name, body)
    const changed = settings === undefined ? undefined : await objects.setBucketSettings(name, settings, { signal })
    sendJson(exchange, redundancy === undefined ? changed : await objects.setRedundancy(name, redundancy, { signal }))
  } else if (request.method === 'DELETE') {
    await permit?.demand({ action: 'admin', bucket: name, key: '', changes: ['removal'] })
    await objects.removeBucket(name, { signal })
    sendJson(exchange, { removed: true })
  } else {
    sendJson(exchange, await objects.bucket(name, { signal }))
  }
}

const bucketFields: Readonly<Record<keyof BucketOptions, 'number' | 'boolean' | 'string'>> = { copies: 'number', shards: 'string', isPrivate: 'boolean', compression: 'string', chunking: 'string', dedup: 'string', degraded: 'string' }

/** What a bucket may be set to, beside its redundancy. */
const settingFields = ['versioning', 'ack', 'quotaBytes', 'quotaObjects', 'publicRead', 'lifecycle', 'cors', 'website', 'policy', 'objectLock', 'tags'] as const satisfies ReadonlyArray<keyof SettingsChange>

/** Settings, redundancy, or both. null takes a setting away. */
function changeOf (bucket: string, body: Readonly<Record<string, unknown>>): { settings: SettingsChange | undefined, redundancy: { copies: number } | { shards: string } | undefined } {
  const [settings, rest]: [Record<string, unknown>, Record<string, unknown>] = [{}, {}]
  for (const [name, value] of Object.entries(body)) {
    if (!(settingFields as readonly string[]).includes(name)) rest[name] = value
    else settings[name] = name === 'publicRead' && value === false ? null : value
  }
  const hasSettings = Object.keys(settings).length > 0
  return { settings: hasSettings ? settingsChangeIn(bucket, settings) : undefined, redundancy: hasSettings && Object.keys(rest).length === 0 ? undefined : redundancyOf(rest) }
}

function redundancyOf (body: Readonly<Record<string, unknown>>): { copies: number } | { shards: string } {
  const { copies, shards, ...rest } = bucketOptionsOf(body)
  const [other] = Object.keys(rest)
  if (other !== undefined) throw new InvalidInput(other, `${other} is chosen when a bucket is made; what can be changed is its redundancy, ${settingFields.join(', ')}`)
  if (shards !== undefined && copies === undefined) return { shards }
  if (copies !== undefined && shards === undefined) return { copies }
  throw new InvalidInput('redundancy', 'a bucket is set to either copies or shards')
}

function bucketOptionsOf (body: Readonly<Record<string, unknown>>): Partial<BucketOptions> {
  for (const [name, value] of Object.entries(body)) {
    const type = bucketFields[name as keyof BucketOptions] as string | undefined
    if (type === undefined) throw new InvalidInput(name, `a bucket has no option "${name}"; it has ${Object.keys(bucketFields).join(', ')}`)
    if (typeof value !== type) throw new InvalidInput(name, `${name} takes a ${type}, not ${JSON.stringify(value)}`)
  }
  return body as Partial<BucketOptions>
}

/** POST, GET /v1/invites; POST /v1/invites/revoke */
export async function inviteRoute (exchange: Exchange, action: string | undefined): Promise<void> {
  const { node, request, signal } = exchange
  if (action === 'revoke') {
    requireMethod(exchange, 'POST')
    const { invite } = await jsonBody(exchange)
    if (typeof invite !== 'string') throw new InvalidInput('invite', 'invite takes a token or a key')
    await node.revokeInvite(invite, { signal })
    sendJson(exchange, { revoked: true })
    return
  }
  if (action !== undefined) throw new ApiError(404, 'not-found', `invites have no "${action}"`)
  requireMethod(exchange, 'GET', 'HEAD', 'POST')
  if (request.method !== 'POST') sendJson(exchange, { invites: await node.invites({ signal }) })
  else sendJson(exchange, { tokens: await exchange.node.invite(inviteOptionsOf(await jsonBody(exchange))) }, { status: 201 })
}

const maxUses = 100

/** @throws InvalidInput */
export function inviteOptionsOf ({ uses = 1, role = 'member', notAfterMs, zone, ...others }: Readonly<Record<string, unknown>>): InviteOptions {
  const [other] = Object.keys(others)
  // a role that is misspelt would be that of a member, who is given the keys
  if (other !== undefined) throw new InvalidInput(other, `an invite has uses, role, notAfterMs and zone, and no "${other}"`)
  if (typeof uses !== 'number' || !Number.isInteger(uses) || uses < 1 || uses > maxUses) throw new InvalidInput('uses', `uses is ${JSON.stringify(uses)}; it takes 1 to ${maxUses}`)
  if (role !== 'member' && role !== 'storage' && role !== 'witness') throw new InvalidInput('role', `role is ${JSON.stringify(role)}; it takes member, storage or witness`)
  if (notAfterMs !== undefined && !(typeof notAfterMs === 'number' && Number.isSafeInteger(notAfterMs) && notAfterMs > 0 && notAfterMs <= lastDateMs)) throw new InvalidInput('expires', `${JSON.stringify(notAfterMs)} is no time in milliseconds`)
  if (zone !== undefined && !(typeof zone === 'string' && /^[\w.-]{1,64}$/.test(zone))) throw new InvalidInput('zone', `zone is ${JSON.stringify(zone)}; it takes 1-64 letters, digits, dots, hyphens and underscores`)
  return { uses, role, notAfterMs, zone }
}

/** POST /v1/cluster/rotate-keys */
export async function rotateKeysRoute (exchange: Exchange): Promise<void> {
  requireMethod(exchange, 'POST')
  sendJson(exchange, await exchange.node.rotateKeys({ signal: exchange.signal }))
}

/** POST /v1/cluster/forget-lost {"lost": [PEER, …], "dryRun": true} */
export async function forgetLostRoute (exchange: Exchange): Promise<void> {
  requireMethod(exchange, 'POST')
  const { lost, dryRun = false, ...others } = await jsonBody(exchange)
  if (!Array.isArray(lost) || !lost.every((peer) => typeof peer === 'string')) throw new InvalidInput('lost', 'lost takes a list of peer ids')
  if (typeof dryRun !== 'boolean' || Object.keys(others).length > 0) throw new InvalidInput('dryRun', 'beside lost there is dryRun, true or false')
  sendJson(exchange, await exchange.node.forgetLost(lost.map(peerIn), { isDryRun: dryRun, signal: exchange.signal }))
}

/** GET /v1/admins; PUT, DELETE /v1/admins/PEER */
export async function adminRoute (exchange: Exchange, peer: string | undefined): Promise<void> {
  const { node, request, signal } = exchange
  requireMethod(exchange, ...(peer === undefined ? ['GET', 'HEAD'] : ['PUT', 'DELETE']))
  if (peer !== undefined && request.method === 'PUT') await node.addAdmin(peerIn(peer), { signal })
  else if (peer !== undefined) await node.removeAdmin(peerIn(peer), { signal })
  sendJson(exchange, { admins: node.admins() })
}

/** @throws InvalidInput */
export function peerIn (text: string): PeerId {
  try { return parsePeerId(text) } catch (cause) {
    if (cause instanceof MalformedBytes) throw new InvalidInput('peer', `"${text.slice(0, 80)}" is no peer id; "dfs status" shows them`, { cause })
    throw cause
  }
}

export async function statusRoute (exchange: Exchange): Promise<void> {
  requireMethod(exchange, 'GET', 'HEAD')
  sendJson(exchange, await exchange.node.status())
}

/** GET /v1/layout */
export async function layoutRoute (exchange: Exchange): Promise<void> {
  requireMethod(exchange, 'GET', 'HEAD')
  sendJson(exchange, exchange.node.layout())
}

/** GET /v1/doctor */
export async function doctorRoute (exchange: Exchange): Promise<void> {
  requireMethod(exchange, 'GET', 'HEAD')
  sendJson(exchange, { findings: await exchange.node.doctor({ signal: exchange.signal }) })
}

export async function peersRoute (exchange: Exchange): Promise<void> {
  requireMethod(exchange, 'GET', 'HEAD')
  sendJson(exchange, { peers: exchange.node.peers() })
}

export async function cacheRoute (exchange: Exchange): Promise<void> {
  requireMethod(exchange, 'DELETE')
  sendJson(exchange, await exchange.node.emptyCache())
}

export async function configRoute (exchange: Exchange, describeConfig: () => unknown): Promise<void> {
  requireMethod(exchange, 'GET', 'HEAD')
  sendJson(exchange, describeConfig())
}

export async function inspectRoute (exchange: Exchange): Promise<void> {
  requireMethod(exchange, 'GET', 'HEAD')
  sendJson(exchange, exchange.node.inspect())
}

/** POST /v1/stop: begins a graceful stop, as a signal does. */
export async function stopRoute (exchange: Exchange, stop: () => void): Promise<void> {
  requireMethod(exchange, 'POST')
  sendJson(exchange, { stopping: true }, { status: 202 })
  stop()
}

export async function transferRoute (exchange: Exchange, id: string): Promise<void> {
  requireMethod(exchange, 'GET', 'HEAD')
  const transfer = exchange.transfers.get(id)
  if (transfer === undefined) throw new ApiError(404, 'not-found', 'no recent transfer has this id')
  sendJson(exchange, transfer)
}

export async function metricsRoute (exchange: Exchange): Promise<void> {
  requireMethod(exchange, 'GET', 'HEAD')
  exchange.response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4; charset=utf-8' }).end(await exchange.node.metrics())
}

/** One JSON object a line for each announcement, from the first line ({"watching":true}) on, until the client goes or the node stops. */
export async function watchRoute (exchange: Exchange): Promise<void> {
  requireMethod(exchange, 'GET')
  const { node, request, response, query, signal, stopping, permit } = exchange
  const [bucket, prefix = ''] = [query.get('bucket') ?? undefined, query.get('prefix') ?? undefined]
  // a quiet cluster is no idle client
  request.socket.setTimeout(0)
  response.writeHead(200, { 'content-type': 'application/x-ndjson' })
  response.write('{"watching":true}\n')
  const ended = AbortSignal.any([signal, stopping])
  for await (const seen of node.watch({ signal: ended })) {
    if ((bucket !== undefined && seen.object?.bucket !== bucket) || (prefix !== '' && seen.object?.key.startsWith(prefix) !== true)) continue
    await permit?.demandStill({ action: 'list', bucket: bucket ?? '', key: prefix })
    // the node drops the oldest for a slow reader
    if (!response.write(`${JSON.stringify(seen)}\n`)) await once(response, 'drain', { signal: ended }).catch(() => {}) // the only failure is the end, which ends the loop
  }
  response.end()
}
