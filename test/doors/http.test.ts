import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Corrupt, Unavailable } from '../../src/base/errors.ts'
import { type Answer, basic, servedWeb, type ServedWeb } from '../support/web-face.ts'

let served: ServedWeb
const content = 'more than eight bytes'

beforeAll(async () => {
  served = await servedWeb()
  await served.put('open/film.mp4', content)
  await served.put('photos/cat.jpg', content, { contentType: 'image/jpeg' })
})
afterAll(async () => { await served[Symbol.asyncDispose]() })

const get = (path: string, headers: Record<string, string> = {}): Promise<Answer> => served.ask(path, { headers })

describe('an object by plain HTTP', () => {
  test('comes whole, with what a browser and a player need to know', async () => {
    const answer = await get('/open/film.mp4')
    expect(answer).toMatchObject({ status: 200, body: content, isWhole: true })
    expect(answer.headers).toMatchObject({ 'content-type': 'video/mp4', 'content-length': '21', 'accept-ranges': 'bytes', 'x-content-type-options': 'nosniff', etag: expect.stringMatching(/^".+"$/) as string })
    expect(answer.headers['content-encoding']).toBeUndefined()
    const head = await served.ask('/open/film.mp4', { method: 'HEAD', headers: { range: 'bytes=0-1' } })
    expect(head).toMatchObject({ status: 200, body: '', headers: { 'content-length': '21', etag: answer.headers.etag } })
  })

  test('comes as it was stored, and said to be what it was said to be, whatever codings are asked for', async () => {
    await served.put('open/packed.js', content, { contentType: 'text/javascript', headers: { 'content-encoding': 'gzip' } })
    for (const accepted of ['gzip, br', 'identity', 'gzip;q=0, *;q=0', '']) {
      expect(await get('/open/packed.js', { 'accept-encoding': accepted })).toMatchObject({ status: 200, body: content, headers: { 'content-encoding': 'gzip', 'content-length': '21' } })
      const plain = await get('/open/film.mp4', { 'accept-encoding': accepted })
      expect([plain.status, plain.body, plain.headers['content-encoding'], plain.headers['content-length']]).toEqual([200, content, undefined, '21'])
    }
    expect(await get('/open/packed.js', { 'accept-encoding': 'gzip', range: 'bytes=5-8' })).toMatchObject({ status: 206, body: 'than', headers: { 'content-encoding': 'gzip' } })
  })

  test('comes whatever another door has stored beside it, though no header can say it', async () => {
    await served.put('open/strange', content, { contentType: 'a/b\nc: 日', headers: { 'cache-control': 'no-cache, 日本', 'content-language': 'a\r\nset-cookie: b' } })
    const answer = await get('/open/strange')
    expect(answer).toMatchObject({ status: 200, body: content, headers: { 'content-language': 'a  set-cookie: b', 'cache-control': Buffer.from('no-cache, 日本').toString('latin1') } })
    expect(answer.headers['content-type']).toMatch(/^a\/b c: /)
    expect(answer.headers['set-cookie']).toBeUndefined()
    expect((await served.ask('/open/strange', { method: 'HEAD' })).status).toBe(200)
  })

  test.each([
    ['bytes=5-8', 206, 'than', 'bytes 5-8/21'], ['bytes=16-', 206, 'bytes', 'bytes 16-20/21'], ['bytes=-5', 206, 'bytes', 'bytes 16-20/21'], ['bytes=16-999', 206, 'bytes', 'bytes 16-20/21'], ['bytes=0-0', 206, 'm', 'bytes 0-0/21'],
    ['bytes=21-', 416, undefined, 'bytes */21'],
    ['bytes=0-1,3-4', 200, content, undefined], ['bytes=8-5', 200, content, undefined], ['lines=1-2', 200, content, undefined], ['bytes=a-b', 200, content, undefined],
  ])('range %s: %i', async (range, status, body, contentRange) => {
    const answer = await get('/open/film.mp4', { range })
    expect(answer.status).toBe(status)
    if (body !== undefined) expect(answer.body).toBe(body)
    expect(answer.headers['content-range']).toBe(contentRange)
  })

  test('conditions are asked in the order of the RFC', async () => {
    const { etag = '', 'last-modified': modified = '' } = (await get('/open/film.mp4')).headers
    const [before, after] = [-1, 1].map((hours) => new Date(Date.parse(modified) + hours * 3_600_000).toUTCString()) as [string, string]
    const statuses = async (...all: ReadonlyArray<Record<string, string>>): Promise<number[]> => Promise.all(all.map(async (headers) => (await get('/open/film.mp4', headers)).status))
    expect(await statuses({ 'if-none-match': etag }, { 'if-none-match': `"x", W/${etag}` }, { 'if-none-match': '*' }, { 'if-none-match': '"x"' })).toEqual([304, 304, 304, 200])
    expect(await statuses({ 'if-modified-since': modified }, { 'if-modified-since': after }, { 'if-modified-since': before }, { 'if-modified-since': 'no date' })).toEqual([304, 304, 200, 200])
    expect(await statuses({ 'if-none-match': '"x"', 'if-modified-since': after }, { 'if-none-match': etag, range: 'bytes=99-' })).toEqual([200, 304])
    expect(await statuses({ 'if-match': etag }, { 'if-match': '*' }, { 'if-match': '"x"' }, { 'if-match': `W/${etag}` })).toEqual([200, 200, 412, 412])
    expect(await statuses({ 'if-unmodified-since': before }, { 'if-unmodified-since': modified }, { 'if-match': etag, 'if-unmodified-since': before })).toEqual([412, 200, 200])
    const range = 'bytes=0-3'
    expect(await statuses({ range, 'if-range': etag }, { range, 'if-range': modified }, { range, 'if-range': '"x"' }, { range, 'if-range': `W/${etag}` }, { range, 'if-range': before })).toEqual([206, 206, 200, 200, 200])
    expect(await statuses({ range: 'bytes=99-', 'if-range': '"x"' })).toEqual([200])
  })

  test('keys are taken as they are written', async () => {
    for (const [path, key] of [['/open/a%2F..%2Fb', 'a/../b'], ['/open/../c', '../c'], ['/open/x//y', 'x//y'], ['/open/%00', '\0'], ['/open/%E2%82%AC%20%F0%9F%90%88', '€ 🐈'], ['/open/a+b', 'a+b'], ['/open/%2e%2E', '..']] as const) {
      await served.put(`open/${key}`, key)
      expect(await get(path)).toMatchObject({ status: 200, body: key })
    }
    expect((await get('/open/%ff')).status).toBe(400)
    expect((await get(`/open/${'a'.repeat(1024)}`)).status).toBe(404)
    expect((await get(`/open/${'a'.repeat(1025)}`)).status).toBe(400)
  })

  test('what cannot be read is told before the first byte; after it the answer is broken off, never short and whole', async () => {
    const { get: real } = served.objects
    try {
      served.objects.get = async (target) => ({ ...await real(target), body: (async function * (): AsyncIterable<Uint8Array> { yield * [] as Uint8Array[]; throw new Unavailable('no holder answers') })() })
      expect(await get('/open/film.mp4')).toMatchObject({ status: 503, headers: { 'retry-after': '1' } })
      served.objects.get = async (target) => ({ ...await real(target), body: (async function * (): AsyncIterable<Uint8Array> { yield new Uint8Array(8); throw new Corrupt('rot') })() })
      expect(await get('/open/film.mp4')).toMatchObject({ status: 200, isWhole: false })
    } finally { served.objects.get = real }
  })

  test('takes no other methods', async () => {
    expect(await served.ask('/open/film.mp4', { method: 'DELETE' })).toMatchObject({ status: 405, headers: { allow: 'GET, HEAD, PUT, POST' } })
  })
})

