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

export const flowLimits = {
  /**
   * Content of one frame of the muxer: with all that is put around it, 64 KiB on the wire, which is what a socket is read by. So a frame is sealed, sent and
   * opened while the next is on its way, and what came of it dies young; one as long as the window (2 MiB) would be held as a whole at either end.
   */
  frameBytes: 64 * 1024 - (2 + 16) - 12,
} as const

/** Sends the parts back to back without joining them; resolves when the stream takes more. */
export async function write (stream: Stream, parts: readonly Uint8Array[], signal: AbortSignal): Promise<void> {
  const { frameBytes } = flowLimits
  const rest = new Uint8ArrayList(...parts)
  do {
    if (stream.status !== 'open') throw new EndOfStream('the stream is closed')
    const frame = rest.sublist(0, Math.min(frameBytes, rest.byteLength))
    rest.consume(frame.byteLength)
    if (stream.send(frame)) continue
    // whatever drains on the connection is told to all its streams, also to one whose own window is used up
    do await drained(stream, signal)
    while (stream.writableNeedsDrain && stream.writeBufferLength >= frameBytes)
  } while (rest.byteLength > 0)
}

export interface FlowReader {
  /** Exactly `length` bytes, as memory of their own. @throws EndOfStream at the end, what closed the stream, the signal's reason */
  read (length: number, signal?: AbortSignal): Promise<Uint8Array>
  /** Bytes received since the beginning. */
  readonly receivedBytes: number
  /** Bytes received and not yet read: about `highBytes` at most. */
  readonly bufferedBytes: number
}

/** Pull reader. Above `highBytes` the stream is paused, so the muxer's window closes and the sender stops; below half of it, resumed. One read at a time. */
export function flowReader (stream: Stream, { highBytes }: { highBytes: number }): FlowReader {
  const queue = new Pieces()
  let failure: Error | undefined
  let isResuming = false
  let receivedBytes = 0
  /** Looks whether the read that waits has what it waits for, or never will. */
  let look = (): void => {}

  // resume() hands out what is buffered first and opens the window after, so a pause() from within it is undone at the muxer while readStatus says
  // paused (utils 7.4, yamux 8.0): pause only when it is over
  const pauseAbove = (): void => { if (!isResuming && queue.byteLength >= highBytes && stream.readStatus === 'readable') stream.pause() }
  const resume = (): void => {
    isResuming = true
    try { stream.resume() } finally { isResuming = false }
    pauseAbove()
  }
  spareWindowUpdates(stream)
  stream.addEventListener('message', ({ data }) => { receivedBytes += data.byteLength; queue.append(data); look(); pauseAbove() })
  stream.addEventListener('end' as 'close', () => { look() })
  stream.addEventListener('close', (event) => { failure ??= event.error; look() })

  /** Fills it as pieces come: these are then short-lived garbage, where a block's worth of them kept would be collected the hard way. */
  const fill = (target: Uint8Array, signal?: AbortSignal): Promise<void> => new Promise((resolve, reject) => {
    const { length } = target
    let done = 0
    const onAbort = (): void => { end(() => { reject(signal?.reason as Error) }) }
    const end = (settle: () => void): void => { look = () => {}; signal?.removeEventListener('abort', onAbort); settle() }
    look = () => {
      done += queue.moveTo(target, done)
      if (done === length) end(resolve)
      else if (failure !== undefined) end(() => { reject(failure as Error) })
      else if (isOver(stream)) end(() => { reject(new EndOfStream(done === 0 ? 'the stream has ended' : `the stream ended ${length - done} bytes short`)) })
    }
    if (signal?.aborted === true) { onAbort(); return }
    signal?.addEventListener('abort', onAbort, { once: true })
    look()
    if (done < length && stream.readStatus === 'paused') resume()
  })

  return {
    async read (length, signal) {
      // so short an array lies within V8's heap; of a longer one the bytes lie outside, and are not those of a pool that it would keep
      const target = length <= shortBytes ? new Uint8Array(length) : new Uint8Array(Buffer.allocUnsafeSlow(length).buffer)
      if (queue.byteLength >= length) queue.moveTo(target, 0)
      else await fill(target, signal)
      if (stream.readStatus === 'paused' && queue.byteLength < highBytes / 2) resume()
      return target
    },
    get receivedBytes () { return receivedBytes },
    get bufferedBytes () { return queue.byteLength },
  }
}
const shortBytes = 64

/** What was received and not yet read. */
class Pieces {
  byteLength = 0
  readonly #pieces: Uint8Array[] = []

  append (data: Uint8Array | Uint8ArrayList): void {
    if (data instanceof Uint8Array) this.#pieces.push(data)
    else this.#pieces.push(...data)
    this.byteLength += data.byteLength
  }

  /** Fills the target from `at` on, as far as there is something; how many bytes it moved. */
  moveTo (target: Uint8Array, at: number): number {
    let done = at
    for (let [piece] = this.#pieces; piece !== undefined && done < target.byteLength; [piece] = this.#pieces) {
      const wanted = target.byteLength - done
      if (piece.byteLength > wanted) {
        target.set(piece.subarray(0, wanted), done)
        this.#pieces[0] = piece.subarray(wanted)
        done += wanted
      } else {
        target.set(piece, done)
        this.#pieces.shift()
        done += piece.byteLength
      }
    }
    this.byteLength -= done - at
    return done - at
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
