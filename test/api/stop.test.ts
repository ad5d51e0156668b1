import { describe, expect, test } from 'vitest'
import { utf8 } from '../../src/base/bytes.ts'
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

  test('cuts off a reader that reads nothing', async () => {
    await using served = await servedApi({}, { clock: hurriedClock })
    await served.client.upload(objectPath('photos', 'a'), piecesOf('more than eight bytes'))
    const { get } = served.objects
    async function * endless (): AsyncIterable<Uint8Array> { for (;;) yield new Uint8Array(1024 ** 2) }
    served.objects.get = async (target) => ({ ...await get(target), range: { first: 0, end: 1024 ** 4 }, body: endless() })
    const { body } = await served.client.download(objectPath('photos', 'a'))
    await served.api[Symbol.asyncDispose]()
    await expect(textOf(body)).rejects.toMatchObject({ code: 'ECONNRESET' })
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
