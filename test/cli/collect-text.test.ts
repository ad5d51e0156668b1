import { describe, expect, test } from 'vitest'
import { collectLine, collectText } from '../../src/cli/collect-text.ts'
import type { CollectFound, CollectReport } from '../../src/node.ts'

const found: CollectFound = { condemnedBlocks: 0, condemnedBytes: 0, unreferencedBlocks: 0, unreferencedBytes: 0, heldUpBlocks: 0 }
const collect = (changed: Partial<CollectReport> = {}): CollectReport => ({
  state: 'idle', phase: 'waiting', doneShare: 1, doneBytes: 0, totalBytes: 0, etaMs: undefined, failure: undefined, collectAfterMs: 86_400_000, found,
  total: { collectedBlocks: 0, collectedBytes: 0, sparedBlocks: 0, publishedDeaths: 0, abandonedUploads: 0 }, publishing: undefined, ...changed,
})

describe('what a person reads of collection', () => {
  test.each<[string, CollectReport | undefined, string]>([
    ['all is well', collect(), 'nothing waits to be taken away'],
    ['nobody has looked yet', collect({ found: undefined }), 'not everything has been looked at since the start'],
    ['something waits', collect({ found: { ...found, condemnedBlocks: 3, condemnedBytes: 4096 } }), '3 blocks, 4.0 KiB, which nobody needs, go 24h00m after that was found'],
    ['it is paused', collect({ state: 'paused' }), 'nothing waits to be taken away; paused'],
    ['a witness', undefined, 'nothing to collect: a witness holds no blocks'],
  ])('in a line: %s', (_what, report, line) => { expect(collectLine(report)).toBe(line) })

  test('how much of what nobody needs has been gone through, while it is taken away', () => {
    expect(collectText(collect({ state: 'busy', phase: 'collecting', doneShare: 0.5, doneBytes: 1024, totalBytes: 4096 }))).toMatch(/^collect +collecting: 50 %, 1\.0 KiB of 4\.0 KiB$/m)
  })

  test('at length: what waits, what is held up, what stays, what was done, and what is wrong', () => {
    expect(collectText(collect({
      state: 'busy', phase: 'walking', doneShare: 0.256, totalBytes: 2048, etaMs: 65_000, failure: 'the index is shut', collectAfterMs: 5000,
      found: { condemnedBlocks: 3, condemnedBytes: 4096, unreferencedBlocks: 2, unreferencedBytes: 2048, heldUpBlocks: 1 },
      total: { collectedBlocks: 7, collectedBytes: 1024, sparedBlocks: 1, publishedDeaths: 4, abandonedUploads: 2 }, publishing: { phase: 'waiting', doneShare: 1, failure: 'too few replicas' },
    })).split('\n')).toEqual([
      'collect       walking: 25 %, 2.0 KiB found that nobody needs, about 1m05s left',
      'condemned     3 blocks, 4.0 KiB, which nobody needs, go 5s after that was found',
      'held up       1 blocks, until more of those that may need them answer',
      'unreferenced  2 blocks, 2.0 KiB: recorded for no version, so they stay',
      'after         5s',
      'done          7 blocks taken away, 1.0 KiB, 1 needed again since the start',
      'deaths        4 published, 2 uploads given up since the start; too few replicas',
      'failure       the index is shut',
    ])
  })
})
