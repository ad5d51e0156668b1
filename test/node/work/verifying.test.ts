import { describe, expect, test } from 'vitest'
import { type Cid, cidOf } from '../../../src/base/cid.ts'
import { Corrupt, NotFound, Unavailable } from '../../../src/base/errors.ts'
import type { PeerId } from '../../../src/base/peer-id.ts'
import { PeerUnreachable } from '../../../src/network/index.ts'
import { CopyCount, type NotedBlock } from '../../../src/node/work/copy-count.ts'
import { verifyObjects, type VerifyParts } from '../../../src/node/work/verifying.ts'
import type { VerifyEvent, VerifyOptions } from '../../../src/node.ts'
import { hexOf } from '../../../src/base/bytes.ts'
import { versionAddress } from '../../../src/objects/change-object.ts'
import { objectStore } from '../../../src/objects/index.ts'
import { decodeVersionRow, type VersionRow } from '../../../src/objects/versions/version-row.ts'
import { tables } from '../../../src/tables/index.ts'
import type { Presence } from '../../../src/replication/index.ts'
import { shardsOf } from '../../../src/replication/shards.ts'
import { noiseBytes } from '../../support/file-world.ts'
import { type ObjectWorld, objectWorld } from '../../support/object-parts.ts'
import { lose, referenceOf, type RepairNode, repairNodes, type RepairNodes, rot } from '../../support/repair-nodes.ts'

async function countOf (world: RepairNodes, blocks: readonly NotedBlock[], { copies = 3, isDeep = false, at = 0 } = {}): Promise<ReturnType<CopyCount['result']>> {
  const { self, holder, blocks: local, peers } = world.nodes[at] as RepairNode
  const count = new CopyCount({ self, holder, local, shards: local.shards, peers, clock: world.time.clock(), placement: { holdersOf: () => world.placed } }, { copies, isDeep, signal: undefined })
  let over = false
  const work = count.add(blocks).finally(() => { over = true })
  work.catch(() => {}) // awaited below
  await world.time.run(() => over)
  await work
  return count.result()
}

describe('the copies of a block', () => {
  test('are all there, at this node and at others', async () => {
    const world = await repairNodes(4)
    const cid = await world.put(world.nodes.slice(1), 'a block')
    expect(await countOf(world, [{ cid, redundancy: undefined }], { isDeep: true })).toEqual({ damaged: [], below: undefined })
  })

  test('are fewer when one is lost; who does not answer is told, and counts for none', async () => {
    const world = await repairNodes(3)
    const [one, two] = [await world.put(world.nodes, 'one'), await world.put(world.nodes, 'two', { length: 1000 })]
    const blocks = [one, two].map((cid) => ({ cid, redundancy: undefined }))
    expect((await countOf(world, blocks)).below).toBeUndefined()
    await lose(world.nodes[1] as RepairNode, two)
    expect((await countOf(world, blocks)).below).toBe('1 blocks are short: of the shortest 2 of 3 copies or shards are there')
    expect((await countOf(world, blocks, { copies: 2 })).below).toBeUndefined()
    world.away.add(world.nodes[2]?.self as PeerId)
    expect((await countOf(world, blocks)).below).toBe('2 blocks are short: of the shortest 1 of 3 copies or shards are there, and 1 nodes that may have one do not answer')
    // that hangs
    world.away.clear()
    world.network.kill(world.nodes[2]?.self as PeerId)
    expect((await countOf(world, blocks)).below).toMatch(/1 of 3 .* do not answer/)
  })

  test('are fewer than they should be where fewer nodes hold blocks', async () => {
    const world = await repairNodes(2)
    expect((await countOf(world, [{ cid: await world.put(world.nodes, 'a block'), redundancy: undefined }])).below).toBe('1 blocks are short: of the shortest 2 of 3 copies or shards are there, and only 2 nodes hold blocks')
  })

  test.each([['here', 0], ['elsewhere', 2]] as const)('looked at deep are found to be rotten %s, which their holder has not noticed', async (_where, at) => {
    const world = await repairNodes(3)
    const cid = await world.put(world.nodes, 'a block')
    await rot(world.nodes[at] as RepairNode, cid)
    expect(await countOf(world, [{ cid, redundancy: undefined }])).toEqual({ damaged: [], below: undefined })
    const { damaged, below } = await countOf(world, [{ cid, redundancy: undefined }], { isDeep: true })
    expect(damaged).toEqual([expect.stringContaining(`the copy of block ${cid} at ${at === 0 ? 'this node' : world.nodes[at]?.self ?? ''}`)])
    expect(below).toContain('2 of 3')
  })

  test('looked at deep at one that does not answer then are not there, and not damaged', async () => {
    const world = await repairNodes(3)
    const cid = await world.put(world.nodes, 'a block')
    const peers = (world.nodes[0] as RepairNode).peers
    const silent = world.nodes[2]?.self
    const fetch: typeof peers.fetch = async (peer, ...rest) => { if (peer === silent) throw new PeerUnreachable(peer, 'it does not answer'); return peers.fetch(peer, ...rest) }
    const { self, holder, blocks: local } = world.nodes[0] as RepairNode
    const count = new CopyCount({ self, holder, local, shards: local.shards, peers: { ...peers, fetch, presence: async (...of) => peers.presence(...of), reachable: () => peers.reachable() }, clock: world.time.clock(), placement: { holdersOf: () => world.placed } }, { copies: 3, isDeep: true, signal: undefined })
    let over = false
    const work = count.add([{ cid, redundancy: undefined }]).finally(() => { over = true })
    await world.time.run(() => over)
    await work
    expect(count.result()).toEqual({ damaged: [], below: '1 blocks are short: of the shortest 2 of 3 copies or shards are there, and 1 nodes that may have one do not answer' })
  })

  test('in shards count each index once, and one that is rotten not', async () => {
    const world = await repairNodes(4)
    const bytes = noiseBytes(300_000, 1)
    const redundancy = { k: 2, m: 1 }
    const shards = await shardsOf(cidOf(bytes), bytes, redundancy)
    const store = async (node: number, index: number): Promise<void> => (world.nodes[node] as RepairNode).holder.storeShard(shards[index] as typeof shards[0], { ...referenceOf('version', 1), redundancy })
    for (const i of [0, 1]) await store(i, i)
    await store(3, 1)
    const block = { cid: cidOf(bytes), redundancy }
    expect((await countOf(world, [block])).below).toContain('2 of 3')
    await store(2, 2)
    expect(await countOf(world, [block], { isDeep: true })).toEqual({ damaged: [], below: undefined })
    const { files } = world.nodes[2] as RepairNode
    files.flip(files.paths.find((path) => path.includes('.2.1.2.')) ?? '', 300_000)
    const { damaged, below } = await countOf(world, [block], { isDeep: true })
    expect(damaged).toEqual([expect.stringContaining('shard 2')])
    expect(below).toContain('2 of 3')
  })
})

