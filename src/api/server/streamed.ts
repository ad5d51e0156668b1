import type { OutgoingHttpHeaders, ServerResponse } from 'node:http'
import type { ObjectReading } from '../../objects/index.ts'
import type { Incoming } from './listener.ts'

/**
 * Sends what was read as the answer, with `status` (200), or 206 where `isPart`. What cannot be read at all is thrown before a header is out, so that there is room for the reason; a read that
 * fails half way destroys the connection: the client sees a short body, never a whole one. `onBegun` runs when the first bytes are there, before they are sent.
 * A client that does not read holds one chunk here, and the engine's window is the only reading ahead: a stream between the two would hold three chunks more.
 */
export async function streamed ({ response, signal }: Pick<Incoming, 'response' | 'signal'>, { info, range: { first, end }, body }: ObjectReading, { headers, isPart = false, status = 200, onBegun = async () => {} }: { headers: OutgoingHttpHeaders, isPart?: boolean, status?: number, onBegun?: () => Promise<void> }): Promise<void> {
  const bytes = await begun(body, onBegun)
  const all = { ...headers, 'content-length': end - first }
  if (isPart) response.writeHead(206, { ...all, 'content-range': `bytes ${first}-${end - 1}/${info.sizeBytes}` })
  else response.writeHead(status, all)
  let flushed = Promise.resolve()
  try {
    for await (const piece of bytes) {
      const { promise, resolve } = Promise.withResolvers<void>()
      flushed = promise
      if (!response.write(piece, () => { resolve() })) await told(response, 'drain', signal)
    }
  } catch (error) {
    // what was right goes out, so that the client sees a body that breaks off, and not a connection that did
    await Promise.race([flushed, told(response, 'finish', signal).catch(() => { /* nobody waits for it any more */ })])
    throw error
  }
  response.end()
  await told(response, 'finish', signal)
}

/** Resolves at the event; rejects when the client has gone. */
function told (response: ServerResponse, event: 'drain' | 'finish', signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void) => () => {
      response.off(event, onEvent).off('close', onClose).off('error', onClose)
      signal.removeEventListener('abort', onClose)
      act()
    }
    const onEvent = settle(resolve)
    const onClose = settle(() => { reject(signal.aborted ? signal.reason as Error : new Error('the client went away')) })
    if (signal.aborted || response.destroyed) { onClose(); return }
    response.once(event, onEvent).once('close', onClose).once('error', onClose)
    signal.addEventListener('abort', onClose, { once: true })
  })
}

/** The same bytes, once the first are there. */
async function begun (body: AsyncIterable<Uint8Array>, onBegun: () => Promise<void>): Promise<AsyncIterable<Uint8Array>> {
  const iterator = body[Symbol.asyncIterator]()
  // given up when it has been passed on: a closure would keep it as long as the transfer lasts
  let first: IteratorResult<Uint8Array> | undefined = await iterator.next()
  try {
    await onBegun()
  } catch (error) {
    await iterator.return?.()
    throw error
  }
  const taken = (): Uint8Array => { const value = first?.value as Uint8Array; first = undefined; return value }
  return (async function * () {
    try {
      if (first?.done === true) return
      yield taken()
      for (let next = await iterator.next(); next.done !== true; next = await iterator.next()) yield next.value
    } finally {
      await iterator.return?.()
    }
  })()
}
