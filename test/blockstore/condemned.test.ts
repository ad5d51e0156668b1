import { describe, expect, test } from 'vitest'
import { utf8 } from '../../src/base/bytes.ts'
import { type Cid, cidOf } from '../../src/base/cid.ts'
import { hash } from '../../src/base/hash.ts'
import { KeyedQueue } from '../../src/base/keyed-queue.ts'
import { seededRandom } from '../../src/base/random.ts'
import { scrubBlocks, scrubReferences } from '../../src/blockstore/block-scrub.ts'
import { condemnedBlocks, deadKeyOf, type Since } from '../../src/blockstore/condemned.ts'
import { openDiskBlocks } from '../../src/blockstore/disk-blocks.ts'
import { blockHolder } from '../../src/blockstore/holder.ts'
import { blockInventory } from '../../src/blockstore/inventory.ts'
import { referenceKeyOf, referencesTo } from '../../src/blockstore/references.ts'
import type { KeyValue } from '../../src/disk/index.ts'
import { memoryFiles } from '../../src/disk/memory-files.ts'
import { memoryKeyValue } from '../../src/disk/memory-key-value.ts'
import type { Reference } from '../../src/replication/index.ts'
import { shardsOf } from '../../src/replication/shards.ts'
import { noiseBytes } from '../support/file-world.ts'

const proofOf = (name: string): Uint8Array => hash(utf8(`proof of ${name}`))
const version = (name: string, redundancy = { k: 1, m: 2 }): Reference => ({ versionId: hash(proofOf(name)), redundancy })
const since: Since = { run: new Uint8Array(16).fill(1), monotonicMs: 5 }
const sizes = [['small', noiseBytes(1000, 1)], ['large', noiseBytes(100_000, 2)]] as const

async function disk ({ files = memoryFiles(), index = memoryKeyValue() } = {}) {
  const blocks = await openDiskBlocks({ files, index, quotaBytes: undefined, reserveBytes: 0, onCorrupt: () => {} })
  const locks = new KeyedQueue()
  const holder = blockHolder({ blocks, index, locks })
  return { files, index, blocks, locks, holder, condemned: condemnedBlocks({ blocks, index, locks }), inventory: blockInventory({ blocks, index }) }
}

type Disk = Awaited<ReturnType<typeof disk>>
async function versionsOf ({ holder }: Disk, cid: Cid): Promise<number> { let n = 0; for await (const _ of holder.references(cid)) n++; return n }

/** A block whose one version is dead, and that is condemned. */
async function condemnedOn (block: Uint8Array): Promise<Disk & { cid: Cid }> {
  const here = await disk()
  const cid = cidOf(block)
  await here.holder.store(cid, block, version('old'))
  await here.condemned.died(cid, [proofOf('old')])
  expect(await here.condemned.condemn(cid, since)).toBe('condemned')
  return { ...here, cid }
}

