import { expect, test } from 'vitest'
import { InvalidInput } from '../../src/base/errors.ts'
import { untilOf } from '../../src/cli/commands/lock.ts'

const nowMs = Date.UTC(2030, 5, 1)

test.each([
  ['2030-12-31', Date.UTC(2030, 11, 31)], ['2030-12-31T12:00Z', Date.UTC(2030, 11, 31, 12)], ['2030-12-31T12:00:00.5+02:00', Date.UTC(2030, 11, 31, 10, 0, 0, 500)],
  ['30d', nowMs + 30 * 86_400_000], ['90s', nowMs + 90_000], ['none', null],
])('a retention until %s is one', (text, until) => { expect(untilOf(text, nowMs)).toBe(until) })

test.each(['tomorrow', '2030', '31.12.2030', '2030-02-30', '2030-13-01', '2030-12-31T25:00:00Z', '2030-12-31T12:00:00', '0d', '', '1y', '1893456000000'])('a retention until "%s" is refused, with what it takes', (text) => {
  expect(() => untilOf(text, nowMs)).toThrow(InvalidInput)
  expect(() => untilOf(text, nowMs)).toThrow('such as 2030-12-31')
})