describe('who may', () => {
  test.each([
    ['anybody, where everybody may read', '/open/film.mp4', {}, 200],
    ['nobody without a key elsewhere', '/photos/cat.jpg', {}, 401],
    ['a key, by Basic', '/photos/cat.jpg', basic('reader'), 200],
    ['a key, by Bearer', '/photos/cat.jpg', { authorization: 'Bearer reader:secret' }, 200],
    ['no key with another secret', '/photos/cat.jpg', basic('reader', 'other'), 401],
    ['no key that is not there', '/photos/cat.jpg', basic('nobody'), 401],
    ['no other scheme', '/photos/cat.jpg', { authorization: 'Digest x' }, 401],
    ['no key beyond its rights', '/photos/', basic('reader'), 403],
    ['a key with those rights', '/photos/', basic('writer'), 200],
    ['nobody learns whether a bucket is there', '/nothing/x', {}, 401],
    ['nor whether an object is', '/photos/nothing', {}, 401],
  ])('%s', async (_what, path, headers, status) => {
    const answer = await get(path, headers)
    expect(answer.status).toBe(status)
    if (status === 401) expect(answer.headers['www-authenticate']).toContain('Basic')
  })

  test('guessing is stopped, and right secrets too from where there was guessing', async () => {
    await using other = await servedWeb({}, { rates: { failures: { perSecond: 0.001, burst: 3 } } })
    await other.put('photos/a', content)
    const statuses = []
    for (const secret of ['1', '2', '3', '4', 'secret']) statuses.push((await other.ask('/photos/a', { headers: basic('reader', secret) })).status)
    expect(statuses).toEqual([401, 401, 401, 429, 429])
    expect((await other.ask('/open/')).status).toBe(200)
  })

  test('neither secrets nor names stand in the log', async () => {
    await using other = await servedWeb()
    await other.put('photos/name-of-it', content)
    await other.ask('/photos/name-of-it?x=in-the-query', { headers: basic('reader') })
    await other.ask('/photos/name-of-it', { headers: basic('reader', 'wrong-secret') })
    await other.ask('/photos/no-such-name', { headers: basic('reader') })
    expect(other.logged).toHaveLength(3)
    expect(other.logged.join('\n')).not.toMatch(/photos|name|in-the-query|wrong-secret/)
    expect(other.logged[0]).toContain('"key":"reader"')
  })
})

