import { describe, expect, test } from 'vitest'
import { utf8 } from '../../../src/base/bytes.ts'
import { hash } from '../../../src/base/hash.ts'
import { type PeerId, peerIdOf } from '../../../src/base/peer-id.ts'
import { MemberSearch, memberSearchLimits } from '../../../src/node/membership/member-search.ts'
import { VirtualTime } from '../../simulation/virtual-time.ts'

const [self, friend, stranger] = ['self', 'friend', 'stranger'].map((name) => peerIdOf(hash(utf8(name)))) as [PeerId, PeerId, PeerId]
const signal = new AbortController().signal

function world ({ find }: { find: () => Promise<readonly string[]> }) {
  const time = new VirtualTime()
  const connected = new Set<PeerId>([friend])
  const asked: PeerId[] = []
  const known: unknown[] = []
  const warnings: string[] = []
  const search = new MemberSearch({
    network: {
      peerId: self, isConnected: (peer) => connected.has(peer), reachable: () => [...connected], know: (peer, addresses) => { known.push([peer, addresses]) },
      find: async (peer) => { asked.push(peer); return await find() },
    },
    members: () => [self, friend, stranger], clock: time.clock(), warn: (message) => { warnings.push(message) },
  })
  return { time, connected, asked, known, warnings, search }
}

describe('the search for members', () => {
  test('asks others where one is that is not connected, and remembers what they say', async () => {
    const { time, search, asked, known } = world({ find: async () => ['/ip4/10.0.0.7/tcp/4201'] })
    expect(await search.step({ signal })).toBe('idle')
    time.nowMs += memberSearchLimits.firstMs
    expect(await search.step({ signal })).toBe('busy')
    expect(asked).toEqual([stranger])
    expect(known).toEqual([[stranger, ['/ip4/10.0.0.7/tcp/4201']]])
  })

  test('waits twice as long each time, and begins anew with one that was connected meanwhile', async () => {
    const { time, search, connected, asked } = world({ find: async () => [] })
    const searches = async (ms: number): Promise<number> => {
      const before = asked.length
      for (let i = 0; i < ms; i += 1000) { await search.step({ signal }); time.nowMs += 1000 }
      return asked.length - before
    }
    expect(await searches(31_000)).toBe(4)
    connected.add(stranger)
    expect(await searches(5000)).toBe(0)
    connected.delete(stranger)
    expect(await searches(7000)).toBe(2)
  })

  test('asks nobody while nobody is there, and goes on after nobody could answer', async () => {
    const { time, search, connected, asked, warnings } = world({ find: async () => { throw new Error('no answer in time') } })
    connected.clear()
    await search.step({ signal })
    time.nowMs += 10_000
    expect(await search.step({ signal })).toBe('idle')
    connected.add(friend)
    expect(await search.step({ signal })).toBe('busy')
    expect([asked.length, warnings.length]).toEqual([1, 1])
  })
})
