import type { ScrubReport } from '../../node.ts'
import { withNode } from '../context.ts'
import { scrubText } from '../scrub-text.ts'
import type { GivenOptions } from '../settings.ts'

/** `dfs scrub status` */
export async function status (options: GivenOptions): Promise<void> {
  await withNode(options, async ({ client, output, signal }) => {
    const found = await client.json<ScrubReport>('GET', '/v1/scrub', { signal })
    output.fact(found, scrubText(found))
  })
}

/** `dfs scrub now`, `pause`, `resume` */
export async function steer (action: 'now' | 'pause' | 'resume', options: GivenOptions): Promise<void> {
  await withNode(options, async ({ client, output, signal }) => {
    const found = await client.json<ScrubReport>('POST', '/v1/scrub', { body: { action }, signal })
    output.fact(found, said[action])
  })
}

const said = {
  now: 'everything on this node\'s disk is read now; "dfs scrub status" shows how far it is',
  pause: 'paused, until "dfs scrub resume" or the next start',
  resume: 'goes on',
} as const
