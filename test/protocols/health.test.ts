import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MalformedBytes, utf8 } from '../../src/base/bytes.ts'
import { Corrupt } from '../../src/base/errors.ts'
import { hash } from '../../src/base/hash.ts'
import { peerIdOf } from '../../src/base/peer-id.ts'
import { RequestRefused } from '../../src/network/index.ts'
import { decodeHealth, encodeHealth, type Health, healthAt, healthLimits, healthProtocol, serveHealth, toldVersion } from '../../src/protocols/health.ts'
import { expectRefused, flips } from '../support/damage.ts'
import { memoryNetwork } from '../support/memory-requests.ts'

const health: Health = {
  wallMs: 1_800_000_000_000, hasSurveyed: true, isTruncated: false, holdsBlocks: true, isRepairPaused: false, hasScrubbed: true, isScrubPaused: false,
  softwareVersion: '0.1.0', shortBlocks: 7, versionsAtRisk: ['0011223344556677', 'ffeeddccbbaa9988'],
}
const [a, b] = ['a', 'b'].map((name) => peerIdOf(hash(utf8(name)))) as [ReturnType<typeof peerIdOf>, ReturnType<typeof peerIdOf>]

describe('the health protocol', () => {
  test('carries how a node is', async () => {
    const network = memoryNetwork()
    network.of(a)
    await serveHealth(network.of(b), () => health)
    expect(await healthAt(network.of(a), b, {})).toEqual(health)
  })

  test('refuses what is no question, and believes no answer that is none', async () => {
    const network = memoryNetwork()
    await serveHealth(network.of(b), () => health)
    for (const body of [[], [0], [2], [1, 1]]) await expect(network.of(a).request(b, healthProtocol, [Uint8Array.from(body)], { timeoutMs: 1000, maxAnswerBytes: 1000 })).rejects.toThrow(RequestRefused)
    await network.of(a).handle(healthProtocol, async () => [utf8('very well, thank you')], { maxRequestBytes: 16, maxConcurrent: 1 })
    await expect(healthAt(network.of(b), a, {})).rejects.toThrow(Corrupt)
  })

  test('is read back as it was written, whatever it is', () => {
    const bool = fc.boolean()
    const version = fc.uint8Array({ minLength: 8, maxLength: 8 }).map((bytes) => Buffer.from(bytes).toString('hex'))
    fc.assert(fc.property(fc.record({
      wallMs: fc.nat(2 ** 45), hasSurveyed: bool, isTruncated: bool, holdsBlocks: bool, isRepairPaused: bool, hasScrubbed: bool, isScrubPaused: bool,
      softwareVersion: fc.constantFrom('0.1.0', '1.2.3-beta.4+5', ''), shortBlocks: fc.nat(2 ** 31), versionsAtRisk: fc.array(version, { maxLength: 20 }),
    }), (any) => { expect(decodeHealth(encodeHealth(any))).toEqual(any) }))
  })

  test('lists no more than fits, and says that there is more', () => {
    const many = { ...health, versionsAtRisk: Array.from({ length: healthLimits.maxVersions + 1 }, (_, i) => i.toString(16).padStart(16, '0')) }
    const bytes = encodeHealth(many)
    expect(bytes.byteLength).toBeLessThan(healthLimits.maxAnswerBytes)
    expect(decodeHealth(bytes)).toMatchObject({ isTruncated: true, versionsAtRisk: { length: healthLimits.maxVersions } })
    expect(toldVersion('00112233445566778899')).toBe('0011223344556677')
  })

  test('takes no bytes that are cut, longer, or of another version, and stumbles over none', () => {
    const bytes = encodeHealth(health)
    for (let length = 0; length < bytes.byteLength; length++) expectRefused(`cut to ${length}`, () => decodeHealth(bytes.subarray(0, length)), MalformedBytes)
    expectRefused('longer', () => decodeHealth(Uint8Array.from([...bytes, 0])), MalformedBytes)
    expectRefused('another version', () => decodeHealth(Uint8Array.from(bytes, (byte, i) => i === 0 ? 2 : byte)), MalformedBytes)
    for (const { name, bytes: flipped } of flips(bytes)) {
      try { decodeHealth(flipped) } catch (error) { if (!(error instanceof MalformedBytes) && !(error instanceof TypeError)) throw new Error(`${name} stumbled`, { cause: error }) }
    }
  })
})
