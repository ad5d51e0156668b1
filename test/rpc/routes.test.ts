import { readdir, readFile } from 'node:fs/promises'
import { request } from 'node:http'
import { join } from 'node:path'
import type { DescService } from '@bufbuild/protobuf'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { publicApiFace } from '../../src/api/public-api.ts'
import { BucketService } from '../../src/api/rpc/generated/dfs/v1/bucket_pb.ts'
import { ClusterService } from '../../src/api/rpc/generated/dfs/v1/cluster_pb.ts'
import { JobService } from '../../src/api/rpc/generated/dfs/v1/job_pb.ts'
import { KeyService } from '../../src/api/rpc/generated/dfs/v1/key_pb.ts'
import { NodeService } from '../../src/api/rpc/generated/dfs/v1/node_pb.ts'
import { ObjectService } from '../../src/api/rpc/generated/dfs/v1/object_pb.ts'
import { ShareService } from '../../src/api/rpc/generated/dfs/v1/share_pb.ts'
import { s3Face } from '../../src/api/s3/face.ts'
import type { PublicFace } from '../../src/api/server/public-listener.ts'
import { webFace } from '../../src/api/web/index.ts'
import { keyGate } from '../../src/api/key-gate.ts'
import { hexOf } from '../../src/base/bytes.ts'
import { systemClock } from '../../src/base/clock.ts'
import { systemRandom } from '../../src/base/random.ts'
import type { DfsNode } from '../../src/node.ts'
import { accessKeys, objectStore, type SecretAccessKey, shares } from '../../src/objects/index.ts'
import { type ServedApi, servedApi } from '../support/local-api.ts'
import { objectWorld } from '../support/object-parts.ts'
import { servedPublicly } from '../support/public-listener.ts'
import { askS3, sendS3 } from '../support/s3-client.ts'

/**
 * What the command line calls, and what does the same by gRPC: a dashboard needs nothing that is not there. Each route of the local API, with the methods that it answers
 * (it is asked for them itself, so a new one is missed here), and the calls that give or do as much.
 */
const routes: Readonly<Record<string, Readonly<Record<string, readonly string[]>>>> = {
  '/v1/objects/b': { GET: ['ObjectService.listObjects', 'ObjectService.listVersions'] },
  '/v1/objects/b/k': { GET: ['ObjectService.getObject'], HEAD: ['ObjectService.statObject'], PUT: ['ObjectService.putObject', 'ObjectService.copyObject'], DELETE: ['ObjectService.deleteObject'] },
  '/v1/locks/b/k': { PATCH: ['ObjectService.updateObject'] },
  '/v1/buckets': { GET: ['BucketService.listBuckets'] },
  '/v1/buckets/b': { GET: ['BucketService.getBucket'], PUT: ['BucketService.createBucket'], PATCH: ['BucketService.updateBucket'], DELETE: ['BucketService.deleteBucket'] },
  '/v1/keys': { GET: ['KeyService.listKeys'], POST: ['KeyService.createKey'] },
  '/v1/keys/k': { PATCH: ['KeyService.grantKey'], DELETE: ['KeyService.deleteKey'] },
  '/v1/shares': { GET: ['ShareService.listShares'], POST: ['ShareService.createShare'] },
  '/v1/shares/s': { DELETE: ['ShareService.revokeShare'] },
  '/v1/status': { GET: ['ClusterService.getStatus', 'ClusterService.watchStatus'] },
  '/v1/peers': { GET: ['ClusterService.listNodes'] },
  '/v1/doctor': { GET: ['ClusterService.diagnose'] },
  '/v1/layout': { GET: ['ClusterService.getLayout'] },
  '/v1/invites': { GET: ['ClusterService.listInvites'], POST: ['ClusterService.createInvites'] },
  '/v1/invites/revoke': { POST: ['ClusterService.revokeInvite'] },
  '/v1/admins': { GET: ['ClusterService.listAdmins'] },
  '/v1/admins/p': { PUT: ['ClusterService.addAdmin'], DELETE: ['ClusterService.removeAdmin'] },
  '/v1/changes': { GET: ['ClusterService.getChange', 'ClusterService.watchChange'], POST: ['ClusterService.planChange'] },
  '/v1/members/p': { PATCH: ['ClusterService.updateNode', 'ClusterService.setDraining', 'ClusterService.planChange'], DELETE: ['ClusterService.removeNode', 'ClusterService.planChange'] },
  '/v1/members/p/replacement': { POST: ['ClusterService.replaceNode', 'ClusterService.planChange'] },
  '/v1/members/p/heir': { POST: ['ClusterService.inviteHeir'], GET: ['ClusterService.getHeir'] },
  '/v1/cluster/forget-lost': { POST: ['ClusterService.forgetLost'] },
  '/v1/cluster/rotate-keys': { POST: ['ClusterService.rotateKeys'] },
  '/v1/repair': { GET: ['JobService.getRepair', 'JobService.listJobs', 'JobService.watchJobs'], POST: ['JobService.controlJob'] },
  '/v1/scrub': { GET: ['JobService.getScrub'], POST: ['JobService.controlJob'] },
  '/v1/collect': { GET: ['JobService.getCollect'], POST: ['JobService.controlJob'] },
  '/v1/convert': { GET: ['JobService.getConvert'], POST: ['JobService.controlJob'] },
  '/v1/compare': { GET: ['JobService.getCompare'], POST: ['JobService.controlJob'] },
  '/v1/announce': { GET: ['JobService.getAnnounce'], POST: ['JobService.controlJob'] },
  '/v1/verify': { GET: ['JobService.verify'] },
  '/v1/config': { GET: ['NodeService.getConfig'] },
  '/v1/metrics': { GET: ['NodeService.getMetrics'] },
  '/v1/inspect': { GET: ['NodeService.inspect'] },
  '/v1/cache': { DELETE: ['NodeService.emptyCache'] },
  '/v1/stop': { POST: ['NodeService.stop'] },
  '/v1/watch': { GET: ['ObjectService.watchObjects'] },
  // a get by gRPC ends with it
  '/v1/transfers/t': { GET: ['ObjectService.getObject'] },
}
/** Whether it is the node that answers there: by gRPC a client finds that out as of any server, by the token, and by TLS where it comes from elsewhere. */
const beforeTheToken = ['hello']

