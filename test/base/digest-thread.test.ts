import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { promisify } from 'node:util'
import { afterAll, describe, expect, test } from 'vitest'
import { hexOf } from '../../src/base/bytes.ts'
import { DigestThread, digestThreadLimits } from '../../src/base/digest-thread.ts'
import { giveBack, lend } from '../../src/base/lease.ts'
import { noiseBytes } from '../support/file-world.ts'

const thread = new DigestThread()
afterAll(async () => { await thread[Symbol.asyncDispose]() })
const md5Of = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex')

async function digestOf (bytes: Uint8Array, pieceBytes: number): Promise<string> {
  using running = thread.digesting(['md5', 'crc64nvme'])
  for (let at = 0; at < bytes.byteLength; at += pieceBytes) await running.update(bytes.subarray(at, at + pieceBytes))
  return hexOf((await running.finish()).get('md5') ?? new Uint8Array(0))
}

describe('digests on a thread of their own', () => {
  test.each([0, 1, digestThreadLimits.shortBytes, digestThreadLimits.shortBytes + 1, 3_000_000])('of %i bytes are what they are anywhere', async (length) => {
    const bytes = noiseBytes(length)
    expect(await digestOf(bytes, 100_000)).toBe(md5Of(bytes))
  })

  test('of many at once are not mixed up', async () => {
    const all = Array.from({ length: 8 }, (_, i) => noiseBytes(600_000 + i, i))
    expect(await Promise.all(all.map(async (bytes, i) => digestOf(bytes, 50_000 + 1000 * i)))).toEqual(all.map(md5Of))
  })

  test('leave the bytes to whoever brought them', async () => {
    const bytes = noiseBytes(500_000)
    await digestOf(bytes, 500_000)
    expect(bytes).toEqual(noiseBytes(500_000))
  })

  test.each([100_000, 600_000])('of %i bytes are right where others give the memory back meanwhile, which is gone when all have', async (length) => {
    const bytes = noiseBytes(length)
    using running = thread.digesting(['md5'])
    const lent = Array.from({ length: Math.ceil(length / 20_000) }, (_, i) => lend(bytes.slice(20_000 * i, 20_000 * (i + 1))))
    for (const piece of lent) {
      await running.update(piece)
      giveBack(piece)
    }
    expect(hexOf((await running.finish()).get('md5') ?? new Uint8Array(0))).toBe(md5Of(bytes))
    expect(lent.filter(({ byteLength }) => byteLength > 0)).toEqual([])
  })

  test('have a bound to what waits for the thread', async () => {
    using running = thread.digesting(['md5'])
    const piece = noiseBytes(1024 * 1024)
    let waits = 0
    for (let i = 0; i < 20; i++) {
      const taken = running.update(piece)
      // the first is held, and sent with those that follow
      if (i > 0 && taken !== undefined) { waits++; await taken }
    }
    expect(waits).toBeGreaterThan(0)
    expect((await running.finish()).get('md5')).toHaveLength(16)
  })

  test('that nobody asks for cost nothing, and those that are given up are forgotten', async () => {
    const idle = new DigestThread()
    expect(await idle.digesting([]).finish()).toEqual(new Map())
    const running = idle.digesting(['md5'])
    await running.update(noiseBytes(digestThreadLimits.shortBytes + 1))
    running[Symbol.dispose]()
    await idle[Symbol.asyncDispose]()
  })

  test('hold a process until they are there, and no longer (it never ended)', async () => {
    const module = new URL('../../src/base/digest-thread.ts', import.meta.url).href
    const script = `import { DigestThread } from '${module}'
      const running = new DigestThread().digesting(['md5'])
      await running.update(new Uint8Array(${digestThreadLimits.shortBytes + 1}))
      console.log(Buffer.from((await running.finish()).get('md5')).toString('hex'))`
    const { stdout } = await promisify(execFile)(process.execPath, ['--eval', script], { timeout: 60_000 })
    expect(stdout.trim()).toBe(md5Of(new Uint8Array(digestThreadLimits.shortBytes + 1)))
  })

  test('of one byte after the other hold few of them: their memory goes along with all of it (each was kept, up to 256 Ki of them)', async () => {
    const bytes = lend(noiseBytes(64 * 1024))
    const copy = bytes.slice()
    const pieces = Array.from({ length: digestThreadLimits.shortPieces + 1 }, (_, at) => bytes.subarray(at, at + 1))
    using running = thread.digesting(['md5'])
    for (const piece of pieces) await running.update(piece)
    giveBack(bytes)
    expect(bytes.byteLength).toBe(0)
    expect(hexOf((await running.finish()).get('md5') ?? new Uint8Array(0))).toBe(md5Of(copy.subarray(0, pieces.length)))
  })
})