describe.each(sizes)('a block whose versions are all dead: %s', (_size, block) => {
  const cid = cidOf(block)

  test('is condemned, counts as absent, and goes with all that was recorded of it', async () => {
    const { holder, condemned, blocks, index, files } = await condemnedOn(block)
    expect(await holder.presence([cid])).toEqual([{ state: 'absent', references: 0 }])
    expect((await condemned.page({ after: undefined, limit: 10 })).items).toEqual([{ cid, since }])
    expect(await condemned.collect(cid)).toBe('collected')
    expect(await blocks.has(cid)).toBe(false)
    expect(blocks.stats()).toMatchObject({ count: 0, bytes: 0 })
    const left: Uint8Array[] = []
    for await (const key of index.keys({})) left.push(key)
    expect(left).toEqual([])
    expect(files.paths).toEqual([])
  })

  test('is kept for a reference that scrub has set aside, until its version is dead too, or recorded again (the copy went that it alone had kept)', async () => {
    const here = await disk()
    for (const name of ['old', 'new']) await here.holder.store(cid, block, version(name))
    await here.condemned.died(cid, [proofOf('old')])
    const key = referenceKeyOf(cid, version('new'))
    const rot = async (): Promise<void> => {
      here.index.damage(key, new Uint8Array(10).fill(7))
      await scrubReferences({ ...here, report: () => {} }, undefined)
    }
    await rot()
    expect(await here.condemned.condemn(cid, since)).toBe('kept')
    expect(await here.condemned.living(cid, 10)).toEqual([version('new').versionId])
    const [shard] = await shardsOf(cid, block, { k: 2, m: 1 })
    if (shard === undefined) throw new Error('no shard')
    await here.holder.storeShard(shard, version('spread', { k: 2, m: 1 }))
    expect(await here.condemned.strip(cid, new Set(['whole']))).toBe('kept')
    await here.condemned.died(cid, [proofOf('spread')])
    // somebody else has told of it
    expect(await here.holder.keep(cid, version('new'))).toBe('kept')
    await here.condemned.died(cid, [proofOf('new')])
    expect(await here.condemned.condemn(cid, since)).toBe('condemned')
    await here.holder.store(cid, block, version('newer'))
    await here.holder.store(cid, block, version('newest'))
    here.index.damage(referenceKeyOf(cid, version('newest')), new Uint8Array(10).fill(7))
    await scrubReferences({ ...here, report: () => {} }, undefined)
    await here.condemned.died(cid, [proofOf('newer'), proofOf('newest')])
    expect(await here.condemned.condemn(cid, since)).toBe('condemned')
    expect(await here.condemned.collect(cid)).toBe('collected')
    const left: Uint8Array[] = []
    for await (const each of here.index.keys({})) left.push(each)
    expect(left).toEqual([])
  })

  test('is not given up to others for a reference that scrub has set aside: they would not be told of it, and collect the only copy', async () => {
    const here = await disk()
    const [shard] = await shardsOf(cid, block, { k: 2, m: 1 })
    if (shard === undefined) throw new Error('no shard')
    for (const name of ['old', 'new']) await here.holder.store(cid, block, version(name))
    await here.holder.storeShard(shard, version('spread', { k: 2, m: 1 }))
    here.index.damage(referenceKeyOf(cid, version('new')), new Uint8Array(10).fill(7))
    await scrubReferences({ ...here, report: () => {} }, undefined)
    expect(await here.holder.release(cid, async () => true)).toBe('kept')
    expect(await here.holder.releaseShard(shard, async () => true)).toBe('kept')
    await here.holder.keep(cid, version('new'))
    expect(await here.holder.releaseShard(shard, async () => true)).toBe('released')
    expect(await here.holder.release(cid, async () => true)).toBe('released')
  })

  test('is kept while one version lives, or one reference cannot be read', async () => {
    const here = await disk()
    for (const name of ['old', 'new']) await here.holder.store(cid, block, version(name))
    await here.condemned.died(cid, [proofOf('old')])
    expect(await here.condemned.condemn(cid, since)).toBe('kept')
    const key = referenceKeyOf(cid, version('new'))
    here.index.damage(key, new Uint8Array(10).fill(7))
    expect(await here.condemned.condemn(cid, since)).toBe('kept')
    expect(await here.holder.living([cid])).toEqual([{ versionIds: [], redundancies: [], isMore: true }])
  })

  test('is kept if nothing is recorded of it at all: a missing reference proves nothing', async () => {
    const here = await disk()
    await here.blocks.put(cid, block)
    expect(await here.condemned.condemn(cid, since)).toBe('kept')
  })

  test('is wanted when it is offered, and stays when it is stored: the mark goes with the reference', async () => {
    const { holder, condemned, blocks } = await condemnedOn(block)
    expect(await holder.keep(cid, version('new'))).toBe('want')
    expect(await condemned.isCondemned(cid)).toBe(true)
    await holder.store(cid, block, version('new'))
    expect(await condemned.isCondemned(cid)).toBe(false)
    expect(await condemned.collect(cid)).toBe('kept')
    expect(await blocks.get(cid)).toEqual(block)
  })

  test('is not there for a version that is dead here, whoever has not heard of it', async () => {
    const { holder, blocks } = await condemnedOn(block)
    await expect(holder.keep(cid, version('old'))).rejects.toThrow('given up or replaced')
    await expect(holder.store(cid, block, version('old'))).rejects.toThrow('given up or replaced')
    expect(await blocks.has(cid)).toBe(true)
  })

  test('stays when a proof that was stored is another one: it is looked at again before the block goes', async () => {
    const { condemned, index } = await condemnedOn(block)
    index.damage(deadKeyOf(cid, version('old')), proofOf('another'))
    expect(await condemned.collect(cid)).toBe('kept')
    expect(await condemned.isCondemned(cid)).toBe(false)
  })

  test('is taken away only when nobody else has its lock', async () => {
    const { condemned, locks, holder } = await condemnedOn(block)
    let isLetGo = false
    const held = locks.run(cid, async () => { while (!isLetGo) await new Promise((resolve) => { setImmediate(resolve) }) })
    const [storing, collecting] = [holder.store(cid, block, version('new')), condemned.collect(cid)]
    isLetGo = true
    await Promise.all([held, storing])
    expect(await collecting).toBe('kept')
  })

  test('is gone for good, or still condemned with all its dead references, wherever the power fails', async () => {
    for (let seed = 0; seed < 40; seed++) {
      const before = await condemnedOn(block)
      const random = seededRandom(seed)
      let left = Math.floor(random.fraction() * 4)
      // the power fails before one of the steps
      const failing = { ...before.index, batch: async (...args: Parameters<KeyValue['batch']>) => left-- === 0 ? new Promise<never>(() => {}) : before.index.batch(...args) }
      const blocks = await openDiskBlocks({ files: before.files, index: failing, quotaBytes: undefined, reserveBytes: 0, onCorrupt: () => {} })
      void condemnedBlocks({ blocks, index: failing, locks: new KeyedQueue() }).collect(cid)
      for (let i = 0; i < 20; i++) await new Promise((resolve) => { setImmediate(resolve) })
      const after = await disk({ files: before.files.crash(random), index: before.index.crash(random) })
      const isHere = await after.blocks.has(cid)
      if (isHere || await after.condemned.isCondemned(cid)) expect(await after.condemned.collect(cid)).toBe('collected')
      expect(await after.blocks.has(cid)).toBe(false)
    }
  })
})

