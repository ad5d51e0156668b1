/**
 * The field GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1 (0x11d), in which 2 generates all but 0: a sum is an exclusive or, a product a sum of logarithms. What
 * Backblaze's and klauspost's Reed-Solomon count in too.
 */
const polynomial = 0x11d
const order = 255

// twice as long as the order, so that a sum of two logarithms needs no modulo
const powers = new Uint8Array(2 * order)
const logarithms = new Uint8Array(256)
for (let exponent = 0, power = 1; exponent < order; exponent++) {
  powers[exponent] = powers[exponent + order] = power
  logarithms[power] = exponent
  power <<= 1
  if (power > 0xff) power ^= polynomial
}

const log = (a: number): number => logarithms[a] as number
export const product = (a: number, b: number): number => a === 0 || b === 0 ? 0 : powers[log(a) + log(b)] as number

/** Of anything but 0. */
export const inverse = (a: number): number => powers[order - log(a)] as number

/** 0 to the 0 is 1. */
export const power = (a: number, exponent: number): number => exponent === 0 ? 1 : a === 0 ? 0 : powers[(log(a) * exponent) % order] as number

/** All 256 products of a coefficient. */
export const productsOf = (coefficient: number): Uint8Array => Uint8Array.from({ length: 256 }, (_, b) => product(coefficient, b))
