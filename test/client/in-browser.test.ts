import { expect, test } from 'vitest'
import { publicApiFace } from '../../src/api/public-api.ts'
import { systemClock } from '../../src/base/clock.ts'
import type { DfsNode } from '../../src/node.ts'
import { objectStore } from '../../src/objects/index.ts'
import { hasChromium, servedPage } from '../support/chromium.ts'
import { objectWorld } from '../support/object-parts.ts'
import { servedPublicly } from '../support/public-listener.ts'
import { testGate } from '../support/web-face.ts'

/** What the page does. `api` is another origin than the page's. */
const script = (api: string): string => `
    const { connect } = await import('/client/browser.ts')
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
`

test.skipIf(!hasChromium('the client is not run in a browser'))('in a browser, from a page of another origin that is let in; from one that is not, nothing', { timeout: 60_000 }, async () => {
  const objects = objectStore(objectWorld().parts)
  await objects.createBucket('photos')
  const node = { objects, watch: async function * () { yield { at: '2026-01-02T03:04:05.000Z', from: 'p', versionId: 'v', root: undefined, object: { bucket: 'photos', key: 'seen' } } } } as unknown as DfsNode
  const rpcOrigins: string[] = []
  const face = publicApiFace({ node, clock: systemClock, config: { rpcOrigins, rpcReflection: false }, gate: testGate })
  await using served = await servedPublicly((exchange) => face.answer(exchange), { face, http2: true })
  await using page = await servedPage(() => script(served.listener.url))
  expect(await page.visited()).toEqual([expect.stringContaining('Unreachable') as string])
  rpcOrigins.push(page.origin)
  expect(await page.visited()).toEqual([21, 'than', 'mé ✓', 21, 'text/x', true, 'a/ü 💾', 'piece by piece', 'seen', 'not-found', 'conflict', true, '14'])
})
