import type { InviteState } from '../../node.ts'
import { withNode } from '../context.ts'
import { table } from '../output.ts'
import type { GivenOptions } from '../settings.ts'

/** `dfs invite ls` */
export async function list (options: GivenOptions): Promise<void> {
  await withNode(options, async ({ client, output, signal }) => {
    const { invites } = await client.json<{ invites: InviteState[] }>('GET', '/v1/invites', { signal })
    if (output.isJson) for (const invite of invites) output.fact(invite, '')
    else if (invites.length === 0) output.note('this node has made no invites yet; "dfs invite" makes one')
    else output.fact({}, table(invites.map(({ key, state, usedBy, roles, madeMs, notAfterMs }) =>
      [key, state, roles.join('|'), `made ${dateText(madeMs)}`, notAfterMs === undefined ? '' : `until ${dateText(notAfterMs)}`, usedBy === undefined ? '' : `by ${usedBy}`])))
  })
}

/** `dfs invite revoke TOKEN|KEY` */
export async function revoke (invite: string, options: GivenOptions): Promise<void> {
  await withNode(options, async ({ client, output, signal }) => {
    await client.json('POST', '/v1/invites/revoke', { body: { invite }, signal })
    output.fact({ revoked: true }, 'revoked: nobody joins with it any more')
  })
}

const dateText = (ms: number): string => new Date(ms).toISOString().replace('T', ' ').replace(/\.\d+Z$/, 'Z')