describe('content that runs', () => {
  test.each(['text/html', 'image/svg+xml', 'application/xhtml+xml', 'text/xml', 'application/xml; charset=utf-8', 'TEXT/HTML', 'multipart/x-mixed-replace', 'application/x-new-scripts'])('%s is shut in a sandbox', async (contentType) => {
    await served.put('open/page', '<script>alert(1)</script>', { contentType })
    expect((await get('/open/page')).headers).toMatchObject({ 'content-security-policy': expect.stringMatching(/^sandbox; default-src 'none'/) as string, 'x-content-type-options': 'nosniff' })
  })

  test.each([['page.html', 'text/html; charset=utf-8'], ['drawing.svg', 'image/svg+xml']])('%s too, when only its name says so', async (name, contentType) => {
    await served.put(`open/${name}`, 'x')
    expect((await get(`/open/${name}`)).headers).toMatchObject({ 'content-type': contentType, 'content-security-policy': expect.stringContaining('sandbox') as string })
  })

  test('a picture is not', async () => {
    expect((await get('/photos/cat.jpg', basic('reader'))).headers['content-security-policy']).toBeUndefined()
  })
})

describe('folders', () => {
  let pages: ServedWeb
  beforeAll(async () => {
    pages = await servedWeb()
    for (const key of ['a.txt', 'b/1', 'b/2', 'b/c/3', '<img src=x onerror=alert(1)>', 'dir/', 'full/', 'full/x', 'x/../y', 'sp ace/ü']) await pages.put(`open/${key}`, key === 'dir/' ? '' : 'content')
  })
  afterAll(async () => { await pages[Symbol.asyncDispose]() })

  test('are pages for people: plain HTML with links, escaped, without a script', async () => {
    const { body, headers } = await pages.ask('/open/', { headers: { accept: 'text/html' } })
    expect(headers).toMatchObject({ 'content-type': 'text/html; charset=utf-8', 'content-security-policy': expect.stringContaining("default-src 'none'") as string })
    expect(body).toContain('<html lang="en">')
    expect(body).toContain('prefers-color-scheme: dark')
    expect(body).toContain('<a href="/open/b/">b/</a>')
    expect(body).toContain('<a href="/open/a.txt">a.txt</a>')
    expect(body).toContain('<a href="/open/sp%20ace/">sp ace/</a>')
    expect(body).toContain('&#60;img src=x onerror=alert(1)&#62;')
    expect(body).not.toMatch(/<script|<img/)
  })

  test('links lead to what they name', async () => {
    const { body } = await pages.ask('/open/')
    for (const [, path = ''] of body.matchAll(/<td><a href="([^"]+)"/g)) expect((await pages.ask(new URL(path.replaceAll('&#38;', '&'), 'http://localhost').pathname)).status, path).toBe(200)
  })

  test('have crumbs above them, and only what is directly below', async () => {
    const { body } = await pages.ask('/open/b/')
    expect(body).toContain('<a href="/open/">open</a> / <a href="/open/b/">b</a>')
    expect([...body.matchAll(/<td><a href="([^"]+)"/g)].map(([, path]) => path)).toEqual(['/open/b/c/', '/open/b/1', '/open/b/2'])
  })

  test('that are empty objects stand for themselves; with content they are objects', async () => {
    expect(await pages.ask('/open/dir/')).toMatchObject({ status: 200, body: expect.stringContaining('Nothing is here') as string })
    expect(await pages.ask('/open/full/')).toMatchObject({ status: 200, body: 'content' })
  })

  test('without their slash, buckets lead to it; what is not there is not found', async () => {
    expect(await pages.ask('/open?after=a')).toMatchObject({ status: 308, headers: { location: '/open/?after=a' } })
    expect((await pages.ask('/open/none/')).status).toBe(404)
  })

  test('come in pages', async () => {
    await using large = await servedWeb()
    await Promise.all(Array.from({ length: 501 }, async (_, i) => large.put(`open/${String(i).padStart(3, '0')}`, 'x')))
    const first = await large.ask('/open/')
    const [, next = ''] = /<a rel="next" href="([^"]+)">Next page/.exec(first.body) ?? []
    expect(next).toBe('?after=499')
    const second = await large.ask(`/open/${next}`)
    expect([...second.body.matchAll(/<td><a href="([^"]+)"/g)].map(([, path]) => path)).toEqual(['/open/500'])
    expect(second.body).not.toContain('Next page')
  })

  test('are JSON for programs', async () => {
    const page = JSON.parse((await pages.ask('/open/b/', { headers: { accept: 'application/json' } })).body) as { objects: object[] }
    expect(page).toMatchObject({ objects: [{ key: 'b/1' }, { key: 'b/2' }], prefixes: ['b/c/'] })
    // digests would stand there byte by byte
    expect(Object.keys(page.objects[0] ?? {})).not.toContain('attributes')
  })

  test('count what they show', async () => {
    await using few = await servedWeb()
    for (const key of ['one/', 'one/file', 'one/folder/x']) await few.put(`open/${key}`, key.endsWith('/') ? '' : 'x')
    expect((await few.ask('/open/one/')).body).toContain('<caption>1 folder and 1 file</caption>')
  })

  test('errors are pages for people too', async () => {
    const { status, body, headers } = await pages.ask('/photos/x', { headers: { accept: 'text/html,*/*' } })
    expect(status).toBe(401)
    expect(headers['content-type']).toBe('text/html; charset=utf-8')
    expect(body).toContain('<h1>This needs an access key</h1>')
  })
})
