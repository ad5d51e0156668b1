import { expect, test } from 'vitest'
import { fromHex, utf8 } from '../../../src/base/bytes.ts'
import { Unavailable, UnknownOutcome } from '../../../src/base/errors.ts'
import { objectStore, sweepingRemoved } from '../../../src/objects/index.ts'
import { type Registers, tables } from '../../../src/tables/index.ts'
import { type ObjectWorld, objectWorld } from '../../support/object-parts.ts'

const target = { bucket: 'photos', key: 'k' }
const bytesOf = async function * (...texts: readonly string[]): AsyncIterable<Uint8Array> { for (const text of texts) yield utf8(text) }
const aSecondUpload = ['more than', ' eight bytes']

/** A put that commits when its bucket has gone, and dies before it can look. Gives the id of the bucket. */
async function putTooLate (world: ObjectWorld, { settings = {} } = {}): Promise<string> {
  const store = objectStore(world.parts)
  const { id } = await store.createBucket('photos', { settings })
  const { registers } = world.parts
  let isDead = false
  const dying: Registers = {
    ...registers,
    read: async (...of) => { if (isDead) throw new Unavailable('dead'); return registers.read(...of) },
    change: async (address, ...more) => {
      if (isDead) throw new Unavailable('dead')
      const outcome = await registers.change(address, ...more)
      isDead = address.table === tables.objects && world.rowOf('k')?.current !== undefined
      return outcome
    },
  }
  const slow = async function * (): AsyncIterable<Uint8Array> {
    yield * bytesOf(...aSecondUpload)
    await store.removeBucket('photos')
  }
  await expect(objectStore({ ...world.parts, registers: dying }).put(target, slow())).rejects.toThrow(UnknownOutcome)
  return id
}

async function sweep (world: ObjectWorld, ...ids: readonly string[]): Promise<void> {
  const sweeping = sweepingRemoved({ ...world.parts, scopes: async () => ids.map(fromHex) })
  sweeping.begin()
  const { signal } = new AbortController()
  while (await sweeping.step({ signal }) === 'busy');
}

test.each([['versions are kept', { versioning: 'enabled' as const }], ['none are', {}]])('what a put left in a bucket that was removed under it goes, and its blocks with it, if %s', async (_, settings) => {
  const world = objectWorld()
  const id = await putTooLate(world, { settings })
  const { id: again } = await objectStore(world.parts).createBucket('photos')
  expect(world.rowOf('k')?.current).toBeDefined()
  await sweep(world, again, id)
  // all that it owes is the death of the version
  expect(world.rowOf('k')).toMatchObject({ current: undefined, pending: [], dropped: [expect.anything()] })
  expect(world.warnings).toEqual([])
})

test('a bucket that is there keeps what it has, though a removal found it empty once', async () => {
  const world = objectWorld()
  const store = objectStore(world.parts)
  const { id } = await store.createBucket('photos')
  const { registers } = world.parts
  const found = Promise.withResolvers<void>()
  const slow = async function * (): AsyncIterable<Uint8Array> { await found.promise; yield utf8('abc') }
  const put = store.put(target, slow())
  // the removal dies when all but the erasure is done
  const dying: Registers = { ...registers, change: async (address, change, options) => registers.change(address, (value, revision) => {
    const decided = change(value, revision)
    if (decided.kind === 'erase' && address.table === tables.buckets) throw new Unavailable('dead')
    return decided
  }, options) }
  await expect(objectStore({ ...world.parts, registers: dying }).removeBucket('photos')).rejects.toThrow('dead')
  expect(world.registers.valuesOf(tables.buckets)).toHaveLength(2)
  found.resolve()
  await put
  await sweep(world, id)
  expect(world.rowOf('k')?.current).toBeDefined()
})

test('a bucket whose row is missing, and that nobody has removed, keeps what it has', async () => {
  const world = objectWorld()
  const store = objectStore(world.parts)
  const { id } = await store.createBucket('photos')
  await store.put(target, bytesOf('abc'))
  await world.parts.registers.change({ table: tables.buckets, scope: new Uint8Array(16), key: utf8('photos') }, () => ({ kind: 'erase', result: undefined }))
  await sweep(world, id)
  expect(world.rowOf('k')?.current).toBeDefined()
})
