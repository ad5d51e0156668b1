import { describe, expect, test, vi } from 'vitest'
import { concat, hexOf, utf8 } from '../../src/base/bytes.ts'
import { Conflict, InvalidInput, NotFound, Refused, Unavailable } from '../../src/base/errors.ts'
import { objectAddress, versionAddress } from '../../src/objects/change-object.ts'
import { commitLimits } from '../../src/objects/commit.ts'
import { DeletedObject, LockedVersion, type Objects, objectStore, QuotaExceeded, type SettingsChange, type VersionPage } from '../../src/objects/index.ts'
import { encodeObjectRow, objectRowLimits, withoutPending } from '../../src/objects/object-row.ts'
import { decodeVersionRow, type VersionRow } from '../../src/objects/versions/version-row.ts'
import { tables } from '../../src/tables/index.ts'
import { objectWorld } from '../support/object-parts.ts'
import { registersWith } from '../support/other-registers.ts'

async function * bytesOf (text: string): AsyncIterable<Uint8Array> { await Promise.resolve(); yield utf8(text) }

async function worldOf (settings: SettingsChange = { versioning: 'enabled' }, options?: Parameters<typeof objectWorld>[0]) {
  const world = objectWorld(options)
  const store = objectStore(world.parts)
  await store.createBucket('photos')
  await store.setBucketSettings('photos', settings)
  return { world, store }
}

const target = { bucket: 'photos', key: 'k' }
const put = async (store: Objects, text: string, options?: Parameters<Objects['put']>[2]) => store.put(target, bytesOf(text), options)
async function textOf (store: Objects, versionId?: string, key = 'k'): Promise<string> {
  const pieces = []
  for await (const piece of (await store.get({ bucket: 'photos', key }, { versionId })).body) pieces.push(piece)
  return Buffer.from(concat(pieces)).toString()
}
const idsIn = ({ versions }: VersionPage): string[] => versions.map(({ versionId }) => versionId)
const shown = ({ versions }: VersionPage): string[] => versions.map(({ key, sizeBytes, isLatest, isDeleteMarker, isNullVersion }) =>
  `${key} ${isDeleteMarker ? 'marker' : sizeBytes}${isNullVersion ? ' null' : ''}${isLatest ? ' latest' : ''}`)
const large = (n: number): string => `${n} more than eight bytes of content`

/** A store that is held up as it writes the first details. */
const heldUp = (world: Awaited<ReturnType<typeof worldOf>>['world'], meanwhile: () => Promise<unknown>): Objects => {
  let held: Promise<unknown> | undefined
  return objectStore({ ...world.parts, registers: registersWith(world.parts.registers, {
    change: async (address, ...change) => {
      if (address.table === tables.versions) await (held ??= meanwhile())
      return world.parts.registers.change(address, ...change)
    },
  }) })
}

describe('a bucket that is changed while something is put into it', () => {
  /** What is put takes so long, and in its midst the bucket is changed. */
  async function putAcross (settings: SettingsChange, tookMs: number) {
    const { world } = await worldOf({})
    const time = { monotonicMs: 0 }
    const store = objectStore({ ...world.parts, clock: { ...world.parts.clock, monotonicMs: () => time.monotonicMs } })
    await put(store, large(1))
    const source = (async function * () {
      yield utf8('slow, ')
      await store.setBucketSettings('photos', settings)
      time.monotonicMs += tookMs
      yield utf8(large(2))
    })()
    const info = await store.put(target, source)
    return { store, info }
  }

  test('keeps what a long put replaces, if it keeps versions by the time of the commit', async () => {
    const { store } = await putAcross({ versioning: 'enabled' }, commitLimits.settingsMs)
    expect(await textOf(store)).toBe(`slow, ${large(2)}`)
    expect(shown(await store.listVersions('photos'))).toEqual(['k 40 latest', 'k 34 null'])
  })

  test('locks it as it says then', async () => {
    const { info } = await putAcross({ versioning: 'enabled', objectLock: { defaultRetention: { mode: 'governance', days: 1 } } }, commitLimits.settingsMs)
    expect(info.attributes.retention?.mode).toBe('governance')
  })

  test('has a quota that a long put does not pass', async () => {
    await expect(putAcross({ quotaBytes: 60 }, commitLimits.settingsMs)).rejects.toThrow(QuotaExceeded)
  })

  test('keeps what an upload replaces that was long in finding its rows (the bucket was taken for as young as the look at its parts)', async () => {
    const { world } = await worldOf({})
    const time = { monotonicMs: 0 }
    const clock = { ...world.parts.clock, monotonicMs: () => time.monotonicMs }
    let whileFound = async (): Promise<void> => Promise.resolve()
    const registers = registersWith(world.parts.registers, {
      read: async (address, options) => {
        const value = await world.parts.registers.read(address, options)
        if (address.table === tables.uploads) await whileFound()
        return value
      },
    })
    const store = objectStore({ ...world.parts, clock, registers })
    await put(store, large(1))
    const { uploadId } = await store.uploads.create(target, {})
    const part = await store.uploads.putPart(target, uploadId, 1, (async function * () { yield utf8(large(2)) })())
    whileFound = async () => {
      whileFound = async () => Promise.resolve()
      await objectStore(world.parts).setBucketSettings('photos', { versioning: 'enabled' })
      time.monotonicMs += commitLimits.settingsMs
    }
    await store.uploads.complete(target, uploadId, [part])
    expect(shown(await store.listVersions('photos'))).toEqual(['k 34 latest', 'k 34 null'])
  })

  test('is not read once more for a put that takes no time', async () => {
    const { store } = await putAcross({ versioning: 'enabled' }, commitLimits.settingsMs - 1)
    expect(shown(await store.listVersions('photos'))).toEqual(['k 40 null latest'])
  })
})

