import { describe, expect, test } from 'vitest'
import { compareBytes, concat, utf8 } from '../../src/base/bytes.ts'
import { cidOf, digestOf } from '../../src/base/cid.ts'
import { deadline } from '../../src/base/clock.ts'
import { hash } from '../../src/base/hash.ts'
import type { PeerId } from '../../src/base/peer-id.ts'
import { deadKeyOf } from '../../src/blockstore/condemned.ts'
import { blockHolder } from '../../src/blockstore/holder.ts'
import { referenceKeyOf } from '../../src/blockstore/references.ts'
import { storeLimits } from '../../src/protocols/store.ts'
import { repairLimits } from '../../src/replication/repair-limits.ts'
import { lose, referenceOf, type RepairNode, repairNodes, type RepairNodes, rot } from '../support/repair-nodes.ts'

type Four = [RepairNode, RepairNode, RepairNode, RepairNode]
const ids = (...nodes: readonly RepairNode[]): readonly string[] => nodes.map(({ self }) => self)
const found = ({ repair }: RepairNode): ReturnType<RepairNode['repair']['status']>['found'] => repair.status().found
const goAway = (world: RepairNodes, { self }: RepairNode): void => { world.away.add(self); world.network.kill(self) }
const comeBack = (world: RepairNodes, { self }: RepairNode): void => { world.away.delete(self); world.network.revive(self) }

