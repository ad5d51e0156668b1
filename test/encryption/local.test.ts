import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Corrupt } from '../../src/base/errors.ts'
import { localSealer } from '../../src/encryption/index.ts'
import { bytesOf, payloads, scripted } from '../support/arbitraries.ts'
import { cutsAndGrowths, expectRefused, flips } from '../support/damage.ts'
import { Wrong, zeros } from '../support/reference/bytes.ts'
import { localPage, openLocalPage } from '../support/reference/local.ts'

const [diskKey, aad, fresh, plaintext] = [zeros(32).fill(1), zeros(5).fill(2), zeros(32).fill(3), zeros(80).fill(4)]

function expectNeitherOpens (name: string, page: Uint8Array, { key = diskKey, bound = aad } = {}): void {
  expectRefused(name, () => localSealer(key, scripted()).open(bound, page), Corrupt)
  expectRefused(`${name}, by the reference`, () => openLocalPage(key, bound, page), Wrong)
}

describe('pages under K_disk, by two implementations', () => {
  test('are the same bytes for the same random bytes, and each opens the other\'s', () => {
    fc.assert(fc.property(bytesOf(32), payloads(40), payloads(), bytesOf(32), (key, bound, of, drawn) => {
      const page = localPage(key, { aad: bound, plaintext: of, fresh: drawn })
      const sealer = localSealer(key, scripted(drawn))
      expect(sealer.seal(bound, of)).toEqual(page)
      expect(sealer.open(bound, page)).toEqual(of)
      expect(openLocalPage(key, bound, page)).toEqual(of)
    }))
  })

  test('with a bit flipped, cut short, grown, bound to something else or of another disk are refused by both', () => {
    const page = localPage(diskKey, { aad, plaintext, fresh })
    for (const { name, bytes } of [...flips(page, { most: Infinity }), ...cutsAndGrowths(page)]) expectNeitherOpens(name, bytes)
    expectNeitherOpens('bound', page, { bound: zeros(5) })
    expectNeitherOpens('disk', page, { key: zeros(32) })
  })
})
