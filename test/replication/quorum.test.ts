import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { lateAfterMs, type Pace, paceAfter, Paces, suspicionMs, unknownPace } from '../../src/base/pace.ts'
import type { PeerId } from '../../src/base/peer-id.ts'
import { readPatience } from '../../src/replication/reader.ts'
import { VirtualTime } from '../simulation/virtual-time.ts'
import { writeQuorumOf } from '../../src/replication/index.ts'

const redundancy = fc.record({ k: fc.integer({ min: 1, max: 32 }), m: fc.integer({ min: 0, max: 32 }) })

describe('the write quorum', () => {
  test.each([[1, 0, 1], [1, 1, 2], [1, 2, 2], [1, 4, 3], [4, 2, 5], [8, 4, 10]])('of %i + %i is %i', (k, m, quorum) => {
    expect(writeQuorumOf({ k, m })).toBe(quorum)
  })

  test('leaves enough to read after as many losses as half of m, and never asks for more than there are', () => {
    fc.assert(fc.property(redundancy, ({ k, m }) => {
      const quorum = writeQuorumOf({ k, m })
      expect(quorum - Math.ceil(m / 2)).toBeGreaterThanOrEqual(k)
      expect(quorum).toBeLessThanOrEqual(k + m)
    }))
  })

  test('survives any one loss as soon as anything is redundant', () => {
    fc.assert(fc.property(redundancy.filter(({ m }) => m > 0), ({ k, m }) => { expect(writeQuorumOf({ k, m }) - 1).toBeGreaterThanOrEqual(k) }))
  })
})

const paceOf = (times: readonly number[]): Pace => times.reduce(paceAfter, unknownPace)

describe('when an answer is late', () => {
  test('is never sooner than the floor nor later than the ceiling, whatever was measured', () => {
    fc.assert(fc.property(fc.array(fc.double({ min: 0, max: 1e7, noNaN: true })), (times) => {
      const afterMs = lateAfterMs(paceOf(times), readPatience)
      expect(afterMs).toBeGreaterThanOrEqual(readPatience.leastMs)
      expect(afterMs).toBeLessThanOrEqual(readPatience.mostMs)
    }))
  })

  test('follows the peer: steady answers bring it close to what they take', () => {
    const afterMs = lateAfterMs(paceOf(Array.from({ length: 50 }, () => 80)), readPatience)
    expect(afterMs).toBeGreaterThanOrEqual(80)
    expect(afterMs).toBeLessThan(90)
  })

  test('gives more time to a peer whose answers vary', () => {
    const steady = paceOf(Array.from({ length: 50 }, () => 100))
    const varying = paceOf(Array.from({ length: 50 }, (_, i) => i % 2 === 0 ? 180 : 20))
    expect(lateAfterMs(varying, readPatience)).toBeGreaterThan(lateAfterMs(steady, readPatience))
  })

  test('is a guess while nothing was measured', () => { expect(lateAfterMs(unknownPace, readPatience)).toBe(readPatience.firstMs) })
})

describe('a peer that was late', () => {
  const [a, b, c] = ['a', 'b', 'c'] as PeerId[] as [PeerId, PeerId, PeerId]
  const paces = (): { time: VirtualTime, paces: Paces } => { const time = new VirtualTime(); return { time, paces: new Paces(time.clock(), readPatience) } }

  test('is asked after the others, until it answers', () => {
    const { paces: seen } = paces()
    seen.suspect(a)
    expect(seen.inOrder([a, b, c])).toEqual([b, c, a])
    seen.answered(a, 20)
    expect(seen.inOrder([a, b, c])).toEqual([a, b, c])
  })

  test('is given another chance after a while', async () => {
    const { time, paces: seen } = paces()
    seen.suspect(a)
    time.after(suspicionMs, () => {})
    await time.run(() => time.nowMs >= suspicionMs)
    expect(seen.inOrder([a, b, c])).toEqual([a, b, c])
  })

  test('and given up is known to be no faster; one that was given up early is not thought fast', () => {
    const { paces: seen } = paces()
    seen.gaveUp(a, 2)
    expect(seen.lateAfterMs(a)).toBe(readPatience.firstMs)
    seen.gaveUp(a, 400)
    expect(seen.lateAfterMs(a)).toBeGreaterThan(400)
  })
})
