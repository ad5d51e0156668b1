import { request } from 'node:http'
import { connect } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { LocalApi } from '../../../src/api/local/http.ts'
import { hexOf, utf8 } from '../../../src/base/bytes.ts'
import { Corrupt, Unavailable } from '../../../src/base/errors.ts'
import { keyedHash } from '../../../src/base/hash.ts'
import { objectPath } from '../../../src/client/index.ts'
import { peerNamed } from '../../support/cluster-identities.ts'
import { servedApi, type ServedApi } from '../../support/local-api.ts'

let served: ServedApi
let api: LocalApi
let stopped = false

beforeAll(async () => {
  served = await servedApi({}, { stop: () => { stopped = true } })
  api = served.api
})
afterAll(async () => { await served[Symbol.asyncDispose]() })

interface Answer { readonly status: number, readonly body: string, readonly headers: Record<string, unknown>, readonly isBroken: boolean }

function ask (method: string, path: string, { headers = {}, body, token = true }: { headers?: Record<string, string>, body?: string | Uint8Array | undefined, token?: boolean } = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: '127.0.0.1', port: api.port, method, path, headers: { ...(token ? { authorization: `Bearer ${hexOf(api.token)}` } : {}), ...headers } }, (response) => {
      const pieces: Buffer[] = []
      const end = (isBroken: boolean) => () => { resolve({ status: response.statusCode ?? 0, body: Buffer.concat(pieces).toString(), headers: response.headers, isBroken }) }
      response.on('data', (piece: Buffer) => { pieces.push(piece) }).on('end', end(false)).on('error', end(true))
    })
    asked.on('error', reject)
    asked.end(body)
  })
}

const past = 'Mon, 01 Jan 2001 00:00:00 GMT'

