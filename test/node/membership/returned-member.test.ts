import { describe, expect, test } from 'vitest'
import { utf8 } from '../../../src/base/bytes.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { Unavailable } from '../../../src/base/errors.ts'
import { closing, encodeLayout, type Era, eraAfter, openLayout, settled } from '../../../src/cluster/index.ts'
import { LayoutKeeper } from '../../../src/node/layout/layout-keeper.ts'
import { addAdmin } from '../../../src/node/membership/admins.ts'
import { removeMember } from '../../../src/node/membership/removal.ts'
import { tables } from '../../../src/tables/index.ts'
import { keyNamed, layoutMember, peerNamed } from '../../support/cluster-identities.ts'
import { type EraNodes, eraNodes } from '../../support/era-nodes.ts'

const newcomers = ['nina', 'nora', 'nick', 'noel']

/** What one does in the background until there is nothing left to do, and everybody greets everybody. */
async function untilQuiet (nodes: EraNodes, name: string): Promise<void> {
  for (let i = 0; i < 3; i++) {
    await nodes.greetAll()
    while (await nodes.of(name).unknown.step() === 'busy');
  }
}

describe('a member that was away', () => {
  test('while more have joined than it knows: their rows, which only they and others like them could read to it, are had from one that it knows', async () => {
    const nodes = await eraNodes(['founder', 'bob', 'carol', ...newcomers], { newcomers, away: ['carol'] })
    expect([...nodes.of('carol').admitted].toSorted()).toEqual(['founder', 'bob'].map(peerNamed).toSorted())
    await untilQuiet(nodes, 'carol')
    expect(nodes.of('carol').admitted.size).toBe(6)
    const at = { table: tables.objects, scope: new Uint8Array(16), key: utf8('k') }
    await nodes.of('carol').registers.change(at, () => ({ kind: 'write', value: utf8('v'), result: undefined }))
    expect(await nodes.of('nina').registers.read(at)).toEqual(utf8('v'))
  })

  test('while more have joined than it knows, in an era by an admin: what a majority of the voters shows is believed, though it can ask none of them', async () => {
    const nodes = await eraNodes(['founder', 'bob', 'carol', ...newcomers], { newcomers, away: ['carol'], eraBy: 'bob' })
    await untilQuiet(nodes, 'carol')
    expect([nodes.of('carol').state.era.number, nodes.of('carol').admitted.size]).toEqual([2, 6])
  })

  test('while more have joined than it knows, in an era by an admin that it knows, and two of five are dead: itself it counts too, for as a voter it would take that era', async () => {
    const nodes = await eraNodes(['founder', 'bob', 'carol', 'nina', 'nora'], { newcomers: ['nina', 'nora'], away: ['carol'], eraBy: 'bob', wasAdmin: true })
    for (const dead of ['bob', 'nora']) nodes.die(dead)
    await nodes.restart('carol')
    await untilQuiet(nodes, 'carol')
    expect([nodes.of('carol').state.era.number, [...nodes.of('carol').admitted].toSorted()]).toEqual([2, ['founder', 'nina'].map(peerNamed).toSorted()])
  })

  test('believes no era of one that it knows to be put out, though the two of them would be a majority', async () => {
    const nodes = await eraNodes(['founder', 'bob', 'carol'])
    await addAdmin(nodes.of('founder').parts, peerNamed('bob'))
    await nodes.greetAll()
    const { state } = nodes.of('bob')
    const next = (era: Era): Era => eraAfter(era, { signer: keyNamed('bob'), listed: [state.certificate.member, nodes.of('carol').state.certificate.member, ...era.admins] })
    const own = next(next(state.era))
    await removeMember(nodes.of('founder').parts, peerNamed('bob'))
    await nodes.greetAll()
    nodes.die('founder')
    await state.adoptEra(own)
    await nodes.of('bob').greet('carol').catch(() => {})
    expect([own.number, nodes.of('carol').state.era.number, nodes.of('carol').state.belongs(peerNamed('bob'))]).toEqual([4, 3, false])
  })

  test('believes no era that it would not take as a voter: of one that it has agreed to put out, and has not heard that it is', async () => {
    const nodes = await eraNodes(['founder', 'bob', 'carol'])
    await addAdmin(nodes.of('founder').parts, peerNamed('bob'))
    await nodes.greetAll()
    const { state, replica } = nodes.of('bob')
    const next = (era: Era): Era => eraAfter(era, { signer: keyNamed('bob'), listed: [state.certificate.member, nodes.of('carol').state.certificate.member, ...era.admins] })
    const own = next(next(state.era))
    await removeMember({ ...nodes.of('founder').parts, spread: async () => {} }, peerNamed('bob'))
    nodes.die('founder')
    expect([own.number, nodes.of('carol').state.era.number]).toEqual([4, 2])
    await state.adoptEra(own)
    Object.assign(replica, { answer: async () => { throw new Unavailable('it tells nobody what it has agreed to') } })
    await nodes.of('bob').greet('carol').catch(() => {})
    expect(nodes.of('carol').state.era.number).toBe(2)
  })

  test('leaves nobody out of the layout whom it has not met yet, for it reads who the members are', async () => {
    const names = ['founder', 'bob', 'carol', 'nina']
    const nodes = await eraNodes(names, { newcomers: ['nina'], away: ['carol'] })
    nodes.die('carol')
    nodes.network.disconnect(peerNamed('carol'), peerNamed('nina'))
    await nodes.restart('carol')
    const { self, state, registers, parts } = nodes.of('carol')
    expect([...nodes.of('carol').admitted]).not.toContain(peerNamed('nina'))
    const members = names.map((name) => layoutMember(name, { capacityBytes: 1 }))
    await state.adoptLayout(encodeLayout(settled(closing(openLayout(layoutMember('founder', { capacityBytes: 1 }))), members)), { isChosen: true })
    const keeper = new LayoutKeeper({
      self, state, registers, clock: systemClock, memberRows: parts.memberRows, evictAfterMs: 3_600_000, reachable: () => new Set([self, ...nodes.of('carol').admitted]), storeOf: () => undefined, onChange: () => {},
      ask: async () => { throw new Unavailable('it does not say how far it is') },
    })
    const { members: wanted } = await keeper.foreseen((rows) => rows)
    expect(wanted.map(({ peerId }) => peerId).toSorted()).toEqual(names.map(peerNamed).toSorted())
  })
})
