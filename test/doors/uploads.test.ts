import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Upload } from 'tus-js-client'
import { Unavailable } from '../../src/base/errors.ts'
import { answerTo } from '../support/public-listener.ts'
import { type Answer, basic, servedWeb, type ServedWeb } from '../support/web-face.ts'

let served: ServedWeb
const writer = basic('writer')
const tus = { 'tus-resumable': '1.0.0', ...writer }
const octets = { ...tus, 'content-type': 'application/offset+octet-stream' }

beforeEach(async () => { served = await servedWeb() })
afterEach(async () => { await served[Symbol.asyncDispose]() })

const begin = (path: string, headers: Record<string, string> = {}): Promise<Answer> => served.ask(path, { method: 'POST', headers: { ...tus, 'upload-length': '10', ...headers } })
const contentOf = async (path: string): Promise<string> => (await served.ask(path, { headers: writer })).body

describe('PUT', () => {
  test('stores a whole object for a key that may write, and nobody else', async () => {
    expect(await served.ask('/photos/a', { method: 'PUT', body: 'content', headers: { ...writer, 'content-type': 'text/plain' } })).toMatchObject({ status: 201, headers: { location: '/photos/a', etag: expect.stringMatching(/^"/) as string } })
    expect(await contentOf('/photos/a')).toBe('content')
    expect((await served.ask('/photos/a', { method: 'PUT', body: 'x', headers: basic('reader') })).status).toBe(403)
    expect((await served.ask('/open/a', { method: 'PUT', body: 'x' })).status).toBe(401)
    expect((await served.ask('/photos/a', { method: 'PUT', body: 'x', headers: { ...writer, 'if-none-match': '*' } })).status).toBe(412)
    expect((await served.ask('/photos/a', { method: 'PUT', body: 'x', headers: { ...writer, 'if-match': '"other"' } })).status).toBe(412)
    // each of these replaced it
    for (const [name, value] of [['if-none-match', 'W/"x"'], ['if-none-match', '"x", "y"'], ['content-range', 'bytes 4-7/8'], ['if-unmodified-since', 'Mon, 01 Jan 2001 00:00:00 GMT']] as const) expect((await served.ask('/photos/a', { method: 'PUT', body: 'x', headers: { ...writer, [name]: value } })).status).toBe(400)
    expect(await contentOf('/photos/a')).toBe('content')
  })
})

describe('who may write and not read', () => {
  test('is not told whether an ETag, which says what is in it, is the object\'s', async () => {
    const dropping = async (more: Record<string, string>): Promise<number> => (await served.ask('/photos/dropped', { method: 'PUT', body: 'x', headers: { ...basic('dropper'), ...more } })).status
    expect([await dropping({}), await dropping({ 'if-none-match': '*' }), await dropping({ 'if-match': '*' }), await dropping({ 'if-match': '"x"' }), await dropping({ 'if-none-match': '"x"' })]).toEqual([201, 412, 201, 403, 403])
  })
})

describe('what is said of a PUT', () => {
  test('to be encoded is told so again (it was served as if it were not)', async () => {
    expect((await served.ask('/photos/packed.js', { method: 'PUT', body: 'x', headers: { ...writer, 'content-encoding': 'gzip' } })).status).toBe(201)
    expect((await served.ask('/photos/packed.js', { headers: writer })).headers['content-encoding']).toBe('gzip')
  })
})

describe('a resumable upload (tus)', () => {
  const content = Buffer.from(Array.from({ length: 100_000 }, (_, i) => i & 0xff))
  const uploaded = (options: ConstructorParameters<typeof Upload>[1]): Promise<Upload> => new Promise((resolve, reject) => {
    const upload: Upload = new Upload(content, {
      endpoint: `${served.listener.url}/photos/`, headers: writer, metadata: { filename: 'film.bin', filetype: 'video/mp4' }, chunkSize: 30_000, retryDelays: [0, 0, 0, 0], ...options,
      onSuccess: () => { resolve(upload) }, onError: reject,
    })
    upload.start()
  })

  test('is what tus-js-client does, into a folder by the file\'s name', async () => {
    await uploaded({})
    const answer = await served.ask('/photos/film.bin', { headers: writer })
    expect(answer.headers).toMatchObject({ 'content-type': 'video/mp4', 'content-length': '100000' })
    expect(Buffer.compare(Buffer.from(await collected(served, 'film.bin')), content)).toBe(0)
  })

  test('is what tus-js-client does with data in the first request, at a key of its own', async () => {
    await uploaded({ endpoint: `${served.listener.url}/photos/a/b%20c`, uploadDataDuringCreation: true, metadata: {} })
    expect(Buffer.compare(Buffer.from(await collected(served, 'a/b c')), content)).toBe(0)
  })

  test('is what tus-js-client does where no PATCH gets through (a POST was refused)', async () => {
    await uploaded({ overridePatchMethod: true })
    expect(Buffer.compare(Buffer.from(await collected(served, 'film.bin')), content)).toBe(0)
  })

  test('goes on after failures, from where it was', async () => {
    const real = served.objects.uploads
    let calls = 0
    served.objects.uploads = { ...served.objects.uploads, append: async (target, id, offset, source) => {
      if (++calls === 2) throw new Unavailable('too few nodes answer')
      return real.append(target, id, offset, source)
    } }
    await uploaded({})
    expect(Buffer.compare(Buffer.from(await collected(served, 'film.bin')), content)).toBe(0)
    expect(calls).toBe(5)
  })

  test('keeps what came of a request that broke off', async () => {
    const { headers: { location = '' } } = await begin('/photos/a')
    const cut = answerTo(served.listener.port, `PATCH ${location} HTTP/1.1\r\nhost: localhost\r\n${Object.entries(octets).map(([name, value]) => `${name}: ${value}\r\n`).join('')}upload-offset: 0\r\ntransfer-encoding: chunked\r\n\r\n4\r\nabcd\r\nbroken`)
    await cut
    await expect.poll(async () => (await served.ask(location, { method: 'HEAD', headers: tus })).headers['upload-offset']).toBe('4')
    expect(await served.ask(location, { method: 'PATCH', headers: { ...octets, 'upload-offset': '4' }, body: 'efghij' })).toMatchObject({ status: 204, headers: { 'upload-offset': '10', 'tus-resumable': '1.0.0' } })
    expect(await contentOf('/photos/a')).toBe('abcdefghij')
  })

  test('whose last answer was lost is told as whole, and only when it is an object', async () => {
    const { headers: { location = '' } } = await begin('/photos/a')
    const real = served.objects.uploads
    served.objects.uploads = { ...served.objects.uploads, finish: async () => { throw new Unavailable('no majority') } }
    expect((await served.ask(location, { method: 'PATCH', headers: { ...octets, 'upload-offset': '0' }, body: '0123456789' })).status).toBe(503)
    expect((await served.ask(location, { method: 'HEAD', headers: tus })).status).toBe(503)
    served.objects.uploads = real
    for (let i = 0; i < 2; i++) expect(await served.ask(location, { method: 'HEAD', headers: tus })).toMatchObject({ status: 200, headers: { 'upload-offset': '10', 'upload-length': '10', 'cache-control': 'no-store' } })
    expect(await contentOf('/photos/a')).toBe('0123456789')
  })

  test('refuses what would spoil it', async () => {
    const { headers: { location = '' } } = await begin('/photos/a')
    const patch = async (headers: Record<string, string>, body = 'abcd', path = location): Promise<number> => (await served.ask(path, { method: 'PATCH', headers, body })).status
    expect(await patch({ ...octets, 'upload-offset': '1' })).toBe(409)
    expect(await patch({ ...octets, 'upload-offset': 'x' })).toBe(400)
    expect(await patch({ ...octets, 'upload-offset': '0', 'content-type': 'text/plain' })).toBe(415)
    expect(await patch({ ...octets, 'upload-offset': '0', 'tus-resumable': '0.2.2' })).toBe(412)
    expect(await patch({ ...octets, 'upload-offset': '0', ...basic('reader') })).toBe(403)
    expect(await patch({ ...octets, 'upload-offset': '0' }, 'x'.repeat(11))).toBe(413)
    expect(await patch({ ...octets, 'upload-offset': '0' }, 'abcd', location.replace(/[0-9a-f]{64}/, '0'.repeat(64)))).toBe(404)
    expect(await patch({ ...octets, 'upload-offset': '0' }, 'abcd', '/u/x/10/photos/a')).toBe(404)
    expect((await begin('/photos/a', { 'upload-length': '-1' })).status).toBe(400)
    expect((await begin('/photos/')).status).toBe(400)
    // of a piece of an upload the object was made, by itself
    expect((await begin('/photos/a', { 'upload-concat': 'partial' })).status).toBe(501)
    expect((await begin('/photos/a', { 'upload-defer-length': '1' })).status).toBe(501)
    expect(await patch({ ...octets, 'upload-offset': '0', 'upload-checksum': 'sha1 AAAA' })).toBe(501)
    expect((await begin('/photos/', { 'upload-metadata': `filename ${Buffer.from('../../x').toString('base64')}` })).headers.location).toMatch(/\/10\/photos\/x$/)
    expect((await begin('/open/a', basic('reader'))).status).toBe(403)
    expect((await served.ask('/photos/a', { headers: writer })).status).toBe(404)
  })

  test('of nothing is an empty object at once; one that is ended is gone', async () => {
    expect((await begin('/photos/empty', { 'upload-length': '0' })).status).toBe(201)
    expect(await served.ask('/photos/empty', { headers: writer })).toMatchObject({ status: 200, body: '' })
    const { headers: { location = '' } } = await begin('/photos/a')
    expect((await served.ask(location, { method: 'DELETE', headers: tus })).status).toBe(204)
    expect((await served.ask(location, { method: 'HEAD', headers: tus })).status).toBe(404)
  })

  test('tells what it understands', async () => {
    expect(await served.ask('/photos/', { method: 'OPTIONS' })).toMatchObject({ status: 204, headers: { 'tus-version': '1.0.0', 'tus-extension': 'creation,creation-with-upload,termination' } })
  })
})

describe('pages of other origins', () => {
  beforeEach(async () => {
    await served.objects.setBucketSettings('photos', { cors: [{ allowedOrigins: ['https://app.example', 'https://*.dev.example'], allowedMethods: ['GET', 'PUT'], allowedHeaders: ['x-mine'], exposeHeaders: ['x-theirs'], maxAgeSeconds: 60 }] })
  })
  const preflight = (origin: string, method: string, headers = 'authorization,tus-resumable,upload-offset,content-type', path = '/photos/a'): Promise<Answer> =>
    served.ask(path, { method: 'OPTIONS', headers: { origin, 'access-control-request-method': method, 'access-control-request-headers': headers } })

  test('ask and upload where the bucket\'s rules say so', async () => {
    expect(await preflight('https://app.example', 'POST')).toMatchObject({ status: 204, headers: { 'access-control-allow-origin': 'https://app.example', 'access-control-allow-headers': 'authorization, tus-resumable, upload-offset, content-type', 'access-control-allow-methods': expect.stringContaining('PATCH') as string, 'access-control-max-age': '60' } })
    expect(await begin('/photos/a', { origin: 'https://x.dev.example' })).toMatchObject({ status: 201, headers: { 'access-control-allow-origin': 'https://x.dev.example', 'access-control-expose-headers': expect.stringMatching(/upload-offset.*location.*x-theirs/) as string } })
    expect((await preflight('https://app.example', 'PATCH', 'x-mine', `/u/${'0'.repeat(64)}/10/photos/a`)).status).toBe(204)
    expect((await preflight('https://app.example', 'GET', 'Range')).status).toBe(204)
  })

  test.each([
    ['another origin', () => preflight('https://evil.example', 'GET')], ['an origin that only begins alike', () => preflight('https://app.example.evil.example', 'GET')], ['another method', () => preflight('https://app.example', 'DELETE')],
    ['another header', () => preflight('https://app.example', 'GET', 'x-other')], ['a bucket without rules', () => preflight('https://app.example', 'GET', '', '/open/a')], ['a bucket that is not there', () => preflight('https://app.example', 'GET', '', '/nothing/a')],
    ['a share', () => preflight('https://app.example', 'GET', '', '/s/AAAAAAAAAAAAAAAA')],
  ])('not %s', async (_what, ask) => {
    const answer = await ask()
    expect(answer.status).toBe(403)
    expect(answer.headers['access-control-allow-origin']).toBeUndefined()
  })
})

async function collected ({ objects }: ServedWeb, key: string): Promise<Uint8Array> {
  const pieces = []
  for await (const piece of (await objects.get({ bucket: 'photos', key })).body) pieces.push(piece)
  return Buffer.concat(pieces)
}
