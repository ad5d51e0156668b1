import { describe, expect, test, vi } from 'vitest'
import { partitionOf, utf8 } from '../../../src/base/bytes.ts'
import { Corrupt, Refused, Unavailable, UnknownOutcome } from '../../../src/base/errors.ts'
import { keyOf } from '../../../src/base/peer-id.ts'
import { closing, encodeEra, encodeLayout, type Era, eraAfter, parseEra, roles, settled } from '../../../src/cluster/index.ts'
import { closingRegisters } from '../../../src/node/layout/closing-registers.ts'
import { addAdmin, listAdmins, removeAdmin } from '../../../src/node/membership/admins.ts'
import { eraAddress } from '../../../src/node/membership/eras.ts'
import { layoutAddress } from '../../../src/node/membership/membership.ts'
import { rotateKeys } from '../../../src/node/membership/rotation.ts'
import { removeMember } from '../../../src/node/membership/removal.ts'
import { seededRandom } from '../../../src/base/random.ts'
import { ClusterKeys } from '../../../src/encryption/index.ts'
import { rowCodec } from '../../../src/tables/codec.ts'
import { encodeEnvelope } from '../../../src/tables/envelope.ts'
import { type RowAddress, tables } from '../../../src/tables/index.ts'
import { openRecord } from '../../../src/tables/opened-record.ts'
import { keyNamed, layoutMember, peerNamed } from '../../support/cluster-identities.ts'
import { type EraNodes, eraNodes } from '../../support/era-nodes.ts'

const four = ['founder', 'bob', 'carol', 'dave'] as const
const five = [...four, 'eve']
// every step: npm run prove
const stride = Number(process.env.STRIDE ?? 8)
const object = (key: string): RowAddress => ({ table: tables.objects, scope: new Uint8Array(16), key: utf8(key) })
const written = async (nodes: EraNodes, by: string, key: string, value: string): Promise<void> => {
  await nodes.of(by).registers.change(object(key), () => ({ kind: 'write', value: utf8(value), result: undefined }))
}
const readBy = async (nodes: EraNodes, by: string, key: string): Promise<Uint8Array | undefined> => nodes.of(by).registers.read(object(key))
/** What each does in the background until there is nothing left to do. */
async function stepped (nodes: EraNodes, names: readonly string[] = nodes.names): Promise<void> {
  await nodes.greetAll()
  for (let i = 0; i < 3; i++) {
    for (const name of names) if (!nodes.isDead(name)) await nodes.of(name).epochs.step().catch((error: unknown) => { if (!(error instanceof Refused)) throw error })
    await nodes.greetAll()
  }
}
const others = four.filter((name) => name !== 'dave')

