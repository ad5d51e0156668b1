import { describe, expect, test, vi } from 'vitest'
import { partitionCount, utf8 } from '../../../src/base/bytes.ts'
import { Corrupt, Refused, StoreFull } from '../../../src/base/errors.ts'
import { keyOf } from '../../../src/base/peer-id.ts'
import { roles } from '../../../src/cluster/index.ts'
import { splitRecord } from '../../../src/encryption/index.ts'
import { changeEra } from '../../../src/node/membership/era-change.ts'
import { rotateKeys } from '../../../src/node/membership/rotation.ts'
import { IndexRebuild } from '../../../src/node/rows/listing.ts'
import { memoryListingIndex } from '../../../src/tables/memory-listing-index.ts'
import { Retag } from '../../../src/node/membership/retag.ts'
import { removeMember } from '../../../src/node/membership/removal.ts'
import { votersBy } from '../../../src/tables/electorate.ts'
import { encodeEnvelope } from '../../../src/tables/envelope.ts'
import { type RowAddress, tables } from '../../../src/tables/index.ts'
import { peerNamed } from '../../support/cluster-identities.ts'
import { type EraNodes, eraNodes } from '../../support/era-nodes.ts'

const names = ['founder', 'bob', 'wit', 'dave', 'carol'] as const
const staying = names.filter((name) => name !== 'dave')
const keysOfRows = Array.from({ length: 20 }, (_, i) => `k${i}`)
const object = (key: string): RowAddress => ({ table: tables.objects, scope: new Uint8Array(16), key: utf8(key) })
const made = async (): Promise<EraNodes> => eraNodes(names, { roleOf: (name) => name === 'wit' ? roles.witness : roles.member })
const written = async (nodes: EraNodes, by: string, key: string, value: string): Promise<void> => {
  await nodes.of(by).registers.change(object(key), () => ({ kind: 'write', value: utf8(value), result: undefined }))
}

/** Epochs in which a node's sealed records are tagged. */
async function tagsAt (nodes: EraNodes, name: string): Promise<Set<number>> {
  const tags = new Set<number>()
  for (const key of keysOfRows) {
    const row = await nodes.of(name).store.get(tables.objects, nodes.of('founder').codec.rowKeyOf(object(key)))
    if (row?.accepted !== undefined) tags.add(splitRecord(row.accepted).epoch)
  }
  return tags
}

/** Everybody's background work, so many times. */
async function stepped (nodes: EraNodes, { rounds = 3, without = [] as readonly string[] } = {}): Promise<void> {
  for (let i = 0; i < rounds; i++) {
    for (const name of staying.filter((of) => !without.includes(of) && !nodes.isDead(of))) {
      const { epochs, retag, floors, state } = nodes.of(name)
      if (state.certificate.member.role === roles.member) await epochs.step().catch((error: unknown) => { if (!(error instanceof Refused)) throw error })
      while (await retag.step() === 'busy') { /* the whole pass */ }
      if (name === 'founder') await floors.step()
    }
    await nodes.greetAll()
  }
}

async function removed (nodes: EraNodes): Promise<void> {
  for (const key of keysOfRows) await written(nodes, 'bob', key, 'old')
  // everywhere, not at a majority only
  for (const key of keysOfRows) await nodes.of('founder').registers.settle({ table: tables.objects, rowKey: nodes.of('founder').codec.rowKeyOf(object(key)) }, {})
  await removeMember(nodes.of('founder').parts, peerNamed('dave'))
  await nodes.greetAll()
}

