import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { StoreFull, Unavailable } from '../../src/base/errors.ts'
import { erasureCode } from '../../src/erasure/index.ts'
import { writeLimits, writeQuorumOf } from '../../src/replication/index.ts'
import { writePatience } from '../../src/replication/writer.ts'
import { type BlockNode, type BlockNodes, blockNodes, blockOf, referenceTo } from '../support/replication-nodes.ts'

const block = blockOf('a block')

interface Written { readonly atMs: number, readonly holders: readonly string[] }

/** Puts one block through the first node; gives when the ack came and who held the block then. */
async function put (world: BlockNodes, { copies = 3, signal, isDegradedAllowed }: { copies?: number, signal?: AbortSignal, isDegradedAllowed?: boolean } = {}): Promise<Written> {
  const [writer] = world.nodes as [BlockNode]
  return world.until(writer.engine.writer(referenceTo(copies), { isDegradedAllowed }).put(block.cid, block.bytes, { signal })
    .then(() => ({ atMs: world.time.nowMs, holders: world.holdersOf(block.cid) })))
}

const settled = async (world: BlockNodes): Promise<void> => { await world.until((world.nodes[0] as BlockNode).engine.settled()) }
const ids = (...nodes: Array<BlockNode | undefined>): Array<string | undefined> => nodes.map((node) => node?.self)

