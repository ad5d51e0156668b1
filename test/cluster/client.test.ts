import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Client, connect } from '../../src/client/index.ts'
import type { SecretAccessKey } from '../../src/objects/index.ts'
import { hasChromium, type Page, servedPage } from '../support/chromium.ts'
import { noiseBytes } from '../support/file-world.ts'
import { digestOfBytes, realCluster, type RealCluster } from '../support/real-cluster.ts'

/** The client for TypeScript, all of it, on three nodes of which the founder is dead: through each of the two that live, looked at through the other at once. */

const film = noiseBytes(5 * 1024 ** 2, 21)
let real: RealCluster
let key: SecretAccessKey
let page: Page
let script = ''

beforeAll(async () => {
  page = await servedPage(() => script)
  real = await realCluster(3, { options: () => ['--rpc-listen', '127.0.0.1:0', '--rpc-origins', page.origin] })
  ;[key] = await real.node(1).json<SecretAccessKey>(['key', 'create', 'client']) as [SecretAccessKey]
  await real.node(0).stop('SIGKILL')
}, 120_000)
afterAll(async () => {
  await real?.[Symbol.asyncDispose]()
  await page?.[Symbol.asyncDispose]()
})

const urlOf = (node: number): string => real.node(node).ready?.endpoints.rpc ?? ''
const byKey = (node: number): Promise<Client> => connect({ url: urlOf(node), accessKey: key })
const failure = async (asked: Promise<unknown>): Promise<string> => asked.then(() => 'none', (error: { code?: string }) => error.code ?? String(error))

describe.each([['an access key', 1, 2, byKey], ['an access key', 2, 1, byKey], ['the node\'s own token', 1, 2, async (node: number) => connect({ data: real.node(node).data })], ['the node\'s own token', 2, 1, async (node: number) => connect({ data: real.node(node).data })]] as const)('with %s, through node %d', (how, here, there, opened) => {
  const bucket = `by-${how === 'an access key' ? 'key' : 'token'}-${here}`
  const target = { bucket, key: 'a/ü 💾' }

  test('buckets are made, told, changed and removed', async () => {
    using client = await opened(here)
    using other = await byKey(there)
    expect(await client.buckets.create(bucket, { copies: 2 })).toMatchObject({ name: bucket, copies: 2 })
    expect(await failure(other.buckets.create(bucket, { copies: 2 }))).toBe('conflict')
    expect((await other.buckets.list()).map(({ name }) => name)).toContain(bucket)
    expect(await client.buckets.update(bucket, { copies: 3, quotaObjects: 1000 })).toMatchObject({ copies: 3, settings: { quotaObjects: 1000 } })
    await expect.poll(async () => other.buckets.get(bucket), { timeout: 10_000 }).toMatchObject({ copies: 3, settings: { quotaObjects: 1000 } })
    await client.buckets.create(`${bucket}-again`, { copies: 2 })
    await other.put({ bucket: `${bucket}-again`, key: 'k' }, 'x')
    expect(await failure(client.buckets.remove(`${bucket}-again`))).toBe('conflict')
    await other.remove({ bucket: `${bucket}-again`, key: 'k' })
    await client.buckets.remove(`${bucket}-again`)
    expect(await failure(other.buckets.get(`${bucket}-again`))).toBe('not-found')
  })

  test('objects are put, looked at, read by range, copied, listed and removed, with conditions', async () => {
    using client = await opened(here)
    using other = await byKey(there)
    const stored = await client.put(target, film, { contentType: 'video/x', metadata: { who: 'mé ✓' }, ifNoneMatch: '*' })
    expect(await failure(other.put(target, 'again', { ifNoneMatch: '*' }))).toBe('conflict')
    expect(await other.head(target)).toMatchObject({ sizeBytes: film.byteLength, etag: stored.etag, contentType: 'video/x', metadata: { who: 'mé ✓' } })
    expect(digestOfBytes(await (await other.get(target)).bytes())).toBe(digestOfBytes(film))
    let got = 0
    const part = await (await other.get(target, { range: { first: 3_000_000, last: 3_000_999 }, ifMatch: stored.etag, onProgress: (bytes) => { got = bytes } })).bytes()
    expect([Buffer.compare(part, film.subarray(3_000_000, 3_001_000)), got]).toEqual([0, 1000])
    expect(await failure(other.get(target, { ifMatch: 'other' }))).toBe('conflict')
    expect(await client.copy(target, { bucket, key: 'b' }, { ifNoneMatch: '*' })).toMatchObject({ key: 'b', sizeBytes: film.byteLength })
    expect(await failure(other.copy(target, { bucket, key: 'b' }, { ifNoneMatch: '*' }))).toBe('conflict')
    await client.put({ bucket, key: 'a/streamed' }, (async function * () { yield Buffer.from('piece by '); yield Buffer.from('piece') })())
    expect(await (await other.get({ bucket, key: 'a/streamed' })).text()).toBe('piece by piece')
    const listed: string[] = []
    for await (const { key: name } of other.list(bucket)) listed.push(name)
    expect(listed).toEqual(['a/streamed', 'a/ü 💾', 'b'])
    expect(await other.page(bucket, { delimiter: '/', limit: 1 })).toMatchObject({ objects: [], prefixes: ['a/'], next: expect.any(String) as string })
    expect(await failure(other.remove({ bucket, key: 'b' }, { ifMatch: 'other' }))).toBe('conflict')
    expect([await other.remove({ bucket, key: 'b' }), await client.remove({ bucket, key: 'b' })]).toEqual([true, false])
    expect(await failure(client.get({ bucket, key: 'b' }))).toBe('not-found')
  })

  test('what is put through the other is seen by who watches; the status and any request are answered as far as that goes', async () => {
    using client = await opened(here)
    using other = await byKey(there)
    const seen = await client.watch({ bucket, prefix: 'seen/', signal: AbortSignal.timeout(20_000) })
    await other.put({ bucket, key: 'seen/k' }, 'x')
    for await (const { object } of seen) {
      if (object === undefined) continue
      expect(object).toEqual({ bucket, key: 'seen/k' })
      break
    }
    expect(await client.request('GET', `/v1/objects/${bucket}?prefix=seen/`)).toMatchObject({ objects: [{ key: 'seen/k', sizeBytes: 1 }] })
    if (how === 'an access key') expect(await failure(client.status())).not.toBe('none')
    else expect(await client.status()).toMatchObject({ isReady: true, role: 'member' })
  })
})

