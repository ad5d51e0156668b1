import { describe, expect, test } from 'vitest'
import { NotFound, Refused } from '../../../src/base/errors.ts'
import { type BackgroundTask, runInBackground } from '../../../src/node/work/background.ts'
import { UserActivity, userLimits } from '../../../src/node/work/user-activity.ts'
import { workShareLimits } from '../../../src/node/work/work-share.ts'
import { VirtualTime } from '../../simulation/virtual-time.ts'

/** Work of so many units, each of so many milliseconds. */
function workOf (time: VirtualTime, { units, unitMs }: { units: number, unitMs: number }): BackgroundTask & { readonly done: () => number, readonly endedMs: () => number } {
  let [done, endedMs, asked] = [0, 0, true]
  return {
    name: 'work', done: () => done, endedMs: () => endedMs,
    long: { progress: () => ({ phase: 'working', doneShare: done / units, doneBytes: done * 10, totalBytes: units * 10 }), now: () => { done = 0; asked = true } },
    async step () {
      if (!asked) return 'idle'
      await time.sleep(unitMs)
      if (++done === units) { asked = false; endedMs = time.nowMs }
      return 'busy'
    },
  }
}

const until = async (time: VirtualTime, isOver: () => boolean): Promise<void> => { await time.run(isOver) }
const after = async (time: VirtualTime, ms: number): Promise<void> => { let over = false; time.after(ms, () => { over = true }); await time.run(() => over) }

describe('long work', () => {
  test('takes four fifths of the time while nobody waits, and less while somebody does', async () => {
    const tookOf = async (isBusy: boolean): Promise<number> => {
      const time = new VirtualTime()
      const users = new UserActivity(time.clock())
      const work = workOf(time, { units: 100, unitMs: 20 })
      if (isBusy) users.begin()
      runInBackground([work], { clock: time.clock(), warn: () => {}, users })
      await until(time, () => work.endedMs() > 0)
      return work.endedMs()
    }
    expect(await tookOf(false)).toBeLessThanOrEqual(100 * 20 * 1.26)
    expect(await tookOf(true)).toBeGreaterThan(100 * 20 * 2)
  })

  test('rests no longer than a bound, however long a unit was held up', async () => {
    const time = new VirtualTime()
    const users = new UserActivity(time.clock())
    users.begin()
    const work = workOf(time, { units: 2, unitMs: 60_000 })
    runInBackground([work], { clock: time.clock(), warn: () => {}, users })
    await until(time, () => work.endedMs() > 0)
    expect(work.endedMs()).toBeLessThanOrEqual(120_000 + workShareLimits.mostRestMs + workShareLimits.stillMs)
  })

  test('says how far it is, and when it will end', async () => {
    const time = new VirtualTime()
    const work = workOf(time, { units: 100, unitMs: 40 })
    const background = runInBackground([work, { name: 'short', step: async () => 'idle' }], { clock: time.clock(), warn: () => {} })
    await until(time, () => work.done() === 50)
    const [status] = background.tasks()
    expect(background.tasks()).toHaveLength(1)
    expect(status).toMatchObject({ name: 'work', state: 'busy', phase: 'working', doneShare: 0.5, doneBytes: 500, totalBytes: 1000, failure: undefined })
    expect(status?.etaMs).toBeGreaterThan(2000)
    expect(status?.etaMs).toBeLessThan(3000)
  })

  test('pauses after the unit under way, and goes on at once when it is resumed', async () => {
    const time = new VirtualTime()
    const work = workOf(time, { units: 1000, unitMs: 10 })
    const background = runInBackground([work], { clock: time.clock(), warn: () => {} })
    await until(time, () => work.done() === 5)
    background.pause('work')
    await after(time, 10_000)
    expect(work.done()).toBe(5)
    expect(background.tasks()[0]).toMatchObject({ state: 'paused' })
    expect(() => { background.now('work') }).toThrow(Refused)
    background.resume('work')
    await until(time, () => work.done() === 10)
    expect(background.tasks()[0]).toMatchObject({ state: 'busy' })
  })

  test('begins when it is told to, without waiting for its rest; a name that nobody has is not found', async () => {
    const time = new VirtualTime()
    const work = workOf(time, { units: 3, unitMs: 10 })
    const background = runInBackground([work], { clock: time.clock(), warn: () => {} })
    await until(time, () => work.done() === 3)
    await after(time, 1000)
    background.now('work')
    const began = time.nowMs
    await until(time, () => work.done() === 1)
    expect(time.nowMs - began).toBe(10)
    expect(() => { background.now('wrok') }).toThrow(NotFound)
  })

  test('that fails is told, says so, and is tried again', async () => {
    const time = new VirtualTime()
    const warnings: string[] = []
    let tries = 0
    const background = runInBackground([{ name: 'work', long: { progress: () => ({ phase: 'x', doneShare: 0 }), now: () => {} }, step: async () => { if (++tries < 3) throw new Error('EIO'); return 'idle' } }], { clock: time.clock(), warn: (message) => { warnings.push(message) } })
    await until(time, () => tries === 2)
    await after(time, 1)
    expect(background.tasks()[0]).toMatchObject({ failure: 'EIO' })
    await until(time, () => tries === 3)
    await after(time, 1)
    expect(background.tasks()[0]).toMatchObject({ failure: undefined })
    expect(warnings).toEqual(['background work failed: work'])
  })

  test('that fails on and on is told once a minute, and when it fails otherwise', async () => {
    const time = new VirtualTime()
    const warnings: unknown[] = []
    let [tries, why] = [0, 'EIO']
    runInBackground([{ name: 'work', step: async () => { tries++; throw new Error(why) } }], { clock: time.clock(), warn: (_message, cause) => { warnings.push((cause as Error).message) } })
    await until(time, () => tries === 150)
    expect(time.nowMs).toBeGreaterThan(4 * 60_000)
    expect(warnings).toEqual(Array.from({ length: 5 }, () => 'EIO'))
    why = 'ENOSPC'
    await until(time, () => warnings.length > 5)
    expect(tries).toBe(151)
  })
})

describe('somebody waits', () => {
  test('while an operation is under way, and for a moment after', async () => {
    const time = new VirtualTime()
    const users = new UserActivity(time.clock())
    expect(users.isWaiting()).toBe(false)
    const [one, two] = [users.begin(), users.begin()]
    one[Symbol.dispose]()
    one[Symbol.dispose]()
    expect(users.isWaiting()).toBe(true)
    two[Symbol.dispose]()
    expect(users.isWaiting()).toBe(true)
    await after(time, userLimits.lingerMs)
    expect(users.isWaiting()).toBe(false)
  })
})
