import fc from 'fast-check'

/** A kind of error that says no on purpose; any other is a mistake. */
type Refusal = new (...args: never[]) => Error

export interface Damage { readonly name: string, readonly bytes: Uint8Array }

/** Copies with one bit flipped: of every bit, or of `most`, one out of each of as many equal stretches. */
export function * flips (bytes: Uint8Array, { most = 208 }: { most?: number } = {}): Iterable<Damage & { readonly bit: number }> {
  const bits = bytes.byteLength * 8
  const count = Math.min(bits, most)
  const draws = fc.sample(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), count)
  for (let i = 0; i < count; i++) {
    const [first, end] = [Math.floor(i * bits / count), Math.floor((i + 1) * bits / count)]
    const bit = first + Math.floor((draws[i] ?? 0) * (end - first))
    const flipped = bytes.slice()
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
    yield { name: `bit ${bit} of ${bits} flipped`, bytes: flipped, bit }
  }
}

/** Cut at the front, at the end, to nothing; longer by zeros and by a piece of itself. */
export function * cutsAndGrowths (bytes: Uint8Array): Iterable<Damage> {
  const { byteLength } = bytes
  const lengths = new Set([0, 1, 4, 16, 32, 48, 64, 84, 120, byteLength - 64, byteLength - 32, byteLength - 16, byteLength - 2, byteLength - 1].filter((length) => length >= 0 && length < byteLength))
  for (const length of lengths) yield { name: `cut to ${length} of ${byteLength}`, bytes: bytes.slice(0, length) }
  yield { name: 'without its first byte', bytes: bytes.slice(1) }
  for (const more of [1, 4, 16, 64]) yield { name: `${more} zeros longer`, bytes: Uint8Array.from([...bytes, ...new Uint8Array(more)]) }
  yield { name: 'twice', bytes: Uint8Array.from([...bytes, ...bytes]) }
}

/** Refused, and with one of these errors: a stumble is no refusal. */
export function expectRefused (what: string, open: () => unknown, ...as: readonly Refusal[]): void {
  try {
    open()
  } catch (error) {
    demandRefusal(what, error, as)
    return
  }
  throw new Error(`${what}: was accepted`)
}

export async function expectRefusedLater (what: string, open: () => Promise<unknown>, ...as: readonly Refusal[]): Promise<void> {
  const outcome = await open().then(() => undefined, (error: unknown) => ({ error }))
  if (outcome === undefined) throw new Error(`${what}: was accepted`)
  demandRefusal(what, outcome.error, as)
}

function demandRefusal (what: string, error: unknown, as: readonly Refusal[]): void {
  if (!as.some((kind) => error instanceof kind)) throw new Error(`${what}: stumbled instead of refusing`, { cause: error })
}
