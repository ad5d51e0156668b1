import { describe, expect, test } from 'vitest'
import { hexOf, utf8 } from '../../../src/base/bytes.ts'
import { Unavailable } from '../../../src/base/errors.ts'
import { type LifecycleRule, lifecycleLimits, type Objects, objectStore, type SettingsChange, type VersionPage } from '../../../src/objects/index.ts'
import { Buckets } from '../../../src/objects/buckets/buckets.ts'
import { dueMs, expiriesOf, isUploadDue } from '../../../src/objects/buckets/lifecycle-rules.ts'
import { lifecycleOf } from '../../../src/objects/work/lifecycle.ts'
import { versionAddress } from '../../../src/objects/change-object.ts'
import { decodeVersionRow, type VersionRow } from '../../../src/objects/versions/version-row.ts'
import { tables } from '../../../src/tables/index.ts'
import { objectWorld } from '../../support/object-parts.ts'

async function * bytesOf (text: string): AsyncIterable<Uint8Array> { await Promise.resolve(); yield utf8(text) }
const dayMs = 86_400_000
/** Midnight, so that days are whole. */
const startMs = 20_000 * dayMs
const rule = (of: Partial<LifecycleRule>): LifecycleRule => ({ id: 'r', isEnabled: true, prefix: '', ...of })

/** A store whose days pass when told; own clock, and what a majority says, apart. */
async function worldOf (settings: SettingsChange, { isTurn = () => true }: { isTurn?: () => boolean } = {}) {
  const world = objectWorld()
  const time = { ownMs: startMs, majorityMs: startMs as number | undefined, monotonicMs: 0 }
  const parts = {
    ...world.parts,
    clock: { ...world.parts.clock, wallMs: () => time.ownMs, monotonicMs: () => time.monotonicMs },
    dates: {
      present: () => Promise.resolve(time.majorityMs ?? time.ownMs),
      past: () => time.majorityMs === undefined ? Promise.reject(new Unavailable('too few voters tell the date')) : Promise.resolve(time.majorityMs),
    },
    isTurn,
  }
  const store = objectStore(parts)
  await store.createBucket('photos')
  await store.setBucketSettings('photos', settings)
  const aborted: string[] = []
  const uploads = {
    list: async () => Promise.resolve({ uploads: [{ bucket: 'photos', key: 'logs/u', uploadId: 'old', initiated: new Date(startMs).toISOString(), checksum: undefined }, { bucket: 'photos', key: 'u', uploadId: 'other', initiated: new Date(startMs).toISOString(), checksum: undefined }], prefixes: [], next: undefined }),
    abort: async (_: unknown, uploadId: string) => { aborted.push(uploadId); return Promise.resolve() },
  }
  const buckets = Object.assign(new Buckets({ ...parts, isEmpty: () => Promise.resolve(false), dropUploads: () => Promise.resolve() }), { isAway: false })
  const list = buckets.list.bind(buckets)
  buckets.list = async (wait) => { if (buckets.isAway) throw new Unavailable('too few voters answer'); return list(wait) }
  const lifecycle = lifecycleOf(parts, buckets, uploads)
  return {
    world, store, time, aborted, buckets,
    days: (count: number) => { time.ownMs += count * dayMs; if (time.majorityMs !== undefined) time.majorityMs += count * dayMs },
    walk: async () => {
      lifecycle.now()
      let steps = 0
      while (await lifecycle.step({}) === 'busy') steps++
      return steps
    },
    step: async () => lifecycle.step({}),
  }
}

const put = async (store: Objects, key: string, text = 'more than eight bytes of content', options: Parameters<Objects['put']>[2] = {}) => store.put({ bucket: 'photos', key }, bytesOf(text), options)
const keysIn = async (store: Objects) => (await store.list('photos')).objects.map(({ key }) => key)
const shown = ({ versions }: VersionPage): string[] => versions.map(({ key, isDeleteMarker, sizeBytes }) => `${key} ${isDeleteMarker ? 'marker' : sizeBytes}`)

