import { getEventListeners } from 'node:events'
import { describe, expect, test } from 'vitest'
import { utf8 } from '../../src/base/bytes.ts'
import { type Cid, cidOf, digestOf } from '../../src/base/cid.ts'
import { Unavailable } from '../../src/base/errors.ts'
import { hash } from '../../src/base/hash.ts'
import { BlockCorrupt, BlockMissing } from '../../src/blockstore/index.ts'
import type { RequestHandler } from '../../src/network/index.ts'
import { fetchLimits, fetchProtocol } from '../../src/protocols/fetch.ts'
import { readPatience } from '../../src/replication/reader.ts'
import { type BlockNode, type BlockNodes, blockNodes, blockOf, emptyReport } from '../support/replication-nodes.ts'

const other = blockOf('another block')
const versionId = hash(utf8('version'))

/** A block whose address gives these three holders their turns in the order they have. */
const block = Array.from({ length: 100 }, (_, i) => blockOf(`a block ${i}`)).find(({ cid }) => (digestOf(cid)[31] ?? 0) % 3 === 0) ?? other

/** A reader that holds nothing, and three nodes that are its block's holders. */
async function reading (): Promise<{ world: BlockNodes, nodes: [BlockNode, BlockNode, BlockNode, BlockNode], first: BlockNode, second: BlockNode }> {
  const world = await blockNodes(4)
  const nodes = world.nodes as [BlockNode, BlockNode, BlockNode, BlockNode]
  world.placed = nodes.slice(1).map(({ self }) => self)
  for (const node of nodes.slice(1)) await node.blocks.put(block.cid, block.bytes)
  return { world, nodes, first: nodes[1], second: nodes[2] }
}

type ReadOptions = NonNullable<Parameters<BlockNode['engine']['reader']>[0]>

const get = async (world: BlockNodes, { signal, ...of }: ReadOptions & { signal?: AbortSignal } = {}): Promise<{ bytes: Uint8Array, tookMs: number }> => {
  const startMs = world.time.nowMs
  return world.until((world.nodes[0] as BlockNode).engine.reader(of).get(block.cid, { signal }).then((bytes) => ({ bytes, tookMs: world.time.nowMs - startMs })))
}

const asked = ({ network }: BlockNodes): string[] => network.sent.map(({ to }) => to)

describe('a block is read', () => {
  test('from this node\'s disk, then from its cache, without asking anybody', async () => {
    const { world, nodes: [reader] } = await reading()
    const report = emptyReport()
    await reader.cache.put(block.cid, block.bytes)
    await get(world, { report })
    await reader.blocks.put(block.cid, block.bytes)
    await get(world, { report })
    expect(asked(world)).toEqual([])
    expect(report).toEqual({ local: 100, cache: 100, peers: new Map() })
  })

  test('from the nearest holder alone, and is in the cache afterwards', async () => {
    const { world, nodes: [reader], first } = await reading()
    const report = emptyReport()
    expect((await get(world, { report })).bytes).toEqual(block.bytes)
    expect(asked(world)).toEqual([first.self])
    expect(report).toEqual({ local: 0, cache: 0, peers: new Map([[first.self, 100]]) })
    expect(await reader.cache.has(block.cid)).toBe(true)
  })

  test('from all its near holders, when there are many blocks', async () => {
    const { world, nodes: [reader] } = await reading()
    const blocks = Array.from({ length: 60 }, (_, i) => blockOf(`block ${i}`))
    for (const { cid, bytes } of blocks) for (const { blocks: store } of world.nodes.slice(1)) await store.put(cid, bytes)
    const report = emptyReport()
    for (const { cid } of blocks) await world.until(reader.engine.reader({ report }).get(cid))
    for (const { self } of world.nodes.slice(1)) expect(report.peers.get(self) ?? 0).toBeGreaterThan(10 * 100)
  })

  test.each(['dead', 'without it'] as const)('from the next holder at once, when the nearest is %s', async (ailment) => {
    const { world, first } = await reading()
    if (ailment === 'dead') world.network.kill(first.self)
    else await first.blocks.delete(block.cid)
    const { bytes, tookMs } = await get(world)
    expect(bytes).toEqual(block.bytes)
    expect(tookMs).toBe(0)
  })

  test('within the hedging delay, not a time limit, when the nearest holder is stopped', async () => {
    const { world, nodes: [reader], first } = await reading()
    world.silence(reader, first)
    const { bytes, tookMs } = await get(world)
    expect(bytes).toEqual(block.bytes)
    expect(tookMs).toBe(readPatience.firstMs)
  })

  test('from whoever is first, when all are slow, and the others are stopped', async () => {
    const { world, nodes: [reader, first, second, third] } = await reading()
    for (const [node, delayMs] of [[first, 900], [second, 200], [third, 900]] as const) world.network.delay(reader.self, node.self, delayMs)
    const report = emptyReport()
    await get(world, { report })
    expect([...report.peers.keys()]).toEqual([second.self])
  })

  test('from another holder, when the copy here is rotten, and that is told', async () => {
    const { world, nodes: [reader] } = await reading()
    reader.blocks.get = async (cid) => { throw new BlockCorrupt(cid) }
    expect((await get(world)).bytes).toEqual(block.bytes)
    expect(reader.warnings).toEqual(['a block here is corrupt and read from a peer'])
  })

  test('from whoever announced the version, when no holder has it', async () => {
    const { world, nodes: [, first, second, third] } = await reading()
    world.placed = [first.self]
    await first.blocks.delete(block.cid)
    await second.blocks.delete(block.cid)
    world.hinted = [third.self]
    await get(world, { versionId })
    expect(asked(world)).toEqual([first.self, third.self])
  })
})

