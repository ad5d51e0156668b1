import { readFile } from 'node:fs/promises'
import { request as secureRequest } from 'node:https'
import { join } from 'node:path'
import type { MessageInitShape } from '@bufbuild/protobuf'
import { Code, type ConnectError, createClient, type Interceptor } from '@connectrpc/connect'
import { createConnectTransport, createGrpcTransport } from '@connectrpc/connect-node'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Gate, Wish } from '../../src/api/gate.ts'
import { keyGate } from '../../src/api/key-gate.ts'
import { publicApiFace } from '../../src/api/public-api.ts'
import { BucketService } from '../../src/api/rpc/generated/dfs/v1/bucket_pb.ts'
import { ClusterService } from '../../src/api/rpc/generated/dfs/v1/cluster_pb.ts'
import { KeyService } from '../../src/api/rpc/generated/dfs/v1/key_pb.ts'
import { ObjectService, type PutObjectRequestSchema, RetentionMode } from '../../src/api/rpc/generated/dfs/v1/object_pb.ts'
import { Health } from '../../src/api/rpc/generated/grpc/health/v1/health_pb.ts'
import type { PublicListener } from '../../src/api/server/public-listener.ts'
import { systemClock } from '../../src/base/clock.ts'
import { connect } from '../../src/client/index.ts'
import type { DfsNode } from '../../src/node.ts'
import { type Objects, objectStore } from '../../src/objects/index.ts'
import { objectWorld } from '../support/object-parts.ts'
import { servedPublicly } from '../support/public-listener.ts'
import { collected, failureOf } from '../support/rpc-client.ts'
import { basic, testGate } from '../support/web-face.ts'

/** At an address that others reach: with an access key, under TLS. "open" may be read by anybody, "photos" with reader:secret, all of it with writer:secret. */

const tls = { cert: join(import.meta.dirname, '..', 'support', 'tls', 'first.crt'), key: join(import.meta.dirname, '..', 'support', 'tls', 'first.key') }
const origin = 'https://app.example.org'
let objects: { -readonly [M in keyof Objects]: Objects[M] }
let listener: PublicListener
let closing: AsyncDisposable

beforeAll(async () => {
  objects = { ...objectStore(objectWorld().parts) }
  for (const bucket of ['open', 'photos', 'hidden']) {
    await objects.createBucket(bucket)
    await objects.put({ bucket, key: 'k' }, (async function * () { yield new TextEncoder().encode('more than eight bytes') })())
  }
  const node = { objects, status: async () => ({ isReady: true }), watch: async function * () { yield { at: '2026-01-02T03:04:05.000Z', from: 'p', versionId: 'v', root: undefined, object: { bucket: 'hidden', key: 'k' } } } } as unknown as DfsNode
  const face = publicApiFace({ node, clock: systemClock, config: { rpcOrigins: [origin], rpcReflection: false }, gate: testGate })
  const served = await servedPublicly((exchange) => face.answer(exchange), { face, tls, http2: true })
  ;[listener, closing] = [served.listener, served]
})
afterAll(async () => { await closing[Symbol.asyncDispose]() })

const ca = await readFile(tls.cert)
const nodeOptions = { ca, checkServerIdentity: () => undefined }

function transport (who: string | undefined, { isGrpc = true }: { isGrpc?: boolean } = {}): Parameters<typeof createClient>[1] {
  const showing: Interceptor = (next) => (request) => {
    if (who !== undefined) request.header.set('authorization', who)
    return next(request)
  }
  const common = { baseUrl: `https://127.0.0.1:${listener.port}`, nodeOptions, interceptors: [showing] }
  return isGrpc ? createGrpcTransport(common) : createConnectTransport({ ...common, httpVersion: '1.1' })
}

const reader = basic('reader').authorization
const writer = 'Bearer writer:secret'
const dropper = basic('dropper').authorization

async function http (method: string, path: string, { headers = {}, body, port = listener.port }: { headers?: Record<string, string>, body?: string, port?: number } = {}): Promise<{ status: number, headers: Record<string, unknown>, body: string }> {
  return new Promise((resolve, reject) => {
    const outgoing = secureRequest({ host: '127.0.0.1', port, method, path, headers, ...nodeOptions }, (answer) => {
      const pieces: Buffer[] = []
      answer.on('data', (piece: Buffer) => { pieces.push(piece) }).on('end', () => { resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: Buffer.concat(pieces).toString() }) })
    })
    outgoing.on('error', reject).end(body)
  })
}