describe('a removed member', () => {
  test('is put out everywhere at once and let in nowhere, and an epoch begins without it', async () => {
    const nodes = await eraNodes(four)
    expect(await removeMember(nodes.of('founder').parts, peerNamed('dave'))).toEqual({ era: 2, epoch: 2 })
    for (const name of others) {
      expect(nodes.of(name).state.era.number, name).toBe(2)
      expect(nodes.of(name).admitted.has(peerNamed('dave')), name).toBe(false)
      expect(nodes.of(name).state.belongs(peerNamed('dave')), name).toBe(false)
      await expect(nodes.of('dave').greet(name)).rejects.toThrow(/no/)
      for (const era of [1, 2]) expect(() => nodes.of(name).epochs.give(peerNamed('dave'), era), name).toThrow(/for members/)
      await expect(nodes.of('dave').parts.peers.offer(peerNamed(name), { era: 3, box: Uint8Array.of(1) }, {})).rejects.toThrow()
    }
    await stepped(nodes)
    for (const name of others) expect(nodes.of(name).keys.currentEpoch, name).toBe(2)
    expect((await nodes.keyringOf('dave')).ring?.epochs.size).toBe(1)
    expect((await nodes.keyringOf('dave')).prepared).toBeUndefined()
    // done again, it says so again
    expect(await removeMember(nodes.of('founder').parts, peerNamed('dave'))).toEqual({ era: 2, epoch: 2 })
  })

  test('cannot read what is written afterwards; those who remain read everything', async () => {
    const nodes = await eraNodes(four)
    await written(nodes, 'carol', 'before', 'old')
    await removeMember(nodes.of('founder').parts, peerNamed('dave'))
    await stepped(nodes)
    await written(nodes, 'bob', 'after', 'new')
    for (const name of others) expect([await readBy(nodes, name, 'before'), await readBy(nodes, name, 'after')], name).toEqual([utf8('old'), utf8('new')])
    const rowKey = nodes.of('bob').codec.rowKeyOf(object('after'))
    const record = (await nodes.of('bob').store.get(tables.objects, rowKey))?.accepted as Uint8Array
    expect(() => nodes.of('dave').codec.decode({ table: tables.objects, rowKey, record })).toThrow(/epoch 2, which this node does not know/)
  })

  test.each(['carol', 'founder'])('is not removed where one that answers, %s, has another row store than the one that votes, and there would be no majority of those that do', async (name) => {
    const nodes = await eraNodes(four)
    const { parts } = nodes.of('founder')
    await expect(removeMember({ ...parts, remembers: (peer) => peer !== peerNamed(name) }, peerNamed('dave'))).rejects.toThrow(/without it there is no majority now/)
    await removeMember(parts, peerNamed('dave'))
  })

  test('is not removed where one that answers has lost rows for which there would be no majority of those that have not, and is once that has them back', async () => {
    const nodes = await eraNodes(four)
    const { store } = nodes.of('carol')
    const partition = partitionOf(nodes.of('bob').codec.rowKeyOf(object('k')))
    store.lose(partition)
    await expect(removeMember(nodes.of('founder').parts, peerNamed('dave'))).rejects.toThrow(/without it there is no majority now/)
    await store.restore(partition)
    await removeMember(nodes.of('founder').parts, peerNamed('dave'))
    // of five two that remember everything are enough with a third
    const more = await eraNodes(five)
    more.of('carol').store.lose(partition)
    await removeMember(more.of('founder').parts, peerNamed('dave'))
  })

  test('is not told to be out already where only the founder may know of it: the layout was closing, and is settled', async () => {
    const nodes = await eraNodes(four)
    const { parts, state, registers } = nodes.of('founder')
    await removeMember(parts, peerNamed('dave'))
    const closed = closing(state.layout)
    await state.adoptLayout(encodeLayout(closed))
    await registers.change(layoutAddress, () => ({ kind: 'write', value: encodeLayout(settled(closed, four.map((name) => layoutMember(name)))), result: undefined }))
    await expect(removeMember({ ...parts, registers: closingRegisters(registers, state) }, peerNamed('dave'))).rejects.toThrow(UnknownOutcome)
  })

  test('of role witness takes no epoch with it: it never could read', async () => {
    const nodes = await eraNodes(four, { roleOf: (name) => name === 'dave' ? roles.witness : roles.member })
    expect(await removeMember(nodes.of('founder').parts, peerNamed('dave'))).toEqual({ era: 2, epoch: 1 })
    expect(nodes.of('bob').state.belongs(peerNamed('dave'))).toBe(false)
  })

  test('that was away hears nothing, and one that remains and was away hears of it when it is back, and asks for the keys', async () => {
    const nodes = await eraNodes(five)
    nodes.die('carol')
    await removeMember(nodes.of('founder').parts, peerNamed('dave'))
    await nodes.restart('carol')
    await stepped(nodes)
    expect(nodes.of('carol').state.era.number).toBe(2)
    expect((await nodes.keyringOf('carol')).ring?.epochs.size).toBe(2)
    await written(nodes, 'founder', 'k', 'v')
    expect(await readBy(nodes, 'carol', 'k')).toEqual(utf8('v'))
  })

  test('is not removed without a majority, neither of voters nor of those who would hold the new keys', async () => {
    const nodes = await eraNodes(four)
    nodes.die('carol')
    // three of four answer, and two would
    await expect(removeMember(nodes.of('founder').parts, peerNamed('dave'))).rejects.toThrow(/without it there is no majority/)
    nodes.die('bob')
    await expect(removeMember(nodes.of('founder').parts, peerNamed('dave'))).rejects.toThrow(Unavailable)
    for (const name of ['founder', 'dave']) expect([nodes.of(name).state.era.number, nodes.of(name).epochs.newest]).toEqual([1, 1])
    const two = await eraNodes(['founder', 'bob'])
    await expect(removeMember(two.of('founder').parts, peerNamed('bob'))).rejects.toThrow(/leave the layout first/)
    // voters enough, and members that would hold the keys too few
    const witnesses = await eraNodes([...five, 'frank', 'grace'], { roleOf: (name) => ['bob', 'carol', 'dave'].includes(name) ? roles.member : name === 'founder' ? roles.member : roles.witness })
    for (const name of ['bob', 'carol']) witnesses.die(name)
    await expect(removeMember(witnesses.of('founder').parts, peerNamed('dave'))).rejects.toThrow(/new keys must be with a majority of the 3 members/)
    expect(witnesses.of('founder').state.era.number).toBe(1)
  })

  test('is never the last that can read, the node itself, or somebody unknown; and not everybody removes', async () => {
    const nodes = await eraNodes(['founder', 'wit'], { roleOf: (name) => name === 'wit' ? roles.witness : roles.member })
    await expect(removeMember(nodes.of('founder').parts, peerNamed('founder'))).rejects.toThrow(/does not remove itself/)
    await expect(removeMember(nodes.of('founder').parts, peerNamed('mallory'))).rejects.toThrow(/never was/)
    const two = await eraNodes(['founder', 'bob'])
    await expect(removeMember(two.of('bob').parts, peerNamed('founder'))).rejects.toThrow(/neither invite nor remove/)
  })

  test('whoever dies of whichever step of a removal, it is done or not done, is finished by a repetition, and nobody that remains is without keys', { timeout: 60_000 + 480_000 / stride }, async () => {
    let died = 0
    for (const victim of ['founder', 'bob']) {
      for (let steps = 1; steps <= 60; steps += stride) {
        const nodes = await eraNodes(four)
        await written(nodes, 'carol', 'before', 'old')
        nodes.dieAfter(victim, steps)
        await removeMember(nodes.of('founder').parts, peerNamed('dave')).catch(() => {})
        if (!nodes.isDead(victim)) break
        died++
        await nodes.restart(victim)
        await nodes.of('founder').eras.ask()
        await removeMember(nodes.of('founder').parts, peerNamed('dave'))
        await stepped(nodes)
        const found = others.map((name) => [nodes.of(name).state.era.number, nodes.of(name).epochs.newest, nodes.of(name).state.belongs(peerNamed('dave'))])
        expect(found, `${victim} died of step ${steps}`).toEqual(others.map(() => [nodes.of('founder').state.era.number, 2, false]))
        await written(nodes, 'carol', 'after', 'new')
        for (const name of others) expect(await readBy(nodes, name, 'after')).toEqual(utf8('new'))
      }
    }
    expect(died).toBeGreaterThan(30 / stride)
  })

  test('whose remover dies for good after the era is chosen is out all the same, and its keys are not lost', async () => {
    const nodes = await eraNodes(four)
    const { parts } = nodes.of('founder')
    // it dies with the row written and nobody told
    parts.eras.adopt = async () => { nodes.die('founder'); throw new Unavailable('dead') }
    await expect(removeMember(parts, peerNamed('dave'))).rejects.toThrow('dead')
    expect(nodes.of('bob').state.era.number).toBe(1)
    await nodes.of('bob').eras.ask()
    await stepped(nodes)
    for (const name of ['bob', 'carol']) expect([nodes.of(name).state.era.number, nodes.of(name).epochs.newest, nodes.of(name).admitted.has(peerNamed('dave'))], name).toEqual([2, 2, false])
  })
})

