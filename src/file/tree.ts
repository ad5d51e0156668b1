import type { Content } from './content.ts'
import { contentLimits } from './content.ts'
import { type Entry, type ManifestNode, manifestLimits } from './manifest.ts'

/** Seals a node, hands its block over, and gives the entry for the level above. */
export type StoreNode = (node: ManifestNode) => Promise<Entry>

/**
 * Builds the manifest from the leaves up as chunks come: one open node a level is all there is in memory. A node is stored when it is full, which is
 * when everything beneath it has been handed over.
 */
export class TreeBuilder {
  readonly #store: StoreNode
  readonly #maxEntries: number
  readonly #maxListedChunks: number
  readonly #levels: Entry[][] = [[]]

  constructor (store: StoreNode, { maxEntries = manifestLimits.maxEntries, maxListedChunks = contentLimits.maxListedChunks }: { maxEntries?: number, maxListedChunks?: number } = {}) {
    this.#store = store
    this.#maxEntries = maxEntries
    this.#maxListedChunks = maxListedChunks
  }

  async add (entry: Entry, level = 0): Promise<void> {
    const open = this.#levels[level] ??= []
    // a full node is stored when the next entry comes, for it may turn out to be the root
    if (open.length === this.#maxEntries) {
      this.#levels[level] = []
      await this.add(await this.#store(nodeOf(level, open)), level + 1)
    }
    this.#levels[level]?.push(entry)
  }

  /** Closes every level. Few chunks need no tree. */
  async finish (): Promise<Exclude<Content, { kind: 'inline' }>> {
    const leaves = this.#levels[0] ?? []
    if (this.#levels.length === 1 && leaves.length <= this.#maxListedChunks) return { kind: 'chunks', entries: leaves }
    for (let level = 0; ; level++) {
      const node = nodeOf(level, this.#levels[level] ?? [])
      const entry = await this.#store(node)
      if (level === this.#levels.length - 1) return { kind: 'tree', level, root: entry }
      await this.add(entry, level + 1)
    }
  }
}

const nodeOf = (level: number, entries: readonly Entry[]): ManifestNode =>
  ({ level, entries, sizeBytes: entries.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0), meta: undefined })