describe('gRPC and Connect at a public address', () => {
  test.each([true, false])('a key may what it has rights for (gRPC over TLS: %s)', async (isGrpc) => {
    const read = createClient(ObjectService, transport(reader, { isGrpc }))
    const write = createClient(ObjectService, transport(writer, { isGrpc }))
    expect((await read.statObject({ bucket: 'photos', key: 'k' })).object).toMatchObject({ sizeBytes: 21n })
    expect((await collected(read.getObject({ bucket: 'open', key: 'k' }))).at(-1)?.part.case).toBe('end')
    const put = async (client: typeof read): Promise<unknown> => client.putObject((async function * (): AsyncIterable<MessageInitShape<typeof PutObjectRequestSchema>> {
      yield { part: { case: 'head' as const, value: { bucket: 'photos', key: 'new' } } }
      yield { part: { case: 'end' as const, value: {} } }
    })())
    expect(await failureOf(put(read))).toMatchObject({ code: Code.PermissionDenied })
    await put(write)
    expect((await write.listObjects({ bucket: 'photos' })).objects.map(({ key }) => key)).toEqual(['k', 'new'])
    expect((await createClient(BucketService, transport(writer, { isGrpc })).listBuckets({})).buckets.map(({ name }) => name)).toEqual(['photos'])
  })

  test('every call on objects and buckets asks for a right: with a key that has none here, none passes', async () => {
    const calls: Array<[string, Promise<ConnectError>]> = []
    for (const service of [ObjectService, BucketService]) {
      const client = createClient(service, transport(writer)) as unknown as Record<string, (request: unknown) => unknown>
      for (const { localName, methodKind } of service.methods) {
        if (localName === 'listBuckets') continue
        const asked = { bucket: 'hidden', key: 'k', name: 'hidden', sourceBucket: 'hidden', sourceKey: 'k', redundancy: { case: 'copies', value: 1 } }
        const call = client[localName]?.(methodKind === 'client_streaming'
          ? (async function * () { yield { part: { case: 'head', value: asked } }; yield { part: { case: 'end', value: {} } } })()
          : asked)
        calls.push([localName, failureOf(methodKind === 'server_streaming' ? collected(call as AsyncIterable<unknown>) : call as Promise<unknown>)])
      }
    }
    expect(calls.length).toBeGreaterThan(12)
    for (const [name, failure] of calls) expect(await failure, name).toMatchObject({ code: Code.PermissionDenied })
    expect(await failureOf(collected(createClient(ObjectService, transport(writer)).watchObjects({})))).toMatchObject({ code: Code.InvalidArgument })
    expect((await objects.head({ bucket: 'hidden', key: 'k' })).sizeBytes).toBe(21)
  })

  test.each([true, false])('of what a stranger sends little is read: messages of many filled the memory (gRPC over TLS: %s)', async (isGrpc) => {
    const asking = async (who: string | undefined, key: string): Promise<ConnectError> => failureOf(createClient(ObjectService, transport(who, { isGrpc })).statObject({ bucket: 'open', key }))
    expect(await asking(undefined, 'x'.repeat(1000))).toMatchObject({ code: Code.NotFound })
    expect(await asking(undefined, 'x'.repeat(20_000))).toMatchObject({ code: Code.ResourceExhausted })
    expect(await failureOf(createClient(Health, transport(undefined, { isGrpc })).check({ service: 'x'.repeat(20_000) }))).toMatchObject({ code: Code.ResourceExhausted })
    expect(await asking(reader, 'x'.repeat(20_000))).toMatchObject({ code: Code.InvalidArgument })
  })

  test('a key that may write and not read is not told whether an ETag, which says what is in it, is the object\'s', async () => {
    const client = createClient(ObjectService, transport(dropper))
    const putting = async (ifMatch?: string): Promise<unknown> => client.putObject((async function * (): AsyncIterable<MessageInitShape<typeof PutObjectRequestSchema>> {
      yield { part: { case: 'head', value: { bucket: 'photos', key: 'dropped', ifMatch } } }
      yield { part: { case: 'end', value: {} } }
    })())
    await putting()
    await putting('*')
    expect(await failureOf(putting('e'))).toMatchObject({ code: Code.PermissionDenied })
    expect(await failureOf(client.deleteObject({ bucket: 'photos', key: 'dropped', ifMatch: 'e' }))).toMatchObject({ code: Code.PermissionDenied })
    await client.deleteObject({ bucket: 'photos', key: 'dropped' })
  })

  test('a key that may enter a bucket sees how it keeps versions, and not its policy', async () => {
    const policy = JSON.stringify({ Statement: [{ Effect: 'Allow', Principal: { AWS: 'DFSAAAAAAAAAAAAAAAAA' }, Action: 's3:GetObject', Resource: 'arn:aws:s3:::photos/*' }] })
    await objects.setBucketSettings('photos', { versioning: 'suspended', policy, quotaBytes: 1e9 })
    expect((await createClient(BucketService, transport(reader)).getBucket({ name: 'photos' })).bucket?.settings).toEqual({ versioning: 'suspended' })
    expect((await createClient(BucketService, transport(writer)).getBucket({ name: 'photos' })).bucket?.settings).toEqual({ versioning: 'suspended', policy, quotaBytes: 1e9 })
    const told = async (authorization: string): Promise<unknown> => (JSON.parse((await http('GET', '/v1/buckets/photos', { headers: { authorization } })).body) as { settings: unknown }).settings
    expect([await told(reader), await told(writer)]).toEqual([{ versioning: 'suspended' }, { versioning: 'suspended', policy, quotaBytes: 1e9 }])
    await objects.setBucketSettings('photos', { policy: null, quotaBytes: null })
  })

  test('is not told of a bucket what its policy denies to be told, though it may administer it', async () => {
    await objects.createBucket('told', { settings: { versioning: 'enabled', tags: [['a', 'b']], cors: [{ allowedOrigins: ['*'], allowedMethods: ['GET'] }], publicRead: true } })
    const [admin, id] = [{ id: 'DFSAAAAAAAAAAAAAAAAA', secret: 's', name: 'admin', rights: [{ bucket: 'told', prefix: '', actions: ['read', 'admin', 'list'] as const }], notAfterMs: undefined, createdMs: 0 }, 'told']
    const gate = keyGate({ keys: { find: async () => admin }, objects, clock: systemClock })
    const face = publicApiFace({ node: { objects } as unknown as DfsNode, clock: systemClock, config: { rpcOrigins: [], rpcReflection: false }, gate })
    await using served = await servedPublicly((exchange) => face.answer(exchange), { face, tls, http2: true })
    const authorization = `Bearer ${admin.id}:s`
    const client = createClient(BucketService, createGrpcTransport({ baseUrl: `https://127.0.0.1:${served.listener.port}`, nodeOptions, interceptors: [(next) => (request) => { request.header.set('authorization', authorization); return next(request) }] }))
    const deny = (...actions: string[]): string => JSON.stringify({ Statement: [{ Effect: 'Deny', Principal: '*', Action: actions, Resource: `arn:aws:s3:::${id}` }] })
    await objects.setBucketSettings(id, { policy: deny('s3:GetBucketTagging', 's3:GetBucketCORS', 's3:GetBucketPolicy') })
    expect(Object.keys((await client.getBucket({ name: id })).bucket?.settings ?? {}).toSorted()).toEqual(['policy', 'publicRead', 'versioning'])
    const { settings } = JSON.parse((await http('GET', `/v1/buckets/${id}`, { port: served.listener.port, headers: { authorization } })).body) as { settings: object }
    expect(Object.keys(settings).toSorted()).toEqual(['policy', 'publicRead', 'versioning'])
  })

  test('without a key only what anybody may read; a wrong secret gets nothing; the cluster is not there', async () => {
    const anybody = createClient(ObjectService, transport(undefined))
    expect((await anybody.statObject({ bucket: 'open', key: 'k' })).object).toMatchObject({ sizeBytes: 21n })
    expect(await failureOf(anybody.statObject({ bucket: 'photos', key: 'k' }))).toMatchObject({ code: Code.Unauthenticated })
    // what was there before is not what anybody may read
    const versionId = '0'.repeat(64)
    for (const call of [anybody.statObject({ bucket: 'open', key: 'k', versionId }), collected(anybody.getObject({ bucket: 'open', key: 'k', versionId })), anybody.listVersions({ bucket: 'open' })]) {
      expect(await failureOf(call as Promise<unknown>)).toMatchObject({ code: Code.Unauthenticated })
    }
    expect(await failureOf(createClient(ObjectService, transport('Bearer writer:guessed')).statObject({ bucket: 'open', key: 'k' }))).toMatchObject({ code: Code.Unauthenticated })
    expect(await failureOf(createClient(ClusterService, transport(writer)).getStatus({}))).toMatchObject({ code: Code.Unimplemented })
    expect(await failureOf(createClient(KeyService, transport(writer)).listKeys({}))).toMatchObject({ code: Code.Unimplemented })
    expect(await createClient(Health, transport(undefined)).check({})).toMatchObject({ status: 1 })
    for (const who of [undefined, writer]) expect(await failureOf(collected(createClient(Health, transport(who)).watch({})))).toMatchObject({ code: Code.Unimplemented })
    let asked = 0
    expect(await failureOf(anybody.putObject((async function * (): AsyncIterable<MessageInitShape<typeof PutObjectRequestSchema>> {
      for (; asked < 100; asked++) yield { part: { case: 'chunk', value: new Uint8Array(1_000_000) } }
    })()))).toMatchObject({ code: Code.Unauthenticated, rawMessage: 'this takes an access key' })
    expect(asked).toBeLessThan(100)
    expect(await failureOf(createClient(Health, transport(undefined)).check({ service: ClusterService.typeName }))).toMatchObject({ code: Code.NotFound })
  })
})

