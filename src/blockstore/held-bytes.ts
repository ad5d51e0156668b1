import { partitionCount } from '../base/bytes.ts'
import type { Clock } from '../base/clock.ts'
import type { KeyRange, KeyValue } from '../disk/index.ts'

/** Of one partition, what lies here. */
export interface HeldBytes {
  readonly copies: number
  readonly shards: number
}

export const heldBytesLimits = {
  /** Partitions that this was too short for are left out: small blocks lie in the index themselves, and are read for their length. */
  maxMs: 5000,
} as const

const kinds = { small: 1, large: 2, smallShard: 8, largeShard: 9 } as const

/**
 * Bytes of blocks here by partition, of as many partitions as there is time for. They are walked in runs, for to look for each by itself takes longer than to read it, and the runs in one order on every
 * node, so that of what several tell most is of the same partitions. Any of them says much of the rest: digests are spread evenly.
 */
export async function heldByPartition (index: Pick<KeyValue, 'entries'>, { clock, maxMs = heldBytesLimits.maxMs, signal }: { clock: Clock, maxMs?: number, signal?: AbortSignal }): Promise<ReadonlyMap<number, HeldBytes>> {
  const endMs = clock.monotonicMs() + maxMs
  const held = new Map<number, HeldBytes>()
  for (let i = 0; i < runs && clock.monotonicMs() < endMs; i++) {
    signal?.throwIfAborted()
    const first = (i * step) % runs * runLength
    const sums = Array.from({ length: runLength }, () => ({ copies: 0, shards: 0 }))
    for (const [kind, what] of [[kinds.small, 'copies'], [kinds.large, 'copies'], [kinds.smallShard, 'shards'], [kinds.largeShard, 'shards']] as const) {
      const isLarge = kind === kinds.large || kind === kinds.largeShard
      for await (const [key, value] of index.entries(rangeOf(kind, first))) {
        const sum = sums[(((key[1] ?? 0) << 4) | ((key[2] ?? 0) >> 4)) - first]
        if (sum !== undefined) sum[what] += isLarge ? sizeIn(value) : value.byteLength
      }
    }
    for (const [at, sum] of sums.entries()) held.set(first + at, sum)
  }
  return held
}

const runLength = 64
const runs = partitionCount / runLength
/** Odd, so that each run comes once. */
const step = 37

/** Of a run of partitions; a partition is the first 12 bits of a digest. */
function rangeOf (kind: number, first: number): KeyRange {
  const at = (partition: number): Uint8Array => Uint8Array.of(kind, partition >> 4, (partition & 15) << 4)
  return { from: at(first), to: first + runLength < partitionCount ? at(first + runLength) : Uint8Array.of(kind + 1) }
}

const sizeIn = (value: Uint8Array): number => value.byteLength === 4 ? new DataView(value.buffer, value.byteOffset).getUint32(0) : 0
