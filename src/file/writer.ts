import { pipe } from 'it-pipe'
import type { Budget } from '../base/budget.ts'
import { concat } from '../base/bytes.ts'
import { type Cid, cidOfDigest } from '../base/cid.ts'
import type { SealedBlock } from '../encryption/index.ts'
import { contentChunks, fixedChunkBytes, fixedChunks, gearTable, profiles } from './chunker.ts'
import { type Content, contentLimits } from './content.ts'
import type { Entry } from './manifest.ts'
import type { Sealer, SealingOptions } from './sealing.ts'
import { TreeBuilder } from './tree.ts'

export interface WriteOptions extends SealingOptions {
  readonly sealer: Sealer
  readonly chunking: 'content' | 'content-small' | 'fixed'
  /** Key of the chunker's table, 32 bytes. */
  readonly gearKey: Uint8Array
  /** Resolves when the block is at its write quorum. `mayBeSpread`: it is a chunk of a file that is long enough to be kept in shards. */
  readonly put: (cid: Cid, block: Uint8Array, of: { readonly mayBeSpread: boolean }) => Promise<void>
  /** Chunks of files from this length on may be kept in shards; so much is read before the first is put. */
  readonly spreadFromBytes: number
  /** Blocks being put at once, which bounds the memory of a write. */
  readonly inFlightBlocks: number
  /** Bytes of chunks on their way from sealing to their write quorum, which bounds the memory of all writes that share it. */
  readonly room: Budget
  readonly signal?: AbortSignal
}

/**
 * Source → chunks → sealed blocks → `put`, a bounded number at once; then the manifest, each node after what it lists. Content of 4 KiB or less is
 * given back as it is. Rejects with the first failure, with the source stopped and no put left running.
 */
export async function writeFile (source: AsyncIterable<Uint8Array>, options: WriteOptions): Promise<Content> {
  const { head, isWhole, all } = await peek(source, Math.max(contentLimits.maxInlineBytes, options.spreadFromBytes - 1))
  if (isWhole && head.byteLength <= contentLimits.maxInlineBytes) return { kind: 'inline', bytes: head }
  const puts = new BoundedPuts(options)
  const tree = new TreeBuilder(async (node) => {
    // blocks before the manifest that lists them
    await puts.settled()
    const block = options.sealer.node(node)
    await puts.add(block, { mayBeSpread: false })
    return entryOf(block, node.sizeBytes)
  })
  try {
    await pipe(
      all,
      (bytes) => chunked(bytes, options),
      (chunks) => lookingAhead(chunks),
      async (chunks) => {
        for await (const { chunk, isLast } of chunks) {
          options.signal?.throwIfAborted()
          using held = new DisposableStack()
          held.use(await options.room.claim(chunk.byteLength, options))
          const block = options.sealer.chunk(chunk, { ...options, mostBytes: fixedChunkBytes, isLast })
          await puts.add(block, { mayBeSpread: !isWhole, held: held.move() })
          await tree.add(entryOf(block, chunk.byteLength))
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

async function * lookingAhead (chunks: AsyncIterable<Uint8Array>): AsyncIterable<{ chunk: Uint8Array, isLast: boolean }> {
  let held: Uint8Array | undefined
  for await (const chunk of chunks) {
    if (held !== undefined) yield { chunk: held, isLast: false }
    held = chunk
  }
  if (held !== undefined) yield { chunk: held, isLast: true }
}

const entryOf = ({ digest, ph, bytes }: SealedBlock, sizeBytes: number): Entry => ({ digest, ph, blockBytes: bytes.byteLength, sizeBytes })

/** Reads until more than `limit` bytes are there or the source ends; `all` gives everything once more, from the start. */
async function peek (source: AsyncIterable<Uint8Array>, limit: number): Promise<{ head: Uint8Array, isWhole: boolean, all: AsyncIterable<Uint8Array> }> {
  const iterator = source[Symbol.asyncIterator]()
  const pieces: Uint8Array[] = []
  let length = 0
  for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) {
    pieces.push(next.value)
    length += next.value.byteLength
    if (length > limit) return { head: concat(pieces), isWhole: false, all: resumed(pieces, iterator) }
  }
  return { head: concat(pieces), isWhole: true, all: resumed(pieces, iterator) }
}

async function * resumed (pieces: readonly Uint8Array[], iterator: AsyncIterator<Uint8Array>): AsyncIterable<Uint8Array> {
  try {
    yield * pieces
    for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) yield next.value
  } finally {
    await iterator.return?.()
  }
}

/** Puts under way, at most so many; the first failure is everybody's. */
class BoundedPuts {
  readonly #options: WriteOptions
  readonly #running = new Set<Promise<void>>()
  #failure: { readonly cause: unknown } | undefined

  constructor (options: WriteOptions) { this.#options = options }

  /** Resolves when there is room for the next one. @throws the first failure of any */
  async add (block: SealedBlock, { mayBeSpread, held }: { mayBeSpread: boolean, held?: Disposable }): Promise<void> {
    const put = this.#options.put(cidOfDigest(block.digest), block.bytes, { mayBeSpread })
      .catch((cause: unknown) => { this.#failure ??= { cause } })
      .finally(() => { this.#running.delete(put); held?.[Symbol.dispose]() })
    this.#running.add(put)
    while (this.#running.size >= this.#options.inFlightBlocks && this.#failure === undefined) await Promise.race(this.#running)
    this.#check()
  }

  async settled (): Promise<void> {
    while (this.#running.size > 0 && this.#failure === undefined) await Promise.race(this.#running)
    this.#check()
  }

  /** After a failure: waits for what is under way, whatever becomes of it. */
  async abandoned (): Promise<void> { await Promise.all(this.#running) }

  #check (): void { if (this.#failure !== undefined) throw this.#failure.cause }
}
