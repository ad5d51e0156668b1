import { InvalidInput } from '../../base/errors.ts'
import type { AccessRight, NewAccessKey } from '../../objects/index.ts'
import { type Exchange, jsonBody, requireMethod, sendJson } from './context.ts'

/** GET, POST /v1/keys; PATCH, DELETE /v1/keys/ID */
export async function keyRoute (exchange: Exchange, id: string | undefined): Promise<void> {
  const { node: { keys }, request: { method }, signal } = exchange
  if (id === undefined) {
    requireMethod(exchange, 'GET', 'HEAD', 'POST')
    // the only answer that ever holds the secret
    if (method === 'POST') sendJson(exchange, await keys.create(wantedOf(await jsonBody(exchange)), { signal }), { status: 201 })
    else sendJson(exchange, { keys: await keys.list({ signal }) })
    return
  }
  requireMethod(exchange, 'PATCH', 'DELETE')
  if (method === 'PATCH') {
    const { rights, ...others } = await jsonBody(exchange)
    demandNothing(others)
    sendJson(exchange, await keys.grant(id, rightsIn(rights), { signal }))
  } else {
    await keys.remove(id, { signal })
    sendJson(exchange, { removed: true })
  }
}

function wantedOf ({ name, rights, notAfterMs, ...others }: Readonly<Record<string, unknown>>): NewAccessKey {
  demandNothing(others)
  if (typeof name !== 'string') throw new InvalidInput('name', 'a key has a name, for people')
  if (notAfterMs !== undefined && typeof notAfterMs !== 'number') throw new InvalidInput('expires', `${JSON.stringify(notAfterMs)} is no time in milliseconds`)
  return { name, rights: rightsIn(rights), notAfterMs }
}

function demandNothing (others: Readonly<Record<string, unknown>>): void {
  const [other] = Object.keys(others)
  if (other !== undefined) throw new InvalidInput(other, `a key has a name, rights and notAfterMs, and no "${other}"`)
}

function rightsIn (value: unknown): AccessRight[] {
  if (!Array.isArray(value)) throw new InvalidInput('rights', 'rights are a list of {"bucket", "prefix", "actions"}')
  return value.map((right: unknown) => {
    const { bucket, prefix = '', actions, ...others } = (typeof right === 'object' && right !== null ? right : {}) as Readonly<Record<string, unknown>>
    // a prefix that is misspelt would be the whole bucket
    if (typeof bucket !== 'string' || typeof prefix !== 'string' || !Array.isArray(actions) || Object.keys(others).length > 0) throw new InvalidInput('rights', `a right is {"bucket": NAME or "*", "prefix": TEXT, "actions": [...]}, not ${JSON.stringify(right)?.slice(0, 100)}`)
    return { bucket, prefix, actions: actions as AccessRight['actions'] }
  })
}
