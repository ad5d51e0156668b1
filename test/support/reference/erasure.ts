/**
 * Reed-Solomon the slow way, by no matrix: the k pieces are the values of a polynomial at 0 … k-1, and shard i is its value at i
 * (Lagrange). Elements are polynomials over GF(2), multiplied bit by bit modulo 0x11d.
 */
export const referenceShard = (data: readonly Uint8Array[], index: number): Uint8Array => valuesAt(data.map((piece, i) => [i, piece]), index)

/** The data, from any k shards. */
export const referenceData = (shards: ReadonlyMap<number, Uint8Array>, k: number): Uint8Array[] => {
  const known = [...shards].slice(0, k)
  return Array.from({ length: k }, (_, i) => valuesAt(known, i))
}

/** Of each byte the polynomial through the points, at x. */
function valuesAt (points: ReadonlyArray<readonly [number, Uint8Array]>, x: number): Uint8Array {
  const xs = points.map(([xi]) => xi)
  const weights = xs.map((xi) => xs.reduce((weight, xj) => xj === xi ? weight : multiplied(weight, multiplied(x ^ xj, reciprocal(xi ^ xj))), 1))
  return Uint8Array.from(points[0]?.[1] ?? [], (_, at) => points.reduce((sum, [, values], i) => sum ^ multiplied(values[at] ?? 0, weights[i] ?? 0), 0))
}

function multiplied (a: number, b: number): number {
  let product = 0
  for (let bit = 0; bit < 8; bit++) if ((b >> bit & 1) === 1) product ^= a << bit
  for (let bit = 14; bit >= 8; bit--) if ((product >> bit & 1) === 1) product ^= 0x11d << (bit - 8)
  return product
}

// a^254 = a^-1; what was worked out is remembered: all codes ask for the same thirty-one
const reciprocals = new Map<number, number>()
function reciprocal (a: number): number {
  let power = reciprocals.get(a)
  if (power !== undefined) return power
  power = 1
  for (let i = 0; i < 254; i++) power = multiplied(power, a)
  reciprocals.set(a, power)
  return power
}
