import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { concat } from '../../src/base/bytes.ts'
import { digesters } from '../../src/base/checksums.ts'
import { type CombinableCrc, combinedCrc, isCombinable } from '../../src/base/combined-crc.ts'

const crcOf = (algorithm: CombinableCrc, bytes: Uint8Array): Uint8Array => {
  const digester = digesters[algorithm]()
  digester.update(bytes)
  return digester.digest()
}

describe.each(['crc32', 'crc32c', 'crc64nvme'] as const)('%s of pieces', (algorithm) => {
  test('makes that of the whole', () => {
    fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 12 }), (pieces) => {
      const combined = combinedCrc(algorithm, pieces.map((piece) => ({ value: crcOf(algorithm, piece), sizeBytes: piece.byteLength })))
      expect(combined).toEqual(crcOf(algorithm, concat(pieces)))
    }))
  })

  test('longer than 32 bits can count: zeros behind zeros are as many zeros', () => {
    // doubled again and again; the last step is held against ten of a tenth
    let [value, sizeBytes] = [crcOf(algorithm, new Uint8Array(1)), 1]
    const twice = (): void => { value = combinedCrc(algorithm, [{ value, sizeBytes }, { value, sizeBytes }]); sizeBytes *= 2 }
    for (let i = 0; i < 10; i++) twice()
    expect(value).toEqual(crcOf(algorithm, new Uint8Array(1024)))
    while (sizeBytes < 2 ** 33) twice()
    const [whole, half] = [{ value, sizeBytes }, { value: combinedCrc(algorithm, [{ value, sizeBytes }]), sizeBytes }]
    const oneByte = { value: crcOf(algorithm, new Uint8Array(1)), sizeBytes: 1 }
    expect(combinedCrc(algorithm, [oneByte, whole, half])).toEqual(combinedCrc(algorithm, [whole, oneByte, half]))
  })

  test('of 10,000 parts of different lengths takes no second', () => {
    const pieces = Array.from({ length: 10_000 }, (_, i) => ({ value: crcOf(algorithm, Uint8Array.of(i & 0xff)), sizeBytes: 5 * 1024 ** 2 + i }))
    expect(combinedCrc(algorithm, pieces)).toHaveLength(algorithm === 'crc64nvme' ? 8 : 4)
  })
})

test('digests that are no CRC do not combine', () => {
  expect(['sha1', 'sha256', 'md5', 'toString'].filter(isCombinable)).toEqual([])
})