describe('objects', () => {
  test('expire as many days after they were written as their bucket says, at the end of that day, where rule and prefix apply', async () => {
    const { world, store, days, walk } = await worldOf({ lifecycle: [rule({ prefix: 'logs/', expireDays: 2 }), rule({ id: 'off', isEnabled: false, expireDays: 1 })] })
    await put(store, 'logs/old')
    await put(store, 'kept')
    days(1.5)
    await put(store, 'logs/young')
    await walk()
    expect(await keysIn(store)).toEqual(['kept', 'logs/old', 'logs/young'])
    days(0.5)
    await walk()
    expect(await keysIn(store)).toEqual(['kept', 'logs/young'])
    expect(world.rowOf('logs/old')).toMatchObject({ current: undefined, dropped: [expect.anything()] })
    days(1.5)
    await walk()
    expect(await keysIn(store)).toEqual(['kept', 'logs/young'])
    days(0.5)
    await walk()
    expect(await keysIn(store)).toEqual(['kept'])
  })

  test('are looked at as soon as there is a majority again, when there was none as the node began', async () => {
    const { store, days, buckets, step } = await worldOf({ lifecycle: [rule({ expireDays: 1 })] })
    await put(store, 'old')
    days(2)
    buckets.isAway = true
    await expect(step()).rejects.toThrow(Unavailable)
    buckets.isAway = false
    while (await step() === 'busy');
    expect(await keysIn(store)).toEqual([])
  })

  test('do not expire by one clock, but by a majority\'s, and not at all without one', async () => {
    const { store, time, walk } = await worldOf({ lifecycle: [rule({ expireDays: 1 })] })
    await put(store, 'k')
    time.ownMs += 3650 * dayMs
    await walk()
    expect(await keysIn(store)).toEqual(['k'])
    time.majorityMs = undefined
    await expect(walk()).rejects.toThrow(Unavailable)
    expect(await keysIn(store)).toEqual(['k'])
    time.majorityMs = startMs + 2 * dayMs
    time.ownMs = 0
    await walk()
    expect(await keysIn(store)).toEqual([])
  })

  test('are dated by a majority\'s clocks: a node whose own are wrong does not age what it writes', async () => {
    const { store, time, walk } = await worldOf({ lifecycle: [rule({ expireDays: 1 })] })
    time.ownMs -= 3650 * dayMs
    const { modified } = await put(store, 'k')
    expect(modified).toBe(new Date(startMs).toISOString())
    await walk()
    expect(await keysIn(store)).toEqual(['k'])
  })

  test('at what is no date, as rules of before may have it, never are', () => {
    const version = { bucket: 'b', key: 'k', modified: '2026-01-01T00:00:00.000Z', sizeBytes: 1, isDeleteMarker: false } as unknown as Parameters<typeof expiriesOf>[0][number]
    const due = (expireDate: string): number => expiriesOf([version], [rule({ expireDate })], Date.parse('2046-01-01T00:00:00Z')).length
    expect([due('365'), due('45'), due('2045-01-01'), due('2045-01-01T03:00:00Z'), due('2047-01-01')]).toEqual([0, 0, 1, 1, 0])
  })

  test('of a size, with tags, and at a date', async () => {
    const { store, days, walk } = await worldOf({ lifecycle: [
      rule({ id: 'a', prefix: 'size/', expireDays: 1, minSizeBytes: 4, maxSizeBytes: 10 }),
      rule({ id: 'b', prefix: 'tags/', expireDays: 1, tags: [['a', '1'], ['b', '2']] }),
      rule({ id: 'c', prefix: 'date/', expireDate: new Date(startMs + 3 * dayMs).toISOString() }),
    ] })
    for (const text of ['abc', 'abcdef', 'abcdefghijklmn']) await put(store, `size/${text.length}`, text)
    await put(store, 'tags/both', 'x', { tags: [['b', '2'], ['c', ''], ['a', '1']] })
    await put(store, 'tags/one', 'x', { tags: [['a', '1'], ['b', '3']] })
    await put(store, 'date/x')
    days(2)
    await walk()
    expect(await keysIn(store)).toEqual(['date/x', 'size/14', 'size/3', 'tags/one'])
    days(1)
    await walk()
    expect(await keysIn(store)).toEqual(['size/14', 'size/3', 'tags/one'])
  })

  test('that are old enough, and stay, as they have not the tags or are locked, have nothing written for them hour after hour', async () => {
    const { world, store, days, walk } = await worldOf({ versioning: 'enabled', objectLock: {}, lifecycle: [rule({ expireDays: 1, tags: [['temporary', 'yes']] }), rule({ id: 'old', noncurrentDays: 1 })] })
    for (const key of ['a', 'b']) for (const isHeld of [true, false]) await put(store, key, 'more than eight bytes of content', { isHeld })
    days(3)
    const change = world.registers.change.bind(world.registers)
    let changes = 0
    world.registers.change = async (...args) => { changes++; return change(...args) }
    for (let walks = 0; walks < 3; walks++) await walk()
    expect(shown(await store.listVersions('photos'))).toEqual(['a 32', 'a 32', 'b 32', 'b 32'])
    expect(changes).toBe(0)
  })

  test('that are overwritten while they are looked at are not the ones that were', async () => {
    const { store, world, days, walk } = await worldOf({ lifecycle: [rule({ expireDays: 1 })] })
    await put(store, 'k')
    days(5)
    const list = world.parts.registers.list.bind(world.parts.registers)
    let isReplaced = false
    Object.assign(world.parts.registers, { list: async (...args: Parameters<typeof list>) => {
      const page = await list(...args)
      if (args[0].table === 1 && !isReplaced) { isReplaced = true; await put(store, 'k', 'new') }
      return page
    } })
    await walk()
    expect(isReplaced).toBe(true)
    expect((await store.head({ bucket: 'photos', key: 'k' })).sizeBytes).toBe(3)
  })

  test('that are made young again while they are looked at, by a copy onto themselves, stay (they were removed, dated that moment)', async () => {
    const { store, world, days, walk } = await worldOf({ lifecycle: [rule({ expireDays: 1 })] })
    await put(store, 'k')
    days(5)
    const list = world.parts.registers.list.bind(world.parts.registers)
    let isRenewed = false
    Object.assign(world.parts.registers, { list: async (...args: Parameters<typeof list>) => {
      const page = await list(...args)
      const target = { bucket: 'photos', key: 'k' }
      if (args[0].table === 1 && !isRenewed) { isRenewed = true; await store.copy(target, target, { replace: { metadata: { touched: 'yes' } } }) }
      return page
    } })
    await walk()
    expect(isRenewed).toBe(true)
    expect((await store.head({ bucket: 'photos', key: 'k' })).metadata).toEqual({ touched: 'yes' })
    days(2)
    await walk()
    expect(await keysIn(store)).toEqual([])
  })

  test('of which one cannot go, for no marker more fits its row, go all the same (it ended the walk of its bucket, each time, and nothing behind it ever expired)', async () => {
    const { store, days, walk, world } = await worldOf({ versioning: 'enabled', lifecycle: [rule({ expireDays: 1 })] })
    for (let i = 0; i < 1001; i++) await put(store, 'a-full', 'x')
    await put(store, 'b')
    days(2)
    await walk()
    expect(await keysIn(store)).toEqual(['a-full'])
    expect(world.warnings).toEqual([expect.stringContaining('"a-full"')])
  })

  test('of a full row: old versions go, which makes room for the marker', async () => {
    const { store, days, walk } = await worldOf({ versioning: 'enabled', lifecycle: [rule({ expireDays: 1, noncurrentDays: 1 })] })
    for (let i = 0; i < 1001; i++) await put(store, 'full', 'x')
    days(2)
    await walk()
    await walk()
    expect(shown(await store.listVersions('photos'))).toEqual(['full marker', 'full 1'])
  })

  test('many of them go in small steps', async () => {
    const { store, days, walk } = await worldOf({ lifecycle: [rule({ expireDays: 1 })] })
    for (let i = 0; i < 3 * lifecycleLimits.keysAtOnce; i++) await put(store, `k${i}`, 'x')
    days(2)
    expect(await walk()).toBeGreaterThanOrEqual(5)
    expect(await keysIn(store)).toEqual([])
  })
})

