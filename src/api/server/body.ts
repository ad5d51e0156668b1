import type { IncomingMessage } from 'node:http'
import type { ServerHttp2Stream } from 'node:http2'
import { finished } from 'node:stream'
import { lend } from '../../base/lease.ts'
import type { Incoming } from './listener.ts'

export const bodyLimits = {
  /** Of a body that nobody takes up; then the socket waits. */
  waitingBytes: 128 * 1024,
  /** A piece counts as this much at the least: one of a byte takes about as much memory. */
  pieceBytes: 256,
  /** An end by HTTP/2 that no length announced counts once it has stood for so long. */
  doubtedMs: 10,
} as const

type Body = Pick<Incoming, 'request' | 'goOn' | 'signal' | 'clock'>

/**
 * The body as it comes, asked for when it is first read. Whoever stops reading it half way leaves the connection open, so that a refusal can still be answered.
 * Pieces are as the socket gave them: a stream's own iterator joins those that have gathered while one was worked on, which costs a copy, and a fifth of all
 * that HTTP takes of the processor.
 * Of a request that was given up it never ends well: what still comes of it goes to whoever reads it away (linger.ts), and here the end would follow on a part.
 * By HTTP/2 a client that gives up may say that the body ends, and only then that it gives up: Node's does for every stream that is closed before its end, so that
 * no code of the second tells the two apart. They are sent one behind the other, so such an end is doubted for a moment. Where a length was announced, it decides.
 */
export async function * bodyOf ({ request, goOn, signal, clock }: Body): AsyncIterable<Buffer> {
  goOn()
  const arriving = new Arriving(request)
  try {
    for (let piece = await arriving.next(); piece !== undefined; piece = await arriving.next()) yield piece
    if (isDoubtful(request)) await clock.sleep(bodyLimits.doubtedMs, { signal })
    signal.throwIfAborted()
  } finally {
    arriving.leave()
  }
}

const isDoubtful = (request: IncomingMessage): boolean => 'stream' in request && request.headers['content-length'] === undefined && !(request.stream as ServerHttp2Stream).endAfterHeaders

/**
 * The same for who stores it: each piece goes one way, whole, into the chunker's window, and its memory is given back there (base/lease.ts). Not for who cuts
 * pieces up, or keeps them. By HTTP/2 nothing is lent: what one read of the socket brought is one piece of memory, with frames of this body and of others in it,
 * which Node's parser may not be through with either. HTTP/1.1 has every piece copied out of there.
 */
export async function * lentBodyOf (incoming: Body): AsyncIterable<Buffer> {
  const isLent = incoming.request.httpVersionMajor === 1
  for await (const piece of bodyOf(incoming)) yield isLent ? lend(piece) : piece
}

/** What of a body has come and was not taken yet. */
class Arriving {
  readonly #request: IncomingMessage
  readonly #pieces: Buffer[] = []
  readonly #forget: () => void
  #waitingBytes = 0
  #end: { readonly error: Error | undefined } | undefined
  #wake = (): void => {}

  constructor (request: IncomingMessage) {
    this.#request = request
    this.#forget = finished(request, { writable: false }, (error) => { this.#end = { error: error ?? undefined }; this.#wake() })
    request.on('data', this.#take).resume()
  }

  /** Undefined: it has ended. @throws what became of it otherwise, once everything that came is taken */
  async next (): Promise<Buffer | undefined> {
    while (this.#pieces.length === 0 && this.#end === undefined) await new Promise<void>((resolve) => { this.#wake = resolve })
    const piece = this.#pieces.shift()
    if (piece === undefined && this.#end?.error !== undefined) throw this.#end.error
    if (piece !== undefined) this.#waitingBytes -= weightOf(piece)
    if (this.#request.isPaused() && this.#waitingBytes < bodyLimits.waitingBytes) this.#request.resume()
    return piece
  }

  leave (): void {
    this.#request.off('data', this.#take)
    if (this.#end === undefined) this.#request.pause()
    this.#forget()
  }

  readonly #take = (piece: Buffer): void => {
    this.#pieces.push(piece)
    this.#waitingBytes += weightOf(piece)
    if (this.#waitingBytes >= bodyLimits.waitingBytes) this.#request.pause()
    this.#wake()
  }
}

const weightOf = ({ byteLength }: Uint8Array): number => Math.max(bodyLimits.pieceBytes, byteLength)
