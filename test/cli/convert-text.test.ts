import { expect, test } from 'vitest'
import { convertLine } from '../../src/cli/convert-text.ts'
import type { ConvertReport } from '../../src/node.ts'

const convert = (changed: Partial<ConvertReport> = {}): ConvertReport => ({
  state: 'busy', phase: 'converting', doneShare: 0.255, doneBytes: 1, totalBytes: 4, etaMs: 90_000, failure: undefined, found: { versions: 7, bytes: 3 * 2 ** 20, isAtLeast: false }, buckets: ['photos'], total: { convertedVersions: 0, convertedBytes: 0, failures: 0 }, ...changed,
})

test('a line of status says how far a bucket is converted, and where one asks for the rest', () => {
  expect(convertLine(convert())).toBe('converting: 25 %, 7 left, 3.0 MiB, about 1m30s more, in photos; this node\'s share, "dfs convert status" tells of all')
  expect(convertLine(convert({ buckets: ['a', 'b', 'c', 'd', 'e'] }))).toMatch(/, in a, b, c and 2 more; /)
  expect(convertLine(convert({ state: 'paused', phase: 'waiting', found: undefined }))).toMatch(/^paused; this node's share/)
})

test('there is no such line where nothing is to be converted', () => {
  const nothing = { versions: 0, bytes: 0, isAtLeast: false }
  expect([undefined, convert({ found: nothing, phase: 'waiting', state: 'idle' }), convert({ found: undefined, phase: 'surveying' }), convert({ found: nothing, phase: 'surveying' })].map(convertLine)).toEqual([undefined, undefined, undefined, undefined])
})
