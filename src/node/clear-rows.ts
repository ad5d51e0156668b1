import { partitionCount } from '../base/bytes.ts'
import { Corrupt, Unavailable } from '../base/errors.ts'
import type { PeerId } from '../base/peer-id.ts'
import { allVotersOf, type MemberRow, parseMemberRow } from '../cluster/index.ts'
import { isClear, type RowCodec, type TableNumber, tables } from '../tables/index.ts'
import { messageLimits, type TableAnswer, type TableQuestion } from '../tables/messages.ts'
import { openRecord } from '../tables/opened-record.ts'
import type { ClusterState } from './state.ts'

/** Asks one replica, the own one too, under the layout of this moment. */
export type AskReplica = (peer: PeerId, question: TableQuestion, wait: { signal?: AbortSignal }) => Promise<TableAnswer>

export interface ClearRowSources {
  readonly state: ClusterState
  readonly codec: RowCodec
  readonly ask: AskReplica
}

export interface ClearRowFound {
  readonly table: TableNumber
  readonly rowKey: Uint8Array
  readonly record: Uint8Array
  /** Undefined: a tombstone. */
  readonly value: Uint8Array | undefined
}

/**
 * Every clear row (members, invites, layout, era) of the founder, who alone decides about them until the layout is settled: so what it has is what there is.
 * They stand in no listing, for invites do not say their own names; partitions are walked instead, the empty ones sixty-four at a time.
 * @throws Unavailable
 */
export async function readClearRows (sources: ClearRowSources, wait: { signal?: AbortSignal } = {}): Promise<readonly ClearRowFound[]> {
  const [founder] = allVotersOf(sources.state.layout)
  if (founder === undefined) throw new Corrupt('a layout without voters')
  const found: ClearRowFound[] = []
  for (const partition of await filledPartitions(sources, founder, wait)) {
    for (const { table, rowKey } of await rowsIn(sources, founder, partition, wait)) {
      const answer = await sources.ask(founder, { kind: 'read', table, rowKey }, wait)
      if (answer.kind !== 'value' || answer.accepted === undefined) throw new Unavailable('a row of the cluster could not be read')
      found.push({ table, rowKey, record: answer.accepted, value: openRecord(sources.codec, { table, rowKey, record: answer.accepted }).value })
    }
  }
  return found
}

export const membersAmong = (rows: readonly ClearRowFound[]): readonly MemberRow[] =>
  rows.flatMap(({ table, value }) => table === tables.members && value !== undefined ? [parseMemberRow(value)] : [])

async function filledPartitions ({ ask }: ClearRowSources, founder: PeerId, wait: { signal?: AbortSignal }): Promise<readonly number[]> {
  const filled: number[] = []
  for (let first = 0; first < partitionCount; first += messageLimits.maxDigests) {
    const partitions = Array.from({ length: messageLimits.maxDigests }, (_, i) => first + i)
    const answer = await ask(founder, { kind: 'digest', partitions }, wait)
    if (answer.kind !== 'digests') throw new Unavailable('the founder does not answer for its rows')
    filled.push(...partitions.filter((_, i) => answer.digests[i] === undefined || (answer.digests[i]?.count ?? 0) > 0))
  }
  return filled
}

async function rowsIn ({ ask }: ClearRowSources, founder: PeerId, partition: number, wait: { signal?: AbortSignal }): Promise<ReadonlyArray<{ table: TableNumber, rowKey: Uint8Array }>> {
  const rows: Array<{ table: TableNumber, rowKey: Uint8Array }> = []
  for (let after: Uint8Array | undefined, isLast = false; !isLast;) {
    const answer = await ask(founder, { kind: 'ballots', partition, after }, wait)
    if (answer.kind !== 'ballots') throw new Unavailable(`the founder does not answer for partition ${partition}`)
    rows.push(...answer.rows.filter(({ table }) => isClear(table)))
    after = answer.rows.at(-1)?.rowKey
    isLast = !answer.truncated
  }
  return rows
}