describe('versions', () => {
  test('expire as many days after they were replaced, but for the newest so many; what is current gets a marker', async () => {
    const { store, days, walk } = await worldOf({ versioning: 'enabled', lifecycle: [rule({ expireDays: 10, noncurrentDays: 2, noncurrentKept: 1 })] })
    for (const text of ['a', 'ab', 'abc', 'abcd']) await put(store, 'k', text)
    days(1)
    await walk()
    expect(shown(await store.listVersions('photos'))).toHaveLength(4)
    days(1)
    await walk()
    expect(shown(await store.listVersions('photos'))).toEqual(['k 4', 'k 3'])
    days(8)
    await walk()
    expect(shown(await store.listVersions('photos'))).toEqual(['k marker', 'k 4', 'k 3'])
    await walk()
    expect(shown(await store.listVersions('photos'))).toEqual(['k marker', 'k 4'])
  })

  const target = { bucket: 'photos', key: 'k' }
  /** While a walk looks at them, before it changes anything. */
  const meanwhile = ({ parts: { registers } }: Awaited<ReturnType<typeof worldOf>>['world'], act: () => Promise<unknown>): void => {
    const change = registers.change.bind(registers)
    Object.assign(registers, { change: async (...args: Parameters<typeof change>) => {
      Object.assign(registers, { change })
      await act()
      return change(...args)
    } })
  }

  test('that were brought back and replaced once more while they are looked at have just been replaced, and stay', async () => {
    const { store, world, days, walk } = await worldOf({ versioning: 'enabled', lifecycle: [rule({ noncurrentDays: 2 })] })
    await put(store, 'k', 'brought back')
    const { versionId } = await store.remove(target)
    days(30)
    meanwhile(world, async () => { await store.remove(target, { versionId }); await put(store, 'k', 'new') })
    await walk()
    expect(shown(await store.listVersions('photos'))).toEqual(['k 3', 'k 12'])
    days(3)
    await walk()
    expect(shown(await store.listVersions('photos'))).toEqual(['k 3'])
  })

  test('that are among the newest so many by the time it comes to them stay', async () => {
    const { store, world, days, walk } = await worldOf({ versioning: 'enabled', lifecycle: [rule({ noncurrentDays: 2, noncurrentKept: 1 })] })
    await put(store, 'k', 'a')
    const { versionId } = await put(store, 'k', 'ab')
    await put(store, 'k', 'abc')
    days(30)
    meanwhile(world, async () => store.remove(target, { versionId }))
    await walk()
    expect(shown(await store.listVersions('photos'))).toEqual(['k 3', 'k 1'])
  })

  test('a delete marker goes when nothing is under it, and only then', async () => {
    const { store, days, walk } = await worldOf({ versioning: 'enabled', lifecycle: [rule({ noncurrentDays: 1, expireDeleteMarkers: true })] })
    await put(store, 'k')
    await store.remove({ bucket: 'photos', key: 'k' })
    await walk()
    expect(shown(await store.listVersions('photos'))).toEqual(['k marker', 'k 32'])
    days(2)
    await walk()
    expect(shown(await store.listVersions('photos'))).toEqual(['k marker'])
    await walk()
    expect(shown(await store.listVersions('photos'))).toEqual([])
    await store.removeBucket('photos')
  })

  test('that are locked stay, until both the majority\'s date and this node\'s clock are beyond it', async () => {
    const { store, time, days, walk } = await worldOf({ versioning: 'enabled', objectLock: {}, lifecycle: [rule({ noncurrentDays: 1 })] })
    await put(store, 'k', 'held', { isHeld: true })
    await put(store, 'k', 'retained', { retention: { mode: 'governance', untilMs: startMs + 5 * dayMs } })
    await put(store, 'k', 'x')
    days(3)
    await walk()
    time.ownMs += 3650 * dayMs
    await walk()
    expect(shown(await store.listVersions('photos'))).toEqual(['k 1', 'k 8', 'k 4'])
    days(3)
    await walk()
    expect(shown(await store.listVersions('photos'))).toEqual(['k 1', 'k 4'])
  })
})