describe('a bucket that keeps versions', () => {
  test('keeps what is overwritten, to be read by its id', async () => {
    const { world, store } = await worldOf()
    const first = await put(store, large(1), { metadata: { n: '1' }, contentType: 'text/x' })
    const second = await put(store, 'two')
    expect(await textOf(store)).toBe('two')
    expect(await textOf(store, first.versionId)).toBe(large(1))
    expect(await store.head(target, { versionId: first.versionId })).toEqual(first)
    expect(await textOf(store, second.versionId)).toBe('two')
    expect(world.rowOf('k')?.dropped).toEqual([])
    expect(shown(await store.listVersions('photos'))).toEqual(['k 3 latest', 'k 34'])
    await expect(store.head(target, { versionId: '0'.repeat(64) })).rejects.toThrow(NotFound)
    await expect(store.head(target, { versionId: 'latest' })).rejects.toThrow(InvalidInput)
  })

  test('a key that is put once is one row, as in any bucket', async () => {
    const { world, store } = await worldOf()
    await put(store, 'one')
    expect(world.registers.valuesOf(tables.versions)).toEqual([])
    expect(shown(await store.listVersions('photos'))).toEqual(['k 3 latest'])
  })

  test('a delete leaves a marker, under which everything is still there; removing the marker brings it back', async () => {
    const { store } = await worldOf()
    const first = await put(store, large(1))
    const removal = await store.remove(target)
    expect(removal).toMatchObject({ wasThere: true, isDeleteMarker: true })
    const failure = await store.get(target).catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(DeletedObject)
    expect(failure).toMatchObject({ versionId: removal.versionId, wasNamed: false })
    await expect(store.head(target, { versionId: removal.versionId })).rejects.toMatchObject({ wasNamed: true })
    expect((await store.list('photos')).objects).toEqual([])
    expect(shown(await store.listVersions('photos'))).toEqual(['k marker latest', 'k 34'])
    expect(await textOf(store, first.versionId)).toBe(large(1))
    expect(await store.remove(target)).toEqual({ ...removal, wasThere: false })
    expect(await store.remove(target, { versionId: removal.versionId })).toMatchObject({ wasThere: true, isDeleteMarker: true })
    expect(await store.head(target)).toEqual(first)
    expect(shown(await store.listVersions('photos'))).toEqual(['k 34 latest'])
  })

  test('a delete of what never was leaves a marker all the same, and the bucket is not empty', async () => {
    const { store } = await worldOf()
    const { versionId } = await store.remove(target)
    expect(shown(await store.listVersions('photos'))).toEqual(['k marker latest'])
    await expect(store.removeBucket('photos')).rejects.toThrow('not empty')
    await store.remove(target, { versionId })
    await store.removeBucket('photos')
  })

  test('removing a version by its id drops that one alone; of the newest the one before is current again', async () => {
    const { world, store } = await worldOf()
    const [first, second, third] = [await put(store, large(1)), await put(store, large(2)), await put(store, large(3))]
    await store.remove(target, { versionId: second.versionId })
    expect(idsIn(await store.listVersions('photos'))).toEqual([third.versionId, first.versionId])
    expect(world.rowOf('k')?.dropped).toHaveLength(1)
    await store.remove(target, { versionId: third.versionId })
    expect(await store.head(target)).toEqual(first)
    expect(await store.remove(target, { versionId: third.versionId })).toMatchObject({ wasThere: false })
    await store.remove(target, { versionId: first.versionId })
    expect(await store.listVersions('photos')).toEqual({ versions: [], prefixes: [], next: undefined })
    expect(world.rowOf('k')?.dropped).toHaveLength(3)
    expect(world.registers.valuesOf(tables.versions)).toEqual([])
    await store.removeBucket('photos')
  })

  test('what was there before versions were kept is the null version, and is kept like the others', async () => {
    const world = objectWorld()
    const store = objectStore(world.parts)
    await store.createBucket('photos')
    const before = await put(store, large(1))
    expect(before.isNullVersion).toBe(true)
    await store.setBucketSettings('photos', { versioning: 'enabled' })
    expect((await put(store, 'two')).isNullVersion).toBe(false)
    expect(await textOf(store, 'null')).toBe(large(1))
    expect(await textOf(store, before.versionId)).toBe(large(1))
    expect(shown(await store.listVersions('photos'))).toEqual(['k 3 latest', 'k 34 null'])
  })

  test('while keeping is suspended there is one null version, and the others stay', async () => {
    const { world, store } = await worldOf()
    const first = await put(store, large(1))
    await store.setBucketSettings('photos', { versioning: 'suspended' })
    await put(store, large(2))
    await put(store, large(3))
    expect(shown(await store.listVersions('photos'))).toEqual(['k 34 null latest', 'k 34'])
    expect(await textOf(store, 'null')).toBe(large(3))
    expect(world.rowOf('k')?.dropped).toHaveLength(1)
    expect(await store.remove(target)).toMatchObject({ isDeleteMarker: true, isNullVersion: true })
    expect(shown(await store.listVersions('photos'))).toEqual(['k marker null latest', 'k 34'])
    expect(await store.remove(target)).toMatchObject({ isDeleteMarker: true, isNullVersion: true })
    await store.setBucketSettings('photos', { versioning: 'enabled' })
    await put(store, 'four')
    expect(shown(await store.listVersions('photos'))).toEqual(['k 4 latest', 'k marker null', 'k 34'])
    await store.remove(target, { versionId: 'null' })
    expect(await textOf(store, first.versionId)).toBe(large(1))
  })

  test('a put that began before versions were kept forgets none that is kept by the time it commits', async () => {
    const world = objectWorld()
    const store = objectStore(world.parts)
    await store.createBucket('photos')
    const begun = Promise.withResolvers<void>()
    const slow = store.put(target, (async function * () { await begun.promise; yield utf8('slow') })())
    await expect.poll(() => world.registers.valuesOf(tables.buckets).length).toBe(1)
    await store.setBucketSettings('photos', { versioning: 'enabled' })
    const kept = await put(store, large(1))
    begun.resolve()
    await slow
    expect(await textOf(store, kept.versionId)).toBe(large(1))
  })

  test('of racing writers each version is kept, whoever comes first', async () => {
    const { world, store } = await worldOf()
    const infos = await Promise.all(Array.from({ length: 12 }, async (_, i) => objectStore(world.parts).put(target, bytesOf(large(i)))))
    const page = await store.listVersions('photos')
    expect(new Set(idsIn(page))).toEqual(new Set(infos.map(({ versionId }) => versionId)))
    expect(page.versions.filter(({ isLatest }) => isLatest)).toHaveLength(1)
    for (const { versionId } of infos) await textOf(store, versionId)
    expect(world.rowOf('k')?.dropped).toEqual([])
  })

  test('puts, deletes and removals at once leave exactly what was kept and not removed', async () => {
    const { world, store } = await worldOf()
    const first = await Promise.all(Array.from({ length: 6 }, async (_, i) => put(store, large(i))))
    const removed = first.slice(0, 3).map(({ versionId }) => versionId)
    const others = await Promise.all([
      ...removed.map(async (versionId) => objectStore(world.parts).remove(target, { versionId })),
      ...Array.from({ length: 3 }, async (_, i) => objectStore(world.parts).put(target, bytesOf(large(10 + i)))),
      store.remove(target),
    ])
    const made = others.flatMap((outcome) => 'etag' in outcome ? [outcome.versionId] : [])
    const live = new Set(idsIn(await store.listVersions('photos')))
    for (const versionId of [...first.slice(3).map((info) => info.versionId), ...made]) { expect(live).toContain(versionId); await textOf(store, versionId) }
    for (const versionId of removed) expect(live).not.toContain(versionId)
    expect(world.rowOf('k')?.dropped).toHaveLength(3)
  })

  test('deletes at once leave one marker, and no row of those that came too late', async () => {
    const { world, store } = await worldOf()
    await put(store, 'one')
    await Promise.all(Array.from({ length: 4 }, async () => store.remove(target)))
    expect(shown(await store.listVersions('photos'))).toEqual(['k marker latest', 'k 3'])
    expect(world.registers.valuesOf(tables.versions)).toHaveLength(2)
    await Promise.all([store.remove(target), ...Array.from({ length: 4 }, async (_, i) => put(store, large(i))), store.remove(target)])
    expect(world.registers.valuesOf(tables.versions)).toHaveLength(world.rowOf('k')?.kept?.length ?? 0)
  })

  describe('of a version that goes while its details are written, for a put that is to replace it, no row stays', () => {
    test.each([false, true])('whether the put is refused then, or not (%s)', async (isRefused) => {
      const { world, store } = await worldOf()
      const { versionId, etag } = await put(store, large(1))
      const putting = put(heldUp(world, async () => store.remove(target, { versionId })), large(2), isRefused ? { ifMatch: etag } : {})
      await (isRefused ? expect(putting).rejects.toThrow(Conflict) : putting)
      expect(world.registers.valuesOf(tables.versions)).toEqual([])
    })

    test('nor where it is from before versions were kept, and goes after the put was given up', async () => {
      const { world, store } = await worldOf({})
      await put(store, large(1))
      await store.setBucketSettings('photos', { versioning: 'enabled' })
      const giveUp = async (): Promise<void> => {
        const row = world.rowOf('k')
        if (row === undefined) throw new Error('there is no row')
        world.registers.put(objectAddress({ bucketId: hexOf(row.bucketId), key: 'k' }), encodeObjectRow(row.pending.reduce(withoutPending, row)))
      }
      await expect(put(heldUp(world, giveUp), large(2))).rejects.toThrow(Unavailable)
      await store.remove(target, { versionId: 'null' })
      expect(world.registers.valuesOf(tables.versions)).toEqual([])
    })
  })

  test('of the null version that was brought back and is replaced, while keeping is suspended, no row stays', async () => {
    const { world, store } = await worldOf({})
    await put(store, 'null')
    await store.setBucketSettings('photos', { versioning: 'enabled' })
    const { versionId } = await put(store, 'two')
    await store.remove(target, { versionId })
    await store.setBucketSettings('photos', { versioning: 'suspended' })
    await put(store, 'three')
    expect(shown(await store.listVersions('photos'))).toEqual(['k 5 null latest'])
    expect(world.registers.valuesOf(tables.versions)).toEqual([])
  })

  test('conditions are about what is current, and a delete marker is nothing', async () => {
    const { store } = await worldOf()
    const first = await put(store, 'one')
    await expect(put(store, 'two', { ifNoneMatch: '*' })).rejects.toThrow(Conflict)
    await store.remove(target, { ifMatch: first.etag })
    await put(store, 'two', { ifNoneMatch: '*' })
  })

  test('a row takes only so many versions, and then says what to do', async () => {
    const { world, store } = await worldOf()
    await put(store, 'one')
    for (let i = 1; i <= objectRowLimits.maxKept; i++) await put(store, 'x')
    await expect(put(store, 'y')).rejects.toThrow(Refused)
    await expect(store.remove(target)).rejects.toThrow('remove some of them')
    expect(world.rowOf('k')?.kept).toHaveLength(objectRowLimits.maxKept)
    await store.remove(target, { versionId: (await store.listVersions('photos', { limit: 2 })).versions[1]?.versionId })
    await put(store, 'y')
  })

  test('what a crash leaves is shown to nobody, and hinders nothing', async () => {
    const { world, store } = await worldOf()
    const first = await put(store, large(1))
    // dies when the details of what it replaces are written
    const dying = objectStore({ ...world.parts, registers: registersWith(world.parts.registers, { change: async (address, ...rest) => {
      const result = await world.parts.registers.change(address, ...rest)
      if (address.table === tables.versions) throw new Unavailable('dead')
      return result
    } }) })
    await expect(dying.put(target, bytesOf('two'))).rejects.toThrow('dead')
    expect(world.registers.valuesOf(tables.versions)).toHaveLength(1)
    expect(shown(await store.listVersions('photos'))).toEqual(['k 34 latest'])
    await store.remove(target, { versionId: first.versionId })
    expect(shown(await store.listVersions('photos'))).toEqual([])
    await store.removeBucket('photos')
  })
})

