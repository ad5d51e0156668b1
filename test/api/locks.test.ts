import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type ServedApi, servedApi } from '../support/local-api.ts'

let served: ServedApi
beforeAll(async () => {
  served = await servedApi()
  await served.objects.createBucket('kept', { settings: { versioning: 'enabled', objectLock: {} } })
})
afterAll(async () => { await served[Symbol.asyncDispose]() })

const put = async (bucket: string, key: string): Promise<string> => (await served.objects.put({ bucket, key }, (async function * () { yield Buffer.from('x') })())).versionId
const set = async (path: string, body: object): Promise<unknown> => served.client.json('PATCH', `/v1/locks/${path}`, { body })
const untilMs = Date.UTC(2100, 0, 1)

describe('locks of one version at the local API', () => {
  test('are set, shown by HEAD, and hold; another version has its own', async () => {
    const [first, second] = [await put('kept', 'a/b'), await put('kept', 'a/b')]
    expect(await set(`kept/a%2Fb?version=${first}`, { retention: { mode: 'compliance', untilMs } })).toEqual({ bucket: 'kept', key: 'a/b', versionId: first, retention: { mode: 'compliance', untilMs }, isHeld: false })
    expect(await set('kept/a/b', { isHeld: true })).toEqual({ bucket: 'kept', key: 'a/b', versionId: second, retention: null, isHeld: true })
    expect(await served.client.head(`/v1/objects/kept/a/b?version=${first}`)).toMatchObject({ 'x-dfs-version': first, 'x-dfs-retention': 'compliance', 'x-dfs-retain-until': '2100-01-01T00:00:00.000Z' })
    const head = await served.client.head('/v1/objects/kept/a/b')
    expect(head).toMatchObject({ 'x-dfs-version': second, 'x-dfs-hold': 'on' })
    expect(head).not.toHaveProperty('x-dfs-retention')
    for (const version of [first, second]) await expect(served.client.json('DELETE', `/v1/objects/kept/a/b?version=${version}`)).rejects.toMatchObject({ status: 403 })
    await set(`kept/a/b?version=${second}`, { isHeld: false })
    expect(await served.client.json('DELETE', `/v1/objects/kept/a/b?version=${second}`)).toEqual({ removed: true })
    expect(await served.client.head('/v1/objects/kept/a/b')).toMatchObject({ 'x-dfs-version': first })
  })

  test('in governance mode are lifted with leave', async () => {
    await put('kept', 'governed')
    await set('kept/governed', { retention: { mode: 'governance', untilMs } })
    await expect(set('kept/governed', { retention: null })).rejects.toMatchObject({ status: 403 })
    expect(await set('kept/governed', { retention: null, bypassGovernance: true })).toMatchObject({ retention: null })
  })

  test.each([
    ['kept/some', {}, 400, 'say what to set'], ['kept/some', { until: 5 }, 400, 'no "until"'], ['kept/some', { isHeld: 'on' }, 400, 'true or false'], ['kept/some', { retention: { mode: 'governance' } }, 400, 'untilMs'],
    ['kept/some', { retention: { mode: 'compliance', untilMs: 1 } }, 400, 'in the future'], ['kept/some', { retention: { mode: 'compliance', untilMs: 99_999_999_999_999 } }, 400, 'at most 100 years'],
    ['kept/none', { isHeld: true }, 404, 'there is no'], ['photos/some', { isHeld: true }, 400, 'dfs bucket lock photos'], ['kept', { isHeld: true }, 404, 'nothing at this path'],
  ] as const)('refuse %s %o with %i and words', async (path, body, status, message) => {
    await put('kept', 'some')
    await put('photos', 'some')
    await expect(set(path, body)).rejects.toMatchObject({ status, message: expect.stringContaining(message) as string })
  })
})
