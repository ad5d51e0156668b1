import type { ServerResponse } from 'node:http'
import type { ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import { Code, ConnectError, type ContextValues, createConnectRouter, createContextValues, type HandlerContext } from '@connectrpc/connect'
import { universalRequestFromNodeRequest, universalResponseToNodeResponse } from '@connectrpc/connect-node'
import { loggedReasonOf } from '../errors.ts'
import type { Incoming, Refusal } from '../server/listener.ts'
import { everyCall, incomingKey } from './calls.ts'
import { connectErrorOf, unexpected } from './errors.ts'
import { type Permit, permitIn, permitKey } from './permit.ts'
import { isOpen, type RpcParts, rpcServices } from './service.ts'
import { raiseWindows } from './windows.ts'

export const rpcLimits = {
  /** Of one message of a put, which a stranger never gets to send. */
  maxPutMessageBytes: 4 * 1024 * 1024,
  /** Of any other. */
  maxMessageBytes: 256 * 1024,
  /** Of all that comes with a call of somebody who shows no key: a bucket and a key, escaped. */
  maxStrangersBytes: 8 * 1024,
  /** Of a deadline: what a timer counts to; one that is further away would be over at once. */
  maxTimeoutMs: 2 ** 31 - 1,
} as const

/** gRPC, gRPC-Web and Connect. */
export interface RpcFace<I extends Incoming = Incoming> {
  /** Whether a call of this path is known. */
  has (path: string): boolean
  /** Resolves when the answer is out. */
  answer (incoming: I): Promise<void>
}

export interface RpcFaceOptions<I extends Incoming = Incoming> extends RpcParts {
  /** Whether tools may read the interface from the node. */
  readonly reflection: boolean
  /** What who sent these headers may do. @throws ApiError if it may do nothing; TooMany */
  readonly permitOf: (incoming: I) => Permit | Promise<Permit>
  /** 'objects': nothing but objects and buckets, in which keys have rights. */
  readonly offers: 'everything' | 'objects'
}

/** Nothing of a call's messages is read before `permitOf` has let it pass. */
export function rpcFace<I extends Incoming> (options: RpcFaceOptions<I>): RpcFace<I> {
  const router = createConnectRouter({
    acceptCompression: [],
    readMaxBytes: rpcLimits.maxMessageBytes,
    maxTimeoutMs: rpcLimits.maxTimeoutMs,
    // the library passes over names that are misspelt, and words that an enumeration has not
    jsonOptions: { ignoreUnknownFields: false },
    interceptors: [everyCall],
    requestGate: async (context) => { await gate(options, context) },
  })
  rpcServices(router, options, { ...options, maxPutMessageBytes: rpcLimits.maxPutMessageBytes })
  const handlers = new Map(router.handlers.map((handler) => [handler.requestPath, handler]))
  return {
    has: (path) => handlers.has(path),
    async answer (incoming) {
      const { request, response, signal, path } = incoming
      const handler = handlers.get(path)
      if (handler === undefined) throw new ConnectError('there is no such call here', Code.Unimplemented)
      incoming.goOn()
      // of a response that has ended, or that nobody waits for any more, the library hears nothing
      const ended = new Promise<void>((resolve) => {
        response.once('finish', resolve).once('close', resolve)
        if (isClosed(response)) resolve()
      })
      const values = createContextValues().set(incomingKey, incoming)
      const asked = universalRequestFromNodeRequest(request, response, undefined, values)
      const answer = await handler({ ...asked, body: littleOfStrangers(asked.body as AsyncIterable<Uint8Array>, values), signal: AbortSignal.any([asked.signal, signal]) })
      await Promise.race([universalResponseToNodeResponse(answer, response), ended])
    },
  }
}

/** What is sent before a message is whole stands in memory, of every call of every connection. */
async function * littleOfStrangers (body: AsyncIterable<Uint8Array>, values: ContextValues): AsyncIterable<Uint8Array> {
  let length = 0
  for await (const piece of body) {
    length += piece.byteLength
    // the gate, which is passed before anything is read, has found out who it is
    if (length > rpcLimits.maxStrangersBytes && values.get(permitKey)?.isAnybody !== false) throw new ConnectError(`without an access key a call has at most ${rpcLimits.maxStrangersBytes} bytes`, Code.ResourceExhausted)
    yield piece
  }
}

const isClosed = (response: ServerResponse): boolean => 'stream' in response ? (response.stream as ServerHttp2Stream).destroyed : response.destroyed

async function gate<I extends Incoming> ({ permitOf }: RpcFaceOptions<I>, { values, method }: HandlerContext): Promise<void> {
  const incoming = values.get(incomingKey)
  if (incoming === undefined) throw unexpected()
  if (isOpen(method)) return
  try { values.set(permitKey, await permitOf(incoming as I)) } catch (error) { throw connectErrorOf(error) ?? error }
  const { isAnybody } = permitIn({ values })
  // anybody may read here and there, and write nowhere
  if (isAnybody && method.methodKind === 'client_streaming') throw new ConnectError('this takes an access key', Code.Unauthenticated)
  if (!isAnybody && 'stream' in incoming.request) raiseWindows((incoming.request.stream as { session?: ServerHttp2Session }).session)
}

/** An error in the words of the protocol that was spoken: what is refused before a call begins, or by a node that stops. */
export function rpcRefusalOf (error: unknown, { request }: Incoming): Refusal {
  const contentType = request.headers['content-type'] ?? ''
  const told = connectErrorOf(error)
  const { code, rawMessage } = told ?? unexpected()
  const reason = told === undefined ? undefined : loggedReasonOf(error) ?? Code[code]
  // a stream of Connect has its status at its end; the status of HTTP says it before its beginning
  if (!contentType.startsWith('application/grpc')) {
    return { status: httpStatuses.get(code) ?? 500, headers: { 'content-type': 'application/json' }, body: Buffer.from(JSON.stringify({ code: Code[code].replaceAll(/(?<=[a-z])(?=[A-Z])/g, '_').toLowerCase(), message: rawMessage })), reason }
  }
  return { status: 200, headers: { 'content-type': contentType, 'grpc-status': String(code), 'grpc-message': encodeURIComponent(rawMessage) }, body: new Uint8Array(), reason }
}

const httpStatuses: ReadonlyMap<Code, number> = new Map([
  [Code.InvalidArgument, 400], [Code.Unauthenticated, 401], [Code.PermissionDenied, 403], [Code.NotFound, 404], [Code.Unimplemented, 404], [Code.ResourceExhausted, 429], [Code.Canceled, 499], [Code.Unavailable, 503],
])
