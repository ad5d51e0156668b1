import type { Message } from '@bufbuild/protobuf'
import { Code, ConnectError, type ContextKey, createContextKey, type HandlerContext, type Interceptor } from '@connectrpc/connect'
import { InvalidInput, Unavailable } from '../../base/errors.ts'
import { loggedReasonOf } from '../errors.ts'
import type { Incoming } from '../server/listener.ts'
import { connectErrorOf, unexpected } from './errors.ts'

/** The request under a call. */
export const incomingKey: ContextKey<Incoming | undefined> = createContextKey<Incoming | undefined>(undefined)

/**
 * Every call: its errors in the words of base/errors.ts, its name and code in the log, and its end at once when its time is up, its client has gone or the
 * node stops, whatever the engine is at; the engine has the same signal.
 */
export const everyCall: Interceptor = (next) => async (request) => {
  const incoming = request.contextValues.get(incomingKey)
  const told = (error: unknown): Error => toldOf(error, request.signal, incoming)
  incoming?.note({ area: 'rpc', call: `${request.service.typeName}/${request.method.name}` })
  try {
    if (!request.stream) demandKnown(request.message)
    const response = await unlessAborted(next(request.stream ? { ...request, message: allKnown(request.message) } : request), request.signal)
    return response.stream ? { ...response, message: guarded(response.message, request.signal, told) } : response
  } catch (error) {
    throw told(error)
  }
}

/** What a later version of the interface says may be a condition, or a lock: it is refused, as are numbers that an enumeration has not. @throws InvalidInput */
function demandKnown (value: unknown): void {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return
  const { $typeName: name, $unknown: unknown } = value as Partial<Message>
  // JSON within has names of any kind, and values too
  if (typeof name === 'string' && Array.isArray(unknown) && unknown.length > 0) throw new InvalidInput('message', `${name} has a field ${unknown[0]?.no} which this node does not know; what it says would be passed over`)
  Object.values(value).forEach(demandKnown)
}

async function * allKnown<T> (messages: AsyncIterable<T>): AsyncIterable<T> {
  for await (const message of messages) {
    demandKnown(message)
    yield message
  }
}

function toldOf (error: unknown, signal: AbortSignal, incoming: Incoming | undefined): Error {
  // what an engine throws when it is told to stop says less than why it was
  const reason: unknown = signal.aborted && connectErrorOf(signal.reason) !== undefined ? signal.reason : error
  const told = connectErrorOf(reason)
  if (told === undefined && !signal.aborted) incoming?.note({ err: error })
  const { code } = told ?? unexpected()
  incoming?.note({ code: Code[code], reason: reason instanceof ConnectError ? undefined : loggedReasonOf(reason) })
  return told ?? unexpected()
}

async function * guarded<T> (messages: AsyncIterable<T>, signal: AbortSignal, told: (error: unknown) => Error): AsyncIterable<T> {
  const iterator = messages[Symbol.asyncIterator]()
  try {
    for (;;) {
      const next = await unlessAborted(iterator.next(), signal)
      if (next.done === true) return
      yield next.value
    }
  } catch (error) {
    throw told(error)
  } finally {
    // not waited for: it may be at something that never ends by itself. Its failure has nobody left to tell
    void iterator.return?.().then(undefined, () => {})
  }
}

async function unlessAborted<T> (work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const onAbort = (): void => { reject(signal.reason as Error) }
  signal.addEventListener('abort', onAbort, { once: true })
  if (signal.aborted) onAbort()
  try {
    return await Promise.race([work, aborted])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

/** For what would never end by itself: also ends when the node stops, and says so. A quiet one is no idle client. */
export async function * untilStopped<T> (context: HandlerContext, stream: (signal: AbortSignal) => AsyncIterable<T>): AsyncIterable<T> {
  const incoming = context.values.get(incomingKey)
  incoming?.request.socket.setTimeout(0)
  const stopping = incoming?.stopping
  yield * stream(stopping === undefined ? context.signal : AbortSignal.any([context.signal, stopping]))
  if (stopping?.aborted === true) throw new Unavailable('the node is stopping')
}
