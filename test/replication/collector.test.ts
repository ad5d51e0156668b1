import { describe, expect, test } from 'vitest'
import { compareBytes, hexOf, utf8 } from '../../src/base/bytes.ts'
import { type Cid, cidOf, digestOf } from '../../src/base/cid.ts'
import { hash } from '../../src/base/hash.ts'
import { KeyedQueue } from '../../src/base/keyed-queue.ts'
import { type PeerId, peerIdOf } from '../../src/base/peer-id.ts'
import { condemnedBlocks } from '../../src/blockstore/condemned.ts'
import { openDiskBlocks } from '../../src/blockstore/disk-blocks.ts'
import { blockHolder } from '../../src/blockstore/holder.ts'
import { blockInventory } from '../../src/blockstore/inventory.ts'
import { memoryFiles } from '../../src/disk/memory-files.ts'
import { memoryKeyValue } from '../../src/disk/memory-key-value.ts'
import { Collector, collectorLimits, type CollectorParts } from '../../src/replication/collector.ts'
import type { Living, Reference } from '../../src/replication/index.ts'
import type { Shard } from '../../src/blockstore/shard.ts'
import { shardsOf } from '../../src/replication/shards.ts'
import { noiseBytes } from '../support/file-world.ts'
import { VirtualTime } from '../simulation/virtual-time.ts'

const ids = ['a', 'b', 'c', 'd', 'e'].map((name) => peerIdOf(hash(utf8(name)))) as [PeerId, PeerId, PeerId, PeerId, PeerId]
const [self] = ids
const proofOf = (name: string): Uint8Array => hash(utf8(`proof of ${name}`))
const idOf = (name: string): Uint8Array => hash(proofOf(name))
const version = (name: string): Reference => ({ versionId: idOf(name), redundancy: { k: 1, m: 2 } })
const block = utf8('a block')
const cid = cidOf(block)
const graceMs = 10_000

/** One holder, with its own disk; what others say is what the test has them say. */
async function world ({ places = ids.slice(0, 3), run = 1, disk = { files: memoryFiles(), index: memoryKeyValue() } }: { places?: readonly PeerId[], run?: number, disk?: { files: ReturnType<typeof memoryFiles>, index: ReturnType<typeof memoryKeyValue> } } = {}) {
  const { files, index } = disk
  const time = new VirtualTime()
  const blocks = await openDiskBlocks({ files, index, quotaBytes: undefined, reserveBytes: 0, onCorrupt: () => {} })
  const locks = new KeyedQueue()
  const holder = blockHolder({ blocks, index, locks })
  const said = new Map<PeerId, Living | 'nothing'>(ids.slice(1).map((peer) => [peer, { versionIds: [], isMore: false }]))
  const dead = new Map<string, Uint8Array>()
  const asked: PeerId[] = []
  const state = { isMoving: false }
  /** What others have of the block, as they say. */
  const present = new Map<PeerId, { isWhole?: boolean, indexes?: readonly number[] }>()
  const parts: CollectorParts = {
    self, condemned: condemnedBlocks({ blocks, index, locks }), inventory: blockInventory({ blocks, index }), clock: time.clock(), warn: () => {}, run: new Uint8Array(16).fill(run), collectAfterMs: graceMs,
    peers: {
      reachable: () => ids.slice(1),
      living: async (peer, cids) => {
        asked.push(peer)
        const answer = said.get(peer) ?? 'nothing'
        if (answer === 'nothing') throw new Error('it does not answer')
        return cids.map(() => answer)
      },
    },
    pieces: {
      presence: async (peer, cids) => cids.map(() => ({ state: present.get(peer)?.isWhole === true ? 'held' : 'absent', references: 0 })),
      shardPresence: async (peer, wanted) => wanted.map(() => ({ indexes: new Set(present.get(peer)?.indexes), references: 0 })),
    },
    placement: { holdersOf: () => places, isMoving: () => state.isMoving },
    deathsOf: async (versionIds) => new Map(versionIds.flatMap((id) => { const proof = dead.get(hexOf(id)); return proof === undefined ? [] : [[hexOf(id), proof]] })),
  }
  const collector = new Collector(parts)
  return {
    ...parts, disk, time, holder, blocks, present, said, dead, asked, state, collector,
    die: (name: string) => { dead.set(hexOf(idOf(name)), proofOf(name)) },
    /** One pass over everything, now. */
    pass: async (): Promise<void> => {
      collector.now()
      while (await collector.step({ signal: new AbortController().signal }) === 'busy');
    },
    isHere: async (of: Cid = cid) => blocks.has(of),
    found: () => collector.status().found,
  }
}

