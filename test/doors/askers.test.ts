import type { MessageInitShape } from '@bufbuild/protobuf'
import { createClient } from '@connectrpc/connect'
import { createConnectTransport } from '@connectrpc/connect-node'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { keyGate } from '../../src/api/key-gate.ts'
import { publicApiFace } from '../../src/api/public-api.ts'
import { ObjectService, type PutObjectRequestSchema } from '../../src/api/rpc/generated/dfs/v1/object_pb.ts'
import { s3Face } from '../../src/api/s3/face.ts'
import type { PublicFace } from '../../src/api/server/public-listener.ts'
import { webFace } from '../../src/api/web/index.ts'
import { systemClock } from '../../src/base/clock.ts'
import type { DfsNode } from '../../src/node.ts'
import { accessKeys, objectStore, type SecretAccessKey, type Shares } from '../../src/objects/index.ts'
import { servedApi } from '../support/local-api.ts'
import { objectWorld } from '../support/object-parts.ts'
import { servedPublicly, type ServedPublicly } from '../support/public-listener.ts'
import { askS3, sendS3 } from '../support/s3-client.ts'

/** Of what comes to be stored the node is told whose it is, whatever the door: the memory of puts is shared out by that. */
const world = objectWorld()
const store = objectStore(world.parts)
const askers: Array<string | undefined> = []
const objects: typeof store = {
  ...store,
  put: async (target, source, options) => { askers.push(options?.askedBy); return store.put(target, source, options) },
  uploads: {
    ...store.uploads,
    putPart: async (target, id, number, source, options) => { askers.push(options?.askedBy); return store.uploads.putPart(target, id, number, source, options) },
    append: async (target, id, offset, source, options) => { askers.push(options?.askedBy); return store.uploads.append(target, id, offset, source, options) },
  },
}
const keys = accessKeys(world.parts)
const gate = keyGate({ keys, objects, clock: systemClock })
const node = { objects, keys } as unknown as DfsNode
const served: ServedPublicly[] = []
let key: SecretAccessKey
let ports: Readonly<Record<'s3' | 'http' | 'rpc', number>>
const asked = (): Array<string | undefined> => askers.splice(0)

beforeAll(async () => {
  for (const bucket of ['photos', 'open']) await objects.createBucket(bucket)
  await objects.setBucketSettings('open', { policy: JSON.stringify({ Version: '2012-10-17', Statement: [{ Effect: 'Allow', Principal: '*', Action: ['s3:PutObject', 's3:DeleteObject'], Resource: 'arn:aws:s3:::open/*' }] }) })
  key = await keys.create({ name: 'all', rights: [{ bucket: '*', prefix: '', actions: ['read', 'write', 'list', 'admin'] }] })
  const portOf = async (face: PublicFace): Promise<number> => { const one = await servedPublicly((exchange) => face.answer(exchange), { face }); served.push(one); return one.listener.port }
  ports = {
    s3: await portOf(s3Face({ node, clock: systemClock, region: undefined, hosts: [], allowInsecure: false })), http: await portOf(webFace({ objects, shares: {} as Shares, clock: systemClock, gate })),
    rpc: await portOf(publicApiFace({ node, clock: systemClock, config: { rpcOrigins: [], rpcReflection: false }, gate })),
  }
})
afterAll(async () => { for (const one of served) await one[Symbol.asyncDispose]() })

const bearer = (): { authorization: string } => ({ authorization: `Bearer ${key.id}:${key.secret}` })

describe('who puts is known to the node by its key', () => {
  test('at S3: an object, and a part', async () => {
    expect((await askS3(ports.s3, 'PUT', '/photos/a', { key, body: 'x' })).status).toBe(200)
    const id = /<UploadId>(\w+)/.exec((await askS3(ports.s3, 'POST', '/photos/b?uploads', { key })).body)?.[1] ?? ''
    expect((await askS3(ports.s3, 'PUT', `/photos/b?partNumber=1&uploadId=${id}`, { key, body: 'x' })).status).toBe(200)
    expect(asked()).toEqual([key.id, key.id])
  })

  test('at the HTTP face: an object, and what goes on', async () => {
    expect((await sendS3(ports.http, 'PUT', '/photos/c', { headers: bearer(), body: 'x' })).status).toBe(201)
    const begun = await sendS3(ports.http, 'POST', '/photos/d', { headers: { ...bearer(), 'tus-resumable': '1.0.0', 'upload-length': '2', 'content-type': 'application/offset+octet-stream' }, body: 'x' })
    expect(begun.status).toBe(201)
    expect((await sendS3(ports.http, 'PATCH', begun.headers.location ?? '', { headers: { ...bearer(), 'tus-resumable': '1.0.0', 'upload-offset': '1', 'content-type': 'application/offset+octet-stream' }, body: 'y' })).status).toBe(204)
    expect(asked()).toEqual([key.id, key.id, key.id])
  })

  test('at the API for programs: by Connect, and by HTTP', async () => {
    const client = createClient(ObjectService, createConnectTransport({ baseUrl: `http://127.0.0.1:${ports.rpc}`, httpVersion: '1.1', interceptors: [(next) => (call) => { call.header.set('authorization', bearer().authorization); return next(call) }] }))
    await client.putObject((async function * (): AsyncIterable<MessageInitShape<typeof PutObjectRequestSchema>> {
      yield { part: { case: 'head' as const, value: { bucket: 'photos', key: 'e' } } }
      yield { part: { case: 'chunk' as const, value: new Uint8Array(3) } }
      yield { part: { case: 'end' as const, value: {} } }
    })())
    expect((await sendS3(ports.rpc, 'PUT', '/v1/objects/photos/f', { headers: bearer(), body: 'x' })).status).toBe(201)
    expect(asked()).toEqual([key.id, key.id])
  })

  test('and those who show none are one; who has the token of the node is not counted', async () => {
    expect((await sendS3(ports.s3, 'PUT', '/open/a', { headers: {}, body: 'x' })).status).toBe(200)
    expect((await sendS3(ports.http, 'PUT', '/open/b', { headers: {}, body: 'x' })).status).toBe(201)
    await using local = await servedApi({ objects })
    await local.client.upload('/v1/objects/photos/g', (async function * () { yield new Uint8Array(1) })())
    expect(asked()).toEqual(['anybody', 'anybody', undefined])
  })
})
