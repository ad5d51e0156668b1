import { describe, expect, test } from 'vitest'
import { utf8 } from '../../../src/base/bytes.ts'
import { Corrupt } from '../../../src/base/errors.ts'
import type { PeerId } from '../../../src/base/peer-id.ts'
import { clearRowKey } from '../../../src/cluster/clear-row.ts'
import { type AdminStatement, changing, closing, clusterRowKeys, declaredBy, encodeEra, encodeInviteRow, encodeLayout, encodeMemberRow, type Era, hashOfStatement, type InviteStatement, type Layout, type MemberRow, type MemberStatement, openLayout, recovering, roles, settled } from '../../../src/cluster/index.ts'
import { memoryFiles } from '../../../src/disk/memory-files.ts'
import { clearRowRule, clusterAddress, layoutGuard, memberRowHash, votersIn } from '../../../src/node/membership/membership.ts'
import { type ClusterFacts, ClusterState } from '../../../src/node/state.ts'
import { clearPartition } from '../../../src/tables/clear-rows.ts'
import { encodeEnvelope } from '../../../src/tables/envelope.ts'
import { type TableNumber, tables } from '../../../src/tables/index.ts'
import { certificateOf, keyNamed, layoutMember, paperCluster, peerNamed, seedNamed } from '../../support/cluster-identities.ts'
import { memoryRegisters } from '../../support/memory-registers.ts'

const cluster = paperCluster()
const founder = cluster.member('founder')

const stateWith = ({ layout = openLayout(layoutMember('founder')), era = cluster.era(1, [founder]) }: Partial<Pick<ClusterFacts, 'layout' | 'era'>> = {}): ClusterState =>
  new ClusterState(memoryFiles(), { clusterId: cluster.clusterId, authority: cluster.authority, certificate: certificateOf(founder), era, layout, members: [rowOf(founder)] })
const rowOf = (member: MemberStatement, invite?: InviteStatement, admin?: AdminStatement): MemberRow => ({ certificate: certificateOf(member, { admin, invite }), capacityBytes: 1, addresses: [], storeId: new Uint8Array(16).fill(1) })

describe('who decides', () => {
  test('about clear rows, and compares them, are all voters: more than the replicas of any partition', () => {
    const names = ['founder', 'bob', 'carol', 'dave', 'eve', 'frank']
    const layout = settled(closing(openLayout(layoutMember('founder'))), names.map((name) => layoutMember(name)))
    const voters = votersIn(stateWith({ layout }))
    expect(voters.ofPartition(clearPartition).toSorted()).toEqual(names.map(peerNamed).toSorted())
    expect(voters.ofPartition(0)).toHaveLength(5)
  })

  test('after the loss of a majority are all that are left of those who did, each of them, and a majority of those to follow', () => {
    const names = ['founder', 'bob', 'carol', 'dave', 'eve', 'frank', 'grace']
    const layout = settled(closing(openLayout(layoutMember('founder'))), names.map((name) => layoutMember(name)))
    const left = ['bob', 'eve', 'grace'].map((name) => layoutMember(name))
    const recovery = declaredBy(keyNamed('cluster authority'), cluster.clusterId, recovering(layout, left))
    const { version, groups } = votersIn(stateWith({ layout: recovery })).electorate(clearPartition)
    expect(version).toBe(recovery.version)
    expect(groups.slice(0, -1).flat().toSorted()).toEqual(left.map(({ peerId }) => peerId).toSorted())
    expect(groups.slice(0, -1).every((group) => group.length === 1)).toBe(true)
    expect(groups.at(-1)?.toSorted()).toEqual(left.map(({ peerId }) => peerId).toSorted())
  })
})

