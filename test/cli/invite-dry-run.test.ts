import { afterEach, beforeEach, describe, expect, type MockInstance, test, vi } from 'vitest'
import { InvalidInput, Refused } from '../../src/base/errors.ts'
import { invite } from '../../src/cli/commands/invite.ts'
import type { ChangeForecast, DfsNode, NodeChange } from '../../src/node.ts'
import { clientOf, servedApi } from '../support/local-api.ts'

const forecast: ChangeForecast = {
  isPossible: true, refusals: [], movedBytes: 4096, countedPartitions: 4096, silent: [], areBucketsKnown: true, layout: { version: '7', state: 'settled' },
  nodes: [{ peerId: undefined, role: 'storage', zone: 'attic', capacityBytes: 500 * 2 ** 30, change: 'enters', receiveBytes: 4096, giveUpBytes: 0, heldBytes: undefined, rowPartitions: { receive: 0, giveUp: 0 }, blockPartitions: { receive: 12, giveUp: 0 } }],
}

let stdout: MockInstance
beforeEach(() => { stdout = vi.spyOn(process.stdout, 'write').mockReturnValue(true) })
afterEach(() => { vi.restoreAllMocks() })

interface Asked { readonly planned: readonly NodeChange[], readonly tokens: number, readonly said: string, readonly error: unknown }

/** `dfs invite` with these options at a node that foresees so much. */
async function asked (options: Record<string, unknown>, foreseen = forecast): Promise<Asked> {
  const planned: NodeChange[] = []
  let tokens = 0
  const node = { invite: async () => { tokens++; return ['token'] }, changes: { plan: async (change: NodeChange) => { planned.push(change); return foreseen } } }
  await using served = await servedApi(node as unknown as Partial<DfsNode>)
  const { client, folder } = await clientOf(served.api)
  const error = await invite({ data: folder.path, ...options }).then(() => undefined, (reason: unknown) => reason)
  client.close()
  await folder[Symbol.asyncDispose]()
  return { planned, tokens, said: stdout.mock.calls.map(([text]) => String(text)).join(''), error }
}

describe('dfs invite --dry-run', () => {
  test('says what would move if such a node joined, and makes no token', async () => {
    const { planned, tokens, said, error } = await asked({ dryRun: true, role: 'storage', zone: 'attic', capacity: '500GiB' })
    expect(error).toBeUndefined()
    expect(planned).toEqual([{ kind: 'join', role: 'storage', zone: 'attic', capacityBytes: 500 * 2 ** 30 }])
    expect(tokens).toBe(0)
    expect(said).toMatch(/4\.0 KiB of blocks would be brought[\s\S]*the new node .*receives 4\.0 KiB/)
  })

  test('for scripts is the forecast, marked as a dry run', async () => {
    const { said, planned } = await asked({ dryRun: true, capacity: '1GiB', json: true })
    expect(JSON.parse(said)).toMatchObject({ dryRun: true, movedBytes: 4096, isPossible: true })
    expect(planned).toEqual([{ kind: 'join', role: 'member', zone: 'default', capacityBytes: 2 ** 30 }])
  })

  test('of a witness needs no capacity, for it holds no blocks; of another it does', async () => {
    expect((await asked({ dryRun: true, role: 'witness' })).planned).toEqual([{ kind: 'join', role: 'witness', zone: 'default', capacityBytes: 0 }])
    const { planned, tokens, error } = await asked({ dryRun: true })
    expect([planned, tokens, error]).toEqual([[], 0, expect.objectContaining({ message: expect.stringContaining('say how much the node is to hold') as string })])
    expect(error).toBeInstanceOf(InvalidInput)
  })

  test('fails, when it has been shown, where it could not be', async () => {
    const { error, said, tokens } = await asked({ dryRun: true, capacity: '1GiB' }, { ...forecast, isPossible: false, refusals: ['what is held would not fit'] })
    expect(error).toBeInstanceOf(Refused)
    expect(said).toContain('not possible: what is held would not fit')
    expect(tokens).toBe(0)
  })

  test('is what --capacity is for: with a token it is refused, and no token made', async () => {
    const { error, tokens } = await asked({ capacity: '1GiB' })
    expect(error).toBeInstanceOf(InvalidInput)
    expect(tokens).toBe(0)
    expect((await asked({})).tokens).toBe(1)
  })
})