const services: readonly DescService[] = [ObjectService, BucketService, KeyService, ShareService, ClusterService, JobService, NodeService]
const ofGrpc = services.flatMap((service) => Object.keys(service.method).map((name) => `${service.typeName.split('.').at(-1)}.${name}`))
const areaOf = (path: string): string => path.split('/')[2] ?? ''
const areas = new Set(Object.keys(routes).map(areaOf))

async function textsIn (folder: string): Promise<string[]> {
  const top = join(import.meta.dirname, '../../src', folder)
  const names = (await readdir(top, { recursive: true })).filter((name) => name.endsWith('.ts'))
  return Promise.all(names.map(async (name) => readFile(join(top, name), 'utf8')))
}

describe('the command line and a dashboard need nothing but the gRPC service:', () => {
  let served: ServedApi
  beforeAll(async () => { served = await servedApi() })
  afterAll(async () => { await served[Symbol.asyncDispose]() })

  /** What the API itself says that it takes at a path. */
  const allowedAt = (path: string): Promise<string[]> => new Promise((resolve, reject) => {
    request({ host: '127.0.0.1', port: served.api.port, method: 'OPTIONS', path, headers: { authorization: `Bearer ${hexOf(served.api.token)}` } }, (answer) => {
      answer.resume()
      resolve(String(answer.headers.allow ?? `none, ${answer.statusCode}`).split(', ').toSorted())
    }).on('error', reject).end()
  })

  test('what the command line and the client call is among the routes that are looked at here', async () => {
    const called = new Set([...await textsIn('cli'), ...await textsIn('client')].flatMap((text) => [...text.matchAll(/\/v1\/([a-z-]+)/g)].map(([, area = '']) => area)))
    expect(called.size).toBeGreaterThan(20)
    expect([...called].filter((area) => !areas.has(area) && !beforeTheToken.includes(area) && area !== 'api')).toEqual([])
  })

  test('so is whatever else the router knows', async () => {
    const router = await readFile(join(import.meta.dirname, '../../src/api/local/router.ts'), 'utf8')
    const known = [...router.matchAll(/case '([a-z-]+)'/g)].map(([, area = '']) => area)
    expect(known.filter((area) => !areas.has(area))).toEqual([])
    expect([...areas].filter((area) => !known.includes(area))).toEqual([])
  })

  test.each(Object.entries(routes))('each method of %s has calls that do as much', async (path, methods) => {
    const allowed = await allowedAt(path)
    // HEAD goes where GET does, and says less
    expect(allowed.filter((method) => method !== 'HEAD' || !allowed.includes('GET'))).toEqual(Object.keys(methods).filter((method) => method !== 'HEAD').toSorted())
    expect(Object.values(methods).flat().filter((call) => !ofGrpc.includes(call))).toEqual([])
  })
})

describe('at a port that others reach no route answers that is about the node or the cluster:', () => {
  const world = objectWorld()
  const objects = objectStore(world.parts)
  const keys = accessKeys(world.parts)
  let key: SecretAccessKey
  let touched: string[] = []
  /** Of the node faces may ask for these; whatever else is a way in. */
  const node = new Proxy({ objects, keys, shares: shares({ registers: world.parts.registers, objects, clock: systemClock, random: systemRandom }) } as unknown as DfsNode, {
    get (own, name) {
      if (!(name in own)) touched.push(String(name))
      return Reflect.get(own, name) as unknown
    },
  })
  beforeAll(async () => {
    await objects.createBucket('photos')
    key = await keys.create({ name: 'all', rights: [{ bucket: '*', prefix: '', actions: ['read', 'write', 'list', 'admin'] }] })
  })
  const gate = keyGate({ keys, objects, clock: systemClock })
  const faces: Readonly<Record<string, PublicFace>> = {
    S3: s3Face({ node, clock: systemClock, region: undefined, hosts: [], allowInsecure: false }),
    HTTP: webFace({ objects, shares: node.shares, clock: systemClock, gate }),
    gRPC: publicApiFace({ node, clock: systemClock, config: { rpcOrigins: [], rpcReflection: false }, gate }),
  }
  const control = Object.entries(routes).filter(([path]) => !['objects', 'buckets', 'watch'].includes(areaOf(path))).concat([['/v1/hello', { GET: [] }]])

  test.each(Object.keys(faces))('%s', async (name) => {
    touched = []
    const face = faces[name] as PublicFace
    await using served = await servedPublicly((exchange) => face.answer(exchange), { face })
    const tried: string[] = []
    for (const [path, methods] of control) {
      for (const method of Object.keys(methods)) {
        const answer = name === 'S3'
          ? await askS3(served.listener.port, method, path, { key })
          : await sendS3(served.listener.port, method, path, { headers: { authorization: `Bearer ${key.id}:${key.secret}` }, body: method === 'GET' || method === 'HEAD' ? undefined : '{}' })
        if (answer.status < 400 || answer.status >= 500) tried.push(`${method} ${path}: ${answer.status}`)
      }
    }
    expect([tried, touched]).toEqual([[], []])
  })
})
