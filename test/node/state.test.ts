import { describe, expect, test } from 'vitest'
import { Corrupt } from '../../src/base/errors.ts'
import { closing, declaredBy, encodeLayout, openLayout, recovering, settled } from '../../src/cluster/index.ts'
import type { Files } from '../../src/disk/index.ts'
import { memoryFiles } from '../../src/disk/memory-files.ts'
import { ClusterState, readFacts, writeFacts } from '../../src/node/state.ts'
import { certificateOf, keyNamed, layoutMember, paperCluster, peerNamed } from '../support/cluster-identities.ts'
import { flips } from '../support/damage.ts'

const cluster = paperCluster()
const founder = cluster.member('founder')
const open = openLayout(layoutMember('founder'))
const closed = closing(open)
const rowOf = (name: string) => ({ certificate: certificateOf(cluster.member(name)), capacityBytes: 1000, addresses: [], storeId: layoutMember(name).storeId })

/** A disk whose writes wait, each until it is let through or fails. */
function slowDisk () {
  const disk = memoryFiles()
  const waiting: Array<PromiseWithResolvers<void>> = []
  const files: Files = { ...disk, writeDurable: async (path, parts) => {
    const turn = Promise.withResolvers<void>()
    waiting.push(turn)
    await turn.promise
    await disk.writeDurable(path, parts)
  } }
  const state = new ClusterState(files, { clusterId: cluster.clusterId, authority: cluster.authority, certificate: certificateOf(founder), era: cluster.era(1, [founder]), layout: open, members: [rowOf('founder')] })
  const next = async (): Promise<PromiseWithResolvers<void>> => { await expect.poll(() => waiting.length).toBeGreaterThan(0); return waiting.shift() as PromiseWithResolvers<void> }
  return { state, onDisk: async () => await readFacts(disk), next }
}

describe('what a node knows of its cluster', () => {
  test('is seen only when it is on disk: layout, era and members', async () => {
    const { state, next, onDisk } = slowDisk()
    const era = cluster.era(2, [founder])
    const changes = [state.adoptLayout(encodeLayout(closed)), state.adoptEra(era), state.remember(rowOf('bob'))]
    const turn = await next()
    expect([state.layout.version, state.era.number, state.members.size]).toEqual([1n, 1, 1])
    expect(state.encodedLayout).toEqual(encodeLayout(open))
    turn.resolve()
    for (let i = 1; i < changes.length; i++) (await next()).resolve()
    await Promise.all(changes)
    expect([state.layout.version, state.era.number, state.members.size]).toEqual([2n, 2, 2])
    expect(state.encodedLayout).toEqual(encodeLayout(closed))
    expect(await onDisk()).toMatchObject({ layout: { version: 2n }, era: { number: 2 }, members: [{}, {}] })
  })

  test('is not told to be there, to whoever brings it too, while it is still being written', async () => {
    const { state, next } = slowDisk()
    const first = state.adoptLayout(encodeLayout(closed))
    let isTold = false
    const second = state.adoptLayout(encodeLayout(closed)).then(() => { isTold = true })
    const turn = await next()
    expect(isTold).toBe(false)
    turn.resolve()
    await Promise.all([first, second])
    expect(state.layout.version).toBe(2n)
  })

  test('has no layout follow another while something is done under that one, and does nothing under one that has been followed', async () => {
    const { state, next } = slowDisk()
    const done = Promise.withResolvers<void>()
    const acting = state.whileAt(1n, () => done.promise)
    const adopting = state.adoptLayout(encodeLayout(closed))
    const late = state.whileAt(1n, async () => { throw new Error('not under this one') })
    const failing = state.whileAt(2n, async () => { throw new Error('EIO') })
    expect(state.layout.version).toBe(1n)
    done.resolve()
    expect(await acting).toBe(true);
    (await next()).resolve()
    await adopting
    expect(await late).toBe(false)
    await expect(failing).rejects.toThrow('EIO')
    expect(await state.whileAt(2n, async () => {})).toBe(true)
  })

  test('stays as it was when the disk fails, and can be changed later', async () => {
    const { state, next } = slowDisk()
    const failing = state.adoptLayout(encodeLayout(closed))
    const after = state.remember(rowOf('bob'));
    (await next()).reject(new Error('EIO'))
    await expect(failing).rejects.toThrow('EIO')
    expect(state.layout.version).toBe(1n);
    (await next()).resolve()
    await after
    expect([state.layout.version, state.members.has(peerNamed('bob'))]).toEqual([1n, true])
  })

  test('follows one layout after the other, in the order they came, and refuses one that does not follow', async () => {
    const { state, next, onDisk } = slowDisk()
    const done = settled(closed, [layoutMember('founder'), layoutMember('bob')])
    const changes = [state.adoptLayout(encodeLayout(closed)), state.adoptLayout(encodeLayout(done))];
    (await next()).resolve();
    (await next()).resolve()
    await Promise.all(changes)
    expect((await onDisk())?.layout).toEqual(done)
    await expect(state.adoptLayout(encodeLayout({ ...done, version: 4n }))).rejects.toThrow('does not follow')
  })

  test('may be one that was declared after a loss, if by who may, whatever was known before', async () => {
    const { state, next } = slowDisk()
    const done = settled(closed, [layoutMember('founder'), layoutMember('bob')])
    const declared = (signer: string) => encodeLayout(declaredBy(keyNamed(signer), cluster.clusterId, recovering(done, [layoutMember('founder')])))
    // members are believed about what was chosen; this was not
    for (const isChosen of [true, false]) await expect(state.adoptLayout(declared('bob'), { isChosen })).rejects.toThrow(/declared by nobody who may/)
    const adopting = state.adoptLayout(declared('cluster authority'));
    (await next()).resolve()
    await adopting
    expect(state.layout.recovery).toBeDefined()
  })

  test('is never an older era, though two come at once', async () => {
    const { state, next } = slowDisk()
    const changes = [state.adoptEra(cluster.era(3, [founder])), state.adoptEra(cluster.era(2, [founder]))];
    (await next()).resolve()
    await Promise.race([Promise.all(changes), next().then((turn) => { turn.resolve() })])
    await Promise.all(changes)
    expect(state.era.number).toBe(3)
  })

  test('is refused by name with any bit of it flipped (a holder or a key with another bit was believed)', async () => {
    const disk = memoryFiles()
    const facts = { clusterId: cluster.clusterId, authority: cluster.authority, certificate: certificateOf(founder), era: cluster.era(1, [founder]), layout: open, members: [rowOf('founder')] }
    await writeFacts(disk, facts)
    expect(await readFacts(disk)).toEqual(facts)
    for (const { name, bytes } of flips(await disk.read('cluster'), { most: 2000 })) {
      const flipped = memoryFiles()
      await flipped.writeDurable('cluster', [bytes])
      const error = await readFacts(flipped).catch((reason: unknown) => reason)
      expect(error, name).toBeInstanceOf(Corrupt)
      expect((error as Error).message).toMatch(/"cluster" in the data folder is damaged.*put back a copy/)
    }
  })
})
