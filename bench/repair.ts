import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { until } from '../scripts/local-cluster.ts'
import type { Bench } from './bench.ts'
import { median, mebibyte, mib, percentile, secondsOf } from './measure.ts'
import { patienceMs, type RedundancyKind, RepairedNodes } from './repaired-nodes.ts'

const tenGiB = 10 * 1024 * mebibyte
/** Of users, while nothing is to be repaired and while something is: the middle one is what they feel, whatever else the machine did in one. */
const [windows, windowMs] = [6, 4000]
/** In which it finds how much of the time it may take. */
const findingMs = 20_000

const kinds: Readonly<Record<string, RedundancyKind>> = {
  'rf:3': { nodes: 3, options: { copies: 3 }, redundancyFactor: 3 },
  'rs:4+2': { nodes: 6, options: { shards: '4+2' }, redundancyFactor: 1.5 },
}

/** How soon what a holder lost is missed, and is there again, and what users feel of it; then what a node that joins is brought, and what users feel of that. */
export async function repair (bench: Bench): Promise<void> {
  for (const [name, kind] of Object.entries(kinds)) {
    const home = join(bench.folder, `repair-${kind.nodes}`)
    {
      await using nodes = await RepairedNodes.start(home, kind)
      await nodes.fill(bench.sizeBytes)
      await lost(name, nodes, bench)
      if (name === 'rf:3') await joined(name, nodes, bench)
    }
    await rm(home, { recursive: true, force: true })
  }
}

async function lost (name: string, nodes: RepairedNodes, { report }: Bench): Promise<void> {
  const victim = nodes.cluster.nodes.length - 1
  const bytes = (await nodes.status(victim)).blocks.bytes
  await nodes.cluster.node(victim).stop('SIGKILL')
  const detection = await secondsOf(async () => until('the loss is told', patienceMs, async () => (await nodes.status(0)).isDegraded))
  report.add(`${name}: a node killed, until status says that redundancy is short`, detection, 's')
  await nodes.emptied(victim)
  const started = performance.now()
  await until('the first blocks are back', patienceMs, async () => (await nodes.status(victim)).blocks.count > 0)
  const waited = (performance.now() - started) / 1000
  report.add(`${name}: a node back without its blocks, until the first is brought`, waited, 's')
  const seconds = await secondsOf(async () => until('all blocks are back', patienceMs, async () => (await nodes.status(victim)).blocks.bytes >= bytes))
  report.add(`${name}: its ${mib(bytes).toFixed(0)} MiB there again, no user waits`, waited + seconds, 's')
  report.add(`${name}: brought from then on`, mib(bytes) / seconds, 'MiB/s')
  report.add(`${name}: the same for 10 GiB, at that rate`, (waited + seconds * tenGiB / bytes) / 60, 'min')
  await nodes.whole()
  await felt(`${name}: while repair brings ${mib(bytes).toFixed(0)} MiB`, nodes, report, async () => nodes.emptied(victim))
}

async function joined (name: string, nodes: RepairedNodes, { report }: Bench): Promise<void> {
  await nodes.whole()
  const before = await nodes.moved()
  await felt(`${name}: while a node that joined is filled`, nodes, report, async () => nodes.add())
  await nodes.whole()
  const brought = (await nodes.status(nodes.cluster.nodes.length - 1)).blocks.bytes
  report.add(`${name}: bytes moved by the join`, mib(await nodes.moved() - before), 'MiB', { ratio: (await nodes.moved() - before) / brought, against: 'what the node holds then', target: { atMost: 1.1 } })
}

/** The 99th percentile of what users wait, with repair at work against before, when everything was in its place and nothing to be done. */
async function felt (what: string, nodes: RepairedNodes, report: Bench['report'], begin: () => Promise<void>): Promise<void> {
  const used = async (): Promise<number[][]> => {
    const times: number[][] = []
    while (times.length < windows) times.push(await nodes.usedFor(windowMs))
    return times
  }
  // users' first requests open what all later ones use
  await nodes.usedFor(windowMs)
  const idle = await used()
  await begin()
  await nodes.usedFor(findingMs)
  const before = await nodes.moved()
  const working = await used()
  const moved = await nodes.moved() - before
  const p99 = (times: readonly number[]): number => percentile(times, 0.99) * 1000
  const ratio = median(working.map(p99)) / median(idle.map(p99))
  report.add(`${what}: p99 of a user, nothing to be done`, p99(idle.flat()), 'ms')
  report.add(`${what}: p99 of a user, repair at work`, p99(working.flat()), 'ms', { ratio, against: 'idle', target: { atMost: 3 } })
  report.add(`${what}: moved meanwhile`, mib(moved) / (windows * windowMs / 1000), 'MiB/s')
  if (moved === 0) throw new Error(`${what}: nothing was moved while users were at it, so nothing is known of what they feel; take more than --size ${mib(nodes.bytes).toFixed(0)}`)
}
