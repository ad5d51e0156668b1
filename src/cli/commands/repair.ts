import type { AnnounceReport, CompareReport, NodeStatus, RepairReport } from '../../node.ts'
import { ClientError } from '../../client/index.ts'
import { withNode } from '../context.ts'
import { repairText } from '../repair-text.ts'
import type { GivenOptions } from '../settings.ts'

/** `dfs repair status` */
export async function status (options: GivenOptions): Promise<void> {
  await withNode(options, async ({ client, output, signal }) => {
    const found = await client.json<RepairReport>('GET', '/v1/repair', { signal })
    const compare = await client.json<CompareReport>('GET', '/v1/compare', { signal })
    const announce = await client.json<AnnounceReport>('GET', '/v1/announce', { signal }).catch((error: unknown) => {
      // a node without keys announces nothing
      if (error instanceof ClientError && error.status === 403) return undefined
      throw error
    })
    const { layout } = await client.json<NodeStatus>('GET', '/v1/status', { signal })
    const others = { compare, ...announce === undefined ? {} : { announce } }
    output.fact({ ...found, ...others }, repairText(found, { ...others, layoutVersion: layout.version }))
  })
}

/** `dfs repair now`, `pause`, `resume` */
export async function steer (action: 'now' | 'pause' | 'resume', options: GivenOptions): Promise<void> {
  await withNode(options, async ({ client, output, signal }) => {
    const found = await client.json<RepairReport>('POST', '/v1/repair', { body: { action }, signal })
    output.fact(found, said[action])
  })
}

const said = {
  now: 'everything that this node holds or should is looked at now; "dfs repair status" shows how far it is',
  pause: 'paused, until "dfs repair resume" or the next start',
  resume: 'goes on',
} as const
