import { dfs } from '../scripts/local-cluster.ts'
import type { Bench } from './bench.ts'
import { median, medianSeconds, secondsOf } from './measure.ts'
import type { BenchNodes } from './nodes.ts'

const times = 7
const starts = 3

/** What a person waits for before anything happens. */
export async function startUp ({ report }: Bench, nodes: BenchNodes): Promise<void> {
  const command = (...args: string[]) => async (): Promise<void> => {
    const { code, stderr } = await dfs(args)
    if (code !== 0) throw new Error(`dfs ${args.join(' ')} ended with ${code}: ${stderr}`)
  }
  const last = nodes.all.length - 1
  const node = nodes.node(last)
  const ready: number[] = []
  for (let i = 0; i < starts; i++) {
    await node.stop()
    ready.push(await secondsOf(async () => node.start()))
  }
  await nodes.restart(last)
  report.add('dfs --help', await medianSeconds(times, command('--help')) * 1000, 'ms', { target: { atMost: 150 } })
  report.add('dfs status', await medianSeconds(times, command('status', '--data', node.data)) * 1000, 'ms', { target: { atMost: 150 } })
  report.add('dfs start to ready, beside two nodes that run', median(ready) * 1000, 'ms')
}
