import { describe, expect, test } from 'vitest'
import type { PeerId } from '../../../src/base/peer-id.ts'
import { configOf } from '../../../src/config.ts'
import { Absence } from '../../../src/node/membership/absence.ts'
import { VirtualTime } from '../../simulation/virtual-time.ts'
import { peerNamed } from '../../support/cluster-identities.ts'

const [bob, carol] = ['bob', 'carol'].map(peerNamed) as [PeerId, PeerId]
const both = new Set([bob, carol])
const hourMs = 3_600_000

describe('how long another has been away', () => {
  test('is counted from when it was last reached, in whole seconds, and not at all while it can be reached', () => {
    const time = new VirtualTime()
    let reachable = [bob, carol]
    const absence = new Absence(time.clock(), () => reachable)
    absence.look()
    time.nowMs += hourMs
    reachable = [bob]
    expect(absence.of(both)).toEqual(new Map([[carol, 3600]]))
    time.nowMs += 1999
    expect(absence.of(both)).toEqual(new Map([[carol, 3601]]))
    reachable = [bob, carol]
    expect(absence.of(both)).toEqual(new Map())
    time.nowMs += 5000
    reachable = []
    expect(absence.of(both)).toEqual(new Map([[bob, 5], [carol, 5]]))
    expect(absence.of(new Set([bob]))).toEqual(new Map([[bob, 5]]))
  })

  test('is told from the very moment that it begins, whenever the last look was', () => {
    const time = new VirtualTime()
    let reachable = [bob, carol]
    const absence = new Absence(time.clock(), () => reachable)
    absence.look()
    reachable = [carol]
    expect(absence.of(both)).toEqual(new Map([[bob, 0]]))
  })

  test('begins anew when the one who counts is started again: nobody is put out for a time in which nobody looked', () => {
    const time = new VirtualTime()
    const reachable = [bob]
    const before = new Absence(time.clock(), () => reachable)
    before.look()
    time.nowMs += hourMs - 1000
    expect(before.of(both)).toEqual(new Map([[carol, 3599]]))
    // one second short of the grace, and then the machine is off for a day
    time.nowMs += 24 * hourMs
    let back: PeerId[] = []
    const after = new Absence(time.clock(), () => back)
    expect(after.of(both)).toEqual(new Map([[bob, 0], [carol, 0]]))
    time.nowMs += hourMs - 1000
    back = [bob]
    expect(after.of(both)).toEqual(new Map([[carol, 3599]]))
    time.nowMs += 1000
    expect(after.of(both)).toEqual(new Map([[carol, 3600]]))
  })

  test('may be an hour before a node leaves the layout, unless it is said otherwise', () => {
    expect(configOf({ home: '/' }).config.evictAfterMs).toBe(hourMs)
    expect(configOf({ home: '/', options: { 'evict-after': '2d' } }).config.evictAfterMs).toBe(48 * hourMs)
  })
})