describe('the collector', () => {
  test('takes away what is dead, after the grace and not before', async () => {
    const { holder, die, pass, time, isHere, found, collector } = await world()
    await holder.store(cid, block, version('old'))
    await pass()
    expect(found()).toMatchObject({ condemnedBlocks: 0 })
    die('old')
    await pass()
    expect(found()).toMatchObject({ condemnedBlocks: 1, condemnedBytes: block.byteLength, heldUpBlocks: 0 })
    time.nowMs += graceMs - 1
    await pass()
    expect(await isHere()).toBe(true)
    time.nowMs += 1
    await pass()
    expect(await isHere()).toBe(false)
    expect(collector.status().total).toEqual({ collectedBlocks: 1, collectedBytes: block.byteLength, sparedBlocks: 0 })
    expect(found()).toMatchObject({ condemnedBlocks: 0 })
  })

  test('begins the grace anew in another run: what a clock said before a restart means nothing', async () => {
    const before = await world()
    await before.holder.store(cid, block, version('old'))
    before.die('old')
    before.time.nowMs = 1_000_000
    await before.pass()
    const after = await world({ run: 2, disk: before.disk })
    after.die('old')
    after.time.nowMs = 2_000_000
    await after.pass()
    expect(await after.isHere()).toBe(true)
    after.time.nowMs += graceMs
    await after.pass()
    expect(await after.isHere()).toBe(false)
  })

  test('keeps what another holder has recorded for a version that lives', async () => {
    const { holder, die, pass, time, isHere, said, condemned, collector } = await world()
    await holder.store(cid, block, version('old'))
    die('old')
    said.set(ids[2], { versionIds: [idOf('new')], isMore: false })
    await pass()
    expect(await condemned.isCondemned(cid)).toBe(false)
    // and so if it is recorded during the grace
    said.set(ids[2], { versionIds: [], isMore: false })
    await pass()
    said.set(ids[2], { versionIds: [idOf('new')], isMore: false })
    time.nowMs += graceMs
    await pass()
    expect(await isHere()).toBe(true)
    expect(collector.status().total).toMatchObject({ collectedBlocks: 0, sparedBlocks: 1 })
    // until that one is dead too
    die('new')
    await pass()
    time.nowMs += graceMs
    await pass()
    expect(await isHere()).toBe(false)
  })

  test('waits for a majority of those that may need a block: who does not answer is taken to need it', async () => {
    const { holder, die, pass, time, isHere, said, found } = await world({ places: ids })
    await holder.store(cid, block, version('old'))
    die('old')
    for (const peer of ids.slice(2)) said.set(peer, 'nothing')
    await pass()
    time.nowMs += graceMs
    await pass()
    expect(found()).toMatchObject({ condemnedBlocks: 1, heldUpBlocks: 1 })
    expect(await isHere()).toBe(true)
    said.set(ids[2], { versionIds: [], isMore: false })
    await pass()
    expect(await isHere()).toBe(false)
  })

  test('makes room on a disk that is full: what is condemned goes, though nothing can be marked', async () => {
    const { holder, die, pass, time, disk, blocks, found } = await world()
    const files = Array.from({ length: 3 }, (_, i) => noiseBytes(50_000, i))
    for (const [i, one] of files.entries()) await holder.store(cidOf(one), one, version(`version ${i}`))
    die('version 0')
    await pass()
    time.nowMs += graceMs
    die('version 1')
    disk.index.fail('write', 1000)
    await pass()
    expect(await blocks.has(cidOf(files[0] as Uint8Array))).toBe(false)
    expect(await blocks.has(cidOf(files[1] as Uint8Array))).toBe(true)
    // when there is room, nothing is left of the one, and the other is marked
    disk.index.fail('write', 1)
    await disk.index.batch([], { sync: true }).catch(() => {})
    await pass()
    expect(found()).toMatchObject({ condemnedBlocks: 1 })
    time.nowMs += graceMs
    await pass()
    expect(blocks.stats()).toMatchObject({ count: 1, bytes: 50_000 })
    expect((await world({ disk })).blocks.stats()).toMatchObject({ count: 1, bytes: 50_000 })
    expect(found()).toMatchObject({ condemnedBlocks: 0 })
  })

  test('goes on behind a file that the disk does not let go (what was dead behind it stayed for ever)', async () => {
    const { holder, die, pass, time, disk, blocks, found } = await world()
    const files = Array.from({ length: 3 }, (_, i) => noiseBytes(50_000, i))
    for (const [i, one] of files.entries()) await holder.store(cidOf(one), one, version(`version ${i}`))
    const rotten = cidOf(files.toSorted((a, b) => compareBytes(digestOf(cidOf(a)), digestOf(cidOf(b))))[0] as Uint8Array)
    const size = disk.files.size.bind(disk.files)
    disk.files.size = async (path) => {
      if (path.endsWith(rotten)) throw Object.assign(new Error('EBADMSG: bad message'), { code: 'EBADMSG' })
      return size(path)
    }
    for (const i of files.keys()) die(`version ${i}`)
    await pass()
    time.nowMs += graceMs
    await pass()
    expect(blocks.stats()).toMatchObject({ count: 1 })
    expect(found()).toMatchObject({ condemnedBlocks: 1 })
  })

  test('takes nothing away while the layout moves, and does not say that somebody does not answer', async () => {
    const { holder, die, pass, time, isHere, found, state } = await world()
    await holder.store(cid, block, version('old'))
    die('old')
    await pass()
    time.nowMs += graceMs
    state.isMoving = true
    await pass()
    expect(await isHere()).toBe(true)
    expect(found()).toMatchObject({ condemnedBlocks: 1, heldUpBlocks: 0 })
    state.isMoving = false
    await pass()
    expect(await isHere()).toBe(false)
  })

  test('keeps, and counts, what nothing was recorded of', async () => {
    const { blocks, pass, time, isHere, found } = await world()
    await blocks.put(cid, block)
    await pass()
    time.nowMs += graceMs
    await pass()
    expect(await isHere()).toBe(true)
    expect(found()).toMatchObject({ unreferencedBlocks: 1, unreferencedBytes: block.byteLength, condemnedBlocks: 0 })
  })

  test('believes a proof and not a word', async () => {
    const { holder, dead, pass, time, isHere, die } = await world()
    await holder.store(cid, block, version('old'))
    dead.set(hexOf(idOf('old')), proofOf('another'))
    await pass()
    time.nowMs += graceMs
    await pass()
    expect(await isHere()).toBe(true)
    die('old')
    await pass()
    time.nowMs += graceMs
    await pass()
    expect(await isHere()).toBe(false)
  })

  test('finds the dead among more versions of a block than it asks about in one walk, though all the others live', async () => {
    const { holder, die, pass, blocks } = await world()
    await blocks.put(cid, block)
    const names = Array.from({ length: 3 * collectorLimits.versionsOfBlock }, (_, i) => `version ${i}`).toSorted((a, b) => hexOf(idOf(a)) < hexOf(idOf(b)) ? -1 : 1)
    for (const name of names) await holder.keep(cid, version(name))
    for (const at of [-1, collectorLimits.versionsOfBlock, 0]) die(names.at(at) as string)
    for (let walks = 0; walks < 6; walks++) await pass()
    let left = 0
    for await (const _ of holder.references(cid)) left++
    expect(left).toBe(names.length - 3)
  })

  test('goes through many blocks page by page, and says how far it is', async () => {
    const { holder, die, time, blocks, collector } = await world()
    const all = Array.from({ length: 520 }, (_, i) => utf8(`block ${i}`))
    for (const [i, one] of all.entries()) await holder.store(cidOf(one), one, version(i % 2 === 0 ? 'old' : 'new'))
    die('old')
    collector.now()
    const shares: number[] = []
    while (await collector.step({ signal: new AbortController().signal }) === 'busy') shares.push(collector.status().doneShare)
    expect(Math.max(...shares)).toBeGreaterThan(0.5)
    time.nowMs += graceMs
    collector.now()
    const bytes: string[] = []
    while (await collector.step({ signal: new AbortController().signal }) === 'busy') {
      const { phase, doneBytes, totalBytes } = collector.status()
      bytes.push(`${phase} ${doneBytes}/${totalBytes}`)
    }
    const deadBytes = all.filter((_, i) => i % 2 === 0).reduce((sum, { byteLength }) => sum + byteLength, 0)
    expect(bytes.at(-1)).toMatch(new RegExp(`^collecting \\d+/${deadBytes}$`))
    expect(collector.status()).toMatchObject({ doneBytes: deadBytes, totalBytes: deadBytes })
    expect(collector.status().total.collectedBlocks).toBe(260)
    expect(blocks.stats().count).toBe(260)
  })
})

