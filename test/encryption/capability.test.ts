import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { InvalidInput } from '../../src/base/errors.ts'
import { capabilityText, parseCapability } from '../../src/encryption/index.ts'
import { bytesOf } from '../support/arbitraries.ts'
import { cutsAndGrowths, expectRefused, flips } from '../support/damage.ts'
import { base64url, fromBase64url, Wrong } from '../support/reference/bytes.ts'
import { capability, openCapability } from '../support/reference/capability.ts'
import { H } from '../support/reference/keys.ts'

const drawn = fc.record({ clusterId: bytesOf(16), digest: bytesOf(32), ph: bytesOf(32) })
const prefix = 'dfs:r1:'
const example = capability({ clusterId: new Uint8Array(16).fill(1), digest: new Uint8Array(32).fill(2), ph: new Uint8Array(32).fill(3) })
const bytes = fromBase64url(example.slice(prefix.length))

function expectNeitherReads (name: string, text: string): void {
  expectRefused(name, () => parseCapability(text), InvalidInput)
  expectRefused(`${name}, by the reference`, () => openCapability(text), Wrong)
}

describe('read capabilities, by two implementations', () => {
  test('are the same text, and each reads the other\'s', () => {
    fc.assert(fc.property(drawn, (from) => {
      const text = capability(from)
      expect(capabilityText(from)).toBe(text)
      expect(parseCapability(text)).toEqual(from)
      expect(openCapability(capabilityText(from))).toEqual(from)
    }))
  })

  test('with any one bit flipped are refused by both', () => {
    for (const { name, bytes: flipped } of flips(bytes, { most: Infinity })) expectNeitherReads(name, prefix + base64url(flipped))
  })

  test('with any one character changed, or without it, are refused by both', () => {
    for (let at = 0; at < example.length; at++) {
      for (const other of ['A', 'b', '-', '=', ' ', 'é'].filter((letter) => letter !== example[at])) expectNeitherReads(`${other} at ${at}`, example.slice(0, at) + other + example.slice(at + 1))
      expectNeitherReads(`without ${at}`, example.slice(0, at) + example.slice(at + 1))
    }
  })

  test('cut short or grown are refused by both', () => {
    for (const { name, bytes: damaged } of cutsAndGrowths(bytes)) expectNeitherReads(name, prefix + base64url(damaged))
  })

  test('have one spelling: neither padding nor blanks nor other last bits', () => {
    for (const more of ['=', '==', ' ', '\n', 'A']) expectNeitherReads(JSON.stringify(more), example + more)
    expectNeitherReads('blank before', ` ${example}`)
    const last = example.slice(-1)
    for (const other of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'.replace(last, '')) expectNeitherReads(`ends with ${other}`, example.slice(0, -1) + other)
  })

  test('of another version are refused by both, rightly checked though they are', () => {
    const body = Uint8Array.from([2, ...bytes.slice(1, -4)])
    expectNeitherReads('version 2', prefix + base64url(Uint8Array.from([...body, ...H(body).slice(0, 4)])))
  })
})
