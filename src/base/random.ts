import { randomFillSync } from 'node:crypto'

/** Randomness as an argument: `systemRandom` in a node, a seeded one in tests and simulations. */
export interface Random {
  /** `length` fresh bytes, cryptographically random in `systemRandom`. */
  bytes (length: number): Uint8Array
  /** A number in [0, 1), for jitter and choice; never for keys. */
  fraction (): number
}

export const systemRandom: Random = {
  bytes: (length) => length > pool.byteLength / 4 ? randomFillSync(new Uint8Array(length)) : drawn(length),
  fraction: () => Math.random(),
}

// every operation draws some ids and salts; asking the system for each costs more than the rest of drawing it
const pool = new Uint8Array(4096)
let left = 0

function drawn (length: number): Uint8Array {
  if (left < length) { randomFillSync(pool); left = pool.byteLength }
  left -= length
  const bytes = pool.slice(left, left + length)
  pool.fill(0, left, left + length)
  return bytes
}

/** Repeatable randomness (sfc32, PractRand-clean; https://pracrand.sourceforge.net): same seed, same values. Never for keys. */
export function seededRandom (seed: number): Random {
  let [a, b, c, d] = [0x9e3779b9 ^ seed, 0x243f6a88 ^ Math.imul(seed, 0x85ebca6b), 0xb7e15162 ^ Math.imul(seed, 0xc2b2ae35), 1]
  const next = (): number => {
    const t = (a + b + d) | 0
    d = (d + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = ((c << 21) | (c >>> 11)) + t | 0
    return t >>> 0
  }
  for (let i = 0; i < 16; i++) next()
  return {
    bytes: (length) => Uint8Array.from({ length }, () => next() & 0xff),
    fraction: () => next() / 0x1_0000_0000,
  }
}
