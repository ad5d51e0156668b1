import type { Stream } from '@libp2p/interface'
import { Uint8ArrayList } from 'uint8arraylist'

/** The far end of a stream, in the hands of a test. */
export interface FarEnd {
  send (bytes: Uint8Array): void
  /** Bytes that came, joined. */
  readonly received: Uint8Array
  abort (error: Error): void
}

/** A stream as libp2p gives it, without a muxer and without time: what is sent at one end is there at the other in the next microtask. */
export function streamPair (): [near: Stream, far: FarEnd] {
  const received = new Uint8ArrayList()
  const near = new NearEnd((bytes) => { received.append(bytes) })
  return [near as never, {
    send: (bytes) => { near.receive(bytes) },
    get received () { return received.subarray() },
    abort: (error) => { near.end('reset', error) },
  }]
}

class NearEnd extends EventTarget {
  status = 'open'
  readStatus = 'readable'
  readonly writableNeedsDrain = false
  readonly #onSend: (bytes: Uint8Array) => void
  readonly #unread: Uint8Array[] = []

  constructor (onSend: (bytes: Uint8Array) => void) { super(); this.#onSend = onSend }

  receive (bytes: Uint8Array): void {
    this.#unread.push(bytes)
    queueMicrotask(() => { this.#dispatch() })
  }

  send (bytes: Uint8ArrayList): boolean { this.#onSend(bytes.subarray()); return true }
  pause (): void { this.readStatus = 'paused' }
  resume (): void { this.readStatus = 'readable'; this.#dispatch() }
  async close (): Promise<void> { this.end('closed', undefined) }
  abort (error: Error): void { this.end('aborted', error) }

  end (status: string, error: Error | undefined): void {
    if (this.status !== 'open') return
    this.status = status
    this.dispatchEvent(Object.assign(new Event('close'), { error }))
  }

  #dispatch (): void {
    while (this.readStatus === 'readable' && this.status === 'open') {
      const bytes = this.#unread.shift()
      if (bytes === undefined) return
      this.dispatchEvent(Object.assign(new Event('message'), { data: new Uint8ArrayList(bytes) }))
    }
  }
}