describe('a listing of versions', () => {
  async function full () {
    const { store, world } = await worldOf()
    for (const key of ['b', 'a/1', 'a/2', 'c\0d', 'c', 'z']) for (const n of [1, 2]) await store.put({ bucket: 'photos', key }, bytesOf('x'.repeat(n)))
    await store.remove({ bucket: 'photos', key: 'a/2' })
    await store.put({ bucket: 'photos', key: 'd/once' }, bytesOf('xyz'))
    return { store, world }
  }
  const all = ['a/1 2 latest', 'a/1 1', 'a/2 marker latest', 'a/2 2', 'a/2 1', 'b 2 latest', 'b 1', 'c 2 latest', 'c 1', 'c\0d 2 latest', 'c\0d 1', 'd/once 3 latest', 'z 2 latest', 'z 1']

  test('is in the order of keys, newest first', async () => { expect(shown(await (await full()).store.listVersions('photos'))).toEqual(all) })

  test.each([1, 2, 3, 5])('comes whole in pages of %i', async (limit) => {
    const { store } = await full()
    const found: string[] = []
    for (let after: VersionPage['next'], more = true; more;) {
      const page = await store.listVersions('photos', { limit, after })
      found.push(...shown(page))
      after = page.next
      more = after !== undefined
    }
    expect(found).toEqual(all)
  })

  test('goes on where it was though what it ended with is gone', async () => {
    const { store } = await full()
    const { versions, next } = await store.listVersions('photos', { limit: 3 })
    const last = versions.at(-1)
    await store.remove({ bucket: 'photos', key: last?.key ?? '' }, { versionId: last?.versionId })
    expect(shown(await store.listVersions('photos', { limit: 2, after: next }))).toEqual(['a/2 2 latest', 'a/2 1'])
    expect(shown(await store.listVersions('photos', { limit: 2, after: { key: 'a/2' } }))).toEqual(['b 2 latest', 'b 1'])
    expect(shown(await store.listVersions('photos', { limit: 1, after: { key: 'b', versionId: (await store.head({ bucket: 'photos', key: 'b' })).versionId } }))).toEqual(['b 1'])
  })

  test('rolls up folders, also those in which nothing is current', async () => {
    const { store } = await full()
    for (const key of ['a/1', 'a/2']) await store.remove({ bucket: 'photos', key })
    const page = await store.listVersions('photos', { delimiter: '/', limit: 4 })
    expect([page.prefixes, shown(page)]).toEqual([['a/'], ['b 2 latest', 'b 1', 'c 2 latest']])
    const rest = await store.listVersions('photos', { delimiter: '/', after: page.next })
    expect([rest.prefixes, shown(rest)]).toEqual([['d/'], ['c 1', 'c\0d 2 latest', 'c\0d 1', 'z 2 latest', 'z 1']])
    expect((await store.listVersions('photos', { delimiter: '/', limit: 1 })).next).toEqual({ key: 'a/' })
    expect(shown(await store.listVersions('photos', { delimiter: '/', after: { key: 'a/' }, limit: 1 }))).toEqual(['b 2 latest'])
    expect(shown(await store.listVersions('photos', { prefix: 'a/', delimiter: '/', limit: 2 }))).toEqual(['a/1 marker latest', 'a/1 2'])
  })

  test.each(['//', '😀', 'xyz'])('goes on behind a version of a key that is shorter than the delimiter (%s), and never shows it again', async (delimiter) => {
    const { store } = await full()
    await store.put({ bucket: 'photos', key: 'zz' }, bytesOf('x'))
    await store.put({ bucket: 'photos', key: 'zz' }, bytesOf('xx'))
    const found: string[] = []
    for (let after: VersionPage['next'], more = true; more && found.length <= all.length + 2;) {
      const page = await store.listVersions('photos', { delimiter, limit: 1, after })
      found.push(...shown(page))
      after = page.next
      more = after !== undefined
    }
    expect(found).toEqual([...all, 'zz 2 latest', 'zz 1'])
  })

  test('from a marker outside its prefix, or within a folder that it rolls up, shows nothing of that key: a right to list ends with its prefix', async () => {
    const { store } = await full()
    for (const versionId of ['null', 'null.99', 'f'.repeat(64)]) {
      expect(shown(await store.listVersions('photos', { prefix: 'b', after: { key: 'a/1', versionId } })), versionId).toEqual(['b 2 latest', 'b 1'])
      expect(shown(await store.listVersions('photos', { delimiter: '/', after: { key: 'a/1', versionId } })), versionId).toEqual(all.slice(5).filter((one) => !one.startsWith('d/')))
    }
  })

  test('misses no version that is replaced, or deleted, while it is made', async () => {
    for (const [first, act] of [[1, async (store: Objects) => put(store, 'two')], [2, async (store: Objects) => store.remove(target)]] as const) {
      const { world, store } = await worldOf()
      const { versionId } = await put(store, 'one')
      for (const when of [1, 2]) {
        let lists = 0
        const seen = objectStore({ ...world.parts, registers: registersWith(world.parts.registers, { list: async (...args) => {
          const page = await world.parts.registers.list(...args)
          if (++lists === when) await act(store)
          return page
        } }) })
        expect(idsIn(await seen.listVersions('photos')), `${first} ${when}`).toContain(versionId)
      }
    }
  })
})

