import { describe, expect, test } from 'vitest'
import { concat, equals } from '../../src/base/bytes.ts'
import { type Cid, cidOfDigest } from '../../src/base/cid.ts'
import { systemClock } from '../../src/base/clock.ts'
import { seededRandom } from '../../src/base/random.ts'
import type { SealedBlock } from '../../src/encryption/index.ts'
import { type Content, decodeNode, type Entry, joinContents, joinLimits, manifestLimits, readFile, sealerOf, sizeOfContent } from '../../src/file/index.ts'
import { collected, fileWorld, noise, testKeys } from '../support/file-world.ts'

const mib = 1024 ** 2
const sealer = sealerOf(testKeys, seededRandom(9))

/** As parts are written: whatever they hold is sealed. */
const asPart = { maxInlineBytes: 0, maxListedChunks: 4 }

async function * each (contents: readonly Content[]): AsyncIterable<Content> { for (const content of contents) { await Promise.resolve(); yield content } }

function joinedIn (blocks: Map<Cid, Uint8Array>, contents: AsyncIterable<Content>): Promise<Content> {
  return joinContents(contents, {
    sealer, inFlightBlocks: 4,
    put: async (cid, block) => { await Promise.resolve(); blocks.set(cid, block) },
    get: async (cid) => { await Promise.resolve(); return blocks.get(cid) as Uint8Array },
  })
}

const many = (count: number, entry: Entry): Entry[] => Array.from({ length: count }, () => entry)

/** One chunk of one byte, listed as often as a test likes: large files of few blocks. */
function repeatedChunk () {
  const blocks = new Map<Cid, Uint8Array>()
  const stored = ({ digest, ph, bytes }: SealedBlock, sizeBytes: number): Entry => {
    blocks.set(cidOfDigest(digest), bytes)
    return { digest, ph, blockBytes: bytes.byteLength, sizeBytes }
  }
  const chunk = stored(sealer.chunk(Uint8Array.of(7), { domain: new Uint8Array(0), isPrivate: false, compression: 'off', mostBytes: mib, isLast: false }), 1)
  const leaf = (count: number): Entry => stored(sealer.node({ level: 0, entries: many(count, chunk), sizeBytes: count, meta: undefined }), count)
  return { blocks, chunk, leaf, stored }
}

