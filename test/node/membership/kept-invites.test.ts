import { describe, expect, test } from 'vitest'
import { systemClock } from '../../../src/base/clock.ts'
import { Refused, Unavailable, UnknownOutcome } from '../../../src/base/errors.ts'
import { keyOf } from '../../../src/base/peer-id.ts'
import { seededRandom } from '../../../src/base/random.ts'
import { type Certificate, encodeLayout, encodeMemberRow, invitesSince, isInEra, type MemberStatement, parseToken, roles, signStatement } from '../../../src/cluster/index.ts'
import { exchangeKeyOf, type Keyring, openRing, ringPurpose } from '../../../src/encryption/index.ts'
import { addAdmin, removeAdmin } from '../../../src/node/membership/admins.ts'
import { eraAddress } from '../../../src/node/membership/eras.ts'
import { makeInvites } from '../../../src/node/membership/invite.ts'
import { clusterAddress, layoutAddress, memberRowHash } from '../../../src/node/membership/membership.ts'
import { removeMember } from '../../../src/node/membership/removal.ts'
import { rotateKeys } from '../../../src/node/membership/rotation.ts'
import { signingKeyOf } from '../../../src/base/signature.ts'
import { tables } from '../../../src/tables/index.ts'
import { type Joined, joinCluster, joinProtocol } from '../../../src/protocols/join.ts'
import { layoutMember, peerNamed, seedNamed } from '../../support/cluster-identities.ts'
import { type EraNodes, eraNodes } from '../../support/era-nodes.ts'
import { registersWith } from '../../support/other-registers.ts'

const four = ['founder', 'bob', 'carol', 'dave'] as const

/** Nodes each of which lets others in. */
async function made (names: readonly string[] = four): Promise<EraNodes> {
  const nodes = await eraNodes(names)
  for (const name of names) {
    const { state, registers, parts, eras } = nodes.of(name)
    await joinProtocol({
      clusterId: state.clusterId, authority: state.authority, certificate: () => state.certificate, era: () => state.era, hearEra: async (wait) => eras.ask(wait), registers, clock: systemClock,
      memberRows: async (wait) => (await parts.memberRows(wait)).map(encodeMemberRow), sealRing: () => Uint8Array.of(1),
    }).register(nodes.network.of(peerNamed(name)))
  }
  const { registers, state } = nodes.of('founder')
  await registers.change(layoutAddress, () => ({ kind: 'write', value: encodeLayout(state.layout), result: undefined }))
  return nodes
}
let invitesMade = 0
const invitedBy = (nodes: EraNodes, name: string): string => {
  const { state, parts } = nodes.of(name)
  return makeInvites({ state, keyring: parts.keyring as Keyring, random: seededRandom(1000 + invitesMade++), addresses: [Uint8Array.of(1)], listens: true, wanted: {} })[0] ?? ''
}
const joined = async (nodes: EraNodes, name: string, token: string, at: string = 'founder'): Promise<Joined<string>> => joinCluster(nodes.network.of(peerNamed(name)), peerNamed(at), {
  peer: peerNamed(name), token: parseToken(token), role: roles.member, kx: seedNamed(`${name} kx`), zone: '', capacityBytes: 1, addresses: [], storeId: layoutMember(name).storeId, openRing: () => 'the ring',
})

/** Everybody's background work; `keeper` alone makes the era that raises the floor. */
async function risen (nodes: EraNodes, keeper: string): Promise<void> {
  const staying = nodes.names.filter((name) => nodes.of('founder').state.belongs(peerNamed(name)))
  for (let i = 0; i < 4; i++) {
    for (const name of staying) {
      const { epochs, retag, floors } = nodes.of(name)
      await epochs.step().catch((error: unknown) => { if (!(error instanceof Refused)) throw error })
      while (await retag.step() === 'busy') { /* the whole pass */ }
      if (name === keeper) await floors.step()
    }
    await nodes.greetAll()
  }
}
const eraAt = (nodes: EraNodes) => nodes.of('founder').state.era
/** To this node, which looks at its members row first. */
async function standing (nodes: EraNodes, at: string, name: string): Promise<{ belongs: boolean, isListed: boolean }> {
  const { state, registers } = nodes.of(at)
  await memberRowHash(state, () => registers, keyOf(peerNamed(name)))
  const row = state.members.get(peerNamed(name))
  return { belongs: state.belongs(peerNamed(name)), isListed: row !== undefined && isInEra(row.certificate, state.era) }
}