describe('spans hashed on a thread of their own', () => {
  const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

  /** SHA-256 of each, and then the MD5 of all. */
  async function hashesOf (spans: readonly Uint8Array[], { pieceBytes }: { pieceBytes: number }): Promise<readonly string[]> {
    const hashes: string[] = []
    using running = thread.digestingSpans({ algorithms: ['md5'], sizeBytes: undefined, onHash: (hash) => { hashes.push(hexOf(hash)) } })
    for (const span of spans) {
      for (let at = 0; at < span.byteLength; at += pieceBytes) await running.update(span.subarray(at, at + pieceBytes))
      await running.end()
    }
    const md5 = (await running.finish()).get('md5') ?? new Uint8Array(0)
    return [...hashes, hexOf(md5)]
  }

  test('are told in order, whether they are empty, end with a batch or go on through several, beside digests of others', async () => {
    const lengths = [0, 1, digestThreadLimits.batchBytes - 1, 0, digestThreadLimits.batchBytes, 3 * digestThreadLimits.batchBytes + 5, 64 * 1024, 0]
    const spans = lengths.map((length, i) => noiseBytes(length, i))
    const [hashes, again, digest] = await Promise.all([hashesOf(spans, { pieceBytes: 10_000 }), hashesOf(spans.toReversed(), { pieceBytes: 300_000 }), digestOf(noiseBytes(600_000), 1000)])
    expect(hashes).toEqual([...spans.map(sha256), md5Of(Buffer.concat(spans))])
    expect(again).toEqual([...spans.toReversed().map(sha256), md5Of(Buffer.concat(spans.toReversed()))])
    expect(digest).toBe(md5Of(noiseBytes(600_000)))
  })

  test('that are short are told more often than a batch is full: few wait', async () => {
    let [ended, told, most] = [0, 0, 0]
    using running = thread.digestingSpans({ algorithms: [], sizeBytes: undefined, onHash: () => { told++ } })
    const byte = Uint8Array.of(7)
    for (; ended < 100_000; ended++) {
      await running.update(byte)
      await running.end()
      most = Math.max(most, ended - told)
    }
    await running.finish()
    expect(told).toBe(100_000)
    expect(most).toBeLessThanOrEqual((digestThreadLimits.inFlightBytes / digestThreadLimits.batchBytes + 1) * digestThreadLimits.batchSpans)
  })

  test('that are short in all are taken where they are', async () => {
    const idle = new DigestThread()
    const hashes: string[] = []
    const running = idle.digestingSpans({ algorithms: [], sizeBytes: digestThreadLimits.shortBytes, onHash: (hash) => { hashes.push(hexOf(hash)) } })
    await running.update(Uint8Array.of(1))
    await running.end()
    expect(hashes).toEqual([sha256(Uint8Array.of(1))])
    running[Symbol.dispose]()
    await idle[Symbol.asyncDispose]()
  })

  test('that are given up tell nothing more', async () => {
    let told = 0
    const running = thread.digestingSpans({ algorithms: [], sizeBytes: undefined, onHash: () => { told++ } })
    for (let i = 0; i < digestThreadLimits.batchSpans; i++) await running.end()
    running[Symbol.dispose]()
    // the thread answers in order: what was sent before has been answered
    await digestOf(noiseBytes(600_000), 600_000)
    expect(told).toBe(0)
  })
})