describe('an era row', () => {
  /** As a lying member would: at one voter, over whatever stands there, with a ballot above all. */
  async function forced (nodes: EraNodes, { by, at, era, counter = 1000n }: { by: string, at: string, era: Era, counter?: bigint }): Promise<string> {
    const { codec } = nodes.of(by)
    const rowKey = codec.rowKeyOf(eraAddress)
    const ballot = { counter, proposer: keyOf(peerNamed(by)) }
    const content = { revision: 9n, isTombstone: false, body: encodeEnvelope({ operations: [new Uint8Array(16)], value: encodeEra(era) }) }
    const record = codec.encode({ table: tables.era, rowKey, content, ballot })
    try {
      const { replica } = nodes.of(at)
      await replica.answer(peerNamed(by), { version: 1n, kind: 'prepare', table: tables.era, rowKey, ballot })
      return (await replica.answer(peerNamed(by), { version: 1n, kind: 'accept', table: tables.era, rowKey, record })).kind
    } catch (error) {
      if (!(error instanceof Corrupt || error instanceof Refused)) throw error
      return error.message
    }
  }
  const standing = (nodes: EraNodes, name = 'founder'): Era => nodes.of(name).state.era
  const members = (nodes: EraNodes, names: readonly string[]) => names.map((name) => nodes.of(name).state.certificate.member)

  test('is refused from a member that is no admin, from a stranger, and below or beside the one adopted', async () => {
    const nodes = await eraNodes(four)
    const first = standing(nodes)
    const by = (name: string, from = standing(nodes)): Era => eraAfter(from, { signer: keyNamed(name), listed: members(nodes, four) })
    expect(await forced(nodes, { by: 'dave', at: 'bob', era: by('dave') })).toMatch(/may not/)
    await removeMember(nodes.of('founder').parts, peerNamed('dave'))
    expect(await forced(nodes, { by: 'dave', at: 'bob', era: by('dave') })).toMatch(/only members propose|may not/)
    // a replay of what the authority itself has signed, and another era of the number that was chosen
    expect(await forced(nodes, { by: 'carol', at: 'bob', era: first })).toMatch(/era 1 does not follow from era 2/)
    expect(await forced(nodes, { by: 'carol', at: 'bob', era: by('cluster authority', first), counter: 2000n })).toMatch(/another era 2 was chosen/)
    expect(await forced(nodes, { by: 'carol', at: 'bob', era: by('cluster authority'), counter: 3000n })).toBe('accepted')
  })

  test('by an admin that was removed is refused by a voter that holds the era that removed it, though it has not adopted it', async () => {
    const nodes = await eraNodes(four)
    await addAdmin(nodes.of('founder').parts, peerNamed('dave'))
    await nodes.greetAll()
    const withDave = standing(nodes)
    // bob has accepted what the founder proposed, and hears of it no further
    const { parts } = nodes.of('founder')
    const adopt = parts.eras.adopt.bind(parts.eras)
    parts.eras.adopt = async (era) => { if (era.number === 3) throw new Unavailable('dead'); await adopt(era) }
    await expect(removeMember(parts, peerNamed('dave'))).rejects.toThrow('dead')
    expect(standing(nodes, 'bob').number).toBe(2)
    const rowKey = nodes.of('bob').codec.rowKeyOf(eraAddress)
    await vi.waitFor(async () => {
      for (const name of others) expect(parseEra(openRecord(nodes.of(name).codec, { table: tables.era, rowKey, record: (await nodes.of(name).store.get(tables.era, rowKey))?.accepted as Uint8Array }).value as Uint8Array).number, name).toBe(3)
    })
    for (const number of [0, 5]) {
      const later = eraAfter({ ...withDave, number: withDave.number + number }, { signer: keyNamed('dave'), listed: [...members(nodes, ['dave']), ...withDave.admins] })
      for (const at of ['bob', 'carol', 'founder']) expect(await forced(nodes, { by: 'dave', at, era: later, counter: 5000n + BigInt(number) }), at).toMatch(/does not follow/)
    }
  })
})