/** Kept in shards for one version, and whole for another. */
async function inTwoForms (): Promise<Awaited<ReturnType<typeof world>> & { shards: readonly Shard[], isWhole: () => Promise<boolean>, shardsHere: () => Promise<number> }> {
  const here = await world()
  const shards = await shardsOf(cid, block, { k: 2, m: 1 })
  await here.holder.store(cid, block, version('old'))
  await here.holder.storeShard(shards[0] as Shard, spread)
  for (const [i, peer] of ids.slice(1, 3).entries()) {
    here.present.set(peer, { indexes: [i + 1] })
    here.said.set(peer, { versionIds: [spread.versionId], redundancies: [spread.redundancy], isMore: false })
  }
  return { ...here, shards, isWhole: async () => here.isHere(), shardsHere: async () => { let n = 0; for await (const _ of here.blocks.shards.of(cid)) n++; return n } }
}

const spread: Reference = { versionId: idOf('spread'), redundancy: { k: 2, m: 1 } }

describe('the collector of a block that does not belong here, and that others need for another version', () => {
  const places = ids.slice(1, 4)
  async function elsewhere (): Promise<Awaited<ReturnType<typeof world>>> {
    const here = await world({ places })
    await here.holder.store(cid, block, version('old'))
    here.die('old')
    for (const peer of places) {
      here.said.set(peer, { versionIds: [idOf('new')], redundancies: [{ k: 1, m: 2 }], isMore: false })
      here.present.set(peer, { isWhole: true })
    }
    return here
  }
  const graceOver = async ({ pass, time }: Awaited<ReturnType<typeof world>>): Promise<void> => { await pass(); time.nowMs += graceMs; await pass() }

  test('takes it away once as many of them have it as that asks (it stayed for as long as the other version lived)', async () => {
    const here = await elsewhere()
    await graceOver(here)
    expect(await here.isHere()).toBe(false)
  })

  test('and its shards', async () => {
    const here = await world({ places })
    await here.holder.storeShard((await shardsOf(cid, block, spread.redundancy))[0] as Shard, { ...spread, versionId: idOf('old') })
    here.die('old')
    for (const [index, peer] of places.entries()) {
      here.said.set(peer, { versionIds: [idOf('new')], redundancies: [spread.redundancy], isMore: false })
      here.present.set(peer, { indexes: [index] })
    }
    const present = here.present.get(ids[1]) as { indexes: readonly number[] }
    here.present.set(ids[1], {})
    await graceOver(here)
    expect(here.blocks.stats()).toMatchObject({ shards: 1 })
    here.present.set(ids[1], present)
    await graceOver(here)
    expect(here.blocks.stats()).toMatchObject({ shards: 0 })
  })

  test.each<[string, (of: Awaited<ReturnType<typeof world>>) => void | Promise<void>]>([
    ['one of them lacks it', ({ present }) => { present.set(ids[2], {}) }],
    ['the version asks for more', ({ said }) => { said.set(ids[2], { versionIds: [idOf('new')], redundancies: [{ k: 2, m: 2 }], isMore: false }) }],
    ['one does not tell how it is wanted', ({ said }) => { said.set(ids[2], { versionIds: [idOf('new')], isMore: false }) }],
    ['too few of them answer', ({ said }) => { for (const peer of places.slice(1)) said.set(peer, 'nothing') }],
    ['a version that lives is recorded here', async ({ holder }) => { await holder.keep(cid, version('another')) }],
  ])('keeps it while %s', async (_what, change) => {
    const here = await elsewhere()
    await change(here)
    await graceOver(here)
    expect(await here.isHere()).toBe(true)
  })
})

