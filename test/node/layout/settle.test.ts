import { describe, expect, test, vi } from 'vitest'
import { Refused, Unavailable } from '../../../src/base/errors.ts'
import { keyOf } from '../../../src/base/peer-id.ts'
import { encodeMemberRow, parseLayout, parseMemberRow, roles } from '../../../src/cluster/index.ts'
import { clusterAddress, layoutAddress } from '../../../src/node/membership/membership.ts'
import { tables } from '../../../src/tables/index.ts'
import { MemoryRowStore } from '../../../src/tables/memory-row-store.ts'
import { certificateOf, paperCluster, peerNamed } from '../../support/cluster-identities.ts'
import { joinedRow, type SettlingNodes, settlingNodes } from '../../support/settling-nodes.ts'

const names = ['founder', 'bob', 'carol']

/** The layout, and who its members are, as any two of the three have it. */
async function expectSettled (nodes: SettlingNodes): Promise<void> {
  for (const dead of names) {
    nodes.die(dead)
    await nodes.greet()
    for (const name of names.filter((other) => other !== dead)) {
      const { registers } = nodes.of(name)
      const value = await registers.read(layoutAddress)
      expect(value === undefined ? undefined : parseLayout(value), `${name} without ${dead}`).toMatchObject({ state: 'settled', version: 3n, members: [{}, {}, {}] })
      for (const other of names) {
        expect(await registers.read(clusterAddress(tables.members, keyOf(peerNamed(other)))), `${other} as ${name} has it without ${dead}`).toBeDefined()
        expect(await registers.read(clusterAddress(tables.invites, keyOf(peerNamed(other))))).toBeDefined()
      }
    }
    await nodes.restart(dead)
  }
}

describe('the first bucket', () => {
  test.each(names)('settles the layout, made on %s', async (name) => {
    const nodes = await settlingNodes(names)
    await nodes.of(name).settle()
    const before = nodes.asked
    await nodes.of(name).settle()
    expect(nodes.asked).toBe(before)
    await expectSettled(nodes)
  })

  test('settles it once, though all three make one at the same time', async () => {
    const nodes = await settlingNodes(names)
    await Promise.all(names.map(async (name) => { await nodes.of(name).settle() }))
    await expectSettled(nodes)
  })

  test.each(['founder', 'bob'])('settles it wherever an earlier try on %s was cut off, whoever makes it', { timeout: 300_000 }, async (dying) => {
    for (let steps = 1, hasDied = true; hasDied; steps++) {
      const nodes = await settlingNodes(names)
      nodes.dieAfter(dying, steps)
      hasDied = await nodes.of(dying).settle().then(() => false, () => true)
      await nodes.restart(dying)
      // a layout that somebody has adopted is soon everybody's
      await nodes.greet()
      await nodes.of('carol').settle()
      await expectSettled(nodes)
    }
  })

  test('settles it without the founder too, once somebody knows what that one has decided', async () => {
    for (let steps = 1; ; steps++) {
      const nodes = await settlingNodes(names)
      nodes.dieAfter('bob', steps)
      await expect(nodes.of('bob').settle()).rejects.toThrow()
      await nodes.restart('bob')
      if (nodes.of('bob').state.layout.state !== 'settled') continue
      nodes.die('founder')
      await nodes.greet()
      await nodes.of('carol').settle()
      for (const name of ['bob', 'carol']) expect(parseLayout(await nodes.of(name).registers.read(layoutAddress) ?? new Uint8Array(0)).state).toBe('settled')
      return
    }
  })

  test.each([1, 9])('has all of them know what the founder decides while it settles (at save %i)', async (at) => {
    const nodes = await settlingNodes(names)
    const { state, registers } = nodes.of('founder')
    const address = clusterAddress(tables.members, keyOf(peerNamed('carol')))
    const save = Reflect.get(MemoryRowStore.prototype, 'save') as MemoryRowStore['save']
    let saves = 0
    const spy = vi.spyOn(MemoryRowStore.prototype, 'save').mockImplementation(async function (this: MemoryRowStore, ...of) {
      if (state.layout.state === 'closing' && ++saves === at) {
        await registers.change(address, (value) => ({ kind: 'write', value: encodeMemberRow({ ...parseMemberRow(value ?? new Uint8Array(0)), zone: 'attic' }), result: undefined }))
        expect(state.layout.state).toBe('closing')
      }
      await Reflect.apply(save, this, of)
    })
    await nodes.of('bob').settle()
    spy.mockRestore()
    expect(saves).toBeGreaterThan(at)
    nodes.die('founder')
    await nodes.greet()
    expect(parseMemberRow(await nodes.of('bob').registers.read(address) ?? new Uint8Array(0)).zone).toBe('attic')
  })

  test('closes nothing while it could not be finished: fewer than a majority are up', async () => {
    const nodes = await settlingNodes(names)
    nodes.die('bob')
    nodes.die('carol')
    await expect(nodes.of('founder').settle()).rejects.toThrow(Unavailable)
    expect(nodes.of('founder').state.layout.state).toBe('open')
    await nodes.restart('bob')
    await nodes.of('founder').settle()
  })

  test('settles it with as many as fit, and tells who is left out: two sponsors that gave the last place away made it impossible for ever', async () => {
    const many = Array.from({ length: 60 }, (_, i) => `disk ${i}`)
    const certificate = (name: string) => certificateOf(paperCluster().member(name, { role: roles.storage, zone: 'z'.repeat(255) }))
    const nodes = await settlingNodes(['founder', ...many], (name) => name === 'founder' ? joinedRow(name) : { ...joinedRow(name), certificate: certificate(name), storeId: undefined })
    await nodes.of('founder').settle()
    const { layout } = nodes.of('founder').state
    expect(layout.state).toBe('settled')
    expect(nodes.leftOut.length).toBeGreaterThan(0)
    expect([...layout.members.map(({ peerId }) => peerId), ...nodes.leftOut].toSorted()).toEqual(['founder', ...many].map(peerNamed).toSorted())
  })

  test('closes nothing while no layout could hold who has joined', async () => {
    const nodes = await settlingNodes(names, (name) => ({ ...joinedRow(name), storeId: name === 'carol' ? undefined : joinedRow(name).storeId }))
    await expect(nodes.of('bob').settle()).rejects.toThrow(Refused)
    expect(nodes.of('founder').state.layout.state).toBe('open')
  })
})
