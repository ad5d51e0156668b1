import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { hexOf, utf8 } from '../../src/base/bytes.ts'
import { digesters } from '../../src/base/checksums.ts'

// the check values of the CRC catalogue (https://reveng.sourceforge.io/crc-catalogue/all.htm), of RFC 1321, RFC 3174 and FIPS 180-4
const published = [
  ['crc32', '123456789', 'cbf43926'], ['crc32c', '123456789', 'e3069283'], ['crc64nvme', '123456789', 'ae8b14860a799888'], ['crc64nvme', '', '0000000000000000'], ['crc32c', '', '00000000'],
  ['md5', 'abc', '900150983cd24fb0d6963f7d28e17f72'], ['sha1', 'abc', 'a9993e364706816aba3e25717850c26c9cd0d89d'],
  ['sha256', 'abc', 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'],
] as const

describe('checksums', () => {
  test.each(published)('%s of "%s" is what is published', (algorithm, text, expected) => {
    const digester = digesters[algorithm]()
    digester.update(utf8(text))
    expect(hexOf(digester.digest())).toBe(expected)
  })

  // iSCSI's examples, RFC 3720 B.4
  test.each([[0x00, '8a9136aa'], [0xff, '62a8ab43']])('crc32c of 32 bytes of %i', (byte, expected) => {
    const digester = digesters.crc32c()
    digester.update(new Uint8Array(32).fill(byte))
    expect(hexOf(digester.digest())).toBe(expected)
  })

  test('do not depend on how the bytes are cut', () => {
    fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 6 }), (pieces) => {
      for (const make of Object.values(digesters)) {
        const [cut, whole] = [make(), make()]
        for (const piece of pieces) cut.update(piece)
        whole.update(Buffer.concat(pieces))
        expect(hexOf(cut.digest())).toBe(hexOf(whole.digest()))
      }
    }))
  })

  test('of eight bytes a step are those of one byte a time', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
      for (const algorithm of ['crc32c', 'crc64nvme'] as const) {
        const [atOnce, bytewise] = [digesters[algorithm](), digesters[algorithm]()]
        atOnce.update(bytes)
        for (const byte of bytes) bytewise.update(Uint8Array.of(byte))
        expect(hexOf(atOnce.digest())).toBe(hexOf(bytewise.digest()))
      }
    }))
  })
})