describe('the walk', () => {
  test('is anew every hour, of one node, and of a bucket whose rules are taken away no further', async () => {
    let isMine = false
    const { store, time, days, step } = await worldOf({ lifecycle: [rule({ expireDays: 1 })] }, { isTurn: () => isMine })
    await put(store, 'k', 'x')
    days(2)
    expect(await step()).toBe('idle')
    isMine = true
    expect([await step(), await step()]).toEqual(['busy', 'busy'])
    await store.setBucketSettings('photos', { lifecycle: null })
    expect([await step(), await step()]).toEqual(['busy', 'idle'])
    expect(await keysIn(store)).toEqual(['k'])
    await store.setBucketSettings('photos', { lifecycle: [rule({ expireDays: 1 })] })
    expect(await step()).toBe('idle')
    time.monotonicMs += lifecycleLimits.everyMs
    expect([await step(), await step(), await step(), await step()]).toEqual(['busy', 'busy', 'busy', 'idle'])
    expect(await keysIn(store)).toEqual([])
  })

  test('gives up uploads that were begun long ago', async () => {
    const { aborted, days, walk } = await worldOf({ lifecycle: [rule({ prefix: 'logs/', abortUploadsDays: 3 })] })
    await walk()
    expect(aborted).toEqual([])
    days(3)
    await walk()
    expect(aborted).toEqual(['old'])
  })
})

