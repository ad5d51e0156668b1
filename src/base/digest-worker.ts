import { parentPort } from 'node:worker_threads'
import { digestsHere, type RunningDigests, type RunningSpans, spansHere } from './checksums.ts'
import type { FromThread, ToThread } from './digest-thread.ts'

/** The other side of digest-thread.ts. */
const running = new Map<number, RunningDigests>()
const spans = new Map<number, Spans>()
const answer = (message: FromThread, transfer: ArrayBuffer[] = []): void => { parentPort?.postMessage(message, transfer) }

parentPort?.on('message', (message: ToThread) => {
  const { id } = message
  switch (message.kind) {
    case 'begin': running.set(id, digestsHere(message.algorithms)); break
    case 'begin-spans': spans.set(id, new Spans()); break
    case 'bytes': {
      const bytes = new Uint8Array(message.buffer, 0, message.byteLength)
      void running.get(id)?.update(bytes)
      const hashes = spans.get(id)?.of(bytes, message.ends) ?? []
      answer({ id, kind: 'took', buffer: message.buffer, hashes }, [message.buffer])
      break
    }
    case 'finish':
      // answered after all that was brought: the hashes of spans have gone before
      void (running.get(id) ?? digestsHere([])).finish().then((digests) => { answer({ id, kind: 'digests', digests }) })
      forget(id)
      break
    case 'drop': forget(id); break
    default: message satisfies never
  }
})

function forget (id: number): void {
  running.delete(id)
  spans.delete(id)
}

/** A span goes on through as many batches as it takes. */
class Spans {
  #hashes: Uint8Array[] = []
  readonly #running: RunningSpans = spansHere({ sizeBytes: undefined, onHash: (hash) => { this.#hashes.push(hash) } })

  /** Hashes of those that end here. */
  of (bytes: Uint8Array, ends: readonly number[]): readonly Uint8Array[] {
    this.#hashes = []
    let at = 0
    for (const end of ends) {
      void this.#running.update(bytes.subarray(at, end))
      void this.#running.end()
      at = end
    }
    void this.#running.update(bytes.subarray(at))
    return this.#hashes
  }
}