describe('the collector of a block that lives for long, while versions that share it come and go', () => {
  async function overwrittenDaily (days: number): Promise<Awaited<ReturnType<typeof world>> & { recorded: () => Promise<number> }> {
    const here = await world()
    await here.holder.store(cid, block, version('lives'))
    for (let day = 0; day < days; day++) {
      for (let i = 0; i < 5; i++) { await here.holder.keep(cid, version(`version ${i} of day ${day}`)); here.die(`version ${i} of day ${day}`) }
      await here.pass()
      here.time.nowMs += 86_400_000
      await here.pass()
    }
    return { ...here, recorded: async () => { let n = 0; for await (const _ of here.disk.index.keys({})) n++; return n } }
  }

  test('remembers those of late, and not each that ever was', async () => {
    const { recorded, isHere } = await overwrittenDaily(20)
    expect(await recorded()).toBeLessThan(25)
    expect(await isHere()).toBe(true)
  })

  test('refuses what is offered for one that died a while ago: whoever offers it has not heard', async () => {
    const { holder, pass } = await overwrittenDaily(3)
    for (let i = 0; i < 5; i++) await expect(holder.keep(cid, version(`version ${i} of day 2`))).rejects.toThrow('given up or replaced')
    await expect(holder.keep(cid, version('version 0 of day 0'))).resolves.toBe('kept')
    await pass()
    await expect(holder.keep(cid, version('version 0 of day 0'))).rejects.toThrow('given up or replaced')
  })

  test('still takes it away when the last has died, and all that was recorded of it', async () => {
    const { die, pass, time, isHere, recorded } = await overwrittenDaily(5)
    die('lives')
    await pass()
    time.nowMs += graceMs
    await pass()
    expect([await isHere(), await recorded()]).toEqual([false, 0])
  })

  test('knows that one has died, so that a form which only the dead wanted goes however late that can be seen', async () => {
    const { holder, present, pass, time, die, isHere } = await overwrittenDaily(5)
    await holder.storeShard((await shardsOf(cid, block, spread.redundancy))[0] as Shard, spread)
    die('lives')
    for (let day = 0; day < 5; day++) { await pass(); time.nowMs += 86_400_000 }
    expect(await isHere()).toBe(true)
    for (const [i, peer] of ids.slice(1, 3).entries()) present.set(peer, { indexes: [i + 1] })
    await pass()
    expect(await isHere()).toBe(false)
  })
})

