import { describe, expect, test } from 'vitest'
import { keyGate } from '../../src/api/key-gate.ts'
import { systemClock } from '../../src/base/clock.ts'
import { Unavailable } from '../../src/base/errors.ts'
import { systemRandom } from '../../src/base/random.ts'
import { accessKeys, objectStore } from '../../src/objects/index.ts'
import { objectWorld } from '../support/object-parts.ts'
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
    expect([await status('/open/a'), await status('/open/'), await status('/photos/cats/1'), await status('/nothing/a')]).toEqual([200, 200, 401, 401])
    nowMs = 2001
    expect(await status('/photos/cats/1', basic(id, secret))).toBe(401)
  })

  test('what cannot be read about a bucket is not taken for a refusal', async () => {
    await using served = await servedWeb({ gate: keyGate({ keys: { find: async () => undefined }, objects: { bucket: async () => { throw new Unavailable('no majority') } }, clock: systemClock }) })
    expect((await served.ask('/open/a')).status).toBe(503)
  })
})