describe('a locked version', () => {
  const future = Date.now() + 3_600_000
  const lockable = { versioning: 'enabled', objectLock: {} } as const

  test('is not removed, current or not, while it is held or retained; an overwrite and a delete marker touch it not', async () => {
    const { store } = await worldOf(lockable)
    const held = await put(store, large(1), { isHeld: true })
    await expect(store.remove(target, { versionId: held.versionId })).rejects.toThrow(LockedVersion)
    const retained = await put(store, large(2), { retention: { mode: 'compliance', untilMs: future } })
    await store.remove(target)
    for (const { versionId } of [held, retained]) await expect(store.remove(target, { versionId, mayBypassGovernance: true })).rejects.toThrow(LockedVersion)
    await store.setAttributes({ ...target, versionId: held.versionId }, { isHeld: false })
    await store.remove(target, { versionId: held.versionId })
    expect((await store.head(target, { versionId: retained.versionId })).attributes.retention).toEqual({ mode: 'compliance', untilMs: future })
  })

  test('in governance mode is removed, and its lock loosened, only with leave; in compliance mode never', async () => {
    const { store } = await worldOf(lockable)
    const { versionId } = await put(store, large(1), { retention: { mode: 'governance', untilMs: future } })
    const named = { ...target, versionId }
    await expect(store.remove(target, { versionId })).rejects.toThrow(LockedVersion)
    await expect(store.setAttributes(named, { retention: { mode: 'governance', untilMs: future - 1 } })).rejects.toThrow(LockedVersion)
    await expect(store.setAttributes(named, { retention: null })).rejects.toThrow(LockedVersion)
    await store.setAttributes(named, { retention: { mode: 'governance', untilMs: future + 1 } })
    await store.setAttributes(named, { retention: null }, { mayBypassGovernance: true })
    await store.setAttributes(named, { retention: { mode: 'compliance', untilMs: future } })
    await expect(store.setAttributes(named, { retention: null }, { mayBypassGovernance: true })).rejects.toThrow(LockedVersion)
    await expect(store.setAttributes(named, { retention: { mode: 'governance', untilMs: future + 9 } }, { mayBypassGovernance: true })).rejects.toThrow(LockedVersion)
    await expect(store.remove(target, { versionId, mayBypassGovernance: true })).rejects.toThrow(LockedVersion)
  })

  test('is free when its date is past by a majority of the voters\' clocks, and by the node\'s own: one that is ahead opens no lock', async () => {
    const { world, store } = await worldOf(lockable)
    const { versionId } = await put(store, large(1), { retention: { mode: 'compliance', untilMs: future } })
    const at = (own: number, past: () => Promise<number>): Objects => objectStore({ ...world.parts, clock: { ...world.parts.clock, wallMs: () => own }, dates: { ...world.parts.dates, past } })
    const named = { ...target, versionId }
    for (const [own, majority] of [[future + 1, future - 1], [future - 1, future + 1]] as const) {
      await expect(at(own, async () => majority).remove(target, { versionId })).rejects.toThrow(LockedVersion)
      await expect(at(own, async () => majority).setAttributes(named, { retention: { mode: 'governance', untilMs: future + 9 } })).rejects.toThrow(LockedVersion)
    }
    await expect(at(future + 1, async () => { throw new Unavailable('too few voters') }).remove(target, { versionId })).rejects.toThrow(Unavailable)
    await at(future + 1, async () => future + 1).setAttributes(named, { retention: { mode: 'governance', untilMs: future + 9 } })
    await at(future + 10, async () => future + 9).remove(target, { versionId })
    await expect(store.head(target, { versionId })).rejects.toThrow(NotFound)
  })

  test('of no date, or of one that has not come, has no voter asked', async () => {
    const { world } = await worldOf(lockable)
    const store = objectStore({ ...world.parts, dates: { ...world.parts.dates, past: () => Promise.reject(new Error('asked')) } })
    const free = await put(store, 'one')
    await store.setAttributes(target, { retention: { mode: 'governance', untilMs: future } })
    await store.setAttributes(target, { tags: [['a', 'b']] })
    await store.setAttributes(target, { retention: null }, { mayBypassGovernance: true })
    await store.remove(target, { versionId: free.versionId })
    const held = await put(store, 'two', { retention: { mode: 'compliance', untilMs: future } })
    await expect(store.remove(target, { versionId: held.versionId })).rejects.toThrow(LockedVersion)
  })

  test('takes the bucket\'s default when it is put without a retention', async () => {
    const { world } = await worldOf({ versioning: 'enabled', objectLock: { defaultRetention: { mode: 'governance', days: 2 } } })
    const store = objectStore({ ...world.parts, clock: { ...world.parts.clock, wallMs: () => 1_000_000 }, dates: { ...world.parts.dates, present: async () => Promise.resolve(1_000_000) } })
    expect((await put(store, 'one')).attributes.retention).toEqual({ mode: 'governance', untilMs: 1_000_000 + 2 * 86_400_000 })
  })

  test.each([undefined, 'suspended'] as const)('is not replaced by a put, or a delete, that began before versions were kept (%s)', async (versioning) => {
    const { world, store } = await worldOf(versioning === undefined ? {} : { versioning })
    const first = await put(store, large(1))
    expect(first.isNullVersion).toBe(true)
    const [asked, sent] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const putting = store.put(target, (async function * () { asked.resolve(); await sent.promise; yield utf8(large(2)) })())
    let isMarked = false
    const removing = objectStore({ ...world.parts, dates: { ...world.parts.dates, present: async () => { isMarked = true; await sent.promise; return 1 } } }).remove(target)
    await asked.promise
    await vi.waitFor(() => { expect(isMarked).toBe(true) })
    await store.setBucketSettings('photos', lockable)
    await store.setAttributes(target, { retention: { mode: 'compliance', untilMs: future } })
    sent.resolve()
    await Promise.all([putting, removing])
    expect((await store.head(target, { versionId: first.versionId })).attributes.retention).toEqual({ mode: 'compliance', untilMs: future })
    expect(await textOf(store, first.versionId)).toBe(large(1))
    expect(world.rowOf('k')?.dropped).toEqual([])
  })

  test('is not replaced, earlier already, by a put that began while keeping was suspended', async () => {
    const { world, store } = await worldOf({ versioning: 'suspended' })
    const first = await put(store, large(1))
    const [asked, sent] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const putting = store.put(target, (async function * () { asked.resolve(); await sent.promise; yield utf8(large(2)) })())
    await asked.promise
    await store.setBucketSettings('photos', lockable)
    await put(store, large(3))
    await store.setAttributes({ ...target, versionId: 'null' }, { isHeld: true })
    sent.resolve()
    await putting
    expect((await store.head(target, { versionId: first.versionId })).attributes.isHeld).toBe(true)
    expect(world.rowOf('k')?.dropped).toEqual([])
  })

  test('is refused where the bucket has no locks, and a date that is past', async () => {
    const { store } = await worldOf()
    await expect(put(store, 'one', { isHeld: true })).rejects.toThrow(InvalidInput)
    await store.setBucketSettings('photos', { objectLock: {} })
    await expect(put(store, 'one', { retention: { mode: 'compliance', untilMs: 1 } })).rejects.toThrow('in the future')
    await expect(store.setBucketSettings('photos', { versioning: 'suspended' })).rejects.toThrow(InvalidInput)
    await expect(store.setBucketSettings('photos', { objectLock: null })).rejects.toThrow(InvalidInput)
  })

  test('ends within a hundred years, however it is set: a digit too many would outlive everybody', async () => {
    const nowMs = Date.UTC(2030, 0, 1)
    const { world } = await worldOf(lockable)
    const store = objectStore({ ...world.parts, clock: { ...world.parts.clock, wallMs: () => nowMs } })
    const [latest, beyond] = [Date.UTC(2130, 0, 1), Date.UTC(2130, 0, 3)]
    const { versionId } = await put(store, 'one', { retention: { mode: 'compliance', untilMs: latest } })
    const message = /at most 100 years, by 2130-01-02/
    await expect(put(store, 'two', { retention: { mode: 'compliance', untilMs: beyond } })).rejects.toThrow(message)
    await expect(store.setAttributes(target, { retention: { mode: 'compliance', untilMs: beyond } })).rejects.toThrow(message)
    await expect(store.copy(target, { ...target, key: 'copy' }, { retention: { mode: 'governance', untilMs: beyond } })).rejects.toThrow(message)
    await expect(store.uploads.create({ ...target, key: 'parts' }, { retention: { mode: 'governance', untilMs: Number.MAX_SAFE_INTEGER } })).rejects.toThrow(message)
    expect(await store.head(target)).toMatchObject({ versionId, attributes: { retention: { untilMs: latest } } })
    // what an earlier version stored beyond it stays changeable in the rest
    const earlier = objectStore({ ...world.parts, clock: { ...world.parts.clock, wallMs: () => Date.UTC(2020, 0, 1) } })
    expect((await earlier.setAttributes(target, { tags: [['a', 'b']] })).attributes.tags).toEqual([['a', 'b']])
  })

  test('of a kept version, once acknowledged, is not passed by a removal that had looked before it', async () => {
    const { world, store } = await worldOf(lockable)
    const { versionId } = await put(store, large(1))
    await put(store, 'two')
    let isLocked = false
    const looking = objectStore({ ...world.parts, registers: registersWith(world.parts.registers, { read: async (address, options) => {
      const value = await world.parts.registers.read(address, options)
      if (address.table === tables.versions && !isLocked) { isLocked = true; await store.setAttributes({ ...target, versionId }, { isHeld: true }) }
      return value
    } }) })
    await expect(looking.remove(target, { versionId })).rejects.toThrow(LockedVersion)
    expect(isLocked).toBe(true)
    expect(await textOf(store, versionId)).toBe(large(1))
  })

  test('stays locked when it is current again, though that was under way when it was locked', async () => {
    const { world, store } = await worldOf(lockable)
    const { versionId } = await put(store, large(1))
    const newest = await put(store, 'two')
    let isLocked = false
    const looking = objectStore({ ...world.parts, registers: registersWith(world.parts.registers, { read: async (address, options) => {
      const value = await world.parts.registers.read(address, options)
      if (address.table === tables.versions && !isLocked) { isLocked = true; await store.setAttributes({ ...target, versionId }, { isHeld: true, tags: [['a', 'b']] }) }
      return value
    } }) })
    await looking.remove(target, { versionId: newest.versionId })
    expect((await store.head(target)).attributes).toEqual({ isHeld: true, tags: [['a', 'b']] })
  })
})

