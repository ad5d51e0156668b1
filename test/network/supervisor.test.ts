import { expect, test } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { seededRandom } from '../../src/base/random.ts'
import { Supervisor, supervisorLimits } from '../../src/network/supervisor.ts'

const supervisor = (): Supervisor => new Supervisor({
  clock: systemClock, random: seededRandom(1), dial: async () => {}, ping: async () => 1, isConnected: () => false, disconnect: async () => {}, connected: () => [], note: () => {},
})

test('what others say of where a peer listens does not push out what it says itself, and is known beside it', () => {
  const known = supervisor()
  const own = Array.from({ length: 5 }, (_, i) => `own ${i}`)
  known.know('peer', own)
  for (let i = 0; i < 100; i++) known.know('peer', Array.from({ length: 16 }, (_, j) => `heard ${i} ${j}`), { isHeard: true })
  const addresses = known.addressesOf('peer')
  expect(addresses.slice(0, own.length)).toEqual(own)
  expect(addresses).toHaveLength(supervisorLimits.maxAddressesPerPeer)
  // all of it, where there is room
  const many = Array.from({ length: 10 }, (_, i) => `found ${i}`)
  known.know('found', many, { isHeard: true })
  expect(known.addressesOf('found')).toEqual(many)
  // also where nothing else is known any more
  known.know('moved', Array.from({ length: 16 }, (_, i) => `old ${i}`))
  known.know('moved', ['new'], { isHeard: true })
  expect(known.addressesOf('moved')).toContain('new')
})
