import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { concat, hexOf, utf8 } from '../../src/base/bytes.ts'
import { Conflict, InvalidInput, NotFound, Unavailable } from '../../src/base/errors.ts'
import { type BucketOptions, type BucketSettings, type Objects, objectStore, redundancyLimits } from '../../src/objects/index.ts'
import { objectAddress } from '../../src/objects/change-object.ts'
import { type CurrentVersion, encodeObjectRow, type ObjectRow } from '../../src/objects/object-row.ts'
import { objectWorld } from '../support/object-parts.ts'

async function * bytesOf (text: string): AsyncIterable<Uint8Array> { await Promise.resolve(); yield utf8(text) }
const large = 'more than eight bytes of content, and more than thirty-two'
const [source, target] = [{ bucket: 'photos', key: 'from' }, { bucket: 'photos', key: 'to' }]

async function worldOf (options: Partial<BucketOptions> & { settings?: BucketSettings } = {}) {
  const world = objectWorld()
  world.places = 8
  const store = objectStore(world.parts)
  await store.createBucket('photos', options)
  return { world, store }
}

async function textOf (store: Objects, { bucket, key }: { bucket: string, key: string } = target): Promise<string> {
  const pieces = []
  for await (const piece of (await store.get({ bucket, key })).body) pieces.push(piece)
  return Buffer.from(concat(pieces)).toString()
}

const eventsOf = async (world: { events: string[] }, work: () => Promise<unknown>): Promise<Set<string>> => {
  world.events.length = 0
  await work()
  return new Set(world.events.filter((event) => event !== 'announce'))
}

