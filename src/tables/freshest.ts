import type { Clock } from '../base/clock.ts'
import { Unavailable } from '../base/errors.ts'
import type { PeerId } from '../base/peer-id.ts'
import { partitionOfTable } from './clear-rows.ts'
import { electorsOf } from './electorate.ts'
import type { RowCodec, TableNumber, Voters } from './index.ts'
import type { TableAnswer, TableRequest } from './messages.ts'
import { openRecord } from './opened-record.ts'
import { highestOf, type OpenedRecord } from './round.ts'

/**
 * The freshest copy of a row among the replicas that can be asked: without a majority, and so without any promise that nothing newer was acknowledged.
 * Only for callers who ask for it by name.
 * @throws Unavailable if nobody answers
 */
export async function freshestReachable (
  { codec, voters, self, peers, ask }: {
    codec: RowCodec, voters: Voters, self: PeerId, clock: Clock, peers: { reachable (): ReadonlySet<PeerId> }
    ask: (peer: PeerId, request: TableRequest, options: { signal?: AbortSignal }) => Promise<TableAnswer>
  },
  row: { table: TableNumber, rowKey: Uint8Array },
  { signal }: { signal: AbortSignal },
): Promise<OpenedRecord | undefined> {
  const reachable = new Set([...peers.reachable(), self])
  const electorate = voters.electorate(partitionOfTable(row))
  const asked = electorsOf(electorate).filter((peer) => reachable.has(peer))
  const answers = await Promise.allSettled(asked.map(async (peer) => {
    const answer = await ask(peer, { version: electorate.version, kind: 'read', ...row }, { signal })
    if (answer.kind !== 'value') throw new Unavailable(`a replica answers ${answer.kind}`)
    return answer.accepted === undefined ? undefined : openRecord(codec, { ...row, record: answer.accepted })
  }))
  const heard = answers.filter((answer) => answer.status === 'fulfilled')
  if (heard.length === 0) throw new Unavailable('no replica of the row answers', { cause: answers.find((answer) => answer.status === 'rejected')?.reason })
  return highestOf(heard.map(({ value }) => value))
}
