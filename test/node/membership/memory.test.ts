import { expect, test } from 'vitest'
import type { AskReplica } from '../../../src/node/membership/clear-rows.ts'
import { memoryOf, memoryOfThoseWho } from '../../../src/node/membership/memory.ts'
import { PeerUnreachable } from '../../../src/network/index.ts'
import { peerNamed } from '../../support/cluster-identities.ts'

test('a voter remembers what it has not lost, also if it goes by another layout while it is asked; one that does not answer nothing', async () => {
  const [bob, carol] = ['bob', 'carol'].map(peerNamed) as [ReturnType<typeof peerNamed>, ReturnType<typeof peerNamed>]
  let isBehind = true
  const ask: AskReplica = async (peer, question) => {
    if (peer === carol) throw new PeerUnreachable(peer, 'not connected')
    if (question.kind === 'progress') return { kind: 'progress', remaining: 3, lost: 1, away: [] }
    if (isBehind) { isBehind = false; return { kind: 'staleLayout', layout: new Uint8Array(0) } }
    return { kind: 'digests', digests: question.kind === 'digest' ? question.partitions.map((partition) => partition === 7 ? undefined : { count: 0, digest: new Uint8Array(32) }) : [] }
  }
  const remembers = await memoryOfThoseWho({ ask }, [bob, carol], {})
  expect([remembers(bob, 6), remembers(bob, 7), remembers(carol, 6), remembers(peerNamed('dave'), 6)]).toEqual([true, false, false, false])
})

test('one that goes by another layout, however often it is asked, says nothing, so it remembers nothing', async () => {
  const bob = peerNamed('bob')
  const ask: AskReplica = async () => ({ kind: 'staleLayout', layout: new Uint8Array(0) })
  expect((await memoryOfThoseWho({ ask }, [bob], {}))(bob, 6)).toBe(false)
})

test('one that says it has lost rows, and takes its time for each answer, is waited for as long as for two', async () => {
  let waits = 0
  let waiting: Array<() => void> = []
  const time = async (): Promise<void> => new Promise((resolve) => {
    if (waiting.push(resolve) === 1) setImmediate(() => { waits++; for (const go of waiting) go(); waiting = [] })
  })
  const ask: AskReplica = async (_peer, question) => {
    await time()
    if (question.kind === 'progress') return { kind: 'progress', remaining: 0, lost: 1, away: [] }
    return { kind: 'digests', digests: question.kind === 'digest' ? question.partitions.map((partition) => partition === 100 ? undefined : { count: 0, digest: new Uint8Array(32) }) : [] }
  }
  const { remembers, isAnyLost } = await memoryOf({ ask }, [peerNamed('ann')], {})
  expect([waits, isAnyLost, remembers(peerNamed('ann'), 100), remembers(peerNamed('ann'), 101), remembers(peerNamed('bob'), 101)]).toEqual([2, true, false, true, false])
})