describe('a newer layout', () => {
  const names = ['founder', 'bob', 'carol']
  const layout = settled(closing(openLayout(layoutMember('founder'))), [...names, 'wit'].map((name) => layoutMember(name)))
  const newer = changing(layout, names.map((name) => layoutMember(name)))
  const wit = peerNamed('wit')

  /** The guard of carol, and how many questions it has asked of whom; members tell of `told`, the witness of what it likes. */
  async function guarded (told: Layout): Promise<{ guard: ReturnType<typeof layoutGuard>, state: ClusterState, asked: PeerId[] }> {
    const members = names.map((name) => cluster.member(name))
    const rows = [...members.map((member) => rowOf(member)), rowOf(cluster.member('wit', { role: roles.witness }))]
    const era = cluster.era(1, rows.map(({ certificate: { member } }) => member))
    const state = new ClusterState(memoryFiles(), { clusterId: cluster.clusterId, authority: cluster.authority, certificate: certificateOf(cluster.member('carol')), era, layout, members: rows })
    const asked: PeerId[] = []
    const guard = layoutGuard(state, () => ({
      reachable: () => new Set(['founder', 'bob'].map(peerNamed).concat(wit)),
      async ask (peer, { version }) {
        asked.push(peer)
        await new Promise((resolve) => { setImmediate(resolve) })
        return told.version > version ? { kind: 'staleLayout', layout: encodeLayout(told) } : { kind: 'digests', digests: [] }
      },
    }))
    return { guard, state, asked }
  }

  test('is had from a member, whoever names it', async () => {
    const { guard, state, asked } = await guarded(newer)
    await guard.adopt(newer.version, wit)
    expect(state.layout.version).toBe(newer.version)
    expect(asked).not.toContain(wit)
  })
  test('that there is not, and a node without keys names with each of many messages, costs each member a question at a time', async () => {
    const { guard, asked } = await guarded(layout)
    const outcomes = await Promise.allSettled(Array.from({ length: 200 }, async (_, i) => guard.adopt(BigInt(1000 + i), wit)))
    expect(outcomes.every(({ status }) => status === 'rejected')).toBe(true)
    expect(asked.length).toBeLessThan(10)
  })
  test('is not read as a node without keys tells it, for to make its tables takes seconds: only which version it is', async () => {
    const { guard, state, asked } = await guarded(newer)
    const head = encodeLayout(newer).subarray(0, 40)
    await guard.heard(head, wit)
    expect(state.layout.version).toBe(newer.version)
    expect(asked).not.toContain(wit)
    await guard.heard(head, wit)
  })
})

