import { describe, expect, test } from 'vitest'
import type { Clock } from '../../../src/base/clock.ts'
import type { PeerId } from '../../../src/base/peer-id.ts'
import { clearRowKey, signClearRow } from '../../../src/cluster/clear-row.ts'
import { encodeMemberRow, type InviteStatement, type MemberRow, type MemberStatement, openLayout, roles } from '../../../src/cluster/index.ts'
import { ByteWriter } from '../../../src/base/bytes.ts'
import { memoryFiles } from '../../../src/disk/memory-files.ts'
import { clearRowRule } from '../../../src/node/membership/membership.ts'
import { UnknownPeers, unknownPeersLimits } from '../../../src/node/membership/unknown-peers.ts'
import { ClusterState } from '../../../src/node/state.ts'
import { encodeBallot } from '../../../src/tables/ballot.ts'
import { encodeEnvelope } from '../../../src/tables/envelope.ts'
import { tables } from '../../../src/tables/index.ts'
import type { TableAnswer } from '../../../src/tables/messages.ts'
import { certificateOf, keyNamed, layoutMember, paperCluster, peerNamed, seedNamed } from '../../support/cluster-identities.ts'

const cluster = paperCluster()
const [founder, bob, wit] = [cluster.member('founder'), cluster.member('bob'), cluster.member('wit', { role: roles.witness })]
const invite = cluster.invite('invite')
const dave = cluster.member('dave', { by: keyNamed('invite') })
const rowOf = (member: MemberStatement, by?: InviteStatement): MemberRow => ({ certificate: certificateOf(member, { invite: by }), capacityBytes: 1, addresses: [], storeId: seedNamed('store').subarray(0, 16) })
const bodyOf = (row: MemberRow): Uint8Array => encodeEnvelope({ operations: [seedNamed('id').subarray(0, 16)], value: encodeMemberRow(row) })
const rowKey = clearRowKey(tables.members, dave.subject)

/** The row of dave as somebody has signed it. */
const record = ({ row = rowOf(dave, invite), by = 'dave', of = cluster.clusterId }: { row?: MemberRow, by?: string, of?: Uint8Array } = {}): Uint8Array => signClearRow({
  table: tables.members, rowKey, ballot: encodeBallot({ counter: 7n, proposer: keyNamed(by).publicKey }), value: new ByteWriter().u64(2n).u8(0).raw(bodyOf(row)).finish(),
}, keyNamed(by), of)

function known (told: Readonly<Record<string, Uint8Array | undefined>>): { state: ClusterState, unknown: UnknownPeers, asked: string[], later: () => void } {
  const state = new ClusterState(memoryFiles(), { clusterId: cluster.clusterId, authority: cluster.authority, certificate: certificateOf(bob), era: cluster.era(1, [founder, bob, wit]), layout: openLayout(layoutMember('founder')), members: [founder, bob, wit].map((member) => rowOf(member)) })
  let nowMs = 0
  const asked: string[] = []
  const nameOf = (peer: PeerId): string => ['founder', 'erin', 'wit', 'dave'].find((name) => peerNamed(name) === peer) ?? ''
  const unknown = new UnknownPeers({
    state, reachable: () => Object.keys(told).map(peerNamed), clock: { monotonicMs: () => nowMs } as unknown as Clock,
    ask: () => async (peer): Promise<TableAnswer> => {
      asked.push(nameOf(peer))
      const accepted = told[nameOf(peer)]
      if (accepted === undefined) throw new Error('it does not answer')
      return { kind: 'value', promised: undefined, accepted }
    },
  })
  return { state, unknown, asked, later: () => { nowMs += unknownPeersLimits.everyMs } }
}

describe('who proposed a row of the cluster, and is not known', () => {
  test('is learned of from a member, though its row is signed by itself alone; then its rows are believed', async () => {
    const { state, unknown } = known({ founder: record() })
    const rule = clearRowRule(state, (proposer) => { unknown.note(proposer) })
    const proposed = (): void => { rule({ table: tables.members, rowKey, proposer: dave.subject, content: { revision: 2n, isTombstone: false, body: bodyOf(rowOf(dave, invite)) } }) }
    expect(proposed).toThrow('no member here')
    expect(await unknown.step()).toBe('busy')
    expect(state.isMember(peerNamed('dave'))).toBe(true)
    expect(proposed).not.toThrow()
    expect(await unknown.step()).toBe('idle')
  })

  test('is learned of though it has joined in an era that is not known here: the row of that era may be its own', async () => {
    const late = cluster.invite('invite', { era: 3 })
    const { state, unknown } = known({ founder: record({ row: rowOf(cluster.member('dave', { by: keyNamed('invite'), era: 3 }), late) }) })
    unknown.note(dave.subject)
    await unknown.step()
    expect([state.wasMember(peerNamed('dave')), state.belongs(peerNamed('dave'))]).toEqual([true, false])
  })

  test('is learned of anew when it was put out and has come back by another invite', async () => {
    const { state, unknown } = known({ founder: record() })
    await state.remember(rowOf(cluster.member('dave', { by: keyNamed('before') }), cluster.invite('before', { by: keyNamed('nobody') })))
    unknown.note(dave.subject)
    await unknown.step()
    expect(state.isMember(peerNamed('dave'))).toBe(true)
  })

  test.each([['founder', 'erin'], ['erin', 'founder']])('is learned of by the newest of its rows, though one of those asked, %s, was away too and has the one of before', async (late, other) => {
    const old = rowOf(cluster.member('dave', { by: keyNamed('before'), role: roles.storage }), cluster.invite('before'))
    const again = rowOf(cluster.member('dave', { by: keyNamed('invite'), era: 2 }), cluster.invite('invite', { era: 2 }))
    const told = { [late]: record({ row: old }), [other]: record({ row: again }) }
    const { state, unknown } = known({ founder: told.founder, erin: told.erin })
    await state.remember(rowOf(cluster.member('erin')))
    await state.remember(old)
    await state.adoptEra(cluster.era(2, [founder, bob, wit, cluster.member('erin')]))
    unknown.note(dave.subject)
    await unknown.step()
    expect(state.isMember(peerNamed('dave'))).toBe(true)
  })

  test('is not asked of those who hold no keys, nor of itself', async () => {
    const { state, unknown, asked } = known({ wit: record(), dave: record() })
    unknown.note(dave.subject)
    expect(await unknown.step()).toBe('idle')
    expect([asked, state.members.has(peerNamed('dave'))]).toEqual([[], false])
  })

  test.each([
    ['is about another', { row: rowOf(founder) }],
    ['has a certificate of nobody in the chain', { row: rowOf(cluster.member('dave', { by: keyNamed('mallory') }), cluster.invite('mallory', { by: keyNamed('mallory') })) }],
    ['is of another cluster', { of: paperCluster('other').clusterId }],
  ])('is not taken for a member by a row that %s', async (_, wrong) => {
    const { state, unknown } = known({ founder: record(wrong) })
    unknown.note(dave.subject)
    await unknown.step()
    expect(state.members.size).toBe(3)
  })

  test('is asked about at an interval, and not without end', async () => {
    const { unknown, asked, later } = known({ founder: undefined })
    for (let i = 0; i < 2 * unknownPeersLimits.maxNoted; i++) unknown.note(seedNamed(`nobody ${i}`))
    expect([await unknown.step(), await unknown.step()]).toEqual(['busy', 'idle'])
    for (later(); await unknown.step() === 'busy'; later());
    expect(asked).toHaveLength(unknownPeersLimits.maxNoted)
  })
})
