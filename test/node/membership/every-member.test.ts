import { expect, test } from 'vitest'
import { concat } from '../../../src/base/bytes.ts'
import type { PeerId } from '../../../src/base/peer-id.ts'
import { closing, openLayout, settled } from '../../../src/cluster/index.ts'
import { everyMemberRow, type EveryMemberSources } from '../../../src/node/membership/every-member.ts'
import { clearPartition } from '../../../src/tables/clear-rows.ts'
import { votersBy } from '../../../src/tables/electorate.ts'
import { tables } from '../../../src/tables/index.ts'
import { messageLimits, type TableQuestion } from '../../../src/tables/messages.ts'
import { plainCodec } from '../../support/table-plain-codec.ts'
import { layoutMember, peerNamed } from '../../support/cluster-identities.ts'

const names = ['ann', 'bob', 'liar']
const peers = names.map(peerNamed)
const ballot = { counter: 1n, proposer: new Uint8Array(32) }

test.each([['begins anew', () => 0], ['goes on', (i: number) => i]] as const)('who tells of rows without end, and %s, holds up nobody who looks for the members', async (_, nth) => {
  let [asked, rows] = [0, 0]
  const rowOf = (i: number): Uint8Array => concat([Uint8Array.of(nth(i) >> 16, nth(i) >> 8, nth(i)), new Uint8Array(29)])
  const sources = {
    state: { layout: settled(closing(openLayout(layoutMember('ann'))), names.map((name) => layoutMember(name))) },
    codec: plainCodec,
    voters: votersBy({ version: () => 1n, groupsOf: () => [peers] }),
    ask: async (peer: PeerId, { kind }: TableQuestion) => {
      await Promise.resolve()
      if (++asked > 10_000) throw new Error('asked without end')
      if (kind === 'read') return { kind: 'value', promised: ballot, accepted: undefined }
      return peer === peerNamed('liar') ? { kind: 'ballots', truncated: true, rows: Array.from({ length: messageLimits.maxBallots }, () => ({ table: tables.members, rowKey: rowOf(rows++), ballot })) } : { kind: 'ballots', truncated: false, rows: [] }
    },
  } as unknown as EveryMemberSources
  expect(sources.voters.electorate(clearPartition).groups).toEqual([peers])
  expect(await everyMemberRow(sources)).toEqual([])
  expect(asked).toBeLessThan(100)
})
