import { base16 } from 'multiformats/bases/base16'
import { base64url } from 'multiformats/bases/base64'
import { concat } from 'uint8arrays/concat'
import { equals } from 'uint8arrays/equals'

export { concat, equals }

export const empty: Uint8Array = new Uint8Array(0)

// each base by itself: all of them are thirty modules, a fifth of the time that a command takes to start
const encoder = new TextEncoder()
export const utf8 = (text: string): Uint8Array => encoder.encode(text)
/** Keys of maps are made of it, thousands for a page of a listing: by Node, a quarter of the time that a library takes which puts characters together. */
export const hexOf = ({ buffer, byteOffset, byteLength }: Uint8Array): string => Buffer.from(buffer, byteOffset, byteLength).toString('hex')
export const base64urlOf = (bytes: Uint8Array): string => base64url.baseEncode(bytes)
/** @throws Error if `text` is not base64url */
export const fromBase64url = (text: string): Uint8Array => base64url.baseDecode(text)
/** @throws Error if `text` is not hexadecimal of even length */
export const fromHex = (text: string): Uint8Array => base16.baseDecode(text)

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
/** @throws TypeError if `bytes` are not well-formed UTF-8 */
export const textOf = (bytes: Uint8Array): string => decoder.decode(bytes)

/** Byte order, as `Buffer.compare`: negative, zero or positive. */
export const compareBytes = (a: Uint8Array, b: Uint8Array): number => Buffer.compare(a, b)

/** First 12 bits: the partition, of 4,096, that a 32-byte key belongs to. */
export const partitionOf = (key: Uint8Array): number => ((key[0] ?? 0) << 4) | ((key[1] ?? 0) >> 4)
export const partitionCount = 4096

export class MalformedBytes extends Error {
  override name = 'MalformedBytes'
}

/** Appends fixed-width big-endian fields; every format of the project is written with it. */
export class ByteWriter {
  #bytes = Buffer.allocUnsafe(128)
  #length = 0

  u8 (value: number): this { return this.#advance(1, (at) => { this.#bytes.writeUInt8(value, at) }) }
  u16 (value: number): this { return this.#advance(2, (at) => { this.#bytes.writeUInt16BE(value, at) }) }
  u32 (value: number): this { return this.#advance(4, (at) => { this.#bytes.writeUInt32BE(value, at) }) }
  u64 (value: bigint | number): this { return this.#advance(8, (at) => { this.#bytes.writeBigUInt64BE(BigInt(value), at) }) }

  /** The bytes as they are, without a length. */
  raw (bytes: Uint8Array): this { return this.#advance(bytes.byteLength, (at) => { this.#bytes.set(bytes, at) }) }
  /** u8 length, then the bytes. */
  short (bytes: Uint8Array): this {
    if (bytes.byteLength > 0xff) throw new MalformedBytes(`field of ${bytes.byteLength} bytes does not fit a u8 length`)
    return this.u8(bytes.byteLength).raw(bytes)
  }

  /** u32 length, then the bytes. */
  long (bytes: Uint8Array): this { return this.u32(bytes.byteLength).raw(bytes) }
  /** Memory of its own. */
  finish (): Uint8Array { return new Uint8Array(this.#bytes.subarray(0, this.#length)) }

  #advance (length: number, write: (at: number) => void): this {
    const at = this.#length
    if (at + length > this.#bytes.byteLength) {
      const larger = Buffer.allocUnsafe(Math.max(2 * this.#bytes.byteLength, at + length))
      larger.set(this.#bytes.subarray(0, at))
      this.#bytes = larger
    }
    write(at)
    this.#length += length
    return this
  }
}

/** Reads what ByteWriter wrote; every read checks the length first. Results are views of the input. */
export class ByteReader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #offset = 0

  constructor (bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  }

  get offset (): number { return this.#offset }
  get remaining (): number { return this.#bytes.byteLength - this.#offset }

  u8 (): number { return this.#view.getUint8(this.#take(1)) }
  u16 (): number { return this.#view.getUint16(this.#take(2)) }
  u32 (): number { return this.#view.getUint32(this.#take(4)) }
  u64 (): bigint { return this.#view.getBigUint64(this.#take(8)) }

  raw (length: number): Uint8Array {
    const start = this.#take(length)
    return this.#bytes.subarray(start, start + length)
  }

  short (): Uint8Array { return this.raw(this.u8()) }
  /** u32 length, then that many bytes; refuses a length over `maxLength` before anything else. */
  long (maxLength: number): Uint8Array {
    const length = this.u32()
    if (length > maxLength) throw new MalformedBytes(`field of ${length} bytes exceeds ${maxLength}`)
    return this.raw(length)
  }

  rest (): Uint8Array { return this.raw(this.remaining) }
  /** @throws MalformedBytes if anything is left over */
  end (): void {
    if (this.remaining !== 0) throw new MalformedBytes(`${this.remaining} bytes too many`)
  }

  #take (length: number): number {
    if (length > this.remaining) throw new MalformedBytes(`needs ${length} bytes, ${this.remaining} left`)
    const start = this.#offset
    this.#offset += length
    return start
  }
}
