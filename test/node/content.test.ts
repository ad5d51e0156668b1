import { expect, test } from 'vitest'
import { concat, equals, hexOf } from '../../src/base/bytes.ts'
import type { Cid } from '../../src/base/cid.ts'
import { systemClock } from '../../src/base/clock.ts'
import { seededRandom } from '../../src/base/random.ts'
import { contentCodec } from '../../src/node/content.ts'
import { PutWindows } from '../../src/node/put-windows.ts'
import { defaultBucketOptions } from '../../src/objects/buckets/bucket-row.ts'
import { bucketId, noiseBytes, testKeys } from '../support/file-world.ts'

const windows = (): PutWindows => new PutWindows({ bytes: 1024 ** 3, clock: systemClock })
const bucket = { ...defaultBucketOptions, chunking: 'content-small', name: 'photos', id: hexOf(bucketId), created: '', state: 'active' } as const

test.each([['in its row', 100], ['in a few chunks', 200_000], ['under a manifest', 3_000_000]])('every block of content %s is told, and no other, nodes of the manifest as such', async (_, length) => {
  const codec = contentCodec(testKeys, seededRandom(1), systemClock, windows())
  const blocks = new Map<Cid, { block: Uint8Array, mayBeSpread: boolean }>()
  const { content, root } = await codec.write((async function * () { yield noiseBytes(length) })(), { bucket, put: async (cid, block, { mayBeSpread }) => { blocks.set(cid, { block, mayBeSpread }) } })
  const told = new Map<Cid, boolean>()
  for await (const { cid, mayBeSpread } of codec.blocksOf(content, { get: async (cid) => blocks.get(cid)?.block ?? new Uint8Array(0) })) told.set(cid, mayBeSpread)
  expect(new Set(told.keys())).toEqual(new Set(blocks.keys()))
  for (const [cid, mayBeSpread] of told) if (!mayBeSpread) expect(blocks.get(cid)?.mayBeSpread).toBe(false)
  if (root !== undefined) expect(told.get(root)).toBe(false)
  expect(length < 1_000_000 || (root !== undefined && told.size > 20)).toBe(true)
})

test('parts are sealed however small, spread, listed in their rows up to 64 chunks, and joined by nodes alone', async () => {
  const codec = contentCodec(testKeys, seededRandom(1), systemClock, windows())
  const blocks = new Map<Cid, Uint8Array>()
  const get = async (cid: Cid): Promise<Uint8Array> => blocks.get(cid) ?? new Uint8Array(0)
  const spread: boolean[] = []
  const put = async (cid: Cid, block: Uint8Array, { mayBeSpread }: { mayBeSpread: boolean }): Promise<void> => { blocks.set(cid, block); spread.push(mayBeSpread) }
  const pieces = [noiseBytes(10, 1), noiseBytes(3_000_000, 2), new Uint8Array(0), noiseBytes(9_000_000, 3)]
  const written = []
  for (const bytes of pieces) written.push(await codec.writePart((async function * () { yield bytes })(), { bucket, put }))
  expect(written.map(({ hasBlocks, root, chunks }) => [hasBlocks, root !== undefined, chunks.length > 8 && chunks.length <= 64])).toEqual([[true, false, false], [true, false, true], [false, false, false], [true, true, false]])
  expect(spread.filter((isSpread) => !isSpread)).toHaveLength(1)
  const before = blocks.size
  const joined = await codec.join((async function * () { for (const { content } of written) yield content })(), { put, get })
  expect(blocks.size).toBe(before + 1)
  expect(joined).toMatchObject({ sizeBytes: 12_000_010, hasBlocks: true, chunks: [] })
  const read = []
  for await (const bytes of codec.read(joined.content, { bucket, range: { first: 0, end: joined.sizeBytes }, get })) read.push(bytes)
  expect(equals(concat(read), concat(pieces))).toBe(true)
})

test('a part of any length is held a few chunks at a time, and parts of many chunks are joined in little memory', async () => {
  const codec = contentCodec(testKeys, seededRandom(1), systemClock, windows())
  const nodes = new Map<Cid, Uint8Array>()
  const baseline = process.memoryUsage()
  let mostBytes = 0
  const measure = (): void => {
    const { heapUsed, arrayBuffers, external } = process.memoryUsage()
    mostBytes = Math.max(mostBytes, heapUsed + Math.max(arrayBuffers, external) - baseline.heapUsed - Math.max(baseline.arrayBuffers, baseline.external))
  }
  const piece = noiseBytes(1024 * 1024)
  // as long as it takes for its row to list no chunk
  const part = await codec.writePart((async function * () { for (let i = 0; i < 128; i++) { piece[0] = i; await Promise.resolve(); yield piece.slice() } })(), {
    bucket,
    put: async (cid, block, { mayBeSpread }) => { measure(); await Promise.resolve(); if (!mayBeSpread) nodes.set(cid, block) },
  })
  expect(part.root).toBeDefined()
  const joined = await codec.join((async function * () { for (let i = 0; i < 200; i++) { await Promise.resolve(); yield part.content } })(), { put: async () => { measure() }, get: async (cid) => nodes.get(cid) ?? new Uint8Array(0) })
  expect(joined.sizeBytes).toBe(128 * 1024 ** 2 * 200)
  // 128 MiB came in the one, and 30 MB of manifest in the other
  expect(mostBytes).toBeLessThan(96 * 1024 ** 2)
})
