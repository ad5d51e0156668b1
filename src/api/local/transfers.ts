import type { ObjectReading } from '../../objects/index.ts'

/** Where the bytes of recent reads came from, by the id that the reader chose. The last 1,000. */
export class Transfers {
  readonly #sources = new Map<string, ObjectReading['sources']>()
  readonly #limit: number

  constructor ({ limit = 1000 }: { limit?: number } = {}) { this.#limit = limit }

  remember (id: string, sources: ObjectReading['sources']): void {
    this.#sources.delete(id)
    this.#sources.set(id, sources)
    for (const oldest of this.#sources.keys()) {
      if (this.#sources.size <= this.#limit) break
      this.#sources.delete(oldest)
    }
  }

  get (id: string): { local: number, cache: number, peers: Record<string, number> } | undefined {
    const sources = this.#sources.get(id)
    return sources === undefined ? undefined : { local: sources.local, cache: sources.cache, peers: Object.fromEntries(sources.peers) }
  }
}
