import { once } from 'node:events'
import { connect } from 'node:net'
import { describe, expect, test } from 'vitest'
import { hexOf, utf8 } from '../../src/base/bytes.ts'
import { objectPath, Unreachable } from '../../src/client/index.ts'
import { hurriedClock, servedApi } from '../support/local-api.ts'

async function textOf (body: AsyncIterable<Uint8Array>): Promise<string> {
  const pieces = []
  for await (const piece of body) pieces.push(piece)
  return Buffer.concat(pieces).toString()
}

/** Silence until the signal: what node.watch gives of a quiet cluster. */
async function * watch ({ signal }: { signal: AbortSignal }): AsyncIterable<never> {
  await new Promise((resolve) => { signal.addEventListener('abort', resolve) })
  yield * []
}

describe('the local API, stopped', () => {
  test('ends watches, which would never end by themselves, and their readers see the end', async () => {
    const served = await servedApi({ watch })
    const { body } = await served.client.download('/v1/watch')
    const [seen] = await Promise.all([textOf(body), served.api[Symbol.asyncDispose]()])
    expect(seen).toBe('{"watching":true}\n')
    await served[Symbol.asyncDispose]()
  })

  test('lets a transfer under way finish, and refuses what comes meanwhile', async () => {
    await using served = await servedApi()
    await served.client.upload(objectPath('photos', 'a'), piecesOf('more than eight bytes'))
    const goOn = Promise.withResolvers<void>()
    served.world.parts.content.read = async function * () { yield utf8('more than '); await goOn.promise; yield utf8('eight bytes') }
    const { body } = await served.client.download(objectPath('photos', 'a'))
    const stopped = served.api[Symbol.asyncDispose]()
    await expect(served.client.json('GET', '/v1/buckets')).rejects.toMatchObject({ status: 503, message: 'the node is stopping' })
    goOn.resolve()
    expect(await textOf(body)).toBe('more than eight bytes')
    await stopped
  })

  test.each([['goes on', trickle], ['says nothing', silence]])('tells a put that takes too long and %s', async (_what, source) => {
    await using served = await servedApi({}, { clock: hurriedClock })
    const started = Promise.withResolvers<void>()
    served.objects.put = async (_target, body, { signal } = {}) => {
      for await (const _piece of body) { started.resolve(); signal?.throwIfAborted() }
      throw new Error('the body ended')
    }
    const told = expect(served.client.upload(objectPath('photos', 'slow'), source())).rejects.toMatchObject({ status: 503, message: 'the node is stopping' })
    await started.promise
    await served.api[Symbol.asyncDispose]()
    await told
  })

  test('does not store what had come of a put that it refused, though the rest comes after the refusal (it was read away, and the end taken for the end of the object)', async () => {
    await using served = await servedApi({}, { clock: hurriedClock })
    const { put } = served.objects
    const begun = Promise.withResolvers<void>()
    const over = Promise.withResolvers<void>()
    served.objects.put = async (target, source, options) => {
      const told = async function * (): AsyncIterable<Uint8Array> { for await (const piece of source) { begun.resolve(); yield piece } }
      try { return await put(target, told(), options) } finally { over.resolve() }
    }
    const socket = connect(served.api.port, '127.0.0.1').on('error', () => { /* it is cut off in the end */ })
    socket.write(`PUT /v1/objects/photos/part HTTP/1.1\r\nhost: 127.0.0.1:${served.api.port}\r\nauthorization: Bearer ${hexOf(served.api.token)}\r\ntransfer-encoding: chunked\r\n\r\n4\r\nonly\r\n`)
    await begun.promise
    const stopped = served.api[Symbol.asyncDispose]()
    const [answer] = await once(socket, 'data') as [Buffer]
    expect(String(answer)).toMatch(/^HTTP\/1.1 503 /)
    socket.write('5\r\n this\r\n0\r\n\r\n')
    await over.promise
    await stopped
    await expect(served.objects.head({ bucket: 'photos', key: 'part' })).rejects.toMatchObject({ code: 'not-found' })
  })

  test('cuts off a reader that reads nothing', async () => {
    await using served = await servedApi({}, { clock: hurriedClock })
    await served.client.upload(objectPath('photos', 'a'), piecesOf('more than eight bytes'))
    const { get } = served.objects
    async function * endless (): AsyncIterable<Uint8Array> { for (;;) yield new Uint8Array(1024 ** 2) }
    served.objects.get = async (target) => ({ ...await get(target), range: { first: 0, end: 1024 ** 4 }, body: endless() })
    const { body } = await served.client.download(objectPath('photos', 'a'))
    await served.api[Symbol.asyncDispose]()
    await expect(textOf(body)).rejects.toThrow(Unreachable)
  })
})

async function * piecesOf (text: string): AsyncIterable<Uint8Array> { yield utf8(text) }

async function * trickle (): AsyncIterable<Uint8Array> {
  for (;;) {
    yield utf8('eight by')
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}

async function * silence (): AsyncIterable<Uint8Array> {
  yield utf8('only this')
  await new Promise(() => {})
}