describe('an invite made after a removal', () => {
  test('is good when the floor has risen, whoever raised it; who joined by it belongs, is listed by the next era, and stays when that is one that puts others out', async () => {
    const nodes = await made()
    await addAdmin(nodes.of('founder').parts, peerNamed('bob'))
    await nodes.greetAll()
    const before = invitedBy(nodes, 'founder')
    await removeMember(nodes.of('founder').parts, peerNamed('dave'))
    const [used, unused] = [invitedBy(nodes, 'founder'), invitedBy(nodes, 'founder')]
    await risen(nodes, 'bob')
    expect(eraAt(nodes)).toMatchObject({ number: 4, floor: 2 })
    await expect(joined(nodes, 'frank', before)).rejects.toThrow(/from before era 3 are good no more/)

    const { certificate } = await joined(nodes, 'eve', used, 'carol')
    expect(certificate.member.era).toBe(3)
    for (const name of ['founder', 'bob', 'carol']) expect(await standing(nodes, name, 'eve'), name).toEqual({ belongs: true, isListed: false })
    await removeAdmin(nodes.of('founder').parts, peerNamed('bob'))
    expect([eraAt(nodes).number, invitesSince(eraAt(nodes)), await standing(nodes, 'founder', 'eve')]).toEqual([5, 3, { belongs: true, isListed: true }])

    await rotateKeys(nodes.of('founder').parts)
    for (const name of ['founder', 'bob', 'carol']) expect([nodes.of(name).state.era.number, (await standing(nodes, name, 'eve')).belongs, (await standing(nodes, name, 'dave')).belongs], name).toEqual([6, true, false])
    await expect(joined(nodes, 'frank', unused)).rejects.toThrow(/from before era 6 are good no more/)
  })
})

