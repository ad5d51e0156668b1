import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { equals, MalformedBytes, utf8 } from '../../src/base/bytes.ts'
import { systemClock } from '../../src/base/clock.ts'
import { Refused } from '../../src/base/errors.ts'
import { changing, closing, clusterRowKeys, describeMember, encodeInviteRow, encodeLayout, encodeMemberRow, type Era, eraAfter, eraOf, fittingMembers, type InviteToken, layoutLimits, layoutMemberOf, openLayout, parseMemberRow, roles, settled } from '../../src/cluster/index.ts'
import { PeerUnreachable, RequestRefused } from '../../src/network/index.ts'
import { type Joined, type Joiner, joinCluster, joinId, joinProtocol } from '../../src/protocols/join.ts'
import { encodeJoinRequest, parseJoinAnswer, parseJoinRequest } from '../../src/protocols/join-messages.ts'
import { tables } from '../../src/tables/index.ts'
import { certificateOf, keyNamed, layoutMember, paperCluster, peerNamed, seedNamed } from '../support/cluster-identities.ts'
import { type MemoryRegisters, memoryRegisters } from '../support/memory-registers.ts'
import { type MemoryNetwork, memoryNetwork } from '../support/memory-requests.ts'

const cluster = paperCluster()
const founder = cluster.member('founder')
const sponsor = peerNamed('founder')
const nowMs = 1_700_000_000_000
const layoutAddress = { table: tables.layout, scope: clusterRowKeys.scope, key: clusterRowKeys.layout }
const memberAddress = (key: Uint8Array) => ({ table: tables.members, scope: clusterRowKeys.scope, key })
let network: MemoryNetwork
let registers: MemoryRegisters
let era: Era
let ringsGiven: number
let vouched: string[]
let passedMs: number
/** As the voters have it, where that is not what the sponsor knows. */
let chosen: Era | undefined

beforeEach(async () => {
  [network, registers, era, ringsGiven] = [memoryNetwork(), memoryRegisters(), cluster.era(1, [founder]), 0]
  vouched = []
  passedMs = 0
  chosen = undefined
  registers.put(layoutAddress, encodeLayout(openLayout(layoutMember('founder'))))
  registers.put(memberAddress(founder.subject), encodeMemberRow({ certificate: certificateOf(founder), capacityBytes: 5, addresses: [], storeId: layoutMember('founder').storeId }))
  await sponsoring('founder')
})

async function sponsoring (name: string): Promise<void> {
  const certificate = certificateOf(cluster.member(name))
  await joinProtocol({
    clusterId: cluster.clusterId, authority: cluster.authority, certificate: () => certificate, era: () => era, hearEra: async () => { era = chosen ?? era }, registers,
    memberRows: async () => registers.valuesOf(tables.members), sealRing: ({ kx }) => { ringsGiven++; return new Uint8Array([...utf8('ring for '), ...kx]) }, clock: { ...systemClock, wallMs: () => nowMs + passedMs }, vouched: (peer) => { vouched.push(peer) },
  }).register(network.of(peerNamed(name)))
}

function join (name: string, token: InviteToken, options: Partial<Joiner<string>> = {}, at = sponsor): Promise<Joined<string>> {
  const joiner: Joiner<string> = {
    peer: peerNamed(name), token, role: roles.member, kx: seedNamed(`${name} kx`), zone: 'attic', capacityBytes: 100, addresses: [Uint8Array.of(9)], storeId: layoutMember(name).storeId,
    openRing: (box) => { if (!equals(box.subarray(9), seedNamed(`${name} kx`))) throw new Refused('not our box'); return 'the ring' }, ...options,
  }
  return joinCluster(network.of(peerNamed(name)), at, joiner)
}