test('tags and locks that come with a put, or are set, are asked for beside the put; bypassing governance takes admin', async () => {
  const wishes: Wish[] = []
  const gate: Gate = { ...testGate, judge: async (wish) => { wishes.push(wish); return 'allow' } }
  const face = publicApiFace({ node: { objects } as unknown as DfsNode, clock: systemClock, config: { rpcOrigins: [], rpcReflection: false }, gate })
  await using served = await servedPublicly((exchange) => face.answer(exchange), { face, tls, http2: true })
  const client = createClient(ObjectService, createGrpcTransport({ baseUrl: `https://127.0.0.1:${served.listener.port}`, nodeOptions, interceptors: [(next) => (request) => { request.header.set('authorization', writer); return next(request) }] }))
  const asked = async (call: Promise<unknown>): Promise<unknown[]> => { wishes.length = 0; await call.catch(() => {}); return wishes.map(({ action, aspects, isOfVersions = false }) => [action, aspects?.join('+'), isOfVersions]) }
  const put = async (head: object): Promise<unknown> => client.putObject((async function * (): AsyncIterable<MessageInitShape<typeof PutObjectRequestSchema>> {
    yield { part: { case: 'head' as const, value: { bucket: 'photos', key: 'aspects', ...head } } }
    yield { part: { case: 'end' as const, value: {} } }
  })())
  const retention = { mode: RetentionMode.GOVERNANCE, until: { seconds: 5_000_000_000n } }
  const target = { bucket: 'photos', key: 'aspects' }
  expect(await asked(put({}))).toEqual([['write', 'content', false]])
  expect(await asked(put({ tags: { a: 'b' }, retention, isHeld: true }))).toEqual([['write', 'content+tags+retention+hold', false]])
  expect(await asked(client.updateObject({ ...target, versionId: 'v', tags: {} }))).toEqual([['write', 'tags', true]])
  expect(await asked(client.updateObject({ ...target, isHeld: false }))).toEqual([['write', 'hold', false], ['admin', 'hold', false]])
  expect(await asked(client.updateObject({ ...target, liftRetention: true, bypassGovernance: true }))).toEqual([['write', 'retention', false], ['admin', 'governance', false]])
  expect(await asked(client.deleteObject({ ...target, versionId: 'v', bypassGovernance: true }))).toEqual([['write', undefined, true], ['admin', 'governance', false]])
  for (const nothing of [{}, { liftRetention: true, retention }]) expect(await failureOf(client.updateObject({ ...target, ...nothing }))).toMatchObject({ code: Code.InvalidArgument })
})

