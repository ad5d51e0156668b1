import { type CommandContext, withNode } from '../context.ts'
import type { GivenOptions } from '../settings.ts'

/** `dfs node drain PEER [--undo]` */
export async function drain (peer: string, options: GivenOptions): Promise<void> {
  const draining = options.undo !== true
  await withNode(options, async ({ client, output, signal }) => {
    await client.json('PATCH', `/v1/members/${encodeURIComponent(peer)}`, { body: { draining }, signal })
    output.fact({ peer, draining }, draining ? `${peer} drains: the layout changes without it, and "dfs status" says when it has` : `${peer} is to hold and decide again`)
  })
}

/** `dfs node remove PEER` */
export async function remove (peer: string, options: GivenOptions): Promise<void> {
  await withNode(options, async ({ client, output, signal }) => {
    const removed = await client.json<{ era: number, epoch: number }>('DELETE', `/v1/members/${encodeURIComponent(peer)}`, { signal })
    output.fact({ peer, ...removed }, `removed ${peer}: era ${removed.era}, what is sealed from now on is of epoch ${removed.epoch}`)
    output.note('what it has read, it may have kept')
  })
}

/** `dfs admin add PEER` */
export async function addAdmin (peer: string, options: GivenOptions): Promise<void> {
  await withNode(options, async (context) => { await asked(context, 'PUT', `/${encodeURIComponent(peer)}`) })
}

/** `dfs admin rm PEER` */
export async function removeAdmin (peer: string, options: GivenOptions): Promise<void> {
  await withNode(options, async (context) => { await asked(context, 'DELETE', `/${encodeURIComponent(peer)}`) })
}

/** `dfs admin ls` */
export async function listAdmins (options: GivenOptions): Promise<void> {
  await withNode(options, async (context) => { await asked(context, 'GET', '') })
}

async function asked ({ client, output, signal }: CommandContext, method: string, path: string): Promise<void> {
  const { admins } = await client.json<{ admins: string[] }>(method, `/v1/admins${path}`, { signal })
  if (admins.length === 0) output.note('no admins beside the node that made the cluster')
  for (const admin of admins) output.fact({ admin }, admin)
}
