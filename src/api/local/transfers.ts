import type { ObjectReading } from '../../objects/index.ts'
import { type ErrorAnswer, errorAnswerOf } from '../errors.ts'

interface Transfer {
  readonly sources: ObjectReading['sources']
  readonly error?: ErrorAnswer['body']['error'] & { readonly status: number }
}

/** Where the bytes of recent reads came from, and why one broke off, by the id that the reader chose. The last 1,000. */
export class Transfers {
  readonly #transfers = new Map<string, Transfer>()
  readonly #limit: number

  constructor ({ limit = 1000 }: { limit?: number } = {}) { this.#limit = limit }

  remember (id: string, sources: ObjectReading['sources']): void {
    this.#transfers.delete(id)
    this.#transfers.set(id, { sources })
    for (const oldest of this.#transfers.keys()) {
      if (this.#transfers.size <= this.#limit) break
      this.#transfers.delete(oldest)
    }
  }

  /** After its first bytes an answer has no room for a reason: its reader asks for it here. */
  broke (id: string, cause: unknown): void {
    const transfer = this.#transfers.get(id)
    const { status, body: { error } } = errorAnswerOf(cause)
    if (transfer !== undefined) this.#transfers.set(id, { ...transfer, error: { status, ...error } })
  }

  get (id: string): { local: number, cache: number, peers: Record<string, number>, error?: Transfer['error'] } | undefined {
    const transfer = this.#transfers.get(id)
    if (transfer === undefined) return undefined
    const { sources: { local, cache, peers }, error } = transfer
    return { local, cache, peers: Object.fromEntries(peers), error }
  }
}