describe('a put of a block', () => {
  test('is acknowledged at the quorum, and the last copy follows behind', async () => {
    const world = await blockNodes(3)
    const [a, b, c] = world.nodes
    if (c !== undefined) c.holder.writeMs = 400
    const { holders } = await put(world)
    expect(holders).toEqual(ids(a, b))
    await settled(world)
    expect(world.holdersOf(block.cid)).toEqual(ids(a, b, c))
    expect(a?.shortages).toEqual([])
  })

  test.each([2, 3])('of %d nodes that hold blocks needs two, where one may not acknowledge alone; of two that may, one is enough', async (nodes) => {
    const world = await blockNodes(nodes)
    for (const dead of world.nodes.slice(1)) world.network.kill(dead.self)
    await expect(put(world)).rejects.toThrow(/reached 1 of the 2 holders/)
    const allowed = put(world, { isDegradedAllowed: true })
    if (nodes === 2) expect((await allowed).holders).toEqual(ids(world.nodes[0]))
    else await expect(allowed).rejects.toThrow(/reached 1 of the 2 holders/)
  })

  test('of which all copies are needed waits for the last one, and fails where one is missing', async () => {
    const all = async (world: BlockNodes): Promise<readonly string[]> => world.until((world.nodes[0] as BlockNode).engine.writer(referenceTo(3), { isAllNeeded: true }).put(block.cid, block.bytes).then(() => world.holdersOf(block.cid)))
    const [slow, dead] = [await blockNodes(3), await blockNodes(3)]
    ;(slow.nodes[2] as BlockNode).holder.writeMs = 400
    expect(await all(slow)).toEqual(ids(...slow.nodes))
    dead.network.kill((dead.nodes[2] as BlockNode).self)
    await expect(all(dead)).rejects.toThrow(/reached 2 of the 3 holders/)
  })

  test('goes to the holders alone, by position, while they are well', async () => {
    const world = await blockNodes(5)
    world.placed = [4, 2, 3, 0, 1].map((i) => (world.nodes[i] as BlockNode).self)
    await put(world)
    await settled(world)
    expect(world.holdersOf(block.cid)).toEqual(ids(world.nodes[2], world.nodes[3], world.nodes[4]))
  })

  test.each(['dead', 'full'] as const)('replaces a holder that is %s by the next of the placement', async (ailment) => {
    const world = await blockNodes(4)
    const [a, b, c, d] = world.nodes as [BlockNode, BlockNode, BlockNode, BlockNode]
    if (ailment === 'dead') world.network.kill(b.self)
    else b.holder.isFull = true
    await put(world)
    await settled(world)
    expect(world.holdersOf(block.cid)).toEqual(ids(a, c, d))
    expect(a.shortages).toEqual([])
  })

  test('counts a full disk of its own as any other', async () => {
    const world = await blockNodes(4)
    const [a, b, c, d] = world.nodes as [BlockNode, BlockNode, BlockNode, BlockNode]
    a.holder.isFull = true
    await put(world)
    await settled(world)
    expect(world.holdersOf(block.cid)).toEqual(ids(b, c, d))
  })

  test('does not wait for a stopped holder that the quorum needs, but for its substitute', async () => {
    const world = await blockNodes(4)
    const [a, b, c, d] = world.nodes as [BlockNode, BlockNode, BlockNode, BlockNode]
    world.silence(a, b)
    world.silence(a, c)
    const { atMs, holders } = await put(world)
    expect(holders).toEqual(ids(a, d))
    expect(atMs).toBeLessThan(2 * writePatience.firstMs)
  })

  test('gives the copy of a stopped holder to a substitute, though the quorum has long been reached', async () => {
    const world = await blockNodes(4)
    const [a, b, c, d] = world.nodes as [BlockNode, BlockNode, BlockNode, BlockNode]
    world.silence(a, c)
    await put(world)
    await settled(world)
    expect(world.holdersOf(block.cid)).toEqual(ids(a, b, d))
    expect(a.shortages).toEqual([])
  })

  test('gives the copy of a holder that was slow, and then failed, to a substitute', async () => {
    const world = await blockNodes(4)
    const [a, b, c, d] = world.nodes as [BlockNode, BlockNode, BlockNode, BlockNode]
    c.holder.isFull = true
    world.network.delay(a.self, c.self, 2 * writePatience.firstMs)
    await put(world)
    await settled(world)
    expect(world.holdersOf(block.cid)).toEqual(ids(a, b, d))
  })

  test.each<[string, { copies: number, before: readonly number[], after: readonly number[], in: readonly number[] }]>([
    ['by one that had a place behind', { copies: 1, before: [1, 2, 0], after: [2, 0], in: [1, 2] }],
    ['by one that has just come', { copies: 2, before: [1, 2], after: [3, 2], in: [1, 2, 3] }],
  ])('does not count a holder that the layout left out meanwhile, which may have been told to be switched off: it is replaced %s', async (_what, { copies, before, after, in: all }) => {
    const world = await blockNodes(4)
    const at = (of: readonly number[]): readonly BlockNode[] => of.map((i) => world.nodes[i] as BlockNode)
    world.placed = at(before).map(({ self }) => self)
    ;(world.nodes[1] as BlockNode).holder.writeMs = 1000
    world.time.after(500, () => { world.placed = at(after).map(({ self }) => self) })
    const { holders } = await put(world, { copies })
    expect(holders).toEqual(ids(...at(all)))
  })

  test('is never acknowledged below the quorum, and says who answered what', async () => {
    const world = await blockNodes(3)
    const [a, b, c] = world.nodes as [BlockNode, BlockNode, BlockNode]
    world.network.kill(b.self)
    c.holder.isFull = true
    const failure = await put(world).catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(Unavailable)
    expect(String(failure)).toContain('1 of the 2')
    expect(String(failure)).toContain(`${b.self}: not connected`)
    expect(String(failure)).toContain(`${c.self}: its disk is full`)
    expect(a.shortages).toEqual([{ cid: block.cid, have: 1, want: 3 }])
  })

  test('fails as full, naming who is, when only room would help (it was "unavailable", and the user was told to try again)', async () => {
    const world = await blockNodes(3)
    const [a, b, c] = world.nodes as [BlockNode, BlockNode, BlockNode]
    for (const node of [a, c]) node.holder.isFull = true
    const failure = await put(world).catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(StoreFull)
    expect(String(failure)).toContain('1 of the 2')
    expect(String(failure)).toContain(`full: this node, ${c.self}`)
    expect(String(failure)).not.toContain(b.self)
  })

  test('fails as unavailable while a holder that is away could still take it, though others are full', async () => {
    const world = await blockNodes(4)
    const [a, b, c, d] = world.nodes as [BlockNode, BlockNode, BlockNode, BlockNode]
    for (const node of [a, c]) node.holder.isFull = true
    world.network.kill(b.self)
    const failure = await put(world).catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(Unavailable)
    expect(world.holdersOf(block.cid)).toEqual(ids(d))
  })

  test('does not count a node twice that stands twice in the placement', async () => {
    const world = await blockNodes(2)
    const [a, b] = world.nodes as [BlockNode, BlockNode]
    world.placed = [a.self, a.self, b.self]
    world.network.kill(b.self)
    await expect(put(world)).rejects.toThrow(Unavailable)
  })

  test('of which no shards can be made leaves nothing in the way of others (after 32 MiB of such every put waited for ever)', async () => {
    const world = await blockNodes(3)
    const [writer] = world.nodes as [BlockNode]
    const large = blockOf('large', 2 * 1024 * 1024)
    const none = { ...referenceTo(3), redundancy: { k: 30, m: 10 } }
    // from a file, under no clock of tests
    await erasureCode({ k: 1, m: 1 })
    for (let i = 0; i < 20; i++) await expect(world.until(writer.engine.writer(none).put(large.cid, large.bytes))).rejects.toThrow('there is no code of 30+10')
    await put(world)
  })

  test('is refused when the placement is empty', async () => {
    const world = await blockNodes(1)
    world.placed = []
    await expect(put(world)).rejects.toThrow('no node holds blocks')
  })

  test('on fewer nodes than copies counts as one of those nodes: two of two, one of one', async () => {
    const two = await blockNodes(2)
    expect((await put(two)).holders).toHaveLength(2)
    const crippled = await blockNodes(2)
    crippled.network.kill((crippled.nodes[1] as BlockNode).self)
    await expect(put(crippled)).rejects.toThrow(Unavailable)
    expect((await put(await blockNodes(1))).holders).toHaveLength(1)
  })

  test('whose caller goes away after the acknowledgement still gets all its copies', async () => {
    const world = await blockNodes(3)
    const [a, , c] = world.nodes as [BlockNode, BlockNode, BlockNode]
    c.holder.writeMs = 400
    const caller = new AbortController()
    await put(world, { signal: caller.signal })
    caller.abort(new Error('the client went away'))
    await settled(world)
    expect(world.holdersOf(block.cid)).toHaveLength(3)
    expect(a.shortages).toEqual([])
  })

  test('whose caller goes away before it ends with the caller\'s reason, and leaves nothing running', async () => {
    const world = await blockNodes(3)
    const [a, b, c] = world.nodes as [BlockNode, BlockNode, BlockNode]
    world.silence(a, b)
    world.silence(a, c)
    const [caller, reason] = [new AbortController(), new Error('the client went away')]
    world.time.after(100, () => { caller.abort(reason) })
    await expect(put(world, { signal: caller.signal })).rejects.toBe(reason)
    await settled(world)
    expect(world.time.nowMs).toBeLessThan(writePatience.firstMs)
  })

  test('waits for a stopped holder\'s copies no longer than it takes to be noticed, however many there are', async () => {
    const world = await blockNodes(3)
    const [a, , c] = world.nodes as [BlockNode, BlockNode, BlockNode]
    const [noticedMs, blockBytes] = [4000, 2 * 1024 * 1024]
    world.silence(a, c)
    world.time.after(noticedMs, () => { world.distant.add(c.self) })
    const writer = a.engine.writer(referenceTo(3))
    const beyond = 2 * writeLimits.backgroundBytes / blockBytes
    await world.until((async () => {
      for (let i = 0; i < beyond; i++) { const { cid, bytes } = blockOf(`${i}`, blockBytes); await writer.put(cid, bytes) }
    })())
    expect(world.time.nowMs).toBeLessThan(noticedMs + 4 * writePatience.firstMs)
    await settled(world)
    expect(a.shortages).toHaveLength(beyond)
  })

  test('of a large file does not wait for a stopped holder: its copies are given to it from the disk when it answers again', async () => {
    const world = await blockNodes(3)
    const [a, , c] = world.nodes as [BlockNode, BlockNode, BlockNode]
    const blockBytes = 2 * 1024 * 1024
    world.network.delay(a.self, c.self, 8000)
    const writer = a.engine.writer(referenceTo(3))
    const blocks = Array.from({ length: 3 * writeLimits.backgroundBytes / blockBytes }, (_, i) => blockOf(`${i}`, blockBytes))
    await world.until((async () => { for (const { cid, bytes } of blocks) await writer.put(cid, bytes) })())
    // one wait until it is known to be late, and none after
    expect(world.time.nowMs).toBeLessThan(2 * writePatience.firstMs)
    world.network.delay(a.self, c.self, 0)
    await settled(world)
    expect(blocks.filter(({ cid }) => !c.holder.has(cid))).toEqual([])
    expect(a.shortages).toEqual([])
  })

  test('waits for the copies of a holder that is only slow', async () => {
    const world = await blockNodes(3)
    const [a, b, c] = world.nodes as [BlockNode, BlockNode, BlockNode]
    c.holder.writeMs = writePatience.firstMs * 4
    await put(world)
    await settled(world)
    expect(world.holdersOf(block.cid)).toEqual(ids(a, b, c))
  })

  test('of what a holder has already sends no bytes, and records the version there', async () => {
    const world = await blockNodes(2)
    const [a, b] = world.nodes as [BlockNode, BlockNode]
    const large = blockOf('large', 100_000)
    await b.blocks.put(large.cid, large.bytes)
    await world.until(a.engine.writer(referenceTo(2)).put(large.cid, large.bytes))
    expect(world.network.sent.every(({ bytes }) => bytes < 1000)).toBe(true)
    expect(world.holdersOf(large.cid)).toEqual(ids(a, b))
  })
})

