import type { Agent as HttpAgent, IncomingMessage } from 'node:http'
import { type NetConnectOpts, Socket } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { systemClock } from '../base/clock.ts'
import { Unreachable } from './errors.ts'
import type { Answer, Body, Outgoing, Transport } from './transport.ts'

// an import of it gives every name that it exports a value, and some are all of undici: two thirds of what a command line takes to start
const { Agent, request: plainRequest } = process.getBuiltinModule('node:http')

export const clientLimits = {
  /** What a failed write waits for the answer that says why. */
  answerWaitMs: 1000,
  /** Connections of one client. */
  maxSockets: 64,
} as const

/** Where a node answers, and how a client is let in. */
export interface Connection {
  readonly host: string
  readonly port: number
  readonly agent: HttpAgent
  readonly authorization?: string
  /** Default: node:http's. That of node:https costs a command line more to load than all that it does. */
  readonly request?: typeof plainRequest
}

/** By node:http or node:https. */
export function nodeTransport (connection: Connection): Transport {
  return {
    async send (outgoing): Promise<Answer> {
      const answer = await nodeSend(connection, outgoing).catch((cause: unknown) => { throw told(cause, outgoing, connection) })
      return { status: answer.statusCode ?? 0, headers: answer.headers as Record<string, string | undefined>, body: readOf(answer, outgoing) }
    },
    close: () => { connection.agent.destroy() },
  }
}

export const agentOptions = { keepAlive: true, maxSockets: clientLimits.maxSockets } as const

export const plainAgent = (): HttpAgent => new AnswerFirstAgent(agentOptions)

/** The body of an answer. @throws Unreachable when it breaks off; the signal's reason */
export async function * readOf (answer: IncomingMessage, outgoing: Pick<Outgoing, 'signal'>): AsyncIterable<Uint8Array> {
  try {
    yield * answer as AsyncIterable<Uint8Array>
  } catch (cause) {
    outgoing.signal?.throwIfAborted()
    throw new Unreachable('the connection broke in the middle of the answer', { cause })
  }
}

function told (cause: unknown, { signal }: Outgoing, { host, port }: Connection): unknown {
  if (signal?.aborted === true) return signal.reason
  return isOfNetwork(cause) ? new Unreachable(`the node at ${host}:${port} could not be reached: ${cause.message}`, { cause }) : cause
}

/** A file that is not there fails in the words of a network: what a source threw is none of it. */
export const isOfNetwork = (cause: unknown): cause is NodeJS.ErrnoException =>
  cause instanceof Error && !ofSources.has(cause) && 'code' in cause && /^(E[A-Z]+|ERR_(TLS|SSL)_\w+|CERT_\w+|DEPTH_ZERO\w*|SELF_SIGNED\w*|UNABLE_TO\w*)$/.test(String(cause.code))

/** Resolves with the answer's head as soon as it is there: a refusal may come while the body is still being sent, and ends the sending. */
export function nodeSend ({ host, port, agent, authorization, request = plainRequest }: Connection, { method, path, headers = {}, body, signal }: Outgoing): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const [source, sizeBytes] = sourceOf(body)
    const all = { ...(sizeBytes === undefined ? {} : { 'content-length': String(sizeBytes) }), ...headers, ...(authorization === undefined ? {} : { authorization }) }
    const outgoing = request({ host, port, agent, method, path, signal, headers: all })
    let isAnswered = false
    outgoing.on('response', (answer) => { isAnswered = true; resolve(answer) })
    const fail = (cause: NodeJS.ErrnoException): void => { if (!isAnswered) reject(cause) }
    outgoing.on('error', fail)
    if (source === undefined) outgoing.end()
    else pipeline(unless(source, () => isAnswered), outgoing).catch(fail)
  })
}

function sourceOf (body: Body | undefined): [AsyncIterable<Uint8Array> | undefined, number | undefined] {
  if (body === undefined) return [undefined, undefined]
  if (typeof body === 'string') return sourceOf(Buffer.from(body))
  if (body instanceof Uint8Array) return [Readable.from([body]), body.byteLength]
  return body instanceof Blob ? [body.stream(), body.size] : [body, undefined]
}

async function * unless (source: AsyncIterable<Uint8Array>, isOver: () => boolean): AsyncIterable<Uint8Array> {
  const iterator = source[Symbol.asyncIterator]()
  try {
    for (;;) {
      const next = await iterator.next().catch((cause: unknown) => {
        if (typeof cause === 'object' && cause !== null) ofSources.add(cause)
        throw cause
      })
      if (next.done === true || isOver()) return
      yield next.value
    }
  } finally {
    await iterator.return?.()
  }
}

/** What sources threw, to be told as it is. */
const ofSources = new WeakSet<object>()

/**
 * A node that refuses a body may close before it has read all of it. The write fails then, while the reason lies in the socket unread: so the failure
 * is told only when the answer had its time.
 */
class AnswerFirstSocket extends Socket {
  override _write (piece: Uint8Array, encoding: BufferEncoding, done: (error?: Error | null) => void): void { super._write(piece, encoding, afterTheAnswer(done)) }
  override _writev (pieces: Array<{ chunk: Uint8Array, encoding: BufferEncoding }>, done: (error?: Error | null) => void): void { super._writev?.(pieces, afterTheAnswer(done)) }
}

const afterTheAnswer = (done: (error?: Error | null) => void) => (error?: Error | null): void => {
  if (error === undefined || error === null) done()
  else systemClock.after(clientLimits.answerWaitMs, () => { done(error) })
}

class AnswerFirstAgent extends Agent {
  override createConnection (options: NetConnectOpts): Socket { return new AnswerFirstSocket(options).connect(options) }
}