test('a policy that denies what is done to a bucket itself is asked, by gRPC and by HTTP', async () => {
  const wishes: Wish[] = []
  const gate: Gate = { ...testGate, judge: async (wish) => { if (wish.changes !== undefined) wishes.push(wish); return wish.changes === undefined ? 'silent' : 'deny' } }
  const face = publicApiFace({ node: { objects } as unknown as DfsNode, clock: systemClock, config: { rpcOrigins: [], rpcReflection: false }, gate })
  await using served = await servedPublicly((exchange) => face.answer(exchange), { face, tls, http2: true })
  const client = createClient(BucketService, createGrpcTransport({ baseUrl: `https://127.0.0.1:${served.listener.port}`, nodeOptions, interceptors: [(next) => (request) => { request.header.set('authorization', writer); return next(request) }] }))
  expect(await failureOf(client.updateBucket({ name: 'photos', settings: { publicRead: true, quotaBytes: 5 } }))).toMatchObject({ code: Code.PermissionDenied })
  expect(await failureOf(client.deleteBucket({ name: 'photos' }))).toMatchObject({ code: Code.PermissionDenied })
  const [by, port] = [{ headers: { authorization: writer } }, served.listener.port]
  expect((await http('PATCH', '/v1/buckets/photos', { ...by, port, body: '{"publicRead":true}' })).status).toBe(403)
  expect((await http('DELETE', '/v1/buckets/photos', { ...by, port })).status).toBe(403)
  expect((await http('POST', '/v1/constructor?x=1', by)).status).toBe(404)
  expect(wishes.map(({ changes }) => changes)).toEqual([['publicRead', 'quotaBytes'], ['removal'], ['publicRead'], ['removal']])
  expect((await objects.bucket('photos')).settings?.publicRead).toBeUndefined()
})

