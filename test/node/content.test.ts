import { expect, test } from 'vitest'
import { hexOf } from '../../src/base/bytes.ts'
import type { Cid } from '../../src/base/cid.ts'
import { seededRandom } from '../../src/base/random.ts'
import { contentCodec } from '../../src/node/content.ts'
import { defaultBucketOptions } from '../../src/objects/bucket-row.ts'
import { bucketId, noiseBytes, testKeys } from '../support/file-world.ts'

const bucket = { ...defaultBucketOptions, chunking: 'content-small', name: 'photos', id: hexOf(bucketId), created: '', state: 'active' } as const

test.each([['in its row', 100], ['in a few chunks', 200_000], ['under a manifest', 3_000_000]])('every block of content %s is told, and no other, nodes of the manifest as such', async (_, length) => {
  const codec = contentCodec(testKeys, seededRandom(1))
  const blocks = new Map<Cid, { block: Uint8Array, mayBeSpread: boolean }>()
  const { content, root } = await codec.write((async function * () { yield noiseBytes(length) })(), { bucket, put: async (cid, block, { mayBeSpread }) => { blocks.set(cid, { block, mayBeSpread }) } })
  const told = new Map<Cid, boolean>()
  for await (const { cid, mayBeSpread } of codec.blocksOf(content, { get: async (cid) => blocks.get(cid)?.block ?? new Uint8Array(0) })) told.set(cid, mayBeSpread)
  expect(new Set(told.keys())).toEqual(new Set(blocks.keys()))
  for (const [cid, mayBeSpread] of told) if (!mayBeSpread) expect(blocks.get(cid)?.mayBeSpread).toBe(false)
  if (root !== undefined) expect(told.get(root)).toBe(false)
  expect(length < 1_000_000 || (root !== undefined && told.size > 20)).toBe(true)
})
