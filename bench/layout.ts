import { utf8 } from '../src/base/bytes.ts'
import { hash } from '../src/base/hash.ts'
import { assign, assignmentAlgorithms, type Holder } from '../src/cluster/assignment.ts'
import type { Bench } from './bench.ts'
import { cpuSecondsSince, median } from './measure.ts'

const partitions = 4096
const positions = 8
const zones = 4

/** The tables of blocks, made anew, and after one node more and one less, in processor time; what moves for that beside what each of so many nodes holds. */
export async function layout ({ report, rounds }: Bench): Promise<void> {
  for (const count of [10, 100, 1000]) {
    const holders = Array.from({ length: count + 1 }, (_, index): Holder => ({ index, zone: `zone ${index % zones}`, weight: 1000 + 100 * (index % 5), key: hash(utf8(`holder ${index}`)) }))
    const tables = (of: readonly Holder[], previous: ReadonlyArray<readonly number[]>): ReadonlyArray<readonly number[]> =>
      assign({ holders: of, positions: Math.min(positions, of.length), widths: [3, 6], previous }, assignmentAlgorithms.nested)
    const before = tables(holders.slice(0, count), Array.from({ length: partitions }, () => []))
    const joined = tables(holders, before)
    const left = tables(holders.slice(1), joined)
    report.add(`tables of ${count} nodes, anew`, 1000 * medianCpuSeconds(rounds, () => { tables(holders.slice(0, count), Array.from({ length: partitions }, () => [])) }), 'ms')
    report.add(`tables of ${count} nodes, one joins`, 1000 * medianCpuSeconds(rounds, () => { tables(holders, before) }), 'ms', { target: { atMost: 10_000 } })
    report.add(`tables of ${count} nodes, one leaves`, 1000 * medianCpuSeconds(rounds, () => { tables(holders.slice(1), joined) }), 'ms', { target: { atMost: 10_000 } })
    const held = (lists: ReadonlyArray<readonly number[]>, index: number): number => lists.reduce((sum, list) => sum + (list.slice(0, 3).includes(index) ? 1 : 0), 0)
    report.add(`first three copies that move when one joins ${count} nodes`, 100 * movedBetween(before, joined, 3) / Math.max(1, held(joined, count)), '% of its share')
    report.add(`first three copies that move when one of ${count + 1} nodes leaves`, 100 * movedBetween(joined, left, 3) / Math.max(1, held(joined, 0)), '% of its share')
  }
}

/** Nobody else's work is in it. */
const medianCpuSeconds = (times: number, act: () => void): number => median(Array.from({ length: times }, () => {
  const before = process.cpuUsage()
  act()
  return cpuSecondsSince(before)
}))

const movedBetween = (before: ReadonlyArray<readonly number[]>, after: ReadonlyArray<readonly number[]>, width: number): number =>
  after.reduce((sum, list, partition) => sum + list.slice(0, width).filter((holder) => before[partition]?.slice(0, width).includes(holder) !== true).length, 0)
