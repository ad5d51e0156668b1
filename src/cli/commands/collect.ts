import type { CollectReport } from '../../node.ts'
import { collectText } from '../collect-text.ts'
import { withNode } from '../context.ts'
import type { GivenOptions } from '../settings.ts'

/** `dfs collect status` */
export async function status (options: GivenOptions): Promise<void> {
  await withNode(options, async ({ client, output, signal }) => {
    const found = await client.json<CollectReport>('GET', '/v1/collect', { signal })
    output.fact(found, collectText(found))
  })
}

/** `dfs collect now`, `pause`, `resume` */
export async function steer (action: 'now' | 'pause' | 'resume', options: GivenOptions): Promise<void> {
  await withNode(options, async ({ client, output, signal }) => {
    const found = await client.json<CollectReport>('POST', '/v1/collect', { body: { action }, signal })
    output.fact(found, said[action])
  })
}

const said = {
  now: 'what is dead is looked for now; what nobody needs still waits for "collect-after" before it goes',
  pause: 'paused, until "dfs collect resume" or the next start',
  resume: 'goes on',
} as const
