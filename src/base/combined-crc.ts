/**
 * The CRC of bytes from the CRCs of their pieces: what stands before a piece is moved on by the piece's length, which is a product with a power of x modulo the
 * polynomial, and is added to the piece's own (Mark Adler, zlib's crc32_combine). It holds for CRCs that begin and end with all bits set.
 */
const polynomials = {
  crc32: { width: 32n, polynomial: 0xedb88320n },
  crc32c: { width: 32n, polynomial: 0x82f63b78n },
  crc64nvme: { width: 64n, polynomial: 0x9a6c9329ac4bc9b5n },
} as const

export type CombinableCrc = keyof typeof polynomials
export const isCombinable = (algorithm: string): algorithm is CombinableCrc => Object.hasOwn(polynomials, algorithm)

/** In the order of the bytes, big-endian like the pieces' own. Of nothing: the CRC of no bytes. */
export function combinedCrc (algorithm: CombinableCrc, pieces: Iterable<{ readonly value: Uint8Array, readonly sizeBytes: number }>): Uint8Array {
  const field = fieldOf(algorithm)
  let crc = 0n
  // parts are nearly all of one length
  let [length, shift] = [-1, 0n]
  for (const { value, sizeBytes } of pieces) {
    if (sizeBytes !== length) [length, shift] = [sizeBytes, field.powerOf(BigInt(sizeBytes) * 8n)]
    crc = field.product(shift, crc) ^ numberIn(value)
  }
  return bytesOf(crc, Number(field.width / 8n))
}

interface Field {
  readonly width: bigint
  product (a: bigint, b: bigint): bigint
  /** x to the power of n. */
  powerOf (n: bigint): bigint
}

/** Polynomials over two elements, bits reflected: the highest is x to the power of 0. */
function fieldOf (algorithm: CombinableCrc): Field {
  const { width, polynomial } = polynomials[algorithm]
  const one = 1n << (width - 1n)
  const product = (a: bigint, b: bigint): bigint => {
    let [sum, factor] = [0n, b]
    for (let bit = one; bit !== 0n; bit >>= 1n) {
      if ((a & bit) !== 0n) sum ^= factor
      factor = (factor & 1n) === 0n ? factor >> 1n : (factor >> 1n) ^ polynomial
    }
    return sum
  }
  /** x, squared again and again. */
  const squares = [one >> 1n]
  const squareOf = (k: number): bigint => {
    while (squares.length <= k) { const last = squares.at(-1) as bigint; squares.push(product(last, last)) }
    return squares[k] as bigint
  }
  return {
    width, product,
    powerOf (n) {
      let power = one
      for (let [rest, k] = [n, 0]; rest !== 0n; rest >>= 1n, k++) if ((rest & 1n) === 1n) power = product(squareOf(k), power)
      return power
    },
  }
}

const numberIn = (bytes: Uint8Array): bigint => bytes.reduce((number, byte) => (number << 8n) | BigInt(byte), 0n)

const bytesOf = (number: bigint, length: number): Uint8Array => Uint8Array.from({ length }, (_, i) => Number((number >> BigInt(8 * (length - 1 - i))) & 0xffn))