describe('a copy that is missing', () => {
  test.each(['presence', 'store'] as const)('of many is brought though another holder does not answer: not each few wait for that one (%s)', async (question) => {
    const world = await repairNodes(3)
    const [a, b, c] = world.nodes as Four
    for (let i = 0; i < 100; i++) await world.put([a], `block ${i}`, { length: 100 })
    const asked = a.peers[question] as (peer: PeerId, what: never, options: { signal?: AbortSignal }) => Promise<never>
    Object.assign(a.peers, { [question]: async (peer: PeerId, what: never, options: { signal?: AbortSignal }) => peer === c.self
      ? new Promise((_, reject) => {
        const end = deadline(world.time.clock(), storeLimits.timeoutMs, { ...options, what: 'a question' })
        end.signal.addEventListener('abort', () => { end[Symbol.dispose](); reject(end.signal.reason as Error) })
      })
      : asked(peer, what, options) })
    const startMs = world.time.nowMs
    await world.sweep(a)
    expect(b.blocks.stats().count).toBe(100)
    // a twenty-fifth of them waited each time
    expect(world.time.nowMs - startMs).toBeLessThan(3 * storeLimits.timeoutMs)
  })

  test.each([['small', 1000], ['large', 40_000]] as const)('is brought by another holder, with every reference: %s', async (_size, length) => {
    const world = await repairNodes(4)
    const [a, b, c] = world.nodes as Four
    const versions = Array.from({ length: 2500 }, (_, i) => `version ${i}`)
    const cid = await world.put([a, b], 'a block', { length, versions })
    a.repair.now()
    while (a.repair.status().total.broughtBlocks === 0) await a.repair.step({ signal: new AbortController().signal })
    expect(await world.versionsAt(c, cid)).toBe(2500)
    await world.sweep(a, b)
    expect(await world.holdersOf(cid)).toEqual(ids(a, b, c))
    expect(await world.versionsAt(c, cid)).toBe(2500)
    expect(a.repair.status().total).toMatchObject({ broughtBlocks: 1, failures: 0 })
    expect(b.repair.status().total).toMatchObject({ broughtBlocks: 0 })
    expect(found(a)).toMatchObject({ shortBlocks: 0, versionsAtRisk: 0 })
  })

  test.each([['small', 1000], ['large', 40_000]] as const)('is fetched by the holder that notices: %s', async (_size, length) => {
    const world = await repairNodes(3)
    const [a, b, c] = world.nodes as Four
    const cid = await world.put([a, b, c], 'a block', { length })
    await lose(b, cid)
    await world.sweep(b)
    expect(await world.holdersOf(cid)).toEqual(ids(a, b, c))
    expect(b.repair.status().total).toMatchObject({ fetchedBlocks: 1 })
  })

  test.each([['small', 1000], ['large', 40_000]] as const)('comes back although its references are gone too, as after a flipped bit in the log of the index: %s', async (_size, length) => {
    const world = await repairNodes(3)
    const [a, b, c] = world.nodes as Four
    const cid = await world.put([a, b, c], 'a block', { length, versions: ['one', 'two'] })
    await lose(b, cid, { references: true })
    await world.sweep(b)
    expect(await world.holdersOf(cid)).toEqual(ids(a, c))
    await world.sweep(a)
    expect(await world.holdersOf(cid)).toEqual(ids(a, b, c))
    expect(await world.versionsAt(b, cid)).toBe(2)
  })

  test('is not left to a holder that has it for nobody, and so does not look after it', async () => {
    const world = await repairNodes(4)
    const [a, b, c, d] = world.nodes as Four
    const cid = await world.put([b, c], 'a block')
    await a.blocks.put(cid, await b.blocks.get(cid))
    world.placed = ids(d, a, b, c) as RepairNodes['placed']
    await world.sweep(a, b, c)
    expect(await d.blocks.has(cid)).toBe(true)
    expect(b.repair.status().total).toMatchObject({ broughtBlocks: 1 })
  })

  test('and stays so, for the first holder looked before it was missing, is brought by another that has looked twice', async () => {
    const world = await repairNodes(3)
    const [a, b, c] = world.nodes as Four
    await world.sweep(a)
    const cid = await world.put([a, b], 'a block')
    await world.sweep(b)
    expect(found(b)).toMatchObject({ shortBlocks: 1 })
    expect(await c.blocks.has(cid)).toBe(false)
    world.time.after(repairLimits.retryMs, () => {})
    await world.time.run()
    while (await b.repair.step({ signal: new AbortController().signal }) === 'busy');
    expect(await c.blocks.has(cid)).toBe(true)
    expect(b.repair.status()).toMatchObject({ total: { broughtBlocks: 1 } })
  })

  test('and is one of very many that stay so, for the first holder brings none, is brought by another that has looked three times (a node that is paused, does not reach it, or lies, left them short for good)', async () => {
    const world = await repairNodes(3)
    const [a, b, c] = world.nodes as Four
    const count = repairLimits.fewShort + 1
    for (let i = 0; i < count; i++) await world.put([a, b], `block ${i}`, { length: 100 })
    const again = async (): Promise<void> => {
      world.time.after(repairLimits.retryMs, () => {})
      await world.time.run()
      while (await b.repair.step({ signal: new AbortController().signal }) === 'busy');
    }
    await world.sweep(b)
    await again()
    // somebody may be at it
    expect([found(b)?.shortBlocks, c.blocks.stats().count]).toEqual([count, 0])
    await again()
    expect(c.blocks.stats().count).toBe(count)
    expect(found(b)).toMatchObject({ shortBlocks: 0 })
  })

  test('and is one of very many is left to the first holder for a minute, though what is reported has everything looked at sooner: it may be at it (all brought the same, at once)', async () => {
    const world = await repairNodes(3)
    const [a, b, c] = world.nodes as Four
    const count = repairLimits.fewShort + 1
    const cids = await Promise.all([...Array(count).keys()].map(async (i) => world.put([a, b], `block ${i}`, { length: 100 })))
    await world.sweep(b)
    for (let i = 0; i < 5; i++) {
      b.repair.report(cids[i] as (typeof cids)[number])
      let isOver = false
      world.time.after(repairLimits.leastRestMs, () => { isOver = true })
      await world.time.run(() => isOver)
      while (await b.repair.step({ signal: new AbortController().signal }) === 'busy');
    }
    expect([b.repair.status().why, found(b)?.shortBlocks, c.blocks.stats().count]).toEqual(['not everything is whole yet', count, 0])
  })

  test('is brought though more and more are reported that nothing can be done about, as by whoever writes while a holder is away (as long as they came nothing else was looked at)', async () => {
    const world = await repairNodes(3)
    const [a, b, c] = world.nodes as Four
    const cid = await world.put([a], 'a block', { copies: 2 })
    const written = await Promise.all([...Array(8).keys()].map(async (i) => world.put([a, b], `written ${i}`, { length: 100 })))
    goAway(world, c)
    a.repair.now()
    for (let i = 0; i < 20; i++) {
      for (const short of written) a.repair.report(short)
      expect(await a.repair.step({ signal: new AbortController().signal })).toBe('busy')
    }
    expect(await b.blocks.has(cid)).toBe(true)
  })

  test('of references alone is told by those who have them', async () => {
    const world = await repairNodes(3)
    const [a, b, c] = world.nodes as Four
    const cid = await world.put([a, b, c], 'a block', { versions: ['one'] })
    await world.put([c], 'a block', { versions: ['two'] })
    await world.sweep(c)
    for (const node of [a, b, c]) expect(await world.versionsAt(node, cid)).toBe(2)
  })

  test.each([['small', 1000], ['large', 40_000]] as const)('for it is found rotten when its holder is told of references that it lacks, is brought to it then (nobody looked at it again for ten minutes): %s', async (_size, length) => {
    const world = await repairNodes(3)
    const [a, b, c] = world.nodes as Four
    const cid = await world.put([a, b], 'a block', { length })
    // another holder over the same disk, as before a restart: this one has read nothing yet
    await blockHolder(c).store(cid, await a.blocks.get(cid), referenceOf('another version', 3))
    await rot(c, cid)
    await world.sweep(a)
    expect(c.corrupt).toEqual([cid])
    expect(await world.holdersOf(cid)).toEqual(ids(a, b, c))
    expect(await world.versionsAt(c, cid)).toBe(2)
  })

  test('that is rotten is set aside and fetched, found by whoever reads it', async () => {
    const world = await repairNodes(3)
    const [a, b, c] = world.nodes as Four
    const cid = await world.put([a, b, c], 'a block')
    await rot(a, cid)
    await a.blocks.get(cid).catch(() => {})
    expect(a.corrupt).toEqual([cid])
    expect(await a.repair.step({ signal: new AbortController().signal })).toBe('busy')
    expect(await world.holdersOf(cid)).toEqual(ids(a, b, c))
    expect(a.files.paths.some((path) => path === `blocks/corrupt/${cid}`)).toBe(true)
  })

  test.each([['small', 1000], ['large', 40_000]] as const)('that is rotten on a disk that takes no more writes is told once, and not tried again and again: %s', async (_size, length) => {
    const world = await repairNodes(4)
    const [a, b, c] = world.nodes as Four
    const cid = await world.put([a, b], 'a block', { length })
    await rot(a, cid)
    a.files.fail('sync')
    await expect(world.put([a], 'another')).rejects.toThrow('fsync failed')
    let steps = 0
    a.repair.now()
    while (steps < 50 && await a.repair.step({ signal: new AbortController().signal }) === 'busy') steps++
    expect(steps).toBeLessThan(10)
    expect(a.corrupt).toEqual([cid])
    await world.sweep(b)
    expect(await world.holdersOf(cid)).toEqual(ids(b, c))
  })

  test('for the disk tells nothing of its file is told as short, and holds up nothing else (repair stood before it for ever, and nobody was told what is here)', async () => {
    const world = await repairNodes(3)
    const [a, b, c] = world.nodes as Four
    const [rotten, other] = [await world.put([a, b, c], 'a block'), await world.put([a, b], 'another')]
    const size = a.files.size.bind(a.files)
    a.files.size = async (path) => {
      if (path.endsWith(rotten)) throw Object.assign(new Error('EUCLEAN: structure needs cleaning'), { code: 'EUCLEAN' })
      return size(path)
    }
    await world.sweep(a)
    expect(await c.blocks.has(other)).toBe(true)
    expect(found(a)).toMatchObject({ shortBlocks: 1, versionsAtRisk: 1 })
    await world.sweep(b)
    expect(found(b)).toMatchObject({ shortBlocks: 1, versionsAtRisk: 1 })
    expect((await b.peers.presence(a.self, [rotten, other], {})).map(({ state }) => state)).toEqual(['absent', 'verified'])
  })

  test('and was the only one, on a node that was to bring it away, is told as gone (nobody told it: whom it belongs to had never heard of it)', async () => {
    const world = await repairNodes(3)
    const [, b] = world.nodes as Four
    const cid = await world.put([b], 'a block', { copies: 1 })
    await rot(b, cid)
    await b.blocks.get(cid).catch(() => {})
    await world.sweep(b)
    expect(found(b)).toMatchObject({ shortBlocks: 1, goneBlocks: 1, versionsAtRisk: 1 })
  })

  test('that the bringer finds rotten while it brings it is brought by none but good ones', async () => {
    const world = await repairNodes(3)
    const [a, b, c] = world.nodes as Four
    const cid = await world.put([a, b], 'a block')
    await rot(a, cid)
    await world.sweep(a)
    await world.sweep(b)
    await world.sweep(a)
    expect(await world.holdersOf(cid)).toEqual(ids(a, b, c))
  })

  test('is brought to the fewest first', async () => {
    const world = await repairNodes(3)
    const [a, b] = world.nodes as Four
    const two = await Promise.all([1, 2, 3, 4, 5, 6].map(async (i) => world.put([a, b], `two ${i}`)))
    const one = await Promise.all([1, 2, 3, 4].map(async (i) => world.put([a], `one ${i}`)))
    a.repair.now()
    const { signal } = new AbortController()
    while (a.repair.status().total.broughtBlocks === 0) await a.repair.step({ signal })
    for (const cid of one) expect(await world.holdersOf(cid)).toHaveLength(3)
    for (const cid of two) expect(await world.holdersOf(cid)).toHaveLength(2)
  })
})