test('a setting that is called as what JavaScript has is no other setting', async () => {
  const gate = keyGate({ keys: { find: async () => undefined }, objects, clock: systemClock })
  expect(await gate.judge({ action: 'admin', bucket: 'photos', key: '', changes: ['constructor', 'toString'] }, { keyId: undefined, isSecure: true })).toBe('silent')
})

test('a watch ends when its key is taken away: it went on for ever', async () => {
  for (const watching of ['gRPC', 'HTTP'] as const) {
    let isThere = true
    const seen: unknown[] = []
    const gate: Gate = { ...testGate, prove: async (shown, wait) => isThere ? testGate.prove(shown, wait) : undefined }
    const watch = async function * (): AsyncIterable<unknown> {
      for (const key of ['before', 'after']) {
        yield { at: '2026-01-02T03:04:05.000Z', from: 'p', versionId: 'v', root: undefined, object: { bucket: 'photos', key } }
        if (isThere) await expect.poll(() => seen).toEqual(['before'])
        isThere = false
      }
    }
    const face = publicApiFace({ node: { objects, watch } as unknown as DfsNode, clock: systemClock, config: { rpcOrigins: [], rpcReflection: false }, gate })
    await using served = await servedPublicly((exchange) => face.answer(exchange), { face, tls, http2: true })
    if (watching === 'gRPC') {
      const client = createClient(ObjectService, createGrpcTransport({ baseUrl: `https://127.0.0.1:${served.listener.port}`, nodeOptions, interceptors: [(next) => (request) => { request.header.set('authorization', writer); return next(request) }] }))
      const ended = (async () => { for await (const { announcement } of client.watchObjects({ bucket: 'photos' })) if (announcement !== undefined) seen.push(announcement.key) })()
      expect(await failureOf(ended)).toMatchObject({ code: Code.Unauthenticated })
    } else {
      using client = await connect({ url: `https://localhost:${served.listener.port}`, ca, accessKey: { id: 'writer', secret: 'secret' } })
      await expect((async () => { for await (const { object } of await client.watch({ bucket: 'photos' })) seen.push(object?.key) })()).rejects.toThrow()
    }
    expect(seen, watching).toEqual(['before'])
  }
})

