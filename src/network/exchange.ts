import type { Stream } from '@libp2p/interface'
import type { Budget } from '../base/budget.ts'
import { ByteReader, ByteWriter, empty, textOf, utf8 } from '../base/bytes.ts'
import { type Clock, deadline } from '../base/clock.ts'
import type { PeerId } from '../base/peer-id.ts'
import { EndOfStream, type FlowReader, flowReader, write } from './flow.ts'
import { type HandlerLimits, PeerUnreachable, type RequestHandler, RequestRefused } from './index.ts'

/**
 * Many requests on one long-lived stream (docs/PROTOCOLS.md, "Streams and requests"). A stream a request would cost 1.0-1.5 ms, one reused 0.15 ms.
 *
 * frame = u32 length of what follows | u32 request id | u8 kind | body
 */
const kinds = { request: 1, answer: 2, refusal: 3, cancel: 4 } as const
const headLength = 9
const idAndKindLength = 5

export const exchangeLimits = {
  /** Received and unread before the sender is stopped. */
  highBytes: 1024 * 1024,
  /** Between two frames a stream may rest; within one, bytes must come at least at this pace after the first ten seconds. */
  leastBytesPerSecond: 16 * 1024,
  graceMs: 10_000,
  maxRefusalBytes: 1024,
  /** Requests that were given up and whose answers may still come; beyond it the peer takes them and answers none. */
  maxForgotten: 4096,
  /** A batch of frames this long takes no more; a frame may be longer. */
  batchBytes: 128 * 1024,
} as const

interface Frame { readonly id: number, readonly kind: number, readonly bodyBytes: number }

class Line {
  readonly stream: Stream
  readonly #reader: FlowReader
  readonly #clock: Clock
  #writing: Promise<void> = Promise.resolve()
  #sentBytes = 0
  /** Frames not yet handed to the stream. */
  #batch: Batch | undefined

  constructor (stream: Stream, clock: Clock) {
    this.stream = stream
    this.#clock = clock
    this.#reader = flowReader(stream, { highBytes: exchangeLimits.highBytes })
  }

