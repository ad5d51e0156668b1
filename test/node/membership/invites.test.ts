import { beforeEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../../src/base/clock.ts'
import { Conflict, Corrupt, InvalidInput, Refused, Unavailable } from '../../../src/base/errors.ts'
import { seededRandom } from '../../../src/base/random.ts'
import { type AdminStatement, encodeInviteRow, eraAfter, hashOfStatement, openLayout, parseToken } from '../../../src/cluster/index.ts'
import type { Files } from '../../../src/disk/index.ts'
import { memoryFiles } from '../../../src/disk/memory-files.ts'
import { Invites } from '../../../src/node/membership/invites.ts'
import { IssuedInvites, issuedInvitesLimits } from '../../../src/node/membership/issued-invites.ts'
import { clusterAddress } from '../../../src/node/membership/membership.ts'
import { ClusterState } from '../../../src/node/state.ts'
import { tables } from '../../../src/tables/index.ts'
import { certificateOf, keyNamed, layoutMember, paperCluster, peerNamed, seedNamed } from '../../support/cluster-identities.ts'
import { type MemoryRegisters, memoryRegisters } from '../../support/memory-registers.ts'

const cluster = paperCluster()
const founder = cluster.member('founder')
const nowMs = 1_700_000_000_000
let files: Files
let registers: MemoryRegisters
let state: ClusterState
const random = seededRandom(1)

beforeEach(() => {
  [files, registers] = [memoryFiles(), memoryRegisters()]
  const members = [founder, cluster.member('bob')].map((member) => ({ certificate: certificateOf(member), capacityBytes: 1, addresses: [], storeId: new Uint8Array(16) }))
  state = new ClusterState(files, { clusterId: cluster.clusterId, authority: cluster.authority, certificate: certificateOf(founder), era: cluster.era(1, [founder]), layout: openLayout(layoutMember('founder')), members })
})

const invitesAt = ({ ms = nowMs, registers: over = registers, isAuthority = true, addresses = [Uint8Array.of(1)], listens = true }: { ms?: number, registers?: MemoryRegisters, isAuthority?: boolean, addresses?: readonly Uint8Array[], listens?: boolean } = {}): Invites => new Invites({
  state, registers: over, random, clock: { ...systemClock, wallMs: () => ms }, issued: new IssuedInvites(files), addresses: () => addresses, listens,
  keyring: { nodeSeed: seedNamed('founder'), exchangeSeed: new Uint8Array(32), diskKey: new Uint8Array(32), clusterId: cluster.clusterId, ring: undefined, authoritySeed: isAuthority ? seedNamed('cluster authority') : undefined },
})
const keyOfToken = (token: string | undefined): Uint8Array => parseToken(token ?? '').invite.subject
const usedBy = (token: string | undefined, name: string): void => {
  registers.put(clusterAddress(tables.invites, keyOfToken(token)), encodeInviteRow({ state: 'used', statementHash: hashOfStatement(cluster.member(name)) }))
}

describe('invites', () => {
  test('are not made where nobody could come: on a node that does not listen that is so, where its network is down it is so now', async () => {
    await expect(invitesAt({ addresses: [], listens: false }).make({})).rejects.toThrow(Refused)
    await expect(invitesAt({ addresses: [] }).make({})).rejects.toThrow(Unavailable)
  })

  test('are listed by the node that made them, over a restart, with what has become of each', async () => {
    const [used, revoked, open, expiring] = [...await invitesAt().make({ uses: 3 }), ...await invitesAt().make({ role: 'witness', zone: 'attic', notAfterMs: nowMs + 1 })]
    usedBy(used, 'bob')
    await invitesAt().revoke(revoked ?? '')
    const listed = await invitesAt({ ms: nowMs + 2 }).list()
    expect(listed.map(({ state: of }) => of)).toEqual(['used', 'revoked', 'open', 'expired'])
    expect(listed[0]).toMatchObject({ usedBy: peerNamed('bob'), roles: ['member'] })
    expect(listed[3]).toMatchObject({ roles: ['witness'], zone: 'attic', notAfterMs: nowMs + 1, madeMs: nowMs })
    await state.adoptEra(cluster.era(2, [founder]))
    expect((await invitesAt().list()).map(({ state: of }) => of)).toEqual(['used', 'revoked', 'lapsed', 'lapsed'])
    expect([open, expiring].every((token) => token !== undefined)).toBe(true)
  })

  test('stay open after an era that puts nobody out, are used in it, and lapse with the next that does', async () => {
    const signer = keyNamed('cluster authority')
    const [token] = await invitesAt().make({ uses: 2 })
    await state.adoptEra(eraAfter(state.era, { signer, listed: [founder], keepsInvites: true }))
    usedBy(token, 'bob')
    await invitesAt().make({})
    expect((await invitesAt().list()).map(({ state: of }) => of)).toEqual(['used', 'open', 'open'])
    await state.adoptEra(eraAfter(state.era, { signer, listed: [founder] }))
    expect((await invitesAt().list()).map(({ state: of }) => of)).toEqual(['used', 'lapsed', 'lapsed'])
  })

  test('by an admin lapse when it is none any more, and are not open again when it is made one anew', async () => {
    const signer = keyNamed('cluster authority')
    const adminOf = (era: number): AdminStatement => cluster.admin('founder', { era })
    const states = async (): Promise<readonly string[]> => (await invitesAt({ isAuthority: false }).list()).map(({ state: of }) => of)
    const next = async (admins: readonly AdminStatement[]): Promise<void> => state.adoptEra(eraAfter(state.era, { signer, listed: [founder, ...admins], keepsInvites: true }))
    await next([adminOf(2)])
    await invitesAt({ isAuthority: false }).make({})
    await next([adminOf(2)])
    expect(await states()).toEqual(['open'])
    await next([])
    expect(await states()).toEqual(['lapsed'])
    await next([adminOf(5)])
    await invitesAt({ isAuthority: false }).make({})
    expect(await states()).toEqual(['lapsed', 'open'])
  })

  test('are revoked by token or by key, of any node, and again', async () => {
    const [token, other] = await invitesAt().make({ uses: 2 })
    await invitesAt().revoke(token ?? '')
    await invitesAt().revoke(token ?? '')
    await invitesAt().revoke(Buffer.from(keyOfToken(other)).toString('hex'))
    expect((await invitesAt().list()).map(({ state: of }) => of)).toEqual(['revoked', 'revoked'])
    for (const wrong of ['', 'dfs1-', 'abcd', 'x'.repeat(64)]) await expect(invitesAt().revoke(wrong)).rejects.toThrow(InvalidInput)
  })

  test('that were used stay used: whoever revokes one is told by whom', async () => {
    const [token] = await invitesAt().make({})
    usedBy(token, 'bob')
    const revoking = invitesAt().revoke(token ?? '')
    await expect(revoking).rejects.toThrow(Conflict)
    await expect(revoking).rejects.toThrow(`used by ${peerNamed('bob')}`)
    expect((await invitesAt().list())[0]?.state).toBe('used')
    usedBy(token, 'somebody unknown here')
    await expect(invitesAt().revoke(token ?? '')).rejects.toThrow(/has been used: /)
  })

  test('are not said to be revoked without a majority', async () => {
    const [token] = await invitesAt().make({})
    registers.isUnavailable = true
    await expect(invitesAt().revoke(token ?? '')).rejects.toThrow(Unavailable)
  })

  test('made by the thousand push the oldest out of the list, and a damaged list is noticed', async () => {
    const issued = new IssuedInvites(files)
    const invite = { roles: 2, era: 1, notAfterMs: undefined, zone: '', madeMs: 0 }
    await Promise.all([0, 1].map(async (i) => issued.add(Array.from({ length: 600 }, (_, n) => ({ ...invite, key: Buffer.from([...new Uint8Array(30), i, n & 0xff]).toString('hex') })))))
    expect(await new IssuedInvites(files).all()).toHaveLength(issuedInvitesLimits.maxKept)
    const bytes = await files.read('invites')
    await files.writeDurable('invites', [bytes.with(3, (bytes[3] ?? 0) ^ 1)])
    await expect(new IssuedInvites(files).all()).rejects.toThrow(Corrupt)
  })
})
