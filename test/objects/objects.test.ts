import { describe, expect, test } from 'vitest'
import { concat, utf8 } from '../../src/base/bytes.ts'
import { Conflict, InvalidInput, NotFound, Unavailable, UnknownOutcome } from '../../src/base/errors.ts'
import { decodeBucketRow, encodeBucketRow } from '../../src/objects/buckets/bucket-row.ts'
import { objectStore } from '../../src/objects/index.ts'
import { type Registers, tables } from '../../src/tables/index.ts'
import { objectWorld, type ObjectWorld } from '../support/object-parts.ts'
import { registersWith } from '../support/other-registers.ts'

async function * bytesOf (...texts: string[]): AsyncIterable<Uint8Array> { for (const text of texts) { await Promise.resolve(); yield utf8(text) } }
async function * waiting (until: Promise<void>, text: string): AsyncIterable<Uint8Array> { await until; yield * bytesOf(text) }
async function * failing (text: string): AsyncIterable<Uint8Array> { yield * bytesOf(text); throw new Error('the client went away') }
async function textIn (body: AsyncIterable<Uint8Array>): Promise<string> {
  const pieces = []
  for await (const piece of body) pieces.push(piece)
  return Buffer.from(concat(pieces)).toString()
}

async function worldWithBucket (options?: Parameters<typeof objectWorld>[0]) {
  const world = objectWorld(options)
  const store = objectStore(world.parts)
  await store.createBucket('photos')
  return { world, store }
}

const large = 'more than eight bytes of content'

