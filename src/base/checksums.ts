import { createHash } from 'node:crypto'
import { crc32 as zlibCrc32 } from 'node:zlib'

/** A digest over pieces as they come. */
export interface Digester {
  update (bytes: Uint8Array): void
  /** Big-endian. To be asked once, at the end. */
  digest (): Uint8Array
}

export const digesters = {
  md5: () => hasher('md5'),
  sha1: () => hasher('sha1'),
  sha256: () => hasher('sha256'),
  crc32,
  crc32c,
  crc64nvme,
} as const satisfies Record<string, () => Digester>

function hasher (algorithm: string): Digester {
  const hash = createHash(algorithm)
  return { update: (bytes) => { hash.update(bytes) }, digest: () => new Uint8Array(hash.digest()) }
}

function crc32 (): Digester {
  let value = 0
  return { update: (bytes) => { value = zlibCrc32(bytes, value) }, digest: () => words(value) }
}

/**
 * CRC-32C (RFC 3720, appendix B.4; polynomial 0x82f63b78, reflected) and CRC-64/NVME (NVM Express 2.0, §5.2.1.3.4; 0x9a6c9329ac4bc9b5), eight bytes a step
 * (Kounavis and Berry, "A Systematic Approach to Building High Performance Software-based CRC Generators", 2005): table n gives what a byte makes when n
 * others have followed it. Numbers are halves of 32 bits: BigInt is thirty times slower.
 */
function crc32c (): Digester {
  const tables = tablesOf32()
  const [t0, t1, t2, t3, t4, t5, t6, t7] = tables as [Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array]
  let state = -1
  return {
    update (bytes) {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      let crc = state
      let at = 0
      for (const end = bytes.byteLength - 7; at < end; at += 8) {
        const low = crc ^ view.getInt32(at, true)
        const high = view.getInt32(at + 4, true)
        crc = (t7[low & 0xff] as number) ^ (t6[(low >>> 8) & 0xff] as number) ^ (t5[(low >>> 16) & 0xff] as number) ^ (t4[low >>> 24] as number) ^
          (t3[high & 0xff] as number) ^ (t2[(high >>> 8) & 0xff] as number) ^ (t1[(high >>> 16) & 0xff] as number) ^ (t0[high >>> 24] as number)
      }
      for (; at < bytes.byteLength; at++) crc = (t0[(crc ^ (bytes[at] as number)) & 0xff] as number) ^ (crc >>> 8)
      state = crc
    },
    digest: () => words(~state),
  }
}

function crc64nvme (): Digester {
  const { high: h, low: l } = tablesOf64()
  let [stateHigh, stateLow] = [-1, -1]
  return {
    update (bytes) {
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
      let [high, low] = [stateHigh, stateLow]
      let at = 0
      for (const end = bytes.byteLength - 7; at < end; at += 8) {
        const a = low ^ view.getInt32(at, true)
        const b = high ^ view.getInt32(at + 4, true)
        const [i0, i1, i2, i3] = [0x700 | (a & 0xff), 0x600 | ((a >>> 8) & 0xff), 0x500 | ((a >>> 16) & 0xff), 0x400 | (a >>> 24)]
        const [i4, i5, i6, i7] = [0x300 | (b & 0xff), 0x200 | ((b >>> 8) & 0xff), 0x100 | ((b >>> 16) & 0xff), b >>> 24]
        high = (h[i0] as number) ^ (h[i1] as number) ^ (h[i2] as number) ^ (h[i3] as number) ^ (h[i4] as number) ^ (h[i5] as number) ^ (h[i6] as number) ^ (h[i7] as number)
        low = (l[i0] as number) ^ (l[i1] as number) ^ (l[i2] as number) ^ (l[i3] as number) ^ (l[i4] as number) ^ (l[i5] as number) ^ (l[i6] as number) ^ (l[i7] as number)
      }
      for (; at < bytes.byteLength; at++) {
        const i = (low ^ (bytes[at] as number)) & 0xff
        low = (l[i] as number) ^ ((low >>> 8) | (high << 24))
        high = (h[i] as number) ^ (high >>> 8)
      }
      ;[stateHigh, stateLow] = [high, low]
    },
    digest: () => words(~stateHigh, ~stateLow),
  }
}

