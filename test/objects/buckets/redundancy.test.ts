import { describe, expect, test } from 'vitest'
import { utf8 } from '../../../src/base/bytes.ts'
import { InvalidInput, NotFound, Refused } from '../../../src/base/errors.ts'
import { objectStore } from '../../../src/objects/index.ts'
import { chosenRedundancy, redundancyOf, suggestionFor } from '../../../src/objects/buckets/redundancy.ts'
import { objectWorld } from '../../support/object-parts.ts'

async function * bytesOf (text: string): AsyncIterable<Uint8Array> { yield utf8(text) }
const [large, small] = ['thirty-two bytes or more than that', 'less than thirty-two']

async function worldOf (places: number) {
  const world = objectWorld()
  world.places = places
  return { world, store: objectStore(world.parts) }
}

async function get (store: ReturnType<typeof objectStore>, key: string): Promise<string> {
  const pieces = []
  for await (const piece of (await store.get({ bucket: 'photos', key })).body) pieces.push(piece)
  return Buffer.concat(pieces).toString()
}

test('a bucket says when what is put is acknowledged, of objects and of parts', async () => {
  const { world } = await worldOf(3)
  const asked: unknown[] = []
  const store = objectStore({ ...world.parts, replication: { ...world.parts.replication, writer: (reference, options) => { asked.push(options); return world.parts.replication.writer(reference, options) } } })
  const put = async (): Promise<unknown[]> => {
    asked.length = 0
    await store.put({ bucket: 'photos', key: 'k' }, bytesOf(large))
    const { uploadId } = await store.uploads.create({ bucket: 'photos', key: 'parts' })
    await store.uploads.putPart({ bucket: 'photos', key: 'parts' }, uploadId, 1, bytesOf(large))
    return asked
  }
  await store.createBucket('photos', { degraded: 'allow' })
  expect(await put()).toEqual(Array.from({ length: 4 }, () => ({ isDegradedAllowed: true, isAllNeeded: false })))
  await store.setBucketSettings('photos', { ack: 'all' })
  expect(await put()).toEqual(Array.from({ length: 4 }, () => ({ isDegradedAllowed: true, isAllNeeded: true })))
  await store.setBucketSettings('photos', { ack: null })
  expect(await put()).toEqual(Array.from({ length: 4 }, () => ({ isDegradedAllowed: true, isAllNeeded: false })))
  await expect(store.setBucketSettings('photos', { ack: 'some' as 'all' })).rejects.toThrow('ack takes all, not "some"')
})

describe('a bucket of shards', () => {
  test('puts large objects in shards and small ones in as many copies as survive the same', async () => {
    const { world, store } = await worldOf(6)
    expect(await store.createBucket('photos', { shards: '4+2' })).toMatchObject({ copies: 3, shards: '4+2' })
    await store.put({ bucket: 'photos', key: 'large' }, bytesOf(large))
    expect(new Set([...world.put.values()].map((redundancy) => JSON.stringify(redundancy)))).toEqual(new Set(['{"k":4,"m":2}']))
    world.put.clear()
    await store.put({ bucket: 'photos', key: 'small' }, bytesOf(small))
    expect(new Set([...world.put.values()].map((redundancy) => JSON.stringify(redundancy)))).toEqual(new Set(['{"k":1,"m":2}']))
    expect(world.rowOf('large')?.current?.redundancy).toEqual({ k: 4, m: 2 })
    expect(world.rowOf('small')?.current?.redundancy).toBeUndefined()
  })

  test('is read as it was written, whatever the bucket says by then', async () => {
    const { world, store } = await worldOf(8)
    await store.createBucket('photos')
    await store.put({ bucket: 'photos', key: 'copies' }, bytesOf(large))
    expect(await store.setRedundancy('photos', { shards: '4+2' })).toMatchObject({ copies: 3, shards: '4+2' })
    await store.put({ bucket: 'photos', key: 'shards' }, bytesOf(`${large} and something else`))
    expect(await store.setRedundancy('photos', { shards: '2+1' })).toMatchObject({ copies: 2, shards: '2+1' })
    const lookedFor = async (key: string, text: string) => {
      world.lookedFor.clear()
      expect(await get(store, key)).toBe(text)
      return [...world.lookedFor.values()][0]
    }
    expect(await lookedFor('copies', large)).toEqual({ k: 1, m: 2 })
    expect(await lookedFor('shards', `${large} and something else`)).toEqual({ k: 4, m: 2 })
    const back = await store.setRedundancy('photos', { copies: 2 })
    expect(back).toMatchObject({ copies: 2 })
    expect(back.shards).toBeUndefined()
    expect((await store.bucket('photos')).shards).toBeUndefined()
  })

  test('is refused where its shards would not be on as many nodes, with the reason; so is a change to it', async () => {
    const { store } = await worldOf(5)
    await expect(store.createBucket('photos', { shards: '4+2' })).rejects.toThrow('rs:4+2 puts 6 shards on as many nodes, and 5 nodes hold blocks; add nodes, or choose rs:2+2 (any two nodes may be lost, 2 bytes for each) or rf:3 (two, 3 bytes)')
    await expect(store.bucket('photos')).rejects.toThrow(NotFound)
    await store.createBucket('photos', { shards: '3+2' })
    await expect(store.setRedundancy('photos', { shards: '4+2' })).rejects.toThrow(Refused)
    expect((await store.bucket('photos')).shards).toBe('3+2')
    await expect(store.setRedundancy('music', { copies: 3 })).rejects.toThrow(NotFound)
  })

  test.each(['', '4', '4+', '1+2', '0+2', '4+0', '6+3', '04+2', '4+2+1', '-4+2', '4.0+2', '99+99', 'x'.repeat(100)])('of "%.20s" shards is none', async (shards) => {
    const { store } = await worldOf(8)
    await expect(store.createBucket('photos', { shards })).rejects.toThrow(InvalidInput)
  })

  test('has one way, not two', async () => {
    const { store } = await worldOf(8)
    await expect(store.createBucket('photos', { shards: '4+2', copies: 2 })).rejects.toThrow('not given together')
    for (const copies of [0, 4, 1.5]) await expect(store.createBucket('photos', { copies })).rejects.toThrow(InvalidInput)
  })
})

describe('a suggestion', () => {
  test.each([0, 1, 2, 3, 4, 5, 6, 7, 8, 20])('for %d nodes is one that is taken', (places) => {
    const each = [...suggestionFor(places).matchAll(/r[sf]:\d(?:\+\d)?/g)].map(([text]) => text)
    expect(each.length).toBeGreaterThan(0)
    for (const text of each) {
      const shards = text.startsWith('rs:') ? text.slice(3) : undefined
      const { copies } = chosenRedundancy(shards === undefined ? { copies: Number(text.slice(3)) } : { shards })
      const { large } = redundancyOf({ copies, ...(shards === undefined ? {} : { shards }) })
      expect(large.k + large.m).toBeLessThanOrEqual(Math.max(1, places))
    }
  })
})
