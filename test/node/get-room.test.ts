import { afterEach, beforeAll, describe, expect, test } from 'vitest'
import { concat, equals, hexOf } from '../../src/base/bytes.ts'
import type { Cid } from '../../src/base/cid.ts'
import { type Clock, systemClock } from '../../src/base/clock.ts'
import { seededRandom } from '../../src/base/random.ts'
import { fixedChunkBytes, type ReadRoom, readLimits } from '../../src/file/index.ts'
import { contentCodec } from '../../src/node/content.ts'
import { getRoom } from '../../src/node/get-room.ts'
import { PutWindows } from '../../src/node/put-windows.ts'
import { defaultBucketOptions } from '../../src/objects/buckets/bucket-row.ts'
import { bucketId, noiseBytes, testKeys } from '../support/file-world.ts'

const mib = 1024 ** 2
const bucket = { ...defaultBucketOptions, chunking: 'fixed', compression: 'off', name: 'photos', id: hexOf(bucketId), created: '', state: 'active' } as const
const roomBytes = 16 * mib
const plain = noiseBytes(3 * mib + 12_345, 1)
const blocks = new Map<Cid, Uint8Array>()
let content: Uint8Array
beforeAll(async () => {
  const codec = contentCodec(testKeys, seededRandom(1), systemClock, new PutWindows({ bytes: 1024 ** 3, clock: systemClock }))
  ;({ content } = await codec.write((async function * () { yield plain })(), { bucket, put: async (cid, block) => { blocks.set(cid, block.slice()) } }))
})

/** Timers go off when they are told to. */
function handClock (): Pick<Clock, 'after' | 'monotonicMs'> & { pass: () => void } {
  const timers = new Set<() => void>()
  return {
    monotonicMs: () => 0,
    after (_, action) { const timer = (): void => { timers.delete(timer); action() }; timers.add(timer); return () => { timers.delete(timer) } },
    pass () { for (const timer of timers) timer() },
  }
}

/** A node's readers, of whom it is known what they hold together, now and at the most. */
function readers () {
  const clock = handClock()
  const room = getRoom(roomBytes)
  const held = { bytes: 0, most: 0, fetches: 0 }
  const counted: ReadRoom = {
    get isTight () { return room.isTight },
    async claim (bytes, wait) {
      const claim = await room.claim(bytes, wait)
      held.bytes += bytes
      held.most = Math.max(held.most, held.bytes)
      let isHeld = true
      return { [Symbol.dispose] () { if (isHeld) held.bytes -= bytes; isHeld = false; claim[Symbol.dispose]() } }
    },
  }
  const codec = contentCodec(testKeys, seededRandom(1), clock, new PutWindows({ bytes: 1024 ** 3, clock }), counted)
  const open = (range = { first: 0, end: plain.byteLength }, signal?: AbortSignal): AsyncIterator<Uint8Array> =>
    codec.read(content, { bucket, range, signal, get: async (cid) => { held.fetches++; return (blocks.get(cid) as Uint8Array).slice() } })[Symbol.asyncIterator]()
  return { clock, held, open }
}

async function rest (reading: AsyncIterator<Uint8Array>, begun: readonly Uint8Array[] = []): Promise<Uint8Array> {
  const pieces = [...begun]
  for (let next = await reading.next(); next.done !== true; next = await reading.next()) pieces.push(next.value)
  return concat(pieces)
}

const open: Array<AsyncIterator<Uint8Array>> = []
afterEach(async () => { for (const reading of open.splice(0)) await reading.return?.() })

describe('all readers together hold no more than there is,', () => {
  /** 200 that take a piece and stand still. */
  async function stuck (world: ReturnType<typeof readers>): Promise<Uint8Array[]> {
    const firsts: Uint8Array[] = []
    for (let i = 0; i < 200; i++) {
      const reading = world.open()
      open.push(reading)
      // those before it have been waited for
      world.clock.pass()
      firsts.push((await reading.next()).value as Uint8Array)
    }
    world.clock.pass()
    return firsts
  }

  test('however many stand still: a few keep a chunk, the others a slice', async () => {
    const world = readers()
    const firsts = await stuck(world)
    expect(world.held.most).toBeLessThanOrEqual(roomBytes)
    expect(world.held.bytes).toBeLessThanOrEqual(roomBytes / 2 + fixedChunkBytes)
    const whole = firsts.filter(({ byteLength }) => byteLength === fixedChunkBytes)
    expect(whole.length).toBeLessThanOrEqual(roomBytes / 2 / fixedChunkBytes)
    // a slice holds nothing of the chunk that it comes from
    for (const first of firsts) if (!whole.includes(first)) expect(first.buffer.byteLength).toBe(readLimits.sliceBytes)
  })

  test('and others are served meanwhile, and they themselves when they go on, with the right bytes', async () => {
    const world = readers()
    const firsts = await stuck(world)
    expect(equals(await rest(world.open()), plain)).toBe(true)
    for (const [i, reading] of open.entries()) {
      if (i >= 20 && i < 180) continue
      expect(equals(await rest(reading, [firsts[i] as Uint8Array]), plain), `reader ${i}`).toBe(true)
      world.clock.pass()
    }
    expect(world.held.most).toBeLessThanOrEqual(roomBytes)
  })

  test('also of those that take each slice late, whose chunk is fetched again for each', async () => {
    const world = readers()
    await stuck(world)
    const before = world.held.fetches
    const late = world.open({ first: 100, end: 2 * mib + 5 })
    const pieces: Uint8Array[] = []
    for (let next = await late.next(); next.done !== true; next = await late.next()) { pieces.push(next.value); world.clock.pass() }
    expect(equals(concat(pieces), plain.subarray(100, 2 * mib + 5))).toBe(true)
    expect(world.held.fetches - before).toBe(pieces.length)
  })

  test('and one that is taken away while it waits for its turn takes nothing', async () => {
    const world = readers()
    // whose turns are not over
    for (let i = 0; i < 40; i++) {
      const reading = world.open()
      open.push(reading)
      if (world.held.bytes + fixedChunkBytes <= roomBytes) await reading.next()
    }
    const gone = new AbortController()
    const waiting = world.open(undefined, gone.signal).next()
    gone.abort(new Error('the client went away'))
    await expect(waiting).rejects.toThrow('went away')
    const held = world.held.bytes
    for (const reading of open.splice(0)) await reading.return?.()
    expect(held).toBeGreaterThan(roomBytes / 2)
    expect(world.held.bytes).toBe(0)
    expect(equals(await rest(world.open()), plain)).toBe(true)
  })

  test('while there is room a reader is given whole chunks, and they are fetched ahead', async () => {
    const world = readers()
    const reading = world.open()
    open.push(reading)
    expect((await reading.next()).value).toHaveLength(fixedChunkBytes)
    expect((await reading.next()).value).toHaveLength(fixedChunkBytes)
    expect(world.held.fetches).toBe(3)
  })
})