describe('the collector of a block in a form that nobody wants any more', () => {
  test('takes that away, after the grace and not before, and leaves what is wanted', async () => {
    const { die, pass, time, isWhole, shardsHere, found, collector, holder } = await inTwoForms()
    await pass()
    expect(found()).toMatchObject({ condemnedBlocks: 0 })
    die('old')
    await pass()
    await pass()
    expect(found()).toMatchObject({ condemnedBlocks: 1, condemnedBytes: block.byteLength })
    time.nowMs += graceMs - 1
    await pass()
    expect(await isWhole()).toBe(true)
    time.nowMs += 1
    await pass()
    expect([await isWhole(), await shardsHere()]).toEqual([false, 1])
    expect(collector.status().total).toEqual({ collectedBlocks: 1, collectedBytes: block.byteLength, sparedBlocks: 0 })
    expect(found()).toMatchObject({ condemnedBlocks: 0, condemnedBytes: 0 })
    expect((await holder.shardPresence([{ cid, redundancy: spread.redundancy }]))[0]?.indexes).toEqual(new Set([0]))
    // whoever comes to want it whole has to bring it
    expect(await holder.keep(cid, version('new'))).toBe('want')
  })

  test('of shards of another code too', async () => {
    const { die, pass, time, shardsHere, isWhole, holder, said, present, shards } = await inTwoForms()
    die('spread')
    await holder.keepShard(shards[0] as Shard, spread)
    for (const peer of ids.slice(1, 3)) { said.set(peer, { versionIds: [idOf('old')], redundancies: [{ k: 1, m: 2 }], isMore: false }); present.set(peer, { isWhole: true }) }
    await pass()
    await pass()
    time.nowMs += graceMs
    await pass()
    expect([await isWhole(), await shardsHere()]).toEqual([true, 0])
  })

  test('keeps it where fewer nodes hold blocks than the code has shards: what is on these few is not the block (with three of six drained by force the last whole copies went)', async () => {
    const wide: Reference = { versionId: idOf('wide'), redundancy: { k: 4, m: 2 } }
    const { holder, die, pass, time, isHere, said, present } = await world()
    await holder.store(cid, block, version('old'))
    await holder.storeShard((await shardsOf(cid, block, wide.redundancy))[0] as Shard, wide)
    for (const [i, peer] of ids.slice(1, 3).entries()) {
      said.set(peer, { versionIds: [wide.versionId], redundancies: [wide.redundancy], isMore: false })
      present.set(peer, { indexes: [i + 1] })
    }
    die('old')
    await pass()
    await pass()
    time.nowMs += graceMs
    await pass()
    expect(await isHere()).toBe(true)
    // all six, whoever of them has two
    present.set(ids[1], { indexes: [1, 3, 4, 5] })
    await pass()
    expect(await isHere()).toBe(false)
  })

  test.each<[string, (of: Awaited<ReturnType<typeof inTwoForms>>) => void | Promise<void>]>([
    ['a shard of it is nowhere', ({ present }) => { present.set(ids[2], {}) }],
    ['another has recorded a version that wants it whole', ({ said }) => { said.set(ids[2], { versionIds: [idOf('third')], redundancies: [{ k: 1, m: 1 }], isMore: false }) }],
    ['another knows of a version, and does not tell how it wants it', ({ said }) => { said.set(ids[2], { versionIds: [spread.versionId], isMore: false }) }],
    ['another knows of more than it tells', ({ said }) => { said.set(ids[2], { versionIds: [spread.versionId], redundancies: [spread.redundancy], isMore: true }) }],
    ['too few of those answer who may need it', ({ said }) => { for (const peer of ids.slice(1, 3)) said.set(peer, 'nothing') }],
    ['the layout moves', ({ state }) => { state.isMoving = true }],
    ['a version that wants it whole has come meanwhile', async ({ holder }) => { await holder.keep(cid, version('new')) }],
  ])('keeps it while %s', async (_what, change) => {
    const here = await inTwoForms()
    here.die('old')
    await here.pass()
    await here.pass()
    await change(here)
    here.time.nowMs += graceMs
    await here.pass()
    expect(await here.isWhole()).toBe(true)
  })

  test('begins the grace anew when the form was wanted in between', async () => {
    const { die, pass, time, isWhole, holder } = await inTwoForms()
    die('old')
    await pass()
    await pass()
    time.nowMs += graceMs / 2
    await holder.keep(cid, version('new'))
    await pass()
    die('new')
    await pass()
    await pass()
    time.nowMs += graceMs / 2
    await pass()
    expect(await isWhole()).toBe(true)
    time.nowMs += graceMs / 2
    await pass()
    expect(await isWhole()).toBe(false)
  })

  test('gives up all that is here of a block that others need in another form alone, once that is whole', async () => {
    const { holder, die, pass, time, isHere, said, present } = await world()
    await holder.store(cid, block, version('old'))
    die('old')
    for (const [i, peer] of ids.slice(1, 3).entries()) {
      said.set(peer, { versionIds: [spread.versionId], redundancies: [spread.redundancy], isMore: false })
      present.set(peer, { indexes: [i] })
    }
    await pass()
    time.nowMs += graceMs
    await pass()
    expect(await isHere()).toBe(true)
    present.set(ids[1], { indexes: [0, 2] })
    await pass()
    time.nowMs += graceMs
    await pass()
    expect(await isHere()).toBe(false)
  })
})