describe('admins', () => {
  test('invite and remove as the authority does, until an era leaves them out', async () => {
    const nodes = await eraNodes(four)
    await addAdmin(nodes.of('founder').parts, peerNamed('bob'))
    await nodes.greetAll()
    for (const name of four) expect(listAdmins(nodes.of(name)), name).toEqual([peerNamed('bob')])
    await expect(addAdmin(nodes.of('bob').parts, peerNamed('carol'))).rejects.toThrow(/makes admins/)
    expect(await removeMember(nodes.of('bob').parts, peerNamed('dave'))).toEqual({ era: 3, epoch: 2 })
    await stepped(nodes)
    for (const name of others) expect([nodes.of(name).state.era.number, nodes.of(name).keys.currentEpoch], name).toEqual([3, 2])
    await removeAdmin(nodes.of('founder').parts, peerNamed('bob'))
    await nodes.greetAll()
    expect(listAdmins(nodes.of('carol'))).toEqual([])
    await expect(removeMember(nodes.of('bob').parts, peerNamed('carol'))).rejects.toThrow(/neither invite nor remove/)
    // it is a member as before
    await written(nodes, 'bob', 'k', 'v')
  })

  test('of several that act at once each succeeds, one after the other', async () => {
    const nodes = await eraNodes(five)
    await addAdmin(nodes.of('founder').parts, peerNamed('bob'))
    await nodes.greetAll()
    await Promise.all([removeMember(nodes.of('founder').parts, peerNamed('dave')), removeMember(nodes.of('bob').parts, peerNamed('eve'))])
    await stepped(nodes)
    for (const name of others) {
      const { state, epochs } = nodes.of(name)
      expect([state.era.number, epochs.newest, state.belongs(peerNamed('dave')), state.belongs(peerNamed('eve'))], name).toEqual([4, 3, false, false])
    }
  })

  test('that put out two at once, without both of whom there is no majority, put out one', async () => {
    const nodes = await eraNodes(four)
    await addAdmin(nodes.of('founder').parts, peerNamed('bob'))
    await nodes.greetAll()
    const outcomes = await Promise.allSettled([removeMember(nodes.of('founder').parts, peerNamed('dave')), removeMember(nodes.of('bob').parts, peerNamed('carol'))])
    expect(outcomes.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
    expect(String(outcomes.flatMap((outcome) => outcome.status === 'rejected' ? [outcome.reason as Error] : [])[0])).toMatch(/without it there is no majority now/)
    await nodes.greetAll()
    expect(four.filter((name) => nodes.of('founder').state.belongs(peerNamed(name)))).toHaveLength(3)
    await written(nodes, 'founder', 'k', 'v')
  })

  test('that are none any more when their era is to be made are told so, and it is made by nobody', async () => {
    const nodes = await eraNodes(five)
    await addAdmin(nodes.of('founder').parts, peerNamed('bob'))
    await nodes.greetAll()
    const { parts } = nodes.of('bob')
    let isFirst = true
    const late = removeMember({ ...parts, memberRows: async (wait) => {
      const rows = await parts.memberRows(wait)
      if (isFirst) { isFirst = false; await removeAdmin(nodes.of('founder').parts, peerNamed('bob')) }
      return rows
    } }, peerNamed('dave'))
    await expect(late).rejects.toThrow(/neither invite nor remove/)
    expect([nodes.of('founder').state.era.number, nodes.of('founder').state.belongs(peerNamed('dave'))]).toEqual([3, true])
  })

  test('that were removed convince nobody of an era of their own, not even who has not heard of it', async () => {
    const nodes = await eraNodes(five)
    await addAdmin(nodes.of('founder').parts, peerNamed('dave'))
    await nodes.greetAll()
    nodes.die('carol')
    await removeMember(nodes.of('founder').parts, peerNamed('dave'))
    const { state } = nodes.of('dave')
    const own = eraAfter(state.era, { signer: keyNamed('dave'), listed: [state.certificate.member, nodes.of('carol').state.certificate.member, ...state.era.admins] })
    await state.adoptEra(own)
    // the first that it meets again is the removed one, and nobody else
    for (const name of ['founder', 'bob', 'eve']) nodes.network.disconnect(peerNamed('carol'), peerNamed(name))
    await nodes.restart('carol')
    await nodes.of('dave').greet('carol')
    expect(nodes.of('carol').state.era.number).toBe(2)
    for (const name of ['founder', 'bob', 'eve']) nodes.network.connect(peerNamed('carol'), peerNamed(name))
    await nodes.greetAll()
    expect(nodes.of('carol').state.era.number).toBe(3)
    expect(nodes.of('carol').state.belongs(peerNamed('founder'))).toBe(true)
    expect(nodes.of('carol').state.belongs(peerNamed('dave'))).toBe(false)
  })
})

describe('keys that are changed with nobody put out', () => {
  test('are everybody\'s who belongs, and what a copy of the old ones does not open; what was there before is read on', async () => {
    const nodes = await eraNodes(four)
    await written(nodes, 'carol', 'before', 'old')
    const copied = await nodes.keyringOf('dave')
    expect(await rotateKeys(nodes.of('founder').parts)).toEqual({ era: 2, epoch: 2 })
    await stepped(nodes)
    await written(nodes, 'bob', 'after', 'new')
    for (const name of four) {
      expect(nodes.of(name).state.belongs(peerNamed('dave')), name).toBe(true)
      expect([nodes.of(name).keys.currentEpoch, await readBy(nodes, name, 'before'), await readBy(nodes, name, 'after')], name).toEqual([2, utf8('old'), utf8('new')])
    }
    expect([...copied.ring?.epochs.keys() ?? []]).toEqual([1])
    const record = (await nodes.of('dave').store.get(tables.objects, nodes.of('dave').codec.rowKeyOf(object('after'))))?.accepted as Uint8Array
    expect(record).toBeDefined()
    const { ring, clusterId } = copied
    const thief = rowCodec({ clusterId, keys: ring === undefined ? undefined : new ClusterKeys({ clusterId, ...ring }), signer: keyNamed('mallory'), random: seededRandom(1), checkClear: () => {}, floor: () => 1, demanded: () => 1 })
    expect(() => thief.decode({ table: tables.objects, rowKey: nodes.of('dave').codec.rowKeyOf(object('after')), record })).toThrow(/epoch 2/)
    expect(await rotateKeys(nodes.of('founder').parts)).toEqual({ era: 3, epoch: 3 })
  })

  test('are not without a majority that has them, nor by whoever may not remove', async () => {
    const nodes = await eraNodes(four)
    await expect(rotateKeys(nodes.of('bob').parts)).rejects.toThrow(/neither invite nor remove/)
    nodes.die('carol')
    nodes.die('dave')
    await expect(rotateKeys(nodes.of('founder').parts)).rejects.toThrow(Unavailable)
    expect([nodes.of('founder').state.era.number, nodes.of('founder').epochs.newest]).toEqual([1, 1])
  })
})
