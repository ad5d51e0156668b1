import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { plainCombine } from '../src/erasure/combine.ts'
import { codeOver, erasureCode } from '../src/erasure/index.ts'
import type { Bench } from './bench.ts'
import { cpuSecondsSince, inTurns, mebibyte, medianOf, speedAgainst, type Timed } from './measure.ts'
import { installed } from './rivals.ts'

const blocks = 64
const codes = [{ k: 4, m: 2 }, { k: 10, m: 4 }] as const

/** What both packages are loaded as: neither is there before its section runs. */
interface Wasm { encode (shards: Uint8Array, k: number, m: number): number }
interface Native {
  create (k: number, m: number): object
  encode (context: object, sources: number, targets: number, data: Buffer, dataAt: number, dataBytes: number, parity: Buffer, parityAt: number, parityBytes: number, end: (error?: Error) => void): void
}

/** Shards made, and blocks made of shards, beside the packages on npm that do the same: in processor time, all threads, for the native one works on another. */
export async function erasure ({ report, rounds }: Bench): Promise<void> {
  const missing = installed('@digitaldefiance/reed-solomon-erasure.wasm')
  if (missing !== undefined) report.note(`!!! OTHER PACKAGES ARE NOT MEASURED: ${missing}`)
  const memory = randomBytes(blocks * mebibyte)
  for (const { k, m } of codes) {
    const length = mebibyte - mebibyte % (k * 8)
    const data = Array.from({ length: blocks }, (_, i) => memory.subarray(i * mebibyte, i * mebibyte + length))
    const [code, twin] = [await erasureCode({ k, m }), codeOver(plainCombine, { k, m })]
    const lost = data.slice(0, 8).map((block) => new Map(code.shardsOf(block).entries().filter(([i]) => i >= m)))
    const timed = (act: (block: Uint8Array, i: number) => unknown, of = data) => async (): Promise<Timed> => {
      const before = process.cpuUsage()
      for (const [i, block] of of.entries()) await act(block, i)
      return { seconds: cpuSecondsSince(before) / of.length }
    }
    const rivals = missing === undefined ? rivalsFor({ k, m }, length) : {}
    const samples: Readonly<Record<string, readonly Timed[]>> = await inTurns(Math.max(rounds, 5), {
      'shards by the kernel': timed((block) => code.shardsOf(block)),
      [`blocks with ${m} of ${k} lost`]: timed((_, i) => code.dataOf(lost[i % lost.length] as Map<number, Uint8Array>, length)),
      'shards by the twin in JavaScript': timed((block) => twin.shardsOf(block), data.slice(0, 4)),
      ...Object.fromEntries(Object.entries(rivals).map(([name, encode]) => [name, timed(encode)])),
    })
    const ours = samples['shards by the kernel'] as readonly Timed[]
    const rival = new Set(Object.keys(rivals))
    for (const [name, of] of Object.entries(samples)) {
      report.add(`${k}+${m}, ${name}`, length / medianOf(of) / 1e9, 'GB/s', rival.has(name) ? { ratio: speedAgainst(of, ours), against: 'slower than ours' } : {})
    }
  }
}

function rivalsFor ({ k, m }: { k: number, m: number }, length: number): Readonly<Record<string, (block: Uint8Array) => unknown>> {
  const require = createRequire(import.meta.url)
  const { ReedSolomonErasure } = require('@digitaldefiance/reed-solomon-erasure.wasm') as { ReedSolomonErasure: { fromCurrentDirectorySync (): Wasm } }
  const wasm = ReedSolomonErasure.fromCurrentDirectorySync()
  const shards = new Uint8Array(length / k * (k + m))
  return {
    '@digitaldefiance/reed-solomon-erasure.wasm': (block) => {
      shards.set(block)
      if (wasm.encode(shards, k, m) !== 0) throw new Error('it could not encode')
    },
    ...nativeFor({ k, m }, length, require),
  }
}

/** Needs a compiler when it is installed, so it may be missing. */
function nativeFor ({ k, m }: { k: number, m: number }, length: number, require: NodeJS.Require): Readonly<Record<string, (block: Uint8Array) => unknown>> {
  let native: Native
  try {
    native = require('@ronomon/reed-solomon') as Native
  } catch {
    return {}
  }
  const [context, parity] = [native.create(k, m), Buffer.alloc(length / k * m)]
  const bits = (from: number, count: number): number => ((1 << count) - 1) << from
  return {
    '@ronomon/reed-solomon (native)': async (block) => new Promise<void>((resolve, reject) => {
      const data = Buffer.from(block.buffer, block.byteOffset, block.byteLength)
      native.encode(context, bits(0, k), bits(k, m), data, 0, data.byteLength, parity, 0, parity.byteLength, (error) => { if (error) reject(error); else resolve() })
    }),
  }
}
