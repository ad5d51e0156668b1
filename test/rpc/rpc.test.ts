import { Code } from '@connectrpc/connect'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { BucketService, Chunking, Degraded } from '../../src/api/rpc/generated/dfs/v1/bucket_pb.ts'
import { ClusterService, LayoutState, PlannedPlace, Role, Severity } from '../../src/api/rpc/generated/dfs/v1/cluster_pb.ts'
import { JobAction, JobService, JobState, VerifyProblem } from '../../src/api/rpc/generated/dfs/v1/job_pb.ts'
import { KeyAction, KeyService } from '../../src/api/rpc/generated/dfs/v1/key_pb.ts'
import { NodeService } from '../../src/api/rpc/generated/dfs/v1/node_pb.ts'
import { type GetObjectResponse, ObjectService, RetentionMode } from '../../src/api/rpc/generated/dfs/v1/object_pb.ts'
import { ShareService } from '../../src/api/rpc/generated/dfs/v1/share_pb.ts'
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from '../../src/api/rpc/generated/google/rpc/error_details_pb.ts'
import { Health, HealthCheckResponse_ServingStatus as ServingStatus } from '../../src/api/rpc/generated/grpc/health/v1/health_pb.ts'
import { concat } from '../../src/base/bytes.ts'
import { Unavailable } from '../../src/base/errors.ts'
import type { AnnouncementSeen, ChangeForecast, ChangeProgress, CollectReport, InviteOptions, NodeStatus, RepairReport, ScrubReport } from '../../src/node.ts'
import { hexOf } from '../../src/base/bytes.ts'
import { peerNamed } from '../support/cluster-identities.ts'
import { type ServedApi, servedApi } from '../support/local-api.ts'
import { collected, failureOf, protocols, rpcClient, type RpcClient } from '../support/rpc-client.ts'

const bob = peerNamed('bob')
const peer = '12D3KooWGzxzKZYveHXtpG6AsrUJBcWxHBFS2HsEoGTxrMLvKXtf'
const asked = <T>(status: () => T): { status: () => T, now: () => T, pause: () => T, resume: () => T } => ({ status, now: status, pause: status, resume: status })
const convert = async () => ({
  state: 'busy', phase: 'converting', doneShare: 0.5, doneBytes: 1, totalBytes: 2, etaMs: 3, failure: undefined, found: undefined, buckets: ['photos'], total: { convertedVersions: 1, convertedBytes: 1, failures: 0 },
  cluster: { versions: 1, bytes: 1, isAtLeast: false, isDone: false, doneBytes: 1, totalBytes: 2, etaMs: 4, silent: [], paused: [] },
} as const)
const repair = (state: RepairReport['state']): RepairReport => ({
  state, phase: 'surveying', why: 'a person asked', doneShare: 0.5, doneBytes: 10, totalBytes: 20, etaMs: 1000, failure: undefined, full: [peer],
  found: { layoutVersion: '3', objectsAtRisk: 7, isAtLeast: false, shortBlocks: 9, goneBlocks: 1, narrowBlocks: 2, misplacedBlocks: 0, misplacedBytes: 0 },
  total: { broughtBlocks: 1, fetchedBlocks: 2, releasedBlocks: 3, movedBytes: 4, failures: 5 },
})
const found = { pieces: 1, wrongPieces: 2, wrongReferences: 3, enteredFiles: 4, rows: 5, lostPartitions: 6, damagedFiles: 7 }
const scrub: ScrubReport = {
  state: 'idle', phase: 'waiting', doneShare: 0, doneBytes: 0, totalBytes: 0, etaMs: undefined, failure: undefined, everyMs: 100, found,
  last: { finished: '2026-01-02T03:04:05.000Z', finishedMs: 1_767_323_045_000, tookMs: 1, bytes: 9, found },
}
const collect: CollectReport = {
  state: 'paused', phase: 'waiting', doneShare: 0, doneBytes: 6, totalBytes: 7, etaMs: undefined, failure: undefined, collectAfterMs: 86_400_000, publishing: { phase: 'publishing', doneShare: 0.5, failure: undefined },
  found: { condemnedBlocks: 1, condemnedBytes: 2, unreferencedBlocks: 3, unreferencedBytes: 4, heldUpBlocks: 5 },
  total: { collectedBlocks: 1, collectedBytes: 2, sparedBlocks: 3, publishedDeaths: 4, abandonedUploads: 5 },
}
const status = {
  peerId: '12D3KooWTest', clusterId: '00', version: '0.1.0', role: 'member', zone: 'z', addresses: ['/ip4/127.0.0.1/tcp/1'], uptimeMs: 1,
  layout: { version: '3', state: 'settled', members: 2, voters: 2 },
  members: [{ peerId: peer, role: 'storage', zone: 'b', capacityBytes: 6, isConnected: true }, { peerId: '12D3KooWTest', role: 'member', zone: 'z', isConnected: true }],
  blocks: { count: 1, bytes: 2, quotaBytes: undefined, freeBytes: 3, corrupt: 0, isReadOnly: false }, cache: { bytes: 0, limitBytes: 9 }, rows: { lostPartitions: 0, isReadOnly: false },
  isReady: true, health: ['all but well'], isDegraded: true, atRisk: { objects: 4, isAtLeast: true, silent: [peer] }, repair: repair('busy'), scrub: undefined,
  change: { isDone: false, isWhole: false, leftBytes: 8, rowPartitionsLeft: 0, waitingFor: [], mayBeSwitchedOff: [peer] },
} as unknown as NodeStatus

