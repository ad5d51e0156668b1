import { describe, expect, test } from 'vitest'
import { systemClock } from '../../src/base/clock.ts'
import { harmlessText } from '../../src/cli/output.ts'
import { progressLine, progressOf } from '../../src/cli/progress.ts'

const mib = 1024 * 1024
const half = { label: 'f', doneBytes: 512 * 1024, runBytes: 512 * 1024, totalBytes: mib, seconds: 2 }

describe('a progress line', () => {
  test('has share, rate and time left', () => {
    expect(progressLine(half)).toBe('f  [=====     ] 50%  512.0 KiB of 1.0 MiB  256.0 KiB/s  2s left')
    expect(progressLine({ ...half, columns: 120 })).toBe('f  [============            ] 50%  512.0 KiB of 1.0 MiB  256.0 KiB/s  2s left')
    expect(progressLine({ label: '-', doneBytes: 10, runBytes: 10, totalBytes: undefined, seconds: 1 })).toBe('-  10 B  10 B/s')
  })

  test('shortens a long name in its middle, and never what it is for', () => {
    const line = progressLine({ ...half, label: 'photos/2026/summer/img_0001.jpg' })
    expect(line).toMatch(/^photos\/2…0001\.jpg {2}\[.* 2s left$/)
    expect(line.length).toBeLessThanOrEqual(79)
    const longest = progressLine({ label: 'a'.repeat(200), doneBytes: 1023.9 * mib, runBytes: 1023.9 * mib, totalBytes: 1024 * 1024 * mib - 1, seconds: 1 })
    expect(longest.length).toBe(79)
    expect(longest).toMatch(/left$/)
  })

  test('counts what was there already in the share and not in the rate', () => {
    let now = 0
    let written = ''
    const clock = { wallMs: () => now, monotonicMs: () => now, sleep: async () => {}, after: () => () => {} }
    const progress = progressOf({ label: 'f', totalBytes: 10 * mib, doneBytes: 8 * mib, clock, terminal: { isTTY: true, columns: 80, write: (text) => { written = text; return true } } })
    now = 1000
    progress.add(mib)
    expect(written).toContain('90%  9.0 MiB of 10.0 MiB  1.0 MiB/s  1s left')
  })
})

test('what others have put into a name gives no command to the terminal', () => {
  expect(harmlessText('photos/\u001b[2J\u001b]0;x\u0007\r\u009b\u202eгород\tb\nc')).toBe('photos/\\u001b[2J\\u001b]0;x\\u0007\\u000d\\u009b\\u202eгород\tb\nc')
  let shown = ''
  const progress = progressOf({ label: 'a\u001b[2Jb', totalBytes: 10, clock: { ...systemClock, monotonicMs: () => 1 }, terminal: { isTTY: true, write: (text) => { shown += text; return true } } })
  progress.add(5)
  expect(shown.replace('\r\u001b[2K', '')).toMatch(/^a\\u001b\[2Jb/)
})
