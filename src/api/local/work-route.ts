import { InvalidInput } from '../../base/errors.ts'
import { type Exchange, jsonBody, requireMethod, sendJson } from './context.ts'

/** GET /v1/repair, /v1/scrub, /v1/collect, /v1/convert, /v1/compare, /v1/announce; POST {"action": "now", "pause" or "resume"}. Both answer with how it is then. */
export async function workRoute (exchange: Exchange, name: 'repair' | 'scrub' | 'collect' | 'convert' | 'compare' | 'announce'): Promise<void> {
  const { node: { [name]: work }, request } = exchange
  requireMethod(exchange, 'GET', 'HEAD', 'POST')
  if (request.method !== 'POST') { sendJson(exchange, await work.status()); return }
  const { action, ...others } = await jsonBody(exchange)
  const isAction = action === 'now' || action === 'pause' || action === 'resume'
  if (!isAction || Object.keys(others).length > 0) throw new InvalidInput('action', `what can be done about ${name} is an action: now, pause or resume`)
  sendJson(exchange, await work[action]())
}
