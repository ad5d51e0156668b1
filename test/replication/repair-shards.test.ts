import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { compareBytes, utf8 } from '../../src/base/bytes.ts'
import { type Cid, cidOf } from '../../src/base/cid.ts'
import { hash } from '../../src/base/hash.ts'
import type { PeerId } from '../../src/base/peer-id.ts'
import { deadKeyOf } from '../../src/blockstore/condemned.ts'
import { type Shard, shardKeyOf } from '../../src/blockstore/shard.ts'
import { erasureCode } from '../../src/erasure/index.ts'
import type { Reference } from '../../src/replication/index.ts'
import { repairLimits } from '../../src/replication/repair-limits.ts'
import { RepairAccount } from '../../src/replication/repair-account.ts'
import { ShardMending } from '../../src/replication/shard-mending.ts'
import { shardPlanFor } from '../../src/replication/shard-plan.ts'
import { shardsOf } from '../../src/replication/shards.ts'
import { noiseBytes } from '../support/file-world.ts'
import { type RepairNode, type RepairNodes, repairNodes } from '../support/repair-nodes.ts'

// loads the kernel: what comes from a file comes under no clock of tests
await erasureCode({ k: 1, m: 1 })

const redundancy = { k: 4, m: 2 }
const bytes = noiseBytes(200_000)
const cid = cidOf(bytes)
const shards = await shardsOf(cid, bytes, redundancy)
const referenceOf = (version: string, to = redundancy): Reference => ({ versionId: hash(utf8(version)), redundancy: to })

async function stored (count = 6, { versions = ['version'] } = {}): Promise<{ world: RepairNodes, nodes: readonly RepairNode[] }> {
  const world = await repairNodes(count)
  for (const [i, shard] of shards.entries()) for (const version of versions) await (world.nodes[i] as RepairNode).holder.storeShard(shard, referenceOf(version))
  world.placed = world.nodes.slice(0, 6).map(({ self }) => self)
  return { world, nodes: world.nodes }
}

/** Which shards each node has, right, on disk. */
async function placed (nodes: readonly RepairNode[], of: Cid = cid): Promise<number[][]> {
  return Promise.all(nodes.map(async ({ blocks }) => {
    const found: number[] = []
    for await (const name of blocks.shards.of(of)) if (await blocks.shards.get(name).then(() => true, () => false)) found.push(name.index)
    return found.toSorted((a, b) => a - b)
  }))
}

async function lose ({ blocks }: RepairNode): Promise<void> { for await (const name of blocks.shards.of(cid)) await blocks.shards.delete(name) }

const whole = [[0], [1], [2], [3], [4], [5]]

