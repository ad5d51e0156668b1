import { describe, expect, test } from 'vitest'
import { InvalidInput } from '../../src/base/errors.ts'
import { redundancyOf, suggestedShards } from '../../src/cli/commands/bucket.ts'

describe('the redundancy of a bucket', () => {
  test('is copies or shards', () => {
    expect(redundancyOf('rf:2')).toEqual({ copies: 2 })
    expect(redundancyOf('rs:4+2')).toEqual({ shards: '4+2' })
    for (const wrong of ['', 'rf:', 'rs:4', 'rs:4+', '4+2', 'rf:2+1', 'RS:4+2', 'rs:4+2 ', 'rs:-4+2']) expect(() => redundancyOf(wrong), wrong).toThrow(InvalidInput)
  })

  test('is suggested where shards are worth it, with a node to spare', () => {
    expect([1, 3, 4, 5, 6, 7, 20].map((nodes) => suggestedShards(nodes)?.shards)).toEqual([undefined, undefined, undefined, '2+2', '2+2', '4+2', '4+2'])
  })
})
