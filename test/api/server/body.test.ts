import { once } from 'node:events'
import * as http2 from 'node:http2'
import { expect, test } from 'vitest'
import { lentBodyOf } from '../../../src/api/server/body.ts'
import type { PublicExchange } from '../../../src/api/server/public-listener.ts'
import { giveBack } from '../../../src/base/lease.ts'
import { servedPublicly } from '../../support/public-listener.ts'

/** As the chunker does: each piece is copied and its memory given back before the next is asked for. */
async function counted ({ request, response, ...exchange }: PublicExchange): Promise<void> {
  let sizeBytes = 0
  for await (const piece of lentBodyOf({ ...exchange, request })) {
    sizeBytes += piece.byteLength
    giveBack(piece)
  }
  response.end(String(sizeBytes))
}

test.each([[16 * 1024 + 1], [16 * 1024 + 40], [2 * 16 * 1024 + 40]])('%i bytes that come by HTTP/2, without a length, are read to the last (frames of one read share memory, and the short last one was given back with the one before)', async (sizeBytes) => {
  await using served = await servedPublicly(counted, { http2: true })
  const session = http2.connect(served.listener.url)
  try {
    const stream = session.request({ ':path': '/', ':method': 'PUT' })
    await once(session, 'remoteSettings')
    await new Promise((resolve) => { session.ping(resolve) })
    stream.end(Buffer.alloc(sizeBytes, 1))
    let text = ''
    for await (const piece of stream.setEncoding('utf8') as AsyncIterable<string>) text += piece
    expect(text).toBe(String(sizeBytes))
  } finally {
    session.destroy()
  }
})