describe('repair of shards', () => {
  test('does nothing where all is well', async () => {
    const { world, nodes } = await stored()
    await world.sweep(...nodes)
    expect(nodes.map(({ repair }) => repair.status().total.movedBytes)).toEqual([0, 0, 0, 0, 0, 0])
    expect(nodes[0]?.repair.status().found).toMatchObject({ shortBlocks: 0, versionsAtRisk: 0, misplacedBlocks: 0 })
  })

  test('makes the missing shard alone, from any four, and brings it to its position with every reference', async () => {
    for (let lost = 0; lost < 6; lost++) {
      const { world, nodes } = await stored(7, { versions: ['one', 'another'] })
      const victim = nodes[lost] as RepairNode
      // a node without anything takes its place
      world.placed = nodes.slice(0, 6).map((node) => node === victim ? (nodes[6] as RepairNode).self : node.self)
      world.network.kill(victim.self)
      world.away.add(victim.self)
      await world.sweep(...nodes.filter((node) => node !== victim))
      expect((await placed(nodes))[6], `shard ${lost}`).toEqual([lost])
      expect(await world.versionsAt(nodes[6] as RepairNode, cid)).toBe(2)
      const moved = nodes.reduce((sum, { repair }) => sum + repair.status().total.movedBytes, 0)
      expect(moved).toBe(shards[lost]?.bytes.byteLength)
      expect(nodes.find((node) => node !== victim)?.repair.status().found).toMatchObject({ shortBlocks: 0, versionsAtRisk: 0 })
    }
  })

  test('gives a node back the shard that it lost, with two of six gone at once', async () => {
    const { world, nodes } = await stored()
    for (const i of [1, 4]) await lose(nodes[i] as RepairNode)
    await world.sweep(...nodes)
    expect(await placed(nodes)).toEqual(whole)
  })

  test('is done by a node of which one shard cannot be had, listed without its file or rotten (it failed each time, and nobody else brought it)', async () => {
    for (const harm of ['gone', 'rotten'] as const) {
      const { world, nodes } = await stored()
      const [away, bringer, , loser] = nodes as readonly [RepairNode, RepairNode, RepairNode, RepairNode]
      // once a substitute's
      await bringer.holder.storeShard(shards[0] as Shard, referenceOf('version'))
      for (const path of bringer.files.paths.filter((name) => name.includes(`${cid}.4.2.0`))) {
        if (harm === 'gone') await bringer.files.remove(path)
        else bringer.files.flip(path, 12_345)
      }
      await lose(loser)
      world.away.add(away.self)
      await world.sweep(...nodes.slice(1))
      expect((await placed(nodes))[3], harm).toEqual([3])
    }
  })

  test('of which one cannot be brought brings the others, whoever fails (they stayed missing behind it)', async () => {
    const { world, nodes } = await stored()
    const [failing, other] = [nodes[1], nodes[2]] as [RepairNode, RepairNode]
    for (const node of [failing, other]) await lose(node)
    failing.holder.storeShard = async () => { throw new Error('the disk says something unknown') }
    await world.sweep(...nodes)
    expect(await placed(nodes)).toEqual([[0], [], [2], [3], [4], [5]])
    expect(nodes[0]?.repair.status().total).toMatchObject({ broughtBlocks: 1 })
    expect(nodes[0]?.repair.status().total.failures).toBeGreaterThan(0)
  })

  test('by a node whose own disk is full brings the others, and makes room by giving up what is not its own (its own came first, and nothing else was done)', async () => {
    const world = await repairNodes(6, { quotaBytes: (i) => i === 0 ? 60_000 : undefined })
    const nodes = world.nodes
    for (const i of [2, 3, 4, 5]) await (nodes[i] as RepairNode).holder.storeShard(shards[i] as Shard, referenceOf('version'))
    await (nodes[0] as RepairNode).holder.storeShard(shards[5] as Shard, referenceOf('version'))
    await world.sweep(nodes[0] as RepairNode)
    expect(await placed(nodes)).toEqual([[], [1], [2], [3], [4], [5]])
    expect(nodes[0]?.repair.status().full).toEqual([nodes[0]?.self])
    await world.sweep(...nodes)
    expect(await placed(nodes)).toEqual(whole)
  })

  test('of which one cannot be made brings those that are here (they were behind it, and lay where they do not belong)', async () => {
    const { world, nodes } = await stored()
    for (const i of [0, 5]) await lose(nodes[i] as RepairNode)
    await (nodes[1] as RepairNode).holder.storeShard(shards[5] as Shard, referenceOf('version'))
    // rotten, and nobody has seen it
    for (const i of [2, 3]) {
      const { files } = nodes[i] as RepairNode
      files.flip(files.paths.find((path) => path.endsWith(shardKeyOf(shards[i] as Shard))) ?? '', 9_000)
    }
    await world.sweep(nodes[1] as RepairNode)
    expect((await placed(nodes))[5]).toEqual([5])
  })

  test('of which one cannot be made is told of, and given up where it does not belong, all the same (that was behind it)', async () => {
    const { world, nodes } = await stored()
    const [lacking, maker, , , , owner] = nodes as readonly [RepairNode, RepairNode, RepairNode, RepairNode, RepairNode, RepairNode]
    await lose(lacking)
    await maker.holder.storeShard(shards[5] as Shard, referenceOf('version'))
    await maker.holder.storeShard(shards[1] as Shard, referenceOf('another'))
    for (const i of [2, 3]) {
      const { files } = nodes[i] as RepairNode
      files.flip(files.paths.find((path) => path.endsWith(shardKeyOf(shards[i] as Shard))) ?? '', 9_000)
    }
    await world.sweep(maker)
    expect(maker.repair.status().total.failures).toBeGreaterThan(0)
    expect(await world.versionsAt(owner, cid)).toBe(2)
    expect((await placed(nodes))[1]).toEqual([1])
  })

  test('with more gone than may be does nothing, and tells what is at risk', async () => {
    const { world, nodes } = await stored()
    for (const i of [0, 2, 4]) await lose(nodes[i] as RepairNode)
    await world.sweep(...nodes)
    expect(await placed(nodes)).toEqual([[], [1], [], [3], [], [5]])
    expect(nodes[1]?.repair.status().found).toMatchObject({ shortBlocks: 1, goneBlocks: 1, versionsAtRisk: 1 })
  })

  test('of which one that is no holder alone knew are told as gone when its own is (nobody told it: whom they belong to had never heard of them)', async () => {
    const world = await repairNodes(7)
    world.placed = world.nodes.slice(0, 6).map(({ self }) => self)
    const substitute = world.nodes[6] as RepairNode
    await substitute.holder.storeShard(shards[0] as Shard, referenceOf('version'))
    await lose(substitute)
    await world.sweep(substitute)
    expect(substitute.repair.status().found).toMatchObject({ shortBlocks: 1, goneBlocks: 1, versionsAtRisk: 1 })
  })

  test('with more gone than may be are made by who has the block whole, for another version (it was told as gone, and stayed so)', async () => {
    const { world, nodes } = await stored()
    await (nodes[4] as RepairNode).holder.store(cid, bytes, referenceOf('a copy', { k: 1, m: 0 }))
    for (const i of [0, 2, 4]) await lose(nodes[i] as RepairNode)
    await world.sweep(...nodes)
    expect(await placed(nodes)).toEqual(whole)
  })

  test('with fewer nodes than shards nothing is short, and what has lost its redundancy is at risk', async () => {
    const { world, nodes } = await stored()
    world.away.add((nodes[5] as RepairNode).self)
    world.placed = world.placed.slice(0, 5)
    await world.sweep(...nodes.slice(0, 5))
    expect(nodes[1]?.repair.status().found).toMatchObject({ shortBlocks: 0, goneBlocks: 0, narrowBlocks: 1, versionsAtRisk: 1 })
  })

  test('with fewer nodes than it takes to read a block tells it as gone, not only as on too few (that it cannot be read was told by nobody)', async () => {
    const { world, nodes } = await stored()
    for (const node of nodes.slice(3)) world.away.add(node.self)
    world.placed = world.placed.slice(0, 3)
    await world.sweep(...nodes.slice(0, 3))
    expect(nodes[1]?.repair.status().found).toMatchObject({ shortBlocks: 1, goneBlocks: 1, narrowBlocks: 1, versionsAtRisk: 1 })
  })

  test('with fewer nodes than shards is looked for when one is written so, and not again for each that is', async () => {
    const world = await repairNodes(5)
    await world.sweep(...world.nodes)
    const { repair } = world.nodes[0] as RepairNode
    for (const [i, { holder }] of world.nodes.entries()) await holder.storeShard(shards[i] as Shard, referenceOf('version'))
    const sweptAfter = async (restMs: number): Promise<boolean> => {
      repair.report(cid)
      world.time.nowMs += restMs
      let [isOver, steps] = [false, 0]
      const work = (async () => { while (await repair.step({ signal: new AbortController().signal }) === 'busy') steps++ })().finally(() => { isOver = true })
      await world.time.run(() => isOver)
      await work
      return steps > 1
    }
    expect(await sweptAfter(repairLimits.mostLeastRestMs)).toBe(true)
    expect(repair.status().found).toMatchObject({ shortBlocks: 0, narrowBlocks: 1 })
    expect(await sweptAfter(repairLimits.mostLeastRestMs)).toBe(false)
  })

  test('on a node that is left out, the shard that none of those left has a place for counts as to be brought away (it was told that it may be switched off)', async () => {
    const { world, nodes } = await stored(7)
    const [drained, member] = [nodes[5], nodes[1]] as [RepairNode, RepairNode]
    world.placed = world.placed.slice(0, 5)
    await world.sweep(...nodes)
    expect(await placed(nodes)).toEqual([...whole, []])
    expect(drained.repair.status().found).toMatchObject({ misplacedBlocks: 1 })
    expect(drained.repair.status().found?.misplacedBytes).toBeGreaterThan(0)
    expect(member.repair.status().found).toMatchObject({ misplacedBlocks: 0, misplacedBytes: 0 })
    // with a place for it it goes there, and from here
    world.placed = [...world.placed, (nodes[6] as RepairNode).self]
    await world.sweep(...nodes)
    await world.sweep(...nodes)
    expect(await placed(nodes)).toEqual([[0], [1], [2], [3], [4], [], [5]])
    expect(drained.repair.status().found).toMatchObject({ misplacedBlocks: 0, misplacedBytes: 0 })
  })

  test('on a node that is left out, a shard of which the disk tells nothing now counts as to be brought away as long as shards are missing', async () => {
    const { world, nodes } = await stored(7)
    const [lacking, drained] = [nodes[2], nodes[6]] as [RepairNode, RepairNode]
    await drained.holder.storeShard(shards[2] as Shard, referenceOf('version'))
    await lose(lacking)
    const size = drained.files.size.bind(drained.files)
    drained.files.size = async () => { throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' }) }
    await world.sweep(drained)
    expect(drained.repair.status().found).toMatchObject({ misplacedBlocks: 1 })
    await world.sweep(nodes[0] as RepairNode)
    await world.sweep(drained)
    expect(drained.repair.status().found).toMatchObject({ misplacedBlocks: 0, misplacedBytes: 0 })
    drained.files.size = size
    await world.sweep(drained)
    expect(await placed(nodes)).toEqual([...whole, []])
  })

  test('a rotten shard that is read is set aside and made anew', async () => {
    const { world, nodes } = await stored()
    const node = nodes[3] as RepairNode
    node.files.flip(node.files.paths.find((path) => path.endsWith(shardKeyOf(shards[3] as Shard))) ?? '', 9_000)
    await expect(node.blocks.shards.get(shards[3] as Shard)).rejects.toThrow('not what it was')
    expect(node.corrupt).toEqual([cid])
    await world.sweep(...nodes)
    expect(await placed(nodes)).toEqual(whole)
  })

  test('a rotten shard that was reported is made anew where it was, before anybody else has looked (it stayed short until others did, for up to ten minutes)', async () => {
    const { nodes } = await stored()
    const node = nodes[3] as RepairNode
    await lose(node)
    node.repair.report(cid)
    expect(await node.repair.step({ signal: new AbortController().signal })).toBe('busy')
    expect(await placed(nodes)).toEqual(whole)
  })

  test('of which too few are left nobody makes, reported or not', async () => {
    const { nodes } = await stored()
    for (const i of [0, 1, 3]) await lose(nodes[i] as RepairNode)
    const node = nodes[3] as RepairNode
    node.repair.report(cid)
    await node.repair.step({ signal: new AbortController().signal })
    expect((await placed(nodes))[3]).toEqual([])
    expect(node.repair.status().total.failures).toBe(0)
  })

  test('what a substitute took goes to its holder when that is back, and is given up then', async () => {
    const { world, nodes } = await stored(8)
    world.placed = nodes.map(({ self }) => self)
    await lose(nodes[2] as RepairNode)
    await (nodes[7] as RepairNode).holder.storeShard(shards[2] as Shard, referenceOf('version'))
    await world.sweep(...nodes)
    await world.sweep(...nodes)
    expect(await placed(nodes)).toEqual([...whole, [], []])
    expect(await world.versionsAt(nodes[7] as RepairNode, cid)).toBe(0)
  })

  test('follows a layout that has moved: every shard to its new position, none given up before it is there', async () => {
    const { world, nodes } = await stored(8)
    world.placed = [5, 0, 7, 3, 1, 6].map((i) => (nodes[i] as RepairNode).self)
    world.version = 2n
    world.isMoving = true
    await world.sweep(...nodes)
    const during = (await placed(nodes)).flat()
    expect(new Set(during)).toEqual(new Set([0, 1, 2, 3, 4, 5]))
    for (const [i, shardsBefore] of whole.entries()) expect((await placed(nodes))[i]).toEqual(expect.arrayContaining(shardsBefore))
    world.isMoving = false
    await world.sweep(...nodes)
    await world.sweep(...nodes)
    expect(await placed(nodes)).toEqual([[1], [4], [], [3], [], [0], [5], [2]])
  })

  test('gives up nothing that its holder, who had it a moment ago, does not promise', async () => {
    const { nodes, world } = await stored(7)
    const [substitute, shard] = [nodes[6] as RepairNode, shards[2] as Shard]
    await substitute.holder.storeShard(shard, referenceOf('version'))
    for (const outcome of ['full', 'refused', 'stored'] as const) {
      const mending = new ShardMending({
        self: substitute.self, holder: substitute.holder, shards: substitute.blocks.shards, account: new RepairAccount({ clock: world.time.clock(), warn: () => {} }), read: async () => bytes,
        peers: { storeShard: async () => outcome, tell: async () => ['had'] },
      })
      const release = { redundancy, index: 2, to: (nodes[2] as RepairNode).self, signal: new AbortController().signal }
      expect(await mending.release(cid, { ...release, isStill: () => false })).toBe(false)
      expect(await mending.release(cid, { ...release, isStill: () => true })).toBe(outcome === 'stored')
      expect((await placed(nodes))[6]).toEqual(outcome === 'stored' ? [] : [2])
    }
  })

  test('of other blocks are brought though somebody asks for shards of a code that cannot be (one such reference, by any node that belongs, and nobody was told of shards any more)', async () => {
    const { world, nodes } = await stored()
    const [keeper, loser] = [nodes[0], nodes[3]] as [RepairNode, RepairNode]
    const shared = await world.put(nodes, 'a block')
    const evil = (nodes[5] as RepairNode).peers
    for (const impossible of [{ k: 200, m: 200 }, { k: 4, m: 0 }, { k: 0, m: 3 }]) {
      const telling = async (): Promise<unknown> => evil.tell(keeper.self, [{ cid: shared, reference: referenceOf('nobody', impossible) }], {})
      await expect(telling()).rejects.toThrow()
      await expect(evil.store(keeper.self, { cid: shared, bytes: await keeper.blocks.get(shared), reference: referenceOf('nobody', impossible) }, {})).rejects.toThrow()
    }
    expect(await world.versionsAt(keeper, shared)).toBe(1)
    // one from before it was refused
    await keeper.holder.keep(shared, referenceOf('nobody', { k: 200, m: 200 }))
    await lose(loser)
    await world.sweep(keeper)
    expect((await placed(nodes))[3]).toEqual([3])
    expect(keeper.repair.status().found).toMatchObject({ shortBlocks: 0, narrowBlocks: 0, versionsAtRisk: 0 })
  })

  test('is given up though somebody else can be told nothing (the node that was drained never got empty)', async () => {
    const { world, nodes } = await stored(7)
    const [substitute, other] = [nodes[6], nodes[4]] as [RepairNode, RepairNode]
    await substitute.holder.storeShard(shards[2] as Shard, referenceOf('version'))
    await substitute.holder.store(cid, bytes, referenceOf('a copy', { k: 1, m: 0 }))
    for (const { holder } of [other, nodes[0] as RepairNode]) {
      await holder.store(cid, bytes, referenceOf('a copy', { k: 1, m: 0 }))
      await holder.store(cid, bytes, referenceOf('another copy', { k: 1, m: 0 }))
    }
    await other.holder.storeShard(shards[4] as Shard, referenceOf('another'))
    const before = { ...substitute.peers }
    substitute.peers.tell = async (peer, ...rest) => {
      if (peer === other.self) throw new Error('it is silent')
      return await before.tell(peer, ...rest)
    }
    await world.sweep(substitute)
    expect((await placed(nodes))[6]).toEqual([])
    expect(await substitute.blocks.has(cid)).toBe(false)
  })

  test('is given up only after its holder, who had it right when it was stored and has another of them, has read it again (it had rotted since, and the good one went)', async () => {
    const world = await repairNodes(7)
    const nodes = world.nodes
    world.placed = nodes.slice(0, 6).map(({ self }) => self)
    const long = noiseBytes(600_000)
    const of = await shardsOf(cidOf(long), long, redundancy)
    for (const [i, index] of [[0, 0], [0, 1], [6, 0]] as const) await (nodes[i] as RepairNode).holder.storeShard(of[index] as Shard, referenceOf('version'))
    const { files } = nodes[0] as RepairNode
    files.flip(files.paths.find((path) => path.endsWith(shardKeyOf(of[0] as Shard))) ?? '', 9_000)
    await world.sweep(nodes[6] as RepairNode)
    const found = await placed(nodes, cidOf(long))
    expect([found[0], found[6]]).toEqual([[0, 1], []])
  })

  test('is given up when all is known that its holder knows, and no sweep follows another for it without end', async () => {
    const { nodes } = await stored(7)
    const [holder, substitute] = [nodes[2], nodes[6]] as [RepairNode, RepairNode]
    const proof = [...Array(20).keys()].map((i) => hash(utf8(`proof ${i}`))).toSorted((one, other) => compareBytes(hash(one), hash(other))).at(-1) as Uint8Array
    await substitute.holder.storeShard(shards[2] as Shard, referenceOf('version'))
    await substitute.holder.storeShard(shards[2] as Shard, { versionId: hash(proof), redundancy })
    await holder.index.batch([{ type: 'put', key: deadKeyOf(cid, { versionId: hash(proof) }), value: proof }], { sync: true })
    substitute.repair.now()
    let steps = 0
    while (steps < 50 && await substitute.repair.step({ signal: new AbortController().signal }) === 'busy') steps++
    expect(steps).toBeLessThan(10)
    expect((await placed(nodes))[6]).toEqual([2])
  })

  test('tells who lacks a reference', async () => {
    const { world, nodes } = await stored()
    await (nodes[2] as RepairNode).holder.storeShard(shards[2] as Shard, referenceOf('another'))
    await world.sweep(...nodes)
    for (const node of nodes) expect(await world.versionsAt(node, cid)).toBe(2)
    const before = world.network.sent.filter(({ bytes: sent }) => sent > 100).length
    await world.sweep(...nodes)
    expect(world.network.sent.filter(({ bytes: sent }) => sent > 100)).toHaveLength(before)
  })

  test('one block that versions want as copies and as shards of two codes is kept as all of them', async () => {
    const { world, nodes } = await stored()
    const others = await shardsOf(cid, bytes, { k: 2, m: 1 })
    for (const [i, shard] of others.entries()) await (nodes[i] as RepairNode).holder.storeShard(shard, referenceOf('of two', { k: 2, m: 1 }))
    for (const i of [0, 1, 2]) await (nodes[i] as RepairNode).holder.store(cid, bytes, referenceOf('copies', { k: 1, m: 2 }))
    await (nodes[1] as RepairNode).blocks.delete(cid)
    await lose(nodes[2] as RepairNode)
    await world.sweep(...nodes)
    expect(await placed(nodes)).toEqual([[0, 0], [1, 1], [2, 2], [3], [4], [5]])
    expect(await world.holdersOf(cid)).toEqual([0, 1, 2].map((i) => nodes[i]?.self))
    const moved = nodes.map(({ repair }) => repair.status().total.movedBytes)
    await world.sweep(...nodes)
    expect(nodes.map(({ repair }) => repair.status().total.movedBytes)).toEqual(moved)
  })
})

describe('a plan for shards', () => {
  const peers = Array.from({ length: 9 }, (_, i) => `peer ${i}` as PeerId)
  const presences = fc.array(fc.option(fc.uniqueArray(fc.integer({ min: 0, max: 5 })), { nil: undefined }), { minLength: 9, maxLength: 9 })

  test('brings every missing shard once, by one that knows whom it is for, and gives up none that is not where it belongs', () => {
    fc.assert(fc.property(presences, fc.shuffledSubarray(peers, { minLength: 6 }), fc.subarray(peers), (have, placedAt, forgetful) => {
      const references = (peer: PeerId): number => forgetful.includes(peer) ? 0 : 1
      const answers = (self: PeerId) => new Map(peers.flatMap((peer, i) => peer === self || have[i] === undefined ? [] : [[peer, { indexes: new Set(have[i]), references: references(peer) }] as const]))
      const plans = peers.flatMap((self, i) => have[i] === undefined || forgetful.includes(self) ? [] : [{ self, plan: shardPlanFor({ self, placed: placedAt, redundancy, indexes: new Set(have[i]), references: 1, answers: answers(self), isMoving: false }) }])
      const living = new Set(placedAt.flatMap((peer) => have[peers.indexOf(peer)] ?? []))
      for (const [index, holder] of placedAt.slice(0, 6).entries()) {
        const held = have[peers.indexOf(holder)]
        const bringers = plans.filter(({ plan }) => plan.push.some((push) => push.index === index && push.peer === holder))
        const inPlacement = bringers.filter(({ self }) => placedAt.includes(self))
        if (held === undefined || held.includes(index)) expect(bringers).toEqual([])
        else {
          const mayBring = placedAt.some((peer) => {
            const its = forgetful.includes(peer) ? undefined : have[peers.indexOf(peer)]
            return its !== undefined && (living.size >= redundancy.k ? its.length > 0 : its.includes(index))
          })
          expect(inPlacement).toHaveLength(mayBring ? 1 : 0)
        }
      }
      for (const { plan } of plans) for (const { index, to } of plan.release) expect(have[peers.indexOf(to)]).toContain(index)
    }), { numRuns: 300 })
  })

  test('gives up nothing while a layout is being moved to', () => {
    const answers = new Map([[peers[1] as PeerId, { indexes: new Set([1]), references: 1 }]])
    const view = { self: peers[0] as PeerId, placed: peers, redundancy, indexes: new Set([0, 1]), references: 1, answers }
    expect(shardPlanFor({ ...view, isMoving: false }).release).toEqual([{ index: 1, to: peers[1] }])
    expect(shardPlanFor({ ...view, isMoving: true }).release).toEqual([])
  })
})