describe('join', () => {
  test('an invited peer gets era, members, layout and the ring, and stands in the members table', async () => {
    const joined = await join('bob', cluster.token('invite'))
    expect(joined).toMatchObject({ ring: 'the ring', era: { number: 1 }, layout: { state: 'open', version: 1n } })
    expect(joined.members.map((row) => describeMember(row).peerId).toSorted()).toEqual([sponsor, peerNamed('bob')].toSorted())
    expect(registers.valuesOf(tables.members)).toHaveLength(2)
  })

  test('storage gets no ring, and a zone in the invite is the zone', async () => {
    const joined = await join('disk', cluster.token('invite', { roles: roles.storage, zone: 'cellar' }), { role: roles.storage, storeId: undefined })
    expect(joined.ring).toBeUndefined()
    expect(describeMember(joined).zone).toBe('cellar')
  })

  test('a lost answer is repaired by repeating: the same membership', async () => {
    const token = cluster.token('invite')
    const first = await join('bob', token)
    network.loseAnswers(peerNamed('bob'), sponsor, 1)
    await expect(join('bob', token)).rejects.toThrow(PeerUnreachable)
    expect(await join('bob', token)).toEqual(first)
  })

  test('a join that is repeated leaves what was said of the node since: that it drains, and its zone', async () => {
    const token = cluster.token('invite')
    await join('bob', token)
    const address = memberAddress(keyNamed('bob').publicKey)
    await registers.change(address, (value) => ({ kind: 'write', value: encodeMemberRow({ ...parseMemberRow(value ?? new Uint8Array(0)), isDraining: true, zone: 'cellar' }), result: undefined }))
    const { members } = await join('bob', token, { capacityBytes: 50, addresses: [Uint8Array.of(7)] })
    expect(members.find((row) => describeMember(row).peerId === peerNamed('bob'))).toMatchObject({ isDraining: true, zone: 'cellar', capacityBytes: 50, addresses: [Uint8Array.of(7)] })
  })

  test('a join that is repeated by a node that is in the layout changes nothing that the layout goes by', async () => {
    const token = cluster.token('invite')
    const { members } = await join('bob', token)
    const closed = closing(openLayout(layoutMember('founder')))
    registers.put(layoutAddress, encodeLayout(settled(closed, members.map((row) => layoutMemberOf(row)))))
    const again = await join('bob', token, { capacityBytes: 50, storeId: layoutMember('carol').storeId, addresses: [Uint8Array.of(7)] })
    expect(again.members.find((row) => describeMember(row).peerId === peerNamed('bob'))).toMatchObject({ capacityBytes: 100, storeId: layoutMember('bob').storeId, addresses: [Uint8Array.of(7)] })
  })

  test('a sponsor that dies between using the invite and writing the row leaves a join that can be repeated', async () => {
    const token = cluster.token('invite')
    const first = await join('bob', token)
    await registers.change(memberAddress(keyNamed('bob').publicKey), () => ({ kind: 'erase', result: undefined }))
    expect(await join('bob', token)).toEqual(first)
  })

  test('a used invite is refused to another peer', async () => {
    await join('bob', cluster.token('invite'))
    await expect(join('carol', cluster.token('invite'))).rejects.toThrow(/has been used/)
    expect(registers.valuesOf(tables.members)).toHaveLength(2)
  })

  test('of two peers that race for one invite, one joins', async () => {
    const outcomes = await Promise.allSettled([join('bob', cluster.token('invite')), join('carol', cluster.token('invite'))])
    expect(outcomes.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
  })

  test('an expired invite is refused by the sponsor\'s clock', async () => {
    await expect(join('bob', cluster.token('invite', { notAfterMs: nowMs - 1 }))).rejects.toThrow(/expired/)
    await expect(join('bob', cluster.token('invite', { notAfterMs: nowMs }))).resolves.toBeDefined()
  })

  test('who shows an invite that is valid is not cut off as a stranger while rows are asked, and who does not is (a join while the layout changed took longer than strangers have)', async () => {
    await expect(join('bob', cluster.token('invite', { notAfterMs: nowMs - 1 }))).rejects.toThrow(/expired/)
    expect(vouched).toEqual([])
    await join('bob', cluster.token('invite', { notAfterMs: nowMs }))
    expect(vouched).toEqual([peerNamed('bob')])
  })

  test('a revoked invite is refused', async () => {
    registers.put({ table: tables.invites, scope: clusterRowKeys.scope, key: keyNamed('invite').publicKey }, encodeInviteRow({ state: 'revoked' }))
    await expect(join('bob', cluster.token('invite'))).rejects.toThrow(/revoked/)
  })

  test('an invite of another cluster, of an older era, or by nobody is refused', async () => {
    await expect(join('bob', paperCluster('other').token('invite'))).rejects.toThrow(/another cluster/)
    await expect(join('bob', cluster.token('invite', { by: keyNamed('mallory') }))).rejects.toThrow(/nobody/)
    era = cluster.era(2, [founder])
    await expect(join('bob', cluster.token('invite'))).rejects.toThrow(/of era 1, and invites from before era 2 are good no more: ask for a new one/)
  })

  test('an invite of an older era is good after eras that put nobody out, and so is the join that is repeated after one more of them', async () => {
    const [before, signer] = [era, keyNamed('cluster authority')]
    era = eraAfter(before, { signer, listed: [founder], keepsInvites: true })
    const token = cluster.token('invite')
    const joined = await join('bob', token)
    expect(joined.era.number).toBe(2)
    era = eraAfter(era, { signer, listed: [founder, joined.certificate.member], keepsInvites: true })
    expect((await join('bob', token)).certificate).toEqual(joined.certificate)
  })

  test('a join whose answer was lost is repeated after an era that puts somebody out and has the one that joins, whatever is said of its invite by then', async () => {
    const [token, signer] = [cluster.token('invite', { notAfterMs: nowMs }), keyNamed('cluster authority')]
    const first = await join('bob', token)
    era = eraAfter(era, { signer, listed: [founder, first.certificate.member] })
    expect(await join('bob', token)).toEqual({ ...first, era })
    era = eraAfter(era, { signer, listed: [founder] })
    await expect(join('bob', token)).rejects.toThrow(/ask for a new one/)
  })

  test('whoever has an invite that has brought another in, and is good no more, is not told who the members are', async () => {
    const { admin, invite, ...token } = cluster.token('invite')
    const { certificate: { member } } = await join('bob', { admin, invite, ...token })
    era = eraAfter(era, { signer: keyNamed('cluster authority'), listed: [founder, member] })
    const ask = async (name: string): Promise<unknown> => network.of(peerNamed(name)).request(sponsor, joinId, [encodeJoinRequest({ kind: 'ask', admin, invite })], { timeoutMs: 1000, maxAnswerBytes: 1e6 })
    await expect(ask('mallory')).rejects.toThrow(/ask for a new one/)
    await ask('bob')
  })

  test('who is a member repeats its join by the invite that it came by, and by none that it has made itself: each would leave a row for ever', async () => {
    const { certificate: { member } } = await join('disk', cluster.token('invite', { roles: roles.storage }), { role: roles.storage, storeId: undefined })
    era = eraAfter(era, { signer: keyNamed('cluster authority'), listed: [founder, member] })
    for (const invite of [cluster.invite('made up', { by: keyNamed('disk') }), cluster.invite('invite', { by: keyNamed('disk') }), cluster.invite('another')]) {
      const body = encodeJoinRequest({ kind: 'join', certificate: { admin: undefined, invite, member }, capacityBytes: 100, addresses: [], storeId: undefined })
      await expect(network.of(peerNamed('disk')).request(sponsor, joinId, [body], { timeoutMs: 1000, maxAnswerBytes: 1e6 })).rejects.toThrow(RequestRefused)
    }
    expect(registers.valuesOf(tables.invites)).toHaveLength(1)
  })

  test('who joins while an era begins, and is not in it, is told so by whoever wrote its row: who made the era has looked who joins before', async () => {
    const before = era
    chosen = eraAfter(before, { signer: keyNamed('cluster authority'), listed: [founder] })
    await expect(join('bob', cluster.token('invite'))).rejects.toThrow(/of era 1, and invites from before era 2 are good no more: ask for a new one/)
    const joined = await join('bob', cluster.token('second', { era: 2 }))
    expect(describeMember(joined).peerId).toBe(peerNamed('bob'))
  })

  test('a join whose answer was lost is repeated after its invite has expired', async () => {
    const token = cluster.token('invite', { notAfterMs: nowMs })
    const first = await join('bob', token)
    passedMs = 1
    expect(await join('bob', token)).toEqual(first)
    await expect(join('carol', token)).rejects.toThrow(/expired/)
  })

  test('an invite of an admin that is none any more is refused, and says so', async () => {
    const [admin, signer] = [cluster.admin('admin'), keyNamed('cluster authority')]
    const token = { ...cluster.token('invite', { by: keyNamed('admin') }), admin }
    era = eraAfter(eraOf([...cluster.era(1, [founder, admin]).statements, admin]), { signer, listed: [founder], keepsInvites: true })
    await expect(join('bob', token)).rejects.toThrow(/no admin any more/)
  })

  test('an invite for another role or another peer is refused on both sides', async () => {
    const [storageOnly, forEve] = [cluster.token('invite', { roles: roles.storage }), cluster.token('invite', { peer: keyNamed('eve').publicKey })]
    await expect(join('bob', storageOnly)).rejects.toThrow(/role/)
    await expect(join('bob', forEve)).rejects.toThrow(/another peer/)
    const direct = async (invite: InviteToken): Promise<unknown> => {
      const certificate = certificateOf(cluster.member('bob', { by: keyNamed('invite') }), { invite: invite.invite })
      const body = encodeJoinRequest({ kind: 'join', certificate, capacityBytes: 0, addresses: [], storeId: undefined })
      return network.of(peerNamed('bob')).request(sponsor, joinId, [body], { timeoutMs: 1000, maxAnswerBytes: 1e6 })
    }
    await expect(direct(storageOnly)).rejects.toThrow(/role/)
    await expect(direct(forEve)).rejects.toThrow(/bound to another peer/)
  })

  test('a certificate made for one peer does not let another in', async () => {
    const token = cluster.token('invite')
    await expect(join('bob', token, { peer: peerNamed('carol') })).rejects.toThrow(/about another peer/)
  })

  test('joining waits while the layout is closing', async () => {
    registers.put(layoutAddress, encodeLayout(closing(openLayout(layoutMember('founder')))))
    await expect(join('bob', cluster.token('invite'))).rejects.toThrow(/join again when it is there/)
    expect(registers.valuesOf(tables.invites)).toEqual([])
  })

  /** Calls back, once, as soon as a members row is written. */
  function onceJoined (act: () => void): void {
    const change = registers.change.bind(registers)
    registers.change = async (address, ...rest) => {
      const result = await change(address, ...rest)
      if (address.table === tables.members) { act(); act = () => {} }
      return result
    }
  }
  const closed = closing(openLayout(layoutMember('founder')))

  test('whoever joins while another node closes the layout gets no ring: nobody knows whether it was counted', async () => {
    onceJoined(() => { registers.put(layoutAddress, encodeLayout(closed)) })
    await expect(join('bob', cluster.token('invite'))).rejects.toThrow('join again when it is there')
    expect(ringsGiven).toBe(0)
  })

  test('whoever was told so joins by repeating it before the layout is settled: its row is counted, and without it there may be no majority that settles it', async () => {
    onceJoined(() => { registers.put(layoutAddress, encodeLayout(closed)) })
    const token = cluster.token('invite')
    await expect(join('bob', token)).rejects.toThrow('join again when it is there')
    await expect(join('bob', cluster.token('second'))).rejects.toThrow('join again when it is there')
    const changed: number[] = []
    const change = registers.change.bind(registers)
    registers.change = async (address, ...rest) => { changed.push(address.table); return change(address, ...rest) }
    expect(await join('bob', token)).toMatchObject({ ring: 'the ring', layout: { state: 'closing' } })
    // what is read alone may be known to the founder alone, and forgotten (closing-registers.ts)
    expect(changed).toContain(tables.members)
  })

  test('joining is open when the layout is settled, and while it changes: it follows', async () => {
    const layout = settled(closed, [layoutMember('founder')])
    registers.put(layoutAddress, encodeLayout(layout))
    expect(await join('bob', cluster.token('invite'))).toMatchObject({ ring: 'the ring', layout: { state: 'settled' } })
    registers.put(layoutAddress, encodeLayout(changing(layout, [layoutMember('founder'), layoutMember('bob')])))
    expect(await join('carol', cluster.token('second'))).toMatchObject({ ring: 'the ring', layout: { state: 'changing' } })
  })

  test('a join whose answer was lost can be repeated after the layout was settled with it', async () => {
    const token = cluster.token('invite')
    await join('bob', token)
    registers.put(layoutAddress, encodeLayout(settled(closed, [layoutMember('founder'), layoutMember('bob', { capacityBytes: 100 })])))
    expect(await join('bob', token)).toMatchObject({ ring: 'the ring', layout: { state: 'settled' } })
  })

  test('a member without a row store is refused: no layout could hold it', async () => {
    await expect(join('bob', cluster.token('invite'), { storeId: undefined })).rejects.toThrow(/a voter without a row store/)
    expect([registers.valuesOf(tables.members).length, registers.valuesOf(tables.invites).length]).toEqual([1, 0])
  })

  const invitedRow = (name: string, zone = ''): void => {
    const invite = cluster.invite(`${name} invite`)
    registers.put(memberAddress(keyNamed(name).publicKey), encodeMemberRow({ certificate: certificateOf(cluster.member(name, { by: keyNamed(`${name} invite`), zone }), { invite }), capacityBytes: 1, addresses: [], storeId: layoutMember(name).storeId }))
  }

  test('one more than a layout can hold is refused, also of two who come at once', async () => {
    for (let i = 1; i < layoutLimits.maxMembers - 1; i++) invitedRow(`m${i}`)
    const outcomes = await Promise.allSettled([join('bob', cluster.token('invite')), join('carol', cluster.token('second'))])
    expect(outcomes.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
    await expect(join('dave', cluster.token('third'))).rejects.toThrow(/at most 128 members/)
    expect(registers.valuesOf(tables.members)).toHaveLength(128)
  })

  test('who was put out takes no place, nor room in an answer: as many as a layout can hold have come and gone', async () => {
    for (let i = 1; i < layoutLimits.maxMembers; i++) invitedRow(`m${i}`)
    await expect(join('bob', cluster.token('invite'))).rejects.toThrow(/at most 128 members/)
    era = eraAfter(era, { signer: keyNamed('cluster authority'), listed: [founder] })
    const { admin, invite } = cluster.token('second', { era: 2 })
    const body = encodeJoinRequest({ kind: 'join', certificate: { admin, invite, member: cluster.member('bob', { by: keyNamed('second'), era: 2 }) }, capacityBytes: 100, addresses: [], storeId: layoutMember('bob').storeId })
    const { memberRows } = parseJoinAnswer(await network.of(peerNamed('bob')).request(sponsor, joinId, [body], { timeoutMs: 1000, maxAnswerBytes: 1e6 }))
    expect(memberRows.map((row) => describeMember(parseMemberRow(row)).peerId).toSorted()).toEqual([sponsor, peerNamed('bob')].toSorted())
  })

  test('one more than a layout can hold, of two who come to two sponsors at once, may be written, and the others still have a layout', async () => {
    for (let i = 1; i < layoutLimits.maxMembers - 2; i++) invitedRow(`m${i}`)
    invitedRow('other')
    await sponsoring('other')
    await Promise.allSettled([join('bob', cluster.token('invite')), join('carol', cluster.token('second'), {}, peerNamed('other'))])
    const members = registers.valuesOf(tables.members).map((row) => layoutMemberOf(parseMemberRow(row)))
    expect(members).toHaveLength(layoutLimits.maxMembers + 1)
    expect(settled(closed, fittingMembers(closed, members).fitting).members).toHaveLength(layoutLimits.maxMembers)
  })

  test('a zone that shows people lines of its own is refused', async () => {
    for (const zone of ['attic\nall is well', 'attic\u001b[2J', 'attic\u2028']) await expect(join('bob', cluster.token('invite'), { zone })).rejects.toThrow(/zone/)
    expect(registers.valuesOf(tables.members)).toHaveLength(1)
    await join('bob', cluster.token('invite'), { zone: 'Dachboden über 2' })
  })

  test('zones whose names no layout could hold are refused', async () => {
    for (let i = 1; i < 60; i++) invitedRow(`m${i}`, 'z'.repeat(255))
    await expect(join('bob', cluster.token('invite'))).rejects.toThrow(/zones are too long/)
  })

  test('a join whose answer was lost is repeated by another invite, which stays unused: whoever made the first may be gone', async () => {
    const first = await join('bob', cluster.token('invite'))
    expect(await join('bob', cluster.token('second'))).toEqual(first)
    era = eraAfter(era, { signer: keyNamed('cluster authority'), listed: [founder, first.certificate.member] })
    expect(await join('bob', cluster.token('third', { era: 2 }))).toEqual({ ...first, era })
    await join('carol', cluster.token('third', { era: 2 }))
    expect(registers.valuesOf(tables.members)).toHaveLength(3)
  })

  test.each(['unused', 'revoked'])('by the invite of a replacement, which is %s, it is named by its own key as who takes that place, if the invite can be used: its row is of another', async (state) => {
    await join('carol', cluster.token('second'))
    await join('bob', cluster.token('invite'))
    const [address, third] = [memberAddress(keyNamed('carol').publicKey), keyNamed('third').publicKey]
    const heir = (): Uint8Array | undefined => registers.valuesOf(tables.members).map(parseMemberRow).find((row) => describeMember(row).peerId === peerNamed('carol'))?.heir
    await registers.change(address, (value) => ({ kind: 'write', value: encodeMemberRow({ ...parseMemberRow(value ?? new Uint8Array(0)), heir: third }), result: undefined }))
    if (state === 'revoked') registers.put({ table: tables.invites, scope: clusterRowKeys.scope, key: third }, encodeInviteRow({ state: 'revoked' }))
    await join('bob', cluster.token('third'))
    expect(heir()).toEqual(state === 'revoked' ? third : keyNamed('bob').publicKey)
  })

  test('by the invite of its own replacement it leaves that to another: nobody takes the place of itself', async () => {
    await join('bob', cluster.token('invite'))
    const heir = keyNamed('second').publicKey
    await registers.change(memberAddress(keyNamed('bob').publicKey), (value) => ({ kind: 'write', value: encodeMemberRow({ ...parseMemberRow(value ?? new Uint8Array(0)), heir }), result: undefined }))
    await join('bob', cluster.token('second'))
    expect(registers.valuesOf(tables.members).map((row) => parseMemberRow(row).heir)).toContainEqual(heir)
  })

  test('who was put out is not told of the membership that it had, by a sponsor that has not heard of it either', async () => {
    await join('bob', cluster.token('invite'))
    chosen = eraAfter(era, { signer: keyNamed('cluster authority'), listed: [founder] })
    await expect(join('bob', cluster.token('second'))).rejects.toThrow(/of era 1, and invites from before era 2 are good no more: ask for a new one/)
    expect(ringsGiven).toBe(1)
    const joined = await join('bob', cluster.token('third', { era: 2 }))
    expect(joined.certificate.member.era).toBe(2)
  })

  test('a sponsor that stood still over a join, and has not heard of an era since, does not write it over the one by which the same peer has joined in that era', async () => {
    chosen = eraAfter(era, { signer: keyNamed('cluster authority'), listed: [founder] })
    const invite = cluster.invite('second', { era: 2 })
    const row = encodeMemberRow({ certificate: certificateOf(cluster.member('bob', { by: keyNamed('second'), era: 2 }), { invite }), capacityBytes: 1, addresses: [], storeId: layoutMember('bob').storeId })
    registers.put(memberAddress(keyNamed('bob').publicKey), row)
    await expect(join('bob', cluster.token('invite'))).rejects.toThrow()
    expect(registers.valuesOf(tables.members)).toContainEqual(row)
  })

  test('a member that uses a second invite for another role, or with another key for the ring, is told so', async () => {
    await join('bob', cluster.token('invite'))
    await expect(join('bob', cluster.token('second', { roles: roles.storage }), { role: roles.storage, storeId: undefined })).rejects.toThrow(/member already/)
    await expect(join('bob', cluster.token('third'), { kx: seedNamed('other kx') })).rejects.toThrow(/member already/)
    expect(ringsGiven).toBe(1)
  })

  test('a sponsor of another authority is not trusted, and gets no statement', async () => {
    const token = { ...cluster.token('invite'), authority: keyNamed('other').publicKey }
    await expect(join('bob', token)).rejects.toThrow(/authority/)
    expect(network.sent).toHaveLength(1)
  })

  test('a box that does not open fails the join', async () => {
    await expect(join('bob', cluster.token('invite'), { openRing: () => { throw new Refused('not our box') } })).rejects.toThrow(/not our box/)
  })

  test('garbage is refused, never a crash', async () => {
    const send = (body: Uint8Array): Promise<unknown> => network.of(peerNamed('mallory')).request(sponsor, joinId, [body], { timeoutMs: 1000, maxAnswerBytes: 1e6 })
    await expect(send(Uint8Array.of(1, 2, 3))).rejects.toThrow(RequestRefused)
    await expect(send(new Uint8Array(9000))).rejects.toThrow(RequestRefused)
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      expect(() => parseJoinRequest(bytes)).toThrow(MalformedBytes)
      expect(() => parseJoinAnswer(new Uint8Array([1, ...bytes]))).toThrow(MalformedBytes)
    }))
  })
})
