import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { stripTypeScriptTypes } from 'node:module'
import type { AddressInfo } from 'node:net'
import { join, normalize } from 'node:path'
import { expect, test } from 'vitest'
import { publicApiFace } from '../../src/api/public-api.ts'
import { systemClock } from '../../src/base/clock.ts'
import type { DfsNode } from '../../src/node.ts'
import { objectStore } from '../../src/objects/index.ts'
import { objectWorld } from '../support/object-parts.ts'
import { servedPublicly } from '../support/public-listener.ts'
import { temporaryFolder } from '../support/temporary.ts'
import { testGate } from '../support/web-face.ts'

const source = join(import.meta.dirname, '..', '..', 'src')
const chromium = '/usr/bin/chromium'
const isThere = (): boolean => { try { accessSync(chromium); return true } catch { return false } }
if (!isThere()) console.warn(`SKIPPED: the client is not run in a browser, for ${chromium} is missing; scripts/clients-browser.sh installs it`)

/** What the page does; what it returns is sent back. `api` is another origin than the page's. */
const script = (api: string): string => `
  import { connect } from '/client/browser.ts'
  const told = []
  try {
    const client = await connect({ url: '${api}', accessKey: { id: 'writer', secret: 'secret' } })
    const target = { bucket: 'photos', key: 'a/ü 💾' }
    const stored = await client.put(target, new Blob(['more than eight bytes']), { contentType: 'text/x', metadata: { who: 'mé ✓' }, ifNoneMatch: '*' })
    told.push(stored.sizeBytes)
    const reading = await client.get(target, { range: { first: 5, last: 8 }, ifMatch: stored.etag })
    told.push(await reading.text(), reading.info.metadata.who, reading.info.sizeBytes, reading.info.contentType)
    told.push((await client.head(target)).etag === stored.etag)
    for await (const { key } of client.list('photos')) told.push(key)
    await client.put({ bucket: 'photos', key: 'streamed' }, (async function * () { yield new TextEncoder().encode('piece by '); yield new TextEncoder().encode('piece') })())
    told.push(await new Response((await client.get({ bucket: 'photos', key: 'streamed' })).stream()).text())
    for await (const { object } of await client.watch({ bucket: 'photos' })) { told.push(object.key); break }
    told.push(await client.get({ bucket: 'photos', key: 'nothing' }).catch((error) => error.code))
    told.push(await client.put(target, 'again', { ifNoneMatch: '*' }).catch((error) => error.code))
    told.push(await client.remove(target))
    // Connect, by hand: a call is a POST of JSON
    const answer = await fetch('${api}/dfs.v1.ObjectService/StatObject', { method: 'POST', headers: { 'content-type': 'application/json', authorization: 'Bearer writer:secret' }, body: JSON.stringify({ bucket: 'photos', key: 'streamed' }) })
    told.push((await answer.json()).object.sizeBytes)
  } catch (error) {
    told.push(String(error.stack))
  }
  await fetch('/told', { method: 'POST', body: JSON.stringify(told) })
`

test.skipIf(!isThere())('in a browser, from a page of another origin that is let in; from one that is not, nothing', { timeout: 60_000 }, async () => {
  const objects = objectStore(objectWorld().parts)
  await objects.createBucket('photos')
  const node = { objects, watch: async function * () { yield { at: '2026-01-02T03:04:05.000Z', from: 'p', versionId: 'v', root: undefined, object: { bucket: 'photos', key: 'seen' } } } } as unknown as DfsNode
  const rpcOrigins: string[] = []
  const face = publicApiFace({ node, clock: systemClock, config: { rpcOrigins, rpcReflection: false }, gate: testGate })
  await using served = await servedPublicly((exchange) => face.answer(exchange), { face, http2: true })
  let tell = (_told: unknown[]): void => {}
  const page = createServer((request, response) => {
    const { url = '/' } = request
    if (url === '/told') {
      request.setEncoding('utf8').toArray().then((pieces: string[]) => { response.end(); tell(JSON.parse(pieces.join('')) as unknown[]) }, () => { response.destroy() })
    } else if (url === '/') {
      response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' }).end(`<!doctype html><script type="module">${script(served.listener.url)}</script>`)
    } else if (url.endsWith('.ts')) {
      response.writeHead(200, { 'content-type': 'text/javascript; charset=utf-8' }).end(stripTypeScriptTypes(readFileSync(join(source, normalize(url)), 'utf8')))
    } else {
      response.writeHead(404).end()
    }
  }).listen(0, '127.0.0.1')
  await once(page, 'listening')
  const origin = `http://127.0.0.1:${(page.address() as AddressInfo).port}`

  const visited = async (): Promise<unknown[]> => {
    await using profile = await temporaryFolder()
    const { promise, resolve } = Promise.withResolvers<unknown[]>()
    tell = resolve
    const browser = spawn(chromium, ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', `--user-data-dir=${profile.path}`, origin], { stdio: 'ignore', detached: true })
    try {
      return await promise
    } finally {
      process.kill(-browser.pid!, 'SIGKILL') // with its children, which write into the profile
      await once(browser, 'exit')
    }
  }
  try {
    expect(await visited()).toEqual([expect.stringContaining('Unreachable') as string])
    rpcOrigins.push(origin)
    expect(await visited()).toEqual([21, 'than', 'mé ✓', 21, 'text/x', true, 'a/ü 💾', 'piece by piece', 'seen', 'not-found', 'conflict', true, '14'])
  } finally {
    page.closeAllConnections()
    page.close()
  }
})