test('tags are told to whoever may read tags, and what is in an object that was changed to whoever may read it', async () => {
  const tagged = { bucket: 'photos', key: 'tagged' }
  await objects.put(tagged, (async function * () { yield new TextEncoder().encode('x') })(), { tags: [['who', 'me']], metadata: { a: 'b' } })
  const gate: Gate = { ...testGate, judge: async ({ action, aspects }) => action === 'read' && aspects !== undefined ? 'deny' : 'silent' }
  const tagsFor = async (of: Gate, who: string): Promise<unknown[]> => {
    const face = publicApiFace({ node: { objects } as unknown as DfsNode, clock: systemClock, config: { rpcOrigins: [], rpcReflection: false }, gate: of })
    await using served = await servedPublicly((exchange) => face.answer(exchange), { face, tls, http2: true })
    const client = createClient(ObjectService, createGrpcTransport({ baseUrl: `https://127.0.0.1:${served.listener.port}`, nodeOptions, interceptors: [(next) => (request) => { request.header.set('authorization', who); return next(request) }] }))
    const [head] = await collected(client.getObject(tagged))
    return [(await client.statObject(tagged)).object?.tags, head?.part.case === 'head' ? head.part.value.object?.tags : undefined]
  }
  expect(await tagsFor(testGate, reader)).toEqual([{ who: 'me' }, { who: 'me' }])
  expect(await tagsFor(gate, reader)).toEqual([{}, {}])
  const changed = async (who: string): Promise<unknown> => (await createClient(ObjectService, transport(who)).updateObject({ ...tagged, tags: { tags: { who: 'you' } } })).object
  expect(await changed(writer)).toMatchObject({ tags: { who: 'you' }, metadata: { a: 'b' }, sizeBytes: 1n })
  expect(await changed(dropper)).toMatchObject({ ...tagged, etag: '', tags: {}, metadata: {}, sizeBytes: 0n, versionId: expect.stringMatching(/^[0-9a-f]{64}$/) as string })
})

test('a copy has no tags with it that who asks may not read: what is open to everybody shows none', async () => {
  for (const [key, tags] of [['plain', undefined], ['tagged', [['secret', 'plan']]]] as const) await objects.put({ bucket: 'open', key }, (async function * () { yield new TextEncoder().encode('x') })(), { tags })
  const gate: Gate = { ...testGate, judge: async (wish, asker) => wish.aspects === undefined ? testGate.judge(wish, asker) : 'silent' }
  const face = publicApiFace({ node: { objects } as unknown as DfsNode, clock: systemClock, config: { rpcOrigins: [], rpcReflection: false }, gate })
  await using served = await servedPublicly((exchange) => face.answer(exchange), { face, tls, http2: true })
  const client = createClient(ObjectService, createGrpcTransport({ baseUrl: `https://127.0.0.1:${served.listener.port}`, nodeOptions, interceptors: [(next) => (request) => { request.header.set('authorization', writer); return next(request) }] }))
  const byRpc = async (name: string): Promise<unknown> => client.copyObject({ sourceBucket: 'open', sourceKey: name, bucket: 'photos', key: `rpc-${name}` })
  const byHttp = async (name: string): Promise<number> => (await http('PUT', `/v1/objects/photos/http-${name}`, { port: served.listener.port, headers: { authorization: writer, 'x-dfs-copy-source': `/open/${name}`, 'content-length': '0' } })).status
  await byRpc('plain')
  expect(await byHttp('plain')).toBe(201)
  expect(await failureOf(byRpc('tagged'))).toMatchObject({ code: Code.PermissionDenied })
  expect(await byHttp('tagged')).toBe(403)
  expect((await objects.list('photos', { prefix: 'rpc-' })).objects.map(({ key }) => key)).toEqual(['rpc-plain'])
  expect((await objects.list('photos', { prefix: 'http-' })).objects.map(({ key }) => key)).toEqual(['http-plain'])
})