describe('a clear row', () => {
  interface Proposed { readonly table: TableNumber, readonly key: Uint8Array, readonly value?: Uint8Array, readonly isTombstone?: boolean, readonly operations?: number, readonly by?: string }
  /** Whether a voter takes it. */
  const isTaken = ({ table, key, value = new Uint8Array(0), isTombstone = false, operations = 1, by = 'founder' }: Proposed, state = stateWith()): boolean => {
    const body = encodeEnvelope({ operations: Array.from({ length: operations }, (_, i) => seedNamed(`id ${i}`).subarray(0, 16)), value })
    try {
      clearRowRule(state, () => {})({ table, rowKey: clearRowKey(table, key), proposer: keyNamed(by).publicKey, content: { revision: 1n, isTombstone, body } })
      return true
    } catch (error) {
      expect(error).toBeInstanceOf(Corrupt)
      return false
    }
  }
  const memberRow = (row: MemberRow, key = row.certificate.member.subject): Proposed => ({ table: tables.members, key, value: encodeMemberRow(row) })
  const eraRow = (era: Era): Proposed => ({ table: tables.era, key: clusterRowKeys.era, value: encodeEra(era) })
  const invite = cluster.invite('invite')
  const bob = cluster.member('bob', { by: keyNamed('invite') })

  test('comes from a member, whatever it says', () => {
    expect(isTaken(memberRow(rowOf(founder)))).toBe(true)
    expect(isTaken({ ...memberRow(rowOf(founder)), by: 'mallory' })).toBe(false)
  })

  test('of a member says what a certificate proves, under the key that it is about', () => {
    expect(isTaken(memberRow(rowOf(bob, invite)))).toBe(true)
    expect(isTaken(memberRow(rowOf(bob, invite), founder.subject))).toBe(false)
    expect(isTaken(memberRow(rowOf(cluster.member('bob', { by: keyNamed('mallory') }), cluster.invite('mallory', { by: keyNamed('mallory') }))))).toBe(false)
    expect(isTaken(memberRow(rowOf(cluster.member('bob', { by: keyNamed('mallory') }))))).toBe(false)
    expect(isTaken(memberRow(rowOf(paperCluster('other').member('bob'))))).toBe(false)
    expect(isTaken({ ...memberRow(rowOf(bob, invite)), value: Uint8Array.of(1, 2, 3) })).toBe(false)
  })

  test('of a member whom a later era leaves out can still be read; one of an era to come cannot', () => {
    const lapsed = memberRow(rowOf(bob, invite))
    expect(isTaken(lapsed, stateWith({ era: cluster.era(2, [founder]) }))).toBe(true)
    expect(isTaken(memberRow(rowOf(cluster.member('bob', { era: 2, by: keyNamed('invite') }), cluster.invite('invite', { era: 2 }))))).toBe(false)
  })

  test('of a member that an admin let in can still be read when both are gone', () => {
    const admin = cluster.admin('admin')
    const row = rowOf(cluster.member('carol', { era: 2, by: keyNamed('by admin') }), cluster.invite('by admin', { era: 2, by: keyNamed('admin') }), admin)
    expect(isTaken(memberRow(row), stateWith({ era: cluster.era(3, [founder]) }))).toBe(true)
    expect(isTaken(memberRow({ ...row, certificate: { ...row.certificate, admin: cluster.admin('admin', { by: keyNamed('mallory') }) } }), stateWith({ era: cluster.era(3, [founder]) }))).toBe(false)
    expect(isTaken(memberRow({ ...row, certificate: { ...row.certificate, admin: cluster.admin('admin', { era: 3 }) } }), stateWith({ era: cluster.era(3, [founder]) }))).toBe(false)
  })

  test('of a member that an era lists, by nobody in the chain, is not taken: it could not be read after that era', () => {
    const eve = cluster.member('eve', { by: keyNamed('mallory') })
    expect(isTaken(memberRow(rowOf(eve)), stateWith({ era: cluster.era(1, [founder, eve]) }))).toBe(false)
  })

  test('of an invite says once what has become of it', () => {
    const used: Proposed = { table: tables.invites, key: invite.subject, value: encodeInviteRow({ state: 'used', statementHash: hashOfStatement(bob) }) }
    expect(isTaken(used)).toBe(true)
    expect(isTaken({ ...used, value: encodeInviteRow({ state: 'revoked' }) })).toBe(true)
    expect(isTaken({ ...used, operations: 2 })).toBe(false)
    expect(isTaken({ ...used, value: new Uint8Array(32) })).toBe(false)
  })

  test('of the era is the authority\'s', () => {
    expect(isTaken(eraRow(cluster.era(1, [founder])))).toBe(true)
    expect(isTaken(eraRow(cluster.era(2, [founder])))).toBe(true)
    expect(isTaken(eraRow(cluster.era(2, [founder], { by: keyNamed('founder') })))).toBe(false)
    expect(isTaken({ ...eraRow(cluster.era(1, [founder])), key: clusterRowKeys.layout })).toBe(false)
  })

  test('of the layout follows from the one before', () => {
    const open = openLayout(layoutMember('founder'))
    const layoutRow = (layout: Layout): Proposed => ({ table: tables.layout, key: clusterRowKeys.layout, value: encodeLayout(layout) })
    expect(isTaken(layoutRow(open))).toBe(true)
    expect(isTaken(layoutRow(closing(open)))).toBe(true)
    expect(isTaken(layoutRow({ ...closing(open), version: 7n }))).toBe(false)
    expect(isTaken({ ...layoutRow(open), key: clusterRowKeys.era })).toBe(false)
  })

  test.each([tables.members, tables.invites, tables.layout, tables.era])('of table %d is never erased; where there was none an identity round may say so', (table) => {
    expect(isTaken({ table, key: utf8('x'), isTombstone: true, operations: 1 })).toBe(false)
    expect(isTaken({ table, key: utf8('x'), isTombstone: true, operations: 0 })).toBe(true)
  })
})

describe('the members row of one that was put out and has come back by a new invite', () => {
  const [first, second] = [cluster.invite('first'), cluster.invite('second', { era: 2 })]
  const [before, after] = [rowOf(cluster.member('bob', { by: keyNamed('first') }), first), rowOf(cluster.member('bob', { by: keyNamed('second'), era: 2 }), second)]
  const address = clusterAddress(tables.members, keyNamed('bob').publicKey)

  test('is read anew, where the one of before is known', async () => {
    const [state, registers] = [stateWith({ era: cluster.era(2, [founder]) }), memoryRegisters()]
    await state.remember(before)
    registers.put(address, encodeMemberRow(after))
    expect(await memberRowHash(state, () => registers, keyNamed('bob').publicKey)).toEqual(hashOfStatement(after.certificate.member))
    expect(state.belongs(peerNamed('bob'))).toBe(true)
  })

  test('is what is known while no majority tells, and is asked of a member', async () => {
    const [state, registers, unknown] = [stateWith({ era: cluster.era(2, [founder]) }), memoryRegisters(), [] as Uint8Array[]]
    await state.remember(before)
    registers.isUnavailable = true
    expect(await memberRowHash(state, () => registers, keyNamed('bob').publicKey, (key) => { unknown.push(key) })).toEqual(hashOfStatement(before.certificate.member))
    expect(unknown).toEqual([keyNamed('bob').publicKey])
  })
})
