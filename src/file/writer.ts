import { pipe } from 'it-pipe'
import type { Budget } from '../base/budget.ts'
import { concat } from '../base/bytes.ts'
import { BoundedPuts, entryOf, type PutOptions } from './bounded-puts.ts'
import { contentChunks, fixedChunkBytes, fixedChunks, gearTable, profiles } from './chunker.ts'
import { type Content, contentLimits } from './content.ts'
import type { Sealer, SealingOptions } from './sealing.ts'
import { TreeBuilder } from './tree.ts'

export interface WriteOptions extends SealingOptions, PutOptions {
  readonly sealer: Sealer
  readonly chunking: 'content' | 'content-small' | 'fixed'
  /** Key of the chunker's table, 32 bytes. */
  readonly gearKey: Uint8Array
  /** Chunks of files from this length on may be kept in shards; so much is read before the first is put. */
  readonly spreadFromBytes: number
  /** Bytes of chunks on their way from sealing to their write quorum, which bounds the memory of all writes that share it. */
  readonly room: Budget
  /** Longer content is sealed, even where it is little. Default: `contentLimits.maxInlineBytes`. */
  readonly maxInlineBytes?: number
  /** More chunks are listed in a manifest. Default: `contentLimits.maxListedChunks`. */
  readonly maxListedChunks?: number
  readonly signal?: AbortSignal
}

/**
 * Source → chunks → sealed blocks → `put`, a bounded number at once; then the manifest, each node after what it lists. Content of `maxInlineBytes` or less
 * is given back as it is. Rejects with the first failure, with the source stopped and no put left running.
 */
export async function writeFile (source: AsyncIterable<Uint8Array>, options: WriteOptions): Promise<Content> {
  const { maxInlineBytes = contentLimits.maxInlineBytes, maxListedChunks } = options
  const { pieces, lengthBytes, isWhole, all } = await peek(source, Math.max(maxInlineBytes, options.spreadFromBytes - 1))
  if (isWhole && lengthBytes <= maxInlineBytes) return { kind: 'inline', bytes: concat([...pieces]) }
  const puts = new BoundedPuts(options)
  const tree = new TreeBuilder(async (node) => {
    // blocks before the manifest that lists them
    await puts.settled()
    const block = options.sealer.node(node)
    await puts.add(block, { mayBeSpread: false })
    return entryOf(block, node.sizeBytes)
  }, { maxListedChunks })
  try {
    await pipe(
      all,
      (bytes) => chunked(bytes, options),
      (chunks) => options.isPrivate ? lookingAhead(chunks) : nothingAhead(chunks),
      async (chunks) => {
        for await (const { chunk, isLast } of chunks) {
          options.signal?.throwIfAborted()
          using held = new DisposableStack()
          held.use(await options.room.claim(chunk.byteLength, options))
          const block = options.sealer.chunk(chunk, { ...options, mostBytes: fixedChunkBytes, isLast })
          // `put` is given its bytes, which may be gone by the time it resolves
          const entry = entryOf(block, chunk.byteLength)
          await puts.add(block, { mayBeSpread: !isWhole, held: held.move() })
          await tree.add(entry)
        }
      },
    )
    const content = await tree.finish()
    await puts.settled()
    return content
  } catch (error) {
    await puts.abandoned()
    throw error
  }
}

function chunked (source: AsyncIterable<Uint8Array>, { chunking, isPrivate, gearKey }: WriteOptions): AsyncIterable<Uint8Array> {
  if (isPrivate || chunking === 'fixed') return fixedChunks(source, fixedChunkBytes)
  return contentChunks(source, profiles[chunking], gearTable(gearKey))
}

/** Only what is padded must know that it is the last, and nobody holds a chunk until the next is there who need not. */
async function * nothingAhead (chunks: AsyncIterable<Uint8Array>): AsyncIterable<{ chunk: Uint8Array, isLast: boolean }> {
  for await (const chunk of chunks) yield { chunk, isLast: false }
}

async function * lookingAhead (chunks: AsyncIterable<Uint8Array>): AsyncIterable<{ chunk: Uint8Array, isLast: boolean }> {
  let held: Uint8Array | undefined
  for await (const chunk of chunks) {
    if (held !== undefined) yield { chunk: held, isLast: false }
    held = chunk
  }
  if (held !== undefined) yield { chunk: held, isLast: true }
}

/** Reads until more than `limit` bytes are there or the source ends; `all` gives everything, from the start. */
async function peek (source: AsyncIterable<Uint8Array>, limit: number): Promise<{ pieces: readonly Uint8Array[], lengthBytes: number, isWhole: boolean, all: AsyncIterable<Uint8Array> }> {
  const iterator = source[Symbol.asyncIterator]()
  const pieces: Uint8Array[] = []
  let lengthBytes = 0
  for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) {
    pieces.push(next.value)
    lengthBytes += next.value.byteLength
    if (lengthBytes > limit) return { pieces, lengthBytes, isWhole: false, all: resumed(pieces, iterator) }
  }
  return { pieces, lengthBytes, isWhole: true, all: resumed(pieces, iterator) }
}

/** Each is let go when the next is asked for: a source that stands still would have them held. */
async function * resumed (pieces: Uint8Array[], iterator: AsyncIterator<Uint8Array>): AsyncIterable<Uint8Array> {
  try {
    while (pieces.length > 0) yield pieces.shift() as Uint8Array
    for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) yield next.value
  } finally {
    await iterator.return?.()
  }
}
