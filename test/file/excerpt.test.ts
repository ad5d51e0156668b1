import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { equals } from '../../src/base/bytes.ts'
import type { Cid } from '../../src/base/cid.ts'
import { seededRandom } from '../../src/base/random.ts'
import { type Content, decodeContent, encodeContent, excerptOf, sealerOf, sizeOfContent } from '../../src/file/index.ts'
import { bucketId, collected, fileWorld, noise, testKeys } from '../support/file-world.ts'

const mib = 1024 ** 2
const sealer = sealerOf(testKeys, seededRandom(9))

async function excerptIn (blocks: Map<Cid, Uint8Array>, content: Content, range: { first: number, end: number }): Promise<{ excerpt: Content, put: Cid[], shared: Cid[] }> {
  const [put, shared]: [Cid[], Cid[]] = [[], []]
  const excerpt = await excerptOf(content as Exclude<Content, { kind: 'inline' }>, range, {
    sealer, domain: bucketId, isPrivate: false, compression: 'off', inFlightBlocks: 4, maxListedChunks: 64,
    put: async (cid, block) => { await Promise.resolve(); put.push(cid); blocks.set(cid, block) },
    get: async (cid) => { await Promise.resolve(); return blocks.get(cid) as Uint8Array },
    share: async (cids) => { await Promise.resolve(); shared.push(...cids) },
  })
  return { excerpt, put, shared }
}

describe('an excerpt', () => {
  test('of any range reads back as the slice it is, and seals anew at most its first and its last chunk', async () => {
    const world = fileWorld({ chunking: 'content-small' })
    const plain = await collected(noise(3 * mib))
    const content = await world.write(noise(3 * mib))
    await fc.assert(fc.asyncProperty(fc.nat(plain.byteLength - 1), fc.nat(2 * mib), async (first, length) => {
      const end = Math.min(plain.byteLength, first + 1 + length)
      const { excerpt, put, shared } = await excerptIn(world.blocks, content, { first, end })
      expect(sizeOfContent(excerpt)).toBe(end - first)
      expect(equals(await collected(world.read(decodeContent(encodeContent(excerpt)))), plain.subarray(first, end))).toBe(true)
      expect(put.length).toBeLessThanOrEqual(2)
      expect(shared.every((cid) => world.blocks.has(cid))).toBe(true)
    }), { numRuns: 40 })
  })

  test('of the whole shares every chunk and puts none', async () => {
    const world = fileWorld({ chunking: 'content-small' })
    const content = await world.write(noise(3 * mib))
    const chunks = [...world.blocks.keys()].slice(0, -1)
    const { excerpt, put, shared } = await excerptIn(world.blocks, content, { first: 0, end: 3 * mib })
    expect(shared).toEqual(chunks)
    expect(excerpt.kind).toBe('chunks')
    expect(put).toEqual([])
  })

  test('what lists its chunks is put after they are shared', async () => {
    const world = fileWorld({ chunking: 'content-small' })
    const content = await world.write(noise(8 * mib))
    const order: string[] = []
    await excerptOf(content as Extract<Content, { kind: 'tree' }>, { first: 0, end: 8 * mib }, {
      sealer, domain: bucketId, isPrivate: false, compression: 'off', inFlightBlocks: 4, maxListedChunks: 8,
      put: async () => { await Promise.resolve(); order.push('node') },
      get: async (cid) => { await Promise.resolve(); return world.blocks.get(cid) as Uint8Array },
      share: async () => { await new Promise((resolve) => { setImmediate(resolve) }); order.push('shared') },
    })
    expect(order).toEqual(['shared', 'node'])
  })
})
