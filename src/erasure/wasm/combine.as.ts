// AssemblyScript, compiled to combine.wasm by `npm run build:wasm`. Memory: from 0 a table of 32 bytes for each (output, input), in that order; from dataAt on
// the inputs, then the outputs, `stride` bytes apart.
// A product in GF(2^8) is the sum of the products of the factor's two nibbles, and a table of 16 products is what one byte shuffle looks up 16 times at once
// (Plank, Greenan, Miller, "Screaming Fast Galois Field Arithmetic Using Intel SIMD Instructions", FAST 2013).

export const dataAt: u32 = 8192

// indexes are nibbles, for which relaxed_swizzle is defined, and one instruction shorter than swizzle
// @ts-ignore: decorator
@inline
function product (table: u32, low: v128, high: v128): v128 {
  return v128.xor(i8x16.relaxed_swizzle(v128.load(table), low), i8x16.relaxed_swizzle(v128.load(table + 16), high))
}

/** Every output becomes the sum over all inputs of input times coefficient. `length`: a multiple of 32, at most `stride`. */
export function combine (inputs: u32, outputs: u32, stride: u32, length: u32): void {
  const outputsAt = dataAt + inputs * stride
  let output: u32 = 0
  for (; output + 2 <= outputs; output += 2) two(output * inputs * 32, inputs, outputsAt + output * stride, stride, length)
  if (output < outputs) one(output * inputs * 32, inputs, outputsAt + output * stride, stride, length)
}

// 32 bytes of two outputs: the nibbles of an input are taken apart once for both, and a table is loaded once for 32 bytes
function two (tables: u32, inputs: u32, to: u32, stride: u32, length: u32): void {
  const nibble = i8x16.splat(0x0f)
  const row = inputs * 32
  for (let at: u32 = 0; at < length; at += 32) {
    let a0 = i8x16.splat(0), a1 = i8x16.splat(0), b0 = i8x16.splat(0), b1 = i8x16.splat(0)
    let from = dataAt + at
    for (let table = tables, end = tables + row; table < end; table += 32) {
      const x0 = v128.load(from), x1 = v128.load(from, 16)
      const low0 = v128.and(x0, nibble), high0 = i8x16.shr_u(x0, 4)
      const low1 = v128.and(x1, nibble), high1 = i8x16.shr_u(x1, 4)
      a0 = v128.xor(a0, product(table, low0, high0))
      a1 = v128.xor(a1, product(table, low1, high1))
      b0 = v128.xor(b0, product(table + row, low0, high0))
      b1 = v128.xor(b1, product(table + row, low1, high1))
      from += stride
    }
    v128.store(to + at, a0)
    v128.store(to + at, a1, 16)
    v128.store(to + stride + at, b0)
    v128.store(to + stride + at, b1, 16)
  }
}

function one (tables: u32, inputs: u32, to: u32, stride: u32, length: u32): void {
  const nibble = i8x16.splat(0x0f)
  for (let at: u32 = 0; at < length; at += 32) {
    let a0 = i8x16.splat(0), a1 = i8x16.splat(0)
    let from = dataAt + at
    for (let table = tables, end = tables + inputs * 32; table < end; table += 32) {
      const x0 = v128.load(from), x1 = v128.load(from, 16)
      a0 = v128.xor(a0, product(table, v128.and(x0, nibble), i8x16.shr_u(x0, 4)))
      a1 = v128.xor(a1, product(table, v128.and(x1, nibble), i8x16.shr_u(x1, 4)))
      from += stride
    }
    v128.store(to + at, a0)
    v128.store(to + at, a1, 16)
  }
}
