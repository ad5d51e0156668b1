import { setImmediate } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { publicApiFace } from '../../src/api/public-api.ts'
import { systemClock } from '../../src/base/clock.ts'
import type { DfsNode } from '../../src/node.ts'
import { objectStore } from '../../src/objects/index.ts'
import { hasChromium, servedPage } from '../support/chromium.ts'
import { objectWorld } from '../support/object-parts.ts'
import { servedPublicly } from '../support/public-listener.ts'
import { testGate } from '../support/web-face.ts'

/** @connectrpc/connect-web in a browser, with the code that is generated of proto/: what a page of other people's would use. */
const packages = ['@connectrpc/connect-web', '@connectrpc/connect', '@bufbuild/protobuf']
const mib = 1024 ** 2

const script = (api: string, transport: 'createGrpcWebTransport' | 'createConnectTransport'): string => `
  const { createClient, Code } = await import('@connectrpc/connect')
  const { ${transport} } = await import('@connectrpc/connect-web')
  const { BucketService } = await import('/api/rpc/generated/dfs/v1/bucket_pb.ts')
  const { ObjectService } = await import('/api/rpc/generated/dfs/v1/object_pb.ts')
  const { ErrorInfoSchema } = await import('/api/rpc/generated/google/rpc/error_details_pb.ts')
  const showing = (next) => (request) => { request.header.set('authorization', 'Bearer writer:secret'); return next(request) }
  const through = ${transport}({ baseUrl: '${api}', interceptors: [showing] })
  const [buckets, objects] = [createClient(BucketService, through), createClient(ObjectService, through)]
  told.push((await buckets.listBuckets({})).buckets.map(({ name }) => name))
  told.push(Number((await objects.statObject({ bucket: 'photos', key: 'film' })).object.sizeBytes))
  let [bytes, ends] = [0, 0]
  for await (const { part } of objects.getObject({ bucket: 'photos', key: 'film' })) {
    if (part.case === 'chunk') bytes += part.value.byteLength
    if (part.case === 'end') ends++
  }
  told.push(bytes, ends)
  for await (const { announcement } of objects.watchObjects({ bucket: 'photos' })) if (announcement !== undefined) { told.push(announcement.key); break }
  told.push((await objects.copyObject({ sourceBucket: 'photos', sourceKey: 'film', bucket: 'photos', key: 'copy' })).object.key)
  told.push((await objects.listObjects({ bucket: 'photos' })).objects.map(({ key }) => key))
  const failure = async (call) => call.then(() => 'none', (error) => [Code[error.code], error.findDetails(ErrorInfoSchema).map(({ reason }) => reason)])
  told.push(await failure(objects.statObject({ bucket: 'photos', key: 'nothing' })), await failure(objects.statObject({ bucket: 'hidden', key: 'film' })))
  told.push(await failure((async () => { for await (const one of objects.watchObjects({ bucket: 'photos' }, { timeoutMs: 300 })) ; })()))
  // a reader that has seen enough
  for await (const { part } of objects.getObject({ bucket: 'photos', key: 'endless' })) if (part.case === 'chunk') break
  told.push('left')
`

describe.each(['createGrpcWebTransport', 'createConnectTransport'] as const)('in a browser, from a page of another origin, by %s', (transport) => {
  test.skipIf(!hasChromium('nothing is called by Connect-web'))('lists, looks, reads and watches streams, copies, is told errors with their details, and ends what it leaves', { timeout: 60_000 }, async () => {
    const objects = objectStore(objectWorld().parts)
    for (const bucket of ['photos', 'hidden']) await objects.createBucket(bucket)
    await objects.put({ bucket: 'photos', key: 'film' }, (async function * () { for (let i = 0; i < 3; i++) yield new Uint8Array(10).fill(i + 1) })())
    let isLeft = false
    const node = {
      objects: {
        ...objects,
        get: async (target, options) => target.key !== 'endless' ? objects.get(target, options) : {
          ...await objects.get({ ...target, key: 'film' }, options), range: { first: 0, end: 2 ** 40 },
          body: (async function * () { try { for (;;) { await setImmediate(); options?.signal?.throwIfAborted(); yield new Uint8Array(mib) } } finally { isLeft = true } })(),
        },
      } satisfies typeof objects,
      watch: async function * (_: unknown, { signal }: { signal?: AbortSignal } = {}) {
        yield { at: '2026-01-02T03:04:05.000Z', from: 'p', versionId: 'v', root: undefined, object: { bucket: 'photos', key: 'seen' } }
        await new Promise((resolve) => { signal?.addEventListener('abort', resolve) })
      },
    } as unknown as DfsNode
    const rpcOrigins: string[] = []
    const face = publicApiFace({ node, clock: systemClock, config: { rpcOrigins, rpcReflection: false }, gate: testGate })
    await using served = await servedPublicly((exchange) => face.answer(exchange), { face, http2: true })
    await using page = await servedPage(() => script(served.listener.url, transport), packages)
    rpcOrigins.push(page.origin)
    expect(await page.visited()).toEqual([
      ['photos'], 30, 30, 1, 'seen', 'copy', ['copy', 'film'], ['NotFound', ['NOT_FOUND']], ['PermissionDenied', ['REFUSED']], ['DeadlineExceeded', expect.any(Array) as unknown], 'left',
    ])
    await expect.poll(() => isLeft).toBe(true)
  })
})
