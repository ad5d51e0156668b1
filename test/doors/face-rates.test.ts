import { fromBinary } from '@bufbuild/protobuf'
import { describe, expect, test } from 'vitest'
import { RetryInfoSchema } from '../../src/api/rpc/generated/google/rpc/error_details_pb.ts'
import { openPublicFaces } from '../../src/api/public-faces.ts'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { systemRandom } from '../../src/base/random.ts'
import { configOf } from '../../src/config.ts'
import type { DfsNode } from '../../src/node.ts'
import { accessKeys, objectStore, type SecretAccessKey } from '../../src/objects/index.ts'
import { objectWorld } from '../support/object-parts.ts'
import { askS3 } from '../support/s3-client.ts'
import { allRights } from '../support/s3-server.ts'

type Asking = (at: URL, key: SecretAccessKey) => Promise<{ readonly status: number, readonly retryAfter: string | null | undefined }>

const basic = ({ id, secret }: SecretAccessKey): { authorization: string } => ({ authorization: `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}` })
const asked = async (response: Response): ReturnType<Asking> => ({ status: response.status, retryAfter: response.headers.get('retry-after') ?? retryInfoOf(await response.text()) })
/** Of a Connect error in JSON; undefined: it has none. */
function retryInfoOf (body: string): string | undefined {
  const { details = [] } = JSON.parse(body === '' || !body.startsWith('{') ? '{}' : body) as { details?: ReadonlyArray<{ type: string, value: string }> }
  const info = details.find(({ type }) => type === 'google.rpc.RetryInfo')
  return info === undefined ? undefined : String(fromBinary(RetryInfoSchema, Buffer.from(info.value, 'base64')).retryDelay?.seconds)
}

const faces: ReadonlyArray<readonly [string, number, Asking]> = [
  ['s3', 503, async ({ port }, key) => askS3(Number(port), 'GET', '/photos', { key }).then(({ status, code, headers }) => ({ status: code === 'SlowDown' || status < 300 ? status : 0, retryAfter: headers['retry-after'] }))],
  ['http', 429, async (at, key) => asked(await fetch(new URL('/photos/', at), { headers: basic(key) }))],
  ['rpc', 429, async (at, key) => asked(await fetch(new URL('/dfs.v1.BucketService/ListBuckets', at), { method: 'POST', headers: { ...basic(key), 'content-type': 'application/json' }, body: '{}' }))],
]

describe.each(faces)('at %s-listen', (name, refusal, ask) => {
  test.each([
    ['an access key', 'rate-per-key', 'rate-per-address'],
    ['an address', 'rate-per-address', 'rate-per-key'],
  ])('%s that asks more often than it may is told to wait, and others are served', async (_what, tight, wide) => {
    let nowMs = 1
    const clock: Clock = { ...systemClock, monotonicMs: () => nowMs }
    const world = objectWorld()
    const [objects, keys] = [objectStore(world.parts), accessKeys(world.parts)]
    await objects.createBucket('photos')
    const [one, other] = [await keys.create({ name: 'one', rights: allRights }), await keys.create({ name: 'other', rights: allRights })]
    await using opened = await openPublicFaces({
      node: { objects, keys, shares: {}, status: async () => ({ role: 'member' }) } as unknown as DfsNode,
      ...configOf({ home: '/home/somebody', options: { 's3-listen': 'off', [`${name}-listen`]: '127.0.0.1:0', [tight]: '1', [wide]: '1000' } }),
      clock, random: systemRandom, log: { info: () => {}, error: () => {} },
    })
    const at = new URL(opened.endpoints[name as 's3'] ?? '')
    // as many at once as two seconds allow
    expect([(await ask(at, one)).status, (await ask(at, one)).status]).toEqual([200, 200])
    expect(await ask(at, one)).toEqual({ status: refusal, retryAfter: '1' })
    expect((await ask(at, other)).status).toBe(tight === 'rate-per-key' ? 200 : refusal)
    nowMs += 1000
    expect((await ask(at, one)).status).toBe(200)
  })
})