describe('objects', () => {
  test('what was put is got, whole and by range', async () => {
    const { store } = await worldWithBucket()
    const info = await store.put({ bucket: 'photos', key: 'a/b' }, bytesOf('more than ', 'eight bytes of content'), { contentType: 'text/plain', metadata: { who: 'me' } })
    const reading = await store.get({ bucket: 'photos', key: 'a/b' }, { range: { first: 5, last: 8 } })
    expect(await textIn(reading.body)).toBe('than')
    expect(reading.info).toEqual(info)
    expect(await textIn((await store.get({ bucket: 'photos', key: 'a/b' })).body)).toBe(large)
    expect(info).toMatchObject({ sizeBytes: 32, contentType: 'text/plain', metadata: { who: 'me' } })
  })

  test('blocks come before the commit, the commit before the bucket is looked at again, that before the ack, and the ack before the announcement', async () => {
    const { world, store } = await worldWithBucket({ wrap: (registers) => registersWith(recordingCommits(registers, () => world.events), {
      read: async (address, options) => { world.events.push('bucket'); return await registers.read(address, options) },
    }) })
    await store.put({ bucket: 'photos', key: 'k' }, bytesOf('sixteen bytes...')).then(() => { world.events.push('ack') })
    await expect.poll(() => world.announced.length).toBe(1)
    expect(world.events).toEqual(['bucket', 'row', 'block', 'block', 'row', 'bucket', 'ack', 'announce'])
  })

  test('a small object is one write of its row and no block', async () => {
    const { world, store } = await worldWithBucket({ wrap: (registers) => recordingCommits(registers, () => world.events) })
    await store.put({ bucket: 'photos', key: 'k' }, bytesOf('abc'))
    expect(world.events).toEqual(['row'])
    expect(world.blocks.size).toBe(0)
  })

  test('a version id stands in the row before any of its blocks is offered', async () => {
    const { world, store } = await worldWithBucket()
    let pendingAtFirstBlock = 0
    const put = world.parts.replication.writer.bind(world.parts.replication)
    const parts = { ...world.parts, replication: { ...world.parts.replication, writer: (reference: Parameters<typeof put>[0]) => {
      const writer = put(reference)
      return { ...writer, put: async (...args: Parameters<typeof writer.put>) => { pendingAtFirstBlock = world.rowOf('k')?.pending.length ?? 0; await writer.put(...args) } }
    } } }
    await objectStore(parts).put({ bucket: 'photos', key: 'k' }, bytesOf(large))
    expect(pendingAtFirstBlock).toBe(1)
    expect(world.rowOf('k')).toMatchObject({ pending: [], dropped: [] })
    await store.head({ bucket: 'photos', key: 'k' })
  })

  test('a source that fails stores nothing, and its version is dropped', async () => {
    const { world, store } = await worldWithBucket()
    world.failure = new Unavailable('too few holders')
    await expect(store.put({ bucket: 'photos', key: 'k' }, bytesOf(large))).rejects.toThrow('too few holders')
    await expect(store.put({ bucket: 'photos', key: 'k' }, failing('ab'))).rejects.toThrow('went away')
    await expect(store.head({ bucket: 'photos', key: 'k' })).rejects.toThrow(NotFound)
    expect(world.rowOf('k')?.pending).toEqual([])
    expect(world.rowOf('k')?.dropped).toHaveLength(1)
    expect(world.announced).toEqual([])
  })

  test.each([['abc'], [large]])('what was given up when all of it had come, and before its commit, is not stored: %j (its end may have been the end of a part)', async (text) => {
    const { world, store } = await worldWithBucket()
    const given = new AbortController()
    async function * givenUp (): AsyncIterable<Uint8Array> { yield * bytesOf(text); given.abort(new Error('the client went away')) }
    await expect(store.put({ bucket: 'photos', key: 'k' }, givenUp(), { signal: given.signal })).rejects.toThrow('the client went away')
    await expect(store.head({ bucket: 'photos', key: 'k' })).rejects.toThrow(NotFound)
    expect(world.announced).toEqual([])
  })

  test('fewer bytes than announced store nothing', async () => {
    const { store } = await worldWithBucket()
    await expect(store.put({ bucket: 'photos', key: 'k' }, bytesOf('abc'), { sizeBytes: 4 })).rejects.toThrow('4 bytes were announced, 3 came')
    await expect(store.head({ bucket: 'photos', key: 'k' })).rejects.toThrow(NotFound)
  })

  test('overwriting and removing drop the version with blocks, and only that', async () => {
    const { world, store } = await worldWithBucket()
    const target = { bucket: 'photos', key: 'k' }
    await store.put(target, bytesOf(large))
    await store.put(target, bytesOf('abc'))
    expect(world.rowOf('k')?.dropped).toHaveLength(1)
    expect(await store.remove(target)).toEqual({ wasThere: true, isDeleteMarker: false })
    expect(world.rowOf('k')).toMatchObject({ current: undefined, dropped: [expect.anything()] })
    expect(await store.remove(target)).toEqual({ wasThere: false, isDeleteMarker: false })
    await expect(store.get(target)).rejects.toThrow(NotFound)
  })

  test('an object that never had blocks leaves a tombstone', async () => {
    const { world, store } = await worldWithBucket()
    await store.put({ bucket: 'photos', key: 'k' }, bytesOf('abc'))
    await store.remove({ bucket: 'photos', key: 'k' })
    expect(world.rowOf('k')).toBeUndefined()
  })

  test('create-if-absent and replace-if-match hold, early and at the commit', async () => {
    const { store } = await worldWithBucket()
    const target = { bucket: 'photos', key: 'k' }
    const first = await store.put(target, bytesOf('one'), { ifNoneMatch: '*' })
    await expect(store.put(target, bytesOf('two'), { ifNoneMatch: '*' })).rejects.toThrow(Conflict)
    const second = await store.put(target, bytesOf(large), { ifMatch: first.etag })
    await expect(store.put(target, bytesOf('six'), { ifMatch: first.etag })).rejects.toThrow(Conflict)
    expect(second.etag).not.toBe(first.etag)
    await expect(store.remove(target, { ifMatch: first.etag })).rejects.toThrow(Conflict)
    expect(await textIn((await store.get(target)).body)).toBe(large)
  })

  test('what was refused before a block was stored is no upload that stays pending, and one of which it is not known whether it began is taken back', async () => {
    let failure: Error | undefined
    const { world, store } = await worldWithBucket({ wrap: (registers) => registersWith(registers, { change: async (address, change, wait) => {
      const result = await registers.change(address, change, wait)
      const [error] = [failure]
      failure = undefined
      if (error !== undefined) throw error
      return result
    } }) })
    const target = { bucket: 'photos', key: 'k' }
    await store.put(target, bytesOf(large))
    await expect(store.put(target, bytesOf(`${large} 2`), { ifNoneMatch: '*' })).rejects.toThrow(Conflict)
    expect(world.warnings).toEqual([])
    failure = new UnknownOutcome('the answer was lost')
    await expect(store.put(target, bytesOf(`${large} 3`))).rejects.toThrow(UnknownOutcome)
    expect([world.rowOf('k')?.pending.length, world.rowOf('k')?.dropped.length, world.warnings]).toEqual([0, 1, []])
  })

  test('of racing creators exactly one wins', async () => {
    const { store } = await worldWithBucket()
    const race = await Promise.allSettled(Array.from({ length: 10 }, async (_, i) => store.put({ bucket: 'photos', key: 'k' }, bytesOf(`${large} ${i}`), { ifNoneMatch: '*' })))
    expect(race.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    expect(race.filter((outcome) => outcome.status === 'rejected' && outcome.reason instanceof Conflict)).toHaveLength(9)
  })

  test('lists in byte order, by prefix and page, with folders rolled up', async () => {
    const { store } = await worldWithBucket()
    for (const key of ['b', 'a/2', 'a/1', 'ä', 'Z', 'c/x/y']) await store.put({ bucket: 'photos', key }, bytesOf('x'))
    expect((await store.list('photos')).objects.map(({ key }) => key)).toEqual(['Z', 'a/1', 'a/2', 'b', 'c/x/y', 'ä'])
    expect(await store.list('photos', { delimiter: '/' })).toMatchObject({ objects: [{ key: 'Z' }, { key: 'b' }, { key: 'ä' }], prefixes: ['a/', 'c/'] })
    const first = await store.list('photos', { limit: 4 })
    expect((await store.list('photos', { after: first.next, limit: 4 })).objects.map(({ key }) => key)).toEqual(['c/x/y', 'ä'])
  })

  test('deleting one key deletes no other (a defect of the ancestor)', async () => {
    const { store } = await worldWithBucket()
    for (const key of ['a', 'a/b', 'ab']) await store.put({ bucket: 'photos', key }, bytesOf(large))
    await store.remove({ bucket: 'photos', key: 'a' })
    expect((await store.list('photos')).objects.map(({ key }) => key)).toEqual(['a/b', 'ab'])
    expect(await textIn((await store.get({ bucket: 'photos', key: 'a/b' })).body)).toBe(large)
  })

  test.each([['', 'has 0'], ['x'.repeat(1025), 'has 1025'], ['\ud800', 'lone surrogate']])('the key %j is refused', async (key, message) => {
    const { store } = await worldWithBucket()
    await expect(store.put({ bucket: 'photos', key }, bytesOf('x'))).rejects.toThrow(message)
  })

  test.each(['../../x', 'a//b', '.', '\0', 'x'.repeat(1024), '💾/é'])('the key %j is a key like another', async (key) => {
    const { store } = await worldWithBucket()
    await store.put({ bucket: 'photos', key }, bytesOf(large))
    expect(await textIn((await store.get({ bucket: 'photos', key })).body)).toBe(large)
  })

  test.each([[{ first: 32 }], [{ first: 5, last: 4 }]])('the range %j holds no byte of 32 and is refused', async (range) => {
    const { store } = await worldWithBucket()
    await store.put({ bucket: 'photos', key: 'k' }, bytesOf(large))
    await expect(store.get({ bucket: 'photos', key: 'k' }, { range })).rejects.toThrow(InvalidInput)
  })

  test('metadata has a bound', async () => {
    const { store } = await worldWithBucket()
    await expect(store.put({ bucket: 'photos', key: 'k' }, bytesOf('x'), { metadata: { a: 'x'.repeat(2048) } })).rejects.toThrow(InvalidInput)
  })
})

describe('buckets', () => {
  test('names are unique and follow the rules', async () => {
    const { store } = await worldWithBucket()
    await expect(store.createBucket('photos')).rejects.toThrow(Conflict)
    for (const name of ['ab', 'A-bucket', 'a..b', '-ab', '10.0.0.1', 'x'.repeat(64), '../x']) await expect(store.createBucket(name)).rejects.toThrow(InvalidInput)
    await expect(store.createBucket('music', { copies: 4 })).rejects.toThrow('rf:4')
    expect((await store.listBuckets()).map(({ name }) => name)).toEqual(['photos'])
  })

  test('only an empty one is removed; one made again holds none of the old objects', async () => {
    const { store } = await worldWithBucket()
    await store.put({ bucket: 'photos', key: 'k' }, bytesOf('abc'))
    await expect(store.removeBucket('photos')).rejects.toThrow('not empty')
    await store.put({ bucket: 'photos', key: 'k2' }, bytesOf('abc'))
    for (const key of ['k', 'k2']) await store.remove({ bucket: 'photos', key })
    await store.removeBucket('photos')
    await expect(store.head({ bucket: 'photos', key: 'k' })).rejects.toThrow('no bucket')
    await store.createBucket('photos')
    await expect(store.head({ bucket: 'photos', key: 'k' })).rejects.toThrow('no object')
  })

  test('one with something in it is not marked by whoever tries to remove it, and is there all the while: cut off half way, all that was in it could not be had', async () => {
    const { world, store } = await worldWithBucket()
    const target = { bucket: 'photos', key: 'k' }
    await store.put(target, bytesOf('abc'))
    const dying = objectStore({ ...world.parts, registers: registersWith(world.parts.registers, { list: async () => { throw new Unavailable('dead') } }) })
    await expect(dying.removeBucket('photos')).rejects.toThrow('dead')
    expect(await textIn((await store.get(target)).body)).toBe('abc')
    const looking = objectStore({ ...world.parts, registers: registersWith(world.parts.registers, { list: async (...args) => { await store.head(target); return world.parts.registers.list(...args) } }) })
    await expect(looking.removeBucket('photos')).rejects.toThrow('not empty')
  })

  test('a put commits before the bucket may go: a removal that sees the object goes back', async () => {
    let remove = async (): Promise<void> => {}
    const { world, store } = await worldWithBucket({ wrap: (registers) => afterObjectChange(registers, async () => { await remove() }) })
    // the removal, which had found it empty before, goes on right after the commit of the row, as another node's could
    remove = async () => { remove = async () => {}; marked(world); await expect(objectStore(world.parts).removeBucket('photos')).rejects.toThrow('not empty') }
    await store.put({ bucket: 'photos', key: 'k' }, bytesOf('abc'))
    expect((await store.list('photos')).objects).toHaveLength(1)
  })

  test('an acknowledged put is not lost to a removal that has listed before it, though another put the bucket back and a third marked it anew', async () => {
    const { world, store } = await worldWithBucket()
    const target = { bucket: 'photos', key: 'k' }
    const { registers } = world.parts
    const listed = Promise.withResolvers<void>()
    // began while the bucket was active; commits when the removal below has listed
    const put = objectStore({ ...world.parts, registers: afterObjectChange(registers, async () => {
      await expect(store.removeBucket('photos')).rejects.toThrow('not empty')
    }) }).put(target, waiting(listed.promise, 'abc'))
    const removal = objectStore({ ...world.parts, registers: afterListing(registers, async () => {
      listed.resolve()
      await put
      // a third one, which had found it empty before, marks it again, and dies
      marked(world)
    }) }).removeBucket('photos')
    await expect(removal).rejects.toThrow(Conflict)
    await put
    await expect(store.removeBucket('photos')).rejects.toThrow('not empty')
    expect(await textIn((await store.get(target)).body)).toBe('abc')
  })

  test('a removal whose mark was undone says so', async () => {
    const { world, store } = await worldWithBucket()
    const removal = objectStore({ ...world.parts, registers: afterListing(world.parts.registers, async () => {
      const undone = decodeBucketRow(world.registers.valuesOf(tables.buckets)[0] as Uint8Array)
      world.registers.put({ table: tables.buckets, scope: new Uint8Array(16), key: utf8('photos') }, encodeBucketRow({ ...undone, state: 'active', removal: undefined }))
    }) }).removeBucket('photos')
    await expect(removal).rejects.toThrow('came into use again')
    expect((await store.listBuckets()).map(({ name }) => name)).toEqual(['photos'])
  })

  test('removals at once of an empty bucket agree that it is gone', async () => {
    const { world, store } = await worldWithBucket()
    await Promise.all(Array.from({ length: 5 }, async () => objectStore(world.parts).removeBucket('photos')))
    expect(await store.listBuckets()).toEqual([])
  })

  test('a mark of the first version of the format, which has no name, is replaced by one that has', async () => {
    const { world, store } = await worldWithBucket()
    const row = decodeBucketRow(world.registers.valuesOf(tables.buckets)[0] as Uint8Array)
    world.registers.put({ table: tables.buckets, scope: new Uint8Array(16), key: utf8('photos') }, encodeBucketRow({ ...row, state: 'deleting' }))
    await expect(store.put({ bucket: 'photos', key: 'k' }, bytesOf('abc'))).rejects.toThrow('being removed')
    await store.removeBucket('photos')
    expect(await store.listBuckets()).toEqual([])
  })

  test('a put that committed while a removal was under way takes that back, and loses no earlier version to it', async () => {
    const { world, store } = await worldWithBucket()
    const target = { bucket: 'photos', key: 'k' }
    await store.put(target, bytesOf('one'))
    await objectStore({ ...world.parts, registers: afterObjectChange(world.parts.registers, async () => { marked(world) }) }).put(target, bytesOf('two'))
    expect(await textIn((await store.get(target)).body)).toBe('two')
  })

  test('a put that cannot find out about its bucket after the commit does not say that nothing happened', async () => {
    const { world, store } = await worldWithBucket()
    const target = { bucket: 'photos', key: 'k' }
    const cut = objectStore({ ...world.parts, registers: afterObjectChange(world.parts.registers, async () => { world.registers.isUnavailable = true }) })
    await expect(cut.put(target, bytesOf('abc'))).rejects.toThrow(UnknownOutcome)
    world.registers.isUnavailable = false
    expect(await textIn((await store.get(target)).body)).toBe('abc')
    expect(world.announced).toEqual([])
  })

  test('a put whose bucket went and came back before the ack fails and leaves nothing', async () => {
    let act = async (): Promise<void> => {}
    const { world, store } = await worldWithBucket({ wrap: (registers) => afterObjectChange(registers, async () => { await act() }) })
    const other = objectStore(world.parts)
    act = async () => {
      act = async () => {}
      await other.remove({ bucket: 'photos', key: 'k' })
      await other.removeBucket('photos')
      await other.createBucket('photos')
    }
    await expect(store.put({ bucket: 'photos', key: 'k' }, bytesOf('abc'))).rejects.toThrow('made again')
    expect((await store.list('photos')).objects).toEqual([])
    await store.put({ bucket: 'photos', key: 'k' }, bytesOf('abc'))
  })
})

const recordingCommits = (registers: Registers, events: () => string[]): Registers => afterObjectChange(registers, async () => { events().push('row') })

function afterObjectChange (registers: Registers, act: () => Promise<void>): Registers {
  return registersWith(registers, { change: async (address, change, options) => {
    const result = await registers.change(address, change, options)
    if (address.table === tables.objects) await act()
    return result
  } })
}

const photosRow = { table: tables.buckets, scope: new Uint8Array(16), key: utf8('photos') } as const

/** As by one who has found the bucket empty, and is about to look again. */
function marked ({ registers }: ObjectWorld): void {
  const [row] = registers.valuesOf(tables.buckets)
  registers.put(photosRow, encodeBucketRow({ ...decodeBucketRow(row as Uint8Array), state: 'deleting', removal: '7a'.repeat(16) }))
}

/** Calls back with what a listing of objects has found in a bucket that is marked, before whoever asked for it hears. */
function afterListing (registers: Registers, act: () => Promise<void>): Registers {
  return registersWith(registers, { list: async (request, options) => {
    const page = await registers.list(request, options)
    const row = await registers.read(photosRow)
    if (request.table === tables.objects && row !== undefined && decodeBucketRow(row).state === 'deleting') await act()
    return page
  } })
}
