import type { Budget } from '../base/budget.ts'
import type { PeerId } from '../base/peer-id.ts'

/**
 * What protocols stand on: requests and answers between nodes, many on each of a few long-lived streams, with true back-pressure
 * and bounds. libp2p stands behind it; tests put memory there.
 */
export interface Requests {
  /**
   * Sends one request and waits for its answer. `body` parts go out back to back without being joined. `timeoutMs` is for a peer that is silent: while
   * bytes move at `leastBytesPerSecond` (exchangeLimits) or better, a request that waits behind others goes on waiting.
   * Reuses a stream or opens one on a connection that is there: connecting is the supervisor's, so nobody waits for a dial.
   * @throws PeerUnreachable (nothing was sent, or the connection ended), RequestRefused (the peer said no), DeadlineExceeded, the signal's reason
   */
  request (peer: PeerId, protocol: string, body: readonly Uint8Array[], options: { signal?: AbortSignal, timeoutMs: number, maxAnswerBytes: number }): Promise<Uint8Array>
  /** Answers requests of a protocol. Before hello has succeeded with a peer nothing but `strangers: true` protocols is reached. */
  handle (protocol: string, handler: RequestHandler, limits: HandlerLimits): Promise<void>
}

/** The answer's parts go out without being joined. A throw is told to the asker as RequestRefused with the error's message; it never ends the stream. */
export type RequestHandler = (peer: PeerId, body: Uint8Array, options: { signal: AbortSignal }) => Promise<readonly Uint8Array[]>

export interface HandlerLimits {
  /** Checked before a byte of the body is buffered. */
  readonly maxRequestBytes: number
  /** Requests of one peer in work at once; more wait unread, so the peer feels it. */
  readonly maxConcurrent: number
  /**
   * For requests or answers as long as blocks. A request stays unread until it fits, with `answerBytes` for what it may be answered with, into what all peers
   * together may hold here; it is held until the answer is sent.
   */
  readonly holding?: { readonly budget: Budget, readonly answerBytes: number }
  /** May be reached without membership (hello, join). */
  readonly strangers?: boolean
}

/** The peer cannot be asked now. Ask another, or retry. */
export class PeerUnreachable extends Error {
  override name = 'PeerUnreachable'
  readonly peer: PeerId
  constructor (peer: PeerId, message: string, options?: ErrorOptions) { super(message, options); this.peer = peer }
}

/** The peer answered that it will not. Asking it again does not help. */
export class RequestRefused extends Error {
  override name = 'RequestRefused'
  readonly peer: PeerId
  constructor (peer: PeerId, message: string, options?: ErrorOptions) { super(message, options); this.peer = peer }
}

/** One stored object, told to everybody after it is durable. Carries no names. */
export interface Announcement {
  /** Row key, 32 bytes. */
  readonly rowKey: Uint8Array
  /** Version id, 32 bytes. */
  readonly versionId: Uint8Array
  /** Root of the manifest; undefined when the row lists the chunks, or the object stands in it. */
  readonly root: string | undefined
  /** Who published it (gossipsub verifies the signature). */
  readonly from: PeerId
  /** It was announced before, and is again for those who have not heard of it. */
  readonly isAgain: boolean
  /** Blocks the object consists of, at most 8, so that a reader knows where to look. */
  readonly blocks: readonly string[]
}
