import { Worker } from 'node:worker_threads'
import { type DigestName, type Digesting, digestsHere, type RunningDigests } from './checksums.ts'

/**
 * Digests on a thread of their own: an MD5 takes longer than everything else that is done to a byte that is put, and the thread that serves users would do
 * nothing else meanwhile. What is short is digested where it is, for a message costs more. One thread serves all; it is begun when it is first needed, and does
 * not keep a process alive.
 */
export const digestThreadLimits = {
  /** Up to here nothing is sent anywhere. */
  shortBytes: 256 * 1024,
  /** On their way to the thread; then whoever brings more waits. */
  inFlightBytes: 8 * 1024 * 1024,
} as const

export type ToThread =
  | { readonly id: number, readonly kind: 'begin', readonly algorithms: readonly DigestName[] }
  | { readonly id: number, readonly kind: 'bytes', readonly bytes: Uint8Array }
  | { readonly id: number, readonly kind: 'finish' | 'drop' }
export type FromThread =
  | { readonly id: number, readonly kind: 'took', readonly byteLength: number }
  | { readonly id: number, readonly kind: 'digests', readonly digests: ReadonlyMap<DigestName, Uint8Array> }

export class DigestThread implements AsyncDisposable {
  #worker: Worker | undefined
  #failure: Error | undefined
  #lastId = 0
  #inFlightBytes = 0
  readonly #waiting: Array<() => void> = []
  readonly #finishing = new Map<number, PromiseWithResolvers<ReadonlyMap<DigestName, Uint8Array>>>()

  readonly digesting: Digesting = (algorithms) => algorithms.length === 0 ? digestsHere(algorithms) : this.#begin(algorithms)

  async [Symbol.asyncDispose] (): Promise<void> { await this.#worker?.terminate() }

  #begin (algorithms: readonly DigestName[]): RunningDigests {
    const id = ++this.#lastId
    let held: Uint8Array[] | undefined = []
    let heldBytes = 0
    const start = async (pieces: readonly Uint8Array[]): Promise<void> => {
      held = undefined
      this.#post({ id, kind: 'begin', algorithms })
      for (const piece of pieces) await this.#send(id, piece)
    }
    return {
      update: (bytes) => {
        if (held === undefined) return this.#send(id, bytes)
        held.push(bytes)
        heldBytes += bytes.byteLength
        return heldBytes > digestThreadLimits.shortBytes ? start(held) : undefined
      },
      finish: async () => held === undefined ? this.#finish(id) : ofPieces(algorithms, held),
      [Symbol.dispose]: () => { if (held === undefined) this.#post({ id, kind: 'drop' }) },
    }
  }

  #send (id: number, bytes: Uint8Array): Promise<void> | undefined {
    // a copy of its own: what is sent is gone here, and a view would take along all that it looks at
    const copy = new Uint8Array(bytes)
    this.#inFlightBytes += copy.byteLength
    this.#post({ id, kind: 'bytes', bytes: copy }, [copy.buffer])
    return this.#inFlightBytes < digestThreadLimits.inFlightBytes ? undefined : new Promise((resolve) => { this.#waiting.push(resolve) })
  }

  async #finish (id: number): Promise<ReadonlyMap<DigestName, Uint8Array>> {
    const finishing = Promise.withResolvers<ReadonlyMap<DigestName, Uint8Array>>()
    this.#finishing.set(id, finishing)
    this.#post({ id, kind: 'finish' })
    return finishing.promise
  }

  #post (message: ToThread, transfer: ArrayBuffer[] = []): void {
    if (this.#failure !== undefined) throw this.#failure
    this.#worker ??= this.#start()
    this.#worker.postMessage(message, transfer)
  }

  #start (): Worker {
    // compiled, it stands beside this file under another ending
    const worker = new Worker(new URL(import.meta.url.endsWith('.ts') ? './digest-worker.ts' : './digest-worker.js', import.meta.url))
    worker.unref()
    worker.on('message', (message: FromThread) => {
      if (message.kind === 'took') this.#took(message.byteLength)
      else {
        this.#finishing.get(message.id)?.resolve(message.digests)
        this.#finishing.delete(message.id)
      }
    })
    worker.on('error', (cause) => { this.#fail(new Error('the thread that takes digests has failed; restart the node', { cause })) })
    return worker
  }

  #took (byteLength: number): void {
    this.#inFlightBytes -= byteLength
    if (this.#inFlightBytes < digestThreadLimits.inFlightBytes) for (const resolve of this.#waiting.splice(0)) resolve()
  }

  #fail (failure: Error): void {
    this.#failure = failure
    for (const { reject } of this.#finishing.values()) reject(failure)
    this.#finishing.clear()
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}

async function ofPieces (algorithms: readonly DigestName[], pieces: readonly Uint8Array[]): Promise<ReadonlyMap<DigestName, Uint8Array>> {
  using running = digestsHere(algorithms)
  for (const piece of pieces) await running.update(piece)
  return await running.finish()
}
