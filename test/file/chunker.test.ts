import { access } from 'node:fs/promises'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { concat } from '../../src/base/bytes.ts'
import { lend } from '../../src/base/lease.ts'
import { type ChunkProfile, contentChunks, fixedChunks, gearTable } from '../../src/file/index.ts'
import { gearScanner, plainGearScanner } from '../../src/file/gear.ts'
import { noiseBytes, pieces } from '../support/file-world.ts'

const profile: ChunkProfile = { minBytes: 64, averageBytes: 256, maxBytes: 1024 }
const table = gearTable(new Uint8Array(32).fill(9))

async function lengths (source: AsyncIterable<Uint8Array>): Promise<number[]> {
  const found = []
  for await (const chunk of source) found.push(chunk.byteLength)
  return found
}

/** The same cuts by the plainest code there is: what the kernel is held against. */
function referenceLengths (bytes: Uint8Array, { minBytes, averageBytes, maxBytes }: ChunkProfile): number[] {
  const bits = Math.log2(averageBytes)
  const cutAt = (chunk: Uint8Array): number => {
    if (chunk.byteLength <= minBytes) return chunk.byteLength
    let hash = 0
    for (let i = minBytes - 32; i < chunk.byteLength; i++) {
      hash = ((hash << 1) + (table[chunk[i] as number] as number)) >>> 0
      if (i >= minBytes && hash >>> (32 - (i < averageBytes ? bits + 1 : bits - 1)) === 0) return i + 1
    }
    return chunk.byteLength
  }
  const found = []
  for (let rest = bytes; rest.byteLength > 0;) {
    const cut = cutAt(rest.subarray(0, maxBytes))
    found.push(cut)
    rest = rest.subarray(cut)
  }
  return found
}

describe('content-defined chunks', () => {
  test('are where plain code cuts too, however the source is split', async () => {
    await fc.assert(fc.asyncProperty(fc.nat(20_000), fc.integer({ min: 1, max: 5000 }), fc.nat(1000), async (length, pieceBytes, seed) => {
      const bytes = noiseBytes(length, seed)
      expect(await lengths(contentChunks(pieces(bytes, pieceBytes), profile, table))).toEqual(referenceLengths(bytes, profile))
    }), { numRuns: 60 })
  })

  test('give back each piece that was lent, once it is copied and before the next is asked for', async () => {
    const lent: Uint8Array[] = []
    const source = async function * () {
      for (let i = 0; i < 5; i++) {
        expect(lent.every(({ byteLength }) => byteLength === 0)).toBe(true)
        lent.push(lend(noiseBytes(50_000, i)))
        await Promise.resolve()
        yield lent[i] as Uint8Array
      }
    }
    const bytes = concat([0, 1, 2, 3, 4].map((i) => noiseBytes(50_000, i)))
    expect(await lengths(contentChunks(source(), profile, table))).toEqual(referenceLengths(bytes, profile))
    expect(lent.length).toBe(5)
  })

  test('of the kernel are those of its twin in JavaScript, which an install without the compiler uses', async () => {
    await access(new URL('../../src/file/wasm/gear.wasm', import.meta.url))
    const maxBytes = 2000
    const kernel = await gearScanner(table, maxBytes)
    const twin = plainGearScanner(table)
    fc.assert(fc.property(fc.uint8Array({ maxLength: maxBytes }), fc.nat(maxBytes), fc.integer({ min: 1, max: 32 }), fc.integer(), (bytes, from, bits, hash) => {
      const range = { from, to: bytes.byteLength, mask: (0xffffffff << (32 - bits)) >>> 0, hash }
      for (const scanner of [kernel, twin]) scanner.load(bytes)
      expect(twin.scan(range)).toEqual(kernel.scan(range))
    }), { numRuns: 500 })
  })

  test('keep to minimum and maximum, and join to what went in', async () => {
    const bytes = concat([noiseBytes(5000), new Uint8Array(5000), noiseBytes(3000, 2)])
    const chunks = []
    for await (const chunk of contentChunks(pieces(bytes, 700), profile, table)) chunks.push(chunk.slice())
    expect(concat(chunks)).toEqual(bytes)
    expect(Math.max(...chunks.map((chunk) => chunk.byteLength))).toBeLessThanOrEqual(profile.maxBytes)
    expect(Math.min(...chunks.slice(0, -1).map((chunk) => chunk.byteLength))).toBeGreaterThan(profile.minBytes)
  })

  test('an insertion moves cuts near it and no others', async () => {
    const bytes = noiseBytes(200_000)
    const edited = concat([noiseBytes(100, 5), bytes])
    const texts = async (of: Uint8Array): Promise<Set<string>> => { const set = new Set<string>(); for await (const chunk of contentChunks(pieces(of, 10_000), profile, table)) set.add(Buffer.from(chunk).toString('latin1')); return set }
    const before = await texts(bytes)
    const fresh = [...await texts(edited)].filter((chunk) => !before.has(chunk))
    expect(fresh.reduce((sum, { length }) => sum + length, 0)).toBeLessThan(3000)
  })

  test('another key cuts elsewhere', async () => {
    const bytes = noiseBytes(100_000)
    expect(await lengths(contentChunks(pieces(bytes, 9999), profile, gearTable(new Uint8Array(32).fill(8))))).not.toEqual(referenceLengths(bytes, profile))
  })

  test('fixed chunks are all of one length but the last', async () => {
    expect(await lengths(fixedChunks(pieces(noiseBytes(2500), 333), 1000))).toEqual([1000, 1000, 500])
    expect(await lengths(fixedChunks(pieces(noiseBytes(2000), 333), 1000))).toEqual([1000, 1000])
  })

  test('of a fixed size keep no piece: its memory is given back before the next is asked for (a list of those of one byte took a hundred times their bytes)', async () => {
    const bytes = noiseBytes(70_000)
    const kept: number[] = []
    async function * lent (): AsyncIterable<Uint8Array> {
      for (let at = 0; at < bytes.byteLength; at += 20_000) {
        const piece = lend(bytes.slice(at, at + 20_000))
        yield piece
        kept.push(piece.byteLength)
      }
    }
    const chunks: Uint8Array[] = []
    for await (const chunk of fixedChunks(lent(), 50_000)) chunks.push(chunk)
    expect(kept).toEqual([0, 0, 0, expect.any(Number)])
    expect(chunks.map(({ byteLength }) => byteLength)).toEqual([50_000, 20_000])
    expect(Buffer.concat(chunks).equals(bytes)).toBe(true)
  })
})
