import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { hexOf, MalformedBytes, utf8 } from '../../src/base/bytes.ts'
import { Corrupt } from '../../src/base/errors.ts'
import { hash } from '../../src/base/hash.ts'
import { type PeerId, peerIdOf } from '../../src/base/peer-id.ts'
import { RequestRefused } from '../../src/network/index.ts'
import { conversionAt, conversionProtocol, decodeTold, encodeTold, serveConversion, type ToldConversion } from '../../src/protocols/conversion.ts'
import { expectRefused, flips } from '../support/damage.ts'
import { memoryNetwork } from '../support/memory-requests.ts'

const told: ToldConversion = { isPaused: false, isAtLeast: true, surveyed: 0x01020304, leftVersions: 5, leftBytes: 6, doneBytes: 7, totalBytes: 2 ** 40, etaMs: 8 }
const [a, b] = ['a', 'b'].map((name) => peerIdOf(hash(utf8(name)))) as [PeerId, PeerId]

describe('the conversion protocol', () => {
  test('carries how far a member is, in these bytes', async () => {
    const network = memoryNetwork()
    await serveConversion(network.of(b), () => told)
    expect(await conversionAt(network.of(a), b, {})).toEqual(told)
    expect(hexOf(encodeTold(told))).toBe(['01', '02', '01020304', '0000000000000005', '0000000000000006', '0000000000000007', '0000010000000000', '0000000000000008'].join(''))
  })

  test('refuses what is no question, and believes no answer that is none', async () => {
    const network = memoryNetwork()
    await serveConversion(network.of(b), () => told)
    for (const body of [[], [0], [2], [1, 1]]) await expect(network.of(a).request(b, conversionProtocol, [Uint8Array.from(body)], { timeoutMs: 1000, maxAnswerBytes: 1000 })).rejects.toThrow(RequestRefused)
    await network.of(a).handle(conversionProtocol, async () => [utf8('nearly done')], { maxRequestBytes: 16, maxConcurrent: 1 })
    await expect(conversionAt(network.of(b), a, {})).rejects.toThrow(Corrupt)
  })

  test('is read back as it was written, whatever it is', () => {
    const count = fc.nat(2 ** 31)
    fc.assert(fc.property(fc.record({ isPaused: fc.boolean(), isAtLeast: fc.boolean(), surveyed: count, leftVersions: count, leftBytes: count, doneBytes: count, totalBytes: count, etaMs: fc.option(count, { nil: undefined }) }), (any) => { expect(decodeTold(encodeTold(any))).toEqual(any) }))
  })

  test('takes no bytes that are cut, longer or of another version, and stumbles over none', () => {
    const bytes = encodeTold(told)
    for (let length = 0; length < bytes.byteLength; length++) expectRefused(`cut to ${length}`, () => decodeTold(bytes.subarray(0, length)), MalformedBytes)
    expectRefused('longer', () => decodeTold(Uint8Array.from([...bytes, 0])), MalformedBytes)
    expectRefused('another version', () => decodeTold(Uint8Array.from(bytes, (byte, i) => i === 0 ? 2 : byte)), MalformedBytes)
    for (const { name, bytes: flipped } of flips(bytes)) {
      try { decodeTold(flipped) } catch (error) { if (!(error instanceof MalformedBytes)) throw new Error(`${name} stumbled`, { cause: error }) }
    }
  })
})