describe('rules', () => {
  test('reckon days as S3 does: to the end of the day in which the age is reached', () => {
    expect(dueMs(startMs, 1)).toBe(startMs + dayMs)
    expect(dueMs(startMs + 1, 1)).toBe(startMs + 2 * dayMs)
  })

  test('say nothing of nothing', () => {
    expect(expiriesOf([], [rule({ expireDays: 1 })], 1e15)).toEqual([])
    expect(isUploadDue({ key: 'k', initiated: new Date(0).toISOString() }, [rule({ expireDays: 1 })], 1e15)).toBe(false)
  })
})

test('a version that is lost, as after the loss of a majority, keeps no other from expiring (nothing of its bucket did)', async () => {
  const { store, world, days, walk } = await worldOf({ lifecycle: [rule({ expireDays: 1, noncurrentDays: 1 })] })
  await put(store, 'a', 'the null version')
  await store.setBucketSettings('photos', { versioning: 'enabled' })
  for (const key of ['a', 'b', 'b']) await put(store, key)
  const lost = world.registers.valuesOf(tables.versions).map(decodeVersionRow).find(({ key }) => key === 'a') as VersionRow
  world.registers.erase(versionAddress({ bucketId: hexOf(lost.bucketId), key: 'a' }, lost.version))
  await store.setBucketSettings('photos', { versioning: 'suspended' })
  days(3)
  await walk()
  // what would take the place of the lost one, which may be locked, stays
  expect(await keysIn(store)).toEqual(['a'])
  expect(shown(await store.listVersions('photos'))).toEqual(['a 32', 'b marker', 'b 32'])
  days(3)
  await walk()
  expect(shown(await store.listVersions('photos'))).toEqual(['a 32', 'b marker'])
})