test('shards go with their block, and a shard that is stored for a living version takes the mark away', async () => {
  const here = await disk()
  const block = noiseBytes(100_000, 3)
  const cid = cidOf(block)
  const shards = await shardsOf(cid, block, { k: 2, m: 1 })
  const of = (name: string): Reference => version(name, { k: 2, m: 1 })
  for (const shard of shards.slice(0, 2)) await here.holder.storeShard(shard, of('old'))
  await here.condemned.died(cid, [proofOf('old')])
  await here.condemned.condemn(cid, since)
  expect(await here.holder.shardPresence([{ cid, redundancy: { k: 2, m: 1 } }])).toEqual([{ indexes: new Set(), references: 0 }])
  expect(await here.holder.keepShard(shards[0] as never, of('new'))).toBe('want')
  await here.holder.storeShard(shards[0] as never, of('new'))
  expect(await here.condemned.collect(cid)).toBe('kept')
  await here.condemned.died(cid, [proofOf('new')])
  await here.condemned.condemn(cid, since)
  expect(await here.condemned.collect(cid)).toBe('collected')
  expect(here.blocks.stats()).toMatchObject({ count: 0, bytes: 0, shards: 0 })
})

test('what is dead is in no sum that others compare, and is told by the inventory', async () => {
  const here = await disk()
  const block = noiseBytes(1000, 4)
  const cid = cidOf(block)
  await here.holder.store(cid, block, version('new'))
  const [before] = await here.holder.presence([cid])
  await here.holder.store(cid, block, version('old'))
  await here.condemned.died(cid, [proofOf('old')])
  expect(await here.holder.presence([cid])).toEqual([before])
  expect(await versionsOf(here, cid)).toBe(1)
  expect(await here.inventory.find(cid)).toMatchObject({ dead: 1, references: { count: 1 } })
  expect((await here.inventory.page({ after: undefined, limit: 10 })).items).toMatchObject([{ cid, dead: 1, references: { count: 1 } }])
})

test('a block that is only known by what is dead is still found', async () => {
  const here = await condemnedOn(noiseBytes(1000, 5))
  await here.blocks.delete(here.cid)
  expect((await here.inventory.page({ after: undefined, limit: 10 })).items).toMatchObject([{ cid: here.cid, isHere: false, dead: 1, references: { count: 0 } }])
  for await (const _ of here.index.keys(referencesTo(here.cid))) throw new Error('a living reference')
})

test('a name in the index with a flipped bit, or cut short, is nobody\'s, and holds up nothing (repair, collect and scrub stood before it for ever, and no peer was told what is here)', async () => {
  const here = await disk()
  const { holder, condemned, index, blocks, inventory } = here
  const [small, large, dead] = [noiseBytes(1000, 1), noiseBytes(100_000, 2), noiseBytes(2000, 3)]
  for (const bytes of [small, large, dead]) {
    await holder.store(cidOf(bytes), bytes, version('old'))
    for (const shard of await shardsOf(cidOf(bytes), bytes, { k: 2, m: 1 })) await holder.storeShard(shard, version('spread', { k: 2, m: 1 }))
  }
  await condemned.died(cidOf(dead), [proofOf('old'), proofOf('spread')])
  await condemned.condemn(cidOf(dead), since)
  const cids = [small, large, dead].map(cidOf)
  const scrub = { blocks, holder, inventory, index, report: () => {} }
  const walk = async (): Promise<void> => {
    expect((await inventory.page({ after: undefined, limit: 100 })).items.length).toBeGreaterThanOrEqual(3)
    for (const cid of cids) await inventory.find(cid)
    await holder.presence(cids)
    await holder.shardPresence(cids.map((cid) => ({ cid, redundancy: { k: 2, m: 1 } })))
    await condemned.page({ after: undefined, limit: 100 })
    for await (const _ of blocks.list());
    for await (const _ of blocks.shards.list());
  }
  await walk()
  const keys: Array<readonly [Uint8Array, Uint8Array]> = []
  for await (const entry of index.entries({})) keys.push(entry)
  for (const [key, value] of keys) {
    const bits = Array.from({ length: key.byteLength * 8 }, (_, bit) => key.map((byte, i) => i === bit >> 3 ? byte ^ (1 << (bit & 7)) : byte))
    for (const wrong of [...bits, key.subarray(0, -1), key.subarray(0, 20), key.subarray(0, 1)]) {
      index.damage(key, undefined)
      index.damage(wrong, value)
      await walk()
      index.damage(wrong, undefined)
      index.damage(key, value)
    }
    // what is set aside is not put back
    index.damage(key, undefined)
    for (const wrong of [key.subarray(0, -1), key.subarray(0, 20), key.subarray(0, 1)]) {
      index.damage(wrong, value)
      await scrubReferences(scrub, undefined)
      for (let after: Uint8Array | undefined; ;) {
        after = (await scrubBlocks(scrub, after)).next
        if (after === undefined) break
      }
      index.damage(wrong, undefined)
    }
    index.damage(key, value)
  }
})
