/**
 * Reed-Solomon the slow way, by no matrix and no table: the k pieces are the values of a polynomial at 0 … k-1, and shard i is its value at i
 * (Lagrange). Elements are polynomials over GF(2), multiplied bit by bit modulo 0x11d.
 */
export const referenceShard = (data: readonly Uint8Array[], index: number): Uint8Array =>
  Uint8Array.from(data[0] ?? [], (_, at) => valueAt(data.map((piece, i) => [i, piece[at] ?? 0]), index))

/** The data, from any k shards. */
export const referenceData = (shards: ReadonlyMap<number, Uint8Array>, k: number): Uint8Array[] => {
  const known = [...shards].slice(0, k)
  return Array.from({ length: k }, (_, i) => Uint8Array.from(known[0]?.[1] ?? [], (__, at) => valueAt(known.map(([index, shard]) => [index, shard[at] ?? 0]), i)))
}

function valueAt (points: ReadonlyArray<readonly [number, number]>, x: number): number {
  let sum = 0
  for (const [xi, yi] of points) {
    let term = yi
    for (const [xj] of points) if (xj !== xi) term = multiplied(term, multiplied(x ^ xj, reciprocal(xi ^ xj)))
    sum ^= term
  }
  return sum
}

function multiplied (a: number, b: number): number {
  let product = 0
  for (let bit = 0; bit < 8; bit++) if ((b >> bit & 1) === 1) product ^= a << bit
  for (let bit = 14; bit >= 8; bit--) if ((product >> bit & 1) === 1) product ^= 0x11d << (bit - 8)
  return product
}

// a^254 = a^-1
function reciprocal (a: number): number {
  let power = 1
  for (let i = 0; i < 254; i++) power = multiplied(power, a)
  return power
}
