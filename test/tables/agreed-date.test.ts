import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Unavailable } from '../../src/base/errors.ts'
import { hash } from '../../src/base/hash.ts'
import { type PeerId, peerIdOf } from '../../src/base/peer-id.ts'
import { AgreedDate, agreedDateLimits, pastDate, presentDate } from '../../src/tables/agreed-date.ts'
import { majorityOf } from '../../src/tables/electorate.ts'
import { VirtualTime } from '../simulation/virtual-time.ts'

const [a, b, c, d, e] = Array.from({ length: 5 }, (_, i) => peerIdOf(hash(Uint8Array.of(i)))) as [PeerId, PeerId, PeerId, PeerId, PeerId]
const dayMs = 86_400_000
const todayMs = 20_000 * dayMs

describe('a date that deletes', () => {
  const three = { version: 1n, groups: [[a, b, c]] }

  test.each<[string, Array<[PeerId, number]>, number | undefined]>([
    ['all agree', [[a, 7], [b, 7], [c, 7]], 7],
    ['one is ten years ahead', [[a, 7], [b, 8], [c, 9999]], 8],
    ['one is far behind', [[a, 0], [b, 8], [c, 9]], 8],
    ['one is ahead and one does not answer', [[a, 7], [c, 9999]], 7],
    ['two do not answer', [[c, 9999]], undefined],
  ])('is past when a majority is beyond it: %s', (_, clocks, expected) => { expect(pastDate(three, new Map(clocks))).toBe(expected) })

  test('needs both majorities while the layout changes, and voters', () => {
    const changing = { version: 2n, groups: [[a, b, c], [c, d, e]] }
    expect(pastDate(changing, new Map([[a, 9], [b, 9], [c, 9], [d, 3], [e, 4]]))).toBe(4)
    expect(pastDate(changing, new Map([[a, 9], [b, 9], [c, 9]]))).toBeUndefined()
    expect(pastDate({ version: 1n, groups: [] }, new Map([[a, 9]]))).toBeUndefined()
  })

  // at the writing, and now: what every clock said then, and how far each has come since; the date that is written, and whether it is beyond an age
  test('ages nothing more than some voter has counted, whoever is wrong and whoever is away', () => {
    const clock = fc.record({ began: fc.constantFrom(0, 50, 100), since: fc.integer({ min: 0, max: 10 }), toldThen: fc.boolean(), tellsNow: fc.boolean() })
    fc.assert(fc.property(fc.array(clock, { minLength: 1, maxLength: 5 }), fc.integer({ min: 1, max: 40 }), (clocks, age) => {
      const voters = [a, b, c, d, e].slice(0, clocks.length)
      const electorate = { version: 1n, groups: [voters] }
      const written = presentDate(electorate, new Map(clocks.flatMap(({ began, toldThen }, i) => toldThen ? [[voters[i] as PeerId, began] as const] : [])))
      const past = pastDate(electorate, new Map(clocks.flatMap(({ began, since, tellsNow }, i) => tellsNow ? [[voters[i] as PeerId, began + since] as const] : [])))
      if (written === undefined || past === undefined || past < written + age) return
      expect(clocks.some(({ since }) => since >= age)).toBe(true)
    }), { numRuns: 5000 })
  })

  test('is today where a majority says so, whatever the others say', () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 5 }), fc.array(fc.integer({ min: 0, max: 1e15 }), { maxLength: 2 }), (count, wrong) => {
      const voters = [a, b, c, d, e].slice(0, count)
      const clocks = new Map(voters.map((peer, i) => [peer, i < wrong.length && wrong.length < majorityOf(count) && count - wrong.length >= majorityOf(count) ? wrong[i] as number : todayMs]))
      expect(pastDate({ version: 1n, groups: [voters] }, clocks)).toBe(todayMs)
      expect(presentDate({ version: 1n, groups: [voters] }, clocks)).toBe(todayMs)
    }))
  })
})