describe('verifying', () => {
  const self = 'self' as PeerId

  async function verified (world: ObjectWorld, { fail = () => undefined, presence = 'held', options = {}, onAll }: { fail?: (cid: Cid) => Error | undefined, presence?: Presence['state'], options?: VerifyOptions, onAll?: () => Promise<void> } = {}): Promise<VerifyEvent[]> {
    const { parts } = world
    const none = async (): Promise<never> => { throw new Error('nobody else is there') }
    const all: VerifyParts = {
      self, clock: parts.clock, placement: { holdersOf: () => [self] }, local: { get: none }, shards: { get: none, async * of () {} },
      peers: { reachable: () => [], presence: none, shardPresence: none, fetch: none, fetchShard: none },
      holder: { presence: async (cids) => cids.map(() => ({ state: presence, references: 0 })), shardPresence: none },
      engine: { reader: (of) => ({ get: async (cid, wait) => { const error = fail(cid); if (error !== undefined) throw error; return parts.replication.reader(of).get(cid, wait) } }) },
      objectsOver: (engine) => objectStore({ ...parts, replication: { ...parts.replication, ...engine } }),
    }
    const events: VerifyEvent[] = []
    for await (const event of verifyObjects(all, { ...options, ...onAll === undefined ? {} : { onAll } })) events.push(event)
    return events
  }

  async function filled (count: number): Promise<{ world: ObjectWorld, cids: Cid[][] }> {
    const world = objectWorld()
    const store = objectStore(world.parts)
    const cids: Cid[][] = []
    for (const bucket of ['one', 'two']) await store.createBucket(`bucket-${bucket}`, { copies: 1 })
    for (let i = 0; i < count; i++) {
      const before = new Set(world.blocks.keys())
      await store.put({ bucket: `bucket-${i % 2 === 0 ? 'one' : 'two'}`, key: `key/${i}` }, (async function * () { yield noiseBytes(30, i) })())
      cids.push([...world.blocks.keys()].filter((cid) => !before.has(cid)))
    }
    return { world, cids }
  }

  test('reads every object of every bucket, and finds nothing where nothing is wrong', async () => {
    const { world } = await filled(20)
    const events = await verified(world)
    expect(events[0]).toEqual({ kind: 'total', objects: 20, bytes: 600 })
    expect(events.at(-1)).toEqual({ kind: 'done', objects: 20, bytes: 600, blocks: 80, damaged: 0, unreadable: 0, below: 0 })
    expect(events.filter(({ kind }) => kind === 'object')).toEqual([])
    expect(events.some(({ kind }) => kind === 'progress')).toBe(true)
  })

  test('reads of one bucket, or below one prefix, only that', async () => {
    const { world } = await filled(20)
    expect((await verified(world, { options: { bucket: 'bucket-one' } }))[0]).toMatchObject({ objects: 10 })
    expect((await verified(world, { options: { bucket: 'bucket-two', prefix: 'key/1' } })).at(-1)).toMatchObject({ kind: 'done', objects: 6 })
    await expect(verified(world, { options: { bucket: 'bucket-three' } })).rejects.toThrow(NotFound)
  })

  test('names what is damaged, what cannot be read now, and what has fewer copies, and goes on', async () => {
    const { world, cids } = await filled(20)
    const fail = (cid: Cid): Error | undefined => cids[3]?.includes(cid) === true ? new Corrupt('it has rotted') : cids[4]?.includes(cid) === true ? new Unavailable('nobody answers') : undefined
    const events = await verified(world, { fail })
    expect(events.filter(({ kind }) => kind === 'object')).toEqual(expect.arrayContaining([
      expect.objectContaining({ bucket: 'bucket-two', key: 'key/3', problem: 'damaged', reason: 'it has rotted' }), expect.objectContaining({ bucket: 'bucket-one', key: 'key/4', problem: 'unreadable', reason: 'nobody answers' }),
    ]))
    expect(events.at(-1)).toMatchObject({ objects: 20, damaged: 1, unreadable: 1, below: 0 })
    const short = await verified(world, { presence: 'absent' })
    expect(short.at(-1)).toMatchObject({ objects: 20, damaged: 0, below: 20 })
    expect(short.find(({ kind }) => kind === 'object')).toMatchObject({ problem: 'below', reason: expect.stringContaining('0 of 1 copies') as string })
  })

  test('of a bucket that keeps versions reads all of them', async () => {
    const { world, cids } = await filled(4)
    const store = objectStore(world.parts)
    await store.setBucketSettings('bucket-one', { versioning: 'enabled' })
    for (let i = 0; i < 3; i++) await store.put({ bucket: 'bucket-one', key: 'key/0' }, (async function * () { yield noiseBytes(30, 100 + i) })())
    await store.remove({ bucket: 'bucket-one', key: 'key/0' })
    const options = { bucket: 'bucket-one' }
    expect((await verified(world, { options })).at(-1)).toMatchObject({ objects: 5, bytes: 150, damaged: 0 })
    const events = await verified(world, { options, fail: (cid) => cids[0]?.includes(cid) === true ? new Corrupt('it has rotted') : undefined })
    expect(events.filter(({ kind }) => kind === 'object')).toEqual([expect.objectContaining({ key: 'key/0', problem: 'damaged' })])
  })

  test('where a version was lost that stands in its object\'s row, as after the loss of a majority, says so, and goes on with all others (it ended there)', async () => {
    const { world } = await filled(40)
    const store = objectStore(world.parts)
    for (const bucket of ['bucket-one', 'bucket-two']) await store.setBucketSettings(bucket, { versioning: 'enabled' })
    for (let i = 0; i < 3; i++) await store.put({ bucket: 'bucket-one', key: 'key/20' }, (async function * () { yield noiseBytes(30, 100 + i) })())
    const lost = world.registers.valuesOf(tables.versions).map(decodeVersionRow).at(-1) as VersionRow
    world.registers.erase(versionAddress({ bucketId: hexOf(lost.bucketId), key: 'key/20' }, lost.version))
    let isAll = false
    const events = await verified(world, { onAll: async () => { isAll = true; return Promise.resolve() } })
    expect(events.filter(({ kind }) => kind === 'object')).toEqual([{ kind: 'object', bucket: 'bucket-one', key: 'key/20', versionId: hexOf(lost.version.id), problem: 'damaged', reason: 'its object names it, and its own row is lost' }])
    expect(events[0]).toMatchObject({ objects: 42 })
    expect(events.at(-1)).toMatchObject({ kind: 'done', objects: 42, damaged: 1 })
    expect(isAll).toBe(true)
  })

  test('names a version that was lost also where no other of its object is kept: none is listed then (all was said to be well)', async () => {
    const { world } = await filled(40)
    const store = objectStore(world.parts)
    await store.setBucketSettings('bucket-one', { versioning: 'enabled' })
    const { versionId } = await store.head({ bucket: 'bucket-one', key: 'key/20' })
    await store.put({ bucket: 'bucket-one', key: 'key/20' }, (async function * () { yield noiseBytes(30, 100) })())
    const [lost] = world.registers.valuesOf(tables.versions).map(decodeVersionRow) as [VersionRow]
    world.registers.erase(versionAddress({ bucketId: hexOf(lost.bucketId), key: 'key/20' }, lost.version))
    const events = await verified(world)
    expect(events.filter(({ kind }) => kind === 'object')).toEqual([expect.objectContaining({ key: 'key/20', versionId, problem: 'damaged' })])
    expect(events.at(-1)).toMatchObject({ kind: 'done', objects: 40, damaged: 1 })
  })

  test('what nobody expected ends it', async () => {
    const { world, cids } = await filled(6)
    await expect(verified(world, { fail: (cid) => cids[5]?.includes(cid) === true ? new TypeError('a mistake') : undefined })).rejects.toThrow(TypeError)
  })
})