describe('attributes of a version', () => {
  test('change without its content, current or not, and stay with it', async () => {
    const { store } = await worldOf({ versioning: 'enabled', objectLock: {} })
    const first = await put(store, large(1), { tags: [['a', '1']], wantsMd5: true })
    await store.setAttributes(target, { tags: [['a', '2']] })
    await put(store, 'two', { tags: [['z', 'z']] })
    const named = { ...target, versionId: first.versionId }
    expect((await store.head(target, named)).attributes.tags).toEqual([['a', '2']])
    await store.setAttributes(named, { tags: [['a', '3']] })
    await Promise.all(Array.from({ length: 5 }, async (_, i) => store.setAttributes(named, i === 2 ? { isHeld: true } : { tags: [['a', `${i}`]] })))
    const { attributes, etag } = await store.head(target, named)
    expect(attributes).toMatchObject({ isHeld: true })
    expect(attributes.tags?.[0]?.[1]).toMatch(/^[0134]$/)
    expect(etag).toBe(first.etag)
    expect(await textOf(store, first.versionId)).toBe(large(1))
    expect((await store.setAttributes(target, { tags: [] })).attributes).toEqual({})
    await expect(store.setAttributes({ ...target, key: 'none' }, { tags: [] })).rejects.toThrow(NotFound)
    await store.remove(target)
    await expect(store.setAttributes(target, { tags: [] })).rejects.toThrow(DeletedObject)
  })

  test('are not lost, once acknowledged, to a put that saw their version current, and writes what it then had', async () => {
    const { world, store } = await worldOf()
    const { versionId } = await put(store, large(1))
    const late = heldUp(world, async () => {
      await put(store, large(2))
      await store.setAttributes({ ...target, versionId }, { tags: [['n', '1']] })
    })
    await put(late, large(3))
    expect((await store.head(target, { versionId })).attributes.tags).toEqual([['n', '1']])
  })

  test('are not lost, once acknowledged, though their version was current and kept again while they changed', async () => {
    const { world, store } = await worldOf()
    const { versionId } = await put(store, large(1))
    const newest = await put(store, 'two')
    const [looked, written] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    const { registers } = world.parts
    const promoting = objectStore({ ...world.parts, registers: registersWith(registers, { read: async (address, options) => {
      const value = await registers.read(address, options)
      if (address.table === tables.versions) { looked.resolve(); await written.promise }
      return value
    } }) }).remove(target, { versionId: newest.versionId })
    await looked.promise
    let isFirst = true
    const changing = objectStore({ ...world.parts, registers: registersWith(registers, { change: async (address, ...rest) => {
      const result = await registers.change(address, ...rest)
      if (address.table === tables.versions && isFirst) { isFirst = false; written.resolve(); await promoting; await put(store, 'three') }
      return result
    } }) })
    await changing.setAttributes({ ...target, versionId }, { tags: [['a', 'b']] })
    expect((await store.head(target, { versionId })).attributes.tags).toEqual([['a', 'b']])
  })
})

