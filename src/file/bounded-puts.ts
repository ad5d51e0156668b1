import { type Cid, cidOfDigest } from '../base/cid.ts'
import type { SealedBlock } from '../encryption/index.ts'
import type { Entry } from './manifest.ts'

export interface PutOptions {
  /** Resolves when the block is at its write quorum. `mayBeSpread`: it is a chunk of a file that is long enough to be kept in shards. */
  readonly put: (cid: Cid, block: Uint8Array, of: { readonly mayBeSpread: boolean }) => Promise<void>
  /** Blocks being put at once, which bounds the memory of a write. */
  readonly inFlightBlocks: number
}

/** Puts under way, at most so many; the first failure is everybody's. */
export class BoundedPuts {
  readonly #options: PutOptions
  readonly #running = new Set<Promise<void>>()
  #failure: { readonly cause: unknown } | undefined

  constructor (options: PutOptions) { this.#options = options }

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

export const entryOf = ({ digest, ph, bytes }: SealedBlock, sizeBytes: number): Entry => ({ digest, ph, blockBytes: bytes.byteLength, sizeBytes })
