import { describe, expect, test } from 'vitest'
import { InvalidInput } from '../../src/base/errors.ts'
import { redundancyOf, settingsOf, suggestedShards, tooFewText } from '../../src/cli/commands/bucket.ts'

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
