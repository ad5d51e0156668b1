import { createCipheriv, randomBytes } from 'node:crypto'

/** Numbers: how they are taken, and what is made of several. Machines are shared and noisy, so what is compared takes turns, and its ratio is taken in each turn. */
export const mebibyte = 1024 ** 2
export const mib = (bytes: number): number => bytes / mebibyte

export async function secondsOf (act: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await act()
  return (performance.now() - start) / 1000
}

/** Processor time of this process since then: what a machine that others use too cannot stretch by making one wait. */
export function cpuSecondsSince (before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1e6
}

export function median (numbers: readonly number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  const [low, high] = [sorted[(sorted.length - 1) >> 1] ?? Number.NaN, sorted[sorted.length >> 1] ?? Number.NaN]
  return (low + high) / 2
}

/** About `share` of the numbers are at most this. */
export function percentile (numbers: readonly number[], share: number): number {
  const sorted = numbers.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

export async function medianSeconds (times: number, act: () => unknown): Promise<number> {
  const all: number[] = []
  for (let i = 0; i < times; i++) all.push(await secondsOf(async () => { await act() }))
  return median(all)
}

/** Each contender once, then each once more, …: what disturbs the machine for a while disturbs all of them. */
export async function inTurns<Contenders extends Readonly<Record<string, (round: number) => Promise<Timed>>>> (rounds: number, contenders: Contenders): Promise<Samples<Contenders>> {
  const samples: Record<string, Timed[]> = Object.fromEntries(Object.keys(contenders).map((name) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    for (const [name, run] of Object.entries(contenders)) samples[name]?.push(await run(round))
  }
  return samples as unknown as Samples<Contenders>
}

export interface Timed { readonly seconds: number }
type Samples<Contenders extends Readonly<Record<string, (round: number) => Promise<Timed>>>> = { readonly [Name in keyof Contenders]: ReadonlyArray<Awaited<ReturnType<Contenders[Name]>>> }

export const medianOf = (samples: readonly Timed[]): number => median(samples.map(({ seconds }) => seconds))

/** How many times as fast as `base`: the median of the ratios of each turn. */
export const speedAgainst = (base: readonly Timed[], samples: readonly Timed[]): number =>
  median(samples.map(({ seconds }, round) => (base[round]?.seconds ?? Number.NaN) / seconds))

/** Bytes that neither compress nor repeat; the same again for the same seed. */
export async function * noise (bytes: number, { seed = randomBytes(16) }: { seed?: Uint8Array } = {}): AsyncIterable<Uint8Array> {
  const stream = createCipheriv('aes-128-ctr', seed, Buffer.alloc(16))
  const zeros = Buffer.alloc(mebibyte)
  for (let left = bytes; left > 0; left -= zeros.byteLength) yield stream.update(zeros.subarray(0, Math.min(left, zeros.byteLength)))
}

/** Reads it to nowhere. */
export async function drain (source: AsyncIterable<Uint8Array>): Promise<{ seconds: number, firstSeconds: number, bytes: number }> {
  const start = performance.now()
  let [bytes, firstSeconds] = [0, 0]
  for await (const piece of source) {
    if (bytes === 0) firstSeconds = (performance.now() - start) / 1000
    bytes += piece.byteLength
  }
  return { seconds: (performance.now() - start) / 1000, firstSeconds, bytes }
}