describe('the local API', () => {
  test('proves that it knows the token before it is shown to it', async () => {
    const challenge = 'ab'.repeat(32)
    const { status, body } = await ask('GET', `/v1/hello?challenge=${challenge}`, { token: false })
    expect(status).toBe(200)
    expect((JSON.parse(body) as { proof: string }).proof).toBe(hexOf(keyedHash(api.token, utf8('dfs/v1/api'), Uint8Array.of(0), Buffer.from(challenge, 'hex'))))
    expect((await ask('GET', '/v1/hello?challenge=zz', { token: false })).status).toBe(400)
  })

  test('does nothing at a path that goes on behind what it knows', async () => {
    expect((await ask('PUT', '/v1/buckets/deep')).status).toBe(201)
    for (const [method, path] of [['DELETE', '/v1/buckets/deep/key'], ['PATCH', '/v1/buckets/deep/settings'], ['POST', '/v1/stop/not'], ['GET', '/v1/status/x'], ['POST', '/v1/admins/x/y'], ['DELETE', '/v1/members/x/heir/y'], ['DELETE', '/v1/transfers/x/y'], ['GET', '/v1/cache/x']] as const) {
      expect(await ask(method, path, { body: method === 'PATCH' ? '{"quotaBytes":1}' : undefined }), `${method} ${path}`).toMatchObject({ status: 404, body: expect.stringContaining('there is nothing at this path') as string })
    }
    expect(JSON.parse((await ask('GET', '/v1/buckets/deep')).body)).toMatchObject({ name: 'deep' })
    expect(JSON.parse((await ask('GET', '/v1/buckets/deep')).body)).not.toHaveProperty('quotaBytes')
    expect(stopped).toBe(false)
  })

  test.each([
    ['no token', { token: false }, 401],
    ['another token', { token: false, headers: { authorization: `Bearer ${'0'.repeat(64)}` } }, 401],
    ['another scheme', { token: false, headers: { authorization: 'Basic x' } }, 401],
    ['another Host (DNS rebinding)', { headers: { host: 'evil.example:80' } }, 421],
    ['a web page (Origin)', { headers: { origin: 'http://localhost' } }, 403],
  ])('refuses %s', async (_name, options, status) => {
    expect((await ask('GET', '/v1/buckets', options)).status).toBe(status)
  })

  test('is alive and ready without a token, and shows metrics with one', async () => {
    expect((await ask('GET', '/healthz', { token: false })).status).toBe(200)
    expect((await ask('GET', '/readyz', { token: false })).status).toBe(200)
    expect((await ask('GET', '/metrics', { token: false })).status).toBe(401)
    expect((await ask('GET', '/metrics')).body).toContain('dfs_test')
  })

  test('stores, gives whole and by range, conditionally, and removes', async () => {
    const stored = await ask('PUT', '/v1/objects/photos/a%2Fb', { body: 'more than eight bytes', headers: { 'content-type': 'text/plain', 'x-dfs-meta-who': 'me' } })
    expect(stored.status).toBe(201)
    const etag = String(stored.headers.etag)
    const whole = await ask('GET', '/v1/objects/photos/a%2Fb', { headers: { 'x-dfs-transfer': 't1' } })
    expect(whole).toMatchObject({ status: 200, body: 'more than eight bytes', headers: { etag, 'content-type': 'text/plain', 'x-dfs-meta-who': 'me' } })
    expect(JSON.parse((await ask('GET', '/v1/transfers/t1')).body)).toMatchObject({ local: 21 })
    expect(await ask('GET', '/v1/objects/photos/a/b', { headers: { range: 'bytes=5-8' } })).toMatchObject({ status: 206, body: 'than', headers: { 'content-range': 'bytes 5-8/21' } })
    expect((await ask('GET', '/v1/objects/photos/a/b', { headers: { range: 'bytes=99-' } })).status).toBe(416)
    expect((await ask('GET', '/v1/objects/photos/a/b', { headers: { 'if-none-match': etag } })).status).toBe(304)
    expect((await ask('PUT', '/v1/objects/photos/a/b', { body: 'x', headers: { 'if-none-match': '*' } })).status).toBe(412)
    // what curl -C sends
    expect((await ask('PUT', '/v1/objects/photos/a/b', { body: 'x', headers: { 'content-range': 'bytes 4-4/5' } })).status).toBe(400)
    expect(await ask('HEAD', '/v1/objects/photos/a/b')).toMatchObject({ status: 200, body: '', headers: { 'content-length': '21' } })
    expect(JSON.parse((await ask('DELETE', '/v1/objects/photos/a/b')).body)).toEqual({ removed: true })
    expect((await ask('GET', '/v1/objects/photos/a/b')).status).toBe(404)
  })

  test('a part is of the version that If-Range names, else all comes (it was a part of another version, to be put behind the old one)', async () => {
    const etag = String((await ask('PUT', '/v1/objects/photos/ranged', { body: 'the first' })).headers.etag)
    const { headers: { etag: second, 'last-modified': modified } } = await ask('PUT', '/v1/objects/photos/ranged', { body: 'another one' }).then(async () => ask('GET', '/v1/objects/photos/ranged'))
    const got = async (headers: Record<string, string>): Promise<unknown[]> => { const { status, body } = await ask('GET', '/v1/objects/photos/ranged', { headers }); return [status, body] }
    expect(await got({ range: 'bytes=8-', 'if-range': etag })).toEqual([200, 'another one'])
    expect(await got({ range: 'bytes=99-', 'if-range': etag })).toEqual([200, 'another one'])
    expect(await got({ range: 'bytes=8-', 'if-range': String(second) })).toEqual([206, 'one'])
    expect(await got({ range: 'bytes=8-', 'if-range': String(modified) })).toEqual([206, 'one'])
    expect(await got({ range: 'bytes=8-', 'if-range': past })).toEqual([200, 'another one'])
  })

  test('conditions of RFC 9110 hold on reads, and on a write those that can (the others were passed over: it overwrote, and removed)', async () => {
    const etag = String((await ask('PUT', '/v1/objects/photos/held', { body: 'x' })).headers.etag)
    const statuses = async (method: string, ...headers: ReadonlyArray<Record<string, string>>): Promise<number[]> => Promise.all(headers.map(async (one) => (await ask(method, '/v1/objects/photos/held', { headers: one })).status))
    const future = new Date(Date.now() + 1e7).toUTCString()
    for (const method of ['GET', 'HEAD']) {
      expect(await statuses(method, { 'if-match': '"other"' }, { 'if-match': `"other", ${etag}` }, { 'if-match': '*' }, { 'if-unmodified-since': past }, { 'if-unmodified-since': future }), method).toEqual([412, 200, 200, 412, 200])
      expect(await statuses(method, { 'if-none-match': etag }, { 'if-none-match': '*' }, { 'if-none-match': '"other"' }, { 'if-modified-since': future }, { 'if-modified-since': past }), method).toEqual([304, 304, 200, 304, 200])
    }
    expect((await ask('GET', '/v1/objects/photos/held', { headers: { range: 'bytes=99-', 'if-match': '"other"' } })).status).toBe(412)
    expect(await statuses('DELETE', { 'if-none-match': '*' }, { 'if-unmodified-since': past }, { 'if-match': `W/${etag}` }, { 'if-match': `"x", ${etag}` }, { 'if-match': '"other"' })).toEqual([400, 400, 400, 400, 412])
    expect(await statuses('PUT', { 'if-unmodified-since': past }, { 'if-match': `W/${etag}` }, { 'if-none-match': etag }, { 'if-match': '"other"' })).toEqual([400, 400, 400, 412])
    expect((await ask('GET', '/v1/objects/photos/held')).headers.etag).toBe(etag)
    expect(await statuses('DELETE', { 'if-match': etag })).toEqual([200])
  })

  test('what the query of a change says that is not known, or twice, is refused (a misspelt dry run removed the node, a misspelt version what is current)', async () => {
    await ask('PUT', '/v1/objects/photos/kept', { body: 'x' })
    const [peer, none] = [peerNamed('bob'), '0'.repeat(64)]
    for (const [method, path] of [
      ['DELETE', '/v1/objects/photos/kept?versionId=1'], ['DELETE', `/v1/objects/photos/kept?version=${none}&version=null`], ['PUT', '/v1/objects/photos/kept?version=null'], ['DELETE', `/v1/members/${peer}?dryRun=true`], ['DELETE', `/v1/members/${peer}?dry-run=false&dry-run=true`],
      ['POST', `/v1/members/${peer}/heir?dry-run=true`], ['POST', '/v1/cluster/forget-lost?dry-run=true'], ['DELETE', '/v1/buckets/photos?dry-run=true'],
    ] as const) expect((await ask(method, path, { body: '' })).status, path).toBe(400)
    expect((await ask('GET', '/v1/objects/photos/kept?else=1')).body).toBe('x')
    expect((await ask('DELETE', `/v1/objects/photos/kept?version=${none}`)).body).toContain('"removed":false')
  })

  test('a copy takes no body and no metadata, which it would pass over', async () => {
    await ask('PUT', '/v1/objects/photos/source', { body: 'x' })
    const copying = async (options: Parameters<typeof ask>[2]): Promise<number> => (await ask('PUT', '/v1/objects/photos/copied', { ...options, headers: { 'x-dfs-copy-source': '/photos/source', ...options?.headers } })).status
    expect([await copying({ body: 'bytes' }), await copying({ headers: { 'x-dfs-meta-who': 'me' } }), await copying({ headers: { 'content-type': 'text/plain' } })]).toEqual([400, 400, 400])
    expect((await ask('GET', '/v1/objects/photos/copied')).status).toBe(404)
    expect(await copying({})).toBe(201)
  })

  test.each([
    ['/healthz'], ['/readyz'], ['/metrics'], ['/v1/hello'], ['/v1/config'], ['/v1/inspect'], ['/v1/status'], ['/v1/peers'], ['/v1/watch'], ['/v1/transfers/t1'], ['/v1/buckets'], ['/v1/objects/photos'],
    ['/v1/objects/photos/k'], ['/v1/stop'], ['/v1/invites'], ['/v1/cache'],
  ])('%s takes its own methods and names them', async (path) => {
    const answer = await ask('PATCH', path)
    expect(answer).toMatchObject({ status: 405, headers: { allow: expect.stringMatching(/^[A-Z]+(, [A-Z]+)*$/) as string } })
    expect(answer.body).toContain('"this takes ')
  })

  test('a client that goes away in the middle of a put stores nothing', async () => {
    const socket = connect(api.port, '127.0.0.1')
    socket.write(`PUT /v1/objects/photos/half HTTP/1.1\r\nhost: 127.0.0.1:${api.port}\r\nauthorization: Bearer ${hexOf(api.token)}\r\ncontent-length: 100\r\n\r\nonly this`)
    await expect.poll(() => socket.bytesWritten).toBeGreaterThan(100)
    socket.destroy()
    await expect.poll(() => served.logged.some((line) => line.includes('"PUT"') && line.includes('refused'))).toBe(true)
    expect((await ask('GET', '/v1/objects/photos/half')).status).toBe(404)
  })

  test('no name of a bucket or a key stands in the log, of what is answered and of what is refused', async () => {
    await using other = await servedApi()
    await expect(other.client.head(objectPath('photos', 'not-there'))).rejects.toThrow()
    await expect(other.client.json('GET', '/v1/buckets/unheard-of')).rejects.toThrow()
    await expect(other.client.json('PUT', '/v1/buckets/Not-Allowed', { body: {} })).rejects.toThrow()
    await expect.poll(() => other.logged.length).toBeGreaterThanOrEqual(4)
    expect(other.logged.join('\n')).not.toMatch(/photos|not-there|unheard-of|not-allowed/i)
    expect(other.logged.join('\n')).toContain('"reason":"not-found"')
  })

  test('a read that fails before its first byte is told with its reason (it was a connection broken off)', async () => {
    await ask('PUT', '/v1/objects/photos/gone', { body: 'more than eight bytes of it' })
    const read = served.world.parts.content.read.bind(served.world.parts.content)
    served.world.parts.content.read = () => ({ [Symbol.asyncIterator]: () => ({ next: async () => { throw new Unavailable('3 of the 4 shards it needs') } }) })
    try {
      const { status, body } = await ask('GET', '/v1/objects/photos/gone')
      expect(status).toBe(503)
      expect(body).toContain('3 of the 4 shards it needs')
    } finally {
      served.world.parts.content.read = read
    }
  })

  test('a read that fails half way breaks the connection, and its reason can be had: a short body is never a whole one', async () => {
    await ask('PUT', '/v1/objects/photos/rot', { body: 'more than eight bytes of it' })
    const blocks = [...served.world.blocks]
    const read = served.world.parts.content.read.bind(served.world.parts.content)
    served.world.parts.content.read = async function * () { yield utf8('more than'); throw new Corrupt('a block rotted') }
    try {
      const { status, isBroken, body } = await ask('GET', '/v1/objects/photos/rot')
      expect({ status, isBroken }).toEqual({ status: 200, isBroken: true })
      expect(body.length).toBeLessThan(27)
      const { body: told } = await served.client.download('/v1/objects/photos/rot', { headers: { 'x-dfs-transfer': 'rot' } })
      await expect(buffer(told)).rejects.toMatchObject({ code: 'corrupt', status: 502, message: 'a block rotted' })
      const { body: untold } = await served.client.download('/v1/objects/photos/rot')
      await expect(buffer(untold)).rejects.toThrow('broke in the middle')
    } finally {
      served.world.parts.content.read = read
    }
    expect(blocks.length).toBeGreaterThan(0)
  })

  test.each([
    ['GET', '/v1/objects/photos/%zz', 400], ['POST', '/v1/constructor?x=1', 400], ['GET', '/', 404], ['GET', '/v2/objects', 404], ['GET', '/v1/unknown', 404], ['PATCH', '/v1/objects/photos/k', 405], ['PUT', '/v1/invites', 405], ['GET', '/v1/invites/revoke', 405], ['POST', '/v1/invites/elsewhere', 404],
    ['PUT', '/v1/buckets/UPPER', 400], ['GET', '/v1/objects/photos?limit=0', 400], ['GET', '/v1/objects/nobucket', 404],
  ])('%s %s is answered %d', async (method, path, status) => {
    const answer = await ask(method, path)
    expect(answer.status).toBe(status)
    expect((JSON.parse(answer.body) as { error: { message: string } }).error.message).not.toBe('')
  })

  test.each([['not json'], ['[1]'], ['{"copies":"3"}'], ['{"unknown":1}'], [JSON.stringify({ copies: 9 })], ['x'.repeat(70_000)]])('a bucket body %.20s is refused', async (body) => {
    expect([400, 413]).toContain((await ask('PUT', '/v1/buckets/other', { body })).status)
  })

  test('a bucket\'s redundancy is changed, and nothing else of it', async () => {
    served.world.places = 6
    expect((await ask('PUT', '/v1/buckets/shards', { body: '{"shards":"4+2"}' })).status).toBe(201)
    const set = async (body: string) => { const { status, body: answer } = await ask('PATCH', '/v1/buckets/shards', { body }); return { status, ...JSON.parse(answer) as { copies?: number, shards?: string } } }
    expect(await set('{"shards":"3+1"}')).toMatchObject({ status: 200, copies: 2, shards: '3+1' })
    expect(await set('{"shards":"5+2"}')).toMatchObject({ status: 403 })
    for (const body of ['{"copies":3,"shards":"4+2"}', '{}', '{"compression":"off"}', '{"copies":3,"isPrivate":true}', '{"shards":42}', '{"shards":"9+9"}']) expect(await set(body), body).toMatchObject({ status: 400 })
    expect(await set('{"copies":3}')).toMatchObject({ status: 200, copies: 3 })
    expect((JSON.parse((await ask('GET', '/v1/buckets/shards')).body) as { shards?: string }).shards).toBeUndefined()
  })

  test('a bucket\'s settings are changed, alone or with its redundancy, and taken away', async () => {
    const set = async (body: unknown) => { const { status, body: answer } = await ask('PATCH', '/v1/buckets/photos', { body: JSON.stringify(body) }); return { status, ...JSON.parse(answer) as { settings?: unknown, copies?: number } } }
    expect(await set({ versioning: 'enabled', quotaBytes: 1e9, publicRead: true })).toMatchObject({ status: 200, settings: { versioning: 'enabled', quotaBytes: 1e9, publicRead: true } })
    expect(await set({ quotaBytes: null, publicRead: false, copies: 2 })).toMatchObject({ status: 200, settings: { versioning: 'enabled' }, copies: 2 })
    for (const wrong of [{ versioning: 'on' }, { versioning: null }, { quotaBytes: -1 }, { quotaBytes: '1' }, { lifecycle: {} }, { lifecycle: [{}] }, { policy: 'x' }, { policy: '{}' }, { quotaObjects: 1, compression: 'off' }]) expect(await set(wrong), JSON.stringify(wrong)).toMatchObject({ status: 400 })
    await set({ versioning: 'suspended' })
  })

  test('keys of dots and slashes are keys', async () => {
    for (const key of ['..', '.', 'a//b', '%2e%2e', 'ü/💾']) {
      expect((await ask('PUT', `/v1/objects/photos/${encodeURIComponent(key)}`, { body: key })).status).toBe(201)
      expect((await ask('GET', `/v1/objects/photos/${encodeURIComponent(key)}`)).body).toBe(key)
    }
  })

  test('logs no token and no key', async () => {
    await ask('PUT', '/v1/objects/photos/a-secret-key', { body: 'x' })
    expect(served.logged.join('\n')).not.toContain(hexOf(api.token))
    expect(served.logged.join('\n')).not.toContain('a-secret-key')
  })

  test('stops when it is asked to', async () => {
    expect((await ask('POST', '/v1/stop')).status).toBe(202)
    expect(stopped).toBe(true)
  })
})

test('a port that another program has is told with what to set: a second node on a machine meets it first', async () => {
  await using first = await servedApi()
  await expect(servedApi({}, { port: first.api.port })).rejects.toMatchObject({ code: 'invalid', field: 'api-port', message: `127.0.0.1:${first.api.port} is in use by another program (another node?): give --api-port another port, or 0 for any that is free` })
})

test('what a body is encoded by is kept with it, as at the HTTP face: it was passed over, and browsers were sent bytes that say nothing to them', async () => {
  await using served = await servedApi()
  await served.client.upload('/v1/objects/photos/zipped', (async function * () { yield new Uint8Array(3) })(), { headers: { 'content-encoding': 'gzip' } })
  expect((await served.objects.head({ bucket: 'photos', key: 'zipped' })).attributes.headers).toEqual({ 'content-encoding': 'gzip' })
  await served.client.upload('/v1/objects/photos/plain', (async function * () { yield new Uint8Array(3) })())
  expect((await served.objects.head({ bucket: 'photos', key: 'plain' })).attributes.headers).toBeUndefined()
})
