import { allVotersOf, type Assignment, type Layout, nameOfRole } from '../../cluster/index.ts'
import type { LayoutReport, PartitionCount } from '../../node.ts'

/** A layout as people see it: who has how much of it, now and to come. Pure. */
export function layoutReportOf (layout: Layout): LayoutReport {
  const { version, state, members, next } = layout
  const [now, then] = [countsOf(layout), next === undefined ? undefined : countsOf(next)]
  // as it is to be counts where both have it
  const known = new Map([...members, ...next?.members ?? []].map((member) => [member.peerId, member]))
  return {
    version: String(version), state, voters: allVotersOf(layout).length,
    members: [...known.values()].map(({ peerId, role, zone, capacityBytes }) => ({ peerId, role: nameOfRole(role), zone, capacityBytes, present: now.get(peerId), next: then?.get(peerId) })),
  }
}

function countsOf ({ members, rowHolders, blockHolders }: Assignment): ReadonlyMap<string, PartitionCount> {
  const counts = members.map(() => ({ rows: 0, blocks: 0 }))
  for (const [what, lists] of [['rows', rowHolders], ['blocks', blockHolders]] as const) {
    for (const list of lists) for (const index of list) if (counts[index] !== undefined) counts[index][what]++
  }
  return new Map(members.map(({ peerId }, index) => [peerId, counts[index] ?? { rows: 0, blocks: 0 }]))
}
