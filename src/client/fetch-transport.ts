import { Unreachable } from './errors.ts'
import type { Answer, Body, Outgoing, Transport } from './transport.ts'

/**
 * By `fetch`: what every browser has. Browsers send no stream over HTTP/1.1, so an iterable is gathered into a Blob first, which they keep on disk when it is
 * large; a Blob or File goes as it is.
 */
export function fetchTransport ({ url, authorization }: { url: string, authorization: string | undefined }): Transport {
  const base = new URL(url).origin
  return {
    async send ({ method, path, headers = {}, body, signal }: Outgoing): Promise<Answer> {
      const sent = body === undefined ? undefined : await sendable(body, signal)
      const answer = await fetch(base + path, {
        method, body: sent, signal, redirect: 'error', credentials: 'omit', cache: 'no-store',
        headers: { ...headers, ...(authorization === undefined ? {} : { authorization }) },
      }).catch((cause: unknown) => {
        signal?.throwIfAborted()
        throw new Unreachable(`${base} could not be reached, or lets no page of this origin in`, { cause })
      })
      return { status: answer.status, headers: Object.fromEntries(answer.headers), body: bodyOf(answer, signal) }
    },
    close: () => {},
  }
}

async function sendable (body: Body, signal: AbortSignal | undefined): Promise<string | Blob | Uint8Array<ArrayBuffer>> {
  if (typeof body === 'string' || body instanceof Blob) return body
  if (body instanceof Uint8Array) return body as Uint8Array<ArrayBuffer>
  const pieces: Uint8Array<ArrayBuffer>[] = []
  const iterator = body[Symbol.asyncIterator]()
  let giveUp = (): void => {}
  const aborted = new Promise<never>((_, reject) => { giveUp = () => { reject(signal?.reason as Error) } })
  signal?.addEventListener('abort', giveUp)
  try {
    signal?.throwIfAborted()
    for (let next = await Promise.race([iterator.next(), aborted]); next.done !== true; next = await Promise.race([iterator.next(), aborted])) pieces.push(next.value as Uint8Array<ArrayBuffer>)
    return new Blob(pieces)
  } finally {
    signal?.removeEventListener('abort', giveUp)
    // not waited for: it may stand still, and what it says then concerns nobody any more
    void iterator.return?.().then(undefined, () => {})
  }
}

async function * bodyOf ({ body }: Response, signal: AbortSignal | undefined): AsyncIterable<Uint8Array> {
  if (body === null) return
  const reader = body.getReader()
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((cause: unknown) => {
        signal?.throwIfAborted()
        throw new Unreachable('the connection broke in the middle of the answer', { cause })
      })
      if (done) return
      yield value
    }
  } finally {
    // whoever stops reading wants no more of it; it may have ended already
    await reader.cancel().catch(() => {})
  }
}