describe('after somebody who could read was removed', () => {
  test('every voter comes to hold what it has under tags of the new epoch, a witness from members; then the floor rises, and all is read as before', async () => {
    const nodes = await made()
    await removed(nodes)
    for (const name of staying) expect(await tagsAt(nodes, name), name).toEqual(new Set([1]))
    await stepped(nodes, { rounds: 4 })
    for (const name of staying) expect(await tagsAt(nodes, name), name).toEqual(new Set([2]))
    for (const name of staying) expect([nodes.of(name).state.era.number, nodes.of(name).state.era.floor], name).toEqual([3, 2])
    for (const key of keysOfRows) expect(await nodes.of('carol').registers.read(object(key))).toEqual(utf8('old'))
    // digests are of ballots: nothing differs, nothing is handed over
    const digest = async (name: string): Promise<unknown> => nodes.of(name).replica.answer(peerNamed(name), { version: 1n, kind: 'digest', partitions: [0, 1, 2, 3] })
    expect(await digest('wit')).toEqual(await digest('founder'))
  })

  test.each(['bob', 'wit'])('%s promises nothing while a row is tagged as before, because its disk did not take it', async (name) => {
    const nodes = await made()
    await removed(nodes)
    await stepped(nodes, { without: [name] })
    const { retag, replica, epochs } = nodes.of(name)
    if (name !== 'wit') for (let i = 0; i < 2; i++) await epochs.step()
    retag.demand(2)
    vi.spyOn(replica, 'restate').mockRejectedValueOnce(new StoreFull('the disk is full'))
    const step = async (): Promise<'busy' | 'idle'> => retag.step().catch((error: unknown) => { if (!(error instanceof StoreFull)) throw error; return 'busy' as const })
    while (await step() === 'busy');
    expect([retag.votedFrom, await tagsAt(nodes, name)]).toEqual([0, new Set([1, 2])])
    while (await step() === 'busy');
    expect([retag.votedFrom, await tagsAt(nodes, name)]).toEqual([2, new Set([2])])
  })

  test('a witness is done without the rows that it decides about no more: nobody else may have them as they were', async () => {
    const nodes = await made()
    await removed(nodes)
    const { state, store, replica, codec } = nodes.of('wit')
    const others = staying.filter((name) => name !== 'wit').map((name) => peerNamed(name))
    const retag = new Retag({
      self: peerNamed('wit'), state, store, replica, codec, taggedIn: undefined, reachable: () => others,
      voters: votersBy({ version: () => 1n, groupsOf: () => [others] }), ask: async () => ({ kind: 'value', promised: undefined, accepted: undefined }),
    })
    retag.demand(2)
    while (await retag.step() === 'busy') { /* the whole pass */ }
    expect(retag.votedFrom).toBe(2)
  })

  test('the floor does not rise while one voter is not done, and rises when it is', async () => {
    const nodes = await made()
    await removed(nodes)
    // a witness finds nobody yet to take them from
    nodes.of('wit').retag.demand(2)
    while (await nodes.of('wit').retag.step() === 'busy') { /* the whole pass */ }
    expect(nodes.of('wit').retag.demand(2)).toBe(0)
    await stepped(nodes, { rounds: 1, without: ['carol'] })
    // they have waited long enough for her
    for (const name of ['founder', 'bob']) nodes.of(name).keys.sealIn(2)
    await stepped(nodes, { rounds: 4, without: ['carol'] })
    for (const name of ['founder', 'bob', 'wit']) expect(nodes.of(name).retag.demand(2), name).toBe(2)
    expect(nodes.of('founder').state.era.floor).toBe(0)
    await stepped(nodes, { rounds: 4 })
    expect(nodes.of('founder').state.era.floor).toBe(2)
  })

  test('what a node has still of rows that it did not decide about when the floor rose holds up neither its start, nor its coming back, nor the next floor', async () => {
    const nodes = await made()
    await removed(nodes)
    await changeEra(nodes.of('founder').parts, ({ rows, admins }) => ({ rows, admins, isNewEpoch: false, floor: 2, keepsInvites: true }))
    const carol = nodes.of('carol')
    expect([carol.state.era.floor, await tagsAt(nodes, 'carol')]).toEqual([2, new Set([1])])
    const index = memoryListingIndex()
    const rebuild = new IndexRebuild({ rows: carol.store, codec: carol.codec, index, describe: (_, value) => ({ scope: new Uint8Array(16), name: value, summary: value }), warn: () => {} })
    await rebuild.begin()
    expect(rebuild.doneShare).toBe(1)
    for (let partition = 0; partition < partitionCount; partition++) await rebuild.forget(partition)
    expect(await index.scopes(tables.objects)).toEqual([])
    for (const name of staying) if (name !== 'wit') await nodes.of(name).epochs.step().catch(() => {})
    await nodes.greetAll()
    await rotateKeys(nodes.of('founder').parts)
    await nodes.greetAll()
    for (let i = 0; i < 2; i++) { await carol.epochs.step(); await nodes.greetAll() }
    carol.keys.sealIn(3)
    while (await carol.retag.step() === 'busy') { /* the whole pass */ }
    expect(carol.retag.votedFrom).toBe(3)
  })

  /** What dave, who kept his keys, could make and have a voter hand on. */
  function forged (nodes: EraNodes, key: string): { table: typeof tables.objects, rowKey: Uint8Array, record: Uint8Array } {
    const { codec } = nodes.of('dave')
    const rowKey = codec.rowKeyOf(object(key))
    const content = { revision: 99n, isTombstone: false, body: encodeEnvelope({ operations: [], value: utf8('forged') }) }
    return { table: tables.objects, rowKey, record: codec.encode({ table: tables.objects, rowKey, content, ballot: { counter: 90_000n, proposer: keyOf(peerNamed('dave')) } }) }
  }

  test('what it forges with the keys it kept is taken before the floor has risen, and by nobody after', async () => {
    const nodes = await made()
    await removed(nodes)
    const handedOver = async (to: string, key: string): Promise<string> => {
      const { kind } = await nodes.of(to).replica.answer(peerNamed('bob'), { version: 1n, kind: 'handOver', ...forged(nodes, key) })
      return kind
    }
    // the reason why there is a floor
    expect(await handedOver('carol', 'k0')).toBe('accepted')
    await stepped(nodes, { rounds: 4 })
    expect(nodes.of('founder').state.era.floor).toBe(2)
    for (const to of ['carol', 'founder', 'wit']) await expect(handedOver(to, 'k1'), to).rejects.toThrow(Corrupt)
    expect(() => nodes.of('bob').codec.decode(forged(nodes, 'k1'))).toThrow(/below 2 counts no more/)
  })

  test('a member that still tags in the old epoch has its writes taken by members, under new tags, and not by a witness that has promised', async () => {
    const nodes = await made()
    await removed(nodes)
    await stepped(nodes, { rounds: 1, without: ['carol'] })
    // they have waited long enough for her
    for (const name of ['founder', 'bob']) nodes.of(name).keys.sealIn(2)
    await stepped(nodes, { rounds: 1, without: ['carol'] })
    await nodes.of('carol').epochs.step()
    nodes.of('carol').keys.sealIn(1)
    await written(nodes, 'carol', 'k3', 'late')
    await vi.waitFor(async () => { for (const name of ['founder', 'bob']) expect((await nodes.of(name).store.get(tables.objects, nodes.of(name).codec.rowKeyOf(object('k3'))))?.promised.proposer, name).toEqual(keyOf(peerNamed('carol'))) })
    for (const name of ['founder', 'bob']) expect(await tagsAt(nodes, name), name).toEqual(new Set([2]))
    const { codec, store } = nodes.of('carol')
    const rowKey = codec.rowKeyOf(object('k3'))
    const record = (await store.get(tables.objects, rowKey))?.accepted as Uint8Array
    const ballot = { counter: 5000n, proposer: keyOf(peerNamed('carol')) }
    await expect(nodes.of('wit').replica.answer(peerNamed('carol'), { version: 1n, kind: 'accept', table: tables.objects, rowKey, record: codec.reproposed({ table: tables.objects, rowKey, record, ballot }) })).rejects.toThrow(/tagged in epoch 1/)
    expect(await nodes.of('bob').registers.read(object('k3'))).toEqual(utf8('late'))
  })

  test('a voter that restarts half way begins again, and keeps its promise', async () => {
    const nodes = await made()
    await removed(nodes)
    await stepped(nodes, { rounds: 2 })
    for (const name of ['wit', 'bob']) await nodes.restart(name)
    expect(nodes.of('wit').retag.demanded).toBe(2)
    expect(nodes.of('bob').keys.currentEpoch).toBe(2)
    await stepped(nodes, { rounds: 4 })
    expect(nodes.of('founder').state.era.floor).toBe(2)
    for (const name of staying) expect(await tagsAt(nodes, name), name).toEqual(new Set([2]))
  })
})
