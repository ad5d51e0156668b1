import { BoundedPuts, entryOf, type PutOptions } from './bounded-puts.ts'
import { type Content, sizeOfContent } from './content.ts'
import { type Leaf, leavesOf, type NodeOptions } from './reader.ts'
import { TreeBuilder } from './tree.ts'

/**
 * Several contents as one, in their order, without touching a chunk: a new manifest lists the chunks of all. A node below the last of its level is full
 * (docs/FORMAT.md), and the contents' own leaves are not, so their entries are listed anew, leaf by leaf: a few leaves that are read ahead, and one open node
 * a level, are all there is in memory, however many there are. What is inline has no chunk to be listed: only nothing may be.
 */
export async function joinContents (contents: AsyncIterable<Content>, options: NodeOptions & PutOptions): Promise<Content> {
  const puts = new BoundedPuts(options)
  const tree = new TreeBuilder(async (node) => {
    // chunks were stored before they came here, so leaves wait for nothing; nodes above wait for what they list
    if (node.level > 0) await puts.settled()
    const block = options.sealer.node(node)
    await puts.add(block, { mayBeSpread: false })
    return entryOf(block, node.sizeBytes)
  })
  try {
    for await (const { entries } of leavesAhead(contents, options)) {
      options.signal?.throwIfAborted()
      for (const entry of entries) await tree.add(entry)
    }
    const content = await tree.finish()
    await puts.settled()
    return content
  } catch (error) {
    await puts.abandoned()
    throw error
  }
}

export const joinLimits = {
  /** Contents whose first leaf is fetched while those before them are listed. */
  aheadContents: 8,
} as const

/** The leaves of all, in order. Each content's first is on its way before its turn comes: parts of a few hundred megabytes have one. */
async function * leavesAhead (contents: AsyncIterable<Content>, options: NodeOptions): AsyncIterable<Leaf> {
  const ahead: Array<{ first: Promise<IteratorResult<Leaf>>, rest: AsyncIterator<Leaf> }> = []
  const begin = (content: Content): void => {
    if (content.kind === 'inline') {
      if (content.bytes.byteLength > 0) throw new RangeError('content that stands in a row cannot be joined')
      return
    }
    const rest = leavesOf(content, { first: 0, end: sizeOfContent(content) }, options)[Symbol.asyncIterator]()
    const first = rest.next()
    // a failure is heard when its turn comes
    first.catch(() => {})
    ahead.push({ first, rest })
  }
  const next = async function * (): AsyncIterable<Leaf> {
    const content = ahead.shift()
    if (content === undefined) return
    for (let leaf = await content.first; leaf.done !== true; leaf = await content.rest.next()) yield leaf.value
  }
  try {
    for await (const content of contents) {
      begin(content)
      if (ahead.length > joinLimits.aheadContents) yield * next()
    }
    while (ahead.length > 0) yield * next()
  } finally {
    await Promise.allSettled(ahead.map(async ({ first }) => first))
  }
}
