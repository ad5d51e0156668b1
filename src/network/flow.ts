import type { Stream } from '@libp2p/interface'
import { Uint8ArrayList } from 'uint8arraylist'

/**
 * Reading and writing a libp2p stream with true back-pressure both ways. The library's own idioms lose it: `onDrain()` never re-arms, `for await` over a
 * stream buffers without bound, `byteStream` aborts above 4 MiB (@libp2p/utils 7.4). So: wait for the `drain` event, and pause above a mark.
 */
export class EndOfStream extends Error {
  override name = 'EndOfStream'
}

/** Resolves when `send` may be called again. */
function drained (stream: Stream, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void): void => {
      stream.removeEventListener('drain', onDrain)
      stream.removeEventListener('close', onClose)
      signal.removeEventListener('abort', onAbort)
      act()
    }
    const onDrain = (): void => { settle(resolve) }
    const onClose = (event: { error?: Error }): void => { settle(() => { reject(event.error ?? new EndOfStream('the stream closed while it was written')) }) }
    const onAbort = (): void => { settle(() => { reject(signal.reason as Error) }) }
    if (signal.aborted) { reject(signal.reason as Error); return }
    if (stream.status !== 'open') { reject(new EndOfStream('the stream closed while it was written')); return }
    if (!stream.writableNeedsDrain) { resolve(); return }
    stream.addEventListener('drain', onDrain)
    stream.addEventListener('close', onClose)
    signal.addEventListener('abort', onAbort)
  })
}

/** Sends the parts back to back without joining them; resolves when the stream takes more. */
export async function write (stream: Stream, parts: readonly Uint8Array[], signal: AbortSignal): Promise<void> {
  if (stream.status !== 'open') throw new EndOfStream('the stream is closed')
  if (!stream.send(new Uint8ArrayList(...parts))) await drained(stream, signal)
}

export interface FlowReader {
  /** Exactly `length` bytes, as memory of their own. @throws EndOfStream at the end, what closed the stream, the signal's reason */
  read (length: number, signal?: AbortSignal): Promise<Uint8Array>
  /** Bytes received since the beginning. */
  readonly receivedBytes: number
  /** Bytes received and not yet read: about `highBytes` at most. */
  readonly bufferedBytes: number
}

/** Pull reader. Above `highBytes` the stream is paused, so the muxer's window closes and the sender stops; below half of it, resumed. */
export function flowReader (stream: Stream, { highBytes }: { highBytes: number }): FlowReader {
  const queue = new Uint8ArrayList()
  let failure: Error | undefined
  let isResuming = false
  let receivedBytes = 0
  let wake = (): void => {}

  // resume() hands out what is buffered first and opens the window after, so a pause() from within it is undone at the muxer while readStatus says
  // paused (utils 7.4, yamux 8.0): pause only when it is over
  const pauseAbove = (): void => { if (!isResuming && queue.byteLength >= highBytes && stream.readStatus === 'readable') stream.pause() }
  const resume = (): void => {
    isResuming = true
    try { stream.resume() } finally { isResuming = false }
    pauseAbove()
  }
  spareWindowUpdates(stream)
  stream.addEventListener('message', (event) => { receivedBytes += event.data.byteLength; queue.append(event.data); pauseAbove(); wake() })
  stream.addEventListener('end' as 'close', () => { wake() })
  stream.addEventListener('close', (event) => { failure ??= event.error; wake() })

  const more = (signal?: AbortSignal): Promise<void> => new Promise((resolve, reject) => {
    const onAbort = (): void => { wake = () => {}; reject(signal?.reason as Error) }
    if (signal?.aborted === true) { onAbort(); return }
    signal?.addEventListener('abort', onAbort, { once: true })
    wake = () => { signal?.removeEventListener('abort', onAbort); wake = () => {}; resolve() }
    if (stream.readStatus === 'paused') resume()
    if (isOver(stream) || failure !== undefined) wake()
  })

  return {
    async read (length, signal) {
      // memory of its own, filled as pieces come: these are then short-lived garbage, where a block's worth of them kept would be collected the hard way
      const target = new Uint8Array(Buffer.allocUnsafeSlow(length).buffer)
      let done = 0
      const take = (): void => {
        const part = queue.sublist(0, Math.min(queue.byteLength, length - done))
        for (const piece of part) { target.set(piece, done); done += piece.byteLength }
        queue.consume(part.byteLength)
      }
      for (take(); done < length; take()) {
        if (failure !== undefined) throw failure
        if (isOver(stream)) throw new EndOfStream(done === 0 ? 'the stream has ended' : `the stream ended ${length - done} bytes short`)
        await more(signal)
      }
      if (stream.readStatus === 'paused' && queue.byteLength < highBytes / 2) resume()
      return target
    },
    get receivedBytes () { return receivedBytes },
    get bufferedBytes () { return queue.byteLength },
  }
}

interface YamuxState { readonly state?: unknown, readonly recvWindow?: number, readonly recvWindowCapacity?: number, epochStart?: number, sendWindowUpdate?: () => void }
const established = 3

/**
 * The muxer answers every frame, however small, with a window update (@libp2p/yamux 8.0): of a question and its answer, every second message. Half a window
 * is soon enough. One that was used up by half grows, as it does by the library's rule where time is measured finely enough to tell.
 */
function spareWindowUpdates (stream: Stream): void {
  const muxed = stream as YamuxState
  const send = muxed.sendWindowUpdate?.bind(stream)
  if (send === undefined) return
  muxed.sendWindowUpdate = () => {
    const { state, recvWindow = 0, recvWindowCapacity = 0 } = muxed
    if (state === established) {
      if (recvWindowCapacity > recvWindow / 2) return
      muxed.epochStart = Infinity
    }
    send()
  }
}

const isOver = (stream: Stream): boolean => (stream as { readableEnded?: boolean }).readableEnded === true || stream.status === 'closed' || stream.status === 'aborted' || stream.status === 'reset'
