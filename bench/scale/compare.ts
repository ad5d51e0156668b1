import { partitionCount } from '../../src/base/bytes.ts'
import { systemClock } from '../../src/base/clock.ts'
import type { PeerId } from '../../src/base/peer-id.ts'
import { AntiEntropy } from '../../src/tables/anti-entropy.ts'
import { compareBallots } from '../../src/tables/ballot.ts'
import { votersBy } from '../../src/tables/electorate.ts'
import type { StoredRow } from '../../src/tables/index.ts'
import { encodeAnswer, encodeRequest } from '../../src/tables/messages-codec.ts'
import type { TablePeers } from '../../src/tables/registers.ts'
import { type TableReplica, tableReplica } from '../../src/tables/replica.ts'
import { cpuSecondsSince } from '../measure.ts'
import { type RowsOfMember, rowsOfMember } from './rows-of-member.ts'

/**
 * Anti-entropy of two replicas that have the same rows but for some, of which each is ahead of the other in half: the product's stores, replicas and engine, with calls
 * in the place of a network, whose messages are counted as they would be encoded. Arguments: two data folders, how many rows differ. Prints a Compared.
 */
export interface Comparison { readonly bytes: number, readonly questions: number, readonly cpuSeconds: number, readonly differing: number }
export interface Compared { readonly first: Comparison, readonly again: Comparison, readonly equal: Comparison }

const [left = '', right = '', differing = '100'] = process.argv.slice(2)
const sides = [await rowsOfMember(left), await rowsOfMember(right)] as const
await using _left = sides[0].rows
await using _right = sides[1].rows
const names = ['left' as PeerId, 'right' as PeerId] as const
const voters = votersBy({ version: () => 1n, groupsOf: () => [names] })
const replicas = sides.map(({ rows, codec }, side): TableReplica => tableReplica({
  self: names[side] as PeerId, store: rows, codec, voters, isMember: () => true, layout: { version: 1n, encoded: () => new Uint8Array(0), adopt: async () => {} },
})) as [TableReplica, TableReplica]
let [bytes, questions, round] = [0, 0, 1n]
const engines = sides.map(({ codec }, side) => new AntiEntropy({ self: names[side] as PeerId, replica: replicas[side] as TableReplica, codec, voters, settle: undefined, peers: asking(side), clock: systemClock }))

// the first comparison after a start reads every row, to prove what is there
const first = await compared()
const again = await compared()
const equal = await compared({ differing: 0 })
console.log(JSON.stringify({ first, again, equal } satisfies Compared))

function asking (side: number): TablePeers {
  return {
    reachable: () => new Set(names),
    async ask (_peer, request) {
      const answer = await (replicas[1 - side] as TableReplica).answer(names[side] as PeerId, request)
      questions++
      bytes += encodeRequest(request).byteLength + encodeAnswer(answer).byteLength
      return answer
    },
  }
}

/** Makes rows differ, has each side compare, and sees that none does any more. */
async function compared ({ differing: count = Number(differing) }: { differing?: number } = {}): Promise<Comparison> {
  round++
  const changed: StoredRow[] = []
  for (let i = 0; i < count; i++) changed.push(await oneLater(i, sides[i % 2] as RowsOfMember))
  ;[bytes, questions] = [0, 0]
  const before = process.cpuUsage()
  for (const engine of engines) {
    engine.begin()
    while (await engine.step() === 'busy');
  }
  const cpuSeconds = cpuSecondsSince(before)
  for (const { table, rowKey, promised } of changed) for (const { rows } of sides) {
    const row = await rows.get(table, rowKey)
    if (row === undefined || compareBallots(row.promised, promised) !== 0) throw new Error('a row was not handed over')
  }
  return { bytes, questions, cpuSeconds, differing: count }
}

/** A row in a partition of its own, accepted under a later ballot. */
async function oneLater (at: number, { rows, codec, signer }: RowsOfMember): Promise<StoredRow> {
  const partition = Math.floor(at * partitionCount / Math.max(1, Number(differing))) % partitionCount
  for (let p = partition; p < partitionCount; p++) {
    for await (const { table, rowKey, accepted: record } of rows.rows(p)) {
      if (record === undefined) continue
      const ballot = { counter: codec.ballotOf(table, record).counter + round, proposer: signer.publicKey }
      const row = { table, rowKey, promised: ballot, accepted: codec.reproposed({ table, rowKey, record, ballot }) }
      await rows.save([row])
      return row
    }
  }
  throw new Error('there are too few rows')
}
