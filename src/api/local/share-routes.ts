import { InvalidInput } from '../../base/errors.ts'
import type { NewShare } from '../../objects/index.ts'
import { type Exchange, jsonBody, requireMethod, sendJson } from './context.ts'

/** GET, POST /v1/shares; DELETE /v1/shares/ID */
export async function shareRoute (exchange: Exchange, id: string | undefined, base: () => string | undefined): Promise<void> {
  const { node: { shares }, request: { method }, signal } = exchange
  if (id !== undefined) {
    requireMethod(exchange, 'DELETE')
    await shares.revoke(id, { signal })
    sendJson(exchange, { revoked: true })
    return
  }
  requireMethod(exchange, 'GET', 'HEAD', 'POST')
  if (method !== 'POST') { sendJson(exchange, { shares: await shares.list({ signal }) }); return }
  const share = await shares.create(wantedOf(await jsonBody(exchange)), { signal })
  const [origin, path] = [base(), `/s/${share.id}#${share.secret}`]
  // the only answer that ever holds the secret
  sendJson(exchange, { ...share, path, url: origin === undefined ? undefined : `${origin}${path}` }, { status: 201 })
}

function wantedOf ({ bucket, key, notAfterMs, isOnce, password, ...others }: Readonly<Record<string, unknown>>): NewShare {
  const [other] = Object.keys(others)
  if (other !== undefined) throw new InvalidInput(other, `a share has bucket, key, notAfterMs, isOnce and password, and no "${other}"`)
  if (typeof bucket !== 'string' || typeof key !== 'string') throw new InvalidInput('key', 'a share is of one object: bucket and key')
  if (notAfterMs !== undefined && typeof notAfterMs !== 'number') throw new InvalidInput('expires', `${JSON.stringify(notAfterMs)} is no time in milliseconds`)
  if (isOnce !== undefined && typeof isOnce !== 'boolean') throw new InvalidInput('once', 'isOnce is true or false')
  if (password !== undefined && typeof password !== 'string') throw new InvalidInput('password', 'a password is a text')
  return { bucket, key, notAfterMs, isOnce, password }
}