describe('joining contents', () => {
  test.each(['content', 'content-small', 'fixed'] as const)('parts cut by %s come back as one file, in their order, and no chunk is stored again', async (chunking) => {
    const world = fileWorld({ chunking, ...asPart })
    const lengths = [5 * mib, 0, 3 * mib + 17, 1, 6 * mib, 4097]
    const contents = []
    for (const [seed, length] of lengths.entries()) contents.push(await world.write(noise(length, { seed: seed + 1 })))
    expect(contents.map(({ kind }) => kind)).toEqual(['tree', 'inline', chunking === 'content-small' ? 'tree' : 'chunks', 'chunks', 'tree', 'chunks'])
    const before = new Map(world.blocks)
    const content = await joinedIn(world.blocks, each(contents))
    const plain = concat(await Promise.all(lengths.map(async (length, seed) => collected(noise(length, { seed: seed + 1 })))))
    expect(sizeOfContent(content)).toBe(plain.byteLength)
    expect(equals(await collected(world.read(content)), plain)).toBe(true)
    expect(equals(await collected(world.read(content, { first: 5 * mib - 3, end: 8 * mib + 20 })), plain.subarray(5 * mib - 3, 8 * mib + 20))).toBe(true)
    // one node lists them all
    expect([...world.blocks.keys()].filter((cid) => !before.has(cid))).toHaveLength(1)
  })

  test('parts of a private bucket, each padded at its end, come back as one file', async () => {
    const world = fileWorld({ isPrivate: true, ...asPart })
    const lengths = [mib + 123_457, 77, 2 * mib + 5]
    const contents = []
    for (const [seed, length] of lengths.entries()) contents.push(await world.write(noise(length, { seed: seed + 1 })))
    const content = await joinedIn(world.blocks, each(contents))
    const plain = concat(await Promise.all(lengths.map(async (length, seed) => collected(noise(length, { seed: seed + 1 })))))
    expect(equals(await collected(world.read(content)), plain)).toBe(true)
  })

  test('leaves that were not full are listed anew: every node is full but the last of its level', async () => {
    const { blocks, chunk, leaf, stored } = repeatedChunk()
    const two = stored(sealer.node({ level: 1, entries: [leaf(1024), leaf(500)], sizeBytes: 1524, meta: undefined }), 1524)
    const contents: Content[] = [
      { kind: 'chunks', entries: many(60, chunk) }, { kind: 'tree', level: 0, root: leaf(900) }, { kind: 'tree', level: 1, root: two },
      { kind: 'inline', bytes: new Uint8Array(0) }, { kind: 'tree', level: 0, root: leaf(900) }, { kind: 'chunks', entries: [chunk] },
    ]
    const content = await joinedIn(blocks, each(contents)) as Extract<Content, { kind: 'tree' }>
    expect(content).toMatchObject({ kind: 'tree', level: 1, root: { sizeBytes: 60 + 900 + 1524 + 900 + 1 } })
    const root = decodeNode(sealer.openNode(blocks.get(cidOfDigest(content.root.digest)) as Uint8Array, content.root), { level: 1, sizeBytes: content.root.sizeBytes, place: 'root' })
    expect(root.entries.map(({ sizeBytes }) => sizeBytes)).toEqual([1024, 1024, 1024, 3385 - 3072])
    const read = await collected(readFile(content, { first: 0, end: 3385 }, { sealer, windowBytes: () => 100, get: async (cid) => blocks.get(cid) as Uint8Array }))
    expect(read.every((byte) => byte === 7)).toBe(true)
    expect(read.byteLength).toBe(3385)
  })

  test('a node is stored after those that it lists', async () => {
    const { blocks, leaf } = repeatedChunk()
    const underWay = new Set<Cid>()
    const orphans: Cid[] = []
    await joinContents(each(Array.from({ length: 6 }, () => ({ kind: 'tree', level: 0, root: leaf(1000) }))), {
      sealer, inFlightBlocks: 4, get: async (cid) => blocks.get(cid) as Uint8Array,
      async put (cid, block) {
        // a leaf of 1,024 entries is longer than the root, which lists six
        if (block.byteLength < 1000) orphans.push(...underWay)
        underWay.add(cid)
        await systemClock.sleep(2)
        underWay.delete(cid)
      },
    })
    expect(orphans).toEqual([])
  })

  test('nothing joined is nothing', async () => {
    expect(await joinedIn(new Map(), each([]))).toEqual({ kind: 'chunks', entries: [] })
  })

  test('2,000 parts of a full leaf each: only a few are looked at before their turn, and memory stays a few nodes', async () => {
    const { blocks, leaf } = repeatedChunk()
    const root = leaf(manifestLimits.maxEntries)
    const [count, baseline] = [2000, process.memoryUsage()]
    let [begun, stored, inFlight, mostInFlight, mostAhead, mostBytes] = [0, 0, 0, 0, 0, 0]
    async function * parts (): AsyncIterable<Content> {
      for (; begun < count; begun++) {
        await Promise.resolve()
        mostAhead = Math.max(mostAhead, begun - stored)
        yield { kind: 'tree', level: 0, root }
      }
    }
    const content = await joinContents(parts(), {
      sealer, inFlightBlocks: 4,
      async put () {
        mostInFlight = Math.max(mostInFlight, ++inFlight)
        stored++
        await new Promise((resolve) => { setImmediate(resolve) })
        const { heapUsed, arrayBuffers, external } = process.memoryUsage()
        mostBytes = Math.max(mostBytes, heapUsed + Math.max(arrayBuffers, external) - baseline.heapUsed - Math.max(baseline.arrayBuffers, baseline.external))
        inFlight--
      },
      get: async (cid) => blocks.get(cid) as Uint8Array,
    })
    expect(content).toMatchObject({ kind: 'tree', level: 2, root: { sizeBytes: count * 1024 } })
    expect(stored).toBe(count + 3)
    expect(mostAhead).toBeLessThanOrEqual(joinLimits.aheadContents + 2)
    expect(mostInFlight).toBe(4)
    // all of them are 600 MB
    expect(mostBytes).toBeLessThan(128 * mib)
  })

  test('a node that cannot be had, or put, fails the join, and nothing is left under way', async () => {
    const { blocks, leaf } = repeatedChunk()
    const contents: Content[] = Array.from({ length: 20 }, () => ({ kind: 'tree', level: 0, root: leaf(1000) }))
    let running = 0
    // those that begin later last longer
    let waitMs = 0
    const failing = (part: 'get' | 'put'): Parameters<typeof joinContents>[1] => {
      let calls = 0
      const step = async (name: 'get' | 'put'): Promise<void> => {
        running++
        await systemClock.sleep(waitMs++)
        running--
        if (name === part && ++calls === 5) throw new Error(`${name} failed`)
      }
      return { sealer, inFlightBlocks: 4, put: async () => step('put'), get: async (cid) => { await step('get'); return blocks.get(cid) as Uint8Array } }
    }
    for (const part of ['get', 'put'] as const) {
      await expect(joinContents(each(contents), failing(part))).rejects.toThrow(`${part} failed`)
      expect(running).toBe(0)
    }
  })

  test('content that stands in a row is not joined', async () => {
    await expect(joinedIn(new Map(), each([{ kind: 'inline', bytes: Uint8Array.of(1) }]))).rejects.toThrow(RangeError)
  })
})
