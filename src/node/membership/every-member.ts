import { Unavailable } from '../../base/errors.ts'
import { hexOf } from '../../base/bytes.ts'
import { keyOf, type PeerId } from '../../base/peer-id.ts'
import { describeMember, type MemberRow, parseMemberRow } from '../../cluster/index.ts'
import { clearPartition } from '../../tables/clear-rows.ts'
import { type Registers, type TableNumber, tables, type Voters } from '../../tables/index.ts'
import { openRecord } from '../../tables/opened-record.ts'
import { electorsOf, isMajority } from '../../tables/electorate.ts'
import { type ClearRowSources, clearRowsAt, membersAmong, readClearRows } from './clear-rows.ts'
import { clusterAddress } from './membership.ts'

export interface EveryMemberSources extends ClearRowSources {
  readonly registers: Registers
  readonly voters: Voters
}

/**
 * Every members row, also of who joined a moment ago and of who was removed long ago: a chosen row is at a majority, so of any majority some voter has it.
 * Each is then read properly, and known from then on: who asks takes of them those who belong, which of one that this node has not met shows by its row. @throws Unavailable
 */
export async function everyMemberRow (sources: EveryMemberSources, wait: { signal?: AbortSignal } = {}): Promise<readonly MemberRow[]> {
  const rows = await everyRow(sources, wait)
  for (const row of rows) await sources.state.remember(row)
  return rows
}

async function everyRow (sources: EveryMemberSources, wait: { signal?: AbortSignal }): Promise<readonly MemberRow[]> {
  // while the founder decides alone, what it has is what there is
  if (sources.state.layout.state === 'open' || sources.state.layout.state === 'closing') return membersAmong(await readClearRows(sources, wait))
  const electorate = sources.voters.electorate(clearPartition)
  const voters = electorsOf(electorate)
  const found = new Map<string, MemberRow>()
  const heard = new Set<PeerId>()
  const isEnough = (): boolean => isMajority(electorate, (voter) => heard.has(voter))
  const answers = await Promise.allSettled(voters.map(async (voter) => {
    for await (const { table, rowKey } of clearRowsAt(sources, voter, wait)) {
      // any majority has what was chosen: who has more to tell, without end perhaps, is not waited for
      if (isEnough()) return
      if (table !== tables.members || found.has(hexOf(rowKey))) continue
      const row = await rowAt(sources, voter, { table, rowKey }, wait)
      if (row !== undefined) found.set(hexOf(rowKey), row)
    }
    heard.add(voter)
  }))
  if (!isEnough()) throw new Unavailable(`${heard.size} of ${voters.length} voters tell who the members are`, { cause: answers.find(({ status }) => status === 'rejected') })
  const values = await Promise.all([...found.values()].map(async (row) => sources.registers.read(clusterAddress(tables.members, keyOf(describeMember(row).peerId)), wait)))
  return values.filter((value) => value !== undefined).map(parseMemberRow)
}

/** As one voter has it: whose row it is. */
async function rowAt ({ ask, codec }: EveryMemberSources, voter: Parameters<EveryMemberSources['ask']>[0], at: { table: TableNumber, rowKey: Uint8Array }, wait: { signal?: AbortSignal }): Promise<MemberRow | undefined> {
  const answer = await ask(voter, { kind: 'read', ...at }, wait)
  if (answer.kind !== 'value') throw new Unavailable(`${voter} answers ${answer.kind}`)
  const value = answer.accepted === undefined ? undefined : openRecord(codec, { ...at, record: answer.accepted }).value
  return value === undefined ? undefined : parseMemberRow(value)
}
