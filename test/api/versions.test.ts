import { expect, test } from 'vitest'
import type { VersionPage } from '../../src/objects/index.ts'
import { servedApi } from '../support/local-api.ts'

test('versions are listed at the local API, and a page goes on in the middle of a key', async () => {
  await using served = await servedApi()
  await served.objects.createBucket('kept', { settings: { versioning: 'enabled' } })
  const put = async (key: string): Promise<string> => (await served.objects.put({ bucket: 'kept', key }, (async function * () { yield Buffer.from(key) })())).versionId
  const [a1, a2, b] = [await put('a'), await put('a'), await put('b')]
  await served.objects.remove({ bucket: 'kept', key: 'b' })
  const page = async (query: Record<string, string>): Promise<VersionPage> => served.client.json('GET', `/v1/objects/kept?${new URLSearchParams({ versions: 'true', ...query }).toString()}`)
  const all = await page({})
  expect(all.versions.map(({ key, versionId, isLatest, isDeleteMarker }) => [key, versionId, isLatest, isDeleteMarker])).toEqual([['a', a2, true, false], ['a', a1, false, false], ['b', expect.any(String), true, true], ['b', b, false, false]])
  const seen = []
  for (let query: Record<string, string> | undefined = {}; query !== undefined;) {
    const { versions, next } = await page({ ...query, limit: '1' })
    seen.push(...versions)
    query = next === undefined ? undefined : { after: next.key, ...next.versionId === undefined ? {} : { 'after-version': next.versionId } }
  }
  expect(seen).toEqual(all.versions)
  expect(await served.client.json('GET', '/v1/objects/kept')).not.toHaveProperty('versions')
})
