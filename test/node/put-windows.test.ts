import { expect, test } from 'vitest'
import { hexOf } from '../../src/base/bytes.ts'
import type { Clock } from '../../src/base/clock.ts'
import { InvalidInput, Unavailable } from '../../src/base/errors.ts'
import { PutWindows, putWindowLimits, windowBytesOf } from '../../src/node/put-windows.ts'
import { defaultBucketOptions } from '../../src/objects/buckets/bucket-row.ts'
import { TooManyPuts } from '../../src/objects/index.ts'
import { s3ErrorOf } from '../../src/api/s3/errors.ts'
import { bucketId } from '../support/file-world.ts'

const bucket = { ...defaultBucketOptions, name: 'photos', id: hexOf(bucketId), created: '', state: 'active' } as const
const largeBytes = windowBytesOf({ bucket })

/** Time that passes when it is told to. */
function handClock (): Pick<Clock, 'after' | 'monotonicMs'> & { pass: (ms: number) => Promise<void> } {
  const timers = new Set<{ readonly atMs: number, readonly action: () => void }>()
  let nowMs = 0
  return {
    monotonicMs: () => nowMs,
    after (durationMs, action) {
      const timer = { atMs: nowMs + durationMs, action }
      timers.add(timer)
      return () => { timers.delete(timer) }
    },
    async pass (ms) {
      nowMs += ms
      for (const timer of [...timers].filter(({ atMs }) => atMs <= nowMs)) { timers.delete(timer); timer.action() }
      await settled()
    },
  }
}

/** What can go on without time has. */
const settled = async (): Promise<void> => { for (let i = 0; i < 50; i++) await Promise.resolve() }

/** A client that sends when it is told to. */
function client (windows: PutWindows, { sizeBytes, askedBy, signal }: { sizeBytes?: number, askedBy?: string, signal?: AbortSignal } = {}) {
  const pieces: Uint8Array[] = []
  let [isRead, isOver, wake] = [false, false, (): void => {}]
  const source = (async function * () {
    isRead = true
    for (;;) {
      for (let piece = pieces.shift(); piece !== undefined; piece = pieces.shift()) yield piece
      if (isOver) return
      await new Promise<void>((resolve) => { wake = resolve })
    }
  })()
  const put = windows.within(source, { bucket, sizeBytes, askedBy, signal }, async (given) => {
    let storedBytes = 0
    for await (const piece of given) storedBytes += piece.byteLength
    return storedBytes
  })
  put.catch(() => { /* looked at by the test */ })
  return {
    put,
    get isRead () { return isRead },
    async send (bytes: number) { pieces.push(new Uint8Array(bytes)); wake(); await settled() },
    async end () { isOver = true; wake(); await settled() },
  }
}

test('what all puts hold has a bound: no byte of one more is read until another ends', async () => {
  const windows = new PutWindows({ bytes: 2 * largeBytes, clock: handClock() })
  const [first, second, third] = [client(windows), client(windows), client(windows)]
  await settled()
  expect([first.isRead, second.isRead, third.isRead]).toEqual([true, true, false])
  await first.send(100)
  await first.end()
  expect(await first.put).toBe(100)
  await settled()
  expect(third.isRead).toBe(true)
})

test('one that waits too long is told to come again, and its body was not read; S3 clients know how', async () => {
  const clock = handClock()
  const windows = new PutWindows({ bytes: largeBytes, clock })
  const [first, second] = [client(windows), client(windows)]
  for (let ms = 0; ms < putWindowLimits.waitMs; ms += 1000) { await first.send(64 * 1024); await clock.pass(1000) }
  await expect(second.put).rejects.toThrow(TooManyPuts)
  await expect(second.put).rejects.toThrow(/no memory for one more within 30 s; nothing was stored: try again/)
  expect(second.isRead).toBe(false)
  const error: unknown = await second.put.catch((reason: unknown) => reason)
  expect(error).toBeInstanceOf(Unavailable)
  expect(s3ErrorOf(error)).toMatchObject({ code: 'SlowDown', status: 503 })
  await first.end()
  expect(await first.put).toBe(30 * 64 * 1024)
})

