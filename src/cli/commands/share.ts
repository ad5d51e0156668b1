import { readFile } from 'node:fs/promises'
import { systemClock } from '../../base/clock.ts'
import { InvalidInput } from '../../base/errors.ts'
import type { Share } from '../../objects/index.ts'
import { withNode } from '../context.ts'
import { durationMsOf } from '../duration.ts'
import { table } from '../output.ts'
import { ask } from '../secrets.ts'
import type { GivenOptions } from '../settings.ts'
import { objectOf } from '../target.ts'

const defaultExpiry = '7d'

/** `dfs share BUCKET/KEY` */
export async function create (object: string, options: GivenOptions): Promise<void> {
  const expires = String(options.expires ?? defaultExpiry)
  const password = await passwordOf(options)
  const body = {
    ...objectOf(object),
    isOnce: options.once === true,
    ...(expires === 'never' ? {} : { notAfterMs: systemClock.wallMs() + durationMsOf(expires) }),
    ...(password === undefined ? {} : { password }),
  }
  await withNode(options, async ({ client, output, signal }) => {
    const share = await client.json<Share & { secret: string, path: string, url?: string }>('POST', '/v1/shares', { body, signal })
    output.fact(share, share.url ?? share.path)
    if (share.url === undefined) output.note('the HTTP face is off on this node: put the URL of one where it is on before it (http-listen, http-url)')
    output.note(`whoever has this link can download ${object}${share.isOnce ? ', once' : ''}${endText(share)}; it is shown this once, and "dfs share revoke ${share.id}" ends it`)
  })
}

/** `dfs share ls` */
export async function list (options: GivenOptions): Promise<void> {
  await withNode(options, async ({ client, output, signal }) => {
    const { shares } = await client.json<{ shares: Share[] }>('GET', '/v1/shares', { signal })
    if (output.isJson) for (const share of shares) output.fact(share, '')
    else if (shares.length === 0) output.note('no shares; "dfs share BUCKET/KEY" makes a link')
    else output.fact({}, table(shares.map((share) => [share.id, `${share.bucket}/${share.key}`, stateOf(share), share.hasPassword ? 'password' : ''])))
  })
}

/** `dfs share revoke ID` */
export async function revoke (given: string, options: GivenOptions): Promise<void> {
  const id = idIn(given)
  await withNode(options, async ({ client, output, signal }) => {
    await client.json('DELETE', `/v1/shares/${encodeURIComponent(id)}`, { signal })
    output.fact({ share: id, revoked: true }, `revoked share ${id}: it opens nothing any more`)
  })
}

/** Of the id alone, or of a whole link. */
const idIn = (given: string): string => /\/s\/([\w-]+)/.exec(given)?.[1] ?? given

const endText = ({ notAfterMs }: Share): string => notAfterMs === undefined ? '' : `, until ${new Date(notAfterMs).toISOString()}`

function stateOf (share: Share): string {
  if (share.usedMs !== undefined) return `used ${new Date(share.usedMs).toISOString()}`
  if (share.notAfterMs !== undefined && share.notAfterMs < systemClock.wallMs()) return 'expired'
  return `${share.isOnce ? 'once' : 'open'}${endText(share)}`
}

/** Never an argument: other users of the machine could read it in the process list. */
async function passwordOf ({ password, passwordFile }: GivenOptions): Promise<string | undefined> {
  if (typeof passwordFile === 'string') return demanded((await readFile(passwordFile, 'utf8').catch((cause: Error) => { throw new InvalidInput('password-file', `password-file is ${passwordFile}, which cannot be read: ${cause.message}`, { cause }) })).replace(/\r?\n$/, ''))
  if (password !== true) return undefined
  if (process.env.DFS_SHARE_PASSWORD !== undefined) return demanded(process.env.DFS_SHARE_PASSWORD)
  if (!process.stdin.isTTY) throw new InvalidInput('password', 'there is no terminal to ask for the password at: set DFS_SHARE_PASSWORD, or give --password-file')
  return demanded(await ask('Password of this share: '))
}

function demanded (password: string): string {
  if (password === '') throw new InvalidInput('password', 'the password is empty; leave it out, or choose one')
  return password
}
