import { Unavailable } from '../base/errors.ts'
import type { PeerId } from '../base/peer-id.ts'
import { allVotersOf, closing, describeMember, encodeLayout, type Layout, type LayoutMember, type MemberRow, parseLayout, roles, settled } from '../cluster/index.ts'
import type { Registers } from '../tables/index.ts'
import { majorityOf } from '../tables/round.ts'
import { type ClearRowFound, type ClearRowSources, membersAmong, readClearRows } from './clear-rows.ts'
import { layoutAddress } from './membership.ts'
import type { ClusterState } from './state.ts'

/**
 * The first bucket settles the layout (until then the founder alone decides): joining is closed by compare-and-set, the clear rows go to everybody who
 * joined, and one layout of them all is written. Each step is safe to repeat, by any member: a node that dies half way leaves it to the next bucket.
 */
export interface SettleParts extends ClearRowSources {
  readonly registers: Registers
}

export async function settleLayout (parts: SettleParts, wait: { signal?: AbortSignal } = {}): Promise<void> {
  const { state } = parts
  if (isSettled(state)) return
  await state.adoptLayout(encodeLayout(await advanced(parts, (layout) => layout.state === 'open' ? closing(layout) : layout, wait)))
  if (isSettled(state)) return
  // joins under the open layout are refused by now, so this is everybody
  const rows = await readClearRows(parts, wait)
  const members = membersAmong(rows)
  for (const row of members) await state.remember(row)
  const layoutMembers = members.map(layoutMemberOf)
  const closed = state.layout
  await handOver(parts, rows, allVotersOf(settled(closed, layoutMembers)), wait)
  await state.adoptLayout(encodeLayout(await advanced(parts, (layout) => layout.state === 'closing' ? settled(layout, layoutMembers) : layout, wait)))
  await handOver(parts, [await layoutRecord(parts, allVotersOf(closed), wait)], allVotersOf(state.layout), wait)
}

const isSettled = ({ layout }: ClusterState): boolean => layout.state === 'settled'

function layoutMemberOf (row: MemberRow): LayoutMember {
  const { peerId, role, zone } = describeMember(row)
  return { peerId, role, zone, capacityBytes: row.capacityBytes, storeId: role === roles.storage ? undefined : row.storeId }
}

/** The layout row after `next` of what it says; unchanged where there is nothing to do. */
async function advanced ({ registers, state }: SettleParts, next: (layout: Layout) => Layout, wait: { signal?: AbortSignal }): Promise<Layout> {
  return registers.change<Layout>(layoutAddress, (value) => {
    const current = value === undefined ? state.layout : parseLayout(value)
    const result = next(current)
    return result === current ? { kind: 'keep', result } : { kind: 'write', value: encodeLayout(result), result }
  }, wait)
}

async function layoutRecord ({ ask, codec }: SettleParts, voters: readonly PeerId[], wait: { signal?: AbortSignal }): Promise<HandedOver> {
  const row = { table: layoutAddress.table, rowKey: codec.rowKeyOf(layoutAddress) }
  for (const voter of voters) {
    const answer = await ask(voter, { kind: 'read', ...row }, wait)
    if (answer.kind === 'value' && answer.accepted !== undefined) return { ...row, record: answer.accepted }
  }
  throw new Unavailable('the layout could not be read for handing it over')
}

type HandedOver = Pick<ClearRowFound, 'table' | 'rowKey' | 'record'>

/** To every voter that can be reached; enough when a majority has everything. @throws Unavailable naming who has not */
async function handOver ({ ask }: SettleParts, rows: readonly HandedOver[], voters: readonly PeerId[], wait: { signal?: AbortSignal }): Promise<void> {
  const failures: string[] = []
  await Promise.all(voters.map(async (voter) => {
    try {
      for (const { table, rowKey, record } of rows) {
        const answer = await ask(voter, { kind: 'handOver', table, rowKey, record }, wait)
        if (answer.kind !== 'accepted') throw new Unavailable(`it answered ${answer.kind}`)
      }
    } catch (error) {
      failures.push(`${voter}: ${error instanceof Error ? error.message : String(error)}`)
    }
  }))
  if (voters.length - failures.length < majorityOf(voters.length)) {
    throw new Unavailable(`the first bucket settles the layout, for which a majority of the ${voters.length} members must be up (${failures.join('; ')})`)
  }
}

