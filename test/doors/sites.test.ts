import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Answer, basic, servedWeb, type ServedWeb } from '../support/web-face.ts'

let served: ServedWeb

beforeAll(async () => {
  served = await servedWeb({ hosts: ['*.sites.example.org', 'files.example.org'] }, { hosts: ['*.sites.example.org', 'files.example.org'] })
  await served.objects.setBucketSettings('open', { publicRead: true, website: { index: 'index.html', error: '404.html' } })
  await served.objects.setBucketSettings('photos', { website: { index: 'index.html' } })
  await served.put('open/index.html', '<script>home()</script>')
  await served.put('open/docs/index.html', 'docs')
  await served.put('open/404.html', 'not here')
  await served.put('open/old', '')
  await served.put('open/bad', 'x')
  const { head } = served.objects
  const locations: Readonly<Record<string, string>> = { old: '/docs/', bad: '//evil.example/' }
  served.objects.head = async (target, options) => {
    const [info, location] = [await head(target, options), locations[target.key]]
    return location === undefined ? info : { ...info, attributes: { headers: { 'website-redirect-location': location } } }
  }
  await served.put('photos/index.html', 'secret')
})
afterAll(async () => { await served[Symbol.asyncDispose]() })

const get = (path: string, host = 'open.sites.example.org', headers: Record<string, string> = {}): Promise<Answer> => served.ask(path, { headers: { host, ...headers } })

describe('a public-read bucket as a website', () => {
  test('stands at a host of its own, where its pages run', async () => {
    const answer = await get('/')
    expect(answer).toMatchObject({ status: 200, body: '<script>home()</script>', headers: { 'content-type': 'text/html; charset=utf-8' } })
    expect(answer.headers['content-security-policy']).toBeUndefined()
    expect((await get('/', 'open.localhost:8080')).body).toBe('<script>home()</script>')
    expect((await served.ask('/open/index.html')).headers['content-security-policy']).toContain('sandbox')
  })

  test('has index documents, and leads to them where the slash was forgotten', async () => {
    expect((await get('/docs/')).body).toBe('docs')
    expect(await get('/docs')).toMatchObject({ status: 302, headers: { location: '/docs/' } })
    expect(await get('//docs')).toMatchObject({ status: 404 })
  })

  test('has an error document', async () => {
    expect(await get('/nothing')).toMatchObject({ status: 404, body: 'not here', headers: { 'content-type': 'text/html; charset=utf-8' } })
  })

  test('redirects single objects, within it or to a full address', async () => {
    expect(await get('/old')).toMatchObject({ status: 301, headers: { location: '/docs/' } })
    expect(await get('/bad')).toMatchObject({ status: 200, body: 'x' })
  })

  test('redirects everything where it says so', async () => {
    await served.objects.createBucket('moved', { settings: { publicRead: true, website: { redirectAllTo: { host: 'new.example.org', protocol: 'https' } } } })
    expect(await get('/a/b', 'moved.sites.example.org')).toMatchObject({ status: 301, headers: { location: 'https://new.example.org/a/b' } })
  })

  test.each(['photos', 'nothing', 'a.b.c'])('no other bucket has one, whatever key is shown (%s)', async (bucket) => {
    expect((await get('/', `${bucket}.sites.example.org`, basic('reader'))).status).toBe(404)
  })

  test('answers no page of another origin, whatever the rules of a bucket say that its path begins with', async () => {
    const origin = 'https://app.example.org'
    await served.objects.createBucket('ruled', { settings: { cors: [{ allowedOrigins: [origin], allowedMethods: ['GET'] }] } })
    await served.put('open/ruled/x', 'x')
    for (const method of ['GET', 'OPTIONS']) {
      const answer = await served.ask('/ruled/x', { method, headers: { host: 'open.sites.example.org', origin, 'access-control-request-method': 'GET' } })
      expect(answer.status, method).toBe(403)
      expect(answer.headers['access-control-allow-origin'], method).toBeUndefined()
    }
  })

  test('a name that has none below it is no bucket', async () => {
    expect((await get('/open/docs/index.html', 'files.example.org')).status).toBe(200)
  })

  test('a name that is this server\'s whole is no bucket\'s, though all below its domain are', async () => {
    const hosts = ['files.example.org', '*.example.org']
    await using all = await servedWeb({ hosts }, { hosts })
    await all.put('open/x', 'x')
    await all.objects.createBucket('site', { settings: { publicRead: true, website: { index: 'index.html' } } })
    expect(await all.ask('/open/x', { headers: { host: 'files.example.org' } })).toMatchObject({ status: 200, body: 'x' })
    expect((await all.ask('/s/0123456789abcdef', { headers: { host: 'Files.example.org', accept: 'text/html' } })).status).toBe(200)
    expect((await all.ask('/open/x', { headers: { host: 'site.example.org' } })).status).toBe(404)
  })
})