describe('voters asked for the date', () => {
  function world (clocks: Map<PeerId, number | 'silent' | 'gone'>, tookMs = 0) {
    const time = new VirtualTime()
    const clock = { ...time.clock(), wallMs: () => 42 }
    let asked = 0
    const date = new AgreedDate({
      clock,
      voters: { electorate: () => ({ version: 1n, groups: [[a, b, c]] }) },
      ask: async (peer, _question, { signal }) => {
        asked++
        const said = clocks.get(peer)
        if (said === 'silent') await new Promise((_, reject) => { signal?.addEventListener('abort', () => { reject(signal.reason as Error) }) })
        if (tookMs > 0) await clock.sleep(tookMs, { signal })
        if (typeof said !== 'number') throw new Error('cannot be reached')
        return { kind: 'clock', wallMs: said + time.nowMs }
      },
    })
    const until = async <T>(work: Promise<T>): Promise<T> => {
      let isOver = false
      work.then(() => { isOver = true }, () => { isOver = true })
      await time.run(() => isOver)
      return work
    }
    return { date, time, clock, until, asked: () => asked, clocks }
  }

  test('decide by majority, and one that is silent holds nobody up for long', async () => {
    const { date, time, until } = world(new Map<PeerId, number | 'silent' | 'gone'>([[a, 5000], [b, 9000], [c, 'silent']]))
    expect(await until(date.past())).toBe(5000 + time.nowMs - agreedDateLimits.askMs)
    expect(time.nowMs).toBe(agreedDateLimits.askMs)
    const alone = world(new Map<PeerId, number | 'silent' | 'gone'>([[a, 5000], [b, 'gone'], [c, 'silent']]))
    await expect(alone.until(alone.date.past())).rejects.toThrow(Unavailable)
  })

  test('are asked once for the dates of many writes, and again later, behind them', async () => {
    const { date, clock, until, asked, clocks } = world(new Map<PeerId, number | 'silent' | 'gone'>([[a, 5000], [b, 5010], [c, 9e12]]))
    expect(await until(Promise.all([date.present(), date.present()]))).toEqual([5010, 5010])
    expect(asked()).toBe(3)
    await until(clock.sleep(agreedDateLimits.rememberedMs + 1))
    clocks.set(a, 'silent')
    expect(await date.present()).toBe(5010 + agreedDateLimits.rememberedMs + 1)
    expect(asked()).toBe(6)
  })

  test('tell the date of what is written, or nothing is: this clock alone would have it ten years old', async () => {
    const { date, time, until, clocks } = world(new Map<PeerId, number | 'silent' | 'gone'>([[a, 5000], [b, 'gone'], [c, 'gone']]))
    await expect(until(date.present())).rejects.toThrow(Unavailable)
    clocks.set(b, 5010)
    expect(await until(date.present())).toBe(5010 + time.nowMs)
  })

  test('that are silent at first are asked again', async () => {
    const { date, time, until, clocks } = world(new Map<PeerId, number | 'silent' | 'gone'>([[a, 5000], [b, 'silent'], [c, 'silent']]))
    time.after(agreedDateLimits.askMs + 1, () => { clocks.set(b, 5010) })
    expect(await until(date.present())).toBeGreaterThan(5010)
  })

  test('that cannot be reached yet are asked again for as long as a row is tried for (all times were over at once, and so was the put)', async () => {
    const { date, time, until, clocks } = world(new Map<PeerId, number | 'silent' | 'gone'>([[a, 5000], [b, 'gone'], [c, 'gone']]))
    time.after(agreedDateLimits.presentMs - 500, () => { clocks.set(b, 5010) })
    expect(await until(date.present())).toBeGreaterThan(5010)
    const cut = world(new Map<PeerId, number | 'silent' | 'gone'>([[a, 5000], [b, 'gone'], [c, 'silent']]))
    await expect(cut.until(cut.date.present())).rejects.toThrow(Unavailable)
    expect(cut.time.nowMs).toBeGreaterThan(agreedDateLimits.presentMs - agreedDateLimits.mostAskMs)
    expect(cut.time.nowMs).toBeLessThan(agreedDateLimits.presentMs + agreedDateLimits.mostAskMs)
  })

  test('are waited for by nobody who has given up, and by the others on', async () => {
    const { date, time, until, clocks } = world(new Map<PeerId, number | 'silent' | 'gone'>([[a, 5000], [b, 'silent'], [c, 'silent']]))
    const gone = new AbortController()
    time.after(agreedDateLimits.askMs / 2, () => { gone.abort(new Error('the client went away')) })
    time.after(agreedDateLimits.askMs + 1, () => { clocks.set(b, 5010) })
    const other = date.present()
    let endedMs: number | undefined
    const given = date.present({ signal: gone.signal }).finally(() => { endedMs = time.nowMs })
    given.catch(() => { /* looked at below */ })
    expect(await until(other)).toBeGreaterThan(5010)
    await expect(given).rejects.toThrow('went away')
    expect(endedMs).toBe(agreedDateLimits.askMs / 2)
    // in the pause between two times as well
    const paused = world(new Map<PeerId, number | 'silent' | 'gone'>([[a, 5000], [b, 'gone'], [c, 'gone']]))
    const later = new AbortController()
    paused.time.after(agreedDateLimits.pauseMs / 2, () => { later.abort(new Error('the client went away')) })
    await expect(paused.until(paused.date.present({ signal: later.signal }))).rejects.toThrow('went away')
    expect(paused.time.nowMs).toBe(agreedDateLimits.pauseMs / 2)
    await expect(date.present({ signal: gone.signal })).resolves.toBeGreaterThan(5010)
  })

  test('that are slow, though not too slow for a row, tell it all the same (each was given half a second, however often it was asked)', async () => {
    const { date, clock, until } = world(new Map<PeerId, number | 'silent' | 'gone'>([[a, 5000], [b, 5010], [c, 'gone']]), 1500)
    expect(await until(date.present())).toBeGreaterThanOrEqual(5010)
    expect(clock.monotonicMs()).toBeLessThan(5000)
  })
})
