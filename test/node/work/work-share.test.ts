import { describe, expect, test } from 'vitest'
import { runInBackground } from '../../../src/node/work/background.ts'
import { UserActivity } from '../../../src/node/work/user-activity.ts'
import { WorkShare, workShareLimits } from '../../../src/node/work/work-share.ts'
import { VirtualTime } from '../../simulation/virtual-time.ts'

interface Load {
  /** Who ask again as soon as they are answered, after so long. */
  readonly users: number
  readonly thinkMs?: number
  /** What a step of theirs takes, and a unit of long work, at a disk that does one after the other. */
  readonly stepMs?: number
  readonly unitMs: number
  readonly isUrgent?: boolean
}

/** A disk with a queue, users who wait for it, and long work that wants it too. */
function busyDisk ({ users: count, thinkMs = 20, stepMs = 5, unitMs, isUrgent = false }: Load) {
  const time = new VirtualTime()
  const clock = time.clock()
  const users = new UserActivity(clock)
  let [turn, units, isWorking] = [Promise.resolve(), 0, true]
  let waits: number[] = []
  const served = async (ms: number): Promise<void> => {
    turn = turn.then(async () => time.sleep(ms))
    await turn
  }
  const beUser = async (): Promise<void> => {
    for (;;) {
      const startedMs = time.nowMs
      {
        using _waiting = users.begin('step')
        await served(stepMs * (0.5 + random()))
      }
      waits.push(time.nowMs - startedMs)
      await time.sleep(thinkMs * (0.5 + random()))
    }
  }
  const takesByChance = async (kind: string): Promise<void> => {
    for (;;) {
      users.share.waited(kind, 1 + 60 * random() ** 12)
      await time.sleep(300 * random())
    }
  }
  for (let user = 0; user < count; user++) void beUser()
  runInBackground([{
    name: 'repair',
    step: async () => {
      if (!isWorking) return 'idle'
      await served(unitMs)
      units++
      return 'busy'
    },
    long: { progress: () => ({ phase: 'x', doneShare: 0 }), now: () => {}, isUrgent: () => isUrgent },
  }], { clock, warn: () => {}, users })
  const forSeconds = async (seconds: number): Promise<{ readonly p99Ms: number, readonly workedShare: number }> => {
    const before = units
    waits = []
    let isOver = false
    time.after(seconds * 1000, () => { isOver = true })
    await time.run(() => isOver)
    return { p99Ms: waits.toSorted((a, b) => a - b)[Math.floor(waits.length * 0.99)] ?? 0, workedShare: (units - before) * unitMs / (seconds * 1000) }
  }
  return { users, forSeconds, beUser, takesByChance, work: (isOn: boolean) => { isWorking = isOn } }
}

let state = 7
const random = (): number => { state = (state * 16_807) % 2_147_483_647; return state / 2_147_483_647 }

describe('the share of long work, while users never pause', () => {
  test('grows as far as they hardly feel it: ten times the floor and more, and their p99 does not triple', async () => {
    const disk = busyDisk({ users: 4, thinkMs: 60, unitMs: 5 })
    disk.work(false)
    const { p99Ms: idleMs } = await disk.forSeconds(60)
    disk.work(true)
    await disk.forSeconds(120)
    const { p99Ms, workedShare } = await disk.forSeconds(120)
    expect(workedShare).toBeGreaterThan(10 * workShareLimits.floor * 0.9)
    expect(p99Ms).toBeLessThan(3 * idleMs)
  })

  test('falls to the floor where every unit holds them up, and no further: it ends', async () => {
    const disk = busyDisk({ users: 4, unitMs: 100 })
    await disk.forSeconds(120)
    const { workedShare } = await disk.forSeconds(120)
    expect(disk.users.share.value).toBeLessThan(0.2)
    expect(workedShare).toBeGreaterThan(workShareLimits.floor * 0.7)
  })

  test('is greater for what has one copy left', async () => {
    const disk = busyDisk({ users: 4, unitMs: 100, isUrgent: true })
    await disk.forSeconds(120)
    const { workedShare } = await disk.forSeconds(120)
    expect(workedShare).toBeGreaterThan(workShareLimits.urgent * 0.7)
  })

  test('is not cut for short steps of many kinds, one of which always takes longer by chance', async () => {
    const disk = busyDisk({ users: 4, thinkMs: 60, unitMs: 5 })
    for (let kind = 0; kind < 8; kind++) void disk.takesByChance(`kind ${kind}`)
    await disk.forSeconds(240)
    expect(disk.users.share.value).toBeGreaterThan(0.4)
  })

  test('is not cut because there are more users than there were', async () => {
    const disk = busyDisk({ users: 2, unitMs: 3 })
    await disk.forSeconds(120)
    const before = disk.users.share.value
    for (let user = 0; user < 6; user++) void disk.beUser()
    await disk.forSeconds(240)
    expect(before).toBeGreaterThan(0.5)
    expect(disk.users.share.value).toBeGreaterThan(0.3)
  })

  test('grows too where those who wait are other nodes that stand still when this one does', async () => {
    const time = new VirtualTime()
    const users = new UserActivity(time.clock())
    users.begin()
    runInBackground([{ name: 'repair', step: async () => { await time.sleep(20); return 'busy' }, long: { progress: () => ({ phase: 'x', doneShare: 0 }), now: () => {} } }], { clock: time.clock(), warn: () => {}, users })
    let isOver = false
    time.after(60_000, () => { isOver = true })
    await time.run(() => isOver)
    expect(users.share.value).toBeCloseTo(workShareLimits.most)
  })

  test('no unit begins in the moment in which all stand still', async () => {
    const time = new VirtualTime()
    const users = new UserActivity(time.clock())
    users.begin()
    const began: number[] = []
    runInBackground([{ name: 'repair', step: async () => { began.push(time.clock().wallMs() % workShareLimits.periodMs); await time.sleep(20); return 'busy' }, long: { progress: () => ({ phase: 'x', doneShare: 0 }), now: () => {} } }], { clock: time.clock(), warn: () => {}, users })
    let isOver = false
    time.after(60_000, () => { isOver = true })
    await time.run(() => isOver)
    expect(began.length).toBeGreaterThan(500)
    expect(began.slice(1).filter((intoMs) => intoMs < workShareLimits.stillMs)).toEqual([])
  })

  test('is not what it was before the wall clock went back (steps of then were of the future, and none was ever too old)', () => {
    const [hourMs, { periodMs, mostPeriods }] = [3_600_000, workShareLimits]
    let [nowMs, aheadMs] = [0, hourMs]
    const clock = { ...new VirtualTime().clock(), monotonicMs: () => nowMs, wallMs: () => nowMs + aheadMs }
    const share = new WorkShare(clock)
    /** Users' steps, without work and beside it, while one unit follows another. */
    const livePeriods = (count: number, { stillMs, busyMs }: { stillMs: number, busyMs: number }): void => {
      for (let period = 0; period < count; period++) {
        using _unit = share.unit()
        nowMs += 500
        for (let step = 0; step < 3; step++) share.waited('step', stillMs)
        nowMs += 2500
        for (let step = 0; step < 10; step++) share.waited('step', busyMs)
        share.restMsAfter(10, { isUrgent: false })
        nowMs += periodMs - 3000
      }
    }
    livePeriods(2 * mostPeriods, { stillMs: 200, busyMs: 200 })
    expect(share.value).toBeCloseTo(workShareLimits.most)
    aheadMs = 0
    livePeriods(3 * mostPeriods, { stillMs: 10, busyMs: 200 })
    expect(share.value).toBeCloseTo(workShareLimits.floor)
  })
})
