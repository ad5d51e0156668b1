import { keyedHash } from '../base/hash.ts'
import { free, giveBack } from '../base/lease.ts'
import { gearScanner } from './gear.ts'

/**
 * Where a file is cut (docs/decisions/0005-chunking.md). By content, so that an insertion moves cuts near it and no others: Gear with normalised masks
 * (FastCDC, USENIX ATC 2016) under a secret table. Cut points are no format: any chunking of a file reads back.
 */
export interface ChunkProfile {
  readonly minBytes: number
  readonly averageBytes: number
  readonly maxBytes: number
}

const kib = 1024
export const profiles = {
  content: { minBytes: 256 * kib, averageBytes: 1024 * kib, maxBytes: 2048 * kib },
  'content-small': { minBytes: 16 * kib, averageBytes: 64 * kib, maxBytes: 256 * kib },
} as const satisfies Record<string, ChunkProfile>
export const fixedChunkBytes = 1024 * kib

/** 256 u32 from a 32-byte key: without the key nobody can predict where a known file is cut. */
export function gearTable (key: Uint8Array): Uint32Array {
  const table = new Uint32Array(256)
  const perHash = 8
  for (let i = 0; i < table.length; i += perHash) {
    const bytes = keyedHash(key, Uint8Array.of(i / perHash))
    const view = new DataView(bytes.buffer, bytes.byteOffset)
    for (let j = 0; j < perHash; j++) table[i + j] = view.getUint32(j * 4)
  }
  return table
}

/**
 * Chunks of `chunkBytes` each but the last, whatever pieces the source comes in: of one byte each a list of them would take a hundred times their memory. Every chunk
 * is memory of its own. Pieces that are lent (base/lease.ts) are given back once copied.
 */
export async function * fixedChunks (source: AsyncIterable<Uint8Array>, chunkBytes: number): AsyncIterable<Uint8Array> {
  let chunk: Uint8Array | undefined
  let length = 0
  for await (const piece of source) {
    for (let at = 0; at < piece.byteLength;) {
      const part = piece.subarray(at, at + chunkBytes - length)
      // what is not filled yet of it takes no memory
      chunk ??= new Uint8Array(chunkBytes)
      chunk.set(part, length)
      length += part.byteLength
      at += part.byteLength
      if (length < chunkBytes) break
      yield chunk
      ;[chunk, length] = [undefined, 0]
    }
    giveBack(piece)
  }
  if (chunk === undefined) return
  const last = chunk.slice(0, length)
  free(chunk)
  yield last
}

/**
 * Content-defined chunks; the same cuts however the source is split. A window of the longest chunk is all there is of the file in memory, however long the source
 * makes us wait. It is used again: the bytes of a chunk are others when the next one is asked for. Pieces that are lent (base/lease.ts) are given back once copied.
 */
export async function * contentChunks (source: AsyncIterable<Uint8Array>, profile: ChunkProfile, table: Uint32Array): AsyncIterable<Uint8Array> {
  const finder = await cutFinder(profile, table)
  // what is not filled yet of it takes no memory
  const window = new Uint8Array(profile.maxBytes)
  let length = 0
  for await (const piece of source) {
    for (let taken = 0; taken < piece.byteLength;) {
      const part = piece.subarray(taken, taken + window.byteLength - length)
      window.set(part, length)
      length += part.byteLength
      taken += part.byteLength
      if (length < window.byteLength) break
      const end = finder(window)
      yield window.subarray(0, end)
      window.copyWithin(0, end)
      length -= end
    }
    giveBack(piece)
  }
  let rest = window.subarray(0, length)
  while (rest.byteLength > 0) {
    const end = finder(rest)
    yield rest.subarray(0, end)
    rest = rest.subarray(end)
  }
}

/** How many of these bytes (at most maxBytes, fewer only at the end of the file) are the next chunk. */
async function cutFinder ({ minBytes, averageBytes, maxBytes }: ChunkProfile, table: Uint32Array): Promise<(bytes: Uint8Array) => number> {
  const scanner = await gearScanner(table, maxBytes)
  const bits = Math.round(Math.log2(averageBytes))
  // harder to meet before the average, easier after: sizes gather around it
  const [strict, loose] = [maskOf(bits + 1), maskOf(bits - 1)]
  return (bytes) => {
    if (bytes.byteLength <= minBytes) return bytes.byteLength
    scanner.load(bytes)
    const middle = Math.min(averageBytes, bytes.byteLength)
    // 32 bytes before the first possible cut fill the hash, so a cut depends on nothing but what stands near it
    const warm = scanner.scan({ from: minBytes - hashWindowBytes, to: minBytes, mask: never, hash: 0 })
    const early = scanner.scan({ from: minBytes, to: middle, mask: strict, hash: warm.hash })
    if (early.cut !== undefined) return early.cut
    return scanner.scan({ from: middle, to: bytes.byteLength, mask: loose, hash: early.hash }).cut ?? bytes.byteLength
  }
}

const hashWindowBytes = 32
/** Met by hash zero alone. */
const never = 0xffffffff
/** The high bits of the hash have seen the most bytes. */
const maskOf = (bits: number): number => (0xffffffff << (32 - bits)) >>> 0

