import { Budget } from '../../src/base/budget.ts'
import { encode } from 'cborg'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { concat, equals } from '../../src/base/bytes.ts'
import { type Cid, cidOfDigest } from '../../src/base/cid.ts'
import { streamingHash } from '../../src/base/hash.ts'
import { Corrupt } from '../../src/base/errors.ts'
import { lend } from '../../src/base/lease.ts'
import { ClusterKeys, type SealedBlock } from '../../src/encryption/index.ts'
import { decodeContent, decodeNode, encodeContent, encodeNode, type Entry, type ManifestNode, manifestLimits, readFile, sealerOf, sizeOfContent } from '../../src/file/index.ts'
import { padded, padmeLength, unpadded } from '../../src/file/padding.ts'
import { TreeBuilder } from '../../src/file/tree.ts'
import { seededRandom } from '../../src/base/random.ts'
import { collected, fileWorld, noise, noiseBytes, pieces, testKeys } from '../support/file-world.ts'

const mib = 1024 ** 2

describe('files', () => {
  test.each([0, 1, 4096, 4097, 256 * 1024 - 1, mib - 1, mib, mib + 1, 8 * mib, 9 * mib + 5])('%d bytes come back as they went in', async (length) => {
    for (const chunking of ['content', 'fixed'] as const) {
      const world = fileWorld({ chunking })
      const content = await world.write(noise(length))
      expect(content.kind).toBe(length <= 4096 ? 'inline' : content.kind === 'tree' ? 'tree' : 'chunks')
      const back = await collected(world.read(decodeContent(encodeContent(content))))
      expect(equals(back, await collected(noise(length)))).toBe(true)
      expect(sizeOfContent(content)).toBe(length)
    }
  })

  test('every range is the slice it names, and touches no chunk beside it', async () => {
    const world = fileWorld({ chunking: 'fixed' })
    const plain = await collected(noise(12 * mib))
    const content = await world.write(pieces(plain, 777_777))
    expect(content.kind).toBe('tree')
    await fc.assert(fc.asyncProperty(fc.nat(plain.byteLength - 1), fc.nat(3 * mib), async (first, length) => {
      world.gets.length = 0
      const end = Math.min(plain.byteLength, first + 1 + length)
      expect(equals(await collected(world.read(content, { first, end })), plain.subarray(first, end))).toBe(true)
      expect(world.gets.length).toBe(1 + Math.floor((end - 1) / mib) - Math.floor(first / mib) + 1)
    }), { numRuns: 40 })
  })

  test('is sealed in the epoch of that moment: from an epoch on that a removed member has no secret of, nothing more in one of which it has (all was until the node was started anew)', () => {
    const secret = (byte: number): Uint8Array => new Uint8Array(32).fill(byte)
    const keys = new ClusterKeys({ clusterId: new Uint8Array(16), names: secret(2), epochs: new Map([[1, secret(1)]]) })
    const sealer = sealerOf(keys, seededRandom(1))
    const how = { domain: new Uint8Array(0), isPrivate: false, compression: 'off', mostBytes: mib, isLast: true } as const
    const epochsNow = (): number[] => [sealer.chunk(Uint8Array.of(1), how), sealer.chunk(Uint8Array.of(1), { ...how, isPrivate: true }), sealer.node({ level: 0, entries: [], sizeBytes: 0, meta: undefined })]
      .map(({ bytes }) => new DataView(bytes.buffer, bytes.byteOffset).getUint32(12))
    const before = sealer.chunk(Uint8Array.of(1), how)
    expect(epochsNow()).toEqual([1, 1, 1])
    keys.learn(2, secret(9))
    expect(epochsNow()).toEqual([1, 1, 1])
    keys.sealIn(2)
    expect(epochsNow()).toEqual([2, 2, 2])
    expect(sealer.chunk(Uint8Array.of(1), how).digest).not.toEqual(before.digest)
    expect(sealer.openChunk(before.bytes, { digest: before.digest, ph: before.ph, blockBytes: before.bytes.byteLength, sizeBytes: 1 })).toEqual(Uint8Array.of(1))
  })

  // full nodes list one and the same block over and over, so that three levels cost a few blocks
  function tallTree ({ inner = 1024 } = {}) {
    const sealer = sealerOf(testKeys, seededRandom(1))
    const blocks = new Map<Cid, Uint8Array>()
    const stored = ({ digest, ph, bytes }: SealedBlock, sizeBytes: number): Entry => {
      blocks.set(cidOfDigest(digest), bytes)
      return { digest, ph, blockBytes: bytes.byteLength, sizeBytes }
    }
    const node = (level: number, entries: readonly Entry[]): Entry => {
      const sizeBytes = entries.reduce((sum, entry) => sum + entry.sizeBytes, 0)
      return stored(sealer.node({ level, entries, sizeBytes, meta: undefined }), sizeBytes)
    }
    const chunk = (byte: number): Entry => stored(sealer.chunk(Uint8Array.of(byte), { domain: new Uint8Array(0), isPrivate: false, compression: 'off', mostBytes: mib, isLast: false }), 1)
    const full = node(0, Array.from({ length: inner }, () => chunk(7)))
    const root = node(2, [node(1, Array.from({ length: manifestLimits.maxEntries }, () => full)), node(1, [full, node(0, [chunk(1), chunk(2)])])])
    const read = async (range: { first: number, end: number }): Promise<Uint8Array> =>
      collected(readFile({ kind: 'tree', level: 2, root }, range, { sealer, windowBytes: () => 10, get: async (cid) => blocks.get(cid) as Uint8Array }))
    return { read, sizeBytes: root.sizeBytes }
  }

  test('a manifest of several levels reads back', async () => {
    const { read, sizeBytes } = tallTree()
    expect(sizeBytes).toBe(1024 ** 2 + 1024 + 2)
    expect(await read({ first: sizeBytes - 4, end: sizeBytes })).toEqual(Uint8Array.of(7, 7, 1, 2))
    expect(await read({ first: 1024 ** 2 - 1, end: 1024 ** 2 + 1 })).toEqual(Uint8Array.of(7, 7))
  })

  test('a manifest with room left before its end is Corrupt', async () => {
    await expect(tallTree({ inner: 1023 }).read({ first: 0, end: 1 })).rejects.toThrow('not full')
  })

  test('equal content gives equal blocks within a bucket, other ones in another, and never in a private one', async () => {
    const [one, two, other, hidden] = [fileWorld(), fileWorld(), fileWorld({ domain: new Uint8Array(16).fill(5) }), fileWorld({ isPrivate: true })]
    for (const world of [one, two, other, hidden]) await world.write(noise(3 * mib))
    await hidden.write(noise(3 * mib))
    const [a, b, c, d] = [one, two, other, hidden].map(({ blocks }) => new Set(blocks.keys()))
    expect(a).toEqual(b)
    expect(a?.isDisjointFrom(c as Set<never>)).toBe(true)
    expect(d?.size).toBe(6)
  })

  test('100 bytes inserted at the front of 32 MiB cost less than a tenth of new blocks', async () => {
    const world = fileWorld()
    const plain = await collected(noise(32 * mib))
    await world.write(pieces(plain, mib))
    const before = [...world.blocks.values()].reduce((sum, block) => sum + block.byteLength, 0)
    await world.write(pieces(concat([noiseBytes(100, 99), plain]), mib))
    const after = [...world.blocks.values()].reduce((sum, block) => sum + block.byteLength, 0)
    expect(after - before).toBeLessThan(3.2 * mib)
  })

  test('what compresses is stored smaller, and comes back', async () => {
    const world = fileWorld({ compression: 'auto' })
    const text = new TextEncoder().encode('a line of a log that says the same as the one before\n'.repeat(60_000))
    const content = await world.write(pieces(text, mib))
    expect([...world.blocks.values()].reduce((sum, block) => sum + block.byteLength, 0)).toBeLessThan(text.byteLength / 10)
    expect(equals(await collected(world.read(content)), text)).toBe(true)
  })

  test('a private file\'s last chunk is padded, so that lengths fall into few classes', async () => {
    const world = fileWorld({ isPrivate: true })
    const content = await world.write(noise(mib + 123_457))
    expect([...world.blocks.values()].map((block) => block.byteLength - 64).toSorted((a, b) => a - b)).toEqual([padmeLength(123_457), mib])
    expect(equals(await collected(world.read(content)), await collected(noise(mib + 123_457)))).toBe(true)
  })

  test('a flipped bit of any block is Corrupt, never other bytes (the ancestor changed the plaintext unnoticed)', async () => {
    const world = fileWorld({ chunking: 'fixed', compression: 'off' })
    const content = await world.write(noise(10 * mib))
    const random = seededRandom(3)
    for (const [cid, block] of new Map(world.blocks)) {
      const flipped = block.slice()
      const bit = Math.floor(random.fraction() * block.byteLength * 8)
      flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7))
      world.blocks.set(cid, flipped)
      await expect(collected(world.read(content))).rejects.toThrow(Corrupt)
      world.blocks.set(cid, block)
    }
  })

  test.each([
    ['chunks of 256 KiB and more may be spread, nodes of its manifest may not', 20 * mib, 'content', [false, true]],
    ['one byte less than 256 KiB may not, though nobody said how long it would be', mib / 4 - 1, 'content-small', [false]],
    ['exactly 256 KiB may', mib / 4, 'content-small', [true]],
  ] as const)('a file that may be kept in shards: %s', async (_name, length, chunking, expected) => {
    const kinds = new Set<boolean>()
    const world = fileWorld({ chunking, spreadFromBytes: mib / 4 })
    const content = await world.write(noise(length), { put: async (cid, block, { mayBeSpread }) => { kinds.add(mayBeSpread); world.blocks.set(cid, block) } })
    expect([...kinds].toSorted((a, b) => Number(a) - Number(b))).toEqual(expected)
    expect((await collected(world.read(content))).byteLength).toBe(length)
  })

  test('memory stays a few chunks however long the file (the ancestor held it whole)', async () => {
    const hash = streamingHash()
    let mostBytes = 0
    const world = fileWorld()
    const baseline = process.memoryUsage()
    await world.write(noise(192 * mib, { pieceBytes: mib }), { put: async (_cid, block) => {
      hash.update(block)
      const { heapUsed, arrayBuffers, external } = process.memoryUsage()
      mostBytes = Math.max(mostBytes, heapUsed + Math.max(arrayBuffers, external) - baseline.heapUsed - Math.max(baseline.arrayBuffers, baseline.external))
      await Promise.resolve()
    } })
    expect(mostBytes).toBeLessThan(128 * mib)
  })

  test('many writes together hold no more than the room they share', async () => {
    const room = new Budget(3 * mib)
    let [heldBytes, mostBytes] = [0, 0]
    await Promise.all(Array.from({ length: 8 }, async (_, i) => fileWorld({ chunking: 'fixed', room }).write(noise(5 * mib, { seed: i }), { put: async (_cid, block) => {
      mostBytes = Math.max(mostBytes, heldBytes += block.byteLength)
      await new Promise((resolve) => { setImmediate(resolve) })
      heldBytes -= block.byteLength
    } })))
    expect(mostBytes).toBeGreaterThan(2 * mib)
    expect(mostBytes).toBeLessThan(3 * mib + 10_000)
    expect(room.used).toBe(0)
  })

  test('a write that fails gives its room back', async () => {
    const room = new Budget(3 * mib)
    await expect(fileWorld({ room }).write(noise(5 * mib), { put: async () => { throw new Error('no holder') } })).rejects.toThrow('no holder')
    expect(room.used).toBe(0)
  })

  test('puts run several at once, and never more than allowed', async () => {
    const world = fileWorld({ chunking: 'fixed', inFlightBlocks: 3 })
    const full = Promise.withResolvers<void>()
    let [inFlight, most] = [0, 0]
    await world.write(noise(10 * mib), { put: async () => {
      most = Math.max(most, ++inFlight)
      if (inFlight === 3) full.resolve()
      await full.promise
      inFlight--
    } })
    expect(most).toBe(3)
  })

  test('a put that fails ends the write with its cause, and stops the source', async () => {
    const world = fileWorld()
    let isStopped = false
    async function * source (): AsyncIterable<Uint8Array> { try { yield * noise(64 * mib) } finally { isStopped = true } }
    await expect(world.write(source(), { put: async () => { throw new Error('no room') } })).rejects.toThrow('no room')
    expect(isStopped).toBe(true)
  })

  test('a reader that stalls lets go of what lies ready for it, and has it again when it goes on (200 of them held a window each)', async () => {
    const world = fileWorld({ chunking: 'fixed' })
    const content = await world.write(noise(20 * mib))
    const lent = new Set<Uint8Array>()
    let stall = (): void => {}
    const reading = readFile(content, { first: 0, end: 20 * mib }, {
      sealer: sealerOf(testKeys, seededRandom(1)), windowBytes: () => 6 * mib, whenStalled: (act) => { stall = act; return () => { stall = () => {} } },
      // nobody else knows of this memory, so it is seen to be given back
      get: async (cid) => { const block = lend((world.blocks.get(cid) as Uint8Array).slice()); lent.add(block); return block },
    })[Symbol.asyncIterator]()
    const got: Uint8Array[] = []
    const held = (): number => [...lent].filter(({ byteLength }) => byteLength > 100_000).length
    for (let next = await reading.next(); next.done !== true; next = await reading.next()) {
      got.push(next.value)
      if (got.length !== 5) continue
      await expect.poll(held).toBeGreaterThan(3)
      stall()
      await expect.poll(held).toBe(0)
    }
    expect(equals(concat(got), await collected(noise(20 * mib)))).toBe(true)
  })

  test('a reader that stops early aborts what is under way', async () => {
    const world = fileWorld({ chunking: 'fixed' })
    const content = await world.write(noise(20 * mib))
    const signals: AbortSignal[] = []
    const reading = readFile(content, { first: 0, end: 20 * mib }, { sealer: sealerOf(testKeys, seededRandom(1)), windowBytes: () => 6 * mib, get: async (cid, { signal }) => {
      if (signal !== undefined) signals.push(signal)
      return world.blocks.get(cid) as Uint8Array
    } })
    for await (const piece of reading) { expect(piece.byteLength).toBe(mib); break }
    expect(signals.every(({ aborted }) => aborted)).toBe(true)
    expect(signals.length).toBeLessThan(12)
  })
})

