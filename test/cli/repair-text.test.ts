import { describe, expect, test } from 'vitest'
import { repairLine, repairText } from '../../src/cli/repair-text.ts'
import type { RepairReport } from '../../src/node.ts'

const found = { layoutVersion: '3', objectsAtRisk: 0, isAtLeast: false, shortBlocks: 0, goneBlocks: 0, narrowBlocks: 0, misplacedBlocks: 0, misplacedBytes: 0 }
const repair = (changed: Partial<RepairReport> = {}): RepairReport => ({
  state: 'idle', phase: 'waiting', why: 'it is time', doneShare: 1, doneBytes: 0, totalBytes: 0, etaMs: undefined, failure: undefined, full: [], found,
  total: { broughtBlocks: 0, fetchedBlocks: 0, releasedBlocks: 0, movedBytes: 0, failures: 0 }, ...changed,
})
const working = { state: 'busy', phase: 'repairing', doneShare: 0.256, doneBytes: 1024, totalBytes: 4096, etaMs: 65_000 } as const

describe('what a person reads of repair', () => {
  test.each<[string, RepairReport | undefined, string]>([
    ['all is well', repair(), 'full'],
    ['nobody has looked yet', repair({ found: undefined }), 'not everything has been looked at since the start'],
    ['it is paused', repair({ state: 'paused' }), 'full; paused'],
    ['it works', repair({ ...working, found: { ...found, objectsAtRisk: 2, shortBlocks: 7 } }), '2 objects at risk, 7 blocks short; repairing: 25 %, 1.0 KiB of 4.0 KiB, about 1m05s left'],
    ['some is perhaps lost', repair({ found: { ...found, objectsAtRisk: 9, isAtLeast: true, shortBlocks: 7, goneBlocks: 1 } }), 'at least 9 objects at risk, 7 blocks short, 1 of them without enough known copies to be read'],
    ['more nodes are asked for than there are', repair({ found: { ...found, objectsAtRisk: 3, narrowBlocks: 5 } }), '3 objects at risk, 5 blocks that ask for more nodes than there are'],
    ['a witness', undefined, 'nothing to repair: a witness holds no blocks'],
  ])('in a line: %s', (_what, report, line) => { expect(repairLine(report)).toBe(line) })

  test('of what was looked at under another layout: that, and not "full"', () => {
    expect(repairLine(repair(), '3')).toBe('full')
    expect(repairLine(repair(), '4')).toBe('not everything has been looked at since the layout changed')
    expect(repairLine(repair({ found: { ...found, objectsAtRisk: 2, shortBlocks: 7 } }), '4')).toBe('2 objects at risk, 7 blocks short; not everything has been looked at since the layout changed')
    expect(repairText(repair(), { layoutVersion: '4' })).toMatch(/redundancy +not everything/)
  })

  test('at length', () => {
    expect(repairText(repair({ ...working, state: 'paused', full: ['peer'], found: { ...found, misplacedBlocks: 3, misplacedBytes: 2048 } })).split('\n')).toEqual([
      'repair      repairing: 25 %, 1.0 KiB of 4.0 KiB, paused',
      'why         it is time',
      'redundancy  full',
      'misplaced   3 blocks, 2.0 KiB, to be given up once they are where they belong',
      'done        0 brought, 0 fetched, 0 given up, 0 B moved, 0 failures since the start',
      'full        peer',
    ])
  })

  test('and of comparing rows, and of announcing again', () => {
    const compare = { state: 'busy', phase: 'comparing', doneShare: 0.25, donePartitions: 1024, totalPartitions: 4097, etaMs: 3000, failure: undefined, total: { comparisons: 3, failures: 1, handedOverRows: 2, handedOverBytes: 2048 } } as const
    const announce = { state: 'idle', phase: 'waiting', doneShare: 1, etaMs: undefined, failure: undefined, total: { announcedObjects: 7, providedRoots: 9, failures: 0 } } as const
    expect(repairText(repair(), { compare, announce }).split('\n').slice(-2)).toEqual([
      'rows        comparing: 25 %, 1024 of 4097 partitions, about 3s left; 3 replicas compared with, 1 of them failed, 2 rows handed over, 2.0 KiB, since the start',
      'announced   waiting; 7 objects told again, 9 roots provided again, 0 failures since the start',
    ])
  })
})
