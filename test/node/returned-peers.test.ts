import { expect, test } from 'vitest'
import { ReturnedPeers } from '../../src/node/rows/returned-peers.ts'
import { peerNamed } from '../support/cluster-identities.ts'

test('who answers again is told once each time, though nobody was disconnected', () => {
  const [bob, carol] = [peerNamed('bob'), peerNamed('carol')]
  let reachable = [bob, carol]
  const returned = new ReturnedPeers(() => reachable)
  expect(returned.look()).toEqual([bob, carol])
  expect(returned.look()).toEqual([])
  reachable = [carol]
  expect(returned.look()).toEqual([])
  reachable = [carol, bob]
  expect(returned.look()).toEqual([bob])
  expect(returned.look()).toEqual([])
})