/** What the page does at a node; `there` looks at it through the other. */
const inBrowser = (here: string, there: string): string => `
  const { connect } = await import('/client/browser.ts')
  const accessKey = ${JSON.stringify({ id: key.id, secret: key.secret })}
  const [client, other] = [await connect({ url: '${here}', accessKey }), await connect({ url: '${there}', accessKey })]
  const failure = (asked) => asked.then(() => 'none', (error) => error.code)
  const target = { bucket: 'by-page', key: 'a/ü 💾' }
  told.push((await client.buckets.create('by-page', { copies: 2 })).copies, await failure(other.buckets.create('by-page', { copies: 2 })))
  const watching = await client.watch({ bucket: 'by-page' })
  const bytes = Uint8Array.from({ length: 3_000_000 }, (_, i) => i * 7)
  const stored = await other.put(target, new Blob([bytes]), { contentType: 'text/x', metadata: { who: 'mé ✓' }, ifNoneMatch: '*' })
  for await (const { object } of watching) if (object !== undefined) { told.push(object.key); break }
  const reading = await client.get(target, { ifMatch: stored.etag })
  const back = await reading.bytes()
  told.push(reading.info.metadata.who, back.length, back.every((byte, i) => byte === bytes[i]))
  told.push((await (await client.get(target, { range: { first: 5, last: 8 } })).bytes()).join(), (await client.head(target)).sizeBytes)
  told.push((await client.copy(target, { bucket: 'by-page', key: 'b' })).key)
  await client.put({ bucket: 'by-page', key: 'streamed' }, (async function * () { yield new TextEncoder().encode('piece by '); yield new TextEncoder().encode('piece') })())
  told.push(await new Response((await other.get({ bucket: 'by-page', key: 'streamed' })).stream()).text())
  const listed = []
  for await (const { key } of other.list('by-page')) listed.push(key)
  told.push(listed, (await other.page('by-page', { delimiter: '/' })).prefixes)
  told.push(await failure(other.put(target, 'again', { ifNoneMatch: '*' })), await failure(client.get({ bucket: 'by-page', key: 'nothing' })), await failure(client.buckets.remove('by-page')))
  told.push((await client.buckets.update('by-page', { copies: 3 })).copies)
  for (const name of listed) told.push(await client.remove({ bucket: 'by-page', key: name }))
  await other.buckets.remove('by-page')
  told.push((await client.buckets.list()).some(({ name }) => name === 'by-page'), await failure(client.status()))
`

test.skipIf(!hasChromium('the client is not run in a browser on a cluster')).each([[1, 2], [2, 1]])('in a browser, from a page of another origin, through node %d', { timeout: 90_000 }, async (here, there) => {
  script = inBrowser(urlOf(here), urlOf(there))
  expect(await page.visited()).toEqual([
    2, 'conflict', 'a/ü 💾', 'mé ✓', 3_000_000, true, '35,42,49,56', 3_000_000, 'b', 'piece by piece', ['a/ü 💾', 'b', 'streamed'], ['a/'], 'conflict', 'not-found', 'conflict', 3, true, true, true, false, expect.any(String) as string,
  ])
})