describe('a version that its object names, and whose own row is lost, as after the loss of a majority', () => {
  const elsewhere = { bucket: 'photos', key: 'l' }
  /** Three versions of `k`, of which the one in the midst is lost, and one of another key. */
  async function lostIn () {
    const { world, store } = await worldOf()
    const infos = [await put(store, large(1)), await put(store, large(2)), await put(store, 'three')]
    await store.put(elsewhere, bytesOf('four'))
    const rows = world.registers.valuesOf(tables.versions).map(decodeVersionRow)
    const lost = rows.find(({ version }) => hexOf(version.id) === infos[1]?.versionId) as VersionRow
    world.registers.erase(versionAddress({ bucketId: hexOf(lost.bucketId), key: 'k' }, lost.version))
    return { store, lost: [{ key: 'k', versionId: infos[1]?.versionId }] }
  }

  test('is said to be lost by a listing, and keeps nothing else from being listed (of its bucket nothing could be)', async () => {
    const { store, lost } = await lostIn()
    const page = await store.listVersions('photos')
    expect(shown(page)).toEqual(['k 5 latest', 'k 34', 'l 4 latest'])
    expect(page.lost).toEqual(lost)
    const pages: VersionPage[] = []
    for (let after: VersionPage['next'], more = true; more; more = after !== undefined) {
      const one = await store.listVersions('photos', { limit: 1, after })
      pages.push(one)
      after = one.next
    }
    expect(pages.flatMap(shown)).toEqual(shown(page))
    expect(pages.flatMap((one) => one.lost ?? [])).toEqual(lost)
    await expect(store.get(target, { versionId: lost[0]?.versionId })).rejects.toThrow('missing')
  })

  test('is not removed, for it may be locked, nor is its bucket', async () => {
    const { store, lost } = await lostIn()
    await expect(store.remove(target, { versionId: lost[0]?.versionId })).rejects.toThrow('missing')
    await store.remove(elsewhere, { versionId: (await store.head(elsewhere)).versionId })
    for (const versionId of idsIn(await store.listVersions('photos')).toReversed()) await store.remove(target, { versionId }).catch(() => {})
    await expect(store.removeBucket('photos')).rejects.toThrow('not empty')
  })
})