describe('manifest nodes', () => {
  const entry = { digest: new Uint8Array(32).fill(1), ph: new Uint8Array(32).fill(2), blockBytes: 100, sizeBytes: 36 }
  const root = { level: 0, sizeBytes: undefined, place: 'root' } as const
  const nodeOf = (count: number, meta?: Record<string, unknown>): ManifestNode => ({ level: 1, entries: Array.from({ length: count }, () => entry), sizeBytes: count * 36, meta })
  // a root of one entry around whatever stands where the metadata belongs
  const withMeta = (meta: Uint8Array): Uint8Array => {
    const bytes = encodeNode(nodeOf(1))
    new DataView(bytes.buffer).setUint32(4, meta.byteLength)
    return concat([bytes, meta])
  }

  test('lie about nothing: sums, counts, levels and lengths are checked', () => {
    const good = encodeNode({ level: 0, entries: [entry], sizeBytes: 36, meta: undefined })
    expect(decodeNode(good, root).entries).toEqual([entry])
    const changed = (at: number, value: number): Uint8Array => { const bytes = good.slice(); bytes[at] = value; return bytes }
    for (const bytes of [changed(0, 2), changed(1, 5), changed(3, 2), changed(7, 1), changed(15, 37), good.subarray(0, -1), concat([good, Uint8Array.of(0)])]) expect(() => decodeNode(bytes, root)).toThrow(Corrupt)
    expect(() => decodeNode(good, { ...root, sizeBytes: 37 })).toThrow(Corrupt)
    expect(() => decodeNode(good, { ...root, level: 1 })).toThrow(Corrupt)
  })

  test('any bytes are a node or Corrupt', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
      try { decodeNode(bytes, root) } catch (error) { expect(error).toBeInstanceOf(Corrupt) }
    }))
  })

  test('have 1 to 1,024 entries, and are full wherever others follow', () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 1024 }), fc.constantFrom('root', 'last', 'before the last'), (count, place) => {
      const read = (): ManifestNode => decodeNode(encodeNode(nodeOf(count)), { level: 1, sizeBytes: count * 36, place })
      if (place === 'before the last' && count < 1024) expect(read).toThrow(Corrupt)
      else expect(read().entries).toHaveLength(count)
    }), { numRuns: 30, examples: [[1024, 'before the last'], [1023, 'before the last']] })
    expect(() => encodeNode(nodeOf(1025))).toThrow(RangeError)
    for (const place of ['root', 'last', 'before the last'] as const) expect(() => decodeNode(encodeNode(nodeOf(0)), { level: 1, sizeBytes: 0, place })).toThrow(Corrupt)
  })

  test('are built full but for the last of each level, and hold every entry in order', async () => {
    await fc.assert(fc.asyncProperty(fc.integer({ min: 9, max: 300 }), async (count) => {
      const nodes: ManifestNode[] = []
      const build = new TreeBuilder(async (node) => { nodes.push(node); return { ...entry, sizeBytes: node.sizeBytes } }, { maxEntries: 4 })
      for (let i = 1; i <= count; i++) await build.add({ ...entry, sizeBytes: i })
      const content = await build.finish()
      const levels = Object.values(Object.groupBy(nodes, ({ level }) => level)).map((level) => level ?? [])
      for (const level of levels) for (const node of level.slice(0, -1)) expect(node.entries).toHaveLength(4)
      expect(levels.map(({ length }) => length).at(-1)).toBe(1)
      expect(content).toMatchObject({ kind: 'tree', level: levels.length - 1, root: { sizeBytes: count * (count + 1) / 2 } })
      expect(levels[0]?.flatMap(({ entries }) => entries.map(({ sizeBytes }) => sizeBytes))).toEqual(Array.from({ length: count }, (_, i) => i + 1))
    }), { numRuns: 30 })
  })

  const metadata = fc.dictionary(fc.string(), fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.uint8Array(), fc.array(fc.string())), { noNullPrototype: true })

  test('carry metadata of up to 16 KiB in the root and nowhere else', () => {
    fc.assert(fc.property(metadata, (meta) => {
      const bytes = encodeNode(nodeOf(1, meta))
      expect(decodeNode(bytes, { ...root, level: 1 }).meta).toEqual(meta)
      for (const place of ['last', 'before the last'] as const) expect(() => decodeNode(bytes, { level: 1, sizeBytes: 36, place })).toThrow(Corrupt)
    }))
    expect(() => encodeNode(nodeOf(1, { a: 'x'.repeat(16 * 1024) }))).toThrow(RangeError)
    expect(() => decodeNode(withMeta(encode({ a: 'x'.repeat(16 * 1024) })), { ...root, level: 1 })).toThrow(Corrupt)
  })

  test('carry metadata in one spelling only', () => {
    const spelt = { 'keys out of order': [0xa2, 0x61, 0x62, 1, 0x61, 0x61, 2], 'a key twice': [0xa2, 0x61, 0x61, 1, 0x61, 0x61, 2], 'a number too long': [0xa1, 0x61, 0x61, 0x18, 1], 'no end told': [0xbf, 0x61, 0x61, 1, 0xff], 'no map': [0x81, 1], 'no text for a key': [0xa1, 1, 1], 'not all of it': [0xa1, 0x61, 0x61], 'too much': [0xa0, 0] }
    for (const [name, bytes] of Object.entries(spelt)) expect(() => decodeNode(withMeta(Uint8Array.from(bytes)), { ...root, level: 1 }), name).toThrow(Corrupt)
    fc.assert(fc.property(metadata, fc.nat(), fc.nat(255), (meta, at, byte) => {
      const bytes = encode(meta)
      bytes[at % bytes.byteLength] = byte
      try { expect(encodeNode(decodeNode(withMeta(bytes), { ...root, level: 1 }))).toEqual(withMeta(bytes)) } catch (error) { expect(error).toBeInstanceOf(Corrupt) }
    }))
  })
})

describe('padding', () => {
  test('adds at most 12 % and comes off exactly', () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 2 ** 20 }), (length) => {
      expect(padmeLength(length)).toBeGreaterThanOrEqual(length)
      expect(padmeLength(length)).toBeLessThanOrEqual(Math.ceil(length * 1.12))
    }))
    const bytes = noiseBytes(1000)
    expect(unpadded(padded(bytes, { most: mib }), 1000)).toEqual(bytes)
    const wrong = padded(bytes, { most: mib })
    wrong[wrong.byteLength - 1] = 1
    expect(() => unpadded(wrong, 1000)).toThrow(Corrupt)
  })
})
