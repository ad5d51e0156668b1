import { readFileSync } from 'node:fs'
import { encode } from 'cborg'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { fromHex, hexOf, MalformedBytes } from '../../src/base/bytes.ts'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { Refused, UnknownOutcome } from '../../src/base/errors.ts'
import { systemRandom } from '../../src/base/random.ts'
import { describeRow, type NewShare, type Share, shares } from '../../src/objects/index.ts'
import { decodeShareRow, encodeShareRow, shareSecretHash, type ShareRow, summaryOfShare } from '../../src/objects/access/share.ts'
import { tables } from '../../src/tables/index.ts'
import { servedApi } from '../support/local-api.ts'
import { type Answer, type AskOptions, servedWeb, type ServedWeb } from '../support/web-face.ts'

const vectors = JSON.parse(readFileSync(new URL('../vectors/share-rows.json', import.meta.url), 'utf8')) as ReadonlyArray<{ name: string, share: Omit<ShareRow, 'secretHash' | 'notAfterMs' | 'password' | 'usedMs' | 'usedBy'> & Partial<Omit<ShareRow, 'usedBy'>> & { usedBy?: string }, secret: string, bytes: string }>
const content = 'more than eight bytes'
let served: ServedWeb
let nowMs: number
const clock: Clock = { ...systemClock, wallMs: () => nowMs }

beforeEach(async () => {
  nowMs = Date.now()
  served = await servedWeb({ clock }, { rates: { failures: { perSecond: 0.001, burst: 50 } } })
  await served.put('photos/trip/film.mp4', content)
})
afterEach(async () => { await served[Symbol.asyncDispose]() })

const shared = (options: Partial<NewShare> = {}) => served.shares.create({ bucket: 'photos', key: 'trip/film.mp4', ...options })
const download = ({ id, secret }: { id: string, secret: string }, options: AskOptions = {}): Promise<Answer> =>
  served.ask(`/s/${id}`, { ...options, headers: { 'x-dfs-share': secret, ...options.headers } })

describe('rows of shares', () => {
  test.each(vectors)('$name: these bytes, and no others', ({ share, secret, bytes }) => {
    const { usedBy, ...told } = share
    const row: ShareRow = { notAfterMs: undefined, password: undefined, usedMs: undefined, ...told, ...(usedBy === undefined ? {} : { usedBy: fromHex(usedBy) }), secretHash: shareSecretHash(share.id, secret) }
    expect(hexOf(encodeShareRow(row))).toBe(bytes)
    expect(decodeShareRow(fromHex(bytes))).toEqual(row)
  })

  test('of a version to come are not guessed at', () => {
    expect(() => decodeShareRow(encode([3, 'x']))).toThrow(MalformedBytes)
  })

  test('a listing has neither the hash of the secret nor that of the password', async () => {
    const { id } = await shared({ password: 'open sesame' })
    const [row = new Uint8Array(0)] = served.world.registers.valuesOf(tables.shares)
    expect(describeRow(tables.shares, row)?.summary).toEqual(summaryOfShare(row))
    expect(decodeShareRow(summaryOfShare(row))).toMatchObject({ id, secretHash: new Uint8Array(0), password: '' })
    expect(await served.shares.list()).toMatchObject([{ id, hasPassword: true }])
  })

  test('have a bound in number, in which those that have ended count', async () => {
    const bounded = shares({ registers: served.world.parts.registers, objects: served.objects, clock, random: systemRandom, maxShares: 2 })
    const make = async (): Promise<Share> => bounded.create({ bucket: 'photos', key: 'trip/film.mp4', notAfterMs: 1 })
    const { id } = await make()
    await make()
    await expect(make()).rejects.toThrow(Refused)
    await bounded.revoke(id)
    await make()
  })

  test('hold no secret and no password', async () => {
    const { secret } = await shared({ password: 'open sesame' })
    const text = Buffer.concat(served.world.registers.valuesOf(tables.shares)).toString('latin1')
    expect(text).not.toContain(secret)
    expect(text).not.toContain('open sesame')
    expect(text).toContain('$argon2id$v=19$m=19456,t=2,p=1$')
  })
})

