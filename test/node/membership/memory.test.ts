import { expect, test } from 'vitest'
import { type AskReplica } from '../../../src/node/membership/clear-rows.ts'
import { memoryOf } from '../../../src/node/membership/memory.ts'
import { peerNamed } from '../../support/cluster-identities.ts'

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
