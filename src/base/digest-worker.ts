import { parentPort } from 'node:worker_threads'
import { digestsHere, type RunningDigests } from './checksums.ts'
import type { FromThread, ToThread } from './digest-thread.ts'

/** The other side of digest-thread.ts. */
const running = new Map<number, RunningDigests>()
const answer = (message: FromThread, transfer: ArrayBuffer[] = []): void => { parentPort?.postMessage(message, transfer) }

parentPort?.on('message', (message: ToThread) => {
  const { id } = message
  switch (message.kind) {
    case 'begin': running.set(id, digestsHere(message.algorithms)); break
    case 'bytes':
      void running.get(id)?.update(new Uint8Array(message.buffer, 0, message.byteLength))
      answer({ id, kind: 'took', buffer: message.buffer }, [message.buffer])
      break
    case 'finish':
      void running.get(id)?.finish().then((digests) => { answer({ id, kind: 'digests', digests }) })
      running.delete(id)
      break
    case 'drop': running.delete(id); break
    default: message satisfies never
  }
})