  /** Received, and sent as far as the stream took it. */
  get movedBytes (): number { return this.#reader.receivedBytes + this.#sentBytes }

  async head (): Promise<Frame> {
    const reader = new ByteReader(await this.#reader.read(headLength))
    const length = reader.u32()
    if (length < idAndKindLength) throw new RangeError(`a frame of ${length} bytes`)
    return { id: reader.u32(), kind: reader.u8(), bodyBytes: length - idAndKindLength }
  }

  async body ({ bodyBytes }: Frame): Promise<Uint8Array> {
    if (bodyBytes === 0) return empty
    using pace = deadline(this.#clock, paceMs(bodyBytes), { what: `receiving ${bodyBytes} bytes` })
    return await this.#reader.read(bodyBytes, pace.signal)
  }

  /** Whole and in order; what comes while an earlier write waits goes out with the next one. A peer that takes it too slowly loses the stream. */
  send (id: number, kind: number, parts: readonly Uint8Array[]): Promise<void> {
    const length = parts.reduce((sum, part) => sum + part.byteLength, 0)
    if (this.#batch === undefined || this.#batch.bytes > exchangeLimits.batchBytes) this.#batch = this.#nextBatch()
    this.#batch.parts.push(new ByteWriter().u32(length + idAndKindLength).u32(id).u8(kind).finish(), ...parts)
    this.#batch.bytes += length
    return this.#batch.sent
  }

  #nextBatch (): Batch {
    const batch: Batch = { parts: [], bytes: 0, sent: this.#writing.then(async () => {
      if (this.#batch === batch) this.#batch = undefined
      using pace = deadline(this.#clock, paceMs(batch.bytes), { what: `sending ${batch.bytes} bytes` })
      await write(this.stream, batch.parts, pace.signal)
      this.#sentBytes += batch.bytes
    }) }
    this.#writing = batch.sent.catch((error: Error) => { this.stream.abort(error) })
    return batch
  }
}

interface Batch { readonly parts: Uint8Array[], bytes: number, readonly sent: Promise<void> }

const earnedMs = (bytes: number): number => bytes / exchangeLimits.leastBytesPerSecond * 1000
const paceMs = (bytes: number): number => exchangeLimits.graceMs + earnedMs(bytes)

export interface Ask {
  readonly body: readonly Uint8Array[]
  readonly signal: AbortSignal | undefined
  readonly timeoutMs: number
  readonly maxAnswerBytes: number
}

interface Waiting {
  readonly maxAnswerBytes: number
  /** Of request and answer together. */
  readonly mostBytes: number
  readonly resolve: (body: Uint8Array) => void
  readonly reject: (error: Error) => void
}

/** The asking end of a stream. */
export class Asker {
  readonly #line: Line
  readonly #peer: PeerId
  readonly #clock: Clock
  readonly #waiting = new Map<number, Waiting>()
  /** Given up on; their answers may still come, of at most so many bytes. */
  readonly #forgotten = new Map<number, number>()
  #nextId = 1
  #ended: Error | undefined

  constructor (stream: Stream, { peer, clock }: { peer: PeerId, clock: Clock }) {
    this.#line = new Line(stream, clock)
    this.#peer = peer
    this.#clock = clock
    this.#listen().catch((error: Error) => { this.#end(error) })
  }

  get inFlight (): number { return this.#waiting.size }
  get isOpen (): boolean { return this.#ended === undefined && this.#line.stream.status === 'open' }

  async ask ({ body, signal: caller, timeoutMs, maxAnswerBytes }: Ask): Promise<Uint8Array> {
    caller?.throwIfAborted()
    if (this.#ended !== undefined) throw this.#unreachable(this.#ended)
    const before = this.#line.movedBytes
    const mostBytes = maxAnswerBytes + body.reduce((sum, part) => sum + part.byteLength, 0)
    // what may lie before it: more than that may move without an end to this one
    const aheadBytes = [...this.#waiting.values()].reduce((sum, waiting) => sum + waiting.mostBytes, mostBytes)
    using limit = deadline(this.#clock, timeoutMs, { signal: caller, what: `a request to ${this.#peer}`, extraMs: () => earnedMs(Math.min(this.#line.movedBytes - before, aheadBytes)) })
    const { signal } = limit
    const id = this.#nextId
    this.#nextId = this.#nextId === 0xffffffff ? 1 : this.#nextId + 1
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
    const onAbort = (): void => {
      this.#waiting.delete(id)
      this.#forgotten.set(id, maxAnswerBytes)
      if (this.#forgotten.size > exchangeLimits.maxForgotten) this.#end(new RangeError(`${this.#forgotten.size} requests were never answered`))
      // the answerer may stop working; that the word gets there is not essential
      this.#line.send(id, kinds.cancel, []).catch(() => {})
      reject(signal.reason as Error)
    }
    this.#waiting.set(id, { maxAnswerBytes, mostBytes, resolve, reject })
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      this.#line.send(id, kinds.request, body).catch((error: Error) => { this.#end(error) })
      return await promise
    } finally {
      signal.removeEventListener('abort', onAbort)
      this.#waiting.delete(id)
    }
  }

  async close (signal: AbortSignal): Promise<void> { await this.#line.stream.close({ signal }) }

  async #listen (): Promise<void> {
    for (;;) {
      const frame = await this.#line.head()
      const waiting = this.#waiting.get(frame.id)
      const maxBytes = waiting?.maxAnswerBytes ?? this.#forgotten.get(frame.id)
      if (maxBytes === undefined || (frame.kind !== kinds.answer && frame.kind !== kinds.refusal)) throw new RangeError('an answer that nobody asked for')
      const mostBytes = frame.kind === kinds.refusal ? exchangeLimits.maxRefusalBytes : maxBytes
      if (frame.bodyBytes > mostBytes) throw new RangeError(`an answer of ${frame.bodyBytes} bytes where ${mostBytes} were allowed`)
      const body = await this.#line.body(frame)
      this.#forgotten.delete(frame.id)
      if (frame.kind === kinds.answer) waiting?.resolve(body)
      else waiting?.reject(new RequestRefused(this.#peer, textOf(body)))
    }
  }

  #end (error: Error): void {
    this.#ended ??= error
    this.#line.stream.abort(error)
    for (const { reject } of this.#waiting.values()) reject(this.#unreachable(error))
    this.#waiting.clear()
    this.#forgotten.clear()
  }

  #unreachable (cause: Error): PeerUnreachable {
    return new PeerUnreachable(this.#peer, cause instanceof EndOfStream ? 'the connection ended' : cause.message, { cause })
  }
}

export interface Answering extends HandlerLimits {
  readonly peer: PeerId
  /** Requests of this peer in work, over all its streams of the protocol. */
  readonly room: Budget
  /** What of `holding` this peer may have, over all its streams: one member must not hold it all. */
  readonly share?: Budget
  readonly handler: RequestHandler
  readonly clock: Clock
  /** Told of a handler's failure that is no plain refusal. */
  readonly warn: (message: string, cause: unknown) => void
}

/** The answering end: reads requests until the stream ends. Rejects, and so aborts the stream, when the peer breaks a rule. */
export async function answer (stream: Stream, answering: Answering): Promise<void> {
  const line = new Line(stream, answering.clock)
  const running = new Map<number, AbortController>()
  const gone = new AbortController()
  stream.addEventListener('close', () => { gone.abort(new EndOfStream('the asker is gone')) })
  try {
    for (;;) {
      const frame = await line.head()
      if (frame.kind === kinds.cancel) { running.get(frame.id)?.abort(new Error('cancelled')); continue }
      if (frame.kind !== kinds.request || running.has(frame.id)) throw new RangeError('a frame that is no request')
      if (frame.bodyBytes > answering.maxRequestBytes) throw new RangeError(`a request of ${frame.bodyBytes} bytes where ${answering.maxRequestBytes} are allowed`)
      // while there is no room the rest stays unread, and the asker feels it
      using held = new DisposableStack()
      held.use(await answering.room.claim(1, { signal: gone.signal }))
      if (answering.holding !== undefined) {
        const heldBytes = frame.bodyBytes + answering.holding.answerBytes
        if (answering.share !== undefined) held.use(await answering.share.claim(heldBytes, { signal: gone.signal }))
        held.use(await answering.holding.budget.claim(heldBytes, { signal: gone.signal }))
      }
      const body = await line.body(frame)
      const cancel = new AbortController()
      running.set(frame.id, cancel)
      const inWork = held.move()
      void respond(line, frame.id, body, AbortSignal.any([cancel.signal, gone.signal]), answering).finally(() => { running.delete(frame.id); inWork.dispose() })
    }
  } catch (error) {
    if (!(error instanceof EndOfStream)) throw error
  } finally {
    gone.abort(new EndOfStream('the stream has ended'))
  }
}

// never rejects: what goes wrong is told to the asker, or the stream is gone
async function respond (line: Line, id: number, body: Uint8Array, signal: AbortSignal, { handler, peer, warn }: Answering): Promise<void> {
  try {
    const parts = await handler(peer, body, { signal })
    await line.send(id, kinds.answer, parts)
  } catch (error) {
    if (signal.aborted && line.stream.status !== 'open') return
    if (!(error instanceof Error && 'code' in error)) warn('a request failed', error)
    const text = utf8((error instanceof Error ? error.message : String(error)).slice(0, exchangeLimits.maxRefusalBytes / 4))
    await line.send(id, kinds.refusal, [text]).catch((cause: unknown) => { warn('a refusal could not be sent', cause) })
  }
}
