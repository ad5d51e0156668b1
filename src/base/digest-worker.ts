import { parentPort } from 'node:worker_threads'
import { digestsHere, type RunningDigests, type RunningSpans, spansHere } from './checksums.ts'
import type { FromThread, ToThread } from './digest-thread.ts'

/** The other side of digest-thread.ts. */
const running = new Map<number, RunningDigests & Partial<RunningSpans>>()
const answer = (message: FromThread, transfer: ArrayBuffer[] = []): void => { parentPort?.postMessage(message, transfer) }
/** Of spans that end in the batch that is being taken. */
let hashes: Uint8Array[] = []

parentPort?.on('message', (message: ToThread) => {
  const { id } = message
  switch (message.kind) {
    case 'begin': running.set(id, digestsHere(message.algorithms)); break
    case 'begin-spans': running.set(id, spansHere({ algorithms: message.algorithms, sizeBytes: undefined, onHash: (hash) => { hashes.push(hash) } })); break
    case 'bytes': {
      hashes = []
      take(running.get(id), new Uint8Array(message.buffer, 0, message.byteLength), message.ends)
      answer({ id, kind: 'took', buffer: message.buffer, hashes }, [message.buffer])
      break
    }
    case 'finish':
      void running.get(id)?.finish().then((digests) => { answer({ id, kind: 'digests', digests }) })
      running.delete(id)
      break
    case 'drop': running.delete(id); break
    default: message satisfies never
  }
})

/** A span goes on through as many batches as it takes. */
function take (digests: RunningDigests & Partial<RunningSpans> | undefined, bytes: Uint8Array, ends: readonly number[]): void {
  let at = 0
  for (const end of ends) {
    void digests?.update(bytes.subarray(at, end))
    void digests?.end?.()
    at = end
  }
  void digests?.update(bytes.subarray(at))
}