const other = peerNamed('carol')
const forecast: ChangeForecast = {
  isPossible: false, refusals: ['no room'], movedBytes: 1000, countedPartitions: 4096, silent: [other], areBucketsKnown: true, layout: { version: '3', state: 'settled' },
  nodes: [
    { peerId: undefined, role: 'member', zone: 'z', capacityBytes: 7, change: 'enters', receiveBytes: 0, giveUpBytes: 0, heldBytes: undefined, rowPartitions: { receive: 1, giveUp: 2 }, blockPartitions: { receive: 3, giveUp: 4 } },
    { peerId: other, role: 'storage', zone: 'z', capacityBytes: 7, change: 'stays', receiveBytes: 1000, giveUpBytes: 0, heldBytes: 50, rowPartitions: { receive: 0, giveUp: 0 }, blockPartitions: { receive: 5, giveUp: 0 } },
  ],
}
const progress = (heldBytes: number): ChangeProgress => ({
  layout: { version: '4', state: 'changing', members: 2 }, rowPartitionsLeft: 5, leftBytes: 9, isDone: false, isWhole: false, waitingFor: ['rows are taken over'],
  nodes: [{ peerId: other, isAnswering: true, isInLayout: true, hasLooked: true, heldBytes, misplacedBytes: 0, leftBytes: 9, shortBlocks: 0, mayBeSwitchedOff: false }, { peerId: bob, isAnswering: false, isInLayout: false, hasLooked: undefined, heldBytes: undefined, misplacedBytes: undefined, leftBytes: undefined, shortBlocks: undefined, mayBeSwitchedOff: true }],
})

