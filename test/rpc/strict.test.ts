import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import { Code } from '@connectrpc/connect'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { JobService } from '../../src/api/rpc/generated/dfs/v1/job_pb.ts'
import { KeyService } from '../../src/api/rpc/generated/dfs/v1/key_pb.ts'
import { DeleteObjectRequestSchema, ObjectService, PutObjectHeadSchema, PutObjectRequestSchema } from '../../src/api/rpc/generated/dfs/v1/object_pb.ts'
import { ShareService } from '../../src/api/rpc/generated/dfs/v1/share_pb.ts'
import { hexOf, utf8 } from '../../src/base/bytes.ts'
import { systemClock } from '../../src/base/clock.ts'
import { systemRandom } from '../../src/base/random.ts'
import type { DfsNode } from '../../src/node.ts'
import { accessKeys, type Objects, shares } from '../../src/objects/index.ts'
import { type ServedApi, servedApi } from '../support/local-api.ts'
import { objectWorld } from '../support/object-parts.ts'
import { collected, failureOf, rpcClient, type RpcClient } from '../support/rpc-client.ts'

/** What of a request cannot be honoured is refused: it may be what was to hold it back. */
let served: ServedApi
let client: RpcClient
const invited: unknown[] = []
const verified: unknown[] = []

beforeAll(async () => {
  const { parts: { registers } } = objectWorld()
  const objects = { bucket: async () => ({ id: '00'.repeat(16) }), head: async () => ({}) } as unknown as Objects
  served = await servedApi({
    keys: accessKeys({ registers, clock: systemClock, random: systemRandom, settleLayout: async () => {} }),
    shares: shares({ registers, objects, clock: systemClock, random: systemRandom }),
    async invite (options) { invited.push(options); return ['token'] },
    watch: () => ({ [Symbol.asyncIterator]: () => ({ next: () => new Promise<never>(() => {}) }) }),
    verify: async function * (options) { verified.push(options); yield { kind: 'total', objects: 0, bytes: 0 } } as DfsNode['verify'],
  })
  client = rpcClient(served.api, 'gRPC')
})
afterAll(async () => {
  client[Symbol.dispose]()
  await served[Symbol.asyncDispose]()
})

const put = async (key: string): Promise<unknown> => served.objects.put({ bucket: 'photos', key }, (async function * () { yield utf8('x') })())

/** By Connect. */
async function call (path: string, body: Uint8Array<ArrayBuffer> | object): Promise<{ status: number, body: string }> {
  const [type, sent] = body instanceof Uint8Array ? ['proto', body] as const : ['json', JSON.stringify(body)] as const
  const answer = await fetch(`http://127.0.0.1:${served.api.port}/dfs.v1.${path}`, { method: 'POST', headers: { authorization: `Bearer ${hexOf(served.api.token)}`, 'content-type': `application/${type}` }, body: sent })
  return { status: answer.status, body: await answer.text() }
}

describe('a request that says what is not known', () => {
  test('by a name in JSON is refused: a misspelt condition was none, and a misspelt prefix of a right all of the bucket', async () => {
    await put('named')
    expect(await call('ObjectService/DeleteObject', { bucket: 'photos', key: 'named', ifMatsch: 'other' })).toMatchObject({ status: 400 })
    expect(await served.objects.head({ bucket: 'photos', key: 'named' })).toMatchObject({ sizeBytes: 1 })
    expect(await call('KeyService/CreateKey', { name: 'k', rights: [{ bucket: 'photos', prefx: 'a/', actions: ['KEY_ACTION_READ'] }] })).toMatchObject({ status: 400 })
    expect(await call('ObjectService/DeleteObject', { bucket: 'photos', key: 'named', if_match: '*' })).toMatchObject({ status: 200 })
  })

  test('by a word of an enumeration in JSON is refused: a misspelt role was that of a member, which is given the keys', async () => {
    expect(await call('ClusterService/CreateInvites', { role: 'ROLE_STORAG' })).toMatchObject({ status: 400 })
    expect(invited).toEqual([])
    expect(await call('ClusterService/CreateInvites', { role: 'ROLE_STORAGE' })).toMatchObject({ status: 200 })
    expect(invited).toMatchObject([{ role: 'storage' }])
  })

  test('in settings, which have names of any kind, is refused as any other: never as what nobody expected', async () => {
    for (const settings of [{ $unknown: 1 }, { $unknown: [null] }, { $typeName: 'x', $unknown: [null] }, { constructor: 1 }, { nested: { $unknown: {} } }]) expect(await call('BucketService/UpdateBucket', { name: 'photos', settings }), JSON.stringify(settings)).toMatchObject({ status: 400 })
  })

  test('by a field of a later version is refused, of a stream too, and within another', async () => {
    await put('later')
    const known = toBinary(DeleteObjectRequestSchema, create(DeleteObjectRequestSchema, { bucket: 'photos', key: 'later' }))
    const [answer, fieldOf31] = [await call('ObjectService/DeleteObject', new Uint8Array([...known, 0xfa, 0x01, 0x01, 0x41])), { no: 31, wireType: 2, data: new Uint8Array([1, 0x41]) }]
    expect(answer).toMatchObject({ status: 400, body: expect.stringContaining('field 31') as string })
    expect(await served.objects.head({ bucket: 'photos', key: 'later' })).toMatchObject({ sizeBytes: 1 })
    const head = create(PutObjectHeadSchema, { bucket: 'photos', key: 'later-put' })
    head.$unknown = [fieldOf31]
    const putting = client.of(ObjectService).putObject((async function * (): AsyncIterable<MessageInitShape<typeof PutObjectRequestSchema>> {
      yield create(PutObjectRequestSchema, { part: { case: 'head', value: head } })
      yield { part: { case: 'end', value: {} } }
    })())
    expect(await failureOf(putting)).toMatchObject({ code: Code.InvalidArgument })
    await expect(served.objects.head({ bucket: 'photos', key: 'later-put' })).rejects.toThrow('no object')
  })

  test('of a right or an invite at the HTTP routes is refused', async () => {
    for (const body of [{ rol: 'storage' }, { role: 'storage', expires: '1d' }]) await expect(served.client.json('POST', '/v1/invites', { body })).rejects.toMatchObject({ status: 400 })
    await expect(served.client.json('POST', '/v1/keys', { body: { name: 'x', rights: [{ bucket: 'photos', prefx: 'a/', actions: ['read'] }] } })).rejects.toMatchObject({ status: 400, field: 'rights' })
  })
})

