import type { KeyValue, KeyValueChange } from './index.ts'

/**
 * Synced changes of many callers in one batch: while one batch is being synced the next one gathers, so a disk that syncs 4,000 times a second takes
 * tens of thousands of changes.
 */
export class GroupCommit {
  readonly #store: KeyValue
  #gathering: { readonly changes: KeyValueChange[], readonly done: Promise<void> } | undefined
  #writing: Promise<void> = Promise.resolve()

  constructor (store: KeyValue) { this.#store = store }

  /** Durable when it resolves. All callers of one batch share its failure. */
  commit (changes: readonly KeyValueChange[]): Promise<void> {
    if (this.#gathering === undefined) {
      const gathered: KeyValueChange[] = []
      const done = this.#writing.then(async () => {
        this.#gathering = undefined
        await this.#store.batch(gathered, { sync: true })
      })
      this.#gathering = { changes: gathered, done }
      this.#writing = done.catch(() => {}) // told to the callers of that batch; the next one is another try
    }
    this.#gathering.changes.push(...changes)
    return this.#gathering.done
  }
}
