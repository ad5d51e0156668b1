import { describe, expect, test } from 'vitest'
import type { Clock } from '../../../src/base/clock.ts'
import { Unavailable } from '../../../src/base/errors.ts'
import { type PeerId, peerIdOf } from '../../../src/base/peer-id.ts'
import { closing, openLayout, settled } from '../../../src/cluster/index.ts'
import { memoryFiles } from '../../../src/disk/memory-files.ts'
import { StorePositions } from '../../../src/node/layout/store-positions.ts'
import { Greetings, type GreetingsParts, greetingTiming } from '../../../src/node/membership/greetings.ts'
import { backgroundLimits } from '../../../src/node/work/background.ts'
import type { Greeting } from '../../../src/protocols/hello.ts'
import { layoutMember, peerNamed } from '../../support/cluster-identities.ts'

const [low = '', high = ''] = ['alice', 'bob'].toSorted((a, b) => peerNamed(a) < peerNamed(b) ? -1 : 1)
const layout = settled(closing(openLayout(layoutMember('alice'))), ['alice', 'bob'].map((name) => layoutMember(name)))

/** Of this node with the other, whose store shows these positions, one with each greeting. */
async function greetingsOf (self: string, other: string, positions: bigint[]) {
  let belongs = true
  const asked: string[] = []
  const state = { layout, members: new Map(), isMember: () => true, belongs: () => belongs } as unknown as GreetingsParts['state']
  const storeOf = (name: string): Uint8Array => layoutMember(name).storeId as Uint8Array
  const opened = await StorePositions.open({ files: memoryFiles(), warn: () => {}, state, rows: { storeId: storeOf(self), position: 10n, disown: async () => {} } })
  const greeting = (): Greeting => ({ peer: peerNamed(other), layoutVersion: layout.version, store: { id: storeOf(other), position: positions.shift() ?? 0n } } as unknown as Greeting)
  let nowMs = 0
  let greeted = 0
  const greetings = new Greetings({
    state, positions: opened, clock: { monotonicMs: () => nowMs } as Clock, warn: () => {},
    network: () => ({ peerId: peerNamed(self), reachable: () => [peerNamed(other)] }),
    hello: () => ({ greet: async () => { greeted++; return greeting() } }),
    readMemberRow: async (key: Uint8Array) => { asked.push(peerIdOf(key)); throw new Unavailable('no majority') },
  } as unknown as GreetingsParts)
  const pass = async (durationMs: number): Promise<number> => {
    greeted = 0
    for (const endMs = nowMs + durationMs; nowMs < endMs; nowMs += 100) await greetings.step({ signal: AbortSignal.any([]) })
    return greeted
  }
  return { asked, isUnknown: (is: boolean) => { belongs = !is }, hear: () => { greetings.heard(greeting()) }, pass, remembers: () => opened.remembers(peerNamed(other)) }
}

test('one that is greeted and takes its whole time, again and again, does not keep others from being greeted', async () => {
  const [self, slow, other] = ['alice', 'bob', 'carol'].map(peerNamed).toSorted() as [PeerId, PeerId, PeerId]
  let nowMs = 0
  const greeted: PeerId[] = []
  const greetings = new Greetings({
    state: { layout, isMember: () => true, belongs: () => true }, positions: { compare: async () => {}, doubts: () => false }, clock: { monotonicMs: () => nowMs }, warn: () => {},
    network: () => ({ peerId: self, reachable: () => [slow, other] }),
    hello: () => ({ greet: async (peer: PeerId) => {
      greeted.push(peer)
      if (peer === other) return { peer, layoutVersion: 0n }
      nowMs += 10_000
      throw new Unavailable('no answer in time')
    } }),
  } as unknown as GreetingsParts)
  for (const peer of [slow, other]) greetings.heard({ peer, layoutVersion: 0n } as Greeting)
  while (nowMs < 20 * greetingTiming.everyMs) {
    const restMs = await greetings.step({ signal: AbortSignal.any([]) }).then(() => backgroundLimits.idleMs, () => backgroundLimits.failureMs)
    nowMs += restMs
  }
  expect(greeted.filter((peer) => peer === other).length).toBeGreaterThan(5)
})

describe('two that are connected', () => {
  test('greet each other again and again, one of them', async () => {
    for (const [self, other, times] of [[low, high, 2], [high, low, 0]] as const) {
      const { hear, pass } = await greetingsOf(self, other, [1n, 2n, 3n])
      hear()
      expect(await pass(2.5 * greetingTiming.everyMs)).toBe(times)
    }
  })

  test('ask again for the row of the other, with each greeting, for as long as it is not known', async () => {
    const { hear, pass, asked, isUnknown } = await greetingsOf(low, high, [1n, 2n, 3n, 4n])
    isUnknown(true)
    hear()
    expect(asked).toEqual([])
    await pass(2.5 * greetingTiming.everyMs)
    expect(asked).toEqual([peerNamed(high), peerNamed(high)])
    isUnknown(false)
    await pass(greetingTiming.everyMs)
    expect(asked).toHaveLength(2)
  })

  test('greet again at once where the other shows less than before: two greetings may have come in another order than they were sent', async () => {
    for (const [self, other] of [[low, high], [high, low]] as const) {
      const { hear, pass, remembers } = await greetingsOf(self, other, [7n, 6n, 8n, 9n])
      hear()
      hear()
      expect(remembers()).toBe(false)
      expect(await pass(2 * greetingTiming.doubtedMs)).toBe(1)
      expect(remembers()).toBe(true)
      expect(await pass(2 * greetingTiming.doubtedMs)).toBe(0)
    }
  })
})

test('one that greets without end, and names a layout that there is not, is logged once a minute', async () => {
  const peer = peerNamed('bob')
  let [nowMs, warned] = [0, 0]
  const greetings = new Greetings({
    state: { layout, isMember: () => false, belongs: () => true }, positions: { compare: async () => {}, doubts: () => false }, clock: { monotonicMs: () => nowMs }, warn: () => { warned++ },
    adoptLayout: async () => { throw new Unavailable('could not be had') },
  } as unknown as GreetingsParts)
  for (; nowMs < 120_000; nowMs += 100) {
    greetings.heard({ peer, layoutVersion: layout.version + 1n } as Greeting)
    await Promise.resolve()
    await Promise.resolve()
  }
  expect(warned).toBe(2)
})
