import { describe, expect, test } from 'vitest'
import { utf8 } from '../../../src/base/bytes.ts'
import { hash } from '../../../src/base/hash.ts'
import { type PeerId, peerIdOf } from '../../../src/base/peer-id.ts'
import { convertText } from '../../../src/cli/convert-text.ts'
import { clusterConversionOf } from '../../../src/node/work/converting.ts'
import type { ToldConversion } from '../../../src/protocols/conversion.ts'

const ids = ['a', 'b', 'c'].map((name) => peerIdOf(hash(utf8(name)))) as [PeerId, PeerId, PeerId]
const done: ToldConversion = { isPaused: false, isAtLeast: false, surveyed: 7, leftVersions: 0, leftBytes: 0, doneBytes: 0, totalBytes: 0, etaMs: undefined }
const of = (...each: ReadonlyArray<Partial<ToldConversion>>) =>
  clusterConversionOf({ settings: 7, told: new Map(each.map((one, i) => [ids[i] as PeerId, { ...done, ...one }])), silent: ids.slice(each.length) })

describe('conversion in the cluster', () => {
  test('is done when every member has looked since a bucket was last changed, and found nothing', () => {
    expect(of({}, {}, {})).toMatchObject({ isDone: true, isAtLeast: false, versions: 0, silent: [] })
  })

  test.each<[string, ReadonlyArray<Partial<ToldConversion>>]>([
    ['one has something left', [{}, { leftVersions: 1 }, {}]],
    ['one has not looked yet', [{}, { surveyed: 0 }, {}]],
    ['one has looked before a bucket was changed again', [{}, { surveyed: 6 }, {}]],
    ['one could not count all', [{}, { isAtLeast: true }, {}]],
    ['one does not tell', [{}, {}]],
  ])('is not done while %s', (_what, told) => { expect(of(...told).isDone).toBe(false) })

  test('adds up what each has left and done, and names who is paused', () => {
    expect(of({ leftVersions: 1, leftBytes: 10, doneBytes: 5, totalBytes: 15 }, { leftVersions: 2, leftBytes: 20, isPaused: true, doneBytes: 1, totalBytes: 21 }, {}))
      .toMatchObject({ versions: 3, bytes: 30, doneBytes: 6, totalBytes: 36, isAtLeast: false, paused: [ids[1]] })
  })

  test('is done when the slowest of those that have something left is, if all of them can say', () => {
    expect(of({ leftVersions: 1, etaMs: 1000 }, { leftVersions: 1, etaMs: 9000 }, { etaMs: undefined }).etaMs).toBe(9000)
    expect(of({ leftVersions: 1, etaMs: 1000 }, { leftVersions: 1 }, {}).etaMs).toBeUndefined()
    expect(of({ leftVersions: 1, etaMs: 1000 }, {}).etaMs).toBeUndefined()
    expect(of({}, {}, {}).etaMs).toBeUndefined()
  })

  test('is told to people: what is left, by whom it is not told, and what it waits for', () => {
    const own = { state: 'busy', phase: 'converting', doneShare: 0.5, doneBytes: 0, totalBytes: 0, etaMs: 60_000, failure: 'a block reached 2 of the 3 holders it needs', found: { versions: 1, bytes: 1024, isAtLeast: false }, buckets: [], total: { convertedVersions: 4, convertedBytes: 4096, failures: 1 } } as const
    const text = convertText({ ...own, cluster: of({ leftVersions: 3, leftBytes: 2048, doneBytes: 1, totalBytes: 2 }, {}) })
    for (const part of ['at least 3 objects and versions', '50 % done', 'converting: 50 %', 'about', ids[2], 'a block reached 2 of the 3 holders']) expect(text).toContain(part)
    expect(convertText({ ...own, cluster: of({ leftVersions: 3, etaMs: 120_000 }, {}, {}) })).toContain('about 2m00s left')
    expect(convertText({ ...own, failure: undefined, phase: 'waiting', cluster: of({}, {}, {}) })).toContain('everything is kept in the form that its bucket asks for')
  })
})