describe.each(protocols)('the service over %s', (protocol) => {
  let served: ServedApi
  let client: RpcClient
  let repairState: RepairReport['state'] = 'busy'
  let isReady = true
  const invited: InviteOptions[] = []
  const done: string[] = []
  const [changed, nowHeld]: [unknown[], Array<number | 'silence'>] = [[], []]
  const announced: AnnouncementSeen[] = [
    { at: '2026-01-02T03:04:05.000Z', from: peer, versionId: 'ab', root: 'bafy', object: { bucket: 'photos', key: 'seen' } },
    { at: '2026-01-02T03:04:05.000Z', from: peer, versionId: 'cd', root: undefined, object: undefined },
  ]

  beforeAll(async () => {
    const act = (state: RepairReport['state']) => (): RepairReport => { repairState = state; return repair(state) }
    served = await servedApi({
      status: async () => ({ ...status, isReady, repair: repair(repairState) }),
      peers: () => [{ peerId: peer, isConnected: true, isMember: true, role: 'storage', addresses: ['/ip4/10.0.0.1/tcp/1'], version: '1', freeBytes: 5, latencyMs: 1.5 }],
      invite: async (options) => { invited.push(options); return ['dfs1-token'] },
      invites: async () => [{ key: 'aa', state: 'used', usedBy: peer, roles: ['member'], zone: '', notAfterMs: 1_700_000_000_000, madeMs: 1_600_000_000_000 }],
      revokeInvite: async (invite) => { done.push(`revoke ${invite}`) },
      removeMember: async (removed) => { done.push(`remove ${removed}`); return { era: 2, epoch: 3 } },
      rotateKeys: async () => ({ era: 4, epoch: 5 }),
      setDraining: async (drained, isDraining) => { done.push(`drain ${drained} ${isDraining}`) },
      keys: {
        create: async ({ name, rights, notAfterMs }) => ({ id: 'DFSKEY', name, rights, notAfterMs, createdMs: 1, secret: `secret of ${name}` }),
        list: async () => [{ id: 'DFSKEY', name: 'laptop', rights: [], notAfterMs: undefined, createdMs: 1 }],
        grant: async (id, rights) => ({ id, name: 'laptop', rights, notAfterMs: undefined, createdMs: 1 }),
        remove: async (id) => { done.push(`delete ${id}`) },
        find: async () => undefined,
      },
      changes: {
        plan: async (change) => { changed.push(['plan', change]); return forecast },
        set: async (of, settings, { isForced = false } = {}) => { changed.push(['set', of, settings, isForced]) },
        replace: async (gone, by, { isForced = false } = {}) => { changed.push(['replace', gone, by, isForced]); return isForced ? { state: 'removed' } : { state: 'moving', why: 'it answers' } },
        inviteFor: async (gone, { zone } = {}) => { changed.push(['invite', gone, zone]); return 'dfs1-heir' },
        heir: async (gone) => gone === bob ? other : undefined,
        async progress () {
          const held = nowHeld.length > 1 ? nowHeld.shift() : nowHeld[0]
          if (held === 'silence') throw new Unavailable('too few voters answer')
          return progress(held ?? 0)
        },
      },
      layout: () => ({ version: '4', state: 'changing', voters: 1, members: [
        { peerId: bob, role: 'member', zone: 'a', capacityBytes: 5, present: { rows: 4096, blocks: 4096 }, next: undefined }, { peerId: other, role: 'storage', zone: 'b', capacityBytes: 6, present: undefined, next: { rows: 0, blocks: 77 } },
      ] }),
      forgetLost: async (lost, { isDryRun = false } = {}) => ({
        lost, survivors: [bob], rows: { whole: 1, stale: 2, gone: 3 }, blocks: { whole: 4, fewer: 5, gone: 6 }, forms: [], objects: { known: 7, possiblyStale: 8, examples: ['photos/k'] }, ...isDryRun ? { isDone: false } : { isDone: true, era: 2, epoch: 3, layoutVersion: '99' },
      }),
      admins: () => [], addAdmin: async () => {}, removeAdmin: async () => {},
      compare: asked(() => ({ state: 'busy', phase: 'comparing', doneShare: 0.5, donePartitions: 7, totalPartitions: 14, etaMs: undefined, failure: undefined, total: { comparisons: 1, failures: 2, handedOverRows: 3, handedOverBytes: 4 } })),
      announce: asked(() => ({ state: 'idle', phase: 'waiting', doneShare: 0, etaMs: undefined, failure: undefined, total: { announcedObjects: 5, providedRoots: 6, failures: 0 } })),
      convert: { status: convert, now: convert, pause: convert, resume: convert },
      repair: { status: () => repair(repairState), now: act('busy'), pause: act('paused'), resume: act('idle') },
      doctor: async () => [{ severity: 'warning', code: 'few-voters', what: 'w', means: 'm', todo: 't' }],
      verify: async function * ({ bucket, isDeep } = {}) {
        const counts = { objects: 1, bytes: 2, blocks: 3, damaged: 1, unreadable: 0, below: 0 }
        yield { kind: 'total', objects: 5, bytes: isDeep === true ? 6 : 0 }
        yield { kind: 'progress', ...counts }
        yield { kind: 'object', bucket: bucket ?? '', key: 'k', versionId: 'v', problem: 'damaged', reason: 'rot' }
        yield { kind: 'done', ...counts }
      },
      shares: {
        create: async (wanted) => ({ id: 'share-id', bucketId: '00', createdMs: 1000, notAfterMs: wanted.notAfterMs, isOnce: wanted.isOnce === true, hasPassword: wanted.password !== undefined, usedMs: undefined, bucket: wanted.bucket, key: wanted.key, secret: 'its secret' }),
        list: async () => [{ id: 'share-id', bucketId: '00', createdMs: 1000, notAfterMs: undefined, isOnce: true, hasPassword: false, usedMs: 2000, bucket: 'photos', key: 'k' }],
        revoke: async (id) => { done.push(`revoke share ${id}`) },
        find: async () => undefined, use: async () => {},
      },
      collect: { status: () => collect, now: () => collect, pause: () => collect, resume: () => collect },
      scrub: { status: () => scrub, now: () => scrub, pause: () => scrub, resume: () => scrub },
      inspect: () => ({ routingTable: ['r'], gossip: ['g'] }),
      emptyCache: async () => ({ freedBytes: 12 }),
      watch: async function * ({ signal }) {
        yield * announced
        await new Promise((resolve) => { signal.addEventListener('abort', resolve) })
        done.push('watch ended')
      },
    }, { describeConfig: () => ({ config: { zone: 'z', announce: undefined, listen: ['x'] }, origins: { zone: 'default' } }), stop: () => { done.push('stop') }, shareBase: () => 'https://files.example.org' })
    client = rpcClient(served.api, protocol)
  })
  afterAll(async () => {
    client[Symbol.dispose]()
    await served[Symbol.asyncDispose]()
  })

  async function put (key: string, chunks: readonly Uint8Array<ArrayBuffer>[], head: object = {}): Promise<string> {
    const { object } = await client.of(ObjectService).putObject((async function * () {
      yield { part: { case: 'head' as const, value: { bucket: 'photos', key, ...head } } }
      for (const chunk of chunks) yield { part: { case: 'chunk' as const, value: chunk } }
      yield { part: { case: 'end' as const, value: {} } }
    })())
    return object?.etag ?? ''
  }

  async function got (request: { key: string, range?: { first: bigint, last?: bigint }, ifMatch?: string }): Promise<{ bytes: Uint8Array, parts: GetObjectResponse['part'][] }> {
    const parts = (await collected(client.of(ObjectService).getObject({ bucket: 'photos', ...request }))).map(({ part }) => part)
    return { parts, bytes: concat(parts.map((part) => part.case === 'chunk' ? part.value : new Uint8Array())) }
  }

  test('stores a stream, and gives it whole and by range', async () => {
    const chunks = [new Uint8Array(15).fill(1), new Uint8Array(0), new Uint8Array(16).fill(2)]
    const etag = await put('big', chunks, { contentType: 'text/plain', metadata: { who: 'me' }, sizeBytes: 31n })
    const { bytes, parts } = await got({ key: 'big', ifMatch: etag })
    expect(bytes).toEqual(concat(chunks))
    expect(parts[0]).toMatchObject({ case: 'head', value: { first: 0n, end: 31n, object: { etag, sizeBytes: 31n, contentType: 'text/plain', metadata: { who: 'me' } } } })
    expect(parts.at(-1)).toMatchObject({ case: 'end', value: { localBytes: 31n } })
    expect((await got({ key: 'big', range: { first: 14n, last: 16n } })).bytes).toEqual(Uint8Array.of(1, 2, 2))
    expect((await got({ key: 'big', range: { first: -2n } })).bytes).toEqual(Uint8Array.of(2, 2))
    expect(await failureOf(put('big', chunks, { sizeBytes: 30n }))).toMatchObject({ code: Code.InvalidArgument })
  })

  test('tells, lists and deletes objects', async () => {
    const objects = client.of(ObjectService)
    await put('a/1', [new TextEncoder().encode('one')], { metadata: { n: '1' } })
    await put('a/../2', [new TextEncoder().encode('two')])
    expect((await objects.statObject({ bucket: 'photos', key: 'a/1' })).object).toMatchObject({ sizeBytes: 3n, metadata: { n: '1' }, modified: { seconds: expect.anything() as bigint } })
    expect((await objects.listObjects({ bucket: 'photos', prefix: 'a/' })).objects.map(({ key }) => key)).toEqual(['a/../2', 'a/1'])
    const page = await objects.listObjects({ bucket: 'photos', prefix: 'a/', limit: 1 })
    expect(page).toMatchObject({ next: 'a/../2' })
    expect((await objects.listObjects({ bucket: 'photos', prefix: 'a/', after: page.next })).objects.map(({ key }) => key)).toEqual(['a/1'])
    expect((await objects.listObjects({ bucket: 'photos', delimiter: '/' })).prefixes).toEqual(['a/'])
    expect(await objects.deleteObject({ bucket: 'photos', key: 'a/1' })).toMatchObject({ removed: true })
    expect(await objects.deleteObject({ bucket: 'photos', key: 'a/1' })).toMatchObject({ removed: false })
  })

  test('makes, tells, changes and removes buckets', async () => {
    const buckets = client.of(BucketService)
    const made = (await buckets.createBucket({ name: 'made', options: { copies: 2, chunking: Chunking.FIXED, degraded: Degraded.ALLOW } })).bucket
    expect(made).toMatchObject({ name: 'made', options: { copies: 2, chunking: Chunking.FIXED, degraded: Degraded.ALLOW, isPrivate: false } })
    expect((await buckets.listBuckets({})).buckets.map(({ name }) => name)).toEqual(['made', 'photos'])
    expect((await buckets.updateBucket({ name: 'made', redundancy: { case: 'copies', value: 1 } })).bucket?.options).toMatchObject({ copies: 1 })
    expect((await buckets.getBucket({ name: 'made' })).bucket).toMatchObject({ id: made?.id })
    expect(await failureOf(buckets.createBucket({ name: 'made' }))).toMatchObject({ code: Code.AlreadyExists })
    expect(await failureOf(buckets.createBucket({ name: 'other', options: { dedup: 77 as never } }))).toMatchObject({ code: Code.InvalidArgument, rawMessage: expect.stringContaining('77') as string })
    await buckets.deleteBucket({ name: 'made' })
    expect(await failureOf(buckets.getBucket({ name: 'made' }))).toMatchObject({ code: Code.NotFound })
  })

  test('has settings of buckets changed, and taken away by null', async () => {
    const buckets = client.of(BucketService)
    expect((await buckets.createBucket({ name: 'kept', settings: { versioning: 'enabled', objectLock: {} } })).bucket).toMatchObject({ settings: { versioning: 'enabled' } })
    expect((await buckets.updateBucket({ name: 'kept', settings: { quotaBytes: 1000, publicRead: true } })).bucket).toMatchObject({ settings: { quotaBytes: 1000, publicRead: true, versioning: 'enabled' } })
    expect((await buckets.updateBucket({ name: 'kept', settings: { publicRead: null } })).bucket?.settings).not.toHaveProperty('publicRead')
    expect(await failureOf(buckets.updateBucket({ name: 'kept', settings: { colour: 'red' } }))).toMatchObject({ code: Code.InvalidArgument })
    // one that is passed over later may be a denial
    expect(await failureOf(buckets.updateBucket({ name: 'kept', settings: { policy: '{"Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"*","Condition":{"DateGreaterThan":{}}}]}' } }))).toMatchObject({ code: Code.InvalidArgument })
    expect(await failureOf(buckets.createBucket({ name: 'unruled', settings: { lifecycle: [{}] } }))).toMatchObject({ code: Code.InvalidArgument })
    await buckets.deleteBucket({ name: 'kept' })
  })

  test('hands on versions, tags and locks', async () => {
    const objects = client.of(ObjectService)
    const asked: unknown[] = []
    const info = { bucket: 'photos', key: 'k', sizeBytes: 3, etag: 'e', versionId: 'v', modified: '2026-01-02T03:04:05.000Z', contentType: undefined, metadata: {}, isNullVersion: true }
    const locked = { ...info, attributes: { tags: [['colour', 'red']], isHeld: true, retention: { mode: 'compliance', untilMs: 5000 } } } as const
    const real = { ...served.objects }
    Object.assign(served.objects, {
      put: async (_: unknown, source: AsyncIterable<Uint8Array>, options: object) => { asked.push(options); await collected(source); return locked },
      head: async (_: unknown, options: object) => { asked.push(options); return locked },
      remove: async (_: unknown, options: object) => { asked.push(options); return { wasThere: true, versionId: 'm', isDeleteMarker: true } },
      copy: async (source: unknown, target: unknown, options: object) => { asked.push([source, target, options]); return locked },
      setAttributes: async (target: unknown, change: unknown) => { asked.push([target, change]); return locked },
      listVersions: async (bucket: string, options: object) => { asked.push([bucket, options]); return { versions: [{ ...locked, isLatest: true, isDeleteMarker: false }], prefixes: ['p/'], next: { key: 'k', versionId: 'v' } } },
    })
    const signal = expect.anything() as AbortSignal
    try {
      await put('k', [], { tags: { colour: 'red' }, isHeld: true, wantsMd5: true, retention: { mode: RetentionMode.COMPLIANCE, until: { seconds: 5n } } })
      expect(asked.pop()).toMatchObject({ tags: [['colour', 'red']], isHeld: true, wantsMd5: true, retention: { mode: 'compliance', untilMs: 5000 } })
      expect((await objects.statObject({ bucket: 'photos', key: 'k', versionId: 'v' })).object).toMatchObject({ isNullVersion: true, tags: { colour: 'red' }, isHeld: true, retention: { mode: RetentionMode.COMPLIANCE, until: { seconds: 5n } } })
      expect(asked.pop()).toEqual({ versionId: 'v', signal })
      expect(await objects.deleteObject({ bucket: 'photos', key: 'k', versionId: 'v', ifMatch: 'e' })).toMatchObject({ removed: true, versionId: 'm', isDeleteMarker: true })
      expect(asked.pop()).toEqual({ versionId: 'v', ifMatch: 'e', signal })
      await objects.copyObject({ sourceBucket: 'photos', sourceKey: 'k', sourceVersionId: 'v', sourceIfMatch: 's', bucket: 'other', key: 'copy', ifAbsent: true })
      expect(asked.pop()).toEqual([{ bucket: 'photos', key: 'k', versionId: 'v' }, { bucket: 'other', key: 'copy' }, { sourceIfMatch: 's', ifNoneMatch: '*', signal }])
      await objects.updateObject({ bucket: 'photos', key: 'k', isHeld: false, tags: { tags: {} } })
      expect(asked.pop()).toEqual([{ bucket: 'photos', key: 'k' }, { isHeld: false, tags: [] }])
      expect(await objects.listVersions({ bucket: 'photos', prefix: 'k', afterKey: 'a', afterVersionId: 'b' })).toMatchObject({ versions: [{ isLatest: true, object: { versionId: 'v' } }], prefixes: ['p/'], nextKey: 'k', nextVersionId: 'v' })
      expect(asked.pop()).toMatchObject(['photos', { prefix: 'k', after: { key: 'a', versionId: 'b' } }])
    } finally {
      Object.assign(served.objects, real)
    }
  })

  test('makes, lists, grants and removes access keys, and tells a secret once', async () => {
    const keys = client.of(KeyService)
    const { key, secret } = await keys.createKey({ name: 'laptop', rights: [{ bucket: '*', actions: [KeyAction.READ] }], notAfter: { seconds: 1_900_000_000n } })
    expect(secret).toBe('secret of laptop')
    expect(key).toMatchObject({ id: 'DFSKEY', rights: [{ bucket: '*', prefix: '', actions: [KeyAction.READ] }], notAfter: { seconds: 1_900_000_000n } })
    expect(JSON.stringify((await keys.listKeys({})).keys.map(({ name }) => name))).toBe('["laptop"]')
    expect((await keys.grantKey({ id: 'DFSKEY', rights: [{ bucket: 'photos', prefix: 'a', actions: [KeyAction.WRITE, KeyAction.LIST] }] })).key?.rights).toMatchObject([{ bucket: 'photos', prefix: 'a', actions: [KeyAction.WRITE, KeyAction.LIST] }])
    expect(await failureOf(keys.grantKey({ id: 'DFSKEY', rights: [{ bucket: 'photos', actions: [KeyAction.UNSPECIFIED] }] }))).toMatchObject({ code: Code.InvalidArgument })
    await keys.deleteKey({ id: 'DFSKEY' })
    expect(done).toContain('delete DFSKEY')
  })

  test('tells of the cluster and lets one care for it', async () => {
    const cluster = client.of(ClusterService)
    expect((await cluster.getStatus({})).status).toMatchObject({ role: Role.MEMBER, uptimeMs: 1n, layout: { voters: 2 }, health: ['all but well'], isReady: true, isDegraded: true, change: { leftBytes: 8n, mayBeSwitchedOffPeerIds: [peer] }, atRisk: { objects: 4n, isAtLeast: true, silentPeerIds: [peer] } })
    expect((await cluster.listNodes({})).nodes).toMatchObject([
      { peerId: '12D3KooWTest', isSelf: true, role: Role.MEMBER }, { peerId: peer, isSelf: false, role: Role.STORAGE, zone: 'b', capacityBytes: 6n, latencyMs: 1.5, freeBytes: 5n, addresses: ['/ip4/10.0.0.1/tcp/1'] },
    ])
    expect(await cluster.createInvites({ uses: 3, role: Role.WITNESS, zone: 'z', notAfter: { seconds: 1n } })).toMatchObject({ tokens: ['dfs1-token'] })
    expect(invited.at(-1)).toEqual({ uses: 3, role: 'witness', zone: 'z', notAfterMs: 1000 })
    await cluster.createInvites({})
    expect(invited.at(-1)).toEqual({ uses: 1, role: 'member' })
    expect(await failureOf(cluster.createInvites({ uses: 101 }))).toMatchObject({ code: Code.InvalidArgument })
    expect((await cluster.listInvites({})).invites).toMatchObject([{ key: 'aa', usedBy: peer, roles: [Role.MEMBER], notAfter: { seconds: 1_700_000_000n } }])
    await cluster.revokeInvite({ invite: 'aa' })
    await cluster.setDraining({ peerId: peer, draining: true })
    expect(await cluster.removeNode({ peerId: peer })).toMatchObject({ era: 2, epoch: 3 })
    expect(await cluster.rotateKeys({})).toMatchObject({ era: 4, epoch: 5 })
    expect(done).toEqual(expect.arrayContaining(['revoke aa', `drain ${peer} true`, `remove ${peer}`]))
    expect(await failureOf(cluster.addAdmin({ peerId: 'nobody' }))).toMatchObject({ code: Code.InvalidArgument })
  })

  test('says beforehand what a change of nodes would move, and makes it', async () => {
    const cluster = client.of(ClusterService)
    changed.length = 0
    expect((await cluster.planChange({ change: { case: 'update', value: { peerId: bob, settings: { capacityBytes: 0n } } } })).forecast).toMatchObject({
      isPossible: false, refusals: ['no room'], movedBytes: 1000n, countedPartitions: 4096, silentPeerIds: [other], areBucketsKnown: true, layoutVersion: '3', layoutState: LayoutState.SETTLED,
      nodes: [
        { role: Role.MEMBER, capacityBytes: 7n, place: PlannedPlace.ENTERS, receivePartitions: { rows: 1, blocks: 3 }, giveUpPartitions: { rows: 2, blocks: 4 } }, { peerId: other, place: PlannedPlace.STAYS, receiveBytes: 1000n, heldBytes: 50n },
      ],
    })
    await cluster.planChange({ change: { case: 'remove', value: { peerId: bob } } })
    await cluster.planChange({ change: { case: 'replace', value: { peerId: bob } } })
    await cluster.planChange({ change: { case: 'arrive', value: { capacityBytes: 9n } } })
    await cluster.updateNode({ peerId: bob, settings: { draining: false, zone: 'cellar' }, force: true })
    expect(await cluster.replaceNode({ peerId: bob, byPeerId: other })).toMatchObject({ isRemoved: false, why: 'it answers' })
    expect(await cluster.replaceNode({ peerId: bob, byPeerId: other, force: true })).toMatchObject({ isRemoved: true })
    expect(await cluster.inviteHeir({ peerId: bob, zone: 'cellar' })).toMatchObject({ token: 'dfs1-heir' })
    expect([(await cluster.getHeir({ peerId: bob })).heirPeerId, (await cluster.getHeir({ peerId: other })).heirPeerId]).toEqual([other, undefined])
    expect(changed).toEqual([
      ['plan', { kind: 'set', peer: bob, settings: { isDraining: undefined, zone: undefined, capacityBytes: 0 } }], ['plan', { kind: 'remove', peer: bob }], ['plan', { kind: 'replace', peer: bob, by: undefined }],
      ['plan', { kind: 'join', role: 'member', zone: 'default', capacityBytes: 9 }], ['set', bob, { isDraining: false, zone: 'cellar', capacityBytes: undefined }, true], ['replace', bob, other, false], ['replace', bob, other, true], ['invite', bob, 'cellar'],
    ])
    for (const wrong of [
      cluster.planChange({}), cluster.planChange({ change: { case: 'arrive', value: { zone: 'z' } } }), cluster.planChange({ change: { case: 'update', value: { peerId: bob } } }), cluster.updateNode({ peerId: bob }),
      cluster.updateNode({ peerId: bob, settings: { capacityBytes: 2n ** 63n } }), cluster.replaceNode({ peerId: bob }), cluster.planChange({ change: { case: 'arrive', value: { role: 9 as Role, capacityBytes: 1n } } }),
    ]) expect(await failureOf(wrong as Promise<unknown>)).toMatchObject({ code: Code.InvalidArgument })
    expect(changed).toHaveLength(8)
  })

  test('tells who has how much of the layout, and what the loss of a majority means', async () => {
    const cluster = client.of(ClusterService)
    const { layout, members } = await cluster.getLayout({})
    expect(layout).toMatchObject({ version: '4', state: LayoutState.CHANGING, members: 1, voters: 1 })
    expect(members).toMatchObject([{ peerId: bob, role: Role.MEMBER, capacityBytes: 5n, present: { rows: 4096, blocks: 4096 } }, { peerId: other, zone: 'b', next: { rows: 0, blocks: 77 } }])
    expect([members[0]?.next, members[1]?.present]).toEqual([undefined, undefined])
    expect(await cluster.forgetLost({ peerIds: [other], dryRun: true })).toMatchObject({ lostPeerIds: [other], survivorPeerIds: [bob], rows: { whole: 1, stale: 2, gone: 3 }, blocks: { fewer: 5 }, objects: { possiblyStale: 8n, examples: ['photos/k'] }, isDone: false })
    expect(await cluster.forgetLost({ peerIds: [other] })).toMatchObject({ isDone: true, era: 2, epoch: 3, layoutVersion: '99' })
    expect(await failureOf(cluster.forgetLost({ peerIds: ['nobody'] }))).toMatchObject({ code: Code.InvalidArgument })
  })

  test('follows a change: what has come of what was to come, and on through a moment without a majority', async () => {
    const cluster = client.of(ClusterService)
    nowHeld.splice(0, nowHeld.length, 50, 50, 550, 'silence', 1050)
    expect((await cluster.getChange({})).progress).toMatchObject({ layoutVersion: '4', layoutState: LayoutState.CHANGING, rowPartitionsLeft: 5, leftBytes: 9n, waitingFor: ['rows are taken over'], nodes: [{ peerId: other, heldBytes: 50n, hasLooked: true }, { peerId: bob, mayBeSwitchedOff: true }] })
    const told = (await cluster.planChange({ change: { case: 'remove', value: { peerId: bob } } })).forecast
    const watched = cluster.watchChange({ everyMs: 100, forecast: told })[Symbol.asyncIterator]()
    const next = async (): Promise<unknown> => (await watched.next()).value as unknown
    expect(await next()).toMatchObject({ progress: { leftBytes: 9n }, share: { doneBytes: 0n, totalBytes: 1000n, doneShare: 0 } })
    expect(await next()).toMatchObject({ share: { doneBytes: 500n, doneShare: 0.5, etaMs: expect.any(BigInt) as bigint } })
    expect(await next()).not.toMatchObject({ progress: expect.anything() as object })
    expect(await next()).toMatchObject({ share: { doneBytes: 1000n, doneShare: 1 } })
    await watched.return?.()
    const plain = cluster.watchChange({})[Symbol.asyncIterator]()
    expect(((await plain.next()).value as { share: unknown }).share).toBeUndefined()
    await plain.return?.()
  })

  test('shares objects, diagnoses and verifies', async () => {
    const shares = client.of(ShareService)
    expect(await shares.createShare({ bucket: 'photos', key: 'k', isOnce: true, password: 'p', notAfter: { seconds: 5n } })).toMatchObject({
      share: { id: 'share-id', isOnce: true, hasPassword: true, notAfter: { seconds: 5n } }, secret: 'its secret', path: '/s/share-id#its secret', url: 'https://files.example.org/s/share-id#its secret',
    })
    expect((await shares.listShares({})).shares).toMatchObject([{ key: 'k', used: { seconds: 2n }, hasPassword: false }])
    await shares.revokeShare({ id: 'share-id' })
    expect(done).toContain('revoke share share-id')
    expect((await client.of(ClusterService).diagnose({})).findings).toMatchObject([{ severity: Severity.WARNING, code: 'few-voters', todo: 't' }])
    const events = await collected(client.of(JobService).verify({ bucket: 'photos', isDeep: true }))
    expect(events.map(({ event }) => event.case)).toEqual(['total', 'progress', 'object', 'done'])
    expect(events.map(({ event }) => event.value)).toMatchObject([{ objects: 5n, bytes: 6n }, { blocks: 3n }, { bucket: 'photos', problem: VerifyProblem.DAMAGED, reason: 'rot' }, { damaged: 1n }])
  })

  test('tells of jobs as they change, and of the node', async () => {
    const jobs = client.of(JobService)
    const watched = jobs.watchJobs({ everyMs: 100 })[Symbol.asyncIterator]()
    expect((await watched.next()).value).toMatchObject({ jobs: [{ name: 'repair', state: JobState.BUSY, doneBytes: 10n, etaMs: 1000n }] })
    expect((await jobs.controlJob({ name: 'repair', action: JobAction.PAUSE })).job).toMatchObject({ name: 'repair', state: JobState.PAUSED })
    expect((await jobs.getRepair({})).repair).toMatchObject({ job: { state: JobState.PAUSED }, found: { objectsAtRisk: 7n, layoutVersion: '3' }, fullPeerIds: [peer], total: { failures: 5n } })
    expect((await jobs.getScrub({})).scrub).toMatchObject({ job: { name: 'scrub', state: JobState.IDLE }, everyMs: 100n, found: { wrongPieces: 2n }, last: { bytes: 9n, finished: { seconds: 1_767_323_045n } } })
    expect((await watched.next()).value).toMatchObject({ jobs: [{ state: JobState.PAUSED }] })
    await watched.return?.()
    expect(await failureOf(jobs.controlJob({ name: 'scrub' }))).toMatchObject({ code: Code.InvalidArgument })
    expect(await failureOf(jobs.controlJob({ name: 'nothing', action: JobAction.NOW }))).toMatchObject({ code: Code.InvalidArgument })
    expect((await jobs.getCollect({})).collect).toMatchObject({ job: { name: 'collect', state: JobState.PAUSED, doneBytes: 6n, totalBytes: 7n }, collectAfterMs: 86_400_000n, found: { heldUpBlocks: 5n }, total: { publishedDeaths: 4n }, publishing: { doneShare: 0.5 } })
    expect((await jobs.controlJob({ name: 'collect', action: JobAction.RESUME })).job).toMatchObject({ name: 'collect' })
    expect((await jobs.controlJob({ name: 'convert', action: JobAction.NOW })).job).toMatchObject({ name: 'convert', state: JobState.BUSY, doneBytes: 1n, totalBytes: 2n })
    expect((await jobs.getConvert({})).convert).toMatchObject({ job: { name: 'convert', etaMs: 3n }, total: { convertedVersions: 1n, failures: 0n }, buckets: ['photos'], cluster: { versions: 1n, isDone: false, doneBytes: 1n, totalBytes: 2n, etaMs: 4n } })
    expect((await jobs.getCompare({})).compare).toMatchObject({ job: { name: 'compare', state: JobState.BUSY }, donePartitions: 7n, totalPartitions: 14n, total: { comparisons: 1n, failures: 2n, handedOverRows: 3n, handedOverBytes: 4n } })
    expect((await jobs.getAnnounce({})).announce).toMatchObject({ job: { name: 'announce', phase: 'waiting' }, total: { announcedObjects: 5n, providedRoots: 6n, failures: 0n } })
    const node = client.of(NodeService)
    expect(await node.getConfig({})).toMatchObject({ config: { zone: 'z', listen: ['x'] }, origins: { zone: 'default' } })
    expect((await node.getMetrics({})).text).toContain('dfs_test')
    expect(await node.inspect({})).toMatchObject({ routingTable: ['r'], gossip: ['g'] })
    expect(await node.emptyCache({})).toMatchObject({ freedBytes: 12n })
    await node.stop({})
    expect(done).toContain('stop')
  })

  test('watches announcements, and stops watching when the reader goes', async () => {
    const before = done.filter((what) => what === 'watch ended').length
    const controller = new AbortController()
    const seen: unknown[] = []
    const call = (async () => { for await (const { announcement } of client.of(ObjectService).watchObjects({}, { signal: controller.signal })) seen.push(announcement) })()
    await expect.poll(() => seen.length).toBe(3)
    expect(seen).toMatchObject([undefined, { bucket: 'photos', key: 'seen', root: 'bafy' }, { from: peer, versionId: 'cd' }])
    controller.abort()
    expect(await failureOf(call)).toMatchObject({ code: Code.Canceled })
    await expect.poll(() => done.filter((what) => what === 'watch ended').length).toBe(before + 1)
    const some = client.of(ObjectService).watchObjects({ bucket: 'photos', prefix: 'se' })[Symbol.asyncIterator]()
    await some.next()
    expect((await some.next()).value).toMatchObject({ announcement: { key: 'seen' } })
    await some.return?.()
  })

  test('errors have codes, words, and details for programs', async () => {
    const missing = await failureOf(client.of(ObjectService).statObject({ bucket: 'photos', key: 'nothing' }))
    expect(missing).toMatchObject({ code: Code.NotFound, rawMessage: 'there is no object "nothing" in bucket "photos"' })
    expect(missing.findDetails(ErrorInfoSchema)).toMatchObject([{ reason: 'NOT_FOUND', domain: 'dfs' }])
    const wrong = await failureOf(client.of(ObjectService).listObjects({ bucket: 'photos', limit: 5000 }))
    expect(wrong.code).toBe(Code.InvalidArgument)
    expect(wrong.findDetails(BadRequestSchema)).toMatchObject([{ fieldViolations: [{ field: 'limit', description: wrong.rawMessage }] }])
    await put('ranged', [Uint8Array.of(1)])
    expect(await failureOf(got({ key: 'ranged', range: { first: 5n } }))).toMatchObject({ code: Code.OutOfRange })
    expect(await failureOf(put('ranged', [Uint8Array.of(1)], { ifAbsent: true }))).toMatchObject({ code: Code.FailedPrecondition })
    expect(await failureOf(put('', [Uint8Array.of(1)]))).toMatchObject({ code: Code.InvalidArgument })
    expect(await failureOf(put('huge', [new Uint8Array(5_000_000)]))).toMatchObject({ code: Code.ResourceExhausted })
    expect(await failureOf(client.of(ObjectService).statObject({ bucket: 'photos', key: 'k'.repeat(300_000) }))).toMatchObject({ code: Code.ResourceExhausted })
    const { head } = served.objects
    try {
      served.objects.head = async () => { throw new Unavailable('too few answer') }
      expect((await failureOf(client.of(ObjectService).statObject({ bucket: 'photos', key: 'k' }))).findDetails(RetryInfoSchema)).toMatchObject([{ retryDelay: { seconds: 1n } }])
      served.objects.head = async () => { throw new TypeError('a secret') }
      expect(await failureOf(client.of(ObjectService).statObject({ bucket: 'photos', key: 'k' }))).toMatchObject({ code: Code.Internal, rawMessage: expect.not.stringContaining('secret') as string })
    } finally {
      served.objects.head = head
    }
  })

  test('nothing answers without the token but health, and no web page, nor another Host, gets anything', async () => {
    using stranger = rpcClient(served.api, protocol, { token: false })
    expect(await failureOf(stranger.of(ObjectService).listObjects({ bucket: 'photos' }))).toMatchObject({ code: Code.Unauthenticated })
    expect(await failureOf(collected(stranger.of(ObjectService).getObject({ bucket: 'photos', key: 'a/1' })))).toMatchObject({ code: Code.Unauthenticated })
    expect(await failureOf(stranger.of(ObjectService).putObject((async function * () { yield { part: { case: 'head' as const, value: { bucket: 'photos', key: 'stolen' } } } })()))).toMatchObject({ code: Code.Unauthenticated })
    expect(await stranger.of(Health).check({})).toMatchObject({ status: ServingStatus.SERVING })
    expect(await failureOf(collected(stranger.of(Health).watch({})))).toMatchObject({ code: Code.Unauthenticated })
    for (const headers of [{ origin: 'http://localhost' }, { host: 'evil.example:80' }] as Array<Record<string, string>>) {
      using page = rpcClient(served.api, protocol, { headers })
      expect(await failureOf(page.of(ObjectService).listObjects({ bucket: 'photos' }))).toMatchObject({ code: Code.PermissionDenied })
    }
  })

  test('health says whether the node can serve, and changes', async () => {
    const health = client.of(Health)
    const watched = health.watch({ service: ObjectService.typeName })[Symbol.asyncIterator]()
    expect((await watched.next()).value).toMatchObject({ status: ServingStatus.SERVING })
    try {
      isReady = false
      expect((await watched.next()).value).toMatchObject({ status: ServingStatus.NOT_SERVING })
      expect((await health.check({ service: '' })).status).toBe(ServingStatus.NOT_SERVING)
    } finally {
      isReady = true
    }
    await watched.return?.()
    expect(await failureOf(health.check({ service: 'nobody' }))).toMatchObject({ code: Code.NotFound })
  })
})

test('the interface is not to be read from the node, unless that is set', async () => {
  for (const reflection of [false, true]) {
    await using other = await servedApi({}, { reflection })
    const { status } = await fetch(`http://127.0.0.1:${other.api.port}/grpc.reflection.v1.ServerReflection/ServerReflectionInfo`, { method: 'POST', headers: { 'content-type': 'application/connect+json', authorization: `Bearer ${hexOf(other.api.token)}` }, body: new Uint8Array(5) })
    expect(status === 404).toBe(!reflection)
  }
})