describe('who joins by an invite while an era is made', () => {
  /** The members as they are now, for whoever asks first; the next to ask hears of eve, who joins meanwhile. */
  const meanwhile = (nodes: EraNodes, token: string) => {
    const { parts } = nodes.of('founder')
    let asked = 0
    return { ...parts, memberRows: async (wait: { signal?: AbortSignal }) => {
      const rows = await parts.memberRows(wait)
      if (asked++ === 0) await joined(nodes, 'eve', token)
      return rows
    } }
  }

  test('belongs to one that puts nobody out, and none follows for its sake', async () => {
    const nodes = await made()
    await addAdmin(meanwhile(nodes, invitedBy(nodes, 'founder')), peerNamed('bob'))
    expect([eraAt(nodes).number, await standing(nodes, 'founder', 'eve')]).toEqual([2, { belongs: true, isListed: false }])
  })

  test('is listed by one more era after one that puts somebody out, and the invites made in that one are kept', async () => {
    const nodes = await made()
    await removeMember(meanwhile(nodes, invitedBy(nodes, 'founder')), peerNamed('dave'))
    expect([eraAt(nodes).number, invitesSince(eraAt(nodes)), await standing(nodes, 'founder', 'eve')]).toEqual([3, 2, { belongs: true, isListed: true }])
  })

  test('is listed too where whoever made that era is not told that it is chosen', async () => {
    const nodes = await made()
    const parts = meanwhile(nodes, invitedBy(nodes, 'founder'))
    let isTold = false
    const registers = registersWith(parts.registers, { change: async (address, ...how) => {
      const result = await parts.registers.change(address, ...how)
      if (address !== eraAddress || isTold) return result
      isTold = true
      throw new UnknownOutcome('the change may have happened: time is up')
    } })
    await expect(removeMember({ ...parts, registers }, peerNamed('dave'))).rejects.toThrow(UnknownOutcome)
    // as it says: "repeat it"
    await removeMember(nodes.of('founder').parts, peerNamed('dave'))
    expect([eraAt(nodes).number, await standing(nodes, 'founder', 'dave'), await standing(nodes, 'founder', 'eve')]).toEqual([3, { belongs: false, isListed: false }, { belongs: true, isListed: true }])
  })

  test('put out by another one, does not come back when whoever made that era looks, late, for those who had joined meanwhile', async () => {
    const nodes = await made()
    const { parts, state } = nodes.of('founder')
    await addAdmin(parts, peerNamed('bob'))
    await nodes.greetAll()
    const token = invitedBy(nodes, 'founder')
    let asked = 0
    const memberRows: typeof parts.memberRows = async (wait) => {
      if (++asked === 2) throw new Unavailable('too few voters answer just now')
      const rows = await parts.memberRows(wait)
      if (asked === 1) await joined(nodes, 'eve', token)
      return rows
    }
    await addAdmin({ ...parts, memberRows }, peerNamed('carol'))
    await nodes.greetAll()
    await removeMember(nodes.of('bob').parts, peerNamed('eve'))
    await nodes.greetAll()
    expect((await standing(nodes, 'founder', 'eve')).belongs).toBe(false)
    await parts.latecomers.settle({})
    expect([asked, state.era.number, await standing(nodes, 'founder', 'eve')]).toEqual([3, 4, { belongs: false, isListed: false }])
  })

  test('is let go by a node that may make no eras any more, and must be invited anew', async () => {
    const nodes = await made([...four, 'grace'])
    const { parts } = nodes.of('bob')
    await addAdmin(nodes.of('founder').parts, peerNamed('bob'))
    await nodes.greetAll()
    const token = invitedBy(nodes, 'founder')
    const warnings: string[] = []
    let asked = 0
    const memberRows: typeof parts.memberRows = async (wait) => {
      if (++asked === 2) throw new Unavailable('too few voters answer just now')
      const rows = await parts.memberRows(wait)
      if (asked === 1) await joined(nodes, 'eve', token)
      return rows
    }
    await removeMember({ ...parts, memberRows, warn: (message) => { warnings.push(message) } }, peerNamed('dave'))
    await removeAdmin(nodes.of('founder').parts, peerNamed('bob'))
    await nodes.greetAll()
    await parts.latecomers.settle({})
    const after = asked
    await parts.latecomers.settle({})
    expect([asked, warnings.join()]).toEqual([after, expect.stringContaining('invited anew')])
  })

  test('is listed beside those who belong by then: nobody comes back whom another put out while they were looked at', async () => {
    const nodes = await made([...four, 'grace'])
    const { parts } = nodes.of('founder')
    await addAdmin(parts, peerNamed('bob'))
    await nodes.greetAll()
    const token = invitedBy(nodes, 'founder')
    let asked = 0
    const memberRows: typeof parts.memberRows = async (wait) => {
      const rows = await parts.memberRows(wait)
      asked++
      if (asked === 1) await joined(nodes, 'eve', token)
      // eve was found
      if (asked === 3) await removeMember(nodes.of('bob').parts, peerNamed('carol'))
      return rows
    }
    await removeMember({ ...parts, memberRows }, peerNamed('dave'))
    await parts.latecomers.settle({})
    await nodes.greetAll()
    for (const name of ['founder', 'bob']) expect([(await standing(nodes, name, 'carol')).belongs, (await standing(nodes, name, 'eve')).belongs], name).toEqual([false, true])
  })
})
test('who joined by an admin\'s invite, and the admin, are put out one after the other, and members are put out after that', async () => {
  const nodes = await made()
  const { parts, state } = nodes.of('founder')
  await addAdmin(parts, peerNamed('dave'))
  // an admin of an era before the invite's
  await rotateKeys(parts)
  await nodes.greetAll()
  await joined(nodes, 'eve', invitedBy(nodes, 'dave'), 'bob')
  await removeMember(parts, peerNamed('eve'))
  await removeMember(parts, peerNamed('dave'))
  await rotateKeys(parts)
  expect([state.era.number, ...['bob', 'carol', 'dave', 'eve'].map((name) => state.belongs(peerNamed(name)))]).toEqual([6, true, true, false, false])
})

