import { request } from 'node:http'
import { describe, expect, test } from 'vitest'
import { hexOf, utf8 } from '../../src/base/bytes.ts'
import { objectPath } from '../../src/client/index.ts'
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

  test('tells a put that takes too long, and cuts off one that never ends', async () => {
    await using served = await servedApi({}, { clock: hurriedClock })
    let underWay = 0
    served.objects.put = async (_target, source, { signal } = {}) => {
      underWay++
      for await (const _piece of source) signal?.throwIfAborted()
      throw new Error('the body ended')
    }
    const slow = served.client.upload(objectPath('photos', 'slow'), trickle())
    const silent = request({ host: '127.0.0.1', port: served.api.port, method: 'PUT', path: objectPath('photos', 'silent'), headers: { authorization: `Bearer ${hexOf(served.api.token)}`, 'content-length': 100 } })
    const cut = new Promise((resolve) => { silent.on('error', resolve) })
    silent.write('only this')
    await expect.poll(() => underWay).toBe(2)
    const told = expect(slow).rejects.toMatchObject({ status: 503, message: 'the node is stopping' })
    await served.api[Symbol.asyncDispose]()
    await told
    expect(await cut).toMatchObject({ code: 'ECONNRESET' })
  })
})

async function * piecesOf (text: string): AsyncIterable<Uint8Array> { yield utf8(text) }

async function * trickle (): AsyncIterable<Uint8Array> {
  for (;;) {
    yield utf8('eight by')
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}
