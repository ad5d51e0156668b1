import { Worker } from 'node:worker_threads'
import { type DigestName, type Digesting, digestsHere, type RunningDigests, type RunningSpans, type SpanDigesting, spansHere, type SpansWanted } from './checksums.ts'
import { giveBack, hold } from './lease.ts'

/**
 * Digests on a thread of their own: an MD5 takes longer than everything else that is done to a byte that is put, and the thread that serves users would do
 * nothing else meanwhile. What is short is digested where it is, for a message costs more. One thread serves all; it is begun when it is first needed, and keeps
 * a process alive only while somebody waits for it.
 */
export const digestThreadLimits = {
  /** Up to here nothing is sent anywhere. */
  shortBytes: 256 * 1024,
  /** In so many pieces: many short ones take more memory than their bytes, and are copied together for the thread. */
  shortPieces: 256,
  /** On their way to the thread; then whoever brings more waits. */
  inFlightBytes: 8 * 1024 * 1024,
  /** Sent at once: pieces come from sockets as small as they like, and a message costs as much as an MD5 of 20 KiB. */
  batchBytes: 256 * 1024,
  /** Spans that end in what is sent at once: what waits for their hashes is held as long. */
  batchSpans: 256,
} as const

export type ToThread =
  | { readonly id: number, readonly kind: 'begin' | 'begin-spans', readonly algorithms: readonly DigestName[] }
  /** Ends of spans, in order; none where digests are taken. */
  | { readonly id: number, readonly kind: 'bytes', readonly buffer: ArrayBuffer, readonly byteLength: number, readonly ends: readonly number[] }
  | { readonly id: number, readonly kind: 'finish' | 'drop' }
export type FromThread =
  /** With the memory, to be filled again, and hashes of the spans that ended in it. */
  | { readonly id: number, readonly kind: 'took', readonly buffer: ArrayBuffer, readonly hashes: readonly Uint8Array[] }
  | { readonly id: number, readonly kind: 'digests', readonly digests: ReadonlyMap<DigestName, Uint8Array> }

export class DigestThread implements AsyncDisposable {
  #worker: Worker | undefined
  #failure: Error | undefined
  #lastId = 0
  #inFlightBytes = 0
  /** Answers that are waited for: these hold the process, and nothing else of the thread does. */
  #unanswered = 0
  /** Memory that came back: to have it anew and zeroed for each batch costs more than the copy into it. */
  readonly #spare: ArrayBuffer[] = []
  readonly #waiting: Array<() => void> = []
  readonly #finishing = new Map<number, PromiseWithResolvers<ReadonlyMap<DigestName, Uint8Array>>>()
  readonly #onHash = new Map<number, SpansWanted['onHash']>()

  readonly digesting: Digesting = (algorithms) => algorithms.length === 0 ? digestsHere(algorithms) : this.#begin(algorithms)

  readonly digestingSpans: SpanDigesting = (wanted) => wanted.sizeBytes !== undefined && wanted.sizeBytes <= digestThreadLimits.shortBytes ? spansHere(wanted) : this.#beginSpans(wanted)