describe('who does not answer', () => {
  test('is no copy, and is sent none: what it has is unknown, which is not absent', async () => {
    const world = await repairNodes(4)
    const [a, b, c, d] = world.nodes as Four
    const cid = await world.put([a, b, c], 'a block', { versions: ['one', 'two'] })
    goAway(world, c)
    await world.sweep(a, b, d)
    expect(found(a)).toMatchObject({ shortBlocks: 1, versionsAtRisk: 2, isAtLeast: false, goneBlocks: 0 })
    expect(a.repair.versionsAtRisk(10)).toEqual(b.repair.versionsAtRisk(10))
    expect(await d.blocks.has(cid)).toBe(false)
    comeBack(world, c)
    await world.sweep(a)
    expect(found(a)).toMatchObject({ shortBlocks: 0, versionsAtRisk: 0 })
    expect(a.repair.status().total.broughtBlocks).toBe(0)
  })

  test('though it is connected, e.g. for a disk that takes no writes, is not sent blocks, and counts as no copy', async () => {
    const world = await repairNodes(3)
    const [a, b, c] = world.nodes as Four
    await world.put([a, b, c], 'a block')
    c.index.fail('sync')
    await world.put([c], 'another').catch(() => {})
    await world.sweep(a)
    expect(found(a)).toMatchObject({ shortBlocks: 1, goneBlocks: 0 })
    expect(a.warnings).toEqual([`${c.self} did not say what it holds: its copies count for nothing until it does`])
  })

  test('is replaced when the layout leaves it out', async () => {
    const world = await repairNodes(4)
    const [a, b, c, d] = world.nodes as Four
    const cid = await world.put([a, b, c], 'a block')
    goAway(world, b)
    world.placed = ids(a, c, d) as RepairNodes['placed']
    await world.sweep(a, c, d)
    expect(await world.holdersOf(cid)).toEqual(ids(a, b, c, d))
    expect(found(a)).toMatchObject({ shortBlocks: 0 })
  })

  test('and is left out of the layout leaves at risk whatever is to be on more nodes than there are', async () => {
    const world = await repairNodes(3)
    const [a, b, c] = world.nodes as Four
    await world.put([a, b, c], 'of three')
    await world.put([a, b], 'of two', { copies: 2, versions: ['another'] })
    goAway(world, c)
    world.placed = ids(a, b) as RepairNodes['placed']
    await world.sweep(a, b)
    for (const node of [a, b]) expect(found(node)).toMatchObject({ shortBlocks: 0, goneBlocks: 0, narrowBlocks: 1, versionsAtRisk: 1 })
    // one is short besides: when that is mended it is at risk as before
    await lose(b, await world.put([a, b], 'of three too', { versions: ['one more'] }))
    await world.sweep(a, b)
    await world.sweep(a, b)
    expect(found(a)).toMatchObject({ shortBlocks: 0, narrowBlocks: 2, versionsAtRisk: 2 })
    comeBack(world, c)
    world.placed = ids(a, b, c) as RepairNodes['placed']
    await world.sweep(a, b, c)
    await world.sweep(a, b, c)
    expect(found(a)).toMatchObject({ shortBlocks: 0, narrowBlocks: 0, versionsAtRisk: 0 })
  })

  test('is told as too few until the redundancy asks for less, which is seen within minutes though nobody says so', async () => {
    const world = await repairNodes(2)
    const [a, b] = world.nodes as Four
    const cid = await world.put([a, b], 'a block')
    await world.sweep(a, b)
    expect(found(a)).toMatchObject({ narrowBlocks: 1, versionsAtRisk: 1 })
    const { signal } = new AbortController()
    const isBusy = async (): Promise<boolean> => await a.repair.step({ signal }) === 'busy'
    expect(await isBusy()).toBe(false)
    world.time.nowMs += repairLimits.retryMs + 1
    expect(await isBusy()).toBe(true)
    expect(await world.holdersOf(cid)).toHaveLength(2)
  })

  test('makes nobody bring what is another\'s turn, when it is looked at again for nothing but too few nodes', async () => {
    const world = await repairNodes(3)
    const [a, b, c] = world.nodes as Four
    const cid = await world.put([a, b, c], 'a block', { copies: 4 })
    await world.sweep(a, b, c)
    expect(found(b)).toMatchObject({ shortBlocks: 0, narrowBlocks: 1 })
    await lose(c, cid)
    world.time.nowMs += repairLimits.retryMs + 1
    // not world.sweep, which asks for one: this one is due by itself
    let isOver = false
    const work = (async () => { while (await b.repair.step({ signal: new AbortController().signal }) === 'busy'); })().finally(() => { isOver = true })
    await world.time.run(() => isOver)
    await work
    expect(found(b)).toMatchObject({ shortBlocks: 1 })
    expect(await world.holdersOf(cid)).toEqual(ids(a, b))
  })

  test('and was the last to have a block makes it gone until it is back', async () => {
    const world = await repairNodes(2)
    const [a, b] = world.nodes as Four
    const cid = await world.put([a, b], 'a block', { copies: 2 })
    await lose(a, cid)
    goAway(world, b)
    await world.sweep(a)
    expect(found(a)).toMatchObject({ shortBlocks: 1, goneBlocks: 1, versionsAtRisk: 1 })
    comeBack(world, b)
    await world.sweep(a)
    expect(found(a)).toMatchObject({ shortBlocks: 0, goneBlocks: 0, versionsAtRisk: 0 })
  })
})