describe('of a member that has an invite, hostile', () => {
  /** What dave, a member, writes as the members row of somebody. */
  const written = async (nodes: EraNodes, certificate: Certificate): Promise<void> => nodes.of('dave').registers.change(clusterAddress(tables.members, certificate.member.subject), () =>
    ({ kind: 'write', value: encodeMemberRow({ certificate, capacityBytes: 1, addresses: [], storeId: layoutMember('eve').storeId }), result: undefined }))
  const certified = (token: string, subject: Uint8Array, era?: number): Certificate => {
    const { clusterId, seed, admin, invite } = parseToken(token)
    return { admin, invite, member: signStatement(signingKeyOf(seed), { clusterId, era: era ?? invite.era, subject, kind: 'member', role: roles.member, kx: seedNamed('eve kx'), serial: 0, zone: '' }) as MemberStatement }
  }

  test('no members row is taken that could not be read any more once its member is put out', async () => {
    const nodes = await made()
    const { parts, state } = nodes.of('founder')
    const token = invitedBy(nodes, 'founder')
    await addAdmin(parts, peerNamed('bob'))
    await nodes.greetAll()
    await written(nodes, certified(token, keyOf(peerNamed('eve')), 2)).catch(() => {}) // refused is right
    await rotateKeys(parts)
    await removeMember(parts, peerNamed('eve')).catch(() => {}) // never let in is right
    await removeMember(parts, peerNamed('dave'))
    expect(['bob', 'carol', 'dave', 'eve'].map((name) => state.belongs(peerNamed(name)))).toEqual([true, true, false, false])
  })

  test('a member whose key reads as "since" keeps no invite alive', async () => {
    const nodes = await made()
    const { parts } = nodes.of('founder')
    const [used, kept] = [invitedBy(nodes, 'founder'), invitedBy(nodes, 'founder')]
    // a key of low order: anybody can sign with it
    await (async () => written(nodes, certified(used, new Uint8Array(32))))().catch(() => {})
    await removeMember(parts, peerNamed('dave'))
    expect(invitesSince(eraAt(nodes))).toBe(2)
    await expect(joined(nodes, 'frank', kept)).rejects.toThrow(/from before era 2 are good no more/)
  })
})

test('who joins while somebody is removed is given the keys of the era that its invite was looked at in, and those of the next by that era', async () => {
  const nodes = await eraNodes(four)
  const { state, registers, parts, epochs, eras } = nodes.of('bob')
  await nodes.of('founder').registers.change(layoutAddress, () => ({ kind: 'write', value: encodeLayout(state.layout), result: undefined }))
  let looks = 0
  await joinProtocol({
    clusterId: state.clusterId, authority: state.authority, certificate: () => state.certificate, era: () => state.era, hearEra: async (wait) => eras.ask(wait), registers, clock: systemClock, sealRing: (to) => epochs.ringFor(to),
    memberRows: async (wait) => {
      if (++looks === 2) {
        await removeMember(nodes.of('founder').parts, peerNamed('dave'))
        await epochs.step()
      }
      return (await parts.memberRows(wait)).map(encodeMemberRow)
    },
  }).register(nodes.network.of(peerNamed('bob')))
  const token = parseToken(invitedBy(nodes, 'founder'))
  const seed = seedNamed('eve kx')
  const { ring } = await joinCluster(nodes.network.of(peerNamed('eve')), peerNamed('bob'), {
    peer: peerNamed('eve'), token, role: roles.member, kx: exchangeKeyOf(seed), zone: '', capacityBytes: 1, addresses: [], storeId: layoutMember('eve').storeId,
    openRing: (box, era) => openRing(box, { seed, clusterId: state.clusterId, purpose: ringPurpose(era.number) }),
  })
  expect([state.era.number, epochs.newest]).toEqual([2, 2])
  expect([...ring?.epochs.keys() ?? []]).toEqual([1])
})