describe('whatever befalls the nodes', () => {
  const fates = fc.array(fc.constantFrom('well', 'dead', 'full', 'silent', 'slow'), { minLength: 1, maxLength: 7 })

  test('an acknowledged block is on a quorum of distinct disks with its reference, and a quorum that is well is enough', async () => {
    await fc.assert(fc.asyncProperty(fates, fc.integer({ min: 1, max: 5 }), async (others, copies) => {
      const world = await blockNodes(others.length + 1)
      const [writer] = world.nodes as [BlockNode]
      for (const [i, fate] of others.entries()) {
        const node = world.nodes[i + 1] as BlockNode
        if (fate === 'dead') world.network.kill(node.self)
        if (fate === 'full') node.holder.isFull = true
        if (fate === 'silent') world.silence(writer, node)
        if (fate === 'slow') world.network.delay(writer.self, node.self, 800)
      }
      const nodes = world.placed.length
      const needed = writeQuorumOf({ k: 1, m: Math.min(copies, nodes) - 1 })
      const able = 1 + others.filter((fate) => fate === 'well' || fate === 'slow').length
      const holders = await put(world, { copies }).then((written) => written.holders, () => undefined)
      if (holders !== undefined) expect(new Set(holders).size).toBeGreaterThanOrEqual(needed)
      expect(holders !== undefined).toBe(able >= needed)
      await settled(world)
      expect(world.holdersOf(block.cid).length).toBeGreaterThanOrEqual(Math.min(copies, able))
    }), { numRuns: 60 })
  })
})