describe('the HTTP API for objects at a public address', () => {
  test('puts, gets, lists and removes as far as the key may', async () => {
    const authorization = writer
    expect((await http('PUT', '/v1/objects/photos/by-http', { headers: { authorization, 'x-dfs-meta-who': 'me' }, body: 'bytes' })).status).toBe(201)
    expect(await http('GET', '/v1/objects/photos/by-http', { headers: { authorization: reader } })).toMatchObject({ status: 200, body: 'bytes', headers: { 'x-dfs-meta-who': 'me' } })
    expect((await http('DELETE', '/v1/objects/photos/by-http', { headers: { authorization: reader } })).status).toBe(403)
    expect((await http('DELETE', '/v1/objects/photos/by-http', { headers: { authorization } })).status).toBe(200)
    expect(JSON.parse((await http('GET', '/v1/buckets', { headers: { authorization } })).body)).toMatchObject({ buckets: [{ name: 'photos' }] })
    expect((await http('GET', '/v1/buckets/photos', { headers: { authorization } })).status).toBe(200)
    expect((await http('GET', '/v1/objects/photos?prefix=k')).status).toBe(401)
    expect((await http('GET', '/v1/objects/open/k')).body).toBe('more than eight bytes')
    for (const [method, path] of [['GET', '/v1/objects/hidden'], ['PUT', '/v1/objects/hidden/k'], ['GET', '/v1/buckets/hidden'], ['DELETE', '/v1/buckets/hidden'], ['PATCH', '/v1/buckets/hidden']] as const) {
      expect((await http(method, path, { headers: { authorization } })).status, `${method} ${path}`).toBe(403)
    }
  })

  test('a key that may write and not read is not told whether an ETag is the object\'s', async () => {
    const { etag } = await objects.put({ bucket: 'photos', key: 'guessed' }, (async function * () { yield new TextEncoder().encode('secret') })())
    for (const [method, ifMatch] of [['PUT', 'other'], ['PUT', etag], ['DELETE', 'other'], ['DELETE', etag]] as const) {
      expect((await http(method, '/v1/objects/photos/guessed', { headers: { authorization: dropper, 'if-match': `"${ifMatch}"` }, body: '' })).status, `${method} ${ifMatch}`).toBe(403)
    }
    expect((await http('PUT', '/v1/objects/photos/guessed', { headers: { authorization: dropper, 'if-match': '*' }, body: 'x' })).status).toBe(201)
    expect((await http('DELETE', '/v1/objects/photos/guessed', { headers: { authorization: dropper } })).status).toBe(200)
  })

  test('a listing of versions is asked for as one, whatever stands below its prefix', async () => {
    const wishes: Wish[] = []
    const face = publicApiFace({ node: { objects } as unknown as DfsNode, clock: systemClock, config: { rpcOrigins: [], rpcReflection: false }, gate: { ...testGate, judge: async (wish) => { wishes.push(wish); return 'allow' } } })
    await using served = await servedPublicly((exchange) => face.answer(exchange), { face })
    const versionsIn = async (query: string): Promise<unknown> => (await fetch(`http://127.0.0.1:${served.listener.port}/v1/objects/photos?prefix=k${query}`)).json()
    expect(await versionsIn('')).toHaveProperty('objects')
    expect(await versionsIn('&versions=true')).toHaveProperty('versions')
    expect(wishes.map(({ action, key, isOfVersions = false }) => [action, key, isOfVersions])).toEqual([['list', 'k', false], ['list', 'k', true]])
  })

  test('a version that is named is not what anybody may read, and locks are not to be set here', async () => {
    const { versionId } = await objects.head({ bucket: 'open', key: 'k' })
    for (const method of ['GET', 'HEAD']) expect((await http(method, `/v1/objects/open/k?version=${versionId}`)).status, method).toBe(401)
    expect((await http('GET', `/v1/objects/photos/k?version=${(await objects.head({ bucket: 'photos', key: 'k' })).versionId}`, { headers: { authorization: reader } })).status).toBe(200)
    expect((await http('PATCH', '/v1/locks/photos/k', { headers: { authorization: writer }, body: '{"isHeld":true}' })).status).toBe(404)
  })

  test.each(['/v1/status', '/v1/config', '/v1/keys', '/v1/stop', '/v1/invites', '/v1/watch', '/metrics', '/v1/objects', '/v1/buckets/photos/x', '/'])('%s is not there', async (path) => {
    expect((await http('GET', path, { headers: { authorization: writer } })).status).toBe(404)
  })

  test('a page of an origin that is listed may ask, and is told what it may send; one of another may not', async () => {
    const preflight = await http('OPTIONS', '/v1/objects/photos/k', { headers: { origin, 'access-control-request-method': 'PUT', 'access-control-request-headers': 'authorization, x-dfs-meta-who, x-evil' } })
    expect(preflight).toMatchObject({ status: 204, headers: { 'access-control-allow-origin': origin, 'access-control-allow-headers': expect.stringMatching(/connect-protocol-version.*authorization.*x-dfs-meta-who/i) as string } })
    expect(preflight.headers['access-control-allow-headers']).not.toContain('x-evil')
    expect((await http('GET', '/v1/objects/open/k', { headers: { origin } })).headers['access-control-allow-origin']).toBe(origin)
    for (const method of ['OPTIONS', 'GET']) {
      const refused = await http(method, '/v1/objects/open/k', { headers: { origin: 'https://evil.example.org' } })
      expect(refused.status).toBe(403)
      expect(refused.headers['access-control-allow-origin']).toBeUndefined()
    }
  })
})
