import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'

/** The checksums that S3 clients send and ask for (https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html), as they are computed piece by piece. */
export const checksumAlgorithms = ['crc32', 'crc32c', 'crc64nvme', 'sha1', 'sha256'] as const
export type ChecksumAlgorithm = typeof checksumAlgorithms[number]

export interface RunningChecksum {
  update (bytes: Uint8Array): void
  digest (): Buffer
}

/** Bytes of a digest. */
export const checksumLengths: Readonly<Record<ChecksumAlgorithm, number>> = { crc32: 4, crc32c: 4, crc64nvme: 8, sha1: 20, sha256: 32 }

export function runningChecksum (algorithm: ChecksumAlgorithm): RunningChecksum {
  switch (algorithm) {
    case 'crc32': return runningCrc32((bytes, crc) => crc32(bytes, crc))
    case 'crc32c': return runningCrc32(crc32c)
    case 'crc64nvme': return runningCrc64()
    default: {
      const hash = createHash(algorithm)
      return { update: (bytes) => { hash.update(bytes) }, digest: () => hash.digest() }
    }
  }
}

function runningCrc32 (next: (bytes: Uint8Array, crc: number) => number): RunningChecksum {
  let crc = 0
  return {
    update: (bytes) => { crc = next(bytes, crc) },
    digest: () => { const bytes = Buffer.alloc(4); bytes.writeUInt32BE(crc >>> 0); return bytes },
  }
}

const slices = 8

/** CRC-32C (Castagnoli, RFC 3720 appendix B.4), eight bytes a step (slicing-by-8, Kounavis and Berry 2005). */
function crc32c (bytes: Uint8Array, previous: number): number {
  const tables = crc32cTables
  let crc = ~previous
  let at = 0
  const end = bytes.length - (bytes.length % slices)
  for (; at < end; at += slices) {
    crc ^= (bytes[at] as number) | (bytes[at + 1] as number) << 8 | (bytes[at + 2] as number) << 16 | (bytes[at + 3] as number) << 24
    crc = (tables[1792 + (crc & 255)] as number) ^ (tables[1536 + (crc >>> 8 & 255)] as number) ^ (tables[1280 + (crc >>> 16 & 255)] as number) ^ (tables[1024 + (crc >>> 24)] as number) ^
      (tables[768 + (bytes[at + 4] as number)] as number) ^ (tables[512 + (bytes[at + 5] as number)] as number) ^ (tables[256 + (bytes[at + 6] as number)] as number) ^ (tables[bytes[at + 7] as number] as number)
  }
  for (; at < bytes.length; at++) crc = (crc >>> 8) ^ (tables[(crc ^ (bytes[at] as number)) & 255] as number)
  return ~crc >>> 0
}

const crc32cTables = tablesOf(0x82f63b78n, (value) => Number(value & 0xffffffffn))

/** CRC-64/NVME (NVM Express NVM Command Set 1.0c, 5.2.1.3.4), in halves of 32 bits. */
function runningCrc64 (): RunningChecksum {
  let [high, low] = [-1, -1]
  return {
    update (bytes) {
      let at = 0
      const end = bytes.length - (bytes.length % slices)
      for (; at < end; at += slices) {
        const a = low ^ ((bytes[at] as number) | (bytes[at + 1] as number) << 8 | (bytes[at + 2] as number) << 16 | (bytes[at + 3] as number) << 24)
        const b = high ^ ((bytes[at + 4] as number) | (bytes[at + 5] as number) << 8 | (bytes[at + 6] as number) << 16 | (bytes[at + 7] as number) << 24)
        const [i, j, k, l] = [1792 + (a & 255), 1536 + (a >>> 8 & 255), 1280 + (a >>> 16 & 255), 1024 + (a >>> 24)]
        const [m, n, o, p] = [768 + (b & 255), 512 + (b >>> 8 & 255), 256 + (b >>> 16 & 255), b >>> 24]
        low = (crc64Low[i] as number) ^ (crc64Low[j] as number) ^ (crc64Low[k] as number) ^ (crc64Low[l] as number) ^ (crc64Low[m] as number) ^ (crc64Low[n] as number) ^ (crc64Low[o] as number) ^ (crc64Low[p] as number)
        high = (crc64High[i] as number) ^ (crc64High[j] as number) ^ (crc64High[k] as number) ^ (crc64High[l] as number) ^ (crc64High[m] as number) ^ (crc64High[n] as number) ^ (crc64High[o] as number) ^ (crc64High[p] as number)
      }
      for (; at < bytes.length; at++) {
        const index = (low ^ (bytes[at] as number)) & 255
        low = (low >>> 8 | high << 24) ^ (crc64Low[index] as number)
        high = (high >>> 8) ^ (crc64High[index] as number)
      }
    },
    digest () {
      const bytes = Buffer.alloc(8)
      bytes.writeUInt32BE(~high >>> 0)
      bytes.writeUInt32BE(~low >>> 0, 4)
      return bytes
    },
  }
}

const crc64Polynomial = 0x9a6c9329ac4bc9b5n
const crc64Low = tablesOf(crc64Polynomial, (value) => Number(value & 0xffffffffn))
const crc64High = tablesOf(crc64Polynomial, (value) => Number(value >> 32n))

/** Eight tables of 256, one behind the other: the k-th has what a byte does to the register k bytes later. The polynomial is reflected. */
function tablesOf (polynomial: bigint, half: (value: bigint) => number): Int32Array {
  const first = Array.from({ length: 256 }, (_, byte) => {
    let value = BigInt(byte)
    for (let bit = 0; bit < 8; bit++) value = (value & 1n) === 1n ? value >> 1n ^ polynomial : value >> 1n
    return value
  })
  const tables = new Int32Array(256 * slices)
  let table = first
  for (let k = 0; k < slices; k++) {
    for (const [byte, value] of table.entries()) tables[k * 256 + byte] = half(value)
    table = table.map((value) => value >> 8n ^ (first[Number(value & 255n)] as bigint))
  }
  return tables
}
