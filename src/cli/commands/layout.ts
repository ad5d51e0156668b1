import type { LayoutReport, PartitionCount } from '../../node.ts'
import { withNode } from '../context.ts'
import { sizeText, table } from '../output.ts'
import type { GivenOptions } from '../settings.ts'

/** `dfs cluster layout` */
export async function layout (options: GivenOptions): Promise<void> {
  await withNode(options, async ({ client, output, signal }) => {
    const found = await client.json<LayoutReport>('GET', '/v1/layout', { signal })
    output.fact(found, layoutText(found))
  })
}

/** Who has how much of it, for people. */
export function layoutText ({ version, state, voters, members }: LayoutReport): string {
  const share = (count: PartitionCount | undefined): string => count === undefined ? 'nothing' : `rows ${count.rows}, blocks ${count.blocks}`
  return [
    `version ${version}, ${state}, ${voters} ${voters === 1 ? 'node decides' : 'nodes decide'}; partitions, of 4096 each:`,
    table(members.map(({ peerId, role, zone, capacityBytes, present, next }) => [peerId, role, `zone ${zone}, ${sizeText(capacityBytes)}`, share(present), ...state === 'changing' ? [`then ${share(next)}`] : []])),
  ].join('\n')
}