test('a client that stands still loses its window to one that waits, one that is slow does not; alone it keeps it', async () => {
  const clock = handClock()
  const windows = new PutWindows({ bytes: 2 * largeBytes, clock })
  const [still, slow] = [client(windows), client(windows)]
  await still.send(1_000_000)
  for (let i = 0; i < 100; i++) { await slow.send(4096); await clock.pass(1000) }
  const third = client(windows)
  await settled()
  expect(third.isRead).toBe(false)
  for (let i = 0; i < putWindowLimits.slowMs / 1000; i++) { await slow.send(4096); await clock.pass(1000) }
  await expect(still.put).rejects.toThrow(/stood still \(0 bytes in 10 s\) while others waited/)
  expect(third.isRead).toBe(true)
  for (const other of [slow, third]) { await other.end(); await other.put }
  expect(await slow.put).toBe(110 * 4096)
})

test('whoever drips bytes has no more right to a window than whoever sends none', async () => {
  const clock = handClock()
  const windows = new PutWindows({ bytes: largeBytes, clock })
  const [dripping, next] = [client(windows), client(windows)]
  for (let i = 0; i < 10; i++) { await dripping.send(1); await clock.pass(1000) }
  await expect(dripping.put).rejects.toThrow(TooManyPuts)
  expect(next.isRead).toBe(true)
})

test('a client that goes while it waits is not waited for, and takes nothing', async () => {
  const windows = new PutWindows({ bytes: largeBytes, clock: handClock() })
  const gone = new AbortController()
  const [first, second, third] = [client(windows), client(windows, { signal: gone.signal }), client(windows)]
  gone.abort(new Error('the client went away'))
  await expect(second.put).rejects.toThrow('went away')
  await first.end()
  await settled()
  expect([second.isRead, third.isRead]).toEqual([false, true])
})

test('small puts take what they announced and no more of them is taken; one that stands in its row takes nothing', async () => {
  const windows = new PutWindows({ bytes: largeBytes, clock: handClock() })
  const large = client(windows)
  const inline = client(windows, { sizeBytes: 100 })
  await settled()
  expect([large.isRead, inline.isRead]).toEqual([true, true])
  await large.end()
  const small = Array.from({ length: 10 }, () => client(windows, { sizeBytes: 100_000 }))
  await settled()
  expect(small.every(({ isRead }) => isRead)).toBe(true)
  await small[0]?.send(100_001)
  await expect(small[0]?.put).rejects.toThrow(InvalidInput)
  await inline.send(101)
  await expect(inline.put).rejects.toThrow('100 bytes were announced, 101 came')
})

test('one access key cannot keep another out, however many puts it has under way; those that are too many for it are told so', async () => {
  const clock = handClock()
  const windows = new PutWindows({ bytes: 8 * largeBytes, clock })
  const greedy = Array.from({ length: 20 }, () => client(windows, { askedBy: 'DFSGREEDY' }))
  await settled()
  expect(greedy.filter(({ isRead }) => isRead)).toHaveLength(6)
  const other = client(windows, { askedBy: 'DFSOTHER' })
  await settled()
  expect(other.isRead).toBe(true)
  for (let ms = 0; ms < putWindowLimits.waitMs; ms += 1000) {
    for (const one of greedy) if (one.isRead) await one.send(64 * 1024)
    await clock.pass(1000)
  }
  await expect(greedy[19]?.put).rejects.toThrow(/so many puts of this access key are under way/)
  await other.send(10)
  await other.end()
  expect(await other.put).toBe(10)
})

test('of a key that waits for its own share the puts that stand still end, and nobody else\'s', async () => {
  const clock = handClock()
  const windows = new PutWindows({ bytes: 8 * largeBytes, clock })
  const others = client(windows, { askedBy: 'DFSOTHER' })
  const mine = Array.from({ length: 12 }, () => client(windows, { askedBy: 'DFSMINE' }))
  await settled()
  const served = mine.filter(({ isRead }) => isRead).length
  expect(served).toBeLessThan(7)
  for (let i = 0; i < putWindowLimits.slowMs / 1000; i++) await clock.pass(1000)
  await settled()
  expect(mine.filter(({ isRead }) => isRead).length).toBeGreaterThan(served)
  await expect(mine[0]?.put).rejects.toThrow('stood still')
  await others.send(5)
  await others.end()
  expect(await others.put).toBe(5)
})
