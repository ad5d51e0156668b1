import { afterEach, beforeEach, expect, type MockInstance, test, vi } from 'vitest'
import { Refused, Unavailable } from '../../src/base/errors.ts'
import { type PeerId, peerIdOf } from '../../src/base/peer-id.ts'
import { replace } from '../../src/cli/commands/members.ts'
import type { ChangeForecast, ChangeProgress, DfsNode, ReplaceState } from '../../src/node.ts'
import { clientOf, servedApi } from '../support/local-api.ts'

const [old, fresh] = [1, 2].map((n) => peerIdOf(new Uint8Array(32).fill(n))) as [PeerId, PeerId]
const forecast: ChangeForecast = { isPossible: true, refusals: [], movedBytes: 0, countedPartitions: 4096, silent: [old], areBucketsKnown: true, layout: { version: '7', state: 'settled' }, nodes: [] }
const progress: ChangeProgress = { layout: { version: '8', state: 'settled', members: 3 }, rowPartitionsLeft: 0, leftBytes: 0, isDone: true, isWhole: true, nodes: [], waitingFor: [] }

let stdout: MockInstance
beforeEach(() => { stdout = vi.spyOn(process.stdout, 'write').mockReturnValue(true); vi.spyOn(process.stderr, 'write').mockReturnValue(true) })
afterEach(() => { vi.restoreAllMocks() })

/** Gives each in turn, and the last for ever; errors are thrown. */
const inTurn = <T>(...answers: Array<T | Error>) => async (): Promise<T> => {
  const answer = answers.length > 1 ? answers.shift() : answers[0]
  if (answer instanceof Error) throw answer
  return answer as T
}

/** `dfs node replace`, at a node whose every answer is the next of these. */
async function replaced (heir: () => Promise<PeerId | undefined>, step: () => Promise<ReplaceState>, by?: PeerId): Promise<unknown> {
  const changes = { plan: async () => forecast, inviteFor: async () => 'the token', heir, replace: step, progress: async () => progress }
  await using served = await servedApi({ changes } as unknown as Partial<DfsNode>)
  const { client, folder } = await clientOf(served.api)
  const error = await replace(old, by, { data: folder.path }).then(() => undefined, (reason: unknown) => reason)
  client.close()
  await folder[Symbol.asyncDispose]()
  return error
}
const said = (): string => stdout.mock.calls.map(([text]) => String(text)).join('')

test('a replacement that waits for its machine goes on where for a moment no majority answers, as just after a removal (it ended, and the one that had joined was one more)', async () => {
  const away = new Unavailable('2 of 4 voters tell who the members are')
  expect(await replaced(inTurn<PeerId | undefined>(away, undefined, fresh), inTurn<ReplaceState>(away, { state: 'moving', why: 'the layout is to change' }, away, { state: 'removed' }))).toBeUndefined()
  expect(said()).toMatch(/the token[\s\S]*is replaced by/)
})

test('one that is refused ends, with the reason', async () => {
  expect(await replaced(inTurn<PeerId | undefined>(fresh), inTurn<ReplaceState>(new Refused('it is no admin')))).toMatchObject({ message: expect.stringContaining('it is no admin') as string })
})