describe('a share link', () => {
  test('gives the object to whoever has it, as a file, whole or by range, without a key', async () => {
    const share = await shared()
    const answer = await download(share)
    expect(answer).toMatchObject({ status: 200, body: content, headers: { 'content-disposition': 'attachment; filename="film.mp4"; filename*=UTF-8\'\'film.mp4', 'cache-control': 'private, no-cache' } })
    expect(await download(share, { headers: { range: 'bytes=5-8' } })).toMatchObject({ status: 206, body: 'than' })
    expect(await download(share, { method: 'HEAD' })).toMatchObject({ status: 200, headers: { 'content-length': '21' } })
  })

  test('is a page to browsers, the same for all links and for none; it asks nothing of the cluster', async () => {
    const { id } = await shared()
    served.world.registers.isUnavailable = true
    const [page, other] = await Promise.all([id, 'AAAAAAAAAAAAAAAA'].map((one) => served.ask(`/s/${one}`, { headers: { accept: 'text/html' } }))) as [Answer, Answer]
    expect(page).toMatchObject({ status: 200, headers: { 'content-type': 'text/html; charset=utf-8', 'x-frame-options': 'DENY', 'cache-control': 'no-store' } })
    expect(page.body).toBe(other.body)
    expect(page.headers['content-security-policy']).toMatch(/default-src 'none'; style-src 'sha256-[^']+'; script-src 'sha256-[^']+'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'/)
    expect((await served.ask(`/s/${id}`)).status).toBe(401)
  })

  test('tells the page what it leads to', async () => {
    const { id, secret } = await shared({ isOnce: true, password: 'x', notAfterMs: nowMs + 1000 })
    const { status, body } = await served.ask(`/s/${id}/about`, { headers: { 'x-dfs-share': secret } })
    expect(status).toBe(200)
    expect(JSON.parse(body)).toEqual({ name: 'film.mp4', sizeBytes: 21, isOnce: true, hasPassword: true, notAfterMs: nowMs + 1000 })
  })

  test('is opened by the page\'s form', async () => {
    const { id, secret } = await shared({ password: 'open sesame & more' })
    const post = (password: string, origin: string): Promise<Answer> => served.ask(`/s/${id}`, {
      method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded', origin }, body: new URLSearchParams({ secret, password }).toString(),
    })
    const own = `http://127.0.0.1:${served.listener.port}`
    expect(await post('open sesame & more', own)).toMatchObject({ status: 200, body: content })
    expect((await post('another', own)).status).toBe(403)
    expect((await post('open sesame & more', 'http://evil.example')).status).toBe(403)
    expect((await served.ask(`/s/${id}`, { method: 'POST', body: 'x'.repeat(5000) })).status).toBe(413)
  })

  test.each(['text/html', 'image/svg+xml', 'application/xml', 'image/png'])('never opens %s in this origin', async (contentType) => {
    await served.put('photos/page', '<script>alert(1)</script>', { contentType })
    const { headers } = await download(await shared({ key: 'page' }))
    expect(headers).toMatchObject({ 'content-disposition': expect.stringMatching(/^attachment/) as string, 'content-security-policy': expect.stringMatching(/^sandbox/) as string, 'x-content-type-options': 'nosniff' })
  })

  test('names of files cannot break out of their header', async () => {
    await served.put('photos/a"; x=\r\ny: z\u{1f408}', content)
    const { headers, status } = await download(await shared({ key: 'a"; x=\r\ny: z\u{1f408}' }))
    expect(status).toBe(200)
    expect(headers['content-disposition']).toBe('attachment; filename="a_; x=__y: z__"; filename*=UTF-8\'\'a%22%3B%20x%3D%0D%0Ay%3A%20z%F0%9F%90%88')
    expect(headers.y).toBeUndefined()
  })

  test('is worth nothing with another secret, another id, or none: all told alike', async () => {
    const [share, other] = [await shared(), await shared()]
    const answers = await Promise.all([
      download({ id: share.id, secret: other.secret }), download({ id: 'AAAAAAAAAAAAAAAA', secret: share.secret }), download({ id: '../../x', secret: share.secret }), download({ id: share.id, secret: '' }),
      served.ask(`/s/${share.id}/about`), served.ask(`/s/${share.id}/${share.secret}`), served.ask(`/s/${share.id}/about/x`, { headers: { 'x-dfs-share': share.secret } }),
    ])
    expect(new Set(answers.map(({ status, body }) => `${status} ${body}`)).size).toBe(1)
    expect(answers[0]?.status).toBe(404)
  })

  test('ends with its date, by this node\'s clock, which can only refuse', async () => {
    const share = await shared({ notAfterMs: nowMs + 1000 })
    nowMs += 1000
    expect((await download(share)).status).toBe(200)
    nowMs += 1
    expect(await download(share)).toMatchObject({ status: 410, body: expect.stringContaining('expired') as string })
    nowMs -= 1
    expect((await download(share)).status).toBe(200)
  })

  test('ends when it is revoked', async () => {
    const share = await shared()
    await served.shares.revoke(share.id)
    expect((await download(share)).status).toBe(404)
    expect(await served.shares.list()).toEqual([])
    await expect(served.shares.revoke(share.id)).rejects.toThrow('dfs share ls')
  })

  test('ends with its object; what is put in its place it shows, but no other bucket of that name', async () => {
    const share = await shared()
    await served.put('photos/trip/film.mp4', 'newer')
    expect((await download(share)).body).toBe('newer')
    await served.objects.remove({ bucket: 'photos', key: 'trip/film.mp4' })
    expect(await download(share)).toMatchObject({ status: 410, body: expect.not.stringContaining('film') as string })
    await served.objects.removeBucket('photos')
    await served.objects.createBucket('photos')
    await served.put('photos/trip/film.mp4', 'of somebody else')
    expect((await download(share)).status).toBe(410)
  })

  test('is made of what is there alone', async () => {
    await expect(shared({ key: 'nothing' })).rejects.toThrow('there is no object')
    await expect(shared({ password: '' })).rejects.toMatchObject({ field: 'password' })
    await expect(shared({ notAfterMs: -1 })).rejects.toMatchObject({ field: 'expires' })
  })
})

describe('a share for one download', () => {
  test('gives it to exactly one of many who try at once', async () => {
    const share = await shared({ isOnce: true })
    const answers = await Promise.all(Array.from({ length: 20 }, () => download(share)))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    expect(answers.filter(({ status }) => status === 410)).toHaveLength(19)
    expect((await download(share)).status).toBe(410)
    expect(await served.shares.list()).toMatchObject([{ id: share.id, usedMs: expect.any(Number) as number }])
  })

  test('is not used up by looking, by what cannot be read, or by a wrong password; nor are parts given', async () => {
    const share = await shared({ isOnce: true, password: 'p' })
    const { get } = served.objects
    await download(share, { method: 'HEAD', headers: { 'x-dfs-share-password': 'p' } })
    await served.ask(`/s/${share.id}`, { headers: { accept: 'text/html' } })
    await served.ask(`/s/${share.id}/about`, { headers: { 'x-dfs-share': share.secret } })
    expect((await download(share, { headers: { 'x-dfs-share-password': 'q' } })).status).toBe(403)
    served.objects.get = async (target) => ({ ...await get(target), body: (async function * () { yield * [] as Uint8Array[]; throw new Error('no block') })() })
    expect((await download(share, { headers: { 'x-dfs-share-password': 'p' } })).status).toBe(500)
    served.objects.get = get
    expect(await download(share, { headers: { 'x-dfs-share-password': 'p', range: 'bytes=0-0', 'if-none-match': '*' } })).toMatchObject({ status: 200, body: content })
    expect((await download(share, { headers: { 'x-dfs-share-password': 'p' } })).status).toBe(410)
  })

  test.each([['happened', true], ['did not happen', false]])('of which it was unknown whether its use %s is read again, and given once', async (_what, happened) => {
    const share = await shared({ isOnce: true })
    const { registers } = served.world.parts
    const change = registers.change.bind(registers)
    let isFirst = true
    registers.change = async (...args) => {
      if (!isFirst) return change(...args)
      isFirst = false
      if (happened) await change(...args)
      throw new UnknownOutcome('the write may have happened')
    }
    expect(await download(share)).toMatchObject({ status: 200, body: content })
    expect((await download(share)).status).toBe(410)
  })

  test('of which it stays unknown whether it is used up gives nothing, and says so', async () => {
    const share = await shared({ isOnce: true })
    served.world.parts.registers.change = async () => { throw new UnknownOutcome('the write may have happened') }
    expect((await download(share)).status).toBe(504)
  })
})

test('whoever has a link comes in, however many tried links that are none from the same address, which behind a proxy is everybody\'s', async () => {
  await using other = await servedWeb({ clock }, { rates: { failures: { perSecond: 0.001, burst: 3 } } })
  await other.put('photos/trip/film.mp4', content)
  const { id, secret } = await other.shares.create({ bucket: 'photos', key: 'trip/film.mp4' })
  const status = async (at: string, shown: string): Promise<number> => (await other.ask(`/s/${at}`, { headers: { 'x-dfs-share': shown } })).status
  const statuses = []
  for (let i = 0; i < 5; i++) statuses.push(await status(`${i}`.padStart(16, 'x'), secret))
  expect(statuses).toEqual([404, 404, 404, 429, 429])
  expect(await status(id, secret)).toBe(200)
  expect([await status(id, 'another'), await status(id, 'another'), await status(id, 'another'), await status(id, secret)]).toEqual([429, 429, 429, 429])
})

describe('a share with a password', () => {
  test('takes that password alone, in any normal form', async () => {
    const share = await shared({ password: 'Caf\u00e9' })
    const status = async (password: string): Promise<number> => (await download(share, { headers: { 'x-dfs-share-password': Buffer.from(password).toString('latin1') } })).status
    expect([await status('Cafe\u0301'), await status('Cafe'), await status(''), await status('x'.repeat(1000))]).toEqual([200, 403, 403, 403])
  })

  test('stops guessing, from wherever it comes', async () => {
    const share = await shared({ password: 'right' })
    const statuses = []
    for (let i = 0; i < 11; i++) statuses.push((await download(share, { headers: { 'x-dfs-share-password': `wrong ${i}` } })).status)
    expect(statuses).toEqual([...Array.from({ length: 10 }, () => 403), 429])
    expect((await download(share, { headers: { 'x-dfs-share-password': 'right' } })).status).toBe(429)
    expect((await download(await shared())).status).toBe(200)
  })
})

test('the log of a download has the share\'s id, and nothing of the secret, the password or the object', async () => {
  const share = await shared({ password: 'password-of-it' })
  await download(share, { headers: { 'x-dfs-share-password': 'password-of-it' } })
  await served.ask(`/s/${share.secret}`, { headers: { 'x-dfs-share': share.secret } })
  await expect.poll(() => served.logged).toHaveLength(2)
  expect(served.logged[0]).toContain(share.id)
  expect(served.logged.join('\n')).not.toMatch(new RegExp(`${share.secret.slice(0, 16)}|password-of-it|photos|film`))
})

test('the local API makes shares, with their links, lists and revokes them', async () => {
  await using local = await servedApi({ shares: served.shares })
  const made = await local.client.json<{ id: string, secret: string, url: string }>('POST', '/v1/shares', { body: { bucket: 'photos', key: 'trip/film.mp4', isOnce: true } })
  expect(made.url).toBe(`https://files.example.org/s/${made.id}#${made.secret}`)
  expect(await local.client.json('GET', '/v1/shares')).toMatchObject({ shares: [{ id: made.id, key: 'trip/film.mp4', isOnce: true, hasPassword: false }] })
  await expect(local.client.json('POST', '/v1/shares', { body: { bucket: 'photos' } })).rejects.toMatchObject({ status: 400 })
  await expect(local.client.json('POST', '/v1/shares', { body: { bucket: 'photos', key: 'x', color: 1 } })).rejects.toMatchObject({ status: 400 })
  await local.client.json('DELETE', `/v1/shares/${made.id}`)
  expect(await local.client.json('GET', '/v1/shares')).toEqual({ shares: [] })
})
