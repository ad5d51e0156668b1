import { InvalidInput } from '../../base/errors.ts'
import type { NodeSettings } from '../../node.ts'
import { type Exchange, jsonBody, requireMethod, sendJson } from './context.ts'
import { ApiError } from '../errors.ts'
import { arrivalOf, demandSettings } from '../node-changes.ts'
import { peerIn } from './node-routes.ts'

/**
 * PATCH /v1/members/PEER {"draining", "zone", "capacityBytes", "force"}; DELETE: puts it out; with ?dry-run=true both say what they would move, and change nothing.
 * POST /v1/members/PEER/replacement {"by", "force"}: one step of a replacement. GET and POST /v1/members/PEER/heir: who takes its place, a token for whoever is to.
 */
export async function memberRoute (exchange: Exchange, peer: string, part: string | undefined): Promise<void> {
  switch (part) {
    case 'replacement': return replacementRoute(exchange, peer)
    case 'heir': return heirRoute(exchange, peer)
    case undefined: break
    default: throw new ApiError(404, 'not-found', `a member has no "${part}"`)
  }
  requireMethod(exchange, 'PATCH', 'DELETE')
  const { node, signal, request } = exchange
  const isDryRun = isDry(exchange)
  if (request.method === 'DELETE') {
    if (isDryRun) sendJson(exchange, await node.changes.plan({ kind: 'remove', peer: peerIn(peer) }, { signal }))
    else sendJson(exchange, { removed: true, ...await node.removeMember(peerIn(peer), { signal }) })
    return
  }
  const { settings, isForced, told } = settingsIn(await jsonBody(exchange))
  if (isDryRun) {
    sendJson(exchange, await node.changes.plan({ kind: 'set', peer: peerIn(peer), settings }, { signal }))
    return
  }
  await node.changes.set(peerIn(peer), settings, { isForced, signal })
  sendJson(exchange, { peer, ...told })
}

/** @throws InvalidInput */
export function settingsIn ({ draining, zone, capacityBytes, force = false, ...others }: Readonly<Record<string, unknown>>): { settings: NodeSettings, isForced: boolean, told: object } {
  const [other] = Object.keys(others)
  if (other !== undefined) throw new InvalidInput(other, `a member has no "${other}"; what of it can be set is draining, zone and capacityBytes`)
  if (draining !== undefined && typeof draining !== 'boolean') throw new InvalidInput('draining', 'draining is true or false')
  if (zone !== undefined && typeof zone !== 'string') throw new InvalidInput('zone', 'zone is a text')
  if (capacityBytes !== undefined && typeof capacityBytes !== 'number') throw new InvalidInput('capacityBytes', 'capacityBytes is a number')
  if (typeof force !== 'boolean') throw new InvalidInput('force', 'force is true or false')
  const told = { ...draining === undefined ? {} : { draining }, ...zone === undefined ? {} : { zone }, ...capacityBytes === undefined ? {} : { capacityBytes } }
  return { settings: demandSettings({ isDraining: draining, zone, capacityBytes }), isForced: force, told }
}

async function replacementRoute (exchange: Exchange, peer: string): Promise<void> {
  requireMethod(exchange, 'POST')
  const { node, signal } = exchange
  const { by, force = false, ...others } = await jsonBody(exchange)
  if ((by !== undefined && typeof by !== 'string') || typeof force !== 'boolean' || Object.keys(others).length > 0) throw new InvalidInput('by', 'a replacement takes "by", the node that comes, and "force"')
  const gone = peerIn(peer)
  if (isDry(exchange)) {
    sendJson(exchange, await node.changes.plan({ kind: 'replace', peer: gone, by: by === undefined ? undefined : peerIn(by) }, { signal }))
    return
  }
  if (by === undefined) throw new InvalidInput('by', 'say who takes its place')
  sendJson(exchange, await node.changes.replace(gone, peerIn(by), { isForced: force, signal }))
}

async function heirRoute (exchange: Exchange, peer: string): Promise<void> {
  requireMethod(exchange, 'GET', 'HEAD', 'POST')
  const { node, signal, request } = exchange
  if (request.method !== 'POST') {
    sendJson(exchange, { heir: await node.changes.heir(peerIn(peer), { signal }) ?? null })
    return
  }
  const { zone, ...others } = await jsonBody(exchange)
  if ((zone !== undefined && typeof zone !== 'string') || Object.keys(others).length > 0) throw new InvalidInput('zone', 'what can be said of the node that comes is its zone')
  sendJson(exchange, { token: await node.changes.inviteFor(peerIn(peer), { zone, signal }) }, { status: 201 })
}

/** GET /v1/changes: how far the change of the layout is. POST {"role", "zone", "capacityBytes"}: what it would move if such a node joined. */
export async function changesRoute (exchange: Exchange): Promise<void> {
  requireMethod(exchange, 'GET', 'HEAD', 'POST')
  const { node, signal, request } = exchange
  if (request.method !== 'POST') {
    sendJson(exchange, await node.changes.progress({ signal }))
    return
  }
  const { role, zone, capacityBytes, ...others } = await jsonBody(exchange)
  if (role !== undefined && role !== 'member' && role !== 'storage' && role !== 'witness') throw new InvalidInput('role', `role is ${JSON.stringify(role)}; it takes member, storage or witness`)
  if ((zone !== undefined && typeof zone !== 'string') || (capacityBytes !== undefined && typeof capacityBytes !== 'number') || Object.keys(others).length > 0) throw new InvalidInput('zone', 'of a node that is to join one says role, zone and capacityBytes')
  sendJson(exchange, await node.changes.plan(arrivalOf({ role, zone, capacityBytes }), { signal }))
}

/** @throws InvalidInput */
function isDry ({ query }: Exchange): boolean {
  const value = query.get('dry-run')
  if (value !== null && value !== 'true' && value !== 'false') throw new InvalidInput('dry-run', `dry-run is "${value}"; it takes true or false`)
  return value === 'true'
}
