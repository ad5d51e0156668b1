import { type Cid, cidOfDigest } from '../base/cid.ts'
import { BoundedPuts, entryOf, type PutOptions } from './bounded-puts.ts'
import { fixedChunkBytes } from './chunker.ts'
import type { Content } from './content.ts'
import { type NodeOptions, piecesOf } from './reader.ts'
import type { SealingOptions } from './sealing.ts'
import { TreeBuilder } from './tree.ts'

export interface ExcerptOptions extends NodeOptions, PutOptions, SealingOptions {
  /** Resolves when these chunks are kept for the excerpt too, as if they had been put; their blocks are not read here. */
  readonly share: (cids: readonly Cid[]) => Promise<void>
  readonly maxListedChunks?: number
}

export const excerptLimits = {
  /** Chunks shared in one question to their holders. */
  sharedAtOnce: 500,
} as const

/**
 * The bytes first ≤ i < end of a content as a content of its own: chunks that lie whole within them are shared, the first and the last, where they are cut, are
 * read and sealed anew, and what lists them is new. Of the same sealing options as the content, or it does not read back.
 */
export async function excerptOf (content: Exclude<Content, { kind: 'inline' }>, range: { first: number, end: number }, options: ExcerptOptions): Promise<Exclude<Content, { kind: 'inline' }>> {
  const puts = new BoundedPuts(options)
  const tree = new TreeBuilder(async (node) => {
    // blocks before the manifest that lists them
    await shared()
    await puts.settled()
    const block = options.sealer.node(node)
    await puts.add(block, { mayBeSpread: false })
    return entryOf(block, node.sizeBytes)
  }, { maxListedChunks: options.maxListedChunks })
  let waiting: Cid[] = []
  const shared = async (): Promise<void> => {
    const cids = waiting
    waiting = []
    if (cids.length > 0) await options.share(cids)
  }
  try {
    for await (const { entry, skip, take } of piecesOf(content, range, options)) {
      options.signal?.throwIfAborted()
      if (take === entry.sizeBytes) {
        waiting.push(cidOfDigest(entry.digest))
        await tree.add(entry)
      } else {
        const bytes = options.sealer.openChunk(await options.get(cidOfDigest(entry.digest), { signal: options.signal, mayBeSpread: true }), entry).subarray(skip, skip + take)
        const block = options.sealer.chunk(bytes, { ...options, mostBytes: fixedChunkBytes, isLast: true })
        await puts.add(block, { mayBeSpread: true })
        await tree.add(entryOf(block, take))
      }
      if (waiting.length >= excerptLimits.sharedAtOnce) await shared()
    }
    const excerpt = await tree.finish()
    await shared()
    await puts.settled()
    return excerpt
  } catch (error) {
    await puts.abandoned()
    throw error
  }
}
