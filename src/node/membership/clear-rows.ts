import { Corrupt, Unavailable } from '../../base/errors.ts'
import type { PeerId } from '../../base/peer-id.ts'
import { allVotersOf, type MemberRow, parseMemberRow } from '../../cluster/index.ts'
import { clearPartition } from '../../tables/clear-rows.ts'
import { type RowCodec, type TableNumber, tables } from '../../tables/index.ts'
import { getsOn, type RowBallot, type TableAnswer, type TableQuestion } from '../../tables/messages.ts'
import { openRecord } from '../../tables/opened-record.ts'
import type { ClusterState } from '../state.ts'

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
 * They stand in no listing, for invites do not say their own names.
 * @throws Unavailable
 */
export async function readClearRows (sources: ClearRowSources, wait: { signal?: AbortSignal } = {}): Promise<readonly ClearRowFound[]> {
  const [founder] = allVotersOf(sources.state.layout)
  if (founder === undefined) throw new Corrupt('a layout without voters')
  const found: ClearRowFound[] = []
  for await (const { table, rowKey } of clearRowsAt(sources, founder, wait)) {
    const answer = await sources.ask(founder, { kind: 'read', table, rowKey }, wait)
    if (answer.kind !== 'value' || answer.accepted === undefined) throw new Unavailable('a row of the cluster could not be read')
    found.push({ table, rowKey, record: answer.accepted, value: openRecord(sources.codec, { table, rowKey, record: answer.accepted }).value })
  }
  return found
}

export const membersAmong = (rows: readonly ClearRowFound[]): readonly MemberRow[] =>
  rows.flatMap(({ table, value }) => table === tables.members && value !== undefined ? [parseMemberRow(value)] : [])

/** Which clear rows a voter has. @throws Unavailable */
export async function * clearRowsAt ({ ask }: Pick<ClearRowSources, 'ask'>, voter: PeerId, wait: { signal?: AbortSignal }): AsyncIterable<RowBallot> {
  let told = 0
  for (let after: Uint8Array | undefined, isLast = false; !isLast;) {
    const answer = await ask(voter, { kind: 'ballots', partition: clearPartition, after }, wait)
    if (answer.kind !== 'ballots' || !getsOn(answer, { after, told })) throw new Unavailable(`${voter} does not tell its rows of the cluster`)
    yield * answer.rows
    after = answer.rows.at(-1)?.rowKey
    told += answer.rows.length
    isLast = !answer.truncated
  }
}