describe('a liar', () => {
  const frame = (kind: number, bytes: Uint8Array): Uint8Array[] => [Uint8Array.of(kind), bytes]
  const lies: ReadonlyArray<readonly [string, RequestHandler]> = [
    ['wrong bytes', async () => frame(1, block.bytes.map((byte) => byte ^ 1))],
    ['another block', async () => frame(1, other.bytes)],
    ['a part of it', async () => frame(1, block.bytes.subarray(0, 99))],
    ['more than it', async () => frame(1, new Uint8Array([...block.bytes, 0]))],
    ['more than any block', async () => frame(1, new Uint8Array(fetchLimits.maxAnswerBytes))],
    ['nothing', async () => []],
    ['an unknown kind of answer', async () => frame(7, block.bytes)],
    ['a block that it says is not there', async () => frame(0, block.bytes)],
    ['an error', async () => { throw new Error('no') }],
  ]

  test.each(lies)('that sends %s gets no byte in: the next holder serves', async (_, lie) => {
    const { world, nodes: [reader], first, second } = await reading()
    await world.network.of(first.self).handle(fetchProtocol, lie, fetchLimits)
    const report = emptyReport()
    expect((await get(world, { report })).bytes).toEqual(block.bytes)
    expect([...report.peers.keys()]).toEqual([second.self])
    expect(cidOf(await reader.cache.get(block.cid))).toBe(block.cid)
  })

  test.each(lies)('that sends %s gets no byte in when there is nobody else', async (_, lie) => {
    const { world, nodes: [reader] } = await reading()
    for (const { self } of world.nodes.slice(1)) await world.network.of(self).handle(fetchProtocol, lie, fetchLimits)
    await expect(get(world)).rejects.toThrow(Unavailable)
    expect(await reader.cache.has(block.cid)).toBe(false)
  })
})

describe('a block that cannot be read', () => {
  test('is told as missing when everybody answers that it is not there, and never as an object that does not exist', async () => {
    const { world } = await reading()
    for (const { blocks } of world.nodes) await blocks.delete(block.cid)
    const failure = await get(world).catch((error: unknown) => error) as Error
    expect(failure).toBeInstanceOf(Unavailable)
    expect(failure.cause).toBeInstanceOf(BlockMissing)
    expect(failure.message).toContain('on none of the 3 nodes')
  })

  test('is told with who could not be asked, for one of them may have it', async () => {
    const { world, nodes: [, first, second, third] } = await reading()
    world.network.kill(first.self)
    for (const node of [second, third]) await node.blocks.delete(block.cid)
    const failure = await get(world).catch((error: unknown) => error) as Error
    expect(failure).toBeInstanceOf(Unavailable)
    expect(failure.cause).toBeUndefined()
    expect(failure.message).toContain(`${first.self}: not connected`)
    expect(failure.message).toContain('not on 2 others')
  })

})

