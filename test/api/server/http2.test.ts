import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { connect, constants } from 'node:http2'
import { expect, test } from 'vitest'
import { apiLimits } from '../../../src/api/local/http.ts'
import { httpServers } from '../../../src/api/server/http-servers.ts'
import { listen } from '../../../src/api/server/listener.ts'
import { stopLimits } from '../../../src/api/server/under-way.ts'
import { hexOf } from '../../../src/base/bytes.ts'
import { type Clock, systemClock } from '../../../src/base/clock.ts'
import type { ObjectInfo } from '../../../src/objects/index.ts'
import { servedApi } from '../../support/local-api.ts'

const info: ObjectInfo = { bucket: 'photos', key: 'k', sizeBytes: 2 ** 24, etag: 'e', versionId: 'v', modified: '2026-01-02T03:04:05.000Z', contentType: undefined, metadata: {}, isNullVersion: false, attributes: {} }

async function * watched ({ signal }: { signal: AbortSignal }): AsyncIterable<unknown> {
  for (; !signal.aborted; await systemClock.sleep(1)) yield { at: 'now', from: 'p', versionId: 'v'.repeat(1000), root: undefined, object: undefined }
}

/** What a client of HTTP/2 that reads nothing may do with its streams. Node leaves one that was reset without an error as it is, its connection gone or not. */
test.each([
  ['resets its stream without an error', '/v1/objects/photos/k', constants.NGHTTP2_NO_ERROR], ['resets its stream with one', '/v1/objects/photos/k', constants.NGHTTP2_CANCEL],
  ['resets a watch without an error', '/v1/watch', constants.NGHTTP2_NO_ERROR], ['goes away', '/v1/objects/photos/k', undefined], ['is refused, and goes away', '/v1/nothing', undefined], ['resets what is refused, and goes away', '/v1/nothing', constants.NGHTTP2_NO_ERROR],
] as const)('of a client that reads nothing and %s nothing is left: no reading goes on, and no request is kept', async (_, path, code) => {
  const waited: number[] = []
  const clock: Clock = { ...systemClock, after: (durationMs, action) => systemClock.after(durationMs, () => { waited.push(durationMs); action() }) }
  const served = await servedApi({ watch: watched as never }, { clock })
  let open = 0
  served.objects.get = async () => ({
    info, range: { first: 0, end: info.sizeBytes }, sources: { local: 0, cache: 0, peers: new Map() },
    body: (async function * () { open++; try { for (;;) yield new Uint8Array(2 ** 18) } finally { open-- } })(),
  })
  const session = connect(`http://127.0.0.1:${served.api.port}`, { settings: { initialWindowSize: 0 } }).on('error', () => { /* it goes away */ })
  const stream = session.request({ ':path': path, authorization: `Bearer ${hexOf(served.api.token)}`, host: `127.0.0.1:${served.api.port}` }).on('error', () => { /* it was reset */ })
  await new Promise((resolve) => { stream.once('response', resolve) })
  if (path.startsWith('/v1/objects')) await expect.poll(() => open).toBe(1)
  if (code === undefined) session.destroy()
  else stream.close(code)
  await expect.poll(() => open).toBe(0)
  if (code !== undefined) await expect.poll(() => served.logged.join()).toContain('"message":"refused"')
  // what has been answered and is not read stays as long as its connection
  if (path === '/v1/nothing') session.destroy()
  await served[Symbol.asyncDispose]()
  expect(waited).not.toContain(stopLimits.finishMs)
  session.destroy()
})

test('what a client resets when it has been answered, and reads nothing of it, is not kept: its streams were used up, and its connection ended', async () => {
  const { server, readers } = httpServers({ tls: undefined, http2: true, limits: { ...apiLimits, maxStreams: 10 }, clock: systemClock })
  let open = 0
  for (const reader of readers) {
    reader.on('request', (_, response: ServerResponse) => {
      open++
      response.once('close', () => { open-- })
      response.end('x'.repeat(10_000))
    })
  }
  const port = await listen(server, { host: '127.0.0.1', port: 0 })
  const session = connect(`http://127.0.0.1:${port}`, { settings: { initialWindowSize: 0 } })
  for (let i = 0; i < 50; i++) {
    const stream = session.request({ ':path': '/' })
    await once(stream, 'response')
    stream.close(constants.NGHTTP2_NO_ERROR)
    await once(stream, 'close')
  }
  expect(open).toBeLessThanOrEqual(6)
  session.destroy()
  server.close()
})
