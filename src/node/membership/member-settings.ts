import { InvalidInput, Refused, Unavailable } from '../../base/errors.ts'
import { equals } from '../../base/bytes.ts'
import { keyOf, type PeerId } from '../../base/peer-id.ts'
import { describeMember, encodeMemberRow, type MemberRow, parseMemberRow, roles } from '../../cluster/index.ts'
import { type Registers, tables } from '../../tables/index.ts'
import { clusterAddress } from './membership.ts'
import type { ClusterState } from '../state.ts'

/** What of a member can be said after it has joined. Any member may say it: it is no right that it gives, and whoever holds the data key could do worse. */
export interface MemberSettings {
  /** Holds and decides nothing, though it stays a member. */
  readonly isDraining?: boolean | undefined
  readonly zone?: string | undefined
  /** What it is to hold of blocks, in proportion to the others' and at most; 0: nothing. */
  readonly capacityBytes?: number | undefined
}

export interface MemberSettingsParts {
  readonly state: Pick<ClusterState, 'layout' | 'belongs'>
  readonly registers: Registers
  /** Every members row, as a majority has it. */
  readonly memberRows: (wait: { signal?: AbortSignal }) => Promise<readonly MemberRow[]>
}

const zonePattern = /^[\w.-]{1,64}$/

/** Written to its members row by compare-and-set; the layout follows (`layout-keeper.ts`). Gives the row as it stands then. @throws InvalidInput, Refused, Unavailable */
export async function setMember ({ state, registers, memberRows }: MemberSettingsParts, peer: PeerId, settings: MemberSettings, wait: { signal?: AbortSignal } = {}): Promise<MemberRow> {
  const rows = (await memberRows(wait)).filter((row) => state.belongs(describeMember(row).peerId))
  if (state.belongs(peer) && !rows.some((row) => describeMember(row).peerId === peer)) throw new Unavailable(`the members row of ${peer} is not there yet`)
  const after = withSettings(rows, peer, settings)
  demandHolders(after)
  demandSettled(state, settings)
  return changeMember({ registers }, peer, (row) => set(row, settings), wait)
}

/** One row, as it stands now, to what it shall be. @throws Unavailable */
export async function changeMember ({ registers }: Pick<MemberSettingsParts, 'registers'>, peer: PeerId, change: (row: MemberRow) => MemberRow, wait: { signal?: AbortSignal } = {}): Promise<MemberRow> {
  return registers.change<MemberRow>(clusterAddress(tables.members, keyOf(peer)), (value) => {
    if (value === undefined) throw new Unavailable(`the members row of ${peer} is not there yet`)
    const result = change(parseMemberRow(value))
    const encoded = encodeMemberRow(result)
    return equals(encoded, value) ? { kind: 'keep', result } : { kind: 'write', value: encoded, result }
  }, wait)
}

/** The rows of those who belong as they would be. Pure. @throws InvalidInput, Refused */
export function withSettings (rows: readonly MemberRow[], peer: PeerId, settings: MemberSettings): readonly MemberRow[] {
  const row = rows.find((one) => describeMember(one).peerId === peer)
  if (row === undefined) throw new Refused(`${peer} is no member of this cluster; "dfs status" shows the members`)
  const { zone, capacityBytes } = settings
  if (zone !== undefined) demandZone(zone)
  if (capacityBytes !== undefined && !(Number.isSafeInteger(capacityBytes) && capacityBytes >= 0)) throw new InvalidInput('capacity', `capacity is ${JSON.stringify(capacityBytes)}; it takes a number of bytes, 0 for none`)
  if (capacityBytes !== undefined && capacityBytes > 0 && describeMember(row).role === roles.witness) throw new Refused('a witness holds no blocks: it has no capacity')
  return rows.map((one) => one === row ? set(one, settings) : one)
}

/** @throws InvalidInput */
export function demandZone (zone: string): void {
  if (!zonePattern.test(zone)) throw new InvalidInput('zone', `zone is ${JSON.stringify(zone.slice(0, 80))}; it takes 1-64 letters, digits, dots, hyphens and underscores`)
}

function set ({ isDraining: wasDraining, ...row }: MemberRow, { isDraining = wasDraining, zone, capacityBytes }: MemberSettings): MemberRow {
  return {
    ...row,
    ...isDraining === true ? { isDraining } : {},
    ...capacityBytes === undefined ? {} : { capacityBytes },
    // what its certificate says needs no saying again
    ...zone === undefined ? {} : { zone: zone === row.certificate.member.zone ? undefined : zone },
  } as MemberRow
}

/** @throws Refused where there is nothing to drain yet */
export function demandSettled ({ layout }: MemberSettingsParts['state'], { isDraining }: MemberSettings): void {
  if (isDraining !== undefined && layout.state !== 'settled' && layout.state !== 'changing') throw new Refused('nothing is held yet: the first bucket settles who holds what')
}

/** @throws Refused where nobody would be left to hold and decide */
export function demandHolders (rows: readonly MemberRow[]): void {
  const holding = rows.filter(({ isDraining }) => isDraining !== true)
  if (!holding.some((row) => describeMember(row).role === roles.member)) throw new Refused('nobody would be left to hold and decide: one member stays')
  if (!hasHolders(rows)) throw new Refused(`${nobodyHolds}: one node with a capacity above 0 stays`)
}

export const nobodyHolds = 'nobody would be left to hold blocks'
export const hasHolders = (rows: readonly MemberRow[]): boolean =>
  rows.some((row) => row.isDraining !== true && row.capacityBytes > 0 && describeMember(row).role !== roles.witness)
