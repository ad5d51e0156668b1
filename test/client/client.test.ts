import { createReadStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { publicApiFace } from '../../src/api/public-api.ts'
import { systemClock } from '../../src/base/clock.ts'
import { Conflict, Unavailable } from '../../src/base/errors.ts'
import { connect as connectInBrowser } from '../../src/client/browser.ts'
import { clientOver } from '../../src/client/client.ts'
import { type Client, ClientError, clientLimits, connect, type Status, Unreachable } from '../../src/client/index.ts'
import type { Answer, Outgoing } from '../../src/client/transport.ts'
import type { DfsNode, NodeStatus } from '../../src/node.ts'
import { type Objects, objectStore } from '../../src/objects/index.ts'
import { clientOf, hurriedClock, servedApi } from '../support/local-api.ts'
import { objectWorld } from '../support/object-parts.ts'
import { servedPublicly } from '../support/public-listener.ts'
import { testGate } from '../support/web-face.ts'

const text = (bytes: string): Uint8Array<ArrayBuffer> => new TextEncoder().encode(bytes)
const target = { bucket: 'photos', key: 'a/../ü 💾' }
const tls = { cert: join(import.meta.dirname, '..', 'support', 'tls', 'first.crt'), key: join(import.meta.dirname, '..', 'support', 'tls', 'first.key') }

// what the client says of a status holds of what the node tells
const statusOf = (status: NodeStatus): Status => status

interface World { readonly client: Client, readonly objects: { -readonly [M in keyof Objects]: Objects[M] }, readonly closing: AsyncDisposableStack }

const announced = async function * (): AsyncIterable<unknown> {
  yield { at: '2026-01-02T03:04:05.000Z', from: 'p', versionId: 'v', object: { bucket: 'photos', key: 'seen' } }
  yield { at: '2026-01-02T03:04:05.000Z', from: 'p', versionId: 'w', object: { bucket: 'other', key: 'k' } }
}

/** A client of a node of this machine. */
async function localWorld (): Promise<World> {
  const closing = new AsyncDisposableStack()
  const served = closing.use(await servedApi({ watch: announced as DfsNode['watch'] }))
  const { client: raw, folder } = await clientOf(served.api)
  closing.use(folder)
  raw.close()
  const client = closing.use(await connect({ data: folder.path }))
  return { client, objects: served.objects, closing }
}

/** A client of a node elsewhere, with an access key: of Node over TLS, or as browsers have it. */
async function remoteWorld (isBrowser: boolean): Promise<World> {
  const closing = new AsyncDisposableStack()
  const objects = { ...objectStore(objectWorld().parts) }
  for (const bucket of ['open', 'photos']) await objects.createBucket(bucket)
  const node = { objects, watch: announced, status: async () => ({ isReady: true }) } as unknown as DfsNode
  const face = publicApiFace({ node, clock: systemClock, config: { rpcOrigins: [], rpcReflection: false }, gate: testGate })
  const { listener } = closing.use(await servedPublicly((exchange) => face.answer(exchange), { face, http2: true, ...(isBrowser ? {} : { tls }) }))
  const accessKey = { id: 'writer', secret: 'secret' }
  const client = closing.use(isBrowser
    ? await connectInBrowser({ url: `http://127.0.0.1:${listener.port}`, accessKey })
    : await connect({ url: `https://localhost:${listener.port}`, accessKey, ca: await readFile(tls.cert) }))
  return { client, objects, closing }
}

describe.each([['a local node', localWorld], ['a node elsewhere', async () => remoteWorld(false)], ['a browser', async () => remoteWorld(true)]] as const)('the client of %s', (_, open) => {
  let world: World
  let client: Client
  beforeAll(async () => { world = await open(); client = world.client })
  afterAll(async () => { await world.closing.disposeAsync() })

  test.each<[string, () => Parameters<Client['put']>[1]]>([
    ['bytes', () => text('more than eight bytes')], ['a text', () => 'more than eight bytes'], ['a Blob', () => new Blob(['more than eight bytes'])],
    ['an iterable', () => (async function * () { yield text('more than '); yield text('eight bytes') })()], ['a stream', () => new Blob(['more than eight bytes']).stream()],
  ])('stores %s and gives it back', async (__, source) => {
    const stored = await client.put(target, source(), { contentType: 'text/x', metadata: { who: 'mé ✓', plain: 'a b', empty: '' } })
    expect(stored).toMatchObject({ ...target, sizeBytes: 21, contentType: 'text/x' })
    const reading = await client.get(target)
    expect(reading.info).toEqual({ ...stored, metadata: { who: 'mé ✓', plain: 'a b', empty: '' } })
    expect(await reading.text()).toBe('more than eight bytes')
    expect(await client.head(target)).toEqual(reading.info)
    expect((await world.objects.head(target)).metadata).toEqual({ who: 'mé ✓', plain: 'a b', empty: '' })
  })

  test('reads ranges, as bytes, as a stream, and piece by piece with progress', async () => {
    const { etag } = await client.put(target, 'more than eight bytes')
    const middle = await client.get(target, { range: { first: 5, last: 8 }, ifMatch: etag })
    expect(middle.range).toEqual({ first: 5, end: 9 })
    expect(middle.info.sizeBytes).toBe(21)
    expect(await middle.bytes()).toEqual(text('than'))
    expect(await (await client.get(target, { range: { first: -5 } })).text()).toBe('bytes')
    expect(await new Response((await client.get(target, { range: { first: 16 } })).stream()).text()).toBe('bytes')
    const progress: number[][] = []
    for await (const _piece of (await client.get(target, { onProgress: (...told) => { progress.push(told) } })).body) { /* counted */ }
    expect(progress.at(-1)).toEqual([21, 21])
    const sent: number[] = []
    await client.put(target, (async function * () { yield text('123'); yield text('45') })(), { onProgress: (bytes) => { sent.push(bytes) } })
    expect(sent).toEqual([3, 5])
    await client.put(target, '')
    expect(await (await client.get(target)).bytes()).toEqual(new Uint8Array())
  })

  test('a range that is none is refused (all came, as if nothing had been said)', async () => {
    await client.put(target, 'more than eight bytes')
    for (const range of [{ first: 5, last: 2 }, { first: 1.5 }, { first: NaN }, { first: 2, last: 3.5 }, { first: 1e21 }, { first: -5, last: 2 }]) {
      await expect(client.get(target, { range }), JSON.stringify(range)).rejects.toMatchObject({ name: 'ClientError', code: 'invalid', status: 416, field: 'range' })
    }
  })

  test.each<[string, () => Parameters<Client['put']>[1]]>([
    ['a text', () => '0123456789'], ['bytes', () => text('0123456789')], ['a Blob', () => new Blob(['0123456789'])], ['an iterable', () => (async function * () { yield text('01234'); yield text('56789') })()],
  ])('%s of another length than was said stores nothing (of a longer one the beginning was stored, a shorter one was waited for)', async (name, source) => {
    const place = { ...target, key: `sized ${name}` }
    for (const sizeBytes of [3, 5, 11, NaN]) await expect(client.put(place, source(), { sizeBytes })).rejects.toMatchObject({ name: 'ClientError', code: 'invalid', field: 'size' })
    await expect(client.head(place)).rejects.toMatchObject({ code: 'not-found' })
    expect(await client.put(place, source(), { sizeBytes: 10 })).toMatchObject({ sizeBytes: 10 })
  })

  test('a source that fails as files do is not taken for a node that is not reached', async () => {
    await expect(client.put({ ...target, key: 'file' }, createReadStream('/nothing/is/here'))).rejects.toMatchObject({ code: 'ENOENT' })
  })

  test('whoever asks again and again what is known of objects is answered every time (it waited for ever after 64)', async () => {
    await client.put(target, 'x')
    for (let i = 0; i < clientLimits.maxSockets + 1; i++) await client.head(target)
    for (let i = 0; i < clientLimits.maxSockets + 1; i++) await expect(client.head({ ...target, key: 'nothing' })).rejects.toMatchObject({ code: 'not-found' })
  }, 20_000)

  test('conditions have one winner, and errors their codes', async () => {
    const { etag } = await client.put(target, 'one')
    const failure = async (act: Promise<unknown>): Promise<unknown> => act.then(() => undefined, (error: unknown) => error)
    expect(await failure(client.put(target, 'two', { ifNoneMatch: '*' }))).toMatchObject({ name: 'ClientError', code: 'conflict', status: 412 })
    await client.put(target, 'two', { ifMatch: etag })
    expect(await failure(client.put(target, 'three', { ifMatch: etag }))).toMatchObject({ code: 'conflict' })
    expect(await failure(client.get({ ...target, key: 'nothing' }))).toMatchObject({ code: 'not-found', message: expect.stringContaining('nothing') as string })
    expect(await failure(client.head({ ...target, key: 'nothing' }))).toMatchObject({ code: 'not-found' })
    expect(await failure(client.get(target, { range: { first: 99 } }))).toMatchObject({ code: 'invalid', status: 416, field: 'range' })
    expect(await failure(client.remove(target, { ifMatch: etag }))).toMatchObject({ code: 'conflict' })
    expect(await client.remove(target)).toBe(true)
    expect(await client.remove(target)).toBe(false)
    expect(await failure(client.put(target, (async function * () { yield text('half'); throw new RangeError('the source broke') })()))).toMatchObject({ message: 'the source broke' })
    expect(await failure(client.head(target))).toMatchObject({ code: 'not-found' })
  })

  test('lists all, page by page, and stops when nobody takes any more', async () => {
    for (const key of ['l/1', 'l/2', 'l/3', 'l/sub/4']) await client.put({ bucket: 'photos', key }, 'x')
    const keys: string[] = []
    for await (const { key } of client.list('photos', { prefix: 'l/', limit: 2 })) keys.push(key)
    expect(keys).toEqual(['l/1', 'l/2', 'l/3', 'l/sub/4'])
    expect(await client.page('photos', { prefix: 'l/', delimiter: '/', after: 'l/2' })).toMatchObject({ objects: [{ key: 'l/3' }], prefixes: ['l/sub/'] })
    for await (const { key } of client.list('photos', { prefix: 'l/' })) { expect(key).toBe('l/1'); break }
  })

  test('a put whose source stands still is given up when the signal says so', async () => {
    const controller = new AbortController()
    const putting = client.put(target, (async function * () { yield text('x'); controller.abort(new RangeError('enough')); await new Promise(() => {}) })(), { signal: controller.signal })
    await expect(putting).rejects.toThrow('enough')
  }, 5000)

  test('copies, watches a bucket, and aborts', async () => {
    world.objects.copy = async (source, to, options) => {
      if (options?.ifNoneMatch !== '*') throw new Conflict('only if absent')
      return { ...await world.objects.head(source), ...to }
    }
    await client.put(target, 'one')
    expect(await client.copy(target, { bucket: 'photos', key: 'copy of ü' }, { ifNoneMatch: '*' })).toMatchObject({ key: 'copy of ü', sizeBytes: 3 })
    const seen: unknown[] = []
    for await (const one of await client.watch({ bucket: 'photos', prefix: 'se' })) seen.push(one)
    expect(seen).toMatchObject([{ object: { key: 'seen' }, versionId: 'v' }])
    const signal = AbortSignal.abort(new RangeError('enough'))
    await expect(client.get(target, { signal })).rejects.toThrow('enough')
    await expect(client.put(target, 'x', { signal })).rejects.toThrow('enough')
  })
})

test('buckets are made, listed, changed and removed; the status and any request are there', async () => {
  const served = await servedApi({ status: async () => ({ isReady: true, health: [] }) as unknown as NodeStatus })
  await using _served = served
  const { client: raw, folder } = await clientOf(served.api)
  raw.close()
  using client = await connect({ data: folder.path })
  await using _folder = folder
  expect(await client.buckets.create('made', { copies: 2 })).toMatchObject({ name: 'made', copies: 2 })
  expect((await client.buckets.list()).map(({ name }) => name)).toEqual(['made', 'photos'])
  expect(await client.buckets.update('made', { copies: 1 })).toMatchObject({ copies: 1 })
  expect(await client.buckets.get('made')).toMatchObject({ copies: 1 })
  await client.buckets.remove('made')
  await expect(client.buckets.get('made')).rejects.toMatchObject({ code: 'not-found' })
  expect(await client.status()).toMatchObject({ isReady: true })
  expect(await client.request('GET', '/v1/peers')).toEqual({ peers: [] })
  expect(statusOf).toBeTypeOf('function')
})

describe('what is repeated', () => {
  let asked: Outgoing[]
  let answers: Array<Answer | Error>
  let client: Client
  const answer = (status: number, body: AsyncIterable<Uint8Array> | string, headers: Record<string, string> = {}): Answer =>
    ({ status, headers, body: typeof body === 'string' ? (async function * () { yield text(body) })() : body })
  const unavailable = (): Answer => answer(503, JSON.stringify({ error: { code: 'unavailable', message: 'too few answer' } }))
  const breaking = async function * (piece: string): AsyncIterable<Uint8Array> { yield text(piece); throw new Unreachable('it broke') }

  beforeEach(() => {
    ;[asked, answers] = [[], []]
    client = clientOver({ close: () => {}, async send (outgoing) { asked.push(outgoing); const next = answers.shift() ?? unavailable(); if (next instanceof Error) throw next; return next } }, { clock: hurriedClock })
  })

  test('a read, when the node is not reached or not available, a few times', async () => {
    answers = [new Unreachable('away'), unavailable(), answer(200, '', { 'content-length': '3', etag: '"e"' })]
    expect(await client.head(target)).toMatchObject({ sizeBytes: 3, etag: 'e' })
    asked = []
    await expect(client.head(target)).rejects.toMatchObject({ code: 'unavailable' })
    expect(asked).toHaveLength(4)
  })

  test('never a write, and never what another attempt would not change', async () => {
    await expect(client.put(target, 'x')).rejects.toBeInstanceOf(ClientError)
    await expect(client.remove(target)).rejects.toBeInstanceOf(ClientError)
    await expect(client.buckets.create('b')).rejects.toBeInstanceOf(ClientError)
    expect(asked).toHaveLength(3)
    answers = [answer(404, JSON.stringify({ error: { code: 'not-found', message: 'no' } }))]
    await expect(client.get(target)).rejects.toMatchObject({ code: 'not-found' })
    expect(asked).toHaveLength(4)
  })

  test('a body that breaks off goes on where it ended, on the same version, and no byte comes twice', async () => {
    answers = [answer(200, breaking('0123'), { 'content-length': '10', etag: '"e"' }), answer(206, breaking('45'), { 'content-range': 'bytes 4-9/10' }), new Unreachable('away'), answer(206, '6789', { 'content-range': 'bytes 6-9/10' })]
    expect(await (await client.get(target)).text()).toBe('0123456789')
    expect(asked.map(({ headers }) => [headers?.range, headers?.['if-match']])).toEqual([[undefined, undefined], ['bytes=4-9', '"e"'], ['bytes=6-9', '"e"'], ['bytes=6-9', '"e"']])
  })

  test('a body that can only begin anew, where a server between passes over ranges, fails: its first bytes would come twice', async () => {
    answers = [answer(200, breaking('0123'), { 'content-length': '10', etag: '"e"' }), answer(200, '0123456789', { 'content-length': '10', etag: '"e"' })]
    const got: string[] = []
    await expect((async () => { for await (const piece of (await client.get(target)).body) got.push(new TextDecoder().decode(piece)) })()).rejects.toBeInstanceOf(Unreachable)
    expect(got.join('')).toBe('0123')
  })

  test('not for ever: a body that brings nothing more fails, and one whose version has gone says so', async () => {
    answers = [answer(200, breaking('0'), { 'content-length': '9', etag: '"e"' })]
    await expect((await client.get(target)).bytes()).rejects.toMatchObject({ code: 'unavailable' })
    answers = [answer(200, breaking('0'), { 'content-length': '9', etag: '"e"' }), answer(409, JSON.stringify({ error: { code: 'conflict', message: 'the object has changed' } }))]
    await expect((await client.get(target)).bytes()).rejects.toMatchObject({ code: 'conflict' })
    answers = [answer(200, '01', { 'content-length': '9', etag: '"e"' })]
    await expect((await client.get(target)).bytes()).rejects.toMatchObject({ code: 'unavailable' })
  })
})

test('a URL at which nothing answers is unreachable, whoever asks', async () => {
  for (const open of [connect, connectInBrowser]) {
    using client = await open({ url: 'http://127.0.0.1:1' })
    await expect(client.put(target, 'x')).rejects.toBeInstanceOf(Unreachable)
  }
})

test('an unavailable node says so through the whole stack', async () => {
  await using served = await servedApi()
  const { client: raw, folder } = await clientOf(served.api)
  await using _folder = folder
  raw.close()
  using client = await connect({ data: folder.path })
  served.objects.head = async () => { throw new Unavailable('too few answer') }
  await expect(client.head(target)).rejects.toMatchObject({ code: 'unavailable', status: 503 })
})
