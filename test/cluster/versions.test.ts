import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createNode, type CreateNodeOptions, type EmbeddedNode } from '../../src/index.ts'
import { noiseBytes } from '../support/file-world.ts'
import { temporaryFolder } from '../support/temporary.ts'

const settings = { listen: ['/ip4/127.0.0.1/tcp/0'], apiPort: 0, reserveBytes: 0 } as const satisfies CreateNodeOptions['settings']
const target = { bucket: 'photos', key: 'k' }
const contents = [noiseBytes(3_000_000), noiseBytes(700_000, 2), noiseBytes(900, 3)]
const md5Of = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex')

async function * of (bytes: Uint8Array): AsyncIterable<Uint8Array> { yield bytes }
async function md5At ({ objects }: EmbeddedNode, name: { bucket: string, key: string }, versionId?: string): Promise<string> {
  const hash = createHash('md5')
  for await (const piece of (await objects.get(name, { versionId })).body) hash.update(piece)
  return hash.digest('hex')
}

test('what one node keeps, the other lists, reads, copies, locks and removes; copies move no bytes', async () => {
  await using folder = await temporaryFolder()
  await using first = await createNode({ data: join(folder.path, 'first'), settings })
  const [token = ''] = await first.invite({})
  await using second = await createNode({ data: join(folder.path, 'second'), settings, join: token })
  await expect.poll(async () => (await first.status()).members.filter(({ isConnected }) => isConnected).length, { timeout: 20_000 }).toBe(2)
  await first.objects.createBucket('photos', { copies: 2, chunking: 'content-small', settings: { versioning: 'enabled', objectLock: {} } })

  const versions = []
  for (const [i, content] of contents.entries()) versions.push(await (i % 2 === 0 ? first : second).objects.put(target, of(content), { wantsMd5: true, checksum: 'crc64nvme', tags: [['n', `${i}`]] }))
  expect(versions.map(({ etag }) => etag)).toEqual(contents.map(md5Of))
  const listed = await second.objects.listVersions('photos')
  expect(listed.versions.map(({ versionId }) => versionId)).toEqual(versions.map(({ versionId }) => versionId).toReversed())
  for (const { versionId, etag } of versions) expect(await md5At(second, target, versionId)).toBe(etag)

  const storedBytes = async (): Promise<number> => (await first.status()).blocks.bytes
  const before = await storedBytes()
  const [oldest] = versions
  const copy = await second.objects.copy({ ...target, versionId: oldest?.versionId }, { ...target, key: 'copy' })
  expect([copy.etag, await md5At(first, { ...target, key: 'copy' })]).toEqual([oldest?.etag, oldest?.etag])
  // every block is shared, of the manifest too, which would be another one if the content were put again
  expect(await storedBytes()).toBe(before)

  const named = { ...target, versionId: oldest?.versionId }
  await first.objects.setAttributes(named, { isHeld: true })
  await expect(second.objects.remove(target, { versionId: oldest?.versionId })).rejects.toThrow('held')
  await second.objects.setAttributes(named, { isHeld: false })
  await first.objects.remove(target, { versionId: oldest?.versionId })
  expect(await md5At(second, { ...target, key: 'copy' })).toBe(oldest?.etag)
  const marker = await second.objects.remove(target)
  await expect(first.objects.get(target)).rejects.toThrow('delete marker')
  await first.objects.remove(target, { versionId: marker.versionId })
  expect(await md5At(second, target)).toBe(md5Of(contents[2] as Uint8Array))

  const race = await Promise.allSettled([first, second].map(async ({ objects }, i) => objects.put(target, of(contents[i] as Uint8Array), { ifMatch: md5Of(contents[2] as Uint8Array) })))
  expect(race.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
})
