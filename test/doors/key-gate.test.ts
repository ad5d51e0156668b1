import { describe, expect, test } from 'vitest'
import type { Aspect } from '../../src/api/gate.ts'
import { keyGate } from '../../src/api/key-gate.ts'
import { BucketAccesses } from '../../src/api/s3/access.ts'
import { s3Face } from '../../src/api/s3/face.ts'
import { systemClock } from '../../src/base/clock.ts'
import { Unavailable } from '../../src/base/errors.ts'
import { systemRandom } from '../../src/base/random.ts'
import { accessKeys, type Bucket, objectStore } from '../../src/objects/index.ts'
import { objectWorld } from '../support/object-parts.ts'
import { servedPublicly } from '../support/public-listener.ts'
import { basic, servedWeb } from '../support/web-face.ts'

describe('access keys at the HTTP door', () => {
  test('open what they may read, list what they may list, until they expire', async () => {
    let nowMs = 1000
    const clock = { ...systemClock, wallMs: () => nowMs }
    const { parts } = objectWorld()
    const keys = accessKeys({ registers: parts.registers, clock, random: systemRandom, settleLayout: async () => {} })
    const objects = objectStore(parts)
    await using served = await servedWeb({ objects, gate: keyGate({ keys, objects, clock }) })
    await objects.createBucket('photos')
    await objects.createBucket('open', { settings: { publicRead: true } })
    for (const target of [{ bucket: 'photos', key: 'cats/1' }, { bucket: 'photos', key: 'dogs/1' }, { bucket: 'open', key: 'a' }]) await objects.put(target, (async function * () { yield Buffer.from('x') })())
    const { id, secret } = await keys.create({ name: 'cats', rights: [{ bucket: 'photos', prefix: 'cats/', actions: ['read'] }], notAfterMs: 2000 })
    const status = async (path: string, headers = {}): Promise<number> => (await served.ask(path, { headers })).status
    expect(await status('/photos/cats/1', basic(id, secret))).toBe(200)
    expect(await status('/photos/cats/1', basic(id, `${secret}x`))).toBe(401)
    expect(await status('/photos/cats/1', basic('DFSAAAAAAAAAAAAAAAAA', secret))).toBe(401)
    expect(await status('/photos/cats/1', basic('DFSAAAAAAAAAAAAAAAAA', ''))).toBe(401)
    expect(await status('/photos/dogs/1', basic(id, secret))).toBe(403)
    expect(await status('/photos/cats/', basic(id, secret))).toBe(403)
    expect(await status('/open/a', basic(id, secret))).toBe(200)
    expect([await status('/open/a'), await status('/open/'), await status('/photos/cats/1'), await status('/nothing/a')]).toEqual([200, 401, 401, 401])
    nowMs = 2001
    expect(await status('/photos/cats/1', basic(id, secret))).toBe(401)
  })

  test('what a bucket\'s policy denies stays shut, and what it opens is open, as at the S3 face', async () => {
    const { parts } = objectWorld()
    const keys = accessKeys({ registers: parts.registers, clock: systemClock, random: systemRandom, settleLayout: async () => {} })
    const objects = objectStore(parts)
    const all = await keys.create({ name: 'all', rights: [{ bucket: '*', prefix: '', actions: ['read', 'list', 'write'] }] })
    const none = await keys.create({ name: 'none', rights: [] })
    const say = (effect: string, principal: unknown, action: string, resource: string, condition?: unknown): unknown => ({ Effect: effect, Principal: principal, Action: action, Resource: `arn:aws:s3:::rules${resource}`, ...(condition === undefined ? {} : { Condition: condition }) })
    await objects.createBucket('rules', { settings: { policy: JSON.stringify({ Version: '2012-10-17', Statement: [
      say('Allow', '*', 's3:GetObject', '/public/*'), say('Deny', '*', 's3:*', '/shut/*'), say('Allow', { AWS: [none.id] }, 's3:GetObject', '/mine/*'), say('Deny', '*', 's3:DeleteObject', '/kept/*'),
      say('Deny', '*', 's3:GetObject', '/tls/*', { Bool: { 'aws:SecureTransport': 'false' } }),
    ] }) } })
    for (const key of ['public/a', 'shut/a', 'mine/a', 'kept/a', 'tls/a']) await objects.put({ bucket: 'rules', key }, (async function * () { yield Buffer.from('x') })())
    await using served = await servedWeb({ objects, gate: keyGate({ keys, objects, clock: systemClock }) })
    const status = async (path: string, key?: { id: string, secret: string }, method = 'GET'): Promise<number> => (await served.ask(`/rules/${path}`, { method, headers: key === undefined ? {} : basic(key.id, key.secret) })).status
    expect([await status('public/a'), await status('shut/a'), await status('mine/a'), await status('')]).toEqual([200, 401, 401, 401])
    expect([await status('public/a', none), await status('mine/a', none), await status('kept/a', none)]).toEqual([200, 200, 403])
    expect([await status('shut/a', all), await status('kept/a', all), await status('kept/a', all, 'PUT'), await status('tls/a', all), await status('new', all, 'PUT')]).toEqual([403, 200, 403, 403, 201])
    expect((await served.ask('/rules/mine/a', { headers: basic(none.id, none.secret) })).headers['cache-control']).toBe('private, no-cache')
  })

  test('a public-read bucket shows its keys to nobody, unless its policy says so too, at the S3 door as at this one', async () => {
    const { parts } = objectWorld()
    const keys = accessKeys({ registers: parts.registers, clock: systemClock, random: systemRandom, settleLayout: async () => {} })
    const objects = objectStore(parts)
    const listing = { Effect: 'Allow', Principal: '*', Action: 's3:ListBucket', Resource: 'arn:aws:s3:::shown' }
    await objects.createBucket('open', { settings: { publicRead: true } })
    await objects.createBucket('shown', { settings: { publicRead: true, policy: JSON.stringify({ Statement: [listing] }) } })
    for (const bucket of ['open', 'shown']) await objects.put({ bucket, key: 'unlisted' }, (async function * () { yield Buffer.from('x') })())
    await using web = await servedWeb({ objects, gate: keyGate({ keys, objects, clock: systemClock }) })
    const face = s3Face({ node: { objects, keys }, clock: systemClock, region: undefined, hosts: [], allowInsecure: false })
    await using s3 = await servedPublicly((exchange) => face.answer(exchange), { face })
    const statuses = async (ask: (path: string) => Promise<{ status: number }>, list: string): Promise<number[]> => [(await ask('/open/unlisted')).status, (await ask(`/open${list}`)).status, (await ask(`/shown${list}`)).status]
    expect(await statuses(async (path) => web.ask(path), '/')).toEqual([200, 401, 200])
    expect(await statuses(async (path) => fetch(`http://127.0.0.1:${s3.listener.port}${path}`), '?list-type=2')).toEqual([200, 403, 200])
  })

  test('what a bucket opens to everybody is what is current: earlier versions take a right, or a policy that names them', async () => {
    const { parts } = objectWorld()
    const keys = accessKeys({ registers: parts.registers, clock: systemClock, random: systemRandom, settleLayout: async () => {} })
    const objects = objectStore(parts)
    const gate = keyGate({ keys, objects, clock: systemClock })
    await objects.createBucket('open', { settings: { publicRead: true } })
    const statement = { Effect: 'Allow', Principal: '*', Action: ['s3:GetObjectVersion', 's3:DeleteObject', 's3:PutObject'], Resource: 'arn:aws:s3:::ruled/*' }
    await objects.createBucket('ruled', { settings: { policy: JSON.stringify({ Statement: [statement] }) } })
    const judged = async (bucket: string, action: 'read' | 'list' | 'write', isOfVersions?: boolean): Promise<string> => gate.judge({ action, bucket, key: 'k', isOfVersions }, { keyId: undefined, isSecure: true })
    expect([await judged('open', 'read'), await judged('open', 'read', true), await judged('open', 'list'), await judged('open', 'list', true)]).toEqual(['allow', 'silent', 'silent', 'silent'])
    expect([await judged('ruled', 'read'), await judged('ruled', 'read', true), await judged('ruled', 'write'), await judged('ruled', 'write', true)]).toEqual(['silent', 'allow', 'allow', 'silent'])
  })

  test('tags, retention and hold that come with a put, or are set, are asked for by their own names, as at the S3 door', async () => {
    const { parts } = objectWorld()
    const objects = objectStore(parts)
    const gate = keyGate({ keys: { find: async () => undefined }, objects, clock: systemClock })
    const say = (effect: string, actions: readonly string[], below: string): object => ({ Effect: effect, Principal: '*', Action: actions, Resource: `arn:aws:s3:::ruled/${below}*` })
    const put = ['s3:PutObject', 's3:DeleteObject']
    await objects.createBucket('ruled', { settings: { policy: JSON.stringify({ Statement: [
      say('Allow', put, 'plain/'), say('Allow', [...put, 's3:PutObjectTagging', 's3:PutObjectRetention', 's3:PutObjectLegalHold'], 'all/'), say('Allow', ['s3:PutObjectTagging'], 'tags/'), say('Deny', ['s3:PutObjectLegalHold', 's3:BypassGovernanceRetention'], 'no-hold/'),
    ] }) } })
    const judged = async (below: string, aspects: readonly Aspect[], action: 'write' | 'admin' = 'write', isOfVersions = false): Promise<string> => gate.judge({ action, bucket: 'ruled', key: `${below}/k`, aspects, isOfVersions }, { keyId: undefined, isSecure: true })
    expect(await judged('plain', ['content'])).toBe('allow')
    for (const aspect of ['tags', 'retention', 'hold'] as const) {
      expect(await judged('plain', ['content', aspect]), aspect).toBe('silent')
      expect(await judged('all', ['content', aspect]), aspect).toBe('allow')
    }
    expect([await judged('tags', ['tags']), await judged('tags', ['tags'], 'write', true), await judged('tags', ['content', 'tags'])]).toEqual(['allow', 'silent', 'silent'])
    expect([await judged('no-hold', ['content']), await judged('no-hold', ['content', 'hold']), await judged('no-hold', ['governance'], 'admin'), await judged('no-hold', ['hold'], 'admin')]).toEqual(['silent', 'deny', 'deny', 'deny'])
  })

  test('a policy that is changed here counts here from then on, though the one before is being read meanwhile', async () => {
    let publicRead: boolean | undefined = true
    const begun = Promise.withResolvers<void>()
    const goOn = Promise.withResolvers<void>()
    const bucket = async (): Promise<Bucket> => { const settings = { publicRead }; begun.resolve(); await goOn.promise; return { settings } as Bucket }
    const accesses = new BucketAccesses({ node: { objects: { bucket } }, clock: systemClock })
    const before = accesses.of('photos')
    await begun.promise
    publicRead = undefined
    accesses.forget('photos')
    goOn.resolve()
    expect((await before).isPublic).toBe(true)
    expect((await accesses.of('photos')).isPublic).toBe(false)
  })

  test('what a policy denies of a bucket itself is denied here too: it was removed, and opened to everybody', async () => {
    const { parts } = objectWorld()
    const objects = objectStore(parts)
    const gate = keyGate({ keys: { find: async () => undefined }, objects, clock: systemClock })
    const denied = ['s3:DeleteBucket', 's3:PutBucketAcl', 's3:PutLifecycleConfiguration']
    await objects.createBucket('ruled', { settings: { policy: JSON.stringify({ Statement: [{ Effect: 'Deny', Principal: '*', Action: denied, Resource: 'arn:aws:s3:::ruled' }, { Effect: 'Allow', Principal: '*', Action: 's3:PutBucketTagging', Resource: 'arn:aws:s3:::ruled' }] }) } })
    await objects.createBucket('shut', { settings: { policy: JSON.stringify({ Statement: [{ Effect: 'Deny', Principal: '*', Action: 's3:*', Resource: ['arn:aws:s3:::shut', 'arn:aws:s3:::shut/*'] }] }) } })
    const judged = async (bucket: string, ...changes: readonly string[]): Promise<string> => gate.judge({ action: 'admin', bucket, key: '', changes }, { keyId: 'DFSAAAAAAAAAAAAAAAAA', isSecure: true })
    expect([await judged('ruled', 'removal'), await judged('ruled', 'publicRead'), await judged('ruled', 'quotaBytes', 'lifecycle')]).toEqual(['deny', 'deny', 'deny'])
    expect([await judged('ruled', 'versioning', 'cors'), await judged('ruled', 'tags')]).toEqual(['silent', 'silent'])
    for (const change of ['removal', 'versioning', 'publicRead', 'lifecycle', 'cors', 'website', 'objectLock', 'tags']) expect(await judged('shut', change), change).toBe('deny')
    // whoever may change the policy is not locked out by it
    expect(await judged('shut', 'policy')).toBe('silent')
  })

  test('what cannot be read about a bucket is not taken for a refusal', async () => {
    await using served = await servedWeb({ gate: keyGate({ keys: { find: async () => undefined }, objects: { bucket: async () => { throw new Unavailable('no majority') } }, clock: systemClock }) })
    expect((await served.ask('/open/a')).status).toBe(503)
  })
})
