import { Budget } from '../../src/base/budget.ts'
import { concat } from '../../src/base/bytes.ts'
import type { Cid } from '../../src/base/cid.ts'
import { seededRandom } from '../../src/base/random.ts'
import { ClusterKeys } from '../../src/encryption/index.ts'
import { type Content, readFile, sealerOf, sizeOfContent, writeFile, type WriteOptions } from '../../src/file/index.ts'

const filled = (byte: number, length: number): Uint8Array => new Uint8Array(length).fill(byte)
export const testKeys = new ClusterKeys({ clusterId: filled(2, 16), names: filled(3, 32), epochs: new Map([[1, filled(1, 32)]]) })
export const bucketId = filled(4, 16)

/** Files over blocks in a map, sealed for real. */
export function fileWorld (options: Partial<WriteOptions> = {}) {
  const blocks = new Map<Cid, Uint8Array>()
  const sealer = sealerOf(testKeys, seededRandom(7))
  let [inFlight, mostInFlight] = [0, 0]
  const world = {
    blocks,
    get mostInFlight () { return mostInFlight },
    gets: [] as Cid[],
    write: async (source: AsyncIterable<Uint8Array>, more: Partial<WriteOptions> = {}): Promise<Content> => writeFile(source, {
      sealer, domain: bucketId, isPrivate: false, compression: 'off', chunking: 'content', gearKey: testKeys.domain(1, bucketId).gear, inFlightBlocks: 4, spreadFromBytes: 0, room: new Budget(64 * 1024 ** 2),
      async put (cid, block) {
        mostInFlight = Math.max(mostInFlight, ++inFlight)
        await Promise.resolve()
        blocks.set(cid, block)
        inFlight--
      },
      ...options, ...more,
    }),
    read: (content: Content, range = { first: 0, end: sizeOfContent(content) }, windowBytes = 4 * 1024 ** 2): AsyncIterable<Uint8Array> => readFile(content, range, {
      sealer,
      windowBytes: () => windowBytes,
      async get (cid, { signal }) {
        await Promise.resolve()
        signal?.throwIfAborted()
        world.gets.push(cid)
        const block = blocks.get(cid)
        if (block === undefined) throw new Error(`no block ${cid}`)
        return block
      },
    }),
  }
  return world
}

/** `length` bytes that neither compress nor repeat, the same for the same seed, cut into pieces. */
export async function * noise (length: number, { seed = 1, pieceBytes = 300_000 } = {}): AsyncIterable<Uint8Array> {
  for (let at = 0, i = 0; at < length; at += pieceBytes, i++) { await Promise.resolve(); yield noiseBytes(Math.min(pieceBytes, length - at), seed * 1_000_003 + i) }
}

export function noiseBytes (length: number, seed = 1): Uint8Array {
  const words = new Uint32Array(Math.ceil(length / 4))
  let x = (seed * 2654435761) >>> 0 || 1
  for (let i = 0; i < words.length; i++) { x ^= x << 13; x ^= x >>> 17; x ^= x << 5; words[i] = x }
  return new Uint8Array(words.buffer, 0, length)
}

export async function * pieces (bytes: Uint8Array, pieceBytes: number): AsyncIterable<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += pieceBytes) { await Promise.resolve(); yield bytes.subarray(at, at + pieceBytes) }
}

export async function collected (source: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const all = []
  for await (const piece of source) all.push(piece)
  return concat(all)
}
