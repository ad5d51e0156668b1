import { describe, expect, test } from 'vitest'
import { RedundancyLog, redundancyLogLimits } from '../../../src/node/health/redundancy-log.ts'
import type { NodeStatus } from '../../../src/node.ts'
import { VirtualTime } from '../../simulation/virtual-time.ts'

interface Known { readonly isAtLeast?: boolean, readonly lookedUnder?: string }
const repairOf = (layoutVersion: string): NodeStatus['repair'] => ({ found: layoutVersion === 'never' ? undefined : { layoutVersion } }) as unknown as NodeStatus['repair']

/** A node that is so, looked at for so many seconds; gives what its log says. */
function node (): { is (isDegraded: boolean, seconds: number, health?: readonly string[], known?: Known): readonly string[] } {
  const time = new VirtualTime()
  const clock = time.clock()
  let [isDegradedNow, nowMs] = [false, clock.monotonicMs()]
  let lines: readonly string[] = []
  let said: string[] = []
  let known: Known = {}
  const log = new RedundancyLog({
    status: () => ({ isDegraded: isDegradedNow, health: isDegradedNow ? lines : [], atRisk: { objects: 0, isAtLeast: known.isAtLeast ?? false, silent: [] }, layout: { version: '7', state: 'settled', members: 3, voters: 3 }, repair: repairOf(known.lookedUnder ?? '7') }),
    clock: { ...clock, monotonicMs: () => nowMs },
    log: { warn: (fields, message) => { said.push(`warn: ${message} ${JSON.stringify(fields)}`) }, info: (_fields, message) => { said.push(`info: ${message}`) } },
  })
  return {
    is (isDegraded, seconds, health = ['1 of 3 members do not answer'], of = {}) {
      known = of
      lines = health
      isDegradedNow = isDegraded
      said = []
      for (let i = 0; i < seconds * 4; i++) { nowMs += 250; log.step() }
      return said
    },
  }
}

describe('redundancy below what it should be', () => {
  test('is a warning in the log, with what health says, once; and its end is told', () => {
    const one = node()
    expect(one.is(false, 60)).toEqual([])
    expect(one.is(true, 60)).toEqual(['warn: redundancy is below what it should be {"health":["1 of 3 members do not answer"],"objectsAtRisk":0}'])
    expect(one.is(true, 60)).toEqual([])
    expect(one.is(false, 60)).toEqual(['info: redundancy is what it should be again'])
  })
  test('for a further reason is told again, but not for another count of what is at risk', () => {
    const one = node()
    expect(one.is(true, 60, ['1 objects at risk: 2 blocks have fewer copies than they should'])).toHaveLength(1)
    expect(one.is(true, 60, ['3 objects at risk: 9 blocks have fewer copies than they should'])).toEqual([])
    expect(one.is(true, 60, ['3 objects at risk: 9 blocks have fewer copies than they should', '1 of 3 members do not answer'])).toEqual([expect.stringContaining('1 of 3 members do not answer')])
    expect(one.is(true, 60, ['3 objects at risk: 9 blocks have fewer copies than they should'])).toEqual([])
    expect(one.is(false, 60)).toHaveLength(1)
  })
  test('is not told again for other counts, or for what an error says, of what it was told for; of one more member that is away it is', () => {
    const one = node()
    expect(one.is(true, 60, ['17 rows lie in partitions that do not vote', 'repair fails: no answer of 12D3 within 5000 ms'])).toHaveLength(1)
    expect(one.is(true, 60, ['16 rows lie in partitions that do not vote', 'repair fails: the stream ended'])).toEqual([])
    expect(one.is(true, 60, ['1 of 5 members do not answer'])).toHaveLength(1)
    expect(one.is(true, 60, ['2 of 5 members do not answer'])).toHaveLength(1)
  })
  test('is not told as over before everything has been looked at, under this layout, and all have told (after a restart it was)', () => {
    for (const known of [{ lookedUnder: 'never' }, { lookedUnder: '6' }, { isAtLeast: true }]) {
      const one = node()
      expect(one.is(true, 60)).toHaveLength(1)
      expect(one.is(false, 60, [], known)).toEqual([])
      expect(one.is(false, 60)).toEqual(['info: redundancy is what it should be again'])
    }
  })
  test('for a moment, as when a node is started again, is not told', () => {
    const one = node()
    expect(one.is(true, redundancyLogLimits.settleMs / 2000)).toEqual([])
    expect(one.is(false, 60)).toEqual([])
  })
})
