import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import * as http2 from 'node:http2'
import { Readable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { bodyOf, lentBodyOf } from '../../../src/api/server/body.ts'
import type { PublicExchange } from '../../../src/api/server/public-listener.ts'
import { hexOf, utf8 } from '../../../src/base/bytes.ts'
import { systemClock } from '../../../src/base/clock.ts'
import { giveBack } from '../../../src/base/lease.ts'
import { servedApi } from '../../support/local-api.ts'
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

test('a body in pieces of one byte has its socket wait for who reads it (128 Ki of them were kept, of 200 bytes each)', async () => {
  const request = Object.assign(new Readable({ read () { /* it is pushed */ } }), { headers: {}, httpVersionMajor: 1 }) as unknown as IncomingMessage
  const body = bodyOf({ request, goOn () {}, signal: new AbortController().signal, clock: systemClock })[Symbol.asyncIterator]()
  const first = body.next()
  for (let count = 0; count < 1000; count++) request.push(Buffer.alloc(1))
  await first
  await expect.poll(() => request.isPaused()).toBe(true)
  let sizeBytes = 1
  request.push(null)
  for await (const piece of { [Symbol.asyncIterator]: () => body }) sizeBytes += piece.byteLength
  expect(sizeBytes).toBe(1000)
})

describe('a put by HTTP/2 without a length that its client gives up', () => {
  const { NGHTTP2_CANCEL, NGHTTP2_NO_ERROR } = http2.constants

  /** What bears a name when a put of it was given up after its first bytes had come. */
  async function remainsOf (code: number): Promise<string> {
    await using served = await servedApi()
    const [target, path] = [{ bucket: 'photos', key: 'part' }, '/v1/objects/photos/part']
    await served.objects.put(target, (async function * () { yield utf8('what stood there') })())
    const { put, get } = served.objects
    const [begun, over] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    served.objects.put = async (to, source, options) => {
      const told = async function * (): AsyncIterable<Uint8Array> { for await (const piece of source) { begun.resolve(); yield piece } }
      try { return await put(to, told(), options) } finally { over.resolve() }
    }
    const session = http2.connect(`http://127.0.0.1:${served.api.port}`)
    try {
      const stream = session.request({ ':path': path, ':method': 'PUT', authorization: `Bearer ${hexOf(served.api.token)}` }, { endStream: false }).on('error', () => { /* it was given up */ })
      stream.write('only a part')
      await begun.promise
      stream.close(code)
      await over.promise
      let text = ''
      for await (const piece of (await get(target)).body) text += Buffer.from(piece).toString()
      return text
    } finally {
      session.destroy()
    }
  }

  // Node's client sends the end of the body before it sends that it gives up
  test.each([['CANCEL', NGHTTP2_CANCEL], ['NO_ERROR', NGHTTP2_NO_ERROR]])('leaves what stood there (%s; the part that had come was stored in its place)', async (_, code) => {
    expect(await remainsOf(code)).toBe('what stood there')
  })
})
