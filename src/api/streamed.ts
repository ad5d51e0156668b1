import type { OutgoingHttpHeaders } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ObjectReading } from '../objects/index.ts'
import type { Incoming } from './listener.ts'

export const streamLimits = {
  /** What is read ahead of a slow client, beside what the engine reads ahead. */
  aheadBytes: 1024 * 1024,
} as const

/**
 * Sends what was read as the answer, with `status` (200), or 206 where `isPart`. What cannot be read at all is thrown before a header is out, so that there is room for the reason; a read that
 * fails half way destroys the connection: the client sees a short body, never a whole one. `onBegun` runs when the first bytes are there, before they are sent.
 */
export async function streamed ({ response, signal }: Pick<Incoming, 'response' | 'signal'>, { info, range: { first, end }, body }: ObjectReading, { headers, isPart = false, status = 200, onBegun = async () => {} }: { headers: OutgoingHttpHeaders, isPart?: boolean, status?: number, onBegun?: () => Promise<void> }): Promise<void> {
  const readable = Readable.from(await begun(body, onBegun), { objectMode: false, highWaterMark: streamLimits.aheadBytes })
  const all = { ...headers, 'content-length': end - first }
  if (isPart) response.writeHead(206, { ...all, 'content-range': `bytes ${first}-${end - 1}/${info.sizeBytes}` })
  else response.writeHead(status, all)
  await pipeline(readable, response, { signal })
}

/** The same bytes, once the first are there. */
async function begun (body: AsyncIterable<Uint8Array>, onBegun: () => Promise<void>): Promise<AsyncIterable<Uint8Array>> {
  const iterator = body[Symbol.asyncIterator]()
  const first = await iterator.next()
  try {
    await onBegun()
  } catch (error) {
    await iterator.return?.()
    throw error
  }
  return (async function * () {
    try {
      for (let next = first; next.done !== true; next = await iterator.next()) yield next.value
    } finally {
      await iterator.return?.()
    }
  })()
}
