import type { ClusterConversion, ConvertReport } from '../../node.ts'
import { withNode } from '../context.ts'
import { convertText } from '../convert-text.ts'
import type { GivenOptions } from '../settings.ts'

type Found = ConvertReport & { readonly cluster: ClusterConversion }

/** `dfs convert status` */
export async function status (options: GivenOptions): Promise<void> {
  await withNode(options, async ({ client, output, signal }) => {
    const found = await client.json<Found>('GET', '/v1/convert', { signal })
    output.fact(found, convertText(found))
  })
}

/** `dfs convert now`, `pause`, `resume` */
export async function steer (action: 'now' | 'pause' | 'resume', options: GivenOptions): Promise<void> {
  await withNode(options, async ({ client, output, signal }) => {
    const found = await client.json<Found>('POST', '/v1/convert', { body: { action }, signal })
    output.fact(found, said[action])
  })
}

const said = {
  now: 'everything that this node looks after is looked at now; "dfs convert status" shows how far all are',
  pause: 'this node\'s share is paused, until "dfs convert resume" or the next start; the others go on with theirs',
  resume: 'goes on',
} as const