describe('what counts for nothing without something else is refused', () => {
  test('a version after which a list goes on, without its key: the first page came again', async () => {
    expect(await failureOf(client.of(ObjectService).listVersions({ bucket: 'photos', afterVersionId: '00'.repeat(32) }))).toMatchObject({ code: Code.InvalidArgument })
    await expect(served.client.json('GET', `/v1/objects/photos?versions=true&after-version=${'00'.repeat(32)}`)).rejects.toMatchObject({ status: 400 })
    await expect(served.client.json('GET', '/v1/objects/photos?versions=yes')).rejects.toMatchObject({ status: 400 })
  })

  test('a prefix of no bucket, and a last byte where it is counted from the end', async () => {
    expect(await failureOf(collected(client.of(JobService).verify({ prefix: 'x' })))).toMatchObject({ code: Code.InvalidArgument })
    expect(verified).toEqual([])
    await put('ranged')
    expect(await failureOf(collected(client.of(ObjectService).getObject({ bucket: 'photos', key: 'ranged', range: { first: -1n, last: 0n } })))).toMatchObject({ code: Code.OutOfRange })
  })
})

test('a deadline that is further away than the node can count is refused: it was over at once', async () => {
  const watching = collected(client.of(ObjectService).watchObjects({ bucket: 'photos' }, { headers: { 'grpc-timeout': '720H' } }))
  expect(await failureOf(watching)).toMatchObject({ code: Code.InvalidArgument })
})

test('an expiry that no calendar has is refused: by JSON no key, and no share, could be listed any more', async () => {
  const [keys, links] = [client.of(KeyService), client.of(ShareService)]
  const far = [{ seconds: 253_402_300_800n, nanos: 0 }, { seconds: 253_402_300_799n, nanos: 999_999_999 }, timestampFromMs(9e15), { seconds: 5n, nanos: -1 }, { seconds: 5n, nanos: 1e9 }, { seconds: 2n ** 62n, nanos: 0 }]
  for (const notAfter of far) {
    expect(await failureOf(keys.createKey({ name: 'far', notAfter })), String(notAfter.seconds)).toMatchObject({ code: Code.InvalidArgument })
    expect(await failureOf(links.createShare({ bucket: 'photos', key: 'k', notAfter })), String(notAfter.seconds)).toMatchObject({ code: Code.InvalidArgument })
  }
  for (const [path, body] of [['/v1/keys', { name: 'far', rights: [] }], ['/v1/shares', { bucket: 'photos', key: 'k' }], ['/v1/invites', {}]] as const) await expect(served.client.json('POST', path, { body: { ...body, notAfterMs: 253_402_300_800_000 } }), path).rejects.toMatchObject({ status: 400 })
  await keys.createKey({ name: 'last', notAfter: timestampFromMs(253_402_300_799_000) })
  await links.createShare({ bucket: 'photos', key: 'k', notAfter: timestampFromMs(253_402_300_799_000) })
  expect(await call('KeyService/ListKeys', {})).toMatchObject({ status: 200, body: expect.stringContaining('9999-12-31T23:59:59Z') as string })
  expect(await call('ShareService/ListShares', {})).toMatchObject({ status: 200, body: expect.stringContaining('9999-12-31T23:59:59Z') as string })
})
