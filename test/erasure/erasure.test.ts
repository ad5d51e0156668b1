import { access, readFile } from 'node:fs/promises'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { concat, fromHex, hexOf } from '../../src/base/bytes.ts'
import { combiner, plainCombine } from '../../src/erasure/combine.ts'
import { codeOver, type ErasureCode, erasureCode, maxShards, shardLengthOf } from '../../src/erasure/index.ts'
import { noiseBytes } from '../support/file-world.ts'
import { referenceData, referenceShard } from '../support/reference/erasure.ts'

interface Vector { readonly from: string, readonly k: number, readonly m: number, readonly data: readonly string[], readonly parity: readonly string[] }
const vectors = JSON.parse(await readFile(new URL('../vectors/erasure-vectors.json', import.meta.url), 'utf8')) as readonly Vector[]

const kernel = await combiner()
const twins = [['the kernel', kernel], ['its twin in JavaScript', plainCombine]] as const

/** Every k and m that may be. */
const codes = Array.from({ length: maxShards }, (_, k) => Array.from({ length: maxShards }, (__, m) => ({ k, m }))).flat().filter(({ k, m }) => k >= 1 && m >= 1 && k + m <= maxShards)
const codeArbitrary = fc.constantFrom(...codes)

/** k of the shards, which ones by the seed. */
function someOf (shards: readonly Uint8Array[], count: number, seed: number): Map<number, Uint8Array> {
  const order = [...noiseBytes(shards.length, seed)].map((key, index) => ({ key, index })).sort((a, b) => a.key - b.key || a.index - b.index)
  return new Map(order.slice(0, count).map(({ index }) => [index, shards[index] as Uint8Array]))
}

describe('Reed-Solomon', () => {
  test('is built here: the kernel is what nodes run', async () => {
    await access(new URL('../../src/erasure/wasm/combine.wasm', import.meta.url))
    expect(kernel).not.toBe(plainCombine)
  })

  test.each(twins)('by %s gives the shards that other implementations publish', (_name, combine) => {
    for (const { k, m, data, parity } of vectors) {
      const shards = codeOver(combine, { k, m }).shardsOf(fromHex(data.join('')))
      expect(shards.map(hexOf)).toEqual([...data, ...parity])
    }
  })

  test('is what plain arithmetic of polynomials says, encoding and back', () => {
    fc.assert(fc.property(codeArbitrary, fc.uint8Array({ minLength: 1, maxLength: 70 }), fc.nat(), ({ k, m }, bytes, seed) => {
      const code = codeOver(kernel, { k, m })
      const shards = code.shardsOf(bytes)
      const parity = k + seed % m
      expect(shards[parity]).toEqual(referenceShard(shards.slice(0, k), parity))
      expect(concat(referenceData(someOf(shards, k, seed), k)).subarray(0, bytes.byteLength)).toEqual(bytes)
    }), { numRuns: 40 })
  })

  test('is what plain arithmetic of polynomials says for every k and m with k + m ≤ 32: each shard of parity, and the data from k of all', () => {
    expect(codes).toHaveLength(496)
    for (const [seed, { k, m }] of codes.entries()) {
      const code = codeOver(kernel, { k, m })
      // one or two bytes a shard, the last of them filled up for most
      const bytes = noiseBytes(k + seed % k, seed)
      const shards = code.shardsOf(bytes)
      const data = shards.slice(0, k)
      for (let index = k; index < k + m; index++) expect(same([shards[index] as Uint8Array], [referenceShard(data, index)]), `${k}+${m}, shard ${index}`).toBe(true)
      expect(same([concat(referenceData(someOf(shards, k, seed), k)).subarray(0, bytes.byteLength)], [bytes]), `${k}+${m}`).toBe(true)
    }
  })

  test.each(twins)('by %s gives the data back from any k shards, for every k and m with k + m ≤ 32', (_name, combine) => {
    for (const [seed, { k, m }] of codes.entries()) {
      const code = codeOver(combine, { k, m })
      const bytes = noiseBytes(1 + seed % 200, seed)
      const shards = code.shardsOf(bytes)
      expect(new Set(shards.map(({ byteLength }) => byteLength))).toEqual(new Set([shardLengthOf(bytes.byteLength, k)]))
      expect(code.dataOf(someOf(shards, k, seed), bytes.byteLength)).toEqual(bytes)
    }
  })

  test('gives the data back whichever shards are lost', async () => {
    const code = await erasureCode({ k: 4, m: 3 })
    const bytes = noiseBytes(1001)
    const shards = code.shardsOf(bytes)
    for (let lost = 0; lost < 1 << 7; lost++) {
      const left = new Map(shards.entries().filter(([index]) => (lost >> index & 1) === 0))
      if (left.size < 4) expect(() => code.dataOf(left, bytes.byteLength)).toThrow('of the 4 that are needed')
      else expect(code.dataOf(left, bytes.byteLength)).toEqual(bytes)
    }
  })

  test('of the kernel is that of its twin, whatever the length and the steps it takes', () => {
    for (const { k, m } of [{ k: 4, m: 2 }, { k: 10, m: 5 }, { k: 16, m: 16 }, { k: 1, m: 1 }]) {
      for (const length of [0, 1, k, 31 * k, 32 * k, 33 * k + 1, 700_001]) {
        const bytes = noiseBytes(length, length)
        const shards = codeOver(kernel, { k, m }).shardsOf(bytes)
        expect(same(shards, codeOver(plainCombine, { k, m }).shardsOf(bytes))).toBe(true)
        const some = someOf(shards, k, length)
        expect(same([codeOver(kernel, { k, m }).dataOf(some, length)], [bytes])).toBe(true)
      }
    }
  })

  test('combines by the kernel as by its twin, for every k and m with k + m ≤ 32, whatever the factors', () => {
    for (const [seed, { k, m }] of codes.entries()) {
      const some = (count: number, length: number, from: number): Uint8Array[] => Array.from({ length: count }, (_, i) => noiseBytes(length, 100 * seed + from + i))
      const [factors, pieces] = [some(m, k, 0), some(k, 33 + seed % 70, 50)]
      expect(same(kernel(factors, pieces), plainCombine(factors, pieces)), `${k}+${m}`).toBe(true)
    }
  })

  test('makes one shard as it makes all', async () => {
    const code: ErasureCode = await erasureCode({ k: 3, m: 2 })
    const bytes = noiseBytes(100)
    expect(Array.from({ length: 5 }, (_, i) => code.shardOf(bytes, i))).toEqual(code.shardsOf(bytes))
  })

  test('leaves alone what it is given', async () => {
    const code = await erasureCode({ k: 4, m: 2 })
    const bytes = noiseBytes(1000)
    const before = bytes.slice()
    const shards = new Map(code.shardsOf(bytes).entries().filter(([index]) => index !== 1))
    code.dataOf(shards, bytes.byteLength).fill(0)
    expect(bytes).toEqual(before)
  })

  test('of no shards, or of too many, is none', async () => {
    for (const [k, m] of [[0, 1], [1, 0], [31, 2], [1.5, 1], [-1, 3], [Number.NaN, 1]] as const) await expect(erasureCode({ k, m })).rejects.toThrow('there is no code')
  })
})

// a deep comparison of long arrays takes seconds
const same = (a: readonly Uint8Array[], b: readonly Uint8Array[]): boolean => a.length === b.length && a.every((bytes, i) => Buffer.compare(bytes, b[i] as Uint8Array) === 0)
