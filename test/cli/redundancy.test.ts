import { describe, expect, test } from 'vitest'
import type { PeerId } from '../../src/base/peer-id.ts'
import { InvalidInput } from '../../src/base/errors.ts'
import { holdersIn, noteWhatIsTooMuch, redundancyOf, settingsOf, suggestedShards, tooFewText } from '../../src/cli/commands/bucket.ts'
import type { LayoutReport } from '../../src/node.ts'

describe('the redundancy of a bucket', () => {
  test('is copies or shards', () => {
    expect(redundancyOf('rf:2')).toEqual({ copies: 2 })
    expect(redundancyOf('rs:4+2')).toEqual({ shards: '4+2' })
    for (const wrong of ['', 'rf:', 'rs:4', 'rs:4+', '4+2', 'rf:2+1', 'RS:4+2', 'rs:4+2 ', 'rs:-4+2']) expect(() => redundancyOf(wrong), wrong).toThrow(InvalidInput)
  })

  test('that there are too few nodes for is told when it is chosen', () => {
    expect([[1, 1], [2, 2], [3, 5]].map(([copies = 0, holders = 0]) => tooFewText(copies, holders))).toEqual([undefined, undefined, undefined])
    expect(tooFewText(3, 1)).toBe('1 node holds blocks: until 2 more do there are no copies beside it, and "dfs status" says so')
    expect(tooFewText(3, 2)).toBe('2 nodes hold blocks: until one more does there are 2 copies, and "dfs status" says so')
  })

  test('counts, while the layout changes, those who are to hold blocks (one that leaves was counted too)', () => {
    const member = (present: number | undefined, next: number | undefined): LayoutReport['members'][number] => ({
      peerId: 'peer' as PeerId, role: 'member', zone: '', capacityBytes: 1, present: present === undefined ? undefined : { rows: 1, blocks: present }, next: next === undefined ? undefined : { rows: 1, blocks: next },
    })
    expect(holdersIn({ state: 'settled', members: [member(5, undefined), member(0, undefined)] })).toBe(1)
    expect(holdersIn({ state: 'changing', members: [member(5, 5), member(5, undefined), member(undefined, 5), member(5, 0)] })).toBe(2)
  })

  test('that is more than there are nodes for is told to scripts too; that this cannot be looked at is no failure of what was asked', async () => {
    const warned: string[] = []
    const output = { isJson: true, fact: () => {}, note: () => {}, warn: (text: string) => { warned.push(text) } }
    const signal = new AbortController().signal
    const answering = (json: () => Promise<unknown>) => ({ client: { json: json as never }, output, signal })
    await noteWhatIsTooMuch({ copies: 3 }, answering(async () => ({ state: 'settled', members: [] })))
    expect(warned.splice(0)).toEqual([expect.stringMatching(/^0 nodes hold blocks/)])
    await noteWhatIsTooMuch({ copies: 3 }, answering(async () => { throw new Error('the node stops') }))
    expect(warned.splice(0)).toEqual([expect.stringMatching(/could not be looked at: the node stops/)])
    await noteWhatIsTooMuch({ copies: 1 }, answering(async () => { throw new Error('not asked') }))
    expect(warned).toEqual([])
  })

  test('is suggested where shards are worth it, with a node to spare', () => {
    expect([1, 3, 4, 5, 6, 7, 20].map((nodes) => suggestedShards(nodes)?.shards)).toEqual([undefined, undefined, undefined, '2+2', '2+2', '4+2', '4+2'])
  })
})

describe('the settings of a bucket', () => {
  test('are what was given, and "none" takes one away', () => {
    expect(settingsOf({ versioning: 'enabled', quota: '2GiB', quotaObjects: '10', public: 'yes' })).toEqual({ versioning: 'enabled', quotaBytes: 2 * 1024 ** 3, quotaObjects: 10, publicRead: true })
    expect(settingsOf({ ack: 'all' })).toEqual({ ack: 'all' })
    expect(settingsOf({ ack: 'quorum' })).toEqual({ ack: null })
    expect(() => settingsOf({ ack: 'some' })).toThrow('it takes all or quorum')
    expect(settingsOf({ quota: 'none', quotaObjects: 'none', public: 'no' })).toEqual({ quotaBytes: null, quotaObjects: null, publicRead: null })
    expect(settingsOf({ redundancy: 'rf:2' })).toEqual({})
    for (const wrong of [{ versioning: 'on' }, { quota: 'much' }, { quotaObjects: '-1' }, { public: 'true' }]) expect(() => settingsOf(wrong), JSON.stringify(wrong)).toThrow(InvalidInput)
  })
})
