import { describe, expect, test } from 'vitest'
import { scrubLine, scrubText } from '../../src/cli/scrub-text.ts'
import type { ScrubReport } from '../../src/node.ts'

const found = { pieces: 12, wrongPieces: 0, wrongReferences: 0, enteredFiles: 0, rows: 30, lostPartitions: 0, damagedFiles: 0 }
const last = { finished: '2026-01-02T03:04:05.000Z', finishedMs: 0, tookMs: 61_000, bytes: 2048, found }
const scrub = (changed: Partial<ScrubReport> = {}): ScrubReport => ({ state: 'idle', phase: 'waiting', doneShare: 1, doneBytes: 0, totalBytes: 0, etaMs: undefined, failure: undefined, everyMs: 30 * 86_400_000, found, last, ...changed })
const working = { state: 'busy', phase: 'blocks', doneShare: 0.256, doneBytes: 1024, totalBytes: 4096, etaMs: 65_000, found: { ...found, wrongPieces: 2, damagedFiles: 1 } } as const

describe('what a person reads of scrub', () => {
  test.each<[string, ScrubReport | undefined, string]>([
    ['all was read', scrub(), 'all was read by 2026-01-02T03:04:05.000Z: 12 blocks and shards, 30 rows, nothing wrong'],
    ['it reads for the first time', scrub({ ...working, last: undefined }), 'not everything has been read yet; blocks: 25 %, 1.0 KiB of 4.0 KiB, about 1m05s left'],
    ['it is paused', scrub({ state: 'paused', last: undefined }), 'not everything has been read yet; paused'],
    ['the node has just started', undefined, 'not yet begun'],
  ])('in a line: %s', (_what, report, line) => { expect(scrubLine(report)).toBe(line) })

  test('at length', () => {
    expect(scrubText(scrub({ ...working, failure: 'the disk' })).split('\n')).toEqual([
      'scrub      blocks: 25 %, 1.0 KiB of 4.0 KiB, about 1m05s left',
      'found      12 blocks and shards, 30 rows, 2 blocks or shards set aside, 1 files of indexes or journal damaged',
      'last pass  ended 2026-01-02T03:04:05.000Z, took 1m01s, read 2.0 KiB: 12 blocks and shards, 30 rows, nothing wrong',
      'every      720h00m',
      'failure    the disk',
    ])
  })
})