function words (...values: number[]): Uint8Array {
  const bytes = new Uint8Array(4 * values.length)
  const view = new DataView(bytes.buffer)
  for (const [i, value] of values.entries()) view.setUint32(4 * i, value >>> 0)
  return bytes
}

const tablesOf32 = once((): readonly Uint32Array[] => {
  const tables = Array.from({ length: 8 }, () => new Uint32Array(256))
  const first = tables[0] as Uint32Array
  for (let i = 0; i < 256; i++) {
    let crc = i
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) === 0 ? 0 : 0x82f63b78)
    first[i] = crc
  }
  for (let n = 1; n < 8; n++) {
    const [table, before] = [tables[n] as Uint32Array, tables[n - 1] as Uint32Array]
    for (let i = 0; i < 256; i++) table[i] = (first[(before[i] as number) & 0xff] as number) ^ ((before[i] as number) >>> 8)
  }
  return tables
})

/** Eight tables in one: entry n << 8 | byte. */
const tablesOf64 = once((): { high: Int32Array, low: Int32Array } => {
  const polynomial = 0x9a6c9329ac4bc9b5n
  const values = new BigUint64Array(8 * 256)
  for (let i = 0; i < 256; i++) {
    let crc = BigInt(i)
    for (let bit = 0; bit < 8; bit++) crc = (crc >> 1n) ^ ((crc & 1n) === 0n ? 0n : polynomial)
    values[i] = crc
  }
  for (let i = 256; i < values.length; i++) {
    const before = values[i - 256] as bigint
    values[i] = (values[Number(before & 0xffn)] as bigint) ^ (before >> 8n)
  }
  return { high: Int32Array.from(values, (value) => Number(BigInt.asIntN(32, value >> 32n))), low: Int32Array.from(values, (value) => Number(BigInt.asIntN(32, value))) }
})

function once<T> (make: () => T): () => T {
  let made: T | undefined
  return () => { made ??= make(); return made }
}

export type DigestName = keyof typeof digesters

/** Several digests of the same bytes, as they come. */
export interface RunningDigests extends Disposable {
  /** What it gives is to be awaited before the next: that bounds what waits to be digested. */
  update (bytes: Uint8Array): Promise<void> | undefined
  /** To be asked once, at the end. */
  finish (): Promise<ReadonlyMap<DigestName, Uint8Array>>
}

export type Digesting = (algorithms: readonly DigestName[]) => RunningDigests

/** On the thread of whoever asks. */
export const digestsHere: Digesting = (algorithms) => {
  const running = new Map(algorithms.map((name) => [name, digesters[name]()]))
  return {
    update (bytes) {
      for (const digester of running.values()) digester.update(bytes)
      return undefined
    },
    finish: () => Promise.resolve(new Map([...running].map(([name, digester]) => [name, digester.digest()]))),
    [Symbol.dispose]: () => {},
  }
}

/** Digests, and beside them a SHA-256 of one span of the bytes after the other. */
export interface RunningSpans extends RunningDigests {
  /** The span ends here; the next byte begins another. To be awaited as well. All that have ended are told before `finish` is done. */
  end (): Promise<void> | undefined
}

export interface SpansWanted {
  /** Of all spans together. */
  readonly algorithms: readonly DigestName[]
  /** Of all spans together, if that is known. */
  readonly sizeBytes: number | undefined
  /** Of each span, in order. */
  readonly onHash: (hash: Uint8Array) => void
}

export type SpanDigesting = (wanted: SpansWanted) => RunningSpans

/** On the thread of whoever asks. */
export const spansHere: SpanDigesting = ({ algorithms, onHash }) => {
  const whole = digestsHere(algorithms)
  let span = digesters.sha256()
  return {
    ...whole,
    update (bytes) {
      span.update(bytes)
      return whole.update(bytes)
    },
    end () {
      const hash = span.digest()
      span = digesters.sha256()
      onHash(hash)
      return undefined
    },
    [Symbol.dispose]: () => {},
  }
}
