import { Budget } from '../base/budget.ts'
import { empty, fromHex } from '../base/bytes.ts'
import { type Cid, cidOfDigest } from '../base/cid.ts'
import type { Clock } from '../base/clock.ts'
import { lend } from '../base/lease.ts'
import type { Random } from '../base/random.ts'
import type { ClusterKeys } from '../encryption/index.ts'
import { type Content, decodeContent, encodeContent, type Entry, excerptOf, joinContents, leavesOf, readFile, type ReadRoom, sealerOf, sizeOfContent, writeFile, type WriteOptions } from '../file/index.ts'
import type { PutWindows } from './put-windows.ts'
import { type ContentCodec, redundancyLimits, type WrittenContent } from '../objects/index.ts'
import type { BucketRow } from '../objects/buckets/bucket-row.ts'

export const contentFlow = {
  /** Blocks of one put on their way to holders at once. */
  inFlightBlocks: 16,
  /** Of all puts together, in bytes of chunks. */
  inFlightBytes: 24 * 1024 * 1024,
  /** Fetched ahead of one reader; many share what all may have. Of very many each has the chunk that it is being sent and nothing else: they keep the disk busy without it. */
  windowBytes: 8 * 1024 * 1024,
  allWindowsBytes: 48 * 1024 * 1024,
  /** A reader that has not asked for more for so long has nothing fetched ahead any more. */
  stallMs: 1000,
  /** Where gets are short of memory: one that has not asked for more for so long has its chunk fetched again when it does. */
  tightStallMs: 250,
  /** In the row of a part, 76 bytes each; one with more has a manifest, which is read when the object is completed. */
  listedChunksOfPart: 64,
} as const

/** Files of buckets as blocks, under the cluster's keys. `windows`, `gets`: what all puts together hold of memory, and all gets. */
export function contentCodec (keys: ClusterKeys, random: Random, clock: Pick<Clock, 'after'>, windows: PutWindows, gets?: ReadRoom): ContentCodec {
  const sealer = sealerOf(keys, random)
  const room = new Budget(contentFlow.inFlightBytes)
  let readers = 0
  const windowBytes = (): number => Math.min(contentFlow.windowBytes, contentFlow.allWindowsBytes / readers)
  const write = async (source: AsyncIterable<Uint8Array>, { bucket, sizeBytes, askedBy, signal, put }: Parameters<ContentCodec['write']>[1], how: Pick<WriteOptions, 'spreadFromBytes' | 'maxInlineBytes' | 'maxListedChunks'>): Promise<Content> => {
    const domain = domainOf(bucket)
    const { isPrivate, compression, chunking } = bucket
    const gearKey = keys.domain(keys.currentEpoch, domain).gear
    return windows.within(source, { bucket, sizeBytes, askedBy, signal }, async (given) => writeFile(given, { sealer, domain, isPrivate, compression, chunking, gearKey, put: async (cid, block, of) => put(cid, lend(block), of), signal, inFlightBlocks: contentFlow.inFlightBlocks, room, ...how }))
  }
  return {
    write: async (source, options) => written(await write(source, options, { spreadFromBytes: options.bucket.shards === undefined ? 0 : redundancyLimits.spreadFromBytes })),
    writePart: async (source, options) => written(await write(source, options, { spreadFromBytes: 0, maxInlineBytes: 0, maxListedChunks: contentFlow.listedChunksOfPart })),
    join: async (parts, options) => written(await joinContents(decoded(parts), { sealer, inFlightBlocks: contentFlow.inFlightBlocks, ...options })),
    async excerpt (encoded, { bucket, range, ...options }) {
      const content = decodeContent(encoded)
      if (content.kind === 'inline') throw new RangeError('content that stands in a row has no chunk to be shared')
      const { isPrivate, compression } = bucket
      return written(await excerptOf(content, range, { sealer, domain: domainOf(bucket), isPrivate, compression, inFlightBlocks: contentFlow.inFlightBlocks, maxListedChunks: contentFlow.listedChunksOfPart, ...options }))
    },
    async * read (content, { range, get, signal }) {
      readers++
      try {
        yield * readFile(decodeContent(content), range, { sealer, get, signal, windowBytes, room: gets, whenStalled: (act, { isTight }) => clock.after(isTight ? contentFlow.tightStallMs : contentFlow.stallMs, act) })
      } finally {
        readers--
      }
    },
    async * blocksOf (encoded, { get, signal }) {
      const content = decodeContent(encoded)
      if (content.kind === 'inline') return
      const nodes: Cid[] = []
      const noting: typeof get = async (cid, options) => { nodes.push(cid); return get(cid, options) }
      for await (const { entries } of leavesOf(content, { first: 0, end: sizeOfContent(content) }, { sealer, get: noting, signal })) {
        for (const cid of nodes.splice(0)) yield { cid, mayBeSpread: false }
        for (const entry of entries) yield { cid: cidOf(entry), mayBeSpread: true }
      }
    },
    namesOf: (encoded) => namesOf(decodeContent(encoded)),
    rootOf (encoded) {
      const content = decodeContent(encoded)
      if (content.kind === 'inline') return undefined
      const first = content.kind === 'tree' ? content.root : content.entries[0]
      return first === undefined ? undefined : cidOf(first)
    },
  }
}

const domainOf = ({ dedup, id }: BucketRow): Uint8Array => dedup === 'cluster' ? empty : fromHex(id)

async function * decoded (contents: AsyncIterable<Uint8Array>): AsyncIterable<Content> { for await (const content of contents) yield decodeContent(content) }

const written = (content: Content): WrittenContent => ({
  sizeBytes: sizeOfContent(content),
  content: encodeContent(content),
  hasBlocks: content.kind !== 'inline',
  ...namesOf(content),
})

const namesOf = (content: Content): Pick<WrittenContent, 'root' | 'chunks'> => ({
  root: content.kind === 'tree' ? cidOf(content.root) : undefined,
  chunks: content.kind === 'chunks' ? content.entries.map(cidOf) : [],
})

const cidOf = ({ digest }: Entry): Cid => cidOfDigest(digest)