describe('Kademlia', () => {
  test('is asked after all that are known, and then whom it names', async () => {
    const world = await blockNodes(3)
    const [, near, far] = world.nodes as [BlockNode, BlockNode, BlockNode]
    world.placed = [near.self]
    world.distant.add(far.self)
    await far.blocks.put(block.cid, block.bytes)
    world.provided = { peers: [near.self, far.self], afterMs: 10 }
    expect((await get(world, { root: block.cid })).bytes).toEqual(block.bytes)
    expect(asked(world)).toEqual([near.self, far.self])
  })

  test('does not hold up an answer that comes while it is asked', async () => {
    const { world, nodes: [reader, first, ...others] } = await reading()
    for (const { blocks } of others) await blocks.delete(block.cid)
    world.network.delay(reader.self, first.self, 200)
    world.provided = { peers: [], afterMs: 3000 }
    expect((await get(world, { root: block.cid })).tookMs).toBe(400)
  })

  test('is not asked any longer once the block is there', async () => {
    const { world, nodes: [reader, first, ...others] } = await reading()
    for (const { blocks } of others) await blocks.delete(block.cid)
    world.network.delay(reader.self, first.self, 200)
    world.provided = { peers: [others[0]?.self ?? first.self], afterMs: 3000 }
    await get(world, { root: block.cid })
    const before = asked(world).length
    await world.time.run()
    expect(asked(world)).toHaveLength(before)
  })
})

describe('readers of one block at one time', () => {
  test('share one fetch, and each is told where its bytes came from', async () => {
    const { world, nodes: [reader], first } = await reading()
    const reports = [emptyReport(), emptyReport()]
    await world.until(Promise.all(reports.map(async (report) => reader.engine.reader({ report }).get(block.cid))))
    expect(asked(world)).toEqual([first.self])
    expect(reports.map(({ peers }) => peers.get(first.self))).toEqual([100, 100])
  })

  test('do not stop each other: one goes, the other has its block', async () => {
    const { world, nodes: [reader, ...holders] } = await reading()
    for (const { self } of holders) world.network.delay(reader.self, self, 50)
    const gone = new AbortController()
    const leaving = reader.engine.reader().get(block.cid, { signal: gone.signal })
    const staying = reader.engine.reader().get(block.cid)
    leaving.catch(() => {})
    world.time.after(10, () => { gone.abort(new Error('gone')) })
    expect(await world.until(staying)).toEqual(block.bytes)
    await expect(leaving).rejects.toThrow('gone')
  })

  test('leave nothing running when all of them have gone', async () => {
    const { world, nodes: [reader, ...holders] } = await reading()
    const aborted: boolean[] = []
    for (const { self } of holders) {
      await world.network.of(self).handle(fetchProtocol, async (_, __, { signal }) => new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => { aborted.push(true); reject(signal.reason as Error) })
      }), fetchLimits)
    }
    const gone = new AbortController()
    world.time.after(readPatience.firstMs * 1.5, () => { gone.abort(new Error('gone')) })
    await expect(world.until(reader.engine.reader().get(block.cid, { signal: gone.signal }))).rejects.toThrow('gone')
    const before = asked(world).length
    await world.time.run()
    expect(aborted).toHaveLength(2)
    expect(asked(world)).toHaveLength(before)
  })

  test('leave no listener on their signal, though it is one for thousands of blocks', async () => {
    const { world } = await reading()
    const { signal } = new AbortController()
    await get(world, { signal })
    expect(getEventListeners(signal, 'abort')).toHaveLength(0)
  })

  test('do not inherit the end of one that has just gone', async () => {
    const { world, nodes: [reader] } = await reading()
    // a disk does not hear of signals
    const disk = reader.blocks.get.bind(reader.blocks)
    reader.blocks.get = async (cid: Cid) => { await world.time.sleep(20); return disk(cid) }
    const gone = new AbortController()
    const leaving = reader.engine.reader().get(block.cid, { signal: gone.signal })
    leaving.catch(() => {})
    const next = Promise.withResolvers<Uint8Array>()
    world.time.after(10, () => { gone.abort(new Error('gone')) })
    world.time.after(11, () => { reader.engine.reader().get(block.cid).then(next.resolve, next.reject) })
    expect(await world.until(next.promise)).toEqual(block.bytes)
    await expect(leaving).rejects.toThrow('gone')
  })
})
