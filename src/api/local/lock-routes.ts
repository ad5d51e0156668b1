import { InvalidInput } from '../../base/errors.ts'
import type { ObjectName, Retention } from '../../objects/index.ts'
import { type Exchange, jsonBody, requireMethod, sendJson } from './context.ts'
import { versionIn } from './object-routes.ts'

/**
 * PATCH /v1/locks/BUCKET/KEY?version=ID {"retention": {"mode", "untilMs"} or null, "isHeld", "bypassGovernance"}: what keeps a version from being removed; the current one, where none is named.
 * Of the local API alone: programs with access keys have `UpdateObject`, which asks for the rights of each.
 */
export async function lockRoute (exchange: Exchange, target: ObjectName): Promise<void> {
  requireMethod(exchange, 'PATCH')
  const { node, signal } = exchange
  const { retention, isHeld, bypassGovernance = false, ...others } = await jsonBody(exchange)
  const [other] = Object.keys(others)
  if (other !== undefined) throw new InvalidInput(other, `a lock has no "${other}"; it has retention, isHeld and bypassGovernance`)
  if (retention === undefined && isHeld === undefined) throw new InvalidInput('lock', 'say what to set: retention or isHeld')
  if (isHeld !== undefined && typeof isHeld !== 'boolean') throw new InvalidInput('isHeld', 'isHeld is true or false')
  if (typeof bypassGovernance !== 'boolean') throw new InvalidInput('bypassGovernance', 'bypassGovernance is true or false')
  const change = { ...retention === undefined ? {} : { retention: retention === null ? null : retentionOf(retention) }, ...isHeld === undefined ? {} : { isHeld } }
  const info = await node.objects.setAttributes({ ...target, versionId: versionIn(exchange) }, change, { signal, mayBypassGovernance: bypassGovernance })
  sendJson(exchange, { ...target, versionId: info.versionId, retention: info.attributes.retention ?? null, isHeld: info.attributes.isHeld === true })
}

function retentionOf (value: unknown): Retention {
  const { mode, untilMs, ...others } = (typeof value === 'object' && value !== null ? value : {}) as Readonly<Record<string, unknown>>
  if ((mode !== 'governance' && mode !== 'compliance') || typeof untilMs !== 'number' || Object.keys(others).length > 0) throw new InvalidInput('retention', 'a retention is {"mode": "governance" or "compliance", "untilMs": NUMBER}, or null')
  return { mode, untilMs }
}