describe('a copy', () => {
  test('within a bucket has the very blocks, for which their holders record it, and no bytes move', async () => {
    const { world, store } = await worldOf()
    const original = await store.put(source, bytesOf(large), { contentType: 'text/x', metadata: { a: 'b' }, headers: { expires: 'never' }, tags: [['a', 'b']], wantsMd5: true, checksum: 'crc32c' })
    let copy: Awaited<ReturnType<Objects['copy']>> | undefined
    expect(await eventsOf(world, async () => { copy = await store.copy(source, target) })).toEqual(new Set(['adopted']))
    expect(await textOf(store)).toBe(large)
    expect(copy).toEqual({ ...original, key: 'to', versionId: copy?.versionId, modified: copy?.modified })
    expect(copy?.versionId).not.toBe(original.versionId)
    await store.remove(source)
    expect(await textOf(store)).toBe(large)
    await expect.poll(() => world.announced.length).toBe(2)
  })

  test('stands in its row before any holder is told', async () => {
    const { world, store } = await worldOf()
    await store.put(source, bytesOf(large))
    const states: number[] = []
    const writer = world.parts.replication.writer.bind(world.parts.replication)
    const watched = objectStore({ ...world.parts, replication: { ...world.parts.replication, writer: (...args) => {
      const own = writer(...args)
      return { ...own, adopt: async (...cids) => { states.push(world.rowOf('to')?.pending.length ?? 0); return own.adopt(...cids) } }
    } } })
    await watched.copy(source, target)
    expect(states).toEqual([1])
    expect(world.rowOf('to')).toMatchObject({ pending: [], dropped: [] })
  })

  test('of an upload in one empty part is empty too (it was refused, as one that was given up)', async () => {
    const { world, store } = await worldOf()
    const { uploadId } = await store.uploads.create(source)
    const { etag } = await store.uploads.putPart(source, uploadId, 1, bytesOf(''))
    await store.uploads.complete(source, uploadId, [{ partNumber: 1, etag }])
    await store.copy(source, target)
    expect(await textOf(store)).toBe('')
    expect(world.rowOf('to')).toMatchObject({ pending: [], dropped: [] })
  })

  test('puts the blocks that too few holders keep', async () => {
    const { world, store } = await worldOf()
    await store.put(source, bytesOf(large))
    const [first, second] = world.blocks.keys()
    for (const cid of [first, second]) if (cid !== undefined) world.unadopted.add(cid)
    expect(await eventsOf(world, async () => store.copy(source, target))).toEqual(new Set(['adopted', 'block']))
    expect(await textOf(store)).toBe(large)
  })

  test.each<[string, Partial<BucketOptions>, Partial<BucketOptions>]>([
    ['another bucket, where equal content is another block', {}, {}],
    ['a bucket of shards', { dedup: 'cluster' }, { dedup: 'cluster', shards: '4+2' }],
    ['a private bucket', { isPrivate: true }, { isPrivate: true }],
  ])('to %s is read and put', async (_, from, to) => {
    const { world, store } = await worldOf(from)
    await store.createBucket('music', to)
    // as long as what a bucket of shards keeps in shards
    const text = to.shards === undefined ? large : 'x'.repeat(redundancyLimits.spreadFromBytes)
    await store.put(source, bytesOf(text), { wantsMd5: true })
    const { etag } = await store.head(source)
    expect(await eventsOf(world, async () => store.copy(source, { ...target, bucket: 'music' }))).toEqual(new Set(['block']))
    expect(await textOf(store, { ...target, bucket: 'music' })).toBe(text)
    expect((await store.head({ ...target, bucket: 'music' })).etag).toBe(etag)
  })

  test('between buckets that share blocks over the cluster moves none', async () => {
    const { world, store } = await worldOf({ dedup: 'cluster' })
    await store.createBucket('music', { dedup: 'cluster', copies: 2 })
    await store.put(source, bytesOf(large))
    expect(await eventsOf(world, async () => store.copy(source, { ...target, bucket: 'music' }))).toEqual(new Set(['adopted']))
    expect(new Set([...world.put.values()].map(({ m }) => m))).toEqual(new Set([1]))
  })

  test('of a small object is its row', async () => {
    const { world, store } = await worldOf()
    await store.put(source, bytesOf('abc'))
    expect(await eventsOf(world, async () => store.copy(source, target))).toEqual(new Set())
    expect(await textOf(store)).toBe('abc')
  })

  test('has what is to replace the source\'s, and its own conditions', async () => {
    const { store } = await worldOf()
    const { etag } = await store.put(source, bytesOf(large), { contentType: 'text/x', metadata: { a: 'b' }, headers: { expires: 'never' }, tags: [['a', 'b']] })
    const copy = await store.copy(source, target, { replace: { contentType: 'text/y', metadata: { c: 'd' } }, tags: [], sourceIfMatch: etag, ifNoneMatch: '*' })
    expect(copy).toMatchObject({ contentType: 'text/y', metadata: { c: 'd' }, attributes: {} })
    await expect(store.copy(source, target, { ifNoneMatch: '*' })).rejects.toThrow(Conflict)
    await expect(store.copy(source, target, { sourceIfMatch: copy.etag })).rejects.toThrow('source has changed')
    await expect(store.copy(source, target, { sourceIfNoneMatch: etag })).rejects.toThrow(Conflict)
    await expect(store.copy({ ...source, key: 'none' }, target)).rejects.toThrow(NotFound)
    await expect(store.copy(source, { ...target, bucket: 'none' })).rejects.toThrow(NotFound)
    await expect(store.copy(source, target, { replace: { metadata: { a: 'x'.repeat(3000) } } })).rejects.toThrow(InvalidInput)
  })

  test('reads the content for a digest that the source has not', async () => {
    const { world, store } = await worldOf()
    await store.put(source, bytesOf(large))
    let copy: Awaited<ReturnType<Objects['copy']>> | undefined
    expect(await eventsOf(world, async () => { copy = await store.copy(source, target, { wantsMd5: true, checksum: 'sha1' }) })).toEqual(new Set(['block']))
    expect(copy?.etag).toBe(createHash('md5').update(large).digest('hex'))
    expect(hexOf(copy?.attributes.checksum?.value ?? new Uint8Array(0))).toBe(createHash('sha1').update(large).digest('hex'))
  })

  test('onto itself changes what is beside the content, and no block', async () => {
    const { world, store } = await worldOf()
    const before = await store.put(source, bytesOf(large), { metadata: { a: 'b' }, wantsMd5: true })
    await expect(store.copy(source, source)).rejects.toThrow(InvalidInput)
    let after: Awaited<ReturnType<Objects['copy']>> | undefined
    expect(await eventsOf(world, async () => { after = await store.copy(source, source, { replace: { metadata: { mtime: '1' } }, ifMatch: before.etag }) })).toEqual(new Set())
    expect(after).toMatchObject({ metadata: { mtime: '1' }, etag: before.etag, versionId: before.versionId })
    expect(await textOf(store, source)).toBe(large)
    expect(world.rowOf('from')?.dropped).toEqual([])
    await expect(store.copy(source, source, { replace: {}, ifMatch: 'another' })).rejects.toThrow(Conflict)
  })

  test('onto itself leaves what its blocks are kept for as it is, though they were converted meanwhile', async () => {
    const { world, store } = await worldOf()
    await store.put(source, bytesOf(large))
    const stored = { salt: new Uint8Array(16).fill(7), epoch: 1, copies: 2 }
    let isConverted = false
    const copying = objectStore({ ...world.parts, dates: { ...world.parts.dates, present: async () => {
      const row = world.rowOf('from') as ObjectRow
      if (!isConverted) world.registers.put(objectAddress({ bucketId: hexOf(row.bucketId), key: 'from' }), encodeObjectRow({ ...row, current: { ...row.current as CurrentVersion, stored } }))
      isConverted = true
      return 1
    } } })
    await copying.copy(source, source, { replace: { metadata: { a: 'b' } } })
    expect(world.rowOf('from')?.current).toMatchObject({ stored, metadata: { a: 'b' } })
  })

  test('onto itself changes what it names alone: what was changed beside that since it was read stays', async () => {
    const { world, store } = await worldOf()
    await store.put(source, bytesOf(large), { contentType: 'text/x', metadata: { a: 'b' }, tags: [['a', 'b']] })
    const { dates } = world.parts
    const meanwhile = (act: () => Promise<unknown>): Objects => objectStore({ ...world.parts, dates: { ...dates, present: async () => { await act(); return dates.present() } } })
    await meanwhile(async () => store.setAttributes(source, { tags: [['a', 'c']] })).copy(source, source, { replace: { contentType: 'text/y', metadata: { a: 'c' } } })
    expect(await store.head(source)).toMatchObject({ contentType: 'text/y', metadata: { a: 'c' }, attributes: { tags: [['a', 'c']] } })
    const info = await meanwhile(async () => store.copy(source, source, { replace: { contentType: 'text/z', metadata: { a: 'd' } } })).copy(source, source, { tags: [['a', 'd']] })
    expect(info).toMatchObject({ contentType: 'text/z', metadata: { a: 'd' }, attributes: { tags: [['a', 'd']] } })
    expect(await store.head(source)).toEqual(info)
  })

  test('onto itself where versions are kept is a new version with the same blocks', async () => {
    const { world, store } = await worldOf({ settings: { versioning: 'enabled' } })
    const before = await store.put(source, bytesOf(large), { metadata: { a: 'b' } })
    expect(await eventsOf(world, async () => store.copy(source, source, { replace: { metadata: {} } }))).toEqual(new Set(['adopted']))
    expect((await store.listVersions('photos')).versions.map(({ metadata }) => metadata)).toEqual([{}, { a: 'b' }])
    const restored = await store.copy({ ...source, versionId: before.versionId }, source)
    expect(restored.metadata).toEqual({ a: 'b' })
    expect((await store.listVersions('photos')).versions).toHaveLength(3)
  })

  test('that fails half way leaves nothing, and what it told of is dropped', async () => {
    const { world, store } = await worldOf()
    await store.put(source, bytesOf(large))
    world.unadopted.add([...world.blocks.keys()].at(-1) ?? '' as never)
    world.failure = new Unavailable('too few holders')
    await expect(store.copy(source, target)).rejects.toThrow('too few holders')
    await expect(store.head(target)).rejects.toThrow(NotFound)
    expect(world.rowOf('to')).toMatchObject({ pending: [], dropped: [expect.anything()] })
  })
})
