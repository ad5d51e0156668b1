import { describe, expect, test, vi } from 'vitest'
import { Refused, Unavailable, UnknownOutcome } from '../../../src/base/errors.ts'
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

  test('has all of them know what the founder decides while it settles, wherever that comes in between, or it was not told that it is', { timeout: 300_000 }, async () => {
    const address = clusterAddress(tables.members, keyOf(peerNamed('carol')))
    const save = Reflect.get(MemoryRowStore.prototype, 'save') as MemoryRowStore['save']
    const outcomes: string[] = []
    for (let at = 1, isOver = false; !isOver; at++) {
      const nodes = await settlingNodes(names)
      const { state, registers } = nodes.of('founder')
      const decided = Promise.withResolvers<void>()
      let changing: Promise<string> | undefined
      let saves = 0
      const spy = vi.spyOn(MemoryRowStore.prototype, 'save').mockImplementation(async function (this: MemoryRowStore, ...of) {
        if (state.layout.state === 'closing' && changing === undefined && ++saves === at) {
          changing = registers.change(address, (value) => ({ kind: 'write', value: encodeMemberRow({ ...parseMemberRow(value ?? new Uint8Array(0)), zone: 'attic' }), result: 'told' }))
            .catch((error: unknown) => { if (error instanceof UnknownOutcome) return 'unknown'; throw error })
          await Promise.race([decided.promise, changing])
        }
        await Reflect.apply(save, this, of)
        if (changing !== undefined && of[0].some(({ table, accepted }) => table === tables.members && accepted !== undefined)) decided.resolve()
      })
      await nodes.of('bob').settle()
      isOver = changing === undefined
      const outcome = await changing ?? 'not begun'
      spy.mockRestore()
      outcomes.push(outcome)
      nodes.die('founder')
      await nodes.greet()
      const { zone } = parseMemberRow(await nodes.of('bob').registers.read(address) ?? new Uint8Array(0))
      expect(outcome !== 'told' || zone === 'attic', `what came before save ${at} is told and not there`).toBe(true)
    }
    expect(outcomes.filter((outcome) => outcome === 'told').length).toBeGreaterThan(9)
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