describe('a block that does not belong here any more', () => {
  test('is brought where it belongs, with every reference, and only then given up: a node that is drained empties itself', async () => {
    const world = await repairNodes(4)
    const [a, b, c, d] = world.nodes as Four
    const cids = await Promise.all([...Array(30).keys()].map(async (i) => world.put([a, b, c], `block ${i}`, { length: i % 2 === 0 ? 1000 : 40_000, versions: ['one', 'two'] })))
    world.placed = ids(b, c, d) as RepairNodes['placed']
    world.version = 2n
    expect(a.blocks.stats().count).toBe(30)
    await world.sweep(b)
    await world.sweep(a)
    expect(a.blocks.stats()).toMatchObject({ count: 0, bytes: 0 })
    expect(found(a)).toMatchObject({ misplacedBlocks: 0, misplacedBytes: 0, layoutVersion: 2n })
    for (const cid of cids) {
      expect(await world.holdersOf(cid)).toEqual(ids(b, c, d))
      expect(await world.versionsAt(d, cid)).toBe(2)
      expect(await world.versionsAt(a, cid)).toBe(0)
    }
  })

  test('stays while one that it belongs to is away: it is counted as still to go', async () => {
    const world = await repairNodes(4)
    const [a, b, c, d] = world.nodes as Four
    const cid = await world.put([a, b, c], 'a block')
    world.placed = ids(b, c, d) as RepairNodes['placed']
    goAway(world, d)
    await world.sweep(a, b, c)
    expect(await world.holdersOf(cid)).toEqual(ids(a, b, c))
    expect(found(a)).toMatchObject({ misplacedBlocks: 1, misplacedBytes: 40_000 })
  })

  test('counts as still to go though the index does not know how long it is, as after a power failure (the node was told to be empty, and removed with the only copy)', async () => {
    const world = await repairNodes(2)
    const [a, b] = world.nodes as Four
    const cid = await world.put([a], 'a block', { copies: 1 })
    // the entry of a file is not synced
    a.index.damage(concat([Uint8Array.of(2), digestOf(cid)]), undefined)
    world.placed = ids(b) as RepairNodes['placed']
    goAway(world, b)
    await world.sweep(a)
    expect(found(a)).toMatchObject({ misplacedBlocks: 1 })
    expect(found(a)?.misplacedBytes).toBeGreaterThan(0)
    comeBack(world, b)
    await world.sweep(a)
    expect(await world.holdersOf(cid)).toEqual(ids(b))
    expect(found(a)).toMatchObject({ misplacedBlocks: 0, misplacedBytes: 0 })
  })

  test('goes too where one of its references asks for more copies than there could be shards, as one without a check that has rotted (it stayed for good, for nobody took that reference)', async () => {
    const world = await repairNodes(3)
    const [a, b, c] = world.nodes as Four
    const cid = await world.put([a, b], 'a block', { copies: 2 })
    await a.index.batch([{ type: 'put', key: referenceKeyOf(cid, referenceOf('version', 2)), value: Uint8Array.of(1, 1 | 64) }], { sync: true })
    await a.holder.keep(cid, referenceOf('another', 2))
    world.placed = ids(b, c) as RepairNodes['placed']
    await world.sweep(b)
    await world.sweep(a)
    expect(await world.holdersOf(cid)).toEqual(ids(b, c))
    expect(await world.versionsAt(c, cid)).toBe(2)
  })

  test('and of which the disk tells nothing now counts as still to go unless others have it, as often as it should be there (a disk that hangs for a moment looked empty, and the node was removed with the only copies)', async () => {
    const world = await repairNodes(2)
    const [a, b] = world.nodes as Four
    const lone = await world.put([a], 'a block', { copies: 1 })
    await world.put([a, b], 'another', { copies: 1 })
    world.placed = ids(b) as RepairNodes['placed']
    const size = a.files.size.bind(a.files)
    a.files.size = async () => { throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' }) }
    await world.sweep(a)
    expect(found(a)).toMatchObject({ misplacedBlocks: 1, misplacedBytes: 40_000, shortBlocks: 1 })
    a.files.size = size
    await world.sweep(a)
    expect(await world.holdersOf(lone)).toEqual(ids(b))
    expect(found(a)).toMatchObject({ misplacedBlocks: 0, misplacedBytes: 0, shortBlocks: 0 })
  })

  test('comes to a node that was left out no more once that has looked: what one who has not heard of it would bring there is taken by nobody, or by others (it was acknowledged, and went with the node)', async () => {
    const world = await repairNodes(3)
    const [a, b, c] = world.nodes as Four
    world.placed = ids(b) as RepairNodes['placed']
    const bytes = utf8('a block')
    const put = async (): Promise<void> => a.engine.writer(referenceOf('version', 1)).put(cidOf(bytes), bytes)
    // it held blocks
    await world.put([b], 'another', { copies: 1 })
    await world.sweep(b)
    world.placed = ids(c) as RepairNodes['placed']
    world.views.set(a.self, [b.self] as RepairNodes['placed'])
    await world.sweep(b)
    expect(found(b)).toMatchObject({ misplacedBytes: 0 })
    await expect(put()).rejects.toThrow('refused')
    expect(await b.peers.presence(c.self, [cidOf(bytes)], {})).toMatchObject([{ state: 'absent' }])
    expect(await world.holdersOf(cidOf(bytes))).toEqual([])
    const outcomes = await a.peers.tell(b.self, [{ cid: cidOf(bytes), reference: referenceOf('version', 1) }], {})
    expect(outcomes).toEqual(['refused'])
    world.views.delete(a.self)
    await put()
    expect(await world.holdersOf(cidOf(bytes))).toEqual(ids(c))
  })

  test('stays while a change of the layout is under way', async () => {
    const world = await repairNodes(4)
    const [a, b, c, d] = world.nodes as Four
    const cid = await world.put([a, b, c], 'a block')
    world.placed = ids(b, c, d, a) as RepairNodes['placed']
    world.isMoving = true
    await world.sweep(a, b, c, d)
    await world.sweep(a)
    expect(await world.holdersOf(cid)).toEqual(ids(a, b, c, d))
    world.isMoving = false
    await world.sweep(a)
    expect(await world.holdersOf(cid)).toEqual(ids(b, c, d))
  })

  test('goes only after one that said it had it, and had a rotten copy, has been brought a good one', async () => {
    const world = await repairNodes(3)
    const [a, b, c] = world.nodes as Four
    const cid = await world.put([a, b], 'a block', { copies: 2 })
    // another holder over the same disk, as before a restart: this one has read nothing yet
    await blockHolder(c).store(cid, await a.blocks.get(cid), referenceOf('version', 2))
    await rot(c, cid)
    world.placed = ids(b, c) as RepairNodes['placed']
    await world.sweep(a)
    expect(await world.holdersOf(cid)).toEqual(ids(b, c))
    expect(c.corrupt).toEqual([cid])
  })

  test('stays while one that has it knows of a death that is not known here, and is looked at again when that is due (one sweep followed another without end, and brought it each time)', async () => {
    const world = await repairNodes(2)
    const [a, b] = world.nodes as Four
    const proofs = ['one', 'another'].map((name) => hash(utf8(name))).toSorted((one, other) => compareBytes(hash(one), hash(other)))
    const bytes = utf8('a block')
    for (const proof of proofs) await a.holder.store(cidOf(bytes), bytes, { versionId: hash(proof), redundancy: { k: 1, m: 0 } })
    await b.holder.store(cidOf(bytes), bytes, { versionId: hash(proofs[0] as Uint8Array), redundancy: { k: 1, m: 0 } })
    const dead = proofs[1] as Uint8Array
    await b.index.batch([{ type: 'put', key: deadKeyOf(cidOf(bytes), { versionId: hash(dead) }), value: dead }], { sync: true })
    world.placed = ids(b) as RepairNodes['placed']
    a.repair.now()
    let steps = 0
    while (steps < 50 && await a.repair.step({ signal: new AbortController().signal }) === 'busy') steps++
    expect(steps).toBeLessThan(10)
    expect(await world.holdersOf(cidOf(bytes))).toEqual(ids(a, b))
    expect(a.repair.status().total).toMatchObject({ releasedBlocks: 0, failures: 1 })
  })

  test.each([['offered', 100_000], ['sent at once', 40_000]] as const)('goes only after one that has it, and had it right when it was stored, has read it again (of a bucket of one copy it had rotted since, and the last good one went): %s', async (_how, length) => {
    const world = await repairNodes(2)
    const [a, b] = world.nodes as Four
    const cid = await world.put([a, b], 'a block', { copies: 1, length })
    world.placed = ids(b) as RepairNodes['placed']
    await rot(b, cid)
    await world.sweep(a)
    expect(await world.holdersOf(cid)).toEqual(ids(b))
  })

  test('is not lost when two nodes, by different layouts, each give it up because the other has it', async () => {
    for (let delay = 0; delay < 12; delay++) {
      const world = await repairNodes(2)
      const [a, b] = world.nodes as Four
      const cid = await world.put([a, b], 'a block', { copies: 1, length: 100_000 })
      world.views.set(a.self, ids(b) as RepairNodes['placed'])
      world.views.set(b.self, ids(a) as RepairNodes['placed'])
      world.network.delay(a.self, b.self, 1 + delay)
      await world.sweep(a, b)
      expect(await world.holdersOf(cid)).not.toEqual([])
    }
  })

  test('stays when somebody is told meanwhile that it is kept here', async () => {
    const world = await repairNodes(3)
    const [a, b, c] = world.nodes as Four
    const cid = await world.put([a, b, c], 'a block', { copies: 2 })
    const outcome = await a.holder.release(cid, async () => {
      await a.holder.keep(cid, { versionId: new Uint8Array(32).fill(1), redundancy: { k: 1, m: 1 } })
      return true
    })
    expect(outcome).toBe('kept')
    expect(await a.holder.release(cid, async () => true)).toBe('released')
    expect(await a.blocks.has(cid)).toBe(false)
  })
})

describe('what is misplaced, and is not where it belongs when it is looked at', () => {
  test('is looked at again soon, and given up once it is there', async () => {
    const world = await repairNodes(4)
    const [a, b, c, d] = world.nodes as Four
    const cid = await world.put([a, b, d], 'a block')
    await world.sweep(d)
    expect(found(d)).toMatchObject({ shortBlocks: 0, misplacedBlocks: 1 })
    await world.sweep(a)
    expect(await world.holdersOf(cid)).toEqual(ids(a, b, c, d))
    world.time.after(repairLimits.retryMs, () => {})
    await world.time.run()
    while (await d.repair.step({ signal: new AbortController().signal }) === 'busy');
    expect(await world.holdersOf(cid)).toEqual(ids(a, b, c))
  })

  test('is brought there by who has it, when whose turn that is does not know that so many are wanted', async () => {
    const world = await repairNodes(4)
    const [a, b, c, d] = world.nodes as Four
    const cid = await world.put([a, b], 'a block', { copies: 2 })
    await world.put([d], 'a block', { versions: ['another'] })
    const { signal } = new AbortController()
    for (let retry = 0; retry < 3; retry++) {
      if (retry === 0) d.repair.now()
      while (await d.repair.step({ signal }) === 'busy');
      world.time.after(repairLimits.retryMs, () => {})
      await world.time.run()
    }
    expect(await world.holdersOf(cid)).toEqual(ids(a, b, c))
  })
})

describe('what is here for nobody that can be read', () => {
  test.each(['damaged', 'set aside'])('keeps a node that is left out from being told as empty, for it may be the only copy: %s', async (state) => {
    const world = await repairNodes(3)
    const [a, b, c] = world.nodes as Four
    const cid = await world.put([c], 'a block', { copies: 1 })
    const key = referenceKeyOf(cid, referenceOf('version', 1))
    c.index.damage(key, new Uint8Array(10))
    if (state === 'set aside') await c.holder.mendReference(key)
    await world.sweep(c)
    // here it is where it may be
    expect(found(c)).toMatchObject({ misplacedBlocks: 0 })
    world.placed = [a.self, b.self]
    world.version++
    await world.sweep(c)
    expect(found(c)).toMatchObject({ misplacedBlocks: 1, misplacedBytes: 40_000 })
    expect(await world.holdersOf(cid)).toEqual([c.self])
  })
})

describe('a disk that is full', () => {
  test('has its copies taken by substitutes, and is not offered more for a while', async () => {
    const world = await repairNodes(4, { quotaBytes: (i) => i === 2 ? 10 : undefined })
    const [a, b, c, d] = world.nodes as Four
    const cids = await Promise.all([...Array(20).keys()].map(async (i) => world.put([a, b], `block ${i}`)))
    await world.sweep(a, b, d)
    for (const cid of cids) expect(await world.holdersOf(cid)).toEqual(ids(a, b, d))
    expect(found(a)).toMatchObject({ shortBlocks: 0 })
    expect(a.repair.status().full).toEqual([c.self])
    expect(await c.blocks.has(cids[0] as never)).toBe(false)
    const offers = world.network.sent.filter(({ to, bytes }) => to === c.self && bytes > 40_000).length
    expect(offers).toBeLessThanOrEqual(repairLimits.atOnce * 2)
  })

  test('is offered them again later, whatever was looked at meanwhile', async () => {
    const world = await repairNodes(4, { quotaBytes: (i) => i === 2 ? 10 : undefined })
    const [a, b, , d] = world.nodes as Four
    await world.put([a, b], 'a block')
    await world.sweep(a, b, d)
    await world.sweep(a)
    world.time.after(repairLimits.retryMs, () => {})
    await world.time.run()
    expect(await a.repair.step({ signal: new AbortController().signal })).toBe('busy')
    expect(a.repair.status().why).toBe('not everything is whole yet')
  })

  test('and nobody else: the blocks are told as short, and tried again later', async () => {
    const world = await repairNodes(3, { quotaBytes: (i) => i === 2 ? 10 : undefined })
    const [a, b] = world.nodes as Four
    await world.put([a, b], 'a block')
    await world.sweep(a, b)
    expect(found(a)).toMatchObject({ shortBlocks: 1, versionsAtRisk: 1 })
    const before = world.time.nowMs
    expect(await a.repair.step({ signal: new AbortController().signal })).toBe('idle')
    world.time.after(repairLimits.retryMs, () => {})
    await world.time.run()
    expect(world.time.nowMs - before).toBeGreaterThanOrEqual(repairLimits.retryMs)
    expect(await a.repair.step({ signal: new AbortController().signal })).toBe('busy')
    expect(a.repair.status().why).toBe('not everything is whole yet')
  })
})

describe('a sweep', () => {
  test('is due when somebody was gone for longer than a suspicion, and when they are back', async () => {
    const world = await repairNodes(3)
    const [a, , c] = world.nodes as Four
    await world.sweep(...world.nodes)
    const { signal } = new AbortController()
    const wait = async (ms: number): Promise<void> => { let over = false; world.time.after(ms, () => { over = true }); await world.time.run(() => over) }
    await wait(repairLimits.leastRestMs)
    expect(await a.repair.step({ signal })).toBe('idle')
    goAway(world, c)
    expect(await a.repair.step({ signal })).toBe('idle')
    await wait(repairLimits.suspicionMs - 1)
    expect(await a.repair.step({ signal })).toBe('idle')
    await wait(1)
    expect(await a.repair.step({ signal })).toBe('busy')
    expect(a.repair.status().why).toBe('who holds blocks has changed')
    comeBack(world, c)
    a.repair.met()
    while (await a.repair.step({ signal }) === 'busy');
    await wait(repairLimits.leastRestMs)
    expect(await a.repair.step({ signal })).toBe('busy')
  })

  test('follows soon when somebody is back and all are there: nobody is missed any more', async () => {
    const world = await repairNodes(3)
    const [a, , c] = world.nodes as Four
    await world.sweep(...world.nodes)
    const { signal } = new AbortController()
    const wait = async (ms: number): Promise<void> => { let over = false; world.time.after(ms, () => { over = true }); await world.time.run(() => over) }
    await wait(repairLimits.leastRestMs)
    goAway(world, c)
    expect(await a.repair.step({ signal })).toBe('idle')
    comeBack(world, c)
    a.repair.met()
    expect(await a.repair.step({ signal })).toBe('idle')
    await wait(repairLimits.arrivalMs - 1)
    expect(await a.repair.step({ signal })).toBe('idle')
    await wait(1)
    expect(await a.repair.step({ signal })).toBe('busy')
  })

  test('without a reason takes a twentieth of the time at the most, however many blocks there are', async () => {
    const world = await repairNodes(3)
    const [a] = world.nodes as Four
    const { signal } = new AbortController()
    const wait = async (ms: number): Promise<void> => { let over = false; world.time.after(ms, () => { over = true }); await world.time.run(() => over) }
    await world.sweep(a)
    await wait(repairLimits.everyMs)
    expect(await a.repair.step({ signal })).toBe('busy')
    expect(a.repair.status().why).toBe('it is time')
    await wait(repairLimits.everyMs)
    expect(await a.repair.step({ signal })).toBe('idle')
    await wait(repairLimits.everyShare * repairLimits.everyMs - 1)
    expect(await a.repair.step({ signal })).toBe('idle')
    await wait(1)
    expect(await a.repair.step({ signal })).toBe('busy')
  })

  test('is made by a node that has just started though somebody comes and goes all the time (it waited for them without end)', async () => {
    const world = await repairNodes(4)
    const [a, b, c, d] = world.nodes as Four
    await world.put([a, b], 'a block')
    goAway(world, c)
    const { signal } = new AbortController()
    const wait = async (ms: number): Promise<void> => { let over = false; world.time.after(ms, () => { over = true }); await world.time.run(() => over) }
    for (let i = 0; i * 4000 <= repairLimits.everyMs + 8000 && a.repair.status().found === undefined; i++) {
      if (i % 2 === 0) goAway(world, d)
      else { comeBack(world, d); a.repair.met() }
      await a.repair.step({ signal })
      await wait(4000)
      await a.repair.step({ signal })
    }
    expect(found(a)).toMatchObject({ shortBlocks: 1 })
  })

  test('is followed by work for as long as it took, though who holds blocks has changed meanwhile (of any number of blocks four were brought, and all were looked at again)', async () => {
    const world = await repairNodes(3)
    const [a, b] = world.nodes as Four
    for (let i = 0; i <= repairLimits.page; i++) await world.put([a, b], `block ${i}`, { length: 100 })
    const { signal } = new AbortController()
    const wait = async (ms: number): Promise<void> => { let over = false; world.time.after(ms, () => { over = true }); await world.time.run(() => over) }
    a.repair.now()
    await a.repair.step({ signal })
    world.version++
    await wait(60_000)
    await a.repair.step({ signal })
    for (let i = 0; i < 10 && a.repair.status().phase === 'repairing'; i++) {
      await a.repair.step({ signal })
      await wait(20_000)
    }
    expect(a.repair.status()).toMatchObject({ phase: 'surveying', total: { broughtBlocks: 3 * repairLimits.atOnce } })
  })

  test('walks any number of blocks with the memory of a page, and each once', async () => {
    const world = await repairNodes(2)
    const [a] = world.nodes as Four
    for (let i = 0; i < 600; i++) await world.put([a], `block ${i}`, { length: 100, copies: 2 })
    await world.sweep(a)
    expect(a.repair.status().total).toMatchObject({ broughtBlocks: 600, failures: 0 })
    expect(found(a)).toMatchObject({ shortBlocks: 0 })
  })
})