  async [Symbol.asyncDispose] (): Promise<void> { await this.#worker?.terminate() }

  #begin (algorithms: readonly DigestName[]): RunningDigests {
    const id = ++this.#lastId
    const batches = new Batches(this.#spare, (batch) => this.#send(id, batch))
    let held: Uint8Array[] | undefined = []
    let heldBytes = 0
    const start = async (pieces: readonly Uint8Array[]): Promise<void> => {
      held = undefined
      this.#post({ id, kind: 'begin', algorithms })
      for (const piece of pieces) {
        await batches.add(piece)
        giveBack(piece)
      }
    }
    return {
      update: (bytes) => {
        if (held === undefined) return batches.add(bytes)
        hold(bytes)
        held.push(bytes)
        heldBytes += bytes.byteLength
        return heldBytes > digestThreadLimits.shortBytes || held.length > digestThreadLimits.shortPieces ? start(held) : undefined
      },
      finish: async () => {
        if (held !== undefined) return ofPieces(algorithms, held)
        void batches.send()
        return this.#finish(id)
      },
      [Symbol.dispose]: () => { if (held === undefined) this.#drop(id, batches) },
    }
  }

  #beginSpans ({ algorithms, onHash }: SpansWanted): RunningSpans {
    const id = ++this.#lastId
    const batches = new Batches(this.#spare, (batch) => this.#send(id, batch))
    this.#onHash.set(id, onHash)
    this.#post({ id, kind: 'begin-spans', algorithms })
    return {
      update: (bytes) => batches.add(bytes),
      end: () => batches.end(),
      finish: async () => {
        void batches.send()
        try {
          return await this.#finish(id)
        } finally {
          this.#onHash.delete(id)
        }
      },
      [Symbol.dispose]: () => { if (this.#onHash.delete(id)) this.#drop(id, batches) },
    }
  }

  /** The memory goes along, and comes back when its bytes are digested. */
  #send (id: number, { buffer, byteLength, ends }: Batch): Promise<void> | undefined {
    this.#inFlightBytes += buffer.byteLength
    this.#ask({ id, kind: 'bytes', buffer, byteLength, ends }, [buffer])
    return this.#inFlightBytes < digestThreadLimits.inFlightBytes ? undefined : new Promise((resolve) => { this.#waiting.push(resolve) })
  }

  #drop (id: number, batches: Batches): void {
    batches.drop((buffer) => { this.#keep(buffer) })
    this.#post({ id, kind: 'drop' })
  }

  async #finish (id: number): Promise<ReadonlyMap<DigestName, Uint8Array>> {
    const finishing = Promise.withResolvers<ReadonlyMap<DigestName, Uint8Array>>()
    this.#finishing.set(id, finishing)
    this.#ask({ id, kind: 'finish' })
    return finishing.promise
  }

  #ask (message: ToThread, transfer: ArrayBuffer[] = []): void {
    this.#post(message, transfer)
    if (this.#unanswered++ === 0) this.#worker?.ref()
  }

  #post (message: ToThread, transfer: ArrayBuffer[] = []): void {
    if (this.#failure !== undefined) throw this.#failure
    this.#worker ??= this.#start()
    this.#worker.postMessage(message, transfer)
  }

  #start (): Worker {
    // compiled, it stands beside this file under another ending
    const worker = new Worker(new URL(import.meta.url.endsWith('.ts') ? './digest-worker.ts' : './digest-worker.js', import.meta.url))
    worker.on('message', (message: FromThread) => {
      if (--this.#unanswered === 0) worker.unref()
      if (message.kind === 'took') {
        const onHash = this.#onHash.get(message.id)
        for (const hash of message.hashes) onHash?.(hash)
        this.#took(message.buffer)
      }
      else {
        this.#finishing.get(message.id)?.resolve(message.digests)
        this.#finishing.delete(message.id)
      }
    })
    worker.on('error', (cause) => { this.#fail(new Error('the thread that takes digests has failed; restart the node', { cause })) })
    // after the listeners, which hold the process
    worker.unref()
    return worker
  }

  #took (buffer: ArrayBuffer): void {
    this.#inFlightBytes -= buffer.byteLength
    this.#keep(buffer)
    if (this.#inFlightBytes < digestThreadLimits.inFlightBytes) for (const resolve of this.#waiting.splice(0)) resolve()
  }

  #keep (buffer: ArrayBuffer): void { if ((this.#spare.length + 1) * digestThreadLimits.batchBytes <= digestThreadLimits.inFlightBytes) this.#spare.push(buffer) }

  #fail (failure: Error): void {
    this.#failure = failure
    for (const { reject } of this.#finishing.values()) reject(failure)
    this.#finishing.clear()
    for (const resolve of this.#waiting.splice(0)) resolve()
  }
}

interface Batch { readonly buffer: ArrayBuffer, byteLength: number, readonly ends: number[] }

/** Bytes copied together until they are worth a message. */
class Batches {
  readonly #spare: ArrayBuffer[]
  readonly #sent: (batch: Batch) => Promise<void> | undefined
  #batch: Batch | undefined

  constructor (spare: ArrayBuffer[], sent: (batch: Batch) => Promise<void> | undefined) {
    this.#spare = spare
    this.#sent = sent
  }

  async add (bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.byteLength;) {
      const batch = this.#open()
      const part = bytes.subarray(at, at + batch.buffer.byteLength - batch.byteLength)
      new Uint8Array(batch.buffer).set(part, batch.byteLength)
      batch.byteLength += part.byteLength
      at += part.byteLength
      if (batch.byteLength === batch.buffer.byteLength) await this.send()
    }
  }

  end (): Promise<void> | undefined {
    const batch = this.#open()
    batch.ends.push(batch.byteLength)
    return batch.ends.length === digestThreadLimits.batchSpans ? this.send() : undefined
  }

  send (): Promise<void> | undefined {
    const batch = this.#batch
    this.#batch = undefined
    return batch === undefined ? undefined : this.#sent(batch)
  }

  drop (keep: (buffer: ArrayBuffer) => void): void {
    if (this.#batch !== undefined) keep(this.#batch.buffer)
    this.#batch = undefined
  }

  #open (): Batch { return this.#batch ??= { buffer: this.#spare.pop() ?? new ArrayBuffer(digestThreadLimits.batchBytes), byteLength: 0, ends: [] } }
}

async function ofPieces (algorithms: readonly DigestName[], pieces: readonly Uint8Array[]): Promise<ReadonlyMap<DigestName, Uint8Array>> {
  using running = digestsHere(algorithms)
  for (const piece of pieces) {
    await running.update(piece)
    giveBack(piece)
  }
  return await running.finish()
}
